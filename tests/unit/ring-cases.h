/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Cases about bursts (ring.h) with a guest that behaves, which hold for split
 * rings (test-ring.c) and for packed ones (test-packed.c), in order and not.
 * The format is that of the running group's variant: a mask of features that
 * rig.c adds.  What one format alone has is in the test program's own file. */

#ifndef UNIT_RING_CASES_H
#define UNIT_RING_CASES_H 1

#include "rig.h"

/* Layouts, sizes, memory, bursts that are not taken whole (ring-cases.c). */
extern const struct test_case ring_cases[];
extern const size_t n_ring_cases;

/* Calls and kicks (ring-calls.c). */
extern const struct test_case ring_call_cases[];
extern const size_t n_ring_call_cases;

/* Random traffic of chains and tables (ring-mixed.c). */
extern const struct test_case ring_mixed_cases[];
extern const size_t n_ring_mixed_cases;

/* The groups of a program that runs all of them with features 'VARIANT'. */
#define RING_GROUPS(PREFIX, VARIANT)                                    \
    { PREFIX, VARIANT, ring_cases, n_ring_cases },                      \
    { PREFIX, VARIANT, ring_call_cases, n_ring_call_cases },            \
    { PREFIX, VARIANT, ring_mixed_cases, n_ring_mixed_cases }

/* No ring was broken and nothing counted as a guest's error. */
void ring_check_no_errors(struct rig *);

bool ring_is_packed(const struct fe_vq *);

/* One frame from the guest in every layout and size; the same to the guest,
 * one buffer per frame. */
void ring_guest_to_switch(uint64_t features);
void ring_switch_to_guest(uint64_t features);

/* 'total' frames of one size in each direction, one buffer each, by bursts of
 * random length, checked in order, on rings of 'size'. */
void ring_both_ways(unsigned int size, unsigned int total);

/* The same with frames of random lengths in chains and tables of random
 * shape. */
void ring_mixed(unsigned int size, unsigned int total);

/* The switch sends 'n' packets in bursts of 'burst'. */
void ring_send(struct rig *, unsigned int n, unsigned int burst);

/* The calls that ring 'idx' got since the last time, as the eventfd counted
 * them; the port's counter must agree. */
struct ring_calls {
    struct rig *rig;
    unsigned int idx;
    uint64_t notifications;
};
uint64_t ring_calls(struct ring_calls *);

/* Forgets calls so far: starts call the guest in ways of their own. */
void ring_forget_calls(struct ring_calls *, struct rig *, unsigned int idx);

/* The guest asks for a call when descriptor or entry 'n' is used, counted from
 * the start of the ring. */
void ring_call_at(struct fe_vq *, unsigned int n);

#endif /* ring-cases.h */
