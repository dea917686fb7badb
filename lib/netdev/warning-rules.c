/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The conditions of warnings, and their hysteresis; see warning-rules.h.  What
 * is said of them is in warnings.c.
 */

#include "warning-rules.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#define BIT(N) (UINT64_C(1) << (N))

/* A warning is logged again after this time, in ms. */
#define LOG_INTERVAL 60000

/* Waits of one thread for another, per second, that are worth a warning, and
 * those that are none any more. */
#define MANY_WAITS 100
#define FEW_WAITS 10

/* A pool with less than one part in so many free is low; with more than one
 * part in so many it is not. */
#define LOW_PART 20
#define FINE_PART 8

static const struct {
    const char *name;
    int raise_after;            /* Milliseconds. */
    int clear_after;
} rules[N_WARNINGS] = {
    [WARNING_NO_LISTENER] = { "no_listener", 10000, 0 },
    [WARNING_REFUSED] = { "refused", 2000, 0 },
    [WARNING_NO_FRONT_END] = { "no_front_end", 10000, 0 },
    [WARNING_SOCKET_LOST] = { "socket_lost", 2000, 0 },
    [WARNING_SOCKET_ACCESS] = { "socket_access", 0, 0 },
    [WARNING_IGNORED_OPTIONS] = { "ignored_options", 0, 0 },
    [WARNING_NO_MRG_RXBUF] = { "no_mrg_rxbuf", 2000, 5000 },
    [WARNING_NUMA] = { "numa", 5000, 5000 },
    [WARNING_NOT_DRAINING] = { "not_draining", 3000, 5000 },
    [WARNING_FEW_QUEUES] = { "few_queues", 5000, 30000 },
    [WARNING_POOL_LOW] = { "pool_low", 2000, 5000 },
};

const char *
warning_name(enum warning_kind kind)
{
    return rules[kind].name;
}

static enum warning_verdict
verdict(bool yes)
{
    return yes ? VERDICT_YES : VERDICT_NO;
}

/* A client that connects to something else again and again is just connected
 * now and then, and then nothing has been said yet. */
static enum warning_verdict
judge_front_end(const struct warning_facts *f)
{
    if (f->trouble == VHOST_T_NOT_VHOST_USER) {
        return VERDICT_YES;
    } else if (f->state == VHOST_S_CONNECTED) {
        return verdict(f->silent);
    }
    return VERDICT_NO;
}

/* Without MRG_RXBUF a frame has to fit one buffer.  Drivers that take segments
 * from TSO have buffers of 64 KiB, others such as the usual MTU needs. */
static enum warning_verdict
judge_mrg_rxbuf(const struct warning_facts *f)
{
    const uint64_t large_buffers = (BIT(VIRTIO_NET_F_MRG_RXBUF)
                                    | BIT(VIRTIO_NET_F_GUEST_TSO4)
                                    | BIT(VIRTIO_NET_F_GUEST_TSO6)
                                    | BIT(VIRTIO_NET_F_GUEST_UFO));

    return verdict(f->state == VHOST_S_READY && f->mtu > ETH_DATA_LEN
                   && !(f->features & large_buffers));
}

static enum warning_verdict
judge_numa(const struct warning_facts *f)
{
    if (f->state != VHOST_S_READY) {
        return VERDICT_NO;
    }
    return f->polled ? verdict(f->polled_afar) : VERDICT_UNKNOWN;
}

static enum warning_verdict
judge_draining(const struct warning_facts *f)
{
    if (f->state != VHOST_S_READY) {
        return VERDICT_NO;
    } else if (f->stuck) {
        return VERDICT_YES;
    }
    return f->sent ? VERDICT_NO : VERDICT_UNKNOWN;
}

static enum warning_verdict
judge_queues(const struct warning_facts *f)
{
    if (f->state != VHOST_S_READY || f->n_pairs >= f->n_senders
        || f->waits_per_second < FEW_WAITS) {
        return VERDICT_NO;
    }
    return f->waits_per_second >= MANY_WAITS ? VERDICT_YES : VERDICT_UNKNOWN;
}

static enum warning_verdict
judge_pool(const struct warning_facts *f)
{
    if (!f->n_packets || f->n_free > f->n_packets / FINE_PART) {
        return VERDICT_NO;
    }
    return (f->n_free < f->n_packets / LOW_PART ? VERDICT_YES
            : VERDICT_UNKNOWN);
}

enum warning_verdict
warning_judge(enum warning_kind kind, const struct warning_facts *f)
{
    switch (kind) {
    case WARNING_NO_LISTENER:
        return verdict(f->state == VHOST_S_WAITING
                       && (f->trouble == VHOST_T_NO_SOCKET
                           || f->trouble == VHOST_T_NO_LISTENER));
    case WARNING_REFUSED:
        return verdict(f->state == VHOST_S_WAITING
                       && (f->trouble == VHOST_T_DENIED
                           || f->trouble == VHOST_T_NOT_A_SOCKET
                           || f->trouble == VHOST_T_IN_USE));
    case WARNING_NO_FRONT_END:
        return judge_front_end(f);
    case WARNING_SOCKET_LOST:
        /* It may have been moved to where the guest finds it. */
        return verdict(f->state == VHOST_S_WAITING && f->socket_lost);
    case WARNING_SOCKET_ACCESS:
        return verdict(f->access_failed);
    case WARNING_IGNORED_OPTIONS:
        return verdict(f->ignored_options);
    case WARNING_NO_MRG_RXBUF:
        return judge_mrg_rxbuf(f);
    case WARNING_NUMA:
        return judge_numa(f);
    case WARNING_NOT_DRAINING:
        return judge_draining(f);
    case WARNING_FEW_QUEUES:
        return judge_queues(f);
    case WARNING_POOL_LOW:
        return judge_pool(f);
    case N_WARNINGS:
        break;
    }
    return VERDICT_NO;
}

static enum warning_event
raise_warning(struct warning *w, long long int now)
{
    w->raised = true;
    if (w->logged && now - w->logged_at < LOG_INTERVAL) {
        w->n_unlogged++;
        return WARNING_RAISED_AGAIN;
    }
    w->logged = true;
    w->logged_at = now;
    w->n_unlogged = 0;
    return WARNING_RAISED;
}

enum warning_event
warning_step(struct warning *w, enum warning_kind kind,
             enum warning_verdict v, long long int now)
{
    int wait = w->raised ? rules[kind].clear_after : rules[kind].raise_after;

    if (v == VERDICT_UNKNOWN) {
        /* Neither begins nor ends anything. */
        return WARNING_STAYS;
    }
    if ((v == VERDICT_YES) == w->raised) {
        w->pending = false;
        return WARNING_STAYS;
    }
    if (!w->pending) {
        w->pending = true;
        w->since = now;
    }
    if (now - w->since < wait) {
        return WARNING_STAYS;
    }
    w->pending = false;
    if (!w->raised) {
        return raise_warning(w, now);
    }
    w->raised = false;
    return w->n_unlogged ? WARNING_CLEARED_AGAIN : WARNING_CLEARED;
}
