/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of the loops that copy bursts (ring.h, struct vhost_copy), in
 * each variant that this CPU can run, against what memcmp() says: all short
 * lengths and those around the borders between the ways in which the loops
 * copy, at all alignments, with guard bytes around what is written and pages
 * without access right before and behind what is read and written.  The bursts
 * are made by hand, in memory that is nobody's. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"
#include "vring.h"

#define MAX_LEN 65535u
#define MAX_ALIGN 64u
#define GUARD 80u               /* Bytes of guard on each side. */
#define FILL 0xa5

/* Memory with nothing accessible before 'start' and from 'end' on. */
struct area {
    uint8_t *map, *start, *end;
    size_t map_len;
};

static struct area src_area, dst_area;
static struct vhost_vring vring;
static struct vhost_burst *burst;
static unsigned int hdr_len;

static void
area_init(struct area *a, size_t len)
{
    size_t page = sysconf(_SC_PAGESIZE);

    len = (len + page - 1) / page * page;
    a->map_len = len + 2 * page;
    a->map = mmap(NULL, a->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);
    CHECK(a->map != MAP_FAILED);
    a->start = a->map + page;
    a->end = a->start + len;
    CHECK_EQ(mprotect(a->start, len, PROT_READ | PROT_WRITE), 0);
}

/* The variants, in the order of the groups in main(). */
static const char *const variants[] = { "portable", "avx2", "avx512" };

static void
begin(void)
{
    const char *name = variants[test_variant()];

    if (!vhost_copy_select(name)) {
        test_skip("this CPU cannot run %s", name);
    }
    CHECK(!strcmp(vhost_copy->name, name));
    area_init(&src_area, MAX_LEN + 4096);
    area_init(&dst_area, MAX_LEN + 4096);
    pattern_fill(src_area.start, src_area.end - src_area.start, 1);
    memset(dst_area.start, FILL, dst_area.end - dst_area.start);
    burst = rig_burst();
    memset(burst, 0, sizeof *burst);
    burst->vr = &vring;
    hdr_len = vring.hdr_len = 12;
}

static void
finish(void)
{
    munmap(src_area.map, src_area.map_len);
    munmap(dst_area.map, dst_area.map_len);
}

/* Fails unless the 'len' bytes at 'p' are as memset() has left them. */
static void
check_fill(const uint8_t *p, size_t len)
{
    static uint8_t fill[4096];

    memset(fill, FILL, sizeof fill);
    CHECK_LE(len, sizeof fill);
    CHECK(!memcmp(p, fill, len));
}

/* Packet 0 of the burst, one piece of the guest's memory. */
static void
one_piece(uint8_t *guest, uint32_t len, bool simple)
{
    struct vhost_pkt *p = &burst->pkts[0];

    burst->n = 1;
    burst->simple = simple;
    burst->n_segs = 1;
    burst->segs[0] = (struct vhost_seg) { guest, len };
    memset(p, 0xee, sizeof *p);
    if (!simple) {
        p->len = len;
        p->first = 0;
        p->n_segs = 1;
        p->n_buffers = 1;
        p->n_hdr_segs = 0;
        memset(&p->hdr, 0, sizeof p->hdr);
    }
}

/* What the header of a frame to the guest must be. */
static void
check_header(const uint8_t *at, uint16_t n_buffers)
{
    struct virtio_net_hdr_v1 expected = { .num_buffers = n_buffers };

    CHECK(!memcmp(at, &expected, hdr_len));
}

/* Copies 'len' bytes between these places, both ways.  'before' and 'behind'
 * are how many guard bytes there are around 'dst' (and, to the guest, around
 * the header before it). */
static void
copy_both_ways(uint8_t *dst, uint8_t *src, uint32_t len, unsigned int before,
               unsigned int behind)
{
    void *const dsts[] = { dst };
    const void *const srcs[] = { src };

    for (int simple = 0; simple < 2; simple++) {
        one_piece(src, len, simple);
        vhost_burst_read_all(burst, dsts, 1);
        CHECK(!memcmp(dst, src, len));
        check_fill(dst - before, before);
        check_fill(dst + len, behind);
        memset(dst, FILL, len);

        if (before >= hdr_len) {
            one_piece(dst, len, simple);
            vhost_burst_write_all(burst, srcs, 1);
            CHECK_EQ(burst->n_headers, 1);
            CHECK(!memcmp(dst, src, len));
            check_header(dst - hdr_len, 1);
            check_fill(dst - before, before - hdr_len);
            check_fill(dst + len, behind);
            memset(dst - hdr_len, FILL, hdr_len + len);
        }
    }
}

/* Lengths: all short ones, and those around the borders. */
static const uint32_t *
lengths(unsigned int *np)
{
    static const uint32_t around[] = { 512, 1024, 1518, 2048, 4096 };
    static uint32_t lens[512];
    unsigned int n = 0;

    for (uint32_t len = 1; len <= 300; len++) {
        lens[n++] = len;
    }
    for (size_t i = 0; i < N_ELEMS(around); i++) {
        for (int k = -3; k <= 3; k++) {
            lens[n++] = around[i] + k;
        }
    }
    lens[n++] = 1024 + 64;
    lens[n++] = 9000;
    lens[n++] = 65535;
    *np = n;
    return lens;
}

static void
test_alignments(void)
{
    /* With a sanitizer only those around the sizes of registers. */
    unsigned int step = test_slow ? 7 : 1;
    const uint32_t *lens;
    unsigned int n;

    begin();
    lens = lengths(&n);
    for (unsigned int i = 0; i < n; i++) {
        unsigned int more = lens[i] > 2048 ? 5 : 1;

        test_part("%u bytes", lens[i]);
        for (unsigned int d = 0; d < MAX_ALIGN; d += step) {
            for (unsigned int s = 0; s < MAX_ALIGN; s += step * more) {
                uint8_t *dst = dst_area.start + 128 + d;

                copy_both_ways(dst, src_area.start + s, lens[i], GUARD,
                               GUARD);
            }
        }
    }
    finish();
}

/* Nothing outside is touched, not even read: there is no memory. */
static void
test_borders(void)
{
    const uint32_t *lens;
    unsigned int n;

    begin();
    lens = lengths(&n);
    for (unsigned int i = 0; i < n; i++) {
        uint32_t len = lens[i];
        uint8_t *middle = dst_area.start + 256;

        test_part("%u bytes", len);
        copy_both_ways(middle, src_area.end - len, len, GUARD, GUARD);
        copy_both_ways(middle, src_area.start, len, GUARD, GUARD);
        copy_both_ways(dst_area.end - len, src_area.start, len, GUARD, 0);
        copy_both_ways(dst_area.end - len, src_area.end - len, len, GUARD, 0);
        copy_both_ways(dst_area.start, src_area.end - len, len, 0, GUARD);
        copy_both_ways(dst_area.start + hdr_len, src_area.start, len, hdr_len,
                       GUARD);
    }
    finish();
}

/* A legacy header has 10 bytes. */
static void
test_legacy_header(void)
{
    begin();
    hdr_len = vring.hdr_len = 10;
    for (uint32_t len = 1; len < 200; len++) {
        copy_both_ways(dst_area.start + hdr_len, src_area.start, len, hdr_len,
                       GUARD);
        copy_both_ways(dst_area.end - len, src_area.start, len, GUARD, 0);
    }
    finish();
}

/* The lengths of packet 'i' of a burst, in random pieces. */
struct shape {
    unsigned int n;
    uint32_t lens[8];
    uint32_t sum;
};

static void
random_shape(struct shape *shape, uint64_t *rnd)
{
    shape->n = 1 + test_random(rnd) % N_ELEMS(shape->lens);
    shape->sum = 0;
    for (unsigned int i = 0; i < shape->n; i++) {
        uint64_t r = test_random(rnd);

        shape->lens[i] = 1 + r / 8 % (r % 8 ? 100 : 1600);
        shape->sum += shape->lens[i];
    }
}

/* Packets of several pieces each, which are in the guest's memory in any
 * order, apart from each other, and in a row on this side. */
static void
test_pieces(void)
{
    uint64_t rnd = 3;

    begin();
    for (unsigned int round = 0; round < (test_slow ? 200 : 3000); round++) {
        unsigned int n_pkts = 1 + test_random(&rnd) % 6, n_segs = 0;
        unsigned int take = test_random(&rnd) % (n_pkts + 1);
        struct shape shapes[6];
        uint8_t *guest = src_area.start + test_random(&rnd) % 64;
        uint8_t *host = dst_area.start + GUARD + test_random(&rnd) % 64;
        void *dsts[6];

        test_part("round %u", round);
        burst->n = n_pkts;
        burst->simple = false;
        for (unsigned int i = 0; i < n_pkts; i++) {
            struct vhost_pkt *p = &burst->pkts[i];

            random_shape(&shapes[i], &rnd);
            p->len = shapes[i].sum;
            p->first = n_segs;
            p->n_segs = shapes[i].n;
            dsts[i] = host;
            host += p->len + GUARD;
            for (unsigned int k = 0; k < shapes[i].n; k++) {
                burst->segs[n_segs++] = (struct vhost_seg) {
                    guest, shapes[i].lens[k],
                };
                guest += shapes[i].lens[k] + test_random(&rnd) % 9;
            }
        }
        CHECK_LE(guest, src_area.end);
        CHECK_LE(host, dst_area.end);

        vhost_burst_read_all(burst, dsts, take);
        for (unsigned int i = 0; i < n_pkts; i++) {
            const struct vhost_pkt *p = &burst->pkts[i];
            uint8_t *at = dsts[i];

            check_fill(at - GUARD, GUARD);
            for (unsigned int k = 0; i < take && k < p->n_segs; k++) {
                const struct vhost_seg *s = &burst->segs[p->first + k];

                CHECK(!memcmp(at, s->addr, s->len));
                at += s->len;
            }
            check_fill(at, GUARD);
            memset(dsts[i], FILL, p->len);
        }
    }
    finish();
}

/* To the guest: headers just before the frame, in a piece of their own, in
 * several; and several buffers. */
static void
test_headers(void)
{
    uint64_t rnd = 4;

    begin();
    for (unsigned int round = 0; round < (test_slow ? 300 : 5000); round++) {
        struct vhost_pkt *p = &burst->pkts[0];
        unsigned int n_hdr = test_random(&rnd) % 13, n = 0;
        const void *srcs[] = { src_area.start + test_random(&rnd) % 64 };
        uint8_t *guest = dst_area.start + GUARD, *got = guest;
        uint8_t hdr[12], frame[16384];
        struct shape shape;

        test_part("round %u, header in %u pieces", round, n_hdr);
        random_shape(&shape, &rnd);
        pattern_fill(&p->hdr, sizeof p->hdr, round);
        p->n_buffers = test_random(&rnd);
        p->n_hdr_segs = n_hdr;
        p->first = n_hdr;
        p->n_segs = shape.n;
        p->len = shape.sum;
        burst->n = 1;
        burst->simple = false;
        for (unsigned int i = 0; i < n_hdr; i++) {
            uint32_t len = 12 * (i + 1) / n_hdr - 12 * i / n_hdr;

            burst->segs[n++] = (struct vhost_seg) { guest, len };
            guest += len + GUARD;
        }
        guest += n_hdr ? 0 : 12;
        for (unsigned int i = 0; i < shape.n; i++) {
            burst->segs[n++] = (struct vhost_seg) { guest, shape.lens[i] };
            guest += shape.lens[i] + GUARD;
        }
        CHECK_LE(guest, dst_area.end);
        vhost_burst_write_all(burst, srcs, 1);
        CHECK_EQ(burst->n_headers, 1);

        /* Gather what is there, and look at what is between. */
        check_fill(got - GUARD, GUARD);
        if (!n_hdr) {
            memcpy(hdr, got, 12);
            memset(got, FILL, 12);
        }
        for (unsigned int i = 0, at = 0; i < n; i++) {
            const struct vhost_seg *s = &burst->segs[i];
            uint8_t *to = i < n_hdr ? hdr + at : frame + at;

            memcpy(to, s->addr, s->len);
            memset(s->addr, FILL, s->len);
            at = i + 1 == n_hdr ? 0 : at + s->len;
            check_fill(s->addr + s->len, GUARD);
        }
        CHECK(!memcmp(hdr, &p->hdr, 10));
        CHECK(!memcmp(hdr + 10, &p->n_buffers, 2));
        CHECK(!memcmp(frame, srcs[0], shape.sum));
    }
    finish();
}

/* No packet, no touch. */
static void
test_none(void)
{
    void *dsts[1];
    const void *srcs[1];

    begin();
    dsts[0] = dst_area.map;     /* None of it may be touched. */
    srcs[0] = src_area.map;
    for (int simple = 0; simple < 2; simple++) {
        one_piece(dst_area.map, 100, simple);
        vhost_burst_read_all(burst, dsts, 0);
        vhost_burst_write_all(burst, srcs, 0);
        CHECK_EQ(burst->n_headers, 0);
    }
    finish();
}

/* A burst of a whole ring's worth: 32 frames of lengths that differ, simple
 * and not, all at once. */
static void
test_burst(void)
{
    uint64_t rnd = 5;

    begin();
    for (unsigned int round = 0; round < (test_slow ? 100 : 2000); round++) {
        void *dsts[VHOST_BURST];
        const void *srcs[VHOST_BURST];
        uint8_t *at = dst_area.start + GUARD, *from = src_area.start;
        unsigned int n = 1 + test_random(&rnd) % VHOST_BURST;

        test_part("round %u", round);
        burst->n = n;
        burst->simple = round % 2;
        for (unsigned int i = 0; i < n; i++) {
            uint64_t r = test_random(&rnd);
            uint32_t len = 1 + r / 8 % (r % 8 ? 200 : 1900);

            srcs[i] = from;
            dsts[i] = at;
            burst->segs[i] = (struct vhost_seg) { at, len };
            burst->pkts[i] = (struct vhost_pkt) {
                .len = len, .first = i, .n_segs = 1, .n_buffers = 1,
            };
            from += len + r / 64 % 64;
            at += len + GUARD;
        }
        CHECK_LE(at, dst_area.end);
        CHECK_LE(from, src_area.end);
        vhost_burst_write_all(burst, srcs, n);
        for (unsigned int i = 0; i < n; i++) {
            struct vhost_seg *s = &burst->segs[i];

            CHECK(!memcmp(s->addr, srcs[i], s->len));
            check_header(s->addr - 12, 1);
            check_fill(s->addr - GUARD, GUARD - 12);
            memset(s->addr - 12, FILL, s->len + 12);
            s->addr = (uint8_t *) srcs[i];
        }
        check_fill(at - GUARD, GUARD);
        vhost_burst_read_all(burst, dsts, n);
        for (unsigned int i = 0; i < n; i++) {
            const struct vhost_seg *s = &burst->segs[i];

            CHECK(!memcmp(dsts[i], srcs[i], s->len));
            check_fill((uint8_t *) dsts[i] - GUARD, GUARD);
            memset(dsts[i], FILL, s->len);
        }
        check_fill(at - GUARD, GUARD);
    }
    finish();
}

/* The choice. */
static void
test_select(void)
{
    const struct vhost_copy *best;

    CHECK(vhost_copy_select(NULL));
    best = vhost_copy;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2")
        && __builtin_cpu_supports("avx512vl")) {
        CHECK(!strcmp(best->name, "avx512"));
    } else if (__builtin_cpu_supports("avx2")) {
        CHECK(!strcmp(best->name, "avx2"));
    } else {
        CHECK(!strcmp(best->name, "portable"));
    }
#else
    CHECK(!strcmp(best->name, "portable"));
#endif
    CHECK(vhost_copy_select("portable"));
    CHECK(!strcmp(vhost_copy->name, "portable"));
    CHECK(!vhost_copy_select("sse9"));
    CHECK(!strcmp(vhost_copy->name, "portable"));

    /* The environment. */
    setenv("OVS_VHOST_COPY", "sse9", 1);
    vhost_copy_init();
    CHECK_EQ(vhost_copy == best, true);
    setenv("OVS_VHOST_COPY", "portable", 1);
    vhost_copy_init();
    CHECK(!strcmp(vhost_copy->name, "portable"));
    unsetenv("OVS_VHOST_COPY");
    vhost_copy_init();
    CHECK_EQ(vhost_copy == best, true);
}

static const struct test_case cases[] = {
    { "alignments", test_alignments, 60 },
    { "borders", test_borders, 0 },
    { "legacy-header", test_legacy_header, 0 },
    { "pieces", test_pieces, 0 },
    { "headers", test_headers, 0 },
    { "none", test_none, 0 },
    { "burst", test_burst, 0 },
};

static const struct test_case other_cases[] = {
    { "select", test_select, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "portable-", 0, cases, N_ELEMS(cases) },
        { "avx2-", 1, cases, N_ELEMS(cases) },
        { "avx512-", 2, cases, N_ELEMS(cases) },
        { "", 0, other_cases, N_ELEMS(other_cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
