/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests with a front end that takes away what it had shared: memory files
 * that shrink, eventfds that block or storm.  The process lives on, that port
 * alone suffers, and no thread waits. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rig.h"

static uint8_t frame[65536];

/* The guest's rings are in region 0, which stays; its buffers in region 1,
 * which can be truncated (the case's own thread never touches it after). */
static void
open_rig(struct rig *rig, const char *name)
{
    struct rig_config c = {
        .n_regions = 2, .region_size = 1 << 20, .unsealable = true,
    };

    CHECK_EQ(vhost_sigbus_install(), 0);
    rig_open(rig, name, &c);
}

static uint64_t
data_addr(struct rig *rig)
{
    return rig->fe.regions[1].guest_addr;
}

/* Offers 'n' buffers of 2048 bytes in region 1. */
static void
offer_data(struct rig *rig, unsigned int idx, unsigned int n)
{
    static unsigned int next;
    struct fe_vq *vq = &rig->vqs[idx];

    for (unsigned int i = 0; i < n; i++) {
        struct fe_buf buf = { data_addr(rig) + next++ % 512 * 2048, 2048,
                              !(idx & 1) };

        if (fe_vq_add(vq, &buf, 1, 0, 0) < 0) {
            break;
        }
    }
    fe_vq_publish(vq);
}

/* The port has lost its front end because of a fault of ring 'idx'; both it
 * and 'other' work afterwards. */
static void
check_aftermath(struct rig *rig, unsigned int idx, struct rig *other)
{
    WAIT_FOR(rig_info(rig).n_disconnects == 1
             || rig_vring(rig, idx).broken);
    CHECK_EQ(rig_counter(rig, idx, VHOST_C_FAULT), 1);
    CHECK_EQ(rig_guest_errors(rig, idx), 1);
    WAIT_FOR(rig_info(rig).error[0]);
    for (unsigned int i = 0; i < 50; i++) {
        enum vhost_reserve why;
        uint32_t len = 60;

        CHECK_EQ(vhost_rxq_peek(rig->rxqs[0], rig_burst(), 32) * (idx == 1),
                 0);
        if (idx == 0) {
            CHECK_EQ(vhost_sender_reserve(rig->senders[0], rig_burst(), &len,
                                          1, false, &why), 0);
        }
    }
    rig_check_traffic(other, 0);
    CHECK(fe_alive(&other->fe, 2000));
    CHECK_EQ(rig_info(other).n_disconnects, 0);

    /* A new front end with new memory. */
    fe_hang_up(&rig->fe);
    WAIT_FOR(rig_info(rig).n_disconnects == 1);
    rig_free_guest(rig);
    rig_connect(rig);
    rig_start(rig);
    rig_check_traffic(rig, 0);
    CHECK_EQ(rig_counter(rig, idx, VHOST_C_FAULT), 1);
}

/* Deterministic: the memory goes while a polling thread is inside a burst. */
static void
test_truncate_read(void)
{
    struct vhost_burst *b = rig_burst();
    struct rig rig, other;
    unsigned int n;

    open_rig(&rig, "p");
    rig_open(&other, "other", NULL);
    offer_data(&rig, 1, 20);
    n = vhost_rxq_peek(rig.rxqs[0], b, 32);
    CHECK_EQ(n, 20);
    CHECK_EQ(ftruncate(rig.fe.regions[1].fd, 0), 0);
    for (unsigned int i = 0; i < n; i++) {
        CHECK_EQ(b->pkts[i].len, 2036);
        memset(frame, 0xee, 2036);
        vhost_burst_read(b, i, frame);
        for (unsigned int k = 0; k < 2036; k++) {
            CHECK_EQ(frame[k], 0);
        }
    }
    vhost_rxq_complete(rig.rxqs[0], b, n);
    check_aftermath(&rig, 1, &other);
    rig_close(&other);
    rig_close(&rig);
}

/* The header is what peek() itself reads. */
static void
test_truncate_before_peek(void)
{
    struct rig rig, other;

    open_rig(&rig, "p");
    rig_open(&other, "other", NULL);
    offer_data(&rig, 1, 20);
    CHECK_EQ(ftruncate(rig.fe.regions[1].fd, 0), 0);
    for (unsigned int i = 0; i < 3; i++) {
        unsigned int n = vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32);

        for (unsigned int k = 0; k < n; k++) {
            vhost_burst_read(rig_burst(), k, frame);
        }
        if (n) {
            vhost_rxq_complete(rig.rxqs[0], rig_burst(), n);
        }
    }
    check_aftermath(&rig, 1, &other);
    rig_close(&other);
    rig_close(&rig);
}

static void
test_truncate_write(void)
{
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    struct rig rig, other;
    uint32_t lens[10];

    open_rig(&rig, "p");
    rig_open(&other, "other", NULL);
    for (unsigned int i = 0; i < 10; i++) {
        lens[i] = 1500;
    }
    offer_data(&rig, 0, 20);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], b, lens, 10, false, &why),
             10);
    CHECK_EQ(ftruncate(rig.fe.regions[1].fd, 0), 0);
    for (unsigned int i = 0; i < 10; i++) {
        vhost_burst_write(b, i, frame);
        memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
    }
    vhost_sender_commit(rig.senders[0], b, false);
    check_aftermath(&rig, 0, &other);
    rig_close(&other);
    rig_close(&rig);
}

/* The rings themselves go.  From then on this thread must not look at them. */
static void
test_truncate_rings(void)
{
    for (unsigned int idx = 0; idx < 2; idx++) {
        enum vhost_reserve why;
        struct rig rig, other;
        uint32_t len = 60;

        test_part("ring %u", idx);
        open_rig(&rig, "p");
        rig_open(&other, "other", NULL);
        offer_data(&rig, 0, 20);
        offer_data(&rig, 1, 20);
        CHECK_EQ(ftruncate(rig.fe.regions[0].fd, 0), 0);
        for (unsigned int i = 0; i < 3; i++) {
            if (idx) {
                CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
            } else {
                CHECK_EQ(vhost_sender_reserve(rig.senders[0], rig_burst(),
                                              &len, 1, false, &why), 0);
            }
        }
        check_aftermath(&rig, idx, &other);
        rig_close(&other);
        rig_close(&rig);
    }
}

/* And during a burst: between peek() and complete(). */
static void
test_truncate_rings_in_burst(void)
{
    struct rig rig, other;
    unsigned int n;

    open_rig(&rig, "p");
    rig_open(&other, "other", NULL);
    offer_data(&rig, 1, 20);
    n = vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32);
    CHECK_EQ(n, 20);
    CHECK_EQ(ftruncate(rig.fe.regions[0].fd, 0), 0);
    vhost_rxq_complete(rig.rxqs[0], rig_burst(), n);
    check_aftermath(&rig, 1, &other);
    rig_close(&other);
    rig_close(&rig);
}

/* The event thread meets it: a ring starts in memory that has gone. */
static void
test_truncate_before_start(void)
{
    struct rig_config c = {
        .n_regions = 1, .region_size = 1 << 20, .unsealable = true,
    };
    struct rig rig, other;
    struct fe_header h;
    uint64_t value;

    CHECK_EQ(vhost_sigbus_install(), 0);
    rig_open(&other, "other", NULL);
    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 256), 0);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_BASE, 1, 0), 0);
    CHECK_EQ(fe_vq_send_addr(RIG_TX(&rig, 0)), 0);
    CHECK_EQ(ftruncate(rig.fe.regions[0].fd, 0), 0);
    value = 1;
    CHECK(fe_send_fds(&rig.fe, FE_SET_VRING_KICK, FE_NEED_REPLY, &value, 8,
                      &RIG_TX(&rig, 0)->kick_fd, 1));
    fe_receive(&rig.fe, &h, &value, 8, 2000);
    fe_send(&rig.fe, FE_SET_VRING_ENABLE, FE_NEED_REPLY,
            &(struct fe_vring_state) { 1, 1 }, 8);
    fe_receive(&rig.fe, &h, &value, 8, 2000);
    for (unsigned int i = 0; i < 100; i++) {
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
        test_sleep_us(200);
    }
    rig_check_traffic(&other, 0);
    fe_hang_up(&rig.fe);
    WAIT_FOR(rig_info(&rig).n_disconnects == 1);
    rig_free_guest(&rig);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
    rig_close(&other);
}

/* The event thread again: it drains a disabled ring. */
static void
test_truncate_disabled(void)
{
    struct rig rig, other;

    open_rig(&rig, "p");
    rig_open(&other, "other", NULL);
    CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), false), 0);
    offer_data(&rig, 1, 20);
    CHECK_EQ(ftruncate(rig.fe.regions[1].fd, 0), 0);
    fe_event_signal(RIG_TX(&rig, 0)->kick_fd);
    WAIT_FOR(rig_counter(&rig, 1, VHOST_C_FAULT) == 1);
    check_aftermath(&rig, 1, &other);
    rig_close(&other);
    rig_close(&rig);
}

/* A polling thread at full speed, truncated at some moment. */
struct poller {
    struct rig *rig;
    pthread_t thread;
    _Atomic bool end;
    _Atomic uint64_t n;
};

static void *
poller_main(void *p_)
{
    struct poller *p = p_;
    struct rig *rig = p->rig;
    struct vhost_burst *b = rig_burst();
    static __thread uint8_t buf[2048];

    while (!atomic_load(&p->end)) {
        uint32_t lens[8] = { 1500, 60, 1500, 60, 1500, 60, 1500, 60 };
        enum vhost_reserve why;
        unsigned int n = vhost_rxq_peek(rig->rxqs[0], b, 32);

        for (unsigned int i = 0; i < n; i++) {
            CHECK_LE(b->pkts[i].len, sizeof buf);
            vhost_burst_read(b, i, buf);
        }
        if (n) {
            vhost_rxq_complete(rig->rxqs[0], b, n);
            atomic_fetch_add(&p->n, n);
        }
        n = vhost_sender_reserve(rig->senders[0], b, lens, 8, false, &why);
        for (unsigned int i = 0; i < n; i++) {
            vhost_burst_write(b, i, buf);
            memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
        }
        if (n) {
            vhost_sender_commit(rig->senders[0], b, false);
            atomic_fetch_add(&p->n, n);
        }
        sched_yield();
    }
    return NULL;
}

static void
poller_start(struct poller *p, struct rig *rig)
{
    memset(p, 0, sizeof *p);
    p->rig = rig;
    CHECK(!pthread_create(&p->thread, NULL, poller_main, p));
}

static void
poller_end(struct poller *p)
{
    atomic_store(&p->end, true);
    pthread_join(p->thread, NULL);
}

static void
test_truncate_under_traffic(void)
{
    struct rig rig, other;
    uint64_t rnd = 5;

    rig_open(&other, "other", NULL);
    for (unsigned int round = 0; round < 40; round++) {
        struct poller p;
        long long int end;
        uint64_t faults;

        test_part("round %u", round);
        open_rig(&rig, "p");
        poller_start(&p, &rig);
        end = test_now_us() + 500 + test_random(&rnd) % 3000;
        for (unsigned int turn = 0; ; turn++) {
            uint16_t head;
            uint32_t len;

            if (turn && test_now_us() > end) {
                if (end) {
                    /* Parts of it, then all. */
                    CHECK_EQ(ftruncate(rig.fe.regions[1].fd,
                                       round % 3 * 256 << 10), 0);
                    end = 0;
                    WAIT_FOR(atomic_load(&p.n) > 0);
                } else if (rig_info(&rig).n_disconnects == 1) {
                    break;
                }
            }
            while (fe_vq_used(RIG_TX(&rig, 0), &head, &len)) {
                continue;
            }
            while (fe_vq_used(RIG_RX(&rig, 0), &head, &len)) {
                continue;
            }
            offer_data(&rig, 0, 256);
            offer_data(&rig, 1, 256);
            sched_yield();
        }
        CHECK_LE(rig_info(&rig).n_protocol_errors, 1);
        poller_end(&p);
        faults = rig_counter(&rig, 0, VHOST_C_FAULT)
                 + rig_counter(&rig, 1, VHOST_C_FAULT);
        CHECK_GE(faults, 1);
        CHECK_LE(faults, 2);
        CHECK_EQ(rig_all_guest_errors(&rig), faults);
        CHECK(fe_alive(&other.fe, 2000));
        rig_close(&rig);
    }
    rig_check_traffic(&other, 0);
    CHECK_EQ(rig_all_guest_errors(&other), 0);
    rig_close(&other);
}

/* Memory that would let itself be sealed is left alone: setting a seal takes a
 * lock that the front end can hold. */
static void
test_seals(void)
{
    struct rig rig;
    int fd;

    rig_open(&rig, "p", NULL);
    fd = rig.fe.regions[0].fd;
    CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* A front end that has sealed its memory itself, before or afterwards. */
static void
test_front_end_seals(void)
{
    struct rig rig;
    int fd;

    rig_create(&rig, "p", NULL);
    fd = fe_memfd(16 << 20, MFD_ALLOW_SEALING);
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW
                   | F_SEAL_SEAL), 0);
    fe_add_region_fd(&rig.fe, 0x100000, 16 << 20, 0x7f5500000000, fd, 0);
    fe_vq_init(RIG_RX(&rig, 0), &rig.fe, 0, 256, 0);
    fe_vq_init(RIG_TX(&rig, 0), &rig.fe, 1, 256, 0);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_disconnect(&rig);
    rig_free_guest(&rig);

    /* Seals while it is in use. */
    rig_connect(&rig);
    rig_start(&rig);
    fd = rig.fe.regions[0].fd;
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* SIGBUS elsewhere is none of our business. */
static sigjmp_buf jump;
static volatile sig_atomic_t n_foreign;

static void
foreign_handler(int signum)
{
    (void) signum;
    n_foreign++;
    siglongjmp(jump, 1);
}

static void
test_foreign_sigbus(void)
{
    struct sigaction action = { .sa_handler = foreign_handler };
    volatile uint8_t *p;
    struct rig rig, other;
    int fd = fe_memfd(FE_PAGE, 0);

    sigemptyset(&action.sa_mask);
    CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
    CHECK_EQ(vhost_sigbus_install(), 0);
    CHECK_EQ(vhost_sigbus_install(), 0);        /* Again: not its own. */
    open_rig(&rig, "p");

    p = mmap(NULL, FE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK_EQ(ftruncate(fd, 0), 0);
    if (!sigsetjmp(jump, 1)) {
        frame[0] = *p;
        test_fail(__FILE__, __LINE__, "no SIGBUS");
    }
    CHECK_EQ(n_foreign, 1);

    /* Inside a burst too. */
    offer_data(&rig, 1, 1);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 1);
    if (!sigsetjmp(jump, 1)) {
        frame[0] = *p;
        test_fail(__FILE__, __LINE__, "no SIGBUS");
    }
    CHECK_EQ(n_foreign, 2);
    vhost_rxq_complete(rig.rxqs[0], rig_burst(), 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    /* A signal that somebody sends. */
    if (!sigsetjmp(jump, 1)) {
        raise(SIGBUS);
        test_fail(__FILE__, __LINE__, "no SIGBUS");
    }
    CHECK_EQ(n_foreign, 3);

    /* A library puts its own handler in the place of ours. */
    CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
    CHECK_EQ(vhost_sigbus_install(), 0);
    rig_open(&other, "other", NULL);
    offer_data(&rig, 1, 1);
    CHECK_EQ(ftruncate(rig.fe.regions[1].fd, 0), 0);
    for (unsigned int i = 0; i < 2; i++) {
        unsigned int n = vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32);

        if (n) {
            vhost_burst_read(rig_burst(), 0, frame);
            vhost_rxq_complete(rig.rxqs[0], rig_burst(), n);
        }
    }
    check_aftermath(&rig, 1, &other);
    CHECK_EQ(n_foreign, 3);
    munmap((void *) p, FE_PAGE);
    close(fd);
    rig_close(&rig);
    rig_close(&other);
}

/* Eventfds. */

/* Makes 'fd' one whose next write would block for ever. */
static void
make_blocking(int fd)
{
    uint64_t full = UINT64_MAX - 1;
    int flags = fcntl(fd, F_GETFL);

    fe_event_take(fd);
    CHECK_EQ(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
    CHECK_EQ(write(fd, &full, sizeof full), sizeof full);
    CHECK_EQ(poll(&(struct pollfd) { .fd = fd, .events = POLLOUT }, 1, 0), 0);
}

/* Sends to the guest and receives from it, 'n' times, with calls. */
static void
exercise(struct rig *rig, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        struct virtio_net_hdr_mrg_rxbuf h;
        uint16_t head;
        uint32_t len;
        struct fe_buf buf = { data_addr(rig), 2048, true };

        CHECK_GE(fe_vq_add(RIG_RX(rig, 0), &buf, 1, 0, 0), 0);
        fe_vq_publish(RIG_RX(rig, 0));
        CHECK(rig_switch_send(rig, 0, 500, i, NULL));
        CHECK_EQ(fe_net_take(RIG_RX(rig, 0), &h, frame, sizeof frame, NULL,
                             NULL, 0), 500);
        CHECK(rig_guest_send(rig, 0, data_addr(rig) + 4096, 500, i));
        CHECK_EQ(rig_switch_recv(rig, 0, frame, sizeof frame, NULL), 500);
        CHECK(fe_vq_used(RIG_TX(rig, 0), &head, &len));
    }
}

static struct rig_config
no_event_idx(void)
{
    struct rig_config c = {
        .features = RIG_FEATURES & ~FE_F_EVENT_IDX,
        .n_regions = 2,
        .region_size = 1 << 20,
    };

    return c;
}

/* A thread that does 'exercise', so that a case can see that it ends. */
struct exerciser {
    struct rig *rig;
    pthread_t thread;
    _Atomic bool done;
};

static void *
exerciser_main(void *e_)
{
    struct exerciser *e = e_;

    exercise(e->rig, 200);
    atomic_store(&e->done, true);
    return NULL;
}

static void
test_blocking_call_fd(void)
{
    struct rig_config c = no_event_idx();
    struct rig rig, other;
    struct exerciser e;
    long long int start;
    uint64_t calls;

    rig_open(&rig, "p", &c);
    rig_open(&other, "other", &c);
    exercise(&rig, 1);
    make_blocking(RIG_RX(&rig, 0)->call_fd);
    make_blocking(RIG_TX(&rig, 0)->call_fd);

    test_part("the polling thread");
    memset(&e, 0, sizeof e);
    e.rig = &rig;
    CHECK(!pthread_create(&e.thread, NULL, exerciser_main, &e));
    WAIT_FOR_MS(atomic_load(&e.done), 3000);
    pthread_join(e.thread, NULL);

    test_part("the event thread");
    start = test_now_us();
    for (unsigned int i = 0; i < 20; i++) {
        CHECK(fe_alive(&other.fe, 1000));
        CHECK(fe_vq_stop(&other.vqs[i % 2]) < 65536);
        fe_vq_start(&other.vqs[i % 2],
                    fe_vq_published_used(&other.vqs[i % 2]), true);
    }
    CHECK_LT(test_now_us() - start, 2000000);

    test_part("the other port is notified");
    calls = fe_event_take(RIG_RX(&other, 0)->call_fd);
    exercise(&other, 10);
    for (calls = 0; calls < 10;) {
        CHECK(fe_event_wait(RIG_RX(&other, 0)->call_fd, 1000));
        calls += fe_event_take(RIG_RX(&other, 0)->call_fd);
    }
    CHECK_EQ(calls, 10);

    test_part("starting a ring, whose guest is called");
    if (rig_info(&rig).n_disconnects) {
        /* Such a front end may be thrown out. */
        rig_disconnect(&rig);
        rig_connect(&rig);
        rig_start(&rig);
    }
    for (unsigned int i = 0; i < 2; i++) {
        fe_vq_start(&rig.vqs[i], fe_vq_stop(&rig.vqs[i]), true);
    }
    CHECK(fe_alive(&other.fe, 1000));
    exercise(&rig, 1);

    test_part("the error eventfd");
    make_blocking(RIG_TX(&rig, 0)->err_fd);
    fe_vq_avail_raw(RIG_TX(&rig, 0), 9999);
    fe_vq_publish(RIG_TX(&rig, 0));
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
    WAIT_FOR(rig_info(&rig).error[0]);
    CHECK(fe_alive(&other.fe, 1000));
    rig_check_traffic(&other, 0);

    /* Nobody waits for it to the end. */
    rig_close(&other);
    rig_close(&rig);
}

/* Nothing that is behind a call descriptor is read by anybody but the guest:
 * a full counter stays as it is or is more, and is never emptied. */
static void
test_call_counts(void)
{
    struct rig_config c = no_event_idx();
    struct rig rig;
    uint64_t n;

    rig_open(&rig, "p", &c);
    exercise(&rig, 1);
    fe_event_take(RIG_RX(&rig, 0)->call_fd);
    n = rig_counter(&rig, 0, VHOST_C_NOTIFICATIONS);
    exercise(&rig, 100);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_NOTIFICATIONS) - n, 100);
    WAIT_FOR(fe_event_wait(RIG_RX(&rig, 0)->call_fd, 0));
    CHECK_EQ(fe_event_take(RIG_RX(&rig, 0)->call_fd), 100);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_NOTIFY_ERRORS), 0);
    rig_close(&rig);
}

/* EFD_SEMAPHORE ones are eventfds as well. */
static void
test_semaphore_call_fd(void)
{
    struct rig_config c = no_event_idx();
    struct rig rig;

    rig_open(&rig, "p", &c);
    close(RIG_RX(&rig, 0)->call_fd);
    RIG_RX(&rig, 0)->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK
                                          | EFD_SEMAPHORE);
    CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0,
                             RIG_RX(&rig, 0)->call_fd), 0);
    exercise(&rig, 5);
    for (unsigned int i = 0; i < 5; i++) {
        CHECK(fe_event_wait(RIG_RX(&rig, 0)->call_fd, 1000));
        CHECK_EQ(fe_event_take(RIG_RX(&rig, 0)->call_fd), 1);
    }
    rig_close(&rig);
}

/* Somebody kicks as fast as possible, enabled ring or not. */
struct storm {
    int fds[2];
    pthread_t thread;
    _Atomic bool end;
};

static void *
storm_main(void *s_)
{
    struct storm *s = s_;

    while (!atomic_load(&s->end)) {
        for (unsigned int i = 0; i < 100; i++) {
            uint64_t one = 1;

            if (write(s->fds[i % 2], &one, sizeof one) < 0) {
                CHECK_EQ(errno, EAGAIN);
            }
        }
    }
    return NULL;
}

static void
test_kick_storm(void)
{
    struct rig rig, other;
    struct storm s = { .end = false };
    uint16_t head;
    uint32_t len;

    rig_open(&rig, "p", NULL);
    rig_open(&other, "other", NULL);
    s.fds[0] = RIG_RX(&rig, 0)->kick_fd;
    s.fds[1] = RIG_TX(&rig, 0)->kick_fd;
    CHECK(!pthread_create(&s.thread, NULL, storm_main, &s));
    for (unsigned int round = 0; round < 2; round++) {
        long long int start = test_now_us();

        test_part("round %u", round);
        for (unsigned int i = 0; i < 50; i++) {
            CHECK(fe_alive(&other.fe, 1000));
            CHECK(fe_alive(&rig.fe, 1000));
        }
        rig_check_traffic(&other, 0);
        CHECK_LT(test_now_us() - start, 4000000);
        if (!round) {
            rig_check_traffic(&rig, 0);
            CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), false), 0);
        }
    }

    /* It is drained nevertheless. */
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 0));
    WAIT_FOR(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
    atomic_store(&s.end, true);
    pthread_join(s.thread, NULL);

    /* A counter that is full kicks nobody: and harms nobody. */
    fe_event_take(RIG_TX(&rig, 0)->kick_fd);
    make_blocking(RIG_TX(&rig, 0)->kick_fd);
    CHECK(fe_alive(&other.fe, 1000));
    CHECK(fe_alive(&rig.fe, 1000));
    CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), true), 0);
    rig_check_traffic(&rig, 0);
    rig_close(&other);
    rig_close(&rig);
}

/* A call descriptor is replaced while a polling thread uses it.  The number
 * that becomes free must not be written to any more: here sockets and other
 * eventfds take it at once. */
static void
test_call_fd_replaced(void)
{
    struct rig_config c = no_event_idx();
    unsigned int rounds = test_slow ? 300 : 800;
    struct rig rig;
    struct poller p;
    bool called = false;

    c.unsealable = true;
    rig_open(&rig, "p", &c);
    poller_start(&p, &rig);
    for (unsigned int i = 0; i < rounds; i++) {
        struct fe_vq *vq = &rig.vqs[i % 2];
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        int pairs[2][2];
        int innocent[4];
        uint16_t head;
        uint32_t len;
        char byte;

        offer_data(&rig, 0, 256);
        offer_data(&rig, 1, 256);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, vq->index, fd),
                 0);
        called |= fe_event_wait(fd, 0);
        for (unsigned int k = 0; k < N_ELEMS(innocent); k++) {
            innocent[k] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        }
        for (unsigned int k = 0; k < N_ELEMS(pairs); k++) {
            CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK
                                | SOCK_CLOEXEC, 0, pairs[k]), 0);
        }
        for (unsigned int k = 0; k < 20; k++) {
            while (fe_vq_used(RIG_RX(&rig, 0), &head, &len)
                   || fe_vq_used(RIG_TX(&rig, 0), &head, &len)) {
                continue;
            }
            offer_data(&rig, 0, 256);
            offer_data(&rig, 1, 256);
            sched_yield();
        }
        for (unsigned int k = 0; k < N_ELEMS(pairs); k++) {
            CHECK_EQ(recv(pairs[k][0], &byte, 1, 0), -1);
            CHECK_EQ(recv(pairs[k][1], &byte, 1, 0), -1);
            close(pairs[k][0]);
            close(pairs[k][1]);
        }
        for (unsigned int k = 0; k < N_ELEMS(innocent); k++) {
            CHECK_EQ(fe_event_take(innocent[k]), 0);
            close(innocent[k]);
        }
        called |= fe_event_wait(fd, 0);
        close(fd);
    }
    CHECK(called);
    CHECK_GT(atomic_load(&p.n), 0);
    poller_end(&p);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_NOTIFY_ERRORS), 0);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_NOTIFY_ERRORS), 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* Takes all descriptors that are left; returns their number. */
static int
take_all_fds(int *fds, int max)
{
    int n = 0;

    while (n < max && (fds[n] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3))
                      >= 0) {
        n++;
    }
    CHECK_LT(n, max);
    return n;
}

/* The process is out of descriptors for a while: connections wait, messages
 * with descriptors fail, nothing breaks for good. */
static void
test_no_descriptors(void)
{
    struct rlimit old, few = { 256, 256 };
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    struct rig rig, other;
    int fds[256], n;
    uint64_t index = 0;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    rig_open(&other, "other", NULL);
    rig_create(&rig, "p", NULL);
    rig.fe.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(sun.sun_path, rig.path);

    n = take_all_fds(fds, N_ELEMS(fds));
    CHECK_EQ(connect(rig.fe.sock, (struct sockaddr *) &sun, sizeof sun), 0);
    CHECK(fe_send(&rig.fe, FE_GET_FEATURES, 0, NULL, 0));
    for (unsigned int i = 0; i < 20; i++) {
        CHECK(fe_alive(&other.fe, 2000));
        test_sleep_us(2000);
    }
    rig_check_traffic(&other, 0);
    CHECK_EQ(rig_info(&rig).n_connects, 0);
    CHECK(rig_info(&rig).error[0]);

    test_part("a message with a descriptor");
    CHECK(fe_send_fds(&other.fe, FE_SET_VRING_CALL, 0, &index, 8,
                      &RIG_RX(&other, 0)->call_fd, 1));
    CHECK(fe_closed(&other.fe, 2000));

    test_part("descriptors again");
    for (int i = 0; i < n; i++) {
        close(fds[i]);
    }
    CHECK_EQ(fe_reply_u64(&rig.fe, FE_GET_FEATURES),
             vhost_supported_features);
    WAIT_FOR(!rig_info(&rig).error[0]);
    rig_disconnect(&rig);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_disconnect(&other);
    rig_connect(&other);
    rig_start(&other);
    rig_check_traffic(&other, 0);
    rig_close(&rig);
    rig_close(&other);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static const struct test_case memory_cases[] = {
    { "truncate-read", test_truncate_read, 0 },
    { "truncate-before-peek", test_truncate_before_peek, 0 },
    { "truncate-write", test_truncate_write, 0 },
    { "truncate-rings", test_truncate_rings, 0 },
    { "truncate-rings-in-burst", test_truncate_rings_in_burst, 0 },
    { "truncate-before-start", test_truncate_before_start, 0 },
    { "truncate-disabled", test_truncate_disabled, 0 },
    { "truncate-under-traffic", test_truncate_under_traffic, 0 },
};

static const struct test_case cases[] = {
    { "seals", test_seals, 0 },
    { "front-end-seals", test_front_end_seals, 0 },
    { "foreign-sigbus", test_foreign_sigbus, 0 },
    { "blocking-call-fd", test_blocking_call_fd, 0 },
    { "call-counts", test_call_counts, 0 },
    { "semaphore-call-fd", test_semaphore_call_fd, 0 },
    { "kick-storm", test_kick_storm, 0 },
    { "call-fd-replaced", test_call_fd_replaced, 0 },
    { "no-descriptors", test_no_descriptors, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "", 0, memory_cases, N_ELEMS(memory_cases) },
        { "packed-", FE_F_PACKED, memory_cases, N_ELEMS(memory_cases) },
        { "", 0, cases, N_ELEMS(cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
