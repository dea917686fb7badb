/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See histogram.h. */

#include "guest/histogram.h"

/* Values below 64 have a bucket each; then each power of 2 has 64. */
static unsigned int
bucket_of(uint64_t value)
{
    unsigned int shift;

    if (value < 64) {
        return value;
    }
    shift = 63 - __builtin_clzll(value) - 6;
    return (shift + 1) * 64 + (value >> shift) - 64;
}

/* The largest value of a bucket. */
static uint64_t
bucket_max(unsigned int bucket)
{
    unsigned int shift;

    if (bucket < 64) {
        return bucket;
    }
    shift = bucket / 64 - 1;
    return ((UINT64_C(64) + bucket % 64) << shift)
           + ((UINT64_C(1) << shift) - 1);
}

void
histogram_add(struct histogram *h, uint64_t value)
{
    h->buckets[bucket_of(value)]++;
    h->sum += value;
    if (!h->n || value < h->min) {
        h->min = value;
    }
    if (value > h->max) {
        h->max = value;
    }
    h->n++;
}

void
histogram_merge(struct histogram *to, const struct histogram *from)
{
    if (!from->n) {
        return;
    }
    for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        to->buckets[i] += from->buckets[i];
    }
    if (!to->n || from->min < to->min) {
        to->min = from->min;
    }
    if (from->max > to->max) {
        to->max = from->max;
    }
    to->n += from->n;
    to->sum += from->sum;
}

uint64_t
histogram_percentile(const struct histogram *h, double fraction)
{
    double exact = h->n * fraction;
    uint64_t rank = (uint64_t) exact + (exact > (uint64_t) exact);
    uint64_t seen = 0;

    for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen && seen >= rank) {
            uint64_t value = bucket_max(i);

            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}
