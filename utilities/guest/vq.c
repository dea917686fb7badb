/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Virtqueues, the driver's side, as far as the ring's format does not matter:
 * see vq.h. */

#include "guest/vq.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest/iommu.h"
#include "guest/vq-format.h"

static int
new_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    FE_CHECK_GE(fd, 0);
    return fd;
}

void
fe_vq_init(struct fe_vq *vq, struct fe *fe, unsigned int index,
           unsigned int size, unsigned int r)
{
    memset(vq, 0, sizeof *vq);
    vq->fe = fe;
    vq->ops = fe->features & FE_F_PACKED ? &fe_vq_packed : &fe_vq_split;
    vq->index = index;
    vq->size = size;
    vq->in_order = (fe->features & FE_F_IN_ORDER) != 0;
    vq->next_free = calloc(size, sizeof *vq->next_free);
    FE_CHECK(vq->next_free != NULL);
    vq->ops->layout(vq, r);
    vq->chains = calloc(size, sizeof *vq->chains);
    FE_CHECK(vq->chains != NULL);
    vq->kick_fd = new_eventfd();
    vq->call_fd = new_eventfd();
    vq->err_fd = new_eventfd();
    fe_vq_reset(vq);
}

void
fe_vq_reset(struct fe_vq *vq)
{
    /* In order, heads go round. */
    for (unsigned int i = 0; i < vq->size; i++) {
        vq->next_free[i] = (i + 1) % vq->size;
    }
    vq->free_head = vq->oldest = 0;
    vq->in_batch = false;
    vq->has_told = false;
    vq->ops->reset(vq);
    for (unsigned int i = 0; i < vq->size; i++) {
        free(vq->chains[i].bufs);
        memset(&vq->chains[i], 0, sizeof vq->chains[i]);
    }
    vq->n_free = vq->size;
}

void
fe_vq_destroy(struct fe_vq *vq)
{
    if (!vq->fe) {
        return;
    }
    for (unsigned int i = 0; i < vq->size; i++) {
        free(vq->chains[i].bufs);
    }
    free(vq->chains);
    free(vq->next_free);
    close(vq->kick_fd);
    close(vq->call_fd);
    close(vq->err_fd);
    vq->fe = NULL;
}

/* What SET_VRING_ADDR says of guest address 'addr'. */
static uint64_t
fe_ring_addr(const struct fe *fe, uint64_t addr)
{
    return fe->iommu ? fe_dma_addr(fe, addr) : fe_user_addr(fe, addr);
}

uint64_t
fe_vq_send_addr(struct fe_vq *vq)
{
    struct fe_vring_addr addr = {
        .index = vq->index,
        .desc = fe_ring_addr(vq->fe, vq->desc_addr),
        .avail = fe_ring_addr(vq->fe, vq->avail_addr),
        .used = fe_ring_addr(vq->fe, vq->used_addr),
        .flags = vq->log,
        .log = vq->log_addr ? vq->log_addr : vq->used_addr,
    };

    return fe_ask(vq->fe, FE_SET_VRING_ADDR, &addr, sizeof addr);
}

uint64_t
fe_vq_enable(struct fe_vq *vq, bool enable)
{
    return fe_ask_state(vq->fe, FE_SET_VRING_ENABLE, vq->index, enable);
}

void
fe_vq_start(struct fe_vq *vq, uint32_t base, bool enable)
{
    struct fe *fe = vq->fe;

    vq->has_told = true;
    vq->told_base = base;
    FE_CHECK_EQ(fe_ask_state(fe, FE_SET_VRING_NUM, vq->index, vq->size), 0);
    FE_CHECK_EQ(fe_ask_state(fe, FE_SET_VRING_BASE, vq->index, base), 0);
    FE_CHECK_EQ(fe_vq_send_addr(vq), 0);
    FE_CHECK_EQ(fe_ask_vring_fd(fe, FE_SET_VRING_CALL, vq->index,
                                vq->call_fd), 0);
    FE_CHECK_EQ(fe_ask_vring_fd(fe, FE_SET_VRING_ERR, vq->index, vq->err_fd),
                0);
    FE_CHECK_EQ(fe_ask_vring_fd(fe, FE_SET_VRING_KICK, vq->index,
                                vq->kick_fd), 0);
    if (enable && fe->features & FE_F_PROTOCOL) {
        FE_CHECK_EQ(fe_vq_enable(vq, true), 0);
    }
}

uint32_t
fe_vq_stop(struct fe_vq *vq)
{
    struct fe_vring_state state = { vq->index, 0 };

    FE_CHECK(fe_send(vq->fe, FE_GET_VRING_BASE, 0, &state, sizeof state));
    fe_reply(vq->fe, FE_GET_VRING_BASE, &state, sizeof state);
    FE_CHECK_EQ(state.index, vq->index);
    if (vq->ops == &fe_vq_packed) {
        FE_CHECK_LT(state.num & 0x7fff, vq->size);
        FE_CHECK_LT(state.num >> 16 & 0x7fff, vq->size);
    } else {
        FE_CHECK_LE(state.num, 65535);
    }
    vq->has_told = true;
    vq->told_base = state.num;
    return state.num;
}

uint32_t
fe_vq_base(const struct fe_vq *vq)
{
    return vq->ops->base(vq);
}

uint32_t
fe_vq_old_base(const struct fe_vq *vq)
{
    return vq->has_told ? vq->told_base : fe_vq_base(vq);
}

void
fe_vq_set_position(struct fe_vq *vq, uint16_t n)
{
    vq->ops->set_position(vq, n);
}

void
fe_vq_use_indirect(struct fe_vq *vq, unsigned int r, unsigned int n)
{
    vq->table_addr = fe_alloc(vq->fe, r,
                              (uint64_t) vq->size * n * sizeof *vq->desc, 16);
    vq->table_size = n;
}

/* Makes room for 'n' buffers; those in there may be lost. */
static void
grow_chain(struct fe_chain *chain, unsigned int n)
{
    if (n > chain->allocated) {
        free(chain->bufs);
        chain->bufs = malloc(n * sizeof *chain->bufs);
        FE_CHECK(chain->bufs != NULL);
        chain->allocated = n;
    }
}

static void
note_chain(struct fe_chain *chain, const struct fe_buf bufs[], unsigned int n,
           unsigned int n_descs, bool indirect, uint64_t token)
{
    uint64_t room = 0;

    FE_CHECK(!chain->busy);
    grow_chain(chain, n);
    memmove(chain->bufs, bufs, n * sizeof *bufs);
    for (unsigned int i = 0; i < n; i++) {
        room += bufs[i].in ? bufs[i].len : 0;
    }
    chain->room = room < UINT32_MAX ? room : UINT32_MAX;
    chain->n = n;
    chain->n_descs = n_descs;
    chain->busy = true;
    chain->indirect = indirect;
    chain->token = token;
}

int
fe_vq_add(struct fe_vq *vq, const struct fe_buf bufs[], unsigned int n,
          unsigned int flags, uint64_t token)
{
    bool indirect = (flags & FE_INDIRECT) != 0;
    unsigned int n_descs = indirect ? 1 : n;
    uint16_t head = vq->free_head;
    uint64_t table = 0;

    if (n_descs > vq->n_free) {
        return -1;
    }
    if (indirect) {
        FE_CHECK_LE(n, vq->table_size);
        /* A table for each head; which one it is does not matter here. */
        table = vq->table_addr + (uint64_t) head * vq->table_size
                                 * sizeof (struct vring_desc);
    }
    note_chain(&vq->chains[head], bufs, n, n_descs, indirect, token);
    vq->n_free -= n_descs;
    vq->ops->add(vq, vq->chains[head].bufs, n, table);
    return head;
}

void
fe_vq_publish(struct fe_vq *vq)
{
    vq->ops->publish(vq);
}

void
fe_vq_publish_and_kick(struct fe_vq *vq)
{
    vq->ops->publish(vq);
    if (vq->ops->wants_kick(vq)) {
        vq->n_kicks++;
        fe_event_signal(vq->kick_fd);
    }
}

bool
fe_vq_used(struct fe_vq *vq, uint16_t *headp, uint32_t *lenp)
{
    struct fe_chain *chain;
    uint32_t id;

    chain = fe_next_used(vq, vq->ops->used, vq->ops->consume, &id, lenp);
    if (!chain) {
        return false;
    }
    vq->ops->release(vq, id, chain->n_descs);
    vq->n_free += chain->n_descs;
    chain->busy = false;
    *headp = id;
    return true;
}

/* In order, and with free descriptors before those that come back: used chains
 * have to move to them. */
static unsigned int
recycle_and_move(struct fe_vq *vq, unsigned int max, uint64_t *bytes)
{
    unsigned int n;
    uint16_t head;
    uint32_t len;

    for (n = 0; n < max && fe_vq_used(vq, &head, &len); n++) {
        const struct fe_chain *chain = &vq->chains[head];

        FE_CHECK_GE(fe_vq_add(vq, chain->bufs, chain->n,
                              chain->indirect ? FE_INDIRECT : 0,
                              chain->token), 0);
        *bytes += len;
    }
    return n;
}

unsigned int
fe_vq_recycle(struct fe_vq *vq, unsigned int max, uint64_t *bytes)
{
    if (vq->in_order && vq->n_free) {
        return recycle_and_move(vq, max, bytes);
    }
    return vq->ops->recycle(vq, max, bytes);
}

bool
fe_vq_want_calls(struct fe_vq *vq, bool wanted)
{
    vq->calls = wanted;
    return vq->ops->want_calls(vq, wanted);
}

/* Eventfds. */

uint64_t
fe_event_take(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    uint64_t value = 0;

    /* The descriptor may block. */
    if (poll(&pfd, 1, 0) == 1 && read(fd, &value, sizeof value) < 0) {
        value = 0;
    }
    return value;
}

void
fe_event_signal(int fd)
{
    uint64_t one = 1;

    FE_CHECK_EQ(write(fd, &one, sizeof one), sizeof one);
}

bool
fe_event_wait(int fd, int ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return poll(&pfd, 1, ms) == 1;
}

/* Buffers. */

unsigned int
fe_split(struct fe_buf *bufs, uint64_t addr, uint32_t len, unsigned int n,
         bool in)
{
    if (n > len) {
        n = len;
    }
    for (unsigned int i = 0; i < n; i++) {
        uint32_t from = (uint64_t) len * i / n;
        uint32_t to = (uint64_t) len * (i + 1) / n;

        bufs[i].addr = addr + from;
        bufs[i].len = to - from;
        bufs[i].in = in;
    }
    return n;
}

void
fe_chain_read(const struct fe_vq *vq, uint16_t head, size_t offset,
              void *dst, size_t len)
{
    const struct fe_chain *chain = &vq->chains[head];
    uint8_t *d = dst;

    for (unsigned int i = 0; i < chain->n && len; i++) {
        const struct fe_buf *b = &chain->bufs[i];
        size_t n;

        if (!b->in) {
            continue;
        }
        if (offset >= b->len) {
            offset -= b->len;
            continue;
        }
        n = b->len - offset < len ? b->len - offset : len;
        fe_read(vq->fe, b->addr + offset, d, n);
        offset = 0;
        d += n;
        len -= n;
    }
    FE_CHECK_EQ(len, 0);
}
