/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * One connection: reads its messages without waiting, checks each against what
 * the specification says of its size and descriptors, leads it through its
 * stages (messages.h), answers.
 *
 * A message whose form is wrong ends the connection.  One that asks for
 * something that cannot be gets a negative answer, if the front end asked for
 * one, and otherwise ends the connection too, since the front end would go on
 * in a wrong belief.
 */

#include "inflight.h"
#include "map-job.h"
#include "messages.h"
#include "postcopy.h"
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Milliseconds from a driver's start to a word about its missing memory. */
#define HINT_DELAY 3000

/* Messages read from one connection before others get their turn. */
#define MESSAGES_PER_TURN 32

static void session_ready(struct vhost_source *, uint32_t events);
static void session_execute(struct vhost_port *);

/* Handling. */

static void
release_message(struct vhost_port *port)
{
    struct vhost_message *msg = &port->msg;

    vhost_dispose(port->disposal, msg->fds, msg->n_fds);
    msg->n_fds = 0;
    msg->n_received = 0;
    msg->too_many_fds = false;
    free(port->mem_error);
    port->mem_error = NULL;
    port->stop_wanted = false;
}

/* Forgets the answer that is kept in 'port'. */
static void
drop_reply(struct vhost_port *port)
{
    port->reply_len = 0;
    if (port->reply_fd >= 0) {
        close(port->reply_fd);
        port->reply_fd = -1;
    }
}

/* Sends the answer that is kept in 'port'. */
static void
send_kept_reply(struct vhost_port *port)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int))];
    } control = { .buf = "" };
    struct iovec iov = { port->reply, port->reply_len };
    struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (port->reply_fd >= 0) {
        struct cmsghdr *c = &control.align;

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &port->reply_fd, sizeof(int));
        hdr.msg_control = &control;
        hdr.msg_controllen = sizeof control;
    }
    n = sendmsg(port->sock_fd, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;                 /* It is for the peer to make room. */
    }

    /* All of it, or the rest is of no use. */
    if (n != (ssize_t) port->reply_len) {
        vhost_session_end(port, "the front end does not take its answers");
    }
    drop_reply(port);
}

static void
send_reply(struct vhost_port *port, const struct vhost_reply *reply)
{
    struct vhost_wire_header header = {
        .request = port->msg.header.request,
        .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
        .size = reply->size,
    };

    memcpy(port->reply, &header, sizeof header);
    memcpy(port->reply + sizeof header, &reply->payload, reply->size);
    port->reply_len = sizeof header + reply->size;
    port->reply_fd = reply->fd;
    send_kept_reply(port);
}

static bool
wants_ack(const struct vhost_port *port)
{
    return port->msg.header.flags & VHOST_USER_NEED_REPLY
           && (port->info.protocol_features
               >> VHOST_USER_PROTOCOL_F_REPLY_ACK) & 1;
}

/* Answers the message with 'reply' or, where the request has no answer of its
 * own, with an acknowledgement if one is asked for.  May end the
 * connection. */
static void
answer(struct vhost_port *port, vhost_result result, struct vhost_reply *reply)
{
    bool acked = false;

    if (result) {
        if (!wants_ack(port)) {
            vhost_message_log_ended(&port->messages, result);
            vhost_session_end(port, "%s refused: %s", vhost_message_name(port),
                              result);
            return;
        }
        vhost_port_set_error(port, VHOST_LOG_WARN, "%s refused: %s",
                             vhost_message_name(port), result);
        reply->size = 0;
    }
    if (!reply->size && !reply->is_empty && wants_ack(port)) {
        reply->payload.u64 = result != NULL;
        reply->size = sizeof reply->payload.u64;
        acked = true;
    }
    vhost_message_log_done(&port->messages, result, reply, acked);
    if (reply->size || reply->is_empty) {
        send_reply(port, reply);
    }
}

/* Goes on to the next message, once the answer has left.  A peer that does not
 * read its answers is not read from either. */
static void
next_message(struct vhost_port *port)
{
    uint32_t events = port->reply_len ? EPOLLOUT : EPOLLIN;

    if (port->closing) {
        return;
    }
    if (!port->reply_len) {
        release_message(port);
        if (vhost_disposal_is_stuck(port->disposal)) {
            vhost_session_end(port, "its descriptors cannot be closed");
            return;
        }
    }
    if (port->sock.active
        ? vhost_source_modify(port->loop, &port->sock, events)
        : vhost_source_add(port->loop, &port->sock, events)) {
        vhost_session_end(port, "epoll failed");
    }
}

static void
hint_expired(struct vhost_timer *timer)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(timer, struct vhost_port,
                                                 hint);

    if (port->sock_fd >= 0 && port->have_features && !port->mem) {
        vhost_port_set_error(port, VHOST_LOG_WARN, "the front end has not "
                             "shared the guest's memory (QEMU needs a memory "
                             "backend with share=on)");
    }
}

/* A driver has started, but its memory does not come: QEMU says that on its
 * own terminal only. */
static void
watch_for_memory(struct vhost_port *port)
{
    if (port->have_features && !port->mem && !port->hint.active) {
        port->hint.expired = hint_expired;
        vhost_timer_set(port->loop, &port->hint, vhost_now_ms() + HINT_DELAY);
    }
}

/* Stage 3. */
static void
session_execute(struct vhost_port *port)
{
    const struct vhost_handler *h = vhost_find_handler(port);
    struct vhost_reply reply = { .size = 0, .fd = -1 };
    vhost_result result = "not supported";

    if (!port->closing) {
        pthread_mutex_lock(&port->mutex);
        if (h) {
            result = h->execute(port, &reply);
            vhost_device_publish(port);
        }
        pthread_mutex_unlock(&port->mutex);
        watch_for_memory(port);
        answer(port, result, &reply);
        next_message(port);
        if (port->closing) {
            /* vhost_session_end() has posted what follows.  Not now: it may
             * end with the port being freed, and our callers need it. */
            return;
        }
    }
    vhost_port_continue(port);
}

static void
throttle_expired(struct vhost_timer *timer)
{
    vhost_session_prepared(VHOST_CONTAINER_OF(timer, struct vhost_port,
                                              throttle));
}

/* Takes one of the stops that the port may have now. */
static bool
take_stop_token(struct vhost_port *port)
{
    int64_t now = vhost_now_ms();

    port->stop_tokens += ((now - port->stop_tokens_time)
                          * VHOST_STOPS_PER_SECOND);
    port->stop_tokens_time = now;
    if (port->stop_tokens > VHOST_STOPS_AT_ONCE * INT64_C(1000)) {
        port->stop_tokens = VHOST_STOPS_AT_ONCE * INT64_C(1000);
    }
    if (port->stop_tokens < 1000) {
        return false;
    }
    port->stop_tokens -= 1000;
    return true;
}

/* Stage 2. */
void
vhost_session_prepared(struct vhost_port *port)
{
    const struct vhost_handler *h = vhost_find_handler(port);
    int what = h && h->stop ? h->stop(port) : VHOST_STOP_NOTHING;

    if (port->stop.active || port->closing) {
        port->stop_wanted = true;   /* vhost_port_continue() comes back. */
    } else if (!vhost_stop_is_needed(port, what)) {
        session_execute(port);
    } else if (what != VHOST_STOP_GRACE && !take_stop_token(port)) {
        port->throttle.expired = throttle_expired;
        vhost_timer_set(port->loop, &port->throttle,
                        vhost_now_ms() + 1000 / VHOST_STOPS_PER_SECOND + 1);
    } else {
        vhost_stop_begin(port, what, session_execute);
    }
}

void
vhost_session_resume(struct vhost_port *port)
{
    port->stop_wanted = false;
    vhost_session_prepared(port);
}

/* Checks the form of the message that arrived.  Returns false if it ended the
 * connection. */
static bool
check_form(struct vhost_port *port)
{
    const struct vhost_message *msg = &port->msg;
    const struct vhost_handler *h = vhost_find_handler(port);

    if (msg->too_many_fds || msg->n_fds > (h ? h->max_fds
                                             : VHOST_WIRE_MAX_FDS)) {
        vhost_session_end(port, "%s with too many descriptors",
                          vhost_message_name(port));
        return false;
    }
    if (h && ((h->size >= 0 && (int) msg->header.size != h->size)
              || (h->check && !h->check(msg)))) {
        vhost_session_end(port, "%s with a payload of %u bytes and %u "
                          "descriptors", h->name, msg->header.size,
                          msg->n_fds);
        return false;
    }
    return true;
}

/* Stage 1, with a complete message in 'port->msg'. */
static void
session_handle(struct vhost_port *port)
{
    const struct vhost_handler *h;

    pthread_mutex_lock(&port->mutex);
    port->info.n_messages++;
    pthread_mutex_unlock(&port->mutex);
    vhost_message_log_received(&port->messages, &port->msg);
    if (!check_form(port)) {
        return;
    }
    vhost_port_log(port, VHOST_LOG_DBG, "%s (%u), %u bytes, %u descriptors",
                   vhost_message_name(port), port->msg.header.request,
                   port->msg.header.size, port->msg.n_fds);

    /* Nothing is read while the message waits for something. */
    vhost_source_remove(port->loop, &port->sock);
    h = vhost_find_handler(port);
    if (h && h->prepare) {
        h->prepare(port);
    } else {
        vhost_session_prepared(port);
    }
}

/* Receiving. */

/* Keeps the descriptors of 'hdr' with the message, as many as it may have at
 * most, and closes the others. */
static void
keep_fds(struct vhost_port *port, struct msghdr *hdr)
{
    struct vhost_message *msg = &port->msg;
    struct cmsghdr *c;

    for (c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (msg->n_fds < VHOST_WIRE_MAX_FDS) {
                msg->fds[msg->n_fds++] = fd;
            } else {
                msg->too_many_fds = true;
                vhost_dispose(port->disposal, &fd, 1);
            }
        }
    }
    if (hdr->msg_flags & MSG_CTRUNC) {
        msg->too_many_fds = true;   /* The kernel closed them. */
    }
}

/* Receives up to 'size' bytes to 'dst'.  Returns their number, 0 if there is
 * nothing now, or -1 if the peer has gone. */
static ssize_t
receive(struct vhost_port *port, void *dst, size_t size)
{
    /* Room for as many descriptors as the kernel passes at once. */
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(253 * sizeof(int))];
    } control;
    struct iovec iov = { dst, size };
    struct msghdr hdr = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t n = recvmsg(port->sock_fd, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0) {
        return (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    keep_fds(port, &hdr);
    return n ? n : -1;
}

/* The most bytes of payload that the message may have whose header has come.
 * What is too much is not waited for. */
static uint32_t
max_payload(const struct vhost_port *port)
{
    const struct vhost_handler *h = vhost_find_handler(port);

    return (!h ? sizeof port->msg.raw
            : h->size < 0 ? sizeof port->msg.payload : (uint32_t) h->size);
}

static void
front_end_gone(struct vhost_port *port)
{
    vhost_port_event(port, "the front end has closed the connection");
    vhost_session_end(port, NULL);
}

/* Reads what has come of the message.  Returns true if it is complete. */
static bool
receive_message(struct vhost_port *port)
{
    struct vhost_message *msg = &port->msg;

    for (;;) {
        size_t header_size = sizeof msg->header;
        size_t total = header_size;
        uint8_t *dst = (uint8_t *) &msg->header + msg->n_received;
        ssize_t n;

        if (msg->n_received >= header_size) {
            if ((msg->header.flags & VHOST_USER_VERSION_MASK)
                != VHOST_USER_VERSION
                || msg->header.flags & VHOST_USER_REPLY
                || msg->header.size > max_payload(port)) {
                vhost_session_end(port, "%s (request %u, flags 0x%x, %u "
                                  "bytes) is not vhost-user",
                                  vhost_message_name(port),
                                  msg->header.request, msg->header.flags,
                                  msg->header.size);
                vhost_port_set_trouble(port, VHOST_T_NOT_VHOST_USER);
                return false;
            }
            total += msg->header.size;
            if (msg->n_received == total) {
                return true;
            }
            dst = msg->raw + (msg->n_received - header_size);
        }
        n = receive(port, dst, total - msg->n_received);
        if (n < 0) {
            front_end_gone(port);
        }
        if (n <= 0) {
            return false;
        }
        msg->n_received += n;
    }
}

static void
session_ready(struct vhost_source *source, uint32_t events)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(source, struct vhost_port,
                                                 sock);

    if (port->reply_len) {
        if (events & (EPOLLHUP | EPOLLERR)) {
            front_end_gone(port);
            return;
        }
        send_kept_reply(port);
        if (!port->reply_len) {
            next_message(port);
        }
        return;
    }
    for (int i = 0; i < MESSAGES_PER_TURN && source->active
         && !port->reply_len; i++) {
        if (!receive_message(port)) {
            return;
        }
        session_handle(port);
    }
}

/* Beginning and end. */

void
vhost_session_start(struct vhost_port *port, int fd)
{
    struct ucred cred = { .pid = 0 };
    socklen_t len = sizeof cred;
    int error;

    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
    pthread_mutex_lock(&port->mutex);
    port->offer = port->next_offer;
    port->info.n_connects++;
    port->info.n_messages_before = port->info.n_messages;
    port->info.peer_pid = cred.pid;
    port->info.protocol_features = 0;
    port->info.mtu = 0;
    pthread_mutex_unlock(&port->mutex);
    port->sock_fd = port->sock.fd = fd;
    port->sock.ready = session_ready;
    port->status = 0;
    port->connected_since = vhost_now_ms();
    release_message(port);
    vhost_port_log(port, VHOST_LOG_INFO, "front end connected (pid %ld)",
                   (long int) cred.pid);
    vhost_port_event(port, "front end connected (process %ld)",
                     (long int) cred.pid);
    vhost_port_clear_error(port);
    vhost_port_set_state(port, VHOST_S_CONNECTED);
    error = vhost_source_add(port->loop, &port->sock, EPOLLIN);
    if (error) {
        vhost_session_end(port, "epoll: %s", strerror(error));
    }
}

void
vhost_session_end(struct vhost_port *port, const char *format, ...)
{
    if (port->sock_fd < 0 || port->closing) {
        return;
    }
    if (format) {
        char reason[256];
        va_list args;

        va_start(args, format);
        vsnprintf(reason, sizeof reason, format, args);
        va_end(args);
        if (!vhost_port_set_error(port, VHOST_LOG_WARN, "disconnected: %s",
                                  reason)) {
            /* Like the last time. */
            vhost_port_event(port, "disconnected: %s", reason);
        }
        vhost_message_log_ended(&port->messages, reason);
        pthread_mutex_lock(&port->mutex);
        port->info.n_protocol_errors++;
        pthread_mutex_unlock(&port->mutex);
    }
    port->closing = true;
    vhost_source_remove(port->loop, &port->sock);
    vhost_timer_cancel(&port->throttle);
    vhost_timer_cancel(&port->hint);
    vhost_map_job_cancel(port);
    vhost_postcopy_cancel(port);

    /* Later, since the caller may be in the midst of something. */
    vhost_task_post(port->loop, &port->ops_task);
}

/* All gates are closed: nobody uses what the connection had. */
void
vhost_session_teardown(struct vhost_port *port)
{
    release_message(port);
    drop_reply(port);
    vhost_state_release(port);
    pthread_mutex_lock(&port->mutex);
    vhost_postcopy_release(port);
    vhost_device_release(port);
    vhost_device_unref_mem(port, port->new_mem);
    port->new_mem = NULL;
    vhost_inflight_release(port);
    vhost_dispose(port->disposal, &port->backend_fd, 1);
    port->backend_fd = -1;

    /* The peer is told now; descriptors that it had sent and nobody received
     * are closed with the socket. */
    shutdown(port->sock_fd, SHUT_RDWR);
    vhost_dispose(port->disposal, &port->sock_fd, 1);
    port->sock_fd = -1;
    port->info.peer_pid = 0;
    port->info.protocol_features = 0;
    port->info.n_disconnects++;
    port->closing = false;
    pthread_mutex_unlock(&port->mutex);
    vhost_message_log_ended(&port->messages, NULL);
    vhost_port_log(port, VHOST_LOG_INFO, "front end disconnected");
    vhost_port_event(port, "front end disconnected");
    vhost_port_set_state(port, VHOST_S_WAITING);
    vhost_transport_closed(port);
    vhost_port_continue(port);
}
