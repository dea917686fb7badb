/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The fast path to the guest: batches of dp_packets are copied into the
 * buffers that a guest offers, in bursts as ring.h shows them.  As in rx.c,
 * nothing is asked per packet that could be decided per burst or by
 * reconfigure, and no mutex is taken.
 *
 * Between vhost_sender_reserve() and vhost_sender_commit() the ring cannot be
 * stopped: only copying, checksums and counting happen there.
 */

#include <config.h>

#include "private.h"

#include "capture.h"
#include "compat.h"
#include "offload.h"
#include "packets.h"
#include "qos.h"

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
    pkt_counters_add_batch(c, w->pkts + first, n, w->min_len, w->max_len,
                           shared);
    if (OVS_UNLIKELY(w->groups)) {
        pkt_counters_add_groups(c, w->data + first, n, shared);
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
