/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Mode replay: sends the frames of a file, in their own time or at a rate. */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "guest/catch.h"
#include "guest/fail.h"
#include "guest/pcap.h"
#include "guest/port.h"

/* The whole file, so that reading does not slow sending. */
struct replay {
    uint8_t *data;
    size_t size;                /* Of 'data', used. */
    size_t allocated;
    uint32_t *lens;
    uint64_t *times;            /* Since the first frame, in ns. */
    uint64_t n, n_allocated;

    uint64_t next;              /* Frame. */
    size_t at;                  /* Where it is in 'data'. */
    uint64_t round;
    uint64_t round_ns;          /* Beginning of this round. */
};

/* By port; workers do not share ports. */
static struct replay *replays[MAX_PORTS];

static void
append(struct replay *r, const uint8_t *frame, size_t len, uint64_t ns)
{
    while (r->size + len > r->allocated) {
        r->allocated = r->allocated ? 2 * r->allocated : 1 << 20;
        r->data = realloc(r->data, r->allocated);
    }
    if (r->n == r->n_allocated) {
        r->n_allocated = r->n_allocated ? 2 * r->n_allocated : 1024;
        r->lens = realloc(r->lens, r->n_allocated * sizeof *r->lens);
        r->times = realloc(r->times, r->n_allocated * sizeof *r->times);
    }
    if (!r->data || !r->lens || !r->times) {
        errx(EXIT_CANNOT, "no memory for the file to replay");
    }
    memcpy(r->data + r->size, frame, len);
    r->lens[r->n] = len;
    r->times[r->n] = r->n ? ns - r->times[0] : ns;
    r->size += len;
    r->n++;
}

static void
replay_start(struct port *p)
{
    struct replay *r = replays[p->index] = calloc(1, sizeof *r);
    struct pcap_file *file = pcap_open(p->o->file);
    uint64_t ns;
    size_t len;

    while ((len = pcap_read(file, p->room, 10000, &ns)) != 0) {
        append(r, p->room, len, ns);
    }
    pcap_close(file);
    if (!r->n) {
        errx(EXIT_CANNOT, "%s: no frames in it", p->o->file);
    }
    r->times[0] = 0;
}

static bool
replay_done(struct port *p)
{
    const struct replay *r = replays[p->index];

    return (p->o->loops && r->round >= p->o->loops)
           || (p->o->count && p->mode_frames >= p->o->count);
}

/* When the next frame has to go. */
static uint64_t
due(const struct port *p)
{
    const struct replay *r = replays[p->index];

    if (p->o->rate) {
        return p->first_ns + p->mode_frames * 1e9 / p->o->rate;
    }
    return r->round_ns + r->times[r->next];
}

static bool
send_next(struct port *p, struct queue *q)
{
    struct replay *r = replays[p->index];
    uint32_t len = r->lens[r->next];
    uint8_t *frame = port_tx_room(q, len, NULL);

    if (!frame) {
        return false;
    }
    memcpy(frame, r->data + r->at, len);
    port_tx_commit(q, len);
    p->mode_frames++;
    r->at += len;
    if (++r->next == r->n) {
        r->round_ns += r->times[r->n - 1];
        r->next = r->at = 0;
        r->round++;
    }
    return true;
}

static unsigned int
replay(struct port *p, struct queue *q, uint64_t now)
{
    struct replay *r = replays[p->index];
    unsigned int n = 0;

    if (!now) {
        now = fe_now_ns();
    }
    if (!p->first_ns) {
        p->first_ns = r->round_ns = now;
    }
    /* All on one queue: the file's order is to be kept. */
    if (q->index) {
        return 0;
    }
    while (n < p->o->burst && !replay_done(p) && due(p) <= now
           && send_next(p, q)) {
        n++;
    }
    if (n) {
        port_tx_flush(q);
    }
    return n;
}

static uint64_t
replay_next(struct port *p)
{
    return replay_done(p) || p->queues[0].wants_room ? UINT64_MAX : due(p);
}

static void
replay_finish(struct port *p)
{
    struct replay *r = replays[p->index];

    free(r->data);
    free(r->lens);
    free(r->times);
    free(r);
}

const struct mode_ops replay_ops = {
    .start = replay_start,
    .transmit = replay,
    .next = replay_next,
    .done = replay_done,
    .finish = replay_finish,
};
