/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Packed virtqueues, the driver's side: see vq.h.
 *
 * Buffer IDs are free ones in any order; with IN_ORDER a chain's first slot is
 * its ID, as with drivers that keep no other book.  Only the last descriptor
 * of a chain has it: the others, and those in indirect tables, have an ID that
 * is wrong, which a device must not mind.
 *
 * All that the device may look at is stored atomically, as it may look ahead
 * of what has been published. */

#include "guest/vq.h"

#include <string.h>

#include "guest/iommu.h"
#include "guest/vq-format.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)
#define NO_ID 0xffff

/* Positions. */

/* The bits of a descriptor that the driver makes available while its wrap
 * counter is 'wrap'. */
static uint16_t
available(bool wrap)
{
    return wrap ? AVAIL : USED;
}

/* Moves a position by 'n' slots, at most once round. */
static void
advance(const struct fe_vq *vq, unsigned int *at, bool *wrap, unsigned int n)
{
    *at += n;
    if (*at >= vq->size) {
        *at -= vq->size;
        *wrap = !*wrap;
    }
}

static void
take_slots(struct fe_vq *vq, unsigned int n)
{
    advance(vq, &vq->avail_at, &vq->avail_wrap, n);
    vq->n_held += n;
    if (vq->in_order) {
        vq->free_head = vq->avail_at;
    }
}

uint32_t
fe_packed_base(unsigned int at, bool wrap)
{
    uint32_t half = at | (uint32_t) wrap << 15;

    return half | half << 16;
}

/* The ring. */

static void
packed_reset(struct fe_vq *vq)
{
    memset(vq->ring, 0, vq->size * sizeof *vq->ring);
    memset(vq->driver_event, 0, sizeof *vq->driver_event);
    memset(vq->device_event, 0, sizeof *vq->device_event);
    vq->avail_at = vq->used_at = 0;
    vq->avail_wrap = vq->used_wrap = true;
    vq->held = NULL;
    vq->n_held = vq->n_new = 0;
}

static void
packed_layout(struct fe_vq *vq, unsigned int r)
{
    size_t ring_len = vq->size * sizeof *vq->ring;
    size_t event_len = sizeof *vq->driver_event;

    /* What each side writes is in cache lines of its own. */
    vq->desc_addr = fe_alloc(vq->fe, r, ring_len, 64);
    vq->avail_addr = fe_alloc(vq->fe, r, event_len, 64);
    vq->used_addr = fe_alloc(vq->fe, r, event_len, 64);
    vq->ring = fe_ptr(vq->fe, vq->desc_addr, ring_len);
    vq->driver_event = fe_ptr(vq->fe, vq->avail_addr, event_len);
    vq->device_event = fe_ptr(vq->fe, vq->used_addr, event_len);
}

static void
packed_set_position(struct fe_vq *vq, uint16_t n)
{
    unsigned int at = n % vq->size;
    bool wrap = !(n / vq->size % 2);

    for (unsigned int i = 0; i < vq->size; i++) {
        bool last = i < at ? wrap : !wrap;

        __atomic_store_n(&vq->ring[i].flags, last ? AVAIL | USED : 0,
                         __ATOMIC_RELEASE);
    }
    vq->avail_at = vq->used_at = at;
    vq->avail_wrap = vq->used_wrap = wrap;
    if (vq->in_order) {
        vq->free_head = vq->oldest = at;
    }
}

/* Offering. */

static void
store_desc(struct vring_packed_desc *d, uint64_t addr, uint32_t len,
           uint16_t id)
{
    __atomic_store_n(&d->addr, addr, __ATOMIC_RELAXED);
    __atomic_store_n(&d->len, len, __ATOMIC_RELAXED);
    __atomic_store_n(&d->id, id, __ATOMIC_RELAXED);
}

/* Makes the chain that begins with 'd' available.  The device comes to it
 * after those before, so holding back the first one holds back all. */
static void
store_head_flags(struct fe_vq *vq, struct vring_packed_desc *d,
                 uint16_t flags)
{
    if (vq->held) {
        __atomic_store_n(&d->flags, flags, __ATOMIC_RELEASE);
    } else {
        vq->held = d;
        vq->held_flags = flags;
    }
}

static uint16_t
buf_flags(const struct fe_buf *buf, bool more)
{
    return (buf->in ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0);
}

/* Puts a chain into the next slots: descriptor 'first', and more for buffers 1
 * to n - 1, the last of which gets the ID. */
static void
put_chain(struct fe_vq *vq, const struct vring_packed_desc *first,
          const struct fe_buf bufs[], unsigned int n, uint16_t id)
{
    struct vring_packed_desc *head = &vq->ring[vq->avail_at];
    uint16_t head_flags = first->flags | available(vq->avail_wrap);

    store_desc(head, first->addr, first->len, first->id);
    take_slots(vq, 1);
    for (unsigned int i = 1; i < n; i++) {
        struct vring_packed_desc *d = &vq->ring[vq->avail_at];
        bool more = i + 1 < n;

        store_desc(d, fe_dma_addr(vq->fe, bufs[i].addr), bufs[i].len,
                   more ? NO_ID : id);
        __atomic_store_n(&d->flags, buf_flags(&bufs[i], more)
                                    | available(vq->avail_wrap),
                         __ATOMIC_RELAXED);
        take_slots(vq, 1);
    }
    store_head_flags(vq, head, head_flags);
}

static void
fill_table(struct fe_vq *vq, const struct fe_buf bufs[], unsigned int n,
           uint64_t addr)
{
    struct vring_packed_desc *table;

    table = fe_ptr(vq->fe, addr, n * sizeof *table);
    for (unsigned int i = 0; i < n; i++) {
        store_desc(&table[i], fe_dma_addr(vq->fe, bufs[i].addr), bufs[i].len,
                   NO_ID);
        __atomic_store_n(&table[i].flags, buf_flags(&bufs[i], false),
                         __ATOMIC_RELAXED);
    }
}

static void
packed_add(struct fe_vq *vq, const struct fe_buf bufs[], unsigned int n,
           uint64_t table)
{
    uint16_t id = vq->free_head;
    struct vring_packed_desc *first = &vq->chains[id].first;

    if (!vq->in_order) {
        vq->free_head = vq->next_free[id];
    }
    if (table) {
        fill_table(vq, bufs, n, table);
        first->addr = fe_dma_addr(vq->fe, table);
        first->len = n * sizeof *first;
        first->flags = VRING_DESC_F_INDIRECT;
        n = 1;
    } else {
        first->addr = fe_dma_addr(vq->fe, bufs[0].addr);
        first->len = bufs[0].len;
        first->flags = buf_flags(&bufs[0], n > 1);
    }
    first->id = n > 1 ? NO_ID : id;
    put_chain(vq, first, bufs, n, id);
}

static void
packed_publish(struct fe_vq *vq)
{
    if (vq->held) {
        __atomic_store_n(&vq->held->flags, vq->held_flags, __ATOMIC_RELEASE);
        vq->held = NULL;
    }
    /* More than once round is as good as all round. */
    vq->n_new += vq->n_held;
    vq->n_new = vq->n_new < vq->size ? vq->n_new : vq->size;
    vq->n_held = 0;
}

/* Used ones. */

static bool
slot_is_used(const struct fe_vq *vq, unsigned int at, bool wrap,
             uint16_t *flags)
{
    *flags = __atomic_load_n(&vq->ring[at].flags, __ATOMIC_ACQUIRE);
    return (*flags & (AVAIL | USED)) == (wrap ? AVAIL | USED : 0);
}

static bool
packed_used(const struct fe_vq *vq, uint32_t *id, uint32_t *len)
{
    const struct vring_packed_desc *d = &vq->ring[vq->used_at];
    uint16_t flags;

    if (!slot_is_used(vq, vq->used_at, vq->used_wrap, &flags)) {
        return false;
    }
    *id = __atomic_load_n(&d->id, __ATOMIC_RELAXED);
    *len = flags & VRING_DESC_F_WRITE
           ? __atomic_load_n(&d->len, __ATOMIC_RELAXED) : 0;
    return true;
}

static void
packed_consume(struct fe_vq *vq, unsigned int n_descs)
{
    advance(vq, &vq->used_at, &vq->used_wrap, n_descs);
}

static void
packed_release(struct fe_vq *vq, uint16_t head, unsigned int n_descs)
{
    (void) n_descs;
    if (!vq->in_order) {
        vq->next_free[head] = vq->free_head;
        vq->free_head = head;
    }
}

static void
packed_again(struct fe_vq *vq, struct fe_chain *chain, uint16_t head)
{
    put_chain(vq, &chain->first, chain->bufs, chain->n_descs, head);
}

static unsigned int
packed_recycle(struct fe_vq *vq, unsigned int max, uint64_t *bytes)
{
    return fe_recycle(vq, max, bytes, packed_used, packed_consume,
                      packed_again);
}

/* Slots of the chains that a used entry with 'id' gives back, of which
 * '*oldest' is the first if in order; 0 if the device does not have it. */
static unsigned int
n_slots(const struct fe_vq *vq, uint32_t id, uint16_t *oldest)
{
    unsigned int n = 0;

    if (id >= vq->size || !vq->chains[id].busy) {
        return 0;
    }
    if (!vq->in_order) {
        return vq->chains[id].n_descs;
    }
    for (;;) {
        const struct fe_chain *chain = &vq->chains[*oldest];
        bool last = *oldest == id;

        n += chain->n_descs;
        *oldest = fe_next_head(vq, *oldest, chain->n_descs);
        if (last || n >= vq->size) {
            return n;
        }
    }
}

static uint32_t
packed_base(const struct fe_vq *vq)
{
    unsigned int at = vq->used_at, n, left = vq->size - vq->n_free;
    bool wrap = vq->used_wrap;
    uint16_t flags, oldest = vq->oldest;

    if (vq->in_batch) {
        n = n_slots(vq, vq->batch_last, &oldest);
        advance(vq, &at, &wrap, n);
        left -= n;
    }
    while (left && slot_is_used(vq, at, wrap, &flags)) {
        uint32_t id = __atomic_load_n(&vq->ring[at].id, __ATOMIC_RELAXED);

        n = n_slots(vq, id, &oldest);
        if (!n || n > left) {
            break;              /* Whoever takes it will complain. */
        }
        advance(vq, &at, &wrap, n);
        left -= n;
    }
    return fe_packed_base(at, wrap);
}

/* Events. */

static bool
packed_wants_kick(struct fe_vq *vq)
{
    uint16_t new = vq->avail_at, old = new - vq->n_new, event, flags;
    bool wrap;

    if (!vq->n_new) {
        return false;
    }
    vq->n_new = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    fe_vq_device_event(vq, &event, &flags);
    FE_CHECK_LE(flags, VRING_PACKED_EVENT_FLAG_DESC);
    if (flags != VRING_PACKED_EVENT_FLAG_DESC) {
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
    FE_CHECK(vq->fe->features & FE_F_EVENT_IDX);
    wrap = event >> VRING_PACKED_EVENT_F_WRAP_CTR;
    event &= (1u << VRING_PACKED_EVENT_F_WRAP_CTR) - 1;
    FE_CHECK_LT(event, vq->size);
    if (wrap != vq->avail_wrap) {
        event -= vq->size;      /* Of the round before. */
    }
    return vring_need_event(event, new, old);
}

static bool
packed_want_calls(struct fe_vq *vq, bool wanted)
{
    uint16_t off_wrap = vq->used_at
                        | vq->used_wrap << VRING_PACKED_EVENT_F_WRAP_CTR;
    uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;

    if (wanted) {
        flags = vq->fe->features & FE_F_EVENT_IDX
                ? VRING_PACKED_EVENT_FLAG_DESC
                : VRING_PACKED_EVENT_FLAG_ENABLE;
    }
    fe_vq_set_driver_event(vq, off_wrap, flags);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return vq->in_batch
           || slot_is_used(vq, vq->used_at, vq->used_wrap, &flags);
}

const struct fe_vq_ops fe_vq_packed = {
    .layout = packed_layout,
    .reset = packed_reset,
    .set_position = packed_set_position,
    .add = packed_add,
    .publish = packed_publish,
    .used = packed_used,
    .consume = packed_consume,
    .release = packed_release,
    .recycle = packed_recycle,
    .wants_kick = packed_wants_kick,
    .want_calls = packed_want_calls,
    .base = packed_base,
};

/* For who knows what he is doing. */

void
fe_vq_desc_raw(struct fe_vq *vq, uint64_t addr, uint32_t len, uint16_t id,
               uint16_t flags)
{
    struct vring_packed_desc *d = &vq->ring[vq->avail_at];

    store_desc(d, addr, len, id);
    store_head_flags(vq, d, flags ^ available(vq->avail_wrap));
    take_slots(vq, 1);
}

void
fe_vq_set_driver_event(struct fe_vq *vq, uint16_t off_wrap, uint16_t flags)
{
    __atomic_store_n(&vq->driver_event->off_wrap, off_wrap, __ATOMIC_RELAXED);
    __atomic_store_n(&vq->driver_event->flags, flags, __ATOMIC_RELEASE);
}

void
fe_vq_device_event(const struct fe_vq *vq, uint16_t *off_wrap, uint16_t *flags)
{
    *flags = __atomic_load_n(&vq->device_event->flags, __ATOMIC_ACQUIRE);
    *off_wrap = __atomic_load_n(&vq->device_event->off_wrap, __ATOMIC_RELAXED);
}
