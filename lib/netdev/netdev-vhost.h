/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the plug-in's entry point (plugin.c) needs of the netdev provider: how
 * to register its classes and how to hand it the switch's configuration.  It
 * is the only header of lib/netdev that plugin.c includes; what the provider's
 * own files share is in private.h.
 */

#ifndef NETDEV_VHOST_H
#define NETDEV_VHOST_H 1

struct smap;

/* Registers the netdev classes "vhostuser" and "vhostuserclient" and the
 * appctl commands.  Starts no thread and asks DPDK nothing, so that it may run
 * before dpdk_init().  Returns 0 or a positive errno value.
 *
 * Main thread, once. */
int netdev_vhost_register(void);

/* Takes over Open_vSwitch:other_config.  vhost-sock-dir counts at the first
 * call only (a socket directory cannot change under its sockets); what may
 * change later is taken live.
 *
 * Main thread; before dpdk_init() and the first port, and at each change. */
void netdev_vhost_configure(const struct smap *other_config);

#endif /* netdev-vhost.h */
