/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The meters of lib/netdev/policer.h: exactly as much passes as the rate and
 * the burst allow, whatever the rates, the pauses and the number of threads.
 * What they are used for is tests/qos.at's.
 */

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

#include "netdev/policer.h"

#define SECOND UINT64_C(1000000000)

/* Takes 'n' at a time, at 'now', until no more is there, and returns how
 * often. */
static uint64_t
drain(struct bucket *b, uint64_t n, uint64_t now)
{
    uint64_t taken = 0;

    while (bucket_take(b, n, now)) {
        taken++;
    }
    return taken;
}

static void
test_burst(void)
{
    struct bucket b;

    bucket_init(&b, 1000, 300, 5 * SECOND);
    CHECK_EQ(bucket_missing(&b, 5 * SECOND), 0);
    CHECK(!bucket_take(&b, 301, 5 * SECOND));
    CHECK_EQ(drain(&b, 100, 5 * SECOND), 3);
    CHECK_EQ(bucket_missing(&b, 5 * SECOND), 300);
    CHECK(bucket_take(&b, 0, 5 * SECOND));

    /* 1 token a millisecond. */
    CHECK(!bucket_take(&b, 1, 5 * SECOND + 999999));
    CHECK(bucket_take(&b, 1, 5 * SECOND + 1000001));
    CHECK_EQ(drain(&b, 1, 5 * SECOND + SECOND / 10 + 1), 99);

    /* Not more than the burst, however long nobody came. */
    CHECK_EQ(bucket_missing(&b, 6 * SECOND), 0);
    CHECK_EQ(drain(&b, 1, 100000 * SECOND), 300);
}

/* Any rate is met to a token in 10 million. */
static void
test_rates(void)
{
    static const uint64_t rates[] = {
        1, 3, 7, 999, 125000, 1000003, 1250000000, 99999999977,
        BUCKET_MAX_RATE,
    };

    for (unsigned int i = 0; i < sizeof rates / sizeof *rates; i++) {
        uint64_t rate = rates[i], now = 12345678901;
        uint64_t burst = 1 + rate / 100, taken = 0, due;
        struct bucket b;

        test_part("%llu", (unsigned long long int) rate);
        bucket_init(&b, rate, burst, now);
        while (bucket_take(&b, burst, now)) {
            continue;
        }
        /* For 1000 s, in steps of 1 ms to 5 ms. */
        for (uint64_t t = 0, step = 1; t < 1000 * SECOND;
             step = step % 5 + 1) {
            uint64_t missing;

            t += step * 1000000;
            missing = bucket_missing(&b, now + t);
            if (bucket_take(&b, burst - missing, now + t)) {
                taken += burst - missing;
            }
        }
        due = rate * 1000;
        CHECK_LE(taken, due + rate / 100 + 1);
        CHECK_GE(taken, due - due / 10000000 - rate / 100 - 1);
    }
}

/* Values that no hardware has, and clocks that disagree. */
static void
test_limits(void)
{
    struct bucket b;
    uint64_t year = 366 * 86400 * SECOND;

    bucket_init(&b, UINT64_MAX, UINT64_MAX, 0);
    CHECK(bucket_take(&b, BUCKET_MAX_BURST, 0));
    CHECK(!bucket_take(&b, UINT64_MAX, 0));
    CHECK_EQ(drain(&b, BUCKET_MAX_RATE, SECOND + 1), 1);

    /* A year without traffic. */
    CHECK_EQ(bucket_missing(&b, year), 0);
    bucket_init(&b, UINT64_MAX, 1000, 0);
    CHECK(bucket_take(&b, 1000, 1));
    CHECK_EQ(bucket_missing(&b, year), 0);
    CHECK_EQ(drain(&b, 100, 2 * year), 10);

    /* No rate: a burst, once. */
    bucket_init(&b, 0, 10, 0);
    CHECK_EQ(drain(&b, 1, 0), 10);
    CHECK_EQ(drain(&b, 1, year), 0);

    /* No burst: nothing. */
    bucket_init(&b, 1000000, 0, 0);
    CHECK_EQ(drain(&b, 1, year), 0);

    /* The clock of the thread that takes is late. */
    bucket_init(&b, 1000, 1000, 10 * SECOND);
    CHECK(bucket_take(&b, 1000, 9 * SECOND));
    CHECK(bucket_take(&b, 1000, 12 * SECOND));
    CHECK(!bucket_take(&b, 1, 11 * SECOND));
    CHECK_EQ(bucket_missing(&b, 11 * SECOND), 1000);
    CHECK(bucket_take(&b, 1000, 13 * SECOND + 1));
}

static void
test_give_back(void)
{
    struct bucket b;

    bucket_init(&b, 0, 100, 0);
    CHECK(bucket_take(&b, 100, 0));
    bucket_give_back(&b, 40);
    CHECK_EQ(bucket_missing(&b, 0), 60);
    CHECK(bucket_take(&b, 40, 0));
    CHECK(!bucket_take(&b, 1, 0));

    /* A full one does not run over. */
    bucket_init(&b, 1000, 100, 0);
    CHECK(bucket_take(&b, 100, 0));
    CHECK_EQ(bucket_missing(&b, SECOND), 0);
    bucket_give_back(&b, 100);
    CHECK_EQ(drain(&b, 1, SECOND), 100);
}

/* What comes from another host only takes away. */
static void
test_set_missing(void)
{
    struct bucket b;

    bucket_init(&b, 1000, 100, 0);
    bucket_set_missing(&b, 70, 0);
    CHECK_EQ(bucket_missing(&b, 0), 70);
    bucket_set_missing(&b, 30, 0);
    CHECK_EQ(bucket_missing(&b, 0), 70);
    bucket_set_missing(&b, UINT64_MAX, 0);
    CHECK_EQ(bucket_missing(&b, 0), 100);
    CHECK_EQ(bucket_missing(&b, SECOND), 0);
}

/* RFC 4115, section 2. */
static void
test_colours(void)
{
    struct meter m;

    bucket_init(&m.committed, 0, 200, 0);
    bucket_init(&m.excess, 0, 100, 0);
    CHECK_EQ(meter_mark(&m, METER_GREEN, 100, 0), METER_GREEN);
    CHECK_EQ(meter_mark(&m, METER_RED, 1, 0), METER_RED);
    CHECK_EQ(meter_mark(&m, METER_YELLOW, 60, 0), METER_YELLOW);
    CHECK_EQ(meter_mark(&m, METER_YELLOW, 60, 0), METER_RED);
    CHECK_EQ(meter_mark(&m, METER_GREEN, 90, 0), METER_GREEN);
    CHECK_EQ(meter_mark(&m, METER_GREEN, 40, 0), METER_YELLOW);
    CHECK_EQ(meter_mark(&m, METER_GREEN, 40, 0), METER_RED);
    CHECK_EQ(meter_mark(&m, METER_GREEN, 10, 0), METER_GREEN);
    CHECK_EQ(meter_mark(&m, METER_GREEN, 1, 0), METER_RED);
}

/* Threads that take, and give back, from one bucket while time goes by. */

#define N_THREADS 4

static struct bucket shared_bucket;
static _Atomic uint64_t shared_now;

static void *
taker_main(void *taken_)
{
    uint64_t *taken = taken_;

    for (unsigned int i = 0; i < 200000; i++) {
        uint64_t now = atomic_fetch_add(&shared_now, 1000);

        if (bucket_take(&shared_bucket, 7, now)) {
            if (i % 3) {
                *taken += 7;
            } else {
                bucket_give_back(&shared_bucket, 7);
            }
        }
    }
    return NULL;
}

static void
test_threads(void)
{
    uint64_t taken[N_THREADS] = { 0 };
    pthread_t threads[N_THREADS];
    uint64_t sum = 0, due;

    bucket_init(&shared_bucket, 1000000, 1000, 0);
    for (unsigned int i = 0; i < N_THREADS; i++) {
        CHECK(!pthread_create(&threads[i], NULL, taker_main, &taken[i]));
    }
    for (unsigned int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += taken[i];
    }
    /* A token a microsecond, and that is how fast time goes. */
    due = 1000 + atomic_load(&shared_now) / 1000;
    CHECK_LE(sum, due);
    CHECK_GE(sum, due / 2);
    sum += 1000 - bucket_missing(&shared_bucket, atomic_load(&shared_now));
    CHECK_LE(sum, due);
}

static const struct test_case cases[] = {
    { "burst", test_burst, 0 },
    { "rates", test_rates, 60 },
    { "limits", test_limits, 0 },
    { "give-back", test_give_back, 0 },
    { "set-missing", test_set_missing, 0 },
    { "colours", test_colours, 0 },
    { "threads", test_threads, 60 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
