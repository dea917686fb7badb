/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of DEVICE_STATE: what was counted for a guest goes to another
 * port with it, and nothing that a front end sends or withholds there does
 * harm. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"

#define STATE_PROTOCOL (RIG_PROTOCOL | FE_P_DEVICE_STATE)
#define NOFD 0x100u

enum { SAVE, LOAD };

/* The layout, written down once more: it must stay what it is. */
struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t n_entries;
};

struct entry {
    uint16_t vring;
    uint16_t reserved;
    uint32_t number;
    uint64_t value;
};

#define MAGIC "VO-State"
#define END "VO--End."
#define LOAD_SIZE (128 << 10)

static void
open_rig(struct rig *rig, const char *name)
{
    static const struct rig_config c = { .protocol = STATE_PROTOCOL };

    rig_create(rig, name, &c);
    rig_connect(rig);
}

/* Sends SET_DEVICE_STATE_FD with the proper end of a pipe, as QEMU does. */
static void
send_request(struct rig *rig, uint32_t direction, uint32_t phase)
{
    uint32_t payload[2] = { direction, phase };
    int fds[2];

    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    CHECK(fe_send_fds(&rig->fe, FE_SET_DEVICE_STATE_FD, 0, payload,
                      sizeof payload, &fds[direction == SAVE], 1));
    close(fds[0]);
    close(fds[1]);
}

/* The same; returns the answer and stores the descriptor that came with it,
 * or -1. */
static uint64_t
transfer(struct rig *rig, uint32_t direction, uint32_t phase, int *fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct {
        struct fe_header h;
        uint64_t u64;
    } __attribute__((packed)) reply;
    struct iovec iov = { &reply, sizeof reply };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = sizeof control };
    struct cmsghdr *c;

    send_request(rig, direction, phase);
    CHECK_EQ(recvmsg(rig->fe.sock, &msg, MSG_CMSG_CLOEXEC), sizeof reply);
    CHECK_EQ(reply.h.request, FE_SET_DEVICE_STATE_FD);
    CHECK_EQ(reply.h.size, sizeof reply.u64);
    *fd = -1;
    c = CMSG_FIRSTHDR(&msg);
    if (c) {
        CHECK_EQ(c->cmsg_type, SCM_RIGHTS);
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    }
    CHECK_EQ(*fd < 0, !!(reply.u64 & NOFD));
    CHECK_EQ(*fd < 0, !!(reply.u64 & 0xff));
    return reply.u64;
}

static uint64_t
check_state(struct rig *rig)
{
    return fe_get_u64(&rig->fe, FE_CHECK_DEVICE_STATE);
}

/* Reads the state of 'rig' to the end of the file.  Returns its size. */
static size_t
save(struct rig *rig, uint8_t *state)
{
    size_t n = 0;
    ssize_t got;
    int fd;

    CHECK_EQ(transfer(rig, SAVE, 0, &fd), 0);
    while ((got = read(fd, state + n, LOAD_SIZE - n)) > 0) {
        n += got;
    }
    CHECK_EQ(got, 0);
    CHECK_NE(pwrite(fd, "x", 1, 0), 1);
    CHECK_NE(ftruncate(fd, 0), 0);
    close(fd);
    CHECK_EQ(check_state(rig), 0);
    return n;
}

/* Writes a state; returns the result of CHECK_DEVICE_STATE. */
static uint64_t
load(struct rig *rig, const void *state, size_t size)
{
    int fd;

    CHECK_EQ(transfer(rig, LOAD, 0, &fd), 0);
    CHECK_EQ(write(fd, state, size), (ssize_t) size);
    close(fd);
    return check_state(rig);
}

/* Makes a state of 'n' entries; returns its size. */
static size_t
make_state(uint8_t *state, const struct entry *entries, uint32_t n)
{
    struct header h = { .version = 1, .n_entries = n };
    size_t size = sizeof h;

    memcpy(&h.magic, MAGIC, sizeof h.magic);
    memcpy(state, &h, sizeof h);
    memcpy(state + size, entries, n * sizeof *entries);
    size += n * sizeof *entries;
    memcpy(state + size, END, 8);
    return size + 8;
}

static void
stop(struct rig *rig)
{
    fe_vq_stop(RIG_RX(rig, 0));
    fe_vq_stop(RIG_TX(rig, 0));
}

/* From one port to another, which has counted something itself. */
static void
test_round_trip(void)
{
    static uint8_t state[LOAD_SIZE], again[LOAD_SIZE];
    struct fe_buf bad = { 1, 100, false };
    uint8_t frame[2048];
    struct rig a, b;
    size_t size;

    open_rig(&a, "a");
    rig_start(&a);
    rig_check_traffic(&a, 0);
    CHECK_GE(fe_vq_add(RIG_TX(&a, 0), &bad, 1, 0, 0), 0);
    fe_vq_publish(RIG_TX(&a, 0));
    CHECK_EQ(rig_switch_recv(&a, 0, frame, sizeof frame, NULL), -1);
    CHECK_EQ(rig_guest_errors(&a, 1), 1);
    for (unsigned int i = 0; i < VHOST_STATE_VALUES; i++) {
        a.values[i] = i * UINT64_C(1000000007);
    }
    a.values[3] = UINT64_MAX;
    stop(&a);
    size = save(&a, state);
    CHECK_EQ(memcmp(state, MAGIC, 8), 0);
    CHECK_EQ(memcmp(state + size - 8, END, 8), 0);
    CHECK_EQ(save(&a, again), size);
    CHECK_EQ(memcmp(state, again, size), 0);

    open_rig(&b, "b");
    b.values[5] = 7;
    CHECK_EQ(load(&b, state, size), 0);
    for (unsigned int i = 0; i < VHOST_STATE_VALUES; i++) {
        CHECK_EQ(b.values[i], i == 3 ? UINT64_C(1) << 60
                 : i * UINT64_C(1000000007) + (i == 5 ? 7 : 0));
    }
    for (unsigned int idx = 0; idx < 2; idx++) {
        for (unsigned int i = 0; i < VHOST_N_COUNTERS; i++) {
            CHECK_EQ(rig_counter(&b, idx, i), rig_counter(&a, idx, i));
        }
    }
    CHECK_EQ(rig_guest_errors(&b, 1), 1);
    CHECK_EQ(save(&b, again), size);

    test_part("it goes on from there");
    rig_start(&b);
    rig_check_traffic(&b, 0);
    CHECK_GE(fe_vq_add(RIG_TX(&b, 0), &bad, 1, 0, 0), 0);
    fe_vq_publish(RIG_TX(&b, 0));
    CHECK_EQ(rig_switch_recv(&b, 0, frame, sizeof frame, NULL), -1);
    CHECK_EQ(rig_guest_errors(&b, 1), 2);
    rig_close(&a);
    rig_close(&b);
}

/* Counters that are not known, or belong to rings that are not there, are
 * passed over; sums stay within their limit. */
static void
test_foreign(void)
{
    const uint64_t most = UINT64_C(1) << 60;
    const struct entry entries[] = {
        { 1, 0, 5, most }, { 1, 0, 5, most }, { 1, 0, 0, 1 },
        { 1, 0, 255, 1 }, { 1, 0, UINT32_MAX, 1 },
        { 2 * RIG_MAX_PAIRS, 0, 5, 1 }, { 0xfffe, 0, 5, 1 },
        { 0xffff, 0, VHOST_STATE_VALUES, 1 }, { 0xffff, 0, UINT32_MAX, 1 },
        { 0xffff, 0, 2, most },
    };
    static uint8_t state[LOAD_SIZE];
    struct rig rig;

    open_rig(&rig, "p");
    CHECK_EQ(load(&rig, state, make_state(state, entries, N_ELEMS(entries))),
             0);
    for (unsigned int i = 0; i < VHOST_N_COUNTERS; i++) {
        CHECK_EQ(rig_counter(&rig, 1, i), i == VHOST_C_BAD_ADDRESS ? most : 0);
    }
    for (unsigned int i = 0; i < VHOST_STATE_VALUES; i++) {
        CHECK_EQ(rig.values[i], i == 2 ? most : 0);
    }
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* Nothing of a state that is not right is taken. */
static void
test_bad_states(void)
{
    static const struct entry good[] = {
        { 1, 0, 5, 1 }, { 0xffff, 0, 2, 1 },
    };
    static uint8_t state[LOAD_SIZE + 1];
    struct entry bad[2];
    unsigned int n_fds;
    struct rig rig;
    size_t size;
    int fd;

    open_rig(&rig, "p");
    n_fds = rig_settled_fds(&rig);
    size = make_state(state, good, 2);
    for (size_t i = 0; i < size; i++) {
        test_part("%zu bytes", i);
        CHECK_EQ(load(&rig, state, i), 1);
    }
    test_part("changed bytes");
    for (size_t i = 0; i < 16; i++) {
        state[i] ^= 0x80;
        CHECK_EQ(load(&rig, state, size), 1);
        state[i] ^= 0x80;
    }
    test_part("followed by something");
    state[size] = 1;
    CHECK_EQ(load(&rig, state, size + 1), 1);
    state[size] = 0;
    state[LOAD_SIZE - 1] = 1;
    CHECK_EQ(load(&rig, state, LOAD_SIZE), 1);
    state[LOAD_SIZE - 1] = 0;
    test_part("bad entries");
    memcpy(bad, good, sizeof bad);
    bad[0].reserved = 1;
    CHECK_EQ(load(&rig, state, make_state(state, bad, 2)), 1);
    memcpy(bad, good, sizeof bad);
    bad[1].value = (UINT64_C(1) << 60) + 1;
    CHECK_EQ(load(&rig, state, make_state(state, bad, 2)), 1);
    size = make_state(state, good, 2);
    for (unsigned int i = 0; i < 3; i++) {
        static const uint32_t n[] = { LOAD_SIZE / 16, UINT32_MAX / 16,
                                      UINT32_MAX };

        memcpy(state + 12, &n[i], sizeof n[i]);
        CHECK_EQ(load(&rig, state, size), 1);
    }
    size = make_state(state, good, 2);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_BAD_ADDRESS), 0);
    CHECK_EQ(rig.values[2], 0);

    test_part("the file keeps its size");
    CHECK_EQ(transfer(&rig, LOAD, 0, &fd), 0);
    CHECK_NE(ftruncate(fd, 0), 0);
    CHECK_NE(ftruncate(fd, LOAD_SIZE + 1), 0);
    CHECK_NE(fallocate(fd, 0, 0, LOAD_SIZE + 1), 0);
    CHECK_NE(pwrite(fd, "x", 1, LOAD_SIZE), 1);
    close(fd);

    test_part("loading again, with no end of file");
    CHECK_EQ(transfer(&rig, LOAD, 0, &fd), 0);
    CHECK_EQ(write(fd, state, size), (ssize_t) size);
    CHECK_EQ(check_state(&rig), 0);
    CHECK_EQ(check_state(&rig), 1);
    close(fd);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_BAD_ADDRESS), 1);
    CHECK_EQ(rig.values[2], 1);
    RIG_WAIT_FDS(&rig, n_fds);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* What cannot be is answered so, and costs nobody his connection. */
static void
test_refused(void)
{
    static const struct entry good = { 1, 0, 5, 1 };
    static uint8_t state[LOAD_SIZE];
    unsigned int n_fds;
    struct rig rig;
    size_t size;
    int fd;

    open_rig(&rig, "p");
    n_fds = rig_settled_fds(&rig);
    CHECK_EQ(check_state(&rig), 1);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(transfer(&rig, i, 1, &fd), 1 | NOFD);
        CHECK_EQ(transfer(&rig, i, UINT32_MAX, &fd), 1 | NOFD);
    }
    CHECK_EQ(transfer(&rig, 2, 0, &fd), 1 | NOFD);
    CHECK_EQ(transfer(&rig, UINT32_MAX, 0, &fd), 1 | NOFD);
    CHECK_EQ(check_state(&rig), 1);

    test_part("rings that run");
    size = make_state(state, &good, 1);
    CHECK_EQ(transfer(&rig, LOAD, 0, &fd), 0);
    CHECK_EQ(write(fd, state, size), (ssize_t) size);
    close(fd);
    rig_start(&rig);
    CHECK_EQ(check_state(&rig), 1);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_BAD_ADDRESS), 0);
    n_fds = rig_settled_fds(&rig);
    CHECK_EQ(transfer(&rig, SAVE, 0, &fd), 1 | NOFD);
    CHECK_EQ(transfer(&rig, LOAD, 0, &fd), 1 | NOFD);
    fe_vq_stop(RIG_RX(&rig, 0));
    CHECK_EQ(transfer(&rig, SAVE, 0, &fd), 1 | NOFD);
    rig_start_ring(&rig, 0, fe_vq_base(RIG_RX(&rig, 0)));
    rig_check_traffic(&rig, 0);
    RIG_WAIT_FDS(&rig, n_fds);
    rig_close(&rig);
}

static void
test_forms(void)
{
    static const struct {
        uint32_t request;
        size_t size;
        unsigned int n_fds;
    } forms[] = {
        { FE_SET_DEVICE_STATE_FD, 8, 0 }, { FE_SET_DEVICE_STATE_FD, 8, 2 },
        { FE_SET_DEVICE_STATE_FD, 0, 1 }, { FE_SET_DEVICE_STATE_FD, 7, 1 },
        { FE_SET_DEVICE_STATE_FD, 9, 1 }, { FE_CHECK_DEVICE_STATE, 8, 0 },
        { FE_CHECK_DEVICE_STATE, 0, 1 },
    };
    const uint8_t payload[16] = { 0 };
    unsigned int n_fds;
    struct rig rig;
    int fds[2];

    open_rig(&rig, "p");
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    n_fds = rig_settled_fds(&rig);
    for (unsigned int i = 0; i < N_ELEMS(forms); i++) {
        test_part("form %u", i);
        CHECK(fe_send_fds(&rig.fe, forms[i].request, FE_NEED_REPLY, payload,
                          forms[i].size, fds, forms[i].n_fds));
        CHECK(fe_closed(&rig.fe, 5000));
        fe_hang_up(&rig.fe);
        rig_connect(&rig);
    }
    RIG_WAIT_FDS(&rig, n_fds);

    test_part("not negotiated");
    rig_disconnect(&rig);
    rig.c.protocol = RIG_PROTOCOL;
    rig_connect(&rig);
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_DEVICE_STATE_FD, payload, 8, fds, 1),
             1);
    CHECK_EQ(fe_ask(&rig.fe, FE_CHECK_DEVICE_STATE, NULL, 0), 1);
    RIG_WAIT_FDS(&rig, n_fds);
    close(fds[0]);
    close(fds[1]);
    rig_close(&rig);
}

/* Connections that end in the midst leave no descriptor. */
static void
test_hang_up(void)
{
    unsigned int n_fds;
    struct rig rig;
    int fd;

    open_rig(&rig, "p");
    n_fds = rig_settled_fds(&rig);
    for (unsigned int i = 0; i < 4; i++) {
        test_part("after %s, %s", i & 1 ? "load" : "save",
                  i & 2 ? "answered" : "not answered");
        if (i & 2) {
            CHECK_EQ(transfer(&rig, i & 1, 0, &fd), 0);
            close(fd);
        } else {
            send_request(&rig, i & 1, 0);
        }
        rig_disconnect(&rig);
        rig_connect(&rig);
        CHECK_EQ(check_state(&rig), 1);
        RIG_WAIT_FDS(&rig, n_fds);
    }

    test_part("begun again and again");
    for (unsigned int i = 0; i < 100; i++) {
        CHECK_EQ(transfer(&rig, i & 1, 0, &fd), 0);
        close(fd);
    }
    CHECK_LE(rig_settled_fds(&rig), n_fds + 1);

    test_part("answers that nobody takes");
    for (unsigned int i = 0; i < 2; i++) {
        struct fe_header h = { FE_SET_DEVICE_STATE_FD, FE_VERSION, 8 };
        uint32_t payload[2] = { i, 0 };
        struct {
            union {
                char buf[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
            } control;
        } c = { .control = { .buf = "" } };
        struct iovec iov[] = { { &h, sizeof h },
                               { payload, sizeof payload } };
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2,
                              .msg_control = &c.control,
                              .msg_controllen = sizeof c.control };
        unsigned int n = 0;
        int file = fe_memfd(FE_PAGE, 0);

        c.control.align.cmsg_level = SOL_SOCKET;
        c.control.align.cmsg_type = SCM_RIGHTS;
        c.control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&c.control.align), &file, sizeof file);
        for (;;) {
            struct pollfd pfd = { rig.fe.sock, POLLOUT, 0 };

            if (poll(&pfd, 1, 500) != 1
                || sendmsg(rig.fe.sock, &msg,
                           MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
                break;
            }
            n++;
        }
        CHECK_GT(n, 10);
        close(file);
        rig_disconnect(&rig);
        rig_connect(&rig);
        RIG_WAIT_FDS(&rig, n_fds);
    }
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "round-trip", test_round_trip, 0 },
    { "foreign", test_foreign, 0 },
    { "bad-states", test_bad_states, 60 },
    { "refused", test_refused, 60 },
    { "forms", test_forms, 60 },
    { "hang-up", test_hang_up, 60 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
