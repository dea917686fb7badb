/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Split virtqueues (virtio 1.2, section 2.7) on the polling threads: reads
 * what the guest made available, checks it, and gives it back.  Gates, locks
 * and the choice between ring formats are ring.c's.
 *
 * The guest may write to all of this memory at any time.  So every value is
 * loaded once, by guest_load16() or load_desc(), and only the local copy is
 * checked and used.  An index, address or flag that cannot be is the guest's
 * error: it is counted by kind and breaks the ring, and what was taken of the
 * ring before that stays good.
 */

#include <errno.h>
#include <string.h>

#include "notify.h"
#include "vring.h"

#define MIN(A, B) ((A) < (B) ? (A) : (B))

/* Longest frame that is handed on; far above the largest TSO frame. */
#define MAX_FRAME_LEN (256 * 1024)

/* Result of looking at one chain of descriptors. */
enum walk {
    WALK_OK,
    WALK_NO_ROOM,               /* The burst's arrays are full. */
    WALK_ERROR,                 /* The guest's; in struct walker. */
};

/* A walk along the chains of one ring. */
struct walker {
    struct vhost_vring *vr;
    struct vhost_burst *b;
    bool write;                 /* Buffers must be writable, or readable. */
    uint64_t wanted;            /* Stop after this many bytes. */
    uint64_t taken;             /* Bytes so far. */
    enum vhost_counter error;
    uint64_t v0, v1;            /* What was found. */
};

static uint16_t
guest_load16(const void *p)
{
    return __atomic_load_n((const uint16_t *) p, __ATOMIC_RELAXED);
}

static void
guest_store16(void *p, uint16_t value)
{
    __atomic_store_n((uint16_t *) p, value, __ATOMIC_RELAXED);
}

/* Loads a descriptor at 'p', which is aligned to 16 bytes, once. */
static struct vring_desc
load_desc(const struct vring_desc *p)
{
    const uint64_t *words = (const uint64_t *) p;
    union {
        uint64_t words[2];
        struct vring_desc desc;
    } u;

    u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
    u.words[1] = __atomic_load_n(&words[1], __ATOMIC_RELAXED);
    return u.desc;
}

static enum walk
walk_error(struct walker *w, enum vhost_counter error, uint64_t v0,
           uint64_t v1)
{
    w->error = error;
    w->v0 = v0;
    w->v1 = v1;
    return WALK_ERROR;
}

/* Copies 'len' bytes at the guest's 'addr', which may be spread over regions,
 * to 'dst'. */
static bool
guest_read(struct vhost_vring *vr, uint64_t addr, void *dst, uint64_t len)
{
    uint8_t *d = dst;

    while (len) {
        uint64_t piece = len;
        uint8_t *host = vring_translate(vr, addr, &piece, false);

        if (!host) {
            return false;
        }
        memcpy(d, host, piece);
        d += piece;
        addr += piece;
        len -= piece;
    }
    return true;
}

/* Adds the buffer 'desc' to the burst, in as many pieces as it has here. */
static enum walk
walk_buffer(struct walker *w, const struct vring_desc *desc)
{
    struct vhost_burst *b = w->b;
    uint64_t addr = desc->addr;
    uint64_t len = desc->len;

    if (!!(desc->flags & VRING_DESC_F_WRITE) != w->write) {
        return walk_error(w, VHOST_C_BAD_DIRECTION, desc->addr, desc->flags);
    }
    if (!len) {
        return walk_error(w, VHOST_C_BAD_LENGTH, desc->addr, 0);
    }
    if (addr + len < addr) {
        return walk_error(w, VHOST_C_BAD_ADDRESS, addr, len);
    }
    len = MIN(len, w->wanted - w->taken);
    w->taken += len;
    while (len) {
        uint64_t piece = len;
        uint8_t *host = vring_translate(w->vr, addr, &piece, w->write);

        if (!host) {
            return walk_error(w, VHOST_C_BAD_ADDRESS, addr, len);
        }
        if (b->n_segs >= VHOST_BURST_SEGS) {
            return WALK_NO_ROOM;
        }
        b->segs[b->n_segs].addr = host;
        b->segs[b->n_segs++].len = piece;
        addr += piece;
        len -= piece;
    }
    return WALK_OK;
}

/* Walks the indirect table that 'outer' points to (section 2.7.5.3). */
static enum walk
walk_indirect(struct walker *w, const struct vring_desc *outer)
{
    struct vhost_vring *vr = w->vr;
    uint64_t table_len = outer->len;
    uint32_t size = outer->len / sizeof(struct vring_desc);
    const struct vring_desc *table;
    uint32_t i = 0;

    if (!vr->indirect || outer->flags & VRING_DESC_F_NEXT
        || !size || outer->len % sizeof(struct vring_desc)
        || size > VHOST_MAX_RING_SIZE
        || outer->addr + outer->len < outer->addr) {
        return walk_error(w, VHOST_C_BAD_INDIRECT, outer->len, outer->flags);
    }

    /* A table in one piece and aligned, as all have, is read in place. */
    table = (void *) vring_translate(vr, outer->addr, &table_len, false);
    if (table_len < outer->len || (uintptr_t) table % sizeof *table) {
        table = NULL;
    }

    for (uint32_t n = 0; n < size; n++) {
        struct vring_desc desc;
        enum walk result;

        if (table) {
            desc = load_desc(&table[i]);
        } else if (!guest_read(vr, outer->addr + i * sizeof desc, &desc,
                               sizeof desc)) {
            return walk_error(w, VHOST_C_BAD_ADDRESS, outer->addr, outer->len);
        }
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return walk_error(w, VHOST_C_BAD_INDIRECT, i, desc.flags);
        }
        result = walk_buffer(w, &desc);
        if (result != WALK_OK || w->taken == w->wanted
            || !(desc.flags & VRING_DESC_F_NEXT)) {
            return result;
        }
        i = desc.next;
        if (i >= size) {
            return walk_error(w, VHOST_C_BAD_HEAD, i, size);
        }
    }
    return walk_error(w, VHOST_C_BAD_CHAIN, outer->addr, size);
}

/* Walks the chain that starts at 'head' and adds its buffers to the burst,
 * until it ends or 'w->wanted' bytes were taken. */
static enum walk
walk_chain(struct walker *w, uint16_t head)
{
    struct vhost_vring *vr = w->vr;
    uint16_t i = head;

    for (uint32_t n = 0; n < vr->size; n++) {
        struct vring_desc desc;
        enum walk result;

        if (i >= vr->size) {
            return walk_error(w, VHOST_C_BAD_HEAD, i, vr->size);
        }
        desc = load_desc(&vr->desc[i]);
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            return walk_indirect(w, &desc);
        }
        result = walk_buffer(w, &desc);
        if (result != WALK_OK || w->taken == w->wanted
            || !(desc.flags & VRING_DESC_F_NEXT)) {
            return result;
        }
        i = desc.next;
    }
    return walk_error(w, VHOST_C_BAD_CHAIN, head, vr->size);
}

/* How many entries of the avail ring are new.  Breaks the ring where the
 * guest's index cannot be. */
static unsigned int
split_available(struct vhost_vring *vr)
{
    struct vring_state *st = vr->st;
    uint16_t last = atomic_load_explicit(&st->last_avail,
                                         memory_order_relaxed);
    uint16_t idx = __atomic_load_n(&vr->avail->idx, __ATOMIC_ACQUIRE);
    uint16_t n = idx - last;

    if (n > vr->size) {
        vring_break(vr, VHOST_C_BAD_AVAIL_IDX, idx, last);
        return 0;
    }
    return n;
}

/* Entry 'pos' of the avail ring. */
static uint16_t
split_head(const struct vhost_vring *vr, uint16_t pos)
{
    return guest_load16(&vr->avail->ring[pos & vr->mask]);
}

/* Moves the header from the first pieces of packet 'p', which are the burst's
 * last, into p->hdr, and leaves the frame's pieces. */
static void
split_take_header(struct vhost_vring *vr, struct vhost_burst *b,
                  struct vhost_pkt *p)
{
    uint8_t hdr[sizeof(struct virtio_net_hdr_v1)];
    unsigned int got = 0;

    p->n_segs = b->n_segs - p->first;
    while (got < vr->hdr_len) {
        struct vhost_seg *s = &b->segs[p->first];
        unsigned int n = MIN(s->len, vr->hdr_len - got);

        memcpy(hdr + got, s->addr, n);
        got += n;
        s->addr += n;
        s->len -= n;
        if (!s->len) {
            p->first++;
            p->n_segs--;
        }
    }
    memcpy(&p->hdr, hdr, sizeof p->hdr);
}

/* Adds the packet whose chain starts at 'head' as the next of 'b'.  Returns
 * false if the burst ends before it. */
static bool
split_peek_one(struct vhost_vring *vr, struct vhost_burst *b, uint16_t head)
{
    struct vhost_pkt *p = &b->pkts[b->n];
    uint16_t n_segs = b->n_segs;
    struct walker w = {
        .vr = vr,
        .b = b,
        .wanted = MAX_FRAME_LEN,
    };

    p->first = n_segs;
    p->n_hdr_segs = 0;
    p->n_buffers = 1;
    switch (walk_chain(&w, head)) {
    case WALK_OK:
        if (w.taken < vr->hdr_len) {
            walk_error(&w, VHOST_C_BAD_LENGTH, w.taken, vr->hdr_len);
            break;
        }
        split_take_header(vr, b, p);
        p->len = w.taken - vr->hdr_len;
        if (w.taken == w.wanted) {
            p->n_segs = 0;      /* Possibly cut. */
        }
        return true;

    case WALK_NO_ROOM:
        if (b->n) {
            b->n_segs = n_segs;
            return false;       /* It fits the next burst, perhaps. */
        }
        /* Legal, but more than any burst can hold. */
        p->n_segs = 0;
        p->len = MAX_FRAME_LEN;
        b->n_segs = n_segs;
        return true;

    case WALK_ERROR:
        break;
    }

    /* What came before it is delivered first; then it is found again. */
    b->n_segs = n_segs;
    if (!b->n) {
        vring_break(vr, w.error, w.v0, w.v1);
    }
    return false;
}

unsigned int
vring_split_peek(struct vhost_vring *vr, struct vhost_burst *b,
                 unsigned int max)
{
    uint16_t pos = atomic_load_explicit(&vr->st->last_avail,
                                        memory_order_relaxed);
    unsigned int n_avail = split_available(vr);
    unsigned int n = MIN(n_avail, max);

    b->vr = vr;
    b->n = 0;
    b->n_segs = 0;
    if (!n) {
        return 0;
    }
    for (unsigned int i = 0; i < n; i++) {
        b->used[i].id = split_head(vr, pos + i);
        b->used[i].len = 0;
        __builtin_prefetch(&vr->desc[b->used[i].id & vr->mask]);
    }
    while (b->n < n && split_peek_one(vr, b, b->used[b->n].id)) {
        const struct vhost_pkt *p = &b->pkts[b->n++];

        if (p->n_segs) {
            __builtin_prefetch(b->segs[p->first].addr);
        }
    }
    atomic_store_explicit(&vr->st->backlog, n_avail - b->n,
                          memory_order_relaxed);
    return b->n;
}

/* Calls the guest after 'n' entries were added to the used ring (sections
 * 2.7.7.2 and 2.7.10), if it wants that. */
static void
split_notify(struct vhost_vring *vr, unsigned int n)
{
    struct vring_state *st = vr->st;
    uint16_t new = atomic_load_explicit(&st->used_idx, memory_order_relaxed);
    bool wanted;

    if (vr->callfd < 0) {
        return;                 /* The guest polls. */
    }

    /* The guest publishes its wish and looks at used->idx; we publish
     * used->idx and look at its wish. */
#ifndef __SANITIZE_THREAD__
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (vr->event_idx) {
        uint16_t event = guest_load16(&vr->avail->ring[vr->size]);

        wanted = vring_need_event(event, new, new - n) || !st->signalled;
    } else {
        wanted = !(guest_load16(&vr->avail->flags)
                   & VRING_AVAIL_F_NO_INTERRUPT);
    }
    if (wanted) {
        st->signalled = true;
        vring_call(vr);
    } else {
        vring_count(st, VHOST_C_SUPPRESSED, 1);
    }
}

/* Gives the 'n' entries of 'used' back. */
static void
split_push_used(struct vhost_vring *vr, const struct vhost_used used[],
                unsigned int n)
{
    struct vring_state *st = vr->st;
    uint16_t pos = atomic_load_explicit(&st->used_idx, memory_order_relaxed);

    for (unsigned int i = 0; i < n; i++) {
        struct vring_used_elem *e = &vr->used->ring[(pos + i) & vr->mask];

        __atomic_store_n(&e->id, used[i].id, __ATOMIC_RELAXED);
        __atomic_store_n(&e->len, used[i].len, __ATOMIC_RELAXED);
        vring_log(vr, e, sizeof *e);
    }
    pos += n;
    atomic_store_explicit(&st->used_idx, pos, memory_order_relaxed);
#ifdef __SANITIZE_THREAD__
    __atomic_store_n(&vr->used->idx, pos, __ATOMIC_SEQ_CST);
#else
    __atomic_store_n(&vr->used->idx, pos, __ATOMIC_RELEASE);
#endif
    vring_log(vr, &vr->used->idx, sizeof vr->used->idx);
}

static void
split_advance(struct vhost_vring *vr, unsigned int n)
{
    uint16_t last = atomic_load_explicit(&vr->st->last_avail,
                                         memory_order_relaxed);

    atomic_store_explicit(&vr->st->last_avail, last + n,
                          memory_order_relaxed);
}

void
vring_split_complete(struct vhost_vring *vr, struct vhost_burst *b,
                     unsigned int n)
{
    if (!n) {
        return;
    }
    for (unsigned int i = 0; i < n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];

        if (!p->n_segs && p->len) {
            vring_count(vr->st, VHOST_C_TOO_MANY_SEGS, 1);
        }
    }
    split_push_used(vr, b->used, n);
    split_advance(vr, n);
    split_notify(vr, n);
}

/* Divides the pieces of packet 'p', the burst's last, into those that hold the
 * header and those that hold the frame. */
static enum walk
split_cut_header(struct vhost_vring *vr, struct vhost_burst *b,
                 struct vhost_pkt *p)
{
    unsigned int left = vr->hdr_len;
    unsigned int i = p->first;

    while (left) {
        struct vhost_seg *s = &b->segs[i++];

        if (s->len > left) {
            /* The piece holds the header's end and the frame's start. */
            if (b->n_segs >= VHOST_BURST_SEGS) {
                return WALK_NO_ROOM;
            }
            memmove(s + 1, s, (b->n_segs - (i - 1)) * sizeof *s);
            b->n_segs++;
            s[1].addr += left;
            s[1].len -= left;
            s->len = left;
        }
        left -= s->len;
    }
    p->n_hdr_segs = i - p->first;
    p->first = i;
    p->n_segs = b->n_segs - i;
    return WALK_OK;
}

/* Takes buffers, from entry 'pos' of the avail ring on, for packet 'p' of
 * p->len bytes.  'n_avail' entries are there.  Stores in '*full' whether they
 * were too few, or too small. */
static enum walk
split_reserve_one(struct walker *w, struct vhost_pkt *p, uint16_t pos,
                  unsigned int n_avail, bool *full)
{
    struct vhost_vring *vr = w->vr;
    struct vhost_burst *b = w->b;
    unsigned int max = vr->mergeable ? n_avail : MIN(n_avail, 1);

    p->first = b->n_segs;
    p->n_buffers = 0;
    w->taken = 0;
    w->wanted = (uint64_t) p->len + vr->hdr_len;
    *full = false;
    while (w->taken < w->wanted) {
        uint64_t before = w->taken;
        struct vhost_used *used = &b->used[b->n_used];
        enum walk result;

        if (p->n_buffers >= max) {
            *full = true;
            return WALK_OK;
        }
        if (b->n_used >= VHOST_BURST_SEGS) {
            return WALK_NO_ROOM;
        }
        used->id = split_head(vr, pos + p->n_buffers);
        result = walk_chain(w, used->id);
        if (result != WALK_OK) {
            return result;
        }
        used->len = w->taken - before;
        p->n_buffers++;
        b->n_used++;

        /* The header is in the first buffer, whole (section 5.1.6.4). */
        if (w->taken < vr->hdr_len) {
            return walk_error(w, VHOST_C_BAD_LENGTH, w->taken, vr->hdr_len);
        }
    }
    return split_cut_header(vr, b, p);
}

/* Whether a packet for which the 'n_avail' entries did not do will never find
 * a place in this ring. */
static bool
split_never_fits(const struct vhost_vring *vr, unsigned int n_avail)
{
    return n_avail && (!vr->mergeable || n_avail >= vr->size);
}

unsigned int
vring_split_reserve(struct vhost_vring *vr, struct vhost_burst *b,
                    const uint32_t lens[], unsigned int n,
                    enum vhost_reserve *why)
{
    uint16_t pos = atomic_load_explicit(&vr->st->last_avail,
                                        memory_order_relaxed);
    unsigned int n_avail = split_available(vr);
    struct walker w = { .vr = vr, .b = b, .write = true };
    uint32_t too_big = UINT32_MAX;

    b->vr = vr;
    b->n = b->n_segs = b->n_used = 0;
    *why = n_avail ? VHOST_R_OK : VHOST_R_FULL;
    if (!n_avail) {
        return 0;
    }
    for (unsigned int i = 0; i < MIN(n, n_avail); i++) {
        __builtin_prefetch(&vr->desc[split_head(vr, pos + i) & vr->mask]);
    }
    while (b->n < n) {
        struct vhost_pkt *p = &b->pkts[b->n];
        uint16_t n_segs = b->n_segs;
        uint16_t n_used = b->n_used;
        enum walk result;
        bool full;

        p->len = lens[b->n];
        if (p->len < too_big) {
            result = split_reserve_one(&w, p, pos, n_avail, &full);
        } else {
            result = WALK_NO_ROOM;      /* Not for the one before either. */
            full = false;
            p->n_buffers = 0;
        }
        if (result == WALK_OK && !full) {
            pos += p->n_buffers;
            n_avail -= p->n_buffers;
            too_big = UINT32_MAX;
            b->n++;
            __builtin_prefetch(b->segs[n_segs].addr, 1);
            continue;
        }

        /* It did not work: give its buffers back. */
        b->n_segs = n_segs;
        b->n_used = n_used;
        p->n_buffers = 0;
        if (result == WALK_ERROR) {
            if (!b->n) {
                vring_break(vr, w.error, w.v0, w.v1);
            }
            *why = b->n ? VHOST_R_FULL : VHOST_R_STOPPED;
            break;
        }
        if (full ? split_never_fits(vr, n_avail) : !n_segs) {
            vring_count(vr->st, VHOST_C_TOO_BIG, 1);
            p->first = n_segs;
            p->n_segs = p->n_hdr_segs = 0;
            too_big = p->len;
            b->n++;
            continue;
        }
        *why = full ? VHOST_R_FULL : VHOST_R_OK;    /* Arrays are full. */
        break;
    }
    atomic_store_explicit(&vr->st->backlog, n_avail, memory_order_relaxed);
    return b->n;
}

/* Writes the header of packet 'p' to the guest (section 5.1.6). */
static void
split_write_header(struct vhost_vring *vr, struct vhost_burst *b,
                   const struct vhost_pkt *p)
{
    const struct vhost_seg *s = &b->segs[p->first - p->n_hdr_segs];
    struct virtio_net_hdr_v1 hdr;
    const uint8_t *src = (const uint8_t *) &hdr;

    memcpy(&hdr, &p->hdr, sizeof p->hdr);
    hdr.num_buffers = p->n_buffers;
    for (unsigned int i = 0; i < p->n_hdr_segs; i++) {
        memcpy(s[i].addr, src, s[i].len);
        vring_log(vr, s[i].addr, s[i].len);
        src += s[i].len;
    }
}

void
vring_split_commit(struct vhost_vring *vr, struct vhost_burst *b)
{
    for (unsigned int i = 0; i < b->n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];

        if (p->n_buffers) {
            split_write_header(vr, b, p);
            for (unsigned int k = 0; vr->log && k < p->n_segs; k++) {
                const struct vhost_seg *s = &b->segs[p->first + k];

                vring_log(vr, s->addr, s->len);
            }
        }
    }
    if (!b->n_used) {
        return;                 /* All were too big. */
    }
    split_push_used(vr, b->used, b->n_used);
    split_advance(vr, b->n_used);
    split_notify(vr, b->n_used);
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
        vring_log(vr, avail_event, sizeof *avail_event);
    }

    /* With event indexes the flag is not looked at (section 2.7.10) and has
     * to be 0. */
    guest_store16(&vr->used->flags,
                  want || vr->event_idx ? 0 : VRING_USED_F_NO_NOTIFY);
    vring_log(vr, &vr->used->flags, sizeof vr->used->flags);
    atomic_thread_fence(memory_order_seq_cst);
}
