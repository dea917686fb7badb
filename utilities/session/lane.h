/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * One direction of a vhost-user connection: takes whole messages with their
 * descriptors from a socket, without waiting, and passes them on.  A
 * message is kept until lane_next(). */

#ifndef SESSION_LANE_H
#define SESSION_LANE_H 1

#include "session/message.h"

struct lane {
    int from, to;               /* Not owned; -1: none. */
    bool complete;              /* A message is there. */
    size_t have, sent;          /* Bytes of 'buf'. */
    unsigned int n_fds;
    int fds[MAX_FDS];           /* Owned. */
    uint8_t buf[sizeof (struct fe_header) + MAX_PAYLOAD];
};

enum lane_got {
    LANE_MESSAGE,
    LANE_NOTHING,               /* Not yet. */
    LANE_END,                   /* The peer hung up. */
    LANE_GARBAGE,               /* That was no vhost-user message. */
};

void lane_init(struct lane *, int from, int to);

enum lane_got lane_receive(struct lane *);

/* The message, valid until lane_next(); 'fds' gets what is known of its
 * descriptors except for their numbers as files. */
struct message lane_message(struct lane *, struct fd_info fds[MAX_FDS]);

/* Passes the message on, or goes on with that.  Returns LANE_MESSAGE when it
 * has gone. */
enum lane_got lane_send(struct lane *);

/* Makes room for the next message; closes descriptors. */
void lane_next(struct lane *);

/* What a descriptor is. */
struct fd_info fd_describe(int fd);

#endif /* session/lane.h */
