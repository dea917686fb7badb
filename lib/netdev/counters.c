/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * All counters of a port as one JSON object, per queue, sender and ring, for
 * "vhost/stats" and "vhost/show --json".  Since it is JSON, the difference to
 * an earlier one and the text are made without a list of the counters.  Parts
 * that have a number are members whose names are that number.
 *
 * A reset is such an earlier object that is kept: the counters themselves are
 * never reset, because those in the database may only grow.
 */

#include <config.h>

#include "private.h"

#include <inttypes.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/shash.h"

static void
put(struct json *json, const char *name, uint64_t value)
{
    json_object_put(json, name, json_integer_create(value));
}

static void
put_part(struct json *json, unsigned int i, struct json *part)
{
    json_object_put_nocopy(json, xasprintf("%u", i), part);
}

static void
put_events(struct json *json, const char *const names[],
           const uint64_t values[], unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        put(json, names[i], counter_get(&values[i]));
    }
}

static struct json *
pkts_to_json(const struct pkt_counters *c)
{
    struct json *json = json_object_create();

    put(json, "packets", counter_get(&c->packets));
    put(json, "bytes", counter_get(&c->bytes));
    put(json, "multicast_packets", counter_get(&c->multicast));
    put(json, "broadcast_packets", counter_get(&c->broadcast));
    put_events(json, pkt_size_names, c->sizes, N_SIZES);
    return json;
}

static struct json *
rx_queues_to_json(const struct netdev_vhost *dev)
{
    struct json *json = json_object_create();
    unsigned int n = MIN((unsigned int) MAX(dev->up.n_rxq, 0),
                         ARRAY_SIZE(dev->rx));

    for (unsigned int q = 0; q < n; q++) {
        static const struct rx_counters none;
        const struct rx_counters *c = dev->rx[q] ? dev->rx[q] : &none;
        struct json *queue = pkts_to_json(&c->pkts);

        put_events(queue, rx_event_names, c->events, RX_N_EVENTS);
        put_part(json, q, queue);
    }
    return json;
}

static struct json *
tx_queues_to_json(const struct netdev_vhost *dev)
{
    struct json *json = json_object_create();

    for (int q = 0; q < dev->up.n_rxq; q++) {
        struct pkt_counters sum = { .packets = 0 };

        netdev_vhost_sum_tx_pair(dev, q, &sum);
        put_part(json, q, pkts_to_json(&sum));
    }
    return json;
}

/* What each sending thread did, in slots that may be another thread's after a
 * reconfiguration. */
static struct json *
senders_to_json(const struct netdev_vhost *dev)
{
    struct json *json = json_object_create();

    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        const struct tx_slot *slot = dev->slots[i];
        struct json *sender = json_object_create();
        uint64_t packets = 0, bytes = 0;

        for (unsigned int q = 0; q < slot->n_pairs; q++) {
            packets += counter_get(&slot->pairs[q].packets);
            bytes += counter_get(&slot->pairs[q].bytes);
        }
        put(sender, "packets", packets);
        put(sender, "bytes", bytes);
        put_events(sender, tx_event_names, slot->events, TX_N_EVENTS);
        put_part(json, i, sender);
    }
    return json;
}

static struct json *
rings_to_json(const struct netdev_vhost *dev, unsigned int n)
{
    struct json *json = json_object_create();

    for (unsigned int v = 0; v < n; v++) {
        struct vhost_vring_info info;

        if (vhost_port_get_vring(dev->port, v, &info)) {
            struct json *ring = json_object_create();

            for (int i = 0; i < VHOST_N_COUNTERS; i++) {
                put(ring, vhost_counter_to_string(i), info.counters[i]);
            }
            put_part(json, v, ring);
        }
    }
    return json;
}

static struct json *
connections_to_json(const struct vhost_port_info *info)
{
    struct json *json = json_object_create();

    put(json, "made", info->n_connects);
    put(json, "lost", info->n_disconnects);
    put(json, "link_changes", info->n_link_changes);
    put(json, "messages", info->n_messages);
    put(json, "protocol_errors", info->n_protocol_errors);
    put(json, "ring_stops", info->n_stops);
    return json;
}

static void
put_totals(struct json *json, const struct netdev_vhost *dev)
{
    struct netdev_vhost_totals t;
    uint64_t from[VHOST_N_COUNTERS];
    struct json *rx, *tx;

    netdev_vhost_sum(dev, &t);
    netdev_vhost_sum_rings(dev, 1, from);

    rx = pkts_to_json(&t.rx);
    put(rx, "dropped", netdev_vhost_rx_dropped(&t, from));
    put_events(rx, rx_event_names, t.rx_events, RX_N_EVENTS);
    json_object_put(json, "rx", rx);

    tx = pkts_to_json(&t.tx);
    put(tx, "dropped", netdev_vhost_tx_dropped(&t));
    put_events(tx, tx_event_names, t.tx_events, TX_N_EVENTS);
    json_object_put(json, "tx", tx);
}

/* Returns all counters of 'dev', an object for the caller to destroy.  The
 * caller holds dev->mutex. */
struct json *
netdev_vhost_counters(const struct netdev_vhost *dev)
{
    struct json *json = json_object_create();

    put_totals(json, dev);
    json_object_put(json, "rx_queues", rx_queues_to_json(dev));
    json_object_put(json, "tx_queues", tx_queues_to_json(dev));
    json_object_put(json, "senders", senders_to_json(dev));
    if (dev->port) {
        struct vhost_port_info info;

        vhost_port_get_info(dev->port, &info);
        json_object_put(json, "connections", connections_to_json(&info));
        json_object_put(json, "rings", rings_to_json(dev, info.n_vrings));
    }
    return json;
}

/* Returns a copy of 'now' with all integers in it less those of 'then', which
 * may have fewer parts, or be NULL. */
struct json *
netdev_vhost_counters_since(const struct json *now, const struct json *then)
{
    struct shash_node *node;
    struct json *json;

    if (!then || then->type != now->type) {
        return json_deep_clone(now);
    } else if (now->type != JSON_OBJECT) {
        return json_integer_create(now->integer - then->integer);
    }

    json = json_object_create();
    SHASH_FOR_EACH (node, json_object(now)) {
        json_object_put(json, node->name, netdev_vhost_counters_since(
            node->data, shash_find_data(json_object(then), node->name)));
    }
    return json;
}

static void
format_part(const struct json *json, const char *name, struct ds *ds)
{
    if (json->type == JSON_OBJECT) {
        const struct shash_node **nodes = shash_sort(json_object(json));
        size_t n = shash_count(json_object(json));

        for (size_t i = 0; i < n; i++) {
            char *part = xasprintf("%s%s%s", name, name[0] ? "." : "",
                                   nodes[i]->name);

            format_part(nodes[i]->data, part, ds);
            free(part);
        }
        free(nodes);
    } else if (json->integer) {
        ds_put_format(ds, "    %s: %lld\n", name, json->integer);
    }
}

/* Appends the counters of 'json' that are not 0 to 'ds', each in a line, named
 * by its way through the object: "rx_queues.0.packets". */
void
netdev_vhost_counters_format(const struct json *json, struct ds *ds)
{
    format_part(json, "", ds);
}
