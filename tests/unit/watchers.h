/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * An eventfd that so many wait for that each call to it takes long: what a
 * front end can do to who calls its guest. */

#ifndef WATCHERS_H
#define WATCHERS_H 1

#define WATCH_FDS 700
#define WATCH_EPOLLS 100

struct watchers {
    int fds[WATCH_FDS], epolls[WATCH_EPOLLS];
    unsigned int n_epolls;
};

/* Adds watches to the eventfd 'fd' until a call takes 600 us of CPU time;
 * skips the test if that cannot be. */
void watchers_add(struct watchers *, int fd);
void watchers_remove(struct watchers *);

#endif /* watchers.h */
