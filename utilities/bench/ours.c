/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench's first side: a netdev of type vhostuserclient, used as the
 * datapath does, by nothing but OVS's own functions for netdevs.  So its
 * figures include all that a packet costs in the netdev: allocation, the
 * packet's fields, offloads, statistics, bulk free. */

#include <config.h>

#include "bench/bench.h"

#include <rte_mbuf.h>

#include "dp-packet.h"
#include "guest/fail.h"
#include "netdev.h"
#include "ovs-rcu.h"
#include "smap.h"
#include "util.h"

#define READY_MS 5000
#define MTU_OVERHEAD 18         /* Ethernet header and FCS. */

static struct rte_mempool *mempool;     /* See ours_mempool(). */

struct ours {
    struct netdev *netdev;
    struct netdev_rxq *rxq;
};

static void
must(int error, const char *what)
{
    if (error) {
        ovs_fatal(error, "%s", what);
    }
}

static void
ours_open(struct side *side)
{
    static unsigned int n_opened;
    struct smap config = SMAP_INITIALIZER(&config);
    unsigned int size = side->guest->c->size;
    struct ours *o = xzalloc(sizeof *o);
    char *name = xasprintf("ours%u", n_opened++);
    char *error = NULL;

    smap_add(&config, "vhost-server-path", side->guest->path);
    must(netdev_open(name, "vhostuserclient", &o->netdev), "netdev_open");
    must(netdev_set_config(o->netdev, &config, &error), "netdev_set_config");
    if (size > 1500 + MTU_OVERHEAD) {
        must(netdev_set_mtu(o->netdev, size - MTU_OVERHEAD), "netdev_set_mtu");
    }
    must(netdev_set_tx_multiq(o->netdev, 1), "netdev_set_tx_multiq");
    must(netdev_reconfigure(o->netdev), "netdev_reconfigure");
    must(netdev_rxq_open(o->netdev, &o->rxq, 0), "netdev_rxq_open");
    smap_destroy(&config);
    free(name);
    side->aux = o;
}

static void
ours_ready(struct side *side)
{
    struct ours *o = side->aux;
    long long int end = fe_now_us() + READY_MS * 1000LL;

    while (!netdev_get_carrier(o->netdev)
           || !netdev_rxq_enabled(o->rxq)) {
        FE_CHECK_LT(fe_now_us(), end);
        ovsrcu_quiesce();
        fe_sleep_us(200);
    }
}

static void
ours_close(struct side *side)
{
    struct ours *o = side->aux;

    netdev_rxq_close(o->rxq);
    netdev_close(o->netdev);
    free(o);
}

struct rte_mempool *
ours_mempool(void)
{
    return mempool;
}

static inline void
receive(struct ours *o, struct dp_packet_batch *batch)
{
    dp_packet_batch_init(batch);
    netdev_rxq_recv(o->rxq, batch, NULL);
}

static void
ours_batch(struct side *side, struct sample *s)
{
    struct ours *o = side->aux;
    struct dp_packet_batch batch;

    for (unsigned int i = 0; i < side->guest->n_bursts; i++) {
        uint64_t t0, t1, t2;

        t0 = tsc();
        receive(o, &batch);
        t1 = tsc();
        netdev_send(o->netdev, 0, &batch, false);
        t2 = tsc();
        sample_burst(s, t0, t1, t2);
    }
}

static void
ours_drop(struct side *side, struct sample *s)
{
    struct ours *o = side->aux;
    struct dp_packet_batch batch;

    for (unsigned int i = 0; i < side->guest->n_bursts; i++) {
        uint64_t t0, t1, t2;

        t0 = tsc();
        receive(o, &batch);
        s->freed += dp_packet_batch_size(&batch);
        t1 = tsc();
        dp_packet_delete_batch(&batch, true);
        t2 = tsc();
        s->cycles[PART_FREE] += tsc_span(t1, t2);
        sample_longest(s, t2 - t0);
    }
}

static void
ours_check(struct side *side)
{
    const struct guest *g = side->guest;
    struct ours *o = side->aux;
    struct dp_packet_batch batch;

    for (unsigned int i = 0; i < g->n_bursts; i++) {
        struct dp_packet *p;

        receive(o, &batch);
        FE_CHECK_EQ(dp_packet_batch_size(&batch), BURST);
        DP_PACKET_BATCH_FOR_EACH (k, p, &batch) {
            FE_CHECK_EQ(dp_packet_size(p), g->c->size);
            FE_CHECK(!memcmp(dp_packet_data(p),
                             guest_tx_frame(g, i * BURST + k), g->c->size));
        }
        mempool = batch.packets[0]->mbuf.pool;
        FE_CHECK_EQ(netdev_send(o->netdev, 0, &batch, false), 0);
    }
}

const struct side ours_side = {
    .name = "ours",
    .fills = true,
    .open = ours_open,
    .ready = ours_ready,
    .close = ours_close,
    .batch = ours_batch,
    .drop = ours_drop,
    .check = ours_check,
};
