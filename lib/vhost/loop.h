/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The event thread's loop: file descriptors by epoll, timers, work posted by
 * other threads, and the worker thread's jobs.  It knows no vhost-user.
 */

#ifndef VHOST_LOOP_H
#define VHOST_LOOP_H 1

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "notifier.h"
#include "vhost.h"

struct vhost_record_dir;

/* A file descriptor to watch.  Embedded in its owner. */
struct vhost_source {
    int fd;
    bool active;
    void (*ready)(struct vhost_source *, uint32_t epoll_events);
};

/* A point in time to be woken at.  Embedded in its owner. */
struct vhost_timer {
    bool active;
    int64_t when;               /* vhost_now_ms(). */
    void (*expired)(struct vhost_timer *);
    LIST_ENTRY(vhost_timer) node;
};

/* Work of the event thread that another thread asked for.  Embedded in its
 * owner.  Posting one that is already posted does nothing. */
struct vhost_task {
    _Atomic bool posted;
    void (*run)(struct vhost_task *);
    TAILQ_ENTRY(vhost_task) node;
};

/* Work for the worker thread.  'work' runs there, then 'done' on the event
 * thread, which owns and usually frees the job from then on.  'done' may be
 * NULL: the worker frees the job with free(). */
struct vhost_job {
    void (*work)(struct vhost_job *);
    void (*done)(struct vhost_job *);
    struct vhost_task task;
    TAILQ_ENTRY(vhost_job) node;
};

LIST_HEAD(vhost_timer_list, vhost_timer);
TAILQ_HEAD(vhost_task_list, vhost_task);
TAILQ_HEAD(vhost_job_list, vhost_job);

#define VHOST_LOOP_EVENTS 64

struct vhost_loop {
    const struct vhost_env *env;
    int epoll_fd;
    struct vhost_source wake;   /* Our own eventfd. */
    struct vhost_source reference;  /* vhost_notify_cost()'s. */
    struct vhost_notifier notifier;
    _Atomic bool stopping;
    struct vhost_timer_list timers;     /* Sorted. */

    /* Events being handled, for sources that go away meanwhile. */
    struct vhost_source *pending[VHOST_LOOP_EVENTS];
    int n_pending;

    /* Where ports keep their crash records, NULL: in memory. */
    struct vhost_record_dir *records;
    struct vhost_timer sweep_timer;

    /* Gates that somebody waits for: look again soon.  See stop.c. */
    unsigned int n_stops;
    unsigned int n_stop_spins;

    pthread_mutex_t mutex;      /* Protects the rest. */
    struct vhost_task_list tasks;
    struct vhost_job_list jobs;
    pthread_cond_t jobs_cond;   /* The worker waits here. */
    pthread_cond_t done_cond;   /* Control threads wait here, see port.c. */
};

/* Monotonic time in milliseconds. */
int64_t vhost_now_ms(void);

/* Event thread only. */
int vhost_source_add(struct vhost_loop *, struct vhost_source *,
                     uint32_t epoll_events);
int vhost_source_modify(struct vhost_loop *, struct vhost_source *,
                        uint32_t epoll_events);
void vhost_source_remove(struct vhost_loop *, struct vhost_source *);
void vhost_timer_set(struct vhost_loop *, struct vhost_timer *,
                     int64_t when_ms);
void vhost_timer_cancel(struct vhost_timer *);

/* Begins to look now and then for crash records that nobody has any more. */
void vhost_loop_sweep(struct vhost_loop *);

/* Any thread, polling ones included: never blocks on a peer.  The second one
 * is for callers that hold loop->mutex. */
void vhost_task_post(struct vhost_loop *, struct vhost_task *);
void vhost_task_post_locked(struct vhost_loop *, struct vhost_task *);

/* Takes back a task that may be posted.  Event thread only. */
void vhost_task_cancel(struct vhost_loop *, struct vhost_task *);

/* Any thread. */
void vhost_job_post(struct vhost_loop *, struct vhost_job *);

void vhost_loop_log(const struct vhost_loop *, enum vhost_log_level,
                    const char *port, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* loop.h */
