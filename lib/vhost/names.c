/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Names of numbers, as the virtio and vhost-user specifications spell them,
 * for status, statistics and log.
 */

#include "vhost.h"

#include "wire.h"

#define N_ELEMENTS(ARRAY) (sizeof ARRAY / sizeof ARRAY[0])

static const char *
lookup(const char *const names[], unsigned int n, unsigned int i)
{
    return i < n ? names[i] : NULL;
}

const char *
vhost_feature_name(unsigned int bit)
{
    static const char *const names[] = {
        [0] = "CSUM", [1] = "GUEST_CSUM", [2] = "CTRL_GUEST_OFFLOADS",
        [3] = "MTU", [5] = "MAC", [6] = "GSO", [7] = "GUEST_TSO4",
        [8] = "GUEST_TSO6", [9] = "GUEST_ECN", [10] = "GUEST_UFO",
        [11] = "HOST_TSO4", [12] = "HOST_TSO6", [13] = "HOST_ECN",
        [14] = "HOST_UFO", [15] = "MRG_RXBUF", [16] = "STATUS",
        [17] = "CTRL_VQ", [18] = "CTRL_RX", [19] = "CTRL_VLAN",
        [20] = "CTRL_RX_EXTRA", [21] = "GUEST_ANNOUNCE", [22] = "MQ",
        [23] = "CTRL_MAC_ADDR", [24] = "NOTIFY_ON_EMPTY",
        [26] = "LOG_ALL", [27] = "ANY_LAYOUT", [28] = "INDIRECT_DESC",
        [29] = "EVENT_IDX", [30] = "PROTOCOL_FEATURES", [32] = "VERSION_1",
        [33] = "ACCESS_PLATFORM", [34] = "RING_PACKED", [35] = "IN_ORDER",
        [36] = "ORDER_PLATFORM", [37] = "SR_IOV", [38] = "NOTIFICATION_DATA",
        [40] = "RING_RESET",
    };

    return lookup(names, N_ELEMENTS(names), bit);
}

const char *
vhost_protocol_feature_name(unsigned int bit)
{
    static const char *const names[] = {
        "MQ", "LOG_SHMFD", "RARP", "REPLY_ACK", "NET_MTU", "BACKEND_REQ",
        "CROSS_ENDIAN", "CRYPTO_SESSION", "PAGEFAULT", "CONFIG",
        "BACKEND_SEND_FD", "HOST_NOTIFIER", "INFLIGHT_SHMFD", "RESET_DEVICE",
        "INBAND_NOTIFICATIONS", "CONFIGURE_MEM_SLOTS", "STATUS", "XEN_MMAP",
        "SHARED_OBJECT", "DEVICE_STATE",
    };

    return lookup(names, N_ELEMENTS(names), bit);
}

const char *
vhost_state_to_string(enum vhost_state state)
{
    switch (state) {
    case VHOST_S_IDLE: return "idle";
    case VHOST_S_WAITING: return "waiting";
    case VHOST_S_CONNECTED: return "connected";
    case VHOST_S_READY: return "ready";
    }
    return "unknown";
}

const char *
vhost_counter_to_string(enum vhost_counter counter)
{
    static const char *const names[VHOST_N_COUNTERS] = {
        [VHOST_C_BAD_AVAIL_IDX] = "bad_avail_idx",
        [VHOST_C_BAD_HEAD] = "bad_head",
        [VHOST_C_BAD_CHAIN] = "bad_chain",
        [VHOST_C_BAD_INDIRECT] = "bad_indirect",
        [VHOST_C_BAD_ADDRESS] = "bad_address",
        [VHOST_C_BAD_LENGTH] = "bad_length",
        [VHOST_C_BAD_DIRECTION] = "bad_direction",
        [VHOST_C_FAULT] = "memory_fault",
        [VHOST_C_SLOW_CALL] = "slow_call",
        [VHOST_C_TOO_MANY_SEGS] = "too_many_segments",
        [VHOST_C_TOO_BIG] = "too_big_for_guest",
        [VHOST_C_DISCARDED] = "discarded_on_disabled_ring",
        [VHOST_C_CRASH_LOST] = "crash_lost",
        [VHOST_C_NOTIFICATIONS] = "notifications",
        [VHOST_C_SUPPRESSED] = "notifications_suppressed",
        [VHOST_C_NOTIFY_ERRORS] = "notification_errors",
        [VHOST_C_OFFLOADED] = "notifications_offloaded",
        [VHOST_C_CONTENTION] = "contention",
        [VHOST_C_IOTLB_HITS] = "iotlb_hits",
        [VHOST_C_IOTLB_MISSES] = "iotlb_misses",
        [VHOST_C_IOTLB_AHEAD] = "iotlb_lookups_ahead",
    };

    return lookup(names, N_ELEMENTS(names), counter);
}
