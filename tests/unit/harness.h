/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The unit tests' harness.  A test program is a table of named cases; each
 * case runs in a process of its own, with a time limit, a fresh directory and
 * a running loop of lib/vhost (both thread bodies), and fails if it leaves a
 * file descriptor, a mapping of guest memory, a thread or a file behind.  It
 * knows nothing of the protocol (utilities/guest) and nothing of ports (see
 * rig.h).
 *
 * Cases may come in groups that run the same functions on something else: a
 * group's variant is what they ask for by test_variant().
 *
 *     PROGRAM            runs all cases
 *     PROGRAM NAME...    runs these cases only
 *     PROGRAM --list     prints the names
 *     -v                 (first argument) prints lib/vhost's log as it comes
 *
 * Output is TAP; the last line counts passed, failed and skipped cases.  Exit
 * status: 0, 1 if a case failed, 77 if all were skipped (automake's TESTS).
 *
 * UNIT_TIMEOUT=SECONDS in the environment replaces the time limits.
 */

#ifndef UNIT_HARNESS_H
#define UNIT_HARNESS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/fail.h"

struct vhost_loop;

struct test_case {
    const char *name;
    void (*run)(void);
    unsigned int limit;         /* Seconds, 0: the usual 20; TEST_FORKS. */
};

/* Or'd to the limit of a case that forks.  It has no loop, whose threads it
 * would fork among: AddressSanitizer's allocator may then stay locked in the
 * child for ever, and ThreadSanitizer allows the child no threads. */
#define TEST_FORKS 0x8000u

#define N_ELEMS(ARRAY) (sizeof (ARRAY) / sizeof (ARRAY)[0])

/* Runs 'cases' as 'argv' says; the return value is the exit status. */
int test_main(int argc, char *argv[], const struct test_case *cases,
              size_t n_cases);

/* Cases that run with one 'variant', under names that begin with 'prefix'. */
struct test_group {
    const char *prefix;
    uint64_t variant;
    const struct test_case *cases;
    size_t n_cases;
};

/* The same for groups of cases. */
int test_main_groups(int argc, char *argv[], const struct test_group *groups,
                     size_t n_groups);

/* The running case's variant; 0 if it is in no group. */
uint64_t test_variant(void);

/* Ends the running case as failed or skipped.  Any thread. */
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void test_skip(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/* Says in what part of a case we are; failures print it. */
void test_part(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The front end library's checks; its failures are a case's. */
#define CHECK FE_CHECK
#define CHECK_OP_ FE_CHECK_OP_
#define CHECK_EQ(A, B) CHECK_OP_(A, ==, B)
#define CHECK_NE(A, B) CHECK_OP_(A, !=, B)
#define CHECK_GE(A, B) CHECK_OP_(A, >=, B)
#define CHECK_LE(A, B) CHECK_OP_(A, <=, B)
#define CHECK_LT(A, B) CHECK_OP_(A, <, B)
#define CHECK_GT(A, B) CHECK_OP_(A, >, B)

/* Fails unless string 'S' contains 'PART' (in any case of letters). */
#define CHECK_HAS(S, PART)                                              \
    do {                                                                \
        const char *s_ = (S);                                           \
        if (!s_ || !test_strcasestr(s_, PART)) {                        \
            test_fail(__FILE__, __LINE__, "%s, \"%s\", lacks \"%s\"",   \
                      #S, s_ ? s_ : "(null)", PART);                    \
        }                                                               \
    } while (0)
bool test_strcasestr(const char *s, const char *part);

/* Waits until COND becomes true; fails after MS milliseconds. */
#define WAIT_FOR_MS(COND, MS)                                           \
    do {                                                                \
        long long int end_ = test_now_us() + (MS) * 1000LL;             \
        while (!(COND)) {                                               \
            if (test_now_us() > end_) {                                 \
                test_fail(__FILE__, __LINE__, "%s still false after "   \
                          "%d ms", #COND, (int) (MS));                  \
            }                                                           \
            test_sleep_us(200);                                         \
        }                                                               \
    } while (0)
#define WAIT_FOR(COND) WAIT_FOR_MS(COND, test_slow ? 20000 : 5000)

/* Monotonic clock in microseconds. */
long long int test_now_us(void);
void test_sleep_us(unsigned int);

/* True in a build with a sanitizer, where everything takes longer. */
extern const bool test_slow;

/* The running case's surroundings. */
struct vhost_loop *test_loop(void);
const char *test_dir(void);     /* Empty at the start, as at the end. */

/* A name inside test_dir(), in a buffer that the next 16 calls keep. */
const char *test_path(const char *name);

/* Whether a line that lib/vhost logged so far contains 'part'. */
bool test_logged(const char *part);

/* Number of warnings and errors logged so far for 'port'. */
unsigned int test_n_warnings(const char *port);

/* Number of open descriptors; of lines in /proc/self/maps that concern memory
 * files. */
unsigned int test_n_fds(void);
unsigned int test_n_maps(void);

/* A deterministic generator, 64 bits each. */
uint64_t test_random(uint64_t *state);

/* Contents that depend on 'seed': fills 'len' bytes; or compares and returns
 * the offset of the first difference, -1 if there is none. */
void pattern_fill(void *, size_t len, uint64_t seed);
long int pattern_differs(const void *, size_t len, uint64_t seed);

#define CHECK_PATTERN(P, LEN, SEED)                                     \
    do {                                                                \
        long int at_ = pattern_differs(P, LEN, SEED);                   \
        if (at_ >= 0) {                                                 \
            test_fail(__FILE__, __LINE__, "%s: byte %ld of %llu "       \
                      "differs (pattern %llu)", #P, at_,                \
                      (unsigned long long int) (LEN),                   \
                      (unsigned long long int) (SEED));                 \
        }                                                               \
    } while (0)

#endif /* harness.h */
