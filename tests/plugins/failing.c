/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A plugin for tests of the loader that fits but cannot start. */

#include <config.h>
#include "ovs-vhost-config.h"

#include <errno.h>
#include <stdlib.h>

#include "netdev-plugin.h"

static int
failing_init(void)
{
    return EPERM;
}

static void
failing_configure(const struct smap *other_config)
{
    /* Never called. */
    if (other_config) {
        abort();
    }
}

NETDEV_PLUGIN_DEFINE("failing", failing_init, failing_configure);
