/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See stream.h. */

#include "guest/stream.h"

#include <stdlib.h>
#include <string.h>

#include "guest/fail.h"

static unsigned int
slot_of(const struct streams *s, uint32_t id)
{
    unsigned int i = (id * 2654435761u) >> 8;

    while (s->table[i & (s->size - 1)].used
           && s->table[i & (s->size - 1)].id != id) {
        i++;
    }
    return i & (s->size - 1);
}

static void
grow(struct streams *s)
{
    struct stream *old = s->table;
    unsigned int old_size = s->size;

    s->size = old_size ? 2 * old_size : 16;
    s->table = calloc(s->size, sizeof *s->table);
    FE_CHECK(s->table != NULL);
    for (unsigned int i = 0; i < old_size; i++) {
        if (old[i].used) {
            s->table[slot_of(s, old[i].id)] = old[i];
        }
    }
    free(old);
}

struct stream *
streams_find(const struct streams *s, uint32_t id)
{
    struct stream *stream;

    if (!s->size) {
        return NULL;
    }
    stream = &s->table[slot_of(s, id)];
    return stream->used ? stream : NULL;
}

static struct stream *
add(struct streams *s, uint32_t id)
{
    struct stream *stream;

    if (2 * (s->n + 1) > s->size) {
        grow(s);
    }
    stream = &s->table[slot_of(s, id)];
    memset(stream, 0, sizeof *stream);
    stream->used = true;
    stream->id = id;
    stream->window = calloc(STREAM_WINDOW / 64, sizeof *stream->window);
    FE_CHECK(stream->window != NULL);
    s->n++;
    return stream;
}

static uint64_t *
word_of(const struct stream *s, uint64_t n)
{
    return &s->window[n % STREAM_WINDOW / 64];
}

/* Forgets what is as far behind as the window is wide: numbers from 'next' to
 * 'n' take its place. */
static void
advance(struct stream *s, uint64_t n)
{
    if (n - s->next >= STREAM_WINDOW) {
        memset(s->window, 0, STREAM_WINDOW / 8);
    } else {
        for (uint64_t i = s->next; i <= n; i++) {
            *word_of(s, i) &= ~(UINT64_C(1) << i % 64);
        }
    }
    s->next = n + 1;
}

struct stream *
streams_note(struct streams *streams, uint32_t id, uint32_t seq)
{
    struct stream *s = streams_find(streams, id);
    uint64_t bit, n;

    if (!s) {
        s = add(streams, id);
    }
    /* The number nearest to the next one that ends in 'seq'. */
    n = s->next + (int32_t) (seq - (uint32_t) s->next);
    bit = UINT64_C(1) << n % 64;
    if ((int64_t) (n - s->next) >= 0) {
        advance(s, n);
    } else if (s->next - n > STREAM_WINDOW || (int64_t) n < 0) {
        s->reordered++;         /* Too late to tell more. */
        return s;
    } else if (*word_of(s, n) & bit) {
        s->duplicates++;
        return s;
    } else {
        s->reordered++;
    }
    *word_of(s, n) |= bit;
    s->unique++;
    return s;
}

uint64_t
stream_gaps(const struct stream *s)
{
    return s->next - s->unique;
}

void
streams_destroy(struct streams *s)
{
    for (unsigned int i = 0; i < s->size; i++) {
        free(s->table[i].window);
    }
    free(s->table);
    memset(s, 0, sizeof *s);
}
