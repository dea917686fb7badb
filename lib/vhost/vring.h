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

#include "dirty-log.h"
#include "gate.h"
#include "iotlb.h"
#include "memory.h"
#include "notifier.h"
#include "postcopy.h"
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

/* A stretch of the guest's memory, for the short ways. */
struct walk_hit {
    uint64_t guest_addr;
    uint64_t size;              /* 0: none. */
    uint8_t *host;
};

/* What changes while a ring runs.  Written by the thread inside the gate (or
 * holding 'lock' there), or by the event thread while the gate is closed; read
 * by anybody with relaxed loads. */
struct vring_state {
    /* Split rings: the next entry of the avail ring and of the used ring.
     * Packed rings: the next descriptor, with the wrap counter in bit 15; both
     * are the same, since buffers are used in the order of the ring. */
    _Atomic uint16_t last_avail;
    _Atomic uint16_t used_idx;
    _Atomic uint16_t backlog;       /* Entries left after the last burst. */
    uint16_t avail_seen;        /* Split rings: the avail index when it was
                                 * read last; all before it is the guest's. */
    uint16_t notify_from;       /* 'used_idx' up to which it was considered
                                 * whether to call. */
    bool signalled;             /* A first call was considered. */
    struct vhost_slow_calls slow_calls; /* See vring_call(). */

    const struct vhost_region *hit; /* Last region that translation used. */
    struct vhost_spinlock lock;

    /* Behind a vIOMMU. */
    struct walk_hit block;      /* The last one that a buffer was in, as of */
    uint64_t generation;        /* ...this, see vhost_iotlb_generation(). */
    uint32_t waits_round;       /* Round in which 'waits_for' was said. */
    _Atomic uint64_t waits_for; /* Page, with the rights that are needed. */
    _Atomic bool wants_lookups; /* Said, and not seen by the event thread. */
    _Atomic bool wants_look;    /* The same without 'waits_for'. */
    uint16_t looked;            /* Position before which vring_look_beyond()
                                 * has been. */

    /* Set once by the thread that finds the guest's error; the event thread
     * picks it up. */
    _Atomic bool broken;
    _Atomic bool reported;      /* By the event thread. */
    enum vhost_counter error;   /* Valid once 'broken'. */
    uint64_t error_values[2];   /* What was found, for the log. */

    _Atomic uint64_t counters[VHOST_N_COUNTERS];
} __attribute__((aligned(VHOST_CACHE_LINE)));

/* Where a packed ring's burst is written down so that a successor of a killed
 * process can roll it forward.  Split rings need none. */
struct vhost_crash_record;

/* Place of the wrap counter in vring_state.last_avail and in the position that
 * vhost-user messages and event suppression structures have. */
#define VRING_PACKED_WRAP 0x8000

/* Flags of a packed ring's descriptors that say whose they are (virtio 1.2,
 * section 2.8.1). */
#define VRING_PACKED_AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)
#define VRING_PACKED_USED (1 << VRING_PACKED_DESC_F_USED)

/* Immutable while a gate shows it. */
struct vhost_vring {
    struct vring_state *st;
    unsigned int idx;           /* Even: guest receives, odd: guest sends. */
    uint32_t size;              /* Entries, a power of 2 for split rings. */
    uint16_t mask;              /* size - 1 (split rings). */
    uint8_t hdr_len;            /* Of the virtio-net header in bytes. */
    bool packed;
    bool in_order;
    bool simple;                /* No vIOMMU, no dirty log, no postcopy:
                                 * nothing needs to be done where a burst
                                 * starts. */
    bool mergeable;
    bool event_idx;
    bool indirect;              /* May be used by the guest. */
    bool shared;                /* More than one sender: take the lock, also
                                 * when none is used concurrently. */
    int callfd;                 /* -1: guest polls. */
    struct vhost_call *call;    /* NULL: always call at once. */

    /* Split ring parts, virtio 1.2, section 2.7. */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;

    /* Packed ring parts, section 2.8. */
    struct vring_packed_desc *pdesc;
    struct vring_packed_desc_event *driver_event;
    struct vring_packed_desc_event *device_event;

    uint64_t features;
    struct vhost_mem *mem;
    const struct vhost_iotlb *iotlb;        /* NULL: guest-physical. */
    struct vhost_dirty_log *log;            /* NULL: not migrating. */
    bool log_ring;              /* What is written to a split ring itself is
                                 * logged too: the used ring is at */
    uint64_t log_used;          /* this guest-physical address there. */
    struct vhost_postcopy *postcopy;        /* NULL: all pages are there. */
    struct vhost_crash_record *record;      /* NULL: none needed. */
    struct vhost_port *port;                /* For vring_break() only. */
};

/* Queues and slots of the public API. */
struct vhost_rxq {
    struct vhost_gate gate;
    struct vring_state *st;     /* Of the vring it belongs to. */

    /* How to see that there is nothing new, without looking at anything else:
     * (*idle_word & idle_mask) is still idle_value.  Only inside the gate, or
     * while it is closed. */
    const uint16_t *idle_word;
    struct vhost_mem *mem;
    uint16_t idle_mask;
    uint16_t idle_value;
    bool more;                  /* There is something, without a look. */
    bool notify_due;            /* See vhost_rxq_complete_later(). */
    uint8_t n_put_off;          /* Bursts since that was first so. */
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

/* vring_translate() behind a vIOMMU. */
uint8_t *vring_iommu_translate(const struct vhost_vring *vr, uint64_t addr,
                               uint64_t *len, bool write);

/* Finds where the guest's bytes at 'addr' are.  '*len' is how many are wanted,
 * > 0, and becomes how many of them there are in one piece.  Returns NULL if
 * 'addr' is nowhere; if '*len' is 0 then, this may change soon: they are to
 * come by postcopy, or the vIOMMU's translation is to come. */
static inline uint8_t *
vring_translate(const struct vhost_vring *vr, uint64_t addr, uint64_t *len,
                bool write)
{
    const struct vhost_region *r = vr->st->hit;
    uint64_t offset;

    if (__builtin_expect(vr->iotlb != NULL, 0)) {
        return vring_iommu_translate(vr, addr, len, write);
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
    if (__builtin_expect(vr->postcopy != NULL, 0)
        && !vhost_postcopy_have(vr->postcopy, vr->mem, r->host + offset,
                                len)) {
        return NULL;
    }
    return r->host + offset;
}

/* Says, for a live migration, that 'len' bytes at 'p' were written: after the
 * write. */
static inline void
vring_log(const struct vhost_vring *vr, const void *p, uint64_t len)
{
    if (__builtin_expect(vr->log != NULL, 0)) {
        vhost_log_written(vr, p, len);
    }
}

/* The same for 'len' bytes from 'offset' on of a split ring's used ring, which
 * the front end may have marked elsewhere (vhost-user, "A vring address
 * description"). */
static inline void
vring_log_used(const struct vhost_vring *vr, uint64_t offset, uint64_t len)
{
    if (__builtin_expect(vr->log != NULL, 0)) {
        vhost_log_used(vr, offset, len);
    }
}

/* Prepares 'q', whose gate is closed, to tell whether 'vr' has something
 * new. */
void vring_idle_init(struct vhost_rxq *q, const struct vhost_vring *vr);

/* Whether a call is owed to the guest of 'q', whose gate is closed; then it is
 * the caller's to make. */
bool vring_notify_due(struct vhost_rxq *q);

/* Chooses vhost_copy for this machine. */
void vhost_copy_init(void);

/* Calls the guest if it wants to be called for what was given back since the
 * last call of this. */
void vring_notify(struct vhost_vring *);

/* Calls the guest now, or has the notifier do it, without asking whether it
 * wants to be called. */
void vring_call(struct vhost_vring *);

/* A call takes a microsecond, unless the front end has put so many watches on
 * the eventfd that the kernel is busy with them for as long as this, in
 * nanoseconds.  So many such calls in a row, and one more, stop the ring if
 * together they took as long as VRING_MAX_SLOW_TIME.
 *
 * Time that passes is no proof: the thread that a call wakes up may get the
 * CPU at once.  So a call that looks slow makes only suspicious, and from then
 * on it is the CPU time of the caller that counts, until one call was quick.
 * (That clock costs a system call.)  Nor is CPU time by itself: on a host that
 * is a guest, it goes on while the hypervisor runs somebody else.  So a call
 * is slow only if it takes so many times what one does that no peer has a part
 * in.  That wakes a thread as well, but maybe one that is nearer.  So a ring is
 * stopped only when it has cost what is worth stopping it. */
#define VRING_SLOW_CALL 100000
#define VRING_SLOW_RATIO 8
#define VRING_MAX_SLOW_CALLS 8
#define VRING_MAX_SLOW_TIME 20000000

/* Whether a call that took 'time', in nanoseconds, of the CPU's if 'cpu_time',
 * was slow. */
bool vring_call_was_slow(int64_t time, bool cpu_time);

/* Adds a slow call to 's'.  Returns true, and forgets them, if that is one too
 * many. */
bool vring_slow_call(struct vhost_slow_calls *s, int64_t time);

/* What ring.h promises, without the gate, for each ring format.  complete()
 * and commit() show the guest its buffers; wants_call() says, after a full
 * fence, whether it wants to be called for those since 'notify_from'. */
unsigned int vring_split_peek(struct vhost_vring *, struct vhost_burst *,
                              unsigned int max);
void vring_split_complete(struct vhost_vring *, struct vhost_burst *,
                          unsigned int n);
unsigned int vring_split_reserve(struct vhost_vring *, struct vhost_burst *,
                                 const uint32_t lens[], unsigned int n,
                                 enum vhost_reserve *why);
void vring_split_commit(struct vhost_vring *, struct vhost_burst *);
bool vring_split_wants_call(const struct vhost_vring *);

unsigned int vring_packed_peek(struct vhost_vring *, struct vhost_burst *,
                               unsigned int max);
void vring_packed_complete(struct vhost_vring *, struct vhost_burst *,
                           unsigned int n);
unsigned int vring_packed_reserve(struct vhost_vring *, struct vhost_burst *,
                                  const uint32_t lens[], unsigned int n,
                                  enum vhost_reserve *why);
void vring_packed_commit(struct vhost_vring *, struct vhost_burst *);
bool vring_packed_wants_call(const struct vhost_vring *);

static inline unsigned int
vring_peek(struct vhost_vring *vr, struct vhost_burst *b, unsigned int max)
{
    return (vr->packed ? vring_packed_peek(vr, b, max)
            : vring_split_peek(vr, b, max));
}

static inline void
vring_complete(struct vhost_vring *vr, struct vhost_burst *b, unsigned int n)
{
    if (vr->packed) {
        vring_packed_complete(vr, b, n);
    } else {
        vring_split_complete(vr, b, n);
    }
}

/* Packed rings: the position 'n' <= size descriptors after 'pos'. */
static inline uint16_t
vring_packed_advance(const struct vhost_vring *vr, uint16_t pos, uint16_t n)
{
    uint32_t index = (pos & ~VRING_PACKED_WRAP) + n;

    pos &= VRING_PACKED_WRAP;
    if (index >= vr->size) {
        index -= vr->size;
        pos ^= VRING_PACKED_WRAP;
    }
    return pos | index;
}

/* Writes the 'n' entries of 'used' from position 'first' on, so that the guest
 * sees all of them at once, and returns the position after them. */
uint16_t vring_packed_put(struct vhost_vring *, uint16_t first,
                          const struct vhost_used used[], unsigned int n);

/* Writes the header of packet 'p' of 'b' to the guest (section 5.1.6). */
void vring_write_header(struct vhost_vring *, struct vhost_burst *,
                        const struct vhost_pkt *);

/* Asks the guest to kick, or not to, when it makes buffers available. */
void vring_split_want_kicks(struct vhost_vring *, bool);
void vring_packed_want_kicks(struct vhost_vring *, bool);

static inline void
vring_want_kicks(struct vhost_vring *vr, bool want)
{
    if (vr->packed) {
        vring_packed_want_kicks(vr, want);
    } else {
        vring_split_want_kicks(vr, want);
    }
}

/* Has the cache line at 'p' fetched for writing.  (The compiler's builtin
 * makes a fetch for reading of it unless it may assume a newer CPU.  Older
 * ones do nothing here.) */
static inline void
prefetch_write(const void *p)
{
#ifdef __x86_64__
    __asm__ volatile ("prefetchw %0" : : "m" (*(const char *) p));
#else
    __builtin_prefetch(p, 1);
#endif
}

/* Loads and stores of 16 bits that the guest may change meanwhile. */
static inline uint16_t
guest_load16(const void *p)
{
    return __atomic_load_n((const uint16_t *) p, __ATOMIC_RELAXED);
}

static inline void
guest_store16(void *p, uint16_t value)
{
    __atomic_store_n((uint16_t *) p, value, __ATOMIC_RELAXED);
}

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

static inline uint64_t
vring_packed_desc_len(uint32_t size)
{
    return sizeof(struct vring_packed_desc) * (uint64_t) size;
}

#endif /* vring.h */
