/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the commands of ovs-appctl share, which are in several files: finding
 * the ports that a command is about, and its answer as text or as JSON.
 */

#ifndef NETDEV_VHOST_COMMANDS_H
#define NETDEV_VHOST_COMMANDS_H 1

#include <stdbool.h>

#include "openvswitch/dynamic-string.h"
#include "unixctl.h"

struct json;
struct netdev_vhost;

/* A command about ports. */
struct port_command {
    /* Called for each port that is meant, with its mutex held.  Adds what it
     * has to say to 'ds' or, if that is not NULL, to 'array'. */
    void (*cb)(struct port_command *, struct netdev_vhost *);
    /* Called at the end.  May add to 'ds', or put something else in the place
     * of 'array'.  May be NULL. */
    void (*end)(struct port_command *);
    bool no_json;               /* There is only text. */

    struct ds ds;
    struct json *array;
    const char *name;           /* Of the port; NULL: all. */
    bool found;
};

/* Has 'cmd->cb' called for the ports that the arguments of "NAME [--json]
 * [PORT]" name, and replies with what it added. */
void netdev_vhost_for_ports(struct unixctl_conn *, int argc,
                            const char *argv[], struct port_command *);

/* Commands that are not in unixctl.c. */
void netdev_vhost_memory_register(void);    /* show-memory.c */
void netdev_vhost_log_register(void);       /* show-log.c */
void netdev_vhost_capture_register(void);   /* capture-command.c */

#endif /* commands.h */
