/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * other_config:vhost-user-takeover: this plug-in's ports under the names that
 * Open vSwitch's own have, for programs that spell those out.  A name belongs
 * to whoever registers it first.  We do so before dpdk_init(), in which
 * netdev-dpdk then fails to register its two classes: it ignores that, but for
 * a warning of the netdev library's for each ("attempted to register duplicate
 * netdev provider"), and its own vhost thread never starts.
 *
 * What a port offers and does depends on its role, never on its name.  So the
 * classes are copies of the usual ones.
 */

#include <config.h>

#include "private.h"

#include <string.h>

#include "openvswitch/vlog.h"
#include "smap.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_takeover);

#define KEY "vhost-user-takeover"

static const char *const stock_types[] = {
    [VHOST_SERVER] = "dpdkvhostuser",
    [VHOST_CLIENT] = "dpdkvhostuserclient",
};

/* The classes under these names. */
static struct netdev_class classes[ARRAY_SIZE(stock_types)];

/* Whether they are registered. */
static bool taken_over;

static void
take_over(void)
{
    for (size_t role = 0; role < ARRAY_SIZE(stock_types); role++) {
        int error;

        classes[role] = *netdev_vhost_class(role);
        classes[role].type = stock_types[role];
        error = netdev_register_provider(&classes[role]);
        if (error) {
            VLOG_ERR("cannot take over port type %s: %s", stock_types[role],
                     ovs_strerror(error));
            return;
        }
    }
    taken_over = true;
    VLOG_INFO("port types %s and %s are served by this plugin; Open vSwitch "
              "warns of duplicate providers when it comes to its own",
              stock_types[VHOST_SERVER], stock_types[VHOST_CLIENT]);
}

/* Takes the names over, if 'other_config' asks for it the first time that this
 * is called.  Later a port may have one of the names, whoever it belongs to:
 * changes wait for the next start. */
void
netdev_vhost_takeover_configure(const struct smap *other_config)
{
    static bool configured, wanted, last;
    const char *value = smap_get_def(other_config, KEY, "false");
    bool now = !strcmp(value, "true");

    if (!configured) {
        configured = true;
        wanted = last = now;
        if (wanted) {
            take_over();
        } else if (strcmp(value, "false")) {
            VLOG_WARN("%s \"%s\" is neither true nor false: using false", KEY,
                      value);
        }
    } else if (now != last) {
        last = now;
        if (now != wanted) {
            VLOG_WARN("other_config:"KEY" changed to \"%s\", which takes "
                      "effect when ovs-vswitchd is restarted", value);
        }
    }
}

/* Returns the names of the port types that we have, for messages. */
const char *
netdev_vhost_types(void)
{
    return (taken_over
            ? "vhostuser, vhostuserclient, dpdkvhostuser or "
              "dpdkvhostuserclient"
            : "vhostuser or vhostuserclient");
}
