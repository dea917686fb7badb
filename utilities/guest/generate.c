/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Modes with test frames: generate, sink, and both on one port. */

#include <string.h>

#include "guest/fail.h"
#include "guest/payload.h"
#include "guest/port.h"

/* Behind by more than this, a generator with a rate gives up the difference
 * instead of sending it at once. */
#define MAX_BEHIND_NS UINT64_C(100000000)

static uint64_t
random_of(uint64_t x)
{
    x = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 27);
}

/* Size of frame number 'n': the same sequence in every run. */
static uint32_t
choose_size(const struct size_mix *mix, uint64_t n)
{
    uint64_t r = random_of(n);
    uint32_t at = r % mix->weights;
    unsigned int i = 0;

    if (mix->n == 1 && mix->sizes[0].min == mix->sizes[0].max) {
        return mix->max;
    }
    while (at >= mix->sizes[i].weight) {
        at -= mix->sizes[i++].weight;
    }
    return mix->sizes[i].min
           + (r >> 32) % (mix->sizes[i].max - mix->sizes[i].min + 1);
}

static void
get_addresses(const struct port *p, struct addresses *a)
{
    memcpy(a->src_mac, p->o->mac, 6);
    memcpy(a->dst_mac, p->o->dst_mac, 6);
    a->src_ip = p->o->ip;
    a->dst_ip = p->o->dst_ip;
}

static uint32_t
stream_id(const struct queue *q)
{
    return ((uint32_t) run_id << 16) | (q->port->index & 255) << 8
           | (q->index & 255);
}

/* How many frames may go now; at most a burst. */
static uint64_t
n_due(struct port *p, uint64_t now)
{
    const struct port_options *o = p->o;
    uint64_t n = o->burst;

    if (!p->first_ns) {
        p->first_ns = now;
    }
    if (o->rate) {
        uint64_t due = (now - p->first_ns) * o->rate / 1e9 + 1;

        if (p->mode_frames + MAX_BEHIND_NS * o->rate / 1e9 + o->burst < due) {
            /* Move the beginning. */
            p->first_ns = now - p->mode_frames * 1e9 / o->rate;
            due = p->mode_frames + 1;
        }
        due = due > p->mode_frames ? due - p->mode_frames : 0;
        n = due < n ? due : n;
    }
    if (o->count && o->count - p->mode_frames < n) {
        n = o->count - p->mode_frames;
    }
    return n;
}

static bool
write_frame(struct queue *q, const struct addresses *a, uint64_t now)
{
    struct port *p = q->port;
    struct test_info info = { stream_id(q), q->seq, now };
    uint32_t len = choose_size(&p->o->sizes, p->mode_frames);
    uint8_t *frame = port_tx_room(q, len, NULL);

    if (!frame) {
        return false;
    }
    payload_write(frame, len, a, p->mode_frames % p->o->flows, &info);
    port_tx_commit(q, len);
    q->seq++;
    p->mode_frames++;
    return true;
}

/* Fills the ring, for once whatever the rate is. */
static unsigned int
prepare(struct queue *q, const struct addresses *a)
{
    struct port *p = q->port;
    unsigned int n = 0;

    while ((!p->o->count || p->mode_frames < p->o->count)
           && write_frame(q, a, 0)) {
        n++;
    }
    q->prepared = true;
    q->wants_room = false;
    return n;
}

/* Offers again what the device has taken, without a look at it. */
static unsigned int
send_prepared(struct queue *q, uint64_t max)
{
    uint64_t bytes = 0;
    unsigned int n = fe_vq_recycle(q->tx, max, &bytes);

    q->tx_used += n;
    q->tx_frames += n;
    q->tx_bytes += (uint64_t) n * q->port->o->sizes.max;
    q->port->mode_frames += n;
    q->wants_room = n < max;
    return n;
}

static unsigned int
generate(struct port *p, struct queue *q, uint64_t now)
{
    struct addresses a;
    unsigned int n = 0;
    uint64_t max;

    now = p->all->stamps || p->o->rate ? fe_now_ns() : 1;
    max = p->turn == q->index ? n_due(p, now) : 0;
    if (!max) {
        return 0;
    }
    p->turn = (p->turn + 1) % p->o->pairs;
    if (q->prepared) {
        n = send_prepared(q, max);
    } else if (p->o->prepared) {
        get_addresses(p, &a);
        n = prepare(q, &a);
    } else {
        get_addresses(p, &a);
        while (n < max && write_frame(q, &a, p->all->stamps ? now : 0)) {
            n++;
        }
    }
    if (n) {
        port_tx_flush(q);
    }
    return n;
}

static uint64_t
generate_next(struct port *p)
{
    bool waits = true;

    if (p->o->count && p->mode_frames >= p->o->count) {
        return UINT64_MAX;
    }
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        waits &= p->queues[i].wants_room;
    }
    if (waits) {
        return UINT64_MAX;
    }
    return p->o->rate ? p->first_ns + p->mode_frames * 1e9 / p->o->rate : 0;
}

static bool
generate_done(struct port *p)
{
    return p->o->count && p->mode_frames >= p->o->count;
}

static void
note_latency(struct port *p, uint64_t stamp, uint64_t now)
{
    uint64_t age = payload_age(stamp, now);

    if (age >> 47) {
        /* Another thread sent it after this burst began. */
        age = payload_age(stamp, fe_now_ns());
    }
    histogram_add(&p->latency, age);
}

/* How long the stream has not been heard of. */
static void
note_gap(struct port *p, struct stream *s, uint64_t now)
{
    if (s->last_ns) {
        histogram_add(&p->gaps, now > s->last_ns ? now - s->last_ns : 0);
    }
    s->last_ns = now;
}

static void
sink(struct port *p, struct queue *q, const struct frame *frame, uint64_t now)
{
    struct test_info info;
    struct stream *s;

    (void) q;
    switch (payload_read(frame->data, frame->len, &info)) {
    case PAYLOAD_GOOD:
        s = streams_note(&p->streams, info.stream, info.seq);
        if (now) {
            note_gap(p, s, now);
        }
        if (info.stamp && now) {
            note_latency(p, info.stamp, now);
        }
        break;
    case PAYLOAD_CORRUPT:
        p->streams.corrupt++;
        break;
    case PAYLOAD_OTHER:
        p->n_other++;
        break;
    }
}

const struct mode_ops generate_ops = {
    .transmit = generate,
    .next = generate_next,
    .done = generate_done,
};

const struct mode_ops sink_ops = {
    .receive = sink,
};

const struct mode_ops both_ops = {
    .receive = sink,
    .transmit = generate,
    .next = generate_next,
    .done = generate_done,
};

/* Takes frames and gives the buffers back. */
const struct mode_ops discard_ops = {
    .receive = NULL,
};

/* The same; receive() in port.c writes the file. */
const struct mode_ops capture_ops = {
    .receive = NULL,
};
