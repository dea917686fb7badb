/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See endpoint.h. */

#include "session/endpoint.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/fail.h"
#include "session/base.h"

#define RETRY_MS 2              /* Between attempts to connect. */

bool
endpoint_parse(struct endpoint *e, const char *text)
{
    const char *path = strchr(text, ':');
    size_t n = path ? path - text : 0;

    e->listens = n == 6 && !strncmp(text, "listen", n);
    e->listen_fd = -1;
    e->path = path ? path + 1 : "";
    if (!e->listens && (n != 7 || strncmp(text, "connect", n))) {
        return false;
    }
    n = strlen(e->path);
    return n && n < sizeof ((struct sockaddr_un *) 0)->sun_path;
}

static int
new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        errx(EXIT_CANNOT, "no socket: %s", strerror(errno));
    }
    return fd;
}

static struct sockaddr_un
address(const struct endpoint *e)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", e->path);
    return sun;
}

static int
try_connect(const struct endpoint *e)
{
    struct sockaddr_un sun = address(e);
    int fd = new_socket();

    if (connect(fd, (struct sockaddr *) &sun, sizeof sun)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void
remove_stale(const struct endpoint *e)
{
    struct stat st;
    int fd;

    if (lstat(e->path, &st)) {
        return;
    }
    if (!S_ISSOCK(st.st_mode)) {
        errx(EXIT_CANNOT, "%s: there is something that is no socket", e->path);
    }
    fd = try_connect(e);
    if (fd >= 0) {
        errx(EXIT_CANNOT, "%s: somebody listens there already", e->path);
    }
    unlink(e->path);
}

void
endpoint_open(struct endpoint *e)
{
    struct sockaddr_un sun = address(e);

    if (!e->listens) {
        return;
    }
    remove_stale(e);
    e->listen_fd = new_socket();
    if (bind(e->listen_fd, (struct sockaddr *) &sun, sizeof sun)
        || listen(e->listen_fd, 1)) {
        errx(EXIT_CANNOT, "%s: cannot listen: %s", e->path, strerror(errno));
    }
}

int
endpoint_meet(struct endpoint *e, int ms)
{
    long long int end = fe_now_us() + ms * 1000LL;

    if (e->listens) {
        struct pollfd pfd = { .fd = e->listen_fd, .events = POLLIN };

        return poll(&pfd, 1, ms) == 1
               ? accept4(e->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
    }
    for (;;) {
        int fd = try_connect(e);

        if (fd >= 0 || fe_now_us() >= end) {
            return fd;
        }
        poll(NULL, 0, RETRY_MS);
    }
}

void
endpoint_close(struct endpoint *e)
{
    if (e->listen_fd >= 0) {
        close(e->listen_fd);
        unlink(e->path);
        e->listen_fd = -1;
    }
}
