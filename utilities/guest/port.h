/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port of the switch with this guest's network device at it: memory, queue
 * pairs with their buffers, what it does with frames (struct mode_ops), and
 * its counters.
 *
 * Two threads touch a port: its session thread (session.c) connects, starts
 * the rings and notices the end; a worker (worker.c) moves frames while 'live'
 * is set.  'lock' is the worker's during a burst, and the main thread's while
 * it looks at counters. */

#ifndef GUEST_PORT_H
#define GUEST_PORT_H 1

#include <pthread.h>
#include <stdatomic.h>

#include "guest/histogram.h"
#include "guest/net.h"
#include "guest/options.h"
#include "guest/stream.h"

#define MAX_FRAME 65550         /* With what may be before it. */
#define RX_BURST 32

struct misbehave_result;
struct port;
struct queue;

/* A frame that arrived.  It is in guest memory, where the switch could change
 * it at any time; that does not matter here. */
struct frame {
    const uint8_t *data;
    size_t len;
    const struct virtio_net_hdr_mrg_rxbuf *hdr;
};

/* What a port does.  Workers call, with the port locked, what is not said to
 * be others'. */
struct mode_ops {
    /* Opens files and devices; NULL: nothing to do.  Main thread. */
    void (*start)(struct port *);

    /* Negotiated features are known.  May be NULL. */
    void (*negotiated)(struct port *);

    /* The port has come up, or gone.  May be NULL.  Session thread, without
     * the lock. */
    void (*connected)(struct port *, bool);

    /* A frame arrived at 'q'.  NULL: frames are not looked at. */
    void (*receive)(struct port *, struct queue *, const struct frame *,
                    uint64_t now);

    /* After a burst of these, if not NULL. */
    void (*received)(struct port *, struct queue *);

    /* Offers frames of its own; returns their number.  May be NULL. */
    unsigned int (*transmit)(struct port *, struct queue *, uint64_t now);

    /* When transmit() will have something (fe_now_ns()): 0 for now, or when
     * there is room; UINT64_MAX for never, or if waiting for 'fd'. */
    uint64_t (*next)(struct port *);

    /* Whether it has sent all that it has to; NULL: it has nothing to. */
    bool (*done)(struct port *);

    /* Writes files to their end; may be NULL.  Main thread, at the end. */
    void (*finish)(struct port *);
};

extern const struct mode_ops generate_ops, sink_ops, both_ops, echo_ops,
    bridge_ops, replay_ops, capture_ops, discard_ops;

/* A queue pair. */
struct queue {
    struct port *port;
    unsigned int index;
    struct fe_vq *rx, *tx;
    uint64_t rx_addr, tx_addr;          /* Buffers, by slot. */
    uint32_t *tx_slots;                 /* Free ones. */
    unsigned int n_tx_slots;
    bool rx_filled;
    bool prepared;                      /* Ring is full of prepared frames. */
    bool wants_room;                    /* Transmission waits for the ring. */

    uint64_t tx_frames, tx_bytes;       /* Offered to the device. */
    uint64_t tx_used;                   /* Taken by the device. */
    uint64_t rx_frames, rx_bytes;
    uint64_t n_calls;                   /* Of the device. */
    uint32_t seq;                       /* Of the next test frame. */
};

struct counters {
    uint64_t tx_frames, tx_bytes, tx_used, rx_frames, rx_bytes;
    uint64_t kicks, calls;
};

struct port {
    const struct port_options *o;
    const struct options *all;
    const struct mode_ops *mode;
    unsigned int index;
    struct worker *worker;

    struct fe fe;
    struct fe_vq *vqs;
    struct queue *queues;
    uint32_t rx_len, tx_len;            /* Of buffers, header included. */
    uint8_t *room;                      /* For a frame in pieces. */

    pthread_mutex_t lock;
    atomic_uint n_waiting;              /* Threads that want 'lock'. */
    bool live;                          /* Under 'lock'. */
    pthread_t session;
    int stop_fd;                        /* Readable: session has to end. */
    int listen_fd;

    atomic_bool was_live;
    atomic_uint n_connects;
    atomic_bool gone;                   /* Will not be live again. */
    atomic_bool broken;                 /* The device broke the rules. */

    /* The session thread's until it has ended. */
    unsigned int n_disconnects;
    bool hung_up;                       /* We did, not the device. */
    char error[256];                    /* Latest. */

    /* Under 'lock', or the main thread's at the end. */
    char broken_by[256];

    /* Modes.  Under 'lock'. */
    uint64_t mode_frames;               /* Offered by the mode so far. */
    uint64_t first_ns;                  /* When it began. */
    unsigned int turn;                  /* Queue to send from next. */
    struct streams streams;             /* Seen by a sink. */
    uint64_t n_other;                   /* Frames that are not tests'. */
    uint64_t n_dropped;                 /* That the mode could not send on. */
    struct histogram latency;
    struct histogram gaps;              /* Between frames of a stream. */
    struct histogram stops;             /* Times until all rings stopped, or
                                         * other memory was accepted. */
    int fd;                             /* Tap, -1: none. */
    struct pcap_file *out;
    struct misbehave_result *results;
    unsigned int n_results;
    uint64_t with, without;             /* Features for a misbehaviour. */
};

/* Set by the main thread. */
extern atomic_bool run_go;              /* Generators may begin. */
extern atomic_bool run_stop_tx;         /* Nothing new is sent any more. */
extern atomic_bool run_stop;            /* Workers end. */
extern uint16_t run_id;                 /* In test frames. */

void port_init(struct port *, const struct options *, unsigned int index);
void port_destroy(struct port *);

/* Makes memory, rings and buffers for what was negotiated.  Session thread,
 * once. */
void port_make_guest(struct port *);

/* Locks a port that a worker polls; mutexes alone are not fair enough. */
void port_lock(struct port *);
void port_unlock(struct port *);

/* Adds up the queues' counters. */
struct counters port_counters(const struct port *);

/* One burst in every direction.  Returns the number of frames moved. */
unsigned int port_poll(struct port *, uint64_t now);

/* Sending.  port_tx_room() returns where to put a frame of 'len' bytes with
 * its header '*hdr' (zeroed) or NULL if the ring is full; then comes
 * port_tx_commit(), and after some of them port_tx_flush(). */
uint8_t *port_tx_room(struct queue *, size_t len,
                      struct virtio_net_hdr_mrg_rxbuf **hdr);
void port_tx_commit(struct queue *, size_t len);
void port_tx_flush(struct queue *);

#endif /* guest/port.h */
