/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Mode echo: sends back what arrives with addresses exchanged; answers ARP
 * requests and pings, for its own address or, if it was given none, for
 * any. */

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <string.h>

#include "guest/port.h"

#define ARP_LEN 28
#define HOST_TSO (FE_F_HOST_TSO4 | FE_F_HOST_TSO6)

static void
swap(uint8_t *a, uint8_t *b, size_t n)
{
    while (n--) {
        uint8_t x = *a;

        *a++ = *b;
        *b++ = x;
    }
}

static bool
is_mine(const struct port *p, const uint8_t *ip)
{
    uint32_t addr;

    memcpy(&addr, ip, sizeof addr);
    return !p->o->ip || ntohl(addr) == p->o->ip;
}

/* Makes an answer of an ARP request.  Returns false if it needs none. */
static bool
answer_arp(const struct port *p, uint8_t *frame, size_t len)
{
    uint8_t *arp = frame + ETH_HLEN;
    static const uint8_t request[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

    if (len < ETH_HLEN + ARP_LEN || memcmp(arp, request, sizeof request)
        || !is_mine(p, arp + 24)) {
        return false;
    }
    arp[7] = 2;                         /* Reply. */
    swap(arp + 14, arp + 24, 4);        /* Protocol addresses. */
    memcpy(arp + 18, arp + 8, 6);       /* Target is who asked. */
    memcpy(arp + 8, p->o->mac, 6);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, p->o->mac, 6);
    return true;
}

/* Turns an ICMP echo request into the reply. */
static void
answer_icmp(uint8_t *icmp, size_t len)
{
    if (len >= 8 && icmp[0] == 8 && icmp[1] == 0) {
        uint16_t check;
        uint32_t sum;

        /* One byte less 8 in the sum. */
        memcpy(&check, icmp + 2, 2);
        sum = ntohs(check) + 0x0800;
        check = htons(sum + (sum >> 16));
        memcpy(icmp + 2, &check, 2);
        icmp[0] = 0;
    }
}

/* Exchanges the addresses of IPv4 or IPv6, which leaves check sums right. */
static bool
turn_ip(const struct port *p, uint8_t *frame, size_t len)
{
    uint8_t *ip = frame + ETH_HLEN;

    if (frame[12] == 8 && frame[13] == 0 && len >= ETH_HLEN + 20) {
        size_t hlen = (ip[0] & 15) * 4;

        if (ip[9] == 1 && !is_mine(p, ip + 16)) {
            return false;
        }
        swap(ip + 12, ip + 16, 4);
        if (ip[9] == 1 && len >= ETH_HLEN + hlen) {
            answer_icmp(ip + hlen, len - ETH_HLEN - hlen);
        }
    } else if (frame[12] == 0x86 && frame[13] == 0xdd
               && len >= ETH_HLEN + 40) {
        swap(ip + 8, ip + 24, 16);
    }
    return true;
}

/* Finishes a check sum that the switch left to the guest. */
static bool
finish_checksum(uint8_t *frame, size_t len, const struct virtio_net_hdr *h)
{
    size_t at = h->csum_start + h->csum_offset;
    uint64_t sum = 0;
    uint16_t check;

    if (h->csum_start > len || at + 2 > len) {
        return false;
    }
    for (size_t i = h->csum_start; i < len; i += 2) {
        sum += frame[i] << 8 | (i + 1 < len ? frame[i + 1] : 0);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    check = htons(~sum);
    memcpy(frame + at, &check, 2);
    return true;
}

/* Fills the header in for a frame on its way back.  Returns false if the
 * device does not take it. */
static bool
turn_header(const struct port *p, const struct virtio_net_hdr *in,
            struct virtio_net_hdr *out, uint8_t *frame, size_t len)
{
    if (in->gso_type != VIRTIO_NET_HDR_GSO_NONE
        && !(p->fe.features & HOST_TSO)) {
        return false;
    }
    if (!(in->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        return true;
    }
    if (p->fe.features & FE_F_CSUM) {
        *out = *in;
        return true;
    }
    return finish_checksum(frame, len, in);
}

static void
echo(struct port *p, struct queue *q, const struct frame *in, uint64_t now)
{
    struct virtio_net_hdr_mrg_rxbuf *h;
    uint8_t *out;
    bool ok;

    (void) now;
    /* Not 'run_stop_tx': what comes is what generators wait for. */
    if (in->len < ETH_HLEN
        || in->len + fe_net_header_len(&p->fe) > p->tx_len
        || !(out = port_tx_room(q, in->len, &h))) {
        p->n_dropped++;
        return;
    }
    memcpy(out, in->data, in->len);
    if (out[12] == 8 && out[13] == 6) {
        ok = answer_arp(p, out, in->len);
    } else {
        ok = !(out[0] & 1) && turn_ip(p, out, in->len);
        swap(out, out + 6, 6);
    }
    if (ok && turn_header(p, &in->hdr->hdr, &h->hdr, out, in->len)) {
        port_tx_commit(q, in->len);
    } else {
        p->n_dropped++;
    }
}

static void
echo_sent(struct port *p, struct queue *q)
{
    (void) p;
    port_tx_flush(q);
}

const struct mode_ops echo_ops = {
    .receive = echo,
    .received = echo_sent,
};
