/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The messages of vhost-user: one function per message, in the order of their
 * numbers, and the table of them.  What they set up is device.c's; how they
 * come and are answered session.c's.
 */

#include "inflight.h"
#include "messages.h"
#include "postcopy.h"
#include "state.h"

#include <string.h>

#include "iommu.h"

int
vhost_take_fd(struct vhost_port *port, unsigned int i)
{
    int fd = i < port->msg.n_fds ? port->msg.fds[i] : -1;

    if (fd >= 0) {
        port->msg.fds[i] = -1;
    }
    return fd;
}

/* Messages. */

static vhost_result
get_features(struct vhost_port *port, struct vhost_reply *reply)
{
    reply->payload.u64 = port->offer.features;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

static vhost_result
set_features(struct vhost_port *port, struct vhost_reply *reply)
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
set_owner(struct vhost_port *port, struct vhost_reply *reply)
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
reset_owner(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    vhost_device_reset(port);
    return NULL;
}

/* Nobody knows what it would be signalled for; it is closed. */
static vhost_result
set_log_fd(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) port;
    (void) reply;
    return NULL;
}

static vhost_result
set_vring_num(struct vhost_port *port, struct vhost_reply *reply)
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
set_vring_addr(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    return vhost_device_set_vring_addr(port, &port->msg.payload.addr);
}

static vhost_result
set_vring_base(struct vhost_port *port, struct vhost_reply *reply)
{
    const struct vhost_wire_vring_state *s = &port->msg.payload.state;

    (void) reply;
    return vhost_device_set_vring_base(port, s->index, s->num);
}

static vhost_result
get_vring_base(struct vhost_port *port, struct vhost_reply *reply)
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
        vhost_take_fd(port, 0);
    }
    return result;
}

static vhost_result
set_vring_kick(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    return set_vring_fd(port, vhost_device_set_vring_kick);
}

static vhost_result
set_vring_call(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    return set_vring_fd(port, vhost_device_set_vring_call);
}

static vhost_result
set_vring_err(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    return set_vring_fd(port, vhost_device_set_vring_err);
}

static uint64_t
offered_protocol_features(const struct vhost_port *port)
{
    const uint64_t pagefault = (UINT64_C(1)
                                << VHOST_USER_PROTOCOL_F_PAGEFAULT);
    uint64_t offered = port->offer.protocol_features;

    return (offered & pagefault && vhost_postcopy_obstacle()
            ? offered & ~pagefault : offered);
}

static vhost_result
get_protocol_features(struct vhost_port *port, struct vhost_reply *reply)
{
    reply->payload.u64 = offered_protocol_features(port);
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

static vhost_result
set_protocol_features(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    if (port->msg.payload.u64 & ~offered_protocol_features(port)) {
        return "protocol features that were not offered";
    }
    port->info.protocol_features = port->msg.payload.u64;
    return NULL;
}

static vhost_result
get_queue_num(struct vhost_port *port, struct vhost_reply *reply)
{
    reply->payload.u64 = port->offer.queue_pairs;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

static vhost_result
set_vring_enable(struct vhost_port *port, struct vhost_reply *reply)
{
    const struct vhost_wire_vring_state *s = &port->msg.payload.state;

    (void) reply;
    if (s->num > 1) {
        return "neither on nor off";
    }
    return vhost_device_set_vring_enable(port, s->index, s->num);
}

static vhost_result
send_rarp(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    memcpy(port->rarp, &port->msg.payload.u64, sizeof port->rarp);
    port->have_rarp = true;
    vhost_port_changed(port, VHOST_CHANGE_RARP);
    return NULL;
}

static vhost_result
net_set_mtu(struct vhost_port *port, struct vhost_reply *reply)
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
set_backend_req_fd(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    vhost_iommu_drop_channel(port);
    vhost_dispose(port->disposal, &port->backend_fd, 1);
    port->backend_fd = vhost_take_fd(port, 0);
    vhost_iommu_use_channel(port);
    return NULL;
}

static vhost_result
reset_device(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) reply;
    vhost_device_reset_all(port);
    return NULL;
}

static vhost_result
get_max_mem_slots(struct vhost_port *port, struct vhost_reply *reply)
{
    (void) port;
    reply->payload.u64 = VHOST_MAX_MEM_SLOTS;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

/* A status of 0 resets the device (virtio 1.2, section 2.1). */
static int
stop_for_status(const struct vhost_port *port)
{
    return port->msg.payload.u64 ? VHOST_STOP_NOTHING : VHOST_STOP_ALL;
}

static vhost_result
set_status(struct vhost_port *port, struct vhost_reply *reply)
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
get_status(struct vhost_port *port, struct vhost_reply *reply)
{
    reply->payload.u64 = port->status;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

#define U64 .size = sizeof(uint64_t)
#define STATE .size = sizeof(struct vhost_wire_vring_state)

static const struct vhost_handler handlers[VHOST_USER_N_REQUESTS] = {
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
        .check = vhost_mem_table_check, .prepare = vhost_mem_table_prepare,
        .stop = vhost_mem_table_stop, .execute = vhost_mem_table_set },
    [VHOST_USER_SET_LOG_BASE] = {
        "SET_LOG_BASE", .size = sizeof(struct vhost_wire_log), .max_fds = 1,
        .feature = VHOST_USER_PROTOCOL_F_LOG_SHMFD,
        .check = vhost_log_base_check, .prepare = vhost_log_base_prepare,
        .stop = vhost_log_base_stop, .execute = vhost_log_base_set },
    [VHOST_USER_SET_LOG_FD] = {
        "SET_LOG_FD", .max_fds = 1, .feature = -1, .check = check_one_fd,
        .execute = set_log_fd },
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
    [VHOST_USER_IOTLB_MSG] = {
        "IOTLB_MSG", .size = sizeof(struct vhost_wire_iotlb),
        .feature = VHOST_USER_PROTOCOL_F_BACKEND_REQ,
        .prepare = vhost_iommu_prepare, .stop = vhost_iommu_stop,
        .execute = vhost_iommu_message },
    [VHOST_USER_POSTCOPY_ADVISE] = {
        "POSTCOPY_ADVISE", .feature = VHOST_USER_PROTOCOL_F_PAGEFAULT,
        .execute = vhost_postcopy_advise },
    [VHOST_USER_POSTCOPY_LISTEN] = {
        "POSTCOPY_LISTEN", .feature = VHOST_USER_PROTOCOL_F_PAGEFAULT,
        .execute = vhost_postcopy_listen },
    [VHOST_USER_POSTCOPY_END] = {
        "POSTCOPY_END", .feature = VHOST_USER_PROTOCOL_F_PAGEFAULT,
        .prepare = vhost_postcopy_end_prepare,
        .stop = vhost_postcopy_end_stop, .execute = vhost_postcopy_end },
    [VHOST_USER_GET_INFLIGHT_FD] = {
        "GET_INFLIGHT_FD", .size = -1, .check = vhost_inflight_check,
        .feature = VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
        .execute = vhost_inflight_get },
    [VHOST_USER_SET_INFLIGHT_FD] = {
        "SET_INFLIGHT_FD", .size = -1, .max_fds = 1,
        .check = vhost_inflight_check_fd,
        .feature = VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD,
        .prepare = vhost_inflight_prepare, .execute = vhost_inflight_set },
    [VHOST_USER_RESET_DEVICE] = {
        "RESET_DEVICE", .feature = VHOST_USER_PROTOCOL_F_RESET_DEVICE,
        .stop = stop_all, .execute = reset_device },
    [VHOST_USER_GET_MAX_MEM_SLOTS] = {
        "GET_MAX_MEM_SLOTS",
        .feature = VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
        .execute = get_max_mem_slots },
    [VHOST_USER_ADD_MEM_REG] = {
        "ADD_MEM_REG", .size = sizeof(struct vhost_wire_mem_reg),
        .max_fds = 1, .check = vhost_mem_add_check,
        .feature = VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
        .prepare = vhost_mem_table_prepare, .stop = vhost_mem_table_stop,
        .execute = vhost_mem_table_set },
    /* "For compatibility with existing incorrect implementations" the front
     * end may send a descriptor, which is closed. */
    [VHOST_USER_REM_MEM_REG] = {
        "REM_MEM_REG", .size = sizeof(struct vhost_wire_mem_reg),
        .max_fds = 1,
        .feature = VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
        .prepare = vhost_mem_table_prepare, .stop = vhost_mem_table_stop,
        .execute = vhost_mem_table_set },
    [VHOST_USER_SET_STATUS] = {
        "SET_STATUS", U64, .feature = VHOST_USER_PROTOCOL_F_STATUS,
        .stop = stop_for_status, .execute = set_status },
    [VHOST_USER_GET_STATUS] = {
        "GET_STATUS", .feature = VHOST_USER_PROTOCOL_F_STATUS,
        .execute = get_status },
    [VHOST_USER_SET_DEVICE_STATE_FD] = {
        "SET_DEVICE_STATE_FD", .max_fds = 1, .check = check_one_fd,
        .size = sizeof(struct vhost_wire_state_transfer),
        .feature = VHOST_USER_PROTOCOL_F_DEVICE_STATE,
        .prepare = vhost_state_prepare, .execute = vhost_state_set_fd },
    [VHOST_USER_CHECK_DEVICE_STATE] = {
        "CHECK_DEVICE_STATE", .feature = VHOST_USER_PROTOCOL_F_DEVICE_STATE,
        .prepare = vhost_state_check_prepare, .execute = vhost_state_check },
};

const struct vhost_handler *
vhost_find_handler(const struct vhost_port *port)
{
    uint32_t request = port->msg.header.request;
    const struct vhost_handler *h;

    if (request >= VHOST_USER_N_REQUESTS || !handlers[request].name) {
        return NULL;
    }
    h = &handlers[request];
    return (h->feature < 0
            || (port->info.protocol_features >> h->feature) & 1 ? h : NULL);
}

const char *
vhost_request_name(uint32_t request)
{
    return (request < VHOST_USER_N_REQUESTS ? handlers[request].name : NULL);
}

const char *
vhost_message_name(const struct vhost_port *port)
{
    const char *name = vhost_request_name(port->msg.header.request);

    return name ? name : "unknown message";
}
