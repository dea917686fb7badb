/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A vIOMMU before a front end's device: the driver's addresses are I/O virtual
 * ones, which the front end translates for a back end that asks (vhost-user,
 * "IOMMU support").  Each page of guest memory has an address of its own there
 * unless it was mapped to another one.  Answers can be given page by page,
 * beforehand, wrong, or not at all.
 *
 * One thread at a time, like the front end that it belongs to: misses are
 * answered when fe_iommu_serve() is called.
 */

#ifndef GUEST_IOMMU_H
#define GUEST_IOMMU_H 1

#include "guest/frontend.h"

#define FE_RO 1
#define FE_WO 2
#define FE_RW 3

enum {
    FE_IOTLB_MISS = 1,
    FE_IOTLB_UPDATE = 2,
    FE_IOTLB_INVALIDATE = 3,
};

struct fe_iotlb_msg {
    uint64_t iova;
    uint64_t size;
    uint64_t user_addr;
    uint8_t perm;
    uint8_t type;
    uint8_t padding[6];
};

/* A page that is mapped otherwise than the rest. */
struct fe_iommu_page {
    uint64_t iova;
    uint64_t addr;              /* Guest address, 0: not mapped. */
    unsigned int perm;
};

#define FE_IOMMU_MAX_PAGES 4096

struct fe_iommu {
    struct fe *fe;
    int channel;                /* Our end of the back-end channel. */
    int theirs;                 /* The back end's end. */
    uint64_t offset;            /* Of I/O virtual addresses. */
    unsigned int n_pages;
    struct fe_iommu_page pages[FE_IOMMU_MAX_PAGES];
    uint64_t n_misses;          /* Received. */
};

/* Puts 'iommu' before the device of 'fe', which has not connected yet. */
void fe_iommu_init(struct fe_iommu *iommu, struct fe *fe);
void fe_iommu_destroy(struct fe_iommu *);

/* After a connection was made: SET_BACKEND_REQ_FD. */
void fe_iommu_connect(struct fe_iommu *);

/* Address of guest address 'addr' for the device of 'fe', which may be without
 * a vIOMMU. */
uint64_t fe_dma_addr(const struct fe *, uint64_t addr);

/* Guest address of 'iova', 0 if it is not mapped. */
uint64_t fe_iommu_lookup(const struct fe_iommu *, uint64_t iova,
                         unsigned int *perm);

/* Maps the page at 'iova' to guest page 'addr' (0: to none) from now on.  Says
 * nothing on the socket. */
void fe_iommu_map(struct fe_iommu *, uint64_t iova, uint64_t addr,
                  unsigned int perm);

/* Messages; return the answer. */
uint64_t fe_iommu_update(struct fe_iommu *, uint64_t iova, uint64_t size,
                         uint64_t user_addr, unsigned int perm);
uint64_t fe_iommu_invalidate(struct fe_iommu *, uint64_t iova, uint64_t size);

/* Tells of all of guest memory beforehand, in pieces of 'piece' bytes. */
void fe_iommu_update_all(struct fe_iommu *, uint64_t piece);

/* Receives a miss within 'ms'; fails if it is not one. */
bool fe_iommu_receive(struct fe_iommu *, struct fe_iotlb_msg *, int ms);

/* Answers 'miss' if its page is mapped. */
void fe_iommu_answer(struct fe_iommu *, const struct fe_iotlb_msg *miss);

/* Answers misses until there was none for 'ms'; returns how many. */
unsigned int fe_iommu_serve(struct fe_iommu *, int ms);

#endif /* guest/iommu.h */
