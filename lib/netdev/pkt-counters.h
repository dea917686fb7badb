/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Counters of packets.  Each has one writer and any readers, who want a recent
 * value and no order: relaxed loads and stores, which cost what plain ones do.
 */

#ifndef NETDEV_VHOST_PKT_COUNTERS_H
#define NETDEV_VHOST_PKT_COUNTERS_H 1

#include <stdbool.h>
#include <stdint.h>

#include "dp-packet.h"
#include "util.h"

static inline uint64_t
counter_get(const uint64_t *c)
{
    return __atomic_load_n(c, __ATOMIC_RELAXED);
}

/* Adds to a counter; 'shared' says that it may have other writers now. */
static inline void
counter_add(uint64_t *c, uint64_t n, bool shared)
{
    if (OVS_UNLIKELY(shared)) {
        __atomic_fetch_add(c, n, __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(c, counter_get(c) + n, __ATOMIC_RELAXED);
    }
}

/* Size classes of the statistics, by frame length.  Their order is that of a
 * device's state, too (netdev_vhost_save()). */
enum {
    SIZE_UNDER_64,
    SIZE_64,
    SIZE_65_127,
    SIZE_128_255,
    SIZE_256_511,
    SIZE_512_1023,
    SIZE_1024_1518,
    SIZE_1519_MAX,
    N_SIZES
};

/* Packets of one queue that went through. */
struct pkt_counters {
    uint64_t packets;
    uint64_t bytes;
    uint64_t multicast;
    uint64_t broadcast;
    uint64_t sizes[N_SIZES];
};

static inline unsigned int
size_class(uint32_t len)
{
    if (len <= 64) {
        return len < 64 ? SIZE_UNDER_64 : SIZE_64;
    } else if (len > 1023) {
        return len <= 1518 ? SIZE_1024_1518 : SIZE_1519_MAX;
    } else {
        /* 65...127 have 7 significant bits, 128...255 have 8, and so on. */
        return SIZE_65_127 + (32 - __builtin_clz(len)) - 7;
    }
}

/* Counts 'n' frames of 'len' bytes each, not who they are for. */
static inline void
pkt_counters_add_sizes(struct pkt_counters *c, uint32_t len, unsigned int n,
                       bool shared)
{
    counter_add(&c->bytes, (uint64_t) n * len, shared);
    counter_add(&c->sizes[size_class(len)], n, shared);
}

/* Counts the frame of at least 6 bytes at 'data' if it is for a group. */
static inline void
pkt_counters_add_group(struct pkt_counters *c, const uint8_t *data,
                       bool shared)
{
    if (OVS_UNLIKELY(data[0] & 1)) {
        counter_add((data[0] & data[1] & data[2] & data[3] & data[4] & data[5])
                    == 0xff ? &c->broadcast : &c->multicast, 1, shared);
    }
}

/* Counts a frame of 'len' >= 6 bytes at 'data'. */
static inline void
pkt_counters_add(struct pkt_counters *c, const uint8_t *data, uint32_t len,
                 bool shared)
{
    pkt_counters_add_sizes(c, len, 1, shared);
    pkt_counters_add_group(c, data, shared);
}

/* Counts the sizes of 'n' packets, which the caller knows to be from 'min_len'
 * to 'max_len' bytes long. */
static inline void
pkt_counters_add_batch(struct pkt_counters *c, struct dp_packet *pkts[],
                       unsigned int n, uint32_t min_len, uint32_t max_len,
                       bool shared)
{
    if (OVS_LIKELY(min_len == max_len)) {
        pkt_counters_add_sizes(c, min_len, n, shared);
    } else {
        for (unsigned int i = 0; i < n; i++) {
            pkt_counters_add_sizes(c, dp_packet_size(pkts[i]), 1, shared);
        }
    }
}

/* Counts those of the 'n' frames at 'data' that are for groups. */
static inline void
pkt_counters_add_groups(struct pkt_counters *c, const void *const data[],
                        unsigned int n, bool shared)
{
    for (unsigned int i = 0; i < n; i++) {
        pkt_counters_add_group(c, data[i], shared);
    }
}

#endif /* pkt-counters.h */
