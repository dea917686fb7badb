/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * How a port and its front end find each other: listens (server role) or
 * connects (client role), again and again, without waiting.  What is then said
 * on the connection is session.c's.
 *
 * A client is told by inotify when its socket's file appears or changes, and
 * tries by itself too: after 1 ms, then at intervals that double up to 50 ms
 * for ten seconds, then once a second.
 */

#include "port.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Milliseconds. */
#define RETRY_MIN 1
#define RETRY_SOON 50           /* At most, for RETRY_SOON_SPAN. */
#define RETRY_SOON_SPAN 10000
#define RETRY_MAX 1000          /* At most, after it. */
#define SHORT_LIVED 1000        /* A connection that was no success. */

int
vhost_transport_check_path(const char *path, char **errorp)
{
    size_t len = strlen(path);

    if (!len) {
        *errorp = strdup("the socket's path is empty");
        return EINVAL;
    }
    if (len > VHOST_PATH_MAX) {
        if (asprintf(errorp, "socket path of %zu bytes is too long: a UNIX "
                     "domain socket's may have %d", len, VHOST_PATH_MAX)
            < 0) {
            *errorp = NULL;
        }
        return ENAMETOOLONG;
    }
    return 0;
}

static struct sockaddr_un
socket_address(const struct vhost_port *port)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    memcpy(sun.sun_path, port->info.path, strlen(port->info.path));
    return sun;
}

static int
stream_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Arms the timer for the next try. */
static void
retry_later(struct vhost_port *port)
{
    int64_t now = vhost_now_ms();
    int max = (now - port->retry_since < RETRY_SOON_SPAN
               ? RETRY_SOON : RETRY_MAX);

    port->retry_delay *= 2;
    if (port->retry_delay < RETRY_MIN) {
        port->retry_delay = RETRY_MIN;
    } else if (port->retry_delay > max) {
        port->retry_delay = max;
    }
    vhost_timer_set(port->loop, &port->retry, now + port->retry_delay);
}

/* Begins a new series of tries, the first one now. */
static void
retry_now(struct vhost_port *port)
{
    port->retry_since = vhost_now_ms();
    port->retry_delay = 0;
    vhost_timer_set(port->loop, &port->retry, port->retry_since);
}

/* True if the peers of this port have left behind so much that cannot be
 * closed that it gets no more connections until that has ended. */
static bool
is_cut_off(struct vhost_port *port)
{
    bool cut_off = vhost_disposal_is_stuck(port->disposal);

    if (cut_off) {
        vhost_port_set_error(port, VHOST_LOG_WARN, "no connections any more: "
                             "descriptors that front ends have sent cannot be "
                             "closed");
    }
    return cut_off;
}

/* Client role. */

/* Watches the directory where the socket's file has to appear, or, where that
 * is missing, the nearest above it that is not. */
static void
watch_path(struct vhost_port *port)
{
    char dir[VHOST_PATH_MAX + 3];
    const uint32_t mask = (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF
                           | IN_MOVE_SELF | IN_ONLYDIR);
    int watch = -1;

    if (port->inotify.fd < 0) {
        return;
    }
    snprintf(dir, sizeof dir, "%s%s", *port->info.path == '/' ? "" : "./",
             port->info.path);
    while (watch < 0 && strrchr(dir, '/')) {
        char *slash = strrchr(dir, '/');

        slash[slash == dir] = '\0';     /* Leaves "/" as it is. */
        watch = inotify_add_watch(port->inotify.fd, dir, mask);
        if (slash == dir) {
            break;
        }
    }
    if (watch != port->watch && port->watch >= 0) {
        inotify_rm_watch(port->inotify.fd, port->watch);
    }
    port->watch = watch;
}

/* What it means that connect() failed with 'error'. */
static enum vhost_trouble
connect_trouble(const struct vhost_port *port, int error)
{
    struct stat st;

    switch (error) {
    case ENOENT:
        return VHOST_T_NO_SOCKET;
    case ECONNREFUSED:
        return (!stat(port->info.path, &st) && !S_ISSOCK(st.st_mode)
                ? VHOST_T_NOT_A_SOCKET : VHOST_T_NO_LISTENER);
    case EACCES:
    case EPERM:
        return VHOST_T_DENIED;
    default:
        return VHOST_T_OTHER;
    }
}

/* connect() has failed with 'error'. */
static void
connect_failed(struct vhost_port *port, int error)
{
    static const char *const hints[] = {
        [VHOST_T_NO_SOCKET] = " (waiting for the front end to create it)",
        [VHOST_T_NO_LISTENER] = " (nobody listens on it)",
        [VHOST_T_NOT_A_SOCKET] = " (it is not a socket)",
        [VHOST_T_OTHER] = NULL,
    };
    enum vhost_trouble trouble = connect_trouble(port, error);

    vhost_port_set_error(port, (error == ENOENT || error == ECONNREFUSED
                                ? VHOST_LOG_INFO : VHOST_LOG_WARN),
                         "cannot connect to %s: %s%s", port->info.path,
                         strerror(error),
                         hints[trouble] ? hints[trouble] : "");
    vhost_port_set_trouble(port, trouble);
}

static void
try_connect(struct vhost_port *port)
{
    struct sockaddr_un sun = socket_address(port);
    int error;
    int fd;

    if (is_cut_off(port)) {
        retry_later(port);
        return;
    }

    /* Before the try, so that nothing is missed between the two. */
    watch_path(port);
    fd = stream_socket();
    if (fd >= 0 && !connect(fd, (struct sockaddr *) &sun, sizeof sun)) {
        vhost_session_start(port, fd);
        return;
    }
    error = errno;
    connect_failed(port, error);
    if (fd >= 0) {
        close(fd);
    }
    retry_later(port);
}

/* Something happened in the directory that is watched. */
static void
inotify_ready(struct vhost_source *source, uint32_t events)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(source, struct vhost_port,
                                                 inotify);
    char buf[4096] __attribute__((aligned(__alignof__(struct
                                                      inotify_event))));

    (void) events;
    while (read(source->fd, buf, sizeof buf) > 0) {
        continue;
    }
    if (port->sock_fd < 0 && port->transport_on) {
        /* Again soon: the file may be bound but not listened on yet.  But not
         * at once, however busy the directory is. */
        port->retry_since = vhost_now_ms();
        port->retry_delay = RETRY_MIN;
        vhost_timer_set(port->loop, &port->retry,
                        port->retry_since + RETRY_MIN);
    }
}

static void
open_inotify(struct vhost_port *port)
{
    port->watch = -1;
    port->inotify.ready = inotify_ready;
    port->inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (port->inotify.fd >= 0
        && vhost_source_add(port->loop, &port->inotify, EPOLLIN)) {
        close(port->inotify.fd);
        port->inotify.fd = -1;
    }
    if (port->inotify.fd < 0) {
        vhost_port_log(port, VHOST_LOG_DBG, "no inotify (%s): the socket is "
                       "looked for by timer alone", strerror(errno));
    }
}

/* Server role. */

/* Makes way for a socket at the port's path.  Returns false, with the error
 * set, if what is there is not ours to remove. */
static bool
clear_path(struct vhost_port *port)
{
    struct sockaddr_un sun = socket_address(port);
    struct stat st;
    bool live;
    int fd;

    if (lstat(port->info.path, &st)) {
        return true;            /* bind() will tell. */
    }
    if (!S_ISSOCK(st.st_mode)) {
        vhost_port_set_error(port, VHOST_LOG_WARN, "cannot listen on %s: "
                             "there is a file that is not a socket",
                             port->info.path);
        vhost_port_set_trouble(port, VHOST_T_NOT_A_SOCKET);
        return false;
    }
    fd = stream_socket();
    live = fd < 0 || !connect(fd, (struct sockaddr *) &sun, sizeof sun)
           || errno == EAGAIN;
    if (fd >= 0) {
        close(fd);
    }
    if (live) {
        vhost_port_set_error(port, VHOST_LOG_WARN, "cannot listen on %s: "
                             "another process is using it", port->info.path);
        vhost_port_set_trouble(port, VHOST_T_IN_USE);
        return false;
    }
    vhost_port_log(port, VHOST_LOG_INFO, "removing stale socket %s",
                   port->info.path);
    return !unlink(port->info.path) || errno == ENOENT;
}

/* accept() has failed with 'errno'. */
static void
accept_failed(struct vhost_port *port)
{
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        /* It would fail again at once.  Listen again later. */
        vhost_port_set_error(port, VHOST_LOG_WARN, "cannot accept a "
                             "connection: %s", strerror(errno));
        vhost_source_remove(port->loop, &port->listener);
        retry_later(port);
    }
}

static void
accept_front_end(struct vhost_port *port)
{
    int fd = accept4(port->listen_fd, NULL, NULL,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        vhost_session_start(port, fd);
    } else {
        accept_failed(port);
    }
}

/* True if the front end of the present connection has closed it, although we
 * have not come to read so far. */
static bool
front_end_is_gone(const struct vhost_port *port)
{
    struct pollfd pfd = { .fd = port->sock_fd };

    return poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR);
}

/* Says whether the socket's file is there and ours. */
static void
set_listening(struct vhost_port *port, bool listening)
{
    pthread_mutex_lock(&port->mutex);
    port->info.listening = listening;
    port->info.socket_dev = port->file.dev;
    port->info.socket_ino = port->file.ino;
    pthread_mutex_unlock(&port->mutex);
    vhost_port_changed(port, VHOST_CHANGE_STATUS);
}

/* Somebody connects. */
static void
accept_ready(struct vhost_source *source, uint32_t events)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(source, struct vhost_port,
                                                 listener);

    (void) events;
    if (is_cut_off(port)) {
        vhost_source_remove(port->loop, source);
        retry_later(port);
    } else if (port->sock_fd < 0) {
        accept_front_end(port);
    } else if (port->closing || front_end_is_gone(port)) {
        /* The next one was quick: it waits until we are done with the one
         * before, see vhost_transport_closed(). */
        vhost_source_remove(port->loop, source);
        vhost_port_event(port, "the next front end is here");
        vhost_session_end(port, NULL);
    } else {
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            vhost_port_log(port, VHOST_LOG_WARN, "refused a second front end "
                           "on %s", port->info.path);
            vhost_port_event(port, "refused a second front end");
            vhost_dispose(port->disposal, &fd, 1);
        } else {
            accept_failed(port);
        }
    }
}

static void
listen_failed(struct vhost_port *port, const char *what)
{
    vhost_port_set_error(port, VHOST_LOG_WARN, "cannot listen on %s: %s: %s",
                         port->info.path, what, strerror(errno));
    if (port->listen_fd >= 0) {
        close(port->listen_fd);
        port->listen_fd = -1;
    }
    vhost_socket_file_remove(&port->file, port->info.path);
    retry_later(port);
}

void
vhost_transport_apply_access(struct vhost_port *port)
{
    char error[sizeof port->info.access_error] = "";
    bool news;

    vhost_socket_file_set_access(&port->file, &port->access, error,
                                 sizeof error);
    pthread_mutex_lock(&port->mutex);
    news = strcmp(error, port->info.access_error);
    strcpy(port->info.access_error, error);
    pthread_mutex_unlock(&port->mutex);
    if (news) {
        vhost_port_changed(port, VHOST_CHANGE_STATUS);
    }
}

static void
try_listen(struct vhost_port *port)
{
    struct sockaddr_un sun = socket_address(port);

    if (is_cut_off(port)) {
        retry_later(port);
        return;
    }
    if (port->listen_fd < 0) {
        if (!clear_path(port)) {
            retry_later(port);
            return;
        }
        port->listen_fd = stream_socket();
        if (port->listen_fd < 0
            || bind(port->listen_fd, (struct sockaddr *) &sun, sizeof sun)) {
            listen_failed(port, "bind");
            return;
        }
        vhost_socket_file_open(&port->file, port->listen_fd,
                               port->info.path);

        /* Nobody can connect before it is as it shall be. */
        vhost_transport_apply_access(port);
        if (listen(port->listen_fd, 4)) {
            listen_failed(port, "listen");
            return;
        }
    }
    port->listener.fd = port->listen_fd;
    port->listener.ready = accept_ready;
    if (!port->listener.active
        && vhost_source_add(port->loop, &port->listener, EPOLLIN)) {
        listen_failed(port, "epoll");
        return;
    }
    set_listening(port, true);
    vhost_port_log(port, VHOST_LOG_INFO, "listening on %s", port->info.path);
    vhost_port_event(port, "listening on %s", port->info.path);
    vhost_port_clear_error(port);
}

static void
stop_listening(struct vhost_port *port)
{
    vhost_source_remove(port->loop, &port->listener);

    /* With it go connections that nobody accepted, and what they sent. */
    vhost_dispose(port->disposal, &port->listen_fd, 1);
    port->listen_fd = -1;

    vhost_socket_file_remove(&port->file, port->info.path);
    set_listening(port, false);
}

/* Both. */

static void
retry_expired(struct vhost_timer *timer)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(timer, struct vhost_port,
                                                 retry);

    if (port->role == VHOST_SERVER) {
        try_listen(port);
    } else if (port->sock_fd < 0) {
        try_connect(port);
    }
}

void
vhost_transport_start(struct vhost_port *port)
{
    if (port->transport_on || !*port->info.path) {
        return;
    }
    port->transport_on = true;
    port->retry.expired = retry_expired;
    vhost_port_set_state(port, VHOST_S_WAITING);
    port->retry_since = vhost_now_ms();
    port->retry_delay = 0;
    if (port->role == VHOST_CLIENT) {
        open_inotify(port);
    }
    retry_expired(&port->retry);
}

void
vhost_transport_stop(struct vhost_port *port)
{
    if (!port->transport_on) {
        return;
    }
    port->transport_on = false;
    vhost_timer_cancel(&port->retry);
    if (port->role == VHOST_SERVER) {
        stop_listening(port);
    } else if (port->inotify.fd >= 0) {
        vhost_source_remove(port->loop, &port->inotify);
        close(port->inotify.fd);
        port->inotify.fd = port->watch = -1;
    }
}

void
vhost_transport_closed(struct vhost_port *port)
{
    if (!port->transport_on) {
        return;
    }
    if (port->role == VHOST_SERVER) {
        if (port->listen_fd >= 0 && !port->listener.active
            && !port->retry.active
            && vhost_source_add(port->loop, &port->listener, EPOLLIN)) {
            retry_later(port);
        }
        return;
    }
    if (vhost_now_ms() - port->connected_since < SHORT_LIVED) {
        retry_later(port);      /* Something is wrong; slower and slower. */
    } else {
        retry_now(port);
    }
}
