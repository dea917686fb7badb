/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Packet pools: how large they are, when they grow and when their memory goes
 * back.  See packet-pool.h for what they are.
 */

#include <config.h>

#include "packet-pool.h"

#include <errno.h>

#include "dpdk.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "ovs-thread.h"
#include "timeval.h"
#include "util.h"

#include "private.h"

#ifdef DPDK_NETDEV
#include <rte_ethdev.h>
#include <rte_lcore.h>
#endif

VLOG_DEFINE_THIS_MODULE(netdev_vhost_pool);

/* How often pools are looked at, and how long a pool that could not grow is
 * left alone, in ms. */
#define RUN_INTERVAL 500
#define GROW_RETRY 10000

/* How often the NICs are looked at (some drivers ask their firmware), in
 * ms. */
#define FLOOR_INTERVAL 5000

/* Packets that one burst, and the output batches made of it, may hold. */
#define PACKETS_PER_QUEUE (2 * NETDEV_MAX_BURST)

/* Memory of a class's smallest pool, and what a pool may grow to. */
#define MIN_POOL_BYTES (12u << 20)
#define MAX_POOL_PACKETS 262144

/* Classes of frame sizes: the usual MTU, two kinds of jumbo frames, and the
 * rest, for TCP segmentation. */
static const uint32_t frame_classes[] = {
    2048 - PACKET_POOL_HEADROOM,
    4096 - PACKET_POOL_HEADROOM,
    10240 - PACKET_POOL_HEADROOM,
    PACKET_POOL_MAX_FRAME,
};

static struct ovs_mutex pools_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list pools OVS_GUARDED_BY(pools_mutex)
    = OVS_LIST_INITIALIZER(&pools);

#ifdef DPDK_NETDEV
/* True if 'p' is an mbuf that only has to be put back into its pool.  (Whoever
 * links mbufs changes nb_segs too, so that 'next', which is in another cache
 * line, need not be looked at.) */
static inline bool
is_plain_mbuf(const struct dp_packet *p)
{
    const struct rte_mbuf *m = &p->mbuf;

    return (p->source == DPBUF_DPDK && rte_mbuf_refcnt_read(m) == 1
            && RTE_MBUF_DIRECT(m) && m->nb_segs == 1);
}

/* Frees those of 'pkts' that are plain and of one pool, from the first on, and
 * returns their number. */
static inline unsigned int
free_plain(struct dp_packet *pkts[], unsigned int n)
{
    struct rte_mempool *mp;
    unsigned int i = 0;

    if (OVS_UNLIKELY(!n || !is_plain_mbuf(pkts[0]))) {
        return 0;
    }
    mp = pkts[0]->mbuf.pool;
    do {
        i++;
    } while (i < n && is_plain_mbuf(pkts[i]) && pkts[i]->mbuf.pool == mp);
    rte_mempool_put_bulk(mp, (void **) pkts, i);
    return i;
}
#endif

void
packet_pool_free(struct dp_packet *pkts[], unsigned int n)
{
    while (n) {
        unsigned int i = 0;

#ifdef DPDK_NETDEV
        i = free_plain(pkts, n);
#endif
        if (OVS_UNLIKELY(!i)) {
            dp_packet_delete(pkts[0]);
            i = 1;
        }
        pkts += i;
        n -= i;
    }
}

/* Bytes of a packet's buffer, headroom included. */
static uint16_t
buffer_size(const struct packet_pool *pool)
{
    return MIN(pool->max_frame + PACKET_POOL_HEADROOM, UINT16_MAX);
}

static unsigned int
alloc_from_heap(const struct packet_pool *pool, struct dp_packet *pkts[],
                unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        pkts[i] = dp_packet_new_with_headroom(buffer_size(pool)
                                              - PACKET_POOL_HEADROOM,
                                              PACKET_POOL_HEADROOM);
    }
    return n;
}

/* Bulk calls are all or nothing, and another thread's cache may sit on what is
 * left: asks every slab for less and less. */
unsigned int
packet_pool_alloc_slow(struct packet_pool *pool, struct dp_packet *pkts[],
                       unsigned int n)
{
    unsigned int got = 0;

    if (pool->heap) {
        return alloc_from_heap(pool, pkts, n);
    }
#ifdef DPDK_NETDEV
    unsigned int n_slabs;

    atomic_read_explicit(&pool->n_slabs, &n_slabs, memory_order_acquire);
    for (unsigned int want = n; want; want /= 2) {
        for (unsigned int i = 0; i < n_slabs && got < n; i++) {
            while (want <= n - got
                   && !rte_pktmbuf_alloc_bulk(pool->slabs[i],
                                              (struct rte_mbuf **) pkts + got,
                                              want)) {
                got += want;
            }
        }
    }
#endif
    if (got < n) {
        atomic_store_relaxed(&pool->starved, true);
    }
    return got;
}

static uint32_t
frame_class(uint32_t max_frame)
{
    for (size_t i = 0; i < ARRAY_SIZE(frame_classes); i++) {
        if (max_frame <= frame_classes[i]) {
            return frame_classes[i];
        }
    }
    return PACKET_POOL_MAX_FRAME;
}

static struct packet_pool *
pool_find(int numa, uint32_t max_frame, bool heap)
    OVS_REQUIRES(pools_mutex)
{
    struct packet_pool *pool;

    LIST_FOR_EACH (pool, node, &pools) {
        if (pool->max_frame == max_frame && pool->heap == heap
            && (heap || pool->numa == numa)) {
            return pool;
        }
    }
    return NULL;
}

static struct packet_pool *
pool_create(int numa, uint32_t max_frame, bool heap)
    OVS_REQUIRES(pools_mutex)
{
    struct packet_pool *pool = xzalloc_cacheline(sizeof *pool);

    pool->max_frame = max_frame;
    pool->heap = heap;
    pool->numa = numa;
    atomic_init(&pool->n_slabs, 0);
    atomic_init(&pool->first, 0);
    atomic_init(&pool->starved, false);
    ovs_list_push_back(&pools, &pool->node);
    return pool;
}

static void
pool_destroy(struct packet_pool *pool)
    OVS_REQUIRES(pools_mutex)
{
    ovs_list_remove(&pool->node);
    free_cacheline(pool);
}

#ifdef DPDK_NETDEV
/* A large frame's element is mostly memory, so that caches of them are kept
 * short. */
static unsigned int
cache_size(const struct packet_pool *pool)
{
    return pool->max_frame == PACKET_POOL_MAX_FRAME ? 32 : 256;
}

static uint16_t
private_size(void)
{
    return ROUND_UP(sizeof(struct dp_packet) - sizeof(struct rte_mbuf),
                    RTE_MBUF_PRIV_ALIGN);
}

static size_t
element_size(const struct packet_pool *pool)
{
    return sizeof(struct rte_mbuf) + private_size() + buffer_size(pool);
}

/* Transmit descriptors of all NICs: packets rest in them after they were sent,
 * until the driver has reason to look. */
static unsigned int
nic_descriptors(void)
{
    unsigned int n = 0;
    uint16_t port;

    RTE_ETH_FOREACH_DEV (port) {
        struct rte_eth_dev_info info;

        if (rte_eth_dev_info_get(port, &info)) {
            continue;
        }
        for (uint16_t q = 0; q < info.nb_tx_queues; q++) {
            struct rte_eth_txq_info txq;

            /* Not every driver tells; then, what OVS asks for by default. */
            n += (rte_eth_tx_queue_info_get(port, q, &txq)
                  ? 2048 : txq.nb_desc);
        }
    }
    return n;
}

/* Packets without which the pool's users would starve each other even if every
 * one did nothing wrong. */
static unsigned int
pool_floor(const struct packet_pool *pool)
{
    unsigned int nic = nic_descriptors();
    unsigned int caches = (pool->n_threads + 1) * cache_size(pool) * 3 / 2;
    unsigned int queues = pool->n_queues * PACKETS_PER_QUEUE;

    /* A frame to be segmented takes many descriptors. */
    if (pool->max_frame == PACKET_POOL_MAX_FRAME) {
        nic /= 8;
    }
    return nic + caches + queues;
}

static void
init_element(struct rte_mempool *mp OVS_UNUSED, void *aux OVS_UNUSED,
             void *element, unsigned int i OVS_UNUSED)
{
    dp_packet_init_dpdk(element);
}

static struct rte_mempool *
slab_create(const struct packet_pool *pool, unsigned int n, int socket)
{
    static unsigned int serial;
    char name[RTE_MEMPOOL_NAMESIZE];
    struct rte_mempool *mp;

    snprintf(name, sizeof name, "vhost%u_%u", pool->max_frame, serial++);
    mp = rte_pktmbuf_pool_create(name, n, cache_size(pool), private_size(),
                                 buffer_size(pool), socket);
    if (mp) {
        rte_mempool_obj_iter(mp, init_element, NULL);
    }
    return mp;
}

/* Adds a slab of 'want' packets, or fewer if there is less memory.  Returns
 * false if there is not enough to speak of. */
static bool
pool_add_slab(struct packet_pool *pool, unsigned int want)
    OVS_REQUIRES(pools_mutex)
{
    unsigned int least = MAX(cache_size(pool) * 3 / 2 + 1, 256);
    struct rte_mempool *mp = NULL;
    unsigned int n_slabs;
    unsigned int n;

    atomic_read_relaxed(&pool->n_slabs, &n_slabs);
    if (n_slabs >= PACKET_POOL_MAX_SLABS
        || pool->n_packets >= MAX_POOL_PACKETS) {
        return false;
    }
    for (n = MAX(want, least); n >= least && !mp; n /= 2) {
        mp = slab_create(pool, n, pool->numa < 0 ? SOCKET_ID_ANY : pool->numa);
        if (!mp && pool->numa >= 0) {
            /* Memory far away is better than none. */
            mp = slab_create(pool, n, SOCKET_ID_ANY);
        }
    }

    /* DPDK replaces the handler while it allocates memory. */
    vhost_netdev_check_sigbus();
    if (!mp) {
        return false;
    }

    VLOG_DBG("pool of %u byte frames, node %d: %u packets more",
             pool->max_frame, pool->numa, mp->size);
    pool->n_packets += mp->size;
    pool->slabs[n_slabs] = mp;
    atomic_store_explicit(&pool->n_slabs, n_slabs + 1, memory_order_release);
    atomic_store_relaxed(&pool->first, n_slabs);
    return true;
}

/* Makes 'pool' as large as its users need it at least. */
static bool
pool_ensure_floor(struct packet_pool *pool)
    OVS_REQUIRES(pools_mutex)
{
    unsigned int least = MIN_POOL_BYTES / element_size(pool);
    unsigned int need = MAX(pool_floor(pool), least);

    if (pool->n_packets < need) {
        /* At least doubled, so that a port at a time does not fill the list
         * of slabs. */
        return (pool_add_slab(pool, MAX(need - pool->n_packets,
                                        pool->n_packets))
                || pool->n_packets);
    }
    return true;
}

static unsigned int
pool_available(const struct packet_pool *pool)
{
    unsigned int n_slabs;
    unsigned int n = 0;

    atomic_read_relaxed(&CONST_CAST(struct packet_pool *, pool)->n_slabs,
                        &n_slabs);
    for (unsigned int i = 0; i < n_slabs; i++) {
        n += rte_mempool_avail_count(pool->slabs[i]);
    }
    return n;
}

/* Grows 'pool' if it is low, and lets polling threads start with the slab that
 * has most. */
static void
pool_run(struct packet_pool *pool, long long int now)
    OVS_REQUIRES(pools_mutex)
{
    unsigned int available = 0;
    unsigned int most = 0;
    unsigned int n_slabs;
    unsigned int first;
    bool starved;

    atomic_read_relaxed(&pool->n_slabs, &n_slabs);
    atomic_read_relaxed(&pool->first, &first);
    for (unsigned int i = 0; i < n_slabs; i++) {
        unsigned int n = rte_mempool_avail_count(pool->slabs[i]);

        available += n;
        if (n > most) {
            most = n;
            first = i;
        }
    }
    atomic_store_relaxed(&pool->first, first);

    atomic_read_relaxed(&pool->starved, &starved);
    if (now < pool->next_grow) {
        return;
    }
    if (starved || available < pool->n_packets / 8) {
        atomic_store_relaxed(&pool->starved, false);
        if (!pool_add_slab(pool, pool->n_packets)) {
            VLOG_WARN("no memory for more packets (%u byte frames, node %d): "
                      "%u of %u are in use", pool->max_frame, pool->numa,
                      pool->n_packets - available, pool->n_packets);
            pool->next_grow = now + GROW_RETRY;
        }
    } else if (now >= pool->next_floor) {
        /* NICs may have come since. */
        pool_ensure_floor(pool);
        pool->next_floor = now + FLOOR_INTERVAL;
    }
}

/* Frees those slabs of an unused pool that have all of their packets back, and
 * the pool after the last one. */
static void
pool_sweep(struct packet_pool *pool)
    OVS_REQUIRES(pools_mutex)
{
    unsigned int n_slabs;

    atomic_read_relaxed(&pool->n_slabs, &n_slabs);
    for (unsigned int i = n_slabs; i-- > 0; ) {
        struct rte_mempool *mp = pool->slabs[i];

        if (rte_mempool_full(mp)) {
            pool->n_packets -= mp->size;
            rte_mempool_free(mp);
            pool->slabs[i] = pool->slabs[--n_slabs];
        }
    }
    atomic_store_relaxed(&pool->n_slabs, n_slabs);
    atomic_store_relaxed(&pool->first, 0);
    if (!n_slabs) {
        pool_destroy(pool);
    }
}
#endif /* DPDK_NETDEV */

struct packet_pool *
packet_pool_get(int numa, uint32_t max_frame, unsigned int n_queues,
                unsigned int n_threads)
{
    bool heap = !dpdk_available();
    struct packet_pool *pool;

    max_frame = frame_class(max_frame);
    ovs_mutex_lock(&pools_mutex);
    pool = pool_find(numa, max_frame, heap);
    if (!pool) {
        pool = pool_create(numa, max_frame, heap);
    }
    pool->ref_cnt++;
    pool->n_queues += n_queues;
    pool->n_threads = MAX(pool->n_threads, n_threads);
#ifdef DPDK_NETDEV
    if (!heap && !pool_ensure_floor(pool)) {
        VLOG_WARN("no memory for packets (%u byte frames, node %d)",
                  max_frame, numa);
        pool->n_queues -= n_queues;
        if (!--pool->ref_cnt) {
            pool_sweep(pool);
        }
        pool = NULL;
    }
#endif
    ovs_mutex_unlock(&pools_mutex);
    return pool;
}

void
packet_pool_put(struct packet_pool *pool, unsigned int n_queues)
{
    if (!pool) {
        return;
    }
    ovs_mutex_lock(&pools_mutex);
    ovs_assert(pool->ref_cnt && pool->n_queues >= n_queues);
    pool->n_queues -= n_queues;
    if (!--pool->ref_cnt && pool->heap) {
        pool_destroy(pool);
    }
    ovs_mutex_unlock(&pools_mutex);
}

long long int
packet_pool_run(void)
{
    long long int next = LLONG_MAX;

#ifdef DPDK_NETDEV
    static long long int due = LLONG_MIN;
    long long int now = time_msec();
    struct packet_pool *pool;

    ovs_mutex_lock(&pools_mutex);
    if (now >= due) {
        due = now + RUN_INTERVAL;
        LIST_FOR_EACH_SAFE (pool, node, &pools) {
            if (pool->heap) {
                continue;
            } else if (pool->ref_cnt) {
                pool_run(pool, now);
            } else {
                pool_sweep(pool);
            }
        }
    }
    next = ovs_list_is_empty(&pools) ? LLONG_MAX : due;
    ovs_mutex_unlock(&pools_mutex);
#endif
    return next;
}

void
packet_pool_get_info(const struct packet_pool *pool,
                     struct packet_pool_info *info)
{
    memset(info, 0, sizeof *info);
    info->max_frame = pool->max_frame;
    info->heap = pool->heap;
    if (pool->heap) {
        return;
    }
#ifdef DPDK_NETDEV
    ovs_mutex_lock(&pools_mutex);
    atomic_read_relaxed(&CONST_CAST(struct packet_pool *, pool)->n_slabs,
                        &info->n_slabs);
    info->numa = pool->numa;
    info->n_packets = pool->n_packets;
    info->n_free = pool_available(pool);
    info->n_ports = pool->ref_cnt;
    info->bytes = (uint64_t) pool->n_packets * element_size(pool);
    ovs_mutex_unlock(&pools_mutex);
#endif
}

void
packet_pool_format(const struct packet_pool *pool, struct ds *ds)
{
    struct packet_pool_info info;

    packet_pool_get_info(pool, &info);
    ds_put_format(ds, "frames up to %"PRIu32" bytes", info.max_frame);
    if (info.heap) {
        ds_put_cstr(ds, ", from the heap");
    } else {
        ds_put_format(ds, ", node %d, %u packets in %u slab%s, %u free, "
                      "used by %u ports", info.numa, info.n_packets,
                      info.n_slabs, info.n_slabs == 1 ? "" : "s", info.n_free,
                      info.n_ports);
    }
}
