/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Split virtqueues (virtio 1.2, section 2.7) on the polling threads: what the
 * guest made available, and giving it back.  Gates, locks and the choice
 * between ring formats are ring.c's; buffers of unusual shape walk.c's.
 *
 * The guest may write to all of this memory at any time: see walk.c.
 */

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "notify.h"
#include "walk.h"

#define MIN(A, B) ((A) < (B) ? (A) : (B))
#define MAX(A, B) ((A) > (B) ? (A) : (B))

/* A descriptor, as loaded: two words. */
union desc {
    uint64_t words[2];
    struct vring_desc d;
};

/* Loads the descriptor at 'p', which is aligned to 16 bytes, once. */
static inline union desc
load_desc(const struct vring_desc *p)
{
    const uint64_t *words = (const uint64_t *) p;
    union desc u;

    u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
    u.words[1] = __atomic_load_n(&words[1], __ATOMIC_RELAXED);
    return u;
}

/* Walks the indirect table that 'outer' points to (section 2.7.5.3). */
static enum walk
walk_indirect(struct walker *w, const struct vring_desc *outer)
{
    struct walk_table table;
    enum walk result;
    uint32_t i = 0;

    result = vring_walk_open(w, outer->addr, outer->len, outer->flags, &table);
    for (uint32_t n = 0; result == WALK_OK && n < table.n; n++) {
        union desc u;

        result = vring_walk_load(w, &table, i, u.words);
        if (result != WALK_OK) {
            return result;
        }
        if (u.d.flags & VRING_DESC_F_INDIRECT) {
            return vring_walk_error(w, VHOST_C_BAD_INDIRECT, i, u.d.flags);
        }
        if (w->taken < w->wanted) {
            result = vring_walk_buffer(w, u.d.addr, u.d.len, u.d.flags);
        }
        if (result != WALK_OK || w->taken == w->wanted
            || !(u.d.flags & VRING_DESC_F_NEXT)) {
            return result;
        }
        i = u.d.next;
        if (i >= table.n) {
            return vring_walk_error(w, VHOST_C_BAD_HEAD, i, table.n);
        }
    }
    return (result == WALK_OK
            ? vring_walk_error(w, VHOST_C_BAD_CHAIN, outer->addr, table.n)
            : result);
}

/* Walks the chain that starts at 'head' and adds its buffers to the burst,
 * until it ends or 'w->wanted' bytes were taken. */
static enum walk
walk_chain(struct walker *w, uint16_t head)
{
    struct vhost_vring *vr = w->vr;
    uint16_t i = head;

    for (uint32_t n = 0; n < vr->size; n++) {
        union desc u;
        enum walk result = WALK_OK;

        if (i >= vr->size) {
            return vring_walk_error(w, VHOST_C_BAD_HEAD, i, vr->size);
        }
        u = load_desc(&vr->desc[i]);
        w->n_descs++;
        if (u.d.flags & VRING_DESC_F_INDIRECT) {
            return walk_indirect(w, &u.d);
        }
        if (w->taken < w->wanted) {
            result = vring_walk_buffer(w, u.d.addr, u.d.len, u.d.flags);
        }
        if (result != WALK_OK || w->taken == w->wanted
            || !(u.d.flags & VRING_DESC_F_NEXT)) {
            return result;
        }
        i = u.d.next;
    }
    return vring_walk_error(w, VHOST_C_BAD_CHAIN, head, vr->size);
}

/* Entry 'pos' of the avail ring. */
static inline uint16_t
split_head(const struct vhost_vring *vr, uint16_t pos)
{
    return guest_load16(&vr->avail->ring[pos & vr->mask]);
}

/* How many entries of the avail ring are new, at least 'enough' or all.  The
 * guest writes its index again and again, so it is left alone as long as what
 * was there at the last look will do.  Breaks the ring where the index cannot
 * be. */
static inline unsigned int
split_available(struct vhost_vring *vr, unsigned int enough)
{
    struct vring_state *st = vr->st;
    uint16_t last = atomic_load_explicit(&st->last_avail,
                                         memory_order_relaxed);
    uint16_t n = st->avail_seen - last;

    if (n < enough) {
        uint16_t idx = __atomic_load_n(&vr->avail->idx, __ATOMIC_ACQUIRE);

        n = idx - last;
        if (__builtin_expect(n > vr->size, 0)) {
            vring_break(vr, VHOST_C_BAD_AVAIL_IDX, idx, last);
            return 0;
        }
        st->avail_seen = idx;
    }
    return n;
}

/* Looks for entries after the last one that 'w' knows of.  Returns false if
 * there are none. */
static bool
split_look_again(struct walker *w)
{
    const struct vring_state *st = w->vr->st;
    uint16_t last = atomic_load_explicit(&st->last_avail,
                                         memory_order_relaxed);
    uint16_t taken = w->pos - last;
    unsigned int n = split_available(w->vr, UINT_MAX);

    w->n_avail = n > taken ? n - taken : 0;
    return w->n_avail;
}

/* The walker's 'next'. */
static enum walk
walk_next(struct walker *w)
{
    struct vhost_used *used = &w->b->used[w->b->n_used];
    enum walk result;

    if (!w->n_avail && !split_look_again(w)) {
        return WALK_EMPTY;
    }
    *used = (struct vhost_used) { .id = split_head(w->vr, w->pos) };
    result = walk_chain(w, used->id);
    if (result == WALK_OK) {
        w->pos++;
        w->n_avail--;
    }
    return result;
}

static inline void
split_walker(struct walker *w, struct vhost_vring *vr, struct vhost_burst *b,
             bool write, uint16_t n_avail)
{
    w->vr = vr;
    w->b = b;
    w->write = write;
    w->too_big = UINT32_MAX;
    w->pos = atomic_load_explicit(&vr->st->last_avail, memory_order_relaxed);
    w->n_avail = n_avail;
    w->next = walk_next;
}

/* Copies the ids of the 'n' <= VHOST_BURST entries from 'pos' on to 'heads',
 * once, and has their descriptors and their places in the used ring
 * fetched. */
static inline void
split_heads(const struct vhost_vring *vr, uint16_t pos, unsigned int n,
            uint16_t heads[])
{
    const uint16_t *ring = vr->avail->ring;
    const struct vring_used_elem *used = vr->used->ring;
    const struct vring_desc *desc = vr->desc;
    unsigned int mask = vr->mask;

    for (unsigned int i = 0; i < n; i += VHOST_CACHE_LINE / sizeof *used) {
        prefetch_write(&used[(pos + i) & mask]);
    }
    for (unsigned int i = 0; i < n; i++) {
        heads[i] = guest_load16(&ring[(pos + i) & mask]);
        __builtin_prefetch(&desc[heads[i] & mask]);
    }
}

/* Has the entries after 'pos', where the next burst starts, fetched if there
 * are any. */
static inline void
split_fetch_next(const struct vhost_vring *vr, uint16_t pos)
{
    if (vr->st->avail_seen != pos) {
        __builtin_prefetch(&vr->avail->ring[pos & vr->mask]);
        __builtin_prefetch(&vr->avail->ring[(pos + VHOST_BURST - 1)
                                            & vr->mask]);
    }
}

/* Tells whether 'first' begins a header and a frame in two descriptors, in a
 * table or chained. */
static bool
split_pair(const struct vhost_vring *vr, const struct walk_hit *hit,
           const struct vring_desc *first, struct walk_pair *pair)
{
    union desc u0 = { .d = *first }, u1;

    if (u0.d.flags == VRING_DESC_F_INDIRECT) {
        const struct vring_desc *table = (const struct vring_desc *)
            vring_pair_table(vr, hit, u0.d.addr, u0.d.len);

        if (!table) {
            return false;
        }
        u0 = load_desc(&table[0]);
        u1 = load_desc(&table[1]);
        if (u0.d.next != 1) {
            return false;
        }
    } else if (u0.d.next < vr->size) {
        u1 = load_desc(&vr->desc[u0.d.next]);
    } else {
        return false;
    }
    return (u0.d.flags == VRING_DESC_F_NEXT && !u1.d.flags
            && vring_walk_pair(hit, vr->hdr_len, u0.d.addr, u0.d.len,
                               u1.d.addr, u1.d.len, pair));
}

/* Adds the packets 'heads' [b->n...n-1] to 'b' as far as each is a usual kind:
 * one descriptor, or a pair, in the region hit last. */
static inline void
split_peek_fast(struct walker *w, const struct walk_hit *hit,
                const uint16_t heads[], unsigned int n)
{
    struct vhost_burst *b = w->b;
    const struct vring_desc *desc = w->vr->desc;
    const uint32_t size = w->vr->size;
    const unsigned int hdr_len = w->vr->hdr_len;
    const unsigned int first = b->n, n_segs = b->n_segs;
    uint32_t max_len = b->max_len, min_len = b->min_len;
    unsigned int i;

    if (n_segs + n - first > VHOST_BURST_SEGS) {
        return;
    }
    for (i = first; i < n; i++) {
        uint16_t head = heads[i];
        unsigned int start;
        union desc u;
        uint32_t len;
        uint8_t *host;

        if (__builtin_expect(head >= size, 0)) {
            break;
        }
        u = load_desc(&desc[head]);
        if (__builtin_expect(u.d.flags || u.d.len <= hdr_len
                             || u.d.len >= VHOST_MAX_FRAME_LEN
                             || !vring_is_hit(hit, u.d.addr, u.d.len), 0)) {
            struct walk_pair pair;

            if (!b->simple || !u.d.flags
                || !split_pair(w->vr, hit, &u.d, &pair)) {
                break;
            }
            vring_fast_header(b, i, pair.hdr);
            host = pair.host;
            start = 0;
            len = pair.len;
        } else {
            host = hit->host + (u.d.addr - hit->guest_addr);
            start = hdr_len;
            len = u.d.len - hdr_len;
        }
        __builtin_prefetch(host);
        __builtin_prefetch(host + 64);
        b->used[i] = (struct vhost_used) { .id = head };
        vring_fast_piece(b, n_segs + i - first, host, len, start);
        max_len = MAX(max_len, len);
        min_len = MIN(min_len, len);
    }
    b->max_len = max_len;       /* Of all, if all are of this kind. */
    b->min_len = min_len;
    w->pos += i - first;
    vring_fast_add(w, i - first);
}

/* vring_next_block() for the buffer 'head'. */
static inline bool
split_next_block(const struct vhost_vring *vr, struct walk_hit *hit,
                 uint16_t head, unsigned int *tries)
{
    return (vr->iotlb && head < vr->size
            && vring_next_block(vr, hit, load_desc(&vr->desc[head]).d.addr,
                                tries));
}

unsigned int
vring_split_peek(struct vhost_vring *vr, struct vhost_burst *b,
                 unsigned int max)
{
    unsigned int n_avail = split_available(vr, max);
    unsigned int n = MIN(n_avail, max);
    uint16_t heads[VHOST_BURST];
    struct walk_hit hit = vring_walk_hit(vr);
    unsigned int tries = 2 * VHOST_BURST;
    struct walker w;

    if (!n) {
        return 0;
    }
    vring_burst_init(b, vr);
    split_walker(&w, vr, b, false, n_avail);
    split_heads(vr, w.pos, n, heads);
    for (;;) {
        split_peek_fast(&w, &hit, heads, n);
        if (__builtin_expect(b->n == n, 1)) {
            break;
        }
        if (split_next_block(vr, &hit, heads[b->n], &tries)) {
            continue;
        }
        if (!vring_walk_peek(&w) || b->n == n) {
            break;
        }
    }
    n = b->n;
    split_fetch_next(vr, w.pos);
    vring_peek_end(b);
    atomic_store_explicit(&vr->st->backlog, n_avail - n, memory_order_relaxed);
    return n;
}

bool
vring_split_wants_call(const struct vhost_vring *vr)
{
    const struct vring_state *st = vr->st;

    /* Sections 2.7.7.2 and 2.7.10. */
    if (vr->event_idx) {
        uint16_t new = atomic_load_explicit(&st->used_idx,
                                            memory_order_relaxed);
        uint16_t event = guest_load16(&vr->avail->ring[vr->size]);

        return (vring_need_event(event, new, st->notify_from)
                || !st->signalled);
    } else {
        return !(guest_load16(&vr->avail->flags)
                 & VRING_AVAIL_F_NO_INTERRUPT);
    }
}

/* Where in the used ring entry 'i' is. */
static inline uint64_t
used_offset(unsigned int i)
{
    return (offsetof(struct vring_used, ring)
            + i * sizeof(struct vring_used_elem));
}

/* Copies the 'n' entries of 'used' to the used ring from 'pos' on.  There they
 * have 32-bit ids, little-endian, which is what 'id' and 'slots' (0) make. */
static inline void
split_put_used(struct vhost_vring *vr, uint16_t pos,
               const struct vhost_used used[], unsigned int n)
{
    struct vring_used_elem *ring = vr->used->ring;
    unsigned int start = pos & vr->mask;
    unsigned int n_first = MIN(n, vr->size - start);

    _Static_assert(sizeof *used == sizeof *ring, "see above");
#ifdef __SANITIZE_THREAD__
    for (unsigned int i = 0; i < n; i++) {
        struct vring_used_elem *e = &ring[i < n_first ? start + i
                                          : i - n_first];

        __atomic_store_n(&e->id, used[i].id, __ATOMIC_RELAXED);
        __atomic_store_n(&e->len, used[i].len, __ATOMIC_RELAXED);
    }
#else
    memcpy(&ring[start], used, n_first * sizeof *ring);
    memcpy(&ring[0], used + n_first, (n - n_first) * sizeof *ring);
#endif
    vring_log_used(vr, used_offset(start), n_first * sizeof *ring);
    vring_log_used(vr, used_offset(0), (n - n_first) * sizeof *ring);
}

/* Gives the 'n' entries of 'used' back, which are the next 'n' of the avail
 * ring. */
static inline void
split_push_used(struct vhost_vring *vr, const struct vhost_used used[],
                unsigned int n)
{
    struct vring_state *st = vr->st;
    uint16_t pos = atomic_load_explicit(&st->used_idx, memory_order_relaxed);
    uint16_t last = atomic_load_explicit(&st->last_avail,
                                         memory_order_relaxed);

    if (vr->in_order && vr->idx & 1) {
        /* The last one's id at the first one's place says it for all (section
         * 2.7.9).  Not for buffers that were written to: it would say that
         * they are full. */
        split_put_used(vr, pos, &used[n - 1], 1);
    } else {
        split_put_used(vr, pos, used, n);
    }
    pos += n;
    atomic_store_explicit(&st->used_idx, pos, memory_order_relaxed);
#ifdef __SANITIZE_THREAD__
    __atomic_store_n(&vr->used->idx, pos, __ATOMIC_SEQ_CST);
#else
    __atomic_store_n(&vr->used->idx, pos, __ATOMIC_RELEASE);
#endif
    vring_log_used(vr, offsetof(struct vring_used, idx),
                   sizeof vr->used->idx);
    atomic_store_explicit(&st->last_avail, last + n, memory_order_relaxed);
}

void
vring_split_complete(struct vhost_vring *vr, struct vhost_burst *b,
                     unsigned int n)
{
    if (__builtin_expect(b->odd, 0)) {
        vring_count_lost(vr, b, n);
    }
    if (n) {
        split_push_used(vr, b->used, n);
    }
}

/* Reserves buffers for the frames lens[b->n...n-1], as far as each is the
 * usual kind: one descriptor, in the region hit last, and large enough.
 * heads[i] is the entry of the ring that is used as number i. */
static inline void
split_reserve_fast(struct walker *w, const struct walk_hit *hit,
                   const uint16_t heads[], unsigned int n_heads,
                   const uint32_t lens[], unsigned int n)
{
    struct vhost_burst *b = w->b;
    const struct vring_desc *desc = w->vr->desc;
    const uint32_t size = w->vr->size;
    const unsigned int hdr_len = w->vr->hdr_len;
    const unsigned int first = b->n, n_used = b->n_used, n_segs = b->n_segs;
    unsigned int i;

    if (n_used >= n_heads) {
        return;
    }
    n = MIN(n, first + (n_heads - n_used));
    if (n_segs + n - first > VHOST_BURST_SEGS) {
        return;
    }
    for (i = first; i < n; i++) {
        unsigned int u = n_used + i - first;
        uint16_t head = heads[u];
        uint32_t len = lens[i];
        uint8_t *host;
        union desc d;

        if (__builtin_expect(head >= size, 0)) {
            break;
        }
        d = load_desc(&desc[head]);
        if (__builtin_expect(d.d.flags != VRING_DESC_F_WRITE || !len
                             || len >= VHOST_MAX_FRAME_LEN
                             || d.d.len < len + hdr_len
                             || !vring_is_hit(hit, d.d.addr, d.d.len), 0)) {
            break;
        }
        host = hit->host + (d.d.addr - hit->guest_addr);
        prefetch_write(host);
        prefetch_write(host + 64);
        b->used[u] = (struct vhost_used) { .id = head, .len = len + hdr_len };
        vring_fast_piece(b, n_segs + i - first, host, len, hdr_len);
    }
    w->pos += i - first;
    vring_fast_add(w, i - first);
}

unsigned int
vring_split_reserve(struct vhost_vring *vr, struct vhost_burst *b,
                    const uint32_t lens[], unsigned int n,
                    enum vhost_reserve *why)
{
    unsigned int n_avail = split_available(vr, n);
    unsigned int n_heads = MIN(n, n_avail);
    uint16_t heads[VHOST_BURST];
    struct walk_hit hit = vring_walk_hit(vr);
    unsigned int tries = 2 * VHOST_BURST;
    struct walker w;

    *why = n_avail ? VHOST_R_OK : VHOST_R_FULL;
    if (!n_avail) {
        return 0;
    }
    vring_burst_init(b, vr);
    split_walker(&w, vr, b, true, n_avail);
    split_heads(vr, w.pos, n_heads, heads);
    for (;;) {
        split_reserve_fast(&w, &hit, heads, n_heads, lens, n);
        if (__builtin_expect(b->n == n, 1)) {
            break;
        }
        if (b->n_used < n_heads
            && split_next_block(vr, &hit, heads[b->n_used], &tries)) {
            continue;
        }
        if (!vring_walk_reserve(&w, lens[b->n], why) || b->n == n) {
            break;
        }
    }
    split_fetch_next(vr, w.pos);
    atomic_store_explicit(&vr->st->backlog, w.n_avail, memory_order_relaxed);
    return b->n;
}

void
vring_split_commit(struct vhost_vring *vr, struct vhost_burst *b)
{
    if (__builtin_expect(b->n_headers < b->n || vr->log, 0)) {
        vring_write_headers(vr, b);
    }
    if (__builtin_expect(b->n_used != 0, 1)) {
        split_push_used(vr, b->used, b->n_used);
    }
}

void
vring_split_want_kicks(struct vhost_vring *vr, bool want)
{
    uint16_t last = atomic_load_explicit(&vr->st->last_avail,
                                         memory_order_relaxed);
    uint16_t *avail_event = (uint16_t *) &vr->used->ring[vr->size];

    if (vr->event_idx) {
        /* An event index just behind is reached after 65,536 buffers only. */
        guest_store16(avail_event, want ? last : last - 1);
        vring_log_used(vr, used_offset(vr->size), sizeof *avail_event);
    }

    /* With event indexes the flag is not looked at (section 2.7.10) and has
     * to be 0. */
    guest_store16(&vr->used->flags,
                  want || vr->event_idx ? 0 : VRING_USED_F_NO_NOTIFY);
    vring_log_used(vr, offsetof(struct vring_used, flags),
                   sizeof vr->used->flags);
    atomic_thread_fence(memory_order_seq_cst);
}
