/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * notify-bench: what a call to the guest costs the polling thread, and when it
 * arrives, by the ways there are: Linux AIO or write(2) from the polling
 * thread, or the notifier.  One process is the polling thread, the notifier
 * and a guest that sleeps until it is called.  The ways take turns in one run,
 * since only their ratios mean something on a machine that is shared. */

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "notify.h"
#include "vring.h"

#define MAX_SAMPLES 200000

enum way { AIO, WRITE, OFFLOAD, AUTO, N_WAYS };
static const char *const way_names[] = { "AIO", "write(2)", "offloaded",
                                         "auto" };

/* A ring, as far as calling the guest is concerned. */
struct ring {
    struct vring_state st;
    struct vhost_call call;
    struct vhost_vring vr;
    int64_t slow_until;
    int fd;

    /* A guest's thread that waits for calls. */
    pthread_t thread;
    _Atomic uint64_t woken;     /* How often. */
    _Atomic uint64_t when;      /* Clock at the last time. */
    _Atomic bool end;
};

struct samples {
    uint64_t values[MAX_SAMPLES];
    unsigned int n;
};

static struct vhost_loop *loop;
static double cycles_per_ns;
static cpu_set_t pmd_cpu, other_cpus;

static uint64_t
cycles(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
#endif
}

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void
die(const char *what)
{
    fprintf(stderr, "notify-bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void
spin_ns(double ns)
{
    uint64_t end = cycles() + (uint64_t) (ns * cycles_per_ns);

    while (cycles() < end) {
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }
}

static void *
guest_main(void *ring_)
{
    struct ring *ring = ring_;

    while (!atomic_load(&ring->end)) {
        struct pollfd pfd = { .fd = ring->fd, .events = POLLIN };
        uint64_t value;

        if (poll(&pfd, 1, 1000) == 1
            && read(ring->fd, &value, sizeof value) > 0) {
            atomic_store(&ring->when, cycles());
            atomic_fetch_add(&ring->woken, 1);
        }
    }
    return NULL;
}

static void *
notifier_main(void *arg)
{
    vhost_loop_notifier(arg);
    return NULL;
}

static void
start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof other_cpus, &other_cpus);
    if (pthread_create(thread, &attr, run, arg)) {
        die("cannot start a thread");
    }
    pthread_attr_destroy(&attr);
}

static struct ring *
make_ring(bool guest)
{
    struct ring *ring = aligned_alloc(64, (sizeof *ring + 63) / 64 * 64);

    if (!ring) {
        die("no memory");
    }
    memset(ring, 0, sizeof *ring);
    ring->fd = eventfd(0, EFD_NONBLOCK);
    vhost_call_init(&ring->call, &loop->notifier, &ring->slow_until);
    ring->vr.st = &ring->st;
    ring->vr.callfd = ring->fd;
    ring->vr.call = &ring->call;
    vhost_gate_set(&ring->call.gate, &ring->vr);
    if (guest) {
        start_thread(&ring->thread, guest_main, ring);
    }
    return ring;
}

static void
free_ring(struct ring *ring)
{
    if (ring->thread) {
        uint64_t one = 1;

        atomic_store(&ring->end, true);
        if (write(ring->fd, &one, sizeof one) < 0) {
            die("write");
        }
        pthread_join(ring->thread, NULL);
    }
    while (vhost_call_in_use(&ring->call)) {
        sched_yield();
    }
    close(ring->fd);
    free(ring);
}

static inline void
make_call(struct ring *ring, enum way way)
{
    if (way == WRITE) {
        uint64_t one = 1;

        if (write(ring->fd, &one, sizeof one) < 0) {
            die("write");
        }
    } else {
        vring_call(&ring->vr);
    }
}

static void
choose(enum way way)
{
    vhost_loop_set_offload(loop, (way == OFFLOAD ? VHOST_OFFLOAD_ALWAYS
                                  : way == AUTO ? VHOST_OFFLOAD_AUTO
                                  : VHOST_OFFLOAD_NEVER));
}

static void
note(struct samples *s, uint64_t value)
{
    if (s->n < MAX_SAMPLES) {
        s->values[s->n++] = value;
    }
}

static int
compare(const void *a_, const void *b_)
{
    uint64_t a = *(const uint64_t *) a_, b = *(const uint64_t *) b_;

    return a < b ? -1 : a > b;
}

static double
quantile(struct samples *s, double q)
{
    if (!s->n) {
        return 0;
    }
    qsort(s->values, s->n, sizeof s->values[0], compare);
    return s->values[(unsigned int) (q * (s->n - 1))];
}

static double
mean(const struct samples *s)
{
    double sum = 0;

    for (unsigned int i = 0; i < s->n; i++) {
        sum += s->values[i];
    }
    return s->n ? sum / s->n : 0;
}

/* What the polling thread spends on calls that are 'gap' nanoseconds apart. */
static void
measure_cost(struct ring *ring, enum way way, double gap, unsigned int n,
             struct samples *s)
{
    choose(way);
    for (unsigned int i = 0; i < n + n / 4; i++) {
        uint64_t start;

        spin_ns(gap);
        start = cycles();
        make_call(ring, way);
        if (i >= n / 4) {
            note(s, cycles() - start);
        }
    }
}

/* How long after the call the guest runs.  'busy', if not NULL, is another
 * ring whose guest is called every 5 microseconds meanwhile. */
static void
measure_latency(struct ring *ring, struct ring *busy, enum way way,
                unsigned int n, struct samples *s)
{
    choose(way);
    for (unsigned int i = 0; i < n; i++) {
        double until = now() + (busy ? 0.0002 : 0.004);
        uint64_t woken, start;

        while (now() < until) {
            spin_ns(5000);
            if (busy) {
                make_call(busy, way);
            }
        }
        woken = atomic_load(&ring->woken);
        start = cycles();
        make_call(ring, way);
        until = now() + 1;
        while (atomic_load(&ring->woken) == woken && now() < until) {
            if (busy) {
                spin_ns(5000);
                make_call(busy, way);
            }
        }
        note(s, atomic_load(&ring->when) - start);
    }
}

static struct samples results[N_WAYS];

static void
clear_results(void)
{
    for (int way = 0; way < N_WAYS; way++) {
        results[way].n = 0;
    }
}

static void
report(const char *title, const char *unit, double divisor)
{
    double base50 = 0, base99 = 0;

    for (int way = 0; way < N_WAYS; way++) {
        double p50 = quantile(&results[way], .5) / divisor;
        double p99 = quantile(&results[way], .99) / divisor;

        if (way == AIO) {
            base50 = p50;
            base99 = p99;
        }
        if (results[way].n) {
            printf("| %s | %s | %.1f | %.1f | %.1f | %.2f | %.2f | %s |\n",
                   title, way_names[way], p50, p99,
                   mean(&results[way]) / divisor, p50 / base50, p99 / base99,
                   unit);
        }
    }
    fflush(stdout);
}

static void
cost_case(const char *title, bool guest, double gap, unsigned int windows,
          unsigned int n)
{
    struct ring *ring = make_ring(guest);

    clear_results();
    for (unsigned int w = 0; w < windows; w++) {
        for (int way = 0; way < N_WAYS; way++) {
            measure_cost(ring, way, gap, n, &results[way]);
        }
    }
    report(title, "cycles", 1);
    free_ring(ring);
}

/* The notifier's share of its CPU while it is called each 'gap'
 * nanoseconds. */
static void
cpu_case(pthread_t notifier, double gap)
{
    struct ring *ring = make_ring(false);
    struct timespec a, b;
    clockid_t clock;
    double start;

    if (pthread_getcpuclockid(notifier, &clock)) {
        die("no clock");
    }
    choose(OFFLOAD);
    clock_gettime(clock, &a);
    start = now();
    while (now() < start + 0.5) {
        spin_ns(gap);
        make_call(ring, OFFLOAD);
    }
    clock_gettime(clock, &b);
    printf("notifier's CPU, a call each %g us: %.1f %%\n", gap / 1e3,
           ((b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9)
           / (now() - start) * 100);
    free_ring(ring);
}

static void
latency_case(const char *title, bool loaded, unsigned int windows,
             unsigned int n)
{
    struct ring *ring = make_ring(true);
    struct ring *busy = loaded ? make_ring(false) : NULL;

    clear_results();
    for (unsigned int w = 0; w < windows; w++) {
        for (int way = 0; way < N_WAYS; way++) {
            measure_latency(ring, busy, way, n, &results[way]);
        }
    }
    report(title, "us", cycles_per_ns * 1000);
    free_ring(ring);
    if (busy) {
        free_ring(busy);
    }
}

/* The polling thread gets the last CPU, all others what is left. */
static void
place_threads(void)
{
    int last = -1;

    if (sched_getaffinity(0, sizeof other_cpus, &other_cpus)) {
        die("sched_getaffinity");
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &other_cpus)) {
            last = cpu;
        }
    }
    CPU_SET(last, &pmd_cpu);
    if (CPU_COUNT(&other_cpus) > 1) {
        CPU_CLR(last, &other_cpus);
    }
    sched_setaffinity(0, sizeof pmd_cpu, &pmd_cpu);
}

static void
calibrate(void)
{
    double start = now();
    uint64_t c = cycles();

    while (now() < start + 0.05) {
        continue;
    }
    cycles_per_ns = (cycles() - c) / ((now() - start) * 1e9);
}

static void __attribute__((format(printf, 3, 0)))
log_cb(enum vhost_log_level level, const char *port, const char *format,
       va_list args)
{
    (void) level;
    (void) port;
    vfprintf(stderr, format, args);
}

int
main(int argc, char *argv[])
{
    static const struct vhost_env env = { .log = log_cb };
    unsigned int windows = 20;
    pthread_t notifier;
    int option;

    if (vhost_loop_create(&env, &loop)) {
        die("vhost_loop_create");
    }
    while ((option = getopt(argc, argv, "w:p:n:l:")) != -1) {
        double value = atof(optarg ? optarg : "");

        switch (option) {
        case 'w':
            windows = value;
            break;
        case 'p':
            loop->notifier.poll = value * 1000;
            break;
        case 'n':
            loop->notifier.pause = value * 1000;
            break;
        case 'l':
            loop->notifier.linger = value * 1000;
            break;
        default:
            fprintf(stderr, "usage: notify-bench [-w WINDOWS] [-p POLL-US] "
                    "[-n PAUSE-US] [-l LINGER-US]\n");
            return 2;
        }
    }
    place_threads();
    calibrate();
    start_thread(&notifier, notifier_main, loop);
    while (!atomic_load(&loop->notifier.running)) {
        sched_yield();
    }
    printf("%.2f cycles per ns; notifier polls for %g us, pauses for %g, "
           "lingers for %g\n\n", cycles_per_ns, loop->notifier.poll / 1e3,
           loop->notifier.pause / 1e3, loop->notifier.linger / 1e3);
    printf("| case | way | p50 | p99 | mean | p50 / AIO | p99 / AIO | unit "
           "|\n|---|---|---|---|---|---|---|---|\n");
    cost_case("call each 2 us, nobody waits", false, 2e3, windows, 500);
    cost_case("call each 2 us, guest waits", true, 2e3, windows, 500);
    cost_case("call each 20 us, guest waits", true, 2e4, windows, 200);
    cost_case("call each 200 us, guest waits", true, 2e5, windows, 40);
    cost_case("call each 5 ms, guest waits", true, 5e6, windows, 8);
    latency_case("until the guest runs, idle", false, windows, 10);
    latency_case("until the guest runs, loaded", true, windows, 50);
    printf("\n");
    cpu_case(notifier, 2e3);
    cpu_case(notifier, 2e4);
    cpu_case(notifier, 5e5);
    cpu_case(notifier, 5e6);
    vhost_loop_stop(loop);
    pthread_join(notifier, NULL);
    vhost_loop_destroy(loop);
    return 0;
}
