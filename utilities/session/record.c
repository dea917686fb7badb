/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See record.h.  One thread does everything, and nothing waits but ppoll(2):
 * a message that its receiver does not take yet keeps only its own direction
 * back, as the socket itself would. */

#include "session/record.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest/fail.h"
#include "session/lane.h"
#include "session/base.h"
#include "session/watch.h"

#define IDLE_US 100000          /* Between looks if no ring is followed. */
#define MEET_MS 100             /* Between looks for a signal. */

/* Directions.  The last two exist once SET_BACKEND_REQ_FD has passed. */
enum { TO_BACK, TO_FRONT, CHANNEL_TO_FRONT, CHANNEL_TO_BACK, N_LANES };

struct recorder {
    const struct record_options *o;
    struct watch *watch;
    struct lane lanes[N_LANES];
    int front, back;            /* Sockets. */
    int channel_front, channel_back;    /* -1: none. */
    uint64_t start_us;          /* 0: nothing has happened yet. */
    uint64_t n_messages, left_out;
};

static volatile sig_atomic_t interrupted;
static sigset_t no_signals;     /* Blocked while ppoll() waits. */

static void
on_signal(int signum)
{
    (void) signum;
    interrupted = 1;
}

/* Signals come only while ppoll() waits. */
static void
catch_signals(void)
{
    struct sigaction sa = { .sa_handler = on_signal };
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    sigprocmask(SIG_BLOCK, &ours, &no_signals);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
}

/* Waits up to 'us' microseconds. */
static void
wait_for(struct pollfd pfds[], unsigned int n, unsigned int us)
{
    struct timespec ts = { us / 1000000, us % 1000000 * 1000L };

    ppoll(pfds, n, &ts, &no_signals);
}

static uint64_t
now(const struct recorder *r)
{
    return fe_now_us() - r->start_us;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static bool
is_full(const struct recorder *r)
{
    return r->n_messages > r->o->max_messages;
}

static void
note(struct recorder *r, enum event_kind kind, bool front)
{
    struct event e = { .kind = kind, .t = now(r), .front = front };

    if (!is_full(r)) {
        recording_write(&e);
    }
}

/* Meeting both sides. */

/* Meets one side if it is not there yet. */
static void
meet(struct endpoint *e, int *fd)
{
    if (*fd < 0) {
        *fd = endpoint_meet(e, 0);
    }
}

/* Waits for who is to connect here before anybody is connected to, so that
 * nobody talks to a recorder that has no other side yet. */
static bool
meet_both(struct recorder *r)
{
    struct endpoint front = r->o->front, back = r->o->back;

    r->front = r->back = -1;
    while (!interrupted) {
        struct pollfd pfds[2] = { { .fd = front.listen_fd, .events = POLLIN },
                                  { .fd = back.listen_fd, .events = POLLIN } };

        if (front.listens) {
            meet(&front, &r->front);
        }
        if (back.listens) {
            meet(&back, &r->back);
        }
        if (!back.listens && (r->front >= 0 || !front.listens)) {
            meet(&back, &r->back);
        }
        if (!front.listens && r->back >= 0) {
            meet(&front, &r->front);
        }
        if (r->front >= 0 && r->back >= 0) {
            return true;
        }
        pfds[0].fd = r->front >= 0 ? -1 : pfds[0].fd;
        pfds[1].fd = r->back >= 0 ? -1 : pfds[1].fd;
        wait_for(pfds, 2, MEET_MS * 1000);
    }
    close_fd(&r->front);
    close_fd(&r->back);
    return false;
}

/* Messages. */

static void
write_message(struct recorder *r, enum event_kind kind, bool front,
              const struct message *m)
{
    struct event e = { .kind = kind, .t = now(r), .front = front, .msg = *m };

    r->n_messages++;
    if (is_full(r)) {
        r->left_out++;
        watch_mute(r->watch);
    } else {
        recording_write(&e);
    }
}

/* Puts the recorder into the back end's channel: the back end gets a socket of
 * the recorder's in place of the front end's, which is 'fds[0]'. */
static void
join_channel(struct recorder *r, int fds[])
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        errx(EXIT_CANNOT, "no socket: %s", strerror(errno));
    }
    lane_next(&r->lanes[CHANNEL_TO_FRONT]);
    lane_next(&r->lanes[CHANNEL_TO_BACK]);
    close_fd(&r->channel_front);
    close_fd(&r->channel_back);
    r->channel_front = fds[0];
    r->channel_back = pair[0];
    fds[0] = pair[1];
    lane_init(&r->lanes[CHANNEL_TO_FRONT], r->channel_back, r->channel_front);
    lane_init(&r->lanes[CHANNEL_TO_BACK], r->channel_front, r->channel_back);
}

/* A whole message is in lane 'i'. */
static void
on_message(struct recorder *r, int i)
{
    struct lane *lane = &r->lanes[i];
    struct fd_info fds[MAX_FDS];
    struct message m = lane_message(lane, fds);

    watch_number_files(r->watch, &m, lane->fds);
    switch (i) {
    case TO_BACK:
        write_message(r, EVENT_MESSAGE, true, &m);
        watch_front(r->watch, &m, lane->fds, now(r));
        if (m.request == FE_SET_BACKEND_REQ_FD && m.n_fds
            && fds[0].kind == FD_SOCKET) {
            join_channel(r, lane->fds);
        }
        break;
    case TO_FRONT:
        watch_back(r->watch, &m, now(r));
        write_message(r, EVENT_MESSAGE, false, &m);
        break;
    default:
        write_message(r, EVENT_CHANNEL, i == CHANNEL_TO_BACK, &m);
        break;
    }
}

/* Moves what can be moved in lane 'i'.  Returns false if its sender, or its
 * receiver, has gone. */
static bool
run_lane(struct recorder *r, int i)
{
    struct lane *lane = &r->lanes[i];
    enum lane_got got;

    for (;;) {
        bool was_complete = lane->complete;

        got = lane_receive(lane);
        if (got != LANE_MESSAGE) {
            break;
        }
        if (!was_complete) {
            on_message(r, i);
        }
        got = lane_send(lane);
        if (got != LANE_MESSAGE) {
            break;
        }
        lane_next(lane);
    }
    if (got == LANE_GARBAGE) {
        warnx("a message of more than %u bytes: this is not vhost-user",
              MAX_PAYLOAD);
    }
    return got == LANE_NOTHING;
}

static void
leave_channel(struct recorder *r)
{
    lane_next(&r->lanes[CHANNEL_TO_FRONT]);
    lane_next(&r->lanes[CHANNEL_TO_BACK]);
    lane_init(&r->lanes[CHANNEL_TO_FRONT], -1, -1);
    lane_init(&r->lanes[CHANNEL_TO_BACK], -1, -1);
    close_fd(&r->channel_front);
    close_fd(&r->channel_back);
}

static void
wait_lanes(struct recorder *r, unsigned int us)
{
    struct pollfd pfds[N_LANES];

    for (int i = 0; i < N_LANES; i++) {
        const struct lane *lane = &r->lanes[i];

        pfds[i].fd = lane->complete ? lane->to : lane->from;
        pfds[i].events = lane->complete ? POLLOUT : POLLIN;
    }
    wait_for(pfds, N_LANES, us);
}

/* Passes on until one side hangs up or a signal comes. */
static void
run_connection(struct recorder *r)
{
    while (!interrupted) {
        bool rings = watch_sample(r->watch, now(r));

        wait_lanes(r, rings ? r->o->interval_us : IDLE_US);
        for (int i = TO_BACK; i <= TO_FRONT; i++) {
            if (!run_lane(r, i)) {
                watch_sample(r->watch, now(r));
                note(r, EVENT_CLOSE, i == TO_BACK);
                return;
            }
        }
        for (int i = CHANNEL_TO_FRONT; i <= CHANNEL_TO_BACK; i++) {
            if (r->lanes[i].from >= 0 && !run_lane(r, i)) {
                leave_channel(r);
            }
        }
    }
    watch_sample(r->watch, now(r));
    note(r, EVENT_CLOSE, true);
}

static void
open_connection(struct recorder *r)
{
    if (!r->start_us) {
        r->start_us = fe_now_us();
    }
    lane_init(&r->lanes[TO_BACK], r->front, r->back);
    lane_init(&r->lanes[TO_FRONT], r->back, r->front);
    lane_init(&r->lanes[CHANNEL_TO_FRONT], -1, -1);
    lane_init(&r->lanes[CHANNEL_TO_BACK], -1, -1);
    r->channel_front = r->channel_back = -1;
    note(r, EVENT_CONNECT, false);
}

static void
close_connection(struct recorder *r)
{
    leave_channel(r);
    lane_next(&r->lanes[TO_BACK]);
    lane_next(&r->lanes[TO_FRONT]);
    close_fd(&r->front);
    close_fd(&r->back);
    watch_close(r->watch);
    fflush(stdout);
}

static int
finish(struct recorder *r)
{
    struct ring_totals totals[MAX_RINGS];
    unsigned int n = watch_totals(r->watch, totals);

    recording_write_end(r->start_us ? now(r) : 0, r->n_messages, r->left_out,
                        totals, n);
    watch_free(r->watch);
    if (fflush(stdout) || ferror(stdout)) {
        warnx("cannot write the recording: %s", strerror(errno));
        return EXIT_CANNOT;
    }
    return EXIT_OK;
}

int
record(struct record_options *o)
{
    struct recorder r = { .o = o, .watch = watch_new(o->max_chains) };

    catch_signals();
    endpoint_open(&o->front);
    endpoint_open(&o->back);
    recording_write_header(o->front_end, o->back_end, o->note);
    fflush(stdout);
    for (unsigned int n = 0; !o->connections || n < o->connections; n++) {
        if (!meet_both(&r)) {
            break;
        }
        open_connection(&r);
        run_connection(&r);
        close_connection(&r);
    }
    endpoint_close(&o->front);
    endpoint_close(&o->back);
    return finish(&r);
}
