/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See lane.h. */

#include "session/lane.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

union control {
    char buf[CMSG_SPACE(MAX_FDS * sizeof (int))];
    struct cmsghdr align;
};

void
lane_init(struct lane *lane, int from, int to)
{
    memset(lane, 0, sizeof *lane);
    lane->from = from;
    lane->to = to;
}

void
lane_next(struct lane *lane)
{
    for (unsigned int i = 0; i < lane->n_fds; i++) {
        if (lane->fds[i] >= 0) {
            close(lane->fds[i]);
        }
    }
    lane_init(lane, lane->from, lane->to);
}

/* Keeps the descriptors that came with 'msg'. */
static void
take_fds(struct lane *lane, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof (int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (lane->n_fds < MAX_FDS) {
                lane->fds[lane->n_fds++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

/* Receives up to 'want' bytes in all. */
static enum lane_got
fill(struct lane *lane, size_t want)
{
    while (lane->have < want) {
        union control control;
        struct iovec iov = { lane->buf + lane->have, want - lane->have };
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1,
            .msg_control = &control, .msg_controllen = sizeof control,
        };
        ssize_t n = recvmsg(lane->from, &msg,
                            MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return LANE_NOTHING;
        }
        if (n <= 0) {
            return LANE_END;
        }
        take_fds(lane, &msg);
        lane->have += n;
    }
    return LANE_MESSAGE;
}

static struct fe_header
header(const struct lane *lane)
{
    struct fe_header h;

    memcpy(&h, lane->buf, sizeof h);
    return h;
}

enum lane_got
lane_receive(struct lane *lane)
{
    enum lane_got got;

    if (lane->complete) {
        return LANE_MESSAGE;
    }
    got = fill(lane, sizeof (struct fe_header));
    if (got != LANE_MESSAGE) {
        return got;
    }
    if (header(lane).size > MAX_PAYLOAD) {
        return LANE_GARBAGE;
    }
    got = fill(lane, sizeof (struct fe_header) + header(lane).size);
    lane->complete = got == LANE_MESSAGE;
    return got;
}

struct message
lane_message(struct lane *lane, struct fd_info fds[MAX_FDS])
{
    struct fe_header h = header(lane);
    struct message m = {
        .request = h.request,
        .flags = h.flags,
        .size = h.size,
        .payload = lane->buf + sizeof h,
        .n_fds = lane->n_fds,
        .fds = fds,
    };

    for (unsigned int i = 0; i < lane->n_fds; i++) {
        fds[i] = fd_describe(lane->fds[i]);
    }
    return m;
}

static void
attach_fds(const struct lane *lane, struct msghdr *msg,
           union control *control)
{
    struct cmsghdr *c;

    memset(control, 0, sizeof *control);
    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(lane->n_fds * sizeof (int));
    c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(lane->n_fds * sizeof (int));
    memcpy(CMSG_DATA(c), lane->fds, lane->n_fds * sizeof (int));
}

enum lane_got
lane_send(struct lane *lane)
{
    while (lane->sent < lane->have) {
        union control control;
        struct iovec iov = { lane->buf + lane->sent, lane->have - lane->sent };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (lane->n_fds && !lane->sent) {
            attach_fds(lane, &msg, &control);
        }
        n = sendmsg(lane->to, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK ? LANE_NOTHING
                                                           : LANE_END;
        }
        lane->sent += n;
    }
    return LANE_MESSAGE;
}

struct fd_info
fd_describe(int fd)
{
    struct fd_info info = { FD_OTHER, FD_NO_FILE, 0 };
    char link[32], target[64] = "";
    struct stat st;
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    if (!strcmp(target, "anon_inode:[eventfd]")) {
        info.kind = FD_EVENT;
    } else if (!fstat(fd, &st)) {
        if (S_ISSOCK(st.st_mode)) {
            info.kind = FD_SOCKET;
        } else if (S_ISREG(st.st_mode)) {
            info.kind = FD_MEMORY;
            info.size = st.st_size;
        }
    }
    return info;
}
