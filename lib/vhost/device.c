/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The device that a front end's messages build up: features, memory map and
 * rings; which rings run, and which sender slot sends to which of them.
 *
 * The functions that a message calls change the setup only.  What the polling
 * threads see, the ring's description, is made anew from the setup by
 * vhost_device_publish(), for those rings whose gates are closed.
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

/* Bursts that are thrown away from a disabled ring before other ports get
 * their turn, and the pause until the next, in milliseconds.  A front end that
 * brings up a device starts its rings first and enables them right after it:
 * what a guest has sent already is not to be lost between the two. */
#define DRAIN_BURSTS 8
#define DRAIN_PAUSE 1
#define DRAIN_GRACE 100

static void drain_ready(struct vhost_source *, uint32_t events);

static bool
has_feature(const struct vhost_port *port, unsigned int bit)
{
    return (port->info.features >> bit) & 1;
}

static bool
is_packed(const struct vhost_port *port)
{
    return has_feature(port, VIRTIO_F_RING_PACKED);
}

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
            ring->kick.ready = drain_ready;
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

static bool
is_broken(const struct vhost_ring *ring)
{
    return atomic_load_explicit(&ring->st.broken, memory_order_acquire);
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
                && !has_feature(port, VHOST_USER_F_PROTOCOL_FEATURES)) {
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
        || (num & (num - 1) && !is_packed(port))) {
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
    if (is_packed(ring->port)) {
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
        unsigned int perm = (i == 2 || (i == 0 && is_packed(ring->port))
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

static bool
translate_ring(struct vhost_ring *ring, const struct vhost_mem *mem,
               struct vhost_vring *vr)
{
    return (is_packed(ring->port)
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
    ring->have_addr = port->iommu || translate_ring(ring, port->mem, &vr);
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
    if (base > UINT16_MAX && !is_packed(port)) {
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
    if (is_packed(port)) {
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
        && !translate_ring(ring, port->mem, &vr)) {
        result = "a ring outside guest memory";     /* Its size changed. */
    }
    if (!result && !ring->started) {
        ring->started = ring->fresh = true;
        if (!has_feature(port, VHOST_USER_F_PROTOCOL_FEATURES)) {
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

/* Descriptions. */

/* Where a split ring goes on.  Buffers are used in the order in which they
 * became available, so the used index tells both, also after a predecessor of
 * ours died without saying where it was. */
static uint16_t
split_start(struct vhost_ring *ring, const struct vhost_vring *vr)
{
    uint16_t used_idx;

    vhost_inflight_settle(ring, vr);
    used_idx = __atomic_load_n(&vr->used->idx, __ATOMIC_RELAXED);
    if (used_idx != (uint16_t) ring->base) {
        vhost_port_log(ring->port, VHOST_LOG_INFO, "vring %u goes on at used "
                       "index %u rather than at base %u", ring->idx, used_idx,
                       ring->base);
    }
    return used_idx;
}

/* Fills in what the crash record of 'ring' belongs to. */
static void
record_key(const struct vhost_ring *ring, const struct vhost_vring *vr,
           struct vhost_record_key *key)
{
    const struct vhost_mem *mem = vr->mem;

    *key = (struct vhost_record_key) {
        .desc = ring->addr.desc,
        /* Bit of a migration that may come and go while the ring runs. */
        .features = vr->features & ~(UINT64_C(1) << VHOST_F_LOG_ALL),
        .size = ring->size,
        .base = ring->base,
    };
    for (unsigned int i = 0; i < mem->n_regions; i++) {
        const struct vhost_region *r = &mem->regions[i];
        const uint8_t *p = (const uint8_t *) vr->pdesc;

        if (p >= r->host && (uint64_t) (p - r->host) < r->size) {
            key->dev = r->mapping->dev;
            key->ino = r->mapping->ino;
        }
    }
}

/* Says where the crash records are. */
static void
show_record(struct vhost_port *port)
{
    const struct vhost_record_file *f = &port->record_file;
    struct vhost_port_info *info = &port->info;

    info->record[0] = info->record_error[0] = '\0';
    if (f->fd >= 0 && !f->error[0]) {
        snprintf(info->record, sizeof info->record, "%s/%s", f->dir->path,
                 f->name);
    } else if (is_packed(port)) {
        snprintf(info->record_error, sizeof info->record_error, "%s",
                 f->error[0] ? f->error : "there is no directory on tmpfs");
    }
}

/* Sees to it that 'ring', a packed one, has a crash record if there is any
 * memory for one: that of a predecessor, or one that is not live. */
static void
need_record(struct vhost_ring *ring)
{
    struct vhost_port *port = ring->port;

    if (ring->record) {
        return;
    }
    ring->record = vhost_record_file_get(&port->record_file, ring->idx);
    if (!ring->record) {
        ring->record = calloc(1, sizeof *ring->record);
        ring->record_is_malloced = true;
    }
    if (ring->record_is_malloced && port->record_file.dir) {
        vhost_port_log(port, VHOST_LOG_WARN, "vring %u would not survive the "
                       "end of this process: %s/%s: %s", ring->idx,
                       port->record_file.dir->path, port->record_file.name,
                       port->record_file.error);
    }
    show_record(port);
}

/* Where a packed ring goes on: where the front end says, unless there is a
 * record that knows better. */
static uint16_t
packed_start(struct vhost_ring *ring, struct vhost_vring *vr)
{
    uint16_t pos = ring->base;
    struct vhost_record_found found;
    struct vhost_record_key key;

    if ((uint32_t) (pos & ~VRING_PACKED_WRAP) >= vr->size) {
        vhost_port_log(ring->port, VHOST_LOG_WARN, "vring %u starts at 0 "
                       "rather than at base 0x%x, which it does not have",
                       ring->idx, ring->base);
        pos = VRING_PACKED_WRAP;
    }
    record_key(ring, vr, &key);
    need_record(ring);
    if (!ring->record) {
        return pos;
    }
    if (!vhost_record_resume(ring->record, vr, &key, &found)) {
        vhost_record_start(ring->record, vr, &key, pos);
        return pos;
    }
    if (found.pos != pos) {
        vhost_port_log(ring->port, VHOST_LOG_INFO, "vring %u goes on at "
                       "0x%x rather than at base 0x%x", ring->idx, found.pos,
                       ring->base);
    }
    if (found.n_completed && ring->idx & 1) {
        vhost_port_log(ring->port, VHOST_LOG_INFO, "vring %u: the guest sent "
                       "%u packets that a process took and did not pass on "
                       "before it ended", ring->idx, found.n_completed);
        vring_count(&ring->st, VHOST_C_CRASH_LOST, found.n_completed);
    }
    return found.pos;
}

/* First steps of a ring that starts: where to go on, and word to the guest
 * that it need not kick. */
static void
ring_begin(struct vhost_ring *ring, struct vhost_vring *vr)
{
    struct vring_state *st = &ring->st;
    uint16_t pos = (vr->packed ? packed_start(ring, vr)
                    : split_start(ring, vr));

    atomic_store_explicit(&st->last_avail, pos, memory_order_relaxed);
    atomic_store_explicit(&st->used_idx, pos, memory_order_relaxed);
    atomic_store_explicit(&st->backlog, 0, memory_order_relaxed);
    atomic_store_explicit(&st->broken, false, memory_order_relaxed);
    atomic_store_explicit(&st->reported, false, memory_order_relaxed);
    st->avail_seen = st->notify_from = pos;
    vhost_call_forget_slow(&ring->call);
    ring->fresh = false;
    ring->call_anew = true;
    vhost_port_clear_error(ring->port);
}

/* Calls the guest whether it wants that or not, and once more when the ring is
 * used next.  A call may have been lost with the connection before this one,
 * or with another descriptor: QEMU starts the ring, throws away what was
 * signalled to the descriptor that it has sent before, and then sends the one
 * that the guest hears.  A guest that waits for a call would wait for ever,
 * with an event index that is passed. */
static void
call_anew(struct vhost_ring *ring, const struct vhost_vring *vr)
{
    ring->call_anew = false;
    ring->st.signalled = false;
    if (vr->callfd >= 0) {
        vhost_notify(vr->callfd);
    }
}

/* True if what is written to guest memory has to be logged. */
static bool
needs_log(const struct vhost_port *port)
{
    return has_feature(port, VHOST_F_LOG_ALL);
}

/* True if the rings have to wait for SET_LOG_BASE.  A device that starts in
 * the midst of a migration has its rings first, its log afterwards, and what
 * was written between the two would be lost.  Front ends that have no log to
 * share accept LOG_ALL sometimes, together with everything else. */
static bool
waits_for_log(const struct vhost_port *port)
{
    return (needs_log(port) && !port->log
            && (port->info.protocol_features
                >> VHOST_USER_PROTOCOL_F_LOG_SHMFD) & 1);
}

/* Makes the log a part of 'vr', a description of 'ring'. */
static void
describe_log(const struct vhost_ring *ring, struct vhost_vring *vr)
{
    struct vhost_port *port = ring->port;

    if (!needs_log(port) || !port->log) {
        return;
    }
    vr->log = port->log;
    vr->simple = false;
    vr->log_ring = ring->addr.flags & VHOST_WIRE_VRING_F_LOG;

    vr->log_used = ring->addr.log;
    if (!vr->packed && has_feature(port, VIRTIO_F_ACCESS_PLATFORM)) {
        /* That is behind the vIOMMU, too. */
        vr->log_used = vhost_mem_to_guest(vr->mem, vr->used);
    }
}

/* Makes the description of 'ring', or removes it if it cannot run now. */
static void
ring_describe(struct vhost_ring *ring)
{
    struct vhost_port *port = ring->port;
    struct vhost_postcopy *postcopy = vhost_postcopy_active(port);
    struct vhost_vring *vr = ring->vr;

    ring->vr = NULL;
    ring->waits = false;
    ring->waiting = false;
    if (!ring->started || !ring->size || !ring->have_addr || !port->mem
        || !port->have_features || waits_for_log(port) || port->closing
        || vhost_postcopy_is_asking(port)) {
        free(vr);
        return;
    }
    if (!vr) {
        vr = malloc(sizeof *vr);
        if (!vr) {
            return;
        }
    }
    *vr = (struct vhost_vring) {
        .st = &ring->st,
        .idx = ring->idx,
        .size = ring->size,
        .mask = ring->size - 1,
        .packed = is_packed(port),
        .in_order = has_feature(port, VIRTIO_F_IN_ORDER),
        .simple = !postcopy && !port->iommu,
        .mergeable = has_feature(port, VIRTIO_NET_F_MRG_RXBUF),
        .event_idx = has_feature(port, VIRTIO_RING_F_EVENT_IDX),
        .indirect = has_feature(port, VIRTIO_RING_F_INDIRECT_DESC),
        .hdr_len = (has_feature(port, VIRTIO_NET_F_MRG_RXBUF)
                    || has_feature(port, VIRTIO_F_VERSION_1)
                    ? sizeof(struct virtio_net_hdr_v1)
                    : sizeof(struct virtio_net_hdr)),
        .callfd = ring->callfd,
        .call = ring->enabled ? &ring->call : NULL,
        .features = port->info.features,
        .mem = port->mem,
        .postcopy = postcopy,
        .iotlb = vhost_iommu_table(port),
        .port = port,
    };
    ring->st.hit = NULL;
    ring->st.generation = 0;
    ring->st.waits_round = 0;
    if (!translate_ring(ring, port->mem, vr)) {
        if (ring->waiting) {
            vhost_iommu_ask(port);
        } else if (port->iommu) {
            vhost_port_set_error(port, VHOST_LOG_WARN, "vring %u: one of its "
                                 "parts may not be used, or is not in one "
                                 "piece behind the vIOMMU", ring->idx);
        } else {
            /* The memory map changed and its memory is not there any more. */
            vhost_port_set_error(port, VHOST_LOG_WARN, "vring %u is outside "
                                 "the new guest memory", ring->idx);
        }
        free(vr);
        return;
    }
    if (postcopy && !vhost_postcopy_has_ring(postcopy, vr)) {
        ring->waits = true;
        free(vr);
        return;
    }
    describe_log(ring, vr);
    vhost_guard_begin(port->mem);
    if (ring->fresh) {
        ring_begin(ring, vr);
    }
    if (ring->call_anew) {
        call_anew(ring, vr);
    }
    vr->record = vr->packed ? ring->record : NULL;
    vring_want_kicks(vr, !ring->enabled && ring->idx & 1);
    vhost_guard_end();
    ring->vr = vr;
}

/* Throws away what the guest sends on a ring that is started but not enabled
 * ("the back-end must process the ring without causing any side effects").
 * Returns true if there may be more. */
static bool
ring_drain(struct vhost_ring *ring)
{
    struct vhost_vring *vr = ring->vr;
    struct vhost_burst b;
    unsigned int n = 0;

    vhost_guard_begin(vr->mem);
    for (int i = 0; i < DRAIN_BURSTS && !is_broken(ring); i++) {
        vring_want_kicks(vr, true);
        n = vring_peek(vr, &b, VHOST_BURST);
        if (!n) {
            break;
        }
        vring_complete(vr, &b, n);
        vring_notify(vr);
        vring_count(vr->st, VHOST_C_DISCARDED, n);
    }
    vhost_guard_end();
    if (atomic_load(&vr->mem->poisoned)) {
        vring_break(vr, VHOST_C_FAULT, 0, 0);
    }
    return n > 0;
}

void
vhost_device_translate_waiting(struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->info.n_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];
        struct vhost_vring vr;

        if (ring && ring->waiting) {
            translate_ring(ring, port->mem, &vr);
            ring->waiting = true;   /* Until it is described. */
        }
    }
}

static bool
needs_drain(const struct vhost_ring *ring)
{
    return ring && ring->vr && ring->idx & 1 && !ring->enabled;
}

static void
drain_expired(struct vhost_timer *timer)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(timer, struct vhost_port,
                                                 drain_timer);
    int64_t now = vhost_now_ms();
    bool more = false;
    bool drained = false;

    /* One ring in each visit, however many there are. */
    for (unsigned int i = 0; i < port->max_vrings; i += 2) {
        unsigned int idx = (port->drain_next + i) % port->max_vrings | 1;
        struct vhost_ring *ring = port->rings[idx];

        if (!needs_drain(ring)) {
            continue;
        }
        if (drained || now < ring->drain_after) {
            more = true;
        } else if (ring_drain(ring)) {
            port->drain_next = idx + 1;
            drained = more = true;
        }
    }
    if (more) {
        vhost_timer_set(port->loop, timer, vhost_now_ms() + DRAIN_PAUSE);
    }
}

/* The guest has kicked a ring that is not enabled.  The eventfd is never read:
 * its other holder decides whether that blocks. */
static void
drain_ready(struct vhost_source *source, uint32_t events)
{
    struct vhost_ring *ring = VHOST_CONTAINER_OF(source, struct vhost_ring,
                                                 kick);
    struct vhost_port *port = ring->port;

    (void) events;
    if (!port->drain_timer.active) {
        port->drain_timer.expired = drain_expired;
        vhost_timer_set(port->loop, &port->drain_timer,
                        vhost_now_ms() + DRAIN_PAUSE);
    }
}

void
vhost_device_drain_soon(struct vhost_port *port)
{
    for (unsigned int i = 1; i < port->info.n_vrings; i += 2) {
        if (needs_drain(port->rings[i])) {
            drain_ready(&port->rings[i]->kick, 0);
            return;
        }
    }
}

/* Watches, or stops to watch, for what has to be drained. */
static void
ring_watch(struct vhost_ring *ring)
{
    struct vhost_loop *loop = ring->port->loop;

    if (!needs_drain(ring)) {
        vhost_source_remove(loop, &ring->kick);
    } else if (!ring->kick.active) {
        if (ring->kickfd >= 0) {
            ring->kick.fd = ring->kickfd;
            vhost_source_add(loop, &ring->kick, EPOLLIN | EPOLLET);
        }
        ring->drain_after = vhost_now_ms() + DRAIN_GRACE;
        drain_ready(&ring->kick, 0);
    }
}

/* Lets the notifier call the guest of 'ring', right before the gate of a
 * polling thread is opened. */
static void
open_calls(struct vhost_ring *ring)
{
    vhost_gate_set(&ring->call.gate, ring->vr);
}

/* Maps the sender slots to the rings on which the guest receives. */
static void
publish_senders(struct vhost_port *port)
{
    struct vhost_vring *active[VHOST_MAX_QUEUE_PAIRS];
    unsigned int n = 0;

    for (unsigned int i = 0; i < port->max_vrings; i += 2) {
        struct vhost_ring *ring = port->rings[i];

        if (ring) {
            ring_describe(ring);
            if (ring->vr && ring->enabled) {
                active[n++] = ring->vr;
            }
        }
    }
    for (unsigned int i = 0; i < n; i++) {
        /* Slots i, i + n, i + 2 * n, ... */
        active[i]->shared = i + n < port->n_senders;
    }
    for (unsigned int i = 0; i < port->n_senders; i++) {
        if (i < n) {
            open_calls(port->rings[active[i]->idx]);
        }
        vhost_gate_set(&port->senders[i].gate, n ? active[i % n] : NULL);
    }
}

static bool
senders_open(const struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->n_senders; i++) {
        if (vhost_gate_ring(&port->senders[i].gate)) {
            return true;
        }
    }
    return false;
}

/* Node of the memory in which the guest has its rings, -1 if unknown. */
static int
device_numa(const struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->info.n_vrings; i++) {
        const struct vhost_ring *ring = port->rings[i];
        const struct vhost_vring *vr = ring ? ring->vr : NULL;

        for (unsigned int k = 0; vr && k < port->mem->n_regions; k++) {
            const struct vhost_region *r = &port->mem->regions[k];
            const uint8_t *p = (vr->packed ? (uint8_t *) vr->pdesc
                                : (uint8_t *) vr->desc);

            if (p >= r->host && (uint64_t) (p - r->host) < r->size) {
                int numa = r->mapping->numa;

                return numa >= 0 ? numa : port->info.numa;
            }
        }
    }
    return port->info.numa;
}

/* Tells control threads and the owner what runs now. */
static void
publish_info(struct vhost_port *port)
{
    struct vhost_port_info *info = &port->info;
    uint64_t enabled[VHOST_MAX_VRINGS / 64] = { 0 };
    unsigned int changes = 0, n_pairs = 0, n_enabled = 0;
    int numa = device_numa(port);

    for (unsigned int i = 0; i < info->n_vrings; i++) {
        const struct vhost_ring *ring = port->rings[i];

        /* One that has run and waits for a translation goes on soon. */
        if (ring && (ring->vr || (ring->waiting && !ring->fresh))) {
            n_pairs = i / 2 + 1;
            if (ring->enabled) {
                enabled[i / 64] |= UINT64_C(1) << (i % 64);
                n_enabled += i & 1;
            }
        }
    }
    for (unsigned int i = 0; i < VHOST_MAX_VRINGS / 64; i++) {
        if (atomic_exchange(&port->enabled_rings[i], enabled[i])
            != enabled[i]) {
            changes |= VHOST_CHANGE_QUEUES;
        }
    }
    if (n_pairs > info->n_queue_pairs) {
        info->n_queue_pairs = n_pairs;
        changes |= VHOST_CHANGE_QUEUES;
    }
    info->n_enabled_pairs = n_enabled;
    if (numa != info->numa) {
        info->numa = numa;
        changes |= VHOST_CHANGE_NUMA;
    }
    if (changes) {
        vhost_port_changed(port, changes);
    }
    if (port->sock_fd >= 0 && !port->closing) {
        vhost_port_set_state(port, n_pairs ? VHOST_S_READY
                                           : VHOST_S_CONNECTED);
    }
}

/* Prepares the queue of 'ring' for the polling thread, or does what that left
 * undone if it will not come again soon. */
static void
ring_before_open(struct vhost_ring *ring)
{
    vring_idle_init(&ring->rxq, ring->vr);
    if (!ring->enabled && vring_notify_due(&ring->rxq)) {
        vhost_guard_begin(ring->vr->mem);
        vring_notify(ring->vr);
        vhost_guard_end();
    }
}

void
vhost_device_publish(struct vhost_port *port)
{
    for (unsigned int i = 1; i < port->max_vrings; i += 2) {
        struct vhost_ring *ring = port->rings[i];

        if (ring && !vhost_gate_ring(&ring->rxq.gate)) {
            ring_describe(ring);
            ring_watch(ring);
            if (ring->vr) {
                ring_before_open(ring);
            }
            if (ring->vr && ring->enabled) {
                open_calls(ring);
            }
            vhost_gate_set(&ring->rxq.gate,
                           ring->enabled ? ring->vr : NULL);
        }
    }
    if (!senders_open(port)) {
        publish_senders(port);
    }
    publish_info(port);
}

bool
vhost_device_pages_came(struct vhost_port *port)
{
    struct vhost_postcopy *postcopy = vhost_postcopy_active(port);
    bool ready = false, waits = false;

    for (unsigned int i = 0; postcopy && i < port->max_vrings; i++) {
        struct vhost_ring *ring = port->rings[i];
        struct vhost_vring vr;

        if (ring && ring->waits) {
            vr = (struct vhost_vring) {
                .size = ring->size,
                .packed = is_packed(port),
                .mem = port->mem,
            };
            waits = true;
            ready = ready || (translate_ring(ring, port->mem, &vr)
                              && vhost_postcopy_has_ring(postcopy, &vr));
        }
    }
    if (postcopy && !waits) {
        vhost_postcopy_no_rings_wait(postcopy);
    }
    return ready;
}

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

        if (!ring || !is_broken(ring) || atomic_load(&ring->st.reported)) {
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
    show_record(port);
    port->info.n_vrings = 0;
    port->have_features = false;
    publish_info(port);
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
