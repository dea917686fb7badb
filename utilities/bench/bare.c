/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench's sides below the netdev, which say what there is to be gained:
 *
 *     bare         lib/vhost's rings alone: no packet is allocated, nothing
 *                  copied.  PART_DEQUEUE is taking frames and giving their
 *                  buffers back, PART_ENQUEUE taking buffers and giving them
 *                  back as full, headers written.
 *     bare+copy    the same with the frames' bytes copied to and from the same
 *                  packets again and again.
 *     copy         memcpy() of the same bytes between the same buffers: what
 *                  no switch that copies can do without.
 *     steps        each step of receiving and sending by itself, between time
 *                  stamps, for --breakdown.
 */

#include <config.h>

#include "bench/bench.h"

#include <rte_mbuf.h>

#include "bench/stock.h"
#include "guest/fail.h"
#include "netdev/private.h"
#include "ovs-rcu.h"
#include "util.h"
#include "vhost/ring.h"
#include "vhost/vhost.h"

#define READY_MS 5000

struct piece {
    uint8_t *data;
    size_t len;
};

struct bare {
    struct vhost_port *port;
    struct vhost_rxq *rxq;
    struct vhost_sender *sender;
    struct rte_mbuf *pkts[BURST];
    void *data[BURST];          /* Where they have their frames. */
    const void *frames[BURST];  /* The same. */
    uint32_t lens[BURST];

    /* Frames of a batch in guest memory. */
    struct piece tx[RING_SIZE];
    struct piece rx[RING_SIZE];
};

static void
bare_open(struct side *side)
{
    struct vhost_port_config config = {
        .name = "bare",
        .role = VHOST_CLIENT,
        .path = side->guest->path,
        .offer = {
            .features = vhost_supported_features,
            .protocol_features = vhost_supported_protocol_features,
            .queue_pairs = 1,
        },
        .max_queue_pairs = 1,
    };
    struct bare *b = xzalloc(sizeof *b);
    struct vhost_loop *loop;
    char *error = NULL;

    if (vhost_netdev_start_loop(&loop)
        || vhost_port_create(loop, &config, &b->port, &error)
        || vhost_port_set_senders(b->port, 1, 1)) {
        ovs_fatal(0, "cannot create a port: %s", error ? error : "no reason");
    }
    b->rxq = vhost_port_rxq(b->port, 0);
    b->sender = vhost_port_sender(b->port, 0);
    if (rte_pktmbuf_alloc_bulk(stock_mempool(side->guest->c->size), b->pkts,
                               BURST)) {
        ovs_fatal(0, "no packets");
    }
    for (unsigned int i = 0; i < BURST; i++) {
        b->data[i] = rte_pktmbuf_mtod(b->pkts[i], void *);
        b->frames[i] = b->data[i];
        b->lens[i] = side->guest->c->size;
    }
    side->aux = b;
}

/* Notes where the frames of a batch are. */
static void
find_frames(struct bare *b, const struct guest *g)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < g->n_bursts * BURST; i++) {
        b->tx[i].data = guest_tx_frame(g, i);
        b->tx[i].len = g->c->size;
        for (unsigned int k = 0; k < g->rx_bufs; k++) {
            b->rx[n].data = guest_rx_piece(g, i, k, &b->rx[n].len);
            n++;
        }
    }
}

static void
bare_ready(struct side *side)
{
    struct bare *b = side->aux;
    long long int end = fe_now_us() + READY_MS * 1000LL;

    while (!vhost_port_vring_enabled(b->port, 0)
           || !vhost_port_vring_enabled(b->port, 1)) {
        FE_CHECK_LT(fe_now_us(), end);
        ovsrcu_quiesce();
        fe_sleep_us(200);
    }
    find_frames(b, side->guest);
}

static void
bare_close(struct side *side)
{
    struct bare *b = side->aux;

    vhost_port_destroy(b->port);
    rte_pktmbuf_free_bulk(b->pkts, BURST);
    free(b);
}

/* Writes the headers of a burst and nothing behind them. */
static inline void
write_headers(struct bare *bare, struct vhost_burst *b)
{
    for (unsigned int i = 0; i < b->n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];

        for (unsigned int k = 0; k < p->n_segs; k++) {
            b->segs[p->first + k].len = 0;
        }
    }
    vhost_burst_write_all(b, bare->frames, b->n);
}

/* One burst each way. */
static inline void
run_burst(struct bare *bare, struct sample *s, bool copy)
{
    struct vhost_burst b;
    enum vhost_reserve why;
    uint64_t t0, t1, t2;
    unsigned int n;

    t0 = tsc();
    n = vhost_rxq_peek(bare->rxq, &b, BURST);
    if (n) {
        if (copy) {
            vhost_burst_read_all(&b, bare->data, n);
        }
        vhost_rxq_complete(bare->rxq, &b, n);
    }
    t1 = tsc();
    n = vhost_sender_reserve(bare->sender, &b, bare->lens, n, false, &why);
    if (n) {
        if (copy) {
            vhost_burst_write_all(&b, bare->frames, n);
        } else {
            write_headers(bare, &b);
        }
        vhost_sender_commit(bare->sender, &b, false);
    }
    t2 = tsc();
    sample_burst(s, t0, t1, t2);
}

static void
bare_batch(struct side *side, struct sample *s)
{
    for (unsigned int i = 0; i < side->guest->n_bursts; i++) {
        run_burst(side->aux, s, false);
    }
}

static void
bare_copy_batch(struct side *side, struct sample *s)
{
    for (unsigned int i = 0; i < side->guest->n_bursts; i++) {
        run_burst(side->aux, s, true);
    }
}

static void
bare_copy_check(struct side *side)
{
    struct sample s = { .packets = 0 };

    bare_copy_batch(side, &s);
}

/* Adds the time since '*last' to 'step'. */
static inline void
stamp(struct sample *s, enum step step, uint64_t *last)
{
    uint64_t now = tsc();

    s->steps[step] += tsc_span(*last, now);
    *last = now;
}

static inline void
step_in(struct bare *bare, struct sample *s, struct rte_mempool *mp,
        struct rte_mbuf *pkts[])
{
    struct vhost_burst b;
    uint64_t t = tsc();
    unsigned int n;

    rte_pktmbuf_alloc_bulk(mp, pkts, BURST);
    stamp(s, STEP_ALLOC, &t);
    n = vhost_rxq_peek(bare->rxq, &b, BURST);
    stamp(s, STEP_PEEK, &t);
    vhost_burst_read_all(&b, bare->data, n);
    stamp(s, STEP_READ, &t);
    vhost_rxq_complete(bare->rxq, &b, n);
    stamp(s, STEP_COMPLETE, &t);
}

static inline void
step_out(struct bare *bare, struct sample *s, struct rte_mbuf *pkts[])
{
    struct vhost_burst b;
    enum vhost_reserve why;
    uint64_t t = tsc();
    unsigned int n;

    n = vhost_sender_reserve(bare->sender, &b, bare->lens, BURST, false, &why);
    stamp(s, STEP_RESERVE, &t);
    vhost_burst_write_all(&b, bare->frames, n);
    stamp(s, STEP_WRITE, &t);
    vhost_sender_commit(bare->sender, &b, false);
    stamp(s, STEP_COMMIT, &t);
    rte_pktmbuf_free_bulk(pkts, BURST);
    stamp(s, STEP_FREE, &t);
}

static void
steps_batch(struct side *side, struct sample *s)
{
    struct rte_mempool *mp = ours_mempool();
    struct rte_mbuf *pkts[BURST];

    for (unsigned int i = 0; i < side->guest->n_bursts; i++) {
        uint64_t start = tsc();

        step_in(side->aux, s, mp, pkts);
        step_out(side->aux, s, pkts);
        s->packets += BURST;
        sample_longest(s, tsc() - start);
    }
}

static void
copy_batch(struct side *side, struct sample *s)
{
    const struct guest *g = side->guest;
    struct bare *b = side->aux;
    const struct piece *tx = b->tx;
    const struct piece *rx = b->rx;

    for (unsigned int i = 0; i < g->n_bursts; i++) {
        uint64_t t0, t1, t2;

        t0 = tsc();
        for (unsigned int k = 0; k < BURST; k++) {
            memcpy(b->data[k], tx->data, tx->len);
            tx++;
        }
        t1 = tsc();
        for (unsigned int k = 0; k < BURST; k++) {
            const uint8_t *data = b->frames[k];

            for (unsigned int p = 0; p < g->rx_bufs; p++) {
                memcpy(rx->data, data, rx->len);
                data += rx->len;
                rx++;
            }
        }
        t2 = tsc();
        sample_burst(s, t0, t1, t2);
    }
}

static void
copy_check(struct side *side)
{
    struct sample s = { .packets = 0 };

    copy_batch(side, &s);
}

const struct side bare_side = {
    .name = "bare",
    .fills = true,
    .open = bare_open,
    .ready = bare_ready,
    .close = bare_close,
    .batch = bare_batch,
};

const struct side bare_copy_side = {
    .name = "bare+copy",
    .fills = true,
    .batch = bare_copy_batch,
    .check = bare_copy_check,
};

const struct side copy_side = {
    .name = "copy",
    .batch = copy_batch,
    .check = copy_check,
};

const struct side steps_side = {
    .name = "steps",
    .fills = true,
    .batch = steps_batch,
};
