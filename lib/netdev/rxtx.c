/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The fast path: bursts of packets between a guest's rings, as ring.h shows
 * them, and batches of dp_packets.  Nothing here is asked per packet that
 * could be decided per burst, nor per burst that reconfigure could decide; no
 * mutex is taken.
 *
 * Between vhost_rxq_peek() and vhost_rxq_complete(), and between
 * vhost_sender_reserve() and vhost_sender_commit(), the ring cannot be
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

/* From the guest. */

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

/* Counts the sizes of 'n' packets, which the caller knows to be from 'min_len'
 * to 'max_len' bytes long. */
static inline void
count_sizes(struct pkt_counters *c, struct dp_packet *pkts[], unsigned int n,
            uint32_t min_len, uint32_t max_len, bool shared)
{
    if (OVS_LIKELY(min_len == max_len)) {
        pkt_counters_add_sizes(c, min_len, n, shared);
    } else {
        for (unsigned int i = 0; i < n; i++) {
            pkt_counters_add_sizes(c, dp_packet_size(pkts[i]), 1, shared);
        }
    }
}

/* Counts those of the 'n' frames at 'data' that are for groups. */
static void
count_groups(struct pkt_counters *c, const void *const data[], unsigned int n,
             bool shared)
{
    for (unsigned int i = 0; i < n; i++) {
        pkt_counters_add_group(c, data[i], shared);
    }
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
    count_sizes(c, pkts, n, b->min_len, b->max_len, false);
    if (OVS_UNLIKELY(group & 1)) {
        count_groups(c, data, n, false);
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

/* To the guest. */

static inline void
tx_event(struct tx_slot *slot, enum tx_event event, uint64_t n, bool shared)
{
    counter_add(&slot->events[event], n, shared);
}

/* Where packets to the guest are counted: with the ring that they go to. */
static inline struct pkt_counters *
tx_counters(const struct tx_slot *slot, const struct vhost_burst *b)
{
    unsigned int pair = vhost_burst_vring(b) / 2;

    return &slot->pairs[MIN(pair, slot->n_pairs - 1)];
}

/* Captures 'n' packets to the guest, of which 'verdict' is true.  What they
 * lack is told from their marks: where it is to be stored is not known. */
static void __attribute__((__noinline__, __cold__))
tx_capture(struct capture *cap, uint16_t queue, struct dp_packet *const pkts[],
           unsigned int n, uint8_t verdict)
{
    for (unsigned int i = 0; i < n; i++) {
        struct virtio_net_hdr h = { .flags = 0 };

        if (!compat_tx_is_plain(pkts[i])) {
            h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
            h.gso_type = (compat_tx_is_tso(pkts[i])
                          ? VIRTIO_NET_HDR_GSO_TCPV4
                          : VIRTIO_NET_HDR_GSO_NONE);
        }
        capture_end(capture_frame(cap, CAPTURE_OUT, queue,
                                  dp_packet_data(pkts[i]),
                                  dp_packet_size(pkts[i]), &h), verdict);
    }
}

static uint16_t
burst_queue(const struct vhost_burst *b)
{
    return vhost_burst_vring(b) / 2;
}

/* Fills and commits the 'n' packets of any kind that 'b' has room for.
 * Returns how many of 'pkts' were dealt with, that is, sent or dropped: fewer
 * than 'n' if one of them cannot be sent to this guest, which is only known
 * here, since another guest may have come meanwhile.  Captures them in 'cap',
 * a constant, if that is not NULL. */
static inline __attribute__((__always_inline__)) unsigned int
tx_fill_each(const struct netdev_vhost *dev, struct tx_slot *slot,
             struct vhost_burst *b, struct dp_packet *pkts[], unsigned int n,
             bool shared, struct capture *cap)
{
    uint64_t features = vhost_burst_features(b);
    struct pkt_counters *c = tx_counters(slot, b);
    unsigned int sent = 0;
    unsigned int i;

    vhost_burst_expand(b);
    for (i = 0; i < n; i++) {
        const void *data = dp_packet_data(pkts[i]);

        if (OVS_UNLIKELY(!b->pkts[i].n_segs)) {
            tx_event(slot, TX_DROP_TOO_BIG, 1, shared);
            if (cap) {
                tx_capture(cap, burst_queue(b), &pkts[i], 1,
                           TX_DROP_TOO_BIG + 1);
            }
            continue;
        }
        if (OVS_UNLIKELY(!offload_to_guest(pkts[i], &b->pkts[i].hdr, features,
                                           dev->mtu))) {
            tx_event(slot, TX_DROP_HWOL, 1, shared);
            if (cap) {
                tx_capture(cap, burst_queue(b), &pkts[i], 1,
                           TX_DROP_HWOL + 1);
            }
            vhost_burst_cut(b, i++);
            break;
        }
        vhost_burst_write(b, i, data);
        if (cap) {
            capture_end(capture_frame(cap, CAPTURE_OUT, burst_queue(b), data,
                                      b->pkts[i].len, &b->pkts[i].hdr),
                        CAPTURE_PASSED);
        }
        pkt_counters_add(c, data, b->pkts[i].len, shared);
        sent++;
    }
    counter_add(&c->packets, sent, shared);
    vhost_sender_commit(slot->sender, b, shared);
    return i;
}

static unsigned int
tx_fill_mixed(const struct netdev_vhost *dev, struct tx_slot *slot,
              struct vhost_burst *b, struct dp_packet *pkts[], unsigned int n,
              bool shared)
{
    return tx_fill_each(dev, slot, b, pkts, n, shared, NULL);
}

static unsigned int __attribute__((__noinline__, __cold__))
tx_fill_captured(const struct netdev_vhost *dev, struct tx_slot *slot,
                 struct vhost_burst *b, struct dp_packet *pkts[],
                 unsigned int n, bool shared, struct capture *cap)
{
    return tx_fill_each(dev, slot, b, pkts, n, shared, cap);
}

/* What is to be sent. */
struct tx_work {
    struct dp_packet **pkts;
    unsigned int n;
    bool plain;                 /* No packet has offloads. */
    bool groups;                /* Some may be for groups. */
    uint32_t min_len, max_len;  /* Of all. */
    uint32_t lens[VHOST_BURST];
    const void *data[VHOST_BURST];
    struct dp_packet *selected[VHOST_BURST];
};

/* Fills and publishes the 'n' packets of 'w', from 'first' on, that 'b' has
 * room for, which are all without offloads. */
static inline void
tx_fill_plain(struct tx_slot *slot, struct vhost_burst *b,
              const struct tx_work *w, unsigned int first, unsigned int n,
              bool shared)
{
    struct pkt_counters *c = tx_counters(slot, b);

    vhost_burst_write_all(b, w->data + first, n);
    vhost_sender_publish(b);
    count_sizes(c, w->pkts + first, n, w->min_len, w->max_len, shared);
    if (OVS_UNLIKELY(w->groups)) {
        count_groups(c, w->data + first, n, shared);
    }
    counter_add(&c->packets, n, shared);
}

/* Makes 'w->pkts' those of 'pkts' that may be sent at all, and counts the
 * others, and captures them in 'cap' if that is not NULL. */
static void
tx_select(const struct netdev_vhost *dev, struct tx_slot *slot,
          struct dp_packet *pkts[], unsigned int n, struct tx_work *w,
          bool shared, struct capture *cap)
{
    w->pkts = w->selected;
    w->n = 0;
    for (unsigned int i = 0; i < n; i++) {
        uint32_t len = dp_packet_size(pkts[i]);

        if ((len > dev->max_frame && !compat_tx_is_tso(pkts[i]))
            || len < ETH_HEADER_LEN) {
            enum tx_event drop = (len < ETH_HEADER_LEN
                                  ? TX_DROP_RUNT : TX_DROP_MTU);

            tx_event(slot, drop, 1, shared);
            if (cap) {
                tx_capture(cap, CAPTURE_NO_QUEUE, &pkts[i], 1, drop + 1);
            }
        } else {
            w->selected[w->n] = pkts[i];
            w->data[w->n] = dp_packet_data(pkts[i]);
            w->lens[w->n++] = len;
        }
    }
}

/* Looks at the 'n' <= VHOST_BURST packets in 'pkts'. */
static inline void
tx_look(const struct netdev_vhost *dev, struct tx_slot *slot,
        struct dp_packet *pkts[], unsigned int n, struct tx_work *w,
        bool shared, struct capture *cap)
{
    uint32_t max_len = 0;
    uint32_t min_len = UINT32_MAX;
    bool plain = true;
    uint8_t group = 0;

    for (unsigned int i = 0; i < n; i++) {
        uint32_t len = dp_packet_size(pkts[i]);

        w->lens[i] = len;
        w->data[i] = dp_packet_data(pkts[i]);
        group |= *(const uint8_t *) w->data[i];
        max_len = MAX(max_len, len);
        min_len = MIN(min_len, len);
        plain &= compat_tx_is_plain(pkts[i]);
    }
    w->pkts = pkts;
    w->n = n;
    w->plain = plain;
    w->groups = group & 1;
    w->min_len = min_len;
    w->max_len = max_len;
    if (OVS_UNLIKELY(max_len > dev->max_frame || min_len < ETH_HEADER_LEN)) {
        tx_select(dev, slot, pkts, n, w, shared, cap);
    }
}

/* Sends and frees 'n' <= VHOST_BURST packets.  As long as a try finds room for
 * some, it is worth another one, up to the configured number: the guest is
 * just emptying its ring.  Captures them in 'cap', a constant, if that is not
 * NULL. */
static inline __attribute__((__always_inline__)) void
tx_burst_into(struct netdev_vhost *dev, struct tx_slot *slot,
              struct dp_packet *pkts[], unsigned int n, bool shared,
              struct capture *cap)
{
    struct tx_work w;
    struct vhost_burst b;
    enum vhost_reserve why = VHOST_R_STOPPED;
    unsigned int max_retries;
    unsigned int retries = 0;
    unsigned int done = 0;

    if (!shared) {
        vhost_sender_prefetch(slot->sender);
    }
    tx_look(dev, slot, pkts, n, &w, shared, cap);
    atomic_read_relaxed(&dev->tx_retries_max, &max_retries);
    while (done < w.n) {
        unsigned int room;

        room = vhost_sender_reserve_simple(slot->sender, &b, w.lens + done,
                                           w.n - done, shared, &why);
        if (!room) {
            break;
        }
        if (OVS_LIKELY(w.plain && !b.odd)) {
            tx_fill_plain(slot, &b, &w, done, room, shared);
            if (cap) {
                tx_capture(cap, burst_queue(&b), w.pkts + done, room,
                           CAPTURE_PASSED);
            }
            done += room;
            if (OVS_LIKELY(done == w.n)) {
                /* Before the guest is notified: see vhost_sender_publish(). */
                packet_pool_free(pkts, n);
                n = 0;
            }
            vhost_sender_finish(slot->sender, &b, shared);
        } else {
            done += (cap ? tx_fill_captured(dev, slot, &b, w.pkts + done,
                                            room, shared, cap)
                     : tx_fill_mixed(dev, slot, &b, w.pkts + done, room,
                                     shared));
        }
        if (OVS_UNLIKELY(done < w.n) && why != VHOST_R_OK) {
            if (retries == max_retries) {
                break;
            }
            retries++;
        }
    }

    if (OVS_UNLIKELY(retries)) {
        tx_event(slot, TX_RETRIES, retries, shared);
    }
    if (OVS_UNLIKELY(done < w.n)) {
        enum tx_event drop = (why == VHOST_R_STOPPED
                              ? TX_DROP_DOWN : TX_DROP_FULL);

        tx_event(slot, drop, w.n - done, shared);
        if (cap) {
            tx_capture(cap, CAPTURE_NO_QUEUE, w.pkts + done, w.n - done,
                       drop + 1);
        }
    }
    packet_pool_free(pkts, n);
}

static inline void
tx_burst(struct netdev_vhost *dev, struct tx_slot *slot,
         struct dp_packet *pkts[], unsigned int n, bool shared)
{
    tx_burst_into(dev, slot, pkts, n, shared, NULL);
}

/* ('cap' is not NULL, so that the functions for other bursts have one caller
 * and are inlined there.) */
static void __attribute__((__noinline__, __cold__, __nonnull__))
tx_burst_captured(struct netdev_vhost *dev, struct tx_slot *slot,
                  struct dp_packet *pkts[], unsigned int n, bool shared,
                  struct capture *cap)
{
    tx_burst_into(dev, slot, pkts, n, shared, cap);
}

/* Drops those of 'n' packets that are more than may be sent to the port, and
 * returns how many of 'pkts' are left. */
static unsigned int
tx_police(struct netdev_vhost *dev, struct tx_slot *slot,
          struct dp_packet *pkts[], unsigned int n, bool shared)
{
    unsigned int left = netdev_vhost_police_tx(dev, pkts, n);

    if (left < n) {
        tx_event(slot, TX_DROP_QOS, n - left, shared);
    }
    return left;
}

/* The same for n <= VHOST_BURST packets; captures those that it drops.  They
 * are freed by then, so that all have to be copied first. */
static unsigned int
tx_police_captured(struct netdev_vhost *dev, struct tx_slot *slot,
                   struct dp_packet *pkts[], unsigned int n, bool shared,
                   struct capture *cap)
{
    struct capture_record *recs[VHOST_BURST];
    struct dp_packet *all[VHOST_BURST];
    unsigned int left, next = 0;

    for (unsigned int i = 0; i < n; i++) {
        all[i] = pkts[i];
        recs[i] = capture_frame(cap, CAPTURE_OUT, CAPTURE_NO_QUEUE,
                                dp_packet_data(pkts[i]),
                                dp_packet_size(pkts[i]), NULL);
    }
    left = tx_police(dev, slot, pkts, n, shared);
    for (unsigned int i = 0; i < n; i++) {
        if (next < left && pkts[next] == all[i]) {
            capture_cancel(recs[i]);
            next++;
        } else {
            capture_end(recs[i], TX_DROP_QOS + 1);
        }
    }
    return left;
}

/* Sends and frees 'n' packets, capturing them in 'cap'. */
static void
send_captured(struct netdev_vhost *dev, struct tx_slot *slot,
              struct dp_packet *pkts[], unsigned int n, unsigned int special,
              bool shared, struct capture *cap)
{
    for (unsigned int i = 0; i < n; i += VHOST_BURST) {
        unsigned int chunk = MIN(n - i, VHOST_BURST);

        if (special & DEV_POLICED_TX) {
            chunk = tx_police_captured(dev, slot, pkts + i, chunk, shared,
                                       cap);
        }
        tx_burst_captured(dev, slot, pkts + i, chunk, shared, cap);
    }
}

/* Sends and frees 'n' packets, without a look at 'special'. */
static inline void
send_plainly(struct netdev_vhost *dev, struct tx_slot *slot,
             struct dp_packet *pkts[], unsigned int n, bool shared)
{
    /* Batches have no bound in some versions. */
    for (unsigned int i = 0; i < n; i += VHOST_BURST) {
        unsigned int chunk = MIN(n - i, VHOST_BURST);

        if (OVS_LIKELY(!shared)) {
            tx_burst(dev, slot, pkts + i, chunk, false);
        } else {
            tx_burst(dev, slot, pkts + i, chunk, true);
        }
    }
}

/* Sends and frees 'n' packets where 'special' or the lack of a sender
 * applies. */
static void __attribute__((__noinline__, __cold__))
send_special(struct netdev_vhost *dev, struct tx_slot *slot,
             struct dp_packet *pkts[], unsigned int n, unsigned int special,
             bool shared)
{
    struct capture *cap = (special & DEV_CAPTURED
                           ? netdev_vhost_capture(dev) : NULL);

    if (special & DEV_DOWN || !slot->sender) {
        tx_event(slot, TX_DROP_DOWN, n, shared);
        if (cap) {
            tx_capture(cap, CAPTURE_NO_QUEUE, pkts, n, TX_DROP_DOWN + 1);
        }
        packet_pool_free(pkts, n);
    } else if (cap) {
        send_captured(dev, slot, pkts, n, special, shared, cap);
    } else {
        send_plainly(dev, slot, pkts, tx_police(dev, slot, pkts, n, shared),
                     shared);
    }
}

int
netdev_vhost_send(struct netdev *netdev, int qid,
                  struct dp_packet_batch *batch, bool concurrent_txq)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    unsigned int n = dp_packet_batch_size(batch);
    struct dp_packet **pkts = batch->packets;
    struct tx_slot *slot;
    unsigned int special;

    if (OVS_UNLIKELY(!dev->n_slots)) {
        packet_pool_free(pkts, n);
        return 0;
    }
    slot = dev->slots[(unsigned int) qid % dev->n_slots];
    atomic_read_relaxed(&dev->special, &special);
    if (OVS_UNLIKELY(special & DEV_SPECIAL_TX || !slot->sender)) {
        send_special(dev, slot, pkts, n, special, concurrent_txq);
    } else {
        send_plainly(dev, slot, pkts, n, concurrent_txq);
    }
    return 0;
}
