/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the command line says: the run's options and each port's. */

#ifndef GUEST_OPTIONS_H
#define GUEST_OPTIONS_H 1

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/features.h"

#define MAX_PORTS 255
#define MAX_PAIRS 128
#define MAX_SIZES 16

/* What a port does, MODE in MODE:PATH. */
enum mode {
    MODE_GENERATE,
    MODE_SINK,
    MODE_BOTH,                  /* Generates, and sinks what comes back. */
    MODE_ECHO,
    MODE_BRIDGE,
    MODE_REPLAY,
    MODE_CAPTURE,
    MODE_DISCARD,
    MODE_MISBEHAVE,
    N_MODES
};
extern const char *const mode_names[N_MODES];

/* Frame sizes: 'weight' of them between 'min' and 'max'. */
struct size_mix {
    unsigned int n;
    struct {
        uint32_t min, max, weight;
    } sizes[MAX_SIZES];
    uint32_t weights;           /* Sum. */
    uint32_t max;               /* The largest. */
};

struct port_options {
    enum mode mode;
    char *path;
    bool server;                /* Listen at 'path'. */
    bool reconnect;
    bool old_base;              /* Packed rings come back at an old base. */
    struct wish features, protocol;
    uint64_t pairs, ring_size, regions;
    uint64_t buf_size;          /* 0: by features. */
    uint64_t tx_descs, rx_descs;        /* Descriptors for a frame. */
    bool indirect;
    char *hugepages;            /* Directory; NULL: memfd. */
    bool hugetlb;               /* memfd of huge pages. */

    uint8_t mac[6], dst_mac[6];
    bool mac_set, dst_mac_set;
    uint32_t ip, dst_ip;        /* Host byte order; 0: choose. */

    struct size_mix sizes;
    uint64_t flows;
    double rate;                /* Frames per second; 0: what goes. */
    uint64_t count;             /* 0: no end. */
    uint64_t burst;
    bool prepared;              /* The same frames again and again. */
    double restart;             /* Milliseconds between stops of the rings. */
    double cut;                 /* Milliseconds between ends of connections. */
    double hotplug;             /* Milliseconds between changes of memory. */

    char *tap;
    char *netns;
    char *file;                 /* To replay. */
    uint64_t loops;             /* 0: for ever. */
    char *capture;              /* File for what arrives. */
    uint64_t snaplen;
    char *misbehave;            /* Names. */
};

struct options {
    struct port_options ports[MAX_PORTS];
    unsigned int n_ports;

    bool poll;
    uint64_t threads;
    char *cpus;
    double duration;            /* Seconds; 0: no end. */
    double connect_timeout, settle, drain;
    double progress;            /* < 0: choose. */
    bool json, quiet, verbose;
    bool stamps;                /* Measure latency. */

    /* Expectations; < 0: none. */
    double expect_loss;
    bool expect_loss_percent;
    double expect_received, expect_reordered, expect_duplicates;
    double expect_corrupt, expect_rate, expect_p99;
};

/* Ends the program if 'argv' asks for help or cannot be understood. */
void options_parse(struct options *, int argc, char *argv[]);

/* Prints --help. */
void usage(void);

#endif /* guest/options.h */
