/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Guest memory: the regions that a front end shared with us, where they are
 * mapped here, and the translation of the guest's and the front end's
 * addresses.  A map is immutable once made.  It does not know rings.
 */

#ifndef VHOST_MEMORY_H
#define VHOST_MEMORY_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhost.h"
#include "wire.h"

/* One mmap() of a file.  Maps that follow each other share it as long as file,
 * offset and size stay the same. */
struct vhost_mapping {
    _Atomic unsigned int refs;
    uint8_t *addr;              /* Of the mapping's first byte. */
    size_t len;                 /* Bytes, a multiple of 'page_size'. */
    size_t page_size;           /* 4096, or the huge page's. */
    dev_t dev;
    ino_t ino;
    uint64_t offset;            /* In the file, of 'addr'. */
    _Atomic int numa;           /* Node of the first page, -1: unknown. */
    char file[VHOST_FILE_NAME]; /* Its name, for people. */

    /* While the guest arrives by postcopy: the pages that are known to be
     * there, a bit for each; others must not be touched.  NULL: all may be.
     * See postcopy.h. */
    _Atomic uint64_t *resident;
};

struct vhost_region {
    uint64_t guest_addr;        /* Guest-physical. */
    uint64_t user_addr;         /* In the front end's address space. */
    uint64_t size;              /* Bytes. */
    uint8_t *host;              /* Of 'guest_addr' here. */
    struct vhost_mapping *mapping;
    unsigned int n_added;       /* How often it was: see vhost_mem_add(). */
};

struct vhost_mem {
    _Atomic unsigned int refs;
    /* Set by the SIGBUS handler: some page was taken away and replaced.  What
     * the map holds is no longer what the guest sees. */
    _Atomic bool poisoned;
    /* Memory that whoever touches this may touch too, and that is guarded with
     * it: the dirty log's.  Changes while nobody does. */
    struct vhost_mem *_Atomic log;
    unsigned int n_regions;
    struct vhost_region regions[];  /* Sorted by 'guest_addr', disjoint. */
};

/* True if 'fd' is fit to be guest memory.  Such files can be closed without
 * waiting for anybody. */
bool vhost_mem_is_shared_memory(int fd);

/* True if all that this process maps is locked into memory, and for that filled
 * at once (mlockall). */
bool vhost_mem_is_locked(void);

/* Makes a map of the 'n' regions of 'wire', whose memory is in 'fds'.  Regions
 * that 'old' (may be NULL) has too keep their mapping.  With 'untouched' no
 * page of the memory is touched.  May take long: for the worker thread.  Does
 * not close 'fds'.
 *
 * Returns the map with one reference, or NULL and stores a sentence, which the
 * caller frees, in '*errorp'. */
struct vhost_mem *vhost_mem_create(const struct vhost_wire_region wire[],
                                   const int fds[], unsigned int n,
                                   const struct vhost_mem *old,
                                   bool untouched, char **errorp);

/* Finds out on which nodes the regions are, where that is not known because
 * they were not to be touched.  For the worker thread. */
void vhost_mem_find_nodes(struct vhost_mem *);

/* Bytes of the bit map 'resident' of a mapping. */
size_t vhost_mapping_bitmap_size(const struct vhost_mapping *);

/* Makes a map of the regions of 'old' (NULL: none) and one more, 'wire', whose
 * memory is in 'fd'; the same without the region 'wire' of 'old', whose offset
 * in a file does not matter.  Those of 'old' keep their mapping.  Otherwise
 * like vhost_mem_create().
 *
 * Front ends may add the same region for each queue pair, and remove it as
 * often (QEMU 7.2 does): it is there until then. */
struct vhost_mem *vhost_mem_add(const struct vhost_mem *old,
                                const struct vhost_wire_region *wire, int fd,
                                char **errorp);
struct vhost_mem *vhost_mem_remove(const struct vhost_mem *old,
                                   const struct vhost_wire_region *wire,
                                   char **errorp);

struct vhost_mem *vhost_mem_ref(struct vhost_mem *);

/* Drops a reference and, if it was the last one, unmaps, which may take long:
 * for the worker thread. */
void vhost_mem_unref(struct vhost_mem *);

/* Region that holds guest-physical 'addr', or NULL. */
const struct vhost_region *vhost_mem_find(const struct vhost_mem *,
                                          uint64_t addr);

/* Where the 'len' bytes at the front end's address 'addr' are here, or NULL if
 * they are not within one region. */
void *vhost_mem_from_user(const struct vhost_mem *, uint64_t addr,
                          uint64_t len);

/* The guest-physical address of 'p', which is inside 'mem'. */
uint64_t vhost_mem_to_guest(const struct vhost_mem *, const void *p);

/* SIGBUS guard: a thread that touches guest memory says whose, before and
 * after.  See sigbus.c. */
extern __thread struct vhost_mem *vhost_guarded_mem
    __attribute__((tls_model("initial-exec")));

static inline void
vhost_guard_begin(struct vhost_mem *mem)
{
    vhost_guarded_mem = mem;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void
vhost_guard_end(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    vhost_guarded_mem = NULL;
}

#endif /* memory.h */
