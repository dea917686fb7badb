/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The notifier thread and how calls get to it; notifier.h says what for.
 *
 * It signals as everybody does (notify.h), so a peer cannot stop it but can
 * make a call slow, up to a millisecond or so.  A port that did so waits from
 * then on, for a while, behind all others: of those there are that wait so,
 * one call is made in each round.  A port can delay others by one slow call
 * per SLOW_PORT that nobody expects, and by one per round that is expected.
 */

#include "notifier.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "notify.h"
#include "vring.h"

/* 'head' of a notifier that sleeps. */
#define ASLEEP ((struct vhost_call *) (uintptr_t) 1)

/* Nanoseconds.  See struct vhost_notifier; docs/performance.md has the
 * measurements that they are from. */
#define POLL INT64_C(0)
#define PAUSE INT64_C(20000)
#define LINGER INT64_C(500000)

/* With VHOST_OFFLOAD_AUTO: a ring that was called less than this before, in
 * nanoseconds, is worth waking the notifier. */
#define FREQUENT INT64_C(100000)

/* How long a port counts as slow, in nanoseconds. */
#define SLOW_PORT INT64_C(100000000)

static void
add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed)
                          + n, memory_order_relaxed);
}

/* Life cycle. */

void
vhost_notifier_init(struct vhost_notifier *n)
{
    memset(n, 0, sizeof *n);
    n->mode = n->wanted = VHOST_OFFLOAD_NEVER;
    n->poll = POLL;
    n->pause = PAUSE;
    n->linger = LINGER;
    pthread_mutex_init(&n->mutex, NULL);
}

void
vhost_notifier_destroy(struct vhost_notifier *n)
{
    pthread_mutex_destroy(&n->mutex);
}

/* Without a thread that serves it nothing must come into the queue. */
static void
update_mode(struct vhost_notifier *n)
{
    atomic_store(&n->mode, n->running ? n->wanted : VHOST_OFFLOAD_NEVER);
}

void
vhost_notifier_set(struct vhost_notifier *n, enum vhost_offload wanted)
{
    pthread_mutex_lock(&n->mutex);
    n->wanted = wanted;
    update_mode(n);
    pthread_mutex_unlock(&n->mutex);
}

static void
set_running(struct vhost_notifier *n, bool running)
{
    pthread_mutex_lock(&n->mutex);
    n->running = running;
    update_mode(n);
    pthread_mutex_unlock(&n->mutex);
}

/* Our own futex, in memory that no peer has. */
static void
wake(struct vhost_notifier *n)
{
    atomic_fetch_add(&n->n_wakes, 1);
    syscall(SYS_futex, &n->n_wakes, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void
vhost_notifier_stop(struct vhost_notifier *n)
{
    atomic_store(&n->stopping, true);
    wake(n);
}

/* Polling threads. */

void
vhost_call_init(struct vhost_call *call, struct vhost_notifier *n,
                int64_t *slow_until)
{
    call->notifier = n;
    call->slow_until = slow_until;
}

/* Appends 'call' to the queue. */
static void
link_call(struct vhost_notifier *n, struct vhost_call *call)
{
    struct vhost_call *head = atomic_load_explicit(&n->head,
                                                   memory_order_relaxed);

    do {
        call->next = head == ASLEEP ? NULL : head;
    } while (!atomic_compare_exchange_weak_explicit(&n->head, &head, call,
                                                    memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (head == ASLEEP) {
        wake(n);
    }
}

bool
vhost_call_take(struct vhost_call *call, struct vring_state *st)
{
    struct vhost_notifier *n = call->notifier;
    int mode = atomic_load_explicit(&n->mode, memory_order_relaxed);

    if (mode == VHOST_OFFLOAD_NEVER
        || (mode == VHOST_OFFLOAD_AUTO
            && atomic_load_explicit(&n->head, memory_order_relaxed)
               == ASLEEP)) {
        return false;
    }
    if (!(atomic_fetch_or_explicit(&call->state, CALL_OWED | CALL_LINKED,
                                   memory_order_acq_rel) & CALL_LINKED)) {
        link_call(n, call);
    }
    vring_count(st, VHOST_C_OFFLOADED, 1);
    return true;
}

void
vhost_call_made(struct vhost_call *call, int64_t now)
{
    struct vhost_notifier *n = call->notifier;
    int64_t before = call->last_direct;
    struct vhost_call *asleep = ASLEEP;

    call->last_direct = now;
    if (now - before < FREQUENT
        && atomic_load_explicit(&n->mode, memory_order_relaxed)
           == VHOST_OFFLOAD_AUTO
        && atomic_compare_exchange_strong(&n->head, &asleep, NULL)) {
        wake(n);
    }
}

/* Event thread. */

void
vhost_call_settle(struct vhost_call *call, int fd)
{
    if (atomic_load_explicit(&call->state, memory_order_relaxed) & CALL_OWED
        && atomic_fetch_and_explicit(&call->state, ~CALL_OWED,
                                     memory_order_acq_rel) & CALL_OWED) {
        add(vhost_notify(fd) ? &call->errors : &call->sent, 1);
    }
}

void
vhost_call_forget_slow(struct vhost_call *call)
{
    call->slow_calls = (struct vhost_slow_calls) { .n = 0 };
    atomic_store_explicit(&call->too_slow, 0, memory_order_relaxed);
}

/* The notifier. */

/* Calls the guest of 'vr', whose gate it is in. */
static void
send_call(struct vhost_call *call, const struct vhost_vring *vr)
{
    bool suspicious = call->slow_calls.n > 0;
    clockid_t clock = (suspicious ? CLOCK_THREAD_CPUTIME_ID
                       : CLOCK_MONOTONIC);
    int64_t start = vhost_clock_ns(clock), time;

    add(vhost_notify(vr->callfd) ? &call->errors : &call->sent, 1);
    time = vhost_clock_ns(clock) - start;
    if (!vring_call_was_slow(time, suspicious)) {
        call->slow_calls = (struct vhost_slow_calls) { .n = 0 };
        return;
    }
    *call->slow_until = vhost_clock_ns(CLOCK_MONOTONIC) + SLOW_PORT;
    if (vring_slow_call(&call->slow_calls, time)) {
        /* The ring's own thread stops it, since it alone may: at the next
         * call, without which there is no harm. */
        atomic_store_explicit(&call->too_slow, time, memory_order_relaxed);
    }
}

/* Lets go of 'call', unless it is owed another one: then returns false. */
static bool
unlink_call(struct vhost_call *call)
{
    unsigned int linked = CALL_LINKED;

    return atomic_compare_exchange_strong_explicit(&call->state, &linked, 0,
                                                   memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* Sends what is owed to 'call', unless its gate is closed.  Returns true if it
 * was let go of: then it may be gone or linked again. */
static bool
serve(struct vhost_call *call)
{
    const struct vhost_vring *vr = vhost_gate_enter(&call->gate);

    if (!vr) {
        /* Whoever closed it sends what is owed. */
        atomic_fetch_and_explicit(&call->state, ~CALL_LINKED,
                                  memory_order_acq_rel);
        return true;
    }
    if (atomic_fetch_and_explicit(&call->state, ~CALL_OWED,
                                  memory_order_acq_rel) & CALL_OWED) {
        send_call(call, vr);
    }
    vhost_gate_leave(&call->gate);
    return unlink_call(call);
}

static void
put_behind(struct vhost_notifier *n, struct vhost_call *call)
{
    call->next = NULL;
    if (n->slow) {
        n->last_slow->next = call;
    } else {
        n->slow = call;
    }
    n->last_slow = call;
}

/* Takes the queue, first in first. */
static struct vhost_call *
take_queue(struct vhost_notifier *n)
{
    struct vhost_call *call, *queue = NULL;

    if (!atomic_load_explicit(&n->head, memory_order_relaxed)) {
        return NULL;
    }
    call = atomic_exchange_explicit(&n->head, NULL, memory_order_acq_rel);
    while (call) {
        struct vhost_call *next = call->next;

        call->next = queue;
        queue = call;
        call = next;
    }
    return queue;
}

/* Serves all rings that are linked once.  Returns false if there was none. */
static bool
serve_round(struct vhost_notifier *n)
{
    struct vhost_call *queue = take_queue(n), *call;
    bool any = queue || n->slow;
    int64_t now = any ? vhost_clock_ns(CLOCK_MONOTONIC) : 0;

    while ((call = queue)) {
        queue = call->next;
        if (now < *call->slow_until) {
            put_behind(n, call);
        } else if (!serve(call)) {
            link_call(n, call);
        }
    }
    call = n->slow;
    if (call) {
        n->slow = call->next;
        if (!serve(call)) {
            put_behind(n, call);
        }
    }
    return any;
}

/* Sleeps until there is something to do. */
static void
sleep_well(struct vhost_notifier *n)
{
    struct vhost_call *none = NULL;
    uint32_t seen = atomic_load(&n->n_wakes);

    if (!atomic_compare_exchange_strong(&n->head, &none, ASLEEP)) {
        return;
    }
    while (!atomic_load(&n->stopping) && atomic_load(&n->head) == ASLEEP) {
        syscall(SYS_futex, &n->n_wakes, FUTEX_WAIT_PRIVATE, seen, NULL, NULL,
                0);
        seen = atomic_load(&n->n_wakes);
    }
    none = ASLEEP;
    atomic_compare_exchange_strong(&n->head, &none, NULL);
}

static void
take_a_break(const struct vhost_notifier *n, int64_t idle)
{
    if (idle < n->poll) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    } else {
        struct timespec ts = { 0, n->pause };

        nanosleep(&ts, NULL);
    }
}

void
vhost_notifier_run(struct vhost_notifier *n)
{
    int64_t last = vhost_clock_ns(CLOCK_MONOTONIC);

    prctl(PR_SET_TIMERSLACK, 1);    /* Otherwise pauses are 50 us longer. */
    set_running(n, true);
    while (!atomic_load_explicit(&n->stopping, memory_order_relaxed)) {
        bool any = serve_round(n);
        int64_t now = vhost_clock_ns(CLOCK_MONOTONIC);

        if (any) {
            last = now;
        } else if (now - last < n->linger) {
            take_a_break(n, now - last);
        } else {
            sleep_well(n);
            last = vhost_clock_ns(CLOCK_MONOTONIC);
        }
    }
    set_running(n, false);
    while (serve_round(n)) {
        continue;
    }
}
