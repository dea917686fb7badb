/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Closing what a peer gave us.
 *
 * close(2) can wait for whoever is behind a file: a TCP socket with SO_LINGER
 * and unsent data, or a file of a file system that the peer serves, which is
 * asked to flush.  Descriptors that are still in the queue of a UNIX domain
 * socket are closed with it.  So only files that are known to be harmless
 * (eventfds, shared memory) are closed on the spot.  All else goes to a thread
 * of its own, which may hang for as long as the peer likes; how many hang is
 * counted, and a port that has too many of them gets no more connections.
 */

#ifndef VHOST_DISPOSE_H
#define VHOST_DISPOSE_H 1

#include <stdbool.h>

/* Those who close for one port.  Outlives the port while some of them hang. */
struct vhost_disposal;

struct vhost_disposal *vhost_disposal_create(void);
struct vhost_disposal *vhost_disposal_ref(struct vhost_disposal *);
void vhost_disposal_unref(struct vhost_disposal *);

/* True if so many hang that the port had better not take more. */
bool vhost_disposal_is_stuck(const struct vhost_disposal *);

/* Closes the 'n' descriptors in 'fds' that are not -1, soon.  If there is no
 * memory for that they stay open: better than to hang. */
void vhost_dispose(struct vhost_disposal *, const int fds[], unsigned int n);

#endif /* dispose.h */
