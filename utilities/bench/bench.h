/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench: what a packet costs between a guest's rings and the switch's
 * packets, ours against librte_vhost's, in one process and one thread, hot in
 * cache.  This is what its files share.
 *
 * A case is a frame size and a set of ring features.  A *side* is something
 * that empties the guest's transmit ring and fills its receive ring:
 *
 *     ours.c     the netdev, by OVS's netdev_rxq_recv() and netdev_send()
 *     stock.c    librte_vhost, and mbufs as netdev-dpdk has them
 *     bare.c     lib/vhost's rings alone, without and with copying; and a
 *                plain copy of the same bytes
 *
 * Each side has a guest of its own (guest.c), all of the same kind: its rings
 * are full of frames and buffers that were prepared once and are offered again
 * after each *batch*, which is several bursts.  Only what a side does is
 * timed (measure.c). */

#ifndef BENCH_H
#define BENCH_H 1

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "guest/net.h"

#define BURST 32                /* Packets, as the datapath's. */
#define RING_SIZE 256
#define MAX_BURSTS (RING_SIZE / BURST)

/* Cases. */

/* How the guest describes a frame that it sends. */
enum shape {
    SHAPE_DIRECT,               /* One descriptor. */
    SHAPE_CHAIN,                /* Two: the header has one of its own. */
    SHAPE_INDIRECT,             /* A table of those two. */
};

struct bench_case {
    unsigned int size;          /* Bytes of a frame. */
    bool packed;
    bool mergeable;
    bool in_order;
    enum shape shape;
};

#define CASE_NAME_LEN 64

/* "64-packed-nomrg-inorder-chain" and so on, and back; returns false if
 * 'name' is none. */
void case_name(const struct bench_case *, char name[CASE_NAME_LEN]);
bool case_parse(const char *name, struct bench_case *);

/* What the guest asks for. */
uint64_t case_features(const struct bench_case *);

/* The guest. */

struct guest {
    const struct bench_case *c;
    char path[108];             /* Of the socket it listens on. */
    int listen_fd;
    struct fe fe;
    struct fe_vq rx, tx;        /* From its own point of view. */
    uint32_t rx_len, tx_len;    /* Of buffers, header included. */
    uint64_t rx_addr, tx_addr;
    size_t hlen;                /* Of the virtio-net header. */
    unsigned int rx_bufs;       /* Buffers that a frame takes. */
    unsigned int n_bursts;      /* In a batch. */
};

/* Listens, for a back end that is then told to connect to 'path'. */
void guest_listen(struct guest *, const struct bench_case *,
                  const char *path);

/* Accepts the back end's connection and brings the rings up, full.  Returns
 * those features that the case needs and that the back end does not offer: if
 * there are any, nothing else was done. */
uint64_t guest_connect(struct guest *);
void guest_close(struct guest *);

/* Offers what the back end has taken and filled again.  Fails unless that is
 * exactly what is in a batch; 'tx_only' if it filled nothing. */
void guest_republish(struct guest *, bool tx_only);

/* Forgets what arrived; fails unless all frames of a batch arrived in order
 * and unchanged, with virtio-net headers if 'headers'. */
void guest_clear_rx(struct guest *);
void guest_check_rx(struct guest *, bool headers);

/* Frame number 'i' of a batch; and where piece 'k' of it arrives, of
 * 'rx_bufs'. */
uint8_t *guest_tx_frame(const struct guest *, unsigned int i);
uint8_t *guest_rx_piece(const struct guest *, unsigned int i, unsigned int k,
                        size_t *len);

/* Sides. */

/* What is timed.  What a part is of the bare ring and of the copy is said in
 * bare.c. */
enum part {
    PART_DEQUEUE,               /* Guest to switch. */
    PART_ENQUEUE,               /* Switch to guest, freeing included. */
    PART_FREE,                  /* Freeing, where it is known. */
    PART_TOTAL,                 /* The first two. */
    N_PARTS
};

/* What our receiving and sending consist of, for --breakdown. */
enum step {
    STEP_ALLOC,                 /* Packets from the mempool. */
    STEP_PEEK,
    STEP_READ,
    STEP_COMPLETE,
    STEP_RESERVE,
    STEP_WRITE,
    STEP_COMMIT,
    STEP_FREE,                  /* In bulk. */
    N_STEPS
};

struct sample {
    uint64_t cycles[N_PARTS];
    uint64_t steps[N_STEPS];
    uint64_t packets;           /* For all but PART_FREE. */
    uint64_t freed;             /* Packets for PART_FREE. */
    uint64_t longest;           /* Burst, in cycles. */
};

struct side {
    const char *name;
    bool fills;                 /* Batches use the rings up. */
    struct guest *guest;
    void *aux;

    /* Opens the back end for 'guest', which listens; and waits, when the guest
     * has brought the rings up, until it is ready.  If 'open' is NULL then
     * guest and 'aux' are those of the side before. */
    void (*open)(struct side *);
    void (*ready)(struct side *);
    void (*close)(struct side *);

    /* Moves a batch once around, adding to 'sample'. */
    void (*batch)(struct side *, struct sample *);

    /* Receives a batch and frees it, if that is something else; or NULL. */
    void (*drop)(struct side *, struct sample *);

    /* Moves a batch, and fails unless the frames on their way are those of the
     * guest.  NULL: no frame passes, or not whole. */
    void (*check)(struct side *);
};

extern const struct side ours_side, stock_side, bare_side, bare_copy_side,
    copy_side, steps_side;

/* The mempool of the latest packet that ours_side's check received. */
struct rte_mempool *ours_mempool(void);

/* Windows (measure.c). */

struct windows {
    int cpu;
    unsigned int n;             /* Of each side and case. */
    double length;              /* In seconds. */
};

/* Why a window was discarded. */
enum reason {
    REASON_STEAL,               /* The host took the CPU. */
    REASON_DISTURBED,           /* Too few batches went without a gap. */
    N_REASONS
};

/* What was measured of a side: cycles per packet in each window, NAN where
 * that was discarded or there is no such part. */
struct series {
    const char *name;
    unsigned int n;
    unsigned int n_discarded;
    unsigned int n_reasons[N_REASONS];      /* May be several for a window. */
    double *parts[N_PARTS];
    double *steps[N_STEPS];
};

void calibrate(void);

/* Keeps the calling thread on 'cpu', or lets it run anywhere again if that is
 * negative. */
void pin(int cpu);

/* Measures 'n' sides, one window each in turn. */
void measure(struct side *[], struct series *, unsigned int n,
             const struct windows *);
void series_free(struct series *);

/* Of the values that are not NAN, 0 <= 'q' <= 1; NAN if there are none. */
double quantile(const double *, unsigned int n, double q);

/* Runs a case (run.c). */
extern const char *current_side;        /* For messages; or NULL. */
struct run_options {
    struct windows windows;
    const char *dir;            /* For sockets. */
    const char *only;           /* A side's name, or NULL. */
    bool breakdown;
};
void run_case(const struct bench_case *, const struct run_options *);
bool is_side_name(const char *);

/* Results (report.c).  Ratios are those of 'a' to 'b' by 'values', which has
 * an element for each window. */
struct comparison {
    const struct series *a, *b;
    const double *values_a, *values_b;
};

void report_open(const char *json);         /* A file's name, or NULL. */
void report_close(void);
void report_series(const struct series *[], unsigned int n);
void report_steps(const struct series *ours, const struct series *steps);

/* Prints a comparison and writes its JSON object but for its end: more may be
 * added by the others, before report_end(). */
void report_begin(const char *kind, const struct bench_case *,
                  const struct comparison *);
void report_number(const char *name, double);
void report_count(const char *name, unsigned int);
void report_parts(const char *name, const struct series *);
void report_end(void);

/* An object that says that there is nothing to compare. */
void report_skipped(const struct bench_case *, const char *side,
                    uint64_t missing);

/* Time. */

extern uint64_t tsc_cost;       /* Of a time stamp, in cycles. */

static inline uint64_t
tsc(void)
{
    return __builtin_ia32_rdtsc();
}

/* Cycles from 'a' to 'b', the cost of a time stamp excluded. */
static inline uint64_t
tsc_span(uint64_t a, uint64_t b)
{
    return b - a > tsc_cost ? b - a - tsc_cost : 0;
}

static inline void
sample_longest(struct sample *s, uint64_t cycles)
{
    s->longest = s->longest > cycles ? s->longest : cycles;
}

/* Adds a burst that was received from 't0' to 't1' and sent until 't2'. */
static inline void
sample_burst(struct sample *s, uint64_t t0, uint64_t t1, uint64_t t2)
{
    s->cycles[PART_DEQUEUE] += tsc_span(t0, t1);
    s->cycles[PART_ENQUEUE] += tsc_span(t1, t2);
    s->cycles[PART_TOTAL] += tsc_span(t0, t1) + tsc_span(t1, t2);
    sample_longest(s, t2 - t0);
    s->packets += BURST;
}

#endif /* bench.h */
