/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Everything that differs between the versions of Open vSwitch that this
 * plug-in compiles against, and nothing else: no other file of this project
 * asks which one it is.  What is there is found out by configure (never by
 * version number, since distributions carry patches), and speaks one of three
 * dialects of "this packet's checksum is not complete yet":
 *
 *   - OVS 3.1: DPDK's transmit flags in the packet's offload flags, set by
 *     whoever receives the packet.
 *
 *   - OVS 3.5 (struct dp_packet has csum_start): the virtio header's offsets
 *     are stored in the packet; the flow parser turns them into the same flags
 *     if they match what it finds.
 *
 *   - OVS 4.0 (struct dp_packet has 'offloads'): a word of the switch's own,
 *     where "good and bad at once" means incomplete, and a nonzero segment
 *     size means TSO.
 *
 * Include <config.h> (Open vSwitch's) first.
 */

#ifndef COMPAT_H
#define COMPAT_H 1

#include "ovs-vhost-config.h"

#include <netinet/in.h>

#include "csum.h"
#include "dp-packet.h"
#include "netdev-provider.h"

#if defined HAVE_STRUCT_DP_PACKET_OFFLOADS
#define COMPAT_OL_WORD 1        /* Like 4.0. */
#elif defined HAVE_STRUCT_DP_PACKET_CSUM_START
#define COMPAT_OL_OFFSETS 1     /* Like 3.5. */
#else
#define COMPAT_OL_FLAGS 1       /* Like 3.1. */
#endif

/* True if the datapath completes checksums in software for an output port that
 * cannot.  Where it does not (3.1 drops such packets), a guest may be offered
 * checksum offload only if every port is supposed to have it, that is, if the
 * operator asked for userspace TSO. */
#ifdef COMPAT_OL_FLAGS
enum { COMPAT_SW_CSUM = false };
#else
enum { COMPAT_SW_CSUM = true };
#endif

/* What a port that takes incomplete checksums says in netdev.ol_flags.  The
 * IPv4 header's checksum has no place in a virtio header: 3.1 has no
 * incomplete ones and only wants the flag as the stock ports set it, while
 * later versions complete it for a port that does not claim it. */
enum {
    COMPAT_CSUM_OL_FLAGS = (NETDEV_TX_OFFLOAD_TCP_CKSUM
                            | NETDEV_TX_OFFLOAD_UDP_CKSUM
                            | NETDEV_TX_OFFLOAD_SCTP_CKSUM
#ifdef COMPAT_OL_FLAGS
                            | NETDEV_TX_OFFLOAD_IPV4_CKSUM
#endif
                            ),
};

/* The virtio-net features that the stock ports of this version offer, so that
 * guests can move to and from hosts that have those.  (The stock server's have
 * no buffers for what a guest may send with TSO.) */
static inline uint64_t
compat_stock_features(bool client, bool tso)
{
    if (client && tso) {
        return UINT64_C(0xd7c669fcb);
    } else if (tso || (client && COMPAT_SW_CSUM)) {
        return UINT64_C(0xd7c66a7cb);
    } else {
        return UINT64_C(0xd7c66a7ca);
    }
}

/* The same for protocol features, without PAGEFAULT, which is the operator's
 * to ask for. */
enum { COMPAT_STOCK_PROTOCOL_FEATURES = 0x10cbf };

/* Sets what a received packet must have and what neither the pool nor the
 * datapath sets: a pool's element keeps what its last user left there. */
static inline void
compat_rx_init(struct dp_packet *p)
{
#ifdef COMPAT_OL_WORD
    dp_packet_reset_offload(p);
#elif defined COMPAT_OL_OFFSETS
    p->csum_start = 0;
    p->csum_offset = 0;
#endif
    dp_packet_reset_cutlen(p);
    p->packet_type = htonl(PT_ETH);
}

/* Marks 'p': the checksum of its layer 4, 'proto' (TCP, UDP or SCTP), is still
 * to be completed, from byte 'start' of the frame to its end, with the result
 * at 'start' + 'offset'. */
static inline void
compat_rx_csum_partial(struct dp_packet *p, uint8_t proto, bool ipv6,
                       uint16_t start, uint16_t offset)
{
#ifdef COMPAT_OL_WORD
    (void) ipv6, (void) start, (void) offset;
    if (proto == IPPROTO_TCP) {
        dp_packet_l4_proto_set_tcp(p);
    } else if (proto == IPPROTO_UDP) {
        dp_packet_l4_proto_set_udp(p);
    } else {
        dp_packet_l4_proto_set_sctp(p);
    }
    dp_packet_l4_checksum_set_partial(p);
#elif defined COMPAT_OL_OFFSETS
    (void) ipv6;
    if (proto == IPPROTO_UDP) {
        dp_packet_hwol_set_csum_udp(p);
    }
    p->csum_start = start;
    p->csum_offset = offset;
#else
    (void) start, (void) offset;
    if (ipv6) {
        dp_packet_hwol_set_tx_ipv6(p);
    } else {
        dp_packet_hwol_set_tx_ipv4(p);
    }
    if (proto == IPPROTO_TCP) {
        dp_packet_hwol_set_csum_tcp(p);
    } else if (proto == IPPROTO_UDP) {
        dp_packet_hwol_set_csum_udp(p);
    } else {
        dp_packet_hwol_set_csum_sctp(p);
    }
#endif
}

/* Marks 'p': the checksum of its layer 4 is known to be right. */
static inline void
compat_rx_csum_good(struct dp_packet *p)
{
#ifdef COMPAT_OL_WORD
    dp_packet_l4_checksum_set_good(p);
#elif defined COMPAT_OL_OFFSETS
    dp_packet_ol_set_l4_csum_good(p);
#else
    *dp_packet_ol_flags_ptr(p) |= DP_PACKET_OL_RX_L4_CKSUM_GOOD;
#endif
}

/* Marks 'p', already marked by compat_rx_csum_partial(): it is to be cut into
 * TCP segments of 'segsz' bytes of payload. */
static inline void
compat_rx_tso(struct dp_packet *p, uint16_t segsz)
{
#ifdef COMPAT_OL_WORD
    dp_packet_set_tso_segsz(p, segsz);
#elif defined COMPAT_OL_OFFSETS
    dp_packet_hwol_set_tcp_seg(p);
    dp_packet_set_tso_segsz(p, segsz);
#else
    dp_packet_hwol_set_tcp_seg(p);
#ifdef DPDK_NETDEV
    p->mbuf.tso_segsz = segsz;
#else
    (void) segsz;
#endif
#endif
}

/* True if 'p' is to be cut into TCP segments, so that its own length says
 * nothing about what will be on the wire. */
static inline bool
compat_tx_is_tso(const struct dp_packet *p)
{
#ifdef COMPAT_OL_WORD
    return dp_packet_get_tso_segsz(p) != 0;
#else
    return dp_packet_hwol_is_tso(p);
#endif
}

/* True if 'p' is complete as it is, so that its virtio header is all zero. */
static inline bool
compat_tx_is_plain(const struct dp_packet *p)
{
#ifdef COMPAT_OL_WORD
    return (!dp_packet_get_tso_segsz(p)
            && !dp_packet_l4_checksum_partial(p)
            && !dp_packet_inner_l4_checksum_partial(p));
#else
    return !(*dp_packet_ol_flags_ptr(p) & (DP_PACKET_OL_TX_L4_MASK
                                           | DP_PACKET_OL_TX_TCP_SEG));
#endif
}

/* What is left to do for a packet that is not plain. */
struct compat_tx {
    bool tso;
    uint16_t segsz;             /* TCP payload per segment; 0: not known. */
    uint8_t proto;              /* Whose checksum is incomplete; 0: none. */
    char *l3, *l4;              /* Headers concerned; NULL: not known. */
};

static inline void
compat_tx_get(struct dp_packet *p, struct compat_tx *tx)
{
    tx->tso = compat_tx_is_tso(p);
    tx->l3 = dp_packet_l3(p);
    tx->l4 = dp_packet_l4(p);
#ifdef COMPAT_OL_WORD
    tx->segsz = dp_packet_get_tso_segsz(p);
    if (dp_packet_inner_l4_checksum_partial(p)) {
        tx->l3 = dp_packet_inner_l3(p);
        tx->l4 = dp_packet_inner_l4(p);
        tx->proto = (dp_packet_inner_l4_proto_tcp(p) ? IPPROTO_TCP
                     : dp_packet_inner_l4_proto_udp(p) ? IPPROTO_UDP
                     : dp_packet_inner_l4_proto_sctp(p) ? IPPROTO_SCTP
                     : 0);
    } else if (dp_packet_l4_checksum_partial(p)) {
        tx->proto = (dp_packet_l4_proto_tcp(p) ? IPPROTO_TCP
                     : dp_packet_l4_proto_udp(p) ? IPPROTO_UDP
                     : dp_packet_l4_proto_sctp(p) ? IPPROTO_SCTP
                     : 0);
    } else {
        tx->proto = 0;
    }
#else
    tx->proto = (dp_packet_hwol_l4_is_tcp(p) ? IPPROTO_TCP
                 : dp_packet_hwol_l4_is_udp(p) ? IPPROTO_UDP
                 : dp_packet_hwol_l4_is_sctp(p) ? IPPROTO_SCTP
                 : 0);
#ifdef COMPAT_OL_OFFSETS
    tx->segsz = tx->tso ? dp_packet_get_tso_segsz(p) : 0;
    if (dp_packet_inner_l3(p) && dp_packet_inner_l4(p)) {
        tx->l3 = dp_packet_inner_l3(p);
        tx->l4 = dp_packet_inner_l4(p);
    }
#elif defined DPDK_NETDEV
    tx->segsz = tx->tso ? p->mbuf.tso_segsz : 0;
#else
    tx->segsz = 0;
#endif
#endif
}

#endif /* compat.h */
