/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Parses the command line.  An option that a port may have is in one table,
 * port_table, whether it comes as ",NAME=VALUE" behind a port or as
 * "--NAME=VALUE" for all ports. */

#include "guest/options.h"

#include <arpa/inet.h>
#include <err.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/catch.h"
#include "guest/frontend.h"
#include "guest/misbehave.h"

const char *const mode_names[N_MODES] = {
    [MODE_GENERATE] = "generate", [MODE_SINK] = "sink",
    [MODE_BOTH] = "generate+sink", [MODE_ECHO] = "echo",
    [MODE_BRIDGE] = "bridge", [MODE_REPLAY] = "replay",
    [MODE_CAPTURE] = "capture", [MODE_DISCARD] = "discard",
    [MODE_MISBEHAVE] = "misbehave",
};

enum kind {
    NUMBER,                     /* uint64_t, between 'min' and 'max'. */
    RATE,                       /* double, with k, M or G. */
    SWITCH,                     /* bool; value optional. */
    STRING,
    MAC, IP, SIZES,
    LOSS,                       /* double, and a bool for '%' behind it. */
};

struct option_def {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min, max;
    size_t second;              /* Offset of the bool of MAC and LOSS. */
    bool invert;                /* SWITCH: sets to false. */
};

#define P(MEMBER) offsetof(struct port_options, MEMBER)
static const struct option_def port_table[] = {
    { "server", SWITCH, P(server), 0, 0, 0, false },
    { "client", SWITCH, P(server), 0, 0, 0, true },
    { "no-reconnect", SWITCH, P(reconnect), 0, 0, 0, true },
    { "old-base", SWITCH, P(old_base), 0, 0, 0, false },
    { "queues", NUMBER, P(pairs), 1, MAX_PAIRS, 0, false },
    { "ring", NUMBER, P(ring_size), 1, 32768, 0, false },
    { "regions", NUMBER, P(regions), 1, 8, 0, false },
    { "buf", NUMBER, P(buf_size), 64, 1 << 20, 0, false },
    { "descs", NUMBER, P(tx_descs), 1, 64, 0, false },
    { "rx-descs", NUMBER, P(rx_descs), 1, 64, 0, false },
    { "indirect", SWITCH, P(indirect), 0, 0, 0, false },
    { "hugepages", STRING, P(hugepages), 0, 0, 0, false },
    { "hugetlb", SWITCH, P(hugetlb), 0, 0, 0, false },
    { "mac", MAC, P(mac), 0, 0, P(mac_set), false },
    { "dst-mac", MAC, P(dst_mac), 0, 0, P(dst_mac_set), false },
    { "ip", IP, P(ip), 0, 0, 0, false },
    { "dst-ip", IP, P(dst_ip), 0, 0, 0, false },
    { "size", SIZES, P(sizes), 0, 0, 0, false },
    { "flows", NUMBER, P(flows), 1, 1 << 24, 0, false },
    { "rate", RATE, P(rate), 0, 0, 0, false },
    { "count", NUMBER, P(count), 0, UINT64_MAX, 0, false },
    { "burst", NUMBER, P(burst), 1, 1024, 0, false },
    { "prepared", SWITCH, P(prepared), 0, 0, 0, false },
    { "restart", RATE, P(restart), 0, 0, 0, false },
    { "cut", RATE, P(cut), 0, 0, 0, false },
    { "hotplug", RATE, P(hotplug), 0, 0, 0, false },
    { "tap", STRING, P(tap), 0, 0, 0, false },
    { "netns", STRING, P(netns), 0, 0, 0, false },
    { "file", STRING, P(file), 0, 0, 0, false },
    { "loop", NUMBER, P(loops), 0, UINT64_MAX, 0, false },
    { "capture", STRING, P(capture), 0, 0, 0, false },
    { "snaplen", NUMBER, P(snaplen), 14, 262144, 0, false },
    { "misbehave", STRING, P(misbehave), 0, 0, 0, false },
    { NULL, NUMBER, 0, 0, 0, 0, false },
};
#undef P

#define O(MEMBER) offsetof(struct options, MEMBER)
static const struct option_def run_table[] = {
    { "poll", SWITCH, O(poll), 0, 0, 0, false },
    { "threads", NUMBER, O(threads), 1, 64, 0, false },
    { "cpus", STRING, O(cpus), 0, 0, 0, false },
    { "duration", RATE, O(duration), 0, 0, 0, false },
    { "connect-timeout", RATE, O(connect_timeout), 0, 0, 0, false },
    { "settle", RATE, O(settle), 0, 0, 0, false },
    { "drain", RATE, O(drain), 0, 0, 0, false },
    { "progress", RATE, O(progress), 0, 0, 0, false },
    { "json", SWITCH, O(json), 0, 0, 0, false },
    { "quiet", SWITCH, O(quiet), 0, 0, 0, false },
    { "verbose", SWITCH, O(verbose), 0, 0, 0, false },
    { "no-latency", SWITCH, O(stamps), 0, 0, 0, true },
    { "expect-loss", LOSS, O(expect_loss), 0, 0, O(expect_loss_percent),
      false },
    { "expect-received", RATE, O(expect_received), 0, 0, 0, false },
    { "expect-reordered", RATE, O(expect_reordered), 0, 0, 0, false },
    { "expect-duplicates", RATE, O(expect_duplicates), 0, 0, 0, false },
    { "expect-corrupt", RATE, O(expect_corrupt), 0, 0, 0, false },
    { "expect-rate", RATE, O(expect_rate), 0, 0, 0, false },
    { "expect-p99", RATE, O(expect_p99), 0, 0, 0, false },
    { NULL, NUMBER, 0, 0, 0, 0, false },
};
#undef O

/* Values. */

/* A number with k, M or G behind it; '*rest' is what follows. */
static bool
parse_double(const char *s, double *value, char **rest)
{
    *value = strtod(s, rest);
    if (*rest == s || *value < 0) {
        return false;
    }
    switch (**rest) {
    case 'k': *value *= 1e3; break;
    case 'M': *value *= 1e6; break;
    case 'G': *value *= 1e9; break;
    default: return true;
    }
    ++*rest;
    return true;
}

static bool
parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *value)
{
    char *rest;

    *value = strtoull(s, &rest, 0);
    if (rest != s && (*rest == 'k' || *rest == 'M')) {
        *value *= *rest == 'k' ? 1000 : 1000000;
        rest++;
    }
    return rest != s && !*rest && *s != '-' && *value >= min && *value <= max;
}

static bool
parse_mac(const char *s, uint8_t mac[6])
{
    unsigned int b[6];
    char rest;

    if (sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3],
               &b[4], &b[5], &rest) != 6) {
        return false;
    }
    for (unsigned int i = 0; i < 6; i++) {
        mac[i] = b[i];
    }
    return true;
}

/* "64", "64-1514", "imix", "60:7+566:4+1514:1". */
static bool
parse_sizes(const char *s, struct size_mix *mix)
{
    memset(mix, 0, sizeof *mix);
    if (!strcmp(s, "imix")) {
        s = "60:7+566:4+1514:1";
    }
    while (mix->n < MAX_SIZES) {
        unsigned int min, max, weight = 1;
        int n;

        if (sscanf(s, "%u%n", &min, &n) != 1) {
            return false;
        }
        max = min;
        s += n;
        if (*s == '-' && sscanf(s, "-%u%n", &max, &n) == 1) {
            s += n;
        }
        if (*s == ':' && sscanf(s, ":%u%n", &weight, &n) == 1) {
            s += n;
        }
        if (min < 60 || max > 65535 || min > max || !weight) {
            return false;
        }
        mix->sizes[mix->n].min = min;
        mix->sizes[mix->n].max = max;
        mix->sizes[mix->n++].weight = weight;
        mix->weights += weight;
        mix->max = max > mix->max ? max : mix->max;
        if (!*s) {
            return true;
        }
        if (*s++ != '+') {
            return false;
        }
    }
    return false;
}

static bool
set_option(const struct option_def *d, void *base, const char *value)
{
    void *p = (char *) base + d->offset;
    void *second = (char *) base + d->second;
    struct in_addr addr;
    char *rest;

    if (!value) {
        if (d->kind == SWITCH) {
            *(bool *) p = !d->invert;
        }
        return d->kind == SWITCH;
    }
    switch (d->kind) {
    case NUMBER:
        return parse_number(value, d->min, d->max, p);
    case RATE:
        return parse_double(value, p, &rest) && !*rest;
    case LOSS:
        if (!parse_double(value, p, &rest)) {
            return false;
        }
        *(bool *) second = *rest == '%';
        return !rest[*rest == '%'];
    case SWITCH:
        *(bool *) p = d->invert ^ (!strcmp(value, "yes")
                                   || !strcmp(value, "on"));
        return !strcmp(value, "yes") || !strcmp(value, "no")
               || !strcmp(value, "on") || !strcmp(value, "off");
    case STRING:
        *(char **) p = strdup(value);
        return *value != '\0';
    case MAC:
        *(bool *) second = true;
        return parse_mac(value, p);
    case IP:
        if (inet_pton(AF_INET, value, &addr) != 1) {
            return false;
        }
        *(uint32_t *) p = ntohl(addr.s_addr);
        return true;
    case SIZES:
        return parse_sizes(value, p);
    }
    return false;
}

static const struct option_def *
find_option(const struct option_def *d, const char *name)
{
    while (d->name && strcmp(d->name, name)) {
        d++;
    }
    return d->name ? d : NULL;
}

/* Ports. */

static void
port_defaults(struct port_options *o)
{
    memset(o, 0, sizeof *o);
    o->reconnect = true;
    o->features.wanted = FE_F_VERSION_1 | FE_F_MRG | FE_F_INDIRECT
                         | FE_F_EVENT_IDX | FE_F_PROTOCOL | FE_F_MQ
                         | FE_F_ANY_LAYOUT;
    o->protocol.wanted = FE_P_MQ | FE_P_REPLY_ACK;
    o->pairs = 1;
    o->ring_size = 256;
    o->regions = 1;
    o->tx_descs = o->rx_descs = 1;
    o->flows = 1;
    o->burst = 32;
    o->loops = 1;
    o->snaplen = 262144;
    parse_sizes("60", &o->sizes);
}

/* Features that a mode can make use of, unless the user said otherwise. */
static void
mode_defaults(struct port_options *o)
{
    const uint64_t offloads = FE_F_CSUM | FE_F_GUEST_CSUM
                              | FE_F_HOST_TSO4 | FE_F_HOST_TSO6
                              | FE_F_GUEST_TSO4 | FE_F_GUEST_TSO6;

    if (o->mode == MODE_BRIDGE) {
        o->features.wanted |= offloads & ~o->features.refused;
    }
}

static bool
parse_mode(const char *s, size_t len, enum mode *mode)
{
    for (unsigned int i = 0; i < N_MODES; i++) {
        if (strlen(mode_names[i]) == len && !memcmp(mode_names[i], s, len)) {
            *mode = i;
            return true;
        }
    }
    return false;
}

static void
port_option(struct port_options *o, char *text, const char *port)
{
    const struct option_def *d;
    char *value;

    if (*text == '+' || *text == '-') {
        if (!wish_parse(text, &o->features, &o->protocol)) {
            errx(EXIT_USAGE, "%s: unknown feature %s (see --features list)",
                 port, text);
        }
        return;
    }
    value = strchr(text, '=');
    if (value) {
        *value++ = '\0';
    }
    d = find_option(port_table, text);
    if (!d) {
        errx(EXIT_USAGE, "%s: unknown option %s (see --help)", port, text);
    }
    if (!set_option(d, o, value)) {
        errx(EXIT_USAGE, "%s: bad value for %s: %s", port, text,
             value ? value : "none");
    }
}

static void
check_port(const struct port_options *o, const char *text)
{
    char wrong[64];
    uint64_t no_driver = FE_BIT(33) | FE_BIT(38) | FE_BIT(57);

    if (o->features.wanted & no_driver) {
        char names[256];

        features_format(o->features.wanted & no_driver, false, names,
                        sizeof names);
        errx(EXIT_USAGE, "%s: no driver here for %s", text, names);
    }
    if (o->mode == MODE_BRIDGE && !o->tap) {
        errx(EXIT_USAGE, "%s: bridge needs tap=NAME", text);
    }
    if (o->tap && strlen(o->tap) >= IFNAMSIZ) {
        errx(EXIT_USAGE, "%s: tap's name is too long", text);
    }
    if (o->mode == MODE_REPLAY && !o->file) {
        errx(EXIT_USAGE, "%s: replay needs file=FILE", text);
    }
    if (o->mode == MODE_CAPTURE && !o->capture) {
        errx(EXIT_USAGE, "%s: capture needs capture=FILE", text);
    }
    if (o->mode == MODE_MISBEHAVE && !o->misbehave) {
        errx(EXIT_USAGE, "%s: misbehave needs --misbehave NAME", text);
    }
    if (o->mode == MODE_MISBEHAVE
        && !misbehave_check(o->misbehave, wrong, sizeof wrong)) {
        errx(EXIT_USAGE, "%s: unknown misbehaviour %s (see --misbehave list)",
             text, wrong);
    }
    if (strlen(o->path) >= 108) {
        errx(EXIT_USAGE, "%s: the path is too long for a socket", text);
    }
    if (o->ring_size & (o->ring_size - 1)
        && !(o->features.required & FE_F_PACKED)) {
        errx(EXIT_USAGE, "%s: sizes of rings that are not packed are powers "
             "of 2", text);
    }
    if (o->features.wanted & FE_F_PACKED
        && !(o->features.wanted & FE_F_VERSION_1)) {
        errx(EXIT_USAGE, "%s: ring_packed needs version_1", text);
    }
}

/* "MODE:PATH[,OPTION...]" */
static void
parse_port(struct options *all, const struct port_options *defaults,
           const char *text)
{
    struct port_options *o = &all->ports[all->n_ports];
    char *copy = strdup(text);
    char *colon = strchr(copy, ':');
    char *path = copy, *save, *word;

    if (all->n_ports >= MAX_PORTS) {
        errx(EXIT_USAGE, "more than %d ports", MAX_PORTS);
    }
    *o = *defaults;
    o->mode = N_MODES;
    if (colon && parse_mode(copy, colon - copy, &o->mode)) {
        path = colon + 1;
    } else if (defaults->misbehave) {
        o->mode = MODE_MISBEHAVE;
    } else {
        errx(EXIT_USAGE, "%s: no MODE:PATH (see --help)", text);
    }
    mode_defaults(o);
    o->path = strdup(strtok_r(path, ",", &save) ?: "");
    while ((word = strtok_r(NULL, ",", &save)) != NULL) {
        port_option(o, word, text);
    }
    free(copy);
    check_port(o, text);
    all->n_ports++;
}

/* The run. */

static void
run_defaults(struct options *o)
{
    memset(o, 0, sizeof *o);
    o->threads = 1;
    o->connect_timeout = 10;
    o->settle = 0.3;
    o->drain = 0.5;
    o->progress = -1;
    o->stamps = true;
    o->expect_loss = o->expect_received = o->expect_reordered = -1;
    o->expect_duplicates = o->expect_rate = o->expect_p99 = -1;
    o->expect_corrupt = 0;
}

/* "--features +A,-B", "--features list". */
static void
parse_features(struct port_options *o, const char *value)
{
    char *copy = strdup(value), *save;

    if (!strcmp(value, "list")) {
        features_list();
        exit(EXIT_OK);
    }
    for (char *word = strtok_r(copy, ",", &save); word;
         word = strtok_r(NULL, ",", &save)) {
        if (!wish_parse(word, &o->features, &o->protocol)) {
            errx(EXIT_USAGE, "unknown feature %s (see --features list)", word);
        }
    }
    free(copy);
}

static void
parse_misbehave(const char *value)
{
    if (!strcmp(value, "list")) {
        misbehave_list();
        exit(EXIT_OK);
    }
}

/* Handles argv[*i], an option, and its value in the same or next word. */
static void
parse_option(struct options *all, struct port_options *defaults, int argc,
             char *argv[], int *i)
{
    char *name = argv[*i] + 2;
    char *value = strchr(name, '=');
    bool features, is_run;
    const struct option_def *d;

    if (value) {
        *value++ = '\0';
    }
    features = !strcmp(name, "features");
    d = find_option(run_table, name);
    is_run = d != NULL;
    if (!d) {
        d = find_option(port_table, name);
    }
    if (!d && !features) {
        errx(EXIT_USAGE, "unknown option --%s (see --help)", name);
    }
    if (!value && (features || d->kind != SWITCH)) {
        if (*i + 1 >= argc) {
            errx(EXIT_USAGE, "--%s needs a value", name);
        }
        value = argv[++*i];
    }
    if (features) {
        parse_features(defaults, value);
        return;
    }
    if (!strcmp(name, "misbehave")) {
        parse_misbehave(value);
    }
    if (!set_option(d, is_run ? (void *) all : (void *) defaults, value)) {
        errx(EXIT_USAGE, "bad value for --%s: %s", name,
             value ? value : "none");
    }
}

void
options_parse(struct options *o, int argc, char *argv[])
{
    struct port_options defaults;
    char **ports = calloc(argc + 1, sizeof *ports);
    unsigned int n = 0;

    run_defaults(o);
    port_defaults(&defaults);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            usage();
            exit(EXIT_OK);
        }
        if (!strncmp(argv[i], "--", 2)) {
            parse_option(o, &defaults, argc, argv, &i);
        } else {
            ports[n++] = argv[i];
        }
    }
    if (!n) {
        errx(EXIT_USAGE, "no port given (see --help)");
    }
    for (unsigned int i = 0; i < n; i++) {
        parse_port(o, &defaults, ports[i]);
    }
    free(ports);
}
