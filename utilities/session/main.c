/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ovs-vhost-session: what stands on the command line. */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/play.h"
#include "session/record.h"
#include "session/base.h"
#include "session/show.h"

static void
usage(void)
{
    fputs("\
usage: ovs-vhost-session record [OPTION...] FRONT-END BACK-END\n\
       ovs-vhost-session play [OPTION...] RECORDING BACK-END\n\
       ovs-vhost-session show [--verbose] RECORDING\n\
\n\
Records what a vhost-user front end and its guest do at a back end, and does\n\
the same at another one.  FRONT-END and BACK-END are connect:PATH or\n\
listen:PATH: how that side is met.\n\
\n\
record:\n\
  -o, --output FILE       write there and not to the standard output\n\
  --front-end TEXT --back-end TEXT --note TEXT\n\
                          what is recorded, for the file's header\n\
  --chains N              chains of each ring after each of its starts (256)\n\
  --messages N            messages (10000)\n\
  --connections N         stop after so many connections (1; 0: go on)\n\
  --interval US           microseconds between looks at rings (100)\n\
play:\n\
  --speed N               so many times as fast as recorded (1); 0: as fast\n\
                          as possible\n\
  --timeout S             longest wait for an answer and for a chain (10)\n\
  --strict                any difference is a failure\n\
  --json                  print the result as JSON\n\
show:\n\
  --verbose               print every descriptor\n\
-h, --help\n\
", stdout);
}

static uint64_t
number(const char *option, const char *text, uint64_t max)
{
    unsigned long long int n;
    char *end;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n > max) {
        errx(EXIT_USAGE, "bad value for --%s: %s", option, text);
    }
    return n;
}

static double
real(const char *option, const char *text)
{
    char *end;
    double x = strtod(text, &end);

    if (end == text || *end || !(x >= 0 && x <= 1e6)) {
        errx(EXIT_USAGE, "bad value for --%s: %s", option, text);
    }
    return x;
}

static void
endpoint(struct endpoint *e, const char *text)
{
    if (!endpoint_parse(e, text)) {
        errx(EXIT_USAGE, "%s is neither connect:PATH nor listen:PATH, or PATH "
             "is too long", text);
    }
}

/* Gets the next option, that of 'index'; handles --help.  Returns -1 after the
 * last one. */
static int
next_option(int argc, char *argv[], const char *letters,
            const struct option *table, int *index)
{
    int c = getopt_long(argc, argv, letters, table, index);

    if (c == 'h') {
        usage();
        exit(EXIT_OK);
    }
    if (c == '?') {
        exit(EXIT_USAGE);
    }
    return c;
}

/* The 'n' arguments behind the options. */
static char **
arguments(int argc, char *argv[], int n)
{
    if (argc - optind != n) {
        errx(EXIT_USAGE, "%d arguments are needed (see --help)", n);
    }
    return argv + optind;
}

enum record_option {
    O_FRONT_END, O_BACK_END, O_NOTE, O_CHAINS, O_MESSAGES, O_CONNECTIONS,
    O_INTERVAL,
};

static void
set_record_option(struct record_options *o, int option, const char *name,
                  const char *value)
{
    switch ((enum record_option) option) {
    case O_FRONT_END:
        o->front_end = value;
        break;
    case O_BACK_END:
        o->back_end = value;
        break;
    case O_NOTE:
        o->note = value;
        break;
    case O_CHAINS:
        o->max_chains = number(name, value, UINT32_MAX);
        break;
    case O_MESSAGES:
        o->max_messages = number(name, value, UINT32_MAX);
        break;
    case O_CONNECTIONS:
        o->connections = number(name, value, UINT32_MAX);
        break;
    case O_INTERVAL:
        o->interval_us = number(name, value, 1000000);
        break;
    }
}

static int
main_record(int argc, char *argv[])
{
    static const struct option table[] = {
        { "output", required_argument, NULL, 'o' },
        { "help", no_argument, NULL, 'h' },
        { "front-end", required_argument, NULL, O_FRONT_END },
        { "back-end", required_argument, NULL, O_BACK_END },
        { "note", required_argument, NULL, O_NOTE },
        { "chains", required_argument, NULL, O_CHAINS },
        { "messages", required_argument, NULL, O_MESSAGES },
        { "connections", required_argument, NULL, O_CONNECTIONS },
        { "interval", required_argument, NULL, O_INTERVAL },
        { NULL, 0, NULL, 0 },
    };
    struct record_options o = {
        .front_end = "unknown", .back_end = "unknown", .note = "",
        .max_chains = 256, .max_messages = 10000, .connections = 1,
        .interval_us = 100,
    };
    const char *output = NULL;
    char **args;
    int c, index;

    while ((c = next_option(argc, argv, "ho:", table, &index)) >= 0) {
        if (c == 'o') {
            output = optarg;
        } else {
            set_record_option(&o, c, table[index].name, optarg);
        }
    }
    args = arguments(argc, argv, 2);
    endpoint(&o.front, args[0]);
    endpoint(&o.back, args[1]);
    if (output && !freopen(output, "w", stdout)) {
        errx(EXIT_CANNOT, "%s: %s", output, strerror(errno));
    }
    return record(&o);
}

static int
main_play(int argc, char *argv[])
{
    static const struct option table[] = {
        { "help", no_argument, NULL, 'h' },
        { "speed", required_argument, NULL, 's' },
        { "timeout", required_argument, NULL, 't' },
        { "strict", no_argument, NULL, 'S' },
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    struct play_options o = { .speed = 1, .timeout = 10 };
    char **args;
    int c;

    while ((c = next_option(argc, argv, "h", table, NULL)) >= 0) {
        switch (c) {
        case 's':
            o.speed = real("speed", optarg);
            break;
        case 't':
            o.timeout = real("timeout", optarg);
            break;
        case 'S':
            o.strict = true;
            break;
        case 'j':
            o.json = true;
            break;
        }
    }
    args = arguments(argc, argv, 2);
    o.path = args[0];
    endpoint(&o.back, args[1]);
    return play(&o);
}

static int
main_show(int argc, char *argv[])
{
    static const struct option table[] = {
        { "help", no_argument, NULL, 'h' },
        { "verbose", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    bool verbose = false;

    while (next_option(argc, argv, "hv", table, NULL) >= 0) {
        verbose = true;
    }
    return show(arguments(argc, argv, 1)[0], verbose);
}

int
main(int argc, char *argv[])
{
    const char *command = argc > 1 ? argv[1] : "";

    /* A reader of the output that has gone must not end a connection. */
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        argv[1] = argv[0];      /* For getopt_long(). */
    }
    if (!strcmp(command, "--help") || !strcmp(command, "-h")) {
        usage();
        return EXIT_OK;
    }
    if (!strcmp(command, "record")) {
        return main_record(argc - 1, argv + 1);
    }
    if (!strcmp(command, "play")) {
        return main_play(argc - 1, argv + 1);
    }
    if (!strcmp(command, "show")) {
        return main_show(argc - 1, argv + 1);
    }
    errx(EXIT_USAGE, "record, play or show what? (see --help)");
}
