/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The event thread's side of the gates (gate.h): closes those that a change
 * concerns and finds out, without waiting, when no polling thread is inside.
 *
 * The notifier's gates of the rings that are concerned (notifier.h) are closed
 * with them, and what a ring is owed when all are clear is sent here.
 *
 * A rx queue's gate concerns its own vring.  The senders' gates are closed all
 * together, whichever vring the guest receives on is to change, because which
 * sender uses which vring may change with it.
 *
 * Behind a vIOMMU something else is needed: that the bursts that are under way
 * end (VHOST_STOP_GRACE).  Then the gates stay open, and as polling threads
 * have a fence of their own in each burst there (vhost_iotlb_generation()),
 * nobody is interrupted.
 */

#include "port.h"

#include <linux/membarrier.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

bool vhost_have_membarrier;

static pthread_once_t membarrier_once = PTHREAD_ONCE_INIT;

static void
membarrier_init(void)
{
#ifndef __SANITIZE_THREAD__
    vhost_have_membarrier =
        !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
                 0, 0);
#endif
}

void
vhost_gate_init(void)
{
    pthread_once(&membarrier_once, membarrier_init);
}

void
vhost_gate_heavy_barrier(void)
{
#ifndef __SANITIZE_THREAD__
    if (vhost_have_membarrier) {
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    } else {
        atomic_thread_fence(memory_order_seq_cst);
    }
#endif
}

/* True if a change to 'what' concerns the rx gate of 'ring'. */
static bool
concerns_rxq(const struct vhost_ring *ring, int what)
{
    return ring && (ring->idx & 1)
           && (what == VHOST_STOP_ALL || what == (int) ring->idx);
}

static bool
concerns_senders(int what)
{
    return what == VHOST_STOP_ALL || !(what & 1);
}

bool
vhost_stop_concerns_call(const struct vhost_ring *ring, int what)
{
    return ring && (ring->idx & 1 ? concerns_rxq(ring, what)
                    : concerns_senders(what));
}

bool
vhost_stop_is_needed(const struct vhost_port *port, int what)
{
    if (what == VHOST_STOP_NOTHING) {
        return false;
    } else if (what == VHOST_STOP_GRACE) {
        what = VHOST_STOP_ALL;
    }
    for (unsigned int i = 1; i < port->max_vrings; i += 2) {
        const struct vhost_ring *ring = port->rings[i];

        if (concerns_rxq(ring, what) && vhost_gate_ring(&ring->rxq.gate)) {
            return true;
        }
    }
    for (unsigned int i = 0; concerns_senders(what) && i < port->n_senders;
         i++) {
        if (vhost_gate_ring(&port->senders[i].gate)) {
            return true;
        }
    }
    return false;
}

/* Closes 'gate', except for VHOST_STOP_GRACE, and notes it as one to wait
 * for. */
static void
stop_gate(struct vhost_stop *stop, struct vhost_gate *gate)
{
    if (!vhost_gate_ring(gate)) {
        return;
    }
    if (stop->n_gates == stop->allocated) {
        unsigned int n = stop->allocated ? stop->allocated * 2 : 16;
        void *p = realloc(stop->gates, n * sizeof *stop->gates);

        if (!p) {
            abort();            /* As the C library's users do: no memory for
                                 * a few pointers. */
        }
        stop->gates = p;
        stop->allocated = n;
    }
    if (stop->what != VHOST_STOP_GRACE) {
        vhost_gate_set(gate, NULL);
    }
    stop->gates[stop->n_gates++].gate = gate;
}

static void
stop_finish(struct vhost_port *port)
{
    struct vhost_stop *stop = &port->stop;

    stop->active = false;
    port->loop->n_stops--;
    vhost_timer_cancel(&stop->timer);
    vhost_device_settle_calls(port, stop->what);
    stop->done(port);
}

/* Forgets the gates that are clear by now.  Returns true if none is left. */
static bool
stop_look(struct vhost_stop *stop)
{
    for (unsigned int i = 0; i < stop->n_gates;) {
        if (vhost_gate_is_clear(stop->gates[i].gate, stop->gates[i].mark)) {
            stop->gates[i] = stop->gates[--stop->n_gates];
        } else {
            i++;
        }
    }
    return !stop->n_gates;
}

static void
stop_expired(struct vhost_timer *timer)
{
    struct vhost_stop *stop = VHOST_CONTAINER_OF(timer, struct vhost_stop,
                                                 timer);
    struct vhost_port *port = VHOST_CONTAINER_OF(stop, struct vhost_port,
                                                 stop);

    if (stop_look(stop)) {
        stop_finish(port);
    } else {
        /* Due at once: the loop paces itself by 'n_stops'. */
        vhost_timer_set(port->loop, timer, 0);
    }
}

void
vhost_stop_begin(struct vhost_port *port, int what,
                 void (*done)(struct vhost_port *))
{
    struct vhost_stop *stop = &port->stop;

    stop->n_gates = 0;
    stop->what = what;
    stop->done = done;
    if (what == VHOST_STOP_GRACE) {
        what = VHOST_STOP_ALL;  /* As to which gates are meant. */
    }
    for (unsigned int i = 1; i < port->max_vrings; i += 2) {
        struct vhost_ring *ring = port->rings[i];

        if (what != VHOST_STOP_NOTHING && concerns_rxq(ring, what)) {
            stop_gate(stop, &ring->rxq.gate);
        }
    }
    for (unsigned int i = 0; what != VHOST_STOP_NOTHING
         && concerns_senders(what) && i < port->n_senders; i++) {
        stop_gate(stop, &port->senders[i].gate);
    }
    for (unsigned int i = 0; stop->what != VHOST_STOP_GRACE && stop->n_gates
         && i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (vhost_stop_concerns_call(ring, what)) {
            stop_gate(stop, &ring->call.gate);
        }
    }
    if (!stop->n_gates) {
        done(port);
        return;
    }

    if (stop->what == VHOST_STOP_GRACE) {
        /* What was changed before is visible to each burst whose mark is not
         * visible here. */
#ifndef __SANITIZE_THREAD__
        atomic_thread_fence(memory_order_seq_cst);
#endif
    } else {
        pthread_mutex_lock(&port->mutex);
        port->info.n_stops++;
        pthread_mutex_unlock(&port->mutex);
        vhost_gate_heavy_barrier();
    }
    for (unsigned int i = 0; i < stop->n_gates; i++) {
        stop->gates[i].mark = vhost_gate_mark(stop->gates[i].gate);
    }
    stop->active = true;
    port->loop->n_stops++;
    if (stop_look(stop)) {
        stop_finish(port);
    } else {
        stop->timer.expired = stop_expired;
        vhost_timer_set(port->loop, &stop->timer, 0);
    }
}
