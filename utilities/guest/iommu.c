/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A vIOMMU before a front end's device: see iommu.h. */

#include "guest/iommu.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/fail.h"

/* Far from guest addresses, so that one cannot be taken for the other. */
#define OFFSET UINT64_C(0x4000000000)

#define PAGE_OF(ADDR) ((ADDR) / FE_PAGE * FE_PAGE)

void
fe_iommu_init(struct fe_iommu *iommu, struct fe *fe)
{
    memset(iommu, 0, sizeof *iommu);
    iommu->fe = fe;
    iommu->channel = iommu->theirs = -1;
    iommu->offset = OFFSET;
    fe->iommu = iommu;
}

static void
close_channel(struct fe_iommu *iommu)
{
    if (iommu->channel >= 0) {
        close(iommu->channel);
        close(iommu->theirs);
        iommu->channel = -1;
    }
}

void
fe_iommu_destroy(struct fe_iommu *iommu)
{
    close_channel(iommu);
    iommu->fe->iommu = NULL;
}

void
fe_iommu_connect(struct fe_iommu *iommu)
{
    int pair[2];

    close_channel(iommu);
    FE_CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    iommu->channel = pair[0];
    iommu->theirs = pair[1];
    FE_CHECK_EQ(fe_ask_fds(iommu->fe, FE_SET_BACKEND_REQ_FD, NULL, 0,
                           &iommu->theirs, 1), 0);
}

uint64_t
fe_dma_addr(const struct fe *fe, uint64_t addr)
{
    const struct fe_iommu *iommu = fe->iommu;

    if (!iommu) {
        return addr;
    }
    for (unsigned int i = 0; i < iommu->n_pages; i++) {
        if (iommu->pages[i].addr == PAGE_OF(addr)) {
            return iommu->pages[i].iova + addr % FE_PAGE;
        }
    }
    return addr + iommu->offset;
}

uint64_t
fe_iommu_lookup(const struct fe_iommu *iommu, uint64_t iova,
                unsigned int *perm)
{
    uint64_t addr = iova - iommu->offset;

    for (unsigned int i = 0; i < iommu->n_pages; i++) {
        const struct fe_iommu_page *p = &iommu->pages[i];

        if (p->iova == PAGE_OF(iova)) {
            *perm = p->perm;
            return p->addr ? p->addr + iova % FE_PAGE : 0;
        }
    }
    *perm = FE_RW;
    for (unsigned int i = 0; i < iommu->fe->n_regions; i++) {
        const struct fe_region *r = &iommu->fe->regions[i];

        if (addr >= r->guest_addr && addr - r->guest_addr < r->size) {
            return addr;
        }
    }
    return 0;
}

void
fe_iommu_map(struct fe_iommu *iommu, uint64_t iova, uint64_t addr,
             unsigned int perm)
{
    unsigned int i = 0;

    while (i < iommu->n_pages && iommu->pages[i].iova != iova) {
        i++;
    }
    FE_CHECK_LT(i, FE_IOMMU_MAX_PAGES);
    if (i == iommu->n_pages) {
        iommu->n_pages++;
    }
    iommu->pages[i] = (struct fe_iommu_page) { iova, addr, perm };
}

static uint64_t
send_msg(struct fe_iommu *iommu, const struct fe_iotlb_msg *msg)
{
    return fe_ask(iommu->fe, FE_IOTLB_MSG, msg, sizeof *msg);
}

uint64_t
fe_iommu_update(struct fe_iommu *iommu, uint64_t iova, uint64_t size,
                uint64_t user_addr, unsigned int perm)
{
    struct fe_iotlb_msg msg = { iova, size, user_addr, perm, FE_IOTLB_UPDATE,
                                { 0 } };

    return send_msg(iommu, &msg);
}

uint64_t
fe_iommu_invalidate(struct fe_iommu *iommu, uint64_t iova, uint64_t size)
{
    struct fe_iotlb_msg msg = { iova, size, 0, 0, FE_IOTLB_INVALIDATE,
                                { 0 } };

    return send_msg(iommu, &msg);
}

void
fe_iommu_update_all(struct fe_iommu *iommu, uint64_t piece)
{
    for (unsigned int i = 0; i < iommu->fe->n_regions; i++) {
        const struct fe_region *r = &iommu->fe->regions[i];

        for (uint64_t at = 0; at < r->size; at += piece) {
            uint64_t left = r->size - at;

            FE_CHECK_EQ(fe_iommu_update(iommu,
                                        r->guest_addr + at + iommu->offset,
                                        left < piece ? left : piece,
                                        r->user_addr + at, FE_RW), 0);
        }
    }
}

bool
fe_iommu_receive(struct fe_iommu *iommu, struct fe_iotlb_msg *miss, int ms)
{
    struct pollfd pfd = { .fd = iommu->channel, .events = POLLIN };
    struct {
        struct fe_header header;
        struct fe_iotlb_msg msg;
    } __attribute__((packed)) m;

    if (poll(&pfd, 1, ms) != 1) {
        return false;
    }
    if (recv(iommu->channel, &m, sizeof m, MSG_WAITALL) != sizeof m) {
        return false;
    }
    FE_CHECK_EQ(m.header.request, 1);
    FE_CHECK_EQ(m.header.flags, FE_VERSION);
    FE_CHECK_EQ(m.header.size, sizeof m.msg);
    FE_CHECK_EQ(m.msg.type, FE_IOTLB_MISS);
    FE_CHECK_GE(m.msg.perm, FE_RO);
    FE_CHECK_LE(m.msg.perm, FE_RW);
    *miss = m.msg;
    iommu->n_misses++;
    return true;
}

void
fe_iommu_answer(struct fe_iommu *iommu, const struct fe_iotlb_msg *miss)
{
    uint64_t iova = PAGE_OF(miss->iova);
    unsigned int perm;
    uint64_t addr = fe_iommu_lookup(iommu, iova, &perm);

    if (addr) {
        FE_CHECK_EQ(fe_iommu_update(iommu, iova, FE_PAGE,
                                    fe_user_addr(iommu->fe, addr), perm), 0);
    }
}

unsigned int
fe_iommu_serve(struct fe_iommu *iommu, int ms)
{
    struct fe_iotlb_msg miss;
    unsigned int n = 0;

    while (fe_iommu_receive(iommu, &miss, ms)) {
        fe_iommu_answer(iommu, &miss);
        n++;
    }
    return n;
}
