/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port of lib/vhost with a front end (utilities/guest) on it: what most
 * cases start from.  Brings harness.h, guest/net.h and the API under test
 * together.
 */

#ifndef UNIT_RIG_H
#define UNIT_RIG_H 1

#include <stdatomic.h>

#include "guest/iommu.h"
#include "guest/net.h"
#include "harness.h"
#include "ring.h"
#include "vhost.h"

#define RIG_MAX_PAIRS 4
#define RIG_MAX_SENDERS 16

/* Features that a front end of today accepts. */
#define RIG_FEATURES (FE_F_VERSION_1 | FE_F_MRG | FE_F_INDIRECT         \
                      | FE_F_EVENT_IDX | FE_F_PROTOCOL | FE_F_MQ)
#define RIG_PROTOCOL (FE_P_MQ | FE_P_REPLY_ACK)

struct rig_config {
    enum vhost_role role;
    uint64_t features;          /* To accept; 0: RIG_FEATURES.  Those of the
                                 * running case's variant are added. */
    uint64_t protocol;          /* To accept; 0: RIG_PROTOCOL. */
    unsigned int n_pairs;       /* 0: 1. */
    unsigned int ring_size;     /* 0: 256. */
    unsigned int n_senders;     /* 0: 1. */
    unsigned int n_regions;     /* Adjacent in guest memory; 0: 1. */
    uint64_t region_size;       /* 0: 16 MiB. */
    bool unsealable;            /* Memory files that can be truncated. */

    /* With FE_F_IOMMU: false: all translations are told at the connection, in
     * blocks of RIG_IOMMU_PIECE; true: none is. */
    bool misses;
};
#define RIG_IOMMU_PIECE (192 << 10)

struct rig {
    struct rig_config c;
    char name[32];
    char path[512];
    struct vhost_port *port;
    atomic_uint n_changed;      /* Calls of changed(). */
    atomic_uint changed;        /* What it said, or-ed. */
    void (*_Atomic on_changed)(struct rig *);   /* Called too if not NULL. */
    _Atomic uint64_t values[VHOST_STATE_VALUES];    /* save() and load(). */

    int listen_fd;              /* Front end's, in role VHOST_CLIENT. */
    struct fe fe;
    struct fe_iommu iommu;      /* With FE_F_IOMMU. */
    struct fe_vq vqs[2 * RIG_MAX_PAIRS];
    uint32_t bases[2 * RIG_MAX_PAIRS];  /* With which they started last. */
    struct vhost_rxq *rxqs[RIG_MAX_PAIRS];
    struct vhost_sender *senders[RIG_MAX_SENDERS];
};

/* The guest's rings of queue pair 'PAIR', from the guest's point of view. */
#define RIG_RX(RIG, PAIR) (&(RIG)->vqs[2 * (PAIR)])
#define RIG_TX(RIG, PAIR) (&(RIG)->vqs[2 * (PAIR) + 1])

/* Makes all but the port, which may be another process's. */
void rig_prepare(struct rig *, const char *name, const struct rig_config *);

/* Creates the port too, and no more. */
void rig_create(struct rig *, const char *name, const struct rig_config *);

/* Destroys the port and creates it again, as if it were another one. */
void rig_create_again(struct rig *);

/* Makes guest memory and rings. */
void rig_make_guest(struct rig *);

/* Connects and negotiates; makes memory and rings if there are none yet, and
 * sends the memory table. */
void rig_connect(struct rig *);

/* Sends the memory table (again) and, with FE_F_IOMMU, what is told of it
 * beforehand. */
void rig_send_mem_table(struct rig *);

/* Starts and enables ring 'idx' at 'base'. */
void rig_start_ring(struct rig *, unsigned int idx, uint32_t base);

/* Starts and enables all rings from where the device was, as far as the ring
 * tells (fe_vq_base()), as a front end does. */
void rig_start(struct rig *);

/* All of the above. */
void rig_open(struct rig *, const char *name, const struct rig_config *);

/* Hangs up and waits until the port has seen it. */
void rig_disconnect(struct rig *);

/* Frees guest memory and rings (after a disconnection). */
void rig_free_guest(struct rig *);

/* Disconnects and frees everything. */
void rig_close(struct rig *);

/* Fetches 'senders' again. */
void rig_set_senders(struct rig *, unsigned int n);

/* State. */
struct vhost_port_info rig_info(struct rig *);
struct vhost_vring_info rig_vring(struct rig *, unsigned int idx);
uint64_t rig_counter(struct rig *, unsigned int idx, enum vhost_counter);

/* Sum of all counters of guest errors of a ring, and of all rings. */
uint64_t rig_guest_errors(struct rig *, unsigned int idx);
uint64_t rig_all_guest_errors(struct rig *);

/* The guest posts 'n' receive buffers of 'len' bytes each, taken from guest
 * memory in region 0 once and for all; publishes. */
void rig_post(struct rig *, unsigned int pair, unsigned int n, uint32_t len);

/* The guest sends a frame of 'len' bytes of pattern 'seed' from guest address
 * 'addr' in one buffer; publishes.  Returns false if its ring is full. */
bool rig_guest_send(struct rig *, unsigned int pair, uint64_t addr,
                    size_t len, uint64_t seed);

/* The switch receives one packet of queue 'pair' into 'frame' and completes
 * it.  Returns its length, -1 if there is none. */
long int rig_switch_recv(struct rig *, unsigned int pair, void *frame,
                         size_t max, struct virtio_net_hdr *);

/* The switch sends one frame of pattern 'seed' from slot 'slot'.  Returns
 * true if it was delivered. */
bool rig_switch_send(struct rig *, unsigned int slot, size_t len,
                     uint64_t seed, const struct virtio_net_hdr *);

/* One small frame each way on queue pair 'pair' with contents checked: the
 * port works.  Uses guest memory of region 0. */
void rig_check_traffic(struct rig *, unsigned int pair);

/* test_main() on split rings, on packed rings, and on packed rings in
 * order. */
int rig_main(int argc, char *argv[], const struct test_case *cases,
             size_t n_cases);

/* A raw packet buffer for vhost_burst_*; too large for small stacks. */
struct vhost_burst *rig_burst(void);

/* Number of this process's descriptors once nothing changes any more. */
unsigned int rig_settled_fds(struct rig *);

/* Waits until this process has N descriptors: what a peer gave us may be
 * closed a little later, in a thread of its own. */
#define RIG_WAIT_FDS(RIG, N)                                            \
    do {                                                                \
        fe_sync(&(RIG)->fe);                                            \
        WAIT_FOR(test_n_fds() == (N));                                  \
    } while (0)

#endif /* rig.h */
