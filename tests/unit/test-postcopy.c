/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of postcopy: a guest that runs here before its memory has come.
 * The front end serves the userfaultfd that it gets, and pages come late or
 * never.  Whatever it does, no polling thread waits, other ports and the event
 * thread go on, and nothing of a packet is lost.
 *
 * A page that is "elsewhere" is a hole in the memory file; what it holds is
 * kept here until it is sent.  The front end does with it what QEMU does: puts
 * it into the file and wakes up those who wait for it. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"

#define MAX_PAGES 8192

/* Longest time that a polling thread may be away, in microseconds: far more
 * than a busy machine takes from it, far less than a page is withheld. */
#define MAX_AWAY 400000
#define WITHHELD 1000000

/* Where the guest comes from. */
struct source {
    struct rig *rig;
    int uffd;
    int stop_fd;
    pthread_t thread;
    uint64_t bases[FE_MAX_REGIONS];
    atomic_bool generous;       /* Sends what is asked for. */
    atomic_uint n_asked;        /* Faults that it was told of. */
    pthread_mutex_t mutex;      /* Protects the rest. */
    struct {
        uint8_t *data;          /* NULL: it is there. */
        bool asked;
    } pages[FE_MAX_REGIONS][MAX_PAGES];
};

static struct source source;
static uint8_t frame[65536];

/* Receives an answer without payload and the descriptor that comes with it;
 * -1 if there is none. */
static int
receive_fd(struct fe *fe, uint32_t request)
{
    struct fe_header h;
    union {
        char buf[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { &h, sizeof h };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = sizeof control,
    };
    struct pollfd pfd = { .fd = fe->sock, .events = POLLIN };
    struct cmsghdr *c;
    int fd = -1;

    CHECK_EQ(poll(&pfd, 1, 5000), 1);
    CHECK_EQ(recvmsg(fe->sock, &msg, MSG_CMSG_CLOEXEC), sizeof h);
    CHECK_EQ(h.request, request);
    CHECK_EQ(h.flags, FE_VERSION | FE_REPLY);
    CHECK_EQ(h.size, 0);
    c = CMSG_FIRSTHDR(&msg);
    if (c) {
        CHECK_EQ(c->cmsg_len, CMSG_LEN(sizeof fd));
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    return fd;
}

static int
advise(struct rig *rig)
{
    CHECK(fe_send(&rig->fe, FE_POSTCOPY_ADVISE, 0, NULL, 0));
    return receive_fd(&rig->fe, FE_POSTCOPY_ADVISE);
}

/* Connects and negotiates; the guest has memory here, but nothing was said of
 * it. */
static void
connect_rig(struct rig *rig)
{
    if (rig->c.role == VHOST_CLIENT) {
        CHECK(fe_accept(&rig->fe, rig->listen_fd, 5000));
    } else {
        CHECK(fe_connect(&rig->fe, rig->path, 5000));
    }
    fe_negotiate(&rig->fe, rig->c.features, rig->c.protocol | FE_P_PAGEFAULT);
    if (!rig->fe.n_regions) {
        rig_make_guest(rig);
    }
}

static void
open_rig(struct rig *rig, const char *name, const struct rig_config *c)
{
    CHECK_EQ(vhost_sigbus_install(), 0);
    rig_create(rig, name, c);
    if (vhost_postcopy_obstacle()) {
        rig_close(rig);
        test_skip("%s", vhost_postcopy_obstacle());
    }
    connect_rig(rig);
}

/* The source. */

/* Sends page 'page' of region 'r' if it is not here.  With the mutex. */
static void
send_page(unsigned int r, unsigned int page)
{
    struct fe_region *region = &source.rig->fe.regions[r];
    struct uffdio_range range = {
        source.bases[r] + (uint64_t) page * FE_PAGE, FE_PAGE,
    };

    if (source.pages[r][page].data) {
        CHECK_EQ(pwrite(region->fd, source.pages[r][page].data, FE_PAGE,
                        region->offset + (uint64_t) page * FE_PAGE), FE_PAGE);
        free(source.pages[r][page].data);
        source.pages[r][page].data = NULL;
    }
    source.pages[r][page].asked = false;
    if (source.bases[r]) {
        CHECK_EQ(ioctl(source.uffd, UFFDIO_WAKE, &range), 0);
    }
}

/* Notes a fault, which may be in a region that has gone since. */
static void
take_fault(uint64_t addr)
{
    for (unsigned int r = 0; r < FE_MAX_REGIONS; r++) {
        uint64_t offset = addr - source.bases[r];

        if (source.bases[r] && offset < source.rig->fe.regions[r].size) {
            source.pages[r][offset / FE_PAGE].asked = true;
            atomic_fetch_add(&source.n_asked, 1);
            if (atomic_load(&source.generous)) {
                send_page(r, offset / FE_PAGE);
            }
            return;
        }
    }
    test_fail(__FILE__, __LINE__, "a fault at %#llx, which is no guest memory",
              (unsigned long long int) addr);
}

static void *
source_main(void *aux)
{
    (void) aux;
    for (;;) {
        struct pollfd pfds[2] = {
            { .fd = source.stop_fd, .events = POLLIN },
            { .fd = source.uffd, .events = POLLIN },
        };
        struct uffd_msg msg;

        poll(pfds, 2, -1);
        if (pfds[0].revents) {
            return NULL;
        }
        if (read(source.uffd, &msg, sizeof msg) == sizeof msg) {
            CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
            pthread_mutex_lock(&source.mutex);
            take_fault(msg.arg.pagefault.address);
            pthread_mutex_unlock(&source.mutex);
        }
    }
}

/* Makes 'rig' the destination of a migration. */
static void
source_begin(struct rig *rig)
{
    memset(&source, 0, sizeof source);
    pthread_mutex_init(&source.mutex, NULL);
    source.rig = rig;
    source.uffd = advise(rig);
    CHECK_GE(source.uffd, 0);
    CHECK_EQ(fe_ask(&rig->fe, FE_POSTCOPY_LISTEN, NULL, 0), 0);
    source.stop_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(!pthread_create(&source.thread, NULL, source_main, NULL));
}

/* Takes away what is at 'addr': it is elsewhere. */
static void
take_away(uint64_t addr, uint64_t len)
{
    pthread_mutex_lock(&source.mutex);
    for (unsigned int r = 0; r < source.rig->fe.n_regions; r++) {
        struct fe_region *region = &source.rig->fe.regions[r];
        uint64_t first = (addr - region->guest_addr) / FE_PAGE;
        uint64_t last = (addr - region->guest_addr + len - 1) / FE_PAGE;

        if (addr < region->guest_addr
            || addr - region->guest_addr >= region->size) {
            continue;
        }
        CHECK_LT(last, MAX_PAGES);
        for (uint64_t i = first; i <= last; i++) {
            if (!source.pages[r][i].data) {
                uint8_t *data = malloc(FE_PAGE);

                CHECK(data != NULL);
                memcpy(data, region->map + i * FE_PAGE, FE_PAGE);
                source.pages[r][i].data = data;
                CHECK_EQ(fallocate(region->fd, (FALLOC_FL_PUNCH_HOLE
                                                | FALLOC_FL_KEEP_SIZE),
                                   region->offset + i * FE_PAGE, FE_PAGE), 0);
            }
        }
    }
    pthread_mutex_unlock(&source.mutex);
}

/* Takes away the ring of 'vq'. */
static void
take_away_ring(struct fe_vq *vq)
{
    bool packed = test_variant() & FE_F_PACKED;

    take_away(vq->desc_addr, vq->size * 16);
    take_away(vq->avail_addr, packed ? 4 : 6 + 2 * vq->size);
    take_away(vq->used_addr, packed ? 4 : 6 + 8 * vq->size);
}

/* Sends all that was asked for, and from now on what is. */
static void
be_generous(void)
{
    pthread_mutex_lock(&source.mutex);
    atomic_store(&source.generous, true);
    for (unsigned int r = 0; r < source.rig->fe.n_regions; r++) {
        for (unsigned int i = 0; i < MAX_PAGES; i++) {
            if (source.pages[r][i].asked) {
                send_page(r, i);
            }
        }
    }
    pthread_mutex_unlock(&source.mutex);
}

/* Sends everything. */
static void
send_all(void)
{
    pthread_mutex_lock(&source.mutex);
    for (unsigned int r = 0; r < source.rig->fe.n_regions; r++) {
        for (unsigned int i = 0; i < MAX_PAGES; i++) {
            if (source.pages[r][i].data) {
                send_page(r, i);
            }
        }
    }
    pthread_mutex_unlock(&source.mutex);
}

static void
source_close(void)
{
    uint64_t one = 1;

    CHECK_EQ(write(source.stop_fd, &one, sizeof one), sizeof one);
    pthread_join(source.thread, NULL);
    close(source.stop_fd);
    close(source.uffd);
    for (unsigned int r = 0; r < FE_MAX_REGIONS; r++) {
        for (unsigned int i = 0; i < MAX_PAGES; i++) {
            free(source.pages[r][i].data);
        }
    }
}

/* SET_MEM_TABLE in the midst of a migration: the first half, up to the
 * answer. */
static void
send_table(struct rig *rig)
{
    struct fe_mem_table t, reply;
    int fds[FE_MAX_REGIONS];

    memset(&t, 0, sizeof t);
    t.n = rig->fe.n_regions;
    for (unsigned int i = 0; i < t.n; i++) {
        const struct fe_region *r = &rig->fe.regions[i];

        t.regions[i] = (struct fe_mem_region) {
            r->guest_addr, r->size, r->user_addr, r->offset,
        };
        fds[i] = r->fd;
    }
    CHECK(fe_send_fds(&rig->fe, FE_SET_MEM_TABLE, 0, &t,
                      FE_MEM_TABLE_SIZE(t.n), fds, t.n));
    fe_reply(&rig->fe, FE_SET_MEM_TABLE, &reply, FE_MEM_TABLE_SIZE(t.n));
    CHECK_EQ(reply.n, t.n);
    pthread_mutex_lock(&source.mutex);
    for (unsigned int i = 0; i < t.n; i++) {
        CHECK_EQ(reply.regions[i].guest_addr, t.regions[i].guest_addr);
        CHECK_EQ(reply.regions[i].size, t.regions[i].size);
        CHECK_EQ(reply.regions[i].user_addr % FE_PAGE, 0);
        source.bases[i] = reply.regions[i].user_addr;
    }
    pthread_mutex_unlock(&source.mutex);
}

static void
acknowledge(struct rig *rig)
{
    uint64_t ok = 0;

    CHECK(fe_send(&rig->fe, FE_SET_MEM_TABLE, 0, &ok, sizeof ok));
    fe_sync(&rig->fe);
}

/* Both halves, and the rings. */
static void
start_rig(struct rig *rig)
{
    send_table(rig);
    acknowledge(rig);
    for (unsigned int i = 0; i < 2 * rig->c.n_pairs; i++) {
        fe_vq_start(&rig->vqs[i], test_variant() & FE_F_PACKED
                    ? fe_packed_base(0, true) : 0, true);
    }
}

static void
end_postcopy(struct rig *rig)
{
    CHECK(fe_send(&rig->fe, FE_POSTCOPY_END, FE_NEED_REPLY, NULL, 0));
    CHECK_EQ(fe_reply_u64(&rig->fe, FE_POSTCOPY_END), 0);
}

/* Polling. */

static long long int longest;   /* Call, in microseconds. */

/* Like rig_switch_recv(), and notes how long that took. */
static long int
poll_once(struct rig *rig)
{
    long long int start = test_now_us();
    long int len = rig_switch_recv(rig, 0, frame, sizeof frame, NULL);
    long long int time = test_now_us() - start;

    longest = time > longest ? time : longest;
    return len;
}

static bool
send_once(struct rig *rig, size_t len, uint64_t seed)
{
    long long int start = test_now_us();
    bool sent = rig_switch_send(rig, 0, len, seed, NULL);
    long long int time = test_now_us() - start;

    longest = time > longest ? time : longest;
    return sent;
}

/* Cases. */

static void
test_messages(void)
{
    struct rig rig;
    uint64_t value = 0;
    int fd;

    open_rig(&rig, "p", NULL);
    CHECK(rig.fe.offered_protocol & FE_P_PAGEFAULT);

    test_part("too early");
    CHECK_EQ(fe_ask(&rig.fe, FE_POSTCOPY_LISTEN, NULL, 0), 1);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_MEM_TABLE, 0), 1);
    CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_NONE);
    end_postcopy(&rig);

    test_part("once for each queue pair, as QEMU does");
    fd = advise(&rig);
    CHECK_GE(fd, 0);
    CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_ADVISED);
    close(fd);
    source_begin(&rig);
    CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_RUNNING);
    CHECK_EQ(fe_ask(&rig.fe, FE_POSTCOPY_LISTEN, NULL, 0), 0);

    test_part("too late");
    CHECK_EQ(fe_ask(&rig.fe, FE_POSTCOPY_ADVISE, NULL, 0), 1);

    test_part("an acknowledgement of nothing");
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_MEM_TABLE, 0), 1);

    test_part("a table instead of an acknowledgement");
    send_table(&rig);
    CHECK_EQ(fe_send_mem_table(&rig.fe), 1);
    CHECK_EQ(rig_info(&rig).n_regions, rig.fe.n_regions);

    test_part("a negative acknowledgement");
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_MEM_TABLE, 1), 1);
    acknowledge(&rig);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_MEM_TABLE, 0), 1);
    end_postcopy(&rig);
    end_postcopy(&rig);
    CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_NONE);
    source_close();

    test_part("guest memory before");
    fd = advise(&rig);
    CHECK_GE(fd, 0);
    close(fd);
    CHECK_EQ(fe_ask(&rig.fe, FE_POSTCOPY_LISTEN, NULL, 0), 1);

    test_part("an end without a beginning");
    end_postcopy(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);

    test_part("wrong form");
    CHECK(fe_send(&rig.fe, FE_POSTCOPY_ADVISE, 0, &value, sizeof value));
    CHECK(fe_closed(&rig.fe, 5000));
    rig_disconnect(&rig);
    connect_rig(&rig);
    fd = memfd_create("x", MFD_CLOEXEC);
    CHECK(fe_send_fds(&rig.fe, FE_SET_MEM_TABLE, 0, &value, sizeof value, &fd,
                      1));
    CHECK(fe_closed(&rig.fe, 5000));
    close(fd);
    rig_disconnect(&rig);

    test_part("refused without REPLY_ACK");
    rig.c.protocol = FE_P_MQ;
    connect_rig(&rig);
    CHECK(fe_send(&rig.fe, FE_POSTCOPY_LISTEN, 0, NULL, 0));
    CHECK(fe_closed(&rig.fe, 5000));
    rig_disconnect(&rig);

    test_part("with memory slots");
    rig.c.protocol = RIG_PROTOCOL | FE_P_MEM_SLOTS;
    connect_rig(&rig);
    CHECK_EQ(fe_ask(&rig.fe, FE_POSTCOPY_ADVISE, NULL, 0), 1);
    rig_disconnect(&rig);

    test_part("not negotiated");
    rig.c.protocol = RIG_PROTOCOL;
    rig_connect(&rig);
    CHECK_EQ(fe_ask(&rig.fe, FE_POSTCOPY_ADVISE, NULL, 0), 1);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* A migration of which nothing comes late. */
static void
test_smooth(void)
{
    struct rig_config c = { .n_pairs = 2, .n_regions = 2, .n_senders = 2 };
    struct rig rig;

    open_rig(&rig, "p", &c);
    source_begin(&rig);
    atomic_store(&source.generous, true);
    start_rig(&rig);
    WAIT_FOR(rig_info(&rig).state == VHOST_S_READY);
    WAIT_FOR(rig_info(&rig).n_enabled_pairs == 2);
    be_generous();
    for (unsigned int i = 0; i < 3; i++) {
        /* Nothing was taken away; the port does not know that, so its first
         * look at a page is a miss. */
        struct fe_vq *vq = RIG_TX(&rig, i % 2);
        uint64_t addr = fe_alloc(&rig.fe, i % 2, 2048, 4096);
        uint16_t head;
        uint32_t len;

        CHECK(rig_guest_send(&rig, i % 2, addr, 200, i));
        WAIT_FOR(rig_switch_recv(&rig, i % 2, frame, sizeof frame, NULL)
                 == 200);
        CHECK_PATTERN(frame, 200, i);
        CHECK(fe_vq_used(vq, &head, &len));
    }
    CHECK_GT(rig_info(&rig).n_postcopy_pages, 0);
    end_postcopy(&rig);
    CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_NONE);
    CHECK_GT(rig_info(&rig).n_postcopy_pages, 0);
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    source_close();
    rig_close(&rig);
}

/* Rings whose own pages are missing. */
static void
test_rings_late(void)
{
    struct rig_config c = { .role = VHOST_CLIENT };
    struct rig rig, other;
    uint64_t addr;
    uint16_t head;
    uint32_t len;

    rig_open(&other, "other", NULL);
    open_rig(&rig, "p", &c);
    source_begin(&rig);

    /* A frame was sent where the guest comes from. */
    addr = fe_alloc(&rig.fe, 0, 2048, 4096);
    CHECK(rig_guest_send(&rig, 0, addr, 300, 7));
    take_away(addr, 2048);
    take_away_ring(RIG_RX(&rig, 0));
    take_away_ring(RIG_TX(&rig, 0));
    start_rig(&rig);
    WAIT_FOR(atomic_load(&source.n_asked) > 0);
    WAIT_FOR(rig_info(&rig).postcopy_wait_ms > 0);
    for (unsigned int i = 0; i < 50; i++) {
        CHECK_EQ(poll_once(&rig), -1);
        CHECK(!send_once(&rig, 100, 1));
        rig_check_traffic(&other, 0);
        CHECK(fe_alive(&rig.fe, 2000));
        test_sleep_us(WITHHELD / 50);
    }
    CHECK_NE(rig_info(&rig).state, VHOST_S_READY);
    CHECK(rig_vring(&rig, 0).started);

    be_generous();
    WAIT_FOR(rig_info(&rig).state == VHOST_S_READY);
    WAIT_FOR(poll_once(&rig) == 300);
    CHECK_PATTERN(frame, 300, 7);
    CHECK_LT(longest, MAX_AWAY);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    send_all();
    end_postcopy(&rig);
    CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
    CHECK_EQ(RIG_TX(&rig, 0)->chains[head].token, 7);
    rig_check_traffic(&rig, 0);
    source_close();
    rig_close(&rig);
    rig_close(&other);
}

/* Buffers that are missing, in both directions, in all shapes. */
static void
test_buffers_late(void)
{
    struct rig rig;
    struct fe_vq *tx, *rx;
    unsigned int hdr_len, n_asked;
    uint64_t addr, room;
    struct fe_buf bufs[4];
    struct virtio_net_hdr_mrg_rxbuf h;
    uint32_t used_len;
    uint16_t head;

    open_rig(&rig, "p", NULL);
    tx = RIG_TX(&rig, 0);
    rx = RIG_RX(&rig, 0);
    fe_vq_use_indirect(tx, 0, 4);
    source_begin(&rig);
    hdr_len = fe_net_header_len(&rig.fe);

    /* A frame of three pages in a table, a short one, and room for a long
     * one. */
    addr = fe_alloc(&rig.fe, 0, 5 * FE_PAGE, FE_PAGE);
    pattern_fill(frame, 9000, 11);
    fe_net_write(&rig.fe, addr, NULL, frame, 9000);
    fe_split(bufs, addr, 9000 + hdr_len, 4, false);
    CHECK_GE(fe_vq_add(tx, bufs, 4, FE_INDIRECT, 11), 0);
    CHECK(rig_guest_send(&rig, 0, addr + 3 * FE_PAGE, 60, 12));
    room = fe_alloc(&rig.fe, 0, 3 * FE_PAGE, FE_PAGE);
    fe_split(bufs, room, 3 * FE_PAGE, 3, true);
    CHECK_GE(fe_vq_add(rx, bufs, 3, 0, 13), 0);
    fe_vq_publish(rx);
    take_away(addr, 5 * FE_PAGE);
    take_away(room, 3 * FE_PAGE);
    take_away(tx->table_addr, 64);

    start_rig(&rig);
    /* The rings' own pages are there, but the table may be among them. */
    WAIT_FOR_MS((poll_once(&rig), atomic_load(&source.n_asked)) > 0, 10000);
    test_part("while nothing comes");
    for (long long int end = test_now_us() + WITHHELD; test_now_us() < end; ) {
        CHECK_EQ(poll_once(&rig), -1);
        CHECK(!send_once(&rig, 8000, 13));
        CHECK(fe_alive(&rig.fe, 2000));
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    n_asked = atomic_load(&source.n_asked);

    test_part("it comes");
    be_generous();
    WAIT_FOR(poll_once(&rig) == 9000);
    CHECK_PATTERN(frame, 9000, 11);
    WAIT_FOR(poll_once(&rig) == 60);
    CHECK_PATTERN(frame, 60, 12);
    WAIT_FOR(send_once(&rig, 8000, 13));
    CHECK_LT(longest, MAX_AWAY);
    CHECK_GE(atomic_load(&source.n_asked), n_asked + 3);
    send_all();
    CHECK_EQ(fe_net_take(rx, &h, frame, sizeof frame, NULL, NULL, 0), 8000);
    CHECK_PATTERN(frame, 8000, 13);
    CHECK(fe_vq_used(tx, &head, &used_len));
    CHECK_EQ(tx->chains[head].token, 11);

    end_postcopy(&rig);
    CHECK(fe_vq_used(tx, &head, &used_len));
    rig_check_traffic(&rig, 0);
    source_close();
    rig_close(&rig);
}

/* Begins a migration of which a page of a ring's, and one of a buffer's, do
 * not come, and waits until one is due. */
static void
open_stuck(struct rig *rig, bool ring)
{
    uint64_t addr;

    open_rig(rig, "p", NULL);
    source_begin(rig);
    addr = fe_alloc(&rig->fe, 0, 2048, 4096);
    CHECK(rig_guest_send(rig, 0, addr, 300, 7));
    take_away(addr, 2048);
    if (ring) {
        take_away_ring(RIG_TX(rig, 0));
    }
    start_rig(rig);
    WAIT_FOR_MS((poll_once(rig), atomic_load(&source.n_asked)) > 0, 10000);
    WAIT_FOR(rig_info(rig).postcopy_wait_ms > 0);
}

static unsigned int
n_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    unsigned int n = 0;

    CHECK(dir != NULL);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

/* The helper has to wake up although the front end keeps its userfaultfd. */
static void
test_never_destroyed(void)
{
    unsigned int n = n_threads();

    for (unsigned int i = 0; i < 2; i++) {
        long long int start;
        struct rig rig;

        test_part("%s", i ? "ring" : "buffer");
        open_stuck(&rig, i);
        start = test_now_us();
        vhost_port_destroy(rig.port);
        CHECK_LT(test_now_us() - start, 5000000);
        rig.port = NULL;
        WAIT_FOR(n_threads() == n + 1 /* The source's. */);
        source_close();
        rig_close(&rig);
    }
}

static void
test_never_disconnected(void)
{
    unsigned int n = n_threads();

    for (unsigned int i = 0; i < 2; i++) {
        struct rig rig;

        test_part("%s", i ? "ring" : "buffer");
        open_stuck(&rig, i);
        rig_disconnect(&rig);
        WAIT_FOR(n_threads() == n + 1 /* The source's. */);
        CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_NONE);
        source_close();
        rig_free_guest(&rig);
        rig_connect(&rig);
        rig_start(&rig);
        rig_check_traffic(&rig, 0);
        rig_close(&rig);
    }
}

/* The front end ends it although something is missing, which is zeros then. */
static void
test_never_ended(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        struct rig rig;

        test_part("%s", i ? "ring" : "buffer");
        open_stuck(&rig, i);
        end_postcopy(&rig);
        CHECK_EQ(rig_info(&rig).postcopy, VHOST_POSTCOPY_NONE);
        WAIT_FOR(rig_info(&rig).state == VHOST_S_READY);
        if (!i) {
            WAIT_FOR(poll_once(&rig) == 300);
            for (unsigned int k = 0; k < 300; k++) {
                CHECK_EQ(frame[k], 0);
            }
        } else {
            CHECK_EQ(poll_once(&rig), -1);
        }
        CHECK_LT(longest, MAX_AWAY);
        source_close();
        rig_close(&rig);
    }
}

/* Everything ends at the port while it waits for the acknowledgement, or for
 * the registration. */
static void
test_end_while_asking(void)
{
    for (unsigned int i = 0; i < 4; i++) {
        struct rig rig;
        uint64_t ok = 0;

        test_part("%u", i);
        open_rig(&rig, "p", NULL);
        source_begin(&rig);
        send_table(&rig);
        if (i & 1) {
            CHECK(fe_send(&rig.fe, FE_SET_MEM_TABLE, 0, &ok, sizeof ok));
        }
        if (i & 2) {
            rig_disconnect(&rig);
        } else {
            end_postcopy(&rig);
            rig_start(&rig);
            rig_check_traffic(&rig, 0);
        }
        source_close();
        rig_close(&rig);
    }
}

/* Has the front end know of 'n' regions from now on. */
static void
show_regions(struct rig *rig, unsigned int n)
{
    pthread_mutex_lock(&source.mutex);
    rig->fe.n_regions = n;
    pthread_mutex_unlock(&source.mutex);
}

/* More memory, and less of it, in the midst of a migration. */
static void
test_table_changes(void)
{
    struct rig_config c = { .n_regions = 2 };
    struct fe_region gone;
    struct rig rig;
    uint64_t addr[2], resident;

    open_rig(&rig, "p", &c);
    source_begin(&rig);
    show_regions(&rig, 1);
    resident = fe_alloc(&rig.fe, 0, 2048, 4096);
    start_rig(&rig);
    atomic_store(&source.generous, true);
    CHECK(rig_guest_send(&rig, 0, resident, 100, 1));
    WAIT_FOR(poll_once(&rig) == 100);

    test_part("a region more");
    atomic_store(&source.generous, false);
    show_regions(&rig, 2);
    addr[1] = fe_alloc(&rig.fe, 1, 2048, 4096);
    CHECK(rig_guest_send(&rig, 0, resident, 101, 2));
    CHECK(rig_guest_send(&rig, 0, addr[1], 102, 3));
    take_away(addr[1], 2048);
    send_table(&rig);
    CHECK_EQ(poll_once(&rig), -1);
    acknowledge(&rig);

    /* What had come is known to have. */
    CHECK_EQ(poll_once(&rig), 101);
    CHECK_EQ(poll_once(&rig), -1);
    WAIT_FOR((poll_once(&rig), rig_info(&rig).postcopy_wait_ms) > 0);
    be_generous();
    WAIT_FOR(poll_once(&rig) == 102);
    CHECK_PATTERN(frame, 102, 3);

    test_part("one that goes while a page of it is due");
    atomic_store(&source.generous, false);
    addr[1] = fe_alloc(&rig.fe, 1, 2048, 4096);
    CHECK(rig_guest_send(&rig, 0, addr[1], 103, 4));
    take_away(addr[1], 2048);
    WAIT_FOR((poll_once(&rig), rig_info(&rig).postcopy_wait_ms) > 0);
    gone = rig.fe.regions[1];
    show_regions(&rig, 1);
    send_table(&rig);
    acknowledge(&rig);
    WAIT_FOR(rig_info(&rig).postcopy_wait_ms == 0);
    CHECK_EQ(poll_once(&rig), -1);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_BAD_ADDRESS), 1);
    CHECK_LT(longest, MAX_AWAY);
    rig.fe.regions[1] = gone;
    show_regions(&rig, 2);
    source_close();
    rig_close(&rig);
}

/* Many packets, whose pages come when they like.  Nothing is lost, nothing
 * comes twice, nothing changes. */
#define N_FRAMES 600

static void *
dribble(void *aux)
{
    atomic_bool *stop = aux;
    uint64_t state = 42;

    while (!atomic_load(stop)) {
        unsigned int skip = test_random(&state) % 4;

        pthread_mutex_lock(&source.mutex);
        for (unsigned int r = 0; r < source.rig->fe.n_regions; r++) {
            for (unsigned int i = 0; i < MAX_PAGES; i++) {
                if (source.pages[r][i].asked && !skip--) {
                    send_page(r, i);
                }
            }
        }
        pthread_mutex_unlock(&source.mutex);
        test_sleep_us(test_random(&state) % 500);
    }
    return NULL;
}

static void
test_dribble(void)
{
    struct rig_config c = {
        .n_regions = 2, .ring_size = 1024, .region_size = 4 << 20,
    };
    struct rig rig;
    struct fe_vq *tx, *rx;
    atomic_bool stop = false;
    unsigned int n_in = 0, n_out = 0;
    pthread_t thread;

    open_rig(&rig, "p", &c);
    tx = RIG_TX(&rig, 0);
    rx = RIG_RX(&rig, 0);
    source_begin(&rig);
    for (unsigned int i = 0; i < N_FRAMES; i++) {
        uint64_t in = fe_alloc(&rig.fe, i % 2, 2048, 8);
        struct fe_buf out = {
            fe_alloc(&rig.fe, (i + 1) % 2, 2048, 8), 2048, true,
        };

        CHECK(rig_guest_send(&rig, 0, in, 60 + i, i));
        CHECK_GE(fe_vq_add(rx, &out, 1, 0, i), 0);
    }
    fe_vq_publish(rx);
    take_away(rig.fe.regions[0].guest_addr, 3 << 20);
    take_away(rig.fe.regions[1].guest_addr, 3 << 20);
    CHECK(!pthread_create(&thread, NULL, dribble, &stop));
    start_rig(&rig);
    for (long long int end = test_now_us() + 30000000;
         n_in < N_FRAMES || n_out < N_FRAMES; ) {
        long int len = poll_once(&rig);

        CHECK_LT(test_now_us(), end);
        if (len >= 0) {
            CHECK_EQ(len, 60 + n_in);
            CHECK_PATTERN(frame, len, n_in);
            n_in++;
        }
        if (n_out < N_FRAMES && send_once(&rig, 60 + n_out, 5000 + n_out)) {
            n_out++;
        }
        if (len < 0) {
            sched_yield();
        }
    }
    CHECK_LT(longest, MAX_AWAY);
    CHECK_GT(rig_info(&rig).n_postcopy_pages, N_FRAMES / 2);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    send_all();
    end_postcopy(&rig);
    for (unsigned int i = 0; i < N_FRAMES; i++) {
        struct virtio_net_hdr_mrg_rxbuf h;
        uint16_t head;
        uint32_t len;

        CHECK_EQ(fe_net_take(rx, &h, frame, sizeof frame, NULL, NULL, 0),
                 60 + i);
        CHECK_PATTERN(frame, 60 + i, 5000 + i);
        CHECK(fe_vq_used(tx, &head, &len));
        CHECK_EQ(tx->chains[head].token, i);
    }
    rig_check_traffic(&rig, 0);
    source_close();
    rig_close(&rig);
}

/* A process that locks its memory would fill the guest's with zeros. */
static void
test_locked_memory(void)
{
    struct rig rig;

    open_rig(&rig, "p", NULL);
    rig_disconnect(&rig);
    if (mlockall(MCL_FUTURE)) {
        rig_close(&rig);
        test_skip("mlockall: %s", strerror(errno));
    }
    if (!vhost_postcopy_obstacle()) {
        rig_close(&rig);
        test_skip("mlockall() does nothing here, as with AddressSanitizer");
    }
    CHECK_HAS(vhost_postcopy_obstacle(), "locked");
    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    fe_ask_offer(&rig.fe);
    CHECK(!(rig.fe.offered_protocol & FE_P_PAGEFAULT));
    munlockall();
    CHECK(!vhost_postcopy_obstacle());
    fe_ask_offer(&rig.fe);
    CHECK(rig.fe.offered_protocol & FE_P_PAGEFAULT);
    rig_close(&rig);
}

int
main(int argc, char *argv[])
{
    static const struct test_case cases[] = {
        { "messages", test_messages, 0 },
        { "smooth", test_smooth, 0 },
        { "rings-late", test_rings_late, 0 },
        { "buffers-late", test_buffers_late, 0 },
        { "never-destroyed", test_never_destroyed, 0 },
        { "never-disconnected", test_never_disconnected, 0 },
        { "never-ended", test_never_ended, 0 },
        { "end-while-asking", test_end_while_asking, 0 },
        { "table-changes", test_table_changes, 0 },
        { "dribble", test_dribble, 60 },
        { "locked-memory", test_locked_memory, 0 },
    };

    return rig_main(argc, argv, cases, N_ELEMS(cases));
}
