/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The back-end channel (vhost-user, "Back-end communication"): a socket that
 * the front end has given us by SET_BACKEND_REQ_FD, for messages of our own.
 *
 * Its other end is the same hostile peer's, and so, perhaps, is a copy of this
 * end.  So it is written to without waiting, what there is no room for is kept
 * here up to a limit, and it is never read: whoever reads from a Unix socket
 * holds a mutex of it while he copies, which can take him as long as he likes.
 * None of our messages asks for an answer, and what comes nevertheless stays
 * in the socket.
 *
 * Event thread only.
 */

#ifndef VHOST_BACKEND_CHANNEL_H
#define VHOST_BACKEND_CHANNEL_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

/* Messages that are kept at most. */
#define VHOST_BACKEND_MAX_KEPT 1024

struct vhost_backend_channel {
    struct vhost_source source; /* Active: in use. */
    bool blocked;               /* It is for the peer to make room. */
    uint8_t *kept;              /* Messages not sent yet, or NULL. */
    size_t start, end;          /* In bytes: those in 'kept'. */
    void (*closed)(struct vhost_backend_channel *); /* The peer did that. */
    struct vhost_loop *loop;
};

/* Begins to use 'fd', which stays the caller's.  Returns false if it is not
 * fit for that. */
bool vhost_backend_open(struct vhost_backend_channel *, struct vhost_loop *,
                        int fd,
                        void (*closed)(struct vhost_backend_channel *));

/* Stops to use it; forgets what is kept. */
void vhost_backend_close(struct vhost_backend_channel *);

/* Adds a message to those to be sent.  Returns false if there are too many, or
 * nowhere to send it. */
bool vhost_backend_add(struct vhost_backend_channel *, uint32_t request,
                       const void *payload, size_t size);

/* Sends what was added, as far as there is room. */
void vhost_backend_flush(struct vhost_backend_channel *);

#endif /* backend-channel.h */
