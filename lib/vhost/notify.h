/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Adding to an eventfd that a peer holds too, without ever waiting for it.
 *
 * write(2) on an eventfd whose counter is full blocks unless the file has
 * O_NONBLOCK, and that flag sits on the open file that the peer shares with
 * us: it can fill the counter, clear the flag and so hold a polling thread for
 * ever.  The kernel's own way of signalling an eventfd never waits, and Linux
 * AIO lets a process ask for it: a request of zero bytes with IOCB_FLAG_RESFD
 * completes inside io_submit(2) and signals.  That system call also refuses
 * what is not an eventfd.
 */

#ifndef VHOST_NOTIFY_H
#define VHOST_NOTIFY_H 1

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Before the first and after the last use of what follows; calls nest. */
void vhost_notify_init(void);
void vhost_notify_exit(void);

/* Adds 1 to the eventfd 'fd', from any thread, without blocking.  Returns 0 or
 * a positive errno value. */
int vhost_notify(int fd);

/* The time in nanoseconds by a clock of clock_gettime(2), such as one that
 * calls are timed by. */
static inline int64_t
vhost_clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Makes a call that no peer has a part in, and returns the CPU time that it
 * took this thread, in nanoseconds: what one costs here and now.  It is made
 * to the eventfd that vhost_notify_reference() returns, -1 if there is none:
 * event loops wait for it, since guests wait for calls, and a call that wakes
 * a thread up costs more than another one. */
int64_t vhost_notify_cost(void);
int vhost_notify_reference(void);

/* True if 'fd' is an eventfd.  Does not touch what is behind it otherwise: a
 * file system of the peer's could stall that. */
bool vhost_is_eventfd(int fd);

/* True if vhost_notify() is as good as its word here; otherwise it falls back
 * to write(2), which a hostile peer can stall. */
bool vhost_notify_is_safe(void);

#endif /* notify.h */
