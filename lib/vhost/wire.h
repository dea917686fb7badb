/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * vhost-user messages as they are on the socket (vhost-user specification,
 * "Message Specification"): numbers, sizes and layouts, nothing that acts.
 * All fields are in the byte order of the host.
 */

#ifndef VHOST_WIRE_H
#define VHOST_WIRE_H 1

#include <stdint.h>

/* "Front-end message types". */
enum vhost_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_N_REQUESTS = 46  /* One above the highest that has a name. */
};

/* "Back-end message types". */
enum vhost_backend_request {
    VHOST_USER_BACKEND_IOTLB_MSG = 1,
};

/* "Header", flags. */
#define VHOST_USER_VERSION 0x1
#define VHOST_USER_VERSION_MASK 0x3
#define VHOST_USER_REPLY (1u << 2)
#define VHOST_USER_NEED_REPLY (1u << 3)

/* Virtio feature bit that says "protocol features exist". */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Dirty log; kept out of the guest's sight by the front end. */
#define VHOST_F_LOG_ALL 26

/* "Protocol features", bit numbers. */
enum vhost_protocol_feature {
    VHOST_USER_PROTOCOL_F_MQ = 0,
    VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
    VHOST_USER_PROTOCOL_F_RARP = 2,
    VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
    VHOST_USER_PROTOCOL_F_NET_MTU = 4,
    VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
    VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
    VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10, /* These two allow the back */
    VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,   /* end what it never does. */
    VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
    VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
    VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
    VHOST_USER_PROTOCOL_F_STATUS = 16,
    VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
};

struct vhost_wire_header {
    uint32_t request;           /* enum vhost_request. */
    uint32_t flags;
    uint32_t size;              /* Of the payload, in bytes. */
} __attribute__((packed));

/* "A vring state description". */
struct vhost_wire_vring_state {
    uint32_t index;
    uint32_t num;
};

/* "A vring address description". */
struct vhost_wire_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

/* "Memory region description". */
struct vhost_wire_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t mmap_offset;
};

/* Slots of SET_MEM_TABLE, "Multiple Memory regions description". */
#define VHOST_WIRE_MAX_REGIONS 8

struct vhost_wire_mem_table {
    uint32_t n_regions;
    uint32_t padding;
    struct vhost_wire_region regions[VHOST_WIRE_MAX_REGIONS];
};

/* "Single memory region description". */
struct vhost_wire_mem_reg {
    uint64_t padding;
    struct vhost_wire_region region;
};

/* "An IOTLB message". */
enum vhost_wire_iotlb_type {
    VHOST_WIRE_IOTLB_MISS = 1,
    VHOST_WIRE_IOTLB_UPDATE = 2,
    VHOST_WIRE_IOTLB_INVALIDATE = 3,
    VHOST_WIRE_IOTLB_ACCESS_FAIL = 4,
};

struct vhost_wire_iotlb {
    uint64_t iova;
    uint64_t size;
    uint64_t user_addr;
    uint8_t perm;               /* 1: read, 2: write, 3: both. */
    uint8_t type;               /* enum vhost_wire_iotlb_type. */
    uint8_t padding[6];
};

/* SET_VRING_KICK, _CALL, _ERR: "the lower 8 bits are the index, bit 8 says
 * that no file descriptor comes with the message". */
#define VHOST_WIRE_VRING_IDX_MASK 0xff
#define VHOST_WIRE_VRING_NOFD (1u << 8)

/* SET_LOG_BASE, "Log description". */
struct vhost_wire_log {
    uint64_t mmap_size;
    uint64_t mmap_offset;
};

/* SET_VRING_ADDR, flags: writes to the ring itself are logged, too. */
#define VHOST_WIRE_VRING_F_LOG 0x1

/* "Inflight description". */
struct vhost_wire_inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
};
#define VHOST_WIRE_INFLIGHT_MIN 20  /* Without C's padding. */

/* "Device state transfer parameters". */
enum vhost_wire_state_direction {
    VHOST_WIRE_STATE_SAVE = 0,
    VHOST_WIRE_STATE_LOAD = 1,
};
enum vhost_wire_state_phase {
    VHOST_WIRE_STATE_STOPPED = 0,
};

struct vhost_wire_state_transfer {
    uint32_t direction;         /* enum vhost_wire_state_direction. */
    uint32_t phase;             /* enum vhost_wire_state_phase. */
};

/* In the answer to SET_DEVICE_STATE_FD: no descriptor comes with it. */
#define VHOST_WIRE_STATE_NOFD (1u << 8)

union vhost_wire_payload {
    uint64_t u64;
    struct vhost_wire_vring_state state;
    struct vhost_wire_vring_addr addr;
    struct vhost_wire_log log;
    struct vhost_wire_mem_table mem;
    struct vhost_wire_mem_reg mem_reg;
    struct vhost_wire_iotlb iotlb;
    struct vhost_wire_inflight inflight;
    struct vhost_wire_state_transfer transfer;
};

/* File descriptors that one message may carry at most. */
#define VHOST_WIRE_MAX_FDS VHOST_WIRE_MAX_REGIONS

#endif /* wire.h */
