/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * In-flight buffers; see inflight.h.
 *
 * They hold one struct inflight_split per ring, in a file that is mapped by
 * the worker like guest memory.  The file that GET_INFLIGHT_FD makes is not
 * kept: the front end sends it back by SET_INFLIGHT_FD.  It is all zeros,
 * which is how a buffer begins, and takes no memory until somebody writes to
 * it.
 */

#include "inflight.h"
#include "map-job.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT 64
#define VERSION 1

/* What the specification calls DescStateSplit, QueueRegionSplit, and the sizes
 * of DescStatePacked and of what is before them in a QueueRegionPacked. */
struct desc_split {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next;
    uint64_t counter;
};

struct inflight_split {
    uint64_t features;
    uint16_t version;           /* 0: not in use so far. */
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct desc_split desc[];
};

#define PACKED_DESC 32
#define PACKED_HEADER 32

/* A descriptor in flight, and when it was taken. */
struct taken {
    uint64_t counter;
    uint16_t head;
};

static size_t
align(size_t size)
{
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t
split_size(unsigned int queue_size)
{
    return align(sizeof(struct inflight_split)
                 + queue_size * sizeof(struct desc_split));
}

static size_t
packed_size(unsigned int queue_size)
{
    return align(PACKED_HEADER + queue_size * PACKED_DESC);
}

/* Settling. */

/* All of it is memory of the front end's. */
#define LOAD(LVALUE) __atomic_load_n(&(LVALUE), __ATOMIC_RELAXED)
#define STORE(LVALUE, VALUE) \
    __atomic_store_n(&(LVALUE), VALUE, __ATOMIC_RELAXED)

static int
compare_taken(const void *a_, const void *b_)
{
    const struct taken *a = a_;
    const struct taken *b = b_;

    return (a->counter > b->counter) - (a->counter < b->counter);
}

/* Takes out of flight the batch that was given back last, whose entries may
 * still be marked: it ended at 'used_idx'.  Returns false if there can be no
 * such batch. */
static bool
finish_batch(struct inflight_split *r, unsigned int size, uint16_t used_idx)
{
    uint16_t n = used_idx - LOAD(r->used_idx);
    uint16_t head = LOAD(r->last_batch_head);

    if (n > size) {
        return false;
    }
    while (n-- && head < size) {
        STORE(r->desc[head].inflight, 0);
        head = LOAD(r->desc[head].next);
    }
    return true;
}

/* Collects in 'taken', which has room for 'size', what is in flight according
 * to 'r', in the order in which it was taken.  Returns the number. */
static unsigned int
collect(const struct inflight_split *r, unsigned int size,
        struct taken taken[])
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < size; i++) {
        if (LOAD(r->desc[i].inflight) == 1) {
            taken[n].head = i;
            taken[n++].counter = LOAD(r->desc[i].counter);
        }
    }
    qsort(taken, n, sizeof *taken, compare_taken);
    return n;
}

/* Makes a buffer that says nothing is in flight. */
static void
begin(struct inflight_split *r, unsigned int size, uint16_t used_idx)
{
    for (unsigned int i = 0; LOAD(r->version) && i < size; i++) {
        STORE(r->desc[i].inflight, 0);
    }
    STORE(r->used_idx, used_idx);
    STORE(r->desc_num, size);
    STORE(r->version, VERSION);
}

/* Reads what is in flight on a ring of 'size' entries, whose used index is
 * 'used_idx', in the way of collect(), and clears it.  Returns false if the
 * buffer makes no sense; then it begins anew. */
static bool
take_over(struct inflight_split *r, unsigned int size, uint16_t used_idx,
          struct taken taken[], unsigned int *n)
{
    uint16_t version = LOAD(r->version);
    bool ok = true;

    *n = 0;
    if (version) {
        ok = (version == VERSION && LOAD(r->desc_num) == size
              && finish_batch(r, size, used_idx));
        if (ok) {
            *n = collect(r, size, taken);
        }
    }
    begin(r, size, used_idx + *n);
    return ok;
}

void
vhost_inflight_settle(struct vhost_ring *ring, const struct vhost_vring *vr)
{
    struct vhost_port *port = ring->port;
    const struct vhost_inflight *f = &port->inflight;
    uint16_t used_idx = LOAD(vr->used->idx);
    uint16_t offered = LOAD(vr->avail->idx) - used_idx;
    struct taken *taken;
    unsigned int n;
    bool ok;

    if (!f->map || ring->idx >= f->n_queues || vr->size > f->queue_size) {
        return;
    }
    taken = malloc(vr->size * sizeof *taken);
    if (!taken) {
        return;
    }
    vhost_guard_begin(f->map);
    ok = take_over((struct inflight_split *) (void *)
                   (f->map->regions[0].host
                    + ring->idx * split_size(f->queue_size)),
                   vr->size, used_idx, taken, &n);
    vhost_guard_begin(vr->mem);
    if (!ok || n > offered || atomic_load(&f->map->poisoned)) {
        vhost_port_log(port, VHOST_LOG_WARN, "vring %u: the front end's "
                       "buffer for descriptors in flight makes no sense and "
                       "is not used", ring->idx);
    } else if (n) {
        for (unsigned int i = 0; i < n; i++) {
            struct vring_used_elem *e;

            e = &vr->used->ring[(uint16_t) (used_idx + i) & vr->mask];
            STORE(e->id, taken[i].head);
            STORE(e->len, 0);
        }
        vring_log_used(vr, offsetof(struct vring_used, ring),
                       vr->size * sizeof *vr->used->ring);
        __atomic_store_n(&vr->used->idx, (uint16_t) (used_idx + n),
                         __ATOMIC_RELEASE);
        vring_log_used(vr, offsetof(struct vring_used, idx),
                       sizeof vr->used->idx);
        vhost_port_log(port, VHOST_LOG_INFO, "vring %u: %u buffers that "
                       "another back end had in flight are given back unused",
                       ring->idx, n);
    }
    free(taken);
}

void
vhost_inflight_release(struct vhost_port *port)
{
    vhost_device_unref_mem(port, port->inflight.map);
    memset(&port->inflight, 0, sizeof port->inflight);
    vhost_device_unref_mem(port, port->new_inflight);
    port->new_inflight = NULL;
}

/* Messages. */

/* With or without the padding that C has. */
bool
vhost_inflight_check(const struct vhost_message *msg)
{
    return (msg->header.size == sizeof(struct vhost_wire_inflight)
            || msg->header.size == VHOST_WIRE_INFLIGHT_MIN);
}

bool
vhost_inflight_check_fd(const struct vhost_message *msg)
{
    return vhost_inflight_check(msg) && msg->n_fds == 1;
}

/* What is wrong with the number and size of queues in the message, or NULL. */
static vhost_result
check_counts(const struct vhost_port *port)
{
    const struct vhost_wire_inflight *w = &port->msg.payload.inflight;

    return (w->num_queues < 1 || w->num_queues > 2 * port->offer.queue_pairs
            || w->queue_size < 1 || w->queue_size > VHOST_MAX_RING_SIZE
            ? "impossible queues" : NULL);
}

/* A file of 'size' bytes that cannot be truncated, -1 if there can be none. */
static int
make_file(uint64_t size)
{
    int fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (ftruncate(fd, size)
                    || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW
                                              | F_SEAL_SEAL))) {
        close(fd);
        return -1;
    }
    return fd;
}

vhost_result
vhost_inflight_get(struct vhost_port *port, struct vhost_reply *reply)
{
    struct vhost_wire_inflight *w = &reply->payload.inflight;
    vhost_result result = check_counts(port);

    if (result) {
        return result;
    }
    *w = port->msg.payload.inflight;
    /* Which format the rings will have, nobody knows yet. */
    w->mmap_size = w->num_queues * (uint64_t) packed_size(w->queue_size);
    w->mmap_offset = 0;
    reply->fd = make_file(w->mmap_size);
    reply->size = port->msg.header.size;
    return reply->fd >= 0 ? NULL : "no memory file";
}

/* Mapping a buffer, at the worker. */
struct inflight_job {
    struct vhost_map_job map;
    struct vhost_wire_region region;
    struct vhost_mem *new;
};

static void
inflight_job_map(struct vhost_map_job *map)
{
    struct inflight_job *job = VHOST_CONTAINER_OF(map, struct inflight_job,
                                                  map);

    job->new = vhost_mem_create(&job->region, map->fds, 1, NULL, false,
                                &map->error);
}

static void
inflight_job_give(struct vhost_map_job *map, struct vhost_port *port)
{
    port->new_inflight = VHOST_CONTAINER_OF(map, struct inflight_job,
                                            map)->new;
}

static void
inflight_job_drop(struct vhost_map_job *map)
{
    vhost_mem_unref(VHOST_CONTAINER_OF(map, struct inflight_job, map)->new);
}

void
vhost_inflight_prepare(struct vhost_port *port)
{
    const struct vhost_wire_inflight *w = &port->msg.payload.inflight;
    uint64_t size = w->num_queues * (uint64_t) split_size(w->queue_size);
    struct inflight_job *job;

    /* Only what is needed is mapped. */
    if (check_counts(port) || w->mmap_size < size || w->mmap_offset % 8) {
        vhost_session_prepared(port);
        return;
    }
    job = calloc(1, sizeof *job);
    if (!job) {
        vhost_session_prepared(port);
        return;
    }
    job->region.size = size;
    job->region.mmap_offset = w->mmap_offset;
    job->map.map = inflight_job_map;
    job->map.give = inflight_job_give;
    job->map.drop = inflight_job_drop;
    vhost_map_job_post(&job->map, port, 1);
}

/* What runs goes on without looking at it. */
vhost_result
vhost_inflight_set(struct vhost_port *port, struct vhost_reply *reply)
{
    const struct vhost_wire_inflight *w = &port->msg.payload.inflight;

    (void) reply;
    if (!port->new_inflight) {
        return (port->mem_error ? port->mem_error
                : "impossible queues, or a buffer that is too small for them");
    }
    vhost_device_unref_mem(port, port->inflight.map);
    port->inflight.map = port->new_inflight;
    port->inflight.n_queues = w->num_queues;
    port->inflight.queue_size = w->queue_size;
    port->new_inflight = NULL;
    return NULL;
}
