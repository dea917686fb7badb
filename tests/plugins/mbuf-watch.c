/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A plugin for tests that tells whether packets stay where they are between a
 * vhost port and a NIC of DPDK's.
 *
 * Frames of UDP over IPv4 with a number in the first four bytes of their
 * payload are looked at in four places: as the port's class has received them
 * and as it is to send them, and, by callbacks of ethdev, as the NIC's driver
 * has received them and as it is to send them.
 *
 *     test-mbufs/watch PORT ETHDEV    begins, with counts of 0
 *     test-mbufs/show                 counts, for both directions
 */

#include <config.h>
#include "ovs-vhost-config.h"

#ifdef DPDK_NETDEV
#include <rte_ethdev.h>
#endif

#include "dp-packet.h"
#include "netdev-plugin.h"
#include "netdev-provider.h"
#include "openvswitch/dynamic-string.h"
#include "unaligned.h"
#include "unixctl.h"

#ifdef DPDK_NETDEV
enum place { GUEST_IN, GUEST_OUT, NIC_IN, NIC_OUT, N_PLACES };

#define MAX_FRAMES 1024
#define NUMBER_OFS (14 + 20 + 8)

/* Where the first byte of a frame was, by place and number. */
static uintptr_t found[N_PLACES][MAX_FRAMES];

static struct netdev_class watched_class;
static const struct netdev_class *original;

static void
look(enum place place, const uint8_t *data, size_t len)
{
    uint32_t number;

    if (len < NUMBER_OFS + 4 || data[12] != 8 || data[13] || data[23] != 17) {
        return;
    }
    number = ntohl(get_unaligned_be32((const ovs_be32 *) (data + NUMBER_OFS)));
    if (number < MAX_FRAMES) {
        __atomic_store_n(&found[place][number], (uintptr_t) data,
                         __ATOMIC_RELAXED);
    }
}

static void
look_at_batch(enum place place, const struct dp_packet_batch *batch)
{
    struct dp_packet *packet;

    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        look(place, dp_packet_data(packet), dp_packet_size(packet));
    }
}

static void
look_at_mbufs(enum place place, struct rte_mbuf *pkts[], uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        look(place, rte_pktmbuf_mtod(pkts[i], const uint8_t *),
             rte_pktmbuf_data_len(pkts[i]));
    }
}

static int
watched_recv(struct netdev_rxq *rxq, struct dp_packet_batch *batch, int *qfill)
{
    int error = original->rxq_recv(rxq, batch, qfill);

    if (!error) {
        look_at_batch(GUEST_IN, batch);
    }
    return error;
}

static int
watched_send(struct netdev *netdev, int qid, struct dp_packet_batch *batch,
             bool concurrent)
{
    look_at_batch(GUEST_OUT, batch);
    return original->send(netdev, qid, batch, concurrent);
}

static uint16_t
nic_received(uint16_t port OVS_UNUSED, uint16_t queue OVS_UNUSED,
             struct rte_mbuf *pkts[], uint16_t n, uint16_t max OVS_UNUSED,
             void *aux OVS_UNUSED)
{
    look_at_mbufs(NIC_IN, pkts, n);
    return n;
}

static uint16_t
nic_sends(uint16_t port OVS_UNUSED, uint16_t queue OVS_UNUSED,
          struct rte_mbuf *pkts[], uint16_t n, void *aux OVS_UNUSED)
{
    look_at_mbufs(NIC_OUT, pkts, n);
    return n;
}

static const char *
watch_nic(const char *name)
{
    struct rte_eth_dev_info info;
    uint16_t port;

    if (rte_eth_dev_get_port_by_name(name, &port)
        || rte_eth_dev_info_get(port, &info)) {
        return "no such ethdev";
    }
    for (uint16_t i = 0; i < info.nb_rx_queues; i++) {
        if (!rte_eth_add_rx_callback(port, i, nic_received, NULL)) {
            return "no receive callback";
        }
    }
    for (uint16_t i = 0; i < info.nb_tx_queues; i++) {
        if (!rte_eth_add_tx_callback(port, i, nic_sends, NULL)) {
            return "no send callback";
        }
    }
    return NULL;
}

/* The class of 'port' stays as it is: only this port gets another one. */
static const char *
watch_port(const char *port)
{
    struct netdev *netdev = netdev_from_name(port);

    if (!netdev) {
        return "no such port";
    }
    original = netdev->netdev_class;
    watched_class = *original;
    watched_class.rxq_recv = watched_recv;
    watched_class.send = watched_send;
    netdev->netdev_class = &watched_class;
    netdev_close(netdev);
    return NULL;
}

static void
watch(struct unixctl_conn *conn, int argc OVS_UNUSED, const char *argv[],
      void *aux OVS_UNUSED)
{
    const char *error = NULL;

    memset(found, 0, sizeof found);
    if (!original) {
        error = watch_nic(argv[2]);
        error = error ? error : watch_port(argv[1]);
    }
    if (error) {
        unixctl_command_reply_error(conn, error);
    } else {
        unixctl_command_reply(conn, NULL);
    }
}

static void
compare(struct ds *ds, const char *title, enum place from, enum place to)
{
    unsigned int n_both = 0, n_same = 0;

    for (unsigned int i = 0; i < MAX_FRAMES; i++) {
        if (found[from][i] && found[to][i]) {
            n_both++;
            n_same += found[from][i] == found[to][i];
        }
    }
    ds_put_format(ds, "%s: %u frames, %u of them in the same place\n", title,
                  n_both, n_same);
}

static void
show(struct unixctl_conn *conn, int argc OVS_UNUSED,
     const char *argv[] OVS_UNUSED, void *aux OVS_UNUSED)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    compare(&ds, "guest to NIC", GUEST_IN, NIC_OUT);
    compare(&ds, "NIC to guest", NIC_IN, GUEST_OUT);
    unixctl_command_reply(conn, ds_cstr(&ds));
    ds_destroy(&ds);
}

#endif /* DPDK_NETDEV */

static int
init(void)
{
#ifdef DPDK_NETDEV
    unixctl_command_register("test-mbufs/watch", "port ethdev", 2, 2, watch,
                             NULL);
    unixctl_command_register("test-mbufs/show", "", 0, 0, show, NULL);
#endif
    return 0;
}

NETDEV_PLUGIN_DEFINE("mbuf-watch", init, NULL);
