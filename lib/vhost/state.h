/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE (vhost-user, "Migrating back-end
 * state"): what a port has counted for a guest goes with it to another host.
 * For lib/vhost only; runs on the event thread.
 */

#ifndef VHOST_STATE_H
#define VHOST_STATE_H 1

#include "messages.h"

void vhost_state_prepare(struct vhost_port *);
vhost_result vhost_state_set_fd(struct vhost_port *, struct vhost_reply *);
void vhost_state_check_prepare(struct vhost_port *);
vhost_result vhost_state_check(struct vhost_port *, struct vhost_reply *);

/* Forgets a transfer that is under way: the connection has ended. */
void vhost_state_release(struct vhost_port *);

#endif /* state.h */
