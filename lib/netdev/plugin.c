/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The door by which ovs-vswitchd comes in: the descriptor that its plugin
 * loader looks for.  What happens behind the door is netdev-vhost.c's.
 *
 * NETDEV_PLUGIN_DEFINE also makes this object need a symbol that is named
 * after the very build of Open vSwitch whose headers were included here, so
 * that another build refuses it before any of its code runs. */

#include <config.h>
#include "ovs-vhost-config.h"

#include "netdev/netdev-vhost.h"
#include "netdev-plugin.h"

NETDEV_PLUGIN_DEFINE("ovs-vhost", netdev_vhost_register,
                     netdev_vhost_configure);
