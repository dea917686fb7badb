/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The fast path from the guest: bursts of packets that a guest sent, as ring.h
 * shows them, become batches of dp_packets.  Nothing here is asked per packet
 * that could be decided per burst, nor per burst that reconfigure could
 * decide; no mutex is taken.
 *
 * Between vhost_rxq_peek() and vhost_rxq_complete() the ring cannot be
 * stopped: only copying, checksums and counting happen there.
 */

#include <config.h>

#include "private.h"

#include <errno.h>

#include "capture.h"
#include "compat.h"
#include "offload.h"
#include "packets.h"
#include "qos.h"

BUILD_ASSERT_DECL(VHOST_BURST >= NETDEV_MAX_BURST);

/* A minimal frame without its FCS. */
#define MIN_FRAME 60

/* Packets taken from a pool ahead of knowing which will be needed. */
struct rx_supply {
    struct dp_packet *pkts[NETDEV_MAX_BURST];
    unsigned int n;             /* Taken. */
    unsigned int next;          /* Used. */
};

static inline void
supply_fill(struct rx_supply *s, struct packet_pool *pool, unsigned int n)
{
    s->next = 0;
    s->n = n ? packet_pool_alloc(pool, s->pkts, n) : 0;
}

static inline void
supply_return(struct rx_supply *s)
{
    if (OVS_UNLIKELY(s->next < s->n)) {
        packet_pool_free(s->pkts + s->next, s->n - s->next);
    }
}

static inline void
rx_event(struct rx_counters *c, enum rx_event event, uint64_t n)
{
    counter_add(&c->events[event], n, false);
}

/* Marks 'p' as the header 'h' of a guest with 'features' has it.  Returns
 * RX_N_DROPS or, having counted that, why it is not to be received. */
static inline enum rx_event
rx_offload(const struct netdev_rxq_vhost *rxq, struct dp_packet *p,
           const struct virtio_net_hdr *h, uint64_t features)
{
    struct rx_counters *c = rxq->counters;

    switch (offload_from_guest(p, h, features, rxq->dev->complete_csum)) {
    case OFFLOAD_OK:
        break;
    case OFFLOAD_COMPLETED:
        rx_event(c, RX_CSUM_COMPLETED, 1);
        break;
    case OFFLOAD_BAD_CSUM:
        rx_event(c, RX_DROP_BAD_CSUM, 1);
        return RX_DROP_BAD_CSUM;
    case OFFLOAD_BAD_GSO:
        rx_event(c, RX_DROP_BAD_GSO, 1);
        return RX_DROP_BAD_GSO;
    }
    return RX_N_DROPS;
}

/* Where packets of a burst are captured. */
struct rx_capture {
    struct capture *capture;
    uint16_t queue;
    struct capture_record *recs[NETDEV_MAX_BURST];  /* Of those received. */
};

/* Copies the first 'n' bytes of packet 'i' of 'b' to 'dst'. */
static void
burst_read_start(const struct vhost_burst *b, unsigned int i, uint8_t *dst,
                 uint32_t n)
{
    const struct vhost_pkt *p = &b->pkts[i];
    const struct vhost_seg *s = &b->segs[p->first];

    for (unsigned int k = 0; k < p->n_segs && n; k++) {
        uint32_t len = MIN(n, s[k].len);

        memcpy(dst, s[k].addr, len);
        dst += len;
        n -= len;
    }
}

/* Captures packet 'i' of 'b', which is dropped unread. */
static void __attribute__((__noinline__, __cold__))
rx_capture_drop(const struct rx_capture *rc, const struct vhost_burst *b,
                unsigned int i, uint8_t verdict)
{
    uint32_t len = b->pkts[i].len;
    struct capture_record *rec;

    rec = capture_begin(rc->capture, CAPTURE_IN, rc->queue, len,
                        b->pkts[i].n_segs ? len : 0);
    if (rec) {
        burst_read_start(b, i, rec->data, rec->data_len);
    }
    capture_end(rec, verdict);
}

/* Receives the 'n' packets of 'b', of any kind, one by one into 'pkts', and
 * returns how many there are now.  Captures them if 'rc', a constant, is not
 * NULL. */
static inline __attribute__((__always_inline__)) unsigned int
rx_burst_each(struct netdev_rxq_vhost *rxq, struct vhost_burst *b,
              unsigned int n, struct dp_packet *pkts[], struct rx_capture *rc)
{
    const struct netdev_vhost *dev = rxq->dev;
    uint32_t max_small = dev->pool->max_frame;
    uint32_t max_big = dev->big_pool ? dev->big_pool->max_frame : max_small;
    uint64_t features = vhost_burst_features(b);
    struct rx_supply small, big;
    unsigned int n_big = 0;
    unsigned int count = 0;
    unsigned int i;

    vhost_burst_expand(b);
    for (i = 0; i < n; i++) {
        n_big += b->pkts[i].len > max_small;
    }
    supply_fill(&small, dev->pool, n - n_big);
    supply_fill(&big, dev->big_pool, dev->big_pool ? n_big : 0);

    for (i = 0; i < n; i++) {
        uint32_t len = b->pkts[i].len;
        struct rx_supply *s = len <= max_small ? &small : &big;
        struct capture_record *rec = NULL;
        enum rx_event drop;
        struct dp_packet *p;
        void *data;

        if (OVS_UNLIKELY(!b->pkts[i].n_segs)) {
            /* The ring has counted it. */
            if (rc && len) {
                rx_capture_drop(rc, b, i, CAPTURE_UNREADABLE);
            }
            continue;
        } else if (OVS_UNLIKELY(len < ETH_HEADER_LEN)) {
            rx_event(rxq->counters, RX_DROP_RUNT, 1);
            if (rc) {
                rx_capture_drop(rc, b, i, RX_DROP_RUNT + 1);
            }
            continue;
        } else if (OVS_UNLIKELY(len > max_big)) {
            rx_event(rxq->counters, RX_DROP_TOO_BIG, 1);
            if (rc) {
                rx_capture_drop(rc, b, i, RX_DROP_TOO_BIG + 1);
            }
            continue;
        } else if (OVS_UNLIKELY(s->next == s->n)) {
            rx_event(rxq->counters, RX_ALLOC_FAILED, n - i);
            break;
        }
        p = s->pkts[s->next];
        data = packet_pool_start(p, len);
        compat_rx_init(p);
        vhost_burst_read(b, i, data);
        if (rc) {
            rec = capture_frame(rc->capture, CAPTURE_IN, rc->queue, data, len,
                                features & OFFLOAD_HOST_FEATURES
                                ? &b->pkts[i].hdr : NULL);
        }
        drop = rx_offload(rxq, p, &b->pkts[i].hdr, features);
        if (OVS_LIKELY(drop == RX_N_DROPS)) {
            if (rc) {
                rc->recs[count] = rec;
            }
            pkt_counters_add(&rxq->counters->pkts, data, len, false);
            pkts[count++] = p;
            s->next++;
        } else if (rc) {
            capture_end(rec, drop + 1);
        }
    }
    vhost_rxq_complete_later(rxq->ring, b, i);

    supply_return(&small);
    supply_return(&big);
    return count;
}

static unsigned int
rx_burst_mixed(struct netdev_rxq_vhost *rxq, struct vhost_burst *b,
               unsigned int n, struct dp_packet *pkts[])
{
    return rx_burst_each(rxq, b, n, pkts, NULL);
}

/* Deals with the headers of the first 'n' packets of 'b', which are copied
 * into 'pkts' already.  Returns how many of 'pkts' are left: the others are
 * dropped. */
static unsigned int
rx_burst_offload(struct netdev_rxq_vhost *rxq, const struct vhost_burst *b,
                 unsigned int n, struct dp_packet *pkts[])
{
    uint64_t features = vhost_burst_features(b);
    struct dp_packet *bad[NETDEV_MAX_BURST];
    unsigned int n_bad = 0;
    unsigned int count = 0;

    for (unsigned int i = 0; i < n; i++) {
        if (OVS_LIKELY(rx_offload(rxq, pkts[i], &b->pkts[i].hdr, features)
                       == RX_N_DROPS)) {
            pkts[count++] = pkts[i];
        } else {
            bad[n_bad++] = pkts[i];
        }
    }
    if (n_bad) {
        packet_pool_free(bad, n_bad);
    }
    return count;
}

/* Counts the 'n' packets in 'pkts', just received by 'b'. */
static inline void
rx_count(struct pkt_counters *c, const struct vhost_burst *b,
         struct dp_packet *pkts[], unsigned int n)
{
    const void *data[NETDEV_MAX_BURST];
    uint8_t group = 0;

    for (unsigned int i = 0; i < n; i++) {
        data[i] = dp_packet_data(pkts[i]);
        group |= *(const uint8_t *) data[i];
    }
    pkt_counters_add_batch(c, pkts, n, b->min_len, b->max_len, false);
    if (OVS_UNLIKELY(group & 1)) {
        pkt_counters_add_groups(c, data, n, false);
    }
}

/* Receives the 'n' packets of 'b', all of which fit the pool of small frames,
 * into 'pkts' and returns how many there are now. */
static inline __attribute__((__always_inline__)) unsigned int
rx_burst_small(struct netdev_rxq_vhost *rxq, struct vhost_burst *b,
               unsigned int n, struct dp_packet *pkts[])
{
    void *data[NETDEV_MAX_BURST];
    unsigned int got = packet_pool_alloc(rxq->dev->pool, pkts, n);
    unsigned int count = got;

    for (unsigned int i = 0; i < got; i++) {
        data[i] = packet_pool_start(pkts[i], vhost_burst_len(b, i));
        compat_rx_init(pkts[i]);
    }
    vhost_burst_read_all(b, data, got);
    if (OVS_UNLIKELY(b->offloads)) {
        count = rx_burst_offload(rxq, b, got, pkts);
    }
    vhost_rxq_complete_later(rxq->ring, b, got);
    if (OVS_UNLIKELY(got < n)) {
        rx_event(rxq->counters, RX_ALLOC_FAILED, n - got);
    }
    if (OVS_LIKELY(count)) {
        rx_count(&rxq->counters->pkts, b, pkts, count);
    }
    return count;
}

/* Receives the 'n' packets of 'b' into 'pkts' and returns how many there are
 * now.  Packets for which the pools have no room stay in the ring. */
static inline __attribute__((__always_inline__)) unsigned int
rx_burst_any(struct netdev_rxq_vhost *rxq, struct vhost_burst *b,
             unsigned int n, struct dp_packet *pkts[])
{
    unsigned int count;

    if (OVS_LIKELY(!b->odd && b->max_len <= rxq->dev->pool->max_frame
                   && b->min_len >= ETH_HEADER_LEN)) {
        count = rx_burst_small(rxq, b, n, pkts);
    } else {
        count = rx_burst_mixed(rxq, b, n, pkts);
    }
    counter_add(&rxq->counters->pkts.packets, count, false);
    return count;
}

/* Drops those of the 'n' packets in 'pkts' that are more than the port may
 * receive, and returns how many are left. */
static unsigned int
rx_police(struct netdev_rxq_vhost *rxq, struct dp_packet *pkts[],
          unsigned int n)
{
    unsigned int left = netdev_vhost_police_rx(rxq->dev, pkts, n);

    if (left < n) {
        rx_event(rxq->counters, RX_DROP_QOS, n - left);
    }
    return left;
}

/* The whole way of a burst from the guest that is captured in 'cap'. */
static unsigned int __attribute__((__noinline__, __cold__))
rx_burst_captured(struct netdev_rxq_vhost *rxq, struct vhost_burst *b,
                  unsigned int n, struct dp_packet *pkts[],
                  struct capture *cap)
{
    struct rx_capture rc = {
        .capture = cap,
        .queue = rxq->up.queue_id,
    };
    struct dp_packet *all[NETDEV_MAX_BURST];
    unsigned int count = rx_burst_each(rxq, b, n, pkts, &rc);
    unsigned int left, next = 0;

    counter_add(&rxq->counters->pkts.packets, count, false);
    memcpy(all, pkts, count * sizeof *all);
    left = rx_police(rxq, pkts, count);

    /* Those that are left are still in their order. */
    for (unsigned int i = 0; i < count; i++) {
        bool passed = next < left && pkts[next] == all[i];

        capture_end(rc.recs[i], passed ? CAPTURE_PASSED : RX_DROP_QOS + 1);
        next += passed;
    }
    return left;
}

/* The same for a port to which 'special' or a lack of memory applies.  As with
 * the stock ports, what policing drops is counted as received, too. */
static unsigned int __attribute__((__noinline__, __cold__))
rx_burst_special(struct netdev_rxq_vhost *rxq, struct vhost_burst *b,
                 unsigned int n, struct dp_packet *pkts[],
                 unsigned int special)
{
    struct netdev_vhost *dev = rxq->dev;
    struct capture *cap;

    if (special & DEV_DOWN || !dev->pool) {
        vhost_rxq_complete_later(rxq->ring, b, 0);
        return 0;
    }
    cap = special & DEV_CAPTURED ? netdev_vhost_capture(dev) : NULL;
    if (cap) {
        return rx_burst_captured(rxq, b, n, pkts, cap);
    }
    return rx_police(rxq, pkts, rx_burst_any(rxq, b, n, pkts));
}

static inline unsigned int
rx_burst(struct netdev_rxq_vhost *rxq, struct vhost_burst *b, unsigned int n,
         struct dp_packet *pkts[])
{
    unsigned int special;

    atomic_read_relaxed(&rxq->dev->special, &special);
    if (OVS_UNLIKELY(special & DEV_SPECIAL_RX || !rxq->dev->pool)) {
        return rx_burst_special(rxq, b, n, pkts, special);
    }
    return rx_burst_any(rxq, b, n, pkts);
}

/* Builds what a migrated guest that cannot announce itself would send: a RARP
 * request for its own address, so that everybody learns where it is now. */
static struct dp_packet *
rarp_packet(struct packet_pool *pool, const struct eth_addr mac)
{
    struct arp_eth_header *arp;
    struct eth_header *eth;
    struct dp_packet *p;

    if (!packet_pool_alloc(pool, &p, 1)) {
        return NULL;
    }
    eth = packet_pool_start(p, MIN_FRAME);
    memset(eth, 0, MIN_FRAME);
    compat_rx_init(p);

    eth->eth_dst = eth_addr_broadcast;
    eth->eth_src = mac;
    eth->eth_type = htons(ETH_TYPE_RARP);
    arp = (struct arp_eth_header *) (eth + 1);
    arp->ar_hrd = htons(ARP_HRD_ETHERNET);
    arp->ar_pro = htons(ARP_PRO_IP);
    arp->ar_hln = sizeof arp->ar_sha;
    arp->ar_pln = sizeof arp->ar_spa;
    arp->ar_op = htons(ARP_OP_RARP);
    arp->ar_sha = mac;
    arp->ar_tha = mac;
    return p;
}

/* Does what 'requests' ask for (RXQ_*): an announcement is added to the 'count'
 * packets in 'pkts', if there is room.  Returns their new number. */
static unsigned int
rx_requests(struct netdev_rxq_vhost *rxq, uint64_t requests,
            struct dp_packet *pkts[], unsigned int count)
{
    struct netdev_vhost *dev = rxq->dev;
    struct capture *cap;
    struct eth_addr mac;
    struct dp_packet *p;
    uint64_t old;

    if (requests & RXQ_TELL_NODE) {
        atomic_store_relaxed(&rxq->node, netdev_vhost_own_node());
        atomic_and_relaxed(&rxq->requests, ~RXQ_TELL_NODE, &old);
        requests &= ~RXQ_TELL_NODE;
    }

    /* A guest that moved again meanwhile has its turn next time. */
    if (!requests || count == NETDEV_MAX_BURST
        || !atomic_compare_exchange_strong(&rxq->requests, &requests, 0)) {
        return count;
    }
    eth_addr_from_uint64(requests & ~RXQ_ANNOUNCE, &mac);
    p = rarp_packet(dev->pool, mac);
    if (p) {
        pkt_counters_add(&rxq->counters->pkts, dp_packet_data(p), MIN_FRAME,
                         false);
        counter_add(&rxq->counters->pkts.packets, 1, false);
        rx_event(rxq->counters, RX_RARP, 1);
        cap = netdev_vhost_capture(dev);
        if (cap) {
            capture_end(capture_frame(cap, CAPTURE_IN, CAPTURE_NO_QUEUE,
                                      dp_packet_data(p), MIN_FRAME, NULL),
                        CAPTURE_MADE);
        }
        pkts[count++] = p;
    }
    return count;
}

int
netdev_vhost_rxq_recv(struct netdev_rxq *rxq_, struct dp_packet_batch *batch,
                      int *qfill)
{
    struct netdev_rxq_vhost *rxq = CONTAINER_OF(rxq_, struct netdev_rxq_vhost,
                                                up);
    struct vhost_burst b;
    unsigned int count = 0;
    unsigned int n;
    uint64_t requests;

    n = vhost_rxq_peek_simple(rxq->ring, &b, NETDEV_MAX_BURST);
    if (n) {
        count = rx_burst(rxq, &b, n, batch->packets);
    }
    atomic_read_relaxed(&rxq->requests, &requests);
    if (OVS_UNLIKELY(requests)) {
        count = rx_requests(rxq, requests, batch->packets, count);
    }
    if (qfill) {
        *qfill = n == NETDEV_MAX_BURST ? vhost_rxq_backlog(rxq->ring) : 0;
    }
    if (!count) {
        return EAGAIN;
    }
    batch->count = count;
    return 0;
}
