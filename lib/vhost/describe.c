/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the polling threads see of a port, made from what device.c has of it:
 * the descriptions of its rings, with where each goes on, and the map from
 * sender slots to rings; and draining the rings that nobody polls.
 *
 * A description is made anew whenever its ring's gates are closed, by
 * vhost_device_publish().  All of this is the event thread's, with port->mutex
 * held where a control thread could look.
 */

#include "port.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

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
void
vhost_device_show_record(struct vhost_port *port)
{
    const struct vhost_record_file *f = &port->record_file;
    struct vhost_port_info *info = &port->info;

    info->record[0] = info->record_error[0] = '\0';
    if (f->fd >= 0 && !f->error[0]) {
        snprintf(info->record, sizeof info->record, "%s/%s", f->dir->path,
                 f->name);
    } else if (vhost_is_packed(port)) {
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
    vhost_device_show_record(port);
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
    st->avail_seen = st->notify_from = st->looked = pos;
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
    return vhost_has_feature(port, VHOST_F_LOG_ALL);
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
    if (!vr->packed && vhost_has_feature(port, VIRTIO_F_ACCESS_PLATFORM)) {
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
        .packed = vhost_is_packed(port),
        .in_order = vhost_has_feature(port, VIRTIO_F_IN_ORDER),
        .simple = !postcopy && !port->iommu,
        .mergeable = vhost_has_feature(port, VIRTIO_NET_F_MRG_RXBUF),
        .event_idx = vhost_has_feature(port, VIRTIO_RING_F_EVENT_IDX),
        .indirect = vhost_has_feature(port, VIRTIO_RING_F_INDIRECT_DESC),
        .hdr_len = (vhost_has_feature(port, VIRTIO_NET_F_MRG_RXBUF)
                    || vhost_has_feature(port, VIRTIO_F_VERSION_1)
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
    if (!vhost_translate_ring(ring, port->mem, vr)) {
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
    for (int i = 0; i < DRAIN_BURSTS && !vhost_ring_is_broken(ring); i++) {
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
            vhost_translate_ring(ring, port->mem, &vr);
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
void
vhost_drain_ready(struct vhost_source *source, uint32_t events)
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
            vhost_drain_ready(&port->rings[i]->kick, 0);
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
        vhost_drain_ready(&ring->kick, 0);
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
        active[i]->shared = i + n < port->n_own_senders;
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

void
vhost_device_publish_info(struct vhost_port *port)
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
    vhost_device_publish_info(port);
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
                .packed = vhost_is_packed(port),
                .mem = port->mem,
            };
            waits = true;
            ready = ready || (vhost_translate_ring(ring, port->mem, &vr)
                              && vhost_postcopy_has_ring(postcopy, &vr));
        }
    }
    if (postcopy && !waits) {
        vhost_postcopy_no_rings_wait(postcopy);
    }
    return ready;
}
