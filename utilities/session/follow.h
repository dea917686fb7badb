/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Follows a ring that others use: see watch.h.  Everything there may change at
 * any time, so each value is loaded once and believed only within bounds.
 *
 * Reference: virtio 1.2, sections 2.7 (split) and 2.8 (packed virtqueues). */

#ifndef SESSION_FOLLOW_H
#define SESSION_FOLLOW_H 1

#include <linux/virtio_ring.h>

#include "session/recording.h"

/* Guest memory as the recorder has it: see watch.c.  Returns NULL unless all
 * of [addr, addr + len) is in one region. */
struct memory;
const void *memory_guest(const struct memory *, uint64_t addr, uint64_t len);
const void *memory_user(const struct memory *, uint64_t addr, uint64_t len);

struct follow {
    bool active;
    bool announced;             /* EVENT_START is recorded. */
    bool packed;
    bool lost;                  /* Packed: where the driver is is unknown. */
    unsigned int size;
    unsigned int header_len;    /* Of the network header; 0: receives. */
    unsigned int max_chains;
    uint32_t base;
    struct fe_vring_addr addr;  /* User addresses. */
    const void *desc, *avail, *used;    /* NULL: not in memory. */

    uint16_t at;                /* Next chain; packed: slot. */
    uint16_t at_used;           /* Split. */
    bool wrap;                  /* Packed. */
    unsigned int n_chains, n_used;      /* Recorded since the start. */
    struct ring_totals totals;
};

/* Finds the ring's parts in memory. */
void follow_translate(struct follow *, const struct memory *);

/* Begins at 'base', which is SET_VRING_BASE's. */
void follow_start(struct follow *, uint32_t base);

/* Records what is new, the first time that the ring has started.  Nothing else
 * here looks at the ring, and that may raise SIGBUS. */
void follow_sample(struct follow *, const struct memory *, uint64_t t);

/* For the two formats: room for what one event takes, and reading. */

#define BATCH_CHAINS 64u
#define BATCH_DESCS 1024u
#define MAX_CHAIN 256u

struct batch {
    unsigned int n, n_descs;
    struct chain chains[BATCH_CHAINS];
    struct chain_desc descs[BATCH_DESCS];
};

/* Takes room for a chain in 'batch', NULL if there is none. */
struct chain *batch_add(struct batch *);

/* Adds a descriptor to the last chain.  Returns false if it has too many. */
bool batch_add_desc(struct batch *, const struct chain_desc *);

/* Loads a descriptor of a split ring or an indirect table. */
struct chain_desc load_desc(const struct vring_desc *, uint32_t id,
                            uint16_t *next);

/* Walks the indirect table that 'c->table' refers to, whose entries are
 * chained if 'chained' and otherwise all of them in turn.  Returns false if
 * it cannot be. */
bool read_table(struct batch *, struct chain *, const struct memory *,
                bool chained);

/* Notes the chain's network header unless it is all zeros. */
void note_header(const struct follow *, const struct memory *,
                 struct chain *);

/* Records the batch from index 'at' on, if there is something in it, and
 * empties it. */
void batch_write(struct follow *, struct batch *, uint16_t at, uint64_t t);

void follow_sample_packed(struct follow *, const struct memory *,
                          uint64_t t);

#endif /* session/follow.h */
