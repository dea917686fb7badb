/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See watchers.h. */

#include "watchers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "harness.h"
#include "notify.h"

#define WANTED INT64_C(600000)  /* Nanoseconds for a call. */

/* The least CPU time that some calls took: what the watches cost, without what
 * else the machine does. */
static int64_t
call_ns(int fd)
{
    int64_t best = INT64_MAX;

    for (unsigned int i = 0; i < 6; i++) {
        int64_t start = vhost_clock_ns(CLOCK_THREAD_CPUTIME_ID), time;

        vhost_notify(fd);
        time = vhost_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
        best = time < best ? time : best;
    }
    return best;
}

/* Has another epoll instance watch all copies of the descriptor. */
static void
add_epoll(struct watchers *w)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (w->n_epolls >= WATCH_EPOLLS || epoll < 0) {
        test_skip("an eventfd with %d watches is fast enough",
                  WATCH_EPOLLS * WATCH_FDS);
    }
    w->epolls[w->n_epolls++] = epoll;
    for (unsigned int i = 0; i < WATCH_FDS; i++) {
        struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, w->fds[i], &ev)) {
            test_skip("epoll_ctl: %s", strerror(errno));
        }
    }
}

void
watchers_add(struct watchers *w, int fd)
{
    w->n_epolls = 0;
    for (unsigned int i = 0; i < WATCH_FDS; i++) {
        w->fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        CHECK_GE(w->fds[i], 0);
    }
    while (call_ns(fd) < WANTED) {
        add_epoll(w);
    }
    test_part("%u watches: a call takes %lld us", w->n_epolls * WATCH_FDS,
              (long long int) call_ns(fd) / 1000);
}

void
watchers_remove(struct watchers *w)
{
    for (unsigned int i = 0; i < w->n_epolls; i++) {
        close(w->epolls[i]);
    }
    for (unsigned int i = 0; i < WATCH_FDS; i++) {
        close(w->fds[i]);
    }
}
