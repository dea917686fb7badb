/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * One case of ring-bench: all sides come up, are checked, measured and
 * compared, and go. */

#include <config.h>

#include "bench/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "guest/fail.h"
#include "util.h"

const char *current_side;

/* In this order, since some use what the one before opened. */
static const struct side *const all_sides[] = {
    &ours_side, &stock_side, &bare_side, &bare_copy_side, &copy_side,
    &steps_side,
};
enum { OURS, STOCK, BARE, BARE_COPY, COPY, STEPS, N_SIDES };
BUILD_ASSERT_DECL(ARRAY_SIZE(all_sides) == N_SIDES);

struct run {
    const struct bench_case *c;
    const struct run_options *o;
    struct side sides[N_SIDES];
    bool is_open[N_SIDES];

    /* Of sides that were measured; others have no windows. */
    struct series series[N_SIDES];
};

bool
is_side_name(const char *name)
{
    for (unsigned int i = 0; i < N_SIDES; i++) {
        if (!strcmp(name, all_sides[i]->name)) {
            return true;
        }
    }
    return false;
}

static bool
is_wanted(const struct run *r, unsigned int i)
{
    return (r->o->only ? !strcmp(r->o->only, all_sides[i]->name)
            : i != STEPS || r->o->breakdown);
}

/* Whether side 'i' has to be open for one that is wanted. */
static bool
is_needed(const struct run *r, unsigned int i)
{
    bool needed = is_wanted(r, i);

    if (i == OURS) {
        needed |= is_wanted(r, STEPS);      /* Has its mempool. */
    }
    for (unsigned int k = i + 1; i >= BARE && k < N_SIDES; k++) {
        needed |= is_wanted(r, k);
    }
    return needed;
}

/* Opens side 'i'.  Returns the features that it lacks. */
static uint64_t
open_side(struct run *r, unsigned int i)
{
    struct side *side = &r->sides[i];
    uint64_t missing;
    char path[108];

    *side = *all_sides[i];
    current_side = side->name;
    if (!side->open) {
        side->guest = side[-1].guest;
        side->aux = side[-1].aux;
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s", r->o->dir, side->name);
    side->guest = xzalloc(sizeof *side->guest);
    guest_listen(side->guest, r->c, path);
    side->open(side);
    missing = guest_connect(side->guest);
    if (!missing) {
        side->ready(side);
    }
    return missing;
}

static void
check_side(struct side *side)
{
    if (side->check) {
        guest_clear_rx(side->guest);
        side->check(side);
        guest_check_rx(side->guest, side->fills);
        if (side->fills) {
            guest_republish(side->guest, false);
        }
    }
}

/* Returns false if some side lacks a feature. */
static bool
open_sides(struct run *r)
{
    for (unsigned int i = 0; i < N_SIDES; i++) {
        uint64_t missing;

        if (!is_needed(r, i)) {
            continue;
        }
        missing = open_side(r, i);
        r->is_open[i] = true;
        if (missing) {
            report_skipped(r->c, r->sides[i].name, missing);
            return false;
        }
        check_side(&r->sides[i]);
    }
    return true;
}

static void
close_sides(struct run *r)
{
    for (unsigned int i = 0; i < N_SIDES; i++) {
        struct side *side = &r->sides[i];

        if (r->is_open[i] && side->open) {
            current_side = side->name;
            side->close(side);
            guest_close(side->guest);
            free(side->guest);
        }
    }
}

static void
measure_sides(struct run *r)
{
    const struct series *pointers[N_SIDES];
    struct side *sides[N_SIDES];
    struct series series[N_SIDES];
    unsigned int n = 0, k = 0;

    for (unsigned int i = 0; i < N_SIDES; i++) {
        if (is_wanted(r, i)) {
            sides[n++] = &r->sides[i];
        }
    }
    measure(sides, series, n, &r->o->windows);
    for (unsigned int i = 0; i < N_SIDES; i++) {
        if (is_wanted(r, i)) {
            r->series[i] = series[k];
            pointers[k++] = &r->series[i];
        }
    }
    report_series(pointers, n);
}

/* Frames that a side was checked with. */
static unsigned int
batch_size(const struct run *r, unsigned int i)
{
    return r->sides[i].guest->n_bursts * BURST;
}

static void
compare_netdev(const struct run *r)
{
    const struct series *a = &r->series[OURS], *b = &r->series[STOCK];
    const struct comparison c = { a, b, a->parts[PART_TOTAL],
                                  b->parts[PART_TOTAL] };

    report_begin("bench", r->c, &c);
    report_parts("ours", a);
    report_parts("stock", b);
    report_count("frames_checked", 2 * batch_size(r, OURS));
    report_end();
}

/* The ring's work and its copies, against the copy that is the least. */
static void
compare_bare(const struct run *r)
{
    const struct series *bare = &r->series[BARE];
    const struct series *a = &r->series[BARE_COPY], *b = &r->series[COPY];
    const struct comparison c = { a, b, a->parts[PART_TOTAL],
                                  b->parts[PART_TOTAL] };

    report_begin("bare", r->c, &c);
    report_number("ring", quantile(bare->parts[PART_TOTAL], bare->n, 0.25));
    report_number("copy", quantile(b->parts[PART_TOTAL], b->n, 0.25));
    report_parts("ring", bare);
    report_parts("ours", a);
    report_parts("stock", b);
    report_count("frames_checked", 2 * batch_size(r, BARE));
    report_end();
}

/* What copying adds to the bare ring, against the same. */
static void
compare_copy(const struct run *r)
{
    const struct series *bare = &r->series[BARE];
    const struct series *a = &r->series[BARE_COPY], *b = &r->series[COPY];
    double *added = xmalloc(a->n * sizeof *added);
    const struct comparison c = { a, b, added, b->parts[PART_TOTAL] };

    for (unsigned int i = 0; i < a->n; i++) {
        added[i] = a->parts[PART_TOTAL][i] - bare->parts[PART_TOTAL][i];
    }
    report_begin("copy", r->c, &c);
    report_end();
    free(added);
}

void
run_case(const struct bench_case *c, const struct run_options *o)
{
    struct run r = { .c = c, .o = o };
    char name[CASE_NAME_LEN];

    case_name(c, name);
    printf("%s\n", name);
    if (open_sides(&r)) {
        measure_sides(&r);
        if (!o->only) {
            compare_netdev(&r);
            compare_bare(&r);
            compare_copy(&r);
            if (o->breakdown) {
                report_steps(&r.series[OURS], &r.series[STEPS]);
            }
        }
    }
    close_sides(&r);
    for (unsigned int i = 0; i < N_SIDES; i++) {
        series_free(&r.series[i]);
    }
    fflush(stdout);
}
