/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * When a port has something to warn of: judges facts that others have
 * collected (warnings.c), and decides when a warning begins, ends and is
 * logged.  Nothing here asks anybody anything, nor knows Open vSwitch, so that
 * a unit test can play all of it.
 *
 * A guest decides about many of these facts, and must be able neither to flood
 * the log nor to have the database written all the time.  So a condition has
 * to last before it is a warning, has to be gone for a while before the
 * warning ends, and one that comes back is not logged again for a minute.
 */

#ifndef NETDEV_VHOST_WARNING_RULES_H
#define NETDEV_VHOST_WARNING_RULES_H 1

#include <stdbool.h>
#include <stdint.h>

#include "vhost/vhost.h"

enum warning_kind {
    WARNING_NO_LISTENER,        /* Client: nobody is there. */
    WARNING_REFUSED,            /* The path cannot be used. */
    WARNING_NO_FRONT_END,       /* The peer is no front end. */
    WARNING_SOCKET_LOST,        /* Server: its file was taken away. */
    WARNING_SOCKET_ACCESS,      /* Its owner or mode is not as wanted. */
    WARNING_IGNORED_OPTIONS,
    WARNING_NO_MRG_RXBUF,       /* On a port with a large MTU. */
    WARNING_NUMA,               /* Polled from another node. */
    WARNING_NOT_DRAINING,       /* A full ring from which nothing is taken. */
    WARNING_FEW_QUEUES,         /* Threads wait for each other. */
    WARNING_POOL_LOW,           /* Hardly any packet is free. */
    N_WARNINGS
};

/* What is judged.  Numbers "since" are of the time since the last look. */
struct warning_facts {
    enum vhost_state state;
    enum vhost_trouble trouble;
    bool silent;                /* The peer has said nothing so far. */
    bool socket_lost;
    bool access_failed;
    bool ignored_options;
    uint64_t features;          /* Negotiated. */
    int mtu;
    bool polled;                /* It is known from which nodes. */
    bool polled_afar;           /* One is not the guest's. */
    bool stuck;                 /* Since: a thread met a full ring, and sent
                                 * nothing. */
    bool sent;                  /* Since: something. */
    unsigned int n_pairs;       /* That the guest uses. */
    unsigned int n_senders;     /* Threads that may send. */
    uint64_t waits_per_second;  /* Since: of one sender for another. */
    unsigned int n_packets;     /* Of the pool; 0: no limit. */
    unsigned int n_free;
};

enum warning_verdict {
    VERDICT_NO,
    VERDICT_YES,
    VERDICT_UNKNOWN,            /* As it was. */
};

enum warning_verdict warning_judge(enum warning_kind,
                                   const struct warning_facts *);

/* The state of one kind of warning of one port.  All 0 at first. */
struct warning {
    bool raised;
    bool pending;               /* Since 'since' it is not as 'raised' says. */
    bool logged;                /* Once at least, */
    long long int since;        /* Milliseconds. */
    long long int logged_at;    /* at this time. */
    unsigned int n_unlogged;    /* Times that it was raised since then. */
};

enum warning_event {
    WARNING_STAYS,
    WARNING_RAISED,             /* And is to be logged. */
    WARNING_RAISED_AGAIN,       /* Not to be logged. */
    WARNING_CLEARED,            /* Both in the same way. */
    WARNING_CLEARED_AGAIN,
};

/* Goes on with 'w' as 'verdict' says at the time 'now', in milliseconds. */
enum warning_event warning_step(struct warning *w, enum warning_kind,
                                enum warning_verdict verdict,
                                long long int now);

/* "no_listener" and so on: for the status column. */
const char *warning_name(enum warning_kind);

#endif /* warning-rules.h */
