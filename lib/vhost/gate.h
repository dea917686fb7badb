/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * How a polling thread uses a ring that the event thread may take away at any
 * time, without a lock, an atomic read-modify-write or a fence on its way.
 *
 * A gate belongs to one user of rings: an rx queue, or a sender slot.  It
 * holds the pointer to the ring's description and a mark.  The user
 *
 *     1. makes the mark odd,
 *     2. loads the pointer; if null it makes the mark even and goes home,
 *     3. works on the ring for one burst,
 *     4. makes the mark even again (release).
 *
 * The event thread, to change the ring, stores a null pointer and then needs
 * to know when the user no longer works with the old one.  Between 1 and 2 the
 * user has a store followed by a load of another variable, which even x86 may
 * reorder.  Instead of a fence in each burst of each user, the event thread,
 * which comes rarely, calls membarrier(2): it returns after every running
 * thread of the process has gone through a full barrier.  After that a user
 * either sees the null pointer or its odd mark is visible; the event thread
 * waits until that mark is even *or has changed* (it is then a later burst,
 * which saw the null).  Where the kernel lacks membarrier both sides use a
 * fence.
 *
 * The wait is asynchronous (the user may be preempted, in a debugger, or in a
 * page fault): stop.c looks again by timer and the event thread serves other
 * ports meanwhile.
 *
 * While inside, the thread also says whose memory it may touch, for the SIGBUS
 * guard (sigbus.c).
 */

#ifndef VHOST_GATE_H
#define VHOST_GATE_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

struct vhost_vring;

struct vhost_gate {
    _Atomic uint64_t mark;      /* Odd while the user is inside. */
    _Atomic(struct vhost_vring *) ring;   /* NULL: closed. */
};

/* True if membarrier(2) works here; set once by vhost_gate_init(). */
extern bool vhost_have_membarrier;

/* Finds out about membarrier(2).  Call before the first gate is used. */
void vhost_gate_init(void);

/* The heavy side: returns after every other thread of the process has passed
 * a full memory barrier. */
void vhost_gate_heavy_barrier(void);

/* Enters 'gate' and returns its ring, or NULL (then the gate has been left).
 * One thread at a time per gate. */
static inline struct vhost_vring *
vhost_gate_enter(struct vhost_gate *gate)
{
    uint64_t mark = atomic_load_explicit(&gate->mark, memory_order_relaxed);
    struct vhost_vring *ring;

#ifdef __SANITIZE_THREAD__
    /* The tool knows no membarrier and no fences. */
    atomic_store(&gate->mark, mark + 1);
    ring = atomic_load(&gate->ring);
#else
    atomic_store_explicit(&gate->mark, mark + 1, memory_order_relaxed);
    if (__builtin_expect(vhost_have_membarrier, 1)) {
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_thread_fence(memory_order_seq_cst);
    }
    ring = atomic_load_explicit(&gate->ring, memory_order_acquire);
#endif
    if (!ring) {
        atomic_store_explicit(&gate->mark, mark + 2, memory_order_release);
    }
    return ring;
}

/* Leaves 'gate', which the calling thread had entered. */
static inline void
vhost_gate_leave(struct vhost_gate *gate)
{
    uint64_t mark = atomic_load_explicit(&gate->mark, memory_order_relaxed);

    vhost_guard_end();
    atomic_store_explicit(&gate->mark, mark + 1, memory_order_release);
}

/* Opens 'gate' to 'ring', or closes it if 'ring' is NULL. */
static inline void
vhost_gate_set(struct vhost_gate *gate, struct vhost_vring *ring)
{
#ifdef __SANITIZE_THREAD__
    atomic_store(&gate->ring, ring);
#else
    atomic_store_explicit(&gate->ring, ring, memory_order_release);
#endif
}

static inline struct vhost_vring *
vhost_gate_ring(const struct vhost_gate *gate)
{
    return atomic_load_explicit(&gate->ring, memory_order_relaxed);
}

/* To wait for a gate that was closed before a heavy barrier: store the mark
 * after the barrier, and ask until vhost_gate_is_clear(). */
static inline uint64_t
vhost_gate_mark(const struct vhost_gate *gate)
{
    return atomic_load_explicit(&gate->mark, memory_order_acquire);
}

static inline bool
vhost_gate_is_clear(const struct vhost_gate *gate, uint64_t mark)
{
    return !(mark & 1) || vhost_gate_mark(gate) != mark;
}

#endif /* gate.h */
