/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Threads that move frames: see worker.h. */

#include "guest/worker.h"

#include <err.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest/catch.h"
#include "guest/fail.h"

#define LONGEST_SLEEP_NS UINT64_C(20000000)

static void
add_fd(struct worker *w, int fd)
{
    if (w->n_pfds == w->allocated) {
        w->allocated = w->allocated ? 2 * w->allocated : 64;
        w->pfds = realloc(w->pfds, w->allocated * sizeof *w->pfds);
        FE_CHECK(w->pfds != NULL);
    }
    w->pfds[w->n_pfds].fd = fd;
    w->pfds[w->n_pfds].events = POLLIN;
    w->pfds[w->n_pfds++].revents = 0;
}

/* Asks for calls from the queues of 'p' where something may happen.  Returns
 * false if something has happened already. */
static bool
arm_port(struct worker *w, struct port *p)
{
    bool quiet = true;

    for (unsigned int i = 0; i < p->o->pairs; i++) {
        struct queue *q = &p->queues[i];

        quiet &= !fe_vq_want_calls(q->rx, true);
        add_fd(w, q->rx->call_fd);
        if (q->wants_room) {
            quiet &= !fe_vq_want_calls(q->tx, true);
            add_fd(w, q->tx->call_fd);
        }
    }
    if (p->fd >= 0 && run_go && !p->queues[0].wants_room) {
        add_fd(w, p->fd);
    }
    return quiet;
}

static void
disarm_queue(struct queue *q)
{
    fe_vq_want_calls(q->rx, false);
    if (q->tx->calls) {
        fe_vq_want_calls(q->tx, false);
    }
    q->n_calls += fe_event_take(q->rx->call_fd);
    q->n_calls += fe_event_take(q->tx->call_fd);
}

static void
disarm_port(struct port *p)
{
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        disarm_queue(&p->queues[i]);
    }
}

/* Sleeps until a device calls, a generator is due or somebody wakes us. */
static void
rest(struct worker *w)
{
    uint64_t now = fe_now_ns(), until = now + LONGEST_SLEEP_NS;
    struct timespec ts;
    bool quiet = true;

    w->n_pfds = 0;
    add_fd(w, w->wake_fd);
    for (unsigned int i = 0; i < w->n_ports; i++) {
        struct port *p = w->current = w->ports[i];

        pthread_mutex_lock(&p->lock);
        if (p->live) {
            uint64_t next = UINT64_MAX;

            quiet &= arm_port(w, p);
            if (p->mode->next && run_go && !run_stop_tx) {
                next = p->mode->next(p);
            }
            until = next < until ? next : until;
        }
        pthread_mutex_unlock(&p->lock);
    }
    w->current = NULL;
    if (quiet && until > now) {
        ts.tv_sec = (until - now) / 1000000000;
        ts.tv_nsec = (until - now) % 1000000000;
        ppoll(w->pfds, w->n_pfds, &ts, NULL);
    }
    fe_event_take(w->wake_fd);
    for (unsigned int i = 0; i < w->n_ports; i++) {
        struct port *p = w->current = w->ports[i];

        pthread_mutex_lock(&p->lock);
        if (p->live) {
            disarm_port(p);
        }
        pthread_mutex_unlock(&p->lock);
    }
    w->current = NULL;
}

static unsigned int
poll_ports(struct worker *w)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < w->n_ports; i++) {
        struct port *p = w->current = w->ports[i];

        /* Others' turn.  No port goes on meanwhile: a generator would fill the
         * ring of a sink that stands still. */
        while (atomic_load_explicit(&p->n_waiting, memory_order_relaxed)) {
            sched_yield();
        }
        pthread_mutex_lock(&p->lock);
        if (p->live) {
            n += port_poll(p, p->all->stamps ? fe_now_ns() : 0);
        }
        pthread_mutex_unlock(&p->lock);
    }
    w->current = NULL;
    return n;
}

static void
work(void *w_)
{
    struct worker *w = w_;

    while (!run_stop) {
        if (poll_ports(w)) {
            continue;
        }
        if (!w->poll) {
            rest(w);
        } else {
            /* Somebody else may have only this processor. */
            sched_yield();
        }
    }
}

static void *
worker_main(void *w_)
{
    struct worker *w = w_;

    if (w->cpu >= 0) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(w->cpu, &set);
        if (pthread_setaffinity_np(pthread_self(), sizeof set, &set)) {
            warnx("cannot run on processor %d", w->cpu);
        }
    }
    while (!run_stop) {
        const char *error = attempt(work, w);

        if (error && w->current) {
            struct port *p = w->current;

            /* The device broke the rules, or the mode cannot go on. */
            snprintf(p->broken_by, sizeof p->broken_by, "%s", error);
            warnx("%s: %s", p->o->path, error);
            p->broken = p->gone = true;
            p->live = false;
            pthread_mutex_unlock(&p->lock);
        }
    }
    return NULL;
}

void
worker_start(struct worker *w)
{
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake_fd < 0
        || pthread_create(&w->thread, NULL, worker_main, w)) {
        errx(EXIT_CANNOT, "cannot start a thread");
    }
    pthread_setname_np(w->thread, "worker");
}

void
worker_wake(struct worker *w)
{
    fe_event_signal(w->wake_fd);
}

void
worker_join(struct worker *w)
{
    worker_wake(w);
    pthread_join(w->thread, NULL);
}

void
worker_destroy(struct worker *w)
{
    close(w->wake_fd);
    free(w->pfds);
}
