/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ovs-vhost-guest: starts the ports' threads, decides when traffic begins and
 * when the run is over, and reports. */

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/catch.h"
#include "guest/fail.h"
#include "guest/misbehave.h"
#include "guest/pcap.h"
#include "guest/report.h"
#include "guest/session.h"
#include "guest/worker.h"

atomic_bool run_go, run_stop_tx, run_stop;
uint16_t run_id;

#define TICK_NS 20000000        /* Each takes its CPU from a worker. */

static volatile sig_atomic_t interrupted;
static sigset_t told_signals;
static bool told_to_begin;
static struct options options;
static struct port *ports;
static struct worker *workers;

static void
on_signal(int signum)
{
    (void) signum;
    interrupted = 1;
}

static void
catch_signals(void)
{
    struct sigaction sa = { .sa_handler = on_signal };

    sigemptyset(&told_signals);
    sigaddset(&told_signals, SIGUSR1);
    sigaddset(&told_signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &told_signals, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Addresses that were not given: a port's own tell its number; a generator
 * sends to the next sink, or else to the next port. */
static void
choose_addresses(void)
{
    static const uint8_t base[6] = { 0x02, 0x76, 0x68, 0, 0, 0 };

    for (unsigned int i = 0; i < options.n_ports; i++) {
        struct port_options *o = &options.ports[i];

        if (!o->mac_set) {
            memcpy(o->mac, base, 6);
            o->mac[5] = i + 1;
        }
        if (!o->ip && o->mode != MODE_ECHO) {
            o->ip = 0x0a000001 + (i << 16);     /* 10.i.0.1 */
        }
    }
    for (unsigned int i = 0; i < options.n_ports; i++) {
        struct port_options *o = &options.ports[i];
        unsigned int n = options.n_ports, to = (i + 1) % n;

        for (unsigned int k = n; k-- > 1;) {
            if (options.ports[(i + k) % n].mode == MODE_SINK) {
                to = (i + k) % n;
            }
        }
        if (!o->dst_mac_set) {
            memcpy(o->dst_mac, options.ports[to].mac, 6);
        }
        if (!o->dst_ip) {
            o->dst_ip = options.ports[to].ip ? options.ports[to].ip
                                             : 0x0aff0001;
        }
    }
}

static void
start_ports(void)
{
    ports = calloc(options.n_ports, sizeof *ports);
    if (!ports) {
        errx(EXIT_CANNOT, "out of memory");
    }
    for (unsigned int i = 0; i < options.n_ports; i++) {
        port_init(&ports[i], &options, i);
        session_listen(&ports[i]);
        if (ports[i].mode && ports[i].mode->start) {
            ports[i].mode->start(&ports[i]);
        }
        if (ports[i].o->capture) {
            ports[i].out = pcap_create(ports[i].o->capture,
                                       ports[i].o->snaplen);
        }
    }
}

/* The 'n'th number of a list like "1,3", -1 if there is none. */
static int
cpu_of(const char *list, unsigned int n)
{
    for (; list && n; n--) {
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return list ? atoi(list) : -1;
}

static void
start_threads(void)
{
    unsigned int n = options.threads;

    workers = calloc(n, sizeof *workers);
    if (!workers) {
        errx(EXIT_CANNOT, "out of memory");
    }
    for (unsigned int i = 0; i < options.n_ports; i++) {
        struct worker *w = &workers[i % n];

        ports[i].worker = w;
        if (ports[i].mode) {
            w->ports[w->n_ports++] = &ports[i];
        }
    }
    for (unsigned int i = 0; i < n; i++) {
        workers[i].poll = options.poll;
        workers[i].cpu = cpu_of(options.cpus, i);
        worker_start(&workers[i]);
    }
    for (unsigned int i = 0; i < options.n_ports; i++) {
        if (ports[i].mode) {
            session_start(&ports[i]);
        } else {
            misbehave_start(&ports[i]);
        }
    }
}

static double
now(void)
{
    return fe_now_ns() / 1e9;
}

static void
progress(double start)
{
    static double last;
    double every = options.progress;

    if (every < 0) {
        every = isatty(STDERR_FILENO) ? 1 : 10;
    }
    if (every && !options.quiet && now() - (last ? last : start) >= every) {
        report_progress(ports, options.n_ports, now() - start);
        last = now();
    }
}

static void
tick(double start)
{
    struct timespec timeout = { .tv_nsec = TICK_NS };

    switch (sigtimedwait(&told_signals, NULL, &timeout)) {
    case SIGUSR1:
        report_interval(ports, options.n_ports);
        break;
    case SIGUSR2:
        told_to_begin = true;
        break;
    }
    progress(start);
}

/* Waits until every port has been up.  Returns false if that does not
 * happen. */
static bool
wait_for_ports(double start)
{
    for (;;) {
        unsigned int n = 0;

        for (unsigned int i = 0; i < options.n_ports; i++) {
            n += ports[i].was_live;
        }
        if (n == options.n_ports) {
            break;
        }
        if (interrupted
            || (options.connect_timeout
                && now() - start > options.connect_timeout)) {
            return false;
        }
        tick(start);
    }
    for (double end = now() + options.settle;
         now() < end && !told_to_begin && !interrupted;) {
        tick(start);
    }
    return true;
}

/* Whether all that has an end has come to it, and there was such a thing. */
static bool
all_done(void)
{
    unsigned int n_ends = 0, n_done = 0;
    uint64_t received = 0, wanted = 0;

    for (unsigned int i = 0; i < options.n_ports; i++) {
        struct port *p = &ports[i];
        bool ends = !p->mode || (p->mode->done
                                 && (p->o->count || p->o->mode == MODE_REPLAY)
                                 && (p->o->mode != MODE_REPLAY
                                     || p->o->loops || p->o->count));

        port_lock(p);
        n_ends += ends;
        n_done += ends && (p->gone || (p->mode && p->mode->done(p)));
        if (p->mode && !p->mode->done && p->o->count) {
            wanted += p->o->count;
            received += port_counters(p).rx_frames;
        }
        port_unlock(p);
    }
    return n_ends ? n_done == n_ends : wanted && received >= wanted;
}

static bool
all_gone(void)
{
    for (unsigned int i = 0; i < options.n_ports; i++) {
        if (!ports[i].gone) {
            return false;
        }
    }
    return true;
}

/* Frames are still on their way: waits until all have come or none comes any
 * more. */
static void
drain(double start)
{
    static struct totals t;
    uint64_t last = UINT64_MAX;
    double end = 0;

    run_stop_tx = true;
    do {
        report_totals(ports, options.n_ports, &t);
        if (t.received + t.other != last) {
            last = t.received + t.other;
            end = now() + options.drain;
        }
        if (t.sent && !t.lost && t.received) {
            break;
        }
        tick(start);
    } while (now() < end);
}

static double
run(double start)
{
    double go = now(), took;

    run_go = true;
    for (unsigned int i = 0; i < options.threads; i++) {
        worker_wake(&workers[i]);
    }
    while (!interrupted && !all_done() && !all_gone()
           && (!options.duration || now() - go < options.duration)) {
        tick(start);
    }
    took = now() - go;
    drain(start);
    return took;
}

static void
stop(void)
{
    run_stop = run_stop_tx = true;
    for (unsigned int i = 0; i < options.threads; i++) {
        worker_join(&workers[i]);
    }
    for (unsigned int i = 0; i < options.n_ports; i++) {
        if (ports[i].mode) {
            session_join(&ports[i]);
        } else {
            misbehave_join(&ports[i]);
        }
    }
}

static void
finish(void)
{
    for (unsigned int i = 0; i < options.n_ports; i++) {
        if (ports[i].mode && ports[i].mode->finish) {
            ports[i].mode->finish(&ports[i]);
        }
        if (ports[i].out) {
            pcap_close(ports[i].out);
        }
        port_destroy(&ports[i]);
    }
    for (unsigned int i = 0; i < options.threads; i++) {
        worker_destroy(&workers[i]);
    }
    free(ports);
    free(workers);
}

int
main(int argc, char *argv[])
{
    double start = now(), took = 0;
    bool up;
    int status;

    options_parse(&options, argc, argv);
    choose_addresses();
    catch_signals();
    run_id = fe_now_ns() / 1000 ^ (uint64_t) getpid() * 40503;
    start_ports();
    start_threads();
    up = wait_for_ports(start);
    if (up) {
        took = run(start);
    }
    stop();
    status = report(ports, options.n_ports, &options, took);
    finish();
    return up || interrupted ? status : EXIT_CANNOT;
}
