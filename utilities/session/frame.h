/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The frames that the player sends in place of those that were not recorded:
 * of the same length, and such that a recorded network header fits.  They are
 * recognised when they come back. */

#ifndef SESSION_FRAME_H
#define SESSION_FRAME_H 1

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fills 'frame' with frame number 'number'.  '*h' is the header that it is to
 * go with; what no frame fits is taken out of it, and false returned. */
bool frame_make(uint8_t *frame, size_t len, uint32_t number,
                struct virtio_net_hdr *h);

enum frame_state {
    FRAME_OURS,                 /* And intact. */
    FRAME_CORRUPT,
    FRAME_FOREIGN,              /* Not made by frame_make(), or too short. */
};

/* '*number' is set for FRAME_OURS. */
enum frame_state frame_check(const uint8_t *frame, size_t len,
                             uint32_t *number);

#endif /* session/frame.h */
