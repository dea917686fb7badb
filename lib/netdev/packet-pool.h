/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Where received packets come from: pools of single-segment dp_packets, shared
 * by the ports of one NUMA node and one class of frame sizes.  With DPDK they
 * are mbufs that any port may transmit without a copy; without it they come
 * from the heap.  Nothing here knows vhost.
 *
 * A pool is a list of slabs, each a mempool of fixed size: a partly populated
 * mempool could never be freed, so a pool that turns out too small gets
 * another one.  Only control threads add and free slabs; polling threads just
 * try one after the other.
 */

#ifndef PACKET_POOL_H
#define PACKET_POOL_H 1

#include <stdbool.h>
#include <stdint.h>

#include "dp-packet.h"
#include "openvswitch/list.h"
#include "ovs-atomic.h"

#ifdef DPDK_NETDEV
#include <rte_mbuf.h>
#include <rte_mempool.h>
#endif

struct ds;
struct rte_mempool;

/* Bytes before a received frame.  More than DPDK's 128, since pushing headers
 * that do not fit aborts the switch in some versions: two VXLAN headers over
 * IPv6 have 140 bytes. */
#define PACKET_POOL_HEADROOM 256

/* A frame's limit in the largest class: a packet's allocation is counted in 16
 * bits, headroom included.  Linux makes frames of up to 65,281 bytes for TCP
 * segmentation, so that the longest get less headroom than others. */
#define PACKET_POOL_MIN_HEADROOM 192
#define PACKET_POOL_MAX_FRAME (UINT16_MAX - PACKET_POOL_MIN_HEADROOM)

#define PACKET_POOL_MAX_SLABS 16

struct packet_pool {
    /* For polling threads. */
    uint32_t max_frame;         /* Bytes that fit behind the headroom. */
    bool heap;                  /* No slabs: packets are from malloc(). */
    atomic_uint n_slabs;
    atomic_uint first;          /* Slab to try first. */
    struct rte_mempool *slabs[PACKET_POOL_MAX_SLABS];

    /* Set by polling threads that did not get what they wanted. */
    OVS_ALIGNED_VAR(CACHE_LINE_SIZE) atomic_bool starved;

    /* For control threads. */
    OVS_ALIGNED_VAR(CACHE_LINE_SIZE) struct ovs_list node;
    int numa;                   /* Wanted; slabs may have had to be placed
                                 * elsewhere. */
    unsigned int ref_cnt;
    unsigned int n_queues;      /* Of all users, both directions. */
    unsigned int n_threads;     /* Most threads that any user has. */
    unsigned int n_packets;     /* In all slabs. */
    long long int next_grow;    /* Not before this time, in ms. */
    long long int next_floor;   /* When to compute the floor again, in ms. */
};

/* Returns the pool for frames of up to 'max_frame' bytes on 'numa' (negative:
 * anywhere), created if there is none, with a reference for a user that has
 * 'n_queues' queues used by 'n_threads' threads.  The pool's 'max_frame' is at
 * least the one asked for, PACKET_POOL_MAX_FRAME at most.  Returns NULL if
 * there is no memory.
 *
 * Control threads. */
struct packet_pool *packet_pool_get(int numa, uint32_t max_frame,
                                    unsigned int n_queues,
                                    unsigned int n_threads);

/* Gives back the reference of a user that had 'n_queues' queues.  NULL is
 * ignored.  Packets may still be on their way: the memory is freed when all
 * are back.
 *
 * Control threads. */
void packet_pool_put(struct packet_pool *, unsigned int n_queues);

/* Grows pools that are low and frees those that nobody needs any more.  To be
 * called every now and then; returns the time, in ms as from time_msec(), when
 * it should be called next.
 *
 * Control threads. */
long long int packet_pool_run(void);

/* What 'pool' has and has given out. */
struct packet_pool_info {
    uint32_t max_frame;         /* Bytes. */
    bool heap;                  /* The rest is 0 then. */
    int numa;
    unsigned int n_packets;
    unsigned int n_slabs;
    unsigned int n_free;
    unsigned int n_ports;       /* That share it. */
    uint64_t bytes;             /* Of all packets, with their headers. */
};
void packet_pool_get_info(const struct packet_pool *,
                          struct packet_pool_info *);

/* Appends it to 'ds', in words. */
void packet_pool_format(const struct packet_pool *pool, struct ds *ds);

/* Frees 'n' packets of any source.  Any thread. */
void packet_pool_free(struct dp_packet *pkts[], unsigned int n);

unsigned int packet_pool_alloc_slow(struct packet_pool *,
                                    struct dp_packet *pkts[], unsigned int n);

/* Takes up to 'n' packets, of which nothing but the source is set, and returns
 * how many.  All of a pool's packets are of one kind, so that a batch may be
 * made of them without a look (OVS 3.1 leaks packets of batches that mix
 * DPDK's and others).
 *
 * Any thread. */
static inline unsigned int
packet_pool_alloc(struct packet_pool *pool, struct dp_packet *pkts[],
                  unsigned int n)
{
#ifdef DPDK_NETDEV
    unsigned int first;

    atomic_read_relaxed(&pool->first, &first);
    if (OVS_LIKELY(!pool->heap)
        && OVS_LIKELY(!rte_mempool_get_bulk(pool->slabs[first],
                                            (void **) pkts, n))) {
        return n;
    }
#endif
    return packet_pool_alloc_slow(pool, pkts, n);
}

/* Prepares 'p', just taken from a pool, for a frame of 'len' <= max_frame
 * bytes, without offloads, and returns where it is to be written. */
static inline void *
packet_pool_start(struct dp_packet *p, uint32_t len)
{
    uint16_t headroom = PACKET_POOL_HEADROOM;

    if (OVS_UNLIKELY(len > UINT16_MAX - PACKET_POOL_HEADROOM)) {
        headroom = UINT16_MAX - len;
    }
#ifdef DPDK_NETDEV
    /* What a free mbuf is (one segment, one reference) it still is, so that
     * its second cache line need not be touched. */
    p->mbuf.data_off = headroom;
    p->mbuf.ol_flags = 0;
    p->mbuf.pkt_len = len;
    p->mbuf.data_len = len;
#else
    dp_packet_set_data(p, (char *) dp_packet_base(p) + headroom);
    dp_packet_set_size(p, len);
#endif
    return (char *) dp_packet_base(p) + headroom;
}

#endif /* packet-pool.h */
