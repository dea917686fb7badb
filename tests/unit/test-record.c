/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of the crash record of packed rings (record.h), whole and in
 * parts.
 *
 *   - Front ends that vanish without asking where the device is, and come
 *     back with the base that they knew: nothing may happen twice or get lost.
 *     Also if the guest has reset its ring meanwhile.
 *
 *   - Processes that end at any instruction while they give buffers back.  A
 *     child gives back, and is executed step by step; after each step that
 *     changed memory, a successor goes on with a copy of what is there.
 *
 *   - Records that are damaged or not about this ring. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "ring-cases.h"

#define FIRST_BASE 0x80008000u  /* Of a driver that has just started. */

static uint8_t frame[4096];

/* Front ends that come back. */

/* Traffic that is checked across interruptions. */
struct flow {
    struct rig rig;
    uint64_t rnd;
    uint64_t mem[2];            /* Buffers, 2 KiB each. */
    unsigned int offered[2];    /* Chains; their tokens count up. */
    unsigned int returned[2];
    unsigned int switch_sent;
    unsigned int switch_got;
};

/* The guest offers up to 'max' chains of up to 'pieces' descriptors. */
static void
flow_offer(struct flow *f, unsigned int idx, unsigned int max,
           unsigned int pieces)
{
    struct fe_vq *vq = &f->rig.vqs[idx];

    for (unsigned int i = 0; i < max; i++) {
        unsigned int n = 1 + test_random(&f->rnd) % pieces;
        unsigned int token = f->offered[idx];
        uint64_t addr = f->mem[idx] + token % vq->size * 2048;
        struct fe_buf bufs[8];

        if (n > vq->n_free) {
            n = vq->n_free;
        }
        if (!n) {
            break;
        }
        pattern_fill(frame, 200, token);
        fe_net_write(&f->rig.fe, addr, NULL, frame, 200);
        CHECK_EQ(fe_split(bufs, addr, 212, n, !idx), n);
        CHECK_GE(fe_vq_add(vq, bufs, n, 0, token), 0);
        f->offered[idx]++;
    }
    fe_vq_publish(vq);
}

/* The switch takes what there is, but for some. */
static void
flow_receive(struct flow *f, unsigned int max)
{
    struct vhost_burst *b = rig_burst();
    unsigned int n = vhost_rxq_peek(f->rig.rxqs[0], b, VHOST_BURST);

    if (!n) {
        return;
    }
    n = n < max ? n : max;
    for (unsigned int i = 0; i < n; i++) {
        CHECK_EQ(b->pkts[i].len, 200);
        vhost_burst_read(b, i, frame);
        CHECK_PATTERN(frame, 200, f->switch_got);
        f->switch_got++;
    }
    vhost_rxq_complete(f->rig.rxqs[0], b, n);
}

static void
flow_send(struct flow *f, unsigned int max)
{
    struct vhost_burst *b = rig_burst();
    uint32_t lens[VHOST_BURST];
    enum vhost_reserve why;
    unsigned int n;

    for (unsigned int i = 0; i < VHOST_BURST; i++) {
        lens[i] = 200;
    }
    n = max ? vhost_sender_reserve(f->rig.senders[0], b, lens, max, false,
                                   &why) : 0;
    if (!n) {
        return;
    }
    for (unsigned int i = 0; i < n; i++) {
        pattern_fill(frame, 200, f->switch_sent++);
        vhost_burst_write(b, i, frame);
    }
    vhost_sender_commit(f->rig.senders[0], b, false);
}

/* The guest takes back up to 'max' buffers of each ring. */
static void
flow_take(struct flow *f, unsigned int max)
{
    struct fe_vq *rx = RIG_RX(&f->rig, 0), *tx = RIG_TX(&f->rig, 0);
    struct virtio_net_hdr_mrg_rxbuf h;
    uint16_t head;
    unsigned int n;
    uint32_t len;

    for (unsigned int i = 0; i < max && fe_vq_used(tx, &head, &len); i++) {
        CHECK_EQ(tx->chains[head].token, f->returned[1]);
        f->returned[1]++;
    }
    for (unsigned int i = 0; i < max; i++) {
        if (fe_net_take(rx, &h, frame, sizeof frame, &head, &n, 1) < 0) {
            break;
        }
        CHECK_EQ(n, 1);
        CHECK_EQ(rx->chains[head].token, f->returned[0]);
        CHECK_PATTERN(frame, 200, f->returned[0]);
        f->returned[0]++;
    }
}

static void
flow_open(struct flow *f, unsigned int size, unsigned int position)
{
    struct rig_config c = { .ring_size = size, .region_size = 64 << 20 };

    memset(f, 0, sizeof *f);
    f->rnd = size + position;
    rig_create(&f->rig, "p", &c);
    rig_connect(&f->rig);
    for (unsigned int i = 0; i < 2; i++) {
        f->mem[i] = fe_alloc(&f->rig.fe, 0, size * 2048, 64);
        fe_vq_set_position(&f->rig.vqs[i], position);
    }
    rig_start(&f->rig);
}

/* All that was offered comes back, and everything in order. */
static void
flow_close(struct flow *f)
{
    for (unsigned int i = 0; i < 3; i++) {
        flow_receive(f, VHOST_BURST);
        flow_send(f, VHOST_BURST);
        flow_take(f, UINT32_MAX);
    }
    CHECK_EQ(f->switch_got, f->offered[1]);
    CHECK_EQ(f->returned[1], f->offered[1]);
    CHECK_EQ(f->returned[0], f->switch_sent);
    CHECK_EQ(f->returned[0], f->offered[0]);
    ring_check_no_errors(&f->rig);
    rig_close(&f->rig);
}

/* The front end goes without a word and comes back as if it had never known
 * more than at the last start. */
static void
flow_interrupt(struct flow *f)
{
    rig_disconnect(&f->rig);
    rig_connect(&f->rig);
    for (unsigned int i = 0; i < 2; i++) {
        rig_start_ring(&f->rig, i, f->rig.bases[i]);
    }
}

/* Interruptions at any moment of random traffic, on a ring that begins at
 * descriptor 'position'. */
static void
interrupted(unsigned int size, unsigned int position, unsigned int n)
{
    struct flow f;

    test_part("size %u, from %u", size, position);
    flow_open(&f, size, position);
    for (unsigned int i = 0; i < n; i++) {
        unsigned int turns = test_random(&f.rnd) % 4;

        for (unsigned int k = 0; k <= turns; k++) {
            unsigned int pieces = 1 + test_random(&f.rnd) % 4;

            flow_offer(&f, 0, test_random(&f.rnd) % (size + 1), pieces);
            flow_offer(&f, 1, test_random(&f.rnd) % (size + 1), pieces);
            flow_receive(&f, test_random(&f.rnd) % (VHOST_BURST + 1));
            flow_send(&f, test_random(&f.rnd) % (VHOST_BURST + 1));
            flow_take(&f, test_random(&f.rnd) % (size + 1));
        }
        test_part("size %u, from %u, interruption %u", size, position, i);
        if (test_random(&f.rnd) % 16) {
            flow_interrupt(&f);
        } else {
            /* In between an orderly stop, after which there is another
             * base. */
            for (unsigned int idx = 0; idx < 2; idx++) {
                rig_start_ring(&f.rig, idx, fe_vq_stop(&f.rig.vqs[idx]));
            }
        }
    }
    flow_close(&f);
}

static void
test_interrupted(void)
{
    static const unsigned int sizes[] = { 1, 2, 3, 7, 8, 64 };

    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        unsigned int n = test_slow ? 20 : 60;

        interrupted(sizes[i], 0, n);
        interrupted(sizes[i], sizes[i] / 2, n);
        interrupted(sizes[i], sizes[i], n);
        interrupted(sizes[i], 2 * sizes[i] - 1, n);
    }
}

/* Exactly at the end of laps, with all that was used offered again or not:
 * there the ring says nothing about what was. */
static void
test_interrupted_between_laps(void)
{
    for (unsigned int position = 0; position < 16; position++) {
        for (unsigned int used = 1; used <= 40; used++) {
            for (unsigned int again = 0; again <= 8; again += 4) {
                struct flow f;
                unsigned int left = used;

                if (test_slow && (used % 8 > 1 || position % 8 > 1)) {
                    continue;
                }
                flow_open(&f, 8, position);
                test_part("from %u, %u used, %u offered again", position,
                          used, again);
                while (left) {
                    unsigned int n = left < 8 ? left : 8;

                    for (unsigned int idx = 0; idx < 2; idx++) {
                        flow_offer(&f, idx, n, 1);
                    }
                    flow_receive(&f, n);
                    flow_send(&f, n);
                    flow_take(&f, n);
                    left -= n;
                }
                flow_offer(&f, 0, again, 1);
                flow_offer(&f, 1, again, 1);
                flow_interrupt(&f);
                flow_close(&f);
            }
        }
    }
}

/* The guest has reset its rings while nobody was there: same addresses, same
 * base, all zeros but for what it offers already. */
static void
reset_meanwhile(unsigned int used, unsigned int pieces, unsigned int offered)
{
    struct flow f;

    test_part("%u used, of up to %u pieces, then %u offered", used, pieces,
              offered);
    flow_open(&f, 8, 0);
    for (unsigned int i = 0; i < used; i++) {
        flow_offer(&f, 0, 1, pieces);
        flow_offer(&f, 1, 1, pieces);
        if (i % 3) {
            flow_receive(&f, 4);
            flow_send(&f, 4);
        }
        flow_take(&f, 4);
    }
    rig_disconnect(&f.rig);
    for (unsigned int i = 0; i < 2; i++) {
        fe_vq_reset(&f.rig.vqs[i]);
        f.returned[i] = f.offered[i] = 0;
    }
    f.switch_got = f.switch_sent = 0;
    flow_offer(&f, 0, offered, pieces);
    flow_offer(&f, 1, offered, pieces);
    rig_connect(&f.rig);
    for (unsigned int i = 0; i < 2; i++) {
        rig_start_ring(&f.rig, i, FIRST_BASE);
    }
    flow_receive(&f, 32);
    flow_send(&f, 8);
    flow_take(&f, 32);
    flow_offer(&f, 0, 3, pieces);
    flow_offer(&f, 1, 3, pieces);
    flow_close(&f);
}

static void
test_reset_meanwhile(void)
{
    for (unsigned int used = 0; used < 40; used++) {
        for (unsigned int offered = 0; offered <= 8; offered += 4) {
            reset_meanwhile(used, 1, offered);
            reset_meanwhile(used, 3, offered);
        }
        used += test_slow ? used % 5 : 0;
    }
}

/* Another guest: other memory, where everything has the same addresses. */
static void
test_other_memory(void)
{
    struct rig rig;

    rig_open(&rig, "p", NULL);
    for (unsigned int i = 0; i < 300; i++) {
        rig_check_traffic(&rig, 0);
        if (i % 100 == 99) {
            rig_disconnect(&rig);
            rig_free_guest(&rig);
            rig_connect(&rig);
            for (unsigned int idx = 0; idx < 2; idx++) {
                rig_start_ring(&rig, idx, FIRST_BASE);
            }
        }
    }
    ring_check_no_errors(&rig);
    rig_close(&rig);
}

/* Interruption at every store: see machine.h. */

/* What the device of 'm' may be interrupted in, besides machine_push(). */
static void
do_resume(struct machine *m)
{
    struct vhost_record_found found;

    vhost_record_resume(m->record, &m->vr, &m->key, &found);
}

/* In a child, which may spoil everything.  Fails if it does. */
static void
try_succeed(struct machine *m, const struct picture *p, bool looks)
{
    int status;
    pid_t pid;

    put_picture(m, p);
    pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        machine_succeed(m, looks);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        test_fail(__FILE__, __LINE__, "a successor failed: the guest %s "
                  "before it", looks ? "looked" : "did not look");
    }
}

/* Called with what is there after each step that changed something. */
typedef void stopped_func(struct machine *, const struct picture *,
                          unsigned int n);

/* Runs 'action' in a child, step by step, and calls 'stopped' for each picture
 * that there is meanwhile, the first one and the last one included.  Returns
 * their number. */
static unsigned int
step_through(struct machine *m, void (*action)(struct machine *),
             stopped_func *stopped)
{
    static struct picture pictures[1024];
    unsigned int n = 0;
    pid_t pid = step_start(m, NULL, action);

    do {
        struct picture *p = &pictures[n];

        take_picture(m, p);
        if (!n || memcmp(p, &pictures[n - 1], sizeof *p)) {
            n++;
            CHECK_LT(n, N_ELEMS(pictures));
        }
    } while (step(pid));
    step_kill(pid);
    for (unsigned int i = 0; i < n; i++) {
        stopped(m, &pictures[i], i);
    }
    put_picture(m, &pictures[n - 1]);
    return n;
}

static void
after_push(struct machine *m, const struct picture *p, unsigned int n)
{
    (void) n;
    try_succeed(m, p, false);
    try_succeed(m, p, true);
}

static void
test_every_store(void)
{
    if (!may_trace()) {
        test_skip("this process may not trace others");
    }
    for (unsigned int i = 0; i < n_scenes; i++) {
        for (unsigned int idx = 0; idx < 2; idx++) {
            struct machine m;
            unsigned int n;

            test_part("ring %u, %s", idx, scenes[i].name);
            machine_play(&m, &scenes[i], idx, NULL);
            n = step_through(&m, machine_push, after_push);
            /* The record, the ring, the record. */
            CHECK_GE(n, 6);
            machine_destroy(&m);
        }
    }
}

/* The successor is interrupted as well, wherever its predecessor was. */
static void
after_resume(struct machine *m, const struct picture *p, unsigned int n)
{
    (void) n;
    try_succeed(m, p, false);
}

static void
resume_after_push(struct machine *m, const struct picture *p, unsigned int n)
{
    if (n % 3 == 0 && atomic_load(&p->record.pending)) {
        put_picture(m, p);
        step_through(m, do_resume, after_resume);
    }
}

static void
test_every_store_twice(void)
{
    if (!may_trace()) {
        test_skip("this process may not trace others");
    }
    for (unsigned int i = 0; i < n_scenes; i += test_slow ? 4 : 1) {
        struct machine m;

        test_part("%s", scenes[i].name);
        machine_play(&m, &scenes[i], i % 2, NULL);
        step_through(&m, machine_push, resume_after_push);
        machine_destroy(&m);
    }
}

/* The guest has reset its ring after an interruption, and offers something or
 * nothing. */
static void
reset_after_push(struct machine *m, const struct picture *p, unsigned int n)
{
    for (unsigned int offered = 0; offered < 3; offered++) {
        pid_t pid;
        int status;

        put_picture(m, p);
        pid = fork();
        CHECK_GE(pid, 0);
        if (!pid) {
            fe_vq_reset(&m->vq);
            m->offered = m->returned = 0;
            for (unsigned int i = 0; i < offered; i++) {
                machine_offer(m, 1 + i);
            }
            machine_succeed(m, false);
            _exit(0);
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            test_fail(__FILE__, __LINE__, "reset after step %u, %u offered",
                      n, offered);
        }
    }
}

static void
test_every_store_then_reset(void)
{
    if (!may_trace()) {
        test_skip("this process may not trace others");
    }
    for (unsigned int i = 0; i < n_scenes; i++) {
        struct machine m;

        if (scenes[i].position) {
            continue;           /* A driver starts at the first one. */
        }
        test_part("%s", scenes[i].name);
        machine_play(&m, &scenes[i], i % 2, NULL);
        step_through(&m, machine_push, reset_after_push);
        machine_destroy(&m);
    }
}

/* Somebody else, who keeps no record, has gone on with the ring. */
static void
test_used_meanwhile(void)
{
    for (unsigned int i = 0; i < n_scenes; i++) {
        struct vhost_record_found found;
        struct machine m;
        unsigned int n;

        test_part("%s", scenes[i].name);
        machine_play(&m, &scenes[i], i % 2, NULL);
        machine_push(&m);
        CHECK(vhost_record_resume(m.record, &m.vr, &m.key, &found));
        n = machine_take(&m);
        CHECK_GE(n, 1);
        m.vr.record = NULL;
        machine_offer(&m, 1);
        CHECK_EQ(machine_begin(&m, 1), 1);
        machine_push(&m);
        CHECK(!vhost_record_resume(m.record, &m.vr, &m.key, &found));
        machine_destroy(&m);
    }
}

/* Records that cannot be, or are of another ring. */

/* Fails unless the record, after 'change' to what it was, is refused and
 * nothing touched. */
static void
expect_refused(struct machine *m, const struct picture *p,
               const struct vhost_crash_record *changed, const char *what)
{
    struct vhost_record_found found = { .pos = 0x1234 };

    test_part("%s", what);
    put_picture(m, p);
    memcpy(m->record, changed, sizeof *changed);
    CHECK(!vhost_record_resume(m->record, &m->vr, &m->key, &found));
    CHECK_EQ(found.pos, 0x1234);
    CHECK(!memcmp(m->record, changed, sizeof *changed));
    CHECK(!memcmp(m->vq.ring, p->ring, sizeof p->ring));
}

/* 'MEMBER' of record and ring of 'p' is 'VALUE' instead. */
#define EXPECT_REFUSED(MEMBER, VALUE)                                   \
    do {                                                                \
        struct vhost_crash_record r_;                                   \
        memcpy(&r_, &p.record, sizeof r_);                              \
        r_.MEMBER = VALUE;                                              \
        expect_refused(&m, &p, &r_, #MEMBER " = " #VALUE);              \
    } while (0)

static void
test_damaged(void)
{
    struct vhost_used many[VHOST_BURST_SEGS];
    struct vhost_record_found found;
    struct machine m;
    struct picture p;

    for (int pending = 0; pending < 2; pending++) {
        machine_play(&m, &scenes[4], 1, NULL);
        if (pending) {
            vhost_record_begin(m.record, m.st.last_avail, rig_burst()->used,
                               3, 3);
        } else {
            machine_push(&m);
        }
        take_picture(&m, &p);

        EXPECT_REFUSED(key.dev, 9);
        EXPECT_REFUSED(key.ino, 9);
        EXPECT_REFUSED(key.desc, 0x1000);
        EXPECT_REFUSED(key.features, 0);
        EXPECT_REFUSED(key.size, MACHINE_SIZE + 1);
        EXPECT_REFUSED(key.base, 0);

        EXPECT_REFUSED(pending, VHOST_BURST_SEGS + 1);
        EXPECT_REFUSED(pending, 0x8000);
        EXPECT_REFUSED(pending, 0xffff);
        EXPECT_REFUSED(pos, MACHINE_SIZE);
        EXPECT_REFUSED(pos, 0x8000 | MACHINE_SIZE);
        EXPECT_REFUSED(pos, 0x7fff);
        EXPECT_REFUSED(pos, 0xffff);
        EXPECT_REFUSED(first, MACHINE_SIZE);
        EXPECT_REFUSED(first, 0xffff);
        EXPECT_REFUSED(n_bufs, VHOST_BURST_SEGS + 1);
        EXPECT_REFUSED(cookie, p.record.cookie + 1);
        EXPECT_REFUSED(cookie, 0);
        if (pending) {
            EXPECT_REFUSED(used[0].slots, MACHINE_SIZE);
            EXPECT_REFUSED(used[1].slots, 0);
            EXPECT_REFUSED(used[0].slots, 0xffff);
            EXPECT_REFUSED(used[2].slots, 0x8000);
            EXPECT_REFUSED(pending, VHOST_BURST_SEGS);  /* Of garbage. */
        }

        /* And as it is, it is good. */
        put_picture(&m, &p);
        CHECK(vhost_record_resume(m.record, &m.vr, &m.key, &found));
        CHECK_EQ(found.pos, 0x8000 | 7);
        CHECK_EQ(found.n_completed, pending ? 3 : 0);
        machine_destroy(&m);
    }

    /* As many as there are, each with as many slots as can be. */
    machine_play(&m, &scenes[0], 1, NULL);
    for (unsigned int i = 0; i < VHOST_BURST_SEGS; i++) {
        many[i] = (struct vhost_used) { i, 0xffff, 0 };
    }
    vhost_record_begin(m.record, 0x8000, many, VHOST_BURST_SEGS,
                       VHOST_BURST_SEGS);
    take_picture(&m, &p);
    expect_refused(&m, &p, &p.record, "slots");
    machine_destroy(&m);
}

/* More entries than a record has.  What is behind it looks like entries that
 * are good. */
static void
test_too_many_entries(void)
{
    enum { N = VHOST_BURST_SEGS + 512 };
    struct {
        struct vhost_crash_record record;
        struct vhost_used behind[512];
    } r;
    struct vring_packed_desc_event event;
    struct vhost_vring vr = { .idx = 1, .size = 2 * N, .packed = true };
    struct vhost_record_key key = { .size = 2 * N, .base = FIRST_BASE };
    struct vhost_record_found found;

    memset(&event, 0, sizeof event);
    vr.device_event = &event;
    vr.pdesc = calloc(2 * N, sizeof *vr.pdesc);
    CHECK(vr.pdesc != NULL);
    vhost_record_start(&r.record, &vr, &key, 0x8000);
    for (unsigned int i = 0; i < N; i++) {
        struct vhost_used *used = (i < VHOST_BURST_SEGS ? &r.record.used[i]
                                   : &r.behind[i - VHOST_BURST_SEGS]);

        *used = (struct vhost_used) { i, 1, 0 };
    }
    for (unsigned int n = 1; n <= N; n += 73) {
        test_part("%u entries", n);
        atomic_store(&r.record.pending, n);
        r.record.first = 0x8000;
        CHECK_EQ(vhost_record_resume(&r.record, &vr, &key, &found),
                 n <= VHOST_BURST_SEGS);
        if (n <= VHOST_BURST_SEGS) {
            CHECK_EQ(found.pos, 0x8000 | n);
        }
    }
    free(vr.pdesc);
}

/* Random records: whatever they say, no place outside of the ring is written
 * to, and the position exists. */
static void
test_random_records(void)
{
    uint64_t rnd = 6, guard;
    unsigned int n_resumed = 0;
    struct machine m;
    uint8_t *p;

    machine_init(&m, 1, 0, NULL);
    guard = fe_alloc(&m.fe, 0, 4096, 64);
    p = fe_ptr(&m.fe, guard, 4096);
    pattern_fill(p, 4096, 1);
    for (unsigned int i = 0; i < 100000; i++) {
        uint64_t r = test_random(&rnd);
        struct vhost_record_found found;

        atomic_store(&m.record->pending, r % 8 ? r / 8 % 8 : r / 8 % 1024);
        atomic_store(&m.record->pos,
                     (r >> 20) % (MACHINE_SIZE + 1) | (r & 0x8000));
        m.record->first = (r >> 24) % (MACHINE_SIZE + 1) | (r >> 16 & 0x8000);
        for (unsigned int k = 0; k < 8; k++) {
            uint64_t q = test_random(&rnd);

            m.record->used[q % 8].slots = q / 8 % 64 ? q / 512 % 4 : q / 512;
            m.record->used[q % 8].id = q >> 40;
            m.vq.ring[k].flags = q >> 16;
        }
        if (vhost_record_resume(m.record, &m.vr, &m.key, &found)) {
            n_resumed++;
            CHECK_LT(found.pos & 0x7fff, MACHINE_SIZE);
        }
    }
    CHECK_GT(n_resumed, 100);
    CHECK_PATTERN(p, 4096, 1);
    CHECK_EQ(m.vr.pdesc == m.vq.ring, true);
    machine_destroy(&m);
}

static const struct test_case cases[] = {
    { "interrupted", test_interrupted, 60 },
    { "interrupted-between-laps", test_interrupted_between_laps, 60 },
    { "reset-meanwhile", test_reset_meanwhile, 60 },
    { "every-store", test_every_store, 60 | TEST_FORKS },
    { "every-store-twice", test_every_store_twice, 60 | TEST_FORKS },
    { "every-store-then-reset", test_every_store_then_reset, 60 | TEST_FORKS },
    { "used-meanwhile", test_used_meanwhile, TEST_FORKS },
};

static const struct test_case other_cases[] = {
    { "other-memory", test_other_memory, 0 },
    { "damaged", test_damaged, 0 },
    { "too-many-entries", test_too_many_entries, 0 },
    { "random-records", test_random_records, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "", FE_F_PACKED, cases, N_ELEMS(cases) },
        { "in-order-", FE_F_PACKED | FE_F_IN_ORDER, cases, N_ELEMS(cases) },
        { "", FE_F_PACKED, other_cases, N_ELEMS(other_cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
