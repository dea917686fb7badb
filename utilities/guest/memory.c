/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Guest memory: files that are shared with the back end, their places in the
 * guest's address space, and the translation of its addresses. */

#include "guest/frontend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/fail.h"

int
fe_memfd(uint64_t size, unsigned int flags)
{
    int fd = memfd_create("ovs-vhost-guest", MFD_CLOEXEC | flags);

    FE_CHECK_GE(fd, 0);
    FE_CHECK_EQ(ftruncate(fd, size), 0);
    return fd;
}

int
fe_huge_file(const char *dir, uint64_t size)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        /* Kernels whose hugetlbfs has no O_TMPFILE. */
        char name[512];

        snprintf(name, sizeof name, "%s/ovs-vhost-guest.XXXXXX", dir);
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0) {
            unlink(name);
        }
    }
    if (fd < 0 || ftruncate(fd, size)) {
        fe_failed(__FILE__, __LINE__, "%s: no file of %llu bytes: %s", dir,
                  (unsigned long long int) size, strerror(errno));
    }
    return fd;
}

void
fe_init(struct fe *fe)
{
    memset(fe, 0, sizeof *fe);
    fe->sock = -1;
}

void
fe_hang_up(struct fe *fe)
{
    if (fe->sock >= 0) {
        close(fe->sock);
        fe->sock = -1;
    }
}

void
fe_free_regions(struct fe *fe)
{
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        munmap(fe->regions[i].map, fe->regions[i].size);
        close(fe->regions[i].fd);
    }
    fe->n_regions = 0;
}

void
fe_destroy(struct fe *fe)
{
    fe_hang_up(fe);
    fe_free_regions(fe);
}

struct fe_region *
fe_add_region_fd(struct fe *fe, uint64_t guest_addr, uint64_t size,
                 uint64_t user_addr, int fd, uint64_t offset)
{
    struct fe_region *r = &fe->regions[fe->n_regions];

    FE_CHECK_LT(fe->n_regions, FE_MAX_REGIONS);
    r->guest_addr = guest_addr;
    r->size = size;
    r->user_addr = user_addr;
    r->offset = offset;
    r->fd = fd;
    r->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    FE_CHECK(r->map != MAP_FAILED);
    r->brk = guest_addr;
    fe->n_regions++;
    return r;
}

struct fe_region *
fe_add_region(struct fe *fe, uint64_t guest_addr, uint64_t size,
              uint64_t user_addr)
{
    return fe_add_region_fd(fe, guest_addr, size, user_addr,
                            fe_memfd(size, MFD_ALLOW_SEALING), 0);
}

void
fe_remove_region(struct fe *fe)
{
    struct fe_region *r = &fe->regions[fe->n_regions - 1];

    FE_CHECK_GE(fe->n_regions, 1);
    fe->n_regions--;
    munmap(r->map, r->size);
    close(r->fd);
}

uint64_t
fe_alloc(struct fe *fe, unsigned int r, uint64_t size, uint64_t align)
{
    struct fe_region *region = &fe->regions[r];
    uint64_t addr = (region->brk + align - 1) / align * align;

    FE_CHECK_LT(r, fe->n_regions);
    FE_CHECK_LE(addr + size - region->guest_addr, region->size);
    region->brk = addr + size;
    return addr;
}

static const struct fe_region *
find_region(const struct fe *fe, uint64_t addr)
{
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        const struct fe_region *r = &fe->regions[i];

        if (addr >= r->guest_addr && addr - r->guest_addr < r->size) {
            return r;
        }
    }
    fe_failed(__FILE__, __LINE__, "guest address %#llx is not in memory",
              (unsigned long long int) addr);
}

void *
fe_ptr(const struct fe *fe, uint64_t addr, uint64_t len)
{
    const struct fe_region *r = find_region(fe, addr);

    FE_CHECK_LE(len, r->size - (addr - r->guest_addr));
    return r->map + (addr - r->guest_addr);
}

uint64_t
fe_user_addr(const struct fe *fe, uint64_t addr)
{
    const struct fe_region *r = find_region(fe, addr);

    return r->user_addr + (addr - r->guest_addr);
}

void
fe_write(const struct fe *fe, uint64_t addr, const void *src, size_t len)
{
    const uint8_t *s = src;

    while (len) {
        const struct fe_region *r = find_region(fe, addr);
        uint64_t room = r->size - (addr - r->guest_addr);
        size_t n = room < len ? room : len;

        memcpy(r->map + (addr - r->guest_addr), s, n);
        addr += n;
        s += n;
        len -= n;
    }
}

void
fe_read(const struct fe *fe, uint64_t addr, void *dst, size_t len)
{
    uint8_t *d = dst;

    while (len) {
        const struct fe_region *r = find_region(fe, addr);
        uint64_t room = r->size - (addr - r->guest_addr);
        size_t n = room < len ? room : len;

        memcpy(d, r->map + (addr - r->guest_addr), n);
        addr += n;
        d += n;
        len -= n;
    }
}

