/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The packets' half of the door (ring.h): enters and leaves gates, takes the
 * locks that shared rings need, and calls the code of the ring's format.  Also
 * what both formats share: breaking a ring and calling the guest.
 */

#include "ring.h"

#include "notify.h"
#include "port.h"
#include "vring.h"

void
vring_break(struct vhost_vring *vr, enum vhost_counter error, uint64_t v0,
            uint64_t v1)
{
    struct vring_state *st = vr->st;

    if (atomic_load_explicit(&st->broken, memory_order_relaxed)) {
        return;
    }
    vring_count(st, error, 1);
    st->error = error;
    st->error_values[0] = v0;
    st->error_values[1] = v1;
    atomic_store_explicit(&st->broken, true, memory_order_release);
    vhost_port_wake(vr->port);
}

bool
vring_call_was_slow(int64_t time, bool cpu_time)
{
    return (__builtin_expect(time >= VRING_SLOW_CALL, 0)
            && (!cpu_time || time > VRING_SLOW_RATIO * vhost_notify_cost()));
}

bool
vring_slow_call(struct vhost_slow_calls *s, int64_t time)
{
    if (s->n++) {               /* Otherwise it was not CPU time. */
        s->time += (time < VRING_MAX_SLOW_TIME ? time : VRING_MAX_SLOW_TIME);
    }
    if (s->n <= VRING_MAX_SLOW_CALLS || s->time < VRING_MAX_SLOW_TIME) {
        return false;
    }
    *s = (struct vhost_slow_calls) { .n = 0 };
    return true;
}

/* Calls the guest.  VRING_SLOW_CALL says what the clocks are for. */
static void
call_at_once(struct vhost_vring *vr)
{
    struct vring_state *st = vr->st;
    bool suspicious = st->slow_calls.n > 0;
    clockid_t clock = (suspicious ? CLOCK_THREAD_CPUTIME_ID
                       : CLOCK_MONOTONIC);
    int64_t start = vhost_clock_ns(clock);
    int64_t time;

    if (vhost_notify(vr->callfd)) {
        vring_count(st, VHOST_C_NOTIFY_ERRORS, 1);
    } else {
        vring_count(st, VHOST_C_NOTIFICATIONS, 1);
    }
    time = vhost_clock_ns(clock) - start;
    if (!vring_call_was_slow(time, suspicious)) {
        st->slow_calls = (struct vhost_slow_calls) { .n = 0 };
    } else if (vring_slow_call(&st->slow_calls, time)) {
        vring_break(vr, VHOST_C_SLOW_CALL, time, VRING_MAX_SLOW_CALLS);
    }
    if (vr->call && !suspicious) {
        vhost_call_made(vr->call, start);
    }
}

void
vring_call(struct vhost_vring *vr)
{
    struct vhost_call *call = vr->call;
    int64_t too_slow;

    if (!call || !vhost_call_take(call, vr->st)) {
        call_at_once(vr);
        return;
    }
    too_slow = atomic_load_explicit(&call->too_slow, memory_order_relaxed);
    if (__builtin_expect(too_slow != 0, 0)) {
        vring_break(vr, VHOST_C_SLOW_CALL, too_slow, VRING_MAX_SLOW_CALLS);
    }
}

/* True if there is nothing to do on this ring any more until the guest resets
 * it. */
static bool
vring_is_broken(const struct vhost_vring *vr)
{
    return atomic_load_explicit(&vr->st->broken, memory_order_relaxed);
}

/* Breaks the ring if its memory was taken away during the burst. */
static void
vring_check_fault(struct vhost_vring *vr)
{
    if (__builtin_expect(atomic_load_explicit(&vr->mem->poisoned,
                                              memory_order_relaxed), 0)) {
        vring_break(vr, VHOST_C_FAULT, 0, 0);
    }
}

/* Whether the guest wants to be called for what was given back since the last
 * time. */
static bool
vring_wants_call(const struct vhost_vring *vr)
{
    /* The guest publishes its wish and looks for used buffers; we have
     * published used buffers and look at its wish. */
#ifndef __SANITIZE_THREAD__
    atomic_thread_fence(memory_order_seq_cst);
#endif
    return (vr->packed ? vring_packed_wants_call(vr)
            : vring_split_wants_call(vr));
}

void
vring_notify(struct vhost_vring *vr)
{
    struct vring_state *st = vr->st;

    if (vr->callfd < 0) {
        /* The guest polls. */
    } else if (vring_wants_call(vr)) {
        st->signalled = true;
        vring_call(vr);
    } else {
        vring_count(st, VHOST_C_SUPPRESSED, 1);
    }
    st->notify_from = atomic_load_explicit(&st->used_idx,
                                           memory_order_relaxed);
}

/* Has fetched where the guest says whether it wants to be called. */
static inline void
vring_prefetch_wish(const struct vhost_vring *vr)
{
    __builtin_prefetch(vr->packed ? (const void *) vr->driver_event
                       : vr->event_idx
                       ? (const void *) &vr->avail->ring[vr->size]
                       : (const void *) &vr->avail->flags);
}

/* Has fetched what the next burst will look at first. */
static inline void
vring_prefetch(const struct vhost_vring *vr)
{
    uint16_t pos = atomic_load_explicit(&vr->st->last_avail,
                                        memory_order_relaxed);

    if (vr->packed) {
        __builtin_prefetch(&vr->pdesc[pos & ~VRING_PACKED_WRAP]);
    } else {
        const uint16_t *first = &vr->avail->ring[pos & vr->mask];

        __builtin_prefetch(first);
        __builtin_prefetch(first + VHOST_BURST - 1);
    }
}

/* Notes how to see that nothing has changed since now.  Inside the gate, or
 * while it is closed. */
static inline void
rxq_mark_idle(struct vhost_rxq *q, const struct vhost_vring *vr)
{
    uint16_t pos = atomic_load_explicit(&vr->st->last_avail,
                                        memory_order_relaxed);

    if (!vr->packed) {
        q->idle_value = pos;
        q->more = vr->st->avail_seen != pos;
    } else {
        q->more = false;
        /* Not the guest's yet: as the lap before has left it. */
        q->idle_word = &vr->pdesc[pos & ~VRING_PACKED_WRAP].flags;
        q->idle_value = (pos & VRING_PACKED_WRAP ? 0
                         : VRING_PACKED_AVAIL | VRING_PACKED_USED);
    }
}

void
vring_idle_init(struct vhost_rxq *q, const struct vhost_vring *vr)
{
    q->mem = vr->mem;
    q->idle_word = vr->packed ? NULL : &vr->avail->idx;
    q->idle_mask = (vr->packed ? VRING_PACKED_AVAIL | VRING_PACKED_USED
                    : UINT16_MAX);
    rxq_mark_idle(q, vr);
}

/* Bursts of a busy queue after which the guest is asked at last whether it
 * wants to be called.  One that waits for that offers nothing more, so that
 * its queue is idle soon. */
#define MAX_PUT_OFF 8

/* Makes up for vhost_rxq_complete_later(). */
static void
rxq_notify(struct vhost_rxq *q, struct vhost_vring *vr)
{
    q->notify_due = false;
    q->n_put_off = 0;
    vring_notify(vr);
}

/* What there may be to do for a queue that is idle. */
static void
rxq_peek_rare(struct vhost_rxq *q, struct vhost_vring *vr)
{
    if (q->notify_due) {
        rxq_notify(q, vr);
    }
    vring_check_fault(vr);      /* A 0 that is perhaps not the guest's. */
}

/* The rest of vhost_rxq_peek(), for a queue that is not idle. */
static unsigned int
rxq_peek_busy(struct vhost_rxq *q, struct vhost_vring *vr,
              struct vhost_burst *b, unsigned int max)
{
    unsigned int n = 0;

    if (q->notify_due && (!q->more || ++q->n_put_off >= MAX_PUT_OFF)) {
        vring_prefetch(vr);     /* While the fence is waited for. */
        rxq_notify(q, vr);
    }
    if (!vring_is_broken(vr)) {
        n = vring_peek(vr, b, max);
    }
    if (!n) {
        vring_check_fault(vr);
        vhost_gate_leave(&q->gate);
    }
    return n;
}

unsigned int
vhost_rxq_peek_simple(struct vhost_rxq *q, struct vhost_burst *b,
                      unsigned int max)
{
    struct vhost_vring *vr = vhost_gate_enter(&q->gate);
    uint16_t word;

    if (!vr) {
        return 0;
    }
    vhost_guard_begin(q->mem);
    if (q->more) {
        return rxq_peek_busy(q, vr, b, max);
    }
    word = guest_load16(q->idle_word);
    if (__builtin_expect((word & q->idle_mask) != q->idle_value, 0)) {
        return rxq_peek_busy(q, vr, b, max);
    } else if (__builtin_expect(q->notify_due | !word, 0)) {
        rxq_peek_rare(q, vr);
    }
    vhost_gate_leave(&q->gate);
    return 0;
}

unsigned int
vhost_rxq_peek(struct vhost_rxq *q, struct vhost_burst *b, unsigned int max)
{
    unsigned int n = vhost_rxq_peek_simple(q, b, max);

    if (n) {
        vhost_burst_expand(b);
    }
    return n;
}

void
vhost_rxq_complete_later(struct vhost_rxq *q, struct vhost_burst *b,
                         unsigned int n)
{
    struct vhost_vring *vr = b->vr;

    vring_complete(vr, b, n);
    q->notify_due |= n && vr->callfd >= 0;
    rxq_mark_idle(q, vr);
    vring_check_fault(vr);
    vhost_gate_leave(&q->gate);
}

void
vhost_rxq_complete(struct vhost_rxq *q, struct vhost_burst *b, unsigned int n)
{
    vring_complete(b->vr, b, n);
    if (n) {
        vring_notify(b->vr);
    }
    rxq_mark_idle(q, b->vr);
    vring_check_fault(b->vr);
    vhost_gate_leave(&q->gate);
}

bool
vring_notify_due(struct vhost_rxq *q)
{
    bool due = q->notify_due;

    q->notify_due = false;
    return due;
}

unsigned int
vhost_rxq_backlog(const struct vhost_rxq *q)
{
    return atomic_load_explicit(&q->st->backlog, memory_order_relaxed);
}

static void
sender_leave(struct vhost_sender *s, struct vhost_vring *vr, bool concurrent)
{
    vring_check_fault(vr);
    if (vr->shared || concurrent) {
        vhost_spin_unlock(&vr->st->lock);
    }
    vhost_gate_leave(&s->gate);
    if (concurrent) {
        vhost_spin_unlock(&s->lock);
    }
}

void
vhost_sender_prefetch(struct vhost_sender *s)
{
    const struct vhost_vring *vr = vhost_gate_enter(&s->gate);

    if (vr) {
        vring_prefetch(vr);
        vhost_gate_leave(&s->gate);
    }
}

unsigned int
vhost_sender_reserve_simple(struct vhost_sender *s, struct vhost_burst *b,
                            const uint32_t lens[], unsigned int n,
                            bool concurrent, enum vhost_reserve *why)
{
    bool waited = concurrent && vhost_spin_lock(&s->lock);
    struct vhost_vring *vr = vhost_gate_enter(&s->gate);
    unsigned int reserved = 0;

    *why = VHOST_R_STOPPED;
    if (!vr) {
        if (concurrent) {
            vhost_spin_unlock(&s->lock);
        }
        return 0;
    }
    vhost_guard_begin(vr->mem);
    if (vr->shared || concurrent) {
        waited |= vhost_spin_lock(&vr->st->lock);
    }
    if (waited) {
        vring_count(vr->st, VHOST_C_CONTENTION, 1);
    }
    if (!vring_is_broken(vr)) {
        reserved = (vr->packed ? vring_packed_reserve(vr, b, lens, n, why)
                    : vring_split_reserve(vr, b, lens, n, why));
    }
    if (!reserved) {
        sender_leave(s, vr, concurrent);
    }
    return reserved;
}

unsigned int
vhost_sender_reserve(struct vhost_sender *s, struct vhost_burst *b,
                     const uint32_t lens[], unsigned int n, bool concurrent,
                     enum vhost_reserve *why)
{
    unsigned int reserved = vhost_sender_reserve_simple(s, b, lens, n,
                                                        concurrent, why);

    if (reserved) {
        vhost_burst_expand(b);
    }
    return reserved;
}

void
vhost_sender_publish(struct vhost_burst *b)
{
    if (b->vr->packed) {
        vring_packed_commit(b->vr, b);
    } else {
        vring_split_commit(b->vr, b);
    }
    vring_prefetch_wish(b->vr);
}

void
vhost_sender_finish(struct vhost_sender *s, struct vhost_burst *b,
                    bool concurrent)
{
    if (__builtin_expect(b->n_used != 0, 1)) {
        vring_notify(b->vr);
    }
    sender_leave(s, b->vr, concurrent);
}

void
vhost_sender_commit(struct vhost_sender *s, struct vhost_burst *b,
                    bool concurrent)
{
    vhost_sender_publish(b);
    vhost_sender_finish(s, b, concurrent);
}

void
vhost_burst_cut(struct vhost_burst *b, unsigned int n)
{
    if (b->simple) {
        b->n = b->n_used = n < b->n ? n : b->n;
    }
    while (b->n > n) {
        b->n_used -= b->pkts[--b->n].n_buffers;
    }
}

uint64_t
vhost_burst_features(const struct vhost_burst *b)
{
    return b->vr->features;
}

unsigned int
vhost_burst_vring(const struct vhost_burst *b)
{
    return b->vr->idx;
}
