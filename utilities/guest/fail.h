/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the front end does when something happens that a well-behaved back end
 * cannot cause: it calls fe_failed(), which the program defines.  Unit tests
 * end the running case there, ovs-vhost-guest jumps out of what it was doing
 * (fail.c).
 *
 * Also the clock, since every wait in here has an end. */

#ifndef GUEST_FAIL_H
#define GUEST_FAIL_H 1

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

/* Does not return to its caller.  Any thread. */
void fe_failed(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

#define FE_CHECK(COND)                                                  \
    do {                                                                \
        if (!(COND)) {                                                  \
            fe_failed(__FILE__, __LINE__, "%s is false", #COND);        \
        }                                                               \
    } while (0)

#define FE_CHECK_OP_(A, OP, B)                                          \
    do {                                                                \
        __typeof__(A) a__ = (A);                                        \
        __typeof__(B) b__ = (B);                                        \
        long long int a_ = (long long int) a__;                         \
        long long int b_ = (long long int) b__;                         \
        if (!(a_ OP b_)) {                                              \
            fe_failed(__FILE__, __LINE__,                               \
                      "%s (%lld, %#llx) %s %s (%lld, %#llx) is false",  \
                      #A, a_, (unsigned long long int) a_, #OP,         \
                      #B, b_, (unsigned long long int) b_);             \
        }                                                               \
    } while (0)
#define FE_CHECK_EQ(A, B) FE_CHECK_OP_(A, ==, B)
#define FE_CHECK_GE(A, B) FE_CHECK_OP_(A, >=, B)
#define FE_CHECK_LE(A, B) FE_CHECK_OP_(A, <=, B)
#define FE_CHECK_LT(A, B) FE_CHECK_OP_(A, <, B)

/* Monotonic clock. */
static inline uint64_t
fe_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

static inline long long int
fe_now_us(void)
{
    return fe_now_ns() / 1000;
}

static inline void
fe_sleep_us(unsigned int us)
{
    usleep(us);
}

#endif /* guest/fail.h */
