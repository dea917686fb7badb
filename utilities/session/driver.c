/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See driver.h. */

#include "session/driver.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session/frame.h"
#include "session/base.h"

#define MAX_FRAME (65536u + 64u)

void
ring_init(struct ring *r, unsigned int index, const struct stage *stage,
          void (*fail)(void *aux, const char *format, ...), void *aux)
{
    memset(r, 0, sizeof *r);
    r->index = index;
    r->stage = stage;
    r->fail = fail;
    r->aux = aux;
    r->kick_fd = r->call_fd = r->err_fd = -1;
}

static void
forget_chains(struct ring *r)
{
    for (unsigned int i = 0; r->offered && i < r->laid_out_size; i++) {
        free(r->offered[i].ids);
    }
    free(r->offered);
    free(r->taken);
    free(r->order);
    r->offered = NULL;
    r->taken = NULL;
    r->order = NULL;
    r->n_busy = 0;
}

void
ring_free(struct ring *r)
{
    forget_chains(r);
    free(r->frame);
    for (int *fd = &r->kick_fd; fd <= &r->err_fd; fd++) {
        if (*fd >= 0) {
            close(*fd);
        }
    }
}

/* Memory. */

static uint64_t
avail_len(const struct ring *r)
{
    return r->packed ? 4 : 6 + 2 * (uint64_t) r->size;
}

static uint64_t
used_len(const struct ring *r)
{
    return r->packed ? 4 : 6 + 8 * (uint64_t) r->size;
}

static bool
find(struct ring *r)
{
    r->desc = stage_user(r->stage, r->addr.desc, 16 * (uint64_t) r->size);
    r->avail = stage_user(r->stage, r->addr.avail, avail_len(r));
    r->used = stage_user(r->stage, r->addr.used, used_len(r));
    if (!r->desc || !r->avail || !r->used) {
        r->desc = NULL;
    }
    return r->desc != NULL;
}

static void
lay_out(struct ring *r)
{
    forget_chains(r);
    memset(r->desc, 0, 16 * (size_t) r->size);
    memset(r->avail, 0, avail_len(r));
    memset(r->used, 0, used_len(r));
    if (!r->packed) {
        r->avail->idx = r->used->idx = r->base;
    }
    r->avail_idx = r->used_idx = r->kick_idx = r->base;
    r->buffers_left = 0;
    r->broken = false;
    r->laid_out = r->addr;
    r->laid_out_size = r->size;
    r->taken = zero_alloc(r->size, sizeof *r->taken);
    r->offered = zero_alloc(r->size, sizeof *r->offered);
    r->order = zero_alloc(r->size, sizeof *r->order);
}

static bool
is_where_it_was(const struct ring *r)
{
    return r->laid_out_size == r->size && r->offered
           && r->laid_out.desc == r->addr.desc
           && r->laid_out.avail == r->addr.avail
           && r->laid_out.used == r->addr.used;
}

void
ring_prepare(struct ring *r, uint64_t features)
{
    r->features = features;
    r->packed = features & FE_F_PACKED;
    if (!r->size || !r->has_addr || !r->has_base) {
        return;
    }
    if (!find(r) || r->started || (r->resumes && is_where_it_was(r))) {
        return;
    }
    lay_out(r);
}

/* Chains. */

/* Places in the ring that the chain takes. */
static unsigned int
n_ring_descs(const struct chain *c)
{
    return c->indirect ? 1 : c->n;
}

static uint32_t
ring_desc(const struct chain *c, unsigned int i)
{
    return c->indirect ? c->table.id : c->descs[i].id;
}

bool
ring_is_free(const struct ring *r, const struct chain *c)
{
    for (unsigned int i = 0; i < n_ring_descs(c); i++) {
        uint32_t id = ring_desc(c, i);

        if (id < r->size && r->taken[id]) {
            return false;
        }
    }
    return true;
}

/* True if writing to [addr, addr + len) would hurt the ring. */
static bool
hits_ring(const struct ring *r, const uint8_t *p, uint64_t len)
{
    const struct { const void *start; uint64_t len; } parts[] = {
        { r->desc, 16 * (uint64_t) r->size },
        { r->avail, avail_len(r) },
        { r->used, used_len(r) },
    };

    for (unsigned int i = 0; i < 3; i++) {
        const uint8_t *start = parts[i].start;

        if (p < start + parts[i].len && start < p + len) {
            return true;
        }
    }
    return false;
}

/* True if a driver could have made the chain, here. */
static bool
fits(const struct ring *r, const struct chain *c)
{
    uint64_t table_len = 16 * (uint64_t) c->n;

    if (c->id != ring_desc(c, 0) || c->n > MAX_RING_SIZE) {
        return false;
    }
    for (unsigned int i = 0; i < n_ring_descs(c); i++) {
        if (ring_desc(c, i) >= r->size) {
            return false;
        }
    }
    for (unsigned int i = 0; i < c->n; i++) {
        const struct chain_desc *d = &c->descs[i];
        const uint8_t *p = stage_guest(r->stage, d->addr, d->len);

        if (!p || hits_ring(r, p, d->len)
            || (c->indirect && 16 * (d->id + UINT64_C(1)) > c->table.len)) {
            return false;
        }
    }
    return !c->indirect
           || (table_len <= c->table.len
               && stage_guest(r->stage, c->table.addr, c->table.len)
               && !hits_ring(r, stage_guest(r->stage, c->table.addr, 0),
                             c->table.len));
}

/* Writes the chain's descriptors. */
static void
write_descs(struct ring *r, const struct chain *c)
{
    struct vring_desc *descs = r->desc;

    if (c->indirect) {
        struct vring_desc *d = &r->desc[c->id];

        d->addr = c->table.addr;
        d->len = c->table.len;
        d->flags = VRING_DESC_F_INDIRECT;
        d->next = 0;
        descs = stage_guest(r->stage, c->table.addr, c->table.len);
    }
    for (unsigned int i = 0; i < c->n; i++) {
        struct vring_desc *d = &descs[c->descs[i].id];
        bool more = i + 1 < c->n;

        d->addr = c->descs[i].addr;
        d->len = c->descs[i].len;
        d->flags = (c->descs[i].flags & VRING_DESC_F_WRITE)
                   | (more ? VRING_DESC_F_NEXT : 0);
        d->next = more ? c->descs[i + 1].id : 0;
    }
}

/* Notes the chain as the device's. */
static void
note_chain(struct ring *r, const struct chain *c)
{
    struct offered *o = &r->offered[c->id];

    free(o->ids);
    o->busy = true;
    o->descs = c->descs;
    o->n = c->n;
    o->n_ring = n_ring_descs(c);
    o->ids = zero_alloc(o->n_ring, sizeof *o->ids);
    for (unsigned int i = 0; i < o->n_ring; i++) {
        o->ids[i] = ring_desc(c, i);
        r->taken[o->ids[i]] = true;
    }
    o->room = 0;
    for (unsigned int i = 0; i < c->n; i++) {
        if (c->descs[i].flags & VRING_DESC_F_WRITE) {
            o->room += c->descs[i].len;
        }
    }
    r->n_busy++;
}

/* Contents. */

static size_t
header_len(const struct ring *r)
{
    return r->features & (FE_F_MRG | FE_F_VERSION_1) ? 12 : 10;
}

/* Writes 'len' bytes into the buffers of a chain that the device reads, from
 * their beginning on. */
static void
fill(const struct ring *r, const struct chain *c, const uint8_t *data,
     size_t len)
{
    for (unsigned int i = 0; i < c->n && len; i++) {
        const struct chain_desc *d = &c->descs[i];
        size_t n = d->len < len ? d->len : len;

        if (!(d->flags & VRING_DESC_F_WRITE)) {
            memcpy(stage_guest(r->stage, d->addr, n), data, n);
            data += n;
            len -= n;
        }
    }
}

/* Puts frame number 'number' into a chain that was sent. */
static void
fill_frame(struct ring *r, const struct chain *c, uint32_t number)
{
    static uint8_t bytes[12 + MAX_FRAME];
    size_t hlen = header_len(r), len = 0;
    struct virtio_net_hdr h = { .flags = 0 };

    for (unsigned int i = 0; i < c->n; i++) {
        len += c->descs[i].flags & VRING_DESC_F_WRITE ? 0 : c->descs[i].len;
    }
    if (len < hlen || len > sizeof bytes) {
        return;
    }
    if (r->features & FE_F_CSUM) {
        memcpy(&h, c->header, sizeof h);
    }
    memset(bytes, 0, hlen);
    if (!frame_make(bytes + hlen, len - hlen, number, &h)
        || (c->header_len && !(r->features & FE_F_CSUM))) {
        r->n_changed_headers++;
    }
    memcpy(bytes, &h, sizeof h);
    fill(r, c, bytes, len);
}

static void
clear_buffers(struct ring *r, const struct chain *c)
{
    for (unsigned int i = 0; i < c->n; i++) {
        memset(stage_guest(r->stage, c->descs[i].addr, c->descs[i].len), 0,
               c->descs[i].len);
    }
}

bool
ring_offer(struct ring *r, const struct chain *c, uint32_t number)
{
    if (!fits(r, c)) {
        r->n_unfit++;
        return false;
    }
    if (r->index % 2) {
        fill_frame(r, c, number);
    } else {
        clear_buffers(r, c);
    }
    write_descs(r, c);
    note_chain(r, c);
    __atomic_store_n(&r->avail->ring[r->avail_idx % r->size], c->id,
                     __ATOMIC_RELAXED);
    r->order[r->avail_idx % r->size] = c->id;
    r->avail_idx++;
    r->n_offered++;
    return true;
}

/* Publishing. */

void
ring_kick(struct ring *r)
{
    uint64_t one = 1;

    if (r->kick_fd >= 0 && write(r->kick_fd, &one, sizeof one) > 0) {
        r->n_kicks++;
    }
}

static bool
wants_kick(struct ring *r)
{
    uint16_t old = r->kick_idx, event;

    r->kick_idx = r->avail_idx;
    if (r->features & FE_F_EVENT_IDX) {
        event = __atomic_load_n((uint16_t *) &r->used->ring[r->size],
                                __ATOMIC_SEQ_CST);
        return vring_need_event(event, r->avail_idx, old);
    }
    return !(__atomic_load_n(&r->used->flags, __ATOMIC_SEQ_CST)
             & VRING_USED_F_NO_NOTIFY);
}

void
ring_publish(struct ring *r)
{
    if (__atomic_load_n(&r->avail->idx, __ATOMIC_RELAXED) == r->avail_idx) {
        return;
    }
    __atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_SEQ_CST);
    if (wants_kick(r)) {
        ring_kick(r);
    }
}

/* What comes back. */

static void
break_ring(struct ring *r)
{
    r->broken = true;
}

/* Ends a received frame. */
static void
judge_frame(struct ring *r)
{
    uint32_t number;

    r->n_frames++;
    switch (frame_check(r->frame, r->frame_len, &number)) {
    case FRAME_OURS:
        r->n_ours++;
        break;
    case FRAME_CORRUPT:
        r->fail(r->aux, "ring %u: a frame of %zu bytes arrived that the "
                "player had sent with other contents", r->index,
                r->frame_len);
        break;
    case FRAME_FOREIGN:
        break;
    }
}

/* Copies the first 'len' bytes that the device wrote to chain 'o'. */
static void
gather(const struct ring *r, const struct offered *o, uint8_t *to, size_t len)
{
    for (unsigned int i = 0; i < o->n && len; i++) {
        const struct chain_desc *d = &o->descs[i];
        size_t n = d->len < len ? d->len : len;

        const uint8_t *from = stage_guest(r->stage, d->addr, n);

        /* The region may be gone by now. */
        if (from && d->flags & VRING_DESC_F_WRITE) {
            memcpy(to, from, n);
            to += n;
            len -= n;
        }
    }
}

/* Takes 'len' bytes that were received in chain 'o': a frame or a part. */
static void
receive(struct ring *r, const struct offered *o, uint32_t len)
{
    struct virtio_net_hdr_mrg_rxbuf h = { .num_buffers = 1 };
    size_t skip = 0;

    if (!r->frame) {
        r->frame = zero_alloc(MAX_FRAME, 1);
    }
    if (!r->buffers_left) {
        skip = header_len(r);
        if (len < skip) {
            r->fail(r->aux, "ring %u: a frame of %u bytes has no room for "
                    "its header", r->index, len);
            break_ring(r);
            return;
        }
        gather(r, o, (uint8_t *) &h, skip);
        r->buffers_left = r->features & FE_F_MRG ? h.num_buffers : 1;
        r->frame_len = 0;
        if (!r->buffers_left) {
            r->fail(r->aux, "ring %u: a frame in no buffers", r->index);
            break_ring(r);
            return;
        }
    }
    if (len - skip > MAX_FRAME - skip - r->frame_len) {
        r->fail(r->aux, "ring %u: a frame of more than %zu bytes", r->index,
                r->frame_len + len);
        break_ring(r);
        return;
    }
    /* The header is gathered too, and moved out of the way. */
    gather(r, o, r->frame + r->frame_len, len);
    memmove(r->frame + r->frame_len, r->frame + r->frame_len + skip,
            len - skip);
    r->frame_len += len - skip;
    if (!--r->buffers_left) {
        judge_frame(r);
    }
}

unsigned int
ring_first_busy(const struct ring *r)
{
    unsigned int i = 0;

    while (i + 1 < r->laid_out_size && !r->offered[i].busy) {
        i++;
    }
    return i;
}

static void
release(struct ring *r, struct offered *o)
{
    for (unsigned int i = 0; i < o->n_ring; i++) {
        r->taken[o->ids[i]] = false;
    }
    o->busy = false;
    r->n_busy--;
    r->n_used++;
}

/* Takes the used entry at 'r->used_idx'. */
static void
take_used(struct ring *r, uint32_t id, uint32_t len)
{
    struct offered *o;

    if (id >= r->size || !r->offered[id].busy) {
        r->fail(r->aux, "ring %u: used entry %u gives back chain %u, which "
                "the back end does not have", r->index, r->used_idx, id);
        break_ring(r);
        return;
    }
    o = &r->offered[id];
    if (len > o->room) {
        r->fail(r->aux, "ring %u: used entry %u says that %u bytes were "
                "written to chain %u, which has room for %llu", r->index,
                r->used_idx, len, id, (unsigned long long int) o->room);
        break_ring(r);
        return;
    }
    if (!(r->index % 2)) {
        receive(r, o, len);
    }
    release(r, o);
    r->used_idx++;
}

static void
count_calls(struct ring *r)
{
    struct pollfd pfd = { .fd = r->call_fd, .events = POLLIN };
    uint64_t value;

    if (r->call_fd >= 0 && poll(&pfd, 1, 0) == 1
        && read(r->call_fd, &value, sizeof value) > 0) {
        r->n_calls += value;
    }
}

/* Takes the used entry at 'r->used_idx', the one before 'end' being the last
 * that is there.  With IN_ORDER a device may give back several chains by one
 * entry, that of the last of them, in the place of the first's.  Here only
 * chains that were sent are expected so: lengths of others would be lost. */
static void
take_batch(struct ring *r, uint16_t end)
{
    const struct vring_used_elem *u = &r->used->ring[r->used_idx % r->size];
    uint16_t last = r->used_idx;

    if (r->features & FE_F_IN_ORDER) {
        while (r->index % 2 && r->order[last % r->size] != u->id
               && (uint16_t) (last + 1) != end) {
            last++;
        }
        if (r->order[last % r->size] != u->id) {
            r->fail(r->aux, "ring %u: used entry %u gives back chain %u, "
                    "which is not in order", r->index, r->used_idx, u->id);
            break_ring(r);
            return;
        }
    }
    while (r->used_idx != last && !r->broken) {
        take_used(r, r->order[r->used_idx % r->size], 0);
    }
    if (!r->broken) {
        take_used(r, u->id, u->len);
    }
}

unsigned int
ring_poll(struct ring *r)
{
    uint16_t end, first = r->used_idx;

    if (!r->started || !r->desc || r->packed || r->broken) {
        return 0;
    }
    count_calls(r);
    end = __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
    if ((uint16_t) (end - r->used_idx)
        > (uint16_t) (r->avail_idx - r->used_idx)) {
        r->fail(r->aux, "ring %u: the used index is %u, but only %u chains "
                "were offered after %u", r->index, end,
                (uint16_t) (r->avail_idx - r->used_idx), r->used_idx);
        break_ring(r);
        return 0;
    }
    while (r->used_idx != end && !r->broken) {
        take_batch(r, end);
    }
    /* Calls are wanted as a driver wants them that sleeps meanwhile. */
    __atomic_store_n(&r->avail->ring[r->size], r->used_idx,
                     __ATOMIC_SEQ_CST);
    return (uint16_t) (r->used_idx - first);
}
