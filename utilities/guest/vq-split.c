/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Split virtqueues, the driver's side: see vq.h. */

#include "guest/vq.h"

#include <string.h>

#include "guest/iommu.h"
#include "guest/vq-format.h"

/* Where index 'idx' of a ring is.  Sizes are powers of 2 unless a front end
 * tries something else. */
static unsigned int
slot(const struct fe_vq *vq, uint16_t idx)
{
    return vq->size & (vq->size - 1) ? idx % vq->size : idx & (vq->size - 1);
}

static void
split_reset(struct fe_vq *vq)
{
    memset(vq->desc, 0, sizeof *vq->desc * vq->size);
    memset(vq->avail, 0, 6 + 2 * vq->size);
    memset(vq->used, 0, 6 + sizeof vq->used->ring[0] * vq->size);
    vq->avail_idx = vq->used_idx = vq->kick_idx = 0;
}

static void
split_layout(struct fe_vq *vq, unsigned int r)
{
    size_t desc_len = sizeof *vq->desc * vq->size;
    size_t avail_len = 6 + 2 * vq->size;
    size_t used_len = 6 + sizeof vq->used->ring[0] * vq->size;

    /* What each side writes is in cache lines of its own. */
    vq->desc_addr = fe_alloc(vq->fe, r, desc_len, 64);
    vq->avail_addr = fe_alloc(vq->fe, r, avail_len, 64);
    vq->used_addr = fe_alloc(vq->fe, r, used_len, 64);
    vq->desc = fe_ptr(vq->fe, vq->desc_addr, desc_len);
    vq->avail = fe_ptr(vq->fe, vq->avail_addr, avail_len);
    vq->used = fe_ptr(vq->fe, vq->used_addr, used_len);
}

static void
fill_desc(const struct fe *fe, struct vring_desc *d, const struct fe_buf *buf,
          bool more, uint16_t next)
{
    d->addr = fe_dma_addr(fe, buf->addr);
    d->len = buf->len;
    d->flags = (buf->in ? VRING_DESC_F_WRITE : 0)
               | (more ? VRING_DESC_F_NEXT : 0);
    d->next = more ? next : 0;
}

static void
fill_table(struct fe_vq *vq, const struct fe_buf bufs[], unsigned int n,
           uint64_t addr)
{
    struct vring_desc *table = fe_ptr(vq->fe, addr, n * sizeof *table);

    for (unsigned int i = 0; i < n; i++) {
        fill_desc(vq->fe, &table[i], &bufs[i], i + 1 < n, i + 1);
    }
}

void
fe_vq_avail_raw(struct fe_vq *vq, uint16_t head)
{
    __atomic_store_n(&vq->avail->ring[slot(vq, vq->avail_idx)], head,
                     __ATOMIC_RELAXED);
    vq->avail_idx++;
}

static void
split_add(struct fe_vq *vq, const struct fe_buf bufs[], unsigned int n,
          uint64_t table)
{
    uint16_t head = vq->free_head;

    if (table) {
        struct vring_desc *d = &vq->desc[head];

        fill_table(vq, bufs, n, table);
        d->addr = fe_dma_addr(vq->fe, table);
        d->len = n * sizeof *d;
        d->flags = VRING_DESC_F_INDIRECT;
        d->next = 0;
        vq->free_head = vq->next_free[head];
    } else {
        uint16_t id = head;

        for (unsigned int i = 0; i < n; i++) {
            fill_desc(vq->fe, &vq->desc[id], &bufs[i], i + 1 < n,
                      vq->next_free[id]);
            id = vq->next_free[id];
        }
        vq->free_head = id;
    }
    fe_vq_avail_raw(vq, head);
}

static void
split_publish(struct fe_vq *vq)
{
    /* Before the driver looks whether a kick is wanted. */
    __atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_SEQ_CST);
}

uint16_t
fe_vq_published_used(const struct fe_vq *vq)
{
    return __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
}

static bool
split_used(const struct fe_vq *vq, uint32_t *id, uint32_t *len)
{
    uint16_t published = fe_vq_published_used(vq);
    const struct vring_used_elem *e;

    if (published == vq->used_idx) {
        return false;
    }
    FE_CHECK_LE((uint16_t) (published - vq->used_idx), vq->size);
    e = &vq->used->ring[slot(vq, vq->used_idx)];
    *id = e->id;
    *len = e->len;
    return true;
}

static void
split_consume(struct fe_vq *vq, unsigned int n_descs)
{
    (void) n_descs;
    vq->used_idx++;
}

static void
split_release(struct fe_vq *vq, uint16_t head, unsigned int n_descs)
{
    uint16_t last = head;

    if (vq->in_order) {
        return;                 /* The others come first. */
    }
    for (unsigned int i = 1; i < n_descs; i++) {
        last = vq->next_free[last];
    }
    vq->next_free[last] = vq->free_head;
    vq->free_head = head;
}

static void
split_again(struct fe_vq *vq, struct fe_chain *chain, uint16_t head)
{
    fe_vq_avail_raw(vq, head);
    if (vq->in_order) {
        vq->free_head = fe_next_head(vq, head, chain->n_descs);
    }
}

static unsigned int
split_recycle(struct fe_vq *vq, unsigned int max, uint64_t *bytes)
{
    return fe_recycle(vq, max, bytes, split_used, split_consume, split_again);
}

static bool
split_wants_kick(struct fe_vq *vq)
{
    uint16_t old = vq->kick_idx;

    vq->kick_idx = vq->avail_idx;
    if (old == vq->avail_idx) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (vq->fe->features & FE_F_EVENT_IDX) {
        return vring_need_event(fe_vq_avail_event(vq), vq->avail_idx, old);
    }
    return !(__atomic_load_n(&vq->used->flags, __ATOMIC_RELAXED)
             & VRING_USED_F_NO_NOTIFY);
}

static bool
split_want_calls(struct fe_vq *vq, bool wanted)
{
    if (vq->fe->features & FE_F_EVENT_IDX) {
        /* An index that has just gone by is the last that will come. */
        fe_vq_set_used_event(vq, wanted ? vq->used_idx : vq->used_idx - 1);
    } else {
        fe_vq_set_flags(vq, wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return fe_vq_published_used(vq) != vq->used_idx;
}

static uint32_t
split_base(const struct fe_vq *vq)
{
    return fe_vq_published_used(vq);
}

static void
split_set_position(struct fe_vq *vq, uint16_t n)
{
    vq->avail_idx = vq->used_idx = vq->kick_idx = n;
    __atomic_store_n(&vq->avail->idx, n, __ATOMIC_RELEASE);
    __atomic_store_n(&vq->used->idx, n, __ATOMIC_RELEASE);
}

const struct fe_vq_ops fe_vq_split = {
    .layout = split_layout,
    .reset = split_reset,
    .set_position = split_set_position,
    .add = split_add,
    .publish = split_publish,
    .used = split_used,
    .consume = split_consume,
    .release = split_release,
    .recycle = split_recycle,
    .wants_kick = split_wants_kick,
    .want_calls = split_want_calls,
    .base = split_base,
};

/* For who knows what he is doing. */

void
fe_vq_set_flags(struct fe_vq *vq, uint16_t flags)
{
    __atomic_store_n(&vq->avail->flags, flags, __ATOMIC_SEQ_CST);
}

void
fe_vq_set_used_event(struct fe_vq *vq, uint16_t value)
{
    __atomic_store_n(&vq->avail->ring[vq->size], value, __ATOMIC_SEQ_CST);
}

uint16_t
fe_vq_avail_event(const struct fe_vq *vq)
{
    return __atomic_load_n((uint16_t *) &vq->used->ring[vq->size],
                           __ATOMIC_SEQ_CST);
}
