/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests with a guest that writes to its rings at any moment, from another
 * thread, while bursts run: descriptors, flags and indexes change between one
 * load and the next.  Some of what it writes is right, so that bursts go on;
 * some cannot be, and breaks the ring.  Nothing outside of the guest's buffers
 * may be touched, no burst may hold more than the ring has, and nobody else
 * may notice.  With the sanitizers, that is where they earn their keep. */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "attack.h"
#include "vring.h"

#define BUF_SIZE 65536u
#define MAX_LEN 3000
#define TABLE_ENTRIES 64

static uint8_t frames[VHOST_BURST][MAX_LEN + 4096];

struct scribbler {
    struct fe_vq *vq;
    uint64_t rnd;
    pthread_t thread;
    _Atomic bool tame;          /* Write nothing that breaks the ring. */
    _Atomic bool end;
};

static void
store_desc(void *p, uint64_t addr, uint64_t word)
{
    uint64_t *words = p;

    __atomic_store_n(&words[0], addr, __ATOMIC_RELAXED);
    __atomic_store_n(&words[1], word, __ATOMIC_RELEASE);
}

/* The second word of a descriptor: in a split ring 'high' is the next one, in
 * a packed ring 'low' is the identifier. */
static uint64_t
desc_word(uint32_t len, uint16_t low, uint16_t high)
{
    return len | (uint64_t) low << 32 | (uint64_t) high << 48;
}

/* A buffer inside of attack_buf, or with 'wild' perhaps somewhere else. */
static void
random_buffer(uint64_t *rnd, bool wild, uint64_t *addr, uint32_t *len)
{
    uint64_t r = test_random(rnd);

    *addr = attack_buf + r % (BUF_SIZE - 4096);
    *len = 12 + (r >> 20) % 2000;
    if (wild && (r >> 32) % 64 == 0) {
        *addr = test_random(rnd);
    } else if (wild && (r >> 32) % 64 == 1) {
        *len = test_random(rnd) >> (r >> 40) % 64;
    }
}

/* Each ring's indirect table. */
static uint64_t
table_addr(const struct fe_vq *vq)
{
    return attack_table + vq->index * TABLE_ENTRIES * 16;
}

static uint16_t
write_flag(const struct fe_vq *vq)
{
    return vq->index & 1 ? 0 : VRING_DESC_F_WRITE;
}

static void
scribble_table(struct scribbler *s, bool wild)
{
    struct vring_desc *table = fe_ptr(&victim.fe, table_addr(s->vq),
                                      TABLE_ENTRIES * sizeof *table);
    uint64_t r = test_random(&s->rnd);
    bool packed = s->vq->ops == &fe_vq_packed;
    uint16_t flags = write_flag(s->vq);
    uint16_t next = (r >> 8) % TABLE_ENTRIES;
    uint64_t addr;
    uint32_t len;

    random_buffer(&s->rnd, wild, &addr, &len);
    if (wild && r % 64 == 0) {
        flags ^= VRING_DESC_F_WRITE;
    }
    if (wild && (r >> 16) % 64 == 0) {
        flags |= VRING_DESC_F_INDIRECT;
    }
    if (wild && !packed && r >> 24 & 1) {
        flags |= VRING_DESC_F_NEXT;
    }
    store_desc(&table[(r >> 32) % TABLE_ENTRIES], addr,
               packed ? desc_word(len, next, flags)
               : desc_word(len, flags, next));
}

/* Flags, address and length of descriptor 'i' of the ring itself, without the
 * bits that make it available.
 *
 * The other side may see one half of what was there before.  So if nothing may
 * be broken, what refers to a table always does. */
static uint16_t
random_desc(struct scribbler *s, bool wild, unsigned int i, uint64_t *addr,
            uint32_t *len)
{
    uint16_t flags = write_flag(s->vq);
    uint64_t r = test_random(&s->rnd);

    scribble_table(s, wild);
    random_buffer(&s->rnd, wild, addr, len);
    if (wild ? r % 8 == 0 : i % 4 == 3) {
        *addr = table_addr(s->vq);
        *len = (1 + r / 8 % 8) * 16;
        flags = VRING_DESC_F_INDIRECT;
    } else if (wild && r % 8 == 1) {
        flags |= VRING_DESC_F_NEXT;
    } else if (wild && r % 128 == 2) {
        flags ^= VRING_DESC_F_WRITE;
    }
    if (wild && (r >> 16) % 256 == 0) {
        flags ^= r >> 32;
    }
    return flags;
}

/* Puts some descriptor into slot 'i', with 'bits' that say whose it is. */
static void
scribble_slot(struct scribbler *s, bool wild, unsigned int i, uint16_t bits)
{
    const uint16_t both = VRING_PACKED_AVAIL | VRING_PACKED_USED;
    uint64_t addr;
    uint32_t len;
    uint16_t flags = random_desc(s, wild, i, &addr, &len);

    store_desc(&s->vq->ring[i], addr,
               desc_word(len, test_random(&s->rnd),
                         (flags & ~both) | (bits & both)));
}

static void
scribble_packed(struct scribbler *s, bool wild)
{
    uint64_t r = test_random(&s->rnd);
    unsigned int size = s->vq->size;

    if (r >> 50 & 1) {
        scribble_slot(s, wild, r % size, r >> 16);
    } else {
        /* As if the whole next lap were there, or the one after it. */
        for (unsigned int i = 0; i < size; i++) {
            scribble_slot(s, wild, i, (r >> 51 & 1 ? VRING_PACKED_AVAIL
                                       : VRING_PACKED_USED));
        }
    }
    fe_vq_set_driver_event(s->vq, r >> 8, r >> 24 & 3);
}

static void
scribble_split(struct scribbler *s, bool wild)
{
    struct fe_vq *vq = s->vq;
    uint64_t r = test_random(&s->rnd), addr;
    uint16_t used = fe_vq_published_used(vq);
    unsigned int i = r % vq->size;
    uint16_t flags, idx;
    uint32_t len;

    flags = random_desc(s, wild, i, &addr, &len);
    store_desc(&vq->desc[i], addr,
               desc_word(len, flags, (r >> 32) % (vq->size + (wild ? 4 : 0))));
    __atomic_store_n(&vq->avail->ring[(r >> 8) % vq->size],
                     (r >> 16) % (vq->size + (wild && r % 512 == 0)),
                     __ATOMIC_RELAXED);
    idx = used + (r >> 40) % (vq->size + 1);
    if (wild && (r >> 50) % 4096 == 0) {
        __atomic_store_n(&vq->avail->idx, r >> 24, __ATOMIC_RELEASE);
    } else if ((uint16_t) (idx - vq->avail_idx) <= vq->size) {
        /* An index that goes back would break the ring. */
        vq->avail_idx = idx;
        __atomic_store_n(&vq->avail->idx, idx, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&vq->avail->ring[vq->size], r >> 12, __ATOMIC_RELAXED);
}

/* All descriptors are good ones to begin with, not available. */
static void
prepare(struct scribbler *s)
{
    for (unsigned int i = 0; i < 100 * TABLE_ENTRIES; i++) {
        scribble_table(s, false);
    }
    for (unsigned int i = 0; i < s->vq->size; i++) {
        if (s->vq->ops == &fe_vq_packed) {
            scribble_slot(s, false, i, 0);
        } else {
            uint64_t addr;
            uint32_t len;
            uint16_t flags = random_desc(s, false, i, &addr, &len);

            store_desc(&s->vq->desc[i], addr, desc_word(len, flags, 0));
        }
    }
}

static void *
scribbler_main(void *s_)
{
    struct scribbler *s = s_;

    while (!atomic_load(&s->end)) {
        bool wild = !atomic_load(&s->tame);

        if (s->vq->ops == &fe_vq_packed) {
            scribble_packed(s, wild);
        } else {
            scribble_split(s, wild);
        }
    }
    return NULL;
}

/* Whether [p, p + len) is the guest's. */
static bool
is_guest_memory(const struct vhost_burst *b, const uint8_t *p, uint32_t len)
{
    const struct vhost_mem *mem = b->vr->mem;

    for (unsigned int i = 0; i < mem->n_regions; i++) {
        const struct vhost_region *r = &mem->regions[i];

        if (p >= r->host && len <= r->size
            && p - r->host <= r->size - len) {
            return true;
        }
    }
    return false;
}

/* What no guest can change about a burst. */
static void
check_burst(const struct vhost_burst *b, unsigned int n, unsigned int n_used)
{
    unsigned int slots = 0, segs = 0;

    CHECK_EQ(b->n, n);
    CHECK_LE(n, VHOST_BURST);
    CHECK_LE(n_used, VHOST_BURST_SEGS);
    for (unsigned int i = 0; i < n_used; i++) {
        slots += b->used[i].slots;
    }
    CHECK_LE(b->vr->packed ? slots : n_used, b->vr->size);
    for (unsigned int i = 0; i < n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];
        uint64_t len = 0;

        for (unsigned int k = 0; k < p->n_segs; k++) {
            const struct vhost_seg *s = &b->segs[p->first + k];

            CHECK_LT(p->first + k, VHOST_BURST_SEGS);
            CHECK(is_guest_memory(b, s->addr, s->len));
            CHECK_GT(s->len, 0);
            len += s->len;
        }
        if (p->n_segs) {
            CHECK_EQ(len, p->len);
        }
        segs += p->n_segs;
    }
    CHECK_LE(segs, VHOST_BURST_SEGS);
}

static unsigned int
receive(uint64_t *rnd)
{
    struct vhost_burst *b = rig_burst();
    unsigned int n = vhost_rxq_peek(victim.rxqs[0], b,
                                    1 + test_random(rnd) % VHOST_BURST);

    if (!n) {
        return 0;
    }
    check_burst(b, n, n);
    for (unsigned int i = 0; i < n; i++) {
        if (b->pkts[i].n_segs && b->pkts[i].len <= sizeof frames[i]) {
            vhost_burst_read(b, i, frames[i]);
        }
    }
    vhost_rxq_complete(victim.rxqs[0], b, (test_random(rnd) % 4 ? n
                                           : test_random(rnd) % (n + 1)));
    return n;
}

static unsigned int
send(uint64_t *rnd)
{
    struct vhost_burst *b = rig_burst();
    const void *src[VHOST_BURST];
    uint32_t lens[VHOST_BURST];
    unsigned int n = 1 + test_random(rnd) % VHOST_BURST, n_used = 0;
    enum vhost_reserve why;

    for (unsigned int i = 0; i < n; i++) {
        lens[i] = test_random(rnd) % (test_random(rnd) % 2 ? 100 : MAX_LEN);
        src[i] = frames[i];
    }
    n = vhost_sender_reserve(victim.senders[0], b, lens, n, false, &why);
    if (!n) {
        return 0;
    }
    for (unsigned int i = 0; i < n; i++) {
        n_used += b->pkts[i].n_buffers;
        CHECK_EQ(b->pkts[i].len, lens[i]);
    }
    CHECK_EQ(b->n_used, n_used);
    check_burst(b, n, n_used);
    if (!b->odd) {
        if (test_random(rnd) % 4 == 0) {
            n = test_random(rnd) % (n + 1);
            vhost_burst_cut(b, n);
        }
        vhost_burst_write_all(b, src, n);
    }
    vhost_sender_commit(victim.senders[0], b, false);
    return n;
}

/* Restarts what is broken.  Nobody resets the ring's memory, which the other
 * thread has. */
static unsigned int
restart_broken(void)
{
    unsigned int n = 0;

    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq = &victim.vqs[idx];

        if (rig_vring(&victim, idx).broken) {
            CHECK_GT(rig_guest_errors(&victim, idx), 0);
            fe_vq_stop(vq);
            fe_vq_start(vq, vq->ops == &fe_vq_packed ? 0x80008000 : 0, true);
            n++;
        }
    }
    return n;
}

/* Until 'goal' packets went by. */
static void
scribble(unsigned int size, bool tame, unsigned int goal)
{
    struct scribbler s[2];
    uint64_t rnd = size, canary, n_errors, packets = 0;
    unsigned int n_broken = 0;

    goal /= test_slow ? 4 : 1;
    attack_open(RIG_FEATURES, size);
    canary = fe_alloc(&victim.fe, 1, 65536, 64);
    pattern_fill(fe_ptr(&victim.fe, canary, 65536), 65536, 5);
    for (unsigned int i = 0; i < 2; i++) {
        s[i] = (struct scribbler) { &victim.vqs[i], i + size, 0, tame, false };
    }
    for (unsigned int i = 0; i < 2; i++) {
        prepare(&s[i]);
        CHECK(!pthread_create(&s[i].thread, NULL, scribbler_main, &s[i]));
    }
    for (unsigned int i = 0; packets < goal || (!tame && n_broken < 20);
         i++) {
        unsigned int n = receive(&rnd) + send(&rnd);

        packets += n;
        if (!n) {
            sched_yield();      /* It is the guest's turn. */
        }
        if (!tame && i % 16 == 0) {
            n_broken += restart_broken();
            if (n_broken > 300) {
                /* Stops have a budget. */
                atomic_store(&s[0].tame, true);
                atomic_store(&s[1].tame, true);
            }
        }
        if (i % 256 == 0) {
            for (unsigned int idx = 0; idx < 2; idx++) {
                uint16_t pos = rig_vring(&victim, idx).used_idx;

                CHECK(!(victim.c.features & FE_F_PACKED)
                      || (pos & 0x7fff) < size);
            }
        }
    }
    for (unsigned int i = 0; i < 2; i++) {
        atomic_store(&s[i].end, true);
        pthread_join(s[i].thread, NULL);
    }
    test_part("size %u: %llu packets, %u times broken", size,
              (unsigned long long int) packets, n_broken);
    n_errors = rig_all_guest_errors(&victim);
    if (tame) {
        CHECK_EQ(n_errors, 0);
    } else {
        CHECK_GE(n_errors, n_broken);
        CHECK_LE(n_errors, n_broken + 2);
    }
    CHECK_PATTERN((uint8_t *) fe_ptr(&victim.fe, canary, 65536), 65536, 5);
    attack_reset(0);
    attack_reset(1);
    rig_check_traffic(&victim, 0);
    rig_check_traffic(&victim, 1);
    rig_check_traffic(&bystander, 0);
    attack_close();
}

/* The smallest rings are those whose laps a burst could run past. */
static void
test_tame_1(void)
{
    scribble(1, true, 2000);
}

static void
test_tame_2(void)
{
    scribble(2, true, 10000);
}

static void
test_tame_16(void)
{
    scribble(16, true, 40000);
}

static void
test_tame_512(void)
{
    scribble(512, true, 40000);
}

static void
test_wild_2(void)
{
    scribble(2, false, 5000);
}

static void
test_wild_16(void)
{
    scribble(16, false, 20000);
}

static void
test_wild_512(void)
{
    scribble(512, false, 20000);
}

static const struct test_case cases[] = {
    { "tame-1", test_tame_1, 60 },
    { "tame-2", test_tame_2, 60 },
    { "tame-16", test_tame_16, 60 },
    { "tame-512", test_tame_512, 60 },
    { "wild-2", test_wild_2, 60 },
    { "wild-16", test_wild_16, 60 },
    { "wild-512", test_wild_512, 60 },
};

int
main(int argc, char *argv[])
{
    return rig_main(argc, argv, cases, N_ELEMS(cases));
}
