/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Misbehaviours of a driver: what must not be in a packed ring, and in the
 * messages that start one. */

#include "guest/fail.h"
#include "guest/misbehave.h"
#include "guest/port.h"

#define UNUSED __attribute__((unused))
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

/* The flag that a buffer in this ring must have. */
static uint16_t
write_flag(const struct fe_vq *vq)
{
    return vq->index & 1 ? 0 : VRING_DESC_F_WRITE;
}

/* A good descriptor with flags that may make it bad. */
static void
put(struct port *p, struct fe_vq *vq, uint32_t len, uint16_t id,
    uint16_t flags)
{
    fe_vq_desc_raw(vq, misbehave_scratch(p), len, id, write_flag(vq) ^ flags);
}

static void
offer(struct fe_vq *vq)
{
    fe_vq_publish(vq);
    fe_event_signal(vq->kick_fd);
}

static void
put_good(struct port *p, struct fe_vq *vq, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        put(p, vq, 2000, vq->avail_at, 0);
    }
}

/* Chains. */

static void
endless(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < vq->size; i++) {
        put(p, vq, 1, i, VRING_DESC_F_NEXT);
    }
    offer(vq);
}

static void
endless_and_empty(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < vq->size; i++) {
        put(p, vq, 0, i, VRING_DESC_F_NEXT);
    }
    offer(vq);
}

/* A chain that goes on where nothing has been offered. */
static void
next_not_there(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 100, 0, VRING_DESC_F_NEXT);
    offer(vq);
}

static void
next_is_used(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 100, 0, VRING_DESC_F_NEXT);
    put(p, vq, 100, 0, USED);
    put_good(p, vq, 1);
    offer(vq);
}

static void
chain_of_two_rings(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < 2 * vq->size; i++) {
        put(p, vq, 1, 0, VRING_DESC_F_NEXT);
    }
    offer(vq);
}

/* Flags. */

static void
used_by_driver(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 2000, 0, USED);
    put(p, vq, 2000, 1, AVAIL);
    put_good(p, vq, 1);
    offer(vq);
}

static void
unknown_flags(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 2000, 0, 0x7f78);
    offer(vq);
}

/* Takes back what was offered, and offers it again. */
static void
taken_back(struct port *p, struct fe_vq *vq)
{
    struct vring_packed_desc *d = &vq->ring[vq->avail_at];

    put_good(p, vq, 1);
    for (unsigned int i = 0; i < 200000; i++) {
        offer(vq);
        __atomic_fetch_xor(&d->flags, AVAIL | USED, __ATOMIC_SEQ_CST);
    }
}

/* IDs. */

static void
id_out_of_range(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 2000, vq->size, 0);
    offer(vq);
}

static void
id_65535(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 2000, 65535, 0);
    offer(vq);
}

static void
id_twice(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < vq->size; i++) {
        put(p, vq, 2000, 1, 0);
    }
    offer(vq);
}

/* Indirect tables: in the scratch memory's second half. */

static uint64_t
table_addr(struct port *p)
{
    return misbehave_scratch(p) + 4096;
}

static void
set_table(struct port *p, unsigned int i, uint64_t addr, uint32_t len,
          uint16_t flags)
{
    struct vring_packed_desc *d;

    d = fe_ptr(&p->fe, table_addr(p) + i * sizeof *d, sizeof *d);
    d->addr = addr;
    d->len = len;
    d->flags = flags;
}

/* Offers a table of one good entry, or what 'flags' and 'len' make of it. */
static void
offer_table(struct port *p, struct fe_vq *vq, uint32_t len, uint16_t flags)
{
    fe_vq_desc_raw(vq, table_addr(p), len, 0, VRING_DESC_F_INDIRECT | flags);
    put_good(p, vq, 1);
    offer(vq);
}

static void
indirect_empty(struct port *p, struct fe_vq *vq)
{
    offer_table(p, vq, 0, 0);
}

static void
indirect_odd(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 2000, write_flag(vq));
    offer_table(p, vq, 17, 0);
}

static void
indirect_nested(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, table_addr(p), 16, VRING_DESC_F_INDIRECT);
    offer_table(p, vq, 16, 0);
}

static void
indirect_and_next(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 2000, write_flag(vq));
    offer_table(p, vq, 16, VRING_DESC_F_NEXT);
}

static void
indirect_in_chain(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 2000, write_flag(vq));
    put(p, vq, 100, 0, VRING_DESC_F_NEXT);
    offer_table(p, vq, 16, 0);
}

/* Flags that mean nothing there. */
static void
indirect_flags(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < 4; i++) {
        set_table(p, i, misbehave_scratch(p), 500,
                  write_flag(vq) | VRING_DESC_F_NEXT | AVAIL | USED);
    }
    offer_table(p, vq, 64, 0);
}

static void
indirect_huge(struct port *p, struct fe_vq *vq)
{
    offer_table(p, vq, 0xfffffff0, 0);
}

static void
indirect_long(struct port *p, struct fe_vq *vq)
{
    /* As much as fits: most entries are zeros. */
    set_table(p, 0, misbehave_scratch(p), 100, write_flag(vq));
    offer_table(p, vq, (vq->size + 1) * 16, 0);
}

static void
indirect_outside(struct port *p, struct fe_vq *vq)
{
    fe_vq_desc_raw(vq, 16, 32, 0, VRING_DESC_F_INDIRECT);
    put_good(p, vq, 1);
    offer(vq);
}

/* Buffers. */

static void
address_outside(struct port *p UNUSED, struct fe_vq *vq)
{
    fe_vq_desc_raw(vq, 0, 2000, 0, write_flag(vq));
    offer(vq);
}

static void
address_end(struct port *p, struct fe_vq *vq)
{
    const struct fe_region *last = &p->fe.regions[p->fe.n_regions - 1];

    fe_vq_desc_raw(vq, last->guest_addr + last->size - 100, 2000, 0,
                   write_flag(vq));
    offer(vq);
}

static void
address_wraps(struct port *p UNUSED, struct fe_vq *vq)
{
    fe_vq_desc_raw(vq, UINT64_MAX - 1000, 2000, 0, write_flag(vq));
    offer(vq);
}

static void
length_huge(struct port *p, struct fe_vq *vq)
{
    put(p, vq, UINT32_MAX, 0, 0);
    offer(vq);
}

static void
direction(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 2000, 0, VRING_DESC_F_WRITE);
    offer(vq);
}

static void
directions(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 1000, 0, VRING_DESC_F_NEXT);
    put(p, vq, 1000, 0, VRING_DESC_F_WRITE);
    offer(vq);
}

static void
too_short(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 5, 0, 0);
    offer(vq);
}

static void
empty_buffer(struct port *p, struct fe_vq *vq)
{
    put(p, vq, 0, 0, 0);
    offer(vq);
}

/* Event suppression: what the device has to put up with. */

static void
give_work(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < 50; i++) {
        put_good(p, vq, 4);
        offer(vq);
        fe_sleep_us(2000);
    }
}

static void
event_flags(struct port *p, struct fe_vq *vq)
{
    fe_vq_set_driver_event(vq, 0, 3);
    give_work(p, vq);
    fe_vq_set_driver_event(vq, 0xffff, 0xffff);
    give_work(p, vq);
}

static void
event_offset(struct port *p, struct fe_vq *vq)
{
    fe_vq_set_driver_event(vq, vq->size, VRING_PACKED_EVENT_FLAG_DESC);
    give_work(p, vq);
    fe_vq_set_driver_event(vq, 0x7fff, VRING_PACKED_EVENT_FLAG_DESC);
    give_work(p, vq);
}

/* Overwrites what the device says. */
static void
event_stolen(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < 100; i++) {
        __atomic_store_n(&vq->device_event->flags, i % 4 | i << 8,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&vq->device_event->off_wrap, i * 655,
                         __ATOMIC_RELAXED);
        put_good(p, vq, 2);
        offer(vq);
        fe_sleep_us(1000);
    }
}

/* Starting: every answer of the switch will do. */

static void
restart(struct port *p, struct fe_vq *vq, uint32_t num, uint32_t base,
        uint64_t desc, uint64_t avail, uint64_t used)
{
    struct fe_vring_addr addr = {
        .index = vq->index,
        .desc = desc,
        .avail = avail,
        .used = used,
    };

    fe_vq_stop(vq);
    fe_ask_state(&p->fe, FE_SET_VRING_NUM, vq->index, num);
    fe_ask_state(&p->fe, FE_SET_VRING_BASE, vq->index, base);
    fe_ask(&p->fe, FE_SET_VRING_ADDR, &addr, sizeof addr);
    fe_ask_vring_fd(&p->fe, FE_SET_VRING_KICK, vq->index, vq->kick_fd);
    fe_vq_enable(vq, true);
    give_work(p, vq);
}

static void
restart_with(struct port *p, struct fe_vq *vq, uint32_t num, uint32_t base)
{
    restart(p, vq, num, base, fe_user_addr(&p->fe, vq->desc_addr),
            fe_user_addr(&p->fe, vq->avail_addr),
            fe_user_addr(&p->fe, vq->used_addr));
}

static void
base_index(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, vq->size, fe_packed_base(vq->size, true));
}

static void
base_65535(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, vq->size, UINT32_MAX);
}

static void
base_wrap(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, vq->size, fe_packed_base(0, false));
}

/* More used than available. */
static void
base_halves(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, vq->size, 1u << 31 | (vq->size - 1) << 16 | 1 << 15);
}

static void
size_0(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, 0, fe_packed_base(0, true));
}

static void
size_32769(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, 32769, fe_packed_base(0, true));
}

static void
size_huge(struct port *p, struct fe_vq *vq)
{
    restart_with(p, vq, 0x10000 + vq->size, fe_packed_base(0, true));
}

/* As large as may be, which is more than there is memory for. */
static void
size_beyond(struct port *p, struct fe_vq *vq)
{
    const struct fe_region *r = &p->fe.regions[0];
    uint64_t end = r->user_addr + r->size;

    restart(p, vq, 32768, fe_packed_base(0, true), end - 32767 * 16,
            fe_user_addr(&p->fe, vq->avail_addr),
            fe_user_addr(&p->fe, vq->used_addr));
}

static void
unaligned(struct port *p, struct fe_vq *vq)
{
    restart(p, vq, vq->size - 1, fe_packed_base(0, true),
            fe_user_addr(&p->fe, vq->desc_addr) + 3,
            fe_user_addr(&p->fe, vq->avail_addr) + 1,
            fe_user_addr(&p->fe, vq->used_addr) + 1);
}

/* The event structures are in the ring. */
static void
areas_overlap(struct port *p, struct fe_vq *vq)
{
    uint64_t ring = fe_user_addr(&p->fe, vq->desc_addr);

    restart(p, vq, vq->size, fe_packed_base(0, true), ring, ring + 12,
            ring + 12);
}

/* The ring changes while the switch works on it. */

static uint64_t
random_of(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void
random_ring(struct port *p, struct fe_vq *vq)
{
    uint8_t *at = (uint8_t *) vq->ring;
    uint64_t x = 88172645463325252u;

    for (unsigned int i = 0; i < 200000; i++) {
        uint64_t r = random_of(&x);

        at[r % (vq->size * sizeof *vq->ring)] = r >> 56;
        if (i % 64 == 0) {
            put_good(p, vq, 1);
            offer(vq);
        }
    }
}

/* Good descriptors whose address, length and flags change at once. */
static void
flipping(struct port *p, struct fe_vq *vq)
{
    uint64_t x = 88172645463325252u;

    for (unsigned int i = 0; i < 300000; i++) {
        uint64_t r = random_of(&x);
        struct vring_packed_desc *d = &vq->ring[vq->avail_at];

        put_good(p, vq, 1);
        offer(vq);
        for (unsigned int k = 0; k < r % 16; k++) {
            __atomic_fetch_xor(&d->len, UINT32_MAX, __ATOMIC_RELAXED);
            __atomic_fetch_xor(&d->addr, UINT64_MAX, __ATOMIC_RELAXED);
            __atomic_fetch_xor(&d->flags, r >> 16 & 7, __ATOMIC_RELAXED);
        }
    }
}

const struct misbehaviour misbehave_packed[] = {
    { "endless", "chain of all descriptors that goes on", endless },
    { "endless-empty", "the same without bytes", endless_and_empty },
    { "next", "chain that goes on where nothing was offered",
      next_not_there },
    { "next-used", "chain that goes on in a used descriptor", next_is_used },
    { "long", "chain of twice the ring", chain_of_two_rings },
    { "used", "descriptors that the driver marks as used", used_by_driver },
    { "flags", "flags without a meaning", unknown_flags },
    { "taken-back", "descriptor that is taken back and offered again",
      taken_back },
    { "id", "buffer ID that is the ring's size", id_out_of_range },
    { "id-65535", "buffer ID 65535", id_65535 },
    { "id-twice", "the same ID in all descriptors", id_twice },
    { "indirect-empty", "indirect table of 0 bytes", indirect_empty },
    { "indirect-odd", "indirect table of 17 bytes", indirect_odd },
    { "indirect-nested", "indirect table in an indirect table",
      indirect_nested },
    { "indirect-next", "indirect descriptor that has a next",
      indirect_and_next },
    { "indirect-chain", "chain that ends in an indirect descriptor",
      indirect_in_chain },
    { "indirect-flags", "flags in an indirect table that mean nothing there",
      indirect_flags },
    { "indirect-huge", "indirect table of nearly 4 GiB", indirect_huge },
    { "indirect-long", "indirect table with more entries than the ring",
      indirect_long },
    { "indirect-outside", "indirect table outside of memory",
      indirect_outside },
    { "address", "buffer outside of memory", address_outside },
    { "address-end", "buffer that ends outside of memory", address_end },
    { "address-wraps", "buffer that ends behind 2^64", address_wraps },
    { "length", "buffer of 4 GiB", length_huge },
    { "direction", "buffer of the wrong direction", direction },
    { "directions", "chain of both directions", directions },
    { "short", "buffer shorter than the network header", too_short },
    { "empty", "buffer of 0 bytes", empty_buffer },
    { "event-flags", "event suppression with reserved flags", event_flags },
    { "event-offset", "event suppression at descriptors that do not exist",
      event_offset },
    { "event-stolen", "the device's event suppression overwritten",
      event_stolen },
    { "base-index", "ring that begins at an index of its size", base_index },
    { "base-65535", "ring that begins at index 32767, of 256", base_65535 },
    { "base-wrap", "ring that begins with the wrong wrap counter",
      base_wrap },
    { "base-halves", "ring with more used descriptors than available ones",
      base_halves },
    { "size-0", "ring of 0 descriptors", size_0 },
    { "size-32769", "ring of 32769 descriptors", size_32769 },
    { "size-huge", "ring of more than 65536 descriptors", size_huge },
    { "size-beyond", "ring that ends outside of memory", size_beyond },
    { "unaligned", "ring and event suppression at odd addresses",
      unaligned },
    { "overlap", "event suppression inside the ring", areas_overlap },
    { "random", "random descriptors, changed all the time", random_ring },
    { "flipping", "descriptors that change after they were offered",
      flipping },
    { NULL, NULL, NULL },
};
