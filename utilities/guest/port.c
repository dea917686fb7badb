/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port's memory, queue pairs and buffers, and the bursts: see port.h. */

#include "guest/port.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/catch.h"
#include "guest/fail.h"
#include "guest/pcap.h"

#define GUEST_BASE UINT64_C(0x100000)
#define USER_BASE UINT64_C(0x7f0000000000)
#define PAGE_2M (UINT64_C(2) << 20)
#define HUGE_2M (21u << 26)     /* MFD_HUGE_2MB of <linux/memfd.h>. */
#define MAX_HEADS 1100          /* Buffers for a frame: 64 KiB in 64 bytes. */
#define LARGE_FRAME 65562       /* 64 KiB of IP, Ethernet, VLAN, header. */

static const struct mode_ops *const modes[N_MODES] = {
    [MODE_GENERATE] = &generate_ops,
    [MODE_SINK] = &sink_ops,
    [MODE_BOTH] = &both_ops,
    [MODE_ECHO] = &echo_ops,
    [MODE_BRIDGE] = &bridge_ops,
    [MODE_REPLAY] = &replay_ops,
    [MODE_CAPTURE] = &capture_ops,
    [MODE_DISCARD] = &discard_ops,
};

void
port_init(struct port *p, const struct options *all, unsigned int index)
{
    memset(p, 0, sizeof *p);
    p->all = all;
    p->o = &all->ports[index];
    p->mode = modes[p->o->mode];
    p->index = index;
    p->fd = p->listen_fd = -1;
    fe_init(&p->fe);
    p->fe.lenient = true;
    pthread_mutex_init(&p->lock, NULL);
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->room = malloc(MAX_FRAME);
    p->vqs = calloc(2 * p->o->pairs, sizeof *p->vqs);
    p->queues = calloc(p->o->pairs, sizeof *p->queues);
    if (p->stop_fd < 0 || !p->room || !p->vqs || !p->queues) {
        errx(EXIT_CANNOT, "%s: out of memory or descriptors", p->o->path);
    }
}

void
port_destroy(struct port *p)
{
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        fe_vq_destroy(&p->vqs[2 * i]);
        fe_vq_destroy(&p->vqs[2 * i + 1]);
        free(p->queues[i].tx_slots);
    }
    fe_destroy(&p->fe);
    streams_destroy(&p->streams);
    free(p->results);
    if (p->fd >= 0) {
        close(p->fd);
    }
    close(p->stop_fd);
    free(p->room);
    free(p->vqs);
    free(p->queues);
}

/* Memory. */

static unsigned int
n_rx_slots(const struct port *p)
{
    return p->o->ring_size / p->o->rx_descs;
}

static unsigned int
n_tx_slots(const struct port *p)
{
    return p->o->indirect ? p->o->ring_size : p->o->ring_size / p->o->tx_descs;
}

static uint64_t
round_up(uint64_t x, uint64_t to)
{
    return (x + to - 1) / to * to;
}

static void
choose_lengths(struct port *p)
{
    const uint64_t large = FE_F_GUEST_TSO4 | FE_F_GUEST_TSO6 | FE_F_GUEST_UFO;
    const uint64_t sends_large = FE_F_HOST_TSO4 | FE_F_HOST_TSO6;
    uint32_t hlen = fe_net_header_len(&p->fe);
    bool merges = (p->fe.features & FE_F_MRG) != 0;

    p->rx_len = 2048;
    if (p->o->buf_size) {
        p->rx_len = p->o->buf_size;
    } else if (!merges && p->fe.features & large) {
        p->rx_len = round_up(LARGE_FRAME, 64);
    }
    p->tx_len = round_up(p->o->sizes.max + hlen, 64);
    if (p->o->mode != MODE_GENERATE && p->o->mode != MODE_BOTH) {
        p->tx_len = p->fe.features & sends_large
                    ? round_up(LARGE_FRAME, 64) : 10240;
    }
}

/* Bytes for a queue pair: rings, indirect tables, buffers. */
static uint64_t
pair_size(const struct port *p)
{
    uint64_t ring = p->o->ring_size * 26 + 256;
    uint64_t tables = p->o->indirect
                      ? p->o->ring_size * p->o->tx_descs * 16 + 64 : 0;

    return 2 * ring + tables + p->o->ring_size * ((uint64_t) p->rx_len + 64)
           + n_tx_slots(p) * ((uint64_t) p->tx_len + 64) + 4096;
}

static void
make_memory(struct port *p)
{
    unsigned int n = p->o->regions;
    uint64_t each, size;

    /* A queue pair is in one region. */
    each = (p->o->pairs + n - 1) / n;
    size = round_up(each * pair_size(p), PAGE_2M);
    for (unsigned int i = 0; i < n; i++) {
        /* A guest that wants to truncate its memory does not let anybody seal
         * it. */
        bool bad = p->o->mode == MODE_MISBEHAVE;
        unsigned int flags = (bad ? 0 : MFD_ALLOW_SEALING)
                             | (p->o->hugetlb ? MFD_HUGETLB | HUGE_2M : 0);
        int fd = p->o->hugepages
                 ? fe_huge_file(p->o->hugepages, size)
                 : fe_memfd(size, flags);

        fe_add_region_fd(&p->fe, GUEST_BASE + i * size, size,
                         USER_BASE + i * (size + PAGE_2M), fd, 0);
    }
}

static void
make_queue(struct port *p, unsigned int i)
{
    struct queue *q = &p->queues[i];
    unsigned int r = i % p->o->regions;
    unsigned int n = n_tx_slots(p);

    q->port = p;
    q->index = i;
    q->rx = &p->vqs[2 * i];
    q->tx = &p->vqs[2 * i + 1];
    fe_vq_init(q->rx, &p->fe, 2 * i, p->o->ring_size, r);
    fe_vq_init(q->tx, &p->fe, 2 * i + 1, p->o->ring_size, r);
    if (p->o->indirect) {
        fe_vq_use_indirect(q->tx, r, p->o->tx_descs);
    }
    q->rx_addr = fe_alloc(&p->fe, r, (uint64_t) n_rx_slots(p) * p->rx_len, 64);
    q->tx_addr = fe_alloc(&p->fe, r, (uint64_t) n * p->tx_len, 64);
    q->tx_slots = calloc(n, sizeof *q->tx_slots);
    FE_CHECK(q->tx_slots != NULL);
    for (unsigned int k = 0; k < n; k++) {
        q->tx_slots[k] = n - 1 - k;
    }
    q->n_tx_slots = n;
}

void
port_make_guest(struct port *p)
{
    choose_lengths(p);
    make_memory(p);
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        make_queue(p, i);
    }
}

void
port_lock(struct port *p)
{
    atomic_fetch_add(&p->n_waiting, 1);
    pthread_mutex_lock(&p->lock);
    atomic_fetch_sub(&p->n_waiting, 1);
}

void
port_unlock(struct port *p)
{
    pthread_mutex_unlock(&p->lock);
}

struct counters
port_counters(const struct port *p)
{
    struct counters c;

    memset(&c, 0, sizeof c);
    if (!p->mode || !p->was_live) {
        return c;               /* Misbehaves; or has no queues yet. */
    }
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        const struct queue *q = &p->queues[i];

        c.tx_frames += q->tx_frames;
        c.tx_bytes += q->tx_bytes;
        c.tx_used += q->tx_used;
        c.rx_frames += q->rx_frames;
        c.rx_bytes += q->rx_bytes;
        c.calls += q->n_calls;
        c.kicks += p->vqs[2 * i].n_kicks + p->vqs[2 * i + 1].n_kicks;
    }
    return c;
}

/* Receiving. */

static void
offer_rx_slot(struct queue *q, uint32_t slot)
{
    struct port *p = q->port;
    struct fe_buf bufs[64];
    unsigned int n;

    n = fe_split(bufs, q->rx_addr + (uint64_t) slot * p->rx_len, p->rx_len,
                 p->o->rx_descs, true);
    FE_CHECK_GE(fe_vq_add(q->rx, bufs, n, 0, slot), 0);
}

static void
fill_rx(struct queue *q)
{
    for (unsigned int i = 0; i < n_rx_slots(q->port); i++) {
        offer_rx_slot(q, i);
    }
    fe_vq_publish_and_kick(q->rx);
    q->rx_filled = true;
}

static void
receive(struct queue *q, const uint8_t *data, size_t len,
        const struct virtio_net_hdr_mrg_rxbuf *h, uint64_t now)
{
    struct frame frame = { data, len, h };
    struct port *p = q->port;

    q->rx_frames++;
    q->rx_bytes += len;
    if (p->out) {
        pcap_write(p->out, data, len);
    }
    if (p->mode->receive) {
        p->mode->receive(p, q, &frame, now);
    }
}

static unsigned int
poll_rx(struct queue *q, uint64_t now)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    uint16_t heads[MAX_HEADS];
    struct port *p = q->port;
    const uint8_t *data;
    unsigned int n = 0, n_heads;
    size_t len;

    while (n < RX_BURST
           && (data = fe_net_look(q->rx, &h, &len, p->room, MAX_FRAME, heads,
                                  &n_heads, MAX_HEADS)) != NULL) {
        receive(q, data, len, &h, now);
        for (unsigned int i = 0; i < n_heads; i++) {
            heads[i] = q->rx->chains[heads[i]].token;
        }
        for (unsigned int i = 0; i < n_heads; i++) {
            offer_rx_slot(q, heads[i]);
        }
        n++;
    }
    return n;
}

/* For modes that do not look at frames. */
static unsigned int
recycle_rx(struct queue *q)
{
    uint64_t bytes = 0;
    unsigned int n = fe_vq_recycle(q->rx, RX_BURST, &bytes);

    q->rx_frames += n;
    q->rx_bytes += bytes - n * fe_net_header_len(&q->port->fe);
    return n;
}

/* Sending. */

uint8_t *
port_tx_room(struct queue *q, size_t len,
             struct virtio_net_hdr_mrg_rxbuf **hdr)
{
    struct port *p = q->port;
    size_t hlen = fe_net_header_len(&p->fe);
    uint32_t slot;
    uint8_t *at;

    if (!q->n_tx_slots) {
        q->wants_room = true;
        return NULL;
    }
    FE_CHECK_LE(len + hlen, p->tx_len);
    slot = q->tx_slots[q->n_tx_slots - 1];
    at = fe_ptr(&p->fe, q->tx_addr + (uint64_t) slot * p->tx_len, p->tx_len);
    memset(at, 0, hlen);
    if (hdr) {
        *hdr = (void *) at;
    }
    return at + hlen;
}

void
port_tx_commit(struct queue *q, size_t len)
{
    uint32_t slot = q->tx_slots[--q->n_tx_slots];
    struct port *p = q->port;
    struct fe_buf bufs[64];
    unsigned int n;

    n = fe_split(bufs, q->tx_addr + (uint64_t) slot * p->tx_len,
                 len + fe_net_header_len(&p->fe), p->o->tx_descs, false);
    FE_CHECK_GE(fe_vq_add(q->tx, bufs, n, p->o->indirect ? FE_INDIRECT : 0,
                          slot), 0);
    q->tx_frames++;
    q->tx_bytes += len;
}

void
port_tx_flush(struct queue *q)
{
    fe_vq_publish_and_kick(q->tx);
}

static void
reclaim(struct queue *q)
{
    uint16_t head;
    uint32_t len;

    while (fe_vq_used(q->tx, &head, &len)) {
        q->tx_slots[q->n_tx_slots++] = q->tx->chains[head].token;
        q->tx_used++;
        q->wants_room = false;
    }
}

/* Everything. */

static unsigned int
poll_queue(struct port *p, struct queue *q, uint64_t now)
{
    unsigned int n_rx, n_tx = 0;

    if (!q->rx_filled) {
        fill_rx(q);
    }
    n_rx = p->mode->receive || p->out ? poll_rx(q, now) : recycle_rx(q);
    if (n_rx) {
        fe_vq_publish_and_kick(q->rx);
    }
    if (!q->prepared) {
        reclaim(q);
    }
    if (n_rx && p->mode->received) {
        p->mode->received(p, q);
    }
    if (p->mode->transmit && run_go && !run_stop_tx) {
        n_tx = p->mode->transmit(p, q, now);
    }
    return n_rx + n_tx;
}

unsigned int
port_poll(struct port *p, uint64_t now)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < p->o->pairs; i++) {
        n += poll_queue(p, &p->queues[i], now);
    }
    return n;
}
