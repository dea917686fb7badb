/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What PMDs do where policing or QoS is set: they drop what is too much.  See
 * qos.h for who sets it, and qos.c for what a frame counts.
 */

#include <config.h>

#include "qos.h"
#include "private.h"

#include "compat.h"
#include "dp-packet.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "qos-meters.h"

/* Packets to be freed, some at a time. */
struct drops {
    unsigned int n;
    struct dp_packet *pkts[NETDEV_MAX_BURST];
};

static void
drops_free(struct drops *d)
{
    packet_pool_free(d->pkts, d->n);
    d->n = 0;
}

static void
drops_add(struct drops *d, struct dp_packet *p)
{
    if (d->n == ARRAY_SIZE(d->pkts)) {
        drops_free(d);
    }
    d->pkts[d->n++] = p;
}

/* What a frame counts. */
static inline uint32_t
metered_len(const struct dp_packet *p)
{
    return dp_packet_size(p) - ETH_HEADER_LEN;
}

static bool
ingress_take(struct ingress_policer *in, uint64_t bytes, unsigned int packets,
             uint64_t now)
{
    if (in->kbits_rate && !bucket_take(&in->bytes, bytes, now)) {
        return false;
    }
    if (in->kpkts_rate && !bucket_take(&in->packets, packets, now)) {
        if (in->kbits_rate) {
            bucket_give_back(&in->bytes, bytes);
        }
        return false;
    }
    return true;
}

unsigned int
netdev_vhost_police_rx(struct netdev_vhost *dev, struct dp_packet *pkts[],
                       unsigned int n)
{
    struct ingress_policer *in = ovsrcu_get(struct ingress_policer *,
                                            &dev->ingress);
    struct drops drops = { .n = 0 };
    unsigned int left = 0;
    uint64_t bytes = 0;
    uint64_t now;

    if (!in || !n) {
        return n;
    }
    now = meter_now_ns();
    for (unsigned int i = 0; i < n; i++) {
        bytes += metered_len(pkts[i]);
    }
    if (ingress_take(in, bytes, n, now)) {
        return n;               /* The same as one by one. */
    }
    for (unsigned int i = 0; i < n; i++) {
        if (ingress_take(in, metered_len(pkts[i]), 1, now)) {
            pkts[left++] = pkts[i];
        } else {
            drops_add(&drops, pkts[i]);
        }
    }
    drops_free(&drops);
    return left;
}

/* True if what 'p' may still have of the queue that it was put into, and then
 * of the port, suffices for it. */
static bool
trtcm_passes(struct qos *q, const struct dp_packet *p, uint64_t now)
{
    struct qos_queue *queue = qos_find_queue(q->queues, p->md.skb_priority);
    uint32_t len = metered_len(p);
    enum meter_colour colour;

    if (!queue) {
        queue = qos_find_queue(q->queues, 0);
        if (!queue) {
            return false;       /* Cannot be: there always is one. */
        }
    }
    colour = meter_mark(&queue->meter, METER_GREEN, len, now);
    if (colour == METER_RED) {
        counter_add(&queue->counters->errors, 1, true);
    } else {
        counter_add(&queue->counters->bytes, len, true);
        counter_add(&queue->counters->packets, 1, true);
    }
    return meter_mark(&q->meter, colour, len, now) != METER_RED;
}

/* True if 'p' will be dropped for another reason, so that it should not use up
 * what others may have. */
static bool
is_doomed(const struct netdev_vhost *dev, const struct dp_packet *p)
{
    uint32_t len = dp_packet_size(p);

    return (len < ETH_HEADER_LEN
            || (len > dev->max_frame && !compat_tx_is_tso(p)));
}

/* True if what is left for all of 'pkts' suffices for them; then they have
 * taken it.  False if that is to be found out one by one. */
static bool
egress_takes_all(const struct netdev_vhost *dev, struct qos *q,
                 struct dp_packet *const pkts[], unsigned int n, uint64_t now)
{
    uint64_t bytes = 0;

    for (unsigned int i = 0; !q->trtcm && i < n; i++) {
        bytes += is_doomed(dev, pkts[i]) ? 0 : metered_len(pkts[i]);
    }
    return !q->trtcm && bucket_take(&q->meter.committed, bytes, now);
}

unsigned int
netdev_vhost_police_tx(struct netdev_vhost *dev, struct dp_packet *pkts[],
                       unsigned int n)
{
    struct qos *q = ovsrcu_get(struct qos *, &dev->qos);
    struct drops drops = { .n = 0 };
    unsigned int left = 0;
    uint64_t now;

    if (!q || !n) {
        return n;
    }
    now = meter_now_ns();
    if (egress_takes_all(dev, q, pkts, n, now)) {
        return n;
    }
    for (unsigned int i = 0; i < n; i++) {
        struct dp_packet *p = pkts[i];

        if (is_doomed(dev, p)
            || (q->trtcm ? trtcm_passes(q, p, now)
                : bucket_take(&q->meter.committed, metered_len(p), now))) {
            pkts[left++] = p;
        } else {
            drops_add(&drops, p);
        }
    }
    drops_free(&drops);
    return left;
}
