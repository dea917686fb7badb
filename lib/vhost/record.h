/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The crash record of a packed ring: what its user was giving back last, so
 * that whoever comes after an interruption can go on exactly there.  Split
 * rings need none, since their used index is in guest memory.
 *
 * Interruptions are a connection that ended without GET_VRING_BASE (the front
 * end then has an old base) and, where the record is in memory that outlives
 * the process (record-file.h), the end of the process at any instruction.
 * Only the order of this thread's own stores matters, so that compiler
 * barriers do.
 *
 * For lib/vhost only, inside a ring's gate.
 */

#ifndef VHOST_RECORD_H
#define VHOST_RECORD_H 1

#include <stdatomic.h>
#include <string.h>

#include "vring.h"

/* What a record belongs to.  All of it has to be the same for the record to
 * be of use; but see vhost_record_resume() for the base. */
struct vhost_record_key {
    uint64_t dev, ino;          /* File of the memory that has the ring. */
    uint64_t desc;              /* Ring's address in the front end. */
    uint64_t features;
    uint32_t size;              /* Entries. */
    uint32_t base;              /* As SET_VRING_BASE told at the start. */
};

struct vhost_crash_record {
    struct vhost_record_key key;
    uint16_t cookie;            /* Nonzero; also in the ring, see record.c. */
    _Atomic uint16_t pos;       /* Next position; valid unless 'pending'. */
    _Atomic uint16_t pending;   /* Entries of 'used' that are being given
                                 * back; 0: none. */
    uint16_t first;             /* Position at which they start. */
    uint16_t n_bufs;            /* Buffers that they stand for. */
    uint16_t unused;
    struct vhost_used used[VHOST_BURST_SEGS];
};

/* Before the 'n' entries of 'used', which stand for 'n_bufs' buffers, are
 * given back from position 'first' on. */
static inline void
vhost_record_begin(struct vhost_crash_record *r, uint16_t first,
                   const struct vhost_used used[], unsigned int n,
                   unsigned int n_bufs)
{
    memcpy(r->used, used, n * sizeof *used);
    r->first = first;
    r->n_bufs = n_bufs;
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&r->pending, n, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

/* After that; 'pos' is where the next burst starts. */
static inline void
vhost_record_end(struct vhost_crash_record *r, uint16_t pos)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&r->pos, pos, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&r->pending, 0, memory_order_relaxed);
}

/* Starts a record at position 'pos', for a ring that starts there.  Marks the
 * ring, so that it is recognised. */
void vhost_record_start(struct vhost_crash_record *, struct vhost_vring *,
                        const struct vhost_record_key *, uint16_t pos);

/* What vhost_record_resume() has found. */
struct vhost_record_found {
    uint16_t pos;               /* Where to go on. */
    uint16_t n_completed;       /* Buffers of the burst that was interrupted,
                                 * 0 if none was. */
};

/* If 'r' is about the ring 'vr', which starts with 'key', completes the burst
 * that was interrupted, fills in '*found' and returns true.  Returns false,
 * and changes nothing, if the ring is another one, has been reset by its
 * driver meanwhile, or was gone on with by somebody else.
 *
 * The base may be the one with which the record began: the front end knows
 * nothing newer.  Or it is where the guest sees the ring, for front ends that
 * look. */
bool vhost_record_resume(struct vhost_crash_record *r, struct vhost_vring *vr,
                         const struct vhost_record_key *key,
                         struct vhost_record_found *found);

/* Makes 'r' one that is of no use.  All zeros is such a record too. */
static inline void
vhost_record_clear(struct vhost_crash_record *r)
{
    r->cookie = 0;
}

static inline bool
vhost_record_is_live(const struct vhost_crash_record *r)
{
    return r->cookie != 0;
}

#endif /* record.h */
