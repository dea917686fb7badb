/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The translations of a vIOMMU that the front end has told us (vhost-user,
 * "IOMMU support"): from I/O virtual addresses to where the bytes are here.
 * A cache of fixed size: what it has lost is asked for again.  It knows
 * neither rings nor messages; those who ask, and when, are iommu.c's.
 *
 * Polling threads look things up while the event thread, and nobody else,
 * changes the table.  Nothing is locked.  A lookup may find what is being
 * removed at this moment; see vhost_iotlb_remove() for when it is certain that
 * nobody uses it any more.
 *
 * Ranges are kept as naturally aligned blocks of some sizes, in a hash table
 * whose buckets have room for a few each, as a CPU's TLB has.
 */

#ifndef VHOST_IOTLB_H
#define VHOST_IOTLB_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Translations are of whole pages of this size at least. */
#define VHOST_IOTLB_PAGE_BITS 12
#define VHOST_IOTLB_PAGE (UINT64_C(1) << VHOST_IOTLB_PAGE_BITS)

/* What may be done with memory, as on the wire.  From the device's side. */
#define VHOST_IOTLB_RO 1
#define VHOST_IOTLB_WO 2
#define VHOST_IOTLB_RW 3

struct vhost_iotlb;

/* What a lookup has found. */
enum vhost_iotlb_found {
    VHOST_IOTLB_HIT,
    VHOST_IOTLB_MISS,           /* Not known, or not with these rights. */
    VHOST_IOTLB_DENIED,         /* The front end said that it is not so. */
};

struct vhost_iotlb_block {
    uint64_t iova;
    uint64_t size;              /* Bytes. */
    uint8_t *host;              /* Of 'iova' here. */
    unsigned int perm;          /* Rights that it has.  Also of a miss. */
};

/* NULL if out of memory. */
struct vhost_iotlb *vhost_iotlb_create(void);
void vhost_iotlb_free(struct vhost_iotlb *);

/* Polling threads, and the event thread. */

/* Looks for the block in which 'iova' is and that grants all of 'need'. */
enum vhost_iotlb_found vhost_iotlb_find(const struct vhost_iotlb *,
                                        uint64_t iova, unsigned int need,
                                        struct vhost_iotlb_block *);

/* Changes whenever something that was found once may not be used in a new
 * burst.  Where a burst starts there has to be a full fence before it, which
 * this includes. */
uint64_t vhost_iotlb_generation(const struct vhost_iotlb *);

/* Changes whenever what was asked for may have to be asked for again. */
uint32_t vhost_iotlb_round(const struct vhost_iotlb *);

/* Event thread only. */

/* Adds the 'size' bytes at 'iova', whole pages, which are at 'host' here, with
 * rights 'perm' in addition to those that they have.  'denied' are rights that
 * were asked for and not given. */
void vhost_iotlb_insert(struct vhost_iotlb *, uint64_t iova, uint64_t size,
                        uint8_t *host, unsigned int perm,
                        unsigned int denied);

/* Removes all blocks that have a byte in first...last.
 *
 * Returns true if polling threads may still use them, or some that went before
 * without this being asked: until each has left the burst in which it is
 * now.  Then the caller says so by vhost_iotlb_settled(). */
bool vhost_iotlb_remove(struct vhost_iotlb *, uint64_t first, uint64_t last);
void vhost_iotlb_settled(struct vhost_iotlb *);

/* Removes all at once.  Only while nobody uses the table. */
void vhost_iotlb_clear(struct vhost_iotlb *);

/* Makes polling threads say again what they wait for. */
void vhost_iotlb_new_round(struct vhost_iotlb *);

/* Number of blocks in the table.  Any thread. */
unsigned int vhost_iotlb_count(const struct vhost_iotlb *);

#endif /* iotlb.h */
