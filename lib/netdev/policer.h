/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Meters for policing: token buckets that any number of threads take from
 * without a lock.  They know nothing of packets, ports or Open vSwitch, so
 * that unit tests can ask them about time and threads.
 *
 * Why they are not DPDK's (rte_meter): those need a lock around them, so that
 * a PMD would wait for another one, which may not be running; and they ask the
 * EAL for the frequency of the clock, so that they divide by 0 where DPDK is
 * not initialised.
 *
 * A bucket is one number, in the manner of virtual scheduling (ITU-T I.371,
 * GCRA): not what is in it, which changes by itself all the time, but what has
 * been taken out of it, or has run over, since it was made.  What it has been
 * given since then follows from the clock; the difference is what is in it.  A
 * take is one compare-and-swap of that number, and nothing gets lost by
 * rounding. */

#ifndef POLICER_H
#define POLICER_H 1

#include <stdbool.h>
#include <stdint.h>

/* Rates above this are this one: 800 Gbit/s, if tokens are bytes.  It takes
 * more than a year without any traffic before such a bucket overflows. */
#define BUCKET_MAX_RATE UINT64_C(100000000000)
#define BUCKET_MAX_BURST (UINT64_C(1) << 60)

#define BUCKET_SHIFT 57

struct bucket {
    uint64_t burst;             /* Tokens that it holds. */
    uint64_t step;              /* Tokens per ns, times 2^BUCKET_SHIFT. */
    uint64_t start;             /* When it was made, full, in ns. */
    uint64_t gone;              /* Tokens, see above.  Atomic. */
};

/* Makes '*b' a full bucket for 'burst' tokens that gets 'rate' of them in a
 * second.  'now' is in ns, here and below, of a clock that never goes back.
 * (Threads need not agree on it exactly.) */
static inline void
bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now)
{
    rate = rate < BUCKET_MAX_RATE ? rate : BUCKET_MAX_RATE;
    b->burst = burst < BUCKET_MAX_BURST ? burst : BUCKET_MAX_BURST;
    b->step = ((unsigned __int128) rate << BUCKET_SHIFT) / 1000000000;
    b->start = now;
    b->gone = 0;
}

/* All tokens that 'b' has been given. */
static inline uint64_t
bucket_given(const struct bucket *b, uint64_t now)
{
    uint64_t elapsed = now > b->start ? now - b->start : 0;

    return b->burst + (uint64_t) ((unsigned __int128) elapsed * b->step
                                  >> BUCKET_SHIFT);
}

/* Tokens in 'b' when 'given' were given and 'gone' are gone.  A thread whose
 * clock is late finds less gone in than out. */
static inline uint64_t
bucket_content(const struct bucket *b, uint64_t given, uint64_t gone)
{
    int64_t n = given - gone;

    return n < 0 ? 0 : (uint64_t) n < b->burst ? (uint64_t) n : b->burst;
}

/* Takes 'n' tokens, if they are there. */
static inline bool
bucket_take(struct bucket *b, uint64_t n, uint64_t now)
{
    uint64_t given = bucket_given(b, now);
    uint64_t gone = __atomic_load_n(&b->gone, __ATOMIC_RELAXED);
    uint64_t content;

    do {
        content = bucket_content(b, given, gone);
        if (content < n) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&b->gone, &gone, given - content + n,
                                          true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}

/* Gives back 'n' tokens that were taken. */
static inline void
bucket_give_back(struct bucket *b, uint64_t n)
{
    __atomic_fetch_sub(&b->gone, n, __ATOMIC_RELAXED);
}

/* How many tokens are missing in 'b'. */
static inline uint64_t
bucket_missing(const struct bucket *b, uint64_t now)
{
    uint64_t gone = __atomic_load_n(&b->gone, __ATOMIC_RELAXED);

    return b->burst - bucket_content(b, bucket_given(b, now), gone);
}

/* Takes tokens out until 'n' are missing, or all; never adds any. */
static inline void
bucket_set_missing(struct bucket *b, uint64_t n, uint64_t now)
{
    uint64_t missing = bucket_missing(b, now);

    n = n < b->burst ? n : b->burst;
    if (n > missing) {
        bucket_take(b, n - missing, now);
    }
}

/* A two rate three colour marker (RFC 4115).  With an 'excess' that is always
 * empty it is a single rate marker without an excess burst (RFC 2697), whose
 * colours are green and red. */
enum meter_colour {
    METER_GREEN,
    METER_YELLOW,
    METER_RED,
};

struct meter {
    struct bucket committed;
    struct bucket excess;
};

/* Marks 'n' tokens' worth that were 'colour' before; METER_GREEN does for what
 * was not marked. */
static inline enum meter_colour
meter_mark(struct meter *m, enum meter_colour colour, uint64_t n, uint64_t now)
{
    if (colour == METER_GREEN && bucket_take(&m->committed, n, now)) {
        return METER_GREEN;
    } else if (colour != METER_RED && bucket_take(&m->excess, n, now)) {
        return METER_YELLOW;
    } else {
        return METER_RED;
    }
}

#endif /* policer.h */
