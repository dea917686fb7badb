/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Starting a crash record, and going on from one; record.h says what it is.
 *
 * A driver may have been reset while nobody looked, and start again with the
 * same ring, at the same base.  Descriptors cannot always tell: after some
 * laps they may look just like those of a fresh ring.  So the ring is marked,
 * in memory that drivers make zero at a reset and only the device writes
 * afterwards: the offset of its event suppression structure, which means
 * something only with the flag RING_EVENT_FLAGS_DESC, which is never used here
 * (virtio 1.2, section 2.8.14).
 */

#include "record.h"

#include <time.h>

/* A number that the ring hardly has from anybody else. */
static uint16_t
make_cookie(void)
{
    static _Atomic uint32_t n;
    struct timespec now;
    uint64_t x;

    clock_gettime(CLOCK_MONOTONIC, &now);
    x = (now.tv_nsec + atomic_fetch_add(&n, 1)) * UINT64_C(0x9e3779b97f4a7c15);
    return x >> 48 ? x >> 48 : 1;
}

void
vhost_record_start(struct vhost_crash_record *r, struct vhost_vring *vr,
                   const struct vhost_record_key *key, uint16_t pos)
{
    atomic_store_explicit(&r->pending, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(&r->key, key, sizeof *key);
    r->first = pos;
    r->cookie = make_cookie();
    atomic_store_explicit(&r->pos, pos, memory_order_relaxed);
    guest_store16(&vr->device_event->off_wrap, r->cookie);
    vring_log(vr, vr->device_event, sizeof *vr->device_event);
}

/* True if the numbers in 'r', which may come from elsewhere, are possible for
 * a ring of 'vr'. */
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
        if (!r->used[i].slots) {
            return false;
        }
    }
    return (slots <= vr->size && r->n_bufs <= VHOST_BURST_SEGS
            && (r->first & ~VRING_PACKED_WRAP) < vr->size
            && (atomic_load(&r->pos) & ~VRING_PACKED_WRAP) < vr->size);
}

static uint16_t
load_flags(const struct vhost_vring *vr, uint16_t pos)
{
    return guest_load16(&vr->pdesc[pos & ~VRING_PACKED_WRAP].flags);
}

/* True if the guest has not seen the burst that starts at 'first'. */
static bool
is_still_offered(const struct vhost_vring *vr, uint16_t first)
{
    uint16_t flags = load_flags(vr, first);
    bool wrap = first & VRING_PACKED_WRAP;

    return (!!(flags & VRING_PACKED_AVAIL) == wrap
            && !!(flags & VRING_PACKED_USED) != wrap);
}

/* True if what is at 'pos' has been given back in the lap of 'pos'. */
static bool
is_used(const struct vhost_vring *vr, uint16_t pos)
{
    uint16_t flags = load_flags(vr, pos);
    bool wrap = pos & VRING_PACKED_WRAP;

    return (!!(flags & VRING_PACKED_AVAIL) == wrap
            && !!(flags & VRING_PACKED_USED) == wrap);
}

/* True if 'base', as in SET_VRING_BASE, is 'pos'. */
static bool
base_is(uint32_t base, uint16_t pos)
{
    return base == (pos | (uint32_t) pos << 16);
}

static bool
is_same_ring(const struct vhost_record_key *a,
             const struct vhost_record_key *b)
{
    return (a->dev == b->dev && a->ino == b->ino && a->desc == b->desc
            && a->features == b->features && a->size == b->size);
}

bool
vhost_record_resume(struct vhost_crash_record *r, struct vhost_vring *vr,
                    const struct vhost_record_key *key,
                    struct vhost_record_found *found)
{
    unsigned int n = atomic_load(&r->pending);
    uint16_t shown = atomic_load(&r->pos);      /* Where the guest sees it. */
    bool redo = false;
    uint16_t next;

    if (!r->cookie || !is_same_ring(&r->key, key) || !is_sane(r, vr)
        || guest_load16(&vr->device_event->off_wrap) != r->cookie) {
        return false;
    }
    next = shown;
    if (n) {
        next = shown = r->first;
        for (unsigned int i = 0; i < n; i++) {
            next = vring_packed_advance(vr, next, r->used[i].slots);
        }
        redo = is_still_offered(vr, r->first);
        if (!redo) {
            shown = next;
        }
    }

    /* Nobody but us uses descriptors, and what is next we have not. */
    if ((key->base != r->key.base && !base_is(key->base, shown))
        || is_used(vr, next)) {
        return false;
    }

    found->pos = next;
    found->n_completed = n ? r->n_bufs : 0;
    if (redo) {
        vring_packed_put(vr, r->first, r->used, n);
    }
    if (n) {
        vhost_record_end(r, next);
    }
    r->key.base = key->base;
    return true;
}
