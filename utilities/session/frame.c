/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See frame.h.
 *
 * A frame is of an experimental Ethernet type, or, if the header asks for a
 * check sum, of TCP or UDP over IPv4 or IPv6.  Behind that come a mark, the
 * frame's number, and bytes that follow from the number. */

#include "session/frame.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define ETH_LEN 14u
#define MIN_LEN 60u             /* Of a frame on a wire, without FCS. */
#define TYPE_EXPERIMENTAL 0x88b5
#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd

struct mark {
    uint8_t text[4];
    uint32_t number;
    uint32_t len;               /* Of the frame. */
};

static const uint8_t mark_text[4] = { 'o', 'v', 's', 's' };

/* Where things are in a frame that a header fits. */
struct shape {
    uint16_t csum_start, csum_offset;
    uint16_t type;              /* Ethernet. */
    uint8_t protocol;           /* IP. */
    uint8_t gso;                /* Types without ECN. */
    uint8_t header_len;         /* Up to the mark. */
};

static const struct shape shapes[] = {
    { 34, 16, TYPE_IPV4, IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4, 54 },
    { 34, 6, TYPE_IPV4, IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP, 42 },
    { 54, 16, TYPE_IPV6, IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV6, 74 },
    { 54, 6, TYPE_IPV6, IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP, 62 },
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static const struct shape *
find_shape(const struct virtio_net_hdr *h, size_t len)
{
    uint8_t gso = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

    for (unsigned int i = 0; i < N_SHAPES; i++) {
        const struct shape *s = &shapes[i];

        if (h->flags == VIRTIO_NET_HDR_F_NEEDS_CSUM
            && h->csum_start == s->csum_start
            && h->csum_offset == s->csum_offset && len > s->header_len
            && (gso == VIRTIO_NET_HDR_GSO_NONE
                || (gso == s->gso && h->gso_size))) {
            return s;
        }
    }
    return NULL;
}

static void
put16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static uint32_t
sum16(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i += 2) {
        sum += (p[i] << 8) | p[i + 1];
    }
    return sum;
}

static uint16_t
fold(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Writes the network header at 'ip' before 'l4_len' bytes.  Returns the sum of
 * the pseudo header. */
static uint16_t
put_ip(uint8_t *ip, const struct shape *s, size_t l4_len)
{
    bool v4 = s->type == TYPE_IPV4;

    if (v4) {
        ip[0] = 0x45;
        put16(ip + 2, 20 + l4_len);
        ip[8] = 64;
        ip[9] = s->protocol;
        memcpy(ip + 12, "\x0a\x01\x01\x01\x0a\x01\x01\x02", 8);
        put16(ip + 10, ~fold(sum16(ip, 20)));
        return fold(sum16(ip + 12, 8) + s->protocol + l4_len);
    }
    ip[0] = 0x60;
    put16(ip + 4, l4_len);
    ip[6] = s->protocol;
    ip[7] = 64;
    ip[8] = ip[24] = 0xfd;
    ip[23] = 1;
    ip[39] = 2;
    return fold(sum16(ip + 8, 32) + s->protocol + l4_len);
}

static void
put_l4(uint8_t *l4, const struct shape *s, size_t l4_len, uint16_t pseudo)
{
    put16(l4, 1024);
    put16(l4 + 2, 9);           /* The discard service. */
    if (s->protocol == IPPROTO_TCP) {
        l4[12] = 5 << 4;
        l4[13] = 0x10;          /* ACK. */
    } else {
        put16(l4 + 4, l4_len);
    }
    put16(l4 + s->csum_offset, pseudo);
}

static uint8_t
pattern(uint32_t number, size_t i)
{
    return (number * 131 + i * 7) ^ (i >> 8);
}

bool
frame_make(uint8_t *frame, size_t len, uint32_t number,
           struct virtio_net_hdr *h)
{
    bool plain = !h->flags && !h->gso_type;
    const struct shape *s = plain ? NULL : find_shape(h, len);
    size_t at = s ? s->header_len : ETH_LEN;
    struct mark mark = { .number = number, .len = len };

    for (size_t i = 0; i < len; i++) {
        frame[i] = i < at ? 0 : pattern(number, i);
    }
    if (!s) {
        memset(h, 0, sizeof *h);
    }
    if (len < ETH_LEN) {
        return plain;
    }
    memcpy(frame, "\x02\x76\x73\0\0\2\x02\x76\x73\0\0\1", 12);
    put16(frame + 12, s ? s->type : TYPE_EXPERIMENTAL);
    if (s) {
        size_t l4_len = len - s->csum_start;

        put_l4(frame + s->csum_start, s, l4_len,
               put_ip(frame + ETH_LEN, s, l4_len));
        h->hdr_len = s->header_len;     /* Without TCP's options. */
    }
    memcpy(mark.text, mark_text, sizeof mark.text);
    /* What is cut into segments on its way does not come back as it is. */
    if (len - at >= sizeof mark && !h->gso_type) {
        memcpy(frame + at, &mark, sizeof mark);
    }
    return plain || s;
}

/* Where a frame's mark is, 0 if there can be none. */
static size_t
find_mark(const uint8_t *frame, size_t len)
{
    size_t at = ETH_LEN;

    if (len < ETH_LEN) {
        return 0;
    }
    for (unsigned int i = 0; i < N_SHAPES; i++) {
        const struct shape *s = &shapes[i];
        unsigned int protocol = s->type == TYPE_IPV4 ? 23 : 20;

        if (frame[12] == s->type >> 8 && frame[13] == (s->type & 0xff)
            && len > s->header_len && frame[protocol] == s->protocol) {
            at = s->header_len;
        }
    }
    return len - at >= sizeof (struct mark) ? at : 0;
}

enum frame_state
frame_check(const uint8_t *frame, size_t len, uint32_t *number)
{
    size_t at = find_mark(frame, len);
    struct mark mark;

    if (!at) {
        return FRAME_FOREIGN;
    }
    memcpy(&mark, frame + at, sizeof mark);
    if (memcmp(mark.text, mark_text, sizeof mark_text)) {
        return FRAME_FOREIGN;
    }
    /* It may have been padded. */
    if (mark.len > len || (mark.len < len && len > MIN_LEN)) {
        return FRAME_CORRUPT;
    }
    for (size_t i = at + sizeof mark; i < mark.len; i++) {
        if (frame[i] != pattern(mark.number, i)) {
            return FRAME_CORRUPT;
        }
    }
    *number = mark.number;
    return FRAME_OURS;
}
