/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Following packed rings.  A device that uses a chain overwrites descriptors,
 * among them the one that says where the next chain begins.  So a chain that
 * was used before it was seen cannot be told from one that was skipped, and
 * the ring is lost from there on until its next start. */

#include "session/follow.h"

#define LOAD(P) __atomic_load_n(P, __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(P) __atomic_load_n(P, __ATOMIC_ACQUIRE)

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)

enum slot_state { SLOT_EMPTY, SLOT_OFFERED, SLOT_USED };

/* What flags 'flags' mean where the wrap counter is 'wrap'. */
static enum slot_state
slot_state(uint16_t flags, bool wrap)
{
    bool avail = flags & F_AVAIL, used = flags & F_USED;

    if (avail != wrap) {
        return SLOT_EMPTY;
    }
    return used == wrap ? SLOT_USED : SLOT_OFFERED;
}

/* Position of a walk. */
struct place {
    uint16_t slot;
    bool wrap;
};

static void
advance(const struct follow *f, struct place *p)
{
    if (++p->slot == f->size) {
        p->slot = 0;
        p->wrap = !p->wrap;
    }
}

static struct chain_desc
load_slot(const struct follow *f, uint16_t slot, uint16_t *id)
{
    const struct vring_packed_desc *d = f->desc;

    d += slot;
    *id = LOAD(&d->id);
    return (struct chain_desc) {
        .id = slot,
        .addr = LOAD(&d->addr),
        .len = LOAD(&d->len),
        .flags = LOAD(&d->flags),
    };
}

/* Reads the chain at 'p', which goes to its end. */
static bool
read_chain(const struct follow *f, const struct memory *mem,
           struct batch *b, struct chain *c, struct place *p)
{
    for (unsigned int i = 0; i < f->size; i++) {
        uint16_t id;
        struct chain_desc d = load_slot(f, p->slot, &id);

        advance(f, p);
        if (!i && d.flags & VRING_DESC_F_INDIRECT) {
            c->id = id;
            c->table = d;
            return read_table(b, c, mem, false);
        }
        if (!memory_guest(mem, d.addr, d.len ? 1 : 0)
            || !batch_add_desc(b, &d)) {
            return false;
        }
        c->id = id;
        if (!(d.flags & VRING_DESC_F_NEXT)) {
            return true;
        }
    }
    return false;
}

void
follow_sample_packed(struct follow *f, const struct memory *mem, uint64_t t)
{
    static struct batch batch;
    const struct vring_packed_desc *descs = f->desc;
    uint16_t first = f->at;

    batch.n = batch.n_descs = 0;
    while (!f->lost) {
        struct place p = { f->at, f->wrap };
        enum slot_state state = slot_state(LOAD_ACQUIRE(&descs[p.slot].flags),
                                           p.wrap);
        struct chain *c;

        if (state == SLOT_EMPTY) {
            break;
        }
        c = batch_add(&batch);
        if (!c) {
            batch_write(f, &batch, first, t);
            first = f->at;
            continue;
        }
        f->totals.chains++;
        f->lost = state == SLOT_USED
                  || !read_chain(f, mem, &batch, c, &p);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        f->lost |= slot_state(LOAD(&descs[f->at].flags), f->wrap)
                   != SLOT_OFFERED;
        if (f->lost) {
            f->totals.missed++;
            batch.n_descs -= c->n;
            batch.n--;
            break;
        }
        note_header(f, mem, c);
        f->at = p.slot;
        f->wrap = p.wrap;
        if (f->n_chains + batch.n > f->max_chains) {
            batch.n_descs -= c->n;
            batch.n--;
        }
    }
    batch_write(f, &batch, first, t);
}
