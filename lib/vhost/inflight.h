/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The buffer in which a back end notes the descriptors that it has taken and
 * not given back, for its successor ("Inflight I/O tracking" in the vhost-user
 * specification).  It is shared with the front end, which keeps it, and so
 * nothing in it is believed.
 *
 * This back end uses split rings in order, so that a ring's used index says
 * all: it never notes anything, and a successor finds nothing in flight, which
 * is true as far as it goes.  What another back end has noted is given back to
 * the guest unused when the ring starts.  Packed rings have their own crash
 * record (record.h), and do not look here.
 *
 * For lib/vhost only, on the event thread.
 */

#ifndef VHOST_INFLIGHT_H
#define VHOST_INFLIGHT_H 1

#include "messages.h"

/* Stores in 'vr', a split ring that starts, used entries for what a
 * predecessor had in flight.  To be called before the used index is looked
 * at, with the guard on vr->mem, which stays there. */
void vhost_inflight_settle(struct vhost_ring *, const struct vhost_vring *vr);

/* Forgets the buffer: the connection has ended. */
void vhost_inflight_release(struct vhost_port *);

/* GET_INFLIGHT_FD, SET_INFLIGHT_FD. */
bool vhost_inflight_check(const struct vhost_message *);
bool vhost_inflight_check_fd(const struct vhost_message *);
vhost_result vhost_inflight_get(struct vhost_port *, struct vhost_reply *);
void vhost_inflight_prepare(struct vhost_port *);
vhost_result vhost_inflight_set(struct vhost_port *, struct vhost_reply *);

#endif /* inflight.h */
