/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Tests of the guest's driver (utilities/guest/vq*.c) itself, without
 * lib/vhost: a device that does everything a device may, one step at a time,
 * and that checks everything a driver must.  What other devices do too is
 * proven by the stock ports (tests/packed.at); this is for what they do not:
 * used buffers out of order and in batches, and events at every place.
 *
 * Reference: virtio 1.2, sections 2.7 and 2.8. */

#include <stdlib.h>
#include <string.h>

#include "guest/vq.h"
#include "harness.h"

#define GUEST_BASE UINT64_C(0x100000)
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)
#define MAX_SIZE 64
#define MAX_BUFS 9

/* A chain as the device has read it. */
struct taken {
    uint16_t id;
    unsigned int n_descs;
    uint64_t addr;              /* Of its first buffer. */
    uint32_t room;
};

struct model {
    struct fe fe;
    struct fe_vq vq;
    uint64_t seed;

    /* The device. */
    unsigned int at, used_at;   /* Packed. */
    bool wrap, used_wrap;
    uint16_t avail_idx, used_idx;       /* Split. */
    unsigned int next_head;     /* Split, in order. */
    struct taken taken[MAX_SIZE];
    unsigned int n_taken;

    /* What the driver has to see, by guest address of the first buffer. */
    struct {
        uint64_t addr;
        uint32_t len;
    } expected[MAX_SIZE];
    unsigned int n_expected;
    uint64_t n_offered, n_given_back;
};

static unsigned int
dice(struct model *m, unsigned int n)
{
    return test_random(&m->seed) % n;
}

static void
model_start(struct model *m, uint64_t features, unsigned int size,
            uint16_t position)
{
    memset(m, 0, sizeof *m);
    m->seed = 17 + size + position;
    fe_init(&m->fe);
    m->fe.features = features | FE_F_VERSION_1 | FE_F_EVENT_IDX;
    fe_add_region(&m->fe, GUEST_BASE, 4 << 20, UINT64_C(0x7f0000000000));
    fe_vq_init(&m->vq, &m->fe, 0, size, 0);
    fe_vq_use_indirect(&m->vq, 0, MAX_BUFS);
    fe_vq_set_position(&m->vq, position);
    m->at = m->used_at = position % size;
    m->wrap = m->used_wrap = !(position / size % 2);
    m->avail_idx = m->used_idx = position;
}

static void
model_end(struct model *m)
{
    fe_vq_destroy(&m->vq);
    fe_destroy(&m->fe);
}

/* Reading: buffers of a chain or table come one by one. */

static void
take_buf(struct taken *t, unsigned int i, uint64_t addr, uint32_t len,
         bool in)
{
    if (!i) {
        t->addr = addr;
    }
    t->room += in ? len : 0;
}

static void
take_table(struct model *m, struct taken *t, uint64_t addr, uint32_t len)
{
    unsigned int n = len / sizeof (struct vring_desc);
    const struct vring_packed_desc *packed = fe_ptr(&m->fe, addr, len);
    const struct vring_desc *split = fe_ptr(&m->fe, addr, len);

    CHECK_EQ(len % sizeof *split, 0);
    CHECK_GT(n, 0);
    for (unsigned int i = 0; i < n; i++) {
        if (m->vq.ring) {
            CHECK_EQ(packed[i].flags & ~VRING_DESC_F_WRITE, 0);
            take_buf(t, i, packed[i].addr, packed[i].len, packed[i].flags);
        } else {
            bool more = i + 1 < n;

            CHECK_EQ(split[i].flags & ~VRING_DESC_F_WRITE,
                     more ? VRING_DESC_F_NEXT : 0);
            CHECK_EQ(split[i].next, more ? i + 1 : 0);
            take_buf(t, i, split[i].addr, split[i].len,
                     split[i].flags & VRING_DESC_F_WRITE);
        }
    }
}

static void
step(const struct model *m, unsigned int *at, bool *wrap, unsigned int n)
{
    while (n--) {
        if (++*at == m->vq.size) {
            *at = 0;
            *wrap = !*wrap;
        }
    }
}

static bool
packed_available(const struct model *m)
{
    uint16_t flags = m->vq.ring[m->at].flags;

    return !(flags & AVAIL) == !m->wrap && !(flags & USED) == m->wrap;
}

static bool
take_packed(struct model *m, struct taken *t)
{
    const struct vring_packed_desc *d;

    if (!packed_available(m)) {
        return false;
    }
    do {
        /* All of a list have right flags, not only the first. */
        CHECK(packed_available(m));
        d = &m->vq.ring[m->at];
        if (d->flags & VRING_DESC_F_INDIRECT) {
            CHECK(!(d->flags & VRING_DESC_F_NEXT));
            CHECK_EQ(t->n_descs, 0);
            take_table(m, t, d->addr, d->len);
        } else {
            take_buf(t, t->n_descs, d->addr, d->len,
                     d->flags & VRING_DESC_F_WRITE);
        }
        CHECK_LE(++t->n_descs, m->vq.size);
        step(m, &m->at, &m->wrap, 1);
    } while (d->flags & VRING_DESC_F_NEXT);
    t->id = d->id;
    return true;
}

static bool
take_split(struct model *m, struct taken *t)
{
    const struct vring_desc *d;
    unsigned int i;

    if (m->vq.avail->idx == m->avail_idx) {
        return false;
    }
    i = t->id = m->vq.avail->ring[m->avail_idx++ % m->vq.size];
    if (m->vq.in_order) {
        CHECK_EQ(i, m->next_head);
    }
    for (;;) {
        d = &m->vq.desc[i];
        if (d->flags & VRING_DESC_F_INDIRECT) {
            CHECK(!(d->flags & VRING_DESC_F_NEXT));
            take_table(m, t, d->addr, d->len);
        } else {
            take_buf(t, t->n_descs, d->addr, d->len,
                     d->flags & VRING_DESC_F_WRITE);
        }
        CHECK_LE(++t->n_descs, m->vq.size);
        if (!(d->flags & VRING_DESC_F_NEXT)) {
            break;
        }
        if (m->vq.in_order) {
            CHECK_EQ(d->next, (i + 1) % m->vq.size);
        }
        i = d->next;
    }
    m->next_head = (m->next_head + t->n_descs) % m->vq.size;
    return true;
}

static void
device_takes_all(struct model *m)
{
    for (;;) {
        struct taken t;

        memset(&t, 0, sizeof t);
        if (!(m->vq.ring ? take_packed(m, &t) : take_split(m, &t))) {
            return;
        }
        CHECK_LT(t.id, m->vq.size);
        for (unsigned int i = 0; i < m->n_taken; i++) {
            CHECK_NE(t.id, m->taken[i].id);
        }
        CHECK_LT(m->n_taken, m->vq.size);
        m->taken[m->n_taken++] = t;
    }
}

/* Using. */

/* Notes that the driver has to see 't' come back with 'len' bytes. */
static void
expect(struct model *m, const struct taken *t, uint32_t len)
{
    m->expected[m->n_expected].addr = t->addr;
    m->expected[m->n_expected++].len = len;
}

/* Gives 'n' chains from number 'i' on back with one used entry. */
static void
give_back(struct model *m, unsigned int i, unsigned int n)
{
    struct taken *t = &m->taken[i];
    const struct taken *last = &t[n - 1];
    uint32_t len = last->room ? dice(m, last->room + 1) : 0;
    unsigned int n_descs = 0;

    for (unsigned int k = 0; k < n; k++) {
        expect(m, &t[k], k + 1 < n ? t[k].room : len);
        n_descs += t[k].n_descs;
    }
    if (m->vq.ring) {
        struct vring_packed_desc *d = &m->vq.ring[m->used_at];

        /* Without WRITE the length means nothing. */
        d->id = last->id;
        d->len = len ? len : 0xdeadbeef;
        d->flags = (m->used_wrap ? AVAIL | USED : 0)
                   | (len ? VRING_DESC_F_WRITE : 0);
        step(m, &m->used_at, &m->used_wrap, n_descs);
    } else {
        struct vring_used_elem *e;

        e = &m->vq.used->ring[m->used_idx % m->vq.size];
        e->id = last->id;
        e->len = len;
        m->used_idx += n;
        m->vq.used->idx = m->used_idx;
    }
    m->n_taken -= n;
    memmove(t, t + n, (m->n_taken - i) * sizeof *t);
}

static void
device_gives_some_back(struct model *m)
{
    while (m->n_taken && dice(m, 4)) {
        if (m->vq.in_order) {
            give_back(m, 0, 1 + dice(m, m->n_taken));
        } else {
            give_back(m, dice(m, m->n_taken), 1);
        }
    }
}

/* The driver. */

static void
driver_offers(struct model *m)
{
    /* Addresses tell chains apart; nobody reads what is there. */
    uint64_t addr = GUEST_BASE + (m->n_offered % 100000 + 1) * 16;
    unsigned int n = 1 + dice(m, MAX_BUFS), n_out = dice(m, n + 1);
    unsigned int flags = dice(m, 3) ? 0 : FE_INDIRECT;
    struct fe_buf bufs[MAX_BUFS];

    for (unsigned int i = 0; i < n; i++) {
        bufs[i].addr = i ? GUEST_BASE : addr;
        bufs[i].len = 1 + dice(m, 100);
        bufs[i].in = i >= n_out;
    }
    if (fe_vq_add(&m->vq, bufs, n, flags, addr) >= 0) {
        m->n_offered++;
    }
}

static void
check_given_back(struct model *m, uint64_t addr, uint32_t len)
{
    CHECK_GT(m->n_expected, 0);
    CHECK_EQ(addr, m->expected[0].addr);
    CHECK_EQ(len, m->expected[0].len);
    m->n_expected--;
    memmove(&m->expected[0], &m->expected[1],
            m->n_expected * sizeof m->expected[0]);
    m->n_given_back++;
}

static void
driver_takes_some_back(struct model *m)
{
    uint16_t head;
    uint32_t len;

    while (dice(m, 5)) {
        if (!fe_vq_used(&m->vq, &head, &len)) {
            CHECK_EQ(m->n_expected, 0);
            return;
        }
        check_given_back(m, m->vq.chains[head].token, len);
    }
}

/* The same, but offers them again at once. */
static void
driver_recycles(struct model *m)
{
    unsigned int n = dice(m, 9), want = n < m->n_expected ? n : m->n_expected;
    uint64_t bytes = 0, sum = 0;

    for (unsigned int i = 0; i < want; i++) {
        sum += m->expected[i].len;
    }
    CHECK_EQ(fe_vq_recycle(&m->vq, n, &bytes), want);
    CHECK_EQ(bytes, sum);
    m->n_expected -= want;
    memmove(&m->expected[0], &m->expected[want],
            m->n_expected * sizeof m->expected[0]);
    m->n_offered += want;
    m->n_given_back += want;
}

static void
check_base(struct model *m)
{
    uint32_t base = fe_vq_base(&m->vq);

    if (m->vq.ring) {
        CHECK_EQ(base & 0xffff, m->used_at | m->used_wrap << 15);
        CHECK_EQ(base >> 16, m->used_at | m->used_wrap << 15);
    } else {
        CHECK_EQ(base, m->used_idx);
    }
}

/* Calls are asked for at the slot where the device will put its next used
 * entry, unless there is one already. */
static void
check_calls(struct model *m)
{
    const struct vring_packed_desc_event *e = m->vq.driver_event;
    bool there = fe_vq_want_calls(&m->vq, true);

    CHECK_EQ(there, m->n_expected > 0);
    if (!there && m->vq.ring) {
        CHECK_EQ(e->flags, VRING_PACKED_EVENT_FLAG_DESC);
        CHECK_EQ(e->off_wrap, m->used_at | m->used_wrap << 15);
    } else if (!there) {
        CHECK_EQ(m->vq.avail->ring[m->vq.size], m->used_idx);
    }
    fe_vq_want_calls(&m->vq, false);
    if (m->vq.ring) {
        CHECK_EQ(e->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    }
}

/* Nothing is visible before it is published, then everything is. */
static void
publish_and_take(struct model *m)
{
    unsigned int before = m->n_taken;
    uint64_t there = m->n_offered - m->n_given_back - m->n_expected;

    device_takes_all(m);
    CHECK_EQ(m->n_taken, before);
    fe_vq_publish(&m->vq);
    device_takes_all(m);
    CHECK_EQ(m->n_taken, there);
}

static void
play(uint64_t features, unsigned int size, uint16_t position)
{
    struct model m;

    test_part("size %u, from %u", size, position);
    model_start(&m, features, size, position);
    for (unsigned int i = 0; i < 3000; i++) {
        for (unsigned int k = dice(&m, 6); k; k--) {
            driver_offers(&m);
        }
        publish_and_take(&m);
        device_gives_some_back(&m);
        check_base(&m);
        if (dice(&m, 4)) {
            driver_takes_some_back(&m);
        } else {
            driver_recycles(&m);
        }
        check_base(&m);
        check_calls(&m);
    }
    CHECK_GT(m.n_given_back, 1000);
    model_end(&m);
}

static void
play_sizes(uint64_t features)
{
    static const unsigned int sizes[] = { 1, 2, 3, 4, 7, 8, 25, 32, 64 };

    for (unsigned int i = 0; i < N_ELEMS(sizes); i++) {
        bool power_of_2 = !(sizes[i] & (sizes[i] - 1));

        if (features & FE_F_PACKED || power_of_2) {
            play(features, sizes[i], 0);
            play(features, sizes[i], 65533);
        }
    }
}

static void
test_split(void)
{
    play_sizes(0);
}

static void
test_split_in_order(void)
{
    play_sizes(FE_F_IN_ORDER);
}

static void
test_packed(void)
{
    play_sizes(FE_F_PACKED);
}

static void
test_packed_in_order(void)
{
    play_sizes(FE_F_PACKED | FE_F_IN_ORDER);
}

/* Kicks: with a descriptor to wait for named by the device, one is wanted if
 * and only if that one is among those just published. */

static void
device_event(struct model *m, unsigned int at, bool wrap, uint16_t flags)
{
    m->vq.device_event->off_wrap = at | wrap << 15;
    m->vq.device_event->flags = flags;
}

/* Offers and publishes 'n' descriptors from slot 'start' on while the device
 * waits for slot 'event'. */
static void
check_kick(unsigned int start, bool start_wrap, unsigned int n,
           unsigned int event, bool event_wrap)
{
    const unsigned int size = 5;
    struct fe_buf bufs[5] = { { GUEST_BASE, 1, false } };
    unsigned int at = start;
    bool wrap = start_wrap, among = false;
    struct model m;

    for (unsigned int i = 1; i < n; i++) {
        bufs[i] = bufs[0];
    }
    model_start(&m, FE_F_PACKED, size, start + (start_wrap ? 0 : size));
    device_event(&m, event, event_wrap, VRING_PACKED_EVENT_FLAG_DESC);
    CHECK_EQ(fe_vq_add(&m.vq, bufs, n, 0, 0), 0);
    for (unsigned int i = 0; i < n; i++) {
        among |= at == event && wrap == event_wrap;
        step(&m, &at, &wrap, 1);
    }
    fe_vq_publish_and_kick(&m.vq);
    CHECK_EQ(m.vq.n_kicks, among);
    /* Nothing new: no kick. */
    fe_vq_publish_and_kick(&m.vq);
    CHECK_EQ(m.vq.n_kicks, among);
    CHECK_EQ(fe_event_take(m.vq.kick_fd), among);
    model_end(&m);
}

static void
test_packed_kicks(void)
{
    for (unsigned int i = 0; i < 5 * 2 * 5 * 5 * 2; i++) {
        check_kick(i % 5, i / 5 % 2, 1 + i / 10 % 5, i / 50 % 5, i / 250 % 2);
    }
}

static void
test_packed_event_flags(void)
{
    struct fe_buf buf = { GUEST_BASE, 1, false };
    struct model m;

    model_start(&m, FE_F_PACKED, 8, 0);
    device_event(&m, 0, false, VRING_PACKED_EVENT_FLAG_DISABLE);
    fe_vq_add(&m.vq, &buf, 1, 0, 0);
    fe_vq_publish_and_kick(&m.vq);
    CHECK_EQ(m.vq.n_kicks, 0);
    device_event(&m, 0, false, VRING_PACKED_EVENT_FLAG_ENABLE);
    fe_vq_add(&m.vq, &buf, 1, 0, 0);
    fe_vq_publish_and_kick(&m.vq);
    CHECK_EQ(m.vq.n_kicks, 1);

    /* The driver's own wishes. */
    device_takes_all(&m);
    CHECK(!fe_vq_want_calls(&m.vq, true));
    CHECK_EQ(m.vq.driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC);
    CHECK_EQ(m.vq.driver_event->off_wrap, 1 << 15);
    give_back(&m, 0, 1);
    CHECK(fe_vq_want_calls(&m.vq, true));
    CHECK(fe_vq_want_calls(&m.vq, false));
    CHECK_EQ(m.vq.driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    m.fe.features &= ~FE_F_EVENT_IDX;
    fe_vq_want_calls(&m.vq, true);
    CHECK_EQ(m.vq.driver_event->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
    model_end(&m);
}

static const struct test_case cases[] = {
    { "split", test_split, 0 },
    { "split-in-order", test_split_in_order, 0 },
    { "packed", test_packed, 0 },
    { "packed-in-order", test_packed_in_order, 0 },
    { "packed-kicks", test_packed_kicks, 60 },
    { "packed-event-flags", test_packed_event_flags, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
