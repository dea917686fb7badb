/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Bursts on rings of either format: see ring-cases.h.  Layouts of buffers,
 * sizes of rings, kinds of memory, and bursts that are not taken whole.  The
 * case itself is guest and polling thread in turn, so that each step's result
 * is exact. */

#include "ring-cases.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint32_t sizes[] = { 0, 1, 60, 1514, 9000, 65535 };
#define MAX_FRAME 65535

static uint8_t frame[MAX_FRAME + 1];

/* How the guest lays out a packet. */
struct layout {
    const char *name;
    bool split_header;          /* Header in buffers of its own. */
    unsigned int header_parts;
    unsigned int frame_parts;
    unsigned int flags;
};

static const struct layout layouts[] = {
    { "one buffer", false, 1, 1, 0 },
    { "header apart", true, 1, 1, 0 },
    { "header apart, three pieces", true, 1, 3, 0 },
    { "header in four pieces", true, 4, 2, 0 },
    { "header byte by byte", true, 12, 1, 0 },
    { "seven pieces at odd places", false, 1, 7, 0 },
    { "indirect, one buffer", false, 1, 1, FE_INDIRECT },
    { "indirect, header apart", true, 1, 1, FE_INDIRECT },
    { "indirect, many pieces", true, 3, 17, FE_INDIRECT },
};

#define MAX_BUFS 64

static unsigned int
lay_out(const struct layout *l, struct fe_buf *bufs, uint64_t addr,
        size_t hlen, uint32_t len, bool in)
{
    unsigned int n;

    if (l->split_header) {
        n = fe_split(bufs, addr, hlen, l->header_parts, in);
        return n + fe_split(bufs + n, addr + hlen, len, l->frame_parts, in);
    }
    return fe_split(bufs, addr, hlen + len, l->frame_parts, in);
}

void
ring_check_no_errors(struct rig *rig)
{
    CHECK_EQ(rig_all_guest_errors(rig), 0);
    for (unsigned int i = 0; i < 2 * rig->c.n_pairs; i++) {
        CHECK(!rig_vring(rig, i).broken);
    }
}

bool
ring_is_packed(const struct fe_vq *vq)
{
    return vq->ops == &fe_vq_packed;
}

void
ring_guest_to_switch(uint64_t features)
{
    struct rig_config c = { .features = features, .ring_size = 64 };
    struct virtio_net_hdr hdr, got;
    uint8_t *sent = malloc(MAX_FRAME);
    struct rig rig;
    uint64_t seed = 1, addr;
    size_t hlen;

    CHECK(sent != NULL);
    rig_open(&rig, "p", &c);
    hlen = fe_net_header_len(&rig.fe);
    if (features & FE_F_INDIRECT) {
        fe_vq_use_indirect(RIG_TX(&rig, 0), 0, MAX_BUFS);
    }
    addr = fe_alloc(&rig.fe, 0, MAX_FRAME + 64, 64) + 3;
    for (size_t i = 0; i < N_ELEMS(layouts); i++) {
        const struct layout *l = &layouts[i];

        if (l->flags & FE_INDIRECT && !(features & FE_F_INDIRECT)) {
            continue;
        }
        for (size_t k = 0; k < N_ELEMS(sizes); k++, seed++) {
            struct fe_buf bufs[MAX_BUFS];
            struct vhost_burst *b = rig_burst();
            uint32_t len = sizes[k], used_len;
            uint16_t head;
            unsigned int n;

            test_part("%s, %u bytes, features %#llx", l->name, len,
                      (unsigned long long int) features);
            memset(&hdr, 0, sizeof hdr);
            hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
            hdr.gso_type = seed % 5;
            hdr.hdr_len = 54 + seed;
            hdr.gso_size = 1000 + seed;
            hdr.csum_start = 34 + seed;
            hdr.csum_offset = 16;
            pattern_fill(sent, len, seed);
            fe_net_write(&rig.fe, addr, &hdr, sent, len);
            n = lay_out(l, bufs, addr, hlen, len, false);
            CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), bufs, n, l->flags, seed), 0);
            CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
            fe_vq_publish(RIG_TX(&rig, 0));

            CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 1);
            CHECK_EQ(b->n, 1);
            CHECK_EQ(b->pkts[0].len, len);
            CHECK_EQ(vhost_burst_features(b), rig.c.features);
            if (features & VHOST_HDR_FEATURES) {
                got = b->pkts[0].hdr;
                CHECK(!memcmp(&got, &hdr, sizeof hdr));
                CHECK(b->offloads);
            }
            memset(frame, 0xee, sizeof frame);
            vhost_burst_read(b, 0, frame);
            CHECK_PATTERN(frame, len, seed);
            CHECK_EQ(frame[len], 0xee);
            CHECK(!fe_vq_used(RIG_TX(&rig, 0), &head, &used_len));
            vhost_rxq_complete(rig.rxqs[0], b, 1);

            CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &used_len));
            CHECK_EQ(RIG_TX(&rig, 0)->chains[head].token, seed);
            CHECK_EQ(used_len, 0);
            CHECK(!fe_vq_used(RIG_TX(&rig, 0), &head, &used_len));
        }
    }
    ring_check_no_errors(&rig);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_TOO_MANY_SEGS), 0);
    free(sent);
    rig_close(&rig);
}

static void
test_guest_to_switch(void)
{
    ring_guest_to_switch(RIG_FEATURES | FE_F_CSUM);
}

static void
test_guest_to_switch_v1_plain(void)
{
    ring_guest_to_switch(FE_F_VERSION_1 | FE_F_PROTOCOL);
}

void
ring_switch_to_guest(uint64_t features)
{
    struct rig_config c = { .features = features, .ring_size = 64 };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct virtio_net_hdr hdr;
    uint8_t *sent = malloc(MAX_FRAME + 1);
    uint64_t seed = 1, addr;
    struct rig rig;
    size_t hlen;

    CHECK(sent != NULL);
    rig_open(&rig, "p", &c);
    hlen = fe_net_header_len(&rig.fe);
    if (features & FE_F_INDIRECT) {
        fe_vq_use_indirect(RIG_RX(&rig, 0), 0, MAX_BUFS);
    }
    addr = fe_alloc(&rig.fe, 0, MAX_FRAME + 128, 64) + 5;
    for (size_t i = 0; i < N_ELEMS(layouts); i++) {
        const struct layout *l = &layouts[i];

        if (l->flags & FE_INDIRECT && !(features & FE_F_INDIRECT)) {
            continue;
        }
        for (size_t k = 0; k < N_ELEMS(sizes); k++, seed++) {
            uint32_t len = sizes[k];
            /* Sometimes more room than the frame needs. */
            uint32_t room = seed % 2 ? len : len + 40;
            struct vhost_burst *b = rig_burst();
            struct fe_buf bufs[MAX_BUFS];
            enum vhost_reserve why;
            uint8_t guard = 0xdd, after;
            uint32_t sum = 0;
            unsigned int n;

            test_part("%s, %u bytes, features %#llx", l->name, len,
                      (unsigned long long int) features);
            CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1, false,
                                          &why), 0);
            CHECK_EQ(why, VHOST_R_FULL);

            n = lay_out(l, bufs, addr, hlen, room, true);
            fe_write(&rig.fe, addr + hlen + len, &guard, 1);
            CHECK_GE(fe_vq_add(RIG_RX(&rig, 0), bufs, n, l->flags, seed), 0);
            fe_vq_publish(RIG_RX(&rig, 0));

            memset(&hdr, 0, sizeof hdr);
            hdr.flags = VIRTIO_NET_HDR_F_DATA_VALID;
            hdr.gso_type = seed % 5;
            hdr.hdr_len = 66 + seed;
            hdr.gso_size = 1400 + seed;
            hdr.csum_start = 14 + seed;
            hdr.csum_offset = 6;
            pattern_fill(sent, len, seed);
            CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1, false,
                                          &why), 1);
            CHECK_EQ(why, VHOST_R_OK);
            CHECK_EQ(b->n, 1);
            CHECK_EQ(b->pkts[0].len, len);
            CHECK_EQ(b->pkts[0].n_buffers, 1);
            for (unsigned int s = 0; s < b->pkts[0].n_segs; s++) {
                sum += b->segs[b->pkts[0].first + s].len;
            }
            CHECK_EQ(sum, len);
            vhost_burst_write(b, 0, sent);
            b->pkts[0].hdr = hdr;
            vhost_sender_commit(rig.senders[0], b, false);

            memset(frame, 0xee, sizeof frame);
            CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, MAX_FRAME, NULL,
                                 NULL, 0), len);
            CHECK_PATTERN(frame, len, seed);
            CHECK(!memcmp(&h.hdr, &hdr, sizeof hdr));
            fe_read(&rig.fe, addr + hlen + len, &after, 1);
            CHECK_EQ(after, guard);
        }
    }
    ring_check_no_errors(&rig);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), 0);
    free(sent);
    rig_close(&rig);
}

static void
test_switch_to_guest(void)
{
    ring_switch_to_guest(RIG_FEATURES);
}

static void
test_switch_to_guest_v1_plain(void)
{
    ring_switch_to_guest(FE_F_VERSION_1 | FE_F_PROTOCOL);
}

/* Frames over several small buffers: how many, how long each, num_buffers. */
static void
test_mergeable(void)
{
    static const uint32_t lens[] = { 60, 1514, 1524, 1525, 3060, 3061, 9000,
                                     65535 };
    const uint32_t buf_len = 1536;
    struct rig_config c = { .ring_size = 128 };
    uint8_t *sent = malloc(MAX_FRAME);
    struct virtio_net_hdr_mrg_rxbuf h;
    struct rig rig;

    CHECK(sent != NULL);
    rig_open(&rig, "p", &c);
    for (size_t k = 0; k < N_ELEMS(lens); k++) {
        unsigned int expected = (lens[k] + 12 + buf_len - 1) / buf_len;
        struct vhost_burst *b = rig_burst();
        enum vhost_reserve why;
        uint16_t heads[64];
        unsigned int n;

        test_part("%u bytes", lens[k]);
        /* One buffer too few: nothing is taken. */
        if (expected > 1) {
            rig_post(&rig, 0, expected - 1, buf_len);
            CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &lens[k], 1,
                                          false, &why), 0);
            CHECK_EQ(why, VHOST_R_FULL);
            rig_post(&rig, 0, 1, buf_len);
        } else {
            rig_post(&rig, 0, 1, buf_len);
        }
        pattern_fill(sent, lens[k], k);
        CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &lens[k], 1, false,
                                      &why), 1);
        CHECK_EQ(why, VHOST_R_OK);
        CHECK_EQ(b->pkts[0].n_buffers, expected);
        vhost_burst_write(b, 0, sent);
        memset(&b->pkts[0].hdr, 0, sizeof b->pkts[0].hdr);
        vhost_sender_commit(rig.senders[0], b, false);
        CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, MAX_FRAME, heads,
                             &n, N_ELEMS(heads)), lens[k]);
        CHECK_EQ(n, expected);
        CHECK_EQ(h.num_buffers, expected);
        CHECK_PATTERN(frame, lens[k], k);
    }
    ring_check_no_errors(&rig);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), 0);
    free(sent);
    rig_close(&rig);
}

/* A frame that all buffers of the ring together cannot hold. */
static void
test_mergeable_too_big(void)
{
    struct rig_config c = { .ring_size = 4 };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct vhost_burst *b = rig_burst();
    uint32_t lens[2] = { 9000, 100 };
    enum vhost_reserve why;
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, 4, 1024);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, lens, 2, false, &why),
             2);
    CHECK_EQ(b->pkts[0].n_segs, 0);
    CHECK_GT(b->pkts[1].n_segs, 0);
    pattern_fill(frame, 100, 5);
    vhost_burst_write(b, 1, frame);
    memset(&b->pkts[1].hdr, 0, sizeof b->pkts[1].hdr);
    vhost_sender_commit(rig.senders[0], b, false);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), 1);
    CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL, NULL,
                         0), 100);
    CHECK_PATTERN(frame, 100, 5);
    CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL, NULL,
                         0), -1);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Without mergeable buffers: a frame too long for the next buffer is dropped
 * and counted and costs the guest no buffer. */
static void
test_too_big(void)
{
    struct rig_config c = { .features = FE_F_VERSION_1 | FE_F_PROTOCOL };
    const uint32_t lens[5] = { 1000, 2037, 2036, 65535, 60 };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, 8, 2048);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, lens, 5, false, &why),
             5);
    CHECK_EQ(why, VHOST_R_OK);
    for (unsigned int i = 0; i < 5; i++) {
        if (lens[i] <= 2036) {
            CHECK_GT(b->pkts[i].n_segs, 0);
            CHECK_EQ(b->pkts[i].n_buffers, 1);
            pattern_fill(frame, lens[i], i);
            vhost_burst_write(b, i, frame);
            memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
        } else {
            CHECK_EQ(b->pkts[i].n_segs, 0);
        }
    }
    vhost_sender_commit(rig.senders[0], b, false);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), 2);
    for (unsigned int i = 0; i < 5; i += 2) {
        CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL,
                             NULL, 0), lens[i]);
        CHECK_PATTERN(frame, lens[i], i);
    }
    CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL, NULL,
                         0), -1);
    CHECK_EQ(RIG_RX(&rig, 0)->n_free, 256 - 5);
    ring_check_no_errors(&rig);

    /* Only such frames: nothing reaches the guest, nobody is called. */
    fe_event_take(RIG_RX(&rig, 0)->call_fd);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &lens[3], 1, false,
                                  &why), 1);
    CHECK_EQ(b->pkts[0].n_segs, 0);
    vhost_sender_commit(rig.senders[0], b, false);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), 3);
    CHECK_EQ(fe_event_take(RIG_RX(&rig, 0)->call_fd), 0);
    rig_close(&rig);
}

/* Traffic in both directions by bursts of random length, checked in order,
 * until 'total' packets went each way. */
static void
both_ways(struct rig *rig, unsigned int total, uint32_t frame_len)
{
    struct fe_vq *rx = RIG_RX(rig, 0), *tx = RIG_TX(rig, 0);
    unsigned int guest_sent = 0, switch_got = 0;
    unsigned int switch_sent = 0, guest_got = 0;
    size_t hlen = fe_net_header_len(&rig->fe);
    unsigned int size = rig->c.ring_size;
    /* More buffers than this may not be in use at once. */
    unsigned int n_slots = size < 512 ? size : 512;
    uint64_t stride = (frame_len + hlen + 63) / 64 * 64;
    uint64_t tx_bufs = fe_alloc(&rig->fe, 0, n_slots * stride, 64);
    uint64_t rx_bufs = fe_alloc(&rig->fe, 0, n_slots * stride, 64);
    unsigned int posted = 0, rx_busy = 0, tx_busy = 0;
    uint8_t *buf = malloc(frame_len);
    uint64_t rnd = 42;

    CHECK(buf != NULL);
    while (switch_got < total || guest_got < total) {
        struct virtio_net_hdr_mrg_rxbuf h;
        struct vhost_burst *b = rig_burst();
        enum vhost_reserve why;
        uint32_t lens[VHOST_BURST];
        unsigned int n, k;
        uint16_t head;
        uint32_t len;
        long int got;

        /* The guest sends. */
        n = test_random(&rnd) % 40;
        for (k = 0; k < n && tx_busy < n_slots && guest_sent < total; k++) {
            struct fe_buf fb = { tx_bufs + guest_sent % n_slots * stride,
                                 hlen + frame_len, false };

            pattern_fill(buf, frame_len, guest_sent);
            fe_net_write(&rig->fe, fb.addr, NULL, buf, frame_len);
            CHECK_GE(fe_vq_add(tx, &fb, 1, 0, guest_sent), 0);
            guest_sent++;
            tx_busy++;
        }
        fe_vq_publish(tx);
        while (rx_busy < n_slots && test_random(&rnd) % 40) {
            struct fe_buf fb = { rx_bufs + posted++ % n_slots * stride,
                                 hlen + frame_len, true };

            CHECK_GE(fe_vq_add(rx, &fb, 1, 0, 0), 0);
            rx_busy++;
        }
        fe_vq_publish(rx);

        /* The switch polls; sometimes it completes less than it saw. */
        n = vhost_rxq_peek(rig->rxqs[0], b, 1 + test_random(&rnd) % 32);
        CHECK_EQ(n, n ? b->n : 0);
        if (n) {
            k = test_random(&rnd) % 4 ? n : test_random(&rnd) % (n + 1);
            for (unsigned int i = 0; i < k; i++) {
                CHECK_EQ(b->pkts[i].len, frame_len);
                vhost_burst_read(b, i, buf);
                CHECK_PATTERN(buf, frame_len, switch_got);
                switch_got++;
            }
            vhost_rxq_complete(rig->rxqs[0], b, k);
        }
        n = 1 + test_random(&rnd) % 32;
        if (n > total - switch_sent) {
            n = total - switch_sent;
        }
        for (k = 0; k < n; k++) {
            lens[k] = frame_len;
        }
        k = n ? vhost_sender_reserve(rig->senders[0], b, lens, n, false, &why)
              : 0;
        if (k) {
            CHECK_EQ(why, k < n ? VHOST_R_FULL : VHOST_R_OK);
            for (unsigned int i = 0; i < k; i++) {
                pattern_fill(buf, frame_len, switch_sent++);
                vhost_burst_write(b, i, buf);
                memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
            }
            vhost_sender_commit(rig->senders[0], b, false);
        } else if (n) {
            CHECK_EQ(why, VHOST_R_FULL);
        }

        /* The guest takes back. */
        while (fe_vq_used(tx, &head, &len)) {
            tx_busy--;
        }
        while ((got = fe_net_take(rx, &h, buf, frame_len, NULL, NULL, 0))
               >= 0) {
            CHECK_EQ(got, frame_len);
            CHECK_PATTERN(buf, frame_len, guest_got);
            guest_got++;
            rx_busy--;
        }
    }
    CHECK_EQ(guest_sent, total);
    CHECK_EQ(switch_sent, total);
    CHECK_EQ(rig_vring(rig, 1).avail_idx, (uint16_t) fe_vq_base(tx));
    CHECK_EQ(rig_vring(rig, 1).used_idx, (uint16_t) fe_vq_base(tx));
    CHECK_EQ(rig_vring(rig, 0).used_idx, (uint16_t) fe_vq_base(rx));
    ring_check_no_errors(rig);
    free(buf);
}

void
ring_both_ways(unsigned int size, unsigned int total)
{
    struct rig_config c = { .ring_size = size };
    struct rig rig;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_vring(&rig, 0).size, size);
    CHECK_EQ(rig_vring(&rig, 1).size, size);
    both_ways(&rig, total, 100);
    rig_close(&rig);
}

static void
test_size_1(void)
{
    ring_both_ways(1, 2000);
}

static void
test_size_2(void)
{
    ring_both_ways(2, 4000);
}

/* Indexes wrap around at 65536. */
static void
test_size_256_wrap(void)
{
    ring_both_ways(256, 150000);
}

static void
test_size_32768_wrap(void)
{
    ring_both_ways(32768, 150000);
}

/* Looks at the backlog of the guest's sending ring, in which 'n' entries wait.
 * In a packed ring it says whether there is none, some or another burst. */
static void
check_backlog(struct rig *rig, unsigned int n)
{
    unsigned int backlog = vhost_rxq_backlog(rig->rxqs[0]);

    if (ring_is_packed(RIG_TX(rig, 0))) {
        CHECK_EQ(backlog > 0, n > 0);
        CHECK_LE(backlog, n);
        CHECK_GE(backlog, n < VHOST_BURST ? 0 : VHOST_BURST);
    } else {
        CHECK_EQ(backlog, n);
    }
}

/* All 32768 entries in use at once. */
static void
test_size_32768_full(void)
{
    struct rig_config c = { .ring_size = 32768, .region_size = 32 << 20 };
    struct vhost_burst *b = rig_burst();
    unsigned int n, total = 0;
    struct rig rig;
    uint64_t addr;

    rig_open(&rig, "p", &c);
    addr = fe_alloc(&rig.fe, 0, 4096, 64);
    for (unsigned int i = 0; i < 32768; i++) {
        struct fe_buf buf = { addr, 12 + 60, false };

        CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), &buf, 1, 0, i), 0);
    }
    fe_vq_publish(RIG_TX(&rig, 0));
    while ((n = vhost_rxq_peek(rig.rxqs[0], b, 32))) {
        CHECK_EQ(n, 32);
        CHECK_EQ(b->pkts[31].len, 60);
        vhost_rxq_complete(rig.rxqs[0], b, n);
        total += n;
        check_backlog(&rig, 32768 - total);
    }
    CHECK_EQ(total, 32768);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* A buffer that begins in one region and ends in the next. */
static void
test_regions(void)
{
    struct rig_config c = {
        .n_regions = 8,
        .region_size = 1 << 20,
        .features = FE_F_VERSION_1 | FE_F_PROTOCOL | FE_F_INDIRECT,
    };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct rig rig;
    uint64_t seed = 0;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_info(&rig).n_regions, 8);
    for (unsigned int r = 1; r < 8; r++) {
        uint64_t border = rig.fe.regions[r].guest_addr;
        /* Header across the border, frame across it, ends at it, starts. */
        static const int offsets[] = { -1, -5, -11, -12, -13, -700, -1512,
                                       -1511, 0 };

        for (size_t i = 0; i < N_ELEMS(offsets); i++, seed++) {
            uint64_t addr = border + offsets[i];
            struct fe_buf buf = { addr, 1512, true };
            uint16_t head;
            uint32_t len;

            test_part("region %u, offset %d", r, offsets[i]);
            CHECK(rig_guest_send(&rig, 0, addr, 1500, seed));
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL),
                     1500);
            CHECK_PATTERN(frame, 1500, seed);
            CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));

            CHECK_GE(fe_vq_add(RIG_RX(&rig, 0), &buf, 1, 0, 0), 0);
            fe_vq_publish(RIG_RX(&rig, 0));
            CHECK(rig_switch_send(&rig, 0, 1500, seed + 99, NULL));
            CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame,
                                 NULL, NULL, 0), 1500);
            CHECK_PATTERN(frame, 1500, seed + 99);
        }
    }

    /* One buffer over three regions needs regions smaller than a frame. */
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Regions that are parts of one file, in another order there. */
static void
test_regions_of_one_file(void)
{
    enum { N = 4 };
    struct rig_config c = { .ring_size = 64 };
    struct rig rig;
    int fd = fe_memfd((N + 2) << 20, MFD_ALLOW_SEALING);

    rig_create(&rig, "p", &c);
    for (unsigned int i = 0; i < N; i++) {
        fe_add_region_fd(&rig.fe, (uint64_t) (i + 1) << 20, 1 << 20,
                         0x10000000 * (uint64_t) (i * 3 % N + 1), dup(fd),
                         ((uint64_t) (N - i) << 20) + 3 * FE_PAGE);
    }
    close(fd);
    /* The rings are not at the borders, which frames cross. */
    fe_alloc(&rig.fe, 1, 8192, 64);
    fe_alloc(&rig.fe, 2, 8192, 64);
    fe_vq_init(RIG_RX(&rig, 0), &rig.fe, 0, 64, 2);
    fe_vq_init(RIG_TX(&rig, 0), &rig.fe, 1, 64, 1);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    for (unsigned int i = 1; i < N; i++) {
        uint64_t addr = rig.fe.regions[i].guest_addr - 700;
        uint16_t head;
        uint32_t len;

        test_part("border %u", i);
        CHECK(rig_guest_send(&rig, 0, addr, 1500, i));
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 1500);
        CHECK_PATTERN(frame, 1500, i);
        CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
    }
    rig_send_mem_table(&rig);
    rig_check_traffic(&rig, 0);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Memory as other VMMs have it: files on tmpfs, and huge pages. */
static void
memory_file(int fd, uint64_t size, uint64_t page_size)
{
    struct vhost_region_info region;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    fe_add_region_fd(&rig.fe, 0, size, 0x7f0000000000, fd, 0);
    fe_vq_init(RIG_RX(&rig, 0), &rig.fe, 0, 256, 0);
    fe_vq_init(RIG_TX(&rig, 0), &rig.fe, 1, 256, 0);
    rig_connect(&rig);
    rig_start(&rig);
    CHECK_EQ(vhost_port_get_regions(rig.port, &region, 1), 1);
    CHECK_EQ(region.page_size, page_size);
    CHECK_EQ(region.size, size);
    rig_check_traffic(&rig, 0);
    rig_send_mem_table(&rig);
    rig_check_traffic(&rig, 0);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

static void
test_tmpfs(void)
{
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        test_skip("no tmpfs at /dev/shm");
    }
    CHECK_EQ(ftruncate(fd, 4 << 20), 0);
    memory_file(fd, 4 << 20, 4096);
}

static void
test_huge_pages(void)
{
    const uint64_t size = 4 << 20;
    const unsigned int mfd_huge_2mb = 21u << 26;    /* <linux/memfd.h>. */
    int fd = memfd_create("unit-guest",
                          MFD_CLOEXEC | MFD_HUGETLB | mfd_huge_2mb);
    void *p;

    if (fd < 0 || ftruncate(fd, size)) {
        test_skip("no hugetlbfs");
    }
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        test_skip("no huge pages are free");
    }
    munmap(p, size);
    memory_file(fd, size, 2 << 20);
}

/* Regions of one page each: a frame lies in many of them. */
static void
test_small_regions(void)
{
    struct rig_config c = { 0 };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct fe_buf buf;
    struct rig rig;

    rig_create(&rig, "p", &c);
    fe_add_region(&rig.fe, 0x10000, 1 << 20, 0x1000000);
    for (unsigned int i = 0; i < 7; i++) {
        /* In decreasing order of user addresses, to mix up a table that is
         * sorted by the wrong one. */
        fe_add_region(&rig.fe, 0x80000000 + i * FE_PAGE, FE_PAGE,
                      0x90000000 - i * 2 * FE_PAGE);
    }
    fe_vq_init(RIG_RX(&rig, 0), &rig.fe, 0, 64, 0);
    fe_vq_init(RIG_TX(&rig, 0), &rig.fe, 1, 64, 0);
    rig_connect(&rig);
    rig_start(&rig);

    CHECK(rig_guest_send(&rig, 0, 0x80000000 + 77, 6 * FE_PAGE, 7));
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL),
             6 * FE_PAGE);
    CHECK_PATTERN(frame, 6 * FE_PAGE, 7);

    buf = (struct fe_buf) { 0x80000000 + 99, 6 * FE_PAGE + 12, true };
    CHECK_GE(fe_vq_add(RIG_RX(&rig, 0), &buf, 1, 0, 0), 0);
    fe_vq_publish(RIG_RX(&rig, 0));
    CHECK(rig_switch_send(&rig, 0, 6 * FE_PAGE, 8, NULL));
    CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL, NULL,
                         0), 6 * FE_PAGE);
    CHECK_PATTERN(frame, 6 * FE_PAGE, 8);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Many pieces: as many as a burst holds are legal, more lose the packet and
 * nothing else. */
static void
test_many_pieces(void)
{
    struct rig_config c = { .ring_size = 2048 };
    static const unsigned int pieces[] = { 100, 300, 511, 512, 700, 2000 };
    struct fe_buf *bufs = calloc(2048, sizeof *bufs);
    struct rig rig;
    uint64_t addr;
    uint16_t head;
    uint32_t len;

    CHECK(bufs != NULL);
    rig_open(&rig, "p", &c);
    addr = fe_alloc(&rig.fe, 0, 32768, 64);
    for (size_t i = 0; i < N_ELEMS(pieces); i++) {
        struct vhost_burst *b = rig_burst();
        unsigned int n = pieces[i];
        uint64_t lost = rig_counter(&rig, 1, VHOST_C_TOO_MANY_SEGS);
        uint8_t sent[20000];

        test_part("%u pieces", n);
        pattern_fill(sent, sizeof sent, n);
        fe_net_write(&rig.fe, addr, NULL, sent, sizeof sent);
        CHECK_EQ(fe_split(bufs, addr, 12 + sizeof sent, n, false), n);
        CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), bufs, n, 0, n), 0);
        fe_vq_publish(RIG_TX(&rig, 0));
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 1);
        if (n <= 300) {
            CHECK_GT(b->pkts[0].n_segs, 0);
        } else if (n > VHOST_BURST_SEGS) {
            CHECK_EQ(b->pkts[0].n_segs, 0);
        }
        if (b->pkts[0].n_segs) {
            CHECK_EQ(b->pkts[0].len, sizeof sent);
            vhost_burst_read(b, 0, frame);
            CHECK_PATTERN(frame, sizeof sent, n);
        }
        vhost_rxq_complete(rig.rxqs[0], b, 1);
        CHECK_EQ(rig_counter(&rig, 1, VHOST_C_TOO_MANY_SEGS) - lost,
                 n > VHOST_BURST_SEGS);
        CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
        CHECK_EQ(RIG_TX(&rig, 0)->chains[head].token, n);
    }
    rig_check_traffic(&rig, 0);
    ring_check_no_errors(&rig);
    free(bufs);
    rig_close(&rig);
}

/* Several packets of many pieces each: the burst ends early, all arrive. */
static void
test_burst_of_pieces(void)
{
    struct rig_config c = { .ring_size = 2048 };
    struct fe_buf bufs[128];
    unsigned int got = 0, n;
    struct rig rig;

    rig_open(&rig, "p", &c);
    for (unsigned int i = 0; i < 16; i++) {
        uint64_t addr = fe_alloc(&rig.fe, 0, 2048, 64);

        pattern_fill(frame, 1500, i);
        fe_net_write(&rig.fe, addr, NULL, frame, 1500);
        CHECK_EQ(fe_split(bufs, addr, 1512, 100, false), 100);
        CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), bufs, 100, 0, i), 0);
    }
    fe_vq_publish(RIG_TX(&rig, 0));
    while ((n = vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32))) {
        for (unsigned int i = 0; i < n; i++) {
            CHECK_EQ(rig_burst()->pkts[i].len, 1500);
            vhost_burst_read(rig_burst(), i, frame);
            CHECK_PATTERN(frame, 1500, got);
            got++;
        }
        vhost_rxq_complete(rig.rxqs[0], rig_burst(), n);
    }
    CHECK_EQ(got, 16);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_TOO_MANY_SEGS), 0);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Frames longer than any that is handed on: lost, counted, and nothing else
 * happens. */
static void
test_too_long(void)
{
    static const uint32_t lens[] = { 262143, 262144, 262145, 600000 };
    static uint8_t long_frame[262144];
    struct vhost_burst *b = rig_burst();
    struct fe_vq *vq;
    uint64_t addr, lost = 0;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vq = RIG_TX(&rig, 0);
    addr = fe_alloc(&rig.fe, 0, 600000, 64);
    pattern_fill(fe_ptr(&rig.fe, addr + 12, 599988), 599988, 5);
    for (unsigned int i = 0; i < 2 * N_ELEMS(lens); i++) {
        unsigned int pieces = i % 2 ? 7 : 1;
        uint32_t len = lens[i / 2];
        bool fits = len < 262144;
        struct fe_buf bufs[7];
        uint32_t used_len;
        uint16_t head;

        test_part("%u bytes in %u pieces", len, pieces);
        rig_check_traffic(&rig, 0);
        CHECK_EQ(fe_split(bufs, addr, len, pieces, false), pieces);
        CHECK_GE(fe_vq_add(vq, bufs, pieces, 0, i), 0);
        fe_vq_publish(vq);
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 1);
        CHECK_EQ(b->pkts[0].n_segs > 0, fits);
        if (fits) {
            CHECK_EQ(b->pkts[0].len, len - 12);
            vhost_burst_read(b, 0, long_frame);
            CHECK_PATTERN(long_frame, len - 12, 5);
        }
        vhost_rxq_complete(rig.rxqs[0], b, 1);
        lost += !fits;
        CHECK_EQ(rig_counter(&rig, 1, VHOST_C_TOO_MANY_SEGS), lost);
        CHECK(fe_vq_used(vq, &head, &used_len));
        CHECK_EQ(vq->chains[head].token, i);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* complete() of fewer packets than peeked: the rest is seen again, unchanged,
 * and the guest gets back what was completed, no more. */
static void
test_complete_fewer(void)
{
    struct vhost_burst *b = rig_burst();
    struct rig rig;
    uint16_t head;
    uint32_t len;
    unsigned int next = 0;

    rig_open(&rig, "p", NULL);
    for (unsigned int i = 0; i < 20; i++) {
        CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 256, 64), 100 + i,
                             i));
    }
    for (unsigned int take = 0; next < 20; take = (take + 1) % 5) {
        unsigned int k = take < 20 - next ? take : 20 - next;

        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 20 - next);
        for (unsigned int i = 0; i < k; i++) {
            CHECK_EQ(b->pkts[i].len, 100 + next + i);
            vhost_burst_read(b, i, frame);
            CHECK_PATTERN(frame, b->pkts[i].len, next + i);
        }
        vhost_rxq_complete(rig.rxqs[0], b, k);
        for (unsigned int i = 0; i < k; i++) {
            CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
            CHECK_EQ(RIG_TX(&rig, 0)->chains[head].token, next + i);
        }
        CHECK(!fe_vq_used(RIG_TX(&rig, 0), &head, &len));
        next += k;
    }
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* peek() hands out at most what it is asked for. */
static void
test_peek_max(void)
{
    struct vhost_burst *b = rig_burst();
    struct rig rig;

    rig_open(&rig, "p", NULL);
    for (unsigned int i = 0; i < 40; i++) {
        CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, i));
    }
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 3), 3);
    vhost_rxq_complete(rig.rxqs[0], b, 3);
    check_backlog(&rig, 37);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 32);
    vhost_rxq_complete(rig.rxqs[0], b, 32);
    check_backlog(&rig, 5);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 5);
    vhost_rxq_complete(rig.rxqs[0], b, 5);
    check_backlog(&rig, 0);
    rig_close(&rig);
}

/* reserve() of more packets than there are buffers. */
static void
test_reserve_fewer(void)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    struct vhost_burst *b = rig_burst();
    uint32_t lens[VHOST_BURST];
    enum vhost_reserve why;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    for (unsigned int i = 0; i < VHOST_BURST; i++) {
        lens[i] = 200;
    }
    rig_post(&rig, 0, 5, 1024);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, lens, 32, false, &why),
             5);
    CHECK_EQ(why, VHOST_R_FULL);
    CHECK_EQ(b->n, 5);
    for (unsigned int i = 0; i < 5; i++) {
        pattern_fill(frame, 200, i);
        vhost_burst_write(b, i, frame);
        memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
    }
    vhost_sender_commit(rig.senders[0], b, false);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, lens, 32, false, &why),
             0);
    CHECK_EQ(why, VHOST_R_FULL);
    for (unsigned int i = 0; i < 5; i++) {
        CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL,
                             NULL, 0), 200);
        CHECK_PATTERN(frame, 200, i);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Packets that are cut off a burst leave their buffers in the ring for the
 * next one. */
static void
test_cut(void)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    struct vhost_burst *b = rig_burst();
    struct fe_vq *vq;
    enum vhost_reserve why;
    uint32_t lens[8];
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vq = RIG_RX(&rig, 0);
    rig_post(&rig, 0, 64, 512);
    for (unsigned int i = 0; i < 8; i++) {
        lens[i] = 200 + 300 * i;        /* One buffer to five. */
    }
    for (unsigned int keep = 0; keep <= 8; keep++) {
        unsigned int n_free = vq->n_free, n_buffers = 0;

        test_part("%u of 8", keep);
        CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, lens, 8, false,
                                      &why), 8);
        vhost_burst_cut(b, keep);
        CHECK_EQ(b->n, keep);
        for (unsigned int i = 0; i < keep; i++) {
            CHECK_EQ(b->pkts[i].n_buffers, (lens[i] + 12 + 511) / 512);
            n_buffers += b->pkts[i].n_buffers;
            pattern_fill(frame, lens[i], i);
            vhost_burst_write(b, i, frame);
        }
        vhost_sender_commit(rig.senders[0], b, false);
        for (unsigned int i = 0; i < keep; i++) {
            CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0),
                     lens[i]);
            CHECK_PATTERN(frame, lens[i], i);
        }
        CHECK_EQ(fe_net_take(vq, &h, frame, sizeof frame, NULL, NULL, 0), -1);
        CHECK_EQ(vq->n_free, n_free + n_buffers);
        rig_post(&rig, 0, n_buffers, 512);
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Before a start, and after a stop, both directions are quiet. */
static void
test_not_started(void)
{
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    uint32_t len = 60;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1, false, &why),
             0);
    CHECK_EQ(why, VHOST_R_STOPPED);
    rig_connect(&rig);
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 1));
    rig_post(&rig, 0, 1, 128);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1, false, &why),
             0);
    CHECK_EQ(why, VHOST_R_STOPPED);
    rig_start(&rig);
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 60);
    CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 1));
    rig_post(&rig, 0, 1, 128);
    fe_vq_stop(RIG_RX(&rig, 0));
    fe_vq_stop(RIG_TX(&rig, 0));
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1, false, &why),
             0);
    CHECK_EQ(why, VHOST_R_STOPPED);
    rig_close(&rig);
}

/* A ring that is started and not enabled: nothing is received, what the guest
 * sends is thrown away and its buffers come back. */
static void
test_disabled(void)
{
    struct vhost_burst *b = rig_burst();
    struct rig rig;
    uint16_t head;
    uint32_t len;
    unsigned int n = 0;
    long long int end;

    rig_open(&rig, "p", NULL);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), false), 0);
    CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), false), 0);
    CHECK(!vhost_port_vring_enabled(rig.port, 0));
    CHECK(!vhost_port_vring_enabled(rig.port, 1));
    CHECK(rig_vring(&rig, 1).started);
    CHECK(!rig_vring(&rig, 1).enabled);

    rig_post(&rig, 0, 1, 2048);
    CHECK(!rig_switch_send(&rig, 0, 60, 1, NULL));
    for (unsigned int i = 0; i < 100; i++) {
        CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, i));
    }
    fe_event_signal(RIG_TX(&rig, 0)->kick_fd);
    end = test_now_us() + 5000000;
    while (n < 100 && test_now_us() < end) {
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], b, 32), 0);
        while (fe_vq_used(RIG_TX(&rig, 0), &head, &len)) {
            n++;
        }
        test_sleep_us(100);
    }
    CHECK_EQ(n, 100);
    WAIT_FOR(rig_counter(&rig, 1, VHOST_C_DISCARDED) == 100);

    CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), true), 0);
    CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), true), 0);
    CHECK(vhost_port_vring_enabled(rig.port, 0));
    CHECK(vhost_port_vring_enabled(rig.port, 1));
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_DISCARDED), 100);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Four queue pairs: what a guest sends on one arrives there only; slots are
 * spread over the rings. */
static void
test_multiqueue(void)
{
    struct rig_config c = { .n_pairs = 4, .n_senders = 4 };
    struct virtio_net_hdr_mrg_rxbuf h;
    unsigned int per_ring[4] = { 0, 0, 0, 0 };
    struct rig rig;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_info(&rig).n_queue_pairs, 4);
    CHECK_EQ(rig_info(&rig).n_enabled_pairs, 4);
    CHECK_EQ(rig_info(&rig).n_vrings, 8);
    for (unsigned int p = 0; p < 4; p++) {
        rig_post(&rig, p, 4, 2048);
        CHECK(rig_guest_send(&rig, p, fe_alloc(&rig.fe, 0, 256, 64), 100 + p,
                             p));
    }
    for (unsigned int p = 0; p < 4; p++) {
        CHECK_EQ(rig_switch_recv(&rig, p, frame, sizeof frame, NULL),
                 100 + p);
        CHECK_PATTERN(frame, 100 + p, p);
        CHECK_EQ(rig_switch_recv(&rig, p, frame, sizeof frame, NULL), -1);
        CHECK(rig_switch_send(&rig, p, 200, 50 + p, NULL));
    }
    for (unsigned int p = 0; p < 4; p++) {
        while (fe_net_take(RIG_RX(&rig, p), &h, frame, sizeof frame, NULL,
                           NULL, 0) >= 0) {
            per_ring[p]++;
        }
        CHECK_EQ(per_ring[p], 1);
    }

    /* Slots of a disabled ring go to those that are left. */
    CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 1), false), 0);
    CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 3), false), 0);
    memset(per_ring, 0, sizeof per_ring);
    for (unsigned int s = 0; s < 4; s++) {
        CHECK(rig_switch_send(&rig, s, 200, s, NULL));
    }
    for (unsigned int p = 0; p < 4; p++) {
        while (fe_net_take(RIG_RX(&rig, p), &h, frame, sizeof frame, NULL,
                           NULL, 0) >= 0) {
            per_ring[p]++;
        }
    }
    CHECK_EQ(per_ring[0], 2);
    CHECK_EQ(per_ring[1], 0);
    CHECK_EQ(per_ring[2], 2);
    CHECK_EQ(per_ring[3], 0);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Without protocol features rings are enabled by their start. */
static void
test_no_protocol_features(void)
{
    struct rig_config c = { .features = FE_F_VERSION_1 | FE_F_MRG };
    struct rig rig;

    if (test_variant() & FE_F_IOMMU) {
        test_skip("a vIOMMU takes a protocol feature");
    }
    rig_open(&rig, "p", &c);
    CHECK(rig_vring(&rig, 0).enabled);
    CHECK(vhost_port_vring_enabled(rig.port, 1));
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* Rings and buffers at guest address 0 and at the top of the address space. */
static void
test_extreme_addresses(void)
{
    struct rig_config c = { 0 };
    struct rig rig;
    uint64_t top = UINT64_MAX - (1 << 20) + 1 - FE_PAGE;

    rig_create(&rig, "p", &c);
    fe_add_region(&rig.fe, 0, 1 << 20, 0x1000);
    fe_add_region(&rig.fe, top, 1 << 20, 0x7fffffe00000);
    fe_vq_init(RIG_RX(&rig, 0), &rig.fe, 0, 64, 0);
    fe_vq_init(RIG_TX(&rig, 0), &rig.fe, 1, 64, 1);
    CHECK_EQ(RIG_RX(&rig, 0)->desc_addr, 0);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    CHECK(rig_guest_send(&rig, 0, top + (1 << 20) - 1012, 1000, 3));
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 1000);
    CHECK_PATTERN(frame, 1000, 3);
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

const struct test_case ring_cases[] = {
    { "guest-to-switch", test_guest_to_switch, 0 },
    { "guest-to-switch-v1-plain", test_guest_to_switch_v1_plain, 0 },
    { "switch-to-guest", test_switch_to_guest, 0 },
    { "switch-to-guest-v1-plain", test_switch_to_guest_v1_plain, 0 },
    { "mergeable", test_mergeable, 0 },
    { "mergeable-too-big", test_mergeable_too_big, 0 },
    { "too-big", test_too_big, 0 },
    { "size-1", test_size_1, 0 },
    { "size-2", test_size_2, 0 },
    { "size-256-wrap", test_size_256_wrap, 0 },
    { "size-32768-wrap", test_size_32768_wrap, 0 },
    { "size-32768-full", test_size_32768_full, 0 },
    { "regions", test_regions, 0 },
    { "regions-of-one-file", test_regions_of_one_file, 0 },
    { "tmpfs", test_tmpfs, 0 },
    { "huge-pages", test_huge_pages, 0 },
    { "small-regions", test_small_regions, 0 },
    { "many-pieces", test_many_pieces, 0 },
    { "burst-of-pieces", test_burst_of_pieces, 0 },
    { "too-long", test_too_long, 0 },
    { "complete-fewer", test_complete_fewer, 0 },
    { "peek-max", test_peek_max, 0 },
    { "reserve-fewer", test_reserve_fewer, 0 },
    { "cut", test_cut, 0 },
    { "not-started", test_not_started, 0 },
    { "disabled", test_disabled, 0 },
    { "multiqueue", test_multiqueue, 0 },
    { "no-protocol-features", test_no_protocol_features, 0 },
    { "extreme-addresses", test_extreme_addresses, 0 },
};
const size_t n_ring_cases = N_ELEMS(ring_cases);
