/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What a port warns its operator of: things that work, or seem to, but not as
 * they should, each with what to do about it.  Found out in the main thread
 * every second, from what is counted anyway.
 */

#ifndef NETDEV_VHOST_WARNINGS_H
#define NETDEV_VHOST_WARNINGS_H 1

#include "warning-rules.h"

struct ds;
struct json;
struct netdev_rxq_vhost;
struct netdev_vhost;
struct smap;

/* Of one port; part of struct netdev_vhost.  'text' is what the status says of
 * those that are raised. */
struct warnings {
    struct warning states[N_WARNINGS];
    char *text[N_WARNINGS];     /* NULL: not raised. */
    long long int due;          /* When to look next, in ms. */

    /* What was counted at the last look. */
    long long int looked_at;    /* 0: never. */
    struct warnings_slot {
        uint64_t full;
        uint64_t sent;
    } *slots;
    unsigned int n_slots;
    uint64_t waits;
};

/* All of these want dev->mutex. */

/* Looks after the warnings of 'dev' at the time 'now', in ms as from
 * time_msec().  Returns true if the status has changed. */
bool netdev_vhost_warnings_run(struct netdev_vhost *dev, long long int now);

void netdev_vhost_warnings_destroy(struct warnings *);

/* Add those that are raised, to the status, to what people read, and as an
 * object of texts by name. */
void netdev_vhost_warnings_to_status(const struct warnings *, struct smap *);
void netdev_vhost_warnings_format(const struct warnings *, struct ds *);
struct json *netdev_vhost_warnings_to_json(const struct warnings *);

/* The NUMA node that the calling thread works on, if it is a PMD thread; -1 if
 * that is not known. */
int netdev_vhost_own_node(void);

#endif /* warnings.h */
