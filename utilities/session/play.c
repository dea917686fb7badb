/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See play.h. */

#include "session/play.h"

#include <err.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/fail.h"
#include "guest/json.h"
#include "session/player.h"
#include "session/base.h"

#define SERVE_US 100            /* Between looks at rings. */

/* Remarks. */

static void
remark(struct remarks *remarks, const char *text)
{
    for (unsigned int i = 0; i < remarks->n && i < MAX_REMARKS; i++) {
        if (!strcmp(remarks->texts[i], text)) {
            return;
        }
    }
    if (remarks->n < MAX_REMARKS) {
        remarks->texts[remarks->n] = copy_text(text);
    }
    remarks->n++;
}

static void
fail(struct player *p, const char *format, va_list args)
{
    char text[512];
    int n = snprintf(text, sizeof text, "line %u: ", p->event->line);

    vsnprintf(text + n, sizeof text - n, format, args);
    remark(&p->failures, text);
}

void
play_fail(void *p, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(p, format, args);
    va_end(args);
}

void
play_fail_for_good(struct player *p, const char *format, ...)
{
    va_list args;

    if (!p->over) {
        va_start(args, format);
        fail(p, format, args);
        va_end(args);
    }
    p->over = true;
}

void
play_differs(struct player *p, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    remark(&p->differences, text);
}

/* Rings and time. */

long long int
play_deadline(const struct player *p)
{
    return fe_now_us() + (long long int) (p->o->timeout * 1e6);
}

void
play_serve(struct player *p, unsigned int us)
{
    struct timespec ts = { us / 1000000, us % 1000000 * 1000L };
    struct pollfd pfds[] = {
        { .fd = p->in.complete ? -1 : p->fe.sock, .events = POLLIN },
        { .fd = p->channel.sock, .events = POLLIN },
    };
    bool any = false;

    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        any |= ring_poll(&p->rings[i]) != 0;
    }
    if (!any && us) {
        ppoll(pfds, 2, &ts, NULL);
    }
    dialogue_channel(p);
}

/* Ends the play if the back end hung up.  What it said is left where it
 * is. */
static void
check_connection(struct player *p)
{
    struct pollfd pfd = { .fd = p->fe.sock, .events = POLLRDHUP };

    if (p->fe.sock >= 0 && poll(&pfd, 1, 0) == 1) {
        play_fail_for_good(p, "the back end has closed the connection");
    }
}

/* True if the back end has to use what is offered on this ring: what the
 * guest sends. */
static bool
must_be_used(const struct ring *r)
{
    return r->index % 2 && r->started && r->enabled && !r->broken
           && r->n_busy;
}

static void
drain(struct player *p, struct ring *r)
{
    long long int end = play_deadline(p);

    while (must_be_used(r) && !p->over) {
        if (fe_now_us() >= end) {
            play_fail(p, "ring %u: %u chains were not used within %g s; the "
                      "first of them is %u, the indexes are avail %u, used "
                      "%u", r->index, r->n_busy, p->o->timeout,
                      ring_first_busy(r), r->avail_idx, r->used_idx);
            r->broken = true;
            return;
        }
        play_serve(p, SERVE_US);
        check_connection(p);
    }
}

void
play_drain(struct player *p)
{
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        drain(p, &p->rings[i]);
    }
}

/* Waits until it is time for the event. */
static void
wait_for_time(struct player *p, const struct event *e)
{
    uint64_t at = p->o->speed > 0 ? e->t / p->o->speed : 0;

    while (!p->over) {
        uint64_t now = fe_now_us() - p->start_us - p->late_us;

        if (now >= at) {
            break;
        }
        play_serve(p, at - now < SERVE_US ? at - now : SERVE_US);
        check_connection(p);
    }
}

/* Events. */

static void
connect_back(struct player *p)
{
    long long int before = fe_now_us();

    p->fe.sock = endpoint_meet(&p->back, p->o->timeout * 1000);
    if (p->fe.sock < 0) {
        errx(EXIT_CANNOT, "%s: nobody %s within %g s", p->back.path,
             p->back.listens ? "connects" : "listens", p->o->timeout);
    }
    lane_init(&p->in, p->fe.sock, -1);
    dialogue_reset(p);
    /* The recorded time is without this. */
    p->late_us += fe_now_us() - before;
}

static void
close_back(struct player *p)
{
    if (p->fe.sock < 0) {
        return;
    }
    play_drain(p);
    if (!p->over && lane_receive(&p->in) == LANE_MESSAGE) {
        struct fd_info fds[MAX_FDS];
        struct message m = lane_message(&p->in, fds);

        play_fail(p, "an answer to %s that nobody has asked for",
                  request_name(CHANNEL_MAIN, m.request));
    }
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        p->rings[i].started = false;
    }
    lane_next(&p->in);
    lane_next(&p->channel_in);
    fe_hang_up(&p->fe);
    fe_hang_up(&p->channel);
}

/* Waits until the chain's descriptors are the driver's.  Receive buffers are
 * not waited for: the recorded switch had frames to put into them. */
static bool
await_descs(struct player *p, struct ring *r, const struct chain *c)
{
    long long int end = play_deadline(p);

    while (!p->over && !ring_is_free(r, c)) {
        ring_publish(r);
        ring_poll(r);
        if (!must_be_used(r)) {
            return ring_is_free(r, c);
        }
        if (fe_now_us() >= end) {
            play_fail(p, "ring %u: chain %u was not used within %g s",
                      r->index, c->id, p->o->timeout);
            r->broken = true;
            return false;
        }
        play_serve(p, SERVE_US);
        check_connection(p);
    }
    return !p->over;
}

static void
offer(struct player *p, const struct event *e)
{
    struct ring *r = &p->rings[e->ring];

    for (unsigned int i = 0; i < e->n; i++) {
        const struct chain *c = &e->chains[i];

        if (!r->started || !r->desc || r->packed || r->broken
            || !await_descs(p, r, c)) {
            r->n_left_out++;
        } else {
            ring_offer(r, c, ++p->frame_number);
        }
    }
    if (r->started && r->desc && !r->packed && !r->broken) {
        ring_publish(r);
    }
}

static void
play_event(struct player *p, const struct event *e)
{
    p->event = e;
    wait_for_time(p, e);
    if (p->over) {
        return;
    }
    switch (e->kind) {
    case EVENT_CONNECT:
        close_back(p);
        connect_back(p);
        break;
    case EVENT_MESSAGE:
        if (p->fe.sock < 0) {
            errx(EXIT_CANNOT, "%s:%u: a message without a connection",
                 p->recording.path, e->line);
        }
        if (e->front) {
            dialogue_send(p, &e->msg);
        } else {
            dialogue_expect(p, &e->msg);
        }
        break;
    case EVENT_OFFER:
        offer(p, e);
        break;
    case EVENT_CLOSE:
    case EVENT_END:
        close_back(p);
        break;
    case EVENT_CHANNEL:
    case EVENT_START:
    case EVENT_USED:
    case N_EVENTS:
        break;
    }
    play_serve(p, 0);
}

/* The result. */

struct totals {
    uint64_t offered, used, left_out, unfit, kicks, calls;
    uint64_t frames, ours, changed_headers;
};

static struct totals
add_up(const struct player *p)
{
    struct totals t = { .offered = 0 };

    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        const struct ring *r = &p->rings[i];

        t.offered += r->n_offered;
        t.used += r->n_used;
        t.left_out += r->n_left_out;
        t.unfit += r->n_unfit;
        t.kicks += r->n_kicks;
        t.calls += r->n_calls;
        t.frames += r->n_frames;
        t.ours += r->n_ours;
        t.changed_headers += r->n_changed_headers;
    }
    return t;
}

static bool
is_ok(const struct player *p)
{
    return !p->failures.n && !(p->o->strict && p->differences.n);
}

static void
print_remarks(const char *what, const struct remarks *remarks)
{
    for (unsigned int i = 0; i < remarks->n && i < MAX_REMARKS; i++) {
        printf("%s: %s\n", what, remarks->texts[i]);
    }
    if (remarks->n > MAX_REMARKS) {
        printf("%s: %u more\n", what, remarks->n - MAX_REMARKS);
    }
}

static void
print_result(const struct player *p, const struct totals *t)
{
    printf("recorded: %s at %s\n", p->recording.front_end,
           p->recording.back_end);
    printf("messages: %"PRIu64" sent, %"PRIu64" not sent, %"PRIu64
           " answers\n", p->n_sent, p->n_skipped, p->n_answers);
    printf("chains: %"PRIu64" offered, %"PRIu64" used, %"PRIu64" left out, "
           "%"PRIu64" that did not fit\n", t->offered, t->used, t->left_out,
           t->unfit);
    printf("frames: %"PRIu64" received, of them %"PRIu64" the player's own; "
           "%"PRIu64" headers changed\n", t->frames, t->ours,
           t->changed_headers);
    print_remarks(p->o->strict ? "FAILED" : "difference", &p->differences);
    print_remarks("FAILED", &p->failures);
    printf("%s\n", is_ok(p) ? "ok" : "not ok");
}

static void
print_json_remarks(const char *name, const struct remarks *remarks)
{
    json_open(name, '[');
    for (unsigned int i = 0; i < remarks->n && i < MAX_REMARKS; i++) {
        json_string(NULL, remarks->texts[i]);
    }
    json_close(']');
}

static void
print_json(const struct player *p, const struct totals *t)
{
    json_open(NULL, '{');
    json_bool("ok", is_ok(p));
    json_string("front_end", p->recording.front_end);
    json_string("back_end", p->recording.back_end);
    json_real("seconds", (fe_now_us() - p->start_us) / 1e6);
    json_number("messages_sent", p->n_sent);
    json_number("messages_not_sent", p->n_skipped);
    json_number("answers", p->n_answers);
    json_number("channel_messages", p->n_channel);
    json_number("chains_offered", t->offered);
    json_number("chains_used", t->used);
    json_number("chains_left_out", t->left_out);
    json_number("chains_unfit", t->unfit);
    json_number("kicks", t->kicks);
    json_number("calls", t->calls);
    json_number("frames_received", t->frames);
    json_number("own_frames_received", t->ours);
    json_number("headers_changed", t->changed_headers);
    print_json_remarks("differences", &p->differences);
    print_json_remarks("failures", &p->failures);
    json_close('}');
    json_end();
}

static void
free_player(struct player *p)
{
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        ring_free(&p->rings[i]);
    }
    for (unsigned int i = 0; i < MAX_REMARKS; i++) {
        free(p->failures.texts[i]);
        free(p->differences.texts[i]);
    }
    stage_free(&p->stage);
    recording_free(&p->recording);
    endpoint_close(&p->back);
    free(p);
}

static struct player *
new_player(const struct play_options *o)
{
    struct player *p = zero_alloc(1, sizeof *p);

    p->o = o;
    p->back = o->back;
    recording_read(&p->recording, o->path);
    fe_init(&p->fe);
    fe_init(&p->channel);
    lane_init(&p->in, -1, -1);
    lane_init(&p->channel_in, -1, -1);
    stage_init(&p->stage);
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        ring_init(&p->rings[i], i, &p->stage, play_fail, p);
    }
    endpoint_open(&p->back);
    return p;
}

int
play(struct play_options *o)
{
    struct player *p = new_player(o);
    struct totals totals;
    int status;

    p->start_us = fe_now_us();
    for (unsigned int i = 0; i < p->recording.n && !p->over; i++) {
        play_event(p, &p->recording.events[i]);
    }
    fe_hang_up(&p->fe);
    totals = add_up(p);
    if (o->json) {
        print_json(p, &totals);
    } else {
        print_result(p, &totals);
    }
    status = is_ok(p) ? EXIT_OK : EXIT_DIFFERENT;
    free_player(p);
    return status;
}
