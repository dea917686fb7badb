/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Names and resident pages of memory files: see residency.h.
 */

#include "residency.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "port.h"

/* Pages that are asked for at once, and, of all regions of a port, in all. */
#define PAGES_AT_ONCE 4096
#define PAGES_IN_ALL (UINT64_C(1) << 20)

void
vhost_file_name(int fd, char name[VHOST_FILE_NAME])
{
    char link[32];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, name, VHOST_FILE_NAME - 1);
    if (n < 0) {
        n = 0;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (name[i] < ' ' || name[i] > '~') {
            name[i] = '?';
        }
    }
    name[n] = '\0';
}

/* How many of the 'n' <= PAGES_AT_ONCE pages of 'size' bytes at 'addr' are in
 * memory. */
static uint64_t
count_pages(uint8_t *addr, uint64_t n, size_t size)
{
    unsigned char vec[PAGES_AT_ONCE];
    uint64_t count = 0;

    if (!mincore(addr, n * size, vec)) {
        for (uint64_t i = 0; i < n; i++) {
            count += vec[i] & 1;
        }
    }
    return count;
}

uint64_t
vhost_region_resident(const struct vhost_region *r, uint64_t max_pages,
                      bool *exact)
{
    const size_t size = sysconf(_SC_PAGESIZE);
    uint8_t *start = r->host - (uintptr_t) r->host % size;
    uint64_t n = (r->host + r->size - start + size - 1) / size;
    uint64_t n_chunks = (n + PAGES_AT_ONCE - 1) / PAGES_AT_ONCE;
    uint64_t max_chunks = (max_pages + PAGES_AT_ONCE - 1) / PAGES_AT_ONCE;
    uint64_t step = (n_chunks + max_chunks - 1) / max_chunks;
    uint64_t looked = 0;
    uint64_t found = 0;

    for (uint64_t i = 0; i < n_chunks; i += step) {
        uint64_t first = i * PAGES_AT_ONCE;
        uint64_t n_pages = (n - first < PAGES_AT_ONCE
                            ? n - first : PAGES_AT_ONCE);

        found += count_pages(start + first * size, n_pages, size);
        looked += n_pages;
    }
    *exact = step <= 1;
    if (found == looked) {
        return r->size;
    }
    return *exact ? found * size : (double) r->size * found / looked;
}

static void
describe_region(const struct vhost_region *r, uint64_t max_pages,
                struct vhost_memory_info *info)
{
    const struct vhost_mapping *m = r->mapping;

    memset(info, 0, sizeof *info);
    info->region.guest_addr = r->guest_addr;
    info->region.size = r->size;
    info->region.page_size = m->page_size;
    info->region.numa = m->numa;
    info->dev = m->dev;
    info->ino = m->ino;
    info->offset = m->offset + (r->host - m->addr);
    memcpy(info->file, m->file, sizeof info->file);
    info->resident = vhost_region_resident(r, max_pages, &info->exact);
    if (m->page_size > (size_t) sysconf(_SC_PAGESIZE)) {
        /* Of huge pages mincore(2) tells those that this process has touched,
         * whoever else has. */
        info->exact = false;
    }
}

unsigned int
vhost_port_get_memory(struct vhost_port *port, struct vhost_memory_info *info,
                      unsigned int max)
{
    struct vhost_mem *mem;
    unsigned int n;

    /* The lock is the event thread's, too: not for as long as this may
     * take. */
    pthread_mutex_lock(&port->mutex);
    mem = vhost_mem_ref(port->mem);
    pthread_mutex_unlock(&port->mutex);
    if (!mem) {
        return 0;
    }
    n = mem->n_regions;
    for (unsigned int i = 0; i < n && i < max; i++) {
        describe_region(&mem->regions[i], PAGES_IN_ALL / n, &info[i]);
    }
    vhost_device_unref_mem(port, mem);
    return n;
}
