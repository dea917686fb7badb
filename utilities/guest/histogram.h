/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A histogram of times in nanoseconds: buckets are 1/64 of their value wide,
 * so that percentiles are right within 1.6 %. */

#ifndef GUEST_HISTOGRAM_H
#define GUEST_HISTOGRAM_H 1

#include <stdint.h>

#define HISTOGRAM_BUCKETS (59 * 64)

struct histogram {
    uint64_t n;
    uint64_t sum;
    uint64_t min, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *, uint64_t value);
void histogram_merge(struct histogram *, const struct histogram *);

/* The value that 'fraction' of all are not above; 0 if there is none. */
uint64_t histogram_percentile(const struct histogram *, double fraction);

#endif /* guest/histogram.h */
