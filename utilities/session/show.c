/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See show.h. */

#include "session/show.h"

#include <inttypes.h>
#include <stdio.h>

#include "session/recording.h"
#include "session/base.h"

static void
show_desc(const struct chain_desc *d)
{
    printf(" %"PRIu32":0x%"PRIx64"+%"PRIu32"/%x", d->id, d->addr, d->len,
           d->flags);
}

static void
show_chain(const struct chain *c)
{
    printf("\n%14s%"PRIu32"%s:", "chain ", c->id, c->late ? " (late)" : "");
    if (c->indirect) {
        show_desc(&c->table);
        printf(" ->");
    }
    for (unsigned int i = 0; i < c->n; i++) {
        show_desc(&c->descs[i]);
    }
    if (c->header_len) {
        printf(" header ");
        for (unsigned int i = 0; i < c->header_len; i++) {
            printf("%02x", c->header[i]);
        }
    }
}

/* Bytes of a chain's buffers. */
static uint64_t
chain_len(const struct chain *c)
{
    uint64_t len = 0;

    for (unsigned int i = 0; i < c->n; i++) {
        len += c->descs[i].len;
    }
    return len;
}

static void
show_offer(const struct event *e, bool verbose)
{
    uint64_t len = 0;

    for (unsigned int i = 0; i < e->n; i++) {
        len += chain_len(&e->chains[i]);
    }
    printf("ring %u: %u chains offered from %u on, %"PRIu64" bytes", e->ring,
           e->n, e->at, len);
    for (unsigned int i = 0; verbose && i < e->n; i++) {
        show_chain(&e->chains[i]);
    }
}

static void
show_used(const struct event *e, bool verbose)
{
    printf("ring %u: %u chains used from %u on", e->ring, e->n, e->at);
    for (unsigned int i = 0; verbose && i < e->n; i++) {
        printf("%s%"PRIu32"(%"PRIu32")", i ? " " : ": ", e->used[i].id,
               e->used[i].len);
    }
}

static void
show_event(const struct event *e, bool verbose)
{
    printf("%11.6f ", e->t / 1e6);
    switch (e->kind) {
    case EVENT_CONNECT:
        printf("connected");
        break;
    case EVENT_CLOSE:
        printf("closed by the %s end", e->front ? "front" : "back");
        break;
    case EVENT_MESSAGE:
        printf("%s ", e->front ? "->" : "<-");
        message_print(CHANNEL_MAIN, &e->msg);
        break;
    case EVENT_CHANNEL:
        printf("channel %s ", e->front ? "->" : "<-");
        message_print(CHANNEL_BACK, &e->msg);
        break;
    case EVENT_START:
        printf("ring %u: starts, %s, %u entries, avail %u, used %u", e->ring,
               e->packed ? "packed" : "split", e->size, e->avail,
               e->used_idx);
        break;
    case EVENT_OFFER:
        show_offer(e, verbose);
        break;
    case EVENT_USED:
        show_used(e, verbose);
        break;
    case EVENT_END:
    case N_EVENTS:
        printf("end");
        break;
    }
    putchar('\n');
}

int
show(const char *path, bool verbose)
{
    struct recording r;

    recording_read(&r, path);
    printf("front end: %s\nback end: %s\n", r.front_end, r.back_end);
    if (*r.note) {
        printf("%s\n", r.note);
    }
    for (unsigned int i = 0; i < r.n; i++) {
        show_event(&r.events[i], verbose);
    }
    recording_free(&r);
    return EXIT_OK;
}
