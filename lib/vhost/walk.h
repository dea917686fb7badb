/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Buffers of any legal shape: chains and indirect tables, in as many pieces as
 * guests and memory regions make of them, and every check that they need.  The
 * part that both ring formats share; how a format finds its next buffer is its
 * own (struct walker, 'next').  Shapes that are common and simple never come
 * here: ring-split.c and ring-packed.c take them on a short way.
 *
 * For lib/vhost only, inside a ring's gate.
 */

#ifndef VHOST_WALK_H
#define VHOST_WALK_H 1

#include "vring.h"

/* Longest frame that is handed on; far above the largest TSO frame. */
#define VHOST_MAX_FRAME_LEN (256 * 1024)

/* Result of looking at one buffer of the ring. */
enum walk {
    WALK_OK,
    WALK_EMPTY,                 /* The guest has made no more available. */
    WALK_NO_ROOM,               /* The burst's arrays are full. */
    WALK_MISS,                  /* It takes memory that is not there yet, or a
                                 * vIOMMU's translation. */
    WALK_ERROR,                 /* The guest's; in struct walker. */
};

/* A walk along the buffers of one ring. */
struct walker {
    struct vhost_vring *vr;
    struct vhost_burst *b;
    bool write;                 /* Buffers must be writable, or readable. */
    uint64_t wanted;            /* Stop after this many bytes. */
    uint64_t taken;             /* Bytes so far, of this packet. */
    uint32_t n_descs;           /* Descriptors of the ring itself walked along
                                 * so far for this packet. */
    uint32_t too_big;           /* A packet of this length did not fit, at the
                                 * present position. */
    enum vhost_counter error;
    uint64_t v0, v1;            /* What was found. */

    /* Position in the ring, which 'next' advances: for split rings the entry
     * of the avail ring, for packed ones as in vring_state. */
    uint16_t pos;
    uint16_t n_avail;           /* Split rings: entries from 'pos' on.  Packed
                                 * rings: descriptors until the lap ends. */

    /* Adds the pieces of the buffer at 'pos' to 'b', stores its id (and its
     * slots) in b->used[b->n_used] and advances 'pos', unless it returns
     * something else than WALK_OK. */
    enum walk (*next)(struct walker *);
};

/* Notes the guest's error, and what was found, in 'w'. */
enum walk vring_walk_error(struct walker *w, enum vhost_counter error,
                           uint64_t v0, uint64_t v1);

/* Adds the 'len' bytes at the guest's 'addr', of a descriptor with 'flags', to
 * the burst, in as many pieces as they have here, as far as 'wanted' goes. */
enum walk vring_walk_buffer(struct walker *w, uint64_t addr, uint64_t len,
                            uint16_t flags);

/* An indirect table. */
struct walk_table {
    uint64_t addr;              /* Guest address. */
    const uint8_t *in_place;    /* NULL: it has to be copied. */
    uint32_t n;                 /* Descriptors in it, > 0. */
};

/* Opens the table that a descriptor with 'addr', 'len' and 'flags' points to
 * (virtio 1.2, sections 2.7.5.3 and 2.8.7). */
enum walk vring_walk_open(struct walker *w, uint64_t addr, uint32_t len,
                          uint16_t flags, struct walk_table *table);

/* Loads entry 'i' of 'table', once, into 'words': the descriptor's 16
 * bytes. */
enum walk vring_walk_load(struct walker *w, const struct walk_table *table,
                          uint32_t i, uint64_t words[2]);

/* Adds the packet at 'w->pos' as the next of 'w->b', for the direction from
 * the guest.  Returns false if the burst ends before it. */
bool vring_walk_peek(struct walker *w);

/* Reserves buffers for a packet of 'len' bytes, from 'w->pos' on, as the next
 * of 'w->b'.  Returns false, with a reason in '*why', if the burst ends before
 * it. */
bool vring_walk_reserve(struct walker *w, uint32_t len,
                        enum vhost_reserve *why);

/* Sets 'min_len' and 'max_len'. */
void vring_find_lengths(struct vhost_burst *);

/* Reads the headers of a burst from the guest that have not been read, and
 * sets 'offloads'. */
void vring_read_headers(struct vhost_burst *);

/* Counts those of the first 'n' packets of 'b' that the caller could not be
 * given. */
void vring_count_lost(struct vhost_vring *, const struct vhost_burst *b,
                      unsigned int n);

/* Writes the headers that vhost_burst_write_all() has not, and logs, during a
 * migration, what was written into the guest's buffers. */
void vring_write_headers(struct vhost_vring *, struct vhost_burst *b);

/* Short ways.  The common buffer is one descriptor that lies in the region of
 * the one before it.  These write next to each other what belongs together,
 * and keep in local variables what the compiler cannot know that it stays. */

/* The same for rings that are not 'simple'. */
struct walk_hit vring_rare_hit(const struct vhost_vring *);

/* lookahead.c: behind a vIOMMU, looks at what the guest has made available
 * since the last time in a ring to which packets are sent: they cannot wait
 * there for a translation. */
void vring_look_beyond(const struct vhost_vring *);

/* What was hit last: a memory region, or behind a vIOMMU a block.  Where each
 * burst starts, before anything is translated. */
static inline struct walk_hit
vring_walk_hit(const struct vhost_vring *vr)
{
    const struct vhost_region *r = vr->st->hit;

    if (__builtin_expect(!vr->simple, 0)) {
        return vring_rare_hit(vr);
    }
    return (r ? (struct walk_hit) { r->guest_addr, r->size, r->host }
            : (struct walk_hit) { 0, 0, NULL });
}

/* Whether the 'len' bytes at 'addr' are in there. */
static inline bool
vring_is_hit(const struct walk_hit *hit, uint64_t addr, uint32_t len)
{
    uint64_t offset = addr - hit->guest_addr;

    return offset < hit->size && len <= hit->size - offset;
}

/* Behind a vIOMMU, where the short way has ended at a buffer that is at 'addr'
 * and not in 'hit': makes that the block in which it is.  Returns false if
 * that is no other one, or not known, or was done too often ('*tries'). */
bool vring_next_block(const struct vhost_vring *, struct walk_hit *hit,
                      uint64_t addr, unsigned int *tries);

/* Notes that piece 'i' of 'b' is the 'len' > 0 bytes of a frame whose header
 * is at 'host'. */
static inline void
vring_fast_piece(struct vhost_burst *b, unsigned int i, uint8_t *host,
                 uint32_t len, unsigned int hdr_len)
{
    b->segs[i].addr = host + hdr_len;
    b->segs[i].len = len;
}

/* A frame that the guest has put into two buffers: its header alone, as some
 * drivers do, then all of it. */
struct walk_pair {
    const uint8_t *hdr;
    uint8_t *host;
    uint32_t len;               /* Of the frame. */
};

/* Fills in 'pair' with the readable buffers at 'addr0' and 'addr1' unless they
 * are not such a pair in the region hit last. */
static inline bool
vring_walk_pair(const struct walk_hit *hit, unsigned int hdr_len,
                uint64_t addr0, uint32_t len0, uint64_t addr1, uint32_t len1,
                struct walk_pair *pair)
{
    if (len0 != hdr_len || !len1 || len1 >= VHOST_MAX_FRAME_LEN - hdr_len
        || !vring_is_hit(hit, addr0, len0)
        || !vring_is_hit(hit, addr1, len1)) {
        return false;
    }
    pair->hdr = hit->host + (addr0 - hit->guest_addr);
    pair->host = hit->host + (addr1 - hit->guest_addr);
    pair->len = len1;
    return true;
}

/* The table of two descriptors that a descriptor with 'addr', 'len' and no
 * flag but that for "indirect" points to, or NULL if it is another one, or not
 * in the region hit last. */
static inline const uint8_t *
vring_pair_table(const struct vhost_vring *vr, const struct walk_hit *hit,
                 uint64_t addr, uint32_t len)
{
    const uint8_t *table;

    if (!vr->indirect || len != 32 || !vring_is_hit(hit, addr, len)) {
        return NULL;
    }
    table = hit->host + (addr - hit->guest_addr);
    return (uintptr_t) table % 16 ? NULL : table;
}

/* Notes the header of packet 'i', which is apart from its piece. */
static inline void
vring_fast_header(struct vhost_burst *b, unsigned int i, const uint8_t *hdr)
{
    __builtin_prefetch(hdr);
    b->headers[i] = hdr;
    b->apart |= UINT32_C(1) << i;
}

/* Fills in pkts['first'...'end'-1], which have a piece each from
 * segs['seg'] on. */
void vring_fill_packets(struct vhost_burst *, unsigned int first,
                        unsigned int end, unsigned int seg);

/* Adds 'n' packets of a piece each, which are after the last one. */
static inline void
vring_fast_add(struct walker *w, unsigned int n)
{
    struct vhost_burst *b = w->b;

    if (__builtin_expect(!b->simple, 0)) {
        vring_fill_packets(b, b->n, b->n + n, b->n_segs);
    }
    b->n += n;
    b->n_used += n;
    b->n_segs += n;
    w->n_avail -= n;
    w->too_big = n ? UINT32_MAX : w->too_big;
}

/* Starts the burst 'b'. */
static inline void
vring_burst_init(struct vhost_burst *b, struct vhost_vring *vr)
{
    b->vr = vr;
    b->n = b->n_segs = b->n_used = b->n_headers = 0;
    b->simple = true;
    b->odd = b->have_headers = false;
    b->apart = 0;
    b->max_len = 0;
    b->min_len = UINT32_MAX;
}

/* Ends the burst 'b' from the guest, that is, finds out what is to be said of
 * all its packets.  (The lengths of a simple one are known.) */
static inline void
vring_peek_end(struct vhost_burst *b)
{
    b->offloads = false;
    if (b->vr->features & VHOST_HDR_FEATURES) {
        vring_read_headers(b);
    }
    if (__builtin_expect(!b->simple, 0)) {
        vring_find_lengths(b);
    }
}

#endif /* walk.h */
