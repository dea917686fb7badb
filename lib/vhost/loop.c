/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The event thread's loop and the worker thread; loop.h says what for.
 */

#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "gate.h"
#include "notify.h"
#include "record-file.h"
#include "vring.h"

/* Turns of the loop that are made at once, without sleeping, while a polling
 * thread has to leave a gate: usually it takes less than a burst. */
#define STOP_SPINS 200

/* How often it is looked for crash records that nobody has any more, in
 * milliseconds, and how long they are kept, in seconds.  The first look comes
 * when all ports that there will be have theirs. */
#define SWEEP_INTERVAL (10 * 60 * 1000)
#define SWEEP_AGE (60 * 60)

int64_t
vhost_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

void
vhost_loop_log(const struct vhost_loop *loop, enum vhost_log_level level,
               const char *port, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    loop->env->log(level, port, format, args);
    va_end(args);
}

static void
drain_wake(struct vhost_source *wake, uint32_t events)
{
    uint64_t value;

    (void) events;
    if (read(wake->fd, &value, sizeof value) < 0) {
        /* Nothing was there: as good. */
    }
}

int
vhost_loop_create(const struct vhost_env *env, struct vhost_loop **loopp)
{
    struct vhost_loop *loop = aligned_alloc(_Alignof(struct vhost_loop),
                                            sizeof *loop);
    int error;

    if (!loop) {
        return ENOMEM;
    }
    memset(loop, 0, sizeof *loop);
    vhost_notifier_init(&loop->notifier);
    vhost_gate_init();
    vhost_copy_init();
    vhost_notify_init();
    loop->env = env;
    loop->wake.fd = loop->epoll_fd = -1;
    LIST_INIT(&loop->timers);
    TAILQ_INIT(&loop->tasks);
    TAILQ_INIT(&loop->jobs);
    pthread_mutex_init(&loop->mutex, NULL);
    pthread_cond_init(&loop->jobs_cond, NULL);
    pthread_cond_init(&loop->done_cond, NULL);
    loop->wake.ready = loop->reference.ready = drain_wake;
    loop->reference.fd = vhost_notify_reference();
    loop->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->wake.fd < 0 || loop->epoll_fd < 0) {
        error = errno;
        goto fail;
    }
    error = vhost_source_add(loop, &loop->wake, EPOLLIN);
    if (!error && loop->reference.fd >= 0) {
        error = vhost_source_add(loop, &loop->reference, EPOLLIN);
    }
    if (error) {
        goto fail;
    }
    *loopp = loop;
    return 0;

fail:
    vhost_loop_destroy(loop);
    return error;
}

static void run_tasks(struct vhost_loop *);
static void run_job(struct vhost_loop *, struct vhost_job *);

void
vhost_loop_destroy(struct vhost_loop *loop)
{
    struct vhost_job *job;

    /* What the two threads left behind for each other when they ended. */
    do {
        run_tasks(loop);
        job = TAILQ_FIRST(&loop->jobs);
        if (job) {
            TAILQ_REMOVE(&loop->jobs, job, node);
            run_job(loop, job);
        }
    } while (job);

    if (loop->wake.fd >= 0) {
        close(loop->wake.fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    vhost_notify_exit();
    vhost_notifier_destroy(&loop->notifier);
    vhost_record_dir_close(loop->records);
    pthread_cond_destroy(&loop->done_cond);
    pthread_cond_destroy(&loop->jobs_cond);
    pthread_mutex_destroy(&loop->mutex);
    free(loop);
}

int
vhost_loop_set_record_dir(struct vhost_loop *loop, const char *path,
                          const char *prefix, char **errorp)
{
    struct vhost_record_dir *dir;
    int error = vhost_record_dir_open(path, prefix, &dir, errorp);

    if (!error) {
        vhost_record_dir_close(loop->records);
        loop->records = dir;
    }
    return error;
}

static void
sweep(struct vhost_timer *timer)
{
    struct vhost_loop *loop = (void *) ((char *) timer
                                        - offsetof(struct vhost_loop,
                                                   sweep_timer));
    unsigned int n = vhost_record_dir_sweep(loop->records, SWEEP_AGE);

    if (n) {
        vhost_loop_log(loop, VHOST_LOG_INFO, NULL, "removed %u files in %s of "
                       "ports that do not exist any more", n,
                       loop->records->path);
    }
    vhost_timer_set(loop, timer, vhost_now_ms() + SWEEP_INTERVAL);
}

void
vhost_loop_sweep(struct vhost_loop *loop)
{
    if (loop->records && !loop->sweep_timer.active) {
        loop->sweep_timer.expired = sweep;
        vhost_timer_set(loop, &loop->sweep_timer,
                        vhost_now_ms() + SWEEP_INTERVAL);
    }
}

static void
loop_wake(struct vhost_loop *loop)
{
    uint64_t one = 1;

    /* Our own eventfd, which nobody else holds, and non-blocking. */
    if (write(loop->wake.fd, &one, sizeof one) < 0) {
        /* Full: the loop will wake anyway. */
    }
}

void
vhost_loop_stop(struct vhost_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    atomic_store(&loop->stopping, true);
    pthread_cond_broadcast(&loop->jobs_cond);
    pthread_mutex_unlock(&loop->mutex);
    loop_wake(loop);
    vhost_notifier_stop(&loop->notifier);
}

int
vhost_source_add(struct vhost_loop *loop, struct vhost_source *source,
                 uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event)) {
        return errno;
    }
    source->active = true;
    return 0;
}

int
vhost_source_modify(struct vhost_loop *loop, struct vhost_source *source,
                    uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event)
           ? errno : 0;
}

void
vhost_source_remove(struct vhost_loop *loop, struct vhost_source *source)
{
    if (!source->active) {
        return;
    }
    source->active = false;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = 0; i < loop->n_pending; i++) {
        if (loop->pending[i] == source) {
            loop->pending[i] = NULL;
        }
    }
}

void
vhost_timer_set(struct vhost_loop *loop, struct vhost_timer *timer,
                int64_t when)
{
    struct vhost_timer *t, *last = NULL;

    vhost_timer_cancel(timer);
    timer->when = when;
    timer->active = true;
    LIST_FOREACH (t, &loop->timers, node) {
        if (t->when > when) {
            break;
        }
        last = t;
    }
    if (last) {
        LIST_INSERT_AFTER(last, timer, node);
    } else {
        LIST_INSERT_HEAD(&loop->timers, timer, node);
    }
}

void
vhost_timer_cancel(struct vhost_timer *timer)
{
    if (timer->active) {
        timer->active = false;
        LIST_REMOVE(timer, node);
    }
}

void
vhost_task_post_locked(struct vhost_loop *loop, struct vhost_task *task)
{
    /* No look at 'posted' before the mutex: what the caller has written has to
     * be visible to a task that is just being run. */
    if (!atomic_exchange(&task->posted, true)) {
        TAILQ_INSERT_TAIL(&loop->tasks, task, node);
        loop_wake(loop);
    }
}

void
vhost_task_post(struct vhost_loop *loop, struct vhost_task *task)
{
    pthread_mutex_lock(&loop->mutex);
    vhost_task_post_locked(loop, task);
    pthread_mutex_unlock(&loop->mutex);
}

void
vhost_task_cancel(struct vhost_loop *loop, struct vhost_task *task)
{
    pthread_mutex_lock(&loop->mutex);
    if (atomic_exchange(&task->posted, false)) {
        TAILQ_REMOVE(&loop->tasks, task, node);
    }
    pthread_mutex_unlock(&loop->mutex);
}

void
vhost_job_post(struct vhost_loop *loop, struct vhost_job *job)
{
    pthread_mutex_lock(&loop->mutex);
    TAILQ_INSERT_TAIL(&loop->jobs, job, node);
    pthread_cond_signal(&loop->jobs_cond);
    pthread_mutex_unlock(&loop->mutex);
}

static void
run_tasks(struct vhost_loop *loop)
{
    struct vhost_task *task;

    for (;;) {
        pthread_mutex_lock(&loop->mutex);
        task = TAILQ_FIRST(&loop->tasks);
        if (task) {
            TAILQ_REMOVE(&loop->tasks, task, node);
            atomic_store(&task->posted, false);
        }
        pthread_mutex_unlock(&loop->mutex);
        if (!task) {
            return;
        }
        task->run(task);
    }
}

static void
run_timers(struct vhost_loop *loop)
{
    int64_t now = vhost_now_ms();
    struct vhost_timer_list due = LIST_HEAD_INITIALIZER(due);
    struct vhost_timer *timer, *last = NULL;

    /* Those that expire again at once wait for the next turn. */
    while ((timer = LIST_FIRST(&loop->timers)) && timer->when <= now) {
        LIST_REMOVE(timer, node);
        if (last) {
            LIST_INSERT_AFTER(last, timer, node);
        } else {
            LIST_INSERT_HEAD(&due, timer, node);
        }
        last = timer;
    }
    while ((timer = LIST_FIRST(&due))) {
        vhost_timer_cancel(timer);
        timer->expired(timer);
    }
}

/* How long epoll_wait() may sleep, in milliseconds, -1 for ever. */
static int
loop_timeout(struct vhost_loop *loop)
{
    const struct vhost_timer *first = LIST_FIRST(&loop->timers);
    int64_t left;

    if (loop->n_stops) {
        if (loop->n_stop_spins < STOP_SPINS) {
            loop->n_stop_spins++;
            sched_yield();
            return 0;
        }
        return 1;
    }
    loop->n_stop_spins = 0;
    if (!first) {
        return -1;
    }
    left = first->when - vhost_now_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int) left;
}

static int
loop_wait(struct vhost_loop *loop, struct epoll_event events[])
{
    int timeout = loop_timeout(loop);
    int n;

    if (timeout && loop->env->wait_begin) {
        loop->env->wait_begin();
    }
    n = epoll_wait(loop->epoll_fd, events, VHOST_LOOP_EVENTS, timeout);
    if (timeout && loop->env->wait_end) {
        loop->env->wait_end();
    }
    return n < 0 ? 0 : n;
}

void
vhost_loop_run(struct vhost_loop *loop)
{
    struct epoll_event events[VHOST_LOOP_EVENTS];

    while (!atomic_load(&loop->stopping)) {
        int n = loop_wait(loop, events);

        for (int i = 0; i < n; i++) {
            loop->pending[i] = events[i].data.ptr;
        }
        loop->n_pending = n;
        for (int i = 0; i < n; i++) {
            struct vhost_source *source = loop->pending[i];

            if (source) {
                source->ready(source, events[i].events);
            }
        }
        loop->n_pending = 0;
        run_tasks(loop);
        run_timers(loop);
    }
    run_tasks(loop);
}

static void
job_done(struct vhost_task *task)
{
    struct vhost_job *job = (struct vhost_job *)
        ((char *) task - offsetof(struct vhost_job, task));

    job->done(job);
}

static void
run_job(struct vhost_loop *loop, struct vhost_job *job)
{
    job->work(job);
    if (job->done) {
        job->task.run = job_done;
        vhost_task_post(loop, &job->task);
    } else {
        free(job);
    }
}

void
vhost_loop_worker(struct vhost_loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    for (;;) {
        struct vhost_job *job = TAILQ_FIRST(&loop->jobs);

        if (job) {
            TAILQ_REMOVE(&loop->jobs, job, node);
            pthread_mutex_unlock(&loop->mutex);
            run_job(loop, job);
            pthread_mutex_lock(&loop->mutex);
        } else if (atomic_load(&loop->stopping)) {
            break;
        } else {
            if (loop->env->wait_begin) {
                loop->env->wait_begin();
            }
            pthread_cond_wait(&loop->jobs_cond, &loop->mutex);
            if (loop->env->wait_end) {
                loop->env->wait_end();
            }
        }
    }
    pthread_mutex_unlock(&loop->mutex);
}

void
vhost_loop_notifier(struct vhost_loop *loop)
{
    /* It holds no references to anything, waiting or not. */
    if (loop->env->wait_begin) {
        loop->env->wait_begin();
    }
    vhost_notifier_run(&loop->notifier);
    if (loop->env->wait_end) {
        loop->env->wait_end();
    }
}

void
vhost_loop_set_offload(struct vhost_loop *loop, enum vhost_offload wanted)
{
    vhost_notifier_set(&loop->notifier, wanted);
}
