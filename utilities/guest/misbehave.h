/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Violations of the protocol and of the rings' rules, on request.  Each starts
 * from a port that is up, does one wrong thing, sees what the switch makes of
 * it, and then comes up again like any guest and sends a few frames: if that
 * does not go, the port was left unusable.
 *
 * To add one, write a function and a line in the table of misbehave-ring.c
 * (for split rings), misbehave-packed.c, misbehave-message.c or
 * misbehave-resource.c. */

#ifndef GUEST_MISBEHAVE_H
#define GUEST_MISBEHAVE_H 1

#include <stdbool.h>
#include <stdint.h>

struct fe_vq;
struct port;

struct misbehaviour {
    const char *name;
    const char *help;

    /* Does it.  For those of rings 'vq' is the one to break. */
    void (*run)(struct port *, struct fe_vq *vq);
};

/* Tables end with a NULL name.  Every entry of the first two exists twice, for
 * the guest's transmit ring ("tx-NAME", "packed-tx-NAME") and receive ring
 * ("rx-NAME", "packed-rx-NAME"). */
extern const struct misbehaviour misbehave_rings[];
extern const struct misbehaviour misbehave_packed[];
extern const struct misbehaviour misbehave_messages[];
extern const struct misbehaviour misbehave_resources[];

/* Prints all names with what they are. */
void misbehave_list(void);

/* True if every name in 'names' (separated by commas or '+') is one, or
 * "all", "rings", "packed", "messages" or "resources"; '*wrong' is the first
 * that is not. */
bool misbehave_check(const char *names, char *wrong, int size);

struct misbehave_result {
    char name[48];
    char outcome[160];          /* What the switch did. */
    bool usable;                /* The port, afterwards. */
};

/* A thread that goes through the port's list. */
void misbehave_start(struct port *);
void misbehave_join(struct port *);

/* For the cases: some KiB of guest memory that nothing else uses. */
uint64_t misbehave_scratch(struct port *);

/* Something that breaks a ring of any format; publishes and kicks. */
void misbehave_break_ring(struct fe_vq *);

#endif /* guest/misbehave.h */
