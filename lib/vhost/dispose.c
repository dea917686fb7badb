/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Threads that close a peer's files; dispose.h says why.
 */

#include "dispose.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop.h"

/* Threads of one port that may hang before it is cut off.  Connections that
 * come and go leave some more, but not for long (in milliseconds), and never
 * so many. */
#define MAX_STUCK 4
#define STUCK_AFTER 100
#define MAX_BUSY 64

struct vhost_disposal {
    _Atomic unsigned int refs;
    _Atomic unsigned int n_busy;
    _Atomic int64_t busy_since; /* 'n_busy' may exceed MAX_STUCK since then. */
};

struct item {
    struct vhost_disposal *disposal;
    unsigned int n;
    int fds[];
};

struct vhost_disposal *
vhost_disposal_create(void)
{
    struct vhost_disposal *d = calloc(1, sizeof *d);

    if (d) {
        atomic_init(&d->refs, 1);
    }
    return d;
}

struct vhost_disposal *
vhost_disposal_ref(struct vhost_disposal *d)
{
    atomic_fetch_add(&d->refs, 1);
    return d;
}

void
vhost_disposal_unref(struct vhost_disposal *d)
{
    if (atomic_fetch_sub(&d->refs, 1) == 1) {
        free(d);
    }
}

bool
vhost_disposal_is_stuck(const struct vhost_disposal *d)
{
    unsigned int n = atomic_load(&d->n_busy);

    return (n > MAX_STUCK
            && (n > MAX_BUSY || (vhost_now_ms() - atomic_load(&d->busy_since)
                                 >= STUCK_AFTER)));
}

static void *
close_all(void *item_)
{
    struct item *item = item_;

    for (unsigned int i = 0; i < item->n; i++) {
        close(item->fds[i]);
    }
    atomic_fetch_sub(&item->disposal->n_busy, 1);
    vhost_disposal_unref(item->disposal);
    free(item);
    return NULL;
}

/* Starts 'item''s thread, which takes no signals. */
static bool
start_thread(struct item *item)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_t thread;
    bool started;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    started = !pthread_create(&thread, &attr, close_all, item);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

void
vhost_dispose(struct vhost_disposal *d, const int fds[], unsigned int n)
{
    struct item *item;

    item = n ? malloc(sizeof *item + n * sizeof item->fds[0]) : NULL;
    if (!item) {
        return;
    }
    item->disposal = d;
    item->n = 0;
    for (unsigned int i = 0; i < n; i++) {
        if (fds[i] >= 0) {
            item->fds[item->n++] = fds[i];
        }
    }
    if (!item->n) {
        free(item);
        return;
    }
    vhost_disposal_ref(d);
    if (atomic_load(&d->n_busy) <= MAX_STUCK) {
        atomic_store(&d->busy_since, vhost_now_ms());
    }
    atomic_fetch_add(&d->n_busy, 1);
    if (!start_thread(item)) {
        atomic_fetch_sub(&d->n_busy, 1);
        vhost_disposal_unref(d);
        free(item);
    }
}
