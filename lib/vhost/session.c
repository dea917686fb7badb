/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The messages of one connection: reads them without waiting, checks each
 * against what the specification says of its size and descriptors, handles it,
 * answers.  One function per message, in the order of their numbers; what they
 * set up is device.c's.
 *
 * A message goes through three stages, between which the event thread serves
 * others, and the next message of the connection is not read until it is
 * through:
 *
 *     1. prepare    guest memory is mapped by the worker (SET_MEM_TABLE)
 *     2. stop       the polling threads leave the rings that it changes
 *     3. execute    the change is made, the rings are published, the answer
 *                   is sent
 *
 * A message whose form is wrong ends the connection.  One that asks for
 * something that cannot be gets a negative answer, if the front end asked for
 * one, and otherwise ends the connection too, since the front end would go on
 * in a wrong belief.
 */

#include "port.h"

#include <errno.h>
#include <stddef.h>
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

/* An answer's payload. */
struct reply {
    union {
        uint64_t u64;
        struct vhost_wire_vring_state state;
    } payload;
    uint32_t size;              /* 0: nothing but an acknowledgement. */
};

/* What a message is like and what is done with it. */
struct handler {
    const char *name;
    int size;                   /* Exact payload size in bytes, or -1. */
    unsigned int max_fds;
    int feature;                /* Protocol feature it takes, -1: none. */
    bool (*check)(const struct vhost_message *);    /* Further checks of its
                                                     * form, or NULL. */
    void (*prepare)(struct vhost_port *);
    int (*stop)(const struct vhost_port *);     /* NULL: no stop needed. */
    vhost_result (*execute)(struct vhost_port *, struct reply *);
};

static void session_ready(struct vhost_source *, uint32_t events);
static void session_stop(struct vhost_port *);
static void session_execute(struct vhost_port *);

/* Takes descriptor 'i' out of the message, -1 if there is none: the caller
 * closes it, the message will not. */
static int
take_fd(struct vhost_port *port, unsigned int i)
{
    int fd = i < port->msg.n_fds ? port->msg.fds[i] : -1;

    if (fd >= 0) {
        port->msg.fds[i] = -1;
    }
    return fd;
}

/* Messages. */

static vhost_result
get_features(struct vhost_port *port, struct reply *reply)
{
    reply->payload.u64 = port->offered_features;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

static vhost_result
set_features(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    return vhost_device_set_features(port, port->msg.payload.u64);
}

static int
stop_for_features(const struct vhost_port *port)
{
    return (port->have_features
            && port->msg.payload.u64 == port->info.features
            ? VHOST_STOP_NOTHING : VHOST_STOP_ALL);
}

static vhost_result
set_owner(struct vhost_port *port, struct reply *reply)
{
    (void) port;
    (void) reply;
    return NULL;
}

static int
stop_all(const struct vhost_port *port)
{
    (void) port;
    return VHOST_STOP_ALL;
}

/* "Deprecated": disables all rings. */
static vhost_result
reset_owner(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    vhost_device_reset(port);
    return NULL;
}

static bool
check_mem_table(const struct vhost_message *msg)
{
    const struct vhost_wire_mem_table *t = &msg->payload.mem;
    uint32_t size = msg->header.size;

    return (size >= offsetof(struct vhost_wire_mem_table, regions)
            && t->n_regions >= 1
            && t->n_regions <= VHOST_WIRE_MAX_REGIONS
            && size == (offsetof(struct vhost_wire_mem_table, regions)
                        + t->n_regions * sizeof t->regions[0])
            && msg->n_fds == t->n_regions);
}

/* Mapping guest memory, at the worker. */
struct mem_job {
    struct vhost_job job;
    struct vhost_port *port;    /* NULL: nobody wants the result. */
    struct vhost_loop *loop;
    struct vhost_disposal *disposal;
    struct vhost_wire_mem_table table;
    int fds[VHOST_WIRE_MAX_REGIONS];
    struct vhost_mem *old, *new;
    char *error;
};

static void
mem_job_work(struct vhost_job *job_)
{
    struct mem_job *job = VHOST_CONTAINER_OF(job_, struct mem_job, job);

    job->new = vhost_mem_create(job->table.regions, job->fds,
                                job->table.n_regions, job->old, &job->error);
    vhost_mem_unref(job->old);
    for (unsigned int i = 0; i < job->table.n_regions; i++) {
        if (vhost_mem_is_shared_memory(job->fds[i])) {
            close(job->fds[i]);
            job->fds[i] = -1;
        }
    }
    vhost_dispose(job->disposal, job->fds, job->table.n_regions);
    vhost_disposal_unref(job->disposal);
}

/* Work for the worker: drops a map that nobody wants any more. */
static void
mem_job_discard(struct vhost_job *job)
{
    vhost_mem_unref(VHOST_CONTAINER_OF(job, struct mem_job, job)->new);
}

static void
mem_job_done(struct vhost_job *job_)
{
    struct mem_job *job = VHOST_CONTAINER_OF(job_, struct mem_job, job);
    struct vhost_port *port = job->port;

    if (!port) {
        job->job.work = mem_job_discard;
        job->job.done = NULL;
        free(job->error);
        vhost_job_post(job->loop, &job->job);
        return;
    }
    port->mem_job = NULL;
    port->new_mem = job->new;
    port->mem_error = job->error;
    free(job);
    session_stop(port);
}

static void
prepare_mem_table(struct vhost_port *port)
{
    struct mem_job *job = calloc(1, sizeof *job);

    if (!job) {
        session_stop(port);     /* Without a map, which is the error. */
        return;
    }
    job->port = port;
    job->loop = port->loop;
    job->disposal = vhost_disposal_ref(port->disposal);
    job->table = port->msg.payload.mem;
    for (unsigned int i = 0; i < job->table.n_regions; i++) {
        job->fds[i] = take_fd(port, i);
    }
    if (port->mem && !atomic_load(&port->mem->poisoned)) {
        job->old = vhost_mem_ref(port->mem);
    }
    job->job.work = mem_job_work;
    job->job.done = mem_job_done;
    port->mem_job = &job->job;
    vhost_job_post(port->loop, &job->job);
}

static int
stop_for_mem_table(const struct vhost_port *port)
{
    return port->new_mem ? VHOST_STOP_ALL : VHOST_STOP_NOTHING;
}

static vhost_result
set_mem_table(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    if (!port->new_mem) {
        return port->mem_error ? port->mem_error : "out of memory";
    }
    vhost_device_set_mem(port, port->new_mem);
    port->new_mem = NULL;
    return NULL;
}

static vhost_result
set_vring_num(struct vhost_port *port, struct reply *reply)
{
    const struct vhost_wire_vring_state *s = &port->msg.payload.state;

    (void) reply;
    return vhost_device_set_vring_num(port, s->index, s->num);
}

static int
stop_for_ring_number(uint32_t idx)
{
    return idx < VHOST_MAX_VRINGS ? (int) idx : VHOST_STOP_NOTHING;
}

static int
stop_state_ring(const struct vhost_port *port)
{
    return stop_for_ring_number(port->msg.payload.state.index);
}

static int
stop_for_enable(const struct vhost_port *port)
{
    const struct vhost_wire_vring_state *s = &port->msg.payload.state;
    const struct vhost_ring *ring = (s->index < port->max_vrings
                                     ? port->rings[s->index] : NULL);

    return (ring && ring->enabled == s->num ? VHOST_STOP_NOTHING
            : stop_state_ring(port));
}

static int
stop_addr_ring(const struct vhost_port *port)
{
    return stop_for_ring_number(port->msg.payload.addr.index);
}

static vhost_result
set_vring_addr(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    return vhost_device_set_vring_addr(port, &port->msg.payload.addr);
}

static vhost_result
set_vring_base(struct vhost_port *port, struct reply *reply)
{
    const struct vhost_wire_vring_state *s = &port->msg.payload.state;

    (void) reply;
    return vhost_device_set_vring_base(port, s->index, s->num);
}

static vhost_result
get_vring_base(struct vhost_port *port, struct reply *reply)
{
    struct vhost_wire_vring_state *s = &reply->payload.state;

    s->index = port->msg.payload.state.index;
    s->num = 0;
    reply->size = sizeof *s;
    return vhost_device_get_vring_base(port, s->index, &s->num);
}

/* SET_VRING_KICK, _CALL and _ERR have a descriptor unless they say that they
 * have none. */
static bool
check_vring_fd(const struct vhost_message *msg)
{
    return msg->n_fds == !(msg->payload.u64 & VHOST_WIRE_VRING_NOFD);
}

static bool
check_one_fd(const struct vhost_message *msg)
{
    return msg->n_fds == 1;
}

static unsigned int
fd_ring(const struct vhost_port *port)
{
    return port->msg.payload.u64 & VHOST_WIRE_VRING_IDX_MASK;
}

static int
stop_fd_ring(const struct vhost_port *port)
{
    return fd_ring(port);
}

static vhost_result
set_vring_fd(struct vhost_port *port,
             vhost_result (*set)(struct vhost_port *, unsigned int, int))
{
    vhost_result result;

    if (port->msg.payload.u64 & ~(uint64_t) (VHOST_WIRE_VRING_IDX_MASK
                                             | VHOST_WIRE_VRING_NOFD)) {
        return "no such vring";
    }
    result = set(port, fd_ring(port), port->msg.n_fds ? port->msg.fds[0] : -1);
    if (!result) {
        take_fd(port, 0);
    }
    return result;
}

static vhost_result
set_vring_kick(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    return set_vring_fd(port, vhost_device_set_vring_kick);
}

static vhost_result
set_vring_call(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    return set_vring_fd(port, vhost_device_set_vring_call);
}

static vhost_result
set_vring_err(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    return set_vring_fd(port, vhost_device_set_vring_err);
}

static vhost_result
get_protocol_features(struct vhost_port *port, struct reply *reply)
{
    reply->payload.u64 = port->offered_protocol_features;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

static vhost_result
set_protocol_features(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    if (port->msg.payload.u64 & ~port->offered_protocol_features) {
        return "protocol features that were not offered";
    }
    port->info.protocol_features = port->msg.payload.u64;
    return NULL;
}

static vhost_result
get_queue_num(struct vhost_port *port, struct reply *reply)
{
    reply->payload.u64 = port->max_vrings / 2;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

static vhost_result
set_vring_enable(struct vhost_port *port, struct reply *reply)
{
    const struct vhost_wire_vring_state *s = &port->msg.payload.state;

    (void) reply;
    if (s->num > 1) {
        return "neither on nor off";
    }
    return vhost_device_set_vring_enable(port, s->index, s->num);
}

static vhost_result
send_rarp(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    memcpy(port->rarp, &port->msg.payload.u64, sizeof port->rarp);
    port->have_rarp = true;
    vhost_port_changed(port, VHOST_CHANGE_RARP);
    return NULL;
}

static vhost_result
net_set_mtu(struct vhost_port *port, struct reply *reply)
{
    uint64_t mtu = port->msg.payload.u64;

    (void) reply;
    if (mtu < 68 || mtu > UINT16_MAX) {
        return "impossible MTU";
    }
    port->info.mtu = mtu;
    vhost_port_changed(port, VHOST_CHANGE_MTU);
    return NULL;
}

static vhost_result
set_backend_req_fd(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    vhost_dispose(port->disposal, &port->backend_fd, 1);
    port->backend_fd = take_fd(port, 0);
    return NULL;
}

/* A status of 0 resets the device (virtio 1.2, section 2.1). */
static int
stop_for_status(const struct vhost_port *port)
{
    return port->msg.payload.u64 ? VHOST_STOP_NOTHING : VHOST_STOP_ALL;
}

static vhost_result
set_status(struct vhost_port *port, struct reply *reply)
{
    (void) reply;
    if (port->msg.payload.u64 > UINT8_MAX) {
        return "impossible device status";
    }
    port->status = port->msg.payload.u64;
    if (!port->status) {
        vhost_device_reset(port);
    }
    return NULL;
}

static vhost_result
get_status(struct vhost_port *port, struct reply *reply)
{
    reply->payload.u64 = port->status;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

#define U64 .size = sizeof(uint64_t)
#define STATE .size = sizeof(struct vhost_wire_vring_state)

static const struct handler handlers[VHOST_USER_N_REQUESTS] = {
    [VHOST_USER_GET_FEATURES] = {
        "GET_FEATURES", .feature = -1, .execute = get_features },
    [VHOST_USER_SET_FEATURES] = {
        "SET_FEATURES", U64, .feature = -1, .stop = stop_for_features,
        .execute = set_features },
    [VHOST_USER_SET_OWNER] = {
        "SET_OWNER", .feature = -1, .execute = set_owner },
    [VHOST_USER_RESET_OWNER] = {
        "RESET_OWNER", .feature = -1, .stop = stop_all,
        .execute = reset_owner },
    [VHOST_USER_SET_MEM_TABLE] = {
        "SET_MEM_TABLE", .size = -1, .feature = -1,
        .max_fds = VHOST_WIRE_MAX_REGIONS,
        .check = check_mem_table, .prepare = prepare_mem_table,
        .stop = stop_for_mem_table, .execute = set_mem_table },
    [VHOST_USER_SET_VRING_NUM] = {
        "SET_VRING_NUM", STATE, .feature = -1, .execute = set_vring_num },
    [VHOST_USER_SET_VRING_ADDR] = {
        "SET_VRING_ADDR", .size = sizeof(struct vhost_wire_vring_addr),
        .feature = -1, .stop = stop_addr_ring, .execute = set_vring_addr },
    [VHOST_USER_SET_VRING_BASE] = {
        "SET_VRING_BASE", STATE, .feature = -1, .execute = set_vring_base },
    [VHOST_USER_GET_VRING_BASE] = {
        "GET_VRING_BASE", STATE, .feature = -1, .stop = stop_state_ring,
        .execute = get_vring_base },
    [VHOST_USER_SET_VRING_KICK] = {
        "SET_VRING_KICK", U64, .max_fds = 1, .feature = -1,
        .check = check_vring_fd,
        .stop = stop_fd_ring, .execute = set_vring_kick },
    [VHOST_USER_SET_VRING_CALL] = {
        "SET_VRING_CALL", U64, .max_fds = 1, .feature = -1,
        .check = check_vring_fd,
        .stop = stop_fd_ring, .execute = set_vring_call },
    [VHOST_USER_SET_VRING_ERR] = {
        "SET_VRING_ERR", U64, .max_fds = 1, .feature = -1,
        .check = check_vring_fd,
        .execute = set_vring_err },
    [VHOST_USER_GET_PROTOCOL_FEATURES] = {
        "GET_PROTOCOL_FEATURES", .feature = -1,
        .execute = get_protocol_features },
    [VHOST_USER_SET_PROTOCOL_FEATURES] = {
        "SET_PROTOCOL_FEATURES", U64, .feature = -1,
        .execute = set_protocol_features },
    [VHOST_USER_GET_QUEUE_NUM] = {
        "GET_QUEUE_NUM", .feature = VHOST_USER_PROTOCOL_F_MQ,
        .execute = get_queue_num },
    [VHOST_USER_SET_VRING_ENABLE] = {
        "SET_VRING_ENABLE", STATE, .feature = -1, .stop = stop_for_enable,
        .execute = set_vring_enable },
    [VHOST_USER_SEND_RARP] = {
        "SEND_RARP", U64, .feature = VHOST_USER_PROTOCOL_F_RARP,
        .execute = send_rarp },
    [VHOST_USER_NET_SET_MTU] = {
        "NET_SET_MTU", U64, .feature = VHOST_USER_PROTOCOL_F_NET_MTU,
        .execute = net_set_mtu },
    [VHOST_USER_SET_BACKEND_REQ_FD] = {
        "SET_BACKEND_REQ_FD", .max_fds = 1, .check = check_one_fd,
        .feature = VHOST_USER_PROTOCOL_F_BACKEND_REQ,
        .execute = set_backend_req_fd },
    [VHOST_USER_SET_STATUS] = {
        "SET_STATUS", U64, .feature = VHOST_USER_PROTOCOL_F_STATUS,
        .stop = stop_for_status, .execute = set_status },
    [VHOST_USER_GET_STATUS] = {
        "GET_STATUS", .feature = VHOST_USER_PROTOCOL_F_STATUS,
        .execute = get_status },
};

/* The handler of the message that arrived, NULL if there is none, which
 * includes those of protocol features that were not negotiated. */
static const struct handler *
find_handler(const struct vhost_port *port)
{
    uint32_t request = port->msg.header.request;
    const struct handler *h;

    if (request >= VHOST_USER_N_REQUESTS || !handlers[request].name) {
        return NULL;
    }
    h = &handlers[request];
    return (h->feature < 0
            || (port->info.protocol_features >> h->feature) & 1 ? h : NULL);
}

static const char *
message_name(const struct vhost_port *port)
{
    uint32_t request = port->msg.header.request;

    return (request < VHOST_USER_N_REQUESTS && handlers[request].name
            ? handlers[request].name : "unknown message");
}

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

/* Sends the answer that is kept in 'port'. */
static void
send_kept_reply(struct vhost_port *port)
{
    ssize_t n = send(port->sock_fd, port->reply, port->reply_len,
                     MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;                 /* It is for the peer to make room. */
    }

    /* All of it, or the rest is of no use. */
    if (n != (ssize_t) port->reply_len) {
        vhost_session_end(port, "the front end does not take its answers");
    }
    port->reply_len = 0;
}

static void
send_reply(struct vhost_port *port, const struct reply *reply)
{
    struct vhost_wire_header header = {
        .request = port->msg.header.request,
        .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
        .size = reply->size,
    };

    memcpy(port->reply, &header, sizeof header);
    memcpy(port->reply + sizeof header, &reply->payload, reply->size);
    port->reply_len = sizeof header + reply->size;
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
answer(struct vhost_port *port, vhost_result result, struct reply *reply)
{
    if (result) {
        if (!wants_ack(port)) {
            vhost_session_end(port, "%s refused: %s", message_name(port),
                              result);
            return;
        }
        vhost_port_set_error(port, VHOST_LOG_WARN, "%s refused: %s",
                             message_name(port), result);
        reply->size = 0;
    }
    if (!reply->size && wants_ack(port)) {
        reply->payload.u64 = result != NULL;
        reply->size = sizeof reply->payload.u64;
    }
    if (reply->size) {
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
    const struct handler *h = find_handler(port);
    struct reply reply = { .size = 0 };
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
    session_stop(VHOST_CONTAINER_OF(timer, struct vhost_port, throttle));
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
static void
session_stop(struct vhost_port *port)
{
    const struct handler *h = find_handler(port);
    int what = h && h->stop ? h->stop(port) : VHOST_STOP_NOTHING;

    if (port->stop.active || port->closing) {
        port->stop_wanted = true;   /* vhost_port_continue() comes back. */
    } else if (!vhost_stop_is_needed(port, what)) {
        session_execute(port);
    } else if (!take_stop_token(port)) {
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
    session_stop(port);
}

/* Checks the form of the message that arrived.  Returns false if it ended the
 * connection. */
static bool
check_form(struct vhost_port *port)
{
    const struct vhost_message *msg = &port->msg;
    const struct handler *h = find_handler(port);

    if (msg->too_many_fds || msg->n_fds > (h ? h->max_fds
                                             : VHOST_WIRE_MAX_FDS)) {
        vhost_session_end(port, "%s with too many descriptors",
                          message_name(port));
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
    const struct handler *h;

    pthread_mutex_lock(&port->mutex);
    port->info.n_messages++;
    pthread_mutex_unlock(&port->mutex);
    if (!check_form(port)) {
        return;
    }
    vhost_port_log(port, VHOST_LOG_DBG, "%s (%u), %u bytes, %u descriptors",
                   message_name(port), port->msg.header.request,
                   port->msg.header.size, port->msg.n_fds);

    /* Nothing is read while the message waits for something. */
    vhost_source_remove(port->loop, &port->sock);
    h = find_handler(port);
    if (h && h->prepare) {
        h->prepare(port);
    } else {
        session_stop(port);
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
    const struct handler *h = find_handler(port);

    return (!h ? sizeof port->msg.raw
            : h->size < 0 ? sizeof port->msg.payload : (uint32_t) h->size);
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
                                  message_name(port), msg->header.request,
                                  msg->header.flags, msg->header.size);
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
            vhost_session_end(port, NULL);
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
            vhost_session_end(port, NULL);
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
    port->info.n_connects++;
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
        vhost_port_set_error(port, VHOST_LOG_WARN, "disconnected: %s", reason);
        pthread_mutex_lock(&port->mutex);
        port->info.n_protocol_errors++;
        pthread_mutex_unlock(&port->mutex);
    }
    port->closing = true;
    vhost_source_remove(port->loop, &port->sock);
    vhost_timer_cancel(&port->throttle);
    vhost_timer_cancel(&port->hint);
    if (port->mem_job) {
        VHOST_CONTAINER_OF(port->mem_job, struct mem_job, job)->port = NULL;
        port->mem_job = NULL;
    }

    /* Later, since the caller may be in the midst of something. */
    vhost_task_post(port->loop, &port->ops_task);
}

/* All gates are closed: nobody uses what the connection had. */
void
vhost_session_teardown(struct vhost_port *port)
{
    release_message(port);
    port->reply_len = 0;
    pthread_mutex_lock(&port->mutex);
    vhost_device_release(port);
    vhost_device_unref_mem(port, port->new_mem);
    port->new_mem = NULL;
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
    vhost_port_log(port, VHOST_LOG_INFO, "front end disconnected");
    vhost_port_set_state(port, VHOST_S_WAITING);
    vhost_transport_closed(port);
    vhost_port_continue(port);
}
