/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A plugin for tests of the loader: it registers a class, "plugindummy", that
 * can be seen but has no ports, and "ovs-appctl test-plugin/calls" tells how
 * the loader called it. */

#include <config.h>
#include "ovs-vhost-config.h"

#include <errno.h>
#include <stdlib.h>

#include "netdev-plugin.h"
#include "netdev-provider.h"
#include "openvswitch/dynamic-string.h"
#include "smap.h"
#include "unixctl.h"

static struct ds calls = DS_EMPTY_INITIALIZER;

static struct netdev *
dummy_alloc(void)
{
    return xzalloc(sizeof(struct netdev));
}

static int
dummy_construct(struct netdev *netdev OVS_UNUSED)
{
    return EOPNOTSUPP;
}

static void
dummy_destruct(struct netdev *netdev OVS_UNUSED)
{
}

static void
dummy_dealloc(struct netdev *netdev)
{
    free(netdev);
}

static const struct netdev_class dummy_class = {
    .type = "plugindummy",
    .alloc = dummy_alloc,
    .construct = dummy_construct,
    .destruct = dummy_destruct,
    .dealloc = dummy_dealloc,
};

static void
dummy_list_calls(struct unixctl_conn *conn, int argc OVS_UNUSED,
                 const char *argv[] OVS_UNUSED, void *aux OVS_UNUSED)
{
    unixctl_command_reply(conn, ds_cstr(&calls));
}

static int
dummy_init(void)
{
    ds_put_cstr(&calls, "init\n");
    unixctl_command_register("test-plugin/calls", "", 0, 0, dummy_list_calls,
                             NULL);
    return netdev_register_provider(&dummy_class);
}

static void
dummy_configure(const struct smap *other_config)
{
    ds_put_format(&calls, "configure test-key=%s\n",
                  smap_get_def(other_config, "test-key", "(none)"));
}

NETDEV_PLUGIN_DEFINE("dummy", dummy_init, dummy_configure);
