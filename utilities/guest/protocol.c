/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The front end's side of the socket: connections, messages, replies and the
 * order in which a well-behaved front end says things. */

#include "guest/frontend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/fail.h"

#define REPLY_MS 8000
#define MAX_FDS 32

static void
make_address(struct sockaddr_un *sun, const char *path)
{
    memset(sun, 0, sizeof *sun);
    sun->sun_family = AF_UNIX;
    FE_CHECK_LT(strlen(path), sizeof sun->sun_path);
    memcpy(sun->sun_path, path, strlen(path) + 1);
}

bool
fe_connect(struct fe *fe, const char *path, int ms)
{
    long long int end = fe_now_us() + ms * 1000LL;
    struct sockaddr_un sun;

    make_address(&sun, path);
    fe_hang_up(fe);
    fe->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FE_CHECK_GE(fe->sock, 0);
    while (connect(fe->sock, (struct sockaddr *) &sun, sizeof sun)) {
        if (fe_now_us() >= end) {
            fe_hang_up(fe);
            return false;
        }
        fe_sleep_us(500);
    }
    return true;
}

int
fe_listen(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un sun;

    make_address(&sun, path);
    FE_CHECK_GE(fd, 0);
    FE_CHECK_EQ(bind(fd, (struct sockaddr *) &sun, sizeof sun), 0);
    FE_CHECK_EQ(listen(fd, 10), 0);
    return fd;
}

bool
fe_accept(struct fe *fe, int listen_fd, int ms)
{
    struct pollfd pfd = { .fd = listen_fd, .events = POLLIN };

    fe_hang_up(fe);
    if (poll(&pfd, 1, ms) <= 0) {
        return false;
    }
    fe->sock = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    FE_CHECK_GE(fe->sock, 0);
    return true;
}

/* Messages. */

bool
fe_send_bytes(struct fe *fe, const void *data, size_t len, const int fds[],
              unsigned int n_fds)
{
    union {
        char buf[CMSG_SPACE(MAX_FDS * sizeof (int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { (void *) data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    size_t done = 0;

    FE_CHECK_LE(n_fds, MAX_FDS);
    if (n_fds) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof control);
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof (int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof (int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof (int));
    }
    while (done < len) {
        ssize_t n;

        iov.iov_base = (char *) data + done;
        iov.iov_len = len - done;
        n = sendmsg(fe->sock, &msg, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        done += n;
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    }
    return true;
}

bool
fe_send_fds(struct fe *fe, uint32_t request, uint32_t flags,
            const void *payload, size_t size, const int fds[],
            unsigned int n_fds)
{
    struct fe_header h = { request, FE_VERSION | flags, size };
    char buf[sizeof h + 8192];

    FE_CHECK_LE(size, sizeof buf - sizeof h);
    memcpy(buf, &h, sizeof h);
    if (size) {
        memcpy(buf + sizeof h, payload, size);
    }
    return fe_send_bytes(fe, buf, sizeof h + size, fds, n_fds);
}

bool
fe_send(struct fe *fe, uint32_t request, uint32_t flags, const void *payload,
        size_t size)
{
    return fe_send_fds(fe, request, flags, payload, size, NULL, 0);
}

/* Receives exactly 'len' bytes before 'end'. */
static enum fe_got
receive_bytes(struct fe *fe, void *data, size_t len, long long int end)
{
    size_t done = 0;

    while (done < len) {
        struct pollfd pfd = { .fd = fe->sock, .events = POLLIN };
        long long int left = end - fe_now_us();
        ssize_t n;

        if (left < 0) {
            left = 0;
        }
        if (poll(&pfd, 1, (left + 999) / 1000) <= 0) {
            if (fe_now_us() >= end) {
                return FE_GOT_NOTHING;
            }
            continue;
        }
        n = recv(fe->sock, (char *) data + done, len - done, 0);
        if (!n || (n < 0 && errno != EINTR && errno != EAGAIN)) {
            return FE_GOT_END;
        }
        if (n > 0) {
            done += n;
        }
    }
    return FE_GOT_MESSAGE;
}

enum fe_got
fe_receive(struct fe *fe, struct fe_header *h, void *payload, size_t max,
           int ms)
{
    long long int end = fe_now_us() + ms * 1000LL;
    enum fe_got got = receive_bytes(fe, h, sizeof *h, end);

    if (got == FE_GOT_MESSAGE) {
        FE_CHECK_LE(h->size, max);
        got = receive_bytes(fe, payload, h->size, end);
        FE_CHECK(got != FE_GOT_NOTHING);
    }
    return got;
}

void
fe_reply(struct fe *fe, uint32_t request, void *payload, size_t size)
{
    struct fe_header h;
    uint8_t buf[4096];

    FE_CHECK_LE(size, sizeof buf);
    switch (fe_receive(fe, &h, buf, sizeof buf, REPLY_MS)) {
    case FE_GOT_MESSAGE:
        break;
    case FE_GOT_END:
        fe_failed(__FILE__, __LINE__, "the connection was closed in place of "
                  "a reply to request %u", request);
    case FE_GOT_NOTHING:
        fe_failed(__FILE__, __LINE__, "no reply to request %u within %d ms",
                  request, REPLY_MS);
    }
    FE_CHECK_EQ(h.request, request);
    FE_CHECK_EQ(h.flags, FE_VERSION | FE_REPLY);
    FE_CHECK_EQ(h.size, size);
    memcpy(payload, buf, size);
}

uint64_t
fe_reply_u64(struct fe *fe, uint32_t request)
{
    uint64_t value;

    fe_reply(fe, request, &value, sizeof value);
    return value;
}

uint64_t
fe_get_u64(struct fe *fe, uint32_t request)
{
    FE_CHECK(fe_send(fe, request, 0, NULL, 0));
    return fe_reply_u64(fe, request);
}

bool
fe_closed(struct fe *fe, int ms)
{
    long long int end = fe_now_us() + ms * 1000LL;

    while (fe_now_us() < end) {
        char byte;

        if (receive_bytes(fe, &byte, 1, end) == FE_GOT_END) {
            return true;
        }
    }
    return false;
}

void
fe_sync(struct fe *fe)
{
    fe_get_u64(fe, FE_GET_FEATURES);
}

bool
fe_alive(struct fe *fe, int ms)
{
    struct fe_header h;
    uint64_t value;

    if (!fe_send(fe, FE_GET_FEATURES, 0, NULL, 0)) {
        return false;
    }
    return fe_receive(fe, &h, &value, sizeof value, ms) == FE_GOT_MESSAGE
           && h.request == FE_GET_FEATURES;
}

uint64_t
fe_ask_fds(struct fe *fe, uint32_t request, const void *payload, size_t size,
           const int fds[], unsigned int n_fds)
{
    bool ack = (fe->protocol & FE_P_REPLY_ACK) != 0;

    FE_CHECK(fe_send_fds(fe, request, ack ? FE_NEED_REPLY : 0, payload, size,
                      fds, n_fds));
    if (ack) {
        return fe_reply_u64(fe, request);
    }
    fe_sync(fe);
    return 0;
}

uint64_t
fe_ask(struct fe *fe, uint32_t request, const void *payload, size_t size)
{
    return fe_ask_fds(fe, request, payload, size, NULL, 0);
}

uint64_t
fe_ask_u64(struct fe *fe, uint32_t request, uint64_t value)
{
    return fe_ask(fe, request, &value, sizeof value);
}

uint64_t
fe_ask_state(struct fe *fe, uint32_t request, uint32_t index, uint32_t num)
{
    struct fe_vring_state state = { index, num };

    return fe_ask(fe, request, &state, sizeof state);
}

uint64_t
fe_ask_vring_fd(struct fe *fe, uint32_t request, uint32_t index, int fd)
{
    uint64_t value = index | (fd < 0 ? FE_NOFD : 0);

    return fe_ask_fds(fe, request, &value, sizeof value, &fd, fd >= 0);
}

void
fe_ask_offer(struct fe *fe)
{
    fe->protocol = fe->offered_protocol = 0;
    fe->offered = fe_get_u64(fe, FE_GET_FEATURES);
    if (fe->offered & FE_F_PROTOCOL) {
        fe->offered_protocol = fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES);
    }
}

void
fe_accept_offer(struct fe *fe, uint64_t features, uint64_t protocol)
{
    if (features & FE_F_PROTOCOL) {
        FE_CHECK(fe_send(fe, FE_SET_PROTOCOL_FEATURES, 0, &protocol,
                         sizeof protocol));
        fe->protocol = protocol;
    }
    FE_CHECK(fe_send(fe, FE_SET_OWNER, 0, NULL, 0));
    if (fe->features != features) {
        /* Drivers in other threads read this, also while a front end
         * connects again. */
        fe->features = features;
    }
    FE_CHECK_EQ(fe_ask_u64(fe, FE_SET_FEATURES, features), 0);
}

void
fe_negotiate(struct fe *fe, uint64_t features, uint64_t protocol)
{
    fe_ask_offer(fe);
    FE_CHECK_EQ(fe->offered & features, features);
    if (features & FE_F_PROTOCOL) {
        FE_CHECK_EQ(fe->offered_protocol & protocol, protocol);
    }
    fe_accept_offer(fe, features, protocol);
}

uint64_t
fe_send_mem_table(struct fe *fe)
{
    struct fe_mem_table table;
    int fds[FE_MAX_REGIONS];

    memset(&table, 0, sizeof table);
    table.n = fe->n_regions;
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        const struct fe_region *r = &fe->regions[i];

        table.regions[i].guest_addr = r->guest_addr;
        table.regions[i].size = r->size;
        table.regions[i].user_addr = r->user_addr;
        table.regions[i].offset = r->offset;
        fds[i] = r->fd;
    }
    return fe_ask_fds(fe, FE_SET_MEM_TABLE, &table,
                      FE_MEM_TABLE_SIZE(table.n), fds, table.n);
}

uint64_t
fe_send_mem_reg(struct fe *fe, uint32_t request, const struct fe_region *r)
{
    struct fe_mem_reg reg = {
        .region = { r->guest_addr, r->size, r->user_addr, r->offset },
    };

    return fe_ask_fds(fe, request, &reg, sizeof reg, &r->fd,
                      request == FE_ADD_MEM_REG);
}
