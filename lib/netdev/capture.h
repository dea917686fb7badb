/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Captures of what passes a port, or is dropped there, into pcapng files: for
 * the one moment in which somebody wants to see the packets.  Ports that are
 * not captured pay nothing (DEV_CAPTURED in netdev_vhost.special).  A
 * capture's memory, file, packets and time are limited; polling threads only
 * copy packets into its ring (capture-ring.h), and a thread of its own writes
 * the file.
 *
 * Frames are captured as they are at the port: from the guest as the guest
 * sent them, before anything is completed; to the guest as they are put into
 * its buffers.
 */

#ifndef CAPTURE_H
#define CAPTURE_H 1

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture-ring.h"

struct capture;
struct ds;
struct netdev_vhost;

/* Polling threads. */

/* Verdicts: 0, or why the packet was dropped: an rx_event or tx_event plus 1,
 * by the packet's direction; or one of these. */
#define CAPTURE_PASSED 0
#define CAPTURE_MADE 254        /* Passed; made by the switch, not sent. */
#define CAPTURE_UNREADABLE 255  /* Dropped: in more pieces than can be read. */

/* The capture of 'dev', NULL if there is none (any more). */
struct capture *netdev_vhost_capture(const struct netdev_vhost *dev);

/* Begins the record of a frame of 'len' bytes of which 'have' can be had.  The
 * caller stores 'data_len' of them in 'data'.  NULL if there is no room: that
 * is counted. */
struct capture_record *capture_begin(struct capture *,
                                     enum capture_direction, uint16_t queue,
                                     uint32_t len, uint32_t have);

/* The same for a frame that is at 'data', with 'h' (may be NULL). */
struct capture_record *capture_frame(struct capture *,
                                     enum capture_direction, uint16_t queue,
                                     const void *data, uint32_t len,
                                     const struct virtio_net_hdr *h);

/* Notes what the virtio-net header says. */
void capture_header(struct capture_record *, const struct virtio_net_hdr *);

/* Ends a record, which may be NULL. */
void capture_end(struct capture_record *, uint8_t verdict);

/* Ends a record, which may be NULL, that turns out not to be wanted. */
void capture_cancel(struct capture_record *);

/* Control threads. */

struct capture_limits {
    uint64_t packets;
    uint64_t bytes;             /* Of the file. */
    unsigned int seconds;
    uint32_t snaplen;           /* Bytes of a frame. */
};

#define CAPTURE_MAX_PACKETS UINT64_C(100000000)
#define CAPTURE_MAX_BYTES (UINT64_C(16) << 30)
#define CAPTURE_MAX_SECONDS 86400
#define CAPTURE_MAX_SNAPLEN UINT16_MAX

/* Begins to capture 'dev' into the new file 'path'.  Returns NULL, or a
 * sentence about why not, for the caller to free.  With dev->mutex. */
char *capture_start(struct netdev_vhost *dev, const char *path,
                    const struct capture_limits *);

/* Ends the capture of 'dev' for 'reason', a constant, and returns true, or
 * false if there is none.  Polling threads may still add to it for a moment,
 * and its file is completed by its thread a little later; 'dev' may go. */
bool capture_stop(struct netdev_vhost *dev, const char *reason);

/* Appends to 'ds' what is known of the captures of port 'name', or of all
 * ports (NULL): those that run, and some of those that have ended. */
void capture_format(const char *name, struct ds *ds);

#endif /* capture.h */
