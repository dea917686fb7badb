/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * "vhost/capture": what its arguments mean.
 *
 *     vhost/capture                            lists captures
 *     vhost/capture PORT                       those of a port
 *     vhost/capture PORT stop
 *     vhost/capture PORT FILE [LIMIT...]       N, Ns, NM, snap=N
 *
 * Who may use ovs-appctl may have this process write a file, which he may not
 * be allowed to himself.  So only new files are made, for the process's user
 * alone, and only ones whose names end in .pcapng, which nothing reads as its
 * configuration.
 */

#include <config.h>

#include "capture.h"
#include "commands.h"
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PACKETS 10000
#define DEFAULT_SECONDS 60
#define DEFAULT_BYTES (UINT64_C(256) << 20)

/* Takes a number of 1...'max' with 'suffix' behind it from 's'. */
static bool
parse_number(const char *s, const char *suffix, uint64_t max, uint64_t *value)
{
    char *end;

    if (*s < '0' || *s > '9') {
        return false;
    }
    errno = 0;
    *value = strtoull(s, &end, 10);
    return !errno && *value >= 1 && *value <= max && !strcmp(end, suffix);
}

/* Takes one argument.  Returns false if it cannot be understood. */
static bool
parse_limit(const char *s, struct capture_limits *limits)
{
    uint64_t n;

    if (parse_number(s, "", CAPTURE_MAX_PACKETS, &n)) {
        limits->packets = n;
    } else if (parse_number(s, "s", CAPTURE_MAX_SECONDS, &n)) {
        limits->seconds = n;
    } else if (parse_number(s, "M", CAPTURE_MAX_BYTES >> 20, &n)) {
        limits->bytes = n << 20;
    } else if (!strncmp(s, "snap=", 5)
               && parse_number(s + 5, "", CAPTURE_MAX_SNAPLEN, &n)) {
        limits->snaplen = n;
    } else {
        return false;
    }
    return true;
}

/* Without a number of packets or a time there are limits nevertheless; who
 * gives one of them means no less than that. */
static void
fill_in_limits(struct capture_limits *limits)
{
    if (!limits->packets) {
        limits->packets = limits->seconds ? CAPTURE_MAX_PACKETS
                                          : DEFAULT_PACKETS;
        if (!limits->seconds) {
            limits->seconds = DEFAULT_SECONDS;
        }
    } else if (!limits->seconds) {
        limits->seconds = CAPTURE_MAX_SECONDS;
    }
    if (!limits->bytes) {
        limits->bytes = DEFAULT_BYTES;
    }
    if (!limits->snaplen) {
        limits->snaplen = CAPTURE_MAX_SNAPLEN;
    }
}

/* A command about a port. */
struct capture_args {
    const char *port;
    const char *path;           /* NULL: only show. */
    bool stop;
    struct capture_limits limits;

    bool found;
    char *error;
};

/* Returns NULL or what is wrong, for the caller to free. */
static char *
parse_args(int argc, const char *argv[], struct capture_args *args)
{
    args->port = argc > 1 ? argv[1] : NULL;
    args->stop = argc == 3 && !strcmp(argv[2], "stop");
    if (argc > 2 && !args->stop) {
        args->path = argv[2];
    }
    for (int i = 3; i < argc; i++) {
        if (!parse_limit(argv[i], &args->limits)) {
            return xasprintf("%s: not a limit: N (packets), Ns (seconds), NM "
                             "(MiB of the file), snap=N (bytes of a frame) "
                             "may be given", argv[i]);
        }
    }
    fill_in_limits(&args->limits);
    return NULL;
}

static void
capture_cb(struct netdev_vhost *dev, void *args_)
{
    struct capture_args *args = args_;

    if (strcmp(dev->up.name, args->port)) {
        return;
    }
    args->found = true;
    if (args->path) {
        args->error = capture_start(dev, args->path, &args->limits);
    } else if (args->stop && !capture_stop(dev, "stopped on request")) {
        args->error = xasprintf("%s is not being captured", args->port);
    }
}

static void
vhost_capture(struct unixctl_conn *conn, int argc, const char *argv[],
              void *data OVS_UNUSED)
{
    struct capture_args args = { .found = false };
    struct ds ds = DS_EMPTY_INITIALIZER;

    args.error = parse_args(argc, argv, &args);
    if (!args.error && args.port && (args.path || args.stop)) {
        netdev_vhost_foreach(capture_cb, &args);
        if (!args.found) {
            args.error = xasprintf("%s is not a vhostuser or vhostuserclient "
                                   "port", args.port);
        }
    }
    if (args.error) {
        unixctl_command_reply_error(conn, args.error);
    } else {
        capture_format(args.port, &ds);
        unixctl_command_reply(conn, ds_cstr(&ds));
    }
    ds_destroy(&ds);
    free(args.error);
}

void
netdev_vhost_capture_register(void)
{
    unixctl_command_register("vhost/capture",
                             "[port [stop | file [limit...]]]", 0, 6,
                             vhost_capture, NULL);
}
