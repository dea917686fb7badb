/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of bursts on packed rings (ring.h) with a guest that behaves:
 * what ring-cases.h has, in order and not, and what only packed rings have:
 * sizes that are no powers of 2, wrap counters, and what the ring looks
 * like. */

#include <string.h>

#include "ring-cases.h"

#define AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)
#define USED (1 << VRING_PACKED_DESC_F_USED)

static uint8_t frame[65536];

/* Takes all used buffers; returns their number. */
static unsigned int
take_used(struct fe_vq *vq)
{
    unsigned int n = 0;
    uint16_t head;
    uint32_t len;

    while (fe_vq_used(vq, &head, &len)) {
        n++;
    }
    return n;
}

/* Any size up to 32768 is legal. */
static void
test_sizes(void)
{
    static const unsigned int sizes[] = { 3, 7, 31, 33, 250, 1000, 32767 };

    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        test_part("size %u", sizes[i]);
        ring_both_ways(sizes[i], sizes[i] < 1000 ? 10000 : 80000);
    }
}

static void
test_mixed_3(void)
{
    ring_mixed(3, 6000);
}

static void
test_mixed_7(void)
{
    ring_mixed(7, 10000);
}

static void
test_mixed_250(void)
{
    ring_mixed(250, 60000);
}

static void
test_mixed_32767(void)
{
    ring_mixed(32767, 100000);
}

/* Where descriptor 'n' is, counted from the start of a ring of 'size'. */
static uint32_t
base_of(unsigned int n, unsigned int size)
{
    return fe_packed_base(n % size, !(n / size % 2));
}

/* A ring may start anywhere, and tells where it ended. */
static void
test_base(void)
{
    static const unsigned int sizes[] = { 1, 2, 7, 250, 256, 32768 };

    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        unsigned int size = sizes[i];
        const unsigned int bases[] = {
            1, size - 1, size, size + 1, 2 * size - 1, 2 * size - 2,
            2 * size - size / 2, size / 2,
        };

        for (size_t k = 0; k < N_ELEMS(bases); k++) {
            struct rig_config c = { .ring_size = size };
            uint16_t base = bases[k] % 65536;
            struct rig rig;

            test_part("size %u, base %u", size, base);
            rig_create(&rig, "p", &c);
            rig_connect(&rig);
            fe_vq_set_position(RIG_RX(&rig, 0), base);
            fe_vq_set_position(RIG_TX(&rig, 0), base);
            CHECK_EQ(fe_vq_base(RIG_TX(&rig, 0)), base_of(base, size));
            rig_start(&rig);
            CHECK_EQ(rig_vring(&rig, 1).avail_idx,
                     (uint16_t) base_of(base, size));
            for (unsigned int n = base + 1; n < base + 6; n++) {
                rig_check_traffic(&rig, 0);
                CHECK_EQ(rig_vring(&rig, 1).used_idx,
                         (uint16_t) base_of(n, size));
            }
            CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), base_of(base + 5, size));
            CHECK_EQ(fe_vq_stop(RIG_RX(&rig, 0)), base_of(base + 5, size));

            /* And from there. */
            fe_vq_start(RIG_TX(&rig, 0), base_of(base + 5, size), true);
            fe_vq_start(RIG_RX(&rig, 0), base_of(base + 5, size), true);
            rig_check_traffic(&rig, 0);
            CHECK_EQ(test_n_warnings("p"), 0);
            ring_check_no_errors(&rig);
            rig_close(&rig);
        }
    }
}

/* A front end that says nothing in the used half, as DPDK's virtio-user. */
static void
test_base_lower_half(void)
{
    struct rig rig;

    rig_create(&rig, "p", NULL);
    rig_connect(&rig);
    fe_vq_set_position(RIG_TX(&rig, 0), 256 + 17);
    fe_vq_start(RIG_RX(&rig, 0), 0x8000, true);
    fe_vq_start(RIG_TX(&rig, 0), 17, true);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(fe_vq_stop(RIG_RX(&rig, 0)), 0x80018001);
    CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), 18 | 18 << 16);
    rig_close(&rig);
}

/* Positions that do not exist in the ring: it starts at its beginning, and the
 * log says so. */
static void
test_base_outside(void)
{
    static const uint16_t bases[] = { 256, 257, 0x7fff, 0x8100, 0xffff };
    struct rig rig;

    rig_open(&rig, "p", NULL);
    for (size_t i = 0; i < N_ELEMS(bases); i++) {
        unsigned int n_warnings = test_n_warnings("p");

        test_part("base %#x", bases[i]);
        for (unsigned int idx = 0; idx < 2; idx++) {
            fe_vq_stop(&rig.vqs[idx]);
            fe_vq_reset(&rig.vqs[idx]);
            fe_vq_start(&rig.vqs[idx], bases[i] | (uint32_t) bases[i] << 16,
                        true);
        }
        CHECK_EQ(test_n_warnings("p"), n_warnings + 2);
        rig_check_traffic(&rig, 0);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Sizes that split rings cannot have are refused for those, still, and sizes
 * that no ring can have for packed ones. */
static void
test_bad_sizes(void)
{
    static const uint32_t bad[] = { 0, 32769, 65536, 0x80000001 };
    struct rig rig;

    rig_create(&rig, "p", NULL);
    rig_connect(&rig);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 251), 0);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 32767), 0);
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        fe_send(&rig.fe, FE_SET_VRING_NUM, 0,
                &(struct fe_vring_state) { 1, bad[i] }, 8);
        CHECK(fe_closed(&rig.fe, 2000));
        rig_disconnect(&rig);
        rig_connect(&rig);
    }
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* What one slot of the ring looks like after the device was there. */
static void
check_slot(const struct fe_vq *vq, unsigned int i, uint16_t flags,
           uint16_t id, uint32_t len)
{
    const struct vring_packed_desc *d = &vq->ring[i];

    test_part("slot %u", i);
    CHECK_EQ(d->flags, flags);
    CHECK_EQ(d->id, id);
    CHECK_EQ(d->len, len);
}

/* Offers chains of 1, 2 and 3 descriptors. */
static void
offer_chains(struct rig *rig, struct fe_vq *vq, bool in)
{
    struct fe_buf bufs[3];

    for (unsigned int n = 1; n <= 3; n++) {
        uint64_t addr = fe_alloc(&rig->fe, 0, 300, 64);

        CHECK_EQ(fe_split(bufs, addr, 300, n, in), n);
        CHECK_GE(fe_vq_add(vq, bufs, n, 0, n), 0);
    }
    fe_vq_publish(vq);
}

/* A used chain is told by its first slot only, the others stay as they were.
 * The flag WRITE says that the length counts. */
static void
test_used_slots(void)
{
    struct vring_packed_desc before[256];
    struct fe_vq *rx, *tx;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    rx = RIG_RX(&rig, 0);
    tx = RIG_TX(&rig, 0);
    offer_chains(&rig, tx, false);
    memcpy(before, tx->ring, sizeof before);
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 288);
    }
    check_slot(tx, 0, AVAIL | USED, before[0].id, 0);
    check_slot(tx, 1, AVAIL | USED, before[2].id, 0);
    check_slot(tx, 3, AVAIL | USED, before[5].id, 0);
    for (unsigned int i = 0; i < 256; i++) {
        if (i != 0 && i != 1 && i != 3) {
            CHECK(!memcmp(&tx->ring[i], &before[i], sizeof before[i]));
        }
    }

    offer_chains(&rig, rx, true);
    memcpy(before, rx->ring, sizeof before);
    ring_send(&rig, 3, 3);
    check_slot(rx, 0, AVAIL | USED | VRING_DESC_F_WRITE, before[0].id, 72);
    check_slot(rx, 1, AVAIL | USED | VRING_DESC_F_WRITE, before[2].id, 72);
    check_slot(rx, 3, AVAIL | USED | VRING_DESC_F_WRITE, before[5].id, 72);
    for (unsigned int i = 0; i < 256; i++) {
        if (i != 0 && i != 1 && i != 3) {
            CHECK(!memcmp(&rx->ring[i], &before[i], sizeof before[i]));
        }
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* In order, what one burst gives back from the guest is one used descriptor,
 * at the first one's place; what it gives to the guest is all of them. */
static void
test_in_order_batch(void)
{
    struct rig_config c = { .features = RIG_FEATURES | FE_F_IN_ORDER };
    struct vring_packed_desc before[256];
    struct vhost_burst *b = rig_burst();
    struct fe_vq *rx, *tx;
    struct rig rig;
    uint16_t head;
    uint32_t len;

    rig_open(&rig, "p", &c);
    rx = RIG_RX(&rig, 0);
    tx = RIG_TX(&rig, 0);
    offer_chains(&rig, tx, false);      /* 0, 1-2, 3-5. */
    offer_chains(&rig, tx, false);      /* 6, 7-8, 9-11. */
    memcpy(before, tx->ring, sizeof before);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 6);
    vhost_rxq_complete(rig.rxqs[0], b, 4);
    check_slot(tx, 0, AVAIL | USED, 6, 0);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 2);
    vhost_rxq_complete(rig.rxqs[0], b, 2);
    check_slot(tx, 7, AVAIL | USED, 9, 0);
    for (unsigned int i = 0; i < 256; i++) {
        if (i != 0 && i != 7) {
            CHECK(!memcmp(&tx->ring[i], &before[i], sizeof before[i]));
        }
    }
    for (unsigned int i = 0; i < 6; i++) {
        CHECK(fe_vq_used(tx, &head, &len));
        CHECK_EQ(tx->chains[head].token, i % 3 + 1);
    }
    CHECK(!fe_vq_used(tx, &head, &len));

    offer_chains(&rig, rx, true);
    ring_send(&rig, 3, 3);
    check_slot(rx, 0, AVAIL | USED | VRING_DESC_F_WRITE, 0, 72);
    check_slot(rx, 1, AVAIL | USED | VRING_DESC_F_WRITE, 1, 72);
    check_slot(rx, 3, AVAIL | USED | VRING_DESC_F_WRITE, 3, 72);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Chains that begin before the ring's end and end behind it, both ways, at
 * every place and in both kinds of lap. */
static void
test_chain_across_end(void)
{
    struct rig_config c = { .ring_size = 7 };
    struct rig rig;
    struct fe_vq *rx, *tx;
    uint64_t addr;

    rig_open(&rig, "p", &c);
    rx = RIG_RX(&rig, 0);
    tx = RIG_TX(&rig, 0);
    addr = fe_alloc(&rig.fe, 0, 2048, 64);
    for (unsigned int i = 0; i < 7 * 7 * 4; i++) {
        unsigned int n = 1 + i % 7;
        struct virtio_net_hdr_mrg_rxbuf h;
        struct fe_buf bufs[7];
        uint16_t head;
        uint32_t len;

        test_part("chain %u, %u descriptors", i, n);
        pattern_fill(frame, 1000, i);
        fe_net_write(&rig.fe, addr, NULL, frame, 1000);
        CHECK_EQ(fe_split(bufs, addr, 1012, n, false), n);
        CHECK_GE(fe_vq_add(tx, bufs, n, 0, i), 0);
        fe_vq_publish(tx);
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 1000);
        CHECK_PATTERN(frame, 1000, i);
        CHECK(fe_vq_used(tx, &head, &len));
        CHECK_EQ(tx->chains[head].token, i);

        CHECK_EQ(fe_split(bufs, addr, 1012, n, true), n);
        CHECK_GE(fe_vq_add(rx, bufs, n, 0, i), 0);
        fe_vq_publish(rx);
        CHECK(rig_switch_send(&rig, 0, 1000, i + 9, NULL));
        CHECK_EQ(fe_net_take(rx, &h, frame, sizeof frame, NULL, NULL, 0),
                 1000);
        CHECK_PATTERN(frame, 1000, i + 9);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* A chain that is being written, last descriptor first, is not looked at. */
static void
test_half_written(void)
{
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    uint32_t len = 60;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    for (unsigned int lap = 0; lap < 3; lap++) {
        for (unsigned int i = 0; i < 100; i++) {
            for (unsigned int idx = 0; idx < 2; idx++) {
                uint64_t addr = fe_alloc(&rig.fe, 0, 300, 64);
                struct fe_buf bufs[3];

                CHECK_EQ(fe_split(bufs, addr, 300, 3, !idx), 3);
                CHECK_GE(fe_vq_add(&rig.vqs[idx], bufs, 3, 0, i), 0);
            }
            CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
            CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1, false,
                                          &why), 0);
            CHECK_EQ(why, VHOST_R_FULL);
            fe_vq_publish(RIG_TX(&rig, 0));
            fe_vq_publish(RIG_RX(&rig, 0));
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL),
                     288);
            CHECK(rig_switch_send(&rig, 0, 60, i, NULL));
            CHECK_EQ(take_used(RIG_TX(&rig, 0)), 1);
            CHECK_EQ(take_used(RIG_RX(&rig, 0)), 1);
        }
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* All kinds of event suppression may be asked for whether or not event indexes
 * were negotiated, except that without them there is no DESC, and what is
 * reserved counts as "always". */
static void
test_event_flags(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        struct rig_config c = {
            .features = RIG_FEATURES & ~(event_idx ? 0 : FE_F_EVENT_IDX),
        };
        /* Position 200 of this lap is not reached. */
        const struct {
            uint16_t flags, off_wrap;
            unsigned int calls;
        } kinds[] = {
            { VRING_PACKED_EVENT_FLAG_ENABLE, 0, 1 },
            { VRING_PACKED_EVENT_FLAG_DISABLE, 0, 0 },
            { VRING_PACKED_EVENT_FLAG_ENABLE, 0x8000 | 200, 1 },
            { VRING_PACKED_EVENT_FLAG_DISABLE, 0x8000 | 200, 0 },
            { VRING_PACKED_EVENT_FLAG_DESC, 0x8000 | 200, !event_idx },
            { 3, 0x8000 | 200, 1 },
        };
        struct ring_calls rx;
        struct rig rig;

        rig_open(&rig, "p", &c);
        rig_post(&rig, 0, 100, 128);
        ring_send(&rig, 1, 1);
        ring_forget_calls(&rx, &rig, 0);
        for (size_t i = 0; i < N_ELEMS(kinds); i++) {
            test_part("event idx %d, flags %u", event_idx, kinds[i].flags);
            fe_vq_set_driver_event(RIG_RX(&rig, 0), kinds[i].off_wrap,
                                   kinds[i].flags);
            ring_send(&rig, 4, 2);
            CHECK_EQ(ring_calls(&rx), 2 * kinds[i].calls);
        }
        rig_close(&rig);
    }
}

/* A position for the event that cannot be or is a lap away is no reason for
 * anything worse than a call too many. */
static void
test_event_positions(void)
{
    struct rig_config c = { .ring_size = 7 };
    struct rig rig;

    rig_open(&rig, "p", &c);
    for (unsigned int i = 0; i < 70000; i += i < 100 ? 1 : 97) {
        fe_vq_set_driver_event(RIG_RX(&rig, 0), i,
                               VRING_PACKED_EVENT_FLAG_DESC);
        rig_post(&rig, 0, 3, 128);
        ring_send(&rig, 3, 3);
        CHECK_EQ(take_used(RIG_RX(&rig, 0)), 3);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* A burst that fills a whole lap: the event is in it, wherever it is. */
static void
test_event_whole_lap(void)
{
    for (unsigned int size = 1; size <= 32; size = size * 3 + 1) {
        struct rig_config c = { .ring_size = size };
        struct ring_calls rx;
        struct rig rig;
        unsigned int at = 0;

        rig_open(&rig, "p", &c);
        for (unsigned int i = 0; i < 100; i++) {
            CHECK_EQ(take_used(RIG_RX(&rig, 0)), i ? size : 0);
            rig_post(&rig, 0, size, 128);
            if (!i) {
                ring_send(&rig, size, size);
                ring_forget_calls(&rx, &rig, 0);
            } else {
                unsigned int event = at + i % size;

                test_part("size %u, lap %u, event at %u", size, i,
                          event % size);
                ring_call_at(RIG_RX(&rig, 0), event);
                ring_send(&rig, size, size);
                CHECK_EQ(ring_calls(&rx), 1);
            }
            at += size;
        }
        ring_check_no_errors(&rig);
        rig_close(&rig);
    }
}

static const struct test_case cases[] = {
    { "sizes", test_sizes, 60 },
    { "mixed-3", test_mixed_3, 0 },
    { "mixed-7", test_mixed_7, 0 },
    { "mixed-250", test_mixed_250, 0 },
    { "mixed-32767", test_mixed_32767, 0 },
    { "base", test_base, 0 },
    { "chain-across-end", test_chain_across_end, 0 },
    { "half-written", test_half_written, 0 },
    { "event-flags", test_event_flags, 0 },
    { "event-positions", test_event_positions, 0 },
    { "event-whole-lap", test_event_whole_lap, 0 },
};

/* About what the variant does not matter for. */
static const struct test_case other_cases[] = {
    { "base-lower-half", test_base_lower_half, 0 },
    { "base-outside", test_base_outside, 0 },
    { "bad-sizes", test_bad_sizes, 0 },
    { "used-slots", test_used_slots, 0 },
    { "in-order-batch", test_in_order_batch, 0 },
};

int
main(int argc, char *argv[])
{
    const uint64_t in_order = FE_F_PACKED | FE_F_IN_ORDER;
    const struct test_group groups[] = {
        RING_GROUPS("", FE_F_PACKED),
        RING_GROUPS("in-order-", in_order),
        RING_GROUPS("iommu-", FE_F_PACKED | FE_F_IOMMU),
        { "", FE_F_PACKED, cases, N_ELEMS(cases) },
        { "in-order-", in_order, cases, N_ELEMS(cases) },
        { "", FE_F_PACKED, other_cases, N_ELEMS(other_cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
