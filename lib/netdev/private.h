/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the files of the netdev provider share: the device, and which file
 * offers what.  For lib/netdev only.
 *
 * Threads
 * -------
 *
 *   - PMDs (and OVS's main thread as a sender) run rx.c and tx.c.  They take no
 *     mutex and read the device's first part, which only changes while the
 *     datapath keeps them out (reconfigure) or atomically.
 *
 *   - The main thread, mostly, runs the rest, under the device's mutex.  Some
 *     callbacks may come from other threads of OVS (statistics for sFlow).
 *
 *   - The event thread of lib/vhost says that something changed.  It only sets
 *     bits and wakes the main thread (vhost_netdev_run()), so that it never
 *     waits for a thread that waits for it.
 *
 * Lock order: netdev_mutex (OVS's own), devices_mutex, netdev_vhost.mutex, the
 * pools' mutex.  lib/vhost is called with all of them held, and calls back
 * with none.  Last comes netdev_vhost.counters_mutex, with which nobody calls
 * lib/vhost: the event thread may take it.
 */

#ifndef NETDEV_VHOST_PRIVATE_H
#define NETDEV_VHOST_PRIVATE_H 1

#include <stdbool.h>
#include <stdint.h>

#include "netdev-provider.h"
#include "openvswitch/list.h"
#include "ovs-atomic.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "util.h"

#include "options.h"
#include "packet-pool.h"
#include "pkt-counters.h"
#include "sock-access.h"
#include "warnings.h"
#include "vhost/ring.h"
#include "vhost/vhost.h"

struct capture;
struct ds;
struct ingress_policer;
struct json;
struct qos;
struct smap;

/* Why a frame from a guest was not received, and other things that happen
 * then.  The names are in stats.c. */
enum rx_event {
    RX_DROP_RUNT,               /* No whole Ethernet header. */
    RX_DROP_TOO_BIG,            /* Larger than MTU or buffer. */
    RX_DROP_BAD_CSUM,           /* Checksum offsets outside the frame. */
    RX_DROP_BAD_GSO,            /* Segmentation that cannot be. */
    RX_DROP_QOS,                /* More than policing lets pass. */
    RX_N_DROPS,
    RX_ALLOC_FAILED = RX_N_DROPS,   /* Left in the ring: pool was empty. */
    RX_CSUM_COMPLETED,          /* Checksum completed in software. */
    RX_RARP,                    /* Announcements made for a guest. */
    RX_N_EVENTS
};

/* Of a queue that the guest sends on; written by the thread that polls it. */
struct rx_counters {
    struct pkt_counters pkts;
    uint64_t events[RX_N_EVENTS];
};

/* Why a packet was not sent, and other things that happen then. */
enum tx_event {
    TX_DROP_FULL,               /* Guest made no room in time. */
    TX_DROP_MTU,                /* Larger than MTU. */
    TX_DROP_HWOL,               /* Offload that the guest does not take. */
    TX_DROP_DOWN,               /* No guest, or port administratively down. */
    TX_DROP_TOO_BIG,            /* Does not fit the guest's buffers. */
    TX_DROP_RUNT,               /* No whole Ethernet header. */
    TX_DROP_QOS,                /* More than QoS lets pass. */
    TX_N_DROPS,
    TX_RETRIES = TX_N_DROPS,
    TX_N_EVENTS
};

/* A sender slot: what one thread sends.  Written by that thread. */
struct tx_slot {
    struct vhost_sender *sender;    /* NULL: slot not in use now. */
    unsigned int n_pairs;           /* Elements of 'pairs'. */
    struct pkt_counters *pairs;     /* Per ring that packets went to. */
    uint64_t events[TX_N_EVENTS];
};

/* Sums over all queues of a port. */
struct netdev_vhost_totals {
    struct pkt_counters rx, tx;
    uint64_t rx_events[RX_N_EVENTS];
    uint64_t tx_events[TX_N_EVENTS];
};

/* Bits of netdev_vhost.special: what bursts have to heed that most ports do
 * not have, in one word, so that it costs these nothing. */
enum {
    DEV_DOWN = 1 << 0,          /* Not NETDEV_UP. */
    DEV_POLICED_RX = 1 << 1,    /* 'ingress' is set. */
    DEV_POLICED_TX = 1 << 2,    /* 'qos' is set. */
    DEV_CAPTURED = 1 << 3,      /* 'capture' may be set. */

    DEV_SPECIAL_RX = DEV_DOWN | DEV_POLICED_RX | DEV_CAPTURED,
    DEV_SPECIAL_TX = DEV_DOWN | DEV_POLICED_TX | DEV_CAPTURED,
};

struct netdev_vhost {
    struct netdev up;

    /* Fast path: constant between reconfigurations, or atomic. */
    OVS_ALIGNED_VAR(CACHE_LINE_SIZE) struct vhost_port *port;
    atomic_uint special;        /* Bits DEV_*. */
    bool complete_csum;         /* Of what the guest sends, in software. */
    int mtu;
    uint32_t max_frame;         /* Longest to be sent, unless TSO. */
    atomic_uint tx_retries_max;
    unsigned int n_slots;       /* Elements of 'slots' that are in use. */
    unsigned int n_own_slots;   /* Of these, the first, which threads have for
                                 * themselves. */
    struct tx_slot **slots;
    struct packet_pool *pool;   /* NULL: no memory. */
    struct packet_pool *big_pool;   /* For TSO frames; NULL: none. */

    /* Only looked at if 'special' says so; see qos.c. */
    OVSRCU_TYPE(struct ingress_policer *) ingress;
    OVSRCU_TYPE(struct qos *) qos;
    OVSRCU_TYPE(struct capture *) capture;      /* See capture.c. */

    /* Set by the event thread: enum vhost_change. */
    OVS_ALIGNED_VAR(CACHE_LINE_SIZE) atomic_uint changes;

    /* Control. */
    OVS_ALIGNED_VAR(CACHE_LINE_SIZE) struct ovs_mutex mutex;
    struct ovs_list node;       /* In 'devices', see netdev-vhost.c. */
    enum vhost_role role;
    bool tso;                   /* Userspace TSO, when the port was made. */
    struct vhost_options options;
    enum netdev_flags flags;
    struct eth_addr hwaddr;
    int requested_mtu;
    int requested_n_txq;
    int numa;                   /* Node that the pool was asked for. */
    bool reconfigured;          /* Once at least. */
    char *path;                 /* Wanted socket; NULL: none. */
    char *unlink;               /* Path registered for unlinking, or NULL. */
    const char *pool_error;     /* Memory for packets that is wanting, or
                                 * NULL. */
    char *config_error;         /* A setting that was not taken, or NULL. */
    char *ignored;              /* Options that mean nothing here, or NULL; */
    char *mistakes;             /* those that should not, in words. */
    char *qos_error;            /* QoS that was not taken, or NULL. */
    char *qos_logged;           /* The last of them that was logged, or NULL. */
    struct sock_access sock_access;
    struct warnings warnings;
    struct ovs_mutex counters_mutex;    /* For who adds up the counters:
                                         * 'slots' and their 'pairs', 'rx'
                                         * (with 'mutex', to change them) and
                                         * 'before'. */
    struct netdev_vhost_totals before;  /* Of guests that came from other
                                         * hosts: what was counted there. */
    unsigned int n_all_slots;   /* Elements of 'slots', in use or not. */
    unsigned int n_pool_queues; /* As told to the pools. */
    struct rx_counters *rx[VHOST_MAX_QUEUE_PAIRS];  /* NULL: never used. */
    struct json *baseline;      /* Of "vhost/stats"; NULL: never reset. */
    long long int reset_at;     /* When it was taken, as from time_msec(). */
    struct netdev_rxq_vhost *rxqs[VHOST_MAX_QUEUE_PAIRS];   /* NULL: there is
                                                             * none. */
    uint64_t rarp;              /* Waits for the first of them, see there. */

    /* When to ask for a reconfiguration, in ms as from time_msec(). */
    unsigned int seen_pairs;    /* At the last change. */
    unsigned int foreseen_pairs;    /* options:n_rxq, at least 1. */
    long long int last_request;
    long long int request_due;  /* LLONG_MAX: no need. */
    long long int repeat_due;   /* When to announce the last change once more,
                                 * see device_changed(). */
};

/* How often a burst is tried again by default. */
#define VHOST_TX_RETRIES_DEFAULT 8

/* What a thread that polls a queue is asked for, besides packets: to announce
 * the guest with the MAC address in the lower bits; to store its NUMA node in
 * 'node'. */
#define RXQ_ANNOUNCE (UINT64_C(1) << 63)
#define RXQ_TELL_NODE (UINT64_C(1) << 62)

/* All that an idle queue's poll looks at is in here, and behind 'ring'. */
struct netdev_rxq_vhost {
    struct netdev_rxq up;
    struct netdev_vhost *dev;
    struct vhost_rxq *ring;
    struct rx_counters *counters;
    atomic_uint64_t requests;   /* RXQ_*, or 0. */
    atomic_int node;            /* -1: not known. */
};

static inline struct netdev_vhost *
netdev_vhost_cast(const struct netdev *netdev)
{
    return CONTAINER_OF(netdev, struct netdev_vhost, up);
}

/* Sets or clears 'bit' of dev->special. */
static inline void
netdev_vhost_set_special(struct netdev_vhost *dev, unsigned int bit, bool on)
{
    unsigned int old;

    if (on) {
        atomic_or_explicit(&dev->special, bit, &old, memory_order_relaxed);
    } else {
        atomic_and_explicit(&dev->special, ~bit, &old, memory_order_relaxed);
    }
}

/* netdev-vhost.c */
const struct netdev_class *netdev_vhost_class(enum vhost_role);
bool netdev_vhost_is_running(const struct netdev_vhost *,
                             const struct vhost_port_info *);
void netdev_vhost_foreach(void (*)(struct netdev_vhost *, void *aux),
                          void *aux);
extern const struct vhost_port_ops netdev_vhost_port_ops;
void netdev_vhost_changed(struct netdev_vhost *, unsigned int what);

/* config.c */
int netdev_vhost_create_port(struct netdev_vhost *, const char *path,
                             char **errp);
int netdev_vhost_set_config(struct netdev *, const struct smap *,
                            char **errp);
int netdev_vhost_get_config(const struct netdev *, struct smap *);

/* link.c */
int netdev_vhost_get_carrier(const struct netdev *, bool *carrier);
long long int netdev_vhost_get_carrier_resets(const struct netdev *);
int netdev_vhost_get_features(const struct netdev *,
                              enum netdev_features *current,
                              enum netdev_features *advertised,
                              enum netdev_features *supported,
                              enum netdev_features *peer);

/* loop.c: the threads of lib/vhost. */
int vhost_netdev_start_loop(struct vhost_loop **);
void vhost_netdev_check_sigbus(void);
void vhost_netdev_set_offload(enum vhost_offload);

/* rx.c, tx.c */
int netdev_vhost_rxq_recv(struct netdev_rxq *, struct dp_packet_batch *,
                          int *qfill);
int netdev_vhost_send(struct netdev *, int qid, struct dp_packet_batch *,
                      bool concurrent_txq);

/* stats.c */
extern const char *const rx_event_names[RX_N_EVENTS];
extern const char *const tx_event_names[TX_N_EVENTS];
extern const char *const pkt_size_names[N_SIZES];
void netdev_vhost_sum(const struct netdev_vhost *,
                      struct netdev_vhost_totals *);
void netdev_vhost_save(void *dev, uint64_t values[VHOST_STATE_VALUES]);
void netdev_vhost_load(void *dev, const uint64_t values[VHOST_STATE_VALUES]);
void netdev_vhost_sum_tx_pair(const struct netdev_vhost *, unsigned int pair,
                              struct pkt_counters *);
void netdev_vhost_sum_rings(const struct netdev_vhost *, unsigned int side,
                            uint64_t sums[VHOST_N_COUNTERS]);
uint64_t netdev_vhost_rx_dropped(const struct netdev_vhost_totals *,
                                 const uint64_t rings[VHOST_N_COUNTERS]);
uint64_t netdev_vhost_tx_dropped(const struct netdev_vhost_totals *);
int netdev_vhost_get_stats(const struct netdev *, struct netdev_stats *);
int netdev_vhost_get_custom_stats(const struct netdev *,
                                  struct netdev_custom_stats *);

/* takeover.c */
void netdev_vhost_takeover_configure(const struct smap *other_config);
const char *netdev_vhost_types(void);

/* status.c */
int netdev_vhost_get_status(const struct netdev *, struct smap *);
void netdev_vhost_add_status(const struct netdev_vhost *, struct smap *);
const char *netdev_vhost_error(const struct vhost_port_info *);

/* counters.c */
struct json *netdev_vhost_counters(const struct netdev_vhost *);
struct json *netdev_vhost_counters_since(const struct json *now,
                                         const struct json *then);
void netdev_vhost_counters_format(const struct json *, struct ds *);

/* show-json.c */
struct json *netdev_vhost_to_json(const struct netdev_vhost *);
struct json *netdev_vhost_pool_to_json(const struct packet_pool *);
void netdev_vhost_put_pools(struct json *, const struct netdev_vhost *);

/* unixctl.c */
void netdev_vhost_unixctl_register(void);

#endif /* private.h */
