/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of ports behind a vIOMMU: translations that are asked for, told,
 * taken back, refused; front ends that do it wrong.  That bursts are the same
 * with all translations known is in test-ring.c and test-packed.c (groups
 * "iommu-"). */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"

#define FEATURES (RIG_FEATURES | FE_F_IOMMU)
#define PAGE UINT64_C(4096)

static struct rig rig;
static uint8_t frame[65536];

static struct vhost_iommu_info
iommu_info(void)
{
    struct vhost_iommu_info info;

    vhost_port_get_iommu(rig.port, &info);
    return info;
}

/* Whether the rings' own pages are known: their indexes move. */
static void
open_iommu(bool misses)
{
    struct rig_config c = { .features = FEATURES, .misses = misses };

    rig_open(&rig, "p", &c);
    CHECK(iommu_info().active);
}

/* Answers misses until 'COND' holds. */
#define SERVE_UNTIL(COND)                                               \
    do {                                                                \
        long long int until_ = test_now_us() + 10000000;                \
        while (!(COND)) {                                               \
            fe_iommu_serve(&rig.iommu, 1);                              \
            if (test_now_us() > until_) {                               \
                test_fail(__FILE__, __LINE__, "%s still false", #COND); \
            }                                                           \
        }                                                               \
    } while (0)

static bool
is_ready(void)
{
    return rig_info(&rig).state == VHOST_S_READY;
}

/* The guest sends 'len' bytes from 'addr' and the switch gets them, with
 * misses answered. */
static void
send_and_serve(uint64_t addr, size_t len, uint64_t seed)
{
    uint16_t head;
    uint32_t used;
    long int got;

    CHECK(rig_guest_send(&rig, 0, addr, len, seed));
    SERVE_UNTIL((got = rig_switch_recv(&rig, 0, frame, sizeof frame, NULL))
                >= 0);
    CHECK_EQ(got, len);
    CHECK_PATTERN(frame, len, seed);
    CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &used));
}

/* The same to the guest, which has posted buffers.  Only the first try may
 * find nothing. */
static long int
guest_takes(void)
{
    struct virtio_net_hdr_mrg_rxbuf h;

    return fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL, NULL,
                       0);
}

/* Nothing is told beforehand: rings start when their pages were answered,
 * packets wait and none is lost, and each page is asked for once. */
static void
test_misses(void)
{
    uint64_t buf;

    open_iommu(true);
    CHECK(!is_ready());
    SERVE_UNTIL(is_ready());
    SERVE_UNTIL(rig_vring(&rig, 0).started && rig_vring(&rig, 1).started);
    fe_iommu_serve(&rig.iommu, 20);

    buf = fe_alloc(&rig.fe, 0, 16 * PAGE, PAGE);
    for (unsigned int i = 0; i < 20; i++) {
        uint64_t n;

        send_and_serve(buf + i % 4 * PAGE, 1000, i);
        n = rig.iommu.n_misses;
        send_and_serve(buf + i % 4 * PAGE, 1000, 100 + i);
        CHECK_EQ(rig.iommu.n_misses, n);    /* Known by now. */
    }
    /* Over the edge of pages, a chain, and all at once. */
    send_and_serve(buf + 5 * PAGE - 100, 9000, 7);

    rig_post(&rig, 0, 64, 2048);
    SERVE_UNTIL(rig_switch_send(&rig, 0, 1500, 8, NULL));
    CHECK_EQ(guest_takes(), 1500);
    CHECK_PATTERN(frame, 1500, 8);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    CHECK_GT(rig_counter(&rig, 1, VHOST_C_IOTLB_MISSES), 0);
    CHECK_GT(rig_counter(&rig, 1, VHOST_C_IOTLB_HITS), 0);
    CHECK_GT(iommu_info().n_entries, 0);
    CHECK_EQ(iommu_info().n_asked, rig.iommu.n_misses);
    rig_close(&rig);
}

/* A driver's first buffers are looked up before there is a packet for them;
 * after one packet has waited, none of a whole ring does. */
static void
test_ahead(void)
{
    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_iommu_serve(&rig.iommu, 20);
    rig_post(&rig, 0, 250, 2048);
    fe_iommu_serve(&rig.iommu, 100);
    for (unsigned int i = 0; i < 250; i++) {
        test_part("packet %u", i);
        CHECK(rig_switch_send(&rig, 0, 1500, i, NULL));
        CHECK_EQ(guest_takes(), 1500);
        CHECK_PATTERN(frame, 1500, i);
    }
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_IOTLB_MISSES), 0);
    CHECK_GT(rig_counter(&rig, 0, VHOST_C_IOTLB_AHEAD), 0);
    rig_close(&rig);
}

/* Long after the last message the guest makes new buffers available, as one
 * does that maps its memory once and begins to use more of it.  They are asked
 * for as soon as anything is sent, and not when it is their turn. */
static void
test_beyond(void)
{
    uint64_t n;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    rig_post(&rig, 0, 50, 2048);
    CHECK_GT(fe_iommu_serve(&rig.iommu, 2000), 0);
    fe_alloc(&rig.fe, 0, 1 << 20, PAGE);
    rig_post(&rig, 0, 150, 2048);
    n = rig.iommu.n_misses;
    CHECK_EQ(fe_iommu_serve(&rig.iommu, 500), 0);   /* Nobody looks. */
    for (unsigned int i = 0; i < 200; i++) {
        test_part("packet %u", i);
        CHECK(rig_switch_send(&rig, 0, 1500, i, NULL));
        CHECK_EQ(guest_takes(), 1500);
        CHECK_PATTERN(frame, 1500, i);
        if (i < 40) {
            fe_iommu_serve(&rig.iommu, i ? 1 : 100);
        } else {
            CHECK_EQ(fe_iommu_serve(&rig.iommu, 0), 0);
        }
    }
    CHECK_GT(rig.iommu.n_misses, n);
    CHECK_EQ(rig_counter(&rig, 0, VHOST_C_IOTLB_MISSES), 0);
    rig_close(&rig);
}

/* Tables behind a vIOMMU: first the table is asked for, then its buffers. */
static void
test_indirect(void)
{
    struct fe_buf bufs[8];
    uint64_t addr;
    long int got;
    unsigned int n;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_vq_use_indirect(RIG_TX(&rig, 0), 0, 8);
    addr = fe_alloc(&rig.fe, 0, 4 * PAGE, PAGE) + 10;
    pattern_fill(frame, 9000, 3);
    fe_net_write(&rig.fe, addr, NULL, frame, 9000);
    n = fe_split(bufs, addr, 9000 + fe_net_header_len(&rig.fe), 7, false);
    CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), bufs, n, FE_INDIRECT, 0), 0);
    fe_vq_publish(RIG_TX(&rig, 0));
    memset(frame, 0, sizeof frame);
    SERVE_UNTIL((got = rig_switch_recv(&rig, 0, frame, sizeof frame, NULL))
                >= 0);
    CHECK_EQ(got, 9000);
    CHECK_PATTERN(frame, 9000, 3);
    rig_close(&rig);
}

/* An address moves to another page again and again, as in a guest that maps
 * each packet: what is sent is what is there now. */
static void
test_remap(void)
{
    const uint64_t iova = UINT64_C(0x7000000000);
    uint64_t pages[2];

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    pages[0] = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    pages[1] = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    for (unsigned int i = 0; i < 200; i++) {
        test_part("mapping %u", i);
        /* The other page has other contents at all times. */
        memset(fe_ptr(&rig.fe, pages[1 - i % 2], PAGE), 0xee, PAGE);
        fe_iommu_map(&rig.iommu, iova, pages[i % 2], FE_RW);
        send_and_serve(pages[i % 2], 500, i);
        fe_iommu_map(&rig.iommu, iova, 0, 0);
        CHECK_EQ(fe_iommu_invalidate(&rig.iommu, iova, PAGE), 0);
    }
    CHECK_EQ(iommu_info().n_invalidations, 200);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* A polling thread that receives all the time. */
struct poller {
    pthread_t thread;
    _Atomic bool stop;
    _Atomic uint64_t n;         /* Frames received. */
    _Atomic uint64_t wrong;     /* Of another content than 'token'. */
    _Atomic unsigned int token;
};

static void *
poll_thread(void *poller_)
{
    struct poller *poller = poller_;
    struct vhost_burst *b = rig_burst();
    uint8_t got[2048];

    while (!atomic_load(&poller->stop)) {
        unsigned int n = vhost_rxq_peek(rig.rxqs[0], b, 32);

        for (unsigned int i = 0; i < n; i++) {
            vhost_burst_read(b, i, got);
            for (unsigned int k = 0; k < b->pkts[i].len; k++) {
                if (got[k] != (uint8_t) atomic_load(&poller->token)) {
                    atomic_fetch_add(&poller->wrong, 1);
                    break;
                }
            }
        }
        if (n) {
            vhost_rxq_complete(rig.rxqs[0], b, n);
            atomic_fetch_add(&poller->n, n);
        }
    }
    return NULL;
}

/* The same beside a polling thread.  The guest keeps an address in the ring
 * at all times, and what the answer to the invalidation promises is that the
 * old page is not looked at after it: it gets another content at once. */
static void
test_stale(void)
{
    const uint64_t iova = UINT64_C(0x7000000000);
    struct poller poller = { .stop = false };
    unsigned int rounds = test_slow ? 100 : 400;
    size_t hlen;
    uint64_t pages[2];
    uint64_t sent = 0;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_iommu_serve(&rig.iommu, 20);
    hlen = fe_net_header_len(&rig.fe);
    pages[0] = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    pages[1] = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    CHECK_EQ(pthread_create(&poller.thread, NULL, poll_thread, &poller), 0);
    for (unsigned int i = 0; i < rounds; i++) {
        struct fe_buf buf = { pages[i % 2], hlen + 1000, false };
        uint8_t *p = fe_ptr(&rig.fe, buf.addr, PAGE);
        uint16_t head;
        uint32_t len;

        test_part("mapping %u", i);
        memset(p, 0, PAGE);
        memset(p + hlen, (uint8_t) i, 1000);
        atomic_store(&poller.token, i);
        fe_iommu_map(&rig.iommu, iova, buf.addr, FE_RW);
        for (unsigned int k = 0; k < 40; k++) {
            CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), &buf, 1, 0, 0), 0);
            sent++;
        }
        fe_vq_publish(RIG_TX(&rig, 0));
        SERVE_UNTIL(atomic_load(&poller.n) == sent);
        while (fe_vq_used(RIG_TX(&rig, 0), &head, &len)) {
            continue;
        }
        fe_iommu_map(&rig.iommu, iova, 0, 0);
        CHECK_EQ(fe_iommu_invalidate(&rig.iommu, iova, PAGE), 0);
        memset(p, 0xee, PAGE);
    }
    atomic_store(&poller.stop, true);
    pthread_join(poller.thread, NULL);
    CHECK_EQ(atomic_load(&poller.wrong), 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* An invalidation is not answered while a burst is under way that may have
 * found what it takes back. */
static void
test_invalidate_in_burst(void)
{
    struct vhost_burst *b = rig_burst();
    struct fe_iotlb_msg msg = { .size = PAGE, .type = FE_IOTLB_INVALIDATE };
    struct fe_header h;
    uint64_t addr, answer;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    send_and_serve(addr, 100, 1);
    for (int with_burst = 1; with_burst >= 0; with_burst--) {
        test_part("with burst: %d", with_burst);
        CHECK(rig_guest_send(&rig, 0, addr, 100, 2));
        SERVE_UNTIL(vhost_rxq_peek(rig.rxqs[0], b, 1) == 1);
        if (!with_burst) {
            vhost_rxq_complete(rig.rxqs[0], b, 1);
        }
        msg.iova = fe_dma_addr(&rig.fe, addr);
        CHECK(fe_send(&rig.fe, FE_IOTLB_MSG, FE_NEED_REPLY, &msg,
                      sizeof msg));
        if (with_burst) {
            CHECK_EQ(fe_receive(&rig.fe, &h, &answer, 8, 100),
                     FE_GOT_NOTHING);
            vhost_burst_read(b, 0, frame);
            CHECK_PATTERN(frame, 100, 2);
            vhost_rxq_complete(rig.rxqs[0], b, 1);
        }
        CHECK_EQ(fe_reply_u64(&rig.fe, FE_IOTLB_MSG), 0);
    }
    /* No ring was stopped for that. */
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* Blocks of all sizes, found at both ends and not beyond, and taken back in
 * part. */
static void
test_sizes(void)
{
    static const uint64_t sizes[] = {
        PAGE, 2 * PAGE, 7 * PAGE, 8 * PAGE, 9 * PAGE, 511 * PAGE, 512 * PAGE,
        513 * PAGE, 2047 * PAGE,
    };
    uint64_t user = 0, base = UINT64_C(0x123456789) * PAGE;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    user = rig.fe.regions[0].user_addr;
    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        for (unsigned int shift = 0; shift < 3; shift++) {
            uint64_t iova = base + shift * 3 * PAGE;
            uint64_t last = iova + sizes[i] - PAGE;
            unsigned int n = iommu_info().n_entries;

            test_part("%llu pages at %#llx",
                      (unsigned long long int) (sizes[i] / PAGE),
                      (unsigned long long int) iova);
            CHECK_EQ(fe_iommu_update(&rig.iommu, iova, sizes[i], user, FE_RW),
                     0);
            CHECK_GT(iommu_info().n_entries, n);
            CHECK_LE(iommu_info().n_entries, n + 40);
            CHECK_EQ(fe_iommu_invalidate(&rig.iommu, iova - PAGE, PAGE), 0);
            CHECK_EQ(fe_iommu_invalidate(&rig.iommu, last + PAGE, 1), 0);
            CHECK_GT(iommu_info().n_entries, n);
            /* One byte is enough. */
            CHECK_EQ(fe_iommu_invalidate(&rig.iommu, last + PAGE - 1, 1), 0);
            CHECK_EQ(fe_iommu_invalidate(&rig.iommu, iova, sizes[i]), 0);
            CHECK_EQ(iommu_info().n_entries, n);
        }
    }
    /* A size of 0 is what remains of 2^64. */
    CHECK_EQ(fe_iommu_update(&rig.iommu, base, PAGE, user, FE_RW), 0);
    CHECK_EQ(fe_iommu_invalidate(&rig.iommu, 0, 0), 0);
    CHECK_EQ(iommu_info().n_entries, 0);
    rig_close(&rig);
}

/* A page that may be read only is no receive buffer, one that may be written
 * only not one to send from: the guest's error, as soon as the front end has
 * said so. */
static void
test_rights(void)
{
    for (unsigned int dir = 0; dir < 2; dir++) {
        struct fe_vq *vq;
        uint64_t addr, iova = UINT64_C(0x7000000000);
        struct fe_buf buf;

        test_part("ring %u", dir);
        open_iommu(true);
        SERVE_UNTIL(is_ready());
        fe_iommu_serve(&rig.iommu, 20);
        vq = &rig.vqs[dir];
        addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
        fe_iommu_map(&rig.iommu, iova, addr, dir ? FE_WO : FE_RO);
        buf = (struct fe_buf) { addr, 1000, !dir };
        CHECK_GE(fe_vq_add(vq, &buf, 1, 0, 0), 0);
        fe_vq_publish(vq);
        CHECK_EQ(rig_guest_errors(&rig, dir), 0);
        SERVE_UNTIL((dir ? rig_switch_recv(&rig, 0, frame, sizeof frame, NULL)
                         >= 0
                     : rig_switch_send(&rig, 0, 500, 1, NULL))
                    || rig_vring(&rig, dir).broken);
        CHECK(rig_vring(&rig, dir).broken);
        CHECK_EQ(rig_counter(&rig, dir, VHOST_C_BAD_ADDRESS), 1);
        CHECK(fe_event_wait(vq->err_fd, 5000));
        rig_close(&rig);
    }
}

/* A front end may give rights one by one. */
static void
test_rights_one_by_one(void)
{
    uint64_t addr, iova = UINT64_C(0x7000000000);
    struct fe_buf buf;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_iommu_serve(&rig.iommu, 20);
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    fe_iommu_map(&rig.iommu, iova, addr, FE_RO);
    send_and_serve(addr, 1000, 1);
    fe_iommu_map(&rig.iommu, iova, addr, FE_WO);
    buf = (struct fe_buf) { addr, 1600, true };
    CHECK_GE(fe_vq_add(RIG_RX(&rig, 0), &buf, 1, 0, 0), 0);
    fe_vq_publish(RIG_RX(&rig, 0));
    SERVE_UNTIL(rig_switch_send(&rig, 0, 1500, 2, NULL));
    CHECK_EQ(guest_takes(), 1500);
    CHECK_PATTERN(frame, 1500, 2);
    send_and_serve(addr, 1000, 3);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* The pages of rings go and come back: rings stop and go on where they
 * were, and the link stays up. */
static void
test_ring_pages(void)
{
    uint64_t addr, n_links;

    open_iommu(false);
    CHECK(is_ready());
    rig_check_traffic(&rig, 0);
    n_links = rig_info(&rig).n_link_changes;
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    for (unsigned int i = 0; i < 6; i++) {
        const struct fe_vq *vq = &rig.vqs[i % 2];
        uint64_t parts[3] = { vq->desc_addr, vq->avail_addr, vq->used_addr };

        test_part("part %u of ring %u", i / 2, i % 2);
        CHECK_EQ(fe_iommu_invalidate(&rig.iommu,
                                     fe_dma_addr(&rig.fe, parts[i / 2]), 1),
                 0);
        CHECK_EQ(rig_info(&rig).n_link_changes, n_links);
        CHECK(rig_guest_send(&rig, 0, addr, 100, i));
        if (i % 2) {
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
        }
        SERVE_UNTIL(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL)
                    == 100);
        CHECK_PATTERN(frame, 100, i);
        rig_post(&rig, 0, 1, 2048);
        SERVE_UNTIL(rig_switch_send(&rig, 0, 400, i, NULL));
        CHECK_EQ(guest_takes(), 400);
        CHECK_PATTERN(frame, 400, i);
    }
    CHECK_EQ(rig_info(&rig).n_link_changes, n_links);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    /* Everything at once, as after a change of the domain. */
    CHECK_EQ(fe_iommu_invalidate(&rig.iommu, 0, 0), 0);
    CHECK_EQ(iommu_info().n_entries, 0);
    send_and_serve(addr, 700, 77);
    CHECK_EQ(rig_info(&rig).n_link_changes, n_links);
    rig_close(&rig);
}

/* What was known when the driver stopped is not used when it comes back: the
 * front end says nothing of what happens in between. */
static void
test_restart(void)
{
    const uint64_t iova = UINT64_C(0x7000000000);
    uint64_t pages[2];

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    for (unsigned int i = 0; i < 2; i++) {
        pages[i] = fe_alloc(&rig.fe, 0, PAGE, PAGE);
        memset(fe_ptr(&rig.fe, pages[i], PAGE), 0xee, PAGE);
    }
    fe_iommu_map(&rig.iommu, iova, pages[0], FE_RW);
    send_and_serve(pages[0], 300, 1);
    for (unsigned int i = 0; i < 2; i++) {
        rig.bases[i] = fe_vq_stop(&rig.vqs[i]);
    }
    CHECK_EQ(iommu_info().n_entries, 0);
    fe_iommu_map(&rig.iommu, iova, pages[1], FE_RW);
    for (unsigned int i = 0; i < 2; i++) {
        rig_start_ring(&rig, i, rig.bases[i]);
    }
    SERVE_UNTIL(is_ready());
    send_and_serve(pages[1], 300, 2);
    /* Another memory table: nothing is known either. */
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    send_and_serve(pages[1], 300, 3);
    rig_close(&rig);
}

/* A guest that never runs out of unknown addresses: what is asked at the same
 * time has a limit, whoever is not answered waits, and the others go on. */
static void
test_flood_of_misses(void)
{
    struct fe_iotlb_msg miss;
    long long int start;
    unsigned int n = 0;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_iommu_serve(&rig.iommu, 20);
    start = test_now_us();
    for (unsigned int i = 0; i < 250; i++) {
        struct fe_buf buf = { UINT64_C(0x900000000000) + i * 64 * PAGE,
                              60 * PAGE, false };

        CHECK_GE(fe_vq_add(RIG_TX(&rig, 0), &buf, 1, 0, 0), 0);
    }
    fe_vq_publish(RIG_TX(&rig, 0));
    for (unsigned int i = 0; i < 1000; i++) {
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
    }
    /* Within a round, of 50 ms and more, at most what the table holds. */
    while (n < 100000 && fe_iommu_receive(&rig.iommu, &miss, 20)) {
        n++;
    }
    CHECK_GT(n, 32);
    CHECK_LE(n, 1024 * (2 + (test_now_us() - start) / 50000));
    /* The other direction does not wait for it. */
    rig_post(&rig, 0, 1, 2048);
    SERVE_UNTIL(rig_switch_send(&rig, 0, 1500, 8, NULL));
    CHECK_EQ(guest_takes(), 1500);
    /* Asked again, more and more seldom. */
    WAIT_FOR(fe_iommu_receive(&rig.iommu, &miss, 1));
    CHECK(fe_alive(&rig.fe, 5000));
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* A front end that tells ever more: the table has a size, and what fell out of
 * it is asked for again. */
static void
test_flood_of_updates(void)
{
    uint64_t user, iova = UINT64_C(0xa00000000000);
    uint64_t addr;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    user = rig.fe.regions[0].user_addr;
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    send_and_serve(addr, 300, 1);
    for (unsigned int i = 0; i < (test_slow ? 4000 : 20000); i++) {
        /* 7 pages are 7 entries: odd addresses fit no larger block. */
        CHECK_EQ(fe_iommu_update(&rig.iommu, iova + PAGE, 7 * PAGE, user,
                                 FE_RW), 0);
        iova += 16 * PAGE;
    }
    CHECK_LE(iommu_info().n_entries, 65536);
    CHECK_GT(iommu_info().n_entries, test_slow ? 20000 : 40000);
    send_and_serve(addr, 300, 2);
    rig_post(&rig, 0, 1, 2048);
    SERVE_UNTIL(rig_switch_send(&rig, 0, 1500, 8, NULL));
    CHECK_EQ(fe_iommu_invalidate(&rig.iommu, 0, 0), 0);
    CHECK_EQ(iommu_info().n_entries, 0);
    rig_close(&rig);
}

/* Messages that cannot be. */
static void
test_bad_messages(void)
{
    struct fe_iotlb_msg msg;
    uint64_t user, addr;

    open_iommu(false);
    user = rig.fe.regions[0].user_addr;
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
#define BAD(IOVA, SIZE, USER, PERM)                                     \
    CHECK_NE(fe_iommu_update(&rig.iommu, IOVA, SIZE, USER, PERM), 0)
    BAD(PAGE, 0, user, FE_RW);
    BAD(PAGE, PAGE, user, 0);
    BAD(PAGE, PAGE, user, 4);
    BAD(PAGE + 1, PAGE, user, FE_RW);
    BAD(PAGE, PAGE + 1, user, FE_RW);
    BAD(PAGE, PAGE, user + 8, FE_RW);
    BAD(-PAGE, 2 * PAGE, user, FE_RW);
    BAD(PAGE, PAGE, user - PAGE, FE_RW);
    BAD(PAGE, rig.fe.regions[0].size + PAGE, user, FE_RW);
    BAD(PAGE, UINT64_MAX - PAGE + 1, user, FE_RW);
    BAD(PAGE, PAGE, UINT64_MAX - PAGE + 1, FE_RW);
    for (unsigned int type = 0; type < 256; type++) {
        if (type != FE_IOTLB_UPDATE && type != FE_IOTLB_INVALIDATE) {
            memset(&msg, 0, sizeof msg);
            msg.type = type;
            CHECK_NE(fe_ask(&rig.fe, FE_IOTLB_MSG, &msg, sizeof msg), 0);
        }
    }
    rig_check_traffic(&rig, 0);
    send_and_serve(addr, 300, 1);

    /* Not asked for an answer, it ends the connection. */
    CHECK(fe_send(&rig.fe, FE_IOTLB_MSG, 0, &msg, sizeof msg));
    CHECK(fe_closed(&rig.fe, 5000));
    rig_close(&rig);

    /* Without a vIOMMU it has no meaning. */
    {
        struct rig_config c = { .protocol = RIG_PROTOCOL
                                            | FE_P_BACKEND_REQ };

        rig_open(&rig, "q", &c);
        memset(&msg, 0, sizeof msg);
        msg.type = FE_IOTLB_INVALIDATE;
        CHECK_NE(fe_ask(&rig.fe, FE_IOTLB_MSG, &msg, sizeof msg), 0);
        rig_check_traffic(&rig, 0);
        rig_close(&rig);
    }
}

/* Waits until the port has forgotten a channel that it finds closed. */
static void
test_channel_closed(void)
{
    uint64_t addr;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_iommu_serve(&rig.iommu, 20);
    addr = fe_alloc(&rig.fe, 0, 2 * PAGE, PAGE);
    send_and_serve(addr, 100, 1);
    close(rig.iommu.channel);
    rig.iommu.channel = dup(rig.iommu.theirs);
    close(rig.iommu.theirs);
    rig.iommu.theirs = dup(rig.iommu.channel);
    WAIT_FOR(strstr(rig_info(&rig).error, "back-end channel"));

    /* What is known still serves; what is not waits. */
    send_and_serve(addr, 100, 2);
    CHECK(rig_guest_send(&rig, 0, addr + PAGE, 100, 3));
    for (unsigned int i = 0; i < 100; i++) {
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
    }
    CHECK_EQ(fe_iommu_update(&rig.iommu, fe_dma_addr(&rig.fe, addr) + PAGE,
                             PAGE, fe_user_addr(&rig.fe, addr + PAGE), FE_RW),
             0);
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 100);
    CHECK_PATTERN(frame, 100, 3);

    /* Another one. */
    fe_iommu_connect(&rig.iommu);
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, PAGE, PAGE), 100, 4));
    SERVE_UNTIL(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL) == 100);
    CHECK_PATTERN(frame, 100, 4);
    rig_close(&rig);
}

/* A channel that is full of garbage, read by nobody, or no socket at all. */
static void
test_bad_channel(void)
{
    int fds[2], n = 0;
    uint64_t addr;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    fe_iommu_serve(&rig.iommu, 20);

    /* Whatever comes from there is not looked at. */
    memset(frame, 0xa5, sizeof frame);
    while (send(rig.iommu.channel, frame, 1024, MSG_DONTWAIT) > 0) {
        n++;
    }
    CHECK_GT(n, 10);
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    send_and_serve(addr, 100, 1);

    /* No room from our side to theirs: it waits, and goes on when there is. */
    while (send(rig.iommu.theirs, frame, 1024, MSG_DONTWAIT) > 0) {
        continue;
    }
    addr = fe_alloc(&rig.fe, 0, PAGE, PAGE);
    CHECK(rig_guest_send(&rig, 0, addr, 100, 2));
    for (unsigned int i = 0; i < 100; i++) {
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
        CHECK(fe_alive(&rig.fe, 5000));
    }
    while (recv(rig.iommu.channel, frame, 1024, MSG_DONTWAIT) == 1024
           && frame[0] == 0xa5) {
        continue;
    }
    fe_iommu_connect(&rig.iommu);
    SERVE_UNTIL(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL) == 100);
    CHECK_PATTERN(frame, 100, 2);

    /* A pipe. */
    CHECK_EQ(pipe(fds), 0);
    fe_ask_fds(&rig.fe, FE_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1);
    CHECK_HAS(rig_info(&rig).error, "socket");
    close(fds[0]);
    close(fds[1]);
    send_and_serve(addr, 100, 3);
    rig_close(&rig);
}

/* Traffic both ways while the front end invalidates at random and answers
 * what is asked: everything arrives, in order, unchanged. */
static void
test_churn(void)
{
    unsigned int total = test_slow ? 300 : 2000;
    uint64_t random = 1, base, n_sent = 0, n_got = 0;
    uint16_t head;
    uint32_t used;

    open_iommu(true);
    SERVE_UNTIL(is_ready());
    base = fe_alloc(&rig.fe, 0, 64 * PAGE, PAGE);
    while (n_got < total) {
        struct fe_vq *tx = RIG_TX(&rig, 0);

        for (unsigned int i = 0; i < test_random(&random) % 20
             && tx->n_free > 64 && n_sent - n_got < 60; i++) {
            /* No two in the ring use the same page. */
            rig_guest_send(&rig, 0, base + n_sent % 64 * PAGE, 1400, n_sent);
            n_sent++;
        }
        if (test_random(&random) % 3 == 0) {
            uint64_t page = test_random(&random) % 64;

            CHECK_EQ(fe_iommu_invalidate(&rig.iommu,
                                         fe_dma_addr(&rig.fe, base)
                                         + page * PAGE, PAGE), 0);
        }
        if (test_random(&random) % 50 == 0) {
            CHECK_EQ(fe_iommu_invalidate(&rig.iommu, 0, 0), 0);
        }
        while (rig_switch_recv(&rig, 0, frame, sizeof frame, NULL) >= 0) {
            CHECK_PATTERN(frame, 1400, n_got);
            n_got++;
            CHECK(fe_vq_used(tx, &head, &used));
        }
        fe_iommu_serve(&rig.iommu, 0);
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "misses", test_misses, 0 },
    { "ahead", test_ahead, 0 },
    { "beyond", test_beyond, 0 },
    { "indirect", test_indirect, 0 },
    { "remap", test_remap, 0 },
    { "stale", test_stale, 60 },
    { "invalidate-in-burst", test_invalidate_in_burst, 0 },
    { "sizes", test_sizes, 0 },
    { "rights", test_rights, 0 },
    { "rights-one-by-one", test_rights_one_by_one, 0 },
    { "ring-pages", test_ring_pages, 0 },
    { "restart", test_restart, 0 },
    { "flood-of-misses", test_flood_of_misses, 0 },
    { "flood-of-updates", test_flood_of_updates, 60 },
    { "bad-messages", test_bad_messages, 0 },
    { "channel-closed", test_channel_closed, 0 },
    { "bad-channel", test_bad_channel, 0 },
    { "churn", test_churn, 60 },
};

int
main(int argc, char *argv[])
{
    return rig_main(argc, argv, cases, N_ELEMS(cases));
}
