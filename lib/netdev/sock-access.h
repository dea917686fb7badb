/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Whom a server port's socket shall belong to, and who may connect:
 * options:vhost-sock-owner and vhost-sock-mode.
 */

#ifndef NETDEV_VHOST_SOCK_ACCESS_H
#define NETDEV_VHOST_SOCK_ACCESS_H 1

#include "vhost/vhost.h"

struct ds;
struct smap;

/* Of one port.  All 0 at first. */
struct sock_access {
    char *owner;                /* As it was looked up last, NULL: none. */
    struct vhost_socket_access wanted;
};

/* Takes over the options in 'args'.  One that is not understood is as good as
 * none, and a sentence about it is added to 'errors'.  Returns true if 'wanted'
 * has changed.
 *
 * Asks the name service for names, if they have changed. */
bool sock_access_parse(struct sock_access *, const struct smap *args,
                       struct ds *errors);

void sock_access_destroy(struct sock_access *);

#endif /* sock-access.h */
