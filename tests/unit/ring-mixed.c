/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Random traffic on rings of either format: see ring-cases.h.  Frames of many
 * lengths in chains and indirect tables of random shape, over many laps; the
 * switch takes and sends bursts of any length, gives back less than it saw and
 * sends less than it reserved.  Every frame has a number, by which length and
 * contents are known, and every buffer a token, which must come back once and
 * in order. */

#include "ring-cases.h"

#include <stdlib.h>
#include <string.h>

#define STRIDE 4096             /* Bytes of guest memory per buffer. */
#define MAX_LEN 3000
#define MAX_PIECES 6
#define TABLE 16                /* Entries of an indirect table. */
#define N_BUFS 256

struct mixed {
    struct rig rig;
    uint64_t rnd;
    unsigned int total;
    bool indirect;
    uint64_t tx_mem, rx_mem;
    unsigned int guest_sent, guest_freed;       /* From the guest. */
    unsigned int switch_got;
    unsigned int posted, returned;              /* Buffers for the guest. */
    unsigned int switch_sent, guest_got, too_big;
    unsigned int n_simple;                      /* Bursts. */
    bool *lost;                                 /* By number: too big. */
};

static uint8_t frames[VHOST_BURST][MAX_LEN + 1];

/* A number's frame: mostly short ones. */
static uint32_t
frame_len(unsigned int number)
{
    uint64_t rnd = number;
    uint64_t r = test_random(&rnd);

    return r % 4 ? r / 4 % 300 : r / 4 % (MAX_LEN + 1);
}

/* A number's header. */
static struct virtio_net_hdr
frame_header(unsigned int number)
{
    return (struct virtio_net_hdr) {
        .flags = number % 3 ? 0 : VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_size = number, .csum_start = number * 5, .csum_offset = ~number,
    };
}

/* Offers a header and what follows after 'gap' bytes, together 'len' bytes at
 * 'addr', in a random shape.  Returns false if the ring has no room for
 * that. */
static bool
offer(struct mixed *m, struct fe_vq *vq, uint64_t addr, uint32_t len,
      uint32_t gap, bool in, uint64_t token)
{
    unsigned int n = 1 + test_random(&m->rnd) % MAX_PIECES;
    unsigned int flags = 0, k = 0;
    struct fe_buf bufs[TABLE];

    if (m->indirect && test_random(&m->rnd) % 4 == 0) {
        flags = FE_INDIRECT;
    } else {
        /* Half of them are the usual kind. */
        n = test_random(&m->rnd) % 2 ? 1 : n < vq->size ? n : vq->size;
    }
    if (gap) {
        n = n > 2 ? n : 2;
    }
    if (gap || (n > 1 && test_random(&m->rnd) % 2)) {
        k = fe_split(bufs, addr, 12, 1 + test_random(&m->rnd) % (n - 1), in);
        addr += 12 + gap;
        len -= 12;
        n -= k;
    }
    k += fe_split(bufs + k, addr, len, n, in);
    return fe_vq_add(vq, bufs, k, flags, token) >= 0;
}

static void
guest_sends(struct mixed *m)
{
    unsigned int n = test_random(&m->rnd) % 40;

    for (; n && m->guest_sent < m->total
           && m->guest_sent - m->guest_freed < N_BUFS; n--) {
        uint64_t addr = m->tx_mem + m->guest_sent % N_BUFS * STRIDE;
        uint32_t len = frame_len(m->guest_sent);
        uint32_t gap = (len && m->rig.c.ring_size > 1
                        && test_random(&m->rnd) % 4 == 0 ? 20 : 0);
        struct virtio_net_hdr hdr = frame_header(m->guest_sent);

        addr += m->guest_sent % 61;
        pattern_fill(frames[0], len, m->guest_sent);
        fe_net_write(&m->rig.fe, addr, &hdr, frames[0], len);
        if (gap) {
            fe_write(&m->rig.fe, addr + 12 + gap, frames[0], len);
            fe_write(&m->rig.fe, addr + 12, &m->rnd, sizeof m->rnd);
        }
        if (!offer(m, RIG_TX(&m->rig, 0), addr, 12 + len, gap, false,
                   m->guest_sent)) {
            break;
        }
        m->guest_sent++;
    }
    fe_vq_publish(RIG_TX(&m->rig, 0));
}

static void
guest_posts(struct mixed *m)
{
    while (m->posted - m->returned < N_BUFS && test_random(&m->rnd) % 40) {
        uint64_t addr = m->rx_mem + m->posted % N_BUFS * STRIDE;
        uint32_t room = 12 + 52 + test_random(&m->rnd) % 1600;

        addr += m->posted % 61;
        if (!offer(m, RIG_RX(&m->rig, 0), addr, room, 0, true, m->posted)) {
            break;
        }
        m->posted++;
    }
    fe_vq_publish(RIG_RX(&m->rig, 0));
}

static void
switch_receives(struct mixed *m)
{
    struct vhost_burst *b = rig_burst();
    unsigned int max = 1 + test_random(&m->rnd) % VHOST_BURST;
    void *dst[VHOST_BURST];
    bool all = test_random(&m->rnd) % 2;
    bool offloads = false;
    unsigned int n;

    n = (all ? vhost_rxq_peek_simple(m->rig.rxqs[0], b, max)
         : vhost_rxq_peek(m->rig.rxqs[0], b, max));
    if (!n) {
        return;
    }
    CHECK_EQ(n, b->n);
    m->n_simple += b->simple;
    n = test_random(&m->rnd) % 4 ? n : test_random(&m->rnd) % (n + 1);
    for (unsigned int i = 0; i < n; i++) {
        CHECK_LE(vhost_burst_len(b, i), MAX_LEN);
        dst[i] = frames[i];
        frames[i][vhost_burst_len(b, i)] = 0xee;
        if (!all) {
            vhost_burst_read(b, i, dst[i]);
        }
    }
    if (all) {
        vhost_burst_read_all(b, dst, n);
    }
    for (unsigned int i = 0; i < n; i++, m->switch_got++) {
        uint32_t len = vhost_burst_len(b, i);

        CHECK_LE(b->min_len, len);
        CHECK_GE(b->max_len, len);
        CHECK_EQ(len, frame_len(m->switch_got));
        CHECK_PATTERN(frames[i], len, m->switch_got);
        CHECK_EQ(frames[i][len], 0xee);
        if (m->rig.c.features & FE_F_CSUM) {
            struct virtio_net_hdr hdr = frame_header(m->switch_got);

            CHECK(!memcmp(&b->pkts[i].hdr, &hdr, sizeof hdr));
            offloads |= hdr.flags != 0;
        }
    }
    CHECK(b->offloads || !offloads);
    if (test_random(&m->rnd) % 2) {
        vhost_rxq_complete_later(m->rig.rxqs[0], b, n);
    } else {
        vhost_rxq_complete(m->rig.rxqs[0], b, n);
    }
}

static void
switch_sends(struct mixed *m)
{
    struct vhost_burst *b = rig_burst();
    const void *src[VHOST_BURST];
    unsigned int n = 1 + test_random(&m->rnd) % VHOST_BURST;
    uint32_t lens[VHOST_BURST];
    enum vhost_reserve why;

    if (n > m->total - m->switch_sent) {
        n = m->total - m->switch_sent;
    }
    for (unsigned int i = 0; i < n; i++) {
        lens[i] = frame_len(m->switch_sent + i);
        pattern_fill(frames[i], lens[i], m->switch_sent + i);
        src[i] = frames[i];
    }
    if (!n) {
        return;
    }
    n = (test_random(&m->rnd) % 2
         ? vhost_sender_reserve(m->rig.senders[0], b, lens, n, false, &why)
         : vhost_sender_reserve_simple(m->rig.senders[0], b, lens, n, false,
                                       &why));
    if (!n) {
        CHECK_EQ(why, VHOST_R_FULL);
        return;
    }
    m->n_simple += b->simple;
    if (b->odd) {
        vhost_burst_expand(b);
        for (unsigned int i = 0; i < n; i++) {
            if (!b->pkts[i].n_buffers) {
                m->too_big++;
                m->lost[m->switch_sent + i] = true;
            } else {
                vhost_burst_write(b, i, src[i]);
            }
        }
    } else if (test_random(&m->rnd) % 2) {
        /* Some by the loop, the headers of the others by commit(). */
        unsigned int k = test_random(&m->rnd) % (n + 1);

        vhost_burst_write_all(b, src, k);
        vhost_burst_expand(b);
        for (unsigned int i = k; i < n; i++) {
            vhost_burst_write(b, i, src[i]);
        }
    } else {
        if (test_random(&m->rnd) % 4 == 0) {
            n = test_random(&m->rnd) % (n + 1);
            vhost_burst_cut(b, n);
        }
        vhost_burst_write_all(b, src, n);
    }
    vhost_sender_commit(m->rig.senders[0], b, false);
    m->switch_sent += n;
}

static void
guest_takes(struct mixed *m)
{
    struct fe_vq *rx = RIG_RX(&m->rig, 0), *tx = RIG_TX(&m->rig, 0);
    struct virtio_net_hdr_mrg_rxbuf h;
    uint16_t heads[64];
    unsigned int n;
    uint32_t len;
    long int got;

    while (fe_vq_used(tx, heads, &len)) {
        CHECK_EQ(tx->chains[heads[0]].token, m->guest_freed);
        CHECK_EQ(len, 0);
        m->guest_freed++;
    }
    while ((got = fe_net_take(rx, &h, frames[0], MAX_LEN, heads, &n,
                              N_ELEMS(heads))) >= 0) {
        while (m->lost[m->guest_got]) {
            m->guest_got++;
        }
        CHECK_EQ(got, frame_len(m->guest_got));
        CHECK_PATTERN(frames[0], got, m->guest_got);
        CHECK_EQ(h.num_buffers, n);
        for (unsigned int i = 0; i < n; i++) {
            CHECK_EQ(rx->chains[heads[i]].token, m->returned);
            m->returned++;
        }
        m->guest_got++;
    }
}

/* Nothing is on its way any more. */
static bool
is_done(const struct mixed *m)
{
    unsigned int got = m->guest_got;

    while (got < m->total && m->lost[got]) {
        got++;
    }
    return m->guest_freed == m->total && got == m->total;
}

void
ring_mixed(unsigned int size, unsigned int total)
{
    struct rig_config c = { .ring_size = size, .region_size = 64 << 20,
                            .features = RIG_FEATURES };
    static struct mixed m;
    struct fe_vq *vqs;

    if (size & 0x5555) {
        c.features |= FE_F_CSUM;        /* Headers say something. */
    }
    m.total = test_slow ? total / 4 : total;
    m.rnd = size;
    m.lost = calloc(m.total + 1, sizeof *m.lost);
    CHECK(m.lost != NULL);
    rig_open(&m.rig, "p", &c);
    m.indirect = m.rig.c.features & FE_F_INDIRECT;
    vqs = m.rig.vqs;
    fe_vq_use_indirect(&vqs[0], 0, TABLE);
    fe_vq_use_indirect(&vqs[1], 0, TABLE);
    m.tx_mem = fe_alloc(&m.rig.fe, 0, N_BUFS * STRIDE, 64);
    m.rx_mem = fe_alloc(&m.rig.fe, 0, N_BUFS * STRIDE, 64);
    for (unsigned int idle = 0; !is_done(&m); idle++) {
        unsigned int before = m.guest_freed + m.guest_got + m.posted;

        guest_sends(&m);
        guest_posts(&m);
        switch_receives(&m);
        switch_sends(&m);
        guest_takes(&m);
        if (m.guest_freed + m.guest_got + m.posted != before) {
            idle = 0;
        }
        CHECK_LT(idle, 1000);
    }
    test_part("%u frames each way, %u too big", m.total, m.too_big);
    CHECK_EQ(rig_counter(&m.rig, 0, VHOST_C_TOO_BIG), m.too_big);
    CHECK_LT(m.too_big, size < 16 ? m.total : 1);
    CHECK_GT(m.n_simple, 0);
    CHECK_EQ(m.switch_got, m.total);
    CHECK_EQ(rig_vring(&m.rig, 1).used_idx, (uint16_t) fe_vq_base(&vqs[1]));
    CHECK_EQ(rig_vring(&m.rig, 0).used_idx, (uint16_t) fe_vq_base(&vqs[0]));
    ring_check_no_errors(&m.rig);
    free(m.lost);
    rig_close(&m.rig);
}

static void
test_mixed_1(void)
{
    ring_mixed(1, 3000);
}

static void
test_mixed_2(void)
{
    ring_mixed(2, 6000);
}

static void
test_mixed_8(void)
{
    ring_mixed(8, 20000);
}

static void
test_mixed_256(void)
{
    ring_mixed(256, 60000);
}

static void
test_mixed_2048(void)
{
    ring_mixed(2048, 60000);
}

static void
test_mixed_32768(void)
{
    ring_mixed(32768, 100000);
}

const struct test_case ring_mixed_cases[] = {
    { "mixed-1", test_mixed_1, 0 },
    { "mixed-2", test_mixed_2, 0 },
    { "mixed-8", test_mixed_8, 0 },
    { "mixed-256", test_mixed_256, 0 },
    { "mixed-2048", test_mixed_2048, 0 },
    { "mixed-32768", test_mixed_32768, 0 },
};
const size_t n_ring_mixed_cases = N_ELEMS(ring_mixed_cases);
