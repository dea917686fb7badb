/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What PMDs find by RCU where policing or QoS is set: police.c uses it, and
 * qos.c makes and replaces it.
 */

#ifndef NETDEV_VHOST_QOS_METERS_H
#define NETDEV_VHOST_QOS_METERS_H 1

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "cmap.h"
#include "hash.h"
#include "policer.h"

/* Policing of what the guest sends: one for all of its queues. */
struct ingress_policer {
    uint32_t kbits_rate, kbits_burst;   /* 0: no limit. */
    uint32_t kpkts_rate, kpkts_burst;   /* The same. */
    struct bucket bytes, packets;
};

/* "egress-policer" has only the first two. */
struct qos_rates {
    uint64_t cir, cbs;          /* Bytes per second, bytes. */
    uint64_t eir, ebs;
};

struct queue_counters {
    uint64_t packets, bytes, errors;    /* Atomic. */
    long long int created;      /* As from time_msec(). */
};

struct qos_queue {
    struct cmap_node node;      /* In qos_queues.map, by 'id'. */
    uint32_t id;
    struct qos_rates rates;
    struct meter meter;
    struct queue_counters *counters;    /* Survive a change of 'rates'. */
};

/* Outlives a struct qos whose rates change. */
struct qos_queues {
    struct cmap map;
};

/* QoS of what the guest receives.  Constant but for what the meters and the
 * queues have in them. */
struct qos {
    bool trtcm;                 /* "trtcm-policer", not "egress-policer". */
    struct qos_rates rates;
    struct meter meter;
    struct qos_queues *queues;  /* NULL: this type has none. */
};

/* What meters are told as the time. */
static inline uint64_t
meter_now_ns(void)
{
    struct timespec ts;

    /* No system call: the kernel's vDSO. */
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

/* Returns the queue 'id', or NULL if there is none. */
static inline struct qos_queue *
qos_find_queue(const struct qos_queues *queues, uint32_t id)
{
    struct qos_queue *queue;

    CMAP_FOR_EACH_WITH_HASH (queue, node, hash_int(id, 0), &queues->map) {
        if (queue->id == id) {
            return queue;
        }
    }
    return NULL;
}

#endif /* qos-meters.h */
