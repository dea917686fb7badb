/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Our own messages to the front end: see backend-channel.h.
 */

#include "backend-channel.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "wire.h"

#define ROOM (VHOST_BACKEND_MAX_KEPT * (sizeof(struct vhost_wire_header)    \
                                        + sizeof(struct vhost_wire_iotlb)))

/* Other sockets may take locks that their peer can hold. */
static bool
is_unix_stream(int fd)
{
    int domain, type;
    socklen_t len = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len)) {
        return false;
    }
    len = sizeof type;
    return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len)
           && domain == AF_UNIX && type == SOCK_STREAM;
}

static void
channel_ready(struct vhost_source *source, uint32_t events)
{
    struct vhost_backend_channel *c = (struct vhost_backend_channel *)
        ((char *) source - offsetof(struct vhost_backend_channel, source));

    if (events & (EPOLLHUP | EPOLLERR)) {
        vhost_backend_close(c);
        c->closed(c);
    } else {
        vhost_backend_flush(c);
    }
}

bool
vhost_backend_open(struct vhost_backend_channel *c, struct vhost_loop *loop,
                   int fd, void (*closed)(struct vhost_backend_channel *))
{
    vhost_backend_close(c);
    if (!is_unix_stream(fd)) {
        return false;
    }
    c->kept = malloc(ROOM);
    c->start = c->end = 0;
    c->blocked = false;
    c->closed = closed;
    c->loop = loop;
    c->source.fd = fd;
    c->source.ready = channel_ready;
    if (!c->kept || vhost_source_add(loop, &c->source, 0)) {
        vhost_backend_close(c);
        return false;
    }
    return true;
}

void
vhost_backend_close(struct vhost_backend_channel *c)
{
    if (c->loop) {
        vhost_source_remove(c->loop, &c->source);
    }
    free(c->kept);
    c->kept = NULL;
}

bool
vhost_backend_add(struct vhost_backend_channel *c, uint32_t request,
                  const void *payload, size_t size)
{
    struct vhost_wire_header header = {
        .request = request,
        .flags = VHOST_USER_VERSION,
        .size = size,
    };

    if (!c->source.active) {
        return false;
    }
    if (ROOM - c->end < sizeof header + size && c->start) {
        memmove(c->kept, c->kept + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    if (ROOM - c->end < sizeof header + size) {
        return false;
    }
    memcpy(c->kept + c->end, &header, sizeof header);
    memcpy(c->kept + c->end + sizeof header, payload, size);
    c->end += sizeof header + size;
    return true;
}

/* Has the event thread wait for room, or not. */
static void
set_blocked(struct vhost_backend_channel *c, bool blocked)
{
    if (blocked != c->blocked) {
        c->blocked = blocked;
        vhost_source_modify(c->loop, &c->source, blocked ? EPOLLOUT : 0);
    }
}

void
vhost_backend_flush(struct vhost_backend_channel *c)
{
    while (c->source.active && c->start < c->end) {
        ssize_t n = send(c->source.fd, c->kept + c->start, c->end - c->start,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            vhost_backend_close(c);
            c->closed(c);
            return;
        } else if (n <= 0) {
            set_blocked(c, true);
            return;
        }
        c->start += n;
    }
    if (c->source.active) {
        c->start = c->end = 0;
        set_blocked(c, false);
    }
}
