/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The ring between polling threads and the writer: see capture-ring.h.
 *
 * 'head' and 'tail' count bytes since the beginning; what is between them is
 * reserved or published.  All memory outside is zero, so that a record begins
 * its life as not published: the reader leaves it so before it moves the tail,
 * and who reserves has seen the tail there.
 */

#include "capture-ring.h"

#include <stdlib.h>
#include <string.h>

enum {
    RECORD = 1,
    PADDING,                    /* Up to the ring's end; or canceled. */
};

#define ALIGN 8

bool
capture_ring_init(struct capture_ring *r, uint64_t size)
{
    memset(r, 0, sizeof *r);
    r->data = aligned_alloc(64, size);
    if (!r->data) {
        return false;
    }
    memset(r->data, 0, size);
    r->size = size;
    return true;
}

void
capture_ring_destroy(struct capture_ring *r)
{
    free(r->data);
    r->data = NULL;
}

static struct capture_record *
record_at(const struct capture_ring *r, uint64_t offset)
{
    return (struct capture_record *) (void *) (r->data
                                               + (offset & (r->size - 1)));
}

static void
publish(struct capture_record *rec, uint32_t state)
{
    __atomic_store_n(&rec->state, state, __ATOMIC_RELEASE);
}

struct capture_record *
capture_ring_reserve(struct capture_ring *r, uint32_t data_len)
{
    uint64_t need = (sizeof(struct capture_record) + data_len + ALIGN - 1)
                    / ALIGN * ALIGN;
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);
    struct capture_record *rec;
    uint64_t pad, tail;

    do {
        uint64_t left = r->size - (head & (r->size - 1));

        pad = left < need ? left : 0;
        tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
        if ((int64_t) (head + pad + need - tail) > (int64_t) r->size) {
            __atomic_fetch_add(&r->n_lost, 1, __ATOMIC_RELAXED);
            return NULL;
        }
    } while (!__atomic_compare_exchange_n(&r->head, &head, head + pad + need,
                                          true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    if (pad) {
        rec = record_at(r, head);
        rec->size = pad;
        publish(rec, PADDING);
    }
    rec = record_at(r, head + pad);
    rec->size = need;
    rec->data_len = data_len;
    rec->n_lost = capture_ring_lost(r);
    return rec;
}

void
capture_ring_publish(struct capture_record *rec)
{
    publish(rec, RECORD);
}

void
capture_ring_cancel(struct capture_record *rec)
{
    publish(rec, PADDING);
}

const struct capture_record *
capture_ring_peek(struct capture_ring *r)
{
    for (;;) {
        const struct capture_record *rec = record_at(r, r->tail);

        switch (__atomic_load_n(&rec->state, __ATOMIC_ACQUIRE)) {
        case RECORD:
            return rec;
        case PADDING:
            capture_ring_drop(r);
            break;
        default:
            return NULL;
        }
    }
}

void
capture_ring_drop(struct capture_ring *r)
{
    struct capture_record *rec = record_at(r, r->tail);
    uint32_t size = rec->size;

    memset(rec, 0, size);
    __atomic_store_n(&r->tail, r->tail + size, __ATOMIC_RELEASE);
}

uint64_t
capture_ring_lost(const struct capture_ring *r)
{
    return __atomic_load_n(&r->n_lost, __ATOMIC_RELAXED);
}
