/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Calls to the guest, and kicks from it, on rings of either format: see
 * ring-cases.h.  Each call is counted at the guest's eventfd. */

#include "ring-cases.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint8_t frame[2048];

void
ring_send(struct rig *rig, unsigned int n, unsigned int burst)
{
    uint32_t lens[VHOST_BURST];

    for (unsigned int i = 0; i < burst; i++) {
        lens[i] = 60;
    }
    pattern_fill(frame, 60, 1);
    for (unsigned int done = 0; done < n; done += burst) {
        struct vhost_burst *b = rig_burst();
        enum vhost_reserve why;

        CHECK_EQ(vhost_sender_reserve(rig->senders[0], b, lens, burst, false,
                                      &why), burst);
        for (unsigned int i = 0; i < burst; i++) {
            vhost_burst_write(b, i, frame);
        }
        vhost_sender_commit(rig->senders[0], b, false);
    }
}

void
ring_forget_calls(struct ring_calls *c, struct rig *rig, unsigned int idx)
{
    c->rig = rig;
    c->idx = idx;
    fe_event_take(rig->vqs[idx].call_fd);
    c->notifications = rig_counter(rig, idx, VHOST_C_NOTIFICATIONS);
}

uint64_t
ring_calls(struct ring_calls *c)
{
    uint64_t now = rig_counter(c->rig, c->idx, VHOST_C_NOTIFICATIONS);
    uint64_t n = fe_event_take(c->rig->vqs[c->idx].call_fd);

    CHECK_EQ(n, now - c->notifications);
    c->notifications = now;
    return n;
}

void
ring_call_at(struct fe_vq *vq, unsigned int n)
{
    if (ring_is_packed(vq)) {
        uint16_t off_wrap = fe_packed_base(n % vq->size, !(n / vq->size % 2));

        fe_vq_set_driver_event(vq, off_wrap, VRING_PACKED_EVENT_FLAG_DESC);
    } else {
        fe_vq_set_used_event(vq, n);
    }
}

/* The guest sends 'n' small packets, which one complete() gives back. */
static void
receive(struct rig *rig, unsigned int n)
{
    struct vhost_burst *b = rig_burst();

    for (unsigned int i = 0; i < n; i++) {
        CHECK(rig_guest_send(rig, 0, fe_alloc(&rig->fe, 0, 128, 64), 60, i));
    }
    CHECK_EQ(vhost_rxq_peek(rig->rxqs[0], b, 32), n);
    vhost_rxq_complete(rig->rxqs[0], b, n);
}

static void
test_flags(void)
{
    struct rig_config c = { .features = RIG_FEATURES & ~FE_F_EVENT_IDX };
    struct ring_calls rx, tx;
    uint64_t suppressed;
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, 200, 128);
    /* The first used buffer may be told in any case. */
    ring_send(&rig, 1, 1);
    ring_forget_calls(&rx, &rig, 0);
    ring_forget_calls(&tx, &rig, 1);

    ring_send(&rig, 10, 1);
    CHECK_EQ(ring_calls(&rx), 10);
    ring_send(&rig, 64, 32);
    CHECK_EQ(ring_calls(&rx), 2);
    fe_vq_want_calls(RIG_RX(&rig, 0), false);
    suppressed = rig_counter(&rig, 0, VHOST_C_SUPPRESSED);
    ring_send(&rig, 5, 1);
    CHECK_EQ(ring_calls(&rx), 0);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_SUPPRESSED) - suppressed, 5);
    fe_vq_want_calls(RIG_RX(&rig, 0), true);
    ring_send(&rig, 3, 1);
    CHECK_EQ(ring_calls(&rx), 3);

    /* The other direction: one call per complete(). */
    for (unsigned int i = 0; i < 4; i++) {
        receive(&rig, 5);
        CHECK_EQ(ring_calls(&tx), 1);
    }
    fe_vq_want_calls(RIG_TX(&rig, 0), false);
    receive(&rig, 1);
    CHECK_EQ(ring_calls(&tx), 0);
    fe_vq_want_calls(RIG_TX(&rig, 0), true);
    receive(&rig, 1);
    CHECK_EQ(ring_calls(&tx), 1);

    /* complete() of nothing calls nobody. */
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 0));
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 1);
    vhost_rxq_complete(rig.rxqs[0], rig_burst(), 0);
    CHECK_EQ(ring_calls(&tx), 0);

    /* Nor does anything without a call descriptor. */
    CHECK(rig_vring(&rig, 0).has_call);
    CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0, -1), 0);
    CHECK(!rig_vring(&rig, 0).has_call);
    ring_calls(&rx);
    ring_send(&rig, 3, 1);
    CHECK_EQ(ring_calls(&rx), 0);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

static void
test_event_idx(void)
{
    struct ring_calls rx;
    struct fe_vq *vq;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vq = RIG_RX(&rig, 0);
    rig_post(&rig, 0, 250, 128);
    ring_send(&rig, 1, 1);
    ring_forget_calls(&rx, &rig, 0);

    /* Wanted after entry 10 is used. */
    ring_call_at(vq, 10);
    ring_send(&rig, 9, 1);      /* Entries 1...9. */
    CHECK_EQ(ring_calls(&rx), 0);
    ring_send(&rig, 1, 1);      /* Entry 10. */
    CHECK_EQ(ring_calls(&rx), 1);
    ring_send(&rig, 9, 1);      /* Entries 11...19: not asked for. */
    CHECK_EQ(ring_calls(&rx), 0);

    /* In the middle, at the start, at the end of a burst; just beyond. */
    ring_call_at(vq, 25);
    ring_send(&rig, 10, 10);    /* 20...29. */
    CHECK_EQ(ring_calls(&rx), 1);
    ring_call_at(vq, 30);
    ring_send(&rig, 10, 10);
    CHECK_EQ(ring_calls(&rx), 1);
    ring_call_at(vq, 49);
    ring_send(&rig, 10, 10);    /* 40...49. */
    CHECK_EQ(ring_calls(&rx), 1);
    ring_call_at(vq, 60);
    ring_send(&rig, 10, 10);    /* 50...59. */
    CHECK_EQ(ring_calls(&rx), 0);
    ring_send(&rig, 1, 1);
    CHECK_EQ(ring_calls(&rx), 1);
    CHECK_EQ(rig_vring(&rig, 0).used_idx, (uint16_t) fe_vq_base(vq));

    if (!ring_is_packed(vq)) {
        /* With event indexes the flag has no meaning. */
        fe_vq_set_flags(vq, VRING_AVAIL_F_NO_INTERRUPT);
        fe_vq_set_used_event(vq, 61);
        ring_send(&rig, 1, 1);
        CHECK_EQ(ring_calls(&rx), 1);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* A call wanted at entry 'at' of a ring that starts at entry 'start': before
 * it, at it, behind it; in bursts that begin and end around it. */
static void
call_wanted_at(unsigned int start, unsigned int at)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    struct ring_calls rx;
    struct fe_vq *vq;
    struct rig rig;

    test_part("from %u, call at %u", start, at);
    rig_create(&rig, "p", NULL);
    rig_connect(&rig);
    vq = RIG_RX(&rig, 0);
    fe_vq_set_position(vq, start);
    rig_start(&rig);
    rig_post(&rig, 0, 200, 128);
    ring_send(&rig, 1, 1);
    ring_forget_calls(&rx, &rig, 0);

    ring_call_at(vq, at);
    for (unsigned int i = start + 1; i < at; i++) {
        ring_send(&rig, 1, 1);
        if (ring_calls(&rx)) {
            test_fail(__FILE__, __LINE__, "called at entry %u", i);
        }
    }
    ring_send(&rig, 1, 1);
    CHECK_EQ(ring_calls(&rx), 1);
    ring_send(&rig, 4, 4);
    CHECK_EQ(ring_calls(&rx), 0);

    /* Bursts: its last, its first, one too late. */
    ring_call_at(vq, at + 8);
    ring_send(&rig, 4, 4);      /* At + 5...8. */
    CHECK_EQ(ring_calls(&rx), 1);
    ring_call_at(vq, at + 9);
    ring_send(&rig, 4, 4);
    CHECK_EQ(ring_calls(&rx), 1);
    ring_call_at(vq, at + 12);
    ring_send(&rig, 4, 4);      /* At + 13...16. */
    CHECK_EQ(ring_calls(&rx), 0);

    for (unsigned int i = start; i <= at + 16; i++) {
        CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0), 60);
    }
    CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0), -1);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Indexes wrap around at 65536 in split rings, at the ring's end in packed
 * ones, where the wrap counter changes both ways. */
static void
test_event_idx_wrap(void)
{
    for (unsigned int lap = 1; lap <= 256; lap = lap == 2 ? 255 : lap + 1) {
        unsigned int end = lap * 256;

        call_wanted_at(end - 36, end + 3);
        call_wanted_at(end - 5, end - 1);
        call_wanted_at(end - 5, end);
        call_wanted_at(end - 1, end + 5);
        call_wanted_at(end - 40, end - 10);
    }
}

/* QEMU's way: it sends a descriptor that it does not listen to, starts the
 * ring, and sends the one that counts.  What was called in between is lost, so
 * the new descriptor is called at once, and again when the ring is used next,
 * though the guest's event index is passed. */
static void
test_new_descriptor(void)
{
    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq;
        struct rig rig;
        int lost, fd;

        test_part("ring %u", idx);
        rig_open(&rig, "p", NULL);
        vq = &rig.vqs[idx];
        rig_post(&rig, 0, 32, 128);
        ring_call_at(vq, 1);
        if (idx) {
            receive(&rig, 2);
        } else {
            ring_send(&rig, 2, 1);
        }
        lost = vq->call_fd;
        CHECK_GT(fe_event_take(lost), 0);

        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, idx, fd), 0);
        CHECK_EQ(fe_event_take(fd), 1);
        if (idx) {
            receive(&rig, 1);
        } else {
            ring_send(&rig, 1, 1);
        }
        CHECK_EQ(fe_event_take(fd), 1);
        if (idx) {
            receive(&rig, 1);
        } else {
            ring_send(&rig, 1, 1);
        }
        CHECK_EQ(fe_event_take(fd), 0);
        CHECK_EQ(fe_event_take(lost), 0);
        close(fd);
        ring_check_no_errors(&rig);
        rig_close(&rig);
    }
}

/* We poll: the guest is told not to kick, and a start gives one call. */
static void
test_no_kicks_wanted(void)
{
    for (int with_event_idx = 0; with_event_idx < 2; with_event_idx++) {
        struct rig_config c = { .features = RIG_FEATURES };
        struct rig rig;

        test_part("event idx %d", with_event_idx);
        if (!with_event_idx) {
            c.features &= ~FE_F_EVENT_IDX;
        }
        rig_open(&rig, "p", &c);
        for (unsigned int i = 0; i < 2; i++) {
            struct fe_vq *vq = &rig.vqs[i];
            uint16_t off_wrap, flags;

            /* "After every ring start: one unconditional call." */
            WAIT_FOR(fe_event_wait(vq->call_fd, 0));
            if (ring_is_packed(vq)) {
                fe_vq_device_event(vq, &off_wrap, &flags);
                CHECK_EQ(flags, VRING_PACKED_EVENT_FLAG_DISABLE);
            } else if (with_event_idx) {
                /* Far from the next index. */
                CHECK_GT((uint16_t) (fe_vq_avail_event(vq)
                                     - vq->avail_idx), 256);
            } else {
                CHECK_EQ(__atomic_load_n(&vq->used->flags, __ATOMIC_RELAXED),
                         VRING_USED_F_NO_NOTIFY);
            }
        }
        /* Nor at any later position. */
        for (unsigned int i = 0; i < 600; i++) {
            struct fe_vq *vq = RIG_TX(&rig, 0);
            uint16_t head;
            uint32_t len;

            CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60,
                                 i));
            fe_vq_publish_and_kick(vq);
            CHECK_EQ(vq->n_kicks, 0);
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 60);
            CHECK(fe_vq_used(vq, &head, &len));
        }
        rig_check_traffic(&rig, 0);
        rig_close(&rig);
    }
}

/* Nobody polls a ring that is not enabled, so kicks are wanted there. */
static void
test_kicks_wanted(void)
{
    uint64_t n_kicks;
    struct fe_vq *vq;
    uint16_t head;
    uint32_t len;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vq = RIG_TX(&rig, 0);
    CHECK_EQ(fe_vq_enable(vq, false), 0);
    for (unsigned int i = 0; i < 20; i++) {
        /* Most of them; it may be looking just now. */
        struct fe_buf buf = { fe_alloc(&rig.fe, 0, 128, 64), 72, false };

        CHECK_GE(fe_vq_add(vq, &buf, 1, 0, i), 0);
        fe_vq_publish_and_kick(vq);
        CHECK_GE(vq->n_kicks, 1);
        WAIT_FOR(fe_vq_used(vq, &head, &len));
        CHECK_EQ(vq->chains[head].token, i);
    }
    WAIT_FOR(rig_counter(&rig, 1, VHOST_C_DISCARDED) == 20);
    CHECK_EQ(fe_vq_enable(vq, true), 0);
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 0));
    n_kicks = vq->n_kicks;
    fe_vq_publish_and_kick(vq);
    CHECK_EQ(vq->n_kicks, n_kicks);
    rig_close(&rig);
}

/* What is given back by complete_later() the guest sees at once; it is called
 * by the next peek(), or when the ring stops before that. */
static void
test_complete_later(void)
{
    struct vhost_burst *b = rig_burst();
    struct ring_calls tx;
    struct fe_vq *vq;
    struct rig rig;
    uint16_t head;
    uint32_t len, base;

    rig_open(&rig, "p", NULL);
    vq = RIG_TX(&rig, 0);
    for (unsigned int i = 0; i < 300; i++) {
        unsigned int n = 1 + i % 3;

        for (unsigned int k = 0; k < n; k++) {
            CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60,
                                 k));
        }
        fe_vq_want_calls(vq, true);
        ring_forget_calls(&tx, &rig, 1);
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), n);
        vhost_rxq_complete_later(rig.rxqs[0], b, n);
        for (unsigned int k = 0; k < n; k++) {
            CHECK(fe_vq_used(vq, &head, &len));
        }
        CHECK_EQ(ring_calls(&tx), 0);
        if (i % 2) {
            CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60,
                                 9));
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 60);
            CHECK(fe_vq_used(vq, &head, &len));
        } else {
            CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
        }
        CHECK_EQ(ring_calls(&tx), 1);
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
        CHECK_EQ(ring_calls(&tx), 0);
    }

    /* Of nothing there is nothing to say. */
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 0));
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 1);
    vhost_rxq_complete_later(rig.rxqs[0], b, 0);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 1);
    CHECK_EQ(ring_calls(&tx), 0);

    vhost_rxq_complete_later(rig.rxqs[0], b, 1);
    CHECK_EQ(fe_event_take(vq->call_fd), 0);
    base = fe_vq_stop(vq);
    CHECK_EQ(fe_event_take(vq->call_fd), 1);
    fe_vq_start(vq, base, true);
    fe_event_take(vq->call_fd);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
    CHECK_EQ(fe_event_take(vq->call_fd), 0);
    rig_close(&rig);
}

/* A guest may wait for the call before it offers anything more. */
static void
test_complete_later_disabled(void)
{
    struct vhost_burst *b = rig_burst();
    struct fe_vq *vq;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vq = RIG_TX(&rig, 0);
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 0));
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 1);
    fe_event_take(vq->call_fd);
    vhost_rxq_complete_later(rig.rxqs[0], b, 1);
    CHECK_EQ(fe_vq_enable(vq, false), 0);
    WAIT_FOR(fe_event_take(vq->call_fd) == 1);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
    rig_close(&rig);
}

/* publish() hands over, finish() calls. */
static void
test_publish_finish(void)
{
    struct vhost_burst *b = rig_burst();
    uint32_t lens[3] = { 60, 60, 60 };
    const void *src[3] = { frame, frame, frame };
    struct virtio_net_hdr_mrg_rxbuf h;
    enum vhost_reserve why;
    struct ring_calls rx;
    struct fe_vq *vq;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vq = RIG_RX(&rig, 0);
    pattern_fill(frame, 60, 1);
    for (unsigned int i = 0; i < 200; i++) {
        rig_post(&rig, 0, 3, 128);
        fe_vq_want_calls(vq, true);
        ring_forget_calls(&rx, &rig, 0);
        CHECK_EQ(vhost_sender_reserve_simple(rig.senders[0], b, lens, 3,
                                             false, &why), 3);
        vhost_burst_write_all(b, src, 3);
        vhost_sender_publish(b);
        CHECK_EQ(ring_calls(&rx), 0);
        for (unsigned int k = 0; k < 3; k++) {
            uint8_t got[60];

            CHECK_EQ(fe_net_take(vq, &h, got, 60, NULL, NULL, 0), 60);
            CHECK_PATTERN(got, 60, 1);
        }
        vhost_sender_finish(rig.senders[0], b, false);
        CHECK_EQ(ring_calls(&rx), 1);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* A call descriptor that comes while the ring has run for some laps without
 * one: the first call that is wanted then is not missed. */
static void
test_call_descriptor_later(void)
{
    struct rig_config c = { .ring_size = 8 };
    struct rig rig;
    struct fe_vq *vq;
    unsigned int at = 0;

    rig_open(&rig, "p", &c);
    vq = RIG_RX(&rig, 0);
    for (unsigned int quiet = 0; quiet < 40; quiet++) {
        struct ring_calls rx;
        uint16_t head;
        uint32_t len;

        test_part("after %u buffers without a call descriptor", quiet);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0, -1), 0);
        for (unsigned int i = 0; i < quiet; i++) {
            rig_post(&rig, 0, 1, 128);
            ring_send(&rig, 1, 1);
            CHECK(fe_vq_used(vq, &head, &len));
        }
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0, vq->call_fd),
                 0);
        at += quiet;
        ring_forget_calls(&rx, &rig, 0);
        ring_call_at(vq, at++);
        rig_post(&rig, 0, 1, 128);
        ring_send(&rig, 1, 1);
        CHECK(fe_vq_used(vq, &head, &len));
        CHECK_EQ(ring_calls(&rx), 1);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

const struct test_case ring_call_cases[] = {
    { "flags", test_flags, 0 },
    { "event-idx", test_event_idx, 0 },
    { "event-idx-wrap", test_event_idx_wrap, 0 },
    { "new-descriptor", test_new_descriptor, 0 },
    { "no-kicks-wanted", test_no_kicks_wanted, 0 },
    { "kicks-wanted", test_kicks_wanted, 0 },
    { "complete-later", test_complete_later, 0 },
    { "complete-later-disabled", test_complete_later_disabled, 0 },
    { "publish-finish", test_publish_finish, 0 },
    { "call-descriptor-later", test_call_descriptor_later, 0 },
};
const size_t n_ring_call_cases = N_ELEMS(ring_call_cases);
