/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Maps guest memory and translates addresses; see memory.h.
 *
 * The front end is not trusted with what it sends.  A region must lie within
 * its file, and the file must be shared memory of the kernel's own (memfd,
 * tmpfs, hugetlbfs): behind a page of any other file may be a file system that
 * the peer itself serves, which could keep a polling thread waiting in a page
 * fault for as long as it likes.  F_GET_SEALS tells such files from others
 * without asking the file system anything.
 */

#include "memory.h"
#include "residency.h"
#include "vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#ifdef HAVE_LIBNUMA
#include <numaif.h>
#endif

/* Address space is finite, and sparse files cost a front end nothing: bytes
 * that one table, and all of them together, may map. */
#define MAX_TABLE (16ULL << 40)
#define MAX_ALL (64ULL << 40)
static _Atomic uint64_t mapped;

/* A sentence for the caller of vhost_mem_create(). */
static char *__attribute__((format(printf, 1, 2)))
sentence(const char *format, ...)
{
    va_list args;
    char *s;

    va_start(args, format);
    if (vasprintf(&s, format, args) < 0) {
        s = NULL;
    }
    va_end(args);
    return s;
}

static bool
sum_wraps(uint64_t a, uint64_t b)
{
    return a + b < a;
}

static bool
ranges_meet(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

static bool
is_impossible(const struct vhost_wire_region *r)
{
    return (!r->size || sum_wraps(r->guest_addr, r->size)
            || sum_wraps(r->user_addr, r->size)
            || sum_wraps(r->mmap_offset, r->size));
}

/* Checks what can be told from the numbers alone. */
static char *
check_table(const struct vhost_wire_region r[], unsigned int n)
{
    uint64_t total = 0;

    for (unsigned int i = 0; i < n; i++) {
        if (is_impossible(&r[i])) {
            return sentence("memory region %u has impossible bounds", i);
        }
        if (r[i].size > MAX_TABLE - total) {
            return sentence("memory regions of more than %llu TiB",
                            MAX_TABLE >> 40);
        }
        total += r[i].size;
        for (unsigned int j = 0; j < i; j++) {
            if (ranges_meet(r[i].guest_addr, r[i].size,
                            r[j].guest_addr, r[j].size)
                || ranges_meet(r[i].user_addr, r[i].size,
                               r[j].user_addr, r[j].size)) {
                return sentence("memory regions %u and %u overlap", j, i);
            }
        }
    }
    return NULL;
}

static int
node_of(void *addr)
{
    int node = -1;

#ifdef HAVE_LIBNUMA
    if (get_mempolicy(&node, NULL, 0, addr, MPOL_F_NODE | MPOL_F_ADDR)) {
        node = -1;
    }
#else
    (void) addr;
#endif
    return node;
}

/* Looks for the mapping of the same part of the same file in 'old'. */
static struct vhost_mapping *
find_mapping(const struct vhost_mem *old, const struct stat *st,
             uint64_t offset, size_t len)
{
    for (unsigned int i = 0; old && i < old->n_regions; i++) {
        struct vhost_mapping *m = old->regions[i].mapping;

        if (m->dev == st->st_dev && m->ino == st->st_ino
            && m->offset == offset && m->len == len) {
            return m;
        }
    }
    return NULL;
}

bool
vhost_mem_is_shared_memory(int fd)
{
    return fcntl(fd, F_GET_SEALS) >= 0;
}

/* Finds the page size of 'fd' and checks that the file is fit to be guest
 * memory and holds 'r'. */
static char *
check_file(int fd, const struct vhost_wire_region *r, unsigned int i,
           struct stat *st, size_t *page_size)
{
    struct statfs fs;

    if (!vhost_mem_is_shared_memory(fd)) {
        return sentence("memory region %u is not in shared memory (memfd, "
                        "tmpfs or hugetlbfs)", i);
    }
    if (fstat(fd, st) || fstatfs(fd, &fs)) {
        return sentence("memory region %u: fstat failed (%s)", i,
                        strerror(errno));
    }
    *page_size = fs.f_type == HUGETLBFS_MAGIC ? fs.f_bsize
                                              : sysconf(_SC_PAGESIZE);

    /* The front end may truncate later, which sigbus.c survives.  F_ADD_SEALS
     * would prevent it where the file allows that, but takes the inode's lock,
     * which the front end can hold for as long as it likes: by a write(2) from
     * memory whose page faults it serves itself. */
    if (st->st_size < 0 || r->mmap_offset + r->size > (uint64_t) st->st_size) {
        return sentence("memory region %u ends beyond its file of %lld bytes",
                        i, (long long int) st->st_size);
    }
    return NULL;
}

bool
vhost_mem_is_locked(void)
{
    size_t size = sysconf(_SC_PAGESIZE);
    unsigned char resident = 0;
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        return false;
    }
    if (mincore(page, size, &resident)) {
        resident = 0;
    }
    munmap(page, size);
    return resident & 1;
}

/* Maps 'len' bytes of 'fd', of which none is touched.
 *
 * Where all memory is locked (ovs-ctl starts ovs-vswitchd with --mlockall),
 * mmap(2) fills what it maps, all of it.  A front end could have a sparse file
 * of terabytes filled like that, and even an honest one's guest would get all
 * of its memory at once, while other front ends wait.  But mmap(2) cannot fill
 * what must not be accessed, and that it may be is said afterwards.  Pages that
 * are touched are locked then as they are to be; huge pages always stay. */
static void *
map_untouched(int fd, uint64_t start, size_t len, size_t page_size)
{
    void *addr = mmap(NULL, len, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd,
                      start);

    if (addr == MAP_FAILED) {
        return addr;
    }
    munlock(addr, len);
    if (mprotect(addr, len, PROT_READ | PROT_WRITE)) {
        int error = errno;

        munmap(addr, len);
        errno = error;
        return MAP_FAILED;
    }
    if (page_size == sysconf(_SC_PAGESIZE) && vhost_mem_is_locked()) {
        mlock2(addr, len, MLOCK_ONFAULT);
    }
    return addr;
}

static char *
map_region(int fd, const struct vhost_wire_region *r, unsigned int i,
           const struct vhost_mem *old, bool untouched,
           struct vhost_mapping **mappingp)
{
    struct vhost_mapping *m;
    struct stat st;
    size_t page_size = 0;
    uint64_t start;
    size_t len;
    char *error;
    void *addr;

    error = check_file(fd, r, i, &st, &page_size);
    if (error) {
        return error;
    }
    start = r->mmap_offset / page_size * page_size;
    len = (r->mmap_offset + r->size - start + page_size - 1)
          / page_size * page_size;

    m = find_mapping(old, &st, start, len);
    if (m) {
        atomic_fetch_add(&m->refs, 1);
        *mappingp = m;
        return NULL;
    }

    m = calloc(1, sizeof *m);
    if (!m) {
        return sentence("out of memory");
    }
    if (atomic_fetch_add(&mapped, len) > MAX_ALL - len) {
        atomic_fetch_sub(&mapped, len);
        free(m);
        return sentence("all ports together would map more than %llu TiB",
                        MAX_ALL >> 40);
    }
    addr = map_untouched(fd, start, len, page_size);
    if (addr == MAP_FAILED) {
        atomic_fetch_sub(&mapped, len);
        free(m);
        return sentence("memory region %u of %llu bytes: mmap failed (%s)", i,
                        (unsigned long long int) r->size, strerror(errno));
    }
    madvise(addr, len, MADV_DONTDUMP);
    atomic_init(&m->refs, 1);
    m->addr = addr;
    m->len = len;
    m->page_size = page_size;
    m->dev = st.st_dev;
    m->ino = st.st_ino;
    m->offset = start;
    m->numa = untouched ? -1 : node_of(addr);
    vhost_file_name(fd, m->file);
    *mappingp = m;
    return NULL;
}

static void
unref_mapping(struct vhost_mapping *m)
{
    if (atomic_fetch_sub(&m->refs, 1) == 1) {
        munmap(m->addr, m->len);
        if (m->resident) {
            munmap((void *) m->resident, vhost_mapping_bitmap_size(m));
        }
        atomic_fetch_sub(&mapped, m->len);
        free(m);
    }
}

static int
compare_regions(const void *a_, const void *b_)
{
    const struct vhost_region *a = a_;
    const struct vhost_region *b = b_;

    return (a->guest_addr > b->guest_addr) - (a->guest_addr < b->guest_addr);
}

static void
region_init(struct vhost_region *r, const struct vhost_wire_region *wire)
{
    r->guest_addr = wire->guest_addr;
    r->user_addr = wire->user_addr;
    r->size = wire->size;
    r->n_added = 1;
    r->host = r->mapping->addr + (wire->mmap_offset - r->mapping->offset);
}

struct vhost_mem *
vhost_mem_create(const struct vhost_wire_region wire[], const int fds[],
                 unsigned int n, const struct vhost_mem *old, bool untouched,
                 char **errorp)
{
    struct vhost_mem *mem = calloc(1, sizeof *mem + n * sizeof *mem->regions);

    if (!mem) {
        *errorp = sentence("out of memory");
        return NULL;
    }
    atomic_init(&mem->refs, 1);
    *errorp = check_table(wire, n);
    for (unsigned int i = 0; !*errorp && i < n; i++) {
        struct vhost_region *r = &mem->regions[i];

        *errorp = map_region(fds[i], &wire[i], i, old, untouched,
                             &r->mapping);
        if (!*errorp) {
            region_init(r, &wire[i]);
            mem->n_regions++;
        }
    }
    if (*errorp) {
        vhost_mem_unref(mem);
        return NULL;
    }
    qsort(mem->regions, n, sizeof *mem->regions, compare_regions);
    return mem;
}

/* Checks 'wire', which is to be added to 'old' (may be NULL), by its
 * numbers. */
static char *
check_addition(const struct vhost_mem *old,
               const struct vhost_wire_region *wire)
{
    uint64_t total = 0;

    if (is_impossible(wire)) {
        return sentence("the memory region has impossible bounds");
    }
    if (old && old->n_regions >= VHOST_MAX_MEM_SLOTS) {
        return sentence("more than %u memory regions", VHOST_MAX_MEM_SLOTS);
    }
    for (unsigned int i = 0; old && i < old->n_regions; i++) {
        const struct vhost_region *r = &old->regions[i];

        if (ranges_meet(wire->guest_addr, wire->size, r->guest_addr, r->size)
            || ranges_meet(wire->user_addr, wire->size, r->user_addr,
                           r->size)) {
            return sentence("the memory region overlaps with another one");
        }
        total += r->size;
    }
    return (wire->size > MAX_TABLE - total
            ? sentence("memory regions of more than %llu TiB", MAX_TABLE >> 40)
            : NULL);
}

/* The region in 'mem' (may be NULL) that has the addresses of 'wire', or
 * NULL. */
static const struct vhost_region *
find_region(const struct vhost_mem *mem, const struct vhost_wire_region *wire)
{
    const struct vhost_region *r = (mem ? vhost_mem_find(mem, wire->guest_addr)
                                    : NULL);

    return (r && r->guest_addr == wire->guest_addr && r->size == wire->size
            && r->user_addr == wire->user_addr ? r : NULL);
}

/* Makes a map of the regions of 'old' (NULL: none), with room for one more
 * behind them.  'r' (NULL: none) of these was added 'more' times more, or
 * less, and is not in the map if that makes none. */
static struct vhost_mem *
copy_mem(const struct vhost_mem *old, const struct vhost_region *r, int more)
{
    unsigned int n = old ? old->n_regions : 0;
    struct vhost_mem *mem = calloc(1, (sizeof *mem
                                       + (n + 1) * sizeof *mem->regions));

    if (mem) {
        atomic_init(&mem->refs, 1);
        for (unsigned int i = 0; i < n; i++) {
            struct vhost_region *new = &mem->regions[mem->n_regions];

            *new = old->regions[i];
            new->n_added += &old->regions[i] == r ? more : 0;
            if (new->n_added) {
                atomic_fetch_add(&new->mapping->refs, 1);
                mem->n_regions++;
            }
        }
    }
    return mem;
}

/* Adds to 'old' the region 'r', which it has, once more, if 'wire' and 'fd'
 * are the same memory. */
static struct vhost_mem *
add_again(const struct vhost_mem *old, const struct vhost_region *r,
          const struct vhost_wire_region *wire, int fd, char **errorp)
{
    struct vhost_mapping *mapping = NULL;
    struct vhost_mem *mem = NULL;

    if (r->n_added >= VHOST_MAX_QUEUE_PAIRS || is_impossible(wire)) {
        *errorp = sentence("the memory region is there already");
        return NULL;
    }
    *errorp = map_region(fd, wire, 0, old, false, &mapping);
    if (*errorp) {
        return NULL;
    }
    if (mapping != r->mapping
        || r->host != mapping->addr + (wire->mmap_offset - mapping->offset)) {
        *errorp = sentence("the memory region overlaps with another one");
    } else {
        mem = copy_mem(old, r, 1);
        *errorp = mem ? NULL : sentence("out of memory");
    }
    unref_mapping(mapping);
    return mem;
}

struct vhost_mem *
vhost_mem_add(const struct vhost_mem *old,
              const struct vhost_wire_region *wire, int fd, char **errorp)
{
    const struct vhost_region *same = find_region(old, wire);
    struct vhost_mapping *mapping = NULL;
    struct vhost_mem *mem;

    if (same) {
        return add_again(old, same, wire, fd, errorp);
    }
    *errorp = check_addition(old, wire);
    if (!*errorp) {
        *errorp = map_region(fd, wire, old ? old->n_regions : 0, old, false,
                             &mapping);
    }
    if (*errorp) {
        return NULL;
    }
    mem = copy_mem(old, NULL, 0);
    if (!mem) {
        unref_mapping(mapping);
        *errorp = sentence("out of memory");
        return NULL;
    }
    mem->regions[mem->n_regions].mapping = mapping;
    region_init(&mem->regions[mem->n_regions++], wire);
    qsort(mem->regions, mem->n_regions, sizeof *mem->regions,
          compare_regions);
    return mem;
}

struct vhost_mem *
vhost_mem_remove(const struct vhost_mem *old,
                 const struct vhost_wire_region *wire, char **errorp)
{
    const struct vhost_region *r = find_region(old, wire);
    struct vhost_mem *mem;

    if (!r) {
        *errorp = sentence("there is no such memory region");
        return NULL;
    }
    mem = copy_mem(old, r, -1);
    *errorp = mem ? NULL : sentence("out of memory");
    return mem;
}

void
vhost_mem_find_nodes(struct vhost_mem *mem)
{
    for (unsigned int i = 0; i < mem->n_regions; i++) {
        struct vhost_mapping *m = mem->regions[i].mapping;

        if (m->numa < 0) {
            m->numa = node_of(m->addr);
        }
    }
}

size_t
vhost_mapping_bitmap_size(const struct vhost_mapping *m)
{
    return (m->len / m->page_size + 63) / 64 * 8;
}

struct vhost_mem *
vhost_mem_ref(struct vhost_mem *mem)
{
    if (mem) {
        atomic_fetch_add(&mem->refs, 1);
    }
    return mem;
}

void
vhost_mem_unref(struct vhost_mem *mem)
{
    if (!mem || atomic_fetch_sub(&mem->refs, 1) != 1) {
        return;
    }
    for (unsigned int i = 0; i < mem->n_regions; i++) {
        unref_mapping(mem->regions[i].mapping);
    }
    free(mem);
}

const struct vhost_region *
vhost_mem_find(const struct vhost_mem *mem, uint64_t addr)
{
    unsigned int low = 0, high = mem->n_regions;

    while (low < high) {
        unsigned int mid = (low + high) / 2;
        const struct vhost_region *r = &mem->regions[mid];

        if (addr < r->guest_addr) {
            high = mid;
        } else if (addr - r->guest_addr < r->size) {
            return r;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

void *
vhost_mem_from_user(const struct vhost_mem *mem, uint64_t addr, uint64_t len)
{
    for (unsigned int i = 0; i < mem->n_regions; i++) {
        const struct vhost_region *r = &mem->regions[i];
        uint64_t offset = addr - r->user_addr;

        if (addr >= r->user_addr && offset < r->size
            && len <= r->size - offset) {
            return r->host + offset;
        }
    }
    return NULL;
}

uint64_t
vhost_mem_to_guest(const struct vhost_mem *mem, const void *p)
{
    const uint8_t *host = p;

    for (unsigned int i = 0; i < mem->n_regions; i++) {
        const struct vhost_region *r = &mem->regions[i];

        if (host >= r->host && (uint64_t) (host - r->host) < r->size) {
            return r->guest_addr + (host - r->host);
        }
    }
    return UINT64_MAX;
}
