/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of what a security review found: peers that make the kernel wait
 * or work for them (descriptors whose close() waits, locks that they hold,
 * eventfds with thousands of watches), and peers that find what is dear and
 * ask for it again and again.  None of them may harm another port. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"
#include "watchers.h"

/* The event thread, held inside a callback of a port of its own: what happens
 * meanwhile it finds all at once. */
enum brake_state { BRAKE_OFF, BRAKE_ARMED, BRAKE_ON };
static struct rig brake;
static _Atomic int brake_state;

static void
brake_cb(struct rig *rig)
{
    int armed = BRAKE_ARMED;

    (void) rig;
    if (atomic_compare_exchange_strong(&brake_state, &armed, BRAKE_ON)) {
        while (atomic_load(&brake_state) == BRAKE_ON) {
            test_sleep_us(200);
        }
    }
}

static void
brake_create(void)
{
    rig_create(&brake, "brake", NULL);
    atomic_store(&brake.on_changed, brake_cb);
}

static void
hold_event_thread(void)
{
    atomic_store(&brake_state, BRAKE_ARMED);
    CHECK(fe_connect(&brake.fe, brake.path, 5000));
    WAIT_FOR(atomic_load(&brake_state) == BRAKE_ON);
}

static void
release_event_thread(void)
{
    atomic_store(&brake_state, BRAKE_OFF);
    fe_hang_up(&brake.fe);
}

/* Descriptors whose close() waits. */

#define LINGER 3                /* Seconds. */

/* Makes one: a TCP connection with data that the other end, '*peer', does not
 * take.  Closing '*peer' ends the wait. */
static int
slow_socket(int *peer)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct linger linger = { 1, LINGER };
    socklen_t len = sizeof sin;
    static char data[16384];
    int size = 4096, unsent = 0;

    CHECK_GE(listener, 0);
    CHECK_GE(fd, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (bind(listener, (struct sockaddr *) &sin, sizeof sin)
        || listen(listener, 1)
        || getsockname(listener, (struct sockaddr *) &sin, &len)
        || connect(fd, (struct sockaddr *) &sin, sizeof sin)) {
        test_skip("no TCP on the loopback interface: %s", strerror(errno));
    }
    *peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK_GE(*peer, 0);
    close(listener);
    for (unsigned int full = 0; full < 10; full++) {
        while (send(fd, data, sizeof data, MSG_DONTWAIT) > 0) {
            full = 0;
        }
        test_sleep_us(1000);
    }
    CHECK_EQ(ioctl(fd, TIOCOUTQ, &unsent), 0);
    CHECK_GT(unsent, 0);
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger),
             0);
    return fd;
}

/* Neither the other ports nor the threads that control them wait, and have
 * not since 'start'. */
static void
check_others(struct rig *other, long long int start)
{
    struct rig third;

    CHECK(fe_alive(&other->fe, 1500));
    CHECK_EQ(vhost_port_set_senders(other->port, 1, 1), 0);
    rig_set_senders(other, 1);
    rig_create(&third, "third", NULL);
    rig_close(&third);

    /* The worker has nothing to wait for either. */
    CHECK_EQ(fe_send_mem_table(&other->fe), 0);
    CHECK_LT(test_now_us() - start, LINGER * 500000);
}

/* 'leave' gives the front end's last reference to a slow socket to the port,
 * in one way or another. */
static void
check_slow_close(void (*leave)(struct rig *, int fd))
{
    struct rig_config c = { .protocol = RIG_PROTOCOL | FE_P_BACKEND_REQ };
    struct rig rig, other;
    long long int start;
    int peer, fd;

    brake_create();
    rig_open(&other, "other", NULL);
    rig_open(&rig, "p", &c);
    fd = slow_socket(&peer);
    start = test_now_us();
    leave(&rig, fd);
    test_sleep_us(20000);
    check_others(&other, start);
    if (rig.port) {
        rig_disconnect(&rig);
        check_others(&other, start);
        rig_connect(&rig);
        rig_start(&rig);
        rig_check_traffic(&rig, 0);
        close(peer);
    } else {
        close(peer);
    }
    rig_check_traffic(&other, 0);
    rig_close(&rig);
    rig_close(&other);
    rig_close(&brake);
}

/* Sends a message whose last descriptor is a slow socket, and no longer has it
 * when the port gets it: the last to close it is who waits. */
static void
send_slow(struct rig *rig, uint32_t request, uint32_t flags,
          const void *payload, size_t size, const int fds[],
          unsigned int n_fds)
{
    hold_event_thread();
    CHECK(fe_send_fds(&rig->fe, request, flags, payload, size, fds, n_fds));
    close(fds[n_fds - 1]);
    release_event_thread();
}

/* In place of an eventfd. */
static void
leave_in_message(struct rig *rig, int fd)
{
    uint64_t index = 0;

    send_slow(rig, FE_SET_VRING_CALL, 0, &index, 8, &fd, 1);
}

static void
test_slow_close_message(void)
{
    check_slow_close(leave_in_message);
}

/* More than the message may have, and more than any may. */
static void
leave_as_second(struct rig *rig, int fd)
{
    int fds[2] = { rig->vqs[0].call_fd, fd };
    uint64_t index = 0;

    send_slow(rig, FE_SET_VRING_CALL, 0, &index, 8, fds, 2);
}

static void
leave_as_last(struct rig *rig, int fd)
{
    uint64_t index = 0;
    int fds[30];

    for (unsigned int i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = i < N_ELEMS(fds) - 1 ? rig->vqs[0].call_fd : fd;
    }
    send_slow(rig, FE_SET_VRING_CALL, 0, &index, 8, fds, N_ELEMS(fds));
}

static void
test_slow_close_extra(void)
{
    check_slow_close(leave_as_second);
    check_slow_close(leave_as_last);
}

/* As memory, which is the worker's. */
static void
leave_as_memory(struct rig *rig, int fd)
{
    struct fe_mem_table t = {
        .n = 1, .regions[0] = { 0, 1 << 20, UINT64_C(0x7f0000000000), 0 },
    };

    send_slow(rig, FE_SET_MEM_TABLE, 0, &t, FE_MEM_TABLE_SIZE(1), &fd, 1);
}

/* As the socket for requests of the back end, which is kept. */
static void
leave_as_channel(struct rig *rig, int fd)
{
    send_slow(rig, FE_SET_BACKEND_REQ_FD, 0, NULL, 0, &fd, 1);
    fe_sync(&rig->fe);
    rig_disconnect(rig);
    rig_connect(rig);
}

static void
test_slow_close_kept(void)
{
    check_slow_close(leave_as_memory);
    check_slow_close(leave_as_channel);
}

/* Unread on a second connection, which is refused. */
static void
leave_on_second(struct rig *rig, int fd)
{
    uint64_t index = 0;
    struct fe second;

    fe_init(&second);
    hold_event_thread();
    CHECK(fe_connect(&second, rig->path, 1000));
    CHECK(fe_send_fds(&second, FE_SET_VRING_CALL, 0, &index, 8, &fd, 1));
    close(fd);
    release_event_thread();
    CHECK(fe_closed(&second, 1500));
    fe_destroy(&second);
    CHECK(fe_alive(&rig->fe, 1500));
}

static void
test_slow_close_refused(void)
{
    check_slow_close(leave_on_second);
}

/* Unread behind a message that ends the connection. */
static void
leave_behind(struct rig *rig, int fd)
{
    static const uint32_t bad[3] = { FE_GET_FEATURES, 0, 0 };
    uint64_t index = 0;

    hold_event_thread();
    CHECK(fe_send_bytes(&rig->fe, bad, sizeof bad, NULL, 0));
    CHECK(fe_send_fds(&rig->fe, FE_SET_VRING_CALL, 0, &index, 8, &fd, 1));
    close(fd);
    release_event_thread();
}

static void
test_slow_close_teardown(void)
{
    check_slow_close(leave_behind);
}

/* Unread on connections that nobody has accepted before the port goes. */
static void *
destroy_main(void *port)
{
    vhost_port_destroy(port);
    return NULL;
}

static void
leave_in_backlog(struct rig *rig, int fd)
{
    uint64_t index = 0;
    struct fe waiting[3];
    pthread_t thread;

    rig_disconnect(rig);
    hold_event_thread();
    for (unsigned int i = 0; i < N_ELEMS(waiting); i++) {
        fe_init(&waiting[i]);
        CHECK(fe_connect(&waiting[i], rig->path, 1000));
        CHECK(fe_send_fds(&waiting[i], FE_SET_VRING_CALL, 0, &index, 8, &fd,
                          1));
    }
    close(fd);
    CHECK(!pthread_create(&thread, NULL, destroy_main, rig->port));
    rig->port = NULL;
    test_sleep_us(20000);
    release_event_thread();
    pthread_join(thread, NULL);
    for (unsigned int i = 0; i < N_ELEMS(waiting); i++) {
        fe_destroy(&waiting[i]);
    }
}

static void
test_slow_close_backlog(void)
{
    check_slow_close(leave_in_backlog);
}

/* So many that the port is cut off, until they have ended. */
static void
test_slow_close_many(void)
{
    struct rig rig, other;
    unsigned int n = 0;
    int peers[16];

    brake_create();
    rig_open(&other, "other", NULL);
    rig_open(&rig, "p", NULL);
    while (!fe_closed(&rig.fe, 50)) {
        struct fe_header h;
        uint64_t value = 0;
        int fd;

        CHECK_LT(n, N_ELEMS(peers));
        fd = slow_socket(&peers[n++]);
        send_slow(&rig, FE_SET_VRING_CALL, FE_NEED_REPLY, &value, 8, &fd, 1);
        check_others(&other, test_now_us());
        if (fe_receive(&rig.fe, &h, &value, sizeof value, 1500)
            == FE_GOT_MESSAGE) {
            CHECK_EQ(value, 1);
        }
    }
    CHECK_GT(n, 4);
    fe_hang_up(&rig.fe);

    test_part("%s", "no connections any more");
    CHECK(fe_connect(&rig.fe, rig.path, 1000));
    CHECK(fe_send(&rig.fe, FE_GET_FEATURES, 0, NULL, 0));
    WAIT_FOR_MS(test_strcasestr(rig_info(&rig).error, "cannot be closed")
                && test_strcasestr(rig_info(&rig).error, "no connections"),
                1000);
    test_sleep_us(200000);
    CHECK_EQ(rig_info(&rig).n_connects, 1);
    CHECK_LE(test_n_warnings("p"), n + 3);
    check_others(&other, test_now_us());

    test_part("%s", "connections again");
    for (unsigned int i = 0; i < n; i++) {
        close(peers[i]);
    }
    CHECK_EQ(fe_reply_u64(&rig.fe, FE_GET_FEATURES), vhost_supported_features);
    CHECK_EQ(rig_info(&rig).error[0], '\0');
    rig_disconnect(&rig);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&other, 0);
    rig_close(&rig);
    rig_close(&other);
    rig_close(&brake);
}

/* Connections that come and go as fast as they can leave sockets to close too:
 * that is not why a port is cut off. */
static void
test_quick_connections(void)
{
    struct rig rig, other;

    rig_open(&other, "other", NULL);
    rig_open(&rig, "p", NULL);
    for (unsigned int i = 0; i < 200; i++) {
        struct fe more[4];

        for (unsigned int k = 0; k < N_ELEMS(more); k++) {
            fe_init(&more[k]);
            CHECK(fe_connect(&more[k], rig.path, 1000));
        }
        CHECK(fe_alive(&rig.fe, 1500));
        for (unsigned int k = 0; k < N_ELEMS(more); k++) {
            fe_destroy(&more[k]);
        }
    }
    CHECK_EQ(rig_info(&rig).n_connects, 1);
    for (unsigned int i = 0; i < 100; i++) {
        rig_disconnect(&other);
        rig_connect(&other);
    }
    CHECK_EQ(rig_info(&other).n_protocol_errors, 0);
    CHECK(!test_logged("cannot be closed"));
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
    rig_close(&other);
}

/* A lock of the kernel's, held by a write(2) from a page that the front end
 * does not let be. */
static struct {
    int fd, uffd;
    void *page;
    _Atomic bool release;
} held;

static void *
writer_main(void *arg)
{
    CHECK_EQ(write(held.fd, held.page, FE_PAGE), FE_PAGE);
    return arg;
}

static void *
releaser_main(void *arg)
{
    struct uffdio_zeropage zero = {
        .range = { (uintptr_t) held.page, FE_PAGE },
    };

    /* In the end in any case. */
    for (unsigned int i = 0; i < 300 && !atomic_load(&held.release); i++) {
        test_sleep_us(10000);
    }
    CHECK_EQ(ioctl(held.uffd, UFFDIO_ZEROPAGE, &zero), 0);
    return arg;
}

static void
test_inode_lock(void)
{
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register reg;
    struct fe_mem_table t = {
        .n = 1, .regions[0] = { 0, 1 << 20, UINT64_C(0x7f0000000000), 0 },
    };
    pthread_t writer, releaser;
    struct rig rig, other;
    long long int start;

    held.uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
    if (held.uffd < 0 || ioctl(held.uffd, UFFDIO_API, &api)) {
        test_skip("userfaultfd: %s", strerror(errno));
    }
    held.page = mmap(NULL, FE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(held.page != MAP_FAILED);
    reg = (struct uffdio_register) {
        .range = { (uintptr_t) held.page, FE_PAGE },
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    CHECK_EQ(ioctl(held.uffd, UFFDIO_REGISTER, &reg), 0);

    rig_create(&other, "other", NULL);
    rig_create(&rig, "p", NULL);
    rig_connect(&rig);
    held.fd = fe_memfd(1 << 20, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(!pthread_create(&writer, NULL, writer_main, NULL));
    test_sleep_us(100000);
    CHECK(fe_send_fds(&rig.fe, FE_SET_MEM_TABLE, 0, &t, FE_MEM_TABLE_SIZE(1),
                      &held.fd, 1));
    test_sleep_us(20000);
    CHECK(!pthread_create(&releaser, NULL, releaser_main, NULL));

    start = test_now_us();
    rig_connect(&other);
    rig_start(&other);
    rig_check_traffic(&other, 0);
    CHECK_LT(test_now_us() - start, 1500000);

    /* Its own port need not wait either. */
    CHECK(fe_alive(&rig.fe, 1000));
    CHECK_EQ(rig_info(&rig).n_regions, 1);
    atomic_store(&held.release, true);
    pthread_join(releaser, NULL);
    pthread_join(writer, NULL);
    close(held.uffd);
    close(held.fd);
    munmap(held.page, FE_PAGE);
    rig_close(&rig);
    rig_close(&other);
}

/* A call eventfd that so many wait for that each call takes long. */
static void
test_slow_call(void)
{
    struct rig_config c = { .features = RIG_FEATURES & ~FE_F_EVENT_IDX };
    static struct watchers w;
    unsigned int n_sent = 0;
    struct rig rig, other;
    long long int start;
    uint16_t head;
    uint32_t len;
    int call_fd;

    rig_open(&other, "other", NULL);
    rig_open(&rig, "p", &c);
    rig_check_traffic(&rig, 0);
    rig_post(&rig, 0, 200, 2048);
    call_fd = RIG_RX(&rig, 0)->call_fd;
    watchers_add(&w, call_fd);

    start = test_now_us();
    while (n_sent < 200 && rig_switch_send(&rig, 0, 60, n_sent, NULL)) {
        n_sent++;
    }
    CHECK_LT(n_sent, 150);      /* 20 ms in a row. */
    CHECK_LT(test_now_us() - start, 1000000);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_SLOW_CALL), 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 1);
    CHECK(rig_vring(&rig, 0).broken);
    WAIT_FOR(rig_info(&rig).error[0]);

    /* Nothing else is. */
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 2048, 64), 300, 9));
    {
        uint8_t frame[2048];

        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 300);
        CHECK_PATTERN(frame, 300, 9);
        CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
    }
    rig_check_traffic(&other, 0);

    test_part("%s", "the ring again");
    watchers_remove(&w);
    for (unsigned int i = 0; i < n_sent; i++) {
        CHECK(fe_vq_used(RIG_RX(&rig, 0), &head, &len));
    }
    fe_vq_start(RIG_RX(&rig, 0), fe_vq_stop(RIG_RX(&rig, 0)), true);
    for (unsigned int i = 0; i < 50; i++) {
        CHECK(rig_switch_send(&rig, 0, 60, i, NULL));
    }
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_SLOW_CALL), 1);
    rig_close(&rig);
    rig_close(&other);
}

/* A message is refused and the port destroyed, both at the same moment.  Shows
 * with AddressSanitizer, or by chance, as freed memory gets overwritten. */
static struct {
    _Atomic bool seen;
    _Atomic unsigned int hold_us;
} refusal;

static void __attribute__((format(printf, 3, 0)))
refusal_log(enum vhost_log_level level, const char *port, const char *format,
            va_list args)
{
    char text[256];

    (void) level;
    (void) port;
    vsnprintf(text, sizeof text, format, args);
    if (strstr(text, "refused")) {
        atomic_store(&refusal.seen, true);
        test_sleep_us(atomic_load(&refusal.hold_us));
    }
}

static void *
refusal_event_main(void *loop)
{
    vhost_loop_run(loop);
    return NULL;
}

static void *
refusal_worker_main(void *loop)
{
    vhost_loop_worker(loop);
    return NULL;
}

static void
test_refused_and_destroyed(void)
{
    static const struct vhost_env env = { .log = refusal_log };
    struct vhost_port_config pc = {
        .name = "p",
        .role = VHOST_SERVER,
        .path = test_path("p"),
        .offer = {
            .features = vhost_supported_features,
            .protocol_features = vhost_supported_protocol_features,
            .queue_pairs = 1,
        },
        .max_queue_pairs = 1,
    };
    struct vhost_loop *loop;
    pthread_t event, worker;
    uint64_t rnd = 4;

    mallopt(M_PERTURB, 0xa5);
    CHECK_EQ(vhost_loop_create(&env, &loop), 0);
    CHECK(!pthread_create(&event, NULL, refusal_event_main, loop));
    CHECK(!pthread_create(&worker, NULL, refusal_worker_main, loop));
    for (unsigned int i = 0; i < 1000; i++) {
        uint64_t all = ~UINT64_C(0);
        struct vhost_port *port;
        long long int until;
        char *error;
        struct fe fe;

        atomic_store(&refusal.seen, false);
        atomic_store(&refusal.hold_us, i % 4 ? 0 : 1000);
        CHECK_EQ(vhost_port_create(loop, &pc, &port, &error), 0);
        fe_init(&fe);
        CHECK(fe_connect(&fe, pc.path, 1000));
        CHECK(fe_send(&fe, FE_SET_FEATURES, 0, &all, sizeof all));
        until = test_now_us() + 2000000;
        while (!atomic_load(&refusal.seen)) {
            CHECK_LT(test_now_us(), until);
        }
        until = test_now_us() + (i % 4 ? test_random(&rnd) % 80 : 0);
        while (test_now_us() < until) {
            continue;
        }
        vhost_port_destroy(port);
        fe_destroy(&fe);
    }
    vhost_loop_stop(loop);
    pthread_join(event, NULL);
    pthread_join(worker, NULL);
    vhost_loop_destroy(loop);
}

/* Each stop of a ring interrupts all polling threads.  The budget of them is
 * the port's, not the connection's. */
static void
test_stop_budget(void)
{
    struct { uint32_t request, flags, size, index, num; } messages[1900];
    const unsigned int n = N_ELEMS(messages);
    long long int start, elapsed;
    uint64_t first, stops;
    struct rig rig, other;
    unsigned int rounds = 0;

    for (unsigned int i = 0; i < n; i++) {
        messages[i].request = FE_SET_VRING_ENABLE;
        messages[i].flags = FE_VERSION;
        messages[i].size = sizeof(struct fe_vring_state);
        messages[i].index = 0;
        messages[i].num = i & 1;
    }
    rig_open(&other, "other", NULL);
    rig_open(&rig, "p", NULL);
    first = rig_info(&rig).n_stops;
    start = test_now_us();
    while (test_now_us() - start < 1500000) {
        uint64_t before = rig_info(&rig).n_messages;
        long long int end = test_now_us() + 200000;

        CHECK(fe_send_bytes(&rig.fe, messages, sizeof messages, NULL, 0));
        while (rig_info(&rig).n_messages < before + n
               && test_now_us() < end) {
            test_sleep_us(500);
        }
        fe_hang_up(&rig.fe);
        rig_connect(&rig);
        rig_start(&rig);
        rounds++;
    }
    stops = rig_info(&rig).n_stops - first;
    elapsed = test_now_us() - start;
    test_part("%llu stops in %lld ms, %u connections",
              (unsigned long long int) stops, elapsed / 1000, rounds);
    CHECK_LE(stops, 2000 + elapsed / 1000 + 10 * rounds);
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&other, 0);
    rig_close(&rig);
    rig_close(&other);
}

/* Large packets and a ring full of the smallest buffers: that they do not fit
 * is found out once, not for each of a burst. */
static void
test_tiny_buffers(void)
{
    struct rig_config c = { .ring_size = 32768 };
    unsigned int rounds = test_slow ? 50 : 1000;
    long long int best = INT64_MAX;
    uint32_t lens[VHOST_BURST];
    struct rig rig;
    struct fe_buf buf = { .len = 12, .in = true };
    uint64_t n = 0;
    int head;

    rig_open(&rig, "p", &c);
    buf.addr = fe_alloc(&rig.fe, 0, 12, 64);
    head = fe_vq_add(RIG_RX(&rig, 0), &buf, 1, 0, 0);
    CHECK_GE(head, 0);
    for (unsigned int i = 1; i < c.ring_size; i++) {
        fe_vq_avail_raw(RIG_RX(&rig, 0), head);
    }
    fe_vq_publish(RIG_RX(&rig, 0));
    for (unsigned int i = 0; i < N_ELEMS(lens); i++) {
        lens[i] = 9000;
    }

    /* The best tenth, as others use this machine too. */
    for (unsigned int part = 0; part < 10; part++) {
        long long int start = test_now_us(), us;

        for (unsigned int i = 0; i < rounds / 10; i++) {
            enum vhost_reserve why;
            unsigned int got;

            got = vhost_sender_reserve(rig.senders[0], rig_burst(), lens,
                                       N_ELEMS(lens), false, &why);
            CHECK_EQ(got, N_ELEMS(lens));
            CHECK_EQ(rig_burst()->pkts[got - 1].n_segs, 0);
            vhost_sender_commit(rig.senders[0], rig_burst(), false);
            n += got;
        }
        us = (test_now_us() - start) / (rounds / 10);
        best = us < best ? us : best;
    }
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), n);
    CHECK_EQ(fe_vq_published_used(RIG_RX(&rig, 0)), 0);
    test_part("%lld us for each burst", best);
    if (!test_slow) {
        CHECK_LT(best, 50);
    }

    /* The small ones among them pass. */
    for (unsigned int i = 0; i < 4; i++) {
        lens[i] = i & 1 ? 60 : 9000;
    }
    for (unsigned int done = 0; done < 4;) {
        static const uint8_t frame[60];
        enum vhost_reserve why;
        unsigned int got;

        got = vhost_sender_reserve(rig.senders[0], rig_burst(), lens + done,
                                   4 - done, false, &why);
        CHECK_GT(got, 0);
        CHECK_EQ(why, VHOST_R_OK);
        for (unsigned int i = 0; i < got; i++) {
            CHECK_EQ(rig_burst()->pkts[i].n_buffers, (done + i) & 1 ? 6 : 0);
            vhost_burst_write(rig_burst(), i, frame);
        }
        vhost_sender_commit(rig.senders[0], rig_burst(), false);
        done += got;
    }
    CHECK_EQ(fe_vq_published_used(RIG_RX(&rig, 0)), 12);
    CHECK_EQ(rig_guest_errors(&rig, 0), 0);
    rig_close(&rig);
}

/* Addresses that are aligned, in memory that is not. */
static void
test_misaligned(void)
{
    static const uint64_t offsets[] = { 1, 2, 4, 8, 15, 0x1001 };
    const uint64_t base = UINT64_C(0x7f0000000000);
    struct fe_mem_table t = { .n = 1 };
    struct fe_vring_addr a = {
        .index = 1, .desc = base, .avail = base + 0x10000,
        .used = base + 0x20000,
    };
    int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = fe_memfd(2 << 20, MFD_CLOEXEC);
    struct rig rig;

    rig_create(&rig, "p", NULL);
    rig_connect(&rig);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 256), 0);
    for (unsigned int i = 0; i < N_ELEMS(offsets); i++) {
        test_part("offset %llu", (unsigned long long int) offsets[i]);
        t.regions[0] = (struct fe_mem_region) { 0, 1 << 20, base, offsets[i] };
        CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t,
                            FE_MEM_TABLE_SIZE(1), &fd, 1), 0);
        CHECK_EQ(fe_ask(&rig.fe, FE_SET_VRING_ADDR, &a, sizeof a), 1);
        fe_ask_vring_fd(&rig.fe, FE_SET_VRING_KICK, 1, kick);
        fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 1, 1);
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
        CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 1, 0), 0);
    }

    test_part("%s", "under a ring that runs");
    t.regions[0].offset = 16;
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(1),
                        &fd, 1), 0);
    CHECK_EQ(fe_ask(&rig.fe, FE_SET_VRING_ADDR, &a, sizeof a), 0);
    CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_KICK, 1, kick), 0);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 1, 1), 0);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
    t.regions[0].offset = 17;
    fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(1), &fd, 1);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
    CHECK(rig_info(&rig).error[0]);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    close(fd);
    close(kick);
    rig_close(&rig);
}

/* As many rings as there may be, not enabled, and all full of packets of many
 * pieces. */
#define N_DRAINED 128
#define DRAINED_SIZE 4096

/* Packets that were drained so far. */
static uint64_t
n_drained(const struct fe_vq vqs[])
{
    uint64_t sum = 0;

    for (unsigned int i = 0; i < N_DRAINED; i++) {
        sum += fe_vq_published_used(&vqs[i]);
    }
    return sum;
}

static void
test_drain_many(void)
{
    static struct fe_vq vqs[N_DRAINED];
    static struct fe_buf bufs[16];
    struct vhost_port_config pc = {
        .name = "p",
        .role = VHOST_SERVER,
        .path = test_path("p"),
        .offer = {
            .features = vhost_supported_features,
            .protocol_features = vhost_supported_protocol_features,
            .queue_pairs = N_DRAINED,
        },
        .max_queue_pairs = N_DRAINED,
    };
    const unsigned int n = test_slow ? 512 : DRAINED_SIZE;
    const uint64_t total = (uint64_t) n * N_DRAINED;
    long long int end, worst = 0;
    uint64_t drained = 0;
    struct vhost_port *port;
    struct rig other;
    uint64_t data;
    char *error;
    struct fe fe;

    rig_open(&other, "other", NULL);
    CHECK_EQ(vhost_port_create(test_loop(), &pc, &port, &error), 0);
    fe_init(&fe);
    CHECK(fe_connect(&fe, pc.path, 1000));
    fe_negotiate(&fe, RIG_FEATURES, RIG_PROTOCOL);
    fe_add_region(&fe, 0x100000, 64 << 20, UINT64_C(0x7f5500000000));
    CHECK_EQ(fe_send_mem_table(&fe), 0);
    data = fe_alloc(&fe, 0, 64, 64);
    for (unsigned int i = 0; i < N_ELEMS(bufs); i++) {
        bufs[i] = (struct fe_buf) { data, 64, false };
    }
    for (unsigned int i = 0; i < N_DRAINED; i++) {
        int head;

        fe_vq_init(&vqs[i], &fe, 2 * i + 1, DRAINED_SIZE, 0);
        fe_vq_start(&vqs[i], 0, false);
        head = fe_vq_add(&vqs[i], bufs, N_ELEMS(bufs), 0, 0);
        CHECK_GE(head, 0);
        for (unsigned int k = 1; k < n; k++) {
            fe_vq_avail_raw(&vqs[i], head);
        }
        fe_vq_publish(&vqs[i]);
    }
    for (unsigned int i = 0; i < N_DRAINED; i++) {
        fe_event_signal(vqs[i].kick_fd);
    }

    end = test_now_us() + 15000000;
    while (drained < total) {
        long long int start = test_now_us(), us;
        uint64_t before = n_drained(vqs);

        CHECK_LT(start, end);
        CHECK(fe_alive(&other.fe, 2000));
        us = test_now_us() - start;
        worst = us > worst ? us : worst;
        drained = n_drained(vqs);
        us = test_now_us() - start;
        test_part("%llu of %llu, worst delay %lld us",
                  (unsigned long long int) drained,
                  (unsigned long long int) total, worst);

        /* While a message waited a little was done, and not a little of each
         * ring. */
        CHECK_LT(drained - before, 2048 + us / 1000 * 1024);
        test_sleep_us(700);
    }
    CHECK_EQ(drained, total);
    CHECK_LT(worst, 500000);
    for (unsigned int i = 0; i < N_DRAINED; i++) {
        struct vhost_vring_info info;

        CHECK(vhost_port_get_vring(port, 2 * i + 1, &info));
        CHECK_EQ(info.counters[VHOST_C_DISCARDED], n);
        CHECK(!info.broken);
        fe_vq_destroy(&vqs[i]);
    }
    rig_check_traffic(&other, 0);
    vhost_port_destroy(port);
    fe_destroy(&fe);
    rig_close(&other);
}

/* A burst's arrays are full long before the ring is. */
static void
test_arrays_full(void)
{
    enum { N_PACKETS = 32, PIECES = 44, PIECE = 64 };
    struct rig_config c = { .ring_size = 4096 };
    const uint32_t len = PIECES * PIECE - 12;
    unsigned int sent = 0, n_bursts = 0;
    uint8_t frame[PIECES * PIECE];
    enum vhost_reserve why;
    uint32_t lens[N_PACKETS];
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_post(&rig, 0, N_PACKETS * PIECES, PIECE);
    for (unsigned int i = 0; i < N_PACKETS; i++) {
        lens[i] = len;
    }
    while (sent < N_PACKETS) {
        struct vhost_burst *b = rig_burst();
        unsigned int n = vhost_sender_reserve(rig.senders[0], b, lens + sent,
                                              N_PACKETS - sent, false, &why);

        CHECK_GT(n, 0);
        CHECK_EQ(why, VHOST_R_OK);
        for (unsigned int i = 0; i < n; i++) {
            CHECK(b->pkts[i].n_segs);
            pattern_fill(frame, len, sent + i);
            vhost_burst_write(b, i, frame);
            memset(&b->pkts[i].hdr, 0, sizeof b->pkts[i].hdr);
        }
        vhost_sender_commit(rig.senders[0], b, false);
        sent += n;
        n_bursts++;
    }
    CHECK_GT(n_bursts, 1);
    CHECK_EQ(vhost_sender_reserve(rig.senders[0], rig_burst(), lens, 1, false,
                                  &why), 0);
    CHECK_EQ(why, VHOST_R_FULL);
    for (unsigned int i = 0; i < N_PACKETS; i++) {
        struct virtio_net_hdr_mrg_rxbuf h;

        CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL,
                             NULL, 0), len);
        CHECK_EQ(h.num_buffers, PIECES);
        CHECK_PATTERN(frame, len, i);
    }
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_TOO_BIG), 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* Nothing can be accepted: no reason to try without a pause. */
static long long int
cpu_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static void
connect_socket(int fd, const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    CHECK_GE(fd, 0);
    strcpy(sun.sun_path, path);
    CHECK_EQ(connect(fd, (struct sockaddr *) &sun, sizeof sun), 0);
}

static void
test_accept_fails(void)
{
    struct rlimit old, few = { 128, 128 };
    struct rig busy, idle, other;
    int fds[128], n_fds = 0;
    long long int cpu;
    struct fe second;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    rig_open(&other, "other", NULL);
    rig_open(&busy, "busy", NULL);
    rig_create(&idle, "idle", NULL);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);

    fe_init(&second);
    second.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    idle.fe.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while ((fds[n_fds] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)) >= 0) {
        n_fds++;
    }
    CHECK_EQ(errno, EMFILE);
    connect_socket(second.sock, busy.path);
    connect_socket(idle.fe.sock, idle.path);
    CHECK(fe_send(&idle.fe, FE_GET_FEATURES, 0, NULL, 0));

    cpu = cpu_us();
    test_sleep_us(300000);
    cpu = cpu_us() - cpu;
    test_part("%lld us of CPU time", cpu);
    CHECK_LT(cpu, 100000);
    CHECK(fe_alive(&other.fe, 1000));
    CHECK(fe_alive(&busy.fe, 1000));
    CHECK_EQ(rig_info(&idle).n_connects, 0);
    WAIT_FOR(test_strcasestr(rig_info(&idle).error, "accept"));

    test_part("%s", "descriptors again");
    while (n_fds > 0) {
        close(fds[--n_fds]);
    }
    CHECK_EQ(fe_reply_u64(&idle.fe, FE_GET_FEATURES),
             vhost_supported_features);
    CHECK(fe_closed(&second, 2000));
    CHECK(fe_alive(&busy.fe, 1000));
    rig_check_traffic(&busy, 0);
    rig_disconnect(&idle);
    rig_connect(&idle);
    rig_start(&idle);
    rig_check_traffic(&idle, 0);
    fe_destroy(&second);
    rig_close(&idle);
    rig_close(&busy);
    rig_close(&other);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* Sparse files cost nothing, address space does. */
static void
test_address_space(void)
{
    const uint64_t tib = UINT64_C(1) << 40;
    struct fe_mem_table t = { .n = 8 };
    struct rig rig, other;
    int fd = -1, fds[8];

    rig_open(&other, "other", NULL);
    rig_create(&rig, "p", NULL);
    rig_connect(&rig);
    fd = fe_memfd(3 * tib, MFD_CLOEXEC);
    for (unsigned int i = 0; i < 8; i++) {
        fds[i] = fd;
        t.regions[i] = (struct fe_mem_region) {
            i * 4 * tib, 3 * tib, i * 4 * tib, 0,
        };
    }
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(8),
                        fds, 8), 1);
    CHECK_HAS(rig_info(&rig).error, "TiB");

    /* Just one byte too much. */
    for (unsigned int i = 0; i < 8; i++) {
        t.regions[i].size = 2 * tib + (i == 3);
    }
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(8),
                        fds, 8), 1);
    if (!test_slow) {
        t.regions[3].size--;
        CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t,
                            FE_MEM_TABLE_SIZE(8), fds, 8), 0);
    }
    close(fd);
    rig_check_traffic(&other, 0);
    rig_close(&rig);
    rig_close(&other);
}

/* Two handlers of SIGBUS, each of which thinks that the other one is the one
 * that was there before. */
static struct sigaction before_ours;

static void
other_handler(int signum, siginfo_t *info, void *context)
{
    before_ours.sa_sigaction(signum, info, context);
}

static void
cause_sigbus(bool sent)
{
    struct sigaction action = {
        .sa_sigaction = other_handler, .sa_flags = SA_SIGINFO,
    };
    volatile uint8_t *p;
    int fd;

    signal(SIGBUS, SIG_DFL);
    sigemptyset(&action.sa_mask);
    CHECK_EQ(vhost_sigbus_install(), 0);
    CHECK_EQ(sigaction(SIGBUS, &action, &before_ours), 0);
    CHECK(before_ours.sa_flags & SA_SIGINFO);
    CHECK_EQ(vhost_sigbus_install(), 0);
    if (sent) {
        raise(SIGBUS);
    } else {
        fd = fe_memfd(FE_PAGE, MFD_CLOEXEC);
        p = mmap(NULL, FE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(p != MAP_FAILED);
        CHECK_EQ(ftruncate(fd, 0), 0);
        p[0] = p[1];
    }
}

static void
check_sigbus_loop(bool sent)
{
    long long int end = test_now_us() + 5000000;
    pid_t pid = fork();
    int status;

    CHECK_GE(pid, 0);
    if (!pid) {
        cause_sigbus(sent);
        _exit(0);
    }
    while (!waitpid(pid, &status, WNOHANG)) {
        if (test_now_us() > end) {
            kill(pid, SIGKILL);
        }
        test_sleep_us(500);
    }
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGBUS);
}

static void
test_sigbus_loop(void)
{
    test_part("%s", "an access");
    check_sigbus_loop(false);
    test_part("%s", "sent");
    check_sigbus_loop(true);
}

static const struct test_case cases[] = {
    { "slow-close-message", test_slow_close_message, 0 },
    { "slow-close-extra", test_slow_close_extra, 0 },
    { "slow-close-kept", test_slow_close_kept, 0 },
    { "slow-close-refused", test_slow_close_refused, 0 },
    { "slow-close-teardown", test_slow_close_teardown, 0 },
    { "slow-close-backlog", test_slow_close_backlog, 0 },
    { "slow-close-many", test_slow_close_many, 0 },
    { "quick-connections", test_quick_connections, 0 },
    { "inode-lock", test_inode_lock, 0 },
    { "slow-call", test_slow_call, 0 },
    { "refused-and-destroyed", test_refused_and_destroyed, 0 },
    { "stop-budget", test_stop_budget, 0 },
    { "tiny-buffers", test_tiny_buffers, 0 },
    { "misaligned", test_misaligned, 0 },
    { "drain-many", test_drain_many, 0 },
    { "arrays-full", test_arrays_full, 0 },
    { "accept-fails", test_accept_fails, 0 },
    { "address-space", test_address_space, 0 },
    { "sigbus-loop", test_sigbus_loop, TEST_FORKS },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
