/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What came of a run: progress while it goes, figures and verdict at its
 * end. */

#ifndef GUEST_REPORT_H
#define GUEST_REPORT_H 1

#include "guest/port.h"

/* Sums over all ports. */
struct totals {
    uint64_t sent;              /* Test frames offered, by any generator. */
    uint64_t received;          /* Different test frames, at any sink. */
    uint64_t lost;
    uint64_t reordered, duplicates, corrupt, other;
    uint64_t tx_frames, rx_frames;
    struct histogram latency, gaps;
};

/* Locks all ports meanwhile. */
void report_totals(struct port *, unsigned int n, struct totals *);

/* Prints a line to stderr; rates are since the last one. */
void report_progress(struct port *, unsigned int n, double elapsed);

/* Prints latencies, times between frames and how long stops of the rings
 * took, since the last call of this, and frames so far, as JSON to stdout;
 * forgets the times. */
void report_interval(struct port *, unsigned int n);

/* Prints everything to stdout and compares it with what was expected.  Returns
 * the program's exit status. */
int report(struct port *, unsigned int n, const struct options *,
           double seconds);

#endif /* guest/report.h */
