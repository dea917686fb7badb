/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Behind a vIOMMU, looks at the buffers that the guest has made available
 * before a polling thread comes to them, so that their translations are there
 * when they are needed.
 *
 * The event thread does this beside the polling thread, without the ring's
 * gate: it only reads, and what it finds has no effect but that the front end
 * is asked for translations.  One thing it must not do: to ask for a buffer
 * that the guest has got back and unmapped meanwhile, which the vIOMMU would
 * report to the guest as an error of the device.  So for each buffer it looks,
 * after it has read its descriptors, whether it is still ours.
 *
 * It looks for a while after each message.  When it has come to rest, a polling
 * thread that sends to the guest sees what is new in the ring, and wakes it up
 * if that is not known.
 */

#include "iommu.h"

#include <string.h>

#include "walk.h"

#define MIN(A, B) ((A) < (B) ? (A) : (B))

/* Of one buffer: descriptors looked at, and pages asked for. */
#define MAX_DESCS 64
#define MAX_WANTS 32

struct ahead {
    struct vhost_port *port;
    struct vhost_vring *vr;
    unsigned int *budget;       /* Lookups left. */
    unsigned int n_descs;       /* Of the present buffer. */
    unsigned int n_wants;
    struct {
        uint64_t iova;
        unsigned int perm;
    } wants[MAX_WANTS];
};

/* Finds the block of 'iova'.  Returns false if it is not known, or may not be
 * used so, having noted that. */
static bool
ahead_find(struct ahead *a, uint64_t iova, unsigned int perm,
           struct vhost_iotlb_block *block)
{
    if (!*a->budget) {
        return false;
    }
    --*a->budget;
    switch (vhost_iotlb_find(a->vr->iotlb, iova, perm, block)) {
    case VHOST_IOTLB_HIT:
        return true;

    case VHOST_IOTLB_MISS:
        if (a->n_wants < MAX_WANTS) {
            a->wants[a->n_wants].iova = iova;
            a->wants[a->n_wants++].perm = perm & ~block->perm;
        }
        break;

    case VHOST_IOTLB_DENIED:
        break;                  /* The polling thread will say so. */
    }
    return false;
}

static void
ahead_buffer(struct ahead *a, uint64_t iova, uint64_t len, bool write)
{
    unsigned int perm = write ? VHOST_IOTLB_WO : VHOST_IOTLB_RO;

    len = MIN(len, VHOST_MAX_FRAME_LEN);
    if (iova + len < iova) {
        return;
    }
    while (len && *a->budget && a->n_wants < MAX_WANTS) {
        struct vhost_iotlb_block block;
        uint64_t n;

        if (ahead_find(a, iova, perm, &block)) {
            n = block.size - (iova - block.iova);
        } else {
            n = VHOST_IOTLB_PAGE - (iova & (VHOST_IOTLB_PAGE - 1));
        }
        n = MIN(n, len);
        iova += n;
        len -= n;
    }
}

/* Loads the 16 bytes of a table at 'iova', once. */
static bool
ahead_load(struct ahead *a, uint64_t iova, uint64_t words[2])
{
    struct vhost_iotlb_block block;
    const uint64_t *src;
    uint64_t n = 16;

    if (iova & 15 || !ahead_find(a, iova, VHOST_IOTLB_RO, &block)) {
        return false;
    }
    src = (const uint64_t *) (block.host + (iova - block.iova));
    if ((uintptr_t) src & 15
        || (a->vr->postcopy
            && !vhost_postcopy_have(a->vr->postcopy, a->vr->mem,
                                    (const uint8_t *) src, &n))) {
        return false;
    }
    words[0] = __atomic_load_n(&src[0], __ATOMIC_RELAXED);
    words[1] = __atomic_load_n(&src[1], __ATOMIC_RELAXED);
    return true;
}

/* A descriptor of either format. */
union desc {
    uint64_t words[2];
    struct vring_desc split;
    struct vring_packed_desc packed;
};

/* The buffers of the table of 'len' bytes at 'iova', in whatever order.  Also
 * those of entries that no chain leads to, which are not there in practice. */
static void
ahead_table(struct ahead *a, uint64_t iova, uint32_t len)
{
    bool packed = a->vr->packed;

    for (uint32_t i = 0; i < len / 16 && a->n_descs < MAX_DESCS; i++) {
        union desc u;

        a->n_descs++;
        if (!ahead_load(a, iova + i * 16, u.words)) {
            return;             /* Its buffers follow when it is there. */
        }
        ahead_buffer(a, packed ? u.packed.addr : u.split.addr,
                     packed ? u.packed.len : u.split.len,
                     (packed ? u.packed.flags : u.split.flags)
                     & VRING_DESC_F_WRITE);
        if (!packed && !(u.split.flags & VRING_DESC_F_NEXT)) {
            return;
        }
    }
}

/* A position of a packed ring as a number that goes round in two laps. */
static uint32_t
packed_number(const struct vhost_vring *vr, uint16_t pos)
{
    return (pos & ~VRING_PACKED_WRAP) + (pos & VRING_PACKED_WRAP ? 0
                                         : vr->size);
}

static uint16_t
ring_position(const struct vhost_vring *vr)
{
    return atomic_load_explicit(&vr->st->last_avail, memory_order_acquire);
}

/* Whether entry 'n' after 'first' (split rings), or the descriptor there
 * (packed), has still not been given back. */
static bool
is_ours(const struct vhost_vring *vr, uint16_t first, uint32_t n)
{
    uint16_t now = ring_position(vr);

    if (!vr->packed) {
        return (uint16_t) (now - first) <= n;
    }
    return ((packed_number(vr, now) + 2 * vr->size
             - packed_number(vr, first)) % (2 * vr->size)) <= n;
}

/* Asks for what the present buffer, which is at 'n' after 'first', lacks.
 * Returns false if there is no room. */
static bool
ahead_want(struct ahead *a, uint16_t first, uint32_t n)
{
    unsigned int i = 0;

    if (a->n_wants && is_ours(a->vr, first, n)) {
        while (i < a->n_wants
               && vhost_iommu_want(a->port, a->wants[i].iova,
                                   a->wants[i].perm)) {
            i++;
        }
        vring_count(a->vr->st, VHOST_C_IOTLB_AHEAD, i);
    } else {
        i = a->n_wants;
    }
    if (i < a->n_wants) {
        return false;
    }
    a->n_wants = a->n_descs = 0;
    return true;
}

static void
ahead_split(struct ahead *a)
{
    const struct vhost_vring *vr = a->vr;
    uint16_t first = ring_position(vr);
    uint16_t n = __atomic_load_n(&vr->avail->idx, __ATOMIC_ACQUIRE) - first;

    for (uint16_t k = 0; n <= vr->size && k < n && *a->budget; k++) {
        uint16_t i = guest_load16(&vr->avail->ring[(first + k) & vr->mask]);

        while (i < vr->size && a->n_descs++ < MAX_DESCS) {
            const uint64_t *words = (const uint64_t *) &vr->desc[i];
            union desc u;

            u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
            u.words[1] = __atomic_load_n(&words[1], __ATOMIC_RELAXED);
            if (u.split.flags & VRING_DESC_F_INDIRECT) {
                ahead_table(a, u.split.addr, u.split.len);
                break;
            }
            ahead_buffer(a, u.split.addr, u.split.len,
                         u.split.flags & VRING_DESC_F_WRITE);
            if (!(u.split.flags & VRING_DESC_F_NEXT)) {
                break;
            }
            i = u.split.next;
        }
        if (!ahead_want(a, first, k)) {
            return;
        }
    }
}

static void
ahead_packed(struct ahead *a)
{
    const struct vhost_vring *vr = a->vr;
    uint16_t first = ring_position(vr), pos = first;

    for (uint32_t k = 0, start = 0; k < vr->size && *a->budget; k++) {
        const uint64_t *words = (const uint64_t *)
            &vr->pdesc[pos & ~VRING_PACKED_WRAP];
        uint16_t avail = (pos & VRING_PACKED_WRAP ? VRING_PACKED_AVAIL
                          : VRING_PACKED_USED);
        union desc u;

        u.words[1] = __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);
        u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
        if (k == start
            && (u.packed.flags & (VRING_PACKED_AVAIL | VRING_PACKED_USED))
               != avail) {
            return;
        }
        if (a->n_descs++ >= MAX_DESCS) {
            /* Too long to be looked at; its end is found nevertheless. */
        } else if (u.packed.flags & VRING_DESC_F_INDIRECT) {
            ahead_table(a, u.packed.addr, u.packed.len);
        } else {
            ahead_buffer(a, u.packed.addr, u.packed.len,
                         u.packed.flags & VRING_DESC_F_WRITE);
        }
        pos = vring_packed_advance(vr, pos, 1);
        if (!(u.packed.flags & VRING_DESC_F_NEXT)) {
            if (!ahead_want(a, first, start)) {
                return;
            }
            start = k + 1;
        }
    }
}

void
vhost_iommu_look_ahead(struct vhost_port *port, struct vhost_vring *vr,
                       unsigned int *budget)
{
    struct ahead a = { .port = port, .vr = vr, .budget = budget };

    vhost_guard_begin(vr->mem);
    if (vr->packed) {
        ahead_packed(&a);
    } else {
        ahead_split(&a);
    }
    vhost_guard_end();
}

/* On polling threads. */

/* Buffers looked at in a burst: more than it can use, so that this gets ahead
 * of it. */
#define MAX_BEYOND (2 * VHOST_BURST)

/* Whether the descriptor of 'len' bytes at 'iova' may be written to, as far as
 * its ends tell.  '*block' is the one that was found last. */
static bool
beyond_known(const struct vhost_vring *vr, struct vhost_iotlb_block *block,
             uint64_t iova, uint32_t len)
{
    uint64_t ends[2] = { iova, iova + (len ? len - 1 : 0) };

    for (unsigned int i = 0; i < 2; i++) {
        if (ends[i] - block->iova >= block->size
            && vhost_iotlb_find(vr->iotlb, ends[i], VHOST_IOTLB_WO, block)
               == VHOST_IOTLB_MISS) {
            block->size = 0;
            return false;
        }
    }
    return true;
}

/* Looks at new entries of the avail ring, each of which is one descriptor with
 * the usual drivers.  Returns false if one is not known. */
static bool
beyond_split(const struct vhost_vring *vr, struct vhost_iotlb_block *block)
{
    struct vring_state *st = vr->st;
    uint16_t first = ring_position(vr);
    uint16_t n = __atomic_load_n(&vr->avail->idx, __ATOMIC_ACQUIRE) - first;
    uint16_t k = st->looked - first;
    bool known = true;

    if (n > vr->size) {
        return true;            /* Whoever takes from the ring will say so. */
    }
    k = k > n ? 0 : k;
    for (unsigned int i = 0; i < MAX_BEYOND && k < n && known; i++, k++) {
        uint16_t pos = (first + k) & vr->mask;
        uint16_t head = guest_load16(&vr->avail->ring[pos]);

        if (head < vr->size) {
            const uint64_t *words = (const uint64_t *) &vr->desc[head];
            union desc u;

            u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
            u.words[1] = __atomic_load_n(&words[1], __ATOMIC_RELAXED);
            known = beyond_known(vr, block, u.split.addr, u.split.len);
        }
    }

    /* The event thread looks at all there is now. */
    st->looked = first + (known ? k : n);
    return known;
}

/* The same for new descriptors of a packed ring. */
static bool
beyond_packed(const struct vhost_vring *vr, struct vhost_iotlb_block *block)
{
    struct vring_state *st = vr->st;
    uint16_t first = ring_position(vr);
    uint32_t done = (packed_number(vr, st->looked) + 2 * vr->size
                     - packed_number(vr, first)) % (2 * vr->size);
    uint16_t pos = st->looked;
    bool known = true;

    if (done > vr->size || (pos & ~VRING_PACKED_WRAP) >= vr->size) {
        done = 0;               /* It is behind, or of another ring. */
        pos = first;
    }
    for (unsigned int i = 0; i < MAX_BEYOND && done < vr->size && known;
         i++, done++) {
        const uint64_t *words = (const uint64_t *)
            &vr->pdesc[pos & ~VRING_PACKED_WRAP];
        uint16_t avail = (pos & VRING_PACKED_WRAP ? VRING_PACKED_AVAIL
                          : VRING_PACKED_USED);
        union desc u;

        u.words[1] = __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);
        u.words[0] = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
        if ((u.packed.flags & (VRING_PACKED_AVAIL | VRING_PACKED_USED))
            != avail) {
            break;
        }
        known = beyond_known(vr, block, u.packed.addr, u.packed.len);
        pos = vring_packed_advance(vr, pos, 1);
    }
    st->looked = pos;
    return known;
}

void
vring_look_beyond(const struct vhost_vring *vr)
{
    struct vring_state *st = vr->st;
    struct vhost_iotlb_block block = {
        .iova = st->block.guest_addr, .size = st->block.size,
    };

    if (!(vr->packed ? beyond_packed(vr, &block) : beyond_split(vr, &block))
        && !atomic_exchange(&st->wants_look, true)) {
        vhost_port_wake(vr->port);
    }
}
