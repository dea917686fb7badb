/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See watch.h. */

#include "session/watch.h"

#include <err.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "session/follow.h"
#include "session/base.h"

#define MAX_FILES 256u

struct area {
    struct fe_mem_region r;
    void *map;                  /* MAP_FAILED: could not be mapped. */
    size_t map_len;
    const uint8_t *bytes;       /* The region's first byte. */
};

struct memory {
    unsigned int n;
    struct area areas[FE_MAX_REGIONS];
};

/* A ring as messages describe it. */
struct setup {
    bool has_addr, known;
    unsigned int size;
    uint32_t base;
    struct follow follow;
};

struct watch {
    unsigned int max_chains;
    uint64_t features;
    struct memory memory;
    struct setup rings[MAX_RINGS];
    unsigned int n_files;
    struct { dev_t dev; ino_t ino; } files[MAX_FILES];
};

/* Memory. */

void
watch_number_files(struct watch *w, struct message *m, const int fds[])
{
    for (unsigned int i = 0; i < m->n_fds; i++) {
        unsigned int file;
        struct stat st;

        if (m->fds[i].kind != FD_MEMORY || fstat(fds[i], &st)) {
            continue;
        }
        for (file = 0; file < w->n_files; file++) {
            if (w->files[file].dev == st.st_dev
                && w->files[file].ino == st.st_ino) {
                break;
            }
        }
        if (file == w->n_files && file < MAX_FILES - 1) {
            w->files[file].dev = st.st_dev;
            w->files[file].ino = st.st_ino;
            w->n_files++;
        }
        m->fds[i].file = file;
    }
}

/* Maps the region.  What a file lacks in length is not there: looking at it
 * would end the recorder. */
static void
map_area(struct area *a, const struct fe_mem_region *r, int fd)
{
    uint64_t page, skip;
    struct stat st;

    a->r = *r;
    a->map = MAP_FAILED;
    if (fstat(fd, &st) || r->offset + r->size < r->size
        || r->offset + r->size > (uint64_t) st.st_size) {
        warnx("a memory region is not within its file; rings in it cannot be "
              "followed");
        return;
    }
    /* Files on a hugetlbfs want whole pages. */
    page = st.st_blksize > FE_PAGE ? st.st_blksize : FE_PAGE;
    skip = r->offset % page;
    a->map_len = (skip + r->size + page - 1) / page * page;
    a->map = mmap(NULL, a->map_len, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd,
                  r->offset - skip);
    if (a->map == MAP_FAILED) {
        warnx("a memory region cannot be mapped; rings in it cannot be "
              "followed");
        return;
    }
    a->bytes = (const uint8_t *) a->map + skip;
}

static void
unmap_area(struct area *a)
{
    if (a->map != MAP_FAILED) {
        munmap(a->map, a->map_len);
    }
}

static void
unmap_all(struct memory *mem)
{
    for (unsigned int i = 0; i < mem->n; i++) {
        unmap_area(&mem->areas[i]);
    }
    mem->n = 0;
}

static const void *
find(const struct memory *mem, bool user, uint64_t addr, uint64_t len)
{
    for (unsigned int i = 0; i < mem->n; i++) {
        const struct area *a = &mem->areas[i];
        uint64_t start = user ? a->r.user_addr : a->r.guest_addr;

        if (a->map != MAP_FAILED && addr >= start
            && addr - start <= a->r.size
            && len <= a->r.size - (addr - start)) {
            return a->bytes + (addr - start);
        }
    }
    return NULL;
}

const void *
memory_guest(const struct memory *mem, uint64_t addr, uint64_t len)
{
    return find(mem, false, addr, len);
}

const void *
memory_user(const struct memory *mem, uint64_t addr, uint64_t len)
{
    return find(mem, true, addr, len);
}

static void
translate_all(struct watch *w)
{
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        if (w->rings[i].follow.active) {
            follow_translate(&w->rings[i].follow, &w->memory);
        }
    }
}

static void
set_table(struct watch *w, const struct message *m, const int fds[])
{
    struct fe_mem_region regions[FE_MAX_REGIONS];
    unsigned int n = message_regions(m, regions);

    unmap_all(&w->memory);
    for (unsigned int i = 0; i < n && i < m->n_fds; i++) {
        map_area(&w->memory.areas[w->memory.n++], &regions[i], fds[i]);
    }
    translate_all(w);
}

static void
add_region(struct watch *w, const struct message *m, const int fds[])
{
    struct fe_mem_region r;

    if (message_regions(m, &r) && m->n_fds && w->memory.n < FE_MAX_REGIONS) {
        map_area(&w->memory.areas[w->memory.n++], &r, fds[0]);
        translate_all(w);
    }
}

static void
remove_region(struct watch *w, const struct message *m)
{
    struct fe_mem_region r;

    for (unsigned int i = 0; message_regions(m, &r) && i < w->memory.n; i++) {
        struct area *a = &w->memory.areas[i];

        if (a->r.guest_addr == r.guest_addr && a->r.size == r.size
            && a->r.user_addr == r.user_addr) {
            unmap_area(a);
            *a = w->memory.areas[--w->memory.n];
            translate_all(w);
            return;
        }
    }
}

/* Rings. */

/* A file may be truncated while it is looked at. */
static sigjmp_buf truncated;
static volatile sig_atomic_t looking;

static void
on_sigbus(int signum)
{
    if (looking) {
        siglongjmp(truncated, 1);
    }
    signal(signum, SIG_DFL);
}

struct watch *
watch_new(unsigned int max_chains)
{
    struct sigaction sa = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };
    struct watch *w = zero_alloc(1, sizeof *w);

    sigaction(SIGBUS, &sa, NULL);
    w->max_chains = max_chains;
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        w->rings[i].follow.totals.ring = i;
    }
    return w;
}

/* Looks at all rings; true if there are any. */
static bool
look(struct watch *w, uint64_t t)
{
    bool any = false;

    looking = 1;
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        if (w->rings[i].follow.active) {
            follow_sample(&w->rings[i].follow, &w->memory, t);
            any = true;
        }
    }
    looking = 0;
    return any;
}

bool
watch_sample(struct watch *w, uint64_t t)
{
    if (!sigsetjmp(truncated, 0)) {
        return look(w, t);
    }
    looking = 0;
    warnx("guest memory has gone; rings in it cannot be followed");
    unmap_all(&w->memory);
    translate_all(w);
    return false;
}

void
watch_mute(struct watch *w)
{
    w->max_chains = 0;
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        w->rings[i].follow.max_chains = 0;
    }
}

static void
start_ring(struct watch *w, struct setup *s, uint64_t t)
{
    struct follow *f = &s->follow;

    if (f->active || !s->has_addr || !s->size || s->size > MAX_RING_SIZE) {
        return;
    }
    s->known = true;
    f->packed = w->features & FE_F_PACKED;
    f->size = s->size;
    f->max_chains = w->max_chains;
    f->header_len = 0;
    if (f->totals.ring % 2) {
        f->header_len = w->features & (FE_F_MRG | FE_F_VERSION_1) ? 12 : 10;
    }
    follow_translate(f, &w->memory);
    follow_start(f, s->base);
    watch_sample(w, t);
}

static void
stop_all(struct watch *w)
{
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        w->rings[i].follow.active = false;
    }
}

static void
set_addr(struct watch *w, const struct message *m)
{
    struct fe_vring_addr addr = message_addr(m);
    struct setup *s;

    if (addr.index < MAX_RINGS) {
        s = &w->rings[addr.index];
        s->has_addr = true;
        s->follow.addr = addr;
        if (s->follow.active) {
            follow_translate(&s->follow, &w->memory);
        }
    }
}

void
watch_front(struct watch *w, const struct message *m, const int fds[],
            uint64_t t)
{
    struct fe_vring_state state = message_state(m);

    watch_sample(w, t);
    switch (m->request) {
    case FE_SET_FEATURES:
        w->features = message_u64(m);
        break;
    case FE_SET_MEM_TABLE:
        set_table(w, m, fds);
        break;
    case REQ_ADD_MEM_REG:
        add_region(w, m, fds);
        break;
    case REQ_REM_MEM_REG:
        remove_region(w, m);
        break;
    case FE_SET_VRING_NUM:
        if (state.index < MAX_RINGS) {
            w->rings[state.index].size = state.num;
        }
        break;
    case FE_SET_VRING_BASE:
        if (state.index < MAX_RINGS) {
            w->rings[state.index].base = state.num;
        }
        break;
    case FE_SET_VRING_ADDR:
        set_addr(w, m);
        break;
    case FE_SET_VRING_KICK:
        start_ring(w, &w->rings[message_u64(m) & 0xff], t);
        break;
    case FE_RESET_OWNER:
    case REQ_RESET_DEVICE:
        stop_all(w);
        break;
    default:
        break;
    }
}

void
watch_back(struct watch *w, const struct message *m, uint64_t t)
{
    watch_sample(w, t);
    if (m->request == FE_GET_VRING_BASE) {
        struct fe_vring_state state = message_state(m);

        if (state.index < MAX_RINGS) {
            w->rings[state.index].follow.active = false;
        }
    }
}

void
watch_close(struct watch *w)
{
    stop_all(w);
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        w->rings[i].has_addr = false;
    }
    unmap_all(&w->memory);
    w->features = 0;
}

unsigned int
watch_totals(const struct watch *w, struct ring_totals totals[MAX_RINGS])
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        if (w->rings[i].known) {
            totals[n++] = w->rings[i].follow.totals;
        }
    }
    return n;
}

void
watch_free(struct watch *w)
{
    unmap_all(&w->memory);
    free(w);
}
