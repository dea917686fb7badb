/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The slow half of offload.h: packets whose virtio-net header or marks are not
 * empty.  See virtio 1.2, sections 5.1.6.2 (packets from the guest) and
 * 5.1.6.4 (to the guest).
 *
 * Marks that a later stage cannot honour are worse than none: it would take
 * header offsets that the flow parser did not set and hand them to hardware.
 * So a packet is marked only where find_l4() agrees with the guest *and* is as
 * strict as the flow parser; everything else that is within the frame is
 * completed here, in software, as the specification describes it.
 */

#include <config.h>

#include "offload.h"

#include <string.h>

#include "crc32c.h"
#include "packets.h"
#include "unaligned.h"

/* Less payload per segment than any TCP stack sends: Linux's floor for what a
 * peer may ask for.  Anything below only multiplies the work that one frame
 * makes for whoever segments it. */
#define MIN_GSO_SIZE 48

/* Extension headers of IPv6 before layer 4.  The bound is the flow parser's
 * friend, not the specification's. */
#define MAX_IPV6_EXT 8

/* Where a frame's headers are. */
struct l4_info {
    uint16_t l3_ofs;
    uint16_t l4_ofs;
    uint16_t l4_len;            /* Layer 4 with payload, padding excluded. */
    uint8_t proto;
    bool ipv6;
};

/* Offset of the checksum within the header of 'proto', or -1. */
static int
csum_offset_of(uint8_t proto)
{
    switch (proto) {
    case IPPROTO_TCP:
        return offsetof(struct tcp_header, tcp_csum);
    case IPPROTO_UDP:
        return offsetof(struct udp_header, udp_csum);
    case IPPROTO_SCTP:
        return offsetof(struct sctp_header, sctp_csum);
    default:
        return -1;
    }
}

static size_t
min_header_len(uint8_t proto)
{
    return (proto == IPPROTO_TCP ? TCP_HEADER_LEN
            : proto == IPPROTO_UDP ? UDP_HEADER_LEN
            : SCTP_HEADER_LEN);
}

static bool
find_l4_ipv4(const uint8_t *data, size_t size, struct l4_info *l4)
{
    const struct ip_header *ip = (const void *) (data + l4->l3_ofs);
    size_t room = size - l4->l3_ofs;
    size_t ihl, tot_len;

    if (room < IP_HEADER_LEN || IP_VER(ip->ip_ihl_ver) != 4) {
        return false;
    }
    ihl = IP_IHL(ip->ip_ihl_ver) * 4;
    tot_len = ntohs(ip->ip_tot_len);
    if (ihl < IP_HEADER_LEN || tot_len < ihl || tot_len > room
        || IP_IS_FRAGMENT(ip->ip_frag_off)) {
        return false;
    }
    l4->proto = ip->ip_proto;
    l4->l4_ofs = l4->l3_ofs + ihl;
    l4->l4_len = tot_len - ihl;
    l4->ipv6 = false;
    return true;
}

static bool
find_l4_ipv6(const uint8_t *data, size_t size, struct l4_info *l4)
{
    const struct ovs_16aligned_ip6_hdr *ip6
        = (const void *) (data + l4->l3_ofs);
    size_t room = size - l4->l3_ofs;
    size_t ofs = sizeof *ip6;
    size_t end;
    uint8_t proto;

    if (room < sizeof *ip6 || IP_VER(data[l4->l3_ofs]) != 6) {
        return false;
    }
    end = sizeof *ip6 + ntohs(ip6->ip6_plen);
    if (end > room) {
        return false;
    }

    proto = ip6->ip6_nxt;
    for (int i = 0; i < MAX_IPV6_EXT; i++) {
        const uint8_t *ext = data + l4->l3_ofs + ofs;

        if (proto != IPPROTO_HOPOPTS && proto != IPPROTO_ROUTING
            && proto != IPPROTO_DSTOPTS) {
            break;
        }
        if (end - ofs < 8 || end - ofs < (ext[1] + 1) * 8) {
            return false;
        }
        proto = ext[0];
        ofs += (ext[1] + 1) * 8;
    }
    l4->proto = proto;
    l4->l4_ofs = l4->l3_ofs + ofs;
    l4->l4_len = end - ofs;
    l4->ipv6 = true;
    return true;
}

/* Finds the TCP, UDP or SCTP header of frame 'p'.  Returns false if there is
 * none, if it is in a fragment, incomplete, or behind more than the one VLAN
 * tag that every stage of the switch parses. */
static bool
find_l4(const struct dp_packet *p, struct l4_info *l4)
{
    const uint8_t *data = dp_packet_data(p);
    size_t size = dp_packet_size(p);
    size_t ofs = ETH_HEADER_LEN;
    ovs_be16 type;
    bool found;

    if (size < ofs) {
        return false;
    }
    type = get_unaligned_be16((const ovs_be16 *) (data + ofs - 2));
    if (eth_type_vlan(type)) {
        ofs += VLAN_HEADER_LEN;
        if (size < ofs) {
            return false;
        }
        type = get_unaligned_be16((const ovs_be16 *) (data + ofs - 2));
    }

    l4->l3_ofs = ofs;
    found = (type == htons(ETH_TYPE_IP) ? find_l4_ipv4(data, size, l4)
             : type == htons(ETH_TYPE_IPV6) ? find_l4_ipv6(data, size, l4)
             : false);
    return (found && csum_offset_of(l4->proto) >= 0
            && l4->l4_len >= min_header_len(l4->proto));
}

/* Length of the TCP header at 'l4', or 0 if it is not all there. */
static size_t
tcp_header_len(const char *data, const struct l4_info *l4)
{
    const struct tcp_header *tcp = (const void *) (data + l4->l4_ofs);
    size_t len = TCP_OFFSET(tcp->tcp_ctl) * 4;

    return len >= TCP_HEADER_LEN && len <= l4->l4_len ? len : 0;
}

/* Completes a checksum as the specification tells a device to: sums the frame
 * from 'start' to its end, where the driver has put the pseudo header's sum,
 * and stores the complement. */
static void
complete_inet(struct dp_packet *p, size_t start, size_t offset, bool udp)
{
    char *data = dp_packet_data(p);
    ovs_be16 sum = csum(data + start, dp_packet_size(p) - start);

    if (udp && !sum) {
        sum = htons(0xffff);
    }
    memcpy(data + start + offset, &sum, sizeof sum);
}

static void
complete_sctp(struct dp_packet *p, const struct l4_info *l4)
{
    uint8_t *sctp = (uint8_t *) dp_packet_data(p) + l4->l4_ofs;
    size_t len = MIN(l4->l4_len, dp_packet_size(p) - l4->l4_ofs);
    ovs_be32 crc = 0;

    memcpy(sctp + offsetof(struct sctp_header, sctp_csum), &crc, sizeof crc);
    crc = crc32c(sctp, len);
    memcpy(sctp + offsetof(struct sctp_header, sctp_csum), &crc, sizeof crc);
}

/* Sum of the pseudo header of the layer 4 at 'l4'.  (packets.h has one per
 * IP version, which knows no extension headers.) */
static uint32_t
pseudo_header_sum(const char *data, const struct l4_info *l4)
{
    const char *l3 = data + l4->l3_ofs;
    uint32_t sum = 0;

    if (l4->ipv6) {
        const struct ovs_16aligned_ip6_hdr *ip6 = (const void *) l3;

        sum = csum_continue(sum, &ip6->ip6_src, 2 * sizeof ip6->ip6_src);
    } else {
        const struct ip_header *ip = (const void *) l3;

        sum = csum_continue(sum, &ip->ip_src, 2 * sizeof ip->ip_src);
    }
    sum = csum_add16(sum, htons(l4->l4_len));
    return csum_add16(sum, htons(l4->proto));
}

/* From the guest. */

static bool
gso_is_negotiated(uint8_t type, uint64_t features)
{
    switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        return features & (UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4);
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return features & (UINT64_C(1) << VIRTIO_NET_F_HOST_TSO6);
    default:
        return false;           /* UDP fragmentation is never offered. */
    }
}

/* Marks 'p' for segmentation.  'l4' agrees with the guest's checksum offsets
 * already. */
static enum offload_verdict
gso_from_guest(struct dp_packet *p, const struct virtio_net_hdr *h,
               const struct l4_info *l4)
{
    bool v6 = (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN)
              == VIRTIO_NET_HDR_GSO_TCPV6;
    size_t tcp_len;

    if (l4->proto != IPPROTO_TCP || l4->ipv6 != v6) {
        return OFFLOAD_BAD_GSO;
    }
    tcp_len = tcp_header_len(dp_packet_data(p), l4);
    if (!tcp_len) {
        return OFFLOAD_BAD_GSO;
    }

    /* A frame of one segment is an ordinary one, which ports without TSO can
     * send, too. */
    if (l4->l4_len - tcp_len > h->gso_size) {
        compat_rx_tso(p, h->gso_size);
    }
    return OFFLOAD_OK;
}

enum offload_verdict
offload_from_guest__(struct dp_packet *p, const struct virtio_net_hdr *h,
                     uint64_t features, bool complete)
{
    bool gso = h->gso_type != VIRTIO_NET_HDR_GSO_NONE;
    size_t start = h->csum_start;
    size_t offset = h->csum_offset;
    struct l4_info l4;
    bool known;

    if (gso && (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
                || !gso_is_negotiated(h->gso_type, features)
                || h->gso_size < MIN_GSO_SIZE)) {
        return OFFLOAD_BAD_GSO;
    }

    if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
            compat_rx_csum_good(p);
        }
        return OFFLOAD_OK;
    }

    if (start + offset + sizeof(ovs_be16) > dp_packet_size(p)) {
        return OFFLOAD_BAD_CSUM;
    }

    known = (find_l4(p, &l4) && l4.l4_ofs == start
             && csum_offset_of(l4.proto) == (int) offset);
    if (gso) {
        enum offload_verdict verdict;

        verdict = known && !complete ? gso_from_guest(p, h, &l4)
                                     : OFFLOAD_BAD_GSO;
        if (verdict != OFFLOAD_OK) {
            return verdict;
        }
    } else if (!known || complete) {
        if (known && l4.proto == IPPROTO_SCTP) {
            complete_sctp(p, &l4);
        } else {
            complete_inet(p, start, offset,
                          known && l4.proto == IPPROTO_UDP);
        }
        return OFFLOAD_COMPLETED;
    }
    compat_rx_csum_partial(p, l4.proto, l4.ipv6, start, offset);
    return OFFLOAD_OK;
}

/* To the guest. */

/* Fills 'l4' from the header pointers that the datapath left in 'p'. */
static bool
l4_from_tx(const struct dp_packet *p, const struct compat_tx *tx,
           struct l4_info *l4)
{
    const char *data = dp_packet_data(p);
    size_t size = dp_packet_size(p);
    uint8_t proto = tx->tso ? IPPROTO_TCP : tx->proto;
    size_t l3_len;

    if (!tx->l3 || !tx->l4 || tx->l3 < data || tx->l4 < tx->l3
        || tx->l4 > data + size
        || data + size - tx->l4 < min_header_len(proto)) {
        return false;
    }
    l4->l3_ofs = tx->l3 - data;
    l4->l4_ofs = tx->l4 - data;
    l4->proto = proto;
    l3_len = tx->l4 - tx->l3;
    if (IP_VER(*(const uint8_t *) tx->l3) == 4 && l3_len >= IP_HEADER_LEN) {
        const struct ip_header *ip = (const void *) tx->l3;

        l4->ipv6 = false;
        l4->l4_len = ntohs(ip->ip_tot_len) - l3_len;
    } else if (IP_VER(*(const uint8_t *) tx->l3) == 6
               && l3_len >= IPV6_HEADER_LEN) {
        const struct ovs_16aligned_ip6_hdr *ip6 = (const void *) tx->l3;

        l4->ipv6 = true;
        l4->l4_len = ntohs(ip6->ip6_plen) + IPV6_HEADER_LEN - l3_len;
    } else {
        return false;
    }
    return true;
}

/* Fills in the segmentation part of 'h'.  Returns false if the guest does not
 * take it. */
static bool
gso_to_guest(const struct dp_packet *p, const struct compat_tx *tx,
             const struct l4_info *l4, struct virtio_net_hdr *h,
             uint64_t features, int mtu)
{
    size_t tcp_len = tcp_header_len(dp_packet_data(p), l4);
    size_t hdr_len = l4->l4_ofs + tcp_len;
    int segsz = mtu - (l4->l4_ofs - l4->l3_ofs) - (int) tcp_len;

    if (!tcp_len || hdr_len > dp_packet_size(p)) {
        return false;
    }
    if (tx->segsz && tx->segsz < segsz) {
        segsz = tx->segsz;
    }
    if (segsz <= 0) {
        return false;
    }
    if (dp_packet_size(p) - hdr_len <= segsz) {
        return true;            /* One segment: nothing to cut. */
    }

    if (!(features & (UINT64_C(1) << (l4->ipv6 ? VIRTIO_NET_F_GUEST_TSO6
                                      : VIRTIO_NET_F_GUEST_TSO4)))) {
        return false;
    }
    h->gso_type = (l4->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
                   : VIRTIO_NET_HDR_GSO_TCPV4);
    h->gso_size = segsz;
    h->hdr_len = hdr_len;
    return true;
}

/* Computes the checksum of 'p' from scratch. */
static void
checksum_in_software(struct dp_packet *p, const struct l4_info *l4)
{
    char *data = dp_packet_data(p);
    char *field = data + l4->l4_ofs + csum_offset_of(l4->proto);
    size_t len = MIN(l4->l4_len, dp_packet_size(p) - l4->l4_ofs);
    ovs_be16 sum = 0;

    if (l4->proto == IPPROTO_SCTP) {
        complete_sctp(p, l4);
        return;
    }
    memcpy(field, &sum, sizeof sum);
    sum = csum_finish(csum_continue(pseudo_header_sum(data, l4),
                                    data + l4->l4_ofs, len));
    if (l4->proto == IPPROTO_UDP && !sum) {
        sum = htons(0xffff);
    }
    memcpy(field, &sum, sizeof sum);
}

bool
offload_to_guest__(struct dp_packet *p, struct virtio_net_hdr *h,
                   uint64_t features, int mtu)
{
    char *data = dp_packet_data(p);
    struct compat_tx tx;
    struct l4_info l4;
    ovs_be16 sum;

    memset(h, 0, sizeof *h);
    compat_tx_get(p, &tx);
    if (!tx.tso && csum_offset_of(tx.proto) < 0) {
        return true;
    }
    if (!l4_from_tx(p, &tx, &l4)
        && (!find_l4(p, &l4)
            || l4.proto != (tx.tso ? IPPROTO_TCP : tx.proto))) {
        return false;
    }
    if (tx.tso && !gso_to_guest(p, &tx, &l4, h, features, mtu)) {
        return false;
    }

    /* Linux takes an incomplete SCTP checksum in places only. */
    if (!(features & (UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM))
        || l4.proto == IPPROTO_SCTP) {
        if (h->gso_type) {
            return false;
        }
        checksum_in_software(p, &l4);
        return true;
    }

    /* The pseudo header's sum may be there already, but actions that changed
     * an address did not know that the field was incomplete. */
    sum = ~csum_finish(pseudo_header_sum(data, &l4));
    memcpy(data + l4.l4_ofs + csum_offset_of(l4.proto), &sum, sizeof sum);
    h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    h->csum_start = l4.l4_ofs;
    h->csum_offset = csum_offset_of(l4.proto);
    return true;
}
