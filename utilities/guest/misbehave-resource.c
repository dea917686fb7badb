/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Misbehaviours with what both sides share, files and eventfds, and storms of
 * what is harmless once. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "guest/fail.h"
#include "guest/misbehave.h"
#include "guest/port.h"
#include "guest/session.h"

#define UNUSED __attribute__((unused))
#define STORM_NS UINT64_C(1000000000)

/* Offers receive buffers and frames, so that the switch has work. */
static void
give_work(struct port *p)
{
    for (unsigned int i = 0; i < p->o->ring_size; i++) {
        struct fe_buf in = { p->queues[0].rx_addr, p->rx_len, true };
        struct fe_buf out = { misbehave_scratch(p), 100, false };

        fe_vq_add(p->queues[0].rx, &in, 1, 0, 0);
        fe_vq_add(p->queues[0].tx, &out, 1, 0, 0);
    }
    fe_vq_publish(p->queues[0].rx);
    fe_vq_publish(p->queues[0].tx);
    fe_event_signal(p->queues[0].tx->kick_fd);
}

/* Cuts all memory files off.  Nothing of them may be touched any more. */
static void
truncate_memory(struct port *p, struct fe_vq *vq UNUSED)
{
    give_work(p);
    for (unsigned int i = 0; i < p->fe.n_regions; i++) {
        if (ftruncate(p->fe.regions[i].fd, 0)) {
            fe_failed(__FILE__, __LINE__, "the memory file cannot be "
                      "truncated: %s", strerror(errno));
        }
    }
    fe_sleep_us(300000);
}

/* Makes 'fd' one whose next write blocks. */
static void
fill_eventfd(int fd)
{
    uint64_t full = UINT64_MAX - 1;

    fe_event_take(fd);
    FE_CHECK(!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK));
    FE_CHECK_EQ(write(fd, &full, sizeof full), sizeof full);
}

static void
call_blocks(struct port *p, struct fe_vq *vq UNUSED)
{
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fe_vq_want_calls(&p->vqs[i], true);
        fill_eventfd(p->vqs[i].call_fd);
    }
    give_work(p);
    fe_sleep_us(300000);
}

static void
err_blocks(struct port *p, struct fe_vq *vq UNUSED)
{
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fill_eventfd(p->vqs[i].err_fd);
        misbehave_break_ring(&p->vqs[i]);
    }
    fe_sleep_us(300000);
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fe_event_take(p->vqs[i].err_fd);
    }
}

static bool
storming(uint64_t *until)
{
    if (!*until) {
        *until = fe_now_ns() + STORM_NS;
    }
    return !run_stop && fe_now_ns() < *until;
}

static void
kick_storm(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t until = 0;

    while (storming(&until)) {
        for (unsigned int i = 0; i < 100; i++) {
            fe_event_signal(p->vqs[i % 2].kick_fd);
        }
    }
}

static void
enable_storm(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t until = 0;

    give_work(p);
    for (unsigned int i = 0; storming(&until); i++) {
        fe_vq_enable(&p->vqs[i % 2], i / 2 % 2);
    }
}

static void
restart_storm(struct port *p UNUSED, struct fe_vq *vq)
{
    uint64_t until = 0;

    while (storming(&until)) {
        fe_vq_start(vq, fe_vq_stop(vq), true);
    }
}

static void
memory_storm(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t until = 0;

    while (storming(&until)) {
        FE_CHECK_EQ(fe_send_mem_table(&p->fe), 0);
    }
}

static void
eventfd_storm(struct port *p, struct fe_vq *vq)
{
    uint64_t until = 0;

    while (storming(&until)) {
        fe_ask_vring_fd(&p->fe, FE_SET_VRING_CALL, vq->index, vq->call_fd);
        fe_ask_vring_fd(&p->fe, FE_SET_VRING_KICK, vq->index, vq->kick_fd);
    }
}

static void
features_storm(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t until = 0;

    while (storming(&until)) {
        fe_ask_u64(&p->fe, FE_SET_FEATURES, p->fe.features);
    }
}

/* Comes, says something or nothing, goes. */
static void
reconnect_storm(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t until = 0;

    for (unsigned int i = 0; storming(&until); i++) {
        fe_hang_up(&p->fe);
        if (session_connect(p, 100) && i % 3 == 0) {
            fe_send(&p->fe, FE_GET_FEATURES, 0, NULL, 0);
        }
    }
}

/* Goes while it is coming up, and while the switch works on its rings. */
static void
vanish(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t until = 0;

    while (storming(&until)) {
        give_work(p);
        fe_hang_up(&p->fe);
        if (session_connect(p, 1000)) {
            session_bring_up(p);
        }
    }
}

/* Stops in the middle of everything and sends nothing more. */
static void
no_owner(struct port *p, struct fe_vq *vq UNUSED)
{
    fe_send(&p->fe, FE_RESET_OWNER, 0, NULL, 0);
    give_work(p);
    fe_sleep_us(200000);
}

const struct misbehaviour misbehave_resources[] = {
    { "truncate", "memory file cut off under traffic", truncate_memory },
    { "call-blocks", "call eventfds that are full and block", call_blocks },
    { "err-blocks", "error eventfds that are full and block", err_blocks },
    { "kick-storm", "kicks as fast as can be for a second", kick_storm },
    { "enable-storm", "rings enabled and disabled for a second",
      enable_storm },
    { "restart-storm", "a ring stopped and started for a second",
      restart_storm },
    { "memory-storm", "the memory table again and again for a second",
      memory_storm },
    { "eventfd-storm", "new eventfds again and again for a second",
      eventfd_storm },
    { "features-storm", "SET_FEATURES again and again for a second",
      features_storm },
    { "reconnect-storm", "connections that end at once, for a second",
      reconnect_storm },
    { "vanish", "a guest that goes without a word, again and again, for a "
      "second", vanish },
    { "reset-owner", "RESET_OWNER under traffic", no_owner },
    { NULL, NULL, NULL },
};
