/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Misbehaviours of a driver: what must not be in a ring.  Split rings. */

#include "guest/fail.h"
#include "guest/misbehave.h"
#include "guest/port.h"

/* The flag that a buffer in this ring must have. */
static uint16_t
write_flag(const struct fe_vq *vq)
{
    return vq->index & 1 ? 0 : VRING_DESC_F_WRITE;
}

static void
set_desc(struct fe_vq *vq, unsigned int i, uint64_t addr, uint32_t len,
         uint16_t flags, uint16_t next)
{
    vq->desc[i].addr = addr;
    vq->desc[i].len = len;
    vq->desc[i].flags = flags;
    vq->desc[i].next = next;
}

/* Entry 'i' of an indirect table in the scratch memory's second half. */
static uint64_t
table_addr(struct port *p)
{
    return misbehave_scratch(p) + 4096;
}

static void
set_table(struct port *p, unsigned int i, uint64_t addr, uint32_t len,
          uint16_t flags, uint16_t next)
{
    struct vring_desc *d = fe_ptr(&p->fe, table_addr(p) + i * sizeof *d,
                                  sizeof *d);

    d->addr = addr;
    d->len = len;
    d->flags = flags;
    d->next = next;
}

static void
offer(struct fe_vq *vq, uint16_t head)
{
    fe_vq_avail_raw(vq, head);
    fe_vq_publish(vq);
    fe_event_signal(vq->kick_fd);
}

static void
avail_idx(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < vq->size; i++) {
        set_desc(vq, i, misbehave_scratch(p), 2000, write_flag(vq), 0);
        fe_vq_avail_raw(vq, i);
    }
    vq->avail_idx += 1000;
    fe_vq_publish(vq);
}

static void
avail_back(struct port *p, struct fe_vq *vq)
{
    (void) p;
    vq->avail_idx -= 3;
    fe_vq_publish(vq);
}

static void
head_out_of_range(struct port *p, struct fe_vq *vq)
{
    (void) p;
    offer(vq, vq->size);
}

static void
head_65535(struct port *p, struct fe_vq *vq)
{
    (void) p;
    offer(vq, 65535);
}

static void
next_out_of_range(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), 20,
             write_flag(vq) | VRING_DESC_F_NEXT, vq->size);
    offer(vq, 0);
}

static void
loop_of_one(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), 4,
             write_flag(vq) | VRING_DESC_F_NEXT, 0);
    offer(vq, 0);
}

static void
loop_of_all(struct port *p, struct fe_vq *vq)
{
    for (unsigned int i = 0; i < vq->size; i++) {
        set_desc(vq, i, misbehave_scratch(p), 1,
                 write_flag(vq) | VRING_DESC_F_NEXT, (i + 1) % vq->size);
    }
    offer(vq, 0);
}

static void
empty_loop(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), 12,
             write_flag(vq) | VRING_DESC_F_NEXT, 1 % vq->size);
    set_desc(vq, 1 % vq->size, misbehave_scratch(p), 0,
             write_flag(vq) | VRING_DESC_F_NEXT, 1 % vq->size);
    offer(vq, 0);
}

/* Offers table entries 0 and 1 in an indirect descriptor of 'len' bytes. */
static void
offer_table(struct port *p, struct fe_vq *vq, uint32_t len, uint16_t flags)
{
    set_desc(vq, 0, table_addr(p), len, VRING_DESC_F_INDIRECT | flags,
             1 % vq->size);
    offer(vq, 0);
}

static void
indirect_empty(struct port *p, struct fe_vq *vq)
{
    offer_table(p, vq, 0, 0);
}

static void
indirect_odd(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 2000, write_flag(vq), 0);
    offer_table(p, vq, 17, 0);
}

static void
indirect_nested(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, table_addr(p), 16, VRING_DESC_F_INDIRECT, 0);
    offer_table(p, vq, 16, 0);
}

static void
indirect_and_next(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 2000, write_flag(vq), 0);
    set_desc(vq, 1 % vq->size, misbehave_scratch(p), 2000, write_flag(vq), 0);
    offer_table(p, vq, 16, VRING_DESC_F_NEXT);
}

static void
indirect_loop(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 4,
              write_flag(vq) | VRING_DESC_F_NEXT, 1);
    set_table(p, 1, misbehave_scratch(p), 4,
              write_flag(vq) | VRING_DESC_F_NEXT, 0);
    offer_table(p, vq, 32, 0);
}

static void
indirect_next(struct port *p, struct fe_vq *vq)
{
    set_table(p, 0, misbehave_scratch(p), 4,
              write_flag(vq) | VRING_DESC_F_NEXT, 9);
    offer_table(p, vq, 32, 0);
}

static void
indirect_huge(struct port *p, struct fe_vq *vq)
{
    offer_table(p, vq, 0xfffffff0, 0);
}

static void
indirect_outside(struct port *p, struct fe_vq *vq)
{
    (void) p;
    set_desc(vq, 0, 16, 32, VRING_DESC_F_INDIRECT, 0);
    offer(vq, 0);
}

static void
address_outside(struct port *p, struct fe_vq *vq)
{
    (void) p;
    set_desc(vq, 0, 0, 2000, write_flag(vq), 0);
    offer(vq, 0);
}

static void
address_end(struct port *p, struct fe_vq *vq)
{
    const struct fe_region *last = &p->fe.regions[p->fe.n_regions - 1];

    set_desc(vq, 0, last->guest_addr + last->size - 100, 2000,
             write_flag(vq), 0);
    offer(vq, 0);
}

static void
address_wraps(struct port *p, struct fe_vq *vq)
{
    (void) p;
    set_desc(vq, 0, UINT64_MAX - 1000, 2000, write_flag(vq), 0);
    offer(vq, 0);
}

static void
length_huge(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), UINT32_MAX, write_flag(vq), 0);
    offer(vq, 0);
}

static void
direction(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), 2000,
             write_flag(vq) ^ VRING_DESC_F_WRITE, 0);
    offer(vq, 0);
}

static void
too_short(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), 5, write_flag(vq), 0);
    offer(vq, 0);
}

static void
empty_buffer(struct port *p, struct fe_vq *vq)
{
    set_desc(vq, 0, misbehave_scratch(p), 0, write_flag(vq), 0);
    offer(vq, 0);
}

/* Random values in the descriptors while the switch works on them. */
static void
random_descs(struct port *p, struct fe_vq *vq)
{
    uint64_t x = 88172645463325252u;

    for (unsigned int i = 0; i < 200000; i++) {
        uint8_t *at = (uint8_t *) vq->desc;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        at[x % (vq->size * sizeof *vq->desc)] = x >> 56;
        if (i % 64 == 0) {
            set_desc(vq, 0, misbehave_scratch(p), 100, write_flag(vq), 0);
            fe_vq_avail_raw(vq, x >> 32 & 3 ? 0 : (x >> 34) % vq->size);
            fe_vq_publish(vq);
        }
    }
}

const struct misbehaviour misbehave_rings[] = {
    { "avail-idx", "avail index that runs ahead of the ring's size",
      avail_idx },
    { "avail-back", "avail index that goes back", avail_back },
    { "head", "head that is the ring's size", head_out_of_range },
    { "head-65535", "head 65535", head_65535 },
    { "next", "chain that leads out of the table", next_out_of_range },
    { "loop", "descriptor that is its own next", loop_of_one },
    { "loop-all", "circle of all descriptors", loop_of_all },
    { "loop-empty", "circle of a descriptor without bytes", empty_loop },
    { "indirect-empty", "indirect table of 0 bytes", indirect_empty },
    { "indirect-odd", "indirect table of 17 bytes", indirect_odd },
    { "indirect-nested", "indirect table in an indirect table",
      indirect_nested },
    { "indirect-next", "indirect descriptor that has a next",
      indirect_and_next },
    { "indirect-loop", "circle in an indirect table", indirect_loop },
    { "indirect-out", "next that leads out of an indirect table",
      indirect_next },
    { "indirect-huge", "indirect table of nearly 4 GiB", indirect_huge },
    { "indirect-outside", "indirect table outside of memory",
      indirect_outside },
    { "address", "buffer outside of memory", address_outside },
    { "address-end", "buffer that ends outside of memory", address_end },
    { "address-wraps", "buffer that ends behind 2^64", address_wraps },
    { "length", "buffer of 4 GiB", length_huge },
    { "direction", "buffer of the wrong direction", direction },
    { "short", "buffer shorter than the network header", too_short },
    { "empty", "buffer of 0 bytes", empty_buffer },
    { "random", "random descriptors, changed all the time", random_descs },
    { NULL, NULL, NULL },
};
