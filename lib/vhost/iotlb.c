/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The table of translations; iotlb.h says who may do what.
 *
 * An entry is two words: a key, which has the block's address, size and rights
 * and is 0 if there is none, and the host address.  A reader loads the key,
 * the host address, and the key again: an entry that is being replaced has the
 * key 0 meanwhile.
 *
 * Block sizes are powers of 8 times the page, so that 2 MiB and 1 GiB are
 * among them, and so that no range, whatever its ends, needs more than some
 * hundred blocks, and no lookup more than ten probes (mostly one).
 */

#include "iotlb.h"

#include <stdlib.h>
#include <string.h>

#define N_WAYS 8                /* Of a bucket. */
#define BUCKET_BITS 13
#define N_BUCKETS (1u << BUCKET_BITS)

#define N_ORDERS 10
#define ORDER_BITS 3
#define ORDER_SHIFT(ORDER) (VHOST_IOTLB_PAGE_BITS + ORDER_BITS * (ORDER))

/* Bits of a key, below the address. */
#define KEY_VALID 1u
#define KEY_PERM_SHIFT 1        /* 2 bits. */
#define KEY_DENIED_SHIFT 3      /* 2 bits. */
#define KEY_ORDER_SHIFT 5       /* 4 bits. */
#define KEY_SAME (~(uint64_t) (VHOST_IOTLB_RW << KEY_PERM_SHIFT             \
                               | VHOST_IOTLB_RW << KEY_DENIED_SHIFT))

struct entry {
    _Atomic uint64_t key;
    _Atomic uintptr_t host;
};

struct bucket {
    struct entry ways[N_WAYS];
} __attribute__((aligned(128)));

struct vhost_iotlb {
    struct bucket *buckets;
    _Atomic uint32_t orders;    /* Bit i: some block has order i. */
    _Atomic uint32_t round;
    _Atomic uint64_t generation;

    /* The event thread's. */
    _Atomic unsigned int n;
    unsigned int n_of_order[N_ORDERS];
    uint64_t used[N_BUCKETS / 64];  /* Buckets that may have entries. */
    unsigned int next_victim;
    bool unsettled;             /* Some entry went and may be in use. */
};

/* Readers. */

static inline unsigned int
bucket_of(uint64_t iova, unsigned int order)
{
    uint64_t x = (iova >> ORDER_SHIFT(order)) + ((uint64_t) order << 56);

    return x * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BUCKET_BITS);
}

/* Key of the block of 'order' in which 'iova' is, without rights. */
static inline uint64_t
key_of(uint64_t iova, unsigned int order)
{
    return (iova >> ORDER_SHIFT(order) << ORDER_SHIFT(order)
            | order << KEY_ORDER_SHIFT | KEY_VALID);
}

static inline unsigned int
key_perm(uint64_t key)
{
    return key >> KEY_PERM_SHIFT & VHOST_IOTLB_RW;
}

static inline unsigned int
key_denied(uint64_t key)
{
    return key >> KEY_DENIED_SHIFT & VHOST_IOTLB_RW;
}

static inline unsigned int
key_order(uint64_t key)
{
    return key >> KEY_ORDER_SHIFT & 15;
}

static inline uint64_t
key_iova(uint64_t key)
{
    return key >> VHOST_IOTLB_PAGE_BITS << VHOST_IOTLB_PAGE_BITS;
}

/* Looks for the block of 'order' in which 'iova' is.  Returns its key, 0 if
 * there is none, and stores where it is in '*hostp'. */
static inline uint64_t
probe(const struct vhost_iotlb *t, uint64_t iova, unsigned int order,
      uintptr_t *hostp)
{
    const struct bucket *b = &t->buckets[bucket_of(iova, order)];
    uint64_t wanted = key_of(iova, order);

    for (unsigned int i = 0; i < N_WAYS; i++) {
        const struct entry *e = &b->ways[i];
        uint64_t key = atomic_load_explicit(&e->key, memory_order_acquire);

        if ((key & KEY_SAME) == wanted) {
            *hostp = atomic_load_explicit(&e->host, memory_order_acquire);
            if ((atomic_load_explicit(&e->key, memory_order_relaxed)
                 & KEY_SAME) == wanted) {
                return key;
            }
        }
    }
    return 0;
}

enum vhost_iotlb_found
vhost_iotlb_find(const struct vhost_iotlb *t, uint64_t iova,
                 unsigned int need, struct vhost_iotlb_block *block)
{
    uint32_t orders = atomic_load_explicit(&t->orders, memory_order_acquire);
    enum vhost_iotlb_found result = VHOST_IOTLB_MISS;

    block->perm = 0;
    for (; orders; orders &= orders - 1) {
        unsigned int order = __builtin_ctz(orders);
        uintptr_t host;
        uint64_t key = probe(t, iova, order, &host);

        if (!key) {
            continue;
        }
        block->perm = key_perm(key);
        if (!(need & ~block->perm)) {
            block->iova = key_iova(key);
            block->size = UINT64_C(1) << ORDER_SHIFT(order);
            block->host = (uint8_t *) host;
            return VHOST_IOTLB_HIT;
        }
        if (need & key_denied(key)) {
            result = VHOST_IOTLB_DENIED;
        }
    }
    return result;
}

uint64_t
vhost_iotlb_generation(const struct vhost_iotlb *t)
{
    /* The thread has just said, by its gate's mark, that it is inside: that
     * has to be visible before anything is looked up.  (Gates do without it
     * for rings without a vIOMMU, see gate.h.) */
#ifdef __SANITIZE_THREAD__
    return atomic_load(&t->generation);
#else
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&t->generation, memory_order_acquire);
#endif
}

uint32_t
vhost_iotlb_round(const struct vhost_iotlb *t)
{
    return atomic_load_explicit(&t->round, memory_order_relaxed);
}

unsigned int
vhost_iotlb_count(const struct vhost_iotlb *t)
{
    return atomic_load_explicit(&t->n, memory_order_relaxed);
}

/* The event thread. */

struct vhost_iotlb *
vhost_iotlb_create(void)
{
    struct vhost_iotlb *t = calloc(1, sizeof *t);
    size_t size = N_BUCKETS * sizeof *t->buckets;

    if (t) {
        t->buckets = aligned_alloc(sizeof *t->buckets, size);
        if (!t->buckets) {
            free(t);
            return NULL;
        }
        memset(t->buckets, 0, size);
        atomic_init(&t->generation, 1);
        atomic_init(&t->round, 1);
    }
    return t;
}

void
vhost_iotlb_free(struct vhost_iotlb *t)
{
    if (t) {
        free(t->buckets);
        free(t);
    }
}

/* Adds 'd' to the number of blocks of 'order'. */
static void
count_blocks(struct vhost_iotlb *t, unsigned int order, int d)
{
    uint32_t bit = 1u << order;

    t->n_of_order[order] += d;
    atomic_store_explicit(&t->n, vhost_iotlb_count(t) + d,
                          memory_order_relaxed);
    if (t->n_of_order[order]) {
        atomic_fetch_or(&t->orders, bit);
    } else {
        atomic_fetch_and(&t->orders, ~bit);
    }
}

static void
drop(struct vhost_iotlb *t, struct entry *e)
{
    uint64_t key = atomic_load_explicit(&e->key, memory_order_relaxed);

    atomic_store_explicit(&e->key, 0, memory_order_relaxed);
    t->unsettled = true;
    count_blocks(t, key_order(key), -1);
}

/* The entry for the block of 'order' at 'iova': its own, or a free one, or one
 * that has to make room. */
static struct entry *
place(struct vhost_iotlb *t, uint64_t iova, unsigned int order)
{
    unsigned int i = bucket_of(iova, order);
    struct bucket *b = &t->buckets[i];
    uint64_t wanted = key_of(iova, order);
    struct entry *empty = NULL;

    for (unsigned int k = 0; k < N_WAYS; k++) {
        struct entry *e = &b->ways[k];
        uint64_t key = atomic_load_explicit(&e->key, memory_order_relaxed);

        if ((key & KEY_SAME) == wanted) {
            return e;
        } else if (!key) {
            empty = e;
        }
    }
    if (!empty) {
        empty = &b->ways[t->next_victim++ % N_WAYS];
        drop(t, empty);
    }
    t->used[i / 64] |= UINT64_C(1) << (i % 64);
    return empty;
}

static void
insert_block(struct vhost_iotlb *t, uint64_t iova, unsigned int order,
             uintptr_t host, unsigned int perm, unsigned int denied)
{
    struct entry *e = place(t, iova, order);
    uint64_t old = atomic_load_explicit(&e->key, memory_order_relaxed);
    uint64_t key = key_of(iova, order);

    if (old && atomic_load_explicit(&e->host, memory_order_relaxed) != host) {
        drop(t, e);             /* It has moved, which nobody told us. */
        old = 0;
    }
    perm |= key_perm(old);
    denied = (denied | key_denied(old)) & ~perm;
    key |= perm << KEY_PERM_SHIFT | denied << KEY_DENIED_SHIFT;
    if (!old) {
        atomic_store_explicit(&e->host, host, memory_order_release);
        count_blocks(t, order, 1);
    }
    atomic_store_explicit(&e->key, key, memory_order_release);
}

/* Drops what the entries of bucket 'i', of orders below 'n_orders', have in
 * first...last. */
static void
sweep_bucket(struct vhost_iotlb *t, unsigned int i, unsigned int n_orders,
             uint64_t first, uint64_t last)
{
    bool empty = true;

    for (unsigned int k = 0; k < N_WAYS; k++) {
        struct entry *e = &t->buckets[i].ways[k];
        uint64_t key = atomic_load_explicit(&e->key, memory_order_relaxed);
        uint64_t start = key_iova(key);
        uint64_t end = start + ((UINT64_C(1) << ORDER_SHIFT(key_order(key)))
                                - 1);

        if (key && key_order(key) < n_orders && start <= last
            && end >= first) {
            drop(t, e);
        } else if (key) {
            empty = false;
        }
    }
    if (empty) {
        t->used[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
}

/* Drops all blocks of orders below 'n_orders' that have a byte in
 * first...last. */
static void
drop_range(struct vhost_iotlb *t, unsigned int n_orders, uint64_t first,
           uint64_t last)
{
    uint64_t n_probes = 0;

    for (unsigned int order = 0; order < n_orders; order++) {
        if (t->n_of_order[order]) {
            n_probes += ((last >> ORDER_SHIFT(order))
                         - (first >> ORDER_SHIFT(order)) + 1);
        }
    }
    if (n_probes > vhost_iotlb_count(t) || n_probes > N_BUCKETS) {
        /* Quicker by looking at all that there is. */
        for (unsigned int w = 0; w < N_BUCKETS / 64; w++) {
            for (uint64_t bits = t->used[w]; bits; bits &= bits - 1) {
                sweep_bucket(t, w * 64 + __builtin_ctzll(bits), n_orders,
                             first, last);
            }
        }
        return;
    }
    for (unsigned int order = 0; order < n_orders; order++) {
        uint64_t at = first >> ORDER_SHIFT(order);
        uint64_t end = last >> ORDER_SHIFT(order);

        for (; t->n_of_order[order] && at <= end; at++) {
            uint64_t iova = at << ORDER_SHIFT(order);

            sweep_bucket(t, bucket_of(iova, order), order + 1, first, last);
        }
    }
}

/* The largest order that fits the start of the 'size' bytes at 'iova'. */
static unsigned int
order_for(uint64_t iova, uint64_t size)
{
    unsigned int order = 0;

    while (order + 1 < N_ORDERS
           && !(iova & ((UINT64_C(1) << ORDER_SHIFT(order + 1)) - 1))
           && size >> ORDER_SHIFT(order + 1)) {
        order++;
    }
    return order;
}

void
vhost_iotlb_insert(struct vhost_iotlb *t, uint64_t iova, uint64_t size,
                   uint8_t *host, unsigned int perm, unsigned int denied)
{
    unsigned int largest = 0;

    for (uint64_t at = 0; at < size;) {
        unsigned int order = order_for(iova + at, size - at);

        largest = order > largest ? order : largest;
        at += UINT64_C(1) << ORDER_SHIFT(order);
    }

    /* Smaller ones that it covers would be found before it. */
    drop_range(t, largest, iova, iova + size - 1);
    while (size) {
        unsigned int order = order_for(iova, size);
        uint64_t n = UINT64_C(1) << ORDER_SHIFT(order);

        insert_block(t, iova, order, (uintptr_t) host, perm, denied);
        iova += n;
        host += n;
        size -= n;
    }
}

bool
vhost_iotlb_remove(struct vhost_iotlb *t, uint64_t first, uint64_t last)
{
    drop_range(t, N_ORDERS, first, last);
    if (t->unsettled) {
        uint64_t g = atomic_load_explicit(&t->generation,
                                          memory_order_relaxed);

        atomic_store(&t->generation, g + 1);
        vhost_iotlb_new_round(t);
    }
    return t->unsettled;
}

void
vhost_iotlb_settled(struct vhost_iotlb *t)
{
    t->unsettled = false;
}

void
vhost_iotlb_clear(struct vhost_iotlb *t)
{
    vhost_iotlb_remove(t, 0, UINT64_MAX);
    vhost_iotlb_settled(t);
}

void
vhost_iotlb_new_round(struct vhost_iotlb *t)
{
    uint32_t round = vhost_iotlb_round(t);

    atomic_store_explicit(&t->round, round + 1 ? round + 1 : 1,
                          memory_order_relaxed);
}
