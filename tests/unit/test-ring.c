/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of bursts on split rings (ring.h) with a guest that behaves: what
 * ring-cases.h has, in order and not, and what only split rings have, legacy
 * guests among it. */

#include <string.h>

#include "ring-cases.h"

static void
test_guest_to_switch_legacy(void)
{
    ring_guest_to_switch(FE_F_PROTOCOL | FE_F_INDIRECT | FE_F_ANY_LAYOUT);
}

static void
test_guest_to_switch_legacy_mrg(void)
{
    ring_guest_to_switch(FE_F_PROTOCOL | FE_F_MRG | FE_F_CSUM);
}

static void
test_switch_to_guest_legacy(void)
{
    ring_switch_to_guest(FE_F_PROTOCOL | FE_F_INDIRECT | FE_F_ANY_LAYOUT);
}

static void
test_switch_to_guest_legacy_mrg(void)
{
    ring_switch_to_guest(FE_F_PROTOCOL | FE_F_MRG);
}

/* A ring may start anywhere. */
static void
test_base(void)
{
    static const uint16_t bases[] = { 1, 255, 256, 32767, 32768, 65535 };
    struct rig rig;

    rig_create(&rig, "p", NULL);
    for (size_t i = 0; i < N_ELEMS(bases); i++) {
        test_part("base %u", bases[i]);
        rig_connect(&rig);
        fe_vq_reset(RIG_RX(&rig, 0));
        fe_vq_reset(RIG_TX(&rig, 0));
        fe_vq_set_position(RIG_RX(&rig, 0), bases[i]);
        fe_vq_set_position(RIG_TX(&rig, 0), bases[i]);
        rig_start(&rig);
        CHECK_EQ(rig_vring(&rig, 1).avail_idx, bases[i]);
        rig_check_traffic(&rig, 0);
        rig_check_traffic(&rig, 0);
        CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), (uint16_t) (bases[i] + 2));
        CHECK_EQ(fe_vq_stop(RIG_RX(&rig, 0)), (uint16_t) (bases[i] + 2));
        rig_disconnect(&rig);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* In order, what one burst gives back from the guest is one used entry, at the
 * first one's place; what it gives to the guest is all of them. */
static void
test_in_order_batch(void)
{
    struct rig_config c = { .features = RIG_FEATURES | FE_F_IN_ORDER };
    struct vhost_burst *b = rig_burst();
    struct fe_vq *rx, *tx;
    struct rig rig;

    rig_open(&rig, "p", &c);
    rx = RIG_RX(&rig, 0);
    tx = RIG_TX(&rig, 0);
    memset(tx->used->ring, 0xee, 256 * sizeof tx->used->ring[0]);
    for (unsigned int i = 0; i < 10; i++) {
        CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, i));
    }
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 10);
    vhost_rxq_complete(rig.rxqs[0], b, 7);
    CHECK_EQ(fe_vq_published_used(tx), 7);
    CHECK_EQ(tx->used->ring[0].id, 6);
    CHECK_EQ(tx->used->ring[0].len, 0);
    for (unsigned int i = 1; i < 256; i++) {
        CHECK_EQ(tx->used->ring[i].id, 0xeeeeeeee);
    }
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 3);
    vhost_rxq_complete(rig.rxqs[0], b, 3);
    CHECK_EQ(fe_vq_published_used(tx), 10);
    CHECK_EQ(tx->used->ring[7].id, 9);
    for (unsigned int i = 0; i < 10; i++) {
        uint16_t head;
        uint32_t len;

        CHECK(fe_vq_used(tx, &head, &len));
        CHECK_EQ(tx->chains[head].token, i);
    }

    rig_post(&rig, 0, 10, 512);
    ring_send(&rig, 5, 5);
    for (unsigned int i = 0; i < 5; i++) {
        CHECK_EQ(rx->used->ring[i].id, i);
        CHECK_EQ(rx->used->ring[i].len, 72);
    }
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "guest-to-switch-legacy", test_guest_to_switch_legacy, 0 },
    { "guest-to-switch-legacy-mrg", test_guest_to_switch_legacy_mrg, 0 },
    { "switch-to-guest-legacy", test_switch_to_guest_legacy, 0 },
    { "switch-to-guest-legacy-mrg", test_switch_to_guest_legacy_mrg, 0 },
    { "base", test_base, 0 },
    { "in-order-batch", test_in_order_batch, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        RING_GROUPS("", 0),
        RING_GROUPS("in-order-", FE_F_IN_ORDER),
        RING_GROUPS("iommu-", FE_F_IOMMU),
        { "", 0, cases, N_ELEMS(cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
