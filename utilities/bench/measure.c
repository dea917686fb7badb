/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * How ring-bench measures on a machine that it shares.  Sides take turns, a
 * window of a millisecond or so each, so that what the neighbours do meets all
 * of them alike.  A batch of which a burst took much longer than the shortest
 * one, since the thread was preempted or interrupted, does not count; nor does
 * the one after a disturbance, which finds the cache cold.  A window is
 * discarded if too few batches are left, or if the host took the CPU away
 * (steal time). */

#include <config.h>

#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/fail.h"
#include "ovs-rcu.h"
#include "util.h"

#define WARM_UP 2               /* Batches of a window that do not count. */
#define MIN_BATCHES 8           /* That count, for a window to count. */
#define MAX_STRETCH 3           /* A window is as much longer at most, to have
                                 * that many. */
#define DROP_EACH 8             /* Batch of these that is dropped. */

/* A burst, or the guest's turn, is disturbed if it takes longer than the
 * shortest one of this side by this factor and so many seconds more. */
#define SLACK_FACTOR 1.5
#define SLACK_TIME 1.5e-6

uint64_t tsc_cost;
static double tsc_hz;

/* The shortest times that were seen of a side, in cycles: of a burst, and of
 * the guest's turn after a batch. */
struct shortest {
    uint64_t burst;
    uint64_t turn;
};

static uint64_t
steal_time(int cpu)
{
    char name[16], *line, buf[65536];
    unsigned long long int steal = 0;
    ssize_t n;
    int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);

    n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (n <= 0) {
        return 0;
    }
    buf[n] = '\0';
    snprintf(name, sizeof name, "\ncpu%d ", cpu);
    line = strstr(buf, name);
    if (line) {
        sscanf(line + strlen(name), "%*u %*u %*u %*u %*u %*u %*u %llu",
               &steal);
    }
    return steal;
}

void
pin(int cpu)
{
    static cpu_set_t all;
    static bool have_all;
    cpu_set_t one;

    if (!have_all) {
        sched_getaffinity(0, sizeof all, &all);
        have_all = true;
    }
    CPU_ZERO(&one);
    if (cpu >= 0) {
        CPU_SET(cpu, &one);
    }
    if (sched_setaffinity(0, sizeof one, cpu >= 0 ? &one : &all)) {
        fprintf(stderr, "cannot run on CPU %d: %s\n", cpu, strerror(errno));
        exit(1);
    }
}

void
calibrate(void)
{
    uint64_t least = UINT64_MAX;
    uint64_t ns = fe_now_ns();
    uint64_t t = tsc();

    for (unsigned int i = 0; i < 100000; i++) {
        uint64_t a = tsc();
        uint64_t b = tsc();

        least = b - a < least ? b - a : least;
    }
    tsc_cost = least;
    while (fe_now_ns() - ns < 50000000) {
        continue;
    }
    tsc_hz = (tsc() - t) * 1e9 / (fe_now_ns() - ns);
}

/* Returns whether 'cycles' is a normal time where '*shortest' is the shortest
 * one so far, which it may become. */
static bool
is_normal(uint64_t cycles, uint64_t *shortest)
{
    if (!*shortest || cycles < *shortest) {
        *shortest = cycles;
    }
    return cycles < *shortest * SLACK_FACTOR + tsc_hz * SLACK_TIME;
}

/* Runs a batch and returns whether it went undisturbed. */
static bool
run_batch(struct side *side, bool drop, struct sample *s,
          struct shortest *shortest)
{
    uint64_t start;
    bool normal;

    (drop ? side->drop : side->batch)(side, s);
    normal = is_normal(s->longest, &shortest->burst);
    start = tsc();
    if (side->fills) {
        guest_republish(side->guest, drop);
    }
    return is_normal(tsc() - start, &shortest->turn) && normal;
}

static void
add_sample(struct sample *sum, const struct sample *s)
{
    for (unsigned int i = 0; i < N_PARTS; i++) {
        sum->cycles[i] += s->cycles[i];
    }
    for (unsigned int i = 0; i < N_STEPS; i++) {
        sum->steps[i] += s->steps[i];
    }
    sum->packets += s->packets;
    sum->freed += s->freed;
}

/* Runs 'side' for a window and returns the reasons to discard it, bits
 * 1 << enum reason.  'shortest' are those of batches that go round, and of
 * those that are dropped. */
static unsigned int
run_window(struct side *side, const struct windows *o, struct sample *sum,
           struct shortest shortest[2])
{
    uint64_t steal = steal_time(o->cpu);
    uint64_t length = o->length * tsc_hz;
    unsigned int warm_up = WARM_UP;
    unsigned int n = 0;
    uint64_t start = tsc();
    uint64_t time = 0;

    for (unsigned int i = 0;
         time < length || (n < MIN_BATCHES && time < MAX_STRETCH * length);
         i++) {
        bool drop = side->drop && i % DROP_EACH == DROP_EACH - 1;
        struct sample s = { .packets = 0 };

        if (!run_batch(side, drop, &s, &shortest[drop])) {
            warm_up = MAX(warm_up, 1);
        } else if (warm_up) {
            warm_up--;
        } else {
            add_sample(sum, &s);
            n++;
        }
        time = tsc() - start;
    }
    return ((steal_time(o->cpu) != steal) << REASON_STEAL
            | (n < MIN_BATCHES) << REASON_DISTURBED);
}

static double
per_packet(uint64_t cycles, uint64_t n, unsigned int reasons)
{
    return !reasons && n && cycles ? (double) cycles / n : NAN;
}

static void
note(struct series *series, const struct sample *s, unsigned int reasons)
{
    unsigned int w = series->n++;

    series->n_discarded += reasons != 0;
    for (unsigned int i = 0; i < N_REASONS; i++) {
        series->n_reasons[i] += reasons >> i & 1;
    }
    for (unsigned int i = 0; i < N_PARTS; i++) {
        series->parts[i][w] = per_packet(s->cycles[i],
                                         (i == PART_FREE ? s->freed
                                          : s->packets), reasons);
    }
    for (unsigned int i = 0; i < N_STEPS; i++) {
        series->steps[i][w] = per_packet(s->steps[i], s->packets, reasons);
    }
}

static void
series_init(struct series *s, const char *name, unsigned int n)
{
    memset(s, 0, sizeof *s);
    s->name = name;
    for (unsigned int i = 0; i < N_PARTS; i++) {
        s->parts[i] = calloc(n, sizeof *s->parts[i]);
    }
    for (unsigned int i = 0; i < N_STEPS; i++) {
        s->steps[i] = calloc(n, sizeof *s->steps[i]);
    }
}

void
series_free(struct series *s)
{
    for (unsigned int i = 0; i < N_PARTS; i++) {
        free(s->parts[i]);
    }
    for (unsigned int i = 0; i < N_STEPS; i++) {
        free(s->steps[i]);
    }
}

void
measure(struct side *sides[], struct series *series, unsigned int n,
        const struct windows *o)
{
    struct shortest (*shortest)[2] = xcalloc(n, sizeof *shortest);

    for (unsigned int i = 0; i < n; i++) {
        series_init(&series[i], sides[i]->name, o->n);
    }
    pin(o->cpu);
    for (unsigned int w = 0; w < o->n; w++) {
        for (unsigned int i = 0; i < n; i++) {
            struct sample s = { .packets = 0 };
            unsigned int reasons;

            current_side = sides[i]->name;
            reasons = run_window(sides[i], o, &s, shortest[i]);
            note(&series[i], &s, reasons);
            ovsrcu_quiesce();
        }
    }
    pin(-1);
    free(shortest);
}

static int
compare(const void *a_, const void *b_)
{
    const double *a = a_, *b = b_;

    return *a < *b ? -1 : *a > *b;
}

double
quantile(const double *values, unsigned int n, double q)
{
    double *sorted = malloc((n + 1) * sizeof *sorted);
    unsigned int n_sorted = 0;
    double result = NAN;

    for (unsigned int i = 0; i < n; i++) {
        if (!isnan(values[i])) {
            sorted[n_sorted++] = values[i];
        }
    }
    if (n_sorted) {
        double at = q * (n_sorted - 1);
        unsigned int i = at;

        qsort(sorted, n_sorted, sizeof *sorted, compare);
        result = sorted[i];
        if (i + 1 < n_sorted) {
            result += (at - i) * (sorted[i + 1] - sorted[i]);
        }
    }
    free(sorted);
    return result;
}
