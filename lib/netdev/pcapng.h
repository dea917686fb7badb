/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Blocks of a pcapng file (IETF draft "PCAP Next Generation (pcapng) Capture
 * File Format") with one interface, made in memory.  It writes no file and
 * knows no packet of OVS's.
 */

#ifndef PCAPNG_H
#define PCAPNG_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that a packet's block has at most besides the packet, with a comment
 * of PCAPNG_MAX_COMMENT bytes; and that the other blocks have. */
#define PCAPNG_MAX_COMMENT 256
#define PCAPNG_PACKET_ROOM (PCAPNG_MAX_COMMENT + 128)
#define PCAPNG_BLOCK_ROOM 2048

/* Of epb_flags, section 4.3.1. */
#define PCAPNG_INBOUND 0x1u
#define PCAPNG_OUTBOUND 0x2u
#define PCAPNG_CSUM_NOT_READY (1u << 9)
#define PCAPNG_CSUM_VALID (1u << 10)
#define PCAPNG_TSO (1u << 11)

struct pcapng_packet {
    uint64_t ns;                /* Time, since 1970. */
    const void *data;
    uint32_t data_len;
    uint32_t len;               /* Of the whole packet. */
    uint32_t flags;             /* PCAPNG_*. */
    int queue;                  /* -1: not known. */
    uint64_t n_lost;            /* Packets before it that are not in the
                                 * file. */
    const char *comment;        /* NULL: none. */
};

struct pcapng_statistics {
    uint64_t start_ns, end_ns;  /* Of the capture. */
    uint64_t n_packets;         /* That there were. */
    uint64_t n_lost;            /* Of them, not in the file. */
    const char *comment;        /* NULL: none. */
};

/* Each of these writes to 'buf' and returns the number of bytes, 0 if 'max' is
 * not enough. */

/* Section header and interface description, for packets of Ethernet of which
 * 'snaplen' bytes (0: all) are kept. */
size_t pcapng_put_header(uint8_t *buf, size_t max, const char *application,
                         const char *interface, const char *description,
                         uint32_t snaplen);

size_t pcapng_put_packet(uint8_t *buf, size_t max,
                         const struct pcapng_packet *);

size_t pcapng_put_statistics(uint8_t *buf, size_t max,
                             const struct pcapng_statistics *);

#endif /* pcapng.h */
