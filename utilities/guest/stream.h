/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Who receives numbered frames keeps books: what is lost, came twice, came
 * late.  A stream is what one queue of one generator sends, which a switch has
 * to keep in order. */

#ifndef GUEST_STREAM_H
#define GUEST_STREAM_H 1

#include <stdbool.h>
#include <stdint.h>

#define STREAM_WINDOW 65536     /* Frames that may be late. */

struct stream {
    uint32_t id;
    bool used;
    uint64_t next;              /* Highest number seen, plus 1. */
    uint64_t unique;            /* Different numbers seen. */
    uint64_t duplicates;
    uint64_t reordered;         /* Came after a higher number. */
    uint64_t *window;           /* Bits of numbers seen, modulo. */
    uint64_t last_ns;           /* When one came last; 0: never. */
};

struct streams {
    struct stream *table;       /* Open hash, a power of 2. */
    unsigned int n, size;
    uint64_t corrupt;           /* Contents wrong. */
};

/* Notes number 'seq' (modulo 2^32) of stream 'id'.  Returns the stream. */
struct stream *streams_note(struct streams *, uint32_t id, uint32_t seq);
struct stream *streams_find(const struct streams *, uint32_t id);
void streams_destroy(struct streams *);

/* Numbers below the highest one seen that never came. */
uint64_t stream_gaps(const struct stream *);

#endif /* guest/stream.h */
