/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Packed virtqueues (virtio 1.2, section 2.8) on the polling threads: what the
 * guest made available, and giving it back.  Gates, locks and the choice
 * between ring formats are ring.c's; buffers of unusual shape walk.c's.
 *
 * The guest may write to all of this memory at any time: see walk.c.
 *
 * Buffers are given back in the order in which they are in the ring, each
 * burst whole before the next is taken.  So one position says both what is
 * next to be taken and what is next to be given back.
 *
 * Giving back overwrites descriptors.  So that a successor of a killed process
 * can go on where it ended, a burst is written into the crash record first
 * (record.h): position, identifiers and lengths; then 'pending' is set; then
 * all used descriptors but the flags of the first are written; then those
 * flags, which show the guest the whole burst; then the record says that it is
 * committed.
 */

#include <string.h>

#include "record.h"
#include "walk.h"

#define MIN(A, B) ((A) < (B) ? (A) : (B))
#define MAX(A, B) ((A) > (B) ? (A) : (B))

/* A descriptor, as loaded: two words. */
union desc {
    uint64_t words[2];
    struct vring_packed_desc d;
};

/* The index of the descriptor at a position. */
static inline uint16_t
pos_index(uint16_t pos)
{
    return pos & ~VRING_PACKED_WRAP;
}

/* Flags of a descriptor at 'pos' that the guest makes available, and those of
 * one that we give back. */
static inline uint16_t
avail_flags(uint16_t pos)
{
    return pos & VRING_PACKED_WRAP ? VRING_PACKED_AVAIL : VRING_PACKED_USED;
}

static inline uint16_t
used_flags(uint16_t pos)
{
    return (pos & VRING_PACKED_WRAP
            ? VRING_PACKED_AVAIL | VRING_PACKED_USED : 0);
}

static inline bool
is_available(uint16_t flags, uint16_t pos)
{
    return ((flags & (VRING_PACKED_AVAIL | VRING_PACKED_USED))
            == avail_flags(pos));
}

/* Loads the descriptor at index 'i', once, flags first. */
static inline union desc
load_desc(const struct vhost_vring *vr, uint16_t i)
{
    const uint64_t *words = (const uint64_t *) &vr->pdesc[i];
    union desc u;

    u.words[1] = __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);
    u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
    return u;
}

static inline uint16_t
load_pos(const struct vhost_vring *vr)
{
    return atomic_load_explicit(&vr->st->last_avail, memory_order_relaxed);
}

/* Walks the indirect table that 'outer' points to (section 2.8.7). */
static enum walk
walk_indirect(struct walker *w, const struct vring_packed_desc *outer)
{
    struct walk_table table;
    enum walk result;

    result = vring_walk_open(w, outer->addr, outer->len, outer->flags, &table);
    for (uint32_t i = 0; result == WALK_OK && i < table.n
                         && w->taken < w->wanted; i++) {
        union desc u;

        result = vring_walk_load(w, &table, i, u.words);
        if (result == WALK_OK && u.d.flags & VRING_DESC_F_INDIRECT) {
            return vring_walk_error(w, VHOST_C_BAD_INDIRECT, i, u.d.flags);
        }
        if (result == WALK_OK) {
            result = vring_walk_buffer(w, u.d.addr, u.d.len, u.d.flags);
        }
    }
    return result;
}

/* The walker's 'next': a chain ends where its flags say so, wherever 'wanted'
 * is reached, since its last descriptor has its identifier. */
static enum walk
walk_next(struct walker *w)
{
    struct vhost_vring *vr = w->vr;
    struct vhost_used *used = &w->b->used[w->b->n_used];
    uint16_t pos = w->pos;
    uint32_t n = 0;
    union desc u;

    if (!w->n_avail) {
        return WALK_EMPTY;      /* A whole lap. */
    }
    u = load_desc(vr, pos_index(pos));
    if (!is_available(u.d.flags, pos)) {
        return WALK_EMPTY;
    }
    for (;;) {
        enum walk result = WALK_OK;

        w->n_descs++;
        n++;
        if (u.d.flags & VRING_DESC_F_INDIRECT) {
            result = (n == 1 ? walk_indirect(w, &u.d)
                      : vring_walk_error(w, VHOST_C_BAD_INDIRECT, n,
                                         u.d.flags));
        } else if (w->taken < w->wanted) {
            result = vring_walk_buffer(w, u.d.addr, u.d.len, u.d.flags);
        }
        if (result != WALK_OK) {
            return result;
        }
        pos = vring_packed_advance(vr, pos, 1);
        if (!(u.d.flags & VRING_DESC_F_NEXT)) {
            break;
        }
        if (n >= w->n_avail) {
            return vring_walk_error(w, VHOST_C_BAD_CHAIN, w->pos, n);
        }
        u = load_desc(vr, pos_index(pos));
    }
    used->id = u.d.id;
    used->slots = n;
    used->len = 0;
    w->pos = pos;
    w->n_avail -= n;
    return WALK_OK;
}

static inline void
packed_walker(struct walker *w, struct vhost_vring *vr, struct vhost_burst *b,
              bool write)
{
    w->vr = vr;
    w->b = b;
    w->write = write;
    w->too_big = UINT32_MAX;
    w->n_avail = vr->size;
    w->pos = load_pos(vr);
    w->next = walk_next;
}

/* About how many descriptors are available from 'pos' on: none, a few, or
 * another burst at least.  Looks only at what the next burst starts with and
 * ends with. */
static unsigned int
packed_backlog(const struct vhost_vring *vr, uint16_t pos)
{
    uint16_t last = vring_packed_advance(vr, pos, MIN(VHOST_BURST, vr->size)
                                                  - 1);

    if (!is_available(guest_load16(&vr->pdesc[pos_index(pos)].flags), pos)) {
        return 0;
    }
    return (is_available(guest_load16(&vr->pdesc[pos_index(last)].flags), last)
            ? VHOST_BURST : 1);
}

/* Has the descriptors of a burst from 'pos' on fetched, to be given back. */
static inline void
packed_fetch(const struct vhost_vring *vr, uint16_t pos, unsigned int n)
{
    unsigned int start = pos_index(pos);

    n = MIN(n, vr->size - start);
    for (unsigned int i = 0; i < n; i += VHOST_CACHE_LINE / 16) {
        prefetch_write(&vr->pdesc[start + i]);
    }
}

/* Flags that tell the common buffer of one descriptor from others. */
#define LAP_FLAGS (VRING_PACKED_AVAIL | VRING_PACKED_USED)
#define SHAPE_FLAGS (LAP_FLAGS | VRING_DESC_F_NEXT | VRING_DESC_F_WRITE    \
                     | VRING_DESC_F_INDIRECT)

/* Tells whether 'u', which is available, begins a header and a frame in two
 * descriptors, in a table, or chained and the second one at 'second', which is
 * of the same lap.  Then 'used' says what is to be given back for it. */
static bool
packed_pair(const struct vhost_vring *vr, const struct walk_hit *hit,
            union desc u, uint16_t second, struct walk_pair *pair,
            struct vhost_used *used)
{
    uint16_t flags = u.d.flags & SHAPE_FLAGS & ~LAP_FLAGS;
    union desc u1;

    *used = (struct vhost_used) { .id = u.d.id, .slots = 1 };
    if (flags == VRING_DESC_F_INDIRECT) {
        const uint8_t *at = vring_pair_table(vr, hit, u.d.addr, u.d.len);
        const uint64_t *table = (const uint64_t *) at;

        if (!table) {
            return false;
        }
        for (unsigned int i = 0; i < 2; i++) {
            u.words[i] = __atomic_load_n(&table[i], __ATOMIC_RELAXED);
            u1.words[i] = __atomic_load_n(&table[2 + i], __ATOMIC_RELAXED);
        }
        if ((u.d.flags | u1.d.flags) & (VRING_DESC_F_WRITE
                                        | VRING_DESC_F_INDIRECT)) {
            return false;
        }
    } else if (flags == VRING_DESC_F_NEXT && second < vr->size) {
        u1 = load_desc(vr, second);
        if (u1.d.flags & SHAPE_FLAGS & ~LAP_FLAGS) {
            return false;
        }
        *used = (struct vhost_used) { .id = u1.d.id, .slots = 2 };
    } else {
        return false;
    }
    return vring_walk_pair(hit, vr->hdr_len, u.d.addr, u.d.len, u1.d.addr,
                           u1.d.len, pair);
}

/* Adds packets to 'b', up to the 'max'th of it, as far as each is a usual
 * kind: one descriptor, or a pair, in the region hit last.  Also ends at the
 * end of the ring, where the flags change. */
static inline void
packed_peek_fast(struct walker *w, const struct walk_hit *hit,
                 unsigned int max)
{
    struct vhost_burst *b = w->b;
    const struct vhost_vring *vr = w->vr;
    const unsigned int start = pos_index(w->pos);
    const unsigned int hdr_len = vr->hdr_len;
    const unsigned int first = b->n, n_segs = b->n_segs;
    const uint16_t flags = avail_flags(w->pos);
    const unsigned int end = start + MIN(vr->size - start, w->n_avail);
    uint32_t max_len = b->max_len, min_len = b->min_len;
    unsigned int i, at = start;

    max = MIN(max, first + VHOST_BURST_SEGS - n_segs);
    for (i = first; i < max && at < end; i++) {
        union desc u = load_desc(vr, at);
        unsigned int skip;
        uint32_t len;
        uint8_t *host;

        if (__builtin_expect((u.d.flags & SHAPE_FLAGS) != flags
                             || u.d.len <= hdr_len
                             || u.d.len >= VHOST_MAX_FRAME_LEN
                             || !vring_is_hit(hit, u.d.addr, u.d.len), 0)) {
            struct walk_pair pair;

            if (!b->simple || (u.d.flags & LAP_FLAGS) != flags
                || !packed_pair(vr, hit, u, at + 1 < end ? at + 1 : vr->size,
                                &pair, &b->used[i])) {
                break;
            }
            vring_fast_header(b, i, pair.hdr);
            host = pair.host;
            skip = 0;
            len = pair.len;
            at += b->used[i].slots;
        } else {
            host = hit->host + (u.d.addr - hit->guest_addr);
            skip = hdr_len;
            len = u.d.len - hdr_len;
            b->used[i] = (struct vhost_used) { .id = u.d.id, .slots = 1 };
            at++;
        }
        __builtin_prefetch(host);
        __builtin_prefetch(host + 64);
        vring_fast_piece(b, n_segs + i - first, host, len, skip);
        max_len = MAX(max_len, len);
        min_len = MIN(min_len, len);
    }
    b->max_len = max_len;       /* Of all, if all are of this kind. */
    b->min_len = min_len;
    w->pos = vring_packed_advance(vr, w->pos, at - start);
    w->n_avail -= at - start - (i - first);     /* The rest by fast_add. */
    vring_fast_add(w, i - first);
}

/* vring_next_block() for the buffer that is next, if there is one. */
static inline bool
packed_next_block(const struct walker *w, struct walk_hit *hit,
                  unsigned int *tries)
{
    union desc u;

    if (!w->vr->iotlb || !w->n_avail) {
        return false;
    }
    u = load_desc(w->vr, pos_index(w->pos));
    return (is_available(u.d.flags, w->pos)
            && vring_next_block(w->vr, hit, u.d.addr, tries));
}

unsigned int
vring_packed_peek(struct vhost_vring *vr, struct vhost_burst *b,
                  unsigned int max)
{
    struct walk_hit hit = vring_walk_hit(vr);
    unsigned int tries = 2 * VHOST_BURST;
    struct walker w;

    packed_walker(&w, vr, b, false);
    if (!is_available(__atomic_load_n(&vr->pdesc[pos_index(w.pos)].flags,
                                      __ATOMIC_ACQUIRE), w.pos)) {
        return 0;
    }
    vring_burst_init(b, vr);
    packed_fetch(vr, w.pos, max);
    for (;;) {
        unsigned int n = b->n;

        packed_peek_fast(&w, &hit, max);
        if (__builtin_expect(b->n == max, 1)) {
            break;
        }
        if (packed_next_block(&w, &hit, &tries)) {
            continue;
        }
        if ((b->n == n || pos_index(w.pos))
            && (!vring_walk_peek(&w) || b->n == max)) {
            break;
        }
    }
    vring_peek_end(b);
    atomic_store_explicit(&vr->st->backlog,
                          b->n == max ? packed_backlog(vr, w.pos) : 0,
                          memory_order_relaxed);
    return b->n;
}

bool
vring_packed_wants_call(const struct vhost_vring *vr)
{
    const struct vring_state *st = vr->st;
    uint16_t flags = guest_load16(&vr->driver_event->flags);

    /* Section 2.8.10. */
    if (flags == VRING_PACKED_EVENT_FLAG_DESC && vr->event_idx) {
        uint16_t old = st->notify_from, new = load_pos(vr);
        uint16_t off_wrap = guest_load16(&vr->driver_event->off_wrap);
        uint16_t event = pos_index(off_wrap), first = pos_index(old);

        /* As distances along the lap in which 'new' is. */
        if ((off_wrap ^ new) & VRING_PACKED_WRAP) {
            event -= vr->size;
        }
        if ((old ^ new) & VRING_PACKED_WRAP) {
            first -= vr->size;
        }
        return (vring_need_event(event, pos_index(new), first)
                || !st->signalled);
    } else {
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
}

/* Flags of a descriptor that is given back at 'pos': they say whether anything
 * was written to the buffer. */
static inline uint16_t
back_flags(const struct vhost_vring *vr, uint16_t pos)
{
    return used_flags(pos) | (vr->idx & 1 ? 0 : VRING_DESC_F_WRITE);
}

/* Length, id and flags as they are in a descriptor's second half. */
static inline uint64_t
back_word(const struct vhost_used *used, uint16_t flags)
{
    return used->len | (uint64_t) used->id << 32 | (uint64_t) flags << 48;
}

uint16_t
vring_packed_put(struct vhost_vring *vr, uint16_t first,
                 const struct vhost_used used[], unsigned int n)
{
    struct vring_packed_desc *const ring = vr->pdesc;
    struct vring_packed_desc *d = &ring[pos_index(first)];
    uint16_t pos = vring_packed_advance(vr, first, used[0].slots);

    /* All but the first one's flags. */
    __atomic_store_n(&d->id, used[0].id, __ATOMIC_RELAXED);
    __atomic_store_n(&d->len, used[0].len, __ATOMIC_RELAXED);
    for (unsigned int i = 1; i < n; i++) {
        __atomic_store_n((uint64_t *) &ring[pos_index(pos)] + 1,
                         back_word(&used[i], back_flags(vr, pos)),
                         __ATOMIC_RELAXED);
        vring_log(vr, &ring[pos_index(pos)], sizeof *ring);
        pos = vring_packed_advance(vr, pos, used[i].slots);
    }
#ifdef __SANITIZE_THREAD__
    __atomic_store_n(&d->flags, back_flags(vr, first), __ATOMIC_SEQ_CST);
#else
    __atomic_store_n(&d->flags, back_flags(vr, first), __ATOMIC_RELEASE);
#endif
    vring_log(vr, d, sizeof *d);
    return pos;
}

/* Makes one used entry of the 'n' in 'used': with IN_ORDER the last one's
 * identifier at the first one's place says it for all (section 2.8.8).  Not
 * for buffers that were written to: it would say that they are full. */
static inline struct vhost_used
used_in_order(const struct vhost_used used[], unsigned int n)
{
    struct vhost_used all = { .id = used[n - 1].id };

    for (unsigned int i = 0; i < n; i++) {
        all.slots += used[i].slots;
    }
    return all;
}

/* Gives the 'n' buffers of 'used' back, which are those from the present
 * position on. */
static inline void
packed_push_used(struct vhost_vring *vr, const struct vhost_used used[],
                 unsigned int n)
{
    struct vring_state *st = vr->st;
    const unsigned int n_bufs = n;
    uint16_t old = load_pos(vr);
    struct vhost_used all;
    uint16_t new;

    if (vr->in_order && vr->idx & 1) {
        all = used_in_order(used, n);
        used = &all;
        n = 1;
    }
    if (vr->record) {
        vhost_record_begin(vr->record, old, used, n, n_bufs);
        new = vring_packed_put(vr, old, used, n);
        vhost_record_end(vr->record, new);
    } else {
        new = vring_packed_put(vr, old, used, n);
    }
    atomic_store_explicit(&st->last_avail, new, memory_order_relaxed);
    atomic_store_explicit(&st->used_idx, new, memory_order_relaxed);
}

void
vring_packed_complete(struct vhost_vring *vr, struct vhost_burst *b,
                      unsigned int n)
{
    if (__builtin_expect(b->odd, 0)) {
        vring_count_lost(vr, b, n);
    }
    if (n) {
        packed_push_used(vr, b->used, n);
    }
}

/* Reserves buffers for the frames lens[b->n...n-1], as far as each is the
 * usual kind: one descriptor, in the region hit last, and large enough.  Also
 * ends at the end of the ring, where the flags change. */
static inline void
packed_reserve_fast(struct walker *w, const struct walk_hit *hit,
                    const uint32_t lens[], unsigned int n)
{
    struct vhost_burst *b = w->b;
    const struct vhost_vring *vr = w->vr;
    const unsigned int start = pos_index(w->pos);
    const unsigned int hdr_len = vr->hdr_len;
    const unsigned int first = b->n, n_used = b->n_used, n_segs = b->n_segs;
    const uint16_t flags = avail_flags(w->pos) | VRING_DESC_F_WRITE;
    unsigned int room = MIN(vr->size - start, w->n_avail);
    unsigned int i;

    n = MIN(n, first + MIN(room, VHOST_BURST_SEGS - MAX(n_segs, n_used)));
    for (i = first; i < n; i++) {
        union desc u = load_desc(vr, start + i - first);
        uint32_t len = lens[i];
        uint8_t *host;

        if (__builtin_expect((u.d.flags & SHAPE_FLAGS) != flags || !len
                             || len >= VHOST_MAX_FRAME_LEN
                             || u.d.len < len + hdr_len
                             || !vring_is_hit(hit, u.d.addr, u.d.len), 0)) {
            break;
        }
        host = hit->host + (u.d.addr - hit->guest_addr);
        prefetch_write(host);
        prefetch_write(host + 64);
        b->used[n_used + i - first] = (struct vhost_used) {
            .id = u.d.id, .slots = 1, .len = len + hdr_len,
        };
        vring_fast_piece(b, n_segs + i - first, host, len, hdr_len);
    }
    w->pos = vring_packed_advance(vr, w->pos, i - first);
    vring_fast_add(w, i - first);
}

unsigned int
vring_packed_reserve(struct vhost_vring *vr, struct vhost_burst *b,
                     const uint32_t lens[], unsigned int n,
                     enum vhost_reserve *why)
{
    struct walk_hit hit = vring_walk_hit(vr);
    unsigned int tries = 2 * VHOST_BURST;
    struct walker w;

    packed_walker(&w, vr, b, true);
    *why = VHOST_R_FULL;
    if (!is_available(__atomic_load_n(&vr->pdesc[pos_index(w.pos)].flags,
                                      __ATOMIC_ACQUIRE), w.pos)) {
        return 0;
    }
    *why = VHOST_R_OK;
    vring_burst_init(b, vr);
    packed_fetch(vr, w.pos, n);
    for (;;) {
        unsigned int n_before = b->n;

        packed_reserve_fast(&w, &hit, lens, n);
        if (__builtin_expect(b->n == n, 1)) {
            break;
        }
        if (packed_next_block(&w, &hit, &tries)) {
            continue;
        }
        if ((b->n == n_before || pos_index(w.pos))
            && (!vring_walk_reserve(&w, lens[b->n], why) || b->n == n)) {
            break;
        }
    }
    atomic_store_explicit(&vr->st->backlog, 0, memory_order_relaxed);
    return b->n;
}

void
vring_packed_commit(struct vhost_vring *vr, struct vhost_burst *b)
{
    if (__builtin_expect(b->n_headers < b->n || vr->log, 0)) {
        vring_write_headers(vr, b);
    }
    if (__builtin_expect(b->n_used != 0, 1)) {
        packed_push_used(vr, b->used, b->n_used);
    }
}

void
vring_packed_want_kicks(struct vhost_vring *vr, bool want)
{
    guest_store16(&vr->device_event->flags,
                  want ? VRING_PACKED_EVENT_FLAG_ENABLE
                  : VRING_PACKED_EVENT_FLAG_DISABLE);
    vring_log(vr, vr->device_event, sizeof *vr->device_event);
    atomic_thread_fence(memory_order_seq_cst);
}
