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

#include <stdlib.h>
#include <string.h>

#include "openvswitch/vlog.h"

/* Gives our log modules the levels of the loader's.  What the command line
 * says of all modules is for those that are there then, and without this
 * "-vsyslog:err", which ovs-ctl gives, would not count for ours. */
static void
take_log_levels(void)
{
    const struct vlog_module *loader = vlog_module_from_name("netdev_plugin");
    char *levels = vlog_get_levels();
    char *save = NULL;

    for (char *line = strtok_r(levels, "\n", &save); loader && line;
         line = strtok_r(NULL, "\n", &save)) {
        struct vlog_module *module;

        line[strcspn(line, " ")] = '\0';
        module = (!strncmp(line, "netdev_vhost", strlen("netdev_vhost"))
                  ? vlog_module_from_name(line) : NULL);
        for (int i = 0; module && i < VLF_N_DESTINATIONS; i++) {
            vlog_set_levels(module, i, vlog_get_level(loader, i));
        }
    }
    free(levels);
}

static int
start(void)
{
    take_log_levels();
    return netdev_vhost_register();
}

NETDEV_PLUGIN_DEFINE("ovs-vhost", start, netdev_vhost_configure);
