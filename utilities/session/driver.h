/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A split ring as the player drives it: offers recorded chains under the heads
 * and in the descriptors that they had, with frames in them that the player
 * made, and checks what comes back.
 *
 * Unlike a driver it cannot choose: a chain whose descriptors the device still
 * has must wait, or be left out.
 *
 * A packed ring is only laid out, empty.
 *
 * Reference: virtio 1.2, section 2.7. */

#ifndef SESSION_DRIVER_H
#define SESSION_DRIVER_H 1

#include <linux/virtio_ring.h>

#include "session/recording.h"
#include "session/stage.h"

struct ring {
    unsigned int index;         /* Odd: the guest sends. */
    const struct stage *stage;
    uint64_t features;
    void (*fail)(void *aux, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
    void *aux;

    /* Set up by messages. */
    bool has_addr, has_base, started, enabled, packed;
    unsigned int size;
    uint16_t base;
    bool resumes;               /* At 'base', with the memory as it is. */
    struct fe_vring_addr addr;
    int kick_fd, call_fd, err_fd;       /* -1: none. */

    /* In memory; NULL: not there. */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    struct fe_vring_addr laid_out;      /* Where they were the last time. */
    unsigned int laid_out_size;

    /* The book. */
    uint16_t avail_idx, used_idx, kick_idx;
    bool broken;                /* A rule was broken: not looked at again. */
    bool *taken;                /* Descriptors that the device has. */
    struct offered {
        bool busy;
        uint64_t room;          /* For the device to write to. */
        struct chain_desc *descs;       /* Not owned. */
        unsigned int n, n_ring;         /* Buffers; descriptors in the ring. */
        uint16_t *ids;          /* In the ring. */
    } *offered;                 /* By head. */
    uint16_t *order;            /* Heads in the order of 'avail_idx'. */
    unsigned int n_busy;

    /* A frame that comes in several buffers. */
    unsigned int buffers_left;
    size_t frame_len;
    uint8_t *frame;

    /* Totals. */
    uint64_t n_offered, n_used, n_kicks, n_calls;
    uint64_t n_left_out;        /* Chains whose descriptors were not free. */
    uint64_t n_unfit;           /* Chains that this memory has no room for. */
    uint64_t n_frames, n_ours, n_changed_headers;
};

void ring_init(struct ring *, unsigned int index, const struct stage *,
               void (*fail)(void *aux, const char *format, ...), void *aux);
void ring_free(struct ring *);

/* Lays the ring out as soon as size, base and addresses are known, before
 * these are told to the device.  Once it runs, only finds it in memory again.
 * 'features' are those in force. */
void ring_prepare(struct ring *, uint64_t features);

/* True if the device has none of the chain's descriptors. */
bool ring_is_free(const struct ring *, const struct chain *);

/* Offers a chain, without publishing it.  'number' is that of its frame.
 * Returns false if its buffers are not in memory. */
bool ring_offer(struct ring *, const struct chain *, uint32_t number);

/* Publishes what was offered and kicks the device if it wants that. */
void ring_publish(struct ring *);

/* Takes what the device has used.  Returns the number of chains. */
unsigned int ring_poll(struct ring *);

/* The lowest head among the chains that the device has. */
unsigned int ring_first_busy(const struct ring *);

/* Kicks the device. */
void ring_kick(struct ring *);

#endif /* session/driver.h */
