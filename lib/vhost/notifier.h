/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Calls to guests off the polling threads: these hand a ring's call to the
 * notifier thread, which costs two atomic operations, and that one makes the
 * system call.  For lib/vhost only; the public part is in vhost.h.
 *
 * A ring that is owed a call says so in 'state' and is linked into a queue
 * that many may append to without a lock.  It is there once at most, so that
 * rings are served in turn, and what comes meanwhile is merged into one call.
 * While the notifier sleeps the queue's head has a mark, and whoever replaces
 * that mark has to wake it.
 *
 * The notifier is inside a gate of the ring's (gate.h) while it uses the call
 * eventfd, and whoever wants to change the ring waits for that gate with all
 * others (stop.c).  What is still owed after that, the event thread sends.
 * The notifier touches a ring for the last time when it takes back the ring's
 * CALL_LINKED; the ring must not be freed before that.
 */

#ifndef VHOST_NOTIFIER_H
#define VHOST_NOTIFIER_H 1

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gate.h"
#include "vhost.h"

/* Slow calls in a row. */
struct vhost_slow_calls {
    uint32_t n;
    uint32_t time;              /* Nanoseconds, without the first one. */
};

struct vring_state;

/* Bits of vhost_call.state. */
#define CALL_OWED 1             /* The guest waits for a call. */
#define CALL_LINKED 2           /* It is the notifier's turn. */

/* A ring's calls.  'gate' is open as long as a polling thread's gate shows the
 * ring. */
struct vhost_call {
    _Atomic unsigned int state;
    _Atomic int64_t too_slow;   /* Nanoseconds that the last one of too many
                                 * slow calls took; 0: none. */
    struct vhost_call *next;    /* In the queue. */
    struct vhost_gate gate;     /* Its user is the notifier. */
    struct vhost_notifier *notifier;

    /* The polling thread's. */
    int64_t last_direct;        /* When it called the guest itself. */

    /* The notifier's; the event thread's while the gate is closed. */
    struct vhost_slow_calls slow_calls; /* See VRING_SLOW_CALL. */
    int64_t *slow_until;        /* Of the port: until then its calls wait
                                 * behind those of other ports. */
    _Atomic uint64_t sent, errors;      /* For the ring's counters. */
} __attribute__((aligned(64)));

struct vhost_notifier {
    /* Read by polling threads, hardly ever written. */
    _Atomic int mode;           /* enum vhost_offload that is in force. */

    /* Last call that was linked, or a mark. */
    _Atomic(struct vhost_call *) head __attribute__((aligned(64)));

    _Atomic uint32_t n_wakes __attribute__((aligned(64)));  /* The futex. */
    _Atomic bool stopping;
    struct vhost_call *slow, *last_slow;    /* Those that wait behind. */

    /* In nanoseconds: how long it looks for more without a pause, how long
     * the pauses are, and how long after the last call it goes to sleep. */
    int64_t poll, pause, linger;

    pthread_mutex_t mutex;
    enum vhost_offload wanted;  /* What the embedding program asked for. */
    _Atomic bool running;
};

void vhost_notifier_init(struct vhost_notifier *);
void vhost_notifier_destroy(struct vhost_notifier *);
void vhost_notifier_run(struct vhost_notifier *);
void vhost_notifier_stop(struct vhost_notifier *);
void vhost_notifier_set(struct vhost_notifier *, enum vhost_offload);

/* Prepares 'call', all zero. */
void vhost_call_init(struct vhost_call *, struct vhost_notifier *,
                     int64_t *slow_until);

/* Polling threads, inside the gate of the ring.  take() hands the call over if
 * that is the way now, and otherwise returns false: it is the caller's to
 * make, who then says when that was, which may wake the notifier for the
 * next. */
bool vhost_call_take(struct vhost_call *, struct vring_state *);
void vhost_call_made(struct vhost_call *, int64_t now);

/* Event thread, while the ring's gates are closed: sends what is owed. */
void vhost_call_settle(struct vhost_call *, int fd);

/* The same: forgets slow calls, as the ring starts anew. */
void vhost_call_forget_slow(struct vhost_call *);

/* True if the notifier will still touch 'call'. */
static inline bool
vhost_call_in_use(const struct vhost_call *call)
{
    return (atomic_load_explicit(&call->state, memory_order_acquire)
            & CALL_LINKED) != 0;
}

#endif /* notifier.h */
