/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What a virtio-net header says about a frame's checksum and segmentation,
 * turned into the switch's marks on a packet and back.  A header from a guest
 * is believed only as far as the frame bears it out.  This is not about which
 * features a guest is offered (config.c) nor about how a version of Open
 * vSwitch stores the marks (compat.h).
 */

#ifndef OFFLOAD_H
#define OFFLOAD_H 1

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "compat.h"

/* What became of a guest's header. */
enum offload_verdict {
    OFFLOAD_OK,                 /* Nothing to do, or marked. */
    OFFLOAD_COMPLETED,          /* The checksum was completed right here. */
    OFFLOAD_BAD_CSUM,           /* Offsets outside the frame: drop it. */
    OFFLOAD_BAD_GSO,            /* Segmentation that was not negotiated or
                                 * does not fit the frame: drop it. */
};

/* Features without which a guest's header says nothing. */
#define OFFLOAD_HOST_FEATURES ((UINT64_C(1) << VIRTIO_NET_F_CSUM)       \
                               | (UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4) \
                               | (UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6))

enum offload_verdict offload_from_guest__(struct dp_packet *,
                                          const struct virtio_net_hdr *,
                                          uint64_t features, bool complete);
bool offload_to_guest__(struct dp_packet *, struct virtio_net_hdr *,
                        uint64_t features, int mtu);

/* Marks 'p', a whole frame of at least ETH_HEADER_LEN bytes, according to 'h',
 * which must be a private copy of the header.  'features' are those of the
 * guest that sent it.  With 'complete', checksums are completed here rather
 * than left to the port that the packet leaves by.
 *
 * Any thread that owns 'p'. */
static inline enum offload_verdict
offload_from_guest(struct dp_packet *p, const struct virtio_net_hdr *h,
                   uint64_t features, bool complete)
{
    if (OVS_LIKELY(!(h->flags | h->gso_type)
                   || !(features & OFFLOAD_HOST_FEATURES))) {
        return OFFLOAD_OK;
    }
    return offload_from_guest__(p, h, features, complete);
}

/* Stores in 'h' the header with which 'p' is to be handed to a guest that
 * negotiated 'features' on a port of MTU 'mtu', doing in software what the
 * guest cannot.  May change the checksum in 'p'.  Returns false if this guest
 * cannot get 'p' at all.
 *
 * Any thread that owns 'p'. */
static inline bool
offload_to_guest(struct dp_packet *p, struct virtio_net_hdr *h,
                 uint64_t features, int mtu)
{
    if (OVS_LIKELY(compat_tx_is_plain(p))) {
        memset(h, 0, sizeof *h);
        return true;
    }
    return offload_to_guest__(p, h, features, mtu);
}

#endif /* offload.h */
