/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The way of captured packets from the polling threads, any number of them, to
 * the one thread that writes them into a file: a ring of bytes, in which each
 * packet is a record.  A polling thread takes no lock and makes no system
 * call; if there is no room the packet is counted and not captured.  It knows
 * neither OVS nor files.
 *
 * A record is reserved, filled in, and published.  The reader comes to the
 * records in the order in which they were reserved, and waits for one that is
 * not published yet.
 */

#ifndef CAPTURE_RING_H
#define CAPTURE_RING_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the first 8 bytes of a record, which is as little as padding at the
 * ring's end may have. */
struct capture_record {
    uint32_t size;              /* In the ring, a multiple of 8. */
    uint32_t state;             /* 0: not published. */

    uint64_t n_lost;            /* So many packets before this one. */

    /* The rest is the users'. */
    uint64_t ns;                /* Time, since 1970. */
    uint32_t len;               /* Of the frame. */
    uint32_t data_len;          /* Of 'data'. */
    uint16_t queue;             /* CAPTURE_NO_QUEUE: not known. */
    uint8_t direction;          /* enum capture_direction. */
    uint8_t verdict;            /* What became of it, 0: it passed. */

    /* Of the virtio-net header. */
    uint8_t flags, gso_type;
    uint16_t gso_size, csum_start, csum_offset;

    uint8_t data[];
};

enum capture_direction {
    CAPTURE_IN = 1,             /* From the guest, into the switch. */
    CAPTURE_OUT,
};
#define CAPTURE_NO_QUEUE UINT16_MAX

/* Written by different threads, so each in a cache line of its own. */
struct capture_ring {
    uint8_t *data;
    uint64_t size;              /* A power of 2. */
    uint64_t head __attribute__((aligned(64)));     /* Bytes reserved, ever. */
    uint64_t n_lost __attribute__((aligned(64)));
    uint64_t tail __attribute__((aligned(64)));     /* Bytes read, ever. */
};

/* Makes a ring of 'size' bytes, a power of 2 of at least 256 KiB.  Its memory
 * is touched, so that polling threads meet no page fault.  Returns false if
 * there is not enough. */
bool capture_ring_init(struct capture_ring *, uint64_t size);
void capture_ring_destroy(struct capture_ring *);

/* Reserves a record with room for 'data_len' < 128 KiB bytes of data, which
 * must be published soon.  All but 'data_len' is for the caller to fill in.
 * Returns NULL, having counted that, if there is no room.  Any number of
 * threads. */
struct capture_record *capture_ring_reserve(struct capture_ring *,
                                            uint32_t data_len);
void capture_ring_publish(struct capture_record *);

/* Instead of capture_ring_publish(): the reader will not see it. */
void capture_ring_cancel(struct capture_record *);

/* The next record, or NULL if there is none, or if it is not published yet.
 * The same, once more, until capture_ring_drop() is called, which makes its
 * room free.  One thread. */
const struct capture_record *capture_ring_peek(struct capture_ring *);
void capture_ring_drop(struct capture_ring *);

/* Packets for which there was no room so far. */
uint64_t capture_ring_lost(const struct capture_ring *);

#endif /* capture-ring.h */
