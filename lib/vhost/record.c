/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Starting a crash record, and going on from one; record.h says what it is.
 */

#include "record.h"

void
vhost_record_start(struct vhost_crash_record *r,
                   const struct vhost_record_key *key, uint16_t pos)
{
    atomic_store_explicit(&r->pending, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(&r->key, key, sizeof *key);
    r->last = r->first = pos;
    r->latest = (struct vhost_used) { 0 };
    atomic_store_explicit(&r->pos, pos, memory_order_relaxed);
}

/* True if the positions in 'r', which may come from elsewhere, exist in a ring
 * of 'vr'. */
static bool
is_sane(const struct vhost_crash_record *r, const struct vhost_vring *vr)
{
    unsigned int n = atomic_load(&r->pending);
    uint32_t slots = 0;

    if (n > VHOST_BURST_SEGS) {
        return false;
    }
    for (unsigned int i = 0; i < n; i++) {
        slots += r->used[i].slots;
    }
    return (slots <= vr->size
            && (r->first & ~VRING_PACKED_WRAP) < vr->size
            && (r->last & ~VRING_PACKED_WRAP) < vr->size
            && (atomic_load(&r->pos) & ~VRING_PACKED_WRAP) < vr->size);
}

static uint16_t
flags_at(const struct vhost_vring *vr, unsigned int index)
{
    return guest_load16(&vr->pdesc[index].flags);
}

static uint16_t
id_at(const struct vhost_vring *vr, unsigned int index)
{
    return __atomic_load_n(&vr->pdesc[index].id, __ATOMIC_RELAXED);
}

/* True if the entry that was given back last is still as it was. */
static bool
is_untouched(const struct vhost_crash_record *r, const struct vhost_vring *vr)
{
    unsigned int last = r->last & ~VRING_PACKED_WRAP;
    uint32_t len = __atomic_load_n(&vr->pdesc[last].len, __ATOMIC_RELAXED);

    return (!(r->last & VRING_PACKED_WRAP) && (r->latest.id || r->latest.len)
            && r->latest.id == id_at(vr, last) && r->latest.len == len
            && !(flags_at(vr, last) & VRING_PACKED_AVAIL));
}

/* True unless the ring looks like that of a driver that was reset, which starts
 * at the first position with a ring of zeros, and offers descriptors with USED
 * 0 from the ring's start on.  An old ring may look like that where a lap has
 * just ended: then it goes on at the first position, too. */
static bool
has_history(const struct vhost_crash_record *r, const struct vhost_vring *vr)
{
    bool seen_free = false;
    bool prefix = true;

    for (unsigned int i = 0; i < vr->size; i++) {
        uint16_t flags = flags_at(vr, i);

        if (flags & VRING_PACKED_USED) {
            return true;
        } else if (!(flags & VRING_PACKED_AVAIL)) {
            seen_free = true;
        } else if (seen_free) {
            prefix = false;
        }
    }
    return ((uint16_t) r->key.base != VRING_PACKED_WRAP
            || (!prefix && is_untouched(r, vr)));
}

/* True if the guest has not seen the burst that starts at 'first'. */
static bool
is_still_offered(const struct vhost_vring *vr, uint16_t first)
{
    uint16_t flags = flags_at(vr, first & ~VRING_PACKED_WRAP);
    bool wrap = first & VRING_PACKED_WRAP;

    return (!!(flags & VRING_PACKED_AVAIL) == wrap
            && !!(flags & VRING_PACKED_USED) != wrap);
}

/* True if the pending burst of 'r' is the first one on this ring: there is no
 * trace of others, but the first buffer is the one that is there. */
static bool
is_first_burst(const struct vhost_crash_record *r,
               const struct vhost_vring *vr)
{
    uint16_t end = vring_packed_advance(vr, r->first, r->used[0].slots);
    unsigned int last = ((end & ~VRING_PACKED_WRAP) + vr->size - 1) % vr->size;

    return (r->first == VRING_PACKED_WRAP && is_still_offered(vr, r->first)
            && id_at(vr, last) == r->used[0].id);
}

bool
vhost_record_resume(struct vhost_crash_record *r, struct vhost_vring *vr,
                    const struct vhost_record_key *key, uint16_t *pos)
{
    unsigned int n = atomic_load(&r->pending);
    uint16_t next = atomic_load(&r->pos);

    if (memcmp(&r->key, key, sizeof *key) || !is_sane(r, vr)
        || (!has_history(r, vr) && !(n && is_first_burst(r, vr)))) {
        return false;
    }
    if (n) {
        /* Either way the position after it is the same. */
        if (is_still_offered(vr, r->first)) {
            next = vring_packed_put(vr, r->first, r->used, n);
        } else {
            next = r->first;
            for (unsigned int i = 0; i < n; i++) {
                next = vring_packed_advance(vr, next, r->used[i].slots);
            }
        }
        vhost_record_end(r, next);
    }
    *pos = next;
    return true;
}
