/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Test frames: Ethernet, IPv4 and UDP around 18 bytes that say which frame of
 * which stream it is, when it left, and a check sum of that; the rest is a
 * pattern that follows from the number, so that no two frames are alike. */

#ifndef GUEST_PAYLOAD_H
#define GUEST_PAYLOAD_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MIN_FRAME 60

/* Addresses of a generator's frames.  Flow i has source address 'src_ip' + i /
 * 16384 and a source port of its own among 16384. */
struct addresses {
    uint8_t src_mac[6], dst_mac[6];
    uint32_t src_ip, dst_ip;    /* Host byte order. */
};

struct test_info {
    uint32_t stream;
    uint32_t seq;
    uint64_t stamp;             /* fe_now_ns() modulo 2^48; 0: none. */
};

/* Writes a frame of 'len' bytes. */
void payload_write(uint8_t *frame, size_t len, const struct addresses *,
                   uint32_t flow, const struct test_info *);

enum payload_kind {
    PAYLOAD_GOOD,
    PAYLOAD_CORRUPT,            /* A test frame with wrong contents. */
    PAYLOAD_OTHER,              /* No test frame. */
};

/* Looks at a frame that arrived.  VLAN tags are skipped. */
enum payload_kind payload_read(const uint8_t *frame, size_t len,
                               struct test_info *);

/* Nanoseconds from 'stamp' to 'now'. */
static inline uint64_t
payload_age(uint64_t stamp, uint64_t now)
{
    return (now - stamp) & ((UINT64_C(1) << 48) - 1);
}

#endif /* guest/payload.h */
