/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The dirty log of a live migration: a bitmap that the front end shares, in
 * which whoever writes to guest memory marks the page after that (vhost-user,
 * "Migration").  The front end copies marked pages again.  For lib/vhost only.
 *
 * A log is part of a ring's description and so changes only while the ring is
 * stopped; a description without one says that nobody wants to know.
 */

#ifndef VHOST_DIRTY_LOG_H
#define VHOST_DIRTY_LOG_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vhost_mem;
struct vhost_vring;

/* Bytes of guest memory that a bit of the log stands for, whatever the size of
 * the guest's pages. */
#define VHOST_LOG_PAGE 4096

struct vhost_dirty_log {
    struct vhost_mem *map;      /* Of the log's file. */
    uint8_t *bits;              /* In there. */
    uint64_t n_pages;           /* Bits. */

    /* Set by the first write beyond the log, which cannot be marked; the event
     * thread picks it up. */
    _Atomic bool beyond;
    uint64_t beyond_addr;       /* Valid once 'beyond'. */
    bool reported;              /* By the event thread. */
};

/* Marks the pages of the 'len' bytes at guest-physical address 'addr'.
 * Returns false if not all of them are in the log.  Any thread that is inside
 * a gate, or the event thread while all gates are closed. */
bool vhost_log_mark(const struct vhost_dirty_log *, uint64_t addr,
                    uint64_t len);

/* What vring_log() and vring_log_used() are during a migration. */
void vhost_log_written(const struct vhost_vring *, const void *p,
                       uint64_t len);
void vhost_log_used(const struct vhost_vring *, uint64_t offset, uint64_t len);

#endif /* dirty-log.h */
