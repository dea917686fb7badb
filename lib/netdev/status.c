/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The Interface's status column: names and values for programs, the stock
 * ports' where those have them.  What a person reads is in unixctl.c.
 */

#include <config.h>

#include "private.h"

#include <inttypes.h>

#include "smap.h"

/* What keeps the port of 'info' from being ready, in words, or NULL. */
const char *
netdev_vhost_error(const struct vhost_port_info *info)
{
    if (info->error[0]) {
        return info->error;
    }
    return (info->state == VHOST_S_IDLE
            ? "options:vhost-server-path is not set" : NULL);
}

/* Postcopy, if the port offers it.  Programs take the first word; people shall
 * see what it means. */
static void
add_postcopy(const struct vhost_port_info *info, struct smap *args)
{
    static const char *const states[] = {
        [VHOST_POSTCOPY_NONE] = "offered",
        [VHOST_POSTCOPY_ADVISED] = "prepared",
        [VHOST_POSTCOPY_RUNNING] = "running",
    };
    const char *obstacle = vhost_postcopy_obstacle();

    if (!((info->offer.protocol_features | info->protocol_features)
          >> VHOST_PROTOCOL_F_PAGEFAULT & 1)) {
        return;
    }
    if (info->postcopy == VHOST_POSTCOPY_NONE && obstacle) {
        smap_add_format(args, "postcopy", "unavailable: %s", obstacle);
    } else {
        smap_add_format(args, "postcopy", "%s; the front end is trusted with "
                        "this process's memory", states[info->postcopy]);
    }
    if (info->n_postcopy_pages) {
        smap_add_format(args, "postcopy_pages", "%"PRIu64,
                        info->n_postcopy_pages);
    }
    if (info->postcopy_wait_ms) {
        smap_add_format(args, "postcopy_wait_ms", "%"PRId64,
                        info->postcopy_wait_ms);
    }
}

/* "status" means what it means for the stock ports: "connected" once the guest
 * has rings to send to.  "state" is finer. */
static void
add_status(const struct netdev_vhost *dev, const struct vhost_port_info *info,
           struct smap *args)
{
    const char *error = netdev_vhost_error(info);

    smap_add(args, "status", (info->state == VHOST_S_READY
                              ? "connected" : "disconnected"));
    smap_add(args, "state", vhost_state_to_string(info->state));
    if (info->path[0]) {
        smap_add(args, "socket", info->path);
    }
    if (error) {
        smap_add(args, "error", error);
    }
    if (info->offer_pending) {
        smap_add(args, "options_pending", "true");
    }
    add_postcopy(info, args);
    if (dev->pool) {
        smap_add(args, "packets", dev->pool->heap ? "heap" : "dpdk");
    }
    if (dev->pool_error) {
        smap_add(args, "pool_error", dev->pool_error);
    }
    if (info->state != VHOST_S_READY) {
        return;
    }

    smap_add_format(args, "features", "0x%016"PRIx64, info->features);
    if (info->mtu) {
        smap_add_format(args, "mtu", "%d", info->mtu);
    }
    if (info->numa >= 0) {
        smap_add_format(args, "numa", "%d", info->numa);
    }
    if (info->record[0]) {
        smap_add(args, "crash_record", info->record);
    } else if (info->record_error[0]) {
        smap_add(args, "crash_record_error", info->record_error);
    }
    smap_add_format(args, "n_rxq", "%d", dev->up.n_rxq);
    smap_add_format(args, "n_txq", "%d", dev->up.n_txq);
    smap_add_format(args, "num_of_vrings", "%u", info->n_vrings);
    for (unsigned int i = 0; i < info->n_vrings; i++) {
        struct vhost_vring_info vring;

        if (vhost_port_get_vring(dev->port, i, &vring)) {
            smap_add_nocopy(args, xasprintf("vring_%u_size", i),
                            xasprintf("%"PRIu32, vring.size));
        }
    }
}

/* Adds the status of 'dev' to 'args'.  The caller holds dev->mutex. */
void
netdev_vhost_add_status(const struct netdev_vhost *dev, struct smap *args)
{
    struct vhost_port_info info;

    smap_add(args, "mode", dev->role == VHOST_CLIENT ? "client" : "server");
    if (dev->config_error) {
        smap_add(args, "config_error", dev->config_error);
    }
    if (dev->ignored) {
        smap_add(args, "ignored_options", dev->ignored);
    }
    if (dev->qos_error) {
        smap_add(args, "qos_error", dev->qos_error);
    }
    netdev_vhost_warnings_to_status(&dev->warnings, args);
    if (dev->port) {
        vhost_port_get_info(dev->port, &info);
        add_status(dev, &info, args);
    } else {
        smap_add(args, "status", "disconnected");
    }
}

int
netdev_vhost_get_status(const struct netdev *netdev, struct smap *args)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    netdev_vhost_add_status(dev, args);
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}
