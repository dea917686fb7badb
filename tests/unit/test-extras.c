/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of what a port offers, when that changes, and of features beyond
 * those of the stock ports, which have to be asked for. */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

#define F_RING_RESET FE_BIT(40)

/* Offers. */

static void
set_offer(struct rig *rig, uint64_t features, uint64_t tolerated,
          unsigned int queue_pairs)
{
    struct vhost_offer offer = {
        .features = features,
        .tolerated = tolerated,
        .protocol_features = vhost_supported_protocol_features,
        .queue_pairs = queue_pairs,
    };

    CHECK_EQ(vhost_port_set_offer(rig->port, &offer), 0);
}

/* Takes effect with the next connection, not with the present one. */
static void
test_offer_changes(void)
{
    uint64_t all = vhost_supported_features;
    uint64_t less = all & ~FE_F_PACKED;
    struct vhost_offer bad;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    CHECK(!rig_info(&rig).offer_pending);
    set_offer(&rig, less, 0, RIG_MAX_PAIRS);
    CHECK(!rig_info(&rig).offer_pending);
    CHECK_EQ(rig_info(&rig).offer.features, less);

    rig_connect(&rig);
    CHECK_EQ(rig.fe.offered, less);
    CHECK(!rig_info(&rig).offer_pending);
    rig_start(&rig);
    set_offer(&rig, all, 0, 1);
    CHECK(rig_info(&rig).offer_pending);
    CHECK_EQ(rig_info(&rig).offer.features, all);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_FEATURES), less);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_QUEUE_NUM), RIG_MAX_PAIRS);
    rig_check_traffic(&rig, 0);

    rig_disconnect(&rig);
    CHECK(!rig_info(&rig).offer_pending);
    rig_connect(&rig);
    CHECK_EQ(rig.fe.offered, all);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_QUEUE_NUM), 1);

    test_part("beyond what is supported");
    bad = rig_info(&rig).offer;
    bad.features |= FE_BIT(63);
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    bad = rig_info(&rig).offer;
    bad.tolerated |= FE_BIT(63);
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    bad = rig_info(&rig).offer;
    bad.protocol_features |= FE_BIT(63);
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    bad = rig_info(&rig).offer;
    bad.queue_pairs = RIG_MAX_PAIRS + 1;
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    CHECK(!rig_info(&rig).offer_pending);
    rig_close(&rig);
}

/* A front end has no more rings than it was told. */
static void
test_offered_pairs(void)
{
    struct fe_vring_state state = { 2, 256 };
    uint64_t value = 3 | FE_NOFD;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    set_offer(&rig, vhost_supported_features, 0, 1);
    rig_connect(&rig);
    rig_start(&rig);
    CHECK_NE(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 2, 256), 0);
    CHECK_NE(fe_ask_u64(&rig.fe, FE_SET_VRING_KICK, value), 0);
    rig_check_traffic(&rig, 0);
    CHECK(fe_send(&rig.fe, FE_SET_VRING_NUM, 0, &state, sizeof state));
    CHECK(fe_closed(&rig.fe, 5000));
    rig_close(&rig);
}

/* What a guest brings from elsewhere is taken, though not offered. */
static void
test_tolerated(void)
{
    uint64_t offered = vhost_supported_features & ~(FE_F_CSUM | FE_F_MTU);
    uint64_t wanted = RIG_FEATURES | FE_F_CSUM;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    set_offer(&rig, offered, FE_F_CSUM, RIG_MAX_PAIRS);
    rig_connect(&rig);
    CHECK_EQ(rig.fe.offered, offered);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_FEATURES, wanted), 0);
    CHECK_EQ(rig_info(&rig).features, wanted);
    CHECK_NE(fe_ask_u64(&rig.fe, FE_SET_FEATURES, wanted | FE_F_MTU), 0);
    CHECK_EQ(rig_info(&rig).features, wanted);

    /* Not for ever: the next front end may not. */
    set_offer(&rig, offered, 0, RIG_MAX_PAIRS);
    rig_disconnect(&rig);
    rig_connect(&rig);
    CHECK_NE(fe_ask_u64(&rig.fe, FE_SET_FEATURES, wanted), 0);
    rig_close(&rig);
}

/* RING_RESET. */

static atomic_bool neighbour_stops;

/* Queue pair 1: what its guest sends is received at once, always. */
static void *
neighbour_main(void *rig_)
{
    struct rig *rig = rig_;
    uint64_t buf = fe_alloc(&rig->fe, 0, 2048, 64);
    uint8_t frame[2048];
    uint64_t seed;

    for (seed = 1; !atomic_load(&neighbour_stops); seed++) {
        uint16_t head;
        uint32_t len;

        CHECK(rig_guest_send(rig, 1, buf, 300, seed));
        CHECK_EQ(rig_switch_recv(rig, 1, frame, sizeof frame, NULL), 300);
        CHECK_PATTERN(frame, 300, seed);
        CHECK(fe_vq_used(RIG_TX(rig, 1), &head, &len));
        CHECK_EQ(RIG_TX(rig, 1)->chains[head].token, seed);
    }
    CHECK_GT(seed, 1);
    return NULL;
}

/* The guest resets ring 'idx' alone (virtio 1.2, section 2.6.1) and sets it up
 * again from its beginning.  'disable': the front end disables it meanwhile. */
static void
reset_ring(struct rig *rig, unsigned int idx, bool disable)
{
    struct fe_vq *vq = &rig->vqs[idx];

    if (disable) {
        CHECK_EQ(fe_vq_enable(vq, false), 0);
    }
    fe_vq_stop(vq);
    CHECK(!rig_vring(rig, idx).started);
    fe_vq_reset(vq);
    fe_vq_start(vq, fe_vq_base(vq), disable);
    CHECK(rig_vring(rig, idx).started);
    CHECK(rig_vring(rig, idx).enabled);
}

static void
test_ring_reset(void)
{
    const struct rig_config c = {
        .features = RIG_FEATURES | F_RING_RESET,
        .n_pairs = 2,
        .n_senders = 2,
    };
    uint64_t n_changes;
    pthread_t thread;
    struct rig rig;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_info(&rig).features & F_RING_RESET, F_RING_RESET);
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    n_changes = rig_info(&rig).n_link_changes;

    CHECK(!pthread_create(&thread, NULL, neighbour_main, &rig));
    for (unsigned int i = 0; i < 100; i++) {
        test_part("reset %u", i);
        reset_ring(&rig, i & 1, i & 2);
    }
    atomic_store(&neighbour_stops, true);
    CHECK(!pthread_join(thread, NULL));

    CHECK_EQ(rig_info(&rig).n_link_changes, n_changes);
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    for (unsigned int i = 0; i < 20; i++) {
        rig_check_traffic(&rig, 1);
        rig_check_traffic(&rig, 0);
        reset_ring(&rig, 0, false);
        reset_ring(&rig, 1, i & 1);
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* Buffers that the device had at the reset are not touched after it. */
static void
test_ring_reset_forgets(void)
{
    const struct rig_config c = {
        .features = RIG_FEATURES | F_RING_RESET,
    };
    uint8_t frame[2048];
    struct rig rig;
    uint64_t buf;

    rig_open(&rig, "p", &c);
    buf = fe_alloc(&rig.fe, 0, 2048, 64);
    for (unsigned int i = 0; i < 5; i++) {
        CHECK(rig_guest_send(&rig, 0, buf, 100, i));
    }
    rig_post(&rig, 0, 5, 2048);
    reset_ring(&rig, 1, false);
    reset_ring(&rig, 0, false);
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
    CHECK(!rig_switch_send(&rig, 0, 100, 1, NULL));
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* A ring that its guest has broken lives again after its own reset, and the
 * front end was told by the error descriptor. */
static void
test_ring_reset_mends(void)
{
    const struct rig_config c = {
        .features = RIG_FEATURES | F_RING_RESET,
        .n_pairs = 2,
        .n_senders = 2,
    };
    uint8_t frame[2048];
    struct rig rig;

    rig_open(&rig, "p", &c);
    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq = &rig.vqs[idx];
        struct fe_buf buf = { 1, 100, !idx };

        CHECK_GE(fe_vq_add(vq, &buf, 1, 0, 0), 0);
        fe_vq_publish(vq);
        if (idx) {
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
        } else {
            CHECK(!rig_switch_send(&rig, 0, 100, 1, NULL));
        }
        CHECK(fe_event_wait(vq->err_fd, 5000));
        WAIT_FOR(rig_vring(&rig, idx).broken);
        CHECK_EQ(fe_event_take(rig.vqs[3].err_fd), 0);
        reset_ring(&rig, idx, false);
        CHECK(!rig_vring(&rig, idx).broken);
        fe_event_take(vq->err_fd);
    }
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    CHECK_EQ(rig_guest_errors(&rig, 0), 1);
    CHECK_EQ(rig_guest_errors(&rig, 1), 1);
    CHECK_EQ(rig_guest_errors(&rig, 2) + rig_guest_errors(&rig, 3), 0);
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "offer-changes", test_offer_changes, 0 },
    { "offered-pairs", test_offered_pairs, 0 },
    { "tolerated", test_tolerated, 0 },
};

static const struct test_case ring_cases[] = {
    { "ring-reset", test_ring_reset, 60 },
    { "ring-reset-forgets", test_ring_reset_forgets, 0 },
    { "ring-reset-mends", test_ring_reset_mends, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "", 0, cases, N_ELEMS(cases) },
        { "", 0, ring_cases, N_ELEMS(ring_cases) },
        { "packed-", FE_F_PACKED, ring_cases, N_ELEMS(ring_cases) },
        { "in-order-", FE_F_PACKED | FE_F_IN_ORDER, ring_cases,
          N_ELEMS(ring_cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
