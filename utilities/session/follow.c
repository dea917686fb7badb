/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Following split rings, and what both formats need: see follow.h. */

#include "session/follow.h"

#include <string.h>

#define LOAD(P) __atomic_load_n(P, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(P) __atomic_load_n(P, __ATOMIC_ACQUIRE)

void
follow_translate(struct follow *f, const struct memory *mem)
{
    uint64_t n = f->size;

    f->desc = memory_user(mem, f->addr.desc, 16 * n);
    f->avail = memory_user(mem, f->addr.avail, f->packed ? 4 : 6 + 2 * n);
    f->used = memory_user(mem, f->addr.used, f->packed ? 4 : 6 + 8 * n);
    if (!f->desc || !f->avail || !f->used) {
        f->desc = f->avail = f->used = NULL;
    }
}

void
follow_start(struct follow *f, uint32_t base)
{
    f->active = true;
    f->announced = f->lost = false;
    f->base = base;
    f->n_chains = f->n_used = 0;
    if (f->packed) {
        f->at = base & 0x7fff;
        f->wrap = base >> 15 & 1;
    } else {
        f->at = f->at_used = base;
    }
}

/* Records that the ring has started. */
static void
announce(struct follow *f, uint64_t t)
{
    struct event e = {
        .kind = EVENT_START, .t = t, .ring = f->totals.ring, .size = f->size,
        .packed = f->packed, .avail = f->base & 0xffff,
        .used_idx = f->base >> 16,
    };

    if (f->desc && !f->packed) {
        e.avail = LOAD(&((const struct vring_avail *) f->avail)->idx);
        e.used_idx = LOAD(&((const struct vring_used *) f->used)->idx);
    }
    f->announced = true;
    if (f->max_chains) {
        recording_write(&e);
    }
}

/* Batches. */

struct chain *
batch_add(struct batch *b)
{
    struct chain *c;

    if (b->n == BATCH_CHAINS || b->n_descs + MAX_CHAIN > BATCH_DESCS) {
        return NULL;
    }
    c = &b->chains[b->n++];
    memset(c, 0, sizeof *c);
    c->descs = &b->descs[b->n_descs];
    return c;
}

bool
batch_add_desc(struct batch *b, const struct chain_desc *d)
{
    struct chain *c = &b->chains[b->n - 1];

    if (c->n == MAX_CHAIN) {
        return false;
    }
    c->descs[c->n++] = *d;
    b->n_descs++;
    return true;
}

/* Gives the last chain's room back. */
static void
batch_drop(struct batch *b)
{
    b->n_descs -= b->chains[--b->n].n;
}

void
batch_write(struct follow *f, struct batch *b, uint16_t at, uint64_t t)
{
    struct event e = {
        .kind = EVENT_OFFER, .t = t, .ring = f->totals.ring, .at = at,
        .n = b->n, .chains = b->chains,
    };

    if (b->n) {
        for (unsigned int i = 0; i < b->n; i++) {
            f->totals.late += b->chains[i].late;
        }
        f->n_chains += b->n;
        f->totals.recorded += b->n;
        recording_write(&e);
    }
    b->n = b->n_descs = 0;
}

/* Chains. */

struct chain_desc
load_desc(const struct vring_desc *d, uint32_t id, uint16_t *next)
{
    struct chain_desc copy = {
        .id = id,
        .addr = LOAD(&d->addr),
        .len = LOAD(&d->len),
        .flags = LOAD(&d->flags),
    };

    *next = LOAD(&d->next);
    return copy;
}

/* Walks 'n' descriptors at 'descs' from 'id' on. */
static bool
walk(struct batch *b, const struct memory *mem,
     const struct vring_desc *descs, unsigned int n, uint32_t id)
{
    for (unsigned int i = 0; i < n; i++) {
        struct chain_desc d;
        uint16_t next;

        if (id >= n) {
            return false;
        }
        d = load_desc(&descs[id], id, &next);
        if (d.flags & VRING_DESC_F_INDIRECT
            || !memory_guest(mem, d.addr, d.len ? 1 : 0)
            || !batch_add_desc(b, &d)) {
            return false;
        }
        if (!(d.flags & VRING_DESC_F_NEXT)) {
            return true;
        }
        id = next;
    }
    return false;
}

bool
read_table(struct batch *b, struct chain *c, const struct memory *mem,
           bool chained)
{
    unsigned int n = c->table.len / sizeof (struct vring_desc);
    const struct vring_desc *table;

    c->indirect = true;
    table = memory_guest(mem, c->table.addr, c->table.len);
    if (!table || !n || c->table.len % sizeof *table || n > MAX_RING_SIZE) {
        return false;
    }
    if (chained) {
        return walk(b, mem, table, n, 0);
    }
    for (unsigned int i = 0; i < n; i++) {
        uint16_t next;
        struct chain_desc d = load_desc(&table[i], i, &next);

        if (!memory_guest(mem, d.addr, d.len ? 1 : 0)
            || !batch_add_desc(b, &d)) {
            return false;
        }
    }
    return true;
}

void
note_header(const struct follow *f, const struct memory *mem,
            struct chain *c)
{
    unsigned int have = 0;

    for (unsigned int i = 0; i < c->n && have < f->header_len; i++) {
        unsigned int len = f->header_len - have;
        const uint8_t *from;

        len = c->descs[i].len < len ? c->descs[i].len : len;
        from = memory_guest(mem, c->descs[i].addr, len);
        if (!from || c->descs[i].flags & VRING_DESC_F_WRITE) {
            return;
        }
        memcpy(c->header + have, from, len);
        have += len;
    }
    for (unsigned int i = 0; i < have; i++) {
        if (c->header[i]) {
            c->header_len = have;
        }
    }
}

/* Split rings. */

/* Reads the chain at index 'at'.  Returns false if it is none. */
static bool
read_chain(const struct follow *f, const struct memory *mem,
           struct batch *b, struct chain *c, uint16_t at)
{
    const struct vring_avail *avail = f->avail;
    const struct vring_desc *descs = f->desc;
    uint16_t next;

    c->id = LOAD(&avail->ring[at % f->size]);
    if (c->id >= f->size) {
        return false;
    }
    c->table = load_desc(&descs[c->id], c->id, &next);
    if (c->table.flags & VRING_DESC_F_INDIRECT) {
        return read_table(b, c, mem, true);
    }
    return walk(b, mem, descs, f->size, c->id);
}

/* Marks the chains, the first of which has index 'at', that the device had
 * used when they were read. */
static void
mark_late(const struct follow *f, struct batch *b, uint16_t at)
{
    const struct vring_used *used = f->used;
    int16_t n_used;

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    n_used = LOAD(&used->idx) - at;
    for (unsigned int i = 0; i < b->n; i++) {
        b->chains[i].late = (int) i < n_used;
    }
}

/* Records the chains from 'f->at' up to 'end'. */
static void
take_offers(struct follow *f, const struct memory *mem, uint16_t end,
            uint64_t t)
{
    static struct batch batch;
    uint16_t first = f->at;

    batch.n = batch.n_descs = 0;
    while (f->at != end) {
        struct chain *c;

        if (f->n_chains + batch.n >= f->max_chains) {
            f->totals.chains += (uint16_t) (end - f->at);
            f->at = end;
            break;
        }
        c = batch_add(&batch);
        if (!c) {
            mark_late(f, &batch, first);
            batch_write(f, &batch, first, t);
            first = f->at;
            continue;
        }
        f->totals.chains++;
        if (read_chain(f, mem, &batch, c, f->at++)) {
            note_header(f, mem, c);
            continue;
        }
        /* Indexes in an event are consecutive. */
        f->totals.bad++;
        batch_drop(&batch);
        mark_late(f, &batch, first);
        batch_write(f, &batch, first, t);
        first = f->at;
    }
    mark_late(f, &batch, first);
    batch_write(f, &batch, first, t);
}

/* Records used entries up to 'end'. */
static void
take_used(struct follow *f, uint16_t end, uint64_t t)
{
    static struct used_entry entries[BATCH_CHAINS];
    const struct vring_used *used = f->used;
    struct event e = {
        .kind = EVENT_USED, .t = t, .ring = f->totals.ring,
        .used = entries,
    };

    while (f->at_used != end) {
        if (f->n_used >= f->max_chains) {
            f->at_used = end;
            break;
        }
        e.at = f->at_used;
        for (e.n = 0; e.n < BATCH_CHAINS && f->at_used != end
             && f->n_used < f->max_chains; e.n++, f->n_used++) {
            const struct vring_used_elem *u
                = &used->ring[f->at_used++ % f->size];

            entries[e.n].id = LOAD(&u->id);
            entries[e.n].len = LOAD(&u->len);
        }
        recording_write(&e);
    }
}

void
follow_sample(struct follow *f, const struct memory *mem, uint64_t t)
{
    const struct vring_avail *avail = f->avail;
    const struct vring_used *used = f->used;
    uint16_t end;

    if (!f->announced) {
        announce(f, t);
    }
    if (!f->desc) {
        return;
    }
    if (f->packed) {
        follow_sample_packed(f, mem, t);
        return;
    }
    end = LOAD_ACQUIRE(&avail->idx);
    if ((uint16_t) (end - f->at) > f->size) {
        f->totals.chains += (uint16_t) (end - f->at);
        f->totals.missed += (uint16_t) (end - f->at);
        f->at = end;
    }
    take_offers(f, mem, end, t);

    end = LOAD_ACQUIRE(&used->idx);
    if ((int16_t) (end - f->at) > 0) {
        /* What was used since then was not yet offered above. */
        end = f->at;
    }
    if ((uint16_t) (end - f->at_used) > f->size) {
        f->at_used = end;
    }
    take_used(f, end, t);
}
