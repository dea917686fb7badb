/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests with a guest that writes what it must not into its rings.  Each
 * such thing has to be counted by its kind, break that ring only, be told to
 * the front end by the error eventfd, and be over after the guest has reset
 * the ring.  Known holes of other back ends are among the cases. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

#define RING_SIZE 64

static uint8_t frame[65536];

/* What is under attack, and who must not notice. */
static struct rig victim, bystander;

static uint64_t buf_addr;       /* Some guest memory. */
static uint64_t table_addr;     /* The same, for indirect tables. */

#define MASK(C) (1u << (C))

static void
set_desc(struct fe_vq *vq, unsigned int i, uint64_t addr, uint32_t len,
         uint16_t flags, uint16_t next)
{
    vq->desc[i].addr = addr;
    vq->desc[i].len = len;
    vq->desc[i].flags = flags;
    vq->desc[i].next = next;
}

static void
set_table(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
          uint16_t next)
{
    struct vring_desc *d = fe_ptr(&victim.fe, table_addr + i * sizeof *d,
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
}

static void
open_rigs(uint64_t features)
{
    struct rig_config c = {
        .ring_size = RING_SIZE,
        .features = features,
        .n_pairs = 2,
        .n_senders = 2,
        .n_regions = 2,
        .region_size = 1 << 20,
    };

    rig_open(&victim, "victim", &c);
    rig_open(&bystander, "bystander", NULL);
    buf_addr = fe_alloc(&victim.fe, 0, 65536, 64);
    table_addr = fe_alloc(&victim.fe, 0, 65536, 64);
}

static void
close_rigs(void)
{
    CHECK_EQ(rig_all_guest_errors(&bystander), 0);
    rig_close(&bystander);
    rig_close(&victim);
}

/* Polls ring 'idx' of the victim once, as a PMD does.  Returns the number of
 * packets. */
static unsigned int
poll_ring(unsigned int idx)
{
    struct vhost_burst *b = rig_burst();
    unsigned int n;

    if (idx & 1) {
        n = vhost_rxq_peek(victim.rxqs[idx / 2], b, 32);
        for (unsigned int i = 0; i < n; i++) {
            CHECK_LE(b->pkts[i].len, 1 << 20);
            if (b->pkts[i].n_segs && b->pkts[i].len <= sizeof frame) {
                vhost_burst_read(b, i, frame);
            }
        }
        if (n) {
            vhost_rxq_complete(victim.rxqs[idx / 2], b, n);
        }
    } else {
        enum vhost_reserve why;
        uint32_t len = 1000;

        n = vhost_sender_reserve(victim.senders[idx / 2], b, &len, 1, false,
                                 &why);
        if (n) {
            if (b->pkts[0].n_segs) {
                vhost_burst_write(b, 0, frame);
            }
            memset(&b->pkts[0].hdr, 0, sizeof b->pkts[0].hdr);
            vhost_sender_commit(victim.senders[idx / 2], b, false);
        } else {
            CHECK_NE(why, VHOST_R_OK);
        }
    }
    return n;
}

/* The ring 'idx' holds something evil: polls and checks all that has to
 * follow.  'counters' is the mask of those that may have counted it. */
static void
expect_broken_(int line, unsigned int idx, unsigned int counters)
{
    struct vhost_vring_info before = rig_vring(&victim, idx), after;
    unsigned int other = idx ^ 3;       /* The other pair's other ring. */
    uint64_t buf = fe_alloc(&victim.fe, 1, 1024, 64);
    struct fe_vq *vq = &victim.vqs[idx];
    unsigned int counted = 0, sum = 0;
    uint64_t n_errors = rig_guest_errors(&victim, idx);
    unsigned int n_warnings = test_n_warnings("victim");

    CHECK(!before.broken);
    fe_event_take(vq->err_fd);

    /* What was before it may come out first, but nothing of it. */
    poll_ring(idx);
    poll_ring(idx);
    after = rig_vring(&victim, idx);
    for (unsigned int i = 0; i < VHOST_C_FIRST_SOFT; i++) {
        sum += after.counters[i] - before.counters[i];
        if (after.counters[i] != before.counters[i]) {
            counted |= MASK(i);
        }
    }
    if (!after.broken || sum != 1 || counted & ~counters) {
        test_fail(__FILE__, line, "ring %u: broken %d, %u errors counted, "
                  "kinds %#x, expected %#x", idx, after.broken, sum, counted,
                  counters);
    }

    /* Word to the front end, to the operator, to nobody twice. */
    if (!fe_event_wait(vq->err_fd, 2000)) {
        test_fail(__FILE__, line, "no signal on the error eventfd");
    }
    CHECK_EQ(fe_event_take(vq->err_fd), 1);
    WAIT_FOR(rig_info(&victim).error[0]);
    for (unsigned int i = 0; i < 100; i++) {
        CHECK_EQ(poll_ring(idx), 0);
    }
    CHECK_EQ(rig_guest_errors(&victim, idx), n_errors + 1);
    CHECK_EQ(fe_event_take(vq->err_fd), 0);
    CHECK_EQ(test_n_warnings("victim"), n_warnings + 1);

    /* Others work on. */
    CHECK(fe_alive(&victim.fe, 2000));
    if (other & 1) {
        CHECK(rig_guest_send(&victim, other / 2, buf, 100, 7));
        CHECK_EQ(rig_switch_recv(&victim, other / 2, frame, sizeof frame,
                                 NULL), 100);
        CHECK_PATTERN(frame, 100, 7);
    } else {
        struct fe_buf b = { buf, 1024, true };
        struct virtio_net_hdr_mrg_rxbuf h;

        CHECK_GE(fe_vq_add(&victim.vqs[other], &b, 1, 0, 0), 0);
        fe_vq_publish(&victim.vqs[other]);
        CHECK(rig_switch_send(&victim, other / 2, 100, 8, NULL));
        CHECK_EQ(fe_net_take(&victim.vqs[other], &h, frame, sizeof frame,
                             NULL, NULL, 0), 100);
        CHECK_PATTERN(frame, 100, 8);
    }
    rig_check_traffic(&bystander, 0);

    /* The guest resets the ring. */
    fe_vq_stop(vq);
    CHECK(!rig_vring(&victim, idx).broken);
    fe_vq_reset(vq);
    fe_vq_start(vq, 0, true);
    if (idx & 1) {
        CHECK(rig_guest_send(&victim, idx / 2, buf, 100, 9));
        CHECK_EQ(rig_switch_recv(&victim, idx / 2, frame, sizeof frame, NULL),
                 100);
        CHECK_PATTERN(frame, 100, 9);
    } else {
        struct fe_buf b = { buf, 1024, true };
        struct virtio_net_hdr_mrg_rxbuf h;

        CHECK_GE(fe_vq_add(vq, &b, 1, 0, 0), 0);
        fe_vq_publish(vq);
        CHECK(rig_switch_send(&victim, idx / 2, 100, 10, NULL));
        CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0),
                 100);
        CHECK_PATTERN(frame, 100, 10);
    }
    CHECK(!rig_vring(&victim, idx).broken);

    /* A clean ring for the next one. */
    fe_vq_stop(vq);
    fe_vq_reset(vq);
    fe_vq_start(vq, 0, true);
}
#define EXPECT_BROKEN(IDX, COUNTERS) \
    expect_broken_(__LINE__, IDX, COUNTERS)

/* The attacks, each on a ring where the guest sends (1) and on one where it
 * receives (0).  W is the flag that buffers of that ring must have. */
#define FOR_BOTH(IDX, W)                                                \
    for (unsigned int IDX = 0, W = VRING_DESC_F_WRITE; IDX < 2;         \
         IDX++, W = 0)

static void
test_avail_idx(void)
{
    static const uint16_t jumps[] = { RING_SIZE + 1, 1000, 32768, 65535 };

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        for (size_t i = 0; i < N_ELEMS(jumps); i++) {
            struct fe_vq *vq = &victim.vqs[idx];

            test_part("ring %u, jump by %u (%u)", idx, jumps[i], w);
            for (unsigned int k = 0; k < RING_SIZE; k++) {
                set_desc(vq, k, buf_addr, 1024, w, 0);
                fe_vq_avail_raw(vq, k);
            }
            vq->avail_idx = jumps[i];
            fe_vq_publish(vq);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_AVAIL_IDX));
        }
    }
    close_rigs();
}

/* After some traffic, an index that goes back. */
static void
test_avail_idx_back(void)
{
    open_rigs(RIG_FEATURES);
    for (unsigned int i = 0; i < 10; i++) {
        CHECK(rig_guest_send(&victim, 0, buf_addr, 60, i));
        CHECK_EQ(poll_ring(1), 1);
    }
    victim.vqs[1].avail_idx = 3;
    fe_vq_publish(&victim.vqs[1]);
    EXPECT_BROKEN(1, MASK(VHOST_C_BAD_AVAIL_IDX));
    close_rigs();
}

static void
test_head(void)
{
    static const uint16_t heads[] = { RING_SIZE, RING_SIZE + 1, 256, 0x7fff,
                                      0x8000, 0xffff };

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        for (size_t i = 0; i < N_ELEMS(heads); i++) {
            test_part("ring %u, head %u", idx, heads[i]);
            (void) w;
            offer(&victim.vqs[idx], heads[i]);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_HEAD));
        }
    }
    close_rigs();
}

static void
test_next(void)
{
    static const uint16_t nexts[] = { RING_SIZE, 1000, 0xffff };

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        for (size_t i = 0; i < N_ELEMS(nexts); i++) {
            struct fe_vq *vq = &victim.vqs[idx];

            test_part("ring %u, next %u", idx, nexts[i]);
            set_desc(vq, 5, buf_addr, 20, w | VRING_DESC_F_NEXT, 6);
            set_desc(vq, 6, buf_addr, 20, w | VRING_DESC_F_NEXT, nexts[i]);
            offer(vq, 5);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_HEAD)
                               | MASK(VHOST_C_BAD_CHAIN));
        }
    }
    close_rigs();
}

/* Chains without end: of one descriptor, of two, and one that leads into a
 * circle. */
static void
test_endless(void)
{
    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        struct fe_vq *vq = &victim.vqs[idx];

        test_part("ring %u, loop of 1", idx);
        set_desc(vq, 3, buf_addr, 4, w | VRING_DESC_F_NEXT, 3);
        offer(vq, 3);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, loop of 2", idx);
        set_desc(vq, 3, buf_addr, 4, w | VRING_DESC_F_NEXT, 4);
        set_desc(vq, 4, buf_addr, 4, w | VRING_DESC_F_NEXT, 3);
        offer(vq, 3);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, circle of all", idx);
        for (unsigned int i = 0; i < RING_SIZE; i++) {
            set_desc(vq, i, buf_addr, 4, w | VRING_DESC_F_NEXT,
                     i + 1 < RING_SIZE ? i + 1 : RING_SIZE / 2);
        }
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, zero-length loop", idx);
        set_desc(vq, 9, buf_addr, 0, w | VRING_DESC_F_NEXT, 9);
        offer(vq, 9);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN)
                           | MASK(VHOST_C_BAD_LENGTH));

        test_part("ring %u, zero-length loop behind a header", idx);
        set_desc(vq, 9, buf_addr, 12, w | VRING_DESC_F_NEXT, 10);
        set_desc(vq, 10, buf_addr, 0, w | VRING_DESC_F_NEXT, 10);
        offer(vq, 9);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN)
                           | MASK(VHOST_C_BAD_LENGTH));
    }
    close_rigs();
}

/* Loops of large buffers: sizes must not overflow, work must stay bounded.
 * Whether it is an error or a packet of a size that cannot be is not said. */
static void
test_long_loops(void)
{
    open_rigs(RIG_FEATURES);
    for (unsigned int k = 0; k < 4; k++) {
        static const uint32_t lens[] = { 1, 4096, 65536, 1 << 19 };
        struct fe_vq *vq = &victim.vqs[1];

        test_part("pieces of %u bytes", lens[k]);
        for (unsigned int i = 0; i < RING_SIZE; i++) {
            /* All heads at once. */
            set_desc(vq, i, buf_addr, lens[k], VRING_DESC_F_NEXT, i);
            fe_vq_avail_raw(vq, i);
        }
        fe_vq_publish(vq);
        for (unsigned int i = 0; i < 2 * RING_SIZE; i++) {
            poll_ring(1);
        }
        CHECK(rig_vring(&victim, 1).broken
              || fe_vq_published_used(vq) == RING_SIZE);
        fe_vq_stop(vq);
        fe_vq_reset(vq);
        fe_vq_start(vq, 0, true);
    }
    rig_check_traffic(&bystander, 0);
    close_rigs();
}

static void
test_indirect(void)
{
    const unsigned int bad = MASK(VHOST_C_BAD_INDIRECT);

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        static const uint32_t lens[] = { 0, 1, 8, 15, 17, 24, 31 };
        struct fe_vq *vq = &victim.vqs[idx];

        for (size_t i = 0; i < N_ELEMS(lens); i++) {
            test_part("ring %u, table of %u bytes", idx, lens[i]);
            set_table(0, buf_addr, 2000, w, 0);
            set_table(1, buf_addr, 2000, w, 0);
            set_desc(vq, 0, table_addr, lens[i], VRING_DESC_F_INDIRECT, 0);
            offer(vq, 0);
            EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_LENGTH));
        }

        test_part("ring %u, nested", idx);
        set_table(0, table_addr + 4096, 32, VRING_DESC_F_INDIRECT, 0);
        set_desc(vq, 0, table_addr, 16, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, nested in itself", idx);
        set_table(0, table_addr, 16, VRING_DESC_F_INDIRECT, 0);
        set_desc(vq, 0, table_addr, 16, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, nested in the middle", idx);
        set_table(0, buf_addr, 20, w | VRING_DESC_F_NEXT, 1);
        set_table(1, table_addr, 16, w | VRING_DESC_F_INDIRECT, 0);
        set_desc(vq, 0, table_addr, 32, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, both INDIRECT and NEXT", idx);
        set_table(0, buf_addr, 20, w, 0);
        set_desc(vq, 0, table_addr, 16,
                 VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
        set_desc(vq, 1, buf_addr, 2000, w, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, too long", idx);
        set_desc(vq, 0, table_addr, 16 * 32769, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));
        set_desc(vq, 0, table_addr, 0xfffffff0, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));

        test_part("ring %u, loop in the table", idx);
        set_table(0, buf_addr, 4, w | VRING_DESC_F_NEXT, 1);
        set_table(1, buf_addr, 4, w | VRING_DESC_F_NEXT, 0);
        set_desc(vq, 0, table_addr, 32, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, next outside the table", idx);
        set_table(0, buf_addr, 4, w | VRING_DESC_F_NEXT, 2);
        set_table(1, buf_addr, 2000, w, 0);
        set_table(2, buf_addr, 2000, w, 0);
        set_desc(vq, 0, table_addr, 32, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_CHAIN)
                           | MASK(VHOST_C_BAD_HEAD));

        test_part("ring %u, table outside memory", idx);
        set_desc(vq, 0, 0x10, 32, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));
        set_desc(vq, 0, UINT64_MAX - 15, 32, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));

        test_part("ring %u, table that ends outside memory", idx);
        {
            const struct fe_region *last = &victim.fe.regions[1];
            uint64_t addr = last->guest_addr + last->size - 16;
            struct vring_desc *d = fe_ptr(&victim.fe, addr, 16);

            d->addr = buf_addr;
            d->len = 4;
            d->flags = w | VRING_DESC_F_NEXT;
            d->next = 1;
            set_desc(vq, 0, addr, 32, VRING_DESC_F_INDIRECT, 0);
            offer(vq, 0);
            EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));
        }
    }
    close_rigs();
}

/* A table that lies across two regions, entries too: legal. */
static void
test_indirect_across_regions(void)
{
    uint64_t border;

    open_rigs(RIG_FEATURES);
    border = victim.fe.regions[1].guest_addr;
    for (int offset = -8 * 16; offset <= 0; offset += 8) {
        struct fe_vq *vq = &victim.vqs[1];
        uint64_t addr = border + offset;
        uint16_t head;
        uint32_t len;

        test_part("offset %d", offset);
        pattern_fill(frame, 800, offset);
        fe_net_write(&victim.fe, buf_addr, NULL, frame, 800);
        for (unsigned int i = 0; i < 8; i++) {
            struct vring_desc d = {
                .addr = buf_addr + i * 812 / 8,
                .len = (i + 1) * 812 / 8 - i * 812 / 8,
                .flags = i < 7 ? VRING_DESC_F_NEXT : 0,
                .next = i + 1,
            };

            fe_write(&victim.fe, addr + i * sizeof d, &d, sizeof d);
        }
        set_desc(vq, 0, addr, 8 * 16, VRING_DESC_F_INDIRECT, 0);
        vq->chains[0].busy = true;
        vq->chains[0].n_descs = 1;
        offer(vq, 0);
        memset(frame, 0, 800);
        CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 800);
        CHECK_PATTERN(frame, 800, offset);
        CHECK(fe_vq_used(vq, &head, &len));
        CHECK_EQ(head, 0);
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    close_rigs();
}

/* A table although it was not negotiated. */
static void
test_indirect_not_negotiated(void)
{
    open_rigs(RIG_FEATURES & ~FE_F_INDIRECT);
    FOR_BOTH (idx, w) {
        struct fe_vq *vq = &victim.vqs[idx];

        test_part("ring %u", idx);
        set_table(0, buf_addr, 2000, w, 0);
        set_desc(vq, 0, table_addr, 16, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_INDIRECT));
    }
    close_rigs();
}

static void
test_address(void)
{
    uint64_t end;

    open_rigs(RIG_FEATURES);
    end = victim.fe.regions[1].guest_addr + victim.fe.regions[1].size;
    FOR_BOTH (idx, w) {
        const struct {
            uint64_t addr;
            uint32_t len;
        } bad[] = {
            { 0, 2000 },
            { victim.fe.regions[0].guest_addr - 1, 2000 },
            { victim.fe.regions[0].guest_addr - 2000, 2000 },
            { end, 2000 },
            { end - 1, 2 },
            { end - 100, 0xffffffff },
            { end - 20, 2000 },
            { UINT64_MAX - 2000 + 1, 2000 },
            { UINT64_MAX - 1000, 2000 },        /* Wraps around. */
            { UINT64_MAX, 0xffffffff },
            { UINT64_MAX - 0xfffffffe, 0xffffffff },
            { victim.fe.regions[0].user_addr, 2000 },
            { (uintptr_t) victim.fe.regions[0].map, 2000 },
        };
        struct fe_vq *vq = &victim.vqs[idx];

        for (size_t i = 0; i < N_ELEMS(bad); i++) {
            test_part("ring %u, buffer at %#llx, %u bytes", idx,
                      (unsigned long long int) bad[i].addr, bad[i].len);
            set_desc(vq, 0, bad[i].addr, bad[i].len, w, 0);
            offer(vq, 0);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_ADDRESS)
                               | (bad[i].len == 2
                                  ? MASK(VHOST_C_BAD_LENGTH) : 0));

            test_part("ring %u, second buffer at %#llx, %u bytes", idx,
                      (unsigned long long int) bad[i].addr, bad[i].len);
            set_desc(vq, 0, buf_addr, 12, w | VRING_DESC_F_NEXT, 1);
            set_desc(vq, 1, bad[i].addr, bad[i].len, w, 0);
            offer(vq, 0);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_ADDRESS));
        }
    }
    close_rigs();
}

static void
test_direction(void)
{
    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        struct fe_vq *vq = &victim.vqs[idx];
        uint16_t wrong = w ^ VRING_DESC_F_WRITE;

        test_part("ring %u, all wrong", idx);
        set_desc(vq, 0, buf_addr, 2000, wrong, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_DIRECTION));

        test_part("ring %u, header wrong", idx);
        set_desc(vq, 0, buf_addr, 12, wrong | VRING_DESC_F_NEXT, 1);
        set_desc(vq, 1, buf_addr, 2000, w, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_DIRECTION));

        test_part("ring %u, frame wrong", idx);
        set_desc(vq, 0, buf_addr, 12, w | VRING_DESC_F_NEXT, 1);
        set_desc(vq, 1, buf_addr, 2000, wrong, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_DIRECTION));

        test_part("ring %u, in a table", idx);
        set_table(0, buf_addr, 12, w | VRING_DESC_F_NEXT, 1);
        set_table(1, buf_addr, 2000, wrong, 0);
        set_desc(vq, 0, table_addr, 32, VRING_DESC_F_INDIRECT, 0);
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_DIRECTION));
    }
    close_rigs();
}

/* Chains shorter than the header, whole or in pieces. */
static void
test_too_short(void)
{
    const unsigned int bad = MASK(VHOST_C_BAD_LENGTH);

    open_rigs(RIG_FEATURES & ~FE_F_MRG);
    FOR_BOTH (idx, w) {
        struct fe_vq *vq = &victim.vqs[idx];

        for (uint32_t len = 0; len < 12; len++) {
            test_part("ring %u, %u bytes", idx, len);
            set_desc(vq, 0, buf_addr, len, w, 0);
            offer(vq, 0);
            EXPECT_BROKEN(idx, bad);

            if (len > 1) {
                test_part("ring %u, %u bytes in pieces", idx, len);
                for (uint32_t i = 0; i < len; i++) {
                    set_desc(vq, i, buf_addr + i, 1,
                             w | (i + 1 < len ? VRING_DESC_F_NEXT : 0),
                             i + 1);
                }
                offer(vq, 0);
                EXPECT_BROKEN(idx, bad);

                test_part("ring %u, %u bytes in a table", idx, len);
                set_table(0, buf_addr, len - 1, w | VRING_DESC_F_NEXT, 1);
                set_table(1, buf_addr, 1, w, 0);
                set_desc(vq, 0, table_addr, 32, VRING_DESC_F_INDIRECT, 0);
                offer(vq, 0);
                EXPECT_BROKEN(idx, bad);
            }
        }
    }
    close_rigs();
}

/* Header over as many descriptors as it has bytes, with the frame behind it:
 * legal (and see test-ring.c for contents). */
static void
test_header_in_bytes(void)
{
    open_rigs(RIG_FEATURES);
    for (unsigned int k = 0; k < 3; k++) {
        struct fe_vq *vq = &victim.vqs[1];

        pattern_fill(frame, 500, k);
        fe_net_write(&victim.fe, buf_addr, NULL, frame, 500);
        for (unsigned int i = 0; i < 12; i++) {
            set_desc(vq, i, buf_addr + i, 1, VRING_DESC_F_NEXT, i + 1);
        }
        set_desc(vq, 12, buf_addr + 12, 500, 0, 0);
        offer(vq, 0);
        memset(frame, 0, 500);
        CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 500);
        CHECK_PATTERN(frame, 500, k);
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    close_rigs();
}

/* Good packets before the bad one in one burst are delivered, and their
 * buffers come back. */
static void
test_good_ones_first(void)
{
    unsigned int got = 0;
    struct fe_vq *vq;
    uint16_t head;
    uint32_t len;

    open_rigs(RIG_FEATURES);
    vq = &victim.vqs[1];
    for (unsigned int i = 0; i < 7; i++) {
        CHECK(rig_guest_send(&victim, 0, buf_addr + i * 256, 100, i));
    }
    set_desc(vq, 60, 0x10, 2000, 0, 0);
    offer(vq, 60);
    for (unsigned int i = 0; i < 3; i++) {
        struct vhost_burst *b = rig_burst();
        unsigned int n = vhost_rxq_peek(victim.rxqs[0], b, 32);

        for (unsigned int k = 0; k < n; k++) {
            CHECK_EQ(b->pkts[k].len, 100);
            vhost_burst_read(b, k, frame);
            CHECK_PATTERN(frame, 100, got);
            got++;
        }
        if (n) {
            vhost_rxq_complete(victim.rxqs[0], b, n);
        }
    }
    CHECK_EQ(got, 7);
    CHECK(rig_vring(&victim, 1).broken);
    CHECK_EQ(rig_counter(&victim, 1, VHOST_C_BAD_ADDRESS), 1);
    for (unsigned int i = 0; i < 7; i++) {
        CHECK(fe_vq_used(vq, &head, &len));
        CHECK_EQ(vq->chains[head].token, i);
    }
    CHECK(!fe_vq_used(vq, &head, &len));
    close_rigs();
}

/* What was broken on one connection works on the next. */
static void
test_recovers_by_reconnect(void)
{
    open_rigs(RIG_FEATURES);
    offer(&victim.vqs[1], 9999);
    CHECK_EQ(poll_ring(1), 0);
    CHECK(rig_vring(&victim, 1).broken);
    rig_disconnect(&victim);
    for (unsigned int i = 0; i < 4; i++) {
        fe_vq_reset(&victim.vqs[i]);
    }
    rig_connect(&victim);
    rig_start(&victim);
    CHECK(!rig_vring(&victim, 1).broken);
    rig_check_traffic(&victim, 0);
    CHECK_EQ(rig_counter(&victim, 1, VHOST_C_BAD_HEAD), 1);
    CHECK(!rig_info(&victim).error[0]);
    close_rigs();
}

/* No error eventfd: nothing worse than no signal. */
static void
test_no_err_fd(void)
{
    open_rigs(RIG_FEATURES);
    CHECK_EQ(fe_ask_vring_fd(&victim.fe, FE_SET_VRING_ERR, 1, -1), 0);
    fe_event_take(victim.vqs[1].err_fd);
    offer(&victim.vqs[1], 9999);
    CHECK_EQ(poll_ring(1), 0);
    CHECK(rig_vring(&victim, 1).broken);
    WAIT_FOR(rig_info(&victim).error[0]);
    CHECK_EQ(fe_event_take(victim.vqs[1].err_fd), 0);
    rig_check_traffic(&bystander, 0);
    close_rigs();
}

/* A disabled ring is drained by the event thread: it meets the same guests. */
static void
test_disabled(void)
{
    struct fe_vq *vq;

    open_rigs(RIG_FEATURES);
    vq = &victim.vqs[1];
    CHECK_EQ(fe_vq_enable(vq, false), 0);
    set_desc(vq, 0, buf_addr, 4, VRING_DESC_F_NEXT, 0);
    offer(vq, 0);
    fe_event_signal(vq->kick_fd);
    for (unsigned int i = 0; i < 2000 && !rig_vring(&victim, 1).broken; i++) {
        poll_ring(1);
        test_sleep_us(1000);
    }
    CHECK(rig_vring(&victim, 1).broken);
    CHECK_EQ(rig_counter(&victim, 1, VHOST_C_BAD_CHAIN), 1);
    CHECK(fe_event_wait(vq->err_fd, 2000));
    rig_check_traffic(&bystander, 0);
    fe_vq_stop(vq);
    fe_vq_reset(vq);
    fe_vq_start(vq, 0, true);
    CHECK(rig_guest_send(&victim, 0, buf_addr, 100, 1));
    CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 100);
    close_rigs();
}

/* Random contents everywhere, changed while being read: no crash, no hang, no
 * touch of anything outside (under AddressSanitizer, that shows). */
static void
test_random_rings(void)
{
    uint64_t rnd = 4711, canary_seed = 5;
    unsigned int n_broken = 0, rounds = 20000;
    uint64_t canary;

    open_rigs(RIG_FEATURES);
    /* Memory that no descriptor here points to. */
    canary = fe_alloc(&victim.fe, 1, 8192, 64);
    pattern_fill(fe_ptr(&victim.fe, canary, 8192), 8192, canary_seed);
    /* Stops have a budget per second, so not too many of them. */
    for (unsigned int round = 0; round < rounds && n_broken < 700; round++) {
        for (unsigned int idx = 0; idx < 2; idx++) {
            struct fe_vq *vq = &victim.vqs[idx];
            uint64_t r = test_random(&rnd);
            unsigned int i = r % RING_SIZE;
            uint64_t q = test_random(&rnd);

            set_desc(vq, i,
                     q % 50 == 0 ? test_random(&rnd)
                     : q % 3 ? buf_addr + (q >> 8) % 32768
                     : table_addr + (q >> 8) % 2048 * 16,
                     q % 61 == 0 ? (uint32_t) (q >> 32)
                     : (q >> 40) % 3000 / 16 * 16,
                     (q % 5 ? (idx ? 0 : VRING_DESC_F_WRITE) : 0)
                     | (r >> 8 & 3 ? 0 : VRING_DESC_F_NEXT)
                     | (r >> 10 & 7 ? 0 : VRING_DESC_F_INDIRECT),
                     r % 37 ? (r >> 20) % RING_SIZE : r >> 24);
            set_table((r >> 13) % 128, buf_addr + (q >> 16) % 32768,
                      (q >> 30) % 2000,
                      (idx ? 0 : VRING_DESC_F_WRITE)
                      | (r >> 40 & 1 ? VRING_DESC_F_NEXT : 0),
                      (r >> 45) % 64);
            offer(vq, r % 41 ? (r >> 50) % RING_SIZE : r >> 48);
            if (r % 1009 == 0) {
                vq->avail_idx += r >> 32;
                fe_vq_publish(vq);
            }
            poll_ring(idx);
            if (rig_vring(&victim, idx).broken) {
                n_broken++;
                fe_vq_stop(vq);
                __atomic_store_n(&vq->used->idx, 0, __ATOMIC_RELEASE);
                vq->avail_idx = 0;
                fe_vq_publish(vq);
                fe_vq_start(vq, 0, true);
            }
        }
    }
    test_part("%u times broken", n_broken);
    CHECK_GT(n_broken, 100);
    CHECK_PATTERN((uint8_t *) fe_ptr(&victim.fe, canary, 8192), 8192,
                  canary_seed);
    rig_check_traffic(&bystander, 0);
    close_rigs();
}

static const struct test_case cases[] = {
    { "avail-idx", test_avail_idx, 0 },
    { "avail-idx-back", test_avail_idx_back, 0 },
    { "head", test_head, 0 },
    { "next", test_next, 0 },
    { "endless", test_endless, 0 },
    { "long-loops", test_long_loops, 0 },
    { "indirect", test_indirect, 0 },
    { "indirect-across-regions", test_indirect_across_regions, 0 },
    { "indirect-not-negotiated", test_indirect_not_negotiated, 0 },
    { "address", test_address, 0 },
    { "direction", test_direction, 0 },
    { "too-short", test_too_short, 0 },
    { "header-in-bytes", test_header_in_bytes, 0 },
    { "good-ones-first", test_good_ones_first, 0 },
    { "recovers-by-reconnect", test_recovers_by_reconnect, 0 },
    { "no-err-fd", test_no_err_fd, 0 },
    { "disabled", test_disabled, 0 },
    { "random-rings", test_random_rings, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
