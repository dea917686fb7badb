/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A virtqueue without a port, for tests that stop a device at any of its
 * stores: a ring in shared memory, a driver on it (utilities/guest), and a
 * device of our own, which forks can take over from each other.
 */

#ifndef UNIT_MACHINE_H
#define UNIT_MACHINE_H 1

#include "record.h"
#include "rig.h"

#define MACHINE_SIZE 8u         /* Entries. */

struct machine {
    struct fe fe;
    struct fe_vq vq;
    struct vhost_vring vr;
    struct vring_state st;
    struct vhost_mem *mem;
    struct vhost_crash_record *record;  /* Packed rings. */
    struct vhost_record_key key;
    bool indirect;              /* Chains are offered in tables. */
    uint64_t bufs;
    unsigned int offered, returned;     /* Chains; their tokens count up. */
};

/* All that the device writes: ring and record. */
struct picture {
    struct vring_packed_desc ring[MACHINE_SIZE];
    struct vring_packed_desc_event event;
    uint8_t used[sizeof(struct vring_used)
                 + (MACHINE_SIZE + 1) * sizeof(struct vring_used_elem)];
    struct vhost_crash_record record;
};

/* What the guest offers, and what happened before. */
struct scene {
    const char *name;
    unsigned int position;      /* Where the ring starts. */
    unsigned int before[8];     /* Chains of these lengths have been used, one
                                 * burst each; 0: end. */
    bool before_at_once;        /* No, in one burst. */
    unsigned int chains[8];     /* These are given back in one burst; 0:
                                 * end. */
    bool indirect;
};

extern const struct scene scenes[];
extern const unsigned int n_scenes;

/* Makes a ring of the format that the case's variant says, at 'position'.
 * The record, for a packed ring, is 'record', or, if NULL, in the ring's
 * memory. */
void machine_init(struct machine *, unsigned int idx, unsigned int position,
                  struct vhost_crash_record *record);
void machine_destroy(struct machine *);

/* Puts the record elsewhere. */
void machine_set_record(struct machine *, struct vhost_crash_record *);

/* The guest offers one chain of 'n' descriptors. */
void machine_offer(struct machine *, unsigned int n);

/* The device prepares a burst of up to 'max' buffers; gives it back. */
unsigned int machine_begin(struct machine *, unsigned int max);
void machine_push(struct machine *);

/* The guest takes what was given back; returns how much. */
unsigned int machine_take(struct machine *);

/* Sets up 'scene' up to the point where the burst is prepared; returns how
 * many buffers it has. */
unsigned int machine_play(struct machine *, const struct scene *,
                          unsigned int idx,
                          struct vhost_crash_record *record);

/* A successor starts on what is there, as device.c does, and serves the guest
 * from there on, which 'looks' at the ring before that or not.  Fails if
 * anything gets lost or comes twice.  Returns how many buffers of an
 * interrupted burst it completed. */
unsigned int machine_succeed(struct machine *, bool looks);

void take_picture(const struct machine *, struct picture *);
void put_picture(struct machine *, const struct picture *);

/* Processes that are executed step by step. */

bool may_trace(void);

/* Makes a child that does 'prepare', unless that is NULL, and is stopped
 * before it does 'action'. */
pid_t step_start(struct machine *, void (*prepare)(struct machine *),
                 void (*action)(struct machine *));

/* Executes one instruction of the child.  Returns false, with the child still
 * stopped, if that was the end of the action. */
bool step(pid_t);

/* Kills the child. */
void step_kill(pid_t);

#endif /* machine.h */
