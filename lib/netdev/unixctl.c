/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The commands of ovs-appctl that look at ports, and the text of "vhost/show":
 * everything that is known of a port, for a person to read.  What programs
 * read is in show-json.c and counters.c.
 */

#include <config.h>

#include "commands.h"
#include "private.h"

#include <inttypes.h>
#include <string.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "qos.h"
#include "timeval.h"
#include "unixctl.h"

/* More regions than this are not listed. */
#define MAX_SHOWN_REGIONS 64

static void
show_bits(struct ds *ds, uint64_t bits, const char *(*name)(unsigned int))
{
    if (!bits) {
        ds_put_cstr(ds, " none");
    }
    for (unsigned int i = 0; i < 64; i++) {
        if (bits & (UINT64_C(1) << i)) {
            const char *s = name(i);

            if (s) {
                ds_put_format(ds, " %s", s);
            } else {
                ds_put_format(ds, " bit-%u", i);
            }
        }
    }
    ds_put_char(ds, '\n');
}

static void
show_connection(struct ds *ds, const struct netdev_vhost *dev,
                const struct vhost_port_info *info)
{
    const char *error = netdev_vhost_error(info);

    ds_put_format(ds, "    socket: %s (%s)\n",
                  info->path[0] ? info->path : "none",
                  dev->role == VHOST_CLIENT
                  ? "client: the front end listens"
                  : "server: the front end connects");
    ds_put_format(ds, "    state: %s%s\n", vhost_state_to_string(info->state),
                  dev->flags & NETDEV_UP ? "" : ", administratively down");
    if (error) {
        ds_put_format(ds, "    error: %s\n", error);
    }
    if (dev->config_error) {
        ds_put_format(ds, "    configuration: %s\n", dev->config_error);
    }
    netdev_vhost_warnings_format(&dev->warnings, ds);
    if (info->peer_pid) {
        ds_put_format(ds, "    front end: process %ld\n",
                      (long int) info->peer_pid);
    }
    ds_put_format(ds, "    connections: %"PRIu64" made, %"PRIu64" lost, "
                  "%"PRIu64" link changes, %"PRIu64" messages, "
                  "%"PRIu64" protocol errors, %"PRIu64" ring stops\n",
                  info->n_connects, info->n_disconnects, info->n_link_changes,
                  info->n_messages, info->n_protocol_errors, info->n_stops);
}

static void
show_features(struct ds *ds, const struct netdev_vhost *dev,
              const struct vhost_port_info *info)
{
    ds_put_format(ds, "    features offered: 0x%016"PRIx64"\n",
                  info->offer.features);
    ds_put_format(ds, "    protocol offered: 0x%"PRIx64", up to %u queue "
                  "pairs%s\n", info->offer.protocol_features,
                  info->offer.queue_pairs,
                  info->offer_pending ? "; both when the front end connects "
                  "again" : "");
    if (info->state < VHOST_S_CONNECTED) {
        return;
    }
    ds_put_format(ds, "    features: 0x%016"PRIx64":", info->features);
    show_bits(ds, info->features, vhost_feature_name);
    ds_put_format(ds, "    protocol features: 0x%"PRIx64":",
                  info->protocol_features);
    show_bits(ds, info->protocol_features, vhost_protocol_feature_name);
    if (info->mtu) {
        ds_put_format(ds, "    MTU: %d (guest was told %u)\n", dev->mtu,
                      info->mtu);
    } else {
        ds_put_format(ds, "    MTU: %d\n", dev->mtu);
    }
}

static void
show_memory(struct ds *ds, const struct netdev_vhost *dev,
            const struct vhost_port_info *info)
{
    struct vhost_region_info regions[MAX_SHOWN_REGIONS];
    unsigned int n = vhost_port_get_regions(dev->port, regions,
                                            ARRAY_SIZE(regions));

    ds_put_format(ds, "    memory: %u region%s", n, n == 1 ? "" : "s");
    if (info->numa >= 0) {
        ds_put_format(ds, ", NUMA node %d", info->numa);
    }
    ds_put_char(ds, '\n');
    for (unsigned int i = 0; i < n && i < ARRAY_SIZE(regions); i++) {
        const struct vhost_region_info *r = &regions[i];

        ds_put_format(ds, "        0x%"PRIx64": %"PRIu64" MiB in pages of "
                      "%"PRIu64" KiB\n", r->guest_addr, r->size >> 20,
                      r->page_size >> 10);
    }
    ds_put_cstr(ds, "    packets: ");
    if (dev->pool) {
        packet_pool_format(dev->pool, ds);
    } else {
        ds_put_cstr(ds, "no memory for them");
    }
    ds_put_char(ds, '\n');
    if (dev->big_pool) {
        ds_put_cstr(ds, "    TSO packets: ");
        packet_pool_format(dev->big_pool, ds);
        ds_put_char(ds, '\n');
    }
}

static void
show_iommu(struct ds *ds, const struct netdev_vhost *dev)
{
    struct vhost_iommu_info info;

    if (vhost_port_get_iommu(dev->port, &info)) {
        ds_put_format(ds, "    vIOMMU: %u translations, %"PRIu64" asked for, "
                      "%"PRIu64" told, %"PRIu64" invalidations\n",
                      info.n_entries, info.n_asked, info.n_updates,
                      info.n_invalidations);
    }
}

static void
show_nonzero(struct ds *ds, const char *prefix, const char *const names[],
             const uint64_t values[], unsigned int n)
{
    const char *sep = prefix;

    for (unsigned int i = 0; i < n; i++) {
        if (values[i]) {
            ds_put_format(ds, "%s%s %"PRIu64, sep, names[i], values[i]);
            sep = ", ";
        }
    }
    if (sep != prefix) {
        ds_put_char(ds, '\n');
    }
}

/* The packets of vring 'idx', and what became of those that were none. */
static void
show_ring_packets(struct ds *ds, const struct netdev_vhost *dev,
                  unsigned int idx)
{
    struct pkt_counters tx = { .packets = 0 };
    const struct rx_counters *rx;
    uint64_t events[RX_N_EVENTS];

    if (!(idx & 1)) {
        netdev_vhost_sum_tx_pair(dev, idx / 2, &tx);
        ds_put_format(ds, "        sent %"PRIu64" packets, "
                      "%"PRIu64" bytes\n", tx.packets, tx.bytes);
        return;
    }

    rx = idx / 2 < ARRAY_SIZE(dev->rx) ? dev->rx[idx / 2] : NULL;
    if (!rx) {
        return;
    }
    ds_put_format(ds, "        received %"PRIu64" packets, "
                  "%"PRIu64" bytes\n", counter_get(&rx->pkts.packets),
                  counter_get(&rx->pkts.bytes));
    for (int i = 0; i < RX_N_EVENTS; i++) {
        events[i] = counter_get(&rx->events[i]);
    }
    show_nonzero(ds, "        ", rx_event_names, events, RX_N_EVENTS);
}

static void
show_ring(struct ds *ds, const struct netdev_vhost *dev, unsigned int idx)
{
    const char *names[VHOST_N_COUNTERS];
    struct vhost_vring_info r;

    if (!vhost_port_get_vring(dev->port, idx, &r)) {
        return;
    }
    ds_put_format(ds, "    ring %u (guest %s): %"PRIu32" entries%s, %s%s%s%s, "
                  "avail %"PRIu16", used %"PRIu16"\n", idx,
                  idx & 1 ? "sends" : "receives", r.size,
                  r.packed ? ", packed" : "",
                  r.started ? "started" : "stopped",
                  r.enabled ? ", enabled" : ", disabled",
                  r.broken ? ", BROKEN by the guest" : "",
                  r.has_call ? "" : ", no call descriptor",
                  r.avail_idx, r.used_idx);
    show_ring_packets(ds, dev, idx);
    for (int i = 0; i < VHOST_N_COUNTERS; i++) {
        names[i] = vhost_counter_to_string(i);
    }
    show_nonzero(ds, "        ", names, r.counters, VHOST_N_COUNTERS);
}

static void
show_port(struct ds *ds, const struct netdev_vhost *dev)
{
    struct netdev_vhost_totals totals;
    struct vhost_port_info info;

    ds_put_format(ds, "%s: %s\n", dev->up.name, netdev_get_type(&dev->up));
    if (!dev->port) {
        ds_put_cstr(ds, "    not configured\n");
        return;
    }
    vhost_port_get_info(dev->port, &info);
    show_connection(ds, dev, &info);
    show_features(ds, dev, &info);
    show_memory(ds, dev, &info);
    show_iommu(ds, dev);
    netdev_vhost_qos_format(dev, ds);

    if (info.record[0]) {
        ds_put_format(ds, "    crash record: %s\n", info.record);
    } else if (info.record_error[0]) {
        ds_put_format(ds, "    crash record: none that outlives "
                      "ovs-vswitchd (%s)\n", info.record_error);
    }

    netdev_vhost_sum(dev, &totals);
    ds_put_format(ds, "    queues: %d received from, %d sender slots, "
                  "%u pairs enabled\n", dev->up.n_rxq, dev->up.n_txq,
                  info.n_enabled_pairs);
    ds_put_format(ds, "    received %"PRIu64" packets, %"PRIu64" bytes; sent "
                  "%"PRIu64" packets, %"PRIu64" bytes\n",
                  totals.rx.packets, totals.rx.bytes, totals.tx.packets,
                  totals.tx.bytes);
    show_nonzero(ds, "    receiving: ", rx_event_names, totals.rx_events,
                 RX_N_EVENTS);
    show_nonzero(ds, "    sending: ", tx_event_names, totals.tx_events,
                 TX_N_EVENTS);
    for (unsigned int i = 0; i < info.n_vrings; i++) {
        show_ring(ds, dev, i);
    }
}

/* Commands "NAME [--json] [PORT]", but "vhost/reset-stats [PORT]". */

static void
port_cb(struct netdev_vhost *dev, void *aux_)
{
    struct port_command *aux = aux_;

    if (!aux->name || !strcmp(aux->name, dev->up.name)) {
        if (aux->ds.length) {
            ds_put_char(&aux->ds, '\n');
        }
        aux->cb(aux, dev);
        aux->found = true;
    }
}

static void
show_one(struct port_command *aux, struct netdev_vhost *dev)
{
    if (aux->array) {
        json_array_add(aux->array, netdev_vhost_to_json(dev));
    } else {
        show_port(&aux->ds, dev);
    }
}

static void
stats_one(struct port_command *aux, struct netdev_vhost *dev)
{
    struct json *now = netdev_vhost_counters(dev);
    struct json *counters = netdev_vhost_counters_since(now, dev->baseline);
    long long int ms = time_msec() - dev->reset_at;

    json_destroy(now);
    if (aux->array) {
        struct json *json = json_object_create();

        json_object_put_string(json, "name", dev->up.name);
        json_object_put_string(json, "type", netdev_get_type(&dev->up));
        json_object_put(json, "ms_since_reset",
                        (dev->baseline ? json_integer_create(ms)
                         : json_null_create()));
        json_object_put(json, "counters", json_clone(counters));
        json_array_add(aux->array, json);
    } else {
        ds_put_format(&aux->ds, "%s: %s", dev->up.name,
                      netdev_get_type(&dev->up));
        if (dev->baseline) {
            ds_put_format(&aux->ds, ", reset %lld.%03lld s ago", ms / 1000,
                          ms % 1000);
        }
        ds_put_char(&aux->ds, '\n');
        netdev_vhost_counters_format(counters, &aux->ds);
    }
    json_destroy(counters);
}

static void
reset_one(struct port_command *aux OVS_UNUSED, struct netdev_vhost *dev)
{
    json_destroy(dev->baseline);
    dev->baseline = netdev_vhost_counters(dev);
    dev->reset_at = time_msec();
}

void
netdev_vhost_for_ports(struct unixctl_conn *conn, int argc,
                       const char *argv[], struct port_command *cmd)
{
    if (argc > 1 && !strcmp(argv[1], "--json") && !cmd->no_json) {
        cmd->array = json_array_create_empty();
        argc--;
        argv++;
    }
    cmd->name = argc > 1 ? argv[1] : NULL;
    ds_init(&cmd->ds);
    if (argc <= 2) {
        netdev_vhost_foreach(port_cb, cmd);
        if (cmd->end) {
            cmd->end(cmd);
        }
    }
    if (argc > 2) {
        unixctl_command_reply_error(conn, "--json comes before the port");
    } else if (cmd->name && !cmd->found) {
        ds_put_format(&cmd->ds, "%s is not a %s port", cmd->name,
                      netdev_vhost_types());
        unixctl_command_reply_error(conn, ds_cstr(&cmd->ds));
    } else {
        if (cmd->array) {
            json_to_ds(cmd->array, JSSF_SORT, &cmd->ds);
        }
        unixctl_command_reply(conn, ds_cstr(&cmd->ds));
    }
    json_destroy(cmd->array);
    ds_destroy(&cmd->ds);
}

static void
vhost_show(struct unixctl_conn *conn, int argc, const char *argv[],
           void *data OVS_UNUSED)
{
    struct port_command aux = { .cb = show_one };

    netdev_vhost_for_ports(conn, argc, argv, &aux);
}

static void
vhost_stats(struct unixctl_conn *conn, int argc, const char *argv[],
            void *data OVS_UNUSED)
{
    struct port_command aux = { .cb = stats_one };

    netdev_vhost_for_ports(conn, argc, argv, &aux);
}

static void
vhost_reset_stats(struct unixctl_conn *conn, int argc, const char *argv[],
                  void *data OVS_UNUSED)
{
    struct port_command aux = { .cb = reset_one, .no_json = true };

    netdev_vhost_for_ports(conn, argc, argv, &aux);
}

void
netdev_vhost_unixctl_register(void)
{
    unixctl_command_register("vhost/show", "[--json] [port]", 0, 2,
                             vhost_show, NULL);
    unixctl_command_register("vhost/stats", "[--json] [port]", 0, 2,
                             vhost_stats, NULL);
    unixctl_command_register("vhost/reset-stats", "[port]", 0, 1,
                             vhost_reset_stats, NULL);
    netdev_vhost_memory_register();
    netdev_vhost_log_register();
    netdev_vhost_capture_register();
}
