/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * "vhost/log": what a port's front ends said last, and what became of it; and
 * "vhost/disconnect", after which there is something new to be read there.
 */

#include <config.h>

#include "commands.h"
#include "private.h"

#include <inttypes.h>
#include <stdlib.h>

#include "openvswitch/json.h"
#include "openvswitch/vlog.h"
#include "timeval.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_log);

static const char *
kind_name(enum vhost_line_kind kind)
{
    return (kind == VHOST_LINE_EVENT ? "event"
            : kind == VHOST_LINE_RECEIVED ? "received" : "sent");
}

/* As in ovs-vswitchd's log. */
static char *
line_time(const struct vhost_line *line)
{
    return xastrftime_msec("%Y-%m-%dT%H:%M:%S.###Z", line->time_ms, true);
}

static void
format_line(struct ds *ds, const struct vhost_line *line)
{
    char *when = line_time(line);

    ds_put_format(ds, "    %s %s: ", when, kind_name(line->kind));
    free(when);
    if (line->kind == VHOST_LINE_EVENT) {
        ds_put_cstr(ds, line->text);
    } else {
        ds_put_cstr(ds, line->name);
        if (line->text[0]) {
            ds_put_format(ds, " (%s)", line->text);
        }
        ds_put_format(ds, ": %s", line->outcome);
    }
    if (line->took_ms) {
        ds_put_format(ds, ", after %"PRIu32" ms", line->took_ms);
    }
    if (line->n > 1) {
        ds_put_format(ds, " [%"PRIu64" times]", line->n);
    }
    ds_put_char(ds, '\n');
}

static struct json *
line_to_json(const struct vhost_line *line)
{
    struct json *json = json_object_create();

    json_object_put(json, "number", json_integer_create(line->number));
    json_object_put(json, "time", json_string_create_nocopy(line_time(line)));
    json_object_put_string(json, "kind", kind_name(line->kind));
    json_object_put(json, "times", json_integer_create(line->n));
    json_object_put_string(json, "text", line->text);
    if (line->kind != VHOST_LINE_EVENT) {
        json_object_put_string(json, "message", line->name);
        json_object_put_string(json, "outcome", line->outcome);
        json_object_put(json, "took_ms", json_integer_create(line->took_ms));
    }
    return json;
}

static void
lines_to_json(struct port_command *cmd, const struct netdev_vhost *dev,
              const struct vhost_line lines[], unsigned int n)
{
    struct json *json = json_object_create();
    struct json *array = json_array_create_empty();

    for (unsigned int i = 0; i < n; i++) {
        json_array_add(array, line_to_json(&lines[i]));
    }
    json_object_put_string(json, "name", dev->up.name);
    json_object_put_string(json, "type", netdev_get_type(&dev->up));
    json_object_put(json, "lines", array);
    json_array_add(cmd->array, json);
}

static void
log_one(struct port_command *cmd, struct netdev_vhost *dev)
{
    struct vhost_line *lines = xcalloc(VHOST_MAX_LINES, sizeof *lines);
    unsigned int n = dev->port ? vhost_port_get_log(dev->port, lines) : 0;

    if (cmd->array) {
        lines_to_json(cmd, dev, lines, n);
    } else {
        ds_put_format(&cmd->ds, "%s: %s\n", dev->up.name,
                      netdev_get_type(&dev->up));
        for (unsigned int i = 0; i < n; i++) {
            format_line(&cmd->ds, &lines[i]);
        }
    }
    free(lines);
}

static void
vhost_log(struct unixctl_conn *conn, int argc, const char *argv[],
          void *data OVS_UNUSED)
{
    struct port_command cmd = { .cb = log_one };

    netdev_vhost_for_ports(conn, argc, argv, &cmd);
}

static void
disconnect_one(struct port_command *cmd, struct netdev_vhost *dev)
{
    const char *name = dev->up.name;
    struct vhost_port_info info;

    if (!dev->port) {
        ds_put_format(&cmd->ds, "%s: not configured\n", name);
        return;
    }
    vhost_port_get_info(dev->port, &info);
    if (!vhost_port_disconnect(dev->port)) {
        ds_put_format(&cmd->ds, "%s: no front end was connected\n", name);
        return;
    }
    VLOG_INFO("%s: the connection was ended by vhost/disconnect", name);
    ds_put_format(&cmd->ds, "%s: ended the connection with process %ld; %s\n",
                  name, (long int) info.peer_pid,
                  dev->role == VHOST_CLIENT
                  ? "now looking for the front end again"
                  : "now waiting for the front end to connect again");
}

static void
vhost_disconnect(struct unixctl_conn *conn, int argc, const char *argv[],
                 void *data OVS_UNUSED)
{
    struct port_command cmd = { .cb = disconnect_one, .no_json = true };

    netdev_vhost_for_ports(conn, argc, argv, &cmd);
}

void
netdev_vhost_log_register(void)
{
    unixctl_command_register("vhost/log", "[--json] [port]", 0, 2, vhost_log,
                             NULL);
    unixctl_command_register("vhost/disconnect", "port", 1, 1,
                             vhost_disconnect, NULL);
}
