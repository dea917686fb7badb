/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See stage.h. */

#include "session/stage.h"

#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session/base.h"

void
stage_init(struct stage *s)
{
    memset(s, 0, sizeof *s);
    for (unsigned int i = 0; i < MAX_FILES; i++) {
        s->files[i].fd = -1;
    }
}

void
stage_free(struct stage *s)
{
    for (unsigned int i = 0; i < MAX_FILES; i++) {
        if (s->files[i].fd >= 0) {
            munmap(s->files[i].map, s->files[i].size);
            close(s->files[i].fd);
        }
    }
}

static void
open_file(struct stage_file *f, uint64_t size)
{
    f->size = size;
    f->fd = memfd_create("ovs-vhost-session", MFD_CLOEXEC);
    if (f->fd < 0 || size > INT64_MAX || ftruncate(f->fd, size)) {
        errx(EXIT_CANNOT, "no memory file of %llu bytes: %s",
             (unsigned long long int) size, strerror(errno));
    }
    f->map = mmap(NULL, size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE, f->fd, 0);
    if (f->map == MAP_FAILED) {
        errx(EXIT_CANNOT, "a memory file of %llu bytes cannot be mapped: %s",
             (unsigned long long int) size, strerror(errno));
    }
}

int
stage_file(struct stage *s, const struct fd_info *info)
{
    struct stage_file *f = &s->files[info->file % MAX_FILES];

    if (f->fd < 0) {
        open_file(f, info->size);
    }
    return f->fd;
}

static bool
add(struct stage *s, const struct fe_mem_region *r,
    const struct fd_info *info)
{
    const struct stage_file *f = &s->files[info->file % MAX_FILES];

    if (info->kind != FD_MEMORY || s->n_areas == FE_MAX_REGIONS) {
        return false;
    }
    stage_file(s, info);
    if (r->size > f->size || r->offset > f->size - r->size) {
        return false;
    }
    s->areas[s->n_areas].r = *r;
    s->areas[s->n_areas++].map = f->map + r->offset;
    return true;
}

bool
stage_set_table(struct stage *s, const struct message *m)
{
    struct fe_mem_region regions[FE_MAX_REGIONS];
    unsigned int n = message_regions(m, regions);

    s->n_areas = 0;
    for (unsigned int i = 0; i < n; i++) {
        if (i >= m->n_fds || !add(s, &regions[i], &m->fds[i])) {
            return false;
        }
    }
    return true;
}

bool
stage_add_region(struct stage *s, const struct message *m)
{
    struct fe_mem_region r;

    return message_regions(m, &r) && m->n_fds && add(s, &r, &m->fds[0]);
}

void
stage_remove_region(struct stage *s, const struct message *m)
{
    struct fe_mem_region r;

    for (unsigned int i = 0; message_regions(m, &r) && i < s->n_areas; i++) {
        const struct fe_mem_region *a = &s->areas[i].r;

        if (a->guest_addr == r.guest_addr && a->size == r.size
            && a->user_addr == r.user_addr) {
            s->areas[i] = s->areas[--s->n_areas];
            return;
        }
    }
}

static void *
find(const struct stage *s, bool user, uint64_t addr, uint64_t len)
{
    for (unsigned int i = 0; i < s->n_areas; i++) {
        const struct fe_mem_region *r = &s->areas[i].r;
        uint64_t start = user ? r->user_addr : r->guest_addr;

        if (addr >= start && addr - start <= r->size
            && len <= r->size - (addr - start)) {
            return s->areas[i].map + (addr - start);
        }
    }
    return NULL;
}

void *
stage_guest(const struct stage *s, uint64_t addr, uint64_t len)
{
    return find(s, false, addr, len);
}

void *
stage_user(const struct stage *s, uint64_t addr, uint64_t len)
{
    return find(s, true, addr, len);
}
