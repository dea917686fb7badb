/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * "ovs-appctl vhost/show --json": what the text in unixctl.c says of a port,
 * for programs that want more than the database has.  Numbers that are masks
 * or addresses are strings, since JSON's numbers have only 53 bits in many a
 * program.
 */

#include <config.h>

#include "private.h"

#include <inttypes.h>

#include "openvswitch/json.h"
#include "smap.h"

/* As in the text. */
#define MAX_SHOWN_REGIONS 64

static void
put_number(struct json *json, const char *name, long long int value)
{
    json_object_put(json, name, json_integer_create(value));
}

static void
put_bool(struct json *json, const char *name, bool value)
{
    json_object_put(json, name, json_boolean_create(value));
}

/* 'numa' below 0 is not known. */
static void
put_numa(struct json *json, int numa)
{
    json_object_put(json, "numa", (numa >= 0 ? json_integer_create(numa)
                                   : json_null_create()));
}

static struct json *
names_to_json(uint64_t bits, const char *(*name)(unsigned int))
{
    struct json *array = json_array_create_empty();

    for (unsigned int i = 0; i < 64; i++) {
        if (bits & (UINT64_C(1) << i)) {
            const char *s = name(i);

            json_array_add(array, (s ? json_string_create(s)
                                   : json_string_create_nocopy(
                                       xasprintf("bit-%u", i))));
        }
    }
    return array;
}

static struct json *
status_to_json(const struct netdev_vhost *dev)
{
    struct smap status = SMAP_INITIALIZER(&status);
    struct json *json;

    netdev_vhost_add_status(dev, &status);
    json = smap_to_json(&status);
    smap_destroy(&status);
    return json;
}

static void
put_features(struct json *json, const struct vhost_port_info *info)
{
    struct json *offered = json_object_create();
    struct json *negotiated;

    json_object_put_format(offered, "features", "0x%016"PRIx64,
                           info->offer.features);
    json_object_put_format(offered, "protocol_features", "0x%"PRIx64,
                           info->offer.protocol_features);
    put_number(offered, "queue_pairs", info->offer.queue_pairs);
    put_bool(offered, "pending", info->offer_pending);
    json_object_put(json, "offered", offered);
    if (info->state < VHOST_S_CONNECTED) {
        return;
    }

    negotiated = json_object_create();
    json_object_put_format(negotiated, "features", "0x%016"PRIx64,
                           info->features);
    json_object_put(negotiated, "feature_names",
                    names_to_json(info->features, vhost_feature_name));
    json_object_put_format(negotiated, "protocol_features", "0x%"PRIx64,
                           info->protocol_features);
    json_object_put(negotiated, "protocol_feature_names",
                    names_to_json(info->protocol_features,
                                  vhost_protocol_feature_name));
    json_object_put(json, "negotiated", negotiated);
}

static struct json *
memory_to_json(const struct netdev_vhost *dev,
               const struct vhost_port_info *info)
{
    struct vhost_region_info regions[MAX_SHOWN_REGIONS];
    unsigned int n = vhost_port_get_regions(dev->port, regions,
                                            ARRAY_SIZE(regions));
    struct json *array = json_array_create_empty();
    struct json *json = json_object_create();

    for (unsigned int i = 0; i < n && i < ARRAY_SIZE(regions); i++) {
        struct json *region = json_object_create();

        json_object_put_format(region, "guest_address", "0x%"PRIx64,
                               regions[i].guest_addr);
        put_number(region, "size", regions[i].size);
        put_number(region, "page_size", regions[i].page_size);
        put_numa(region, regions[i].numa);
        json_array_add(array, region);
    }
    put_number(json, "n_regions", n);
    json_object_put(json, "regions", array);
    put_numa(json, info->numa);
    return json;
}

struct json *
netdev_vhost_pool_to_json(const struct packet_pool *pool)
{
    struct json *json = json_object_create();
    struct packet_pool_info info;

    packet_pool_get_info(pool, &info);
    put_number(json, "max_frame", info.max_frame);
    put_bool(json, "heap", info.heap);
    if (!info.heap) {
        put_numa(json, info.numa);
        put_number(json, "packets", info.n_packets);
        put_number(json, "slabs", info.n_slabs);
        put_number(json, "free", info.n_free);
        put_number(json, "ports", info.n_ports);
        put_number(json, "bytes", info.bytes);
    }
    return json;
}

void
netdev_vhost_put_pools(struct json *json, const struct netdev_vhost *dev)
{
    if (dev->pool) {
        json_object_put(json, "packets",
                        netdev_vhost_pool_to_json(dev->pool));
    }
    if (dev->big_pool) {
        json_object_put(json, "tso_packets",
                        netdev_vhost_pool_to_json(dev->big_pool));
    }
}

static struct json *
queues_to_json(const struct netdev_vhost *dev,
               const struct vhost_port_info *info)
{
    struct json *json = json_object_create();

    put_number(json, "received_from", dev->up.n_rxq);
    put_number(json, "sender_slots", dev->up.n_txq);
    put_number(json, "enabled_pairs", info->n_enabled_pairs);
    return json;
}

static struct json *
ring_to_json(unsigned int idx, const struct vhost_vring_info *r)
{
    struct json *json = json_object_create();

    put_number(json, "ring", idx);
    json_object_put_string(json, "guest", idx & 1 ? "sends" : "receives");
    put_number(json, "entries", r->size);
    put_bool(json, "packed", r->packed);
    put_bool(json, "started", r->started);
    put_bool(json, "enabled", r->enabled);
    put_bool(json, "broken", r->broken);
    put_bool(json, "call_descriptor", r->has_call);
    put_number(json, "avail", r->avail_idx);
    put_number(json, "used", r->used_idx);
    if (idx & 1) {
        put_number(json, "backlog", r->backlog);
    }
    return json;
}

static struct json *
rings_to_json(const struct netdev_vhost *dev,
              const struct vhost_port_info *info)
{
    struct json *array = json_array_create_empty();

    for (unsigned int i = 0; i < info->n_vrings; i++) {
        struct vhost_vring_info ring;

        if (vhost_port_get_vring(dev->port, i, &ring)) {
            json_array_add(array, ring_to_json(i, &ring));
        }
    }
    return array;
}

/* Returns what is known of 'dev', an object for the caller to destroy.  The
 * caller holds dev->mutex. */
struct json *
netdev_vhost_to_json(const struct netdev_vhost *dev)
{
    struct json *json = json_object_create();
    struct vhost_port_info info;

    json_object_put_string(json, "name", dev->up.name);
    json_object_put_string(json, "type", netdev_get_type(&dev->up));
    json_object_put(json, "status", status_to_json(dev));
    json_object_put(json, "warnings",
                    netdev_vhost_warnings_to_json(&dev->warnings));
    json_object_put_string(json, "admin_state",
                           dev->flags & NETDEV_UP ? "up" : "down");
    json_object_put(json, "counters", netdev_vhost_counters(dev));
    put_number(json, "mtu", dev->mtu);
    put_bool(json, "configured", dev->port != NULL);
    if (!dev->port) {
        return json;
    }
    vhost_port_get_info(dev->port, &info);
    if (info.peer_pid) {
        put_number(json, "front_end_pid", info.peer_pid);
    }
    if (info.mtu) {
        put_number(json, "guest_mtu", info.mtu);
    }
    put_features(json, &info);
    json_object_put(json, "memory", memory_to_json(dev, &info));
    netdev_vhost_put_pools(json, dev);
    json_object_put(json, "queues", queues_to_json(dev, &info));
    json_object_put(json, "rings", rings_to_json(dev, &info));
    return json;
}
