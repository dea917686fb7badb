/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Test frames: see payload.h. */

#include "guest/payload.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <string.h>

#define MAGIC 0x7648u           /* "vH" */
#define UDP_PORT 9              /* Discard. */
#define FIRST_PORT 16384

struct ipv4 {
    uint8_t version_ihl, tos;
    uint16_t len, id, frag;
    uint8_t ttl, proto;
    uint16_t check;
    uint32_t src, dst;
} __attribute__((packed));

struct udp {
    uint16_t src, dst, len, check;
} __attribute__((packed));

struct test_header {
    uint16_t magic;
    uint16_t check;             /* Of all that follows in here. */
    uint32_t stream;
    uint32_t seq;
    uint8_t stamp[6];           /* Little-endian. */
} __attribute__((packed));

#define HEADERS (sizeof (struct ether_header) + sizeof (struct ipv4)    \
                 + sizeof (struct udp))

static uint16_t
ip_checksum(const struct ipv4 *ip)
{
    const uint8_t *p = (const uint8_t *) ip;
    uint32_t sum = 0;

    for (unsigned int i = 0; i < sizeof *ip; i += 2) {
        uint16_t half;

        memcpy(&half, p + i, 2);
        sum += half;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return ~(sum + (sum >> 16));
}

static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ (x >> 29);
}

/* Depends on every bit of the header and on the payload's length. */
static uint16_t
header_check(const struct test_header *h, size_t len)
{
    uint64_t x = len;
    uint64_t stamp = 0;

    memcpy(&stamp, h->stamp, sizeof h->stamp);
    x = mix(x ^ (((uint64_t) h->stream << 32) | h->seq));
    x = mix(x ^ stamp);
    return x ^ (x >> 16) ^ (x >> 32) ^ (x >> 48);
}

static uint64_t
pattern_seed(const struct test_header *h)
{
    return mix(((uint64_t) h->seq << 32) ^ h->stream);
}

static uint64_t
pattern_word(uint64_t seed, size_t i)
{
    return seed + i * UINT64_C(0x0101010101010101);
}

static void
pattern_write(uint8_t *p, size_t len, uint64_t seed)
{
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        uint64_t word = pattern_word(seed, i);

        memcpy(p + i, &word, 8);
    }
    if (i < len) {
        uint64_t word = pattern_word(seed, i);

        memcpy(p + i, &word, len - i);
    }
}

static bool
pattern_holds(const uint8_t *p, size_t len, uint64_t seed)
{
    uint64_t difference = 0;
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        uint64_t word;

        memcpy(&word, p + i, 8);
        difference |= word ^ pattern_word(seed, i);
    }
    if (i < len) {
        uint64_t word = pattern_word(seed, i);

        difference |= memcmp(p + i, &word, len - i) != 0;
    }
    return !difference;
}

static void
write_network(uint8_t *frame, size_t len, const struct addresses *a,
              uint32_t flow)
{
    struct ether_header eth;
    struct ipv4 ip;
    struct udp udp;

    memcpy(eth.ether_dhost, a->dst_mac, 6);
    memcpy(eth.ether_shost, a->src_mac, 6);
    eth.ether_type = htons(ETHERTYPE_IP);
    memcpy(frame, &eth, sizeof eth);

    memset(&ip, 0, sizeof ip);
    ip.version_ihl = 0x45;
    ip.len = htons(len - sizeof eth);
    ip.ttl = 64;
    ip.proto = 17;
    ip.src = htonl(a->src_ip + flow / 16384);
    ip.dst = htonl(a->dst_ip);
    ip.check = ip_checksum(&ip);
    memcpy(frame + sizeof eth, &ip, sizeof ip);

    udp.src = htons(FIRST_PORT + flow % 16384);
    udp.dst = htons(UDP_PORT);
    udp.len = htons(len - sizeof eth - sizeof ip);
    udp.check = 0;              /* There is a better one in the payload. */
    memcpy(frame + sizeof eth + sizeof ip, &udp, sizeof udp);
}

void
payload_write(uint8_t *frame, size_t len, const struct addresses *a,
              uint32_t flow, const struct test_info *info)
{
    uint8_t *payload = frame + HEADERS;
    size_t n = len - HEADERS;
    struct test_header h;

    write_network(frame, len, a, flow);
    h.magic = MAGIC;
    h.stream = info->stream;
    h.seq = info->seq;
    memcpy(h.stamp, &info->stamp, sizeof h.stamp);
    h.check = header_check(&h, n);
    memcpy(payload, &h, sizeof h);
    pattern_write(payload + sizeof h, n - sizeof h, pattern_seed(&h));
}

/* The UDP payload of a frame, NULL if it is something else. */
static const uint8_t *
find_payload(const uint8_t *frame, size_t len, size_t *n)
{
    const uint8_t *p = frame + 12, *end = frame + len;
    struct ipv4 ip;
    struct udp udp;

    while (end - p >= 4 && p[0] == 0x81 && p[1] == 0) {
        p += 4;
    }
    if (end - p < (long int) (2 + sizeof ip + sizeof udp)
        || p[0] != 8 || p[1] != 0) {
        return NULL;
    }
    p += 2;
    memcpy(&ip, p, sizeof ip);
    memcpy(&udp, p + sizeof ip, sizeof udp);
    p += sizeof ip + sizeof udp;
    *n = ntohs(udp.len) - sizeof udp;
    if (ip.version_ihl != 0x45 || ip.proto != 17
        || ntohs(udp.len) < sizeof udp + sizeof (struct test_header)) {
        return NULL;
    }
    return end - p >= (long int) sizeof (struct test_header) ? p : NULL;
}

enum payload_kind
payload_read(const uint8_t *frame, size_t len, struct test_info *info)
{
    struct test_header h;
    const uint8_t *p;
    size_t n;

    p = len >= PAYLOAD_MIN_FRAME ? find_payload(frame, len, &n) : NULL;
    if (!p) {
        return PAYLOAD_OTHER;
    }
    memcpy(&h, p, sizeof h);
    if (h.magic != MAGIC) {
        return PAYLOAD_OTHER;
    }
    if (h.check != header_check(&h, n) || n > frame + len - p
        || !pattern_holds(p + sizeof h, n - sizeof h, pattern_seed(&h))) {
        return PAYLOAD_CORRUPT;
    }
    info->stream = h.stream;
    info->seq = h.seq;
    info->stamp = 0;
    memcpy(&info->stamp, h.stamp, sizeof h.stamp);
    return PAYLOAD_GOOD;
}
