/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of what changes under polling threads' feet: stops and restarts
 * of rings by every message that causes them, under traffic in both directions
 * from real threads.  No buffer may be used twice or get lost, and a thread
 * that stays inside a burst delays its own port and no other.  On split rings
 * and on packed ones, which are in order or not. */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rig.h"

#define MAX_FRAME 512

/* Frames carry a number and a pattern that follows from it. */
static size_t
make_frame(uint8_t *frame, uint64_t number)
{
    size_t len = 60 + number * 7 % 400;

    memcpy(frame, &number, sizeof number);
    pattern_fill(frame + 8, len - 8, number);
    return len;
}

static uint64_t
check_frame(const uint8_t *frame, size_t len)
{
    uint64_t number;

    CHECK_GE(len, 60);
    memcpy(&number, frame, sizeof number);
    CHECK_EQ(len, 60 + number * 7 % 400);
    CHECK_PATTERN(frame + 8, len - 8, number);
    return number;
}

/* Traffic over queue pair 0 of a rig: a guest's CPU and a polling thread. */
struct traffic {
    struct rig *rig;
    bool lossy;                 /* What the guest sends may be discarded. */
    uint64_t discarded;         /* Before this. */
    pthread_t guest, pmd;
    _Atomic bool pause;         /* Nothing new is sent. */
    _Atomic bool end;
    _Atomic uint64_t guest_sent, guest_freed, guest_got;
    _Atomic uint64_t switch_sent, switch_got;
    _Atomic uint64_t switch_missed;     /* Numbers that were skipped. */
    uint64_t tx_bufs, rx_bufs;
    unsigned int n_bufs;
};

/* Offers 'buf' in one descriptor or a few.  There is room for MAX_PIECES. */
#define MAX_PIECES 3

static void
offer_split(struct fe_vq *vq, const struct fe_buf *buf, uint64_t number)
{
    struct fe_buf bufs[MAX_PIECES];
    unsigned int n = number % 8 ? 1 : 2 + number / 8 % (MAX_PIECES - 1);

    n = fe_split(bufs, buf->addr, buf->len, n, buf->in);
    CHECK_GE(fe_vq_add(vq, bufs, n, 0, number), 0);
}

static void
guest_turn(struct traffic *t, unsigned int *tx_busy, unsigned int *rx_busy,
           uint64_t *posted)
{
    struct rig *rig = t->rig;
    struct fe_vq *rx = RIG_RX(rig, 0), *tx = RIG_TX(rig, 0);
    struct virtio_net_hdr_mrg_rxbuf h;
    uint8_t frame[MAX_FRAME];
    uint16_t head;
    uint32_t used_len;
    long int len;
    bool news = false;

    while (fe_vq_used(tx, &head, &used_len)) {
        --*tx_busy;
        atomic_fetch_add(&t->guest_freed, 1);
    }
    while ((len = fe_net_take(rx, &h, frame, sizeof frame, NULL, NULL, 0))
           >= 0) {
        uint64_t number = check_frame(frame, len);

        /* Each frame that was committed arrives once and in order. */
        CHECK_EQ(number, atomic_load(&t->guest_got));
        atomic_store(&t->guest_got, number + 1);
        --*rx_busy;
    }
    for (int i = 0; i < 24 && *tx_busy < t->n_bufs && !atomic_load(&t->pause)
                    && tx->n_free >= MAX_PIECES; i++) {
        uint64_t number = atomic_load(&t->guest_sent);
        struct fe_buf buf = {
            t->tx_bufs + number % t->n_bufs * (2 * MAX_FRAME), 0, false,
        };

        len = make_frame(frame, number);
        buf.len = len + fe_net_header_len(&rig->fe);
        fe_net_write(&rig->fe, buf.addr, NULL, frame, len);
        offer_split(tx, &buf, number);
        atomic_store(&t->guest_sent, number + 1);
        ++*tx_busy;
        news = true;
    }
    if (news) {
        fe_vq_publish(tx);
    }
    news = false;
    while (*rx_busy < t->n_bufs && rx->n_free >= MAX_PIECES) {
        struct fe_buf buf = {
            t->rx_bufs + *posted % t->n_bufs * (2 * MAX_FRAME),
            2 * MAX_FRAME, true,
        };

        offer_split(rx, &buf, (*posted)++);
        ++*rx_busy;
        news = true;
    }
    if (news) {
        fe_vq_publish(rx);
    }
}

static void *
guest_main(void *t_)
{
    struct traffic *t = t_;
    unsigned int tx_busy = 0, rx_busy = 0;
    uint64_t posted = 0;

    while (!atomic_load(&t->end)) {
        guest_turn(t, &tx_busy, &rx_busy, &posted);
        sched_yield();
    }
    return NULL;
}

static void
pmd_receive(struct traffic *t, uint64_t *rnd)
{
    struct vhost_burst *b = rig_burst();
    unsigned int n = vhost_rxq_peek(t->rig->rxqs[0], b, VHOST_BURST);
    unsigned int take;

    if (!n) {
        return;
    }
    take = test_random(rnd) % 4 ? n : test_random(rnd) % (n + 1);
    for (unsigned int i = 0; i < take; i++) {
        uint64_t expected = atomic_load(&t->switch_got), number;
        uint8_t frame[MAX_FRAME];

        CHECK_LE(b->pkts[i].len, sizeof frame);
        vhost_burst_read(b, i, frame);
        number = check_frame(frame, b->pkts[i].len);
        CHECK_GE(number, expected);
        atomic_fetch_add(&t->switch_missed, number - expected);
        atomic_store(&t->switch_got, number + 1);
    }
    if (test_random(rnd) % 64 == 0) {
        sched_yield();          /* Sometimes it is preempted inside. */
    }
    if (test_random(rnd) % 2) {
        vhost_rxq_complete_later(t->rig->rxqs[0], b, take);
    } else {
        vhost_rxq_complete(t->rig->rxqs[0], b, take);
    }
}

static void
pmd_send(struct traffic *t, uint64_t *rnd)
{
    struct vhost_burst *b = rig_burst();
    uint64_t number = atomic_load(&t->switch_sent);
    unsigned int n = 1 + test_random(rnd) % VHOST_BURST, got;
    uint8_t frames[VHOST_BURST][MAX_FRAME];
    uint32_t lens[VHOST_BURST];
    enum vhost_reserve why;

    if (atomic_load(&t->pause)) {
        return;
    }
    for (unsigned int i = 0; i < n; i++) {
        lens[i] = make_frame(frames[i], number + i);
    }
    got = vhost_sender_reserve(t->rig->senders[0], b, lens, n, false, &why);
    CHECK_LE(got, n);
    if (!got) {
        CHECK_NE(why, VHOST_R_OK);
        return;
    }
    for (unsigned int i = 0; i < got; i++) {
        CHECK(b->pkts[i].n_segs);
        vhost_burst_write(b, i, frames[i]);
        memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
    }
    if (test_random(rnd) % 64 == 0) {
        sched_yield();
    }
    vhost_sender_commit(t->rig->senders[0], b, false);
    atomic_store(&t->switch_sent, number + got);
}

static void *
pmd_main(void *t_)
{
    struct traffic *t = t_;
    uint64_t rnd = 3;

    while (!atomic_load(&t->end)) {
        pmd_receive(t, &rnd);
        pmd_send(t, &rnd);
        sched_yield();
    }
    return NULL;
}

static void
traffic_start(struct traffic *t, struct rig *rig, bool lossy)
{
    memset(t, 0, sizeof *t);
    t->rig = rig;
    t->lossy = lossy;
    t->discarded = rig_counter(rig, 1, VHOST_C_DISCARDED);
    t->n_bufs = rig->c.ring_size;
    t->tx_bufs = fe_alloc(&rig->fe, 0, t->n_bufs * 2 * MAX_FRAME, 64);
    t->rx_bufs = fe_alloc(&rig->fe, 0, t->n_bufs * 2 * MAX_FRAME, 64);
    CHECK(!pthread_create(&t->guest, NULL, guest_main, t));
    CHECK(!pthread_create(&t->pmd, NULL, pmd_main, t));
}

/* Waits until there was traffic both ways since now: it flows again. */
static void
traffic_flows(struct traffic *t)
{
    uint64_t a = atomic_load(&t->switch_got), b = atomic_load(&t->guest_got);

    WAIT_FOR(atomic_load(&t->switch_got) > a);
    WAIT_FOR(atomic_load(&t->guest_got) > b);
}

/* Ends it: everything that was sent must have arrived once, or been discarded
 * and counted. */
static void
traffic_end(struct traffic *t)
{
    uint64_t discarded;

    traffic_flows(t);
    atomic_store(&t->pause, true);
    WAIT_FOR(atomic_load(&t->guest_freed) == atomic_load(&t->guest_sent)
             && atomic_load(&t->guest_got) == atomic_load(&t->switch_sent));
    test_sleep_us(10000);
    atomic_store(&t->end, true);
    pthread_join(t->guest, NULL);
    pthread_join(t->pmd, NULL);
    CHECK_EQ(atomic_load(&t->guest_got), atomic_load(&t->switch_sent));
    discarded = rig_counter(t->rig, 1, VHOST_C_DISCARDED) - t->discarded;
    CHECK_EQ(discarded, atomic_load(&t->guest_sent)
                        - atomic_load(&t->switch_got)
                        + atomic_load(&t->switch_missed));
    if (!t->lossy && !test_slow) {
        /* With a sanitizer it may take so long to enable a ring after its
         * start that it is drained. */
        CHECK_EQ(discarded, 0);
    }
    CHECK_EQ(rig_all_guest_errors(t->rig), 0);
    test_part("%llu frames to the switch, %llu to the guest",
              (unsigned long long int) atomic_load(&t->switch_got),
              (unsigned long long int) atomic_load(&t->guest_got));
}

static bool
is_packed(const struct rig *rig)
{
    return rig->c.features & FE_F_PACKED;
}

/* Where the device is, by what the ring or the port says.  (The driver's book
 * belongs to the guest's thread.) */
static uint32_t
device_base(struct rig *rig, unsigned int idx)
{
    uint16_t pos = rig_vring(rig, idx).used_idx;

    return (is_packed(rig) ? fe_packed_base(pos & 0x7fff, pos >> 15)
            : fe_vq_published_used(&rig->vqs[idx]));
}

static void
restart_ring(struct rig *rig, unsigned int idx)
{
    uint32_t base = fe_vq_stop(&rig->vqs[idx]);

    /* What was taken was given back, and nothing happens from here on. */
    CHECK_EQ(base, device_base(rig, idx));
    sched_yield();
    CHECK_EQ(base, device_base(rig, idx));
    CHECK(!rig_vring(rig, idx).started);
    rig_start_ring(rig, idx, base);
}

/* Starts all rings after a connection that ended, or a reset.  A packed ring
 * does not tell where it was: with 'stale' the front end says what it said
 * the last time. */
static void
start_again(struct rig *rig, bool stale)
{
    for (unsigned int i = 0; i < 2 * rig->c.n_pairs; i++) {
        rig_start_ring(rig, i, (stale && is_packed(rig) ? rig->bases[i]
                                : device_base(rig, i)));
    }
}

/* 1000 restarts, sanitizers or not. */
#define N_RESTARTS 1000

static void
test_get_vring_base(void)
{
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        restart_ring(&rig, i % 2);
        if (i % 50 == 0) {
            test_part("restart %u", i);
            traffic_flows(&t);
        }
    }
    CHECK_GE(rig_info(&rig).n_stops, N_RESTARTS);
    traffic_end(&t);
    rig_close(&rig);
}

static void
test_vring_kick(void)
{
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        struct fe_vq *vq = &rig.vqs[i % 2];
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        close(vq->kick_fd);
        vq->kick_fd = fd;
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_KICK, vq->index, fd),
                 0);
        if (i % 50 == 0) {
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

static void
test_vring_call(void)
{
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, i % 2,
                                 i % 3 ? rig.vqs[i % 2].call_fd : -1), 0);
        if (i % 50 == 0) {
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

/* The memory table, with another region now and then. */
static void
test_mem_table(void)
{
    struct traffic t;
    struct rig rig;
    struct fe less;

    rig_open(&rig, "p", NULL);
    less = rig.fe;
    fe_add_region(&rig.fe, 0x70000000, 1 << 20, 0x123400000);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        const unsigned int n = 1 + i / 3 % 2;

        CHECK_EQ(fe_send_mem_table(n == 1 ? &less : &rig.fe), 0);
        CHECK_EQ(rig_info(&rig).n_regions, n);
        if (i % 50 == 0) {
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

static void
test_enable(void)
{
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    traffic_start(&t, &rig, true);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        CHECK_EQ(fe_vq_enable(&rig.vqs[i / 2 % 2], i % 2), 0);
        if (i % 2 == 0) {
            CHECK(!vhost_port_vring_enabled(rig.port, i / 2 % 2));
        }
        if (i % 50 == 49) {
            traffic_flows(&t);
        }
    }
    CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), true), 0);
    CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), true), 0);
    traffic_end(&t);
    rig_close(&rig);
}

static void
test_disconnect(void)
{
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS / 4; i++) {
        rig_disconnect(&rig);
        CHECK(!vhost_port_vring_enabled(rig.port, 0));
        rig_connect(&rig);
        start_again(&rig, i % 4 != 3);
        if (i % 20 == 0) {
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

/* Status 0, and RESET_OWNER. */
static void
test_reset(void)
{
    struct rig_config c = { .protocol = RIG_PROTOCOL | FE_P_STATUS };
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", &c);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS / 4; i++) {
        if (i % 2) {
            CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_STATUS, 0), 0);
        } else {
            CHECK_EQ(fe_ask(&rig.fe, FE_RESET_OWNER, NULL, 0), 0);
        }
        CHECK(!vhost_port_vring_enabled(rig.port, 0));
        start_again(&rig, false);
        if (i % 20 == 0) {
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

/* All of it in random order. */
static void
test_mixed(void)
{
    struct rig_config c = { .ring_size = 64 };
    struct traffic t;
    struct rig rig;
    uint64_t rnd = 17;

    rig_open(&rig, "p", &c);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        uint64_t r = test_random(&rnd);
        unsigned int idx = r >> 8 & 1;

        switch (r % 16) {
        case 0:
            rig_disconnect(&rig);
            rig_connect(&rig);
            start_again(&rig, r >> 9 & 1);
            break;
        case 1:
        case 2:
            CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
            break;
        case 3:
            CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), false), 0);
            CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), true), 0);
            break;
        case 4:
            CHECK_EQ(fe_vq_send_addr(&rig.vqs[idx]), 0);
            break;
        case 5:
            CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, idx,
                                     rig.vqs[idx].call_fd), 0);
            break;
        case 6:
            vhost_port_disconnect(rig.port);
            rig_disconnect(&rig);
            rig_connect(&rig);
            start_again(&rig, r >> 9 & 1);
            break;
        default:
            restart_ring(&rig, idx);
            break;
        }
        if (i % 100 == 0) {
            test_part("round %u", i);
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

/* Two queue pairs: one is stopped again and again, the other one's traffic
 * does not stop. */
static void
test_one_pair_of_two(void)
{
    struct rig_config c = { .n_pairs = 2, .n_senders = 2 };
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", &c);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < N_RESTARTS; i++) {
        restart_ring(&rig, 2 + i % 2);
        if (i % 100 == 0) {
            traffic_flows(&t);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

/* A polling thread that stays inside a burst. */
struct holder {
    struct rig *rig;
    bool sends;                 /* Between reserve() and commit(). */
    pthread_t thread;
    _Atomic bool inside, leave, left;
};

static void *
holder_main(void *h_)
{
    struct holder *h = h_;
    struct rig *rig = h->rig;
    struct vhost_burst *b = rig_burst();
    uint8_t frame[MAX_FRAME];
    uint32_t len = make_frame(frame, 77);
    enum vhost_reserve why;

    if (h->sends) {
        CHECK_EQ(vhost_sender_reserve(rig->senders[0], b, &len, 1, false,
                                      &why), 1);
    } else {
        CHECK_EQ(vhost_rxq_peek(rig->rxqs[0], b, 1), 1);
    }
    atomic_store(&h->inside, true);
    while (!atomic_load(&h->leave)) {
        test_sleep_us(500);
    }

    /* The memory must be there to the end, whatever the front end did. */
    if (h->sends) {
        vhost_burst_write(b, 0, frame);
        memset(&b->pkts[0].hdr, 0, sizeof b->pkts[0].hdr);
        atomic_store(&h->left, true);
        vhost_sender_commit(rig->senders[0], b, false);
    } else {
        vhost_burst_read(b, 0, frame);
        CHECK_EQ(b->pkts[0].len, 300);
        CHECK_PATTERN(frame, 300, 1234);
        atomic_store(&h->left, true);
        vhost_rxq_complete(rig->rxqs[0], b, 1);
    }
    return NULL;
}

static void
hold(struct holder *h, struct rig *rig, bool sends)
{
    memset(h, 0, sizeof *h);
    h->rig = rig;
    h->sends = sends;
    if (sends) {
        rig_post(rig, 0, 1, 2048);
    } else {
        CHECK(rig_guest_send(rig, 0, fe_alloc(&rig->fe, 0, 512, 64), 300,
                             1234));
    }
    CHECK(!pthread_create(&h->thread, NULL, holder_main, h));
    WAIT_FOR(atomic_load(&h->inside));
}

static void
let_go(struct holder *h)
{
    atomic_store(&h->leave, true);
    pthread_join(h->thread, NULL);
}

/* Other ports are served and can stop and start their rings. */
static void
check_served(struct rig *rig)
{
    long long int start = test_now_us();

    for (unsigned int i = 0; i < 20; i++) {
        CHECK(fe_alive(&rig->fe, 1000));
        restart_ring(rig, i % 2);
    }
    CHECK_EQ(fe_send_mem_table(&rig->fe), 0);
    rig_check_traffic(rig, 0);
    CHECK_LT(test_now_us() - start, test_slow ? 15000000 : 2000000);
}

static void
stuck(bool sends)
{
    enum { STOP, ENABLE, MEM_TABLE, CALL, ADDR, HANG_UP, N_KINDS };
    struct rig a, b;

    rig_open(&b, "other", NULL);
    for (unsigned int kind = 0; kind < N_KINDS; kind++) {
        unsigned int idx = sends ? 0 : 1;
        struct fe_vring_state state = { idx, 0 };
        struct fe_vq *vq;
        struct fe_header h;
        struct holder holder;
        uint8_t payload[64];
        uint64_t value = idx;
        uint32_t used;

        test_part("kind %u", kind);
        rig_open(&a, "stuck", NULL);
        vq = &a.vqs[idx];
        hold(&holder, &a, sends);
        used = fe_vq_base(vq);
        switch (kind) {
        case STOP:
            CHECK(fe_send(&a.fe, FE_GET_VRING_BASE, 0, &state, 8));
            break;
        case ENABLE:
            CHECK(fe_send(&a.fe, FE_SET_VRING_ENABLE, FE_NEED_REPLY, &state,
                          8));
            break;
        case MEM_TABLE: {
            struct fe_mem_table t = { .n = 1 };
            struct fe_region *r = fe_add_region(&a.fe, 0x70000000, 1 << 20,
                                                0x555500000);

            /* All the old memory goes. */
            t.regions[0] = (struct fe_mem_region) {
                r->guest_addr, r->size, r->user_addr, 0,
            };
            CHECK(fe_send_fds(&a.fe, FE_SET_MEM_TABLE, FE_NEED_REPLY, &t,
                              FE_MEM_TABLE_SIZE(1), &r->fd, 1));
            break;
        }
        case CALL:
            CHECK(fe_send_fds(&a.fe, FE_SET_VRING_CALL, FE_NEED_REPLY, &value,
                              8, &vq->call_fd, 1));
            break;
        case ADDR: {
            struct fe_vring_addr addr = {
                .index = idx,
                .desc = fe_user_addr(&a.fe, vq->desc_addr),
                .avail = fe_user_addr(&a.fe, vq->avail_addr),
                .used = fe_user_addr(&a.fe, vq->used_addr),
            };

            CHECK(fe_send(&a.fe, FE_SET_VRING_ADDR, FE_NEED_REPLY, &addr,
                          sizeof addr));
            break;
        }
        case HANG_UP:
            fe_hang_up(&a.fe);
            break;
        default:
            break;
        }

        /* It waits, and nobody else does. */
        if (kind == HANG_UP) {
            test_sleep_us(100000);
            CHECK_EQ(rig_info(&a).n_disconnects, 0);
        } else {
            CHECK_EQ(fe_receive(&a.fe, &h, payload, sizeof payload, 100),
                     FE_GOT_NOTHING);
        }
        check_served(&b);
        CHECK(rig_vring(&a, idx).size == 256);
        CHECK_EQ(fe_vq_base(vq), used);
        CHECK(!atomic_load(&holder.left));

        let_go(&holder);
        used += is_packed(&a) ? 0x10001 : 1;
        CHECK_EQ(fe_vq_base(vq), used);
        if (kind == HANG_UP) {
            WAIT_FOR(rig_info(&a).n_disconnects == 1);
        } else {
            CHECK_EQ(fe_receive(&a.fe, &h, payload, sizeof payload, 2000),
                     FE_GOT_MESSAGE);
            memcpy(&state, payload, sizeof state);
            if (kind == STOP) {
                CHECK_EQ(state.num, used);
            }
        }
        rig_close(&a);
    }
    rig_close(&b);
}

static void
test_stuck_receiver(void)
{
    stuck(false);
}

static void
test_stuck_sender(void)
{
    stuck(true);
}

/* A thread stuck in one ring does not keep others of its port from moving
 * packets. */
static void
test_stuck_other_ring(void)
{
    struct rig_config c = { .n_pairs = 2, .n_senders = 2 };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct holder holder;
    uint8_t frame[1024];
    struct rig rig;

    rig_open(&rig, "p", &c);
    hold(&holder, &rig, true);
    rig_post(&rig, 1, 1, 2048);
    CHECK(rig_switch_send(&rig, 1, 100, 1, NULL));
    CHECK_EQ(fe_net_take(RIG_RX(&rig, 1), &h, frame, sizeof frame, NULL, NULL,
                         0), 100);
    for (unsigned int pair = 0; pair < 2; pair++) {
        CHECK(rig_guest_send(&rig, pair, fe_alloc(&rig.fe, 0, 512, 64), 300,
                             5));
        CHECK_EQ(rig_switch_recv(&rig, pair, frame, sizeof frame, NULL), 300);
    }
    let_go(&holder);
    rig_close(&rig);
}

/* Several senders. */
#define MAX_SENDERS 8

struct sender_thread {
    struct rig *rig;
    unsigned int id;
    unsigned int slot;
    bool concurrent;
    unsigned int total;
    pthread_t thread;
};

static void *
sender_main(void *s_)
{
    struct sender_thread *s = s_;
    struct vhost_burst *b = rig_burst();
    unsigned int done = 0;
    uint64_t rnd = s->id;

    while (done < s->total) {
        unsigned int n = 1 + test_random(&rnd) % 8, got;
        uint8_t frames[8][MAX_FRAME];
        uint32_t lens[8];
        enum vhost_reserve why;

        if (n > s->total - done) {
            n = s->total - done;
        }
        for (unsigned int i = 0; i < n; i++) {
            lens[i] = make_frame(frames[i], (uint64_t) s->id << 32
                                            | (done + i));
        }
        got = vhost_sender_reserve(s->rig->senders[s->slot], b, lens, n,
                                   s->concurrent, &why);
        if (!got) {
            sched_yield();
            continue;
        }
        for (unsigned int i = 0; i < got; i++) {
            CHECK(b->pkts[i].n_segs);
            vhost_burst_write(b, i, frames[i]);
            memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
        }
        vhost_sender_commit(s->rig->senders[s->slot], b, s->concurrent);
        done += got;
    }
    return NULL;
}

/* 'n' threads send 'total' frames each over 'n_slots' slots; each frame
 * arrives once, those of one thread in order (unless their slot's ring stops
 * and they go by another one meanwhile). */
static void
many_senders(struct rig *rig, unsigned int n, unsigned int n_slots,
             unsigned int total, bool restarts)
{
    struct sender_thread threads[MAX_SENDERS];
    bool in_order = !restarts || rig->c.n_pairs == 1;
    bool *seen[MAX_SENDERS];
    unsigned int next[MAX_SENDERS] = { 0 };
    unsigned int arrived = 0, turns = 0;

    for (unsigned int i = 0; i < n; i++) {
        threads[i] = (struct sender_thread) {
            rig, i, i % n_slots, n > n_slots, total, 0,
        };
        seen[i] = calloc(total, sizeof *seen[i]);
        CHECK(seen[i] != NULL);
        CHECK(!pthread_create(&threads[i].thread, NULL, sender_main,
                              &threads[i]));
    }
    while (arrived < n * total) {
        for (unsigned int p = 0; p < rig->c.n_pairs; p++) {
            struct fe_vq *vq = RIG_RX(rig, p);
            struct virtio_net_hdr_mrg_rxbuf h;
            uint8_t frame[MAX_FRAME];
            uint16_t head;
            unsigned int n_heads;
            long int len;

            while ((len = fe_net_take(vq, &h, frame, sizeof frame, &head,
                                      &n_heads, 1)) >= 0) {
                uint64_t number = check_frame(frame, len);
                unsigned int id = number >> 32;
                struct fe_buf buf = vq->chains[head].bufs[0];

                CHECK_LT(id, n);
                CHECK_LT((uint32_t) number, total);
                CHECK(!seen[id][(uint32_t) number]);
                seen[id][(uint32_t) number] = true;
                if (in_order) {
                    CHECK_EQ((uint32_t) number, next[id]);
                }
                next[id]++;
                arrived++;
                CHECK_GE(fe_vq_add(vq, &buf, 1, 0, 0), 0);
            }
            fe_vq_publish(vq);
            if (restarts && ++turns % 16 == 0) {
                restart_ring(rig, 2 * p);
            }
        }
        sched_yield();
    }
    for (unsigned int i = 0; i < n; i++) {
        pthread_join(threads[i].thread, NULL);
        CHECK_EQ(next[i], total);
        free(seen[i]);
    }
    CHECK_EQ(rig_all_guest_errors(rig), 0);
}

static void
test_senders(void)
{
    struct rig_config c = { .n_senders = 4 };
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, 256, 1024);
    many_senders(&rig, 4, 4, 10000, false);
    many_senders(&rig, 4, 4, 3000, true);
    rig_close(&rig);
}

static void
test_senders_concurrent(void)
{
    struct rig_config c = { .n_senders = 1 };
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, 256, 1024);
    many_senders(&rig, 4, 1, 5000, false);
    many_senders(&rig, 4, 1, 2000, true);
    rig_set_senders(&rig, 2);
    many_senders(&rig, 6, 2, 3000, true);

    /* The ring is not shared, but when its slots are used concurrently. */
    CHECK_EQ(vhost_port_set_senders(rig.port, 2, 1), 0);
    rig.senders[0] = vhost_port_sender(rig.port, 0);
    rig.senders[1] = vhost_port_sender(rig.port, 1);
    many_senders(&rig, 1, 1, 1000, true);
    many_senders(&rig, 6, 2, 3000, true);
    rig_close(&rig);
}

/* Waiting for another sender is counted, on a ring that several slots share
 * and on a slot that several threads share; and never otherwise. */
static void
test_contention(void)
{
    for (unsigned int n_slots = 1; n_slots <= 2; n_slots++) {
        struct rig_config c = { .n_senders = n_slots };
        bool concurrent = n_slots == 1;
        struct rig rig;

        test_part("%u slots", n_slots);
        rig_open(&rig, "p", &c);
        rig_post(&rig, 0, 256, 1024);
        for (unsigned int i = 0; i < 20; i++) {
            CHECK(rig_switch_send(&rig, i % n_slots, 100, i, NULL));
        }
        CHECK_EQ(rig_counter(&rig, 0, VHOST_C_CONTENTION), 0);

        /* The other thread may come late; then once more. */
        for (unsigned int i = 0; i < 20; i++) {
            struct vhost_burst *b = rig_burst();
            struct sender_thread other = {
                &rig, 1, n_slots - 1, concurrent, 1, 0,
            };
            enum vhost_reserve why;
            uint32_t len = 100;

            CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, &len, 1,
                                          concurrent, &why), 1);
            CHECK(!pthread_create(&other.thread, NULL, sender_main, &other));
            test_sleep_us(20000);
            memset(&b->pkts[0].hdr, 0, sizeof b->pkts[0].hdr);
            vhost_sender_commit(rig.senders[0], b, concurrent);
            pthread_join(other.thread, NULL);
            if (rig_counter(&rig, 0, VHOST_C_CONTENTION)) {
                break;
            }
        }
        CHECK_GE(rig_counter(&rig, 0, VHOST_C_CONTENTION), 1);
        rig_close(&rig);
    }
}

/* The number of slots changes between bursts, with two receive rings. */
static void
test_senders_change(void)
{
    struct rig_config c = { .n_senders = 1, .n_pairs = 2 };
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, 200, 1024);
    rig_post(&rig, 1, 200, 1024);
    for (unsigned int i = 0; i < 30; i++) {
        unsigned int n = 1 + i * 5 % MAX_SENDERS;

        test_part("%u senders", n);
        rig_set_senders(&rig, n);
        many_senders(&rig, n, n, 200, i % 2);
    }
    CHECK_EQ(vhost_port_set_senders(rig.port, VHOST_MAX_SENDERS, 1), 0);
    CHECK(vhost_port_sender(rig.port, VHOST_MAX_SENDERS - 1) != NULL);
    CHECK_NE(vhost_port_set_senders(rig.port, VHOST_MAX_SENDERS + 1, 1), 0);
    CHECK_NE(vhost_port_set_senders(rig.port, 0, 0), 0);
    CHECK(vhost_port_sender(rig.port, VHOST_MAX_SENDERS - 1) != NULL);
    rig_close(&rig);
}

/* While the receiver polls, other threads take snapshots and the senders'
 * number changes. */
static void
test_control_under_traffic(void)
{
    struct traffic t;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    traffic_start(&t, &rig, false);
    for (unsigned int i = 0; i < 2000; i++) {
        struct vhost_region_info regions[2];
        struct vhost_vring_info v;

        CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
        CHECK_EQ(rig_info(&rig).n_queue_pairs, 1);
        CHECK(vhost_port_get_vring(rig.port, i % 2, &v));
        CHECK(v.started && v.enabled && !v.broken);
        CHECK_EQ(vhost_port_get_regions(rig.port, regions, 2), 1);
        vhost_rxq_backlog(rig.rxqs[0]);
        if (i % 100 == 0) {
            restart_ring(&rig, 0);
        }
    }
    traffic_end(&t);
    rig_close(&rig);
}

/* Each stop interrupts every polling thread, so one port may have only so
 * many of them: a guest that toggles as fast as it can is slowed down, and
 * nobody else is. */
static void
test_budget(void)
{
    const unsigned int n = 8000;
    unsigned int sent = 0, pause = 0;
    long long int start, took;
    uint64_t stops;
    struct rig a, b;

    rig_open(&a, "toggles", NULL);
    rig_open(&b, "other", NULL);
    stops = rig_info(&a).n_stops;
    start = test_now_us();
    while (sent < n) {
        struct fe_vring_state state = { 1, sent % 2 };

        CHECK(fe_send(&a.fe, FE_SET_VRING_ENABLE, 0, &state, 8));
        sent++;
        if (++pause % 500 == 0) {
            CHECK(fe_alive(&b.fe, 1000));
            restart_ring(&b, pause / 500 % 2);
        }
    }
    fe_sync(&a.fe);
    took = test_now_us() - start;
    stops = rig_info(&a).n_stops - stops;
    CHECK_GE(stops, n / 4);
    test_part("%llu stops in %lld ms", (unsigned long long int) stops,
              took / 1000);
    /* 2000 at once and 1000 a second, more or less. */
    CHECK_LE(stops, 2000 + took / 1000 + 200);
    rig_check_traffic(&b, 0);
    rig_close(&b);
    rig_close(&a);
}

/* Ports that end in the middle of something. */
static void
test_destroy_in_between(void)
{
    for (unsigned int i = 0; i < 60; i++) {
        struct rig_config c = { .n_regions = 4, .region_size = 4 << 20 };
        struct fe_vring_state state = { 1, 0 };
        struct rig rig;

        c.role = i & 1 ? VHOST_CLIENT : VHOST_SERVER;
        rig_open(&rig, "p", &c);
        rig.fe.protocol &= ~FE_P_REPLY_ACK;
        switch (i % 4) {
        case 0:
            /* The worker maps memory for nobody. */
            fe_free_regions(&rig.fe);
            for (unsigned int k = 0; k < 8; k++) {
                fe_add_region(&rig.fe, 0x10000000 * (k + 1), 1 << 20,
                              0x500000000 + 0x10000000 * k);
            }
            {
                struct fe_mem_table t = { .n = 8 };
                int fds[8];

                for (unsigned int k = 0; k < 8; k++) {
                    struct fe_region *r = &rig.fe.regions[k];

                    t.regions[k] = (struct fe_mem_region) {
                        r->guest_addr, r->size, r->user_addr, 0,
                    };
                    fds[k] = r->fd;
                }
                CHECK(fe_send_fds(&rig.fe, FE_SET_MEM_TABLE, 0, &t,
                                  FE_MEM_TABLE_SIZE(8), fds, 8));
            }
            break;
        case 1:
            CHECK(fe_send(&rig.fe, FE_GET_VRING_BASE, 0, &state, 8));
            break;
        case 2:
            fe_hang_up(&rig.fe);
            break;
        case 3:
            CHECK(fe_send_bytes(&rig.fe, &state, 4, &rig.vqs[0].kick_fd, 1));
            break;
        default:
            break;
        }
        if (i % 3 == 0) {
            test_sleep_us(i * 20);
        }
        rig_close(&rig);
    }
}

static const struct test_case cases[] = {
    { "get-vring-base", test_get_vring_base, 0 },
    { "vring-kick", test_vring_kick, 0 },
    { "vring-call", test_vring_call, 0 },
    { "mem-table", test_mem_table, 0 },
    { "enable", test_enable, 0 },
    { "disconnect", test_disconnect, 0 },
    { "reset", test_reset, 0 },
    { "mixed", test_mixed, 0 },
    { "one-pair-of-two", test_one_pair_of_two, 0 },
    { "stuck-receiver", test_stuck_receiver, 0 },
    { "stuck-sender", test_stuck_sender, 0 },
    { "stuck-other-ring", test_stuck_other_ring, 0 },
    { "senders", test_senders, 0 },
    { "senders-concurrent", test_senders_concurrent, 0 },
    { "contention", test_contention, 0 },
    { "senders-change", test_senders_change, 0 },
    { "control-under-traffic", test_control_under_traffic, 0 },
    { "budget", test_budget, 0 },
    { "destroy-in-between", test_destroy_in_between, 0 },
};

int
main(int argc, char *argv[])
{
    return rig_main(argc, argv, cases, N_ELEMS(cases));
}
