/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Adds up what the polling threads and the rings have counted.  All counters
 * are kept as long as the port exists: across disconnects, reconfigurations
 * and changes of the number of queues and threads.  The names in OVSDB are
 * those of the stock ports where those have such a counter.
 */

#include <config.h>

#include "private.h"

#include "openvswitch/netdev.h"
#include "qos.h"
#include "util.h"

const char *const rx_event_names[RX_N_EVENTS] = {
    [RX_DROP_RUNT] = "runt_drops",
    [RX_DROP_TOO_BIG] = "too_big_drops",
    [RX_DROP_BAD_CSUM] = "bad_csum_drops",
    [RX_DROP_BAD_GSO] = "bad_gso_drops",
    [RX_DROP_QOS] = "qos_drops",
    [RX_ALLOC_FAILED] = "mbuf_alloc_failed",
    [RX_CSUM_COMPLETED] = "csum_completed",
    [RX_RARP] = "rarp_packets",
};

const char *const tx_event_names[TX_N_EVENTS] = {
    [TX_DROP_FULL] = "ring_full_drops",
    [TX_DROP_MTU] = "mtu_exceeded_drops",
    [TX_DROP_HWOL] = "invalid_hwol_drops",
    [TX_DROP_DOWN] = "link_down_drops",
    [TX_DROP_TOO_BIG] = "too_big_drops",
    [TX_DROP_RUNT] = "runt_drops",
    [TX_DROP_QOS] = "qos_drops",
    [TX_RETRIES] = "retries",
};

const char *const pkt_size_names[N_SIZES] = {
    [SIZE_UNDER_64] = "undersize_packets",
    [SIZE_64] = "size_64_packets",
    [SIZE_65_127] = "size_65_127_packets",
    [SIZE_128_255] = "size_128_255_packets",
    [SIZE_256_511] = "size_256_511_packets",
    [SIZE_512_1023] = "size_512_1023_packets",
    [SIZE_1024_1518] = "size_1024_1518_packets",
    [SIZE_1519_MAX] = "size_1519_max_packets",
};

static void
pkt_counters_sum(struct pkt_counters *sum, const struct pkt_counters *c)
{
    sum->packets += counter_get(&c->packets);
    sum->bytes += counter_get(&c->bytes);
    sum->multicast += counter_get(&c->multicast);
    sum->broadcast += counter_get(&c->broadcast);
    for (int i = 0; i < N_SIZES; i++) {
        sum->sizes[i] += counter_get(&c->sizes[i]);
    }
}

/* Adds what all slots sent to queue pair 'pair' to 'sum'.  The caller holds
 * dev->mutex. */
void
netdev_vhost_sum_tx_pair(const struct netdev_vhost *dev, unsigned int pair,
                         struct pkt_counters *sum)
{
    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        const struct tx_slot *slot = dev->slots[i];

        if (pair < slot->n_pairs) {
            pkt_counters_sum(sum, &slot->pairs[pair]);
        }
    }
}

/* Stores in 'totals' the sums over all queues, and over the other hosts that
 * guests have come from.  Takes dev->counters_mutex only. */
void
netdev_vhost_sum(const struct netdev_vhost *dev,
                 struct netdev_vhost_totals *totals)
{
    ovs_mutex_lock(&dev->counters_mutex);
    *totals = dev->before;
    for (unsigned int q = 0; q < VHOST_MAX_QUEUE_PAIRS; q++) {
        const struct rx_counters *c = dev->rx[q];

        if (c) {
            pkt_counters_sum(&totals->rx, &c->pkts);
            for (int i = 0; i < RX_N_EVENTS; i++) {
                totals->rx_events[i] += counter_get(&c->events[i]);
            }
        }
    }
    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        const struct tx_slot *slot = dev->slots[i];

        for (unsigned int q = 0; q < slot->n_pairs; q++) {
            pkt_counters_sum(&totals->tx, &slot->pairs[q]);
        }
        for (int j = 0; j < TX_N_EVENTS; j++) {
            totals->tx_events[j] += counter_get(&slot->events[j]);
        }
    }
    ovs_mutex_unlock(&dev->counters_mutex);
}

/* A device's state: where each sum is among the values that go with a guest to
 * another host (DEVICE_STATE).  This never changes.  (Those from 60 on are
 * qos.c's.) */
enum {
    STATE_RX = 0,               /* Packets, bytes, multicast, broadcast, */
    STATE_SIZES = 4,            /* sizes. */
    STATE_TX = 16,              /* The same. */
};
BUILD_ASSERT_DECL(STATE_SIZES + N_SIZES <= STATE_TX - STATE_RX);

static const uint8_t rx_event_places[RX_N_EVENTS] = {
    [RX_DROP_RUNT] = 32,
    [RX_DROP_TOO_BIG] = 33,
    [RX_DROP_BAD_CSUM] = 34,
    [RX_DROP_BAD_GSO] = 35,
    [RX_ALLOC_FAILED] = 36,
    [RX_CSUM_COMPLETED] = 37,
    [RX_RARP] = 38,
    [RX_DROP_QOS] = 39,
};

static const uint8_t tx_event_places[TX_N_EVENTS] = {
    [TX_DROP_FULL] = 48,
    [TX_DROP_MTU] = 49,
    [TX_DROP_HWOL] = 50,
    [TX_DROP_DOWN] = 51,
    [TX_DROP_TOO_BIG] = 52,
    [TX_DROP_RUNT] = 53,
    [TX_RETRIES] = 54,
    [TX_DROP_QOS] = 55,
};

static void
pkts_transfer(struct pkt_counters *c, uint64_t *values,
              void (*transfer)(uint64_t *sum, uint64_t *value))
{
    transfer(&c->packets, &values[0]);
    transfer(&c->bytes, &values[1]);
    transfer(&c->multicast, &values[2]);
    transfer(&c->broadcast, &values[3]);
    for (int i = 0; i < N_SIZES; i++) {
        transfer(&c->sizes[i], &values[STATE_SIZES + i]);
    }
}

/* Calls 'transfer' with each sum in 't' and its value in a state. */
static void
totals_transfer(struct netdev_vhost_totals *t, uint64_t *values,
                void (*transfer)(uint64_t *sum, uint64_t *value))
{
    pkts_transfer(&t->rx, &values[STATE_RX], transfer);
    pkts_transfer(&t->tx, &values[STATE_TX], transfer);
    for (int i = 0; i < RX_N_EVENTS; i++) {
        transfer(&t->rx_events[i], &values[rx_event_places[i]]);
    }
    for (int i = 0; i < TX_N_EVENTS; i++) {
        transfer(&t->tx_events[i], &values[tx_event_places[i]]);
    }
}

static void
save_sum(uint64_t *sum, uint64_t *value)
{
    *value = *sum;
}

/* More is a lie, and might overflow. */
#define STATE_MAX (UINT64_C(1) << 60)

static void
load_sum(uint64_t *sum, uint64_t *value)
{
    *sum += MIN(*value, STATE_MAX - *sum);
}

/* Called by the event thread, and so without dev->mutex. */
void
netdev_vhost_save(void *dev, uint64_t values[VHOST_STATE_VALUES])
{
    struct netdev_vhost_totals t;

    netdev_vhost_sum(dev, &t);
    totals_transfer(&t, values, save_sum);
    netdev_vhost_qos_save(dev, values);
}

/* The same. */
void
netdev_vhost_load(void *dev_, const uint64_t values[VHOST_STATE_VALUES])
{
    struct netdev_vhost *dev = dev_;
    uint64_t copy[VHOST_STATE_VALUES];

    memcpy(copy, values, sizeof copy);
    ovs_mutex_lock(&dev->counters_mutex);
    totals_transfer(&dev->before, copy, load_sum);
    ovs_mutex_unlock(&dev->counters_mutex);
    netdev_vhost_qos_load(dev, values);
}

/* Sums over the rings of one direction: 'side' is 0 for those that the guest
 * receives on, 1 for those that it sends on. */
void
netdev_vhost_sum_rings(const struct netdev_vhost *dev, unsigned int side,
                       uint64_t sums[VHOST_N_COUNTERS])
{
    struct vhost_port_info info;

    memset(sums, 0, VHOST_N_COUNTERS * sizeof *sums);
    if (!dev->port) {
        return;
    }
    vhost_port_get_info(dev->port, &info);
    for (unsigned int v = side; v < info.n_vrings; v += 2) {
        struct vhost_vring_info vring;

        if (vhost_port_get_vring(dev->port, v, &vring)) {
            for (int i = 0; i < VHOST_N_COUNTERS; i++) {
                sums[i] += vring.counters[i];
            }
        }
    }
}

uint64_t
netdev_vhost_rx_dropped(const struct netdev_vhost_totals *t,
                        const uint64_t rings[VHOST_N_COUNTERS])
{
    uint64_t n = (rings[VHOST_C_TOO_MANY_SEGS] + rings[VHOST_C_DISCARDED]
                  + rings[VHOST_C_CRASH_LOST]);

    for (int i = 0; i < RX_N_DROPS; i++) {
        n += t->rx_events[i];
    }
    return n;
}

uint64_t
netdev_vhost_tx_dropped(const struct netdev_vhost_totals *t)
{
    uint64_t n = 0;

    for (int i = 0; i < TX_N_DROPS; i++) {
        n += t->tx_events[i];
    }
    return n;
}

/* Fills only what is counted: the caller has set the rest to "unsupported". */
int
netdev_vhost_get_stats(const struct netdev *netdev, struct netdev_stats *stats)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    uint64_t rings[VHOST_N_COUNTERS];
    struct netdev_vhost_totals t;

    ovs_mutex_lock(&dev->mutex);
    netdev_vhost_sum(dev, &t);
    netdev_vhost_sum_rings(dev, 1, rings);
    ovs_mutex_unlock(&dev->mutex);

    stats->rx_packets = t.rx.packets;
    stats->rx_bytes = t.rx.bytes;
    stats->rx_dropped = netdev_vhost_rx_dropped(&t, rings);
    stats->multicast = t.rx.multicast;
    stats->rx_broadcast_packets = t.rx.broadcast;
    stats->rx_1_to_64_packets = t.rx.sizes[SIZE_UNDER_64]
                                + t.rx.sizes[SIZE_64];
    stats->rx_65_to_127_packets = t.rx.sizes[SIZE_65_127];
    stats->rx_128_to_255_packets = t.rx.sizes[SIZE_128_255];
    stats->rx_256_to_511_packets = t.rx.sizes[SIZE_256_511];
    stats->rx_512_to_1023_packets = t.rx.sizes[SIZE_512_1023];
    stats->rx_1024_to_1522_packets = t.rx.sizes[SIZE_1024_1518];
    stats->rx_1523_to_max_packets = t.rx.sizes[SIZE_1519_MAX];

    stats->tx_packets = t.tx.packets;
    stats->tx_bytes = t.tx.bytes;
    stats->tx_dropped = netdev_vhost_tx_dropped(&t);
    stats->tx_multicast_packets = t.tx.multicast;
    stats->tx_broadcast_packets = t.tx.broadcast;
    stats->tx_1_to_64_packets = t.tx.sizes[SIZE_UNDER_64]
                                + t.tx.sizes[SIZE_64];
    stats->tx_65_to_127_packets = t.tx.sizes[SIZE_65_127];
    stats->tx_128_to_255_packets = t.tx.sizes[SIZE_128_255];
    stats->tx_256_to_511_packets = t.tx.sizes[SIZE_256_511];
    stats->tx_512_to_1023_packets = t.tx.sizes[SIZE_512_1023];
    stats->tx_1024_to_1522_packets = t.tx.sizes[SIZE_1024_1518];
    stats->tx_1523_to_max_packets = t.tx.sizes[SIZE_1519_MAX];
    return 0;
}

/* Custom statistics under construction. */
struct custom {
    struct netdev_custom_stats *stats;
    size_t allocated;
};

static void OVS_PRINTF_FORMAT(3, 4)
custom_add(struct custom *c, uint64_t value, const char *format, ...)
{
    struct netdev_custom_counter *counter;
    va_list args;

    if (c->stats->size == UINT16_MAX) {
        return;
    }
    if (c->stats->size >= c->allocated) {
        c->stats->counters = x2nrealloc(c->stats->counters, &c->allocated,
                                        sizeof *c->stats->counters);
    }
    counter = &c->stats->counters[c->stats->size++];
    memset(counter, 0, sizeof *counter);
    counter->value = value;
    va_start(args, format);
    vsnprintf(counter->name, sizeof counter->name, format, args);
    va_end(args);
}

static void
custom_add_queue(struct custom *c, const char *side, unsigned int q,
                 const struct pkt_counters *pkts, const uint64_t *ring,
                 uint64_t alloc_failed)
{
    custom_add(c, pkts->packets, "%s_q%u_good_packets", side, q);
    custom_add(c, pkts->bytes, "%s_q%u_good_bytes", side, q);
    custom_add(c, pkts->multicast, "%s_q%u_multicast_packets", side, q);
    custom_add(c, pkts->broadcast, "%s_q%u_broadcast_packets", side, q);
    for (int i = 0; i < N_SIZES; i++) {
        custom_add(c, pkts->sizes[i], "%s_q%u_%s", side, q, pkt_size_names[i]);
    }
    custom_add(c, ring[VHOST_C_NOTIFICATIONS], "%s_q%u_guest_notifications",
               side, q);
    custom_add(c, ring[VHOST_C_SUPPRESSED],
               "%s_q%u_guest_notifications_suppressed", side, q);
    custom_add(c, ring[VHOST_C_OFFLOADED],
               "%s_q%u_guest_notifications_offloaded", side, q);
    custom_add(c, ring[VHOST_C_NOTIFY_ERRORS],
               "%s_q%u_guest_notifications_error", side, q);
    custom_add(c, ring[VHOST_C_IOTLB_HITS], "%s_q%u_iotlb_hits", side, q);
    custom_add(c, ring[VHOST_C_IOTLB_MISSES] + ring[VHOST_C_IOTLB_AHEAD],
               "%s_q%u_iotlb_misses", side, q);

    /* The stock ports' asynchronous copies, which they do not make either. */
    custom_add(c, 0, "%s_q%u_inflight_submitted", side, q);
    custom_add(c, 0, "%s_q%u_inflight_completed", side, q);
    custom_add(c, alloc_failed, "%s_q%u_mbuf_alloc_failed", side, q);
}

static void
custom_add_queues(struct custom *c, const struct netdev_vhost *dev)
{
    static const struct vhost_vring_info no_vring;

    for (unsigned int q = 0; q < dev->up.n_rxq; q++) {
        const struct rx_counters *rx = q < ARRAY_SIZE(dev->rx) ? dev->rx[q]
                                                               : NULL;
        struct pkt_counters pkts = { .packets = 0 };
        struct vhost_vring_info vring;

        if (rx) {
            pkt_counters_sum(&pkts, &rx->pkts);
        }
        if (!dev->port || !vhost_port_get_vring(dev->port, 2 * q + 1,
                                                &vring)) {
            vring = no_vring;
        }
        custom_add_queue(c, "rx", q, &pkts, vring.counters,
                         (rx ? counter_get(&rx->events[RX_ALLOC_FAILED])
                          : 0));
    }
    for (unsigned int q = 0; q < dev->up.n_rxq; q++) {
        struct pkt_counters pkts = { .packets = 0 };
        struct vhost_vring_info vring;

        netdev_vhost_sum_tx_pair(dev, q, &pkts);
        if (!dev->port || !vhost_port_get_vring(dev->port, 2 * q, &vring)) {
            vring = no_vring;
        }
        custom_add_queue(c, "tx", q, &pkts, vring.counters, 0);
    }
}

int
netdev_vhost_get_custom_stats(const struct netdev *netdev,
                              struct netdev_custom_stats *stats)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    struct custom c = { .stats = stats, .allocated = 0 };
    uint64_t from[VHOST_N_COUNTERS];
    uint64_t to[VHOST_N_COUNTERS];
    struct netdev_vhost_totals t;

    stats->size = 0;
    stats->counters = NULL;
    ovs_mutex_lock(&dev->mutex);
    netdev_vhost_sum(dev, &t);
    netdev_vhost_sum_rings(dev, 0, to);
    netdev_vhost_sum_rings(dev, 1, from);

    /* The stock ports' own. */
    custom_add(&c, t.tx_events[TX_RETRIES], "ovs_tx_retries");
    custom_add(&c, t.tx_events[TX_DROP_FULL] + t.tx_events[TX_DROP_TOO_BIG]
               + t.tx_events[TX_DROP_RUNT], "ovs_tx_failure_drops");
    custom_add(&c, t.tx_events[TX_DROP_MTU], "ovs_tx_mtu_exceeded_drops");
    custom_add(&c, t.tx_events[TX_DROP_QOS], "ovs_tx_qos_drops");
    custom_add(&c, t.rx_events[RX_DROP_QOS], "ovs_rx_qos_drops");
    custom_add(&c, t.tx_events[TX_DROP_HWOL], "ovs_tx_invalid_hwol_drops");

    /* More of the same kind. */
    custom_add(&c, t.tx_events[TX_DROP_FULL], "ovs_vhost_tx_%s",
               tx_event_names[TX_DROP_FULL]);
    for (int i = TX_DROP_DOWN; i < TX_DROP_QOS; i++) {
        custom_add(&c, t.tx_events[i], "ovs_vhost_tx_%s", tx_event_names[i]);
    }
    for (int i = 0; i < RX_N_EVENTS; i++) {
        if (i != RX_DROP_QOS) {
            custom_add(&c, t.rx_events[i], "ovs_vhost_rx_%s",
                       rx_event_names[i]);
        }
    }

    /* What the rings know, both directions together for guests' errors. */
    for (int i = 0; i < VHOST_C_FIRST_SOFT; i++) {
        custom_add(&c, from[i] + to[i], "ovs_vhost_guest_error_%s",
                   vhost_counter_to_string(i));
    }
    custom_add(&c, from[VHOST_C_TOO_MANY_SEGS],
               "ovs_vhost_rx_too_many_segs_drops");
    custom_add(&c, from[VHOST_C_DISCARDED],
               "ovs_vhost_rx_disabled_ring_drops");
    custom_add(&c, from[VHOST_C_CRASH_LOST], "ovs_vhost_rx_crash_drops");
    custom_add(&c, to[VHOST_C_CONTENTION], "ovs_vhost_tx_contention");
    custom_add_queues(&c, dev);
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}
