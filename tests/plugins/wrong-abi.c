/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A plugin for tests of the loader that was built for another Open vSwitch, or
 * looks so.  Its constructor must never run. */

/* Takes the place of the tree's header. */
#define NETDEV_PLUGIN_ABI_H 1
#define NETDEV_PLUGIN_OVS_VERSION "3.5.0"
#define NETDEV_PLUGIN_DPDK_VERSION "24.11.4"
#define NETDEV_PLUGIN_BUILD "12ab34cd"
#define NETDEV_PLUGIN_ABI_SYMBOL \
    netdev_plugin_abi__3_5_0__dpdk_24_11_4__12ab34cd

#include <config.h>
#include "ovs-vhost-config.h"

#include <stdlib.h>

#include "netdev-plugin.h"

__attribute__((constructor)) static void
wrong_abi_constructor(void)
{
    abort();
}

static int
wrong_abi_init(void)
{
    abort();
}

NETDEV_PLUGIN_DEFINE("wrong-abi", wrong_abi_init, NULL);
