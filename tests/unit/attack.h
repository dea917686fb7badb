/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A guest that breaks the rules of its rings: a port with two queue pairs that
 * is attacked, one that must not notice, ways to offer what must not be in
 * either ring format, and the check of all that has to follow. */

#ifndef UNIT_ATTACK_H
#define UNIT_ATTACK_H 1

#include "rig.h"

/* What is under attack, and who must not notice. */
extern struct rig victim, bystander;

extern uint64_t attack_buf;     /* 64 KiB of the victim's memory. */
extern uint64_t attack_table;   /* The same, for indirect tables. */

void attack_open(uint64_t features, unsigned int ring_size);
void attack_close(void);

/* A frame passes on ring 'idx' of the victim, in the buffer of 1024 bytes at
 * 'addr'.  The short ways (walk.h) are taken only in the memory region that
 * was used last, so this is also what takes an attack there. */
void attack_exchange(unsigned int idx, uint64_t addr);

/* Each attack on a ring where the guest sends (1) and on one where it receives
 * (0).  W is the flag that buffers of that ring must have. */
#define FOR_BOTH(IDX, W)                                                \
    for (unsigned int IDX = 0, W = VRING_DESC_F_WRITE; IDX < 2;         \
         IDX++, W = 0)

/* A descriptor, but for what links it to the next. */
struct attack_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
};

/* Offers a chain of 'n' descriptors, on a ring that is empty, and publishes;
 * a chain of one. */
void attack_offer(struct fe_vq *, const struct attack_desc[], unsigned int n);
void attack_offer_one(struct fe_vq *, uint64_t addr, uint32_t len,
                      uint16_t flags);

/* Writes an indirect table at guest address 'addr'; offers one at
 * 'attack_table'. */
void attack_write_table(uint64_t addr, const struct attack_desc[],
                        unsigned int n);
void attack_offer_table(struct fe_vq *, const struct attack_desc[],
                        unsigned int n);

/* Split rings: writes descriptor 'i'. */
void attack_set_desc(struct fe_vq *, unsigned int i, uint64_t addr,
                     uint32_t len, uint16_t flags, uint16_t next);

/* Polls ring 'idx' of the victim once, as a PMD does.  Returns the number of
 * packets. */
unsigned int attack_poll(unsigned int idx);

/* The guest resets ring 'idx' of the victim. */
void attack_reset(unsigned int idx);

/* The ring 'IDX' holds something evil: polls and checks all that has to
 * follow, up to a ring that works again and is empty.  The region of
 * 'attack_buf' was used last, as after attack_open().  'COUNTERS' is the mask
 * of those that may have counted it. */
#define ATTACK_MASK(C) (1u << (C))
#define EXPECT_BROKEN(IDX, COUNTERS) \
    attack_expect_broken_(__LINE__, IDX, COUNTERS)
void attack_expect_broken_(int line, unsigned int idx, unsigned int counters);

#endif /* attack.h */
