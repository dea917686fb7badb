/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What a port says of its link, as a NIC would: whether it is up, how often it
 * went up or down, and how fast it is.
 */

#include <config.h>

#include "private.h"

int
netdev_vhost_get_carrier(const struct netdev *netdev, bool *carrier)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    struct vhost_port_info info;

    ovs_mutex_lock(&dev->mutex);
    *carrier = false;
    if (dev->port) {
        vhost_port_get_info(dev->port, &info);
        *carrier = netdev_vhost_is_running(dev, &info);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

long long int
netdev_vhost_get_carrier_resets(const struct netdev *netdev)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    struct vhost_port_info info;
    long long int n = 0;

    ovs_mutex_lock(&dev->mutex);
    if (dev->port) {
        vhost_port_get_info(dev->port, &info);
        n = info.n_link_changes;
    }
    ovs_mutex_unlock(&dev->mutex);
    return n;
}

/* A guest's link has no speed: it is as fast as the PMD that serves it.  The
 * columns link_speed and duplex, OpenFlow's port descriptions and sFlow want
 * one.  10 Gbit/s, full duplex, is what DPDK's own vhost driver
 * says. */
int
netdev_vhost_get_features(const struct netdev *netdev OVS_UNUSED,
                          enum netdev_features *current,
                          enum netdev_features *advertised,
                          enum netdev_features *supported,
                          enum netdev_features *peer)
{
    *current = NETDEV_F_10GB_FD;
    *advertised = *supported = *peer = 0;
    return 0;
}
