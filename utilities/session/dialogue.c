/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The player's messages: those of the recording, with descriptors of the
 * player's, and changed where a front end would have said something else to
 * this back end; and what has to be said of the answers. */

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/fail.h"
#include "session/player.h"
#include "session/base.h"

void
dialogue_reset(struct player *p)
{
    p->offered_then = p->offered = p->features = 0;
    p->protocol_offered_then = p->protocol_offered = p->protocol = 0;
    memset(p->unasked, 0, sizeof p->unasked);
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        struct ring *r = &p->rings[i];

        r->started = r->enabled = r->has_addr = r->has_base = false;
    }
}

/* Adapting. */

/* True if this back end was never told that it could be asked this. */
static bool
is_pointless(const struct player *p, const struct message *m)
{
    uint64_t needs = request_needs(m->request);

    return needs & p->protocol_offered_then & ~p->protocol_offered;
}

/* Notes that the recorded answer to 'm' will not come. */
static void
expect_nothing(struct player *p, const struct message *m)
{
    if (m->request < sizeof p->unasked / sizeof *p->unasked) {
        p->unasked[m->request]++;
    }
}

static uint64_t
only_offered(struct player *p, const char *what, uint64_t wanted,
             uint64_t offered)
{
    if (wanted & ~offered) {
        play_differs(p, "%s 0x%"PRIx64" were accepted then and are not "
                     "offered now", what, wanted & ~offered);
    }
    return wanted & offered;
}

/* The base of a ring that goes on where this back end, not the recorded one,
 * was stopped. */
static void
adapt_base(struct player *p, struct fe_vring_state *state)
{
    struct ring *r = &p->rings[state->index % MAX_RINGS];
    const struct base *base = &p->bases[state->index % MAX_RINGS];

    r->resumes = base->valid && state->num == base->then;
    if (r->resumes) {
        state->num = base->now;
    }
    r->base = state->num;
    r->has_base = true;
    ring_prepare(r, p->features);
}

/* Changes the payload and takes note of what it says, before it is sent. */
static void
prepare_message(struct player *p, const struct message *m, uint8_t *payload)
{
    struct fe_vring_state state = message_state(m);
    struct fe_vring_addr addr = message_addr(m);
    struct ring *r = &p->rings[state.index % MAX_RINGS];
    uint64_t value = message_u64(m);

    switch (m->request) {
    case FE_SET_FEATURES:
        value = only_offered(p, "features", value, p->offered);
        p->features = value;
        memcpy(payload, &value, sizeof value);
        break;
    case FE_SET_PROTOCOL_FEATURES:
        value = only_offered(p, "protocol features", value,
                             p->protocol_offered);
        p->protocol = value;
        memcpy(payload, &value, sizeof value);
        break;
    case FE_SET_VRING_NUM:
        r->size = state.num <= MAX_RING_SIZE ? state.num : 0;
        ring_prepare(r, p->features);
        break;
    case FE_SET_VRING_BASE:
        adapt_base(p, &state);
        memcpy(payload, &state, sizeof state);
        break;
    case FE_SET_VRING_ADDR:
        r->addr = addr;
        r->has_addr = true;
        ring_prepare(r, p->features);
        break;
    case FE_SET_STATUS:
        if (!value) {
            play_drain(p);
        }
        break;
    case FE_GET_VRING_BASE:
    case FE_RESET_OWNER:
    case REQ_RESET_DEVICE:
        /* librte_vhost stops all rings when it is asked for one base. */
        play_drain(p);
        break;
    case FE_SET_VRING_ENABLE:
        if (!state.num) {
            play_drain(p);
        }
        break;
    default:
        break;
    }
}

/* Memory. */

static void
set_memory(struct player *p, const struct message *m)
{
    bool ok = true;

    if (m->request == FE_SET_MEM_TABLE) {
        ok = stage_set_table(&p->stage, m);
    } else if (m->request == REQ_ADD_MEM_REG) {
        ok = stage_add_region(&p->stage, m);
    } else if (m->request == REQ_REM_MEM_REG) {
        stage_remove_region(&p->stage, m);
    } else {
        return;
    }
    if (!ok) {
        errx(EXIT_CANNOT, "%s:%u: a memory region is not within its file",
             p->recording.path, p->event->line);
    }
    for (unsigned int i = 0; i < MAX_RINGS; i++) {
        ring_prepare(&p->rings[i], p->features);
    }
}

/* Descriptors. */

static void
keep_fd(int *slot, int fd)
{
    if (*slot >= 0) {
        close(*slot);
    }
    *slot = fd;
}

static int
new_event_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        errx(EXIT_CANNOT, "no eventfd: %s", strerror(errno));
    }
    return fd;
}

/* An eventfd for SET_VRING_KICK, CALL or ERR, which the ring keeps. */
static int
ring_fd(struct player *p, const struct message *m)
{
    struct ring *r = &p->rings[message_u64(m) & 0xff];
    int fd = new_event_fd();

    keep_fd(m->request == FE_SET_VRING_KICK ? &r->kick_fd
            : m->request == FE_SET_VRING_CALL ? &r->call_fd : &r->err_fd, fd);
    return fd;
}

/* One end of a new channel; the player keeps the other. */
static int
channel_fd(struct player *p)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        errx(EXIT_CANNOT, "no socket: %s", strerror(errno));
    }
    fe_hang_up(&p->channel);
    lane_next(&p->channel_in);
    p->channel.sock = pair[0];
    lane_init(&p->channel_in, pair[0], -1);
    return pair[1];
}

/* A descriptor of the player's like 'info'.  '*owned' says whether it has to
 * be closed once it is sent. */
static int
make_fd(struct player *p, const struct message *m, const struct fd_info *info,
        bool *owned)
{
    *owned = false;
    switch (info->kind) {
    case FD_MEMORY:
        return stage_file(&p->stage, info);
    case FD_EVENT:
        if (m->request == FE_SET_VRING_KICK || m->request == FE_SET_VRING_CALL
            || m->request == FE_SET_VRING_ERR) {
            return ring_fd(p, m);
        }
        *owned = true;
        return new_event_fd();
    case FD_SOCKET:
        *owned = true;
        return channel_fd(p);
    case FD_OTHER:
        break;
    }
    *owned = true;
    return fe_memfd(FE_PAGE, 0);
}

/* Sending. */

static void
send_message(struct player *p, const struct message *m,
             const uint8_t *payload, uint32_t flags)
{
    struct fe_header h = { m->request, flags, m->size };
    uint8_t bytes[sizeof h + MAX_PAYLOAD];
    bool owned[MAX_FDS];
    int fds[MAX_FDS];

    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, payload, m->size);
    for (unsigned int i = 0; i < m->n_fds; i++) {
        fds[i] = make_fd(p, m, &m->fds[i], &owned[i]);
    }
    if (!fe_send_bytes(&p->fe, bytes, sizeof h + m->size, fds, m->n_fds)) {
        play_fail_for_good(p, "the back end has closed the connection before "
                           "%s", request_name(CHANNEL_MAIN, m->request));
    }
    for (unsigned int i = 0; i < m->n_fds; i++) {
        if (owned[i]) {
            close(fds[i]);
        }
    }
    p->n_sent++;
}

/* Takes note of what was said, after it was. */
static void
after_message(struct player *p, const struct message *m)
{
    struct fe_vring_state state = message_state(m);
    struct ring *r = &p->rings[state.index & 0xff];

    switch (m->request) {
    case FE_SET_VRING_KICK:
        r->started = true;
        if (!(p->features & FE_F_PROTOCOL)) {
            r->enabled = true;
        }
        ring_kick(r);
        break;
    case FE_SET_VRING_ENABLE:
        r->enabled = state.num;
        break;
    case FE_RESET_OWNER:
    case REQ_RESET_DEVICE:
        for (unsigned int i = 0; i < MAX_RINGS; i++) {
            p->rings[i].started = false;
        }
        break;
    default:
        break;
    }
}

void
dialogue_send(struct player *p, const struct message *m)
{
    uint8_t payload[MAX_PAYLOAD];
    uint32_t flags = m->flags;

    if (is_pointless(p, m)) {
        p->n_skipped++;
        expect_nothing(p, m);
        return;
    }
    if (flags & FE_NEED_REPLY && !(p->protocol & FE_P_REPLY_ACK)) {
        flags &= ~FE_NEED_REPLY;
        if (!request_asks(m->request)) {
            expect_nothing(p, m);
        }
    }
    if (m->size) {
        memcpy(payload, m->payload, m->size);
    }
    prepare_message(p, m, payload);
    if (p->over) {
        return;
    }
    send_message(p, m, payload, flags);
    set_memory(p, m);
    after_message(p, m);
}

/* Answers. */

/* Waits for a message; returns false if there is none. */
static bool
await(struct player *p, const struct message *then)
{
    const char *name = request_name(CHANNEL_MAIN, then->request);
    long long int end = play_deadline(p);

    for (;;) {
        switch (lane_receive(&p->in)) {
        case LANE_MESSAGE:
            return true;
        case LANE_END:
            play_fail_for_good(p, "the back end has closed the connection in "
                               "place of an answer to %s", name);
            return false;
        case LANE_GARBAGE:
            play_fail_for_good(p, "the back end's answer to %s is no "
                               "vhost-user message", name);
            return false;
        case LANE_NOTHING:
            break;
        }
        if (fe_now_us() >= end) {
            play_fail_for_good(p, "no answer to %s within %g s", name,
                               p->o->timeout);
            return false;
        }
        play_serve(p, 50);
    }
}

/* The answer to GET_VRING_BASE: the back end goes on behind what it has used,
 * wherever the recorded one was. */
static void
compare_base(struct player *p, const struct message *then,
             const struct message *now)
{
    struct fe_vring_state was = message_state(then), is = message_state(now);
    struct ring *r = &p->rings[was.index % MAX_RINGS];

    if (is.index != was.index) {
        play_fail(p, "GET_VRING_BASE of ring %u was answered for ring %u",
                  was.index, is.index);
    }
    ring_poll(r);
    if (r->desc && !r->packed && !r->broken && is.num != r->used_idx) {
        play_fail(p, "GET_VRING_BASE of ring %u was answered with %u, but "
                  "the back end has used the chains up to %u", was.index,
                  is.num, r->used_idx);
    }
    p->bases[was.index % MAX_RINGS] = (struct base) { true, was.num, is.num };
    r->started = false;
    r->has_base = false;
}

static void
compare_offer(struct player *p, const struct message *then,
              const struct message *now, uint64_t *offered_then,
              uint64_t *offered)
{
    uint64_t was = message_u64(then), is = message_u64(now);

    *offered_then = was;
    *offered = is;
    if (was != is) {
        play_differs(p, "%s: 0x%"PRIx64" then, 0x%"PRIx64" now (missing "
                     "0x%"PRIx64", more 0x%"PRIx64")",
                     request_name(CHANNEL_MAIN, then->request), was, is,
                     was & ~is, is & ~was);
    }
}

/* Answers that say what a back end is like, and those that must be equal. */
static void
compare_payload(struct player *p, const struct message *then,
                const struct message *now)
{
    const char *name = request_name(CHANNEL_MAIN, then->request);
    bool equal = then->size == now->size
                 && (!then->size
                     || !memcmp(then->payload, now->payload, then->size));

    if (equal) {
        return;
    }
    switch (then->request) {
    case FE_GET_QUEUE_NUM:
    case REQ_GET_MAX_MEM_SLOTS:
    case REQ_GET_INFLIGHT_FD:
    case REQ_GET_CONFIG:
    case FE_SET_LOG_BASE:
        play_differs(p, "%s: the answer was 0x%"PRIx64" (%u bytes) then, "
                     "0x%"PRIx64" (%u bytes) now", name, message_u64(then),
                     then->size, message_u64(now), now->size);
        break;
    default:
        play_fail(p, "%s: the answer is 0x%"PRIx64" (%u bytes), not "
                  "0x%"PRIx64" (%u bytes)", name, message_u64(now), now->size,
                  message_u64(then), then->size);
        break;
    }
}

static void
compare(struct player *p, const struct message *then,
        const struct message *now)
{
    if (now->flags != then->flags) {
        play_fail(p, "%s: the answer has flags 0x%x, not 0x%x",
                  request_name(CHANNEL_MAIN, then->request), now->flags,
                  then->flags);
    }
    switch (then->request) {
    case FE_GET_FEATURES:
        compare_offer(p, then, now, &p->offered_then, &p->offered);
        break;
    case FE_GET_PROTOCOL_FEATURES:
        compare_offer(p, then, now, &p->protocol_offered_then,
                      &p->protocol_offered);
        break;
    case FE_GET_VRING_BASE:
        compare_base(p, then, now);
        break;
    default:
        compare_payload(p, then, now);
        break;
    }
}

void
dialogue_expect(struct player *p, const struct message *then)
{
    struct fd_info fds[MAX_FDS];
    struct message now;

    if (then->request < sizeof p->unasked / sizeof *p->unasked
        && p->unasked[then->request]) {
        p->unasked[then->request]--;
        return;
    }
    if (!await(p, then)) {
        return;
    }
    now = lane_message(&p->in, fds);
    if (now.request != then->request) {
        /* Two names at a time: one of them may be a number. */
        char name[40];

        snprintf(name, sizeof name, "%s",
                 request_name(CHANNEL_MAIN, now.request));
        play_fail_for_good(p, "an answer to %s in place of one to %s", name,
                           request_name(CHANNEL_MAIN, then->request));
        return;
    }
    p->n_answers++;
    compare(p, then, &now);
    lane_next(&p->in);
}

/* The back end's channel. */

void
dialogue_channel(struct player *p)
{
    while (p->channel.sock >= 0) {
        enum lane_got got = lane_receive(&p->channel_in);
        struct fd_info fds[MAX_FDS];
        uint64_t done = 0;
        struct message m;

        if (got == LANE_NOTHING) {
            return;
        }
        if (got != LANE_MESSAGE) {
            fe_hang_up(&p->channel);
            return;
        }
        m = lane_message(&p->channel_in, fds);
        if (m.flags & FE_NEED_REPLY) {
            fe_send(&p->channel, m.request, FE_REPLY, &done, sizeof done);
        }
        p->n_channel++;
        lane_next(&p->channel_in);
    }
}
