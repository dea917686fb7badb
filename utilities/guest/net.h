/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Frames in virtqueues: the network device's header before them, and one frame
 * in several receive buffers.
 *
 * Reference: virtio 1.2, section 5.1.6 (network device operation). */

#ifndef GUEST_NET_H
#define GUEST_NET_H 1

#include "guest/vq.h"

/* Bytes of header for the negotiated features. */
size_t fe_net_header_len(const struct fe *);

/* Writes header and frame at guest address 'addr'. */
void fe_net_write(const struct fe *, uint64_t addr,
                  const struct virtio_net_hdr *, const void *frame,
                  size_t len);

/* Takes a frame that the device put into buffers of receive ring 'vq', which
 * may be several if merged.  Returns its length, -1 if there is none.  'heads'
 * (room for 'max_heads') gets the buffers, '*n_heads' their number; may be
 * NULL. */
long int fe_net_take(struct fe_vq *, struct virtio_net_hdr_mrg_rxbuf *,
                     void *frame, size_t max, uint16_t *heads,
                     unsigned int *n_heads, unsigned int max_heads);

/* The same without copying where the frame is in one piece: returns where it
 * is, which is in guest memory or, gathered, in 'room'; NULL if there is no
 * frame.  The buffers 'heads' stay the caller's until it offers them again. */
const uint8_t *fe_net_look(struct fe_vq *, struct virtio_net_hdr_mrg_rxbuf *,
                           size_t *len, uint8_t *room, size_t max,
                           uint16_t *heads, unsigned int *n_heads,
                           unsigned int max_heads);

#endif /* guest/net.h */
