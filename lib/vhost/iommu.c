/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port behind a vIOMMU: see iommu.h.
 *
 * What is asked for is noted until it has been answered, so that nothing is
 * asked twice; what stays without an answer is forgotten after a while, and
 * asked for again by whoever still needs it (a "round").
 *
 * An invalidation first removes what it concerns from the table and then waits
 * until every polling thread has left the burst in which it may have found it
 * (VHOST_STOP_GRACE): no ring is stopped for that.  Where the pages of a ring
 * itself are concerned, rings are stopped, and go on when their translations
 * are there again.
 *
 * The peers decide how much there is to do here, so it is limited: the size of
 * the tables, the lookups ahead in each millisecond, the messages on their
 * way.
 */

#include "iommu.h"

#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

/* Pages that are asked for at the same time: a hash table of buckets. */
#define N_WAYS 4
#define BUCKET_BITS 8
#define N_BUCKETS (1u << BUCKET_BITS)

/* Lookups ahead in a millisecond. */
#define LOOK_BUDGET 2048

/* Milliseconds after which what was not answered is asked again: at first, and
 * when that has failed again and again. */
#define FIRST_ROUND 50
#define LAST_ROUND 1600

/* Milliseconds for which the rings are looked at now and then after anything
 * has happened: the guest makes buffers available when it likes. */
#define LOOK_AGAIN 1000

_Static_assert(N_WAYS * N_BUCKETS <= VHOST_BACKEND_MAX_KEPT, "see ask_for()");

struct asked {
    uint64_t page;              /* The address, or'ed to PAGE_USED. */
    unsigned int perm;
};
#define PAGE_USED 1

struct vhost_iommu {
    struct vhost_port *port;
    struct vhost_iotlb *tlb;
    unsigned int n_asked;       /* Not answered. */
    struct asked asked[N_BUCKETS][N_WAYS];
    bool needs_grace;           /* The invalidation that is under way. */
    bool no_channel_said;

    struct vhost_timer look;
    int64_t activity;           /* When something happened last. */
    int64_t budget_time;
    unsigned int budget;
    unsigned int look_next;     /* Ring to go on with. */

    struct vhost_timer round;
    int round_ms;
};

static void look_expired(struct vhost_timer *);
static void round_expired(struct vhost_timer *);

static void
count(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

bool
vhost_iommu_enable(struct vhost_port *port, bool enable)
{
    struct vhost_iommu *iommu = port->iommu;

    if (enable && !iommu) {
        iommu = calloc(1, sizeof *iommu);
        if (iommu) {
            iommu->tlb = vhost_iotlb_create();
        }
        if (!iommu || !iommu->tlb) {
            free(iommu);
            return false;
        }
        iommu->port = port;
        iommu->look.expired = look_expired;
        iommu->round.expired = round_expired;
        iommu->round_ms = FIRST_ROUND;
        port->iommu = iommu;
        vhost_iommu_use_channel(port);
    } else if (!enable && iommu) {
        vhost_iommu_drop_channel(port);
        vhost_timer_cancel(&iommu->look);
        vhost_timer_cancel(&iommu->round);
        port->iommu = NULL;
        vhost_iotlb_free(iommu->tlb);
        free(iommu);
    }
    return true;
}

struct vhost_iotlb *
vhost_iommu_table(const struct vhost_port *port)
{
    return port->iommu ? port->iommu->tlb : NULL;
}

void
vhost_iommu_flush(struct vhost_port *port)
{
    struct vhost_iommu *iommu = port->iommu;

    if (iommu) {
        vhost_iotlb_clear(iommu->tlb);
        memset(iommu->asked, 0, sizeof iommu->asked);
        iommu->n_asked = 0;
    }
}

/* The channel. */

static void
say_no_channel(struct vhost_port *port)
{
    if (!port->iommu->no_channel_said) {
        port->iommu->no_channel_said = true;
        vhost_port_set_error(port, VHOST_LOG_WARN, "vIOMMU: there is no "
                             "back-end channel to ask for translations");
    }
}

static void
channel_closed(struct vhost_backend_channel *channel)
{
    struct vhost_port *port
        = VHOST_CONTAINER_OF(channel, struct vhost_port, backend);

    vhost_dispose(port->disposal, &port->backend_fd, 1);
    port->backend_fd = -1;
    if (port->iommu) {
        say_no_channel(port);
    }
}

void
vhost_iommu_use_channel(struct vhost_port *port)
{
    if (port->iommu && port->backend_fd >= 0) {
        if (vhost_backend_open(&port->backend, port->loop, port->backend_fd,
                               channel_closed)) {
            port->iommu->no_channel_said = false;
            vhost_iotlb_new_round(port->iommu->tlb);
        } else {
            vhost_port_set_error(port, VHOST_LOG_WARN, "vIOMMU: the back-end "
                                 "channel is no Unix stream socket");
            port->iommu->no_channel_said = true;
        }
    }
}

void
vhost_iommu_drop_channel(struct vhost_port *port)
{
    vhost_backend_close(&port->backend);
}

/* What was asked for. */

static struct asked *
asked_bucket(struct vhost_iommu *iommu, uint64_t page)
{
    uint64_t hash = ((page >> VHOST_IOTLB_PAGE_BITS)
                     * UINT64_C(0x9e3779b97f4a7c15));

    return iommu->asked[hash >> (64 - BUCKET_BITS)];
}

static bool
ask_for(struct vhost_iommu *iommu, uint64_t page, unsigned int perm)
{
    struct vhost_port *port = iommu->port;
    struct vhost_wire_iotlb msg = {
        .iova = page,
        .perm = perm,
        .type = VHOST_WIRE_IOTLB_MISS,
    };

    if (!vhost_backend_add(&port->backend, VHOST_USER_BACKEND_IOTLB_MSG, &msg,
                           sizeof msg)) {
        if (!port->backend.source.active) {
            say_no_channel(port);
        }
        return false;
    }
    vhost_message_log_sent(&port->messages, &msg);
    return true;
}

bool
vhost_iommu_want(struct vhost_port *port, uint64_t iova, unsigned int perm)
{
    struct vhost_iommu *iommu = port->iommu;
    uint64_t page = iova & ~(VHOST_IOTLB_PAGE - 1);
    struct asked *bucket = asked_bucket(iommu, page);
    struct asked *empty = NULL;

    for (unsigned int i = 0; i < N_WAYS; i++) {
        if (!bucket[i].page) {
            empty = &bucket[i];
        } else if (bucket[i].page == (page | PAGE_USED)
                   && !(perm & ~bucket[i].perm)) {
            return true;
        }
    }
    if (!empty || !ask_for(iommu, page, perm)) {
        return false;
    }
    empty->page = page | PAGE_USED;
    empty->perm = perm;
    iommu->n_asked++;
    count(&port->iommu_asked);
    if (!iommu->round.active) {
        vhost_timer_set(port->loop, &iommu->round,
                        vhost_now_ms() + iommu->round_ms);
    }
    return true;
}

void
vhost_iommu_ask(struct vhost_port *port)
{
    vhost_backend_flush(&port->backend);
}

/* Takes what is in 'bucket' for pages first...last out of the book, having
 * been answered with 'perm' (0: not answered).  Returns the rights that are
 * denied by that: those asked for without anything being given, unless the
 * answer was to another question about the page. */
static unsigned int
take_asked(struct vhost_iommu *iommu, struct asked *bucket, uint64_t first,
           uint64_t last, unsigned int perm)
{
    unsigned int denied = 0;
    bool answers = false;

    for (unsigned int i = 0; i < N_WAYS; i++) {
        struct asked *a = &bucket[i];

        if (!a->page || a->page - PAGE_USED < first
            || a->page - PAGE_USED > last) {
            continue;
        }
        if (!perm || a->perm & perm) {
            answers = true;
            a->page = 0;
            iommu->n_asked--;
        } else {
            denied |= a->perm;
        }
    }
    for (unsigned int i = 0; denied && !answers && i < N_WAYS; i++) {
        struct asked *a = &bucket[i];

        if (a->page && a->page - PAGE_USED >= first
            && a->page - PAGE_USED <= last) {
            a->page = 0;
            iommu->n_asked--;
        }
    }
    return answers ? 0 : denied;
}

/* The same for all pages from 'first' to 'last'. */
static unsigned int
take_all_asked(struct vhost_iommu *iommu, uint64_t first, uint64_t last,
               unsigned int perm)
{
    unsigned int denied = 0;

    first &= ~(VHOST_IOTLB_PAGE - 1);
    last &= ~(VHOST_IOTLB_PAGE - 1);
    if (!iommu->n_asked) {
        return 0;
    } else if (first == last) {
        return take_asked(iommu, asked_bucket(iommu, first), first, last,
                          perm);
    }

    /* A large block that lacks rights denies nothing in particular. */
    for (unsigned int i = 0; i < N_BUCKETS; i++) {
        denied |= take_asked(iommu, iommu->asked[i], first, last, perm);
    }
    return denied;
}

/* Rings. */

void *
vhost_iommu_ring_part(struct vhost_port *port, uint64_t iova, uint64_t len,
                      unsigned int perm, bool *wait)
{
    uint8_t *start = NULL;
    bool in_one_piece = true;
    uint64_t done = 0;

    if (iova + len < iova) {
        return NULL;
    }
    while (done < len) {
        struct vhost_iotlb_block b;
        uint64_t at = iova + done;

        switch (vhost_iotlb_find(port->iommu->tlb, at, perm, &b)) {
        case VHOST_IOTLB_HIT:
            if (!done) {
                start = b.host + (at - b.iova);
            }
            in_one_piece &= start + done == b.host + (at - b.iova);
            done += b.size - (at - b.iova);
            break;

        case VHOST_IOTLB_MISS:
            vhost_iommu_want(port, at, perm & ~b.perm);
            *wait = true;
            in_one_piece &= !!done;
            done += VHOST_IOTLB_PAGE - (at & (VHOST_IOTLB_PAGE - 1));
            break;

        case VHOST_IOTLB_DENIED:
            return NULL;
        }
    }
    return in_one_piece && !*wait ? start : NULL;
}

/* Whether first...last has a byte of one of the parts of 'ring'. */
static bool
concerns_ring(const struct vhost_ring *ring, uint64_t first, uint64_t last)
{
    struct vhost_ring_part parts[3];

    vhost_device_ring_parts(ring, parts);
    for (unsigned int i = 0; i < 3; i++) {
        if (parts[i].addr <= last
            && parts[i].addr + parts[i].len - 1 >= first) {
            return true;
        }
    }
    return false;
}

/* Looking ahead. */

void
vhost_iommu_look_soon(struct vhost_port *port)
{
    struct vhost_iommu *iommu = port->iommu;

    if (iommu) {
        iommu->activity = vhost_now_ms();
        if (!iommu->look.active || iommu->look.when > iommu->activity + 1) {
            vhost_timer_set(port->loop, &iommu->look, iommu->activity + 1);
        }
    }
}

/* Gives the lookups of a new millisecond. */
static void
refill_budget(struct vhost_iommu *iommu)
{
    int64_t now = vhost_now_ms();

    if (now != iommu->budget_time) {
        iommu->budget_time = now;
        iommu->budget = LOOK_BUDGET;
    }
}

/* Wants the page for which the polling thread of a ring waits, wherever in a
 * long buffer that is. */
static void
want_what_waits(struct vhost_port *port, struct vring_state *st)
{
    uint64_t iova = atomic_load_explicit(&st->waits_for, memory_order_relaxed);
    unsigned int perm = iova & VHOST_IOTLB_RW;
    struct vhost_iotlb_block block;

    if (vhost_iotlb_find(port->iommu->tlb, iova, perm, &block)
        == VHOST_IOTLB_MISS) {
        vhost_iommu_want(port, iova, perm & ~block.perm);
    }
}

/* Looks at all rings, or at those whose polling threads wait. */
static void
look_at_rings(struct vhost_port *port, bool all)
{
    struct vhost_iommu *iommu = port->iommu;
    unsigned int first = iommu->look_next;

    refill_budget(iommu);
    for (unsigned int i = 0; i < port->info.n_vrings; i++) {
        unsigned int idx = (first + i) % port->info.n_vrings;
        struct vhost_ring *ring = port->rings[idx];
        bool waits = ring && atomic_exchange(&ring->st.wants_lookups, false);
        bool look = ring && atomic_exchange(&ring->st.wants_look, false);

        if (!ring || !ring->vr || !(all || waits || look)) {
            continue;
        }
        if (waits) {
            want_what_waits(port, &ring->st);
        }
        if (!iommu->budget) {
            iommu->look_next = idx;
            break;
        }
        vhost_iommu_look_ahead(port, ring->vr, &iommu->budget);
    }
    if (!iommu->budget) {
        vhost_iommu_look_soon(port);
    }
    vhost_iommu_ask(port);
}

static void
look_expired(struct vhost_timer *timer)
{
    struct vhost_iommu *iommu = VHOST_CONTAINER_OF(timer, struct vhost_iommu,
                                                   look);
    struct vhost_port *port = iommu->port;
    int64_t now = vhost_now_ms();
    int64_t age = now - iommu->activity;

    if (port->stop.active) {
        /* A buffer that is just being given back must not be asked for. */
        vhost_timer_set(port->loop, timer, now + 1);
        return;
    }
    look_at_rings(port, true);
    if (age < LOOK_AGAIN && !timer->active) {
        vhost_timer_set(port->loop, timer, now + (age > 2 ? age : 2));
    }
}

void
vhost_iommu_serve(struct vhost_port *port)
{
    if (!port->iommu) {
        return;
    }
    if (port->stop.active) {
        vhost_iommu_look_soon(port);
    } else {
        look_at_rings(port, false);
    }
}

static void
round_expired(struct vhost_timer *timer)
{
    struct vhost_iommu *iommu = VHOST_CONTAINER_OF(timer, struct vhost_iommu,
                                                   round);
    struct vhost_port *port = iommu->port;

    if (!iommu->n_asked) {
        return;                 /* All was answered. */
    }
    if (!port->backend.blocked) {
        memset(iommu->asked, 0, sizeof iommu->asked);
        iommu->n_asked = 0;
        iommu->round_ms *= 2;
        if (iommu->round_ms > LAST_ROUND) {
            iommu->round_ms = LAST_ROUND;
        }
        vhost_iotlb_new_round(iommu->tlb);
        if (!port->stop.active) {
            vhost_device_translate_waiting(port);
        }
        vhost_iommu_look_soon(port);
        vhost_iommu_ask(port);
    }
    if (!timer->active) {
        vhost_timer_set(port->loop, timer, vhost_now_ms() + iommu->round_ms);
    }
}

/* Messages. */

/* Last byte of the range of 'm'.  QEMU says "all" by a size that wraps to
 * 0. */
static uint64_t
last_byte(const struct vhost_wire_iotlb *m)
{
    uint64_t last = m->iova + (m->size - 1);

    return !m->size || last < m->iova ? UINT64_MAX : last;
}

void
vhost_iommu_prepare(struct vhost_port *port)
{
    const struct vhost_wire_iotlb *m = &port->msg.payload.iotlb;
    struct vhost_iommu *iommu = port->iommu;

    if (iommu && m->type == VHOST_WIRE_IOTLB_INVALIDATE) {
        uint64_t first = m->size ? m->iova : 0;

        take_all_asked(iommu, first, last_byte(m), 0);
        iommu->needs_grace = vhost_iotlb_remove(iommu->tlb, first,
                                                last_byte(m));
    }
    vhost_session_prepared(port);
}

int
vhost_iommu_stop(const struct vhost_port *port)
{
    const struct vhost_wire_iotlb *m = &port->msg.payload.iotlb;
    const struct vhost_iommu *iommu = port->iommu;
    uint64_t first = m->size ? m->iova : 0;

    for (unsigned int i = 0; iommu && i < port->info.n_vrings; i++) {
        const struct vhost_ring *ring = port->rings[i];

        if (!ring || !ring->started || !ring->have_addr
            || !concerns_ring(ring, first, last_byte(m))) {
            continue;
        }
        if (m->type == VHOST_WIRE_IOTLB_INVALIDATE && ring->vr) {
            return VHOST_STOP_ALL;
        } else if (m->type == VHOST_WIRE_IOTLB_UPDATE && !ring->vr
                   && !(i & 1)) {
            return i;           /* It is to start beside others. */
        }
    }
    return (iommu && m->type == VHOST_WIRE_IOTLB_INVALIDATE
            && iommu->needs_grace ? VHOST_STOP_GRACE : VHOST_STOP_NOTHING);
}

static vhost_result
update(struct vhost_port *port, const struct vhost_wire_iotlb *m)
{
    struct vhost_iommu *iommu = port->iommu;
    unsigned int denied;
    uint8_t *host;

    if ((m->iova | m->size | m->user_addr) & (VHOST_IOTLB_PAGE - 1)) {
        return "a translation that is not of whole pages";
    }
    if (!m->size || m->iova + (m->size - 1) < m->iova || !m->perm
        || m->perm > VHOST_IOTLB_RW) {
        return "impossible translation";
    }
    host = port->mem ? vhost_mem_from_user(port->mem, m->user_addr, m->size)
           : NULL;
    if (!host) {
        return "a translation to outside guest memory";
    }
    denied = take_all_asked(iommu, m->iova, last_byte(m), m->perm);
    vhost_iotlb_insert(iommu->tlb, m->iova, m->size, host, m->perm,
                       m->size == VHOST_IOTLB_PAGE ? denied : 0);
    iommu->round_ms = FIRST_ROUND;
    count(&port->iommu_updates);
    return NULL;
}

vhost_result
vhost_iommu_message(struct vhost_port *port, struct vhost_reply *reply)
{
    const struct vhost_wire_iotlb *m = &port->msg.payload.iotlb;
    struct vhost_iommu *iommu = port->iommu;
    vhost_result result;

    (void) reply;
    if (!iommu) {
        return "VIRTIO_F_ACCESS_PLATFORM was not negotiated";
    }
    switch (m->type) {
    case VHOST_WIRE_IOTLB_UPDATE:
        result = update(port, m);
        vhost_device_drain_soon(port);
        vhost_iommu_look_soon(port);
        return result;

    case VHOST_WIRE_IOTLB_INVALIDATE:
        vhost_iotlb_settled(iommu->tlb);
        iommu->needs_grace = false;
        count(&port->iommu_invalidations);
        vhost_iommu_look_soon(port);
        return NULL;

    default:
        return "no such IOTLB message";
    }
}

/* State. */

bool
vhost_port_get_iommu(struct vhost_port *port, struct vhost_iommu_info *info)
{
    memset(info, 0, sizeof *info);
    pthread_mutex_lock(&port->mutex);
    info->active = port->iommu != NULL;
    if (info->active) {
        info->n_entries = vhost_iotlb_count(port->iommu->tlb);
    }
    info->n_asked = atomic_load(&port->iommu_asked);
    info->n_updates = atomic_load(&port->iommu_updates);
    info->n_invalidations = atomic_load(&port->iommu_invalidations);
    pthread_mutex_unlock(&port->mutex);
    return info->active;
}
