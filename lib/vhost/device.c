/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The device that a front end's messages build up: features, memory map and
 * rings; and its end.
 *
 * The functions that a message calls change the setup only.  What the polling
 * threads see is made from it by describe.c, for those rings whose gates are
 * closed.
 *
 * All of this is the event thread's, with port->mutex held where a control
 * thread could look.
 */

#include "port.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "inflight.h"
#include "iommu.h"
#include "notify.h"
#include "postcopy.h"
#include "record-file.h"

struct vhost_ring *
vhost_device_ring(struct vhost_port *port, unsigned int idx)
{
    size_t size = ((sizeof(struct vhost_ring) + VHOST_CACHE_LINE - 1)
                   / VHOST_CACHE_LINE * VHOST_CACHE_LINE);
    struct vhost_ring *ring = port->rings[idx];

    if (!ring) {
        ring = aligned_alloc(VHOST_CACHE_LINE, size);
        if (ring) {
            memset(ring, 0, size);
            ring->port = port;
            ring->idx = idx;
            ring->kickfd = ring->callfd = ring->errfd = -1;
            ring->rxq.st = &ring->st;
            ring->kick.ready = vhost_drain_ready;
            vhost_call_init(&ring->call, &port->loop->notifier,
                            &port->slow_calls_until);
            port->rings[idx] = ring;
        }
    }
    return ring;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* Setup, by messages. */

vhost_result
vhost_device_set_features(struct vhost_port *port, uint64_t features)
{
    uint64_t changed = features ^ port->info.features;

    if (features & ~(port->offer.features | port->offer.tolerated)) {
        return "features that were not offered";
    }
    for (unsigned int i = 0; port->have_features && i < port->max_vrings;
         i++) {
        const struct vhost_ring *ring = port->rings[i];

        /* QEMU repeats the message for each queue pair, while the first
         * already runs. */
        if (ring && ring->started
            && changed & ~(UINT64_C(1) << VHOST_F_LOG_ALL)) {
            return "features changed while a ring runs";
        }
    }
    if (!vhost_iommu_enable(port, features >> VIRTIO_F_ACCESS_PLATFORM & 1)) {
        return "out of memory";
    }
    port->info.features = features;
    if (!port->have_features) {
        port->have_features = true;

        /* "If VHOST_USER_F_PROTOCOL_FEATURES has not been negotiated, the
         * rings are enabled", whether set up already or not. */
        for (unsigned int i = 0; i < port->max_vrings; i++) {
            if (port->rings[i]
                && !vhost_has_feature(port, VHOST_USER_F_PROTOCOL_FEATURES)) {
                port->rings[i]->enabled = true;
            }
        }
    }
    vhost_port_changed(port, VHOST_CHANGE_FEATURES);
    return NULL;
}

/* The ring that a message names.  Its first use counts as the guest having
 * it. */
static struct vhost_ring *
message_ring(struct vhost_port *port, unsigned int idx)
{
    struct vhost_ring *ring = (idx < 2 * port->offer.queue_pairs
                               ? vhost_device_ring(port, idx) : NULL);

    if (ring && idx >= port->info.n_vrings) {
        port->info.n_vrings = idx + 1;
    }
    return ring;
}

vhost_result
vhost_device_set_vring_num(struct vhost_port *port, unsigned int idx,
                           uint32_t num)
{
    struct vhost_ring *ring = message_ring(port, idx);

    if (!ring) {
        return "no such vring";
    }
    if (!num || num > VHOST_MAX_RING_SIZE
        || (num & (num - 1) && !vhost_is_packed(port))) {
        return "impossible ring size";
    }
    if (ring->started) {
        return "size of a running ring";
    }
    ring->size = num;
    return NULL;
}

void
vhost_device_ring_parts(const struct vhost_ring *ring,
                        struct vhost_ring_part parts[3])
{
    const struct vhost_wire_vring_addr *a = &ring->addr;
    uint32_t size = ring->size;

    parts[0].addr = a->desc;
    parts[1].addr = a->avail;
    parts[2].addr = a->used;
    if (vhost_is_packed(ring->port)) {
        parts[0].len = vring_packed_desc_len(size);
        parts[1].len = parts[2].len = sizeof(struct vring_packed_desc_event);
    } else {
        /* The event index behind avail and used ring is always counted in: it
         * is negotiated later, perhaps, and every driver has room for it. */
        parts[0].len = vring_split_desc_len(size);
        parts[1].len = vring_split_avail_len(size, true);
        parts[2].len = vring_split_used_len(size, true);
    }
}

/* Where the parts of 'ring' are here; NULL where they are not, or, behind a
 * vIOMMU, not known yet: then '*wait' is set. */
static void
find_parts(const struct vhost_ring *ring, const struct vhost_mem *mem,
           void *here[3], bool *wait)
{
    struct vhost_ring_part parts[3];

    vhost_device_ring_parts(ring, parts);
    *wait = false;
    for (unsigned int i = 0; i < 3; i++) {
        unsigned int perm = (i == 2 || (i == 0 && vhost_is_packed(ring->port))
                             ? VHOST_IOTLB_RW : VHOST_IOTLB_RO);

        here[i] = (ring->port->iommu
                   ? vhost_iommu_ring_part(ring->port, parts[i].addr,
                                           parts[i].len, perm, wait)
                   : vhost_mem_from_user(mem, parts[i].addr, parts[i].len));
    }
}

/* Where the parts of a split ring are here; false if they are not. */
static bool
translate_split(const struct vhost_ring *ring, const struct vhost_mem *mem,
                struct vhost_vring *vr, bool *wait)
{
    uint32_t size = ring->size;
    void *here[3];

    find_parts(ring, mem, here, wait);
    vr->desc = here[0];
    vr->avail = here[1];
    vr->used = here[2];

    /* The front end's addresses are aligned; where its memory starts in the
     * file may not be. */
    return (vr->desc && vr->avail && vr->used && !(size & (size - 1))
            && !((uintptr_t) vr->desc & 15) && !((uintptr_t) vr->avail & 1)
            && !((uintptr_t) vr->used & 3));
}

/* The same for a packed ring, whose three parts have the split ring's names in
 * messages (vhost-user, "A vring address description"; virtio 1.2, sections
 * 2.8.10.1 and 2.8.14). */
static bool
translate_packed(const struct vhost_ring *ring, const struct vhost_mem *mem,
                 struct vhost_vring *vr, bool *wait)
{
    void *here[3];

    find_parts(ring, mem, here, wait);
    vr->pdesc = here[0];
    vr->driver_event = here[1];
    vr->device_event = here[2];
    return (vr->pdesc && vr->driver_event && vr->device_event
            && !((uintptr_t) vr->pdesc & 15)
            && !((uintptr_t) vr->driver_event & 3)
            && !((uintptr_t) vr->device_event & 3));
}

bool
vhost_translate_ring(struct vhost_ring *ring, const struct vhost_mem *mem,
                     struct vhost_vring *vr)
{
    return (vhost_is_packed(ring->port)
            ? translate_packed(ring, mem, vr, &ring->waiting)
            : translate_split(ring, mem, vr, &ring->waiting));
}

vhost_result
vhost_device_set_vring_addr(struct vhost_port *port,
                            const struct vhost_wire_vring_addr *addr)
{
    struct vhost_ring *ring = message_ring(port, addr->index);
    struct vhost_vring vr;

    if (!ring) {
        return "no such vring";
    }
    if (!ring->size) {
        return "ring addresses before the ring's size";
    }
    if (addr->desc & 15 || addr->avail & 1 || addr->used & 3) {
        return "ring addresses are not aligned";
    }
    if (!port->mem) {
        return "ring addresses before guest memory";
    }
    if (ring->vr && (addr->desc != ring->addr.desc
                     || addr->avail != ring->addr.avail
                     || addr->used != ring->addr.used)) {
        return "other addresses for a running ring";
    }
    ring->addr = *addr;
    ring->have_addr = (port->iommu
                       || vhost_translate_ring(ring, port->mem, &vr));
    return ring->have_addr ? NULL : "a ring outside guest memory";
}

vhost_result
vhost_device_set_vring_base(struct vhost_port *port, unsigned int idx,
                            uint32_t base)
{
    struct vhost_ring *ring = message_ring(port, idx);

    if (!ring) {
        return "no such vring";
    }
    if (base > UINT16_MAX && !vhost_is_packed(port)) {
        return "impossible ring base";
    }
    if (ring->started) {
        return "base of a running ring";
    }
    ring->base = base;
    atomic_store_explicit(&ring->st.last_avail, base, memory_order_relaxed);
    return NULL;
}

static void
ring_stop(struct vhost_ring *ring)
{
    if (vring_notify_due(&ring->rxq) && ring->callfd >= 0) {
        vhost_notify(ring->callfd);
    }
    vhost_source_remove(ring->port->loop, &ring->kick);
    close_fd(&ring->kickfd);
    ring->started = false;
    ring->fresh = false;
    ring->waiting = false;
    atomic_store_explicit(&ring->st.broken, false, memory_order_relaxed);
    atomic_store_explicit(&ring->st.reported, false, memory_order_relaxed);
}

/* Forgets where 'ring' would go on after an interruption: the front end knows
 * now, or nobody will come. */
static void
ring_forget_record(struct vhost_ring *ring)
{
    if (ring->record_is_malloced) {
        free(ring->record);
    }
    ring->record = NULL;
    ring->record_is_malloced = false;
    vhost_record_file_clear(&ring->port->record_file, ring->idx);
}

static bool
any_started(const struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        if (port->rings[i] && port->rings[i]->started) {
            return true;
        }
    }
    return false;
}

vhost_result
vhost_device_get_vring_base(struct vhost_port *port, unsigned int idx,
                            uint32_t *base)
{
    struct vhost_ring *ring = message_ring(port, idx);

    if (!ring) {
        return "no such vring";
    }
    ring_stop(ring);
    *base = atomic_load_explicit(&ring->st.last_avail, memory_order_relaxed);
    if (vhost_is_packed(port)) {
        *base |= *base << 16;   /* The used index is the same. */
    }
    ring_forget_record(ring);
    if (!any_started(port)) {
        /* A front end does not tell of what happens while nothing runs. */
        vhost_iommu_flush(port);
    }
    return NULL;
}

/* Puts 'fd' in the place of '*slot' if it is fit for that. */
static vhost_result
replace_eventfd(const struct vhost_ring *ring, int *slot, int fd)
{
    if (!ring) {
        return "no such vring";
    }
    if (fd >= 0 && !vhost_is_eventfd(fd)) {
        return "a descriptor that is no eventfd";
    }
    close_fd(slot);
    *slot = fd;
    return NULL;
}

vhost_result
vhost_device_set_vring_kick(struct vhost_port *port, unsigned int idx, int fd)
{
    struct vhost_ring *ring = message_ring(port, idx);
    struct vhost_vring vr;
    vhost_result result;

    if (ring) {
        vhost_source_remove(port->loop, &ring->kick);
    }
    result = replace_eventfd(ring, ring ? &ring->kickfd : NULL, fd);
    if (!result && ring->have_addr && port->mem && !port->iommu
        && !vhost_translate_ring(ring, port->mem, &vr)) {
        result = "a ring outside guest memory";     /* Its size changed. */
    }
    if (!result && !ring->started) {
        ring->started = ring->fresh = true;
        if (!vhost_has_feature(port, VHOST_USER_F_PROTOCOL_FEATURES)) {
            ring->enabled = true;
        }
    }
    return result;
}

vhost_result
vhost_device_set_vring_call(struct vhost_port *port, unsigned int idx, int fd)
{
    struct vhost_ring *ring = message_ring(port, idx);
    vhost_result result = replace_eventfd(ring, ring ? &ring->callfd : NULL,
                                          fd);

    if (!result && ring->started) {
        ring->call_anew = true;
    }
    return result;
}

vhost_result
vhost_device_set_vring_err(struct vhost_port *port, unsigned int idx, int fd)
{
    struct vhost_ring *ring = message_ring(port, idx);

    return replace_eventfd(ring, ring ? &ring->errfd : NULL, fd);
}

vhost_result
vhost_device_set_vring_enable(struct vhost_port *port, unsigned int idx,
                              bool enable)
{
    struct vhost_ring *ring = message_ring(port, idx);

    if (!ring) {
        return "no such vring";
    }
    ring->enabled = enable;
    return NULL;
}

/* Work for the worker: drop a reference to a memory map. */
struct unref_job {
    struct vhost_job job;
    struct vhost_mem *mem;
};

static void
unref_mem(struct vhost_job *job)
{
    vhost_mem_unref(VHOST_CONTAINER_OF(job, struct unref_job, job)->mem);
}

void
vhost_device_unref_mem(struct vhost_port *port, struct vhost_mem *mem)
{
    struct unref_job *job;

    if (!mem) {
        return;
    }
    job = calloc(1, sizeof *job);
    if (!job) {
        vhost_mem_unref(mem);   /* Takes long, but leaks nothing. */
        return;
    }
    job->mem = mem;
    job->job.work = unref_mem;
    vhost_job_post(port->loop, &job->job);
}

void
vhost_device_set_mem(struct vhost_port *port, struct vhost_mem *mem)
{
    vhost_device_unref_mem(port, port->mem);
    port->mem = mem;
    vhost_log_attach(port);
    vhost_iommu_flush(port);
    port->info.n_regions = mem ? mem->n_regions : 0;
}

/* What became of it. */

/* What the guest did wrong, in the words of the log. */
static void
report_broken(struct vhost_ring *ring)
{
    struct vring_state *st = &ring->st;

    atomic_store(&st->reported, true);
    vhost_port_set_error(ring->port, VHOST_LOG_WARN, "vring %u stopped: guest "
                         "error %s (0x%llx, 0x%llx)", ring->idx,
                         vhost_counter_to_string(st->error),
                         (unsigned long long int) st->error_values[0],
                         (unsigned long long int) st->error_values[1]);
    if (ring->errfd >= 0) {
        vhost_notify(ring->errfd);
    }
}

void
vhost_device_check(struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (!ring || !vhost_ring_is_broken(ring)
            || atomic_load(&ring->st.reported)) {
            continue;
        }
        report_broken(ring);
        if (ring->st.error == VHOST_C_FAULT) {
            vhost_session_end(port, "guest memory was taken away while it "
                              "was in use (truncated file?)");
            return;
        }
    }
    vhost_log_check(port);
}

void
vhost_device_reset(struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (ring) {
            ring_stop(ring);
            ring->enabled = false;
        }
    }
    vhost_iommu_flush(port);
}

/* Forgets how 'ring', which is stopped, was set up. */
static void
ring_forget(struct vhost_ring *ring)
{
    ring->size = 0;
    ring->base = 0;
    ring->have_addr = false;
    atomic_store_explicit(&ring->st.last_avail, 0, memory_order_relaxed);
}

void
vhost_device_reset_all(struct vhost_port *port)
{
    vhost_device_reset(port);
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (ring) {
            ring_forget(ring);
            ring_forget_record(ring);
        }
    }
    vhost_iommu_enable(port, false);
    port->info.features = 0;
    port->have_features = false;
    port->status = 0;
    vhost_port_changed(port, VHOST_CHANGE_FEATURES);
}

void
vhost_device_release(struct vhost_port *port)
{
    vhost_device_reset(port);
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (ring) {
            close_fd(&ring->callfd);
            close_fd(&ring->errfd);
            free(ring->vr);
            ring->vr = NULL;
            ring_forget(ring);
        }
    }
    vhost_log_release(port);
    vhost_iommu_enable(port, false);
    vhost_device_set_mem(port, NULL);
    vhost_record_file_drop(&port->record_file);
    port->info.features = 0;
    vhost_device_show_record(port);
    port->info.n_vrings = 0;
    port->have_features = false;
    vhost_device_publish_info(port);
}

struct vhost_sender *
vhost_device_swap_senders(struct vhost_port *port,
                          struct vhost_sender *senders, unsigned int n)
{
    struct vhost_sender *old = port->senders;

    port->senders = senders;
    port->n_senders = n;
    return old;
}

void
vhost_device_settle_calls(struct vhost_port *port, int what)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (vhost_stop_concerns_call(ring, what) && ring->callfd >= 0) {
            vhost_call_settle(&ring->call, ring->callfd);
        }
    }
}

bool
vhost_device_in_use(const struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        const struct vhost_ring *ring = port->rings[i];

        if (ring && vhost_call_in_use(&ring->call)) {
            return true;
        }
    }
    return false;
}

void
vhost_device_free(struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];

        if (ring) {
            if (ring->record_is_malloced) {
                free(ring->record);
            }
            free(ring);
        }
    }
    vhost_record_file_close(&port->record_file);
    free(port->senders);
}
