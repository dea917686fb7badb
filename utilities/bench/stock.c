/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench's second side: librte_vhost, set up and called as netdev-dpdk
 * does that for its dpdkvhostuserclient ports (same flags, same mempool, same
 * way to free), without anything of the netdev itself. */

#include <config.h>

#include "bench/bench.h"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_vhost.h>

#include "bench/stock.h"
#include "dp-packet.h"
#include "guest/fail.h"
#include "ovs-rcu.h"
#include "util.h"

#define READY_MS 10000
#define RXQ 0                   /* Guest's point of view. */
#define TXQ 1
#define N_MBUFS 16384           /* What netdev-dpdk falls back to. */
#define FRAME_OVERHEAD (ETH_HEADER_LEN + 4)

/* Device that is ready, -1: none.  Set by librte_vhost's threads. */
static int vid = -1;

static int
get_vid(void)
{
    return __atomic_load_n(&vid, __ATOMIC_ACQUIRE);
}

static int
new_device(int new_vid)
{
    for (uint16_t i = 0; i < rte_vhost_get_vring_num(new_vid); i++) {
        rte_vhost_enable_guest_notification(new_vid, i, 0);
    }
    __atomic_store_n(&vid, new_vid, __ATOMIC_RELEASE);
    return 0;
}

static void
destroy_device(int old_vid OVS_UNUSED)
{
    __atomic_store_n(&vid, -1, __ATOMIC_RELEASE);
}

static const struct rte_vhost_device_ops device_ops = {
    .new_device = new_device,
    .destroy_device = destroy_device,
};

static void
init_packet(struct rte_mempool *mp OVS_UNUSED, void *aux OVS_UNUSED,
            void *packet, unsigned int i OVS_UNUSED)
{
    dp_packet_init_dpdk(packet);
}

struct rte_mempool *
stock_mempool(unsigned int frame_size)
{
    static struct rte_mempool *mp;
    static unsigned int mp_size;
    unsigned int frame, room, pkt;
    char name[RTE_MEMPOOL_NAMESIZE];

    /* A 1500 byte MTU at least, in steps of 1024. */
    frame = MAX(frame_size, 1500 + FRAME_OVERHEAD) + 2 * VLAN_HEADER_LEN;
    room = ROUND_UP(frame, 1024) + RTE_PKTMBUF_HEADROOM;
    if (mp && mp_size == room) {
        return mp;
    }
    rte_mempool_free(mp);
    mp_size = room;
    snprintf(name, sizeof name, "stock%u", room);
    pkt = sizeof(struct dp_packet) + room;
    mp = rte_pktmbuf_pool_create(name, N_MBUFS, RTE_MEMPOOL_CACHE_MAX_SIZE,
                                 sizeof(struct dp_packet)
                                 - sizeof(struct rte_mbuf)
                                 + ROUND_UP(pkt, RTE_CACHE_LINE_SIZE) - pkt,
                                 room, SOCKET_ID_ANY);
    if (!mp) {
        ovs_fatal(rte_errno, "no mempool of %u times %u bytes", N_MBUFS, room);
    }
    rte_mempool_obj_iter(mp, init_packet, NULL);
    return mp;
}

static void
must(int error, const char *what)
{
    if (error) {
        ovs_fatal(0, "%s failed", what);
    }
}

static void
stock_open(struct side *side)
{
    const char *path = side->guest->path;

    side->aux = stock_mempool(side->guest->c->size);
    must(rte_vhost_driver_register(path, RTE_VHOST_USER_CLIENT
                                   | RTE_VHOST_USER_NET_STATS_ENABLE
                                   | RTE_VHOST_USER_LINEARBUF_SUPPORT),
         "rte_vhost_driver_register");
    must(rte_vhost_driver_callback_register(path, &device_ops),
         "rte_vhost_driver_callback_register");
    must(rte_vhost_driver_disable_features(path, FE_F_CSUM),
         "rte_vhost_driver_disable_features");
    must(rte_vhost_driver_start(path), "rte_vhost_driver_start");
}

static void
await(bool ready)
{
    long long int end = fe_now_us() + READY_MS * 1000LL;

    while ((get_vid() >= 0) != ready) {
        FE_CHECK_LT(fe_now_us(), end);
        ovsrcu_quiesce();
        fe_sleep_us(200);
    }
}

static void
stock_ready(struct side *side OVS_UNUSED)
{
    await(true);
}

static void
stock_close(struct side *side)
{
    must(rte_vhost_driver_unregister(side->guest->path),
         "rte_vhost_driver_unregister");
    await(false);
}

static void
free_packets(struct rte_mbuf *pkts[], unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        rte_pktmbuf_free(pkts[i]);
    }
}

static void
stock_batch(struct side *side, struct sample *s)
{
    struct rte_mempool *mp = side->aux;
    struct rte_mbuf *pkts[BURST];
    int v = get_vid();

    for (unsigned int i = 0; i < side->guest->n_bursts; i++) {
        uint64_t t0, t1, t2, t3;
        unsigned int n;

        t0 = tsc();
        n = rte_vhost_dequeue_burst(v, TXQ, mp, pkts, BURST);
        t1 = tsc();
        rte_vhost_enqueue_burst(v, RXQ, pkts, n);
        t2 = tsc();
        free_packets(pkts, n);
        t3 = tsc();
        sample_burst(s, t0, t1, t3 - tsc_cost);
        s->cycles[PART_FREE] += tsc_span(t2, t3);
        s->freed += n;
    }
}

static void
stock_check(struct side *side)
{
    const struct guest *g = side->guest;

    for (unsigned int i = 0; i < g->n_bursts; i++) {
        struct rte_mbuf *pkts[BURST];

        FE_CHECK_EQ(rte_vhost_dequeue_burst(get_vid(), TXQ, side->aux, pkts,
                                            BURST), BURST);
        for (unsigned int k = 0; k < BURST; k++) {
            FE_CHECK_EQ(pkts[k]->nb_segs, 1);
            FE_CHECK_EQ(rte_pktmbuf_pkt_len(pkts[k]), g->c->size);
            FE_CHECK(!memcmp(rte_pktmbuf_mtod(pkts[k], void *),
                             guest_tx_frame(g, i * BURST + k), g->c->size));
        }
        FE_CHECK_EQ(rte_vhost_enqueue_burst(get_vid(), RXQ, pkts, BURST),
                    BURST);
        free_packets(pkts, BURST);
    }
}

const struct side stock_side = {
    .name = "stock",
    .fills = true,
    .open = stock_open,
    .ready = stock_ready,
    .close = stock_close,
    .batch = stock_batch,
    .check = stock_check,
};
