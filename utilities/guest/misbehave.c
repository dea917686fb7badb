/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Goes through a list of misbehaviours: see misbehave.h. */

#include "guest/misbehave.h"

#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "guest/catch.h"
#include "guest/fail.h"
#include "guest/port.h"
#include "guest/session.h"

#define CONNECT_MS 5000
#define OUTCOME_MS 400          /* For the switch to notice. */
#define USABLE_MS 5000
#define N_FRAMES 4

enum group {
    TX_RING, RX_RING, PACKED_TX_RING, PACKED_RX_RING, MESSAGES, RESOURCES,
    N_GROUPS
};

static const struct {
    const char *name;           /* For all of it. */
    const char *prefix;
    const struct misbehaviour *table;
    bool packed, split;         /* Needs rings of this format. */
} groups[N_GROUPS] = {
    [TX_RING] = { "rings", "tx-", misbehave_rings, false, true },
    [RX_RING] = { "rings", "rx-", misbehave_rings, false, true },
    [PACKED_TX_RING] = { "packed", "packed-tx-", misbehave_packed, true,
                         false },
    [PACKED_RX_RING] = { "packed", "packed-rx-", misbehave_packed, true,
                         false },
    [MESSAGES] = { "messages", "", misbehave_messages, false, false },
    [RESOURCES] = { "resources", "", misbehave_resources, false, false },
};

static void
full_name(enum group g, const struct misbehaviour *m, char *name, size_t size)
{
    snprintf(name, size, "%s%s", groups[g].prefix, m->name);
}

void
misbehave_list(void)
{
    for (enum group g = 0; g < N_GROUPS; g++) {
        for (const struct misbehaviour *m = groups[g].table; m->name; m++) {
            char name[48];

            full_name(g, m, name, sizeof name);
            printf("%-27s %s\n", name, m->help);
        }
    }
}

/* Whether the word 'word' selects the case. */
static bool
selects(const char *word, enum group g, const struct misbehaviour *m)
{
    char name[48];

    full_name(g, m, name, sizeof name);
    return !strcmp(word, "all") || !strcmp(word, groups[g].name)
           || !strcmp(word, name);
}

static bool
selects_any(const char *word)
{
    for (enum group g = 0; g < N_GROUPS; g++) {
        for (const struct misbehaviour *m = groups[g].table; m->name; m++) {
            if (selects(word, g, m)) {
                return true;
            }
        }
    }
    return false;
}

bool
misbehave_check(const char *names, char *wrong, int size)
{
    char *copy = strdup(names), *save;
    bool ok = true;

    for (char *w = strtok_r(copy, ",+", &save); w && ok;
         w = strtok_r(NULL, ",+", &save)) {
        ok = selects_any(w);
        snprintf(wrong, size, "%s", w);
    }
    free(copy);
    return ok;
}

/* The guest. */

/* Ends this guest, memory and all. */
static void
discard_guest(struct port *p)
{
    for (unsigned int i = 0; i < p->o->pairs; i++) {
        fe_vq_destroy(&p->vqs[2 * i]);
        fe_vq_destroy(&p->vqs[2 * i + 1]);
        free(p->queues[i].tx_slots);
    }
    memset(p->vqs, 0, 2 * p->o->pairs * sizeof *p->vqs);
    memset(p->queues, 0, p->o->pairs * sizeof *p->queues);
    fe_destroy(&p->fe);
}

static void
bring_up(void *p_)
{
    struct port *p = p_;

    if (!session_connect(p, CONNECT_MS)) {
        fe_failed(__FILE__, __LINE__, "no connection within %d ms",
                  CONNECT_MS);
    }
    session_bring_up(p);
    p->n_connects++;
    p->was_live = true;
}

uint64_t
misbehave_scratch(struct port *p)
{
    /* Transmit buffers are free: nothing else sends here. */
    return p->queues[0].tx_addr;
}

void
misbehave_break_ring(struct fe_vq *vq)
{
    if (vq->ops == &fe_vq_packed) {
        fe_vq_desc_raw(vq, 0, 2000, 0,
                       vq->index & 1 ? 0 : VRING_DESC_F_WRITE);
    } else {
        fe_vq_avail_raw(vq, 65535);
    }
    fe_vq_publish(vq);
    fe_event_signal(vq->kick_fd);
}

/* Sends some frames of an experimental type to itself, which the switch has to
 * take. */
static void
prove_usable(void *p_)
{
    struct port *p = p_;
    struct queue *q = &p->queues[0];
    uint64_t until = fe_now_ns() + USABLE_MS * UINT64_C(1000000);
    uint16_t head;
    uint32_t len;

    bring_up(p);
    for (unsigned int i = 0; i < N_FRAMES; i++) {
        uint8_t *frame = port_tx_room(q, 60, NULL);

        FE_CHECK(frame != NULL);
        memset(frame, 0, 60);
        memcpy(frame, p->o->mac, 6);
        memcpy(frame + 6, p->o->mac, 6);
        frame[12] = 0x88;
        frame[13] = 0xb5;
        port_tx_commit(q, 60);
    }
    port_tx_flush(q);
    for (unsigned int n = 0; n < N_FRAMES;) {
        if (fe_vq_used(q->tx, &head, &len)) {
            n++;
        } else if (fe_now_ns() > until) {
            fe_failed(__FILE__, __LINE__, "the port took %u of %u frames "
                      "within %d ms", n, N_FRAMES, USABLE_MS);
        } else {
            fe_sleep_us(500);
        }
    }
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fe_vq_stop(&p->vqs[i]);
    }
}

/* One case. */

struct run {
    struct port *p;
    const struct misbehaviour *m;
    enum group group;
};

static void
do_it(void *run_)
{
    struct run *run = run_;
    bool tx = run->group == TX_RING || run->group == PACKED_TX_RING;

    run->m->run(run->p, &run->p->vqs[tx]);
}

/* Watches the socket and the error eventfds. */
static void
observe(struct port *p, char *outcome, size_t size)
{
    long long int start = fe_now_us();
    long long int end = start + OUTCOME_MS * 1000LL;

    snprintf(outcome, size, "the connection is up");
    while (fe_now_us() < end) {
        double ms = (fe_now_us() - start) / 1e3;

        if (p->fe.sock < 0 || fe_closed(&p->fe, 1)) {
            snprintf(outcome, size, "connection closed after %.0f ms", ms);
            return;
        }
        for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
            if (fe_event_wait(p->vqs[i].err_fd, 0)) {
                snprintf(outcome, size, "error signalled for ring %u after "
                         "%.0f ms", i, ms);
                return;
            }
        }
    }
}

static void
run_case(struct run *run, struct misbehave_result *r)
{
    struct port *p = run->p;
    const char *error;

    full_name(run->group, run->m, r->name, sizeof r->name);
    p->with = groups[run->group].packed ? FE_F_PACKED : 0;
    p->without = groups[run->group].split ? FE_F_PACKED : 0;
    discard_guest(p);
    error = attempt(bring_up, p);
    if (error) {
        snprintf(r->outcome, sizeof r->outcome, "not begun: %s", error);
        fe_hang_up(&p->fe);
        return;
    }
    error = attempt(do_it, run);
    if (error) {
        /* That is, the switch did not play along to the end. */
        snprintf(r->outcome, sizeof r->outcome, "%s", error);
    } else {
        observe(p, r->outcome, sizeof r->outcome);
    }
    discard_guest(p);
    error = attempt(prove_usable, p);
    r->usable = !error;
    if (error) {
        size_t used = strlen(r->outcome);

        snprintf(r->outcome + used, sizeof r->outcome - used,
                 "; afterwards: %s", error);
    }
    fe_hang_up(&p->fe);
}

static void
say_result(const struct port *p, const struct misbehave_result *r)
{
    if (!p->all->quiet && !p->all->json) {
        printf("%-27s %s: %s\n", r->name, r->usable ? "ok" : "UNUSABLE",
               r->outcome);
        fflush(stdout);
    }
}

static void
run_word(struct port *p, const char *word)
{
    for (enum group g = 0; g < N_GROUPS; g++) {
        for (const struct misbehaviour *m = groups[g].table; m->name; m++) {
            struct run run = { p, m, g };
            struct misbehave_result *r;

            if (run_stop || !selects(word, g, m)
                || (groups[g].packed && !strcmp(word, "all")
                    && !(p->fe.offered & FE_F_PACKED))) {
                continue;
            }
            p->results = realloc(p->results,
                                 (p->n_results + 1) * sizeof *p->results);
            r = memset(&p->results[p->n_results], 0, sizeof *r);
            run_case(&run, r);
            say_result(p, r);
            p->n_results++;
        }
    }
}

static void *
misbehave_main(void *p_)
{
    struct port *p = p_;
    char *copy = strdup(p->o->misbehave), *save;

    p->was_live = !attempt(bring_up, p);
    while (!run_go && !run_stop) {
        fe_sleep_us(1000);
    }
    fe_hang_up(&p->fe);
    for (char *w = strtok_r(copy, ",+", &save); w;
         w = strtok_r(NULL, ",+", &save)) {
        run_word(p, w);
    }
    free(copy);
    p->gone = true;
    return NULL;
}

void
misbehave_start(struct port *p)
{
    if (pthread_create(&p->session, NULL, misbehave_main, p)) {
        errx(EXIT_CANNOT, "cannot start a thread");
    }
}

void
misbehave_join(struct port *p)
{
    pthread_join(p->session, NULL);
    session_stop_listening(p);
    fe_hang_up(&p->fe);
}
