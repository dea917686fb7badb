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
 *         ...vhost_burst_read()...           ...vhost_burst_write()...
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
    uint16_t n_hdr_segs;        /* Pieces before 'first' that hold the header
                                 * (towards the guest only). */
    uint16_t n_buffers;         /* Guest's buffers it takes. */
    /* virtio-net header, virtio 1.2, section 5.1.6, in little-endian byte
     * order, or the guest's for a legacy guest (same on every host that this
     * runs on): peek() has read it once; for the other way the caller fills it
     * between reserve() and commit(). */
    struct virtio_net_hdr hdr;
};

struct vhost_used {
    uint16_t id;
    uint32_t len;
};

struct vhost_burst {
    uint16_t n;                 /* Packets in pkts[]. */

    /* For the ring code only. */
    uint16_t n_segs;
    uint16_t n_used;
    struct vhost_vring *vr;

    struct vhost_pkt pkts[VHOST_BURST];
    struct vhost_used used[VHOST_BURST_SEGS];
    struct vhost_seg segs[VHOST_BURST_SEGS];
};

/* Fills 'b' with up to 'max' <= VHOST_BURST packets that the guest has sent
 * and returns their number.  If that is 0 (nothing there, ring not started,
 * stopped or broken) the gate has been left, and complete() must not be
 * called.
 *
 * A packet's 'n_segs' is 0 where it cannot be represented (too many pieces):
 * it was counted, and is completed with the others. */
unsigned int vhost_rxq_peek(struct vhost_rxq *, struct vhost_burst *b,
                            unsigned int max);

/* Gives the buffers of the first 'n' packets of 'b' back to the guest,
 * notifies it if it asks for that, and leaves the gate.  The packets from 'n'
 * on stay in the ring and will be seen by the next peek. */
void vhost_rxq_complete(struct vhost_rxq *, struct vhost_burst *b,
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

/* Writes the headers, hands the packets of 'b' to the guest, notifies it if it
 * asks for that, and leaves the gate. */
void vhost_sender_commit(struct vhost_sender *, struct vhost_burst *b,
                         bool concurrent);

/* Takes the packets from 'n' on out of 'b', between reserve and commit: their
 * buffers stay in the ring.  commit() is due even if nothing is left. */
void vhost_burst_cut(struct vhost_burst *b, unsigned int n);

/* Features negotiated by the guest whose burst 'b' is (bits VIRTIO_NET_F_*).
 * Like vhost_burst_vring(), only between the two calls. */
uint64_t vhost_burst_features(const struct vhost_burst *b);

/* Index of the vring that 'b' is a burst of. */
unsigned int vhost_burst_vring(const struct vhost_burst *b);

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
