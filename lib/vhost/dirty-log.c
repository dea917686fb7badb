/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Marks pages in the dirty log (dirty-log.h), and SET_LOG_BASE, which brings
 * it: the worker maps the log like guest memory and under the same conditions,
 * while the event thread serves others.
 *
 * A bit is set after the write that it tells of and, as another thread may
 * have a neighbouring bit to set, by an atomic OR.  That is done even where
 * the bit is set already: the front end takes bits away at any time, and
 * whether it did so before or after the write could only be told by a fence.
 */

#include "map-job.h"
#include "messages.h"

#include <stdio.h>
#include <stdlib.h>

#include "vring.h"

/* Marking. */

bool
vhost_log_mark(const struct vhost_dirty_log *log, uint64_t addr, uint64_t len)
{
    uint64_t page = addr / VHOST_LOG_PAGE;
    uint64_t last = (addr + len - 1) / VHOST_LOG_PAGE;

    if (!len) {
        return true;
    }
    if (addr + len - 1 < addr) {
        return false;
    }
    while (page <= last && page < log->n_pages) {
        uint8_t *byte = &log->bits[page / 8];
        uint8_t mask = 0;

        do {
            mask |= 1 << page % 8;
            page++;
        } while (page % 8 && page <= last);
        __atomic_fetch_or(byte, mask, __ATOMIC_RELEASE);
    }
    return last < log->n_pages;
}

static void
mark(const struct vhost_vring *vr, uint64_t addr, uint64_t len)
{
    struct vhost_dirty_log *log = vr->log;

    if (!vhost_log_mark(log, addr, len)
        && !atomic_load_explicit(&log->beyond, memory_order_relaxed)) {
        /* Two threads at once: one address or the other. */
        __atomic_store_n(&log->beyond_addr, addr, __ATOMIC_RELAXED);
        atomic_store_explicit(&log->beyond, true, memory_order_release);
        vhost_port_wake(vr->port);
    }
}

void
vhost_log_written(const struct vhost_vring *vr, const void *p, uint64_t len)
{
    const struct vhost_region *r = vr->st->hit;
    const uint8_t *host = p;

    if (r && host >= r->host && (uint64_t) (host - r->host) < r->size) {
        mark(vr, r->guest_addr + (host - r->host), len);
    } else {
        mark(vr, vhost_mem_to_guest(vr->mem, p), len);
    }
}

void
vhost_log_used(const struct vhost_vring *vr, uint64_t offset, uint64_t len)
{
    if (vr->log_ring) {
        mark(vr, vr->log_used + offset, len);
    }
}

void
vhost_log_check(struct vhost_port *port)
{
    struct vhost_dirty_log *log = port->log;

    if (log && !log->reported
        && atomic_load_explicit(&log->beyond, memory_order_acquire)) {
        uint64_t addr = __atomic_load_n(&log->beyond_addr, __ATOMIC_RELAXED);

        log->reported = true;
        vhost_port_set_error(port, VHOST_LOG_WARN, "the dirty log of %llu "
                             "pages is too small: a migration would lose what "
                             "was written at 0x%llx",
                             (unsigned long long int) log->n_pages,
                             (unsigned long long int) addr);
    }
}

/* SET_LOG_BASE. */

bool
vhost_log_base_check(const struct vhost_message *msg)
{
    return msg->n_fds == 1;
}

/* Mapping a log, at the worker. */
struct log_job {
    struct vhost_map_job map;
    struct vhost_wire_log wire;
    struct vhost_dirty_log *new;
};

static void
free_log(struct vhost_dirty_log *log)
{
    if (log) {
        vhost_mem_unref(log->map);
        free(log);
    }
}

/* Makes a log of the file 'fd'.  Returns NULL and stores a sentence, or NULL,
 * in '*errorp' if that cannot be. */
static struct vhost_dirty_log *
make_log(const struct vhost_wire_log *wire, int fd, char **errorp)
{
    struct vhost_wire_region region = {
        .size = wire->mmap_size,
        .mmap_offset = wire->mmap_offset,
    };
    struct vhost_dirty_log *log = calloc(1, sizeof *log);
    char *reason = NULL;

    if (!log) {
        return NULL;
    }
    log->map = vhost_mem_create(&region, &fd, 1, NULL, false, &reason);
    if (!log->map) {
        if (asprintf(errorp, "the log as %s",
                     reason ? reason : "memory: out of memory") < 0) {
            *errorp = NULL;
        }
        free(reason);
        free(log);
        return NULL;
    }
    log->bits = log->map->regions[0].host;
    log->n_pages = wire->mmap_size * 8;
    return log;
}

static void
log_job_map(struct vhost_map_job *map)
{
    struct log_job *job = VHOST_CONTAINER_OF(map, struct log_job, map);

    job->new = make_log(&job->wire, map->fds[0], &map->error);
}

static void
log_job_give(struct vhost_map_job *map, struct vhost_port *port)
{
    port->new_log = VHOST_CONTAINER_OF(map, struct log_job, map)->new;
}

static void
log_job_drop(struct vhost_map_job *map)
{
    free_log(VHOST_CONTAINER_OF(map, struct log_job, map)->new);
}

void
vhost_log_base_prepare(struct vhost_port *port)
{
    struct log_job *job = calloc(1, sizeof *job);

    if (!job) {
        vhost_session_prepared(port);   /* Without a log: the error. */
        return;
    }
    job->wire = port->msg.payload.log;
    job->map.map = log_job_map;
    job->map.give = log_job_give;
    job->map.drop = log_job_drop;
    vhost_map_job_post(&job->map, port, 1);
}

int
vhost_log_base_stop(const struct vhost_port *port)
{
    return port->new_log ? VHOST_STOP_ALL : VHOST_STOP_NOTHING;
}

/* "The back-end replies": librte_vhost with no payload, others with a u64,
 * which is 0.  QEMU takes both. */
vhost_result
vhost_log_base_set(struct vhost_port *port, struct vhost_reply *reply)
{
    if (!port->new_log) {
        return port->mem_error ? port->mem_error : "out of memory";
    }
    vhost_log_replace(port, port->new_log);
    port->new_log = NULL;
    reply->payload.u64 = 0;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

/* Takes the log apart: nobody uses it, but unmapping takes long. */
static void
discard(struct vhost_port *port, struct vhost_dirty_log *log)
{
    if (log) {
        vhost_device_unref_mem(port, log->map);
        free(log);
    }
}

void
vhost_log_attach(struct vhost_port *port)
{
    if (port->mem) {
        atomic_store_explicit(&port->mem->log,
                              port->log ? port->log->map : NULL,
                              memory_order_release);
    }
}

void
vhost_log_replace(struct vhost_port *port, struct vhost_dirty_log *log)
{
    struct vhost_dirty_log *old = port->log;

    port->log = log;
    vhost_log_attach(port);
    discard(port, old);
}

void
vhost_log_release(struct vhost_port *port)
{
    vhost_log_replace(port, NULL);
    discard(port, port->new_log);
    port->new_log = NULL;
}
