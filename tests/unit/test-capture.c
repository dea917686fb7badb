/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of the parts of captures that need no switch: the ring between
 * polling threads and the writer, and the blocks of a pcapng file. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "netdev/capture-ring.h"
#include "netdev/pcapng.h"

/* The ring. */

#define RING_SIZE (256u << 10)

static void
test_ring(void)
{
    static uint8_t frame[65535];
    const struct capture_record *got;
    struct capture_record *rec;
    struct capture_ring ring;
    unsigned int n = 0;

    CHECK(capture_ring_init(&ring, RING_SIZE));
    CHECK(!capture_ring_peek(&ring));

    test_part("one after the other, of all lengths");
    for (uint32_t len = 0; len <= sizeof frame; len += 1 + len / 7) {
        rec = capture_ring_reserve(&ring, len);
        CHECK(rec);
        CHECK_EQ(rec->verdict, 0);
        CHECK_EQ(rec->flags, 0);
        pattern_fill(rec->data, len, len);
        rec->len = len;
        rec->verdict = 1;
        rec->flags = 1;
        CHECK(!capture_ring_peek(&ring));
        capture_ring_publish(rec);
        got = capture_ring_peek(&ring);
        CHECK(got);
        CHECK_EQ(got->len, len);
        CHECK_EQ(got->data_len, len);
        CHECK_EQ(got->n_lost, 0);
        CHECK_PATTERN(got->data, len, len);
        capture_ring_drop(&ring);
        CHECK(!capture_ring_peek(&ring));
    }

    test_part("full");
    while ((rec = capture_ring_reserve(&ring, 1500)) != NULL) {
        rec->len = n++;
        capture_ring_publish(rec);
    }
    CHECK_GT(n, RING_SIZE / 1600 - 2);
    CHECK_EQ(capture_ring_lost(&ring), 1);
    CHECK(!capture_ring_reserve(&ring, 1500));
    CHECK_EQ(capture_ring_lost(&ring), 2);
    for (unsigned int i = 0; i < n; i++) {
        got = capture_ring_peek(&ring);
        CHECK(got);
        CHECK_EQ(got->len, i);
        capture_ring_drop(&ring);
    }
    CHECK(!capture_ring_peek(&ring));
    rec = capture_ring_reserve(&ring, 1500);
    CHECK(rec);
    CHECK_EQ(rec->n_lost, 2);
    capture_ring_publish(rec);
    capture_ring_drop(&ring);

    test_part("no room once the ring's end is left out");
    while (ring.head % RING_SIZE != 96u << 10) {
        capture_ring_publish(capture_ring_reserve(&ring, 0));
        CHECK(capture_ring_peek(&ring));
        capture_ring_drop(&ring);
    }
    capture_ring_publish(capture_ring_reserve(&ring, 60000));
    CHECK(!capture_ring_reserve(&ring, 120000));
    CHECK(capture_ring_peek(&ring));
    capture_ring_drop(&ring);
    rec = capture_ring_reserve(&ring, 120000);
    CHECK(rec);
    capture_ring_publish(rec);
    got = capture_ring_peek(&ring);
    CHECK(got);
    CHECK_EQ(got->data_len, 120000);
    capture_ring_drop(&ring);

    test_part("in order, and canceled");
    rec = capture_ring_reserve(&ring, 10);
    capture_ring_publish(capture_ring_reserve(&ring, 20));
    CHECK(!capture_ring_peek(&ring));
    capture_ring_cancel(rec);
    got = capture_ring_peek(&ring);
    CHECK(got);
    CHECK_EQ(got->data_len, 20);
    capture_ring_drop(&ring);
    CHECK(!capture_ring_peek(&ring));
    capture_ring_destroy(&ring);
}

/* Several threads, of which each has records of its own lengths and
 * contents. */
#define N_WRITERS 4
#define N_RECORDS 20000

struct writer {
    struct capture_ring *ring;
    unsigned int id;
    uint64_t n_lost;
    pthread_t thread;
};
static atomic_uint n_writers;

static void *
writer_main(void *w_)
{
    struct writer *w = w_;
    uint64_t rnd = w->id + 1;

    for (uint32_t i = 0; i < N_RECORDS; i++) {
        uint32_t len = test_random(&rnd) % (i % 64 ? 300 : 9000);
        struct capture_record *rec = capture_ring_reserve(w->ring, len);

        if (!rec) {
            w->n_lost++;
            continue;
        }
        CHECK_EQ(rec->verdict, 0);
        CHECK_EQ(rec->gso_size, 0);
        rec->queue = w->id;
        rec->ns = i;
        rec->len = len;
        rec->verdict = 7;
        rec->gso_size = 77;
        pattern_fill(rec->data, len, w->id * N_RECORDS + i);
        if (i % 16 == 15) {
            capture_ring_cancel(rec);
        } else {
            capture_ring_publish(rec);
        }
    }
    atomic_fetch_sub(&n_writers, 1);
    return NULL;
}

static void
test_threads(void)
{
    uint64_t next[N_WRITERS] = { 0 };
    struct writer writers[N_WRITERS];
    const struct capture_record *rec;
    struct capture_ring ring;
    uint64_t n_lost = 0;
    uint64_t n = 0;
    bool last;

    CHECK(capture_ring_init(&ring, RING_SIZE));
    atomic_store(&n_writers, N_WRITERS);
    for (unsigned int i = 0; i < N_WRITERS; i++) {
        writers[i] = (struct writer) { .ring = &ring, .id = i };
        CHECK(!pthread_create(&writers[i].thread, NULL, writer_main,
                              &writers[i]));
    }
    do {
        last = !atomic_load(&n_writers);
        while ((rec = capture_ring_peek(&ring)) != NULL) {
            CHECK_LT(rec->queue, N_WRITERS);
            CHECK_GE(rec->ns, next[rec->queue]);
            next[rec->queue] = rec->ns + 1;
            CHECK_EQ(rec->len, rec->data_len);
            CHECK_EQ(rec->verdict, 7);
            CHECK_PATTERN(rec->data, rec->len,
                          rec->queue * N_RECORDS + rec->ns);
            capture_ring_drop(&ring);
            n++;
        }
    } while (!last);
    for (unsigned int i = 0; i < N_WRITERS; i++) {
        CHECK(!pthread_join(writers[i].thread, NULL));
        n_lost += writers[i].n_lost;
    }
    CHECK_EQ(capture_ring_lost(&ring), n_lost);
    CHECK_GT(n, 100);
    CHECK_LE(n, N_WRITERS * N_RECORDS * 15 / 16);
    CHECK_GE(n + n_lost, N_WRITERS * N_RECORDS * 15 / 16);
    capture_ring_destroy(&ring);
}

/* Blocks, taken apart by a reader of this file's own. */

struct option {
    uint16_t type;
    uint16_t len;
    const uint8_t *data;
};

static uint32_t
u32_at(const uint8_t *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

static uint64_t
u64_at(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

/* Checks the outside of the block at 'p' and returns its length. */
static uint32_t
check_block(const uint8_t *p, size_t max, uint32_t type)
{
    uint32_t len = u32_at(p + 4);

    CHECK_EQ(u32_at(p), type);
    CHECK_GE(len, 12);
    CHECK_EQ(len % 4, 0);
    CHECK_LE(len, max);
    CHECK_EQ(u32_at(p + len - 4), len);
    return len;
}

/* Finds option 'type' in a block of 'len' bytes whose options begin at
 * 'start'. */
static struct option
find_option(const uint8_t *p, uint32_t len, uint32_t start, uint16_t type)
{
    struct option found = { .data = NULL };
    uint32_t at = start;

    for (;;) {
        struct option o;

        CHECK_LE(at + 8, len);
        memcpy(&o.type, p + at, 2);
        memcpy(&o.len, p + at + 2, 2);
        o.data = p + at + 4;
        at += 4 + (o.len + 3) / 4 * 4;
        if (!o.type) {
            CHECK_EQ(o.len, 0);
            CHECK_EQ(at + 4, len);
            return found;
        }
        CHECK_LE(at + 8, len);
        if (o.type == type) {
            CHECK(!found.data);
            found = o;
        }
    }
}

static void
check_text(struct option o, const char *s)
{
    CHECK(o.data);
    CHECK_EQ(o.len, strlen(s));
    CHECK_EQ(memcmp(o.data, s, o.len), 0);
}

static void
test_header(void)
{
    uint8_t buf[PCAPNG_BLOCK_ROOM];
    struct option o;
    uint32_t len;
    size_t n;

    n = pcapng_put_header(buf, sizeof buf, "test", "p1", "a port", 1234);
    CHECK_GT(n, 0);
    len = check_block(buf, n, 0x0a0d0d0a);
    CHECK_EQ(u32_at(buf + 8), 0x1a2b3c4d);
    CHECK_EQ(u32_at(buf + 12), 1);
    CHECK_EQ(u64_at(buf + 16), UINT64_MAX);
    check_text(find_option(buf, len, 24, 4), "test");
    CHECK_EQ(check_block(buf + len, n - len, 1), n - len);
    CHECK_EQ(u32_at(buf + len + 8), 1);
    CHECK_EQ(u32_at(buf + len + 12), 1234);
    check_text(find_option(buf + len, n - len, 16, 2), "p1");
    check_text(find_option(buf + len, n - len, 16, 3), "a port");
    o = find_option(buf + len, n - len, 16, 9);
    CHECK(o.data);
    CHECK_EQ(o.len, 1);
    CHECK_EQ(o.data[0], 9);
    for (size_t max = 0; max < n; max++) {
        CHECK_EQ(pcapng_put_header(buf, max, "test", "p1", "a port", 1234),
                 0);
    }
}

static void
test_packet(void)
{
    static uint8_t buf[70000];
    static uint8_t frame[65535];
    char comment[PCAPNG_MAX_COMMENT + 100];
    struct pcapng_packet p = {
        .ns = 0x123456789abcdef0,
        .data = frame,
        .len = 70000,
        .flags = PCAPNG_OUTBOUND | PCAPNG_TSO,
        .queue = 3,
        .n_lost = 5,
        .comment = "c",
    };
    uint32_t len;
    size_t n;

    pattern_fill(frame, sizeof frame, 1);
    for (p.data_len = 0; p.data_len <= sizeof frame;
         p.data_len += 1 + p.data_len / 5) {
        uint32_t options = 28 + (p.data_len + 3) / 4 * 4;

        n = pcapng_put_packet(buf, p.data_len + PCAPNG_PACKET_ROOM, &p);
        CHECK_GT(n, 0);
        len = check_block(buf, n, 6);
        CHECK_EQ(len, n);
        CHECK_EQ(u32_at(buf + 8), 0);
        CHECK_EQ(u32_at(buf + 12), 0x12345678);
        CHECK_EQ(u32_at(buf + 16), 0x9abcdef0);
        CHECK_EQ(u32_at(buf + 20), p.data_len);
        CHECK_EQ(u32_at(buf + 24), 70000);
        CHECK_EQ(memcmp(buf + 28, frame, p.data_len), 0);
        check_text(find_option(buf, len, options, 1), "c");
        CHECK_EQ(u32_at(find_option(buf, len, options, 2).data),
                 2 | 1u << 11);
        CHECK_EQ(u64_at(find_option(buf, len, options, 4).data), 5);
        CHECK_EQ(u32_at(find_option(buf, len, options, 6).data), 3);
        CHECK_EQ(pcapng_put_packet(buf, n - 1, &p), 0);
    }

    test_part("as little as possible");
    p = (struct pcapng_packet) { .data = frame, .data_len = 60, .len = 60,
                                 .queue = -1 };
    n = pcapng_put_packet(buf, sizeof buf, &p);
    len = check_block(buf, n, 6);
    CHECK(!find_option(buf, len, 88, 1).data);
    CHECK(find_option(buf, len, 88, 2).data);
    CHECK(!find_option(buf, len, 88, 4).data);
    CHECK(!find_option(buf, len, 88, 6).data);

    test_part("a comment that is too long");
    memset(comment, 'x', sizeof comment - 1);
    comment[sizeof comment - 1] = '\0';
    p.comment = comment;
    n = pcapng_put_packet(buf, 60 + PCAPNG_PACKET_ROOM, &p);
    CHECK_GT(n, 0);
    CHECK_EQ(find_option(buf, n, 88, 1).len, PCAPNG_MAX_COMMENT);
}

static void
test_statistics(void)
{
    uint8_t buf[PCAPNG_BLOCK_ROOM];
    struct pcapng_statistics s = {
        .start_ns = UINT64_C(0x100000002), .end_ns = UINT64_C(0x300000004),
        .n_packets = 1000, .n_lost = 10, .comment = "why",
    };
    uint32_t len;
    size_t n;

    n = pcapng_put_statistics(buf, sizeof buf, &s);
    CHECK_GT(n, 0);
    len = check_block(buf, n, 5);
    CHECK_EQ(u32_at(buf + 8), 0);
    CHECK_EQ(u32_at(buf + 12), 3);
    CHECK_EQ(u32_at(buf + 16), 4);
    check_text(find_option(buf, len, 20, 1), "why");
    CHECK_EQ(u32_at(find_option(buf, len, 20, 2).data), 1);
    CHECK_EQ(u32_at(find_option(buf, len, 20, 2).data + 4), 2);
    CHECK_EQ(u32_at(find_option(buf, len, 20, 3).data), 3);
    CHECK_EQ(u64_at(find_option(buf, len, 20, 4).data), 1000);
    CHECK_EQ(u64_at(find_option(buf, len, 20, 5).data), 10);
    CHECK_EQ(u64_at(find_option(buf, len, 20, 8).data), 990);
}

static const struct test_case cases[] = {
    { "ring", test_ring, 0 },
    { "ring-threads", test_threads, 60 },
    { "header", test_header, 0 },
    { "packet", test_packet, 0 },
    { "statistics", test_statistics, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
