/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Buffers of any legal shape; walk.h says what is here.
 *
 * The guest may write to all of this memory at any time.  So every value is
 * loaded once and only the local copy is checked and used.  An index, address
 * or flag that cannot be is the guest's error: it is counted by kind and
 * breaks the ring, and what was taken of the ring before that stays good.
 */

#include "walk.h"

#include <stddef.h>
#include <string.h>

#include "port.h"

#define MIN(A, B) ((A) < (B) ? (A) : (B))

enum walk
vring_walk_error(struct walker *w, enum vhost_counter error, uint64_t v0,
                 uint64_t v1)
{
    w->error = error;
    w->v0 = v0;
    w->v1 = v1;
    return WALK_ERROR;
}

/* Why vring_translate() found nothing for the 'len' bytes at 'addr', having
 * left 'left' in its '*len'. */
static enum walk
not_found(struct walker *w, uint64_t left, uint64_t addr, uint64_t len)
{
    return (left ? vring_walk_error(w, VHOST_C_BAD_ADDRESS, addr, len)
            : WALK_MISS);
}

/* Behind a vIOMMU. */

static unsigned int
rights(bool write)
{
    return write ? VHOST_IOTLB_WO : VHOST_IOTLB_RO;
}

/* Makes 'block' what buffers of this ring are compared with first. */
static void
keep_block(const struct vhost_vring *vr, const struct vhost_iotlb_block *block)
{
    vr->st->block = (struct walk_hit) { block->iova, block->size,
                                        block->host };
}

struct walk_hit
vring_rare_hit(const struct vhost_vring *vr)
{
    struct vring_state *st = vr->st;

    if (vr->iotlb) {
        uint64_t generation = vhost_iotlb_generation(vr->iotlb);

        if (st->generation != generation) {
            st->generation = generation;
            st->block.size = 0;
        }
        if (!(vr->idx & 1)) {
            vring_look_beyond(vr);
        }
        if (!vr->log && !vr->postcopy) {
            return st->block;
        }
    }
    return (struct walk_hit) { 0, 0, NULL };
}

bool
vring_next_block(const struct vhost_vring *vr, struct walk_hit *hit,
                 uint64_t addr, unsigned int *tries)
{
    struct vhost_iotlb_block block;

    if (vr->log || vr->postcopy || vring_is_hit(hit, addr, 1) || !*tries
        || vhost_iotlb_find(vr->iotlb, addr, rights(!(vr->idx & 1)), &block)
           != VHOST_IOTLB_HIT) {
        return false;
    }
    --*tries;                   /* The guest may change 'addr' each time. */
    vring_count(vr->st, VHOST_C_IOTLB_HITS, 1);
    keep_block(vr, &block);
    *hit = vr->st->block;
    return true;
}

/* The polling thread cannot go on without the page of 'addr': tells the event
 * thread, once in each round. */
static void
wait_for(const struct vhost_vring *vr, uint64_t addr, bool write)
{
    struct vring_state *st = vr->st;
    uint64_t wanted = (addr & ~(VHOST_IOTLB_PAGE - 1)) | rights(write);
    uint32_t round = vhost_iotlb_round(vr->iotlb);

    if (st->waits_round == round
        && atomic_load_explicit(&st->waits_for, memory_order_relaxed)
           == wanted) {
        return;
    }
    vring_count(st, VHOST_C_IOTLB_MISSES, 1);
    st->waits_round = round;
    atomic_store_explicit(&st->waits_for, wanted, memory_order_relaxed);
    if (!atomic_exchange(&st->wants_lookups, true)) {
        vhost_port_wake(vr->port);
    }
}

uint8_t *
vring_iommu_translate(const struct vhost_vring *vr, uint64_t addr,
                      uint64_t *len, bool write)
{
    struct vhost_iotlb_block block;
    uint64_t offset;

    switch (vhost_iotlb_find(vr->iotlb, addr, rights(write), &block)) {
    case VHOST_IOTLB_HIT:
        break;
    case VHOST_IOTLB_MISS:
        wait_for(vr, addr, write);
        *len = 0;
        return NULL;
    case VHOST_IOTLB_DENIED:
        return NULL;
    }
    vring_count(vr->st, VHOST_C_IOTLB_HITS, 1);
    if (write == !(vr->idx & 1)) {
        keep_block(vr, &block);
    }
    offset = addr - block.iova;
    if (*len > block.size - offset) {
        *len = block.size - offset;
    }
    if (vr->postcopy && !vhost_postcopy_have(vr->postcopy, vr->mem,
                                             block.host + offset, len)) {
        return NULL;
    }
    return block.host + offset;
}

enum walk
vring_walk_buffer(struct walker *w, uint64_t addr, uint64_t len,
                  uint16_t flags)
{
    struct vhost_burst *b = w->b;

    if (!!(flags & VRING_DESC_F_WRITE) != w->write) {
        return vring_walk_error(w, VHOST_C_BAD_DIRECTION, addr, flags);
    }
    if (!len) {
        return vring_walk_error(w, VHOST_C_BAD_LENGTH, addr, 0);
    }
    if (addr + len < addr) {
        return vring_walk_error(w, VHOST_C_BAD_ADDRESS, addr, len);
    }
    len = MIN(len, w->wanted - w->taken);
    w->taken += len;
    while (len) {
        uint64_t piece = len;
        uint8_t *host = vring_translate(w->vr, addr, &piece, w->write);

        if (!host) {
            return not_found(w, piece, addr, len);
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

/* Indirect tables. */

enum walk
vring_walk_open(struct walker *w, uint64_t addr, uint32_t len, uint16_t flags,
                struct walk_table *table)
{
    struct vhost_vring *vr = w->vr;
    uint64_t piece = len;

    if (!vr->indirect || flags & VRING_DESC_F_NEXT
        || !len || len % 16 || len / 16 > VHOST_MAX_RING_SIZE
        || addr + len < addr) {
        return vring_walk_error(w, VHOST_C_BAD_INDIRECT, len, flags);
    }

    /* A table in one piece and aligned, as all have, is read in place. */
    table->addr = addr;
    table->n = len / 16;
    table->in_place = vring_translate(vr, addr, &piece, false);
    if (piece < len || (uintptr_t) table->in_place % 16) {
        table->in_place = NULL;
    }
    return WALK_OK;
}

enum walk
vring_walk_load(struct walker *w, const struct walk_table *table, uint32_t i,
                uint64_t words[2])
{
    uint64_t addr = table->addr + i * 16;
    uint8_t *dst = (uint8_t *) words;
    uint64_t left = 16;

    if (table->in_place) {
        const uint64_t *src = (const uint64_t *) (table->in_place + i * 16);

        words[0] = __atomic_load_n(&src[0], __ATOMIC_RELAXED);
        words[1] = __atomic_load_n(&src[1], __ATOMIC_RELAXED);
        return WALK_OK;
    }
    while (left) {
        uint64_t piece = left;
        const uint8_t *host = vring_translate(w->vr, addr, &piece, false);

        if (!host) {
            return not_found(w, piece, table->addr, table->n * 16);
        }
        memcpy(dst, host, piece);
        dst += piece;
        addr += piece;
        left -= piece;
    }
    return WALK_OK;
}

/* Bursts. */

void
vring_fill_packets(struct vhost_burst *b, unsigned int first,
                   unsigned int end, unsigned int seg)
{
    for (unsigned int i = first; i < end; i++, seg++) {
        struct vhost_pkt *p = &b->pkts[i];

        p->len = b->segs[seg].len;
        p->first = seg;
        p->n_segs = 1;
        memset(&p->hdr, 0, sizeof p->hdr);
        p->n_buffers = 1;
        p->n_hdr_segs = 0;
    }
}

/* Copies the part of the header at 'src' that both header lengths have, once,
 * to 'p'. */
static inline void
read_header(struct vhost_pkt *p, const uint8_t *src)
{
    uint64_t start;             /* Flags and gso_type are the first 2 bytes. */
    uint16_t end;

    memcpy(&start, src, 8);
    memcpy(&end, src + 8, 2);
    __asm__ ("" : "+r" (start), "+r" (end));    /* Loaded once. */
    memcpy(&p->hdr, &start, 8);
    memcpy((uint8_t *) &p->hdr + 8, &end, 2);
}

void
vhost_burst_expand(struct vhost_burst *b)
{
    if (b->simple) {
        for (unsigned int i = 0; i < b->n; i++) {
            struct vhost_pkt *p = &b->pkts[i];
            struct virtio_net_hdr hdr = p->hdr;

            vring_fill_packets(b, i, i + 1, i);
            if (b->have_headers) {
                p->hdr = hdr;
            } else if (b->apart & UINT32_C(1) << i) {
                read_header(p, b->headers[i]);
                p->n_hdr_segs = 1;
            }
        }
        b->simple = false;
    }
}

void
vring_find_lengths(struct vhost_burst *b)
{
    b->max_len = 0;
    b->min_len = UINT32_MAX;
    for (unsigned int i = 0; i < b->n; i++) {
        uint32_t len = vhost_burst_len(b, i);

        b->max_len = len > b->max_len ? len : b->max_len;
        b->min_len = len < b->min_len ? len : b->min_len;
    }
}

void
vring_read_headers(struct vhost_burst *b)
{
    unsigned int hdr_len = b->vr->hdr_len;
    uint16_t seen = 0;

    for (unsigned int i = 0; i < b->n; i++) {
        struct vhost_pkt *p = &b->pkts[i];

        if (b->simple) {
            read_header(p, (b->apart & UINT32_C(1) << i ? b->headers[i]
                            : b->segs[i].addr - hdr_len));
        } else if (!p->n_hdr_segs) {
            read_header(p, b->segs[p->first].addr - hdr_len);
        }
        seen |= p->hdr.flags | p->hdr.gso_type;
    }
    b->offloads = seen;
    b->have_headers = true;
}

/* From the guest. */

/* Moves the header from the first pieces of packet 'p', which are the burst's
 * last, into p->hdr, and leaves the frame's pieces. */
static void
take_header(struct vhost_vring *vr, struct vhost_burst *b,
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

/* Ends packet 'p' with 'len' bytes as the next of the burst; with 'lost' the
 * caller cannot be given it. */
static void
end_packet(struct vhost_burst *b, struct vhost_pkt *p, uint32_t len, bool lost)
{
    p->len = len;
    p->n_segs = lost ? 0 : p->n_segs;
    p->n_buffers = 1;
    p->n_hdr_segs = 1;          /* Its header has been read. */
    b->odd |= !p->n_segs;
    b->n_used++;
    b->n++;
}

bool
vring_walk_peek(struct walker *w)
{
    struct vhost_vring *vr = w->vr;
    struct vhost_burst *b = w->b;
    struct vhost_pkt *p = &b->pkts[b->n];
    uint16_t n_segs = b->n_segs;
    uint16_t pos = w->pos;
    enum walk result;

    vhost_burst_expand(b);
    p->first = n_segs;
    memset(&p->hdr, 0, sizeof p->hdr);
    w->taken = w->n_descs = 0;
    w->wanted = VHOST_MAX_FRAME_LEN;
    result = w->next(w);
    if (result == WALK_OK && w->taken < vr->hdr_len) {
        result = vring_walk_error(w, VHOST_C_BAD_LENGTH, w->taken,
                                  vr->hdr_len);
    }
    switch (result) {
    case WALK_OK:
        take_header(vr, b, p);
        end_packet(b, p, w->taken - vr->hdr_len,
                   w->taken == w->wanted /* Possibly cut. */);
        return true;

    case WALK_NO_ROOM:
        if (!b->n && w->b->n_segs == VHOST_BURST_SEGS) {
            /* Legal, but more than any burst can hold.  Its end is found by
             * walking on without taking. */
            b->n_segs = n_segs;
            w->pos = pos;
            w->taken = w->wanted = 0;
            w->n_descs = 0;
            result = w->next(w);
            if (result == WALK_OK) {
                end_packet(b, p, VHOST_MAX_FRAME_LEN, true);
                return true;
            }
        }
        break;

    case WALK_EMPTY:
    case WALK_MISS:
    case WALK_ERROR:
        break;
    }

    /* What came before it is delivered first; then it is found again. */
    b->n_segs = n_segs;
    w->pos = pos;
    if (!b->n && result == WALK_ERROR) {
        vring_break(vr, w->error, w->v0, w->v1);
    }
    return false;
}

void
vring_count_lost(struct vhost_vring *vr, const struct vhost_burst *b,
                 unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];

        if (!p->n_segs && p->len) {
            vring_count(vr->st, VHOST_C_TOO_MANY_SEGS, 1);
        }
    }
}

/* To the guest. */

/* Divides the pieces of packet 'p', the burst's last, into those that hold the
 * header and those that hold the frame. */
static enum walk
cut_header(struct vhost_vring *vr, struct vhost_burst *b, struct vhost_pkt *p)
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

/* Takes buffers for packet 'p' of p->len bytes.  WALK_EMPTY says that those
 * that are there were too few, or too small. */
static enum walk
reserve_buffers(struct walker *w, struct vhost_pkt *p)
{
    struct vhost_vring *vr = w->vr;
    struct vhost_burst *b = w->b;

    p->first = b->n_segs;
    p->n_buffers = 0;
    w->taken = w->n_descs = 0;
    w->wanted = (uint64_t) p->len + vr->hdr_len;
    while (w->taken < w->wanted) {
        uint64_t before = w->taken;
        enum walk result;

        if (p->n_buffers && !vr->mergeable) {
            return WALK_EMPTY;
        }
        if (b->n_used >= VHOST_BURST_SEGS) {
            return WALK_NO_ROOM;
        }
        result = w->next(w);
        if (result != WALK_OK) {
            return result;
        }
        b->used[b->n_used++].len = w->taken - before;
        p->n_buffers++;

        /* The header is in the first buffer, whole (section 5.1.6.4). */
        if (w->taken < vr->hdr_len) {
            return vring_walk_error(w, VHOST_C_BAD_LENGTH, w->taken,
                                    vr->hdr_len);
        }
    }
    return cut_header(vr, b, p);
}

/* Whether a packet for which the buffers that are there did not do will never
 * find a place in this ring. */
static bool
never_fits(const struct walker *w, const struct vhost_pkt *p)
{
    return (p->n_buffers
            && (!w->vr->mergeable || w->n_descs >= w->vr->size));
}

bool
vring_walk_reserve(struct walker *w, uint32_t len, enum vhost_reserve *why)
{
    struct vhost_vring *vr = w->vr;
    struct vhost_burst *b = w->b;
    struct vhost_pkt *p = &b->pkts[b->n];
    uint16_t n_segs = b->n_segs, n_used = b->n_used;
    uint16_t pos = w->pos, n_avail = w->n_avail;
    enum walk result;
    bool too_big;

    vhost_burst_expand(b);
    memset(&p->hdr, 0, sizeof p->hdr);
    p->len = len;
    if (len < w->too_big) {
        result = reserve_buffers(w, p);
        if (result == WALK_OK) {
            w->too_big = UINT32_MAX;
            b->n++;
            return true;
        }
        too_big = (result == WALK_EMPTY ? never_fits(w, p)
                   : result == WALK_NO_ROOM && !n_segs);
    } else {
        result = WALK_NO_ROOM;  /* Not for the one before either. */
        too_big = true;
    }

    /* It did not work: give its buffers back. */
    b->n_segs = n_segs;
    b->n_used = n_used;
    w->pos = pos;
    w->n_avail = n_avail;
    p->n_buffers = 0;
    if (result == WALK_ERROR) {
        if (!b->n) {
            vring_break(vr, w->error, w->v0, w->v1);
        }
        *why = b->n ? VHOST_R_FULL : VHOST_R_STOPPED;
    } else if (too_big) {
        vring_count(vr->st, VHOST_C_TOO_BIG, 1);
        p->first = n_segs;
        p->n_segs = p->n_hdr_segs = 0;
        w->too_big = len;
        b->odd = true;
        b->n++;
        return true;
    } else {
        *why = (result == WALK_NO_ROOM ? VHOST_R_OK /* Arrays are full. */
                : VHOST_R_FULL);
    }
    return false;
}

void
vring_write_header(struct vhost_vring *vr, struct vhost_burst *b,
                   const struct vhost_pkt *p)
{
    const struct vhost_seg *s = &b->segs[p->first - p->n_hdr_segs];
    const uint8_t *src = (const uint8_t *) &p->hdr;
    uint8_t *dst = (p->n_hdr_segs ? s->addr : s->addr - vr->hdr_len);

    /* 'n_buffers' is right behind 'hdr'. */
    _Static_assert(offsetof(struct vhost_pkt, n_buffers)
                   == offsetof(struct vhost_pkt, hdr) + 10, "see ring.h");
    if (__builtin_expect(!p->n_hdr_segs || s->len == vr->hdr_len, 1)) {
        if (vr->hdr_len == 12) {
            memcpy(dst, src, 12);
        } else {
            memcpy(dst, src, sizeof p->hdr);
        }
        return;
    }
    for (unsigned int i = 0; i < p->n_hdr_segs; i++) {
        memcpy(s[i].addr, src, s[i].len);
        src += s[i].len;
    }
}

void
vring_write_headers(struct vhost_vring *vr, struct vhost_burst *b)
{
    vhost_burst_expand(b);
    for (unsigned int i = b->n_headers; i < b->n; i++) {
        if (b->pkts[i].n_buffers) {
            vring_write_header(vr, b, &b->pkts[i]);
        }
    }
    for (unsigned int i = 0; vr->log && i < b->n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];
        unsigned int first = p->first - p->n_hdr_segs;

        if (!p->n_hdr_segs && p->n_buffers) {
            vring_log(vr, b->segs[first].addr - vr->hdr_len, vr->hdr_len);
        }
        for (unsigned int k = first; k < (unsigned int) p->first + p->n_segs;
             k++) {
            vring_log(vr, b->segs[k].addr, b->segs[k].len);
        }
    }
}
