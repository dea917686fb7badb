/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A guest that breaks the rules of its rings, and what has to follow: see
 * attack.h. */

#include "attack.h"

#include <string.h>

struct rig victim, bystander;
uint64_t attack_buf, attack_table;

static uint8_t frame[65536];

void
attack_exchange(unsigned int idx, uint64_t addr)
{
    static uint64_t seed;
    struct fe_vq *vq = &victim.vqs[idx];

    if (idx & 1) {
        uint16_t head;
        uint32_t len;

        CHECK(rig_guest_send(&victim, idx / 2, addr, 100, ++seed));
        CHECK_EQ(rig_switch_recv(&victim, idx / 2, frame, sizeof frame, NULL),
                 100);
        CHECK(fe_vq_used(vq, &head, &len));
    } else {
        struct fe_buf b = { addr, 1024, true };
        struct virtio_net_hdr_mrg_rxbuf h;

        CHECK_GE(fe_vq_add(vq, &b, 1, 0, 0), 0);
        fe_vq_publish(vq);
        CHECK(rig_switch_send(&victim, idx / 2, 100, ++seed, NULL));
        CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0),
                 100);
    }
    CHECK_PATTERN(frame, 100, seed);
}

void
attack_open(uint64_t features, unsigned int ring_size)
{
    struct rig_config c = {
        .ring_size = ring_size,
        .features = features,
        .n_pairs = 2,
        .n_senders = 2,
        .n_regions = 2,
        .region_size = 1 << 20,
    };

    rig_open(&victim, "victim", &c);
    rig_open(&bystander, "bystander", NULL);
    attack_buf = fe_alloc(&victim.fe, 0, 65536, 64);
    attack_table = fe_alloc(&victim.fe, 0, 65536, 64);
    attack_exchange(0, attack_buf);
    attack_exchange(1, attack_buf);
}

void
attack_close(void)
{
    CHECK_EQ(rig_all_guest_errors(&bystander), 0);
    rig_close(&bystander);
    rig_close(&victim);
}

void
attack_set_desc(struct fe_vq *vq, unsigned int i, uint64_t addr, uint32_t len,
                uint16_t flags, uint16_t next)
{
    vq->desc[i].addr = addr;
    vq->desc[i].len = len;
    vq->desc[i].flags = flags;
    vq->desc[i].next = next;
}

static void
offer_split(struct fe_vq *vq, const struct attack_desc descs[],
            unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        bool more = i + 1 < n;

        attack_set_desc(vq, i, descs[i].addr, descs[i].len,
                        descs[i].flags | (more ? VRING_DESC_F_NEXT : 0),
                        more ? i + 1 : 0);
    }
    fe_vq_avail_raw(vq, 0);
}

static void
offer_packed(struct fe_vq *vq, const struct attack_desc descs[],
             unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        bool more = i + 1 < n;

        fe_vq_desc_raw(vq, descs[i].addr, descs[i].len, more ? 0xffff : 0,
                       descs[i].flags | (more ? VRING_DESC_F_NEXT : 0));
    }
}

void
attack_offer(struct fe_vq *vq, const struct attack_desc descs[],
             unsigned int n)
{
    if (vq->ops == &fe_vq_packed) {
        offer_packed(vq, descs, n);
    } else {
        offer_split(vq, descs, n);
    }
    fe_vq_publish(vq);
}

void
attack_offer_one(struct fe_vq *vq, uint64_t addr, uint32_t len,
                 uint16_t flags)
{
    struct attack_desc d = { addr, len, flags };

    attack_offer(vq, &d, 1);
}

void
attack_write_table(uint64_t addr, const struct attack_desc descs[],
                   unsigned int n)
{
    bool packed = victim.vqs[0].ops == &fe_vq_packed;

    for (unsigned int i = 0; i < n; i++) {
        bool more = i + 1 < n;
        struct vring_desc d = {
            .addr = descs[i].addr,
            .len = descs[i].len,
            .flags = descs[i].flags | (more ? VRING_DESC_F_NEXT : 0),
            .next = more ? i + 1 : 0,
        };
        struct vring_packed_desc p = {
            .addr = d.addr, .len = d.len, .id = 0xffff,
            .flags = descs[i].flags,
        };

        fe_write(&victim.fe, addr + i * 16, packed ? (void *) &p : &d, 16);
    }
}

void
attack_offer_table(struct fe_vq *vq, const struct attack_desc descs[],
                   unsigned int n)
{
    attack_write_table(attack_table, descs, n);
    attack_offer_one(vq, attack_table, n * 16, VRING_DESC_F_INDIRECT);
}

void
attack_reset(unsigned int idx)
{
    struct fe_vq *vq = &victim.vqs[idx];

    fe_vq_stop(vq);
    CHECK(!rig_vring(&victim, idx).broken);
    fe_vq_reset(vq);
    fe_vq_start(vq, fe_vq_base(vq), true);
}

unsigned int
attack_poll(unsigned int idx)
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

void
attack_expect_broken_(int line, unsigned int idx, unsigned int counters)
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
    attack_poll(idx);
    attack_poll(idx);
    after = rig_vring(&victim, idx);
    for (unsigned int i = 0; i < VHOST_C_FIRST_SOFT; i++) {
        sum += after.counters[i] - before.counters[i];
        if (after.counters[i] != before.counters[i]) {
            counted |= ATTACK_MASK(i);
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
        CHECK_EQ(attack_poll(idx), 0);
    }
    CHECK_EQ(rig_guest_errors(&victim, idx), n_errors + 1);
    CHECK_EQ(fe_event_take(vq->err_fd), 0);
    CHECK_EQ(test_n_warnings("victim"), n_warnings + 1);

    /* Others work on. */
    CHECK(fe_alive(&victim.fe, 2000));
    attack_exchange(other, buf);
    rig_check_traffic(&bystander, 0);

    attack_reset(idx);
    attack_exchange(idx, buf);
    CHECK(!rig_vring(&victim, idx).broken);

    /* A clean ring for the next one. */
    attack_reset(idx);
    attack_exchange(idx, attack_buf);
}
