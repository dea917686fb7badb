/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests with a guest that writes what it must not into its rings.  Each
 * such thing has to be counted by its kind, break that ring only, be told to
 * the front end by the error eventfd, and be over after the guest has reset
 * the ring.  Known holes of other back ends are among the cases.  (Rings that
 * change while bursts run are in test-scribble.c.) */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attack.h"

#define RING_SIZE 64
#define MASK ATTACK_MASK
#define VRING_PACKED_AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)
#define VRING_PACKED_USED (1 << VRING_PACKED_DESC_F_USED)

static uint8_t frame[65536];

static void
open_rigs(uint64_t features)
{
    attack_open(features, RING_SIZE);
}

static void
offer(struct fe_vq *vq, uint16_t head)
{
    fe_vq_avail_raw(vq, head);
    fe_vq_publish(vq);
}

/* Split rings: what else there is in them. */

static void
test_avail_idx(void)
{
    static const uint16_t jumps[] = { RING_SIZE + 1, 1000, 32768, 65535 };

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        for (size_t i = 0; i < N_ELEMS(jumps); i++) {
            struct fe_vq *vq = &victim.vqs[idx];
            uint16_t from = vq->avail_idx;

            test_part("ring %u, jump by %u (%u)", idx, jumps[i], w);
            for (unsigned int k = 0; k < RING_SIZE; k++) {
                attack_set_desc(vq, k, attack_buf, 1024, w, 0);
                fe_vq_avail_raw(vq, k);
            }
            vq->avail_idx = from + jumps[i];
            fe_vq_publish(vq);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_AVAIL_IDX));
        }
    }
    attack_close();
}

/* After some traffic, an index that goes back. */
static void
test_avail_idx_back(void)
{
    open_rigs(RIG_FEATURES);
    for (unsigned int i = 0; i < 10; i++) {
        CHECK(rig_guest_send(&victim, 0, attack_buf, 60, i));
        CHECK_EQ(attack_poll(1), 1);
    }
    victim.vqs[1].avail_idx = 3;
    fe_vq_publish(&victim.vqs[1]);
    EXPECT_BROKEN(1, MASK(VHOST_C_BAD_AVAIL_IDX));
    attack_close();
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
    attack_close();
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
            attack_set_desc(vq, 5, attack_buf, 20, w | VRING_DESC_F_NEXT, 6);
            attack_set_desc(vq, 6, attack_buf, 20, w | VRING_DESC_F_NEXT,
                            nexts[i]);
            offer(vq, 5);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_HEAD)
                               | MASK(VHOST_C_BAD_CHAIN));
        }
    }
    attack_close();
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
        attack_set_desc(vq, 3, attack_buf, 4, w | VRING_DESC_F_NEXT, 3);
        offer(vq, 3);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, loop of 2", idx);
        attack_set_desc(vq, 3, attack_buf, 4, w | VRING_DESC_F_NEXT, 4);
        attack_set_desc(vq, 4, attack_buf, 4, w | VRING_DESC_F_NEXT, 3);
        offer(vq, 3);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, circle of all", idx);
        for (unsigned int i = 0; i < RING_SIZE; i++) {
            attack_set_desc(vq, i, attack_buf, 4, w | VRING_DESC_F_NEXT,
                     i + 1 < RING_SIZE ? i + 1 : RING_SIZE / 2);
        }
        offer(vq, 0);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN));

        test_part("ring %u, zero-length loop", idx);
        attack_set_desc(vq, 9, attack_buf, 0, w | VRING_DESC_F_NEXT, 9);
        offer(vq, 9);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN)
                           | MASK(VHOST_C_BAD_LENGTH));

        test_part("ring %u, zero-length loop behind a header", idx);
        attack_set_desc(vq, 9, attack_buf, 12, w | VRING_DESC_F_NEXT, 10);
        attack_set_desc(vq, 10, attack_buf, 0, w | VRING_DESC_F_NEXT, 10);
        offer(vq, 9);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN)
                           | MASK(VHOST_C_BAD_LENGTH));
    }
    attack_close();
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
            attack_set_desc(vq, i, attack_buf, lens[k], VRING_DESC_F_NEXT, i);
            fe_vq_avail_raw(vq, i);
        }
        fe_vq_publish(vq);
        for (unsigned int i = 0; i < 2 * RING_SIZE; i++) {
            attack_poll(1);
        }
        CHECK(rig_vring(&victim, 1).broken
              || fe_vq_published_used(vq) == RING_SIZE);
        fe_vq_stop(vq);
        fe_vq_reset(vq);
        fe_vq_start(vq, 0, true);
    }
    rig_check_traffic(&bystander, 0);
    attack_close();
}

/* Links inside a table. */
static void
test_indirect_next(void)
{
    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        static const uint16_t nexts[] = { 0, 2, 3, 0xffff };
        struct fe_vq *vq = &victim.vqs[idx];

        for (size_t i = 0; i < N_ELEMS(nexts); i++) {
            const struct attack_desc descs[] = {
                { attack_buf, 4, w },
                { attack_buf, 4, w | VRING_DESC_F_NEXT },
            };
            struct vring_desc *second;

            test_part("ring %u, from 1 to %u", idx, nexts[i]);
            attack_write_table(attack_table, descs, 2);
            second = fe_ptr(&victim.fe, attack_table + 16, 16);
            second->next = nexts[i];
            attack_offer_one(vq, attack_table, 32, VRING_DESC_F_INDIRECT);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_INDIRECT)
                               | MASK(VHOST_C_BAD_CHAIN)
                               | MASK(VHOST_C_BAD_HEAD));
        }
    }
    attack_close();
}

/* Random contents everywhere, changed while being read: no crash, no hang, no
 * touch of anything outside (under AddressSanitizer, that shows). */
static void
test_random_rings(void)
{
    uint64_t rnd = 4711, canary_seed = 5;
    unsigned int n_broken = 0, rounds = 20000;
    struct vring_desc *table;
    uint64_t canary;

    open_rigs(RIG_FEATURES);
    table = fe_ptr(&victim.fe, attack_table, 128 * sizeof *table);
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

            attack_set_desc(vq, i,
                     q % 50 == 0 ? test_random(&rnd)
                     : q % 3 ? attack_buf + (q >> 8) % 32768
                     : attack_table + (q >> 8) % 2048 * 16,
                     q % 61 == 0 ? (uint32_t) (q >> 32)
                     : (q >> 40) % 3000 / 16 * 16,
                     (q % 5 ? (idx ? 0 : VRING_DESC_F_WRITE) : 0)
                     | (r >> 8 & 3 ? 0 : VRING_DESC_F_NEXT)
                     | (r >> 10 & 7 ? 0 : VRING_DESC_F_INDIRECT),
                     r % 37 ? (r >> 20) % RING_SIZE : r >> 24);
            table[(r >> 13) % 128] = (struct vring_desc) {
                .addr = attack_buf + (q >> 16) % 32768,
                .len = (q >> 30) % 2000,
                .flags = (idx ? 0 : VRING_DESC_F_WRITE)
                         | (r >> 40 & 1 ? VRING_DESC_F_NEXT : 0),
                .next = (r >> 45) % 64,
            };
            offer(vq, r % 41 ? (r >> 50) % RING_SIZE : r >> 48);
            if (r % 1009 == 0) {
                vq->avail_idx += r >> 32;
                fe_vq_publish(vq);
            }
            attack_poll(idx);
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
    attack_close();
}

/* Either format. */

static void
test_indirect(void)
{
    const unsigned int bad = MASK(VHOST_C_BAD_INDIRECT);

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        static const uint32_t lens[] = { 0, 1, 8, 15, 17, 24, 31 };
        const struct fe_region *last = &victim.fe.regions[1];
        const struct attack_desc good[] = {
            { attack_buf, 2000, w }, { attack_buf, 2000, w },
        };
        const struct attack_desc nested = {
            attack_table + 4096, 32, VRING_DESC_F_INDIRECT,
        };
        const struct attack_desc itself = {
            attack_table, 16, VRING_DESC_F_INDIRECT,
        };
        const struct attack_desc middle[] = {
            { attack_buf, 20, w },
            { attack_table, 16, w | VRING_DESC_F_INDIRECT },
        };
        const struct attack_desc both[] = {
            { attack_table, 16, VRING_DESC_F_INDIRECT },
            { attack_buf, 2000, w },
        };
        struct fe_vq *vq = &victim.vqs[idx];

        for (size_t i = 0; i < N_ELEMS(lens); i++) {
            test_part("ring %u, table of %u bytes", idx, lens[i]);
            attack_write_table(attack_table, good, 2);
            attack_offer_one(vq, attack_table, lens[i],
                             VRING_DESC_F_INDIRECT);
            EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_LENGTH));
        }

        test_part("ring %u, nested", idx);
        attack_write_table(attack_table + 4096, good, 2);
        attack_offer_table(vq, &nested, 1);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, nested in itself", idx);
        attack_offer_table(vq, &itself, 1);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, nested in the middle", idx);
        attack_offer_table(vq, middle, 2);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, both INDIRECT and NEXT", idx);
        attack_write_table(attack_table, good, 1);
        attack_offer(vq, both, 2);
        EXPECT_BROKEN(idx, bad);

        test_part("ring %u, too long", idx);
        attack_offer_one(vq, attack_table, 16 * 32769, VRING_DESC_F_INDIRECT);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));
        attack_offer_one(vq, attack_table, 0xfffffff0, VRING_DESC_F_INDIRECT);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));

        test_part("ring %u, table outside memory", idx);
        attack_offer_one(vq, 0x10, 32, VRING_DESC_F_INDIRECT);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));
        attack_offer_one(vq, UINT64_MAX - 15, 32, VRING_DESC_F_INDIRECT);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS));

        test_part("ring %u, table that ends outside memory", idx);
        attack_write_table(last->guest_addr + last->size - 32, (
                               struct attack_desc[]) {
                               { attack_buf, 4, w }, { attack_buf, 4, w },
                           }, 2);
        attack_offer_one(vq, last->guest_addr + last->size - 32, 48,
                         VRING_DESC_F_INDIRECT);
        EXPECT_BROKEN(idx, bad | MASK(VHOST_C_BAD_ADDRESS)
                           | MASK(VHOST_C_BAD_LENGTH));
    }
    attack_close();
}

/* A table that lies across two regions, entries too: legal. */
static void
test_indirect_across_regions(void)
{
    uint64_t border;

    open_rigs(RIG_FEATURES);
    border = victim.fe.regions[1].guest_addr;
    for (int offset = -8 * 16; offset <= 0; offset += 8) {
        struct attack_desc descs[8];

        test_part("offset %d", offset);
        pattern_fill(frame, 800, offset);
        fe_net_write(&victim.fe, attack_buf, NULL, frame, 800);
        for (unsigned int i = 0; i < 8; i++) {
            descs[i] = (struct attack_desc) {
                attack_buf + i * 812 / 8, (i + 1) * 812 / 8 - i * 812 / 8, 0,
            };
        }
        attack_write_table(border + offset, descs, 8);
        attack_offer_one(&victim.vqs[1], border + offset, 8 * 16,
                         VRING_DESC_F_INDIRECT);
        memset(frame, 0, 800);
        CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 800);
        CHECK_PATTERN(frame, 800, offset);
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    attack_close();
}

/* A table although it was not negotiated. */
static void
test_indirect_not_negotiated(void)
{
    open_rigs(RIG_FEATURES & ~FE_F_INDIRECT);
    FOR_BOTH (idx, w) {
        const struct attack_desc good = { attack_buf, 2000, w };

        test_part("ring %u", idx);
        attack_offer_table(&victim.vqs[idx], &good, 1);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_INDIRECT));
    }
    attack_close();
}

static void
test_address(void)
{
    uint64_t end, last_buf;

    open_rigs(RIG_FEATURES);
    last_buf = fe_alloc(&victim.fe, 1, 1024, 64);
    end = victim.fe.regions[1].guest_addr + victim.fe.regions[1].size;
    FOR_BOTH (idx, w) {
        const struct attack_desc bad[] = {
            { 0, 2000, w },
            { victim.fe.regions[0].guest_addr - 1, 2000, w },
            { victim.fe.regions[0].guest_addr - 2000, 2000, w },
            { end, 2000, w },
            { end - 1, 2, w },
            { end - 100, 0xffffffff, w },
            { end - 20, 2000, w },
            { UINT64_MAX - 2000 + 1, 2000, w },
            { UINT64_MAX - 1000, 2000, w },     /* Wraps around. */
            { UINT64_MAX, 0xffffffff, w },
            { UINT64_MAX - 0xfffffffe, 0xffffffff, w },
            { victim.fe.regions[0].user_addr, 2000, w },
            { (uintptr_t) victim.fe.regions[0].map, 2000, w },
        };
        struct fe_vq *vq = &victim.vqs[idx];

        for (size_t k = 0; k < 2 * N_ELEMS(bad); k++) {
            size_t i = k / 2;
            const struct attack_desc two[] = {
                { attack_buf, 12, w }, bad[i],
            };

            test_part("ring %u, buffer at %#llx, %u bytes", idx,
                      (unsigned long long int) bad[i].addr, bad[i].len);
            if (k % 2) {
                attack_exchange(idx, last_buf);
            }
            attack_offer(vq, &bad[i], 1);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_ADDRESS)
                               | (bad[i].len == 2
                                  ? MASK(VHOST_C_BAD_LENGTH) : 0));
            test_part("ring %u, second buffer at %#llx, %u bytes", idx,
                      (unsigned long long int) bad[i].addr, bad[i].len);
            attack_offer(vq, two, 2);
            EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_ADDRESS));
        }
    }
    attack_close();
}

static void
test_direction(void)
{
    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        const unsigned int bad = MASK(VHOST_C_BAD_DIRECTION);
        uint16_t wrong = w ^ VRING_DESC_F_WRITE;
        const struct attack_desc header[] = {
            { attack_buf, 12, wrong }, { attack_buf, 2000, w },
        };
        const struct attack_desc body[] = {
            { attack_buf, 12, w }, { attack_buf, 2000, wrong },
        };
        struct fe_vq *vq = &victim.vqs[idx];

        test_part("ring %u, all wrong", idx);
        attack_offer_one(vq, attack_buf, 2000, wrong);
        EXPECT_BROKEN(idx, bad);
        test_part("ring %u, header wrong", idx);
        attack_offer(vq, header, 2);
        EXPECT_BROKEN(idx, bad);
        test_part("ring %u, frame wrong", idx);
        attack_offer(vq, body, 2);
        EXPECT_BROKEN(idx, bad);
        test_part("ring %u, in a table", idx);
        attack_offer_table(vq, body, 2);
        EXPECT_BROKEN(idx, bad);
    }
    attack_close();
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
            const struct attack_desc two[] = {
                { attack_buf, len - 1, w }, { attack_buf, 1, w },
            };
            struct attack_desc bytes[12];

            test_part("ring %u, %u bytes", idx, len);
            attack_offer_one(vq, attack_buf, len, w);
            EXPECT_BROKEN(idx, bad);
            for (uint32_t i = 0; i < len; i++) {
                bytes[i] = (struct attack_desc) { attack_buf + i, 1, w };
            }
            if (len > 1) {
                test_part("ring %u, %u bytes in pieces", idx, len);
                attack_offer(vq, bytes, len);
                EXPECT_BROKEN(idx, bad);
                test_part("ring %u, %u bytes in a table", idx, len);
                attack_offer_table(vq, two, 2);
                EXPECT_BROKEN(idx, bad);
            }
        }
        test_part("ring %u, nothing behind the header", idx);
        attack_offer(vq, (struct attack_desc[]) {
                         { attack_buf, 12, w }, { attack_buf, 0, w },
                     }, 2);
        EXPECT_BROKEN(idx, bad);
    }
    attack_close();
}

/* Header over as many descriptors as it has bytes, with the frame behind it:
 * legal (and see ring-cases.c for contents). */
static void
test_header_in_bytes(void)
{
    open_rigs(RIG_FEATURES);
    for (unsigned int k = 0; k < 3; k++) {
        struct attack_desc descs[13];

        pattern_fill(frame, 500, k);
        fe_net_write(&victim.fe, attack_buf, NULL, frame, 500);
        for (unsigned int i = 0; i < 12; i++) {
            descs[i] = (struct attack_desc) { attack_buf + i, 1, 0 };
        }
        descs[12] = (struct attack_desc) { attack_buf + 12, 500, 0 };
        attack_offer(&victim.vqs[1], descs, 13);
        memset(frame, 0, 500);
        CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 500);
        CHECK_PATTERN(frame, 500, k);
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    attack_close();
}

/* Good packets before the bad one in one burst are delivered, and their
 * buffers come back. */
static void
test_good_ones_first(void)
{
    struct fe_buf bad = { 0x10, 2000, false };
    unsigned int got = 0;
    struct fe_vq *vq;
    uint16_t head;
    uint32_t len;

    open_rigs(RIG_FEATURES);
    vq = &victim.vqs[1];
    for (unsigned int i = 0; i < 7; i++) {
        CHECK(rig_guest_send(&victim, 0, attack_buf + i * 256, 100, i));
    }
    CHECK_GE(fe_vq_add(vq, &bad, 1, 0, 7), 0);
    fe_vq_publish(vq);
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
    attack_close();
}

/* The same to the guest: what found room before the bad buffer arrives. */
static void
test_good_room_first(void)
{
    uint32_t lens[10] = { 100, 100, 100, 100, 100, 100, 100, 100, 100, 100 };
    struct fe_buf bad = { 0x10, 2000, true };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    struct fe_vq *vq;

    open_rigs(RIG_FEATURES);
    vq = &victim.vqs[0];
    rig_post(&victim, 0, 7, 256);
    CHECK_GE(fe_vq_add(vq, &bad, 1, 0, 7), 0);
    fe_vq_publish(vq);
    CHECK_EQ(vhost_sender_reserve(victim.senders[0], b, lens, 10, false,
                                  &why), 7);
    for (unsigned int i = 0; i < 7; i++) {
        pattern_fill(frame, 100, i);
        vhost_burst_write(b, i, frame);
    }
    vhost_sender_commit(victim.senders[0], b, false);
    CHECK_EQ(vhost_sender_reserve(victim.senders[0], b, lens, 10, false,
                                  &why), 0);
    CHECK_EQ(why, VHOST_R_STOPPED);
    CHECK(rig_vring(&victim, 0).broken);
    CHECK_EQ(rig_counter(&victim, 0, VHOST_C_BAD_ADDRESS), 1);
    for (unsigned int i = 0; i < 7; i++) {
        CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0),
                 100);
        CHECK_PATTERN(frame, 100, i);
    }
    CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0), -1);
    attack_close();
}

/* What was broken on one connection works on the next. */
static void
test_recovers_by_reconnect(void)
{
    open_rigs(RIG_FEATURES);
    attack_offer_one(&victim.vqs[1], 0x10, 2000, 0);
    CHECK_EQ(attack_poll(1), 0);
    CHECK(rig_vring(&victim, 1).broken);
    rig_disconnect(&victim);
    for (unsigned int i = 0; i < 4; i++) {
        fe_vq_reset(&victim.vqs[i]);
    }
    rig_connect(&victim);
    rig_start(&victim);
    CHECK(!rig_vring(&victim, 1).broken);
    rig_check_traffic(&victim, 0);
    CHECK_EQ(rig_counter(&victim, 1, VHOST_C_BAD_ADDRESS), 1);
    CHECK(!rig_info(&victim).error[0]);
    attack_close();
}

/* No error eventfd: nothing worse than no signal. */
static void
test_no_err_fd(void)
{
    open_rigs(RIG_FEATURES);
    CHECK_EQ(fe_ask_vring_fd(&victim.fe, FE_SET_VRING_ERR, 1, -1), 0);
    fe_event_take(victim.vqs[1].err_fd);
    attack_offer_one(&victim.vqs[1], 0x10, 2000, 0);
    CHECK_EQ(attack_poll(1), 0);
    CHECK(rig_vring(&victim, 1).broken);
    WAIT_FOR(rig_info(&victim).error[0]);
    CHECK_EQ(fe_event_take(victim.vqs[1].err_fd), 0);
    rig_check_traffic(&bystander, 0);
    attack_close();
}

/* A disabled ring is drained by the event thread: it meets the same guests. */
static void
test_disabled(void)
{
    struct fe_vq *vq;

    open_rigs(RIG_FEATURES);
    vq = &victim.vqs[1];
    CHECK_EQ(fe_vq_enable(vq, false), 0);
    attack_offer_one(vq, attack_buf, 4, 0);
    fe_event_signal(vq->kick_fd);
    for (unsigned int i = 0; i < 2000 && !rig_vring(&victim, 1).broken; i++) {
        attack_poll(1);
        test_sleep_us(1000);
    }
    CHECK(rig_vring(&victim, 1).broken);
    CHECK_EQ(rig_counter(&victim, 1, VHOST_C_BAD_LENGTH), 1);
    CHECK(fe_event_wait(vq->err_fd, 2000));
    rig_check_traffic(&bystander, 0);
    attack_reset(1);
    CHECK(rig_guest_send(&victim, 0, attack_buf, 100, 1));
    CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 100);
    attack_close();
}

/* Packed rings: what else there is in them. */

/* Chains without end: NEXT in every slot, from any position, with pieces that
 * are enough for the packet or not. */
static void
test_packed_endless(void)
{
    static const unsigned int sizes[] = { 1, 2, 7, 64 };

    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        attack_open(RIG_FEATURES, sizes[i]);
        for (unsigned int k = 0; k < 4; k++) {
            FOR_BOTH (idx, w) {
                struct fe_vq *vq = &victim.vqs[idx];
                uint32_t len = k % 2 ? 4 : 2000;

                test_part("size %u, ring %u, pieces of %u bytes", sizes[i],
                          idx, len);
                for (unsigned int n = 0; k >= 2 && n < 3; n++) {
                    rig_check_traffic(&victim, 0);
                }
                for (unsigned int n = 0; n < sizes[i]; n++) {
                    fe_vq_desc_raw(vq, attack_buf, len, n,
                                   w | VRING_DESC_F_NEXT);
                }
                fe_vq_publish(vq);
                EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_CHAIN)
                                   | (len < 12 && !idx
                                      ? MASK(VHOST_C_BAD_LENGTH) : 0));
            }
        }
        attack_close();
    }
}

/* But not in a packed one (section 2.8.19). */
static void
test_packed_table_behind_buffer(void)
{
    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        const struct attack_desc rest = { attack_buf, 2000, w };
        const struct attack_desc chain[] = {
            { attack_buf, 20, w },
            { attack_table, 16, VRING_DESC_F_INDIRECT },
        };

        test_part("ring %u", idx);
        attack_write_table(attack_table, &rest, 1);
        attack_offer(&victim.vqs[idx], chain, 2);
        EXPECT_BROKEN(idx, MASK(VHOST_C_BAD_INDIRECT));
    }
    attack_close();
}

/* What does not say that it is available is not looked at, however bad. */
static void
test_packed_not_available(void)
{
    const uint16_t both = VRING_PACKED_AVAIL | VRING_PACKED_USED;
    const unsigned int size = 8;

    attack_open(RIG_FEATURES, size);
    FOR_BOTH (idx, w) {
        struct fe_vq *vq = &victim.vqs[idx];

        for (unsigned int lap = 0; lap < 2; lap++) {
            uint16_t available = lap ? VRING_PACKED_USED : VRING_PACKED_AVAIL;

            test_part("ring %u, lap %u", idx, lap);
            for (unsigned int i = 0; i < 4; i++) {
                struct vring_packed_desc *d = &vq->ring[vq->avail_at];
                uint16_t bits = (i & 1 ? VRING_PACKED_AVAIL : 0)
                                | (i & 2 ? VRING_PACKED_USED : 0);

                *d = (struct vring_packed_desc) { 0x10, 2000, 0, bits | w };
                if (bits != available) {
                    CHECK_EQ(attack_poll(idx), 0);
                    CHECK(!rig_vring(&victim, idx).broken);
                }
            }
            vq->ring[vq->avail_at].flags = lap ? both : 0;
            for (unsigned int i = 0; i < size; i++) {
                rig_check_traffic(&victim, 0);
            }
        }
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    attack_close();
}

/* Identifiers are the guest's own affair. */
static void
test_packed_ids(void)
{
    static const uint16_t ids[] = { 0, 5, RING_SIZE, 0x7fff, 0x8000, 0xffff };

    open_rigs(RIG_FEATURES);
    FOR_BOTH (idx, w) {
        struct fe_vq *vq = &victim.vqs[idx];

        for (size_t i = 0; i < N_ELEMS(ids); i++) {
            const struct vring_packed_desc *d = &vq->ring[vq->avail_at];

            test_part("ring %u, id %u", idx, ids[i]);
            fe_vq_desc_raw(vq, attack_buf, 2000, ids[i], w);
            fe_vq_publish(vq);
            CHECK_EQ(attack_poll(idx), 1);
            CHECK_EQ(d->id, ids[i]);
            CHECK_EQ(d->flags & (VRING_PACKED_AVAIL | VRING_PACKED_USED),
                     VRING_PACKED_AVAIL | VRING_PACKED_USED);
        }
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    attack_close();
}

static const struct test_case packed_cases[] = {
    { "endless", test_packed_endless, 0 },
    { "table-behind-buffer", test_packed_table_behind_buffer, 0 },
    { "not-available", test_packed_not_available, 0 },
    { "ids", test_packed_ids, 0 },
};

/* A table behind a buffer is legal in a split ring (virtio 1.2, section
 * 2.7.5.3.2). */
static void
test_table_behind_buffer(void)
{
    open_rigs(RIG_FEATURES);
    for (uint32_t first = 1; first < 200; first += 9) {
        const struct attack_desc rest[] = {
            { attack_buf + first, 212 - first, 0 }, { attack_buf + 212, 9, 0 },
        };
        const struct attack_desc chain[] = {
            { attack_buf, first, 0 },
            { attack_table, 32, VRING_DESC_F_INDIRECT },
        };

        pattern_fill(frame, 209, first);
        fe_net_write(&victim.fe, attack_buf, NULL, frame, 209);
        attack_write_table(attack_table, rest, 2);
        attack_offer(&victim.vqs[1], chain, 2);
        memset(frame, 0, 209);
        CHECK_EQ(rig_switch_recv(&victim, 0, frame, sizeof frame, NULL), 209);
        CHECK_PATTERN(frame, 209, first);
    }
    CHECK_EQ(rig_all_guest_errors(&victim), 0);
    attack_close();
}

static const struct test_case split_cases[] = {
    { "table-behind-buffer", test_table_behind_buffer, 0 },
    { "avail-idx", test_avail_idx, 0 },
    { "avail-idx-back", test_avail_idx_back, 0 },
    { "head", test_head, 0 },
    { "next", test_next, 0 },
    { "endless", test_endless, 0 },
    { "long-loops", test_long_loops, 0 },
    { "indirect-next", test_indirect_next, 0 },
    { "random-rings", test_random_rings, 0 },
};

static const struct test_case cases[] = {
    { "indirect", test_indirect, 0 },
    { "indirect-across-regions", test_indirect_across_regions, 0 },
    { "indirect-not-negotiated", test_indirect_not_negotiated, 0 },
    { "address", test_address, 0 },
    { "direction", test_direction, 0 },
    { "too-short", test_too_short, 0 },
    { "header-in-bytes", test_header_in_bytes, 0 },
    { "good-ones-first", test_good_ones_first, 0 },
    { "good-room-first", test_good_room_first, 0 },
    { "recovers-by-reconnect", test_recovers_by_reconnect, 0 },
    { "no-err-fd", test_no_err_fd, 0 },
    { "disabled", test_disabled, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "", 0, split_cases, N_ELEMS(split_cases) },
        { "", 0, cases, N_ELEMS(cases) },
        { "packed-", FE_F_PACKED, cases, N_ELEMS(cases) },
        { "in-order-", FE_F_PACKED | FE_F_IN_ORDER, cases, N_ELEMS(cases) },
        { "packed-", FE_F_PACKED, packed_cases, N_ELEMS(packed_cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
