/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A virtqueue as the code that moves packets sees it: an immutable
 * description, which the event thread makes and takes away (device.c), and the
 * state that whoever is inside the ring's gate changes.  For lib/vhost only.
 */

#ifndef VHOST_VRING_H
#define VHOST_VRING_H 1

#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gate.h"
#include "memory.h"
#include "ring.h"
#include "vhost.h"

struct vhost_port;

#define VHOST_CACHE_LINE 64

/* A lock for the rare case that several senders share a ring. */
struct vhost_spinlock {
    atomic_flag taken;
};

/* Takes 'lock' and returns true if it had to wait. */
static inline bool
vhost_spin_lock(struct vhost_spinlock *lock)
{
    bool waited = false;

    while (atomic_flag_test_and_set_explicit(&lock->taken,
                                             memory_order_acquire)) {
        waited = true;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    return waited;
}

static inline void
vhost_spin_unlock(struct vhost_spinlock *lock)
{
    atomic_flag_clear_explicit(&lock->taken, memory_order_release);
}

/* What changes while a ring runs.  Written by the thread inside the gate (or
 * holding 'lock' there), or by the event thread while the gate is closed; read
 * by anybody with relaxed loads. */
struct vring_state {
    _Atomic uint16_t last_avail;    /* Next entry of the avail ring. */
    _Atomic uint16_t used_idx;      /* Next entry of the used ring. */
    _Atomic uint16_t backlog;       /* Entries left after the last burst. */
    bool signalled;             /* A first call was considered. */
    uint8_t n_slow_calls;       /* In a row, see vring_call(). */

    const struct vhost_region *hit; /* Last region that translation used. */
    struct vhost_spinlock lock;

    /* Set once by the thread that finds the guest's error; the event thread
     * picks it up. */
    _Atomic bool broken;
    _Atomic bool reported;      /* By the event thread. */
    enum vhost_counter error;   /* Valid once 'broken'. */
    uint64_t error_values[2];   /* What was found, for the log. */

    _Atomic uint64_t counters[VHOST_N_COUNTERS];
} __attribute__((aligned(VHOST_CACHE_LINE)));

/* Address translation other than guest-physical (a vIOMMU).  'translate'
 * stores the host address of 'addr' and how many of '*len' bytes are there in
 * one piece, or returns false on a miss, after which the burst ends and the
 * packet is tried again later. */
struct vhost_iommu {
    bool (*translate)(const struct vhost_iommu *, uint64_t addr, bool write,
                      uint8_t **host, uint64_t *len);
};

/* The dirty log of a live migration.  'mark' says that the guest-physical
 * bytes were written. */
struct vhost_dirty_log {
    void (*mark)(const struct vhost_dirty_log *, uint64_t addr, uint64_t len);
};

/* Where a packed ring's burst is written down so that a successor of a killed
 * process can roll it forward.  Split rings need none. */
struct vhost_crash_record;

/* Immutable while a gate shows it. */
struct vhost_vring {
    struct vring_state *st;
    unsigned int idx;           /* Even: guest receives, odd: guest sends. */
    uint32_t size;              /* Entries, a power of 2 for split rings. */
    uint16_t mask;              /* size - 1. */
    uint8_t hdr_len;            /* Of the virtio-net header in bytes. */
    bool mergeable;
    bool event_idx;
    bool indirect;              /* May be used by the guest. */
    bool shared;                /* More than one sender: take the lock. */
    int callfd;                 /* -1: guest polls. */

    /* Split ring parts, virtio 1.2, section 2.7. */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;

    uint64_t features;
    struct vhost_mem *mem;
    const struct vhost_iommu *iommu;        /* NULL: guest-physical. */
    const struct vhost_dirty_log *log;      /* NULL: not migrating. */
    struct vhost_crash_record *record;      /* NULL: none needed. */
    struct vhost_port *port;                /* For vring_break() only. */
};

/* Queues and slots of the public API. */
struct vhost_rxq {
    struct vhost_gate gate;
    struct vring_state *st;     /* Of the vring it belongs to. */
} __attribute__((aligned(VHOST_CACHE_LINE)));

struct vhost_sender {
    struct vhost_gate gate;
    struct vhost_spinlock lock; /* For concurrent callers of one slot. */
} __attribute__((aligned(VHOST_CACHE_LINE)));

/* Counts, for the single writer. */
static inline void
vring_count(struct vring_state *st, enum vhost_counter c, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&st->counters[c],
                                        memory_order_relaxed);
    atomic_store_explicit(&st->counters[c], old + n, memory_order_relaxed);
}

/* Marks the ring broken by its guest: it stops until the guest resets it.
 * 'v0' and 'v1' go to the log.  Only inside the gate. */
void vring_break(struct vhost_vring *, enum vhost_counter, uint64_t v0,
                 uint64_t v1);

/* Finds where the guest's bytes at 'addr' are.  '*len' is how many are wanted
 * and becomes how many of them there are in one piece, > 0.  Returns NULL if
 * 'addr' is nowhere (or, behind a vIOMMU, not known yet). */
static inline uint8_t *
vring_translate(const struct vhost_vring *vr, uint64_t addr, uint64_t *len,
                bool write)
{
    const struct vhost_region *r = vr->st->hit;
    uint64_t offset;

    if (__builtin_expect(vr->iommu != NULL, 0)) {
        uint8_t *host;

        return (vr->iommu->translate(vr->iommu, addr, write, &host, len)
                ? host : NULL);
    }
    if (__builtin_expect(!r || addr - r->guest_addr >= r->size, 0)) {
        r = vhost_mem_find(vr->mem, addr);
        if (!r) {
            return NULL;
        }
        vr->st->hit = r;
    }
    offset = addr - r->guest_addr;
    if (*len > r->size - offset) {
        *len = r->size - offset;
    }
    return r->host + offset;
}

/* Says, for a live migration, that 'len' bytes at 'p' were written. */
static inline void
vring_log(const struct vhost_vring *vr, const void *p, uint64_t len)
{
    if (__builtin_expect(vr->log != NULL, 0)) {
        vr->log->mark(vr->log, vhost_mem_to_guest(vr->mem, p), len);
    }
}

/* Calls the guest now, without asking whether it wants to be. */
void vring_call(struct vhost_vring *);

/* Split rings: what ring.h promises, without the gate. */
unsigned int vring_split_peek(struct vhost_vring *, struct vhost_burst *,
                              unsigned int max);
void vring_split_complete(struct vhost_vring *, struct vhost_burst *,
                          unsigned int n);
unsigned int vring_split_reserve(struct vhost_vring *, struct vhost_burst *,
                                 const uint32_t lens[], unsigned int n,
                                 enum vhost_reserve *why);
void vring_split_commit(struct vhost_vring *, struct vhost_burst *);

/* Asks the guest to kick, or not to, when it makes buffers available. */
void vring_split_want_kicks(struct vhost_vring *, bool);

/* Bytes of the three parts of a ring of 'size' entries. */
static inline uint64_t
vring_split_desc_len(uint32_t size)
{
    return sizeof(struct vring_desc) * (uint64_t) size;
}

static inline uint64_t
vring_split_avail_len(uint32_t size, bool event_idx)
{
    return 4 + 2 * (uint64_t) size + (event_idx ? 2 : 0);
}

static inline uint64_t
vring_split_used_len(uint32_t size, bool event_idx)
{
    return 4 + 8 * (uint64_t) size + (event_idx ? 2 : 0);
}

#endif /* vring.h */
