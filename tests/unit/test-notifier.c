/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of calls that the notifier thread makes in place of the polling
 * threads: they arrive, whether it sleeps or not, and none is lost whatever
 * happens to the ring meanwhile; no peer holds it up. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "notify.h"
#include "rig.h"
#include "vring.h"
#include "watchers.h"

static pthread_t notifier;

static void *
notifier_main(void *loop)
{
    vhost_loop_notifier(loop);
    return NULL;
}

static void
notifier_start(enum vhost_offload offload)
{
    vhost_loop_set_offload(test_loop(), offload);
    CHECK(!pthread_create(&notifier, NULL, notifier_main, test_loop()));
    WAIT_FOR(atomic_load(&test_loop()->notifier.mode) == offload);
}

/* Ends the loop, which is the only way to end the notifier. */
static void
notifier_end(void)
{
    vhost_loop_stop(test_loop());
    pthread_join(notifier, NULL);
}

/* From here on the notifier looks after its queue only each 'ms'. */
static void
notifier_be_lazy(unsigned int ms)
{
    test_loop()->notifier.pause = ms * INT64_C(1000000);
    test_loop()->notifier.linger = INT64_MAX;
}

/* Each packet is a call. */
static const struct rig_config config = {
    .features = RIG_FEATURES & ~FE_F_EVENT_IDX,
};

static int
call_fd(struct rig *rig)
{
    return RIG_RX(rig, 0)->call_fd;
}

static uint64_t
n_called(struct rig *rig)
{
    return rig_counter(rig, 0, VHOST_C_NOTIFICATIONS);
}

static uint64_t
n_offloaded(struct rig *rig)
{
    return rig_counter(rig, 0, VHOST_C_OFFLOADED);
}

/* Opens a port whose guest has room for 'n' packets. */
static void
open_port(struct rig *rig, const char *name, unsigned int n)
{
    rig_open(rig, name, &config);
    rig_post(rig, 0, n, 512);
    fe_event_take(call_fd(rig));
}

static void
check_called(struct rig *rig, unsigned int slot)
{
    CHECK(rig_switch_send(rig, slot, 60, 1, NULL));
    CHECK(fe_event_wait(call_fd(rig), 2000));
    CHECK_EQ(fe_event_take(call_fd(rig)), 1);
}

/* Calls arrive, once each, with the notifier asleep and awake. */
static void
test_always(void)
{
    struct rig rig;

    notifier_start(VHOST_OFFLOAD_ALWAYS);
    open_port(&rig, "p", 201);
    for (unsigned int i = 0; i < 20; i++) {
        test_sleep_us(5000);
        check_called(&rig, 0);
    }
    for (unsigned int i = 20; i < 200; i++) {
        check_called(&rig, 0);
    }
    CHECK_EQ(n_offloaded(&rig), 200);
    WAIT_FOR(n_called(&rig) == 200);
    test_sleep_us(5000);
    CHECK_EQ(fe_event_take(call_fd(&rig)), 0);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_NOTIFY_ERRORS), 0);

    /* What the guest does not want is not handed over. */
    fe_vq_want_calls(RIG_RX(&rig, 0), false);
    CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    CHECK_EQ(n_offloaded(&rig), 200);
    rig_close(&rig);
    notifier_end();
}

/* Rare calls are made directly, frequent ones are handed over. */
static void
test_auto(void)
{
    struct rig rig;

    notifier_start(VHOST_OFFLOAD_AUTO);
    open_port(&rig, "p", 250);
    for (unsigned int i = 0; i < 20; i++) {
        test_sleep_us(10000);
        check_called(&rig, 0);
    }
    CHECK_EQ(n_offloaded(&rig), 0);
    for (unsigned int i = 0; i < 200 && !n_offloaded(&rig); i++) {
        CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    }
    CHECK_NE(n_offloaded(&rig), 0);
    test_sleep_us(20000);
    fe_event_take(call_fd(&rig));
    for (unsigned int i = 0; i < 10; i++) {
        check_called(&rig, 0);
    }
    rig_close(&rig);
    notifier_end();
}

/* Without a notifier, and after it was switched off, everybody calls for
 * themselves. */
static void
test_never(void)
{
    struct rig rig;

    open_port(&rig, "p", 30);
    vhost_loop_set_offload(test_loop(), VHOST_OFFLOAD_ALWAYS);
    for (unsigned int i = 0; i < 10; i++) {
        check_called(&rig, 0);
    }
    CHECK_EQ(n_offloaded(&rig), 0);
    notifier_start(VHOST_OFFLOAD_ALWAYS);
    check_called(&rig, 0);
    CHECK_EQ(n_offloaded(&rig), 1);
    vhost_loop_set_offload(test_loop(), VHOST_OFFLOAD_NEVER);
    for (unsigned int i = 0; i < 10; i++) {
        check_called(&rig, 0);
    }
    CHECK_EQ(n_offloaded(&rig), 1);
    WAIT_FOR(n_called(&rig) == 21);
    rig_close(&rig);
    notifier_end();
}

/* What is handed over before the notifier comes to it is one call; what it has
 * not come to when the ring stops, or gets another call descriptor, is sent by
 * then. */
static void
test_stop(void)
{
    struct rig rig;
    uint64_t calls;
    int fd;

    notifier_be_lazy(400);
    notifier_start(VHOST_OFFLOAD_ALWAYS);
    open_port(&rig, "p", 50);
    test_part("%s", "merged");
    calls = n_called(&rig);
    for (unsigned int i = 0; i < 5; i++) {
        CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    }
    CHECK(fe_event_wait(call_fd(&rig), 3000));
    WAIT_FOR(n_called(&rig) > calls);
    CHECK_LE(n_called(&rig), calls + 2);
    test_sleep_us(450000);
    fe_event_take(call_fd(&rig));

    test_part("%s", "GET_VRING_BASE");
    CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    fe_vq_start(RIG_RX(&rig, 0), fe_vq_stop(RIG_RX(&rig, 0)), true);
    CHECK_EQ(fe_event_take(call_fd(&rig)), 2);  /* One is the start's. */

    test_part("%s", "SET_VRING_CALL");
    test_sleep_us(450000);
    CHECK_EQ(fe_event_take(call_fd(&rig)), 0);
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0, fd), 0);
    CHECK_EQ(fe_event_take(call_fd(&rig)), 1);
    CHECK_EQ(fe_event_take(fd), 1);     /* As each new descriptor. */
    close(fd);

    test_part("%s", "the port goes");
    CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0, call_fd(&rig)),
             0);
    CHECK_EQ(fe_event_take(call_fd(&rig)), 1);
    CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
    vhost_port_destroy(rig.port);
    rig.port = NULL;
    CHECK_EQ(fe_event_take(call_fd(&rig)), 1);
    rig_close(&rig);
    notifier_end();
}

/* A guest that sleeps until it is called, and a polling thread that sends one
 * packet after the guest has seen the last: a lost call is the end of it. */
struct ping {
    struct rig *rig;
    pthread_t guest, pmd;
    uint64_t buf;
    _Atomic bool end;
    _Atomic uint64_t sent, got;
};

static void
guest_post(struct ping *p)
{
    struct fe_buf buf = { p->buf, 512, true };

    CHECK_GE(fe_vq_add(RIG_RX(p->rig, 0), &buf, 1, 0, 0), 0);
    fe_vq_publish(RIG_RX(p->rig, 0));
}

static void *
guest_main(void *p_)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    struct ping *p = p_;
    uint8_t frame[512];

    while (!atomic_load(&p->end)) {
        if (!fe_event_wait(call_fd(p->rig), 4000)) {
            CHECK(atomic_load(&p->end));
            break;
        }
        fe_event_take(call_fd(p->rig));
        while (fe_net_take(RIG_RX(p->rig, 0), &h, frame, sizeof frame, NULL,
                           NULL, 0) >= 0) {
            guest_post(p);
            atomic_fetch_add(&p->got, 1);
        }
    }
    return NULL;
}

static void *
pmd_main(void *p_)
{
    struct ping *p = p_;

    while (!atomic_load(&p->end)) {
        uint64_t sent = atomic_load(&p->sent);

        if (atomic_load(&p->got) == sent) {
            /* Before: the guest may have it before we can say so. */
            atomic_store(&p->sent, sent + 1);
            while (!rig_switch_send(p->rig, 0, 60, sent, NULL)) {
                if (atomic_load(&p->end)) {
                    return NULL;
                }
                sched_yield();
            }
        }
        sched_yield();
    }
    return NULL;
}

static void
ping_start(struct ping *p, struct rig *rig)
{
    memset(p, 0, sizeof *p);
    p->rig = rig;
    p->buf = fe_alloc(&rig->fe, 0, 512, 64);
    guest_post(p);
    CHECK(!pthread_create(&p->guest, NULL, guest_main, p));
    CHECK(!pthread_create(&p->pmd, NULL, pmd_main, p));
}

static void
ping_flows(struct ping *p)
{
    uint64_t got = atomic_load(&p->got);

    WAIT_FOR(atomic_load(&p->got) > got + 2);
}

static void
ping_end(struct ping *p)
{
    ping_flows(p);
    atomic_store(&p->end, true);
    pthread_join(p->pmd, NULL);
    fe_event_signal(call_fd(p->rig));
    pthread_join(p->guest, NULL);
    CHECK_EQ(rig_all_guest_errors(p->rig), 0);
}

#define N_CHANGES 1000

/* No change here starts the ring anew, which would call the guest in any
 * case. */
static void
changes(enum vhost_offload offload)
{
    struct ping p;
    struct rig rig;
    uint64_t rnd = 5;

    notifier_start(offload);
    rig_open(&rig, "p", &config);
    ping_start(&p, &rig);
    for (unsigned int i = 0; i < N_CHANGES; i++) {
        switch (test_random(&rnd) % 4) {
        case 0:
            CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
            break;
        case 1:
            CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), false), 0);
            CHECK_EQ(fe_vq_enable(RIG_RX(&rig, 0), true), 0);
            break;
        default:
            CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, 0,
                                     call_fd(&rig)), 0);
            break;
        }
        test_sleep_us(test_random(&rnd) % 200);
        if (offload == VHOST_OFFLOAD_AUTO && i % 20 == 0) {
            vhost_loop_set_offload(test_loop(), i / 20 % 3);
        }
        if (i % 50 == 0) {
            test_part("change %u", i);
            ping_flows(&p);
        }
    }
    CHECK_NE(n_offloaded(&rig), 0);
    ping_end(&p);
    rig_close(&rig);
    notifier_end();
}

static void
test_changes_always(void)
{
    changes(VHOST_OFFLOAD_ALWAYS);
}

static void
test_changes_auto(void)
{
    changes(VHOST_OFFLOAD_AUTO);
}

static void
test_restarts(void)
{
    struct ping p;
    struct rig rig;
    uint64_t rnd = 6;

    notifier_start(VHOST_OFFLOAD_ALWAYS);
    rig_open(&rig, "p", &config);
    ping_start(&p, &rig);
    for (unsigned int i = 0; i < N_CHANGES; i++) {
        struct fe_vq *vq = RIG_RX(&rig, 0);

        if (test_random(&rnd) % 4) {
            fe_vq_start(vq, fe_vq_stop(vq), true);
        } else {
            rig_disconnect(&rig);
            rig_connect(&rig);
            rig_start_ring(&rig, 0, fe_vq_published_used(vq));
        }
        test_sleep_us(test_random(&rnd) % 200);
        if (i % 50 == 0) {
            test_part("restart %u", i);
            ping_flows(&p);
        }
    }
    ping_end(&p);
    rig_close(&rig);
    notifier_end();
}

/* Ports come and go while they have calls in the queue. */
static void
test_ports(void)
{
    notifier_start(VHOST_OFFLOAD_ALWAYS);
    for (unsigned int i = 0; i < 100; i++) {
        struct rig rig;

        open_port(&rig, "p", 1);
        CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
        if (i % 2) {
            rig_disconnect(&rig);
        }
        vhost_port_destroy(rig.port);
        rig.port = NULL;
        CHECK_EQ(fe_event_take(call_fd(&rig)), 1);
        rig_close(&rig);
    }
    notifier_end();
}

static void
test_blocked(void)
{
    uint64_t full = UINT64_MAX - 1;
    struct rig rig, other;
    int flags;

    notifier_start(VHOST_OFFLOAD_ALWAYS);
    open_port(&other, "other", 100);
    open_port(&rig, "p", 100);
    CHECK_EQ(write(call_fd(&rig), &full, sizeof full), sizeof full);
    flags = fcntl(call_fd(&rig), F_GETFL);
    CHECK(!fcntl(call_fd(&rig), F_SETFL, flags & ~O_NONBLOCK));
    for (unsigned int i = 0; i < 50; i++) {
        CHECK(rig_switch_send(&rig, 0, 60, 1, NULL));
        check_called(&other, 0);
    }
    WAIT_FOR(n_called(&rig) + rig_counter(&rig, 0, VHOST_C_NOTIFY_ERRORS)
             > 0);
    fe_vq_start(RIG_RX(&rig, 0), fe_vq_stop(RIG_RX(&rig, 0)), true);
    CHECK(fe_alive(&rig.fe, 1000));
    rig_close(&rig);
    rig_close(&other);
    notifier_end();
}

static void
test_slow_call(void)
{
    static struct watchers w;
    struct rig rig, other;
    unsigned int n = 0;

    notifier_start(VHOST_OFFLOAD_ALWAYS);
    open_port(&other, "other", 200);
    open_port(&rig, "p", 200);
    watchers_add(&w, call_fd(&rig));
    while (n < 200 && rig_switch_send(&rig, 0, 60, n, NULL)) {
        uint64_t calls = n_called(&rig);

        if (n % 2) {
            check_called(&other, 0);
        }
        WAIT_FOR_MS(rig_vring(&rig, 0).broken || n_called(&rig) > calls
                    || n_called(&rig) > n, 2000);
        n++;
    }
    CHECK_LT(n, 150);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_SLOW_CALL), 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 1);
    CHECK(rig_vring(&rig, 0).broken);
    WAIT_FOR(rig_info(&rig).error[0]);
    CHECK_EQ(rig_all_guest_errors(&other), 0);

    test_part("%s", "the ring again");
    watchers_remove(&w);
    fe_vq_start(RIG_RX(&rig, 0), fe_vq_stop(RIG_RX(&rig, 0)), true);
    fe_event_take(call_fd(&rig));
    for (unsigned int i = 0; i < 50; i++) {
        check_called(&rig, 0);
    }
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_SLOW_CALL), 1);
    rig_close(&rig);
    rig_close(&other);
    notifier_end();
}

/* The eventfd that calls are compared with: the first one that this process
 * opens. */
static int
open_own_eventfd(void)
{
    char link[64], name[64];

    vhost_notify_init();
    for (int fd = 3; fd < 1024; fd++) {
        ssize_t n;

        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, name, sizeof name - 1);
        if (n > 0 && !strncmp(name, "anon_inode:[eventfd]", n)) {
            return fd;
        }
    }
    CHECK(!"no eventfd");
    return -1;
}

/* Where all calls take long no ring is stopped for it. */
static void
check_slow_host(enum vhost_offload mode)
{
    static struct watchers w, own;
    struct rig rig;
    int own_fd = open_own_eventfd();

    notifier_start(mode);
    open_port(&rig, "p", 200);
    watchers_add(&own, own_fd);
    watchers_add(&w, call_fd(&rig));
    for (unsigned int i = 0; i < 40; i++) {
        uint64_t calls = n_called(&rig);

        CHECK(rig_switch_send(&rig, 0, 60, i, NULL));
        WAIT_FOR_MS(rig_vring(&rig, 0).broken || n_called(&rig) > calls,
                    2000);
    }
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_SLOW_CALL), 0);
    CHECK(!rig_vring(&rig, 0).broken);
    watchers_remove(&w);
    watchers_remove(&own);
    rig_close(&rig);
    notifier_end();
    vhost_notify_exit();
}

static void
test_slow_host(void)
{
    check_slow_host(VHOST_OFFLOAD_NEVER);
}

static void
test_slow_host_offload(void)
{
    check_slow_host(VHOST_OFFLOAD_ALWAYS);
}

/* What slow calls may cost before the ring is stopped. */
static void
test_slow_few(void)
{
    struct vhost_slow_calls s = { .n = 0 };
    unsigned int n = 0;

    while (!vring_slow_call(&s, 500000)) {
        n++;
    }
    CHECK_EQ(n, 40);            /* 20 ms; the first one does not count. */
    CHECK_EQ(s.n, 0);
    CHECK_EQ(s.time, 0);
    for (n = 0; !vring_slow_call(&s, INT64_C(10000000000)); n++) {
        continue;
    }
    CHECK_EQ(n, VRING_MAX_SLOW_CALLS);
}

/* AIO contexts of this process. */
static unsigned int
n_contexts(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    unsigned int n = 0;
    char line[1024];

    CHECK(f != NULL);
    while (fgets(line, sizeof line, f)) {
        n += strstr(line, "/[aio]") != NULL;
    }
    fclose(f);
    return n;
}

static unsigned int contexts_in_use;

static void *
call_and_end(void *fd)
{
    CHECK_EQ(vhost_notify(*(int *) fd), 0);
    contexts_in_use = n_contexts();
    return NULL;
}

/* Threads that come and go use one context after the other: destroying one
 * takes so long that who waits for the thread's end would notice. */
static void
test_contexts(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_t thread;

    test_loop();
    if (!vhost_notify_is_safe()) {
        close(fd);
        test_skip("there is no AIO");
    }
    for (unsigned int i = 0; i < 10; i++) {
        unsigned int earlier = contexts_in_use;

        CHECK(!pthread_create(&thread, NULL, call_and_end, &fd));
        pthread_join(thread, NULL);
        CHECK(contexts_in_use > 0);
        CHECK_EQ(n_contexts(), contexts_in_use);
        CHECK(!i || contexts_in_use == earlier);
    }
    CHECK_EQ(fe_event_take(fd), 10);
    close(fd);
}

static const struct test_case cases[] = {
    { "always", test_always, 0 },
    { "auto", test_auto, 0 },
    { "never", test_never, 0 },
    { "stop", test_stop, 0 },
    { "changes-always", test_changes_always, 60 },
    { "changes-auto", test_changes_auto, 60 },
    { "restarts", test_restarts, 60 },
    { "ports", test_ports, 0 },
    { "blocked", test_blocked, 0 },
    { "slow-call", test_slow_call, 0 },
    { "slow-few", test_slow_few, 0 },
    { "slow-host", test_slow_host, 0 },
    { "slow-host-offload", test_slow_host_offload, 0 },
    { "contexts", test_contexts, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
