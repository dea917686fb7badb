/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Figures and verdict: see report.h. */

#include "guest/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/catch.h"
#include "guest/json.h"
#include "guest/misbehave.h"

/* Sums. */

static bool
generates(const struct port *p)
{
    return p->o->mode == MODE_GENERATE || p->o->mode == MODE_BOTH;
}

static bool
sinks(const struct port *p)
{
    return p->o->mode == MODE_SINK || p->o->mode == MODE_BOTH;
}

/* Lost frames of a stream that a queue of ours has sent: what no sink has.
 * With several sinks, each gets its own or all get all. */
static uint64_t
lost_of(const struct port *ports, unsigned int n, uint32_t id, uint64_t sent)
{
    uint64_t most = 0;

    for (unsigned int i = 0; i < n; i++) {
        const struct stream *s = streams_find(&ports[i].streams, id);

        if (s && s->unique > most) {
            most = s->unique;
        }
    }
    return sent > most ? sent - most : 0;
}

static void
add_generator(const struct port *ports, unsigned int n, const struct port *p,
              bool any_sink, struct totals *t)
{
    for (unsigned int i = 0; p->was_live && i < p->o->pairs; i++) {
        const struct queue *q = &p->queues[i];

        t->sent += q->tx_frames;
        if (any_sink && q->seq) {
            uint32_t id = ((uint32_t) run_id << 16) | (p->index & 255) << 8
                          | (i & 255);

            t->lost += lost_of(ports, n, id, q->seq);
        }
    }
}

static void
add_sink(const struct port *p, struct totals *t)
{
    for (unsigned int i = 0; i < p->streams.size; i++) {
        const struct stream *s = &p->streams.table[i];

        if (!s->used) {
            continue;
        }
        t->received += s->unique;
        t->reordered += s->reordered;
        t->duplicates += s->duplicates;
        if (s->id >> 16 != run_id) {
            /* Somebody else's: what can be seen from here. */
            t->lost += stream_gaps(s);
        }
    }
    t->corrupt += p->streams.corrupt;
    t->other += p->n_other;
    histogram_merge(&t->latency, &p->latency);
    histogram_merge(&t->gaps, &p->gaps);
}

/* Frames before others of their streams that came, which did not. */
static uint64_t
missing(const struct port *p)
{
    uint64_t n = 0;

    for (unsigned int i = 0; i < p->streams.size; i++) {
        if (p->streams.table[i].used) {
            n += stream_gaps(&p->streams.table[i]);
        }
    }
    return n;
}

void
report_totals(struct port *ports, unsigned int n, struct totals *t)
{
    bool any_sink = false;

    memset(t, 0, sizeof *t);
    for (unsigned int i = 0; i < n; i++) {
        struct counters c;

        port_lock(&ports[i]);
        c = port_counters(&ports[i]);

        any_sink |= sinks(&ports[i]);
        t->tx_frames += c.tx_frames;
        t->rx_frames += c.rx_frames;
    }
    for (unsigned int i = 0; i < n; i++) {
        if (generates(&ports[i])) {
            add_generator(ports, n, &ports[i], any_sink, t);
        }
        if (sinks(&ports[i])) {
            add_sink(&ports[i], t);
        }
    }
    for (unsigned int i = 0; i < n; i++) {
        port_unlock(&ports[i]);
    }
}

/* Progress. */

void
report_progress(struct port *ports, unsigned int n, double elapsed)
{
    static uint64_t last_tx, last_rx;
    static double last;
    uint64_t tx = 0, rx = 0;
    unsigned int up = 0;

    for (unsigned int i = 0; i < n; i++) {
        struct counters c;

        port_lock(&ports[i]);
        c = port_counters(&ports[i]);
        up += ports[i].live;
        port_unlock(&ports[i]);
        tx += c.tx_frames;
        rx += c.rx_frames;
    }
    fprintf(stderr, "%7.1f s: %u of %u ports up, sent %"PRIu64" (%.0f/s), "
            "received %"PRIu64" (%.0f/s)\n", elapsed, up, n, tx,
            (tx - last_tx) / (elapsed - last), rx,
            (rx - last_rx) / (elapsed - last));
    last_tx = tx;
    last_rx = rx;
    last = elapsed;
}

/* Intervals. */

static const double percentiles[] = { 0.5, 0.9, 0.99, 0.999 };
static const char *const percentile_names[] = { "p50", "p90", "p99",
                                                "p99.9" };

static void
json_histogram(const char *name, const struct histogram *h)
{
    json_open(name, '{');
    json_number("samples", h->n);
    json_number("min", h->min);
    json_real("mean", h->n ? (double) h->sum / h->n : 0);
    for (unsigned int i = 0; i < 4; i++) {
        json_number(percentile_names[i],
                    histogram_percentile(h, percentiles[i]));
    }
    json_number("max", h->max);
    json_close('}');
}

static void
take(struct histogram *sum, struct histogram *h)
{
    histogram_merge(sum, h);
    memset(h, 0, sizeof *h);
}

/* A port's part of report_interval(); adds to the sums. */
static void
interval_of_port(struct port *p, struct counters *sum,
                 struct histogram *latency, struct histogram *stops)
{
    static struct totals t;
    struct counters c;

    memset(&t, 0, sizeof t);
    port_lock(p);
    c = port_counters(p);
    add_sink(p, &t);
    take(latency, &p->latency);
    take(stops, &p->stops);
    memset(&p->gaps, 0, sizeof p->gaps);
    t.lost = missing(p);
    port_unlock(p);
    json_open(NULL, '{');
    json_number("connects", p->n_connects);
    json_number("tx_frames", c.tx_frames);
    json_number("rx_frames", c.rx_frames);
    if (sinks(p)) {
        json_number("gaps", t.lost);
        json_number("reordered", t.reordered);
        json_number("duplicates", t.duplicates);
        json_number("corrupt", t.corrupt);
        json_histogram("gap_ns", &t.gaps);
    }
    json_close('}');
    sum->tx_frames += c.tx_frames;
    sum->rx_frames += c.rx_frames;
}

void
report_interval(struct port *ports, unsigned int n)
{
    static struct histogram latency, stops;
    struct counters sum;

    memset(&sum, 0, sizeof sum);
    memset(&latency, 0, sizeof latency);
    memset(&stops, 0, sizeof stops);
    json_open(NULL, '{');
    json_open("ports", '[');
    for (unsigned int i = 0; i < n; i++) {
        interval_of_port(&ports[i], &sum, &latency, &stops);
    }
    json_close(']');
    json_number("tx_frames", sum.tx_frames);
    json_number("rx_frames", sum.rx_frames);
    json_histogram("latency_ns", &latency);
    json_histogram("stop_ns", &stops);
    json_close('}');
    json_end();
    fflush(stdout);
}

/* The verdict: a list of sentences about what did not hold. */

static char failures[1024];

static void __attribute__((format(printf, 2, 3)))
expect(bool holds, const char *format, ...)
{
    size_t used = strlen(failures);
    va_list args;

    if (holds) {
        return;
    }
    used += snprintf(failures + used, sizeof failures - used, "%s",
                     used ? "; " : "");
    va_start(args, format);
    if (used < sizeof failures) {
        vsnprintf(failures + used, sizeof failures - used, format, args);
    }
    va_end(args);
}

static void
check_loss(const struct options *o, const struct totals *t)
{
    uint64_t of = t->received + t->lost;
    double limit = o->expect_loss;

    if (limit < 0) {
        return;
    }
    if (o->expect_loss_percent) {
        limit = limit * of / 100;
    }
    expect(t->lost <= limit, "%"PRIu64" of %"PRIu64" frames lost", t->lost,
           of);
    expect(of > 0, "there was no test frame");
}

static void
check(const struct port *ports, unsigned int n, const struct options *o,
      const struct totals *t, double seconds)
{
    uint64_t p99 = histogram_percentile(&t->latency, 0.99);

    check_loss(o, t);
    expect(o->expect_received < 0 || t->received == o->expect_received,
           "%"PRIu64" frames received, not %.0f", t->received,
           o->expect_received);
    expect(o->expect_reordered < 0 || t->reordered <= o->expect_reordered,
           "%"PRIu64" frames out of order", t->reordered);
    expect(o->expect_duplicates < 0 || t->duplicates <= o->expect_duplicates,
           "%"PRIu64" frames came twice", t->duplicates);
    expect(t->corrupt <= o->expect_corrupt, "%"PRIu64" frames corrupt",
           t->corrupt);
    expect(o->expect_rate < 0 || t->rx_frames >= o->expect_rate * seconds,
           "%.0f frames per second received", t->rx_frames / seconds);
    expect(o->expect_p99 < 0 || p99 <= o->expect_p99 * 1000,
           "99 %% of latencies are below %.1f us only", p99 / 1e3);
    for (unsigned int i = 0; i < n; i++) {
        expect(!ports[i].broken, "%s: %s", ports[i].o->path,
               ports[i].broken_by);
        for (unsigned int k = 0; k < ports[i].n_results; k++) {
            expect(ports[i].results[k].usable, "%s is unusable after %s",
                   ports[i].o->path, ports[i].results[k].name);
        }
        expect(ports[i].was_live, "%s: never came up%s%s", ports[i].o->path,
               ports[i].error[0] ? ": " : "", ports[i].error);
    }
}

/* Text. */

static void
print_port(const struct port *p, double seconds)
{
    struct counters c = port_counters(p);

    printf("%s %s: sent %"PRIu64" frames (%.0f/s), %"PRIu64" bytes; received "
           "%"PRIu64" (%.0f/s), %"PRIu64" bytes\n", mode_names[p->o->mode],
           p->o->path, c.tx_frames, c.tx_frames / seconds, c.tx_bytes,
           c.rx_frames, c.rx_frames / seconds, c.rx_bytes);
    if (p->n_disconnects || p->n_dropped) {
        printf("    %u connections, %u ended by the switch; %"PRIu64
               " frames that could not be sent on\n", p->n_connects,
               p->n_disconnects, p->n_dropped);
    }
}

static void
print_text(const struct port *ports, unsigned int n, const struct totals *t,
           double seconds)
{
    for (unsigned int i = 0; i < n; i++) {
        print_port(&ports[i], seconds);
    }
    if (t->sent || t->received) {
        printf("test frames: sent %"PRIu64", received %"PRIu64", lost %"PRIu64
               ", out of order %"PRIu64", twice %"PRIu64", corrupt %"PRIu64
               ", others %"PRIu64"\n", t->sent, t->received, t->lost,
               t->reordered, t->duplicates, t->corrupt, t->other);
    }
    if (t->latency.n) {
        printf("latency in us: min %.1f, mean %.1f",
               t->latency.min / 1e3, t->latency.sum / 1e3 / t->latency.n);
        for (unsigned int i = 0; i < 4; i++) {
            printf(", %s %.1f", percentile_names[i],
                   histogram_percentile(&t->latency, percentiles[i]) / 1e3);
        }
        printf(", max %.1f\n", t->latency.max / 1e3);
    }
    if (t->gaps.n) {
        printf("longest time without a frame: %.3f ms\n", t->gaps.max / 1e6);
    }
    printf("%.3f s%s%s\n", seconds, failures[0] ? ": FAILED: " : "",
           failures);
}

/* JSON. */

static void
json_stream(const struct stream *s)
{
    char id[16];

    snprintf(id, sizeof id, "%08x", s->id);
    json_open(NULL, '{');
    json_string("id", id);
    json_number("received", s->unique);
    json_number("gaps", stream_gaps(s));
    json_number("reordered", s->reordered);
    json_number("duplicates", s->duplicates);
    json_close('}');
}

static void
json_sink(const struct port *p)
{
    json_number("corrupt", p->streams.corrupt);
    json_number("others", p->n_other);
    json_open("streams", '[');
    for (unsigned int i = 0; i < p->streams.size; i++) {
        if (p->streams.table[i].used) {
            json_stream(&p->streams.table[i]);
        }
    }
    json_close(']');
    json_histogram("latency_ns", &p->latency);
    json_histogram("gap_ns", &p->gaps);
}

static void
json_queues(const struct port *p)
{
    json_open("queues", '[');
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        const struct queue *q = &p->queues[i];

        json_open(NULL, '{');
        json_number("tx_frames", q->tx_frames);
        json_number("tx_used", q->tx_used);
        json_number("rx_frames", q->rx_frames);
        json_close('}');
    }
    json_close(']');
}

static void
json_results(const struct port *p)
{
    json_open("misbehaviours", '[');
    for (unsigned int i = 0; i < p->n_results; i++) {
        const struct misbehave_result *r = &p->results[i];

        json_open(NULL, '{');
        json_string("name", r->name);
        json_string("outcome", r->outcome);
        json_bool("usable", r->usable);
        json_close('}');
    }
    json_close(']');
}

static void
json_port(const struct port *p, double seconds)
{
    struct counters c = port_counters(p);
    char names[512];

    json_open(NULL, '{');
    json_string("mode", mode_names[p->o->mode]);
    json_string("path", p->o->path);
    features_format(p->fe.features, false, names, sizeof names);
    json_string("features", names);
    features_format(p->fe.protocol, true, names, sizeof names);
    json_string("protocol_features", names);
    json_number("connects", p->n_connects);
    json_number("disconnects", p->n_disconnects);
    json_string("error", p->error);
    json_number("tx_frames", c.tx_frames);
    json_number("tx_bytes", c.tx_bytes);
    json_real("tx_rate", c.tx_frames / seconds);
    json_number("tx_used", c.tx_used);
    json_number("rx_frames", c.rx_frames);
    json_number("rx_bytes", c.rx_bytes);
    json_real("rx_rate", c.rx_frames / seconds);
    json_number("not_sent_on", p->n_dropped);
    json_number("kicks", c.kicks);
    json_number("calls", c.calls);
    json_queues(p);
    if (sinks(p)) {
        json_sink(p);
    }
    if (p->n_results) {
        json_results(p);
    }
    json_close('}');
}

static void
print_json(const struct port *ports, unsigned int n, const struct totals *t,
           double seconds)
{
    json_open(NULL, '{');
    json_real("seconds", seconds);
    json_number("sent", t->sent);
    json_number("received", t->received);
    json_number("lost", t->lost);
    json_number("reordered", t->reordered);
    json_number("duplicates", t->duplicates);
    json_number("corrupt", t->corrupt);
    json_histogram("latency_ns", &t->latency);
    json_histogram("gap_ns", &t->gaps);
    json_open("ports", '[');
    for (unsigned int i = 0; i < n; i++) {
        json_port(&ports[i], seconds);
    }
    json_close(']');
    json_bool("ok", !failures[0]);
    json_string("failures", failures);
    json_close('}');
    json_end();
}

int
report(struct port *ports, unsigned int n, const struct options *o,
       double seconds)
{
    static struct totals t;

    if (seconds <= 0) {
        seconds = 1e-9;
    }
    report_totals(ports, n, &t);
    check(ports, n, o, &t, seconds);
    if (o->json) {
        print_json(ports, n, &t, seconds);
    } else {
        print_text(ports, n, &t, seconds);
    }
    return failures[0] ? EXIT_UNEXPECTED : EXIT_OK;
}
