/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The packets' half of the door: bursts.  A polling thread peeks at what the
 * guest sent, or reserves room for what the guest shall receive, copies, and
 * completes.  Split and packed rings fill the same arrays, so the copy loop
 * exists once, here, and the caller never sees a descriptor.
 *
 *     guest to switch                    switch to guest
 *
 *     n = vhost_rxq_peek(q, &b, 32);     n = vhost_sender_reserve(s, &b, ...);
 *     if (n) {                           if (n) {
 *         ...vhost_burst_read_all()...       ...vhost_burst_write_all()...
 *         vhost_rxq_complete(q, &b, n);      vhost_sender_commit(s, &b);
 *     }                                  }
 *
 * Between the two calls the thread is inside the ring's gate (see gate.h): the
 * guest's memory stays mapped and the ring stays as it is.  So the caller must
 * come to the second call soon and by no way but a return: it must not block,
 * sleep or take a lock that somebody holds for long.
 *
 * Threads: one thread at a time for one vhost_rxq, and for one vhost_sender
 * unless 'concurrent' is set.  Different queues and senders do not meet,
 * except that senders mapped to one ring share its lock.
 *
 * All contents of a burst are copies made by this side: what the guest does to
 * its memory after the peek changes payload at most, never a length or an
 * offset.
 */

#ifndef VHOST_RING_H
#define VHOST_RING_H 1

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct vhost_rxq;
struct vhost_sender;
struct vhost_vring;

#define VHOST_BURST 32          /* Packets in a burst. */
#define VHOST_BURST_SEGS 512    /* Pieces of guest memory in a burst. */

/* A piece of guest memory: within one region, checked. */
struct vhost_seg {
    uint8_t *addr;
    uint32_t len;               /* Bytes, > 0. */
};

struct vhost_pkt {
    uint32_t len;               /* Of the frame in bytes, without header.  0
                                 * if the guest sent nothing but a header. */
    uint16_t first;             /* Its first piece in segs[]. */
    uint16_t n_segs;            /* 0: to be skipped, counted if 'len' > 0. */
    /* virtio-net header, virtio 1.2, section 5.1.6, in little-endian byte
     * order, or the guest's for a legacy guest (same on every host that this
     * runs on): peek() has read it once; reserve() has made it all zero, and
     * the caller may change it before write_all() or commit(). */
    struct virtio_net_hdr hdr;
    uint16_t n_buffers;         /* Guest's buffers it takes.  Right behind
                                 * 'hdr', as in struct virtio_net_hdr_v1. */
    uint16_t n_hdr_segs;        /* To the guest: pieces before 'first' that
                                 * hold the header; 0: it is just before the
                                 * first piece.  (For the ring code only.) */
};

struct vhost_used {
    uint16_t id;
    uint16_t slots;             /* Descriptors it has in a packed ring. */
    uint32_t len;
};

struct vhost_burst {
    uint16_t n;                 /* Packets. */

    /* Every packet i is one piece, segs[i].  To the guest: with its header
     * just before it.  pkts[] is not filled in (except 'hdr' from the guest),
     * unless by vhost_burst_expand(). */
    bool simple;
    bool odd;                   /* Some packet has 'n_segs' 0. */

    /* From the guest only. */
    bool offloads;              /* Some header has flags or a gso_type. */
    uint32_t max_len;           /* Of all packets, without headers. */
    uint32_t min_len;

    /* For the ring code only. */
    uint16_t n_segs;
    uint16_t n_used;
    uint16_t n_headers;         /* Headers written already. */
    bool have_headers;          /* pkts[].hdr are filled in. */
    uint32_t apart;             /* From the guest, simple bursts: bit i is 1 if
                                 * packet i's header is at headers[i]. */
    struct vhost_vring *vr;

    struct vhost_pkt pkts[VHOST_BURST];
    struct vhost_seg segs[VHOST_BURST_SEGS];

    /* The starts of these arrays, which is all that most bursts use, must not
     * be multiples of 4096 bytes apart: CPUs take a load for one of what was
     * just stored if the lower 12 bits of the addresses are the same. */
    uint8_t unused[1024];
    struct vhost_used used[VHOST_BURST_SEGS];
    const uint8_t *headers[VHOST_BURST];
};

/* Fills 'b' with up to 'max' <= VHOST_BURST packets that the guest has sent
 * and returns their number.  If that is 0 (nothing there, ring not started,
 * stopped or broken) the gate has been left, and complete() must not be
 * called.
 *
 * A packet's 'n_segs' is 0 where it cannot be represented (too many pieces):
 * it was counted, and is completed with the others.
 *
 * Headers say nothing, and are not read, where the guest has negotiated no
 * offload that it could ask for (VHOST_HDR_FEATURES). */
unsigned int vhost_rxq_peek(struct vhost_rxq *, struct vhost_burst *b,
                            unsigned int max);

/* The same, but leaves a simple burst (see struct vhost_burst) as it is. */
unsigned int vhost_rxq_peek_simple(struct vhost_rxq *, struct vhost_burst *b,
                                   unsigned int max);

/* Features of which a guest needs one to say something in a header. */
#define VHOST_HDR_FEATURES (UINT64_C(1) << VIRTIO_NET_F_CSUM             \
                            | UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4      \
                            | UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6      \
                            | UINT64_C(1) << VIRTIO_NET_F_HOST_UFO)

/* Fills in pkts[] of a simple burst.  (Called for every burst from peek() and
 * reserve() by those who do not look at 'simple'.) */
void vhost_burst_expand(struct vhost_burst *b);

/* Gives the buffers of the first 'n' packets of 'b' back to the guest,
 * notifies it if it asks for that, and leaves the gate.  The packets from 'n'
 * on stay in the ring and will be seen by the next peek. */
void vhost_rxq_complete(struct vhost_rxq *, struct vhost_burst *b,
                        unsigned int n);

/* The same for a thread that will call vhost_rxq_peek() for this queue again
 * soon: the guest is notified then, or when the queue has become idle.  Asking
 * whether it wants that takes a full memory fence, which has to wait until all
 * stores before it have reached memory, and is nearly free some time later. */
void vhost_rxq_complete_later(struct vhost_rxq *, struct vhost_burst *b,
                              unsigned int n);

/* About how many entries wait in the ring after the last peek or complete, for
 * the caller's fill statistics; never reads guest memory. */
unsigned int vhost_rxq_backlog(const struct vhost_rxq *);

/* Why reserve() took fewer packets than asked for. */
enum vhost_reserve {
    VHOST_R_OK,                 /* It did not, or just because a burst holds no
                                 * more: call again for the rest. */
    VHOST_R_FULL,               /* No more buffers in the ring. */
    VHOST_R_STOPPED,            /* No ring to send to, or broken. */
};

/* Reserves buffers for packets of lens[0...n-1] bytes (headers excluded),
 * 1 <= n <= VHOST_BURST, and returns for how many it found room.  If that is 0
 * the gate has been left, and commit() must not be called.
 *
 * A packet that no buffer of this guest can hold gets 'n_segs' 0, is counted
 * (VHOST_C_TOO_BIG) and is part of the returned number: the caller just drops
 * it.
 *
 * 'concurrent' says that other threads may use the same sender now. */
unsigned int vhost_sender_reserve(struct vhost_sender *, struct vhost_burst *b,
                                  const uint32_t lens[], unsigned int n,
                                  bool concurrent, enum vhost_reserve *why);

/* Has fetched what the next reserve() of this sender, which is not used
 * concurrently, will look at first. */
void vhost_sender_prefetch(struct vhost_sender *);

/* Like vhost_sender_reserve(), but leaves a simple burst (see struct
 * vhost_burst) as it is.  All headers of that are zero. */
unsigned int vhost_sender_reserve_simple(struct vhost_sender *,
                                         struct vhost_burst *b,
                                         const uint32_t lens[],
                                         unsigned int n, bool concurrent,
                                         enum vhost_reserve *why);

/* Writes the headers, hands the packets of 'b' to the guest, notifies it if it
 * asks for that, and leaves the gate. */
void vhost_sender_commit(struct vhost_sender *, struct vhost_burst *b,
                         bool concurrent);

/* The same in two steps, between which the caller does something else (without
 * waiting): hands over the packets; notifies the guest, and leaves the gate.
 * That is cheaper for the reason given at vhost_rxq_complete_later(). */
void vhost_sender_publish(struct vhost_burst *b);
void vhost_sender_finish(struct vhost_sender *, struct vhost_burst *b,
                         bool concurrent);

/* Takes the packets from 'n' on out of 'b', between reserve and commit: their
 * buffers stay in the ring.  commit() is due even if nothing is left. */
void vhost_burst_cut(struct vhost_burst *b, unsigned int n);

/* The length of packet 'i' of 'b'. */
static inline uint32_t
vhost_burst_len(const struct vhost_burst *b, unsigned int i)
{
    return b->simple ? b->segs[i].len : b->pkts[i].len;
}

/* How a burst is copied.  There are variants for what a CPU has; the best one
 * for this machine is chosen when the first loop is created, or the one that
 * the environment variable OVS_VHOST_COPY names, if this CPU can run it. */
struct vhost_copy {
    const char *name;           /* "portable", "avx2", "avx512". */
    void (*read)(const struct vhost_burst *, void *const dst[],
                 unsigned int n);
    void (*write)(struct vhost_burst *, const void *const src[],
                  unsigned int n);
};
extern const struct vhost_copy *vhost_copy;

/* Chooses the variant 'name', or the best one if it is NULL.  Returns false,
 * with nothing changed, if there is no such variant or this CPU cannot run it.
 * Not while any thread is between the two calls of a burst. */
bool vhost_copy_select(const char *name);

/* Features negotiated by the guest whose burst 'b' is (bits VIRTIO_NET_F_*).
 * Like vhost_burst_vring(), only between the two calls. */
uint64_t vhost_burst_features(const struct vhost_burst *b);

/* Index of the vring that 'b' is a burst of. */
unsigned int vhost_burst_vring(const struct vhost_burst *b);

/* Copies the first 'n' packets of 'b', from the guest, packet i to dst[i],
 * which has room for pkts[i].len bytes and does not overlap the others. */
static inline void
vhost_burst_read_all(const struct vhost_burst *b, void *const dst[],
                     unsigned int n)
{
    vhost_copy->read(b, dst, n);
}

/* Writes the headers of the first 'n' packets of 'b', which must all have
 * pieces, to the guest's buffers, and the pkts[i].len bytes at src[i] after
 * each. */
static inline void
vhost_burst_write_all(struct vhost_burst *b, const void *const src[],
                      unsigned int n)
{
    vhost_copy->write(b, src, n);
}

/* Copies packet 'i' of 'b', from the guest, to 'dst', which has room for
 * pkts[i].len bytes. */
static inline void
vhost_burst_read(const struct vhost_burst *b, unsigned int i, void *dst)
{
    const struct vhost_pkt *p = &b->pkts[i];
    const struct vhost_seg *s = &b->segs[p->first];
    uint8_t *d = dst;

    for (unsigned int k = 0; k < p->n_segs; k++) {
        memcpy(d, s[k].addr, s[k].len);
        d += s[k].len;
    }
}

/* Copies the pkts[i].len bytes at 'src' to the guest's buffers of packet 'i'
 * of 'b'.  The pieces' lengths add up to pkts[i].len. */
static inline void
vhost_burst_write(const struct vhost_burst *b, unsigned int i, const void *src)
{
    const struct vhost_pkt *p = &b->pkts[i];
    const struct vhost_seg *s = &b->segs[p->first];
    const uint8_t *d = src;

    for (unsigned int k = 0; k < p->n_segs; k++) {
        memcpy(s[k].addr, d, s[k].len);
        d += s[k].len;
    }
}

#endif /* ring.h */
