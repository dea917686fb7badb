/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of what a port offers, when that changes, and of features beyond
 * those of the stock ports, which have to be asked for. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"

#define F_RING_RESET FE_BIT(40)

/* Offers. */

static void
set_offer(struct rig *rig, uint64_t features, uint64_t tolerated,
          unsigned int queue_pairs)
{
    struct vhost_offer offer = {
        .features = features,
        .tolerated = tolerated,
        .protocol_features = vhost_supported_protocol_features,
        .queue_pairs = queue_pairs,
    };

    CHECK_EQ(vhost_port_set_offer(rig->port, &offer), 0);
}

/* Takes effect with the next connection, not with the present one. */
static void
test_offer_changes(void)
{
    uint64_t all = vhost_supported_features;
    uint64_t less = all & ~FE_F_PACKED;
    struct vhost_offer bad;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    CHECK(!rig_info(&rig).offer_pending);
    set_offer(&rig, less, 0, RIG_MAX_PAIRS);
    CHECK(!rig_info(&rig).offer_pending);
    CHECK_EQ(rig_info(&rig).offer.features, less);

    rig_connect(&rig);
    CHECK_EQ(rig.fe.offered, less);
    CHECK(!rig_info(&rig).offer_pending);
    rig_start(&rig);
    set_offer(&rig, all, 0, 1);
    CHECK(rig_info(&rig).offer_pending);
    CHECK_EQ(rig_info(&rig).offer.features, all);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_FEATURES), less);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_QUEUE_NUM), RIG_MAX_PAIRS);
    rig_check_traffic(&rig, 0);

    rig_disconnect(&rig);
    CHECK(!rig_info(&rig).offer_pending);
    rig_connect(&rig);
    CHECK_EQ(rig.fe.offered, all);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_QUEUE_NUM), 1);

    test_part("beyond what is supported");
    bad = rig_info(&rig).offer;
    bad.features |= FE_BIT(63);
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    bad = rig_info(&rig).offer;
    bad.tolerated |= FE_BIT(63);
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    bad = rig_info(&rig).offer;
    bad.protocol_features |= FE_BIT(63);
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    bad = rig_info(&rig).offer;
    bad.queue_pairs = RIG_MAX_PAIRS + 1;
    CHECK_NE(vhost_port_set_offer(rig.port, &bad), 0);
    CHECK(!rig_info(&rig).offer_pending);
    rig_close(&rig);
}

/* A front end has no more rings than it was told. */
static void
test_offered_pairs(void)
{
    struct fe_vring_state state = { 2, 256 };
    uint64_t value = 3 | FE_NOFD;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    set_offer(&rig, vhost_supported_features, 0, 1);
    rig_connect(&rig);
    rig_start(&rig);
    CHECK_NE(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 2, 256), 0);
    CHECK_NE(fe_ask_u64(&rig.fe, FE_SET_VRING_KICK, value), 0);
    rig_check_traffic(&rig, 0);
    CHECK(fe_send(&rig.fe, FE_SET_VRING_NUM, 0, &state, sizeof state));
    CHECK(fe_closed(&rig.fe, 5000));
    rig_close(&rig);
}

/* What a guest brings from elsewhere is taken, though not offered. */
static void
test_tolerated(void)
{
    uint64_t offered = vhost_supported_features & ~(FE_F_CSUM | FE_F_MTU);
    uint64_t wanted = RIG_FEATURES | FE_F_CSUM;
    struct rig rig;

    rig_create(&rig, "p", NULL);
    set_offer(&rig, offered, FE_F_CSUM, RIG_MAX_PAIRS);
    rig_connect(&rig);
    CHECK_EQ(rig.fe.offered, offered);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_FEATURES, wanted), 0);
    CHECK_EQ(rig_info(&rig).features, wanted);
    CHECK_NE(fe_ask_u64(&rig.fe, FE_SET_FEATURES, wanted | FE_F_MTU), 0);
    CHECK_EQ(rig_info(&rig).features, wanted);

    /* Not for ever: the next front end may not. */
    set_offer(&rig, offered, 0, RIG_MAX_PAIRS);
    rig_disconnect(&rig);
    rig_connect(&rig);
    CHECK_NE(fe_ask_u64(&rig.fe, FE_SET_FEATURES, wanted), 0);
    rig_close(&rig);
}

/* RING_RESET. */

static atomic_bool neighbour_stops;

/* Queue pair 1: what its guest sends is received at once, always. */
static void *
neighbour_main(void *rig_)
{
    struct rig *rig = rig_;
    uint64_t buf = fe_alloc(&rig->fe, 0, 2048, 64);
    uint8_t frame[2048];
    uint64_t seed;

    for (seed = 1; !atomic_load(&neighbour_stops); seed++) {
        uint16_t head;
        uint32_t len;

        CHECK(rig_guest_send(rig, 1, buf, 300, seed));
        CHECK_EQ(rig_switch_recv(rig, 1, frame, sizeof frame, NULL), 300);
        CHECK_PATTERN(frame, 300, seed);
        CHECK(fe_vq_used(RIG_TX(rig, 1), &head, &len));
        CHECK_EQ(RIG_TX(rig, 1)->chains[head].token, seed);
    }
    CHECK_GT(seed, 1);
    return NULL;
}

/* The guest resets ring 'idx' alone (virtio 1.2, section 2.6.1) and sets it up
 * again from its beginning.  'disable': the front end disables it
 * meanwhile. */
static void
reset_ring(struct rig *rig, unsigned int idx, bool disable)
{
    struct fe_vq *vq = &rig->vqs[idx];

    if (disable) {
        CHECK_EQ(fe_vq_enable(vq, false), 0);
    }
    fe_vq_stop(vq);
    CHECK(!rig_vring(rig, idx).started);
    fe_vq_reset(vq);
    fe_vq_start(vq, fe_vq_base(vq), disable);
    CHECK(rig_vring(rig, idx).started);
    CHECK(rig_vring(rig, idx).enabled);
}

static void
test_ring_reset(void)
{
    const struct rig_config c = {
        .features = RIG_FEATURES | F_RING_RESET,
        .n_pairs = 2,
        .n_senders = 2,
    };
    uint64_t n_changes;
    pthread_t thread;
    struct rig rig;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_info(&rig).features & F_RING_RESET, F_RING_RESET);
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    n_changes = rig_info(&rig).n_link_changes;

    CHECK(!pthread_create(&thread, NULL, neighbour_main, &rig));
    for (unsigned int i = 0; i < 100; i++) {
        test_part("reset %u", i);
        reset_ring(&rig, i & 1, i & 2);
    }
    atomic_store(&neighbour_stops, true);
    CHECK(!pthread_join(thread, NULL));

    CHECK_EQ(rig_info(&rig).n_link_changes, n_changes);
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    for (unsigned int i = 0; i < 20; i++) {
        rig_check_traffic(&rig, 1);
        rig_check_traffic(&rig, 0);
        reset_ring(&rig, 0, false);
        reset_ring(&rig, 1, i & 1);
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* Buffers that the device had at the reset are not touched after it. */
static void
test_ring_reset_forgets(void)
{
    const struct rig_config c = {
        .features = RIG_FEATURES | F_RING_RESET,
    };
    uint8_t frame[2048];
    struct rig rig;
    uint64_t buf;

    rig_open(&rig, "p", &c);
    buf = fe_alloc(&rig.fe, 0, 2048, 64);
    for (unsigned int i = 0; i < 5; i++) {
        CHECK(rig_guest_send(&rig, 0, buf, 100, i));
    }
    rig_post(&rig, 0, 5, 2048);
    reset_ring(&rig, 1, false);
    reset_ring(&rig, 0, false);
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
    CHECK(!rig_switch_send(&rig, 0, 100, 1, NULL));
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* A ring that its guest has broken lives again after its own reset, and the
 * front end was told by the error descriptor. */
static void
test_ring_reset_mends(void)
{
    const struct rig_config c = {
        .features = RIG_FEATURES | F_RING_RESET,
        .n_pairs = 2,
        .n_senders = 2,
    };
    uint8_t frame[2048];
    struct rig rig;

    rig_open(&rig, "p", &c);
    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq = &rig.vqs[idx];
        struct fe_buf buf = { 1, 100, !idx };

        CHECK_GE(fe_vq_add(vq, &buf, 1, 0, 0), 0);
        fe_vq_publish(vq);
        if (idx) {
            CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
        } else {
            CHECK(!rig_switch_send(&rig, 0, 100, 1, NULL));
        }
        CHECK(fe_event_wait(vq->err_fd, 5000));
        WAIT_FOR(rig_vring(&rig, idx).broken);
        CHECK_EQ(fe_event_take(rig.vqs[3].err_fd), 0);
        reset_ring(&rig, idx, false);
        CHECK(!rig_vring(&rig, idx).broken);
        fe_event_take(vq->err_fd);
    }
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    CHECK_EQ(rig_guest_errors(&rig, 0), 1);
    CHECK_EQ(rig_guest_errors(&rig, 1), 1);
    CHECK_EQ(rig_guest_errors(&rig, 2) + rig_guest_errors(&rig, 3), 0);
    rig_close(&rig);
}

/* CONFIGURE_MEM_SLOTS. */

#define SLOTS_PROTOCOL (FE_P_MQ | FE_P_REPLY_ACK | FE_P_MEM_SLOTS)
#define SLOT_SIZE (1u << 20)

/* A port whose front end adds memory piece by piece: rings in one region. */
static void
open_slots(struct rig *rig)
{
    const struct rig_config c = {
        .protocol = SLOTS_PROTOCOL,
        .n_pairs = 2,
        .n_senders = 2,
        .region_size = 16 << 20,
    };

    rig_create(rig, "p", &c);
    rig_connect(rig);
    CHECK_EQ(fe_get_u64(&rig->fe, FE_GET_MAX_MEM_SLOTS), 509);
}

/* Adds region number 'n' to the front end's, and tells the port. */
static struct fe_region *
add_slot(struct rig *rig, unsigned int n)
{
    struct fe_region *r;

    r = fe_add_region(&rig->fe, 0x100000000 - n * 2 * SLOT_SIZE, SLOT_SIZE,
                      0x660000000000 + n * 3 * SLOT_SIZE);
    CHECK_EQ(fe_send_mem_reg(&rig->fe, FE_ADD_MEM_REG, r), 0);
    return r;
}

/* A frame passes from the guest in memory at 'addr'. */
static void
check_memory(struct rig *rig, uint64_t addr)
{
    static uint64_t seed;
    uint8_t frame[1024];
    uint16_t head;
    uint32_t len;

    CHECK(rig_guest_send(rig, 0, addr, 700, ++seed));
    CHECK_EQ(rig_switch_recv(rig, 0, frame, sizeof frame, NULL), 700);
    CHECK_PATTERN(frame, 700, seed);
    CHECK(fe_vq_used(RIG_TX(rig, 0), &head, &len));
}

/* Where guest memory is mapped, by us and by the guest: lines of
 * /proc/self/maps, in a buffer that the caller frees. */
static char *
list_maps(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    size_t size, line_size = 0;
    char *maps, *line = NULL;
    FILE *out = open_memstream(&maps, &size);

    CHECK(file && out);
    while (getline(&line, &line_size, file) > 0) {
        if (strstr(line, "memfd")) {
            fputs(line, out);
        }
    }
    free(line);
    fclose(file);
    fclose(out);
    return maps;
}

/* True if each line of 'a' is in 'b'. */
static bool
all_are_in(const char *a, const char *b)
{
    while (*a) {
        size_t len = strcspn(a, "\n") + 1;
        char *line = strndup(a, len);
        bool found = strstr(b, line) != NULL;

        free(line);
        if (!found) {
            return false;
        }
        a += len;
    }
    return true;
}

/* The whole memory comes that way, and goes again, also under the rings. */
static void
test_slots(void)
{
    unsigned int n_maps;
    char *before, *after;
    struct rig rig;
    struct fe_region *r;

    open_slots(&rig);
    rig_disconnect(&rig);
    test_part("from nothing");
    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    fe_negotiate(&rig.fe, rig.c.features, SLOTS_PROTOCOL);
    CHECK_EQ(rig_info(&rig).n_regions, 0);
    CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, &rig.fe.regions[0]), 0);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    n_maps = test_n_maps();

    test_part("more and more");
    for (unsigned int i = 1; i <= 10; i++) {
        before = list_maps();
        r = add_slot(&rig, i);
        after = list_maps();
        CHECK(all_are_in(before, after));
        CHECK(!all_are_in(after, before));
        free(before);
        free(after);
        CHECK_EQ(rig_info(&rig).n_regions, i + 1);
        check_memory(&rig, r->guest_addr);
        check_memory(&rig, r->guest_addr + SLOT_SIZE - 712);
        rig_check_traffic(&rig, 0);
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    test_part("less and less");
    for (unsigned int i = 1; i <= 10; i++) {
        CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG,
                                 &rig.fe.regions[i]), 0);
        CHECK_EQ(rig_info(&rig).n_regions, 11 - i);
        rig_check_traffic(&rig, 0);
        if (i < 10) {
            check_memory(&rig, rig.fe.regions[10].guest_addr);
        }
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    WAIT_FOR(test_n_maps() == n_maps + 10);     /* The guest's own. */

    test_part("a buffer where memory was");
    CHECK(rig_guest_send(&rig, 0, rig.fe.regions[10].guest_addr, 100, 1));
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 1), 0);
    CHECK_EQ(rig_counter(&rig, 1, VHOST_C_BAD_ADDRESS), 1);
    rig_close(&rig);
}

/* Memory with a ring in it goes: that ring stops, others do not; and goes on
 * where it was when the memory comes back, perhaps at another place. */
static void
test_slots_under_rings(void)
{
    struct rig rig;
    struct fe_region *r;

    open_slots(&rig);
    r = add_slot(&rig, 1);
    for (unsigned int i = 2; i < 4; i++) {
        fe_vq_destroy(&rig.vqs[i]);
        fe_vq_init(&rig.vqs[i], &rig.fe, i, 256, 1);
    }
    rig_start(&rig);
    for (unsigned int i = 0; i < 10; i++) {
        rig_check_traffic(&rig, 0);
        rig_check_traffic(&rig, 1);
        CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG, r), 0);
        CHECK(!vhost_port_vring_enabled(rig.port, 2));
        CHECK(!vhost_port_vring_enabled(rig.port, 3));
        CHECK(vhost_port_vring_enabled(rig.port, 0));
        CHECK_HAS(rig_info(&rig).error, "outside the new guest memory");
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[1], rig_burst(), 32), 0);
        rig_check_traffic(&rig, 0);
        CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, r), 0);
        CHECK(vhost_port_vring_enabled(rig.port, 3));
    }
    rig_check_traffic(&rig, 1);

    test_part("all of it");
    CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG, r), 0);
    CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG, &rig.fe.regions[0]), 0);
    CHECK_EQ(rig_info(&rig).n_regions, 0);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
}

/* The same region for each queue pair: it stays until it is removed as
 * often. */
static void
test_slots_again(void)
{
    struct rig rig;
    struct fe_region *r, other;
    char *before, *after;

    open_slots(&rig);
    r = add_slot(&rig, 1);
    other = *r;
    other.fd = fe_memfd(SLOT_SIZE, 0);
    rig_start(&rig);
    before = list_maps();
    for (unsigned int i = 1; i < 128; i++) {
        CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, r), 0);
        CHECK_EQ(rig_info(&rig).n_regions, 2);
    }
    after = list_maps();
    CHECK(all_are_in(before, after) && all_are_in(after, before));
    free(before);
    free(after);
    test_part("too often, other memory, another part of it");
    CHECK_NE(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, r), 0);
    CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG, r), 0);
    CHECK_NE(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, &other), 0);
    other.offset = 4096;
    CHECK_NE(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, &other), 0);
    other.offset = UINT64_MAX;
    CHECK_NE(fe_send_mem_reg(&rig.fe, FE_ADD_MEM_REG, &other), 0);
    for (unsigned int i = 1; i < 128; i++) {
        CHECK_EQ(rig_info(&rig).n_regions, 2);
        check_memory(&rig, r->guest_addr);
        CHECK_EQ(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG, r), 0);
    }
    CHECK_EQ(rig_info(&rig).n_regions, 1);
    CHECK_NE(fe_send_mem_reg(&rig.fe, FE_REM_MEM_REG, r), 0);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    close(other.fd);
    rig_close(&rig);
}

/* As many slots as were promised, and not one more. */
static void
test_slots_limit(void)
{
    struct fe_mem_reg reg = { .padding = 0 };
    struct rig rig;
    unsigned int n_fds;
    uint64_t addr;
    int fd;

    fd = fe_memfd(600 * FE_PAGE, 0);
    open_slots(&rig);
    rig_start(&rig);
    n_fds = rig_settled_fds(&rig);
    for (unsigned int i = 1; i <= 509; i++) {
        /* Neither sorted, nor adjacent. */
        unsigned int place = i * 7 % 509;

        reg.region.guest_addr = 0x100000000 + place * 2 * FE_PAGE;
        reg.region.user_addr = 0x660000000000 - place * 2 * FE_PAGE;
        reg.region.size = FE_PAGE;
        reg.region.offset = i * FE_PAGE;
        CHECK_EQ(!fe_ask_fds(&rig.fe, FE_ADD_MEM_REG, &reg, sizeof reg, &fd,
                             1), i < 509);
    }
    CHECK_EQ(rig_info(&rig).n_regions, 509);
    CHECK_HAS(rig_info(&rig).error, "more than 509");
    rig_check_traffic(&rig, 0);
    for (unsigned int i = 1; i < 509; i++) {
        unsigned int place = i * 7 % 509;

        /* The offset is of no concern. */
        reg.region.guest_addr = 0x100000000 + place * 2 * FE_PAGE;
        reg.region.user_addr = 0x660000000000 - place * 2 * FE_PAGE;
        reg.region.offset = 0;
        CHECK_EQ(fe_ask(&rig.fe, FE_REM_MEM_REG, &reg, sizeof reg), 0);
    }
    CHECK_EQ(rig_info(&rig).n_regions, 1);
    RIG_WAIT_FDS(&rig, n_fds);
    rig_check_traffic(&rig, 0);

    /* A buffer in many of them. */
    for (unsigned int i = 0; i < 100; i++) {
        reg.region.guest_addr = 0x100000000 + i * FE_PAGE;
        reg.region.user_addr = 0x660000000000 + i * FE_PAGE;
        reg.region.offset = (599 - i) * FE_PAGE;
        CHECK_EQ(fe_ask_fds(&rig.fe, FE_ADD_MEM_REG, &reg, sizeof reg, &fd,
                            1), 0);
    }
    for (unsigned int i = 0; i < 100; i++) {
        addr = 0x100000000 + i * FE_PAGE;
        fe_add_region_fd(&rig.fe, addr, FE_PAGE, 0x660000000000 + i * FE_PAGE,
                         dup(fd), (599 - i) * FE_PAGE);
        if (i % 10 == 9) {
            check_memory(&rig, addr - 300);
            rig.fe.n_regions -= 10;
            for (unsigned int k = 0; k < 10; k++) {
                struct fe_region *r = &rig.fe.regions[rig.fe.n_regions + k];

                munmap(r->map, r->size);
                close(r->fd);
            }
        }
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    close(fd);
    rig_close(&rig);
}

/* Malformed ones are refused without a trace; 'good' would be taken. */
static void
test_slots_bad(void)
{
    struct fe_mem_reg good = {
        .region = { 0x100000000, SLOT_SIZE, 0x660000000000, 0 },
    };
    struct fe_mem_reg bad;
    unsigned int n_fds, n_maps;
    uint8_t payload[64];
    int fd, pipes[2], fds[2];
    struct rig rig;

    fd = fe_memfd(SLOT_SIZE, 0);
    CHECK_EQ(pipe(pipes), 0);
    fds[0] = fds[1] = fd;
    open_slots(&rig);
    rig_start(&rig);
    n_fds = rig_settled_fds(&rig);
    n_maps = test_n_maps();
#define ADD_REFUSED(REG, FD)                                            \
    CHECK_NE(fe_ask_fds(&rig.fe, FE_ADD_MEM_REG, &REG, sizeof REG,      \
                        &(FD), 1), 0);                                  \
    CHECK_EQ(rig_info(&rig).n_regions, 1)
#define REM_REFUSED(REG)                                                \
    CHECK_NE(fe_ask(&rig.fe, FE_REM_MEM_REG, &REG, sizeof REG), 0);     \
    CHECK_EQ(rig_info(&rig).n_regions, 1)

    test_part("bounds");
    bad = good;
    bad.region.size = 0;
    ADD_REFUSED(bad, fd);
    bad = good;
    bad.region.size++;
    ADD_REFUSED(bad, fd);
    bad = good;
    bad.region.offset = 1;
    ADD_REFUSED(bad, fd);
    bad = good;
    bad.region.offset = UINT64_MAX - 5;
    ADD_REFUSED(bad, fd);
    bad = good;
    bad.region.guest_addr = UINT64_MAX - 5;
    ADD_REFUSED(bad, fd);
    bad = good;
    bad.region.user_addr = UINT64_MAX - 5;
    ADD_REFUSED(bad, fd);

    test_part("overlaps");
    bad = good;
    bad.region.guest_addr = rig.fe.regions[0].guest_addr - SLOT_SIZE + 1;
    ADD_REFUSED(bad, fd);
    bad = good;
    bad.region.user_addr = (rig.fe.regions[0].user_addr
                            + rig.fe.regions[0].size - 1);
    ADD_REFUSED(bad, fd);

    test_part("not memory");
    ADD_REFUSED(good, pipes[0]);
    ADD_REFUSED(good, rig.vqs[0].call_fd);

    test_part("removing what is not there");
    REM_REFUSED(good);
    memset(&bad, 0, sizeof bad);
    REM_REFUSED(bad);
    bad.region.guest_addr = rig.fe.regions[0].guest_addr;
    bad.region.user_addr = rig.fe.regions[0].user_addr;
    bad.region.size = rig.fe.regions[0].size - 1;
    REM_REFUSED(bad);
    bad.region.size++;
    bad.region.user_addr++;
    REM_REFUSED(bad);
    bad.region.user_addr--;
    bad.region.guest_addr++;
    REM_REFUSED(bad);

    test_part("a descriptor to remove");
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_ADD_MEM_REG, &good, sizeof good, &fd, 1),
             0);
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_REM_MEM_REG, &good, sizeof good, &fd, 1),
             0);
    CHECK_NE(fe_ask_fds(&rig.fe, FE_REM_MEM_REG, &good, sizeof good,
                        &pipes[1], 1), 0);

    RIG_WAIT_FDS(&rig, n_fds);
    WAIT_FOR(test_n_maps() == n_maps);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    test_part("form");
    memset(payload, 0, sizeof payload);
    memcpy(payload, &good, sizeof good);
    for (unsigned int i = 0; i < 12; i++) {
        static const struct {
            uint32_t request;
            size_t size;
            unsigned int n_fds;
        } forms[12] = {
            { FE_ADD_MEM_REG, 40, 0 }, { FE_ADD_MEM_REG, 40, 2 },
            { FE_ADD_MEM_REG, 0, 0 }, { FE_ADD_MEM_REG, 32, 1 },
            { FE_ADD_MEM_REG, 39, 1 }, { FE_ADD_MEM_REG, 41, 1 },
            { FE_REM_MEM_REG, 40, 2 }, { FE_REM_MEM_REG, 0, 0 },
            { FE_REM_MEM_REG, 39, 0 }, { FE_REM_MEM_REG, 41, 0 },
            { FE_GET_MAX_MEM_SLOTS, 8, 0 }, { FE_GET_MAX_MEM_SLOTS, 0, 1 },
        };

        test_part("form %u", i);
        CHECK(fe_send_fds(&rig.fe, forms[i].request, FE_NEED_REPLY, payload,
                          forms[i].size, fds, forms[i].n_fds));
        CHECK(fe_closed(&rig.fe, 5000));
        fe_hang_up(&rig.fe);
        rig_connect(&rig);
    }
    rig_start(&rig);
    RIG_WAIT_FDS(&rig, n_fds);
    rig_check_traffic(&rig, 0);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
    rig_close(&rig);
}

/* Connections that end in the midst of it. */
static void
test_slots_hang_up(void)
{
    struct fe_mem_reg reg = {
        .region = { 0x100000000, SLOT_SIZE, 0x660000000000, 0 },
    };
    unsigned int n_maps;
    struct rig rig;
    int fd;

    fd = fe_memfd(SLOT_SIZE, 0);
    open_slots(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    n_maps = test_n_maps();
    for (unsigned int i = 0; i < 30; i++) {
        CHECK(fe_send_fds(&rig.fe, FE_ADD_MEM_REG, 0, &reg, sizeof reg, &fd,
                          1));
        CHECK(fe_send(&rig.fe, FE_REM_MEM_REG, 0, &reg,
                      sizeof reg / (1 + i % 2)));
        rig_disconnect(&rig);
        rig_connect(&rig);
        rig_start(&rig);
    }
    rig_check_traffic(&rig, 0);
    WAIT_FOR(test_n_maps() == n_maps);
    close(fd);
    rig_close(&rig);
}

/* RESET_DEVICE. */

/* All rings stop, and everything has to be set up again but memory and call
 * and error descriptors. */
static void
test_reset_device(void)
{
    const struct rig_config c = {
        .protocol = RIG_PROTOCOL | FE_P_RESET_DEVICE,
        .n_pairs = 2,
        .n_senders = 2,
    };
    struct rig rig;

    rig_open(&rig, "p", &c);
    for (unsigned int i = 0; i < 10; i++) {
        test_part("reset %u", i);
        rig_check_traffic(&rig, 0);
        rig_check_traffic(&rig, 1);
        rig_post(&rig, 1, 3, 2048);
        CHECK_EQ(fe_ask(&rig.fe, FE_RESET_DEVICE, NULL, 0), 0);
        CHECK_EQ(rig_info(&rig).state, VHOST_S_CONNECTED);
        CHECK_EQ(rig_info(&rig).features, 0);
        CHECK_EQ(rig_info(&rig).n_regions, 1);
        for (unsigned int k = 0; k < 4; k++) {
            CHECK(!rig_vring(&rig, k).started);
            CHECK(!rig_vring(&rig, k).enabled);
            CHECK(rig_vring(&rig, k).has_call);
            CHECK_EQ(rig_vring(&rig, k).size, 0);
        }
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
        CHECK(!rig_switch_send(&rig, 1, 100, 1, NULL));
        CHECK_NE(fe_vq_send_addr(&rig.vqs[0]), 0);

        fe_accept_offer(&rig.fe, rig.c.features, rig.c.protocol);
        for (unsigned int k = 0; k < 4; k++) {
            fe_vq_reset(&rig.vqs[k]);
        }
        rig_start(&rig);
    }
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    test_part("twice, and before anything is set up");
    CHECK_EQ(fe_ask(&rig.fe, FE_RESET_DEVICE, NULL, 0), 0);
    CHECK_EQ(fe_ask(&rig.fe, FE_RESET_DEVICE, NULL, 0), 0);
    rig_disconnect(&rig);
    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    fe_ask_offer(&rig.fe);
    CHECK(fe_send(&rig.fe, FE_SET_PROTOCOL_FEATURES, 0, &rig.c.protocol, 8));
    CHECK_EQ(fe_ask(&rig.fe, FE_RESET_DEVICE, NULL, 0), 0);

    test_part("form");
    CHECK(fe_send(&rig.fe, FE_RESET_DEVICE, 0, &c, 8));
    CHECK(fe_closed(&rig.fe, 5000));
    fe_hang_up(&rig.fe);
    rig_connect(&rig);
    CHECK(fe_send_fds(&rig.fe, FE_RESET_DEVICE, 0, NULL, 0,
                      (int[]) { STDIN_FILENO }, 1));
    CHECK(fe_closed(&rig.fe, 5000));
    rig_close(&rig);
}

/* INFLIGHT_SHMFD. */

#define INFLIGHT_PROTOCOL (RIG_PROTOCOL | FE_P_INFLIGHT)

struct inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
};

/* The buffer as the specification has it, for split rings. */
struct inflight_region {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct {
        uint8_t inflight;
        uint8_t padding[5];
        uint16_t next;
        uint64_t counter;
    } desc[];
};

#define REGION_SIZE(N) ((16 + (N) * 16 + 63) / 64 * 64)

/* GET_INFLIGHT_FD; returns the descriptor. */
static int
get_inflight(struct rig *rig, struct inflight *f, unsigned int n_queues,
             unsigned int queue_size, size_t size)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct {
        struct fe_header h;
        uint8_t payload[24];
    } reply;
    struct iovec iov = { &reply, sizeof reply };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = sizeof control };
    struct cmsghdr *c;
    int fd;

    memset(f, 0, sizeof *f);
    f->num_queues = n_queues;
    f->queue_size = queue_size;
    CHECK(fe_send(&rig->fe, FE_GET_INFLIGHT_FD, 0, f, size));
    CHECK_EQ(recvmsg(rig->fe.sock, &msg, MSG_CMSG_CLOEXEC),
             sizeof reply.h + size);
    CHECK_EQ(reply.h.request, FE_GET_INFLIGHT_FD);
    CHECK_EQ(reply.h.size, size);
    c = CMSG_FIRSTHDR(&msg);
    CHECK(c && c->cmsg_type == SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    memcpy(f, reply.payload, size);
    return fd;
}

static uint64_t
set_inflight(struct rig *rig, const struct inflight *f, int fd)
{
    return fe_ask_fds(&rig->fe, FE_SET_INFLIGHT_FD, f, sizeof *f, &fd, 1);
}

/* Our own buffer, over connections that break off. */
static void
test_inflight(void)
{
    const struct rig_config c = { .protocol = INFLIGHT_PROTOCOL };
    unsigned int n_fds;
    struct inflight f;
    struct stat st;
    struct rig rig;
    int fd;

    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    n_fds = rig_settled_fds(&rig);
    fd = get_inflight(&rig, &f, 2, 256, sizeof f);
    CHECK_EQ(f.num_queues, 2);
    CHECK_EQ(f.queue_size, 256);
    CHECK_EQ(f.mmap_offset, 0);
    CHECK_GE(f.mmap_size, 2 * REGION_SIZE(256));
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_GE(st.st_size, f.mmap_size);
    CHECK_EQ(st.st_blocks, 0);
    RIG_WAIT_FDS(&rig, n_fds + 1);     /* Our own. */
    CHECK_NE(ftruncate(fd, 0), 0);
    CHECK_EQ(set_inflight(&rig, &f, fd), 0);
    rig_start(&rig);
    n_fds = rig_settled_fds(&rig) - 1;
    for (unsigned int i = 0; i < 10; i++) {
        for (unsigned int k = 0; k < 20; k++) {
            rig_check_traffic(&rig, 0);
        }
        rig_disconnect(&rig);
        rig_connect(&rig);
        CHECK_EQ(set_inflight(&rig, &f, fd), 0);
        rig_start(&rig);
    }
    RIG_WAIT_FDS(&rig, n_fds + 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    CHECK(!test_logged("makes no sense"));
    CHECK(!test_logged("given back unused"));

    test_part("the short form, and others in its place while rings run");
    close(fd);
    fd = get_inflight(&rig, &f, 8, 32768, 20);
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_INFLIGHT_FD, &f, 20, &fd, 1), 0);
    for (unsigned int i = 0; i < 20; i++) {
        CHECK_EQ(set_inflight(&rig, &f, fd), 0);
    }
    rig_check_traffic(&rig, 0);
    RIG_WAIT_FDS(&rig, n_fds + 1);
    close(fd);
    rig_close(&rig);
}

/* A back end before us, which did not use buffers in order: it had taken five
 * of six and given back two, of which the last is still marked. */
static void
leave_in_flight(struct fe_vq *vq, struct inflight_region *r,
                const uint16_t heads[6])
{
    static const unsigned int order[] = { 4, 0, 2 };

    r->version = 1;
    r->desc_num = vq->size;
    r->used_idx = 1;
    r->last_batch_head = heads[3];
    for (unsigned int i = 0; i < 3; i++) {
        r->desc[heads[order[i]]].inflight = 1;
        r->desc[heads[order[i]]].counter = 1000 + i;
    }
    r->desc[heads[3]].inflight = 1;
    r->desc[heads[3]].counter = 999;
    vq->used->ring[0].id = heads[1];
    vq->used->ring[1].id = heads[3];
    __atomic_store_n(&vq->used->idx, 2, __ATOMIC_RELEASE);
}

static void
test_inflight_of_others(void)
{
    const struct rig_config c = { .protocol = INFLIGHT_PROTOCOL,
                                  .ring_size = 8 };
    static const unsigned int expected[] = { 1, 3, 4, 0, 2 };
    struct inflight_region *r[2];
    struct inflight f = { .num_queues = 2, .queue_size = 8,
                          .mmap_size = 2 * REGION_SIZE(8) };
    uint8_t frame[2048];
    uint16_t heads[6], head;
    uint32_t len;
    uint64_t buf;
    struct rig rig;
    uint8_t *map;
    int fd;

    fd = fe_memfd(f.mmap_size, 0);
    map = mmap(NULL, f.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    CHECK_EQ(set_inflight(&rig, &f, fd), 0);
    buf = fe_alloc(&rig.fe, 0, 2048, 64);
    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq = &rig.vqs[idx];

        r[idx] = (struct inflight_region *) (map + idx * REGION_SIZE(8));
        for (unsigned int i = 0; i < 6; i++) {
            if (idx) {
                heads[i] = vq->free_head;
                CHECK(rig_guest_send(&rig, 0, buf, 100, i));
            } else {
                struct fe_buf b = { buf, 2048, true };
                int h = fe_vq_add(vq, &b, 1, 0, i);

                CHECK_GE(h, 0);
                heads[i] = h;
                fe_vq_publish(vq);
            }
        }
        leave_in_flight(vq, r[idx], heads);
    }
    rig_start_ring(&rig, 0, 5);
    rig_start_ring(&rig, 1, 5);
    CHECK(test_logged("vring 0: 3 buffers that another back end"));
    CHECK(test_logged("vring 1: 3 buffers that another back end"));
    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq = &rig.vqs[idx];

        for (unsigned int i = 0; i < 5; i++) {
            test_part("ring %u, buffer %u", idx, i);
            CHECK(fe_vq_used(vq, &head, &len));
            CHECK_EQ(vq->chains[head].token, expected[i]);
            CHECK_EQ(len, 0);
        }
        CHECK(!fe_vq_used(vq, &head, &len));
        CHECK_EQ(r[idx]->used_idx, 5);
        for (unsigned int i = 0; i < 8; i++) {
            CHECK_EQ(r[idx]->desc[i].inflight, 0);
        }
    }

    /* The sixth was not taken. */
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 100);
    CHECK_PATTERN(frame, 100, 5);
    CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
    CHECK_EQ(RIG_TX(&rig, 0)->chains[head].token, 5);
    CHECK(rig_switch_send(&rig, 0, 100, 7, NULL));
    CHECK(fe_vq_used(RIG_RX(&rig, 0), &head, &len));
    CHECK_EQ(RIG_RX(&rig, 0)->chains[head].token, 5);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    munmap(map, f.mmap_size);
    close(fd);
    rig_close(&rig);
}

/* Buffers that lie: nothing of them is believed, and rings work. */
static void
test_inflight_lies(void)
{
    const struct rig_config c = { .protocol = INFLIGHT_PROTOCOL,
                                  .ring_size = 8 };
    struct inflight f = { .num_queues = 2, .queue_size = 8,
                          .mmap_size = 4096 };
    uint64_t rnd = 5;
    struct rig rig;
    uint8_t *map;
    int fd;

    CHECK_EQ(vhost_sigbus_install(), 0);
    fd = fe_memfd(f.mmap_size, 0);
    map = mmap(NULL, f.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    CHECK_EQ(set_inflight(&rig, &f, fd), 0);
    for (unsigned int i = 0; i < 200; i++) {
        test_part("lie %u", i);
        for (unsigned int k = 0; k < 2; k++) {
            struct inflight_region *r;

            r = (struct inflight_region *) (map + k * REGION_SIZE(8));
            for (unsigned int b = 0; b < REGION_SIZE(8); b++) {
                ((uint8_t *) r)[b] = test_random(&rnd);
            }
            r->version = i % 5 ? 1 : r->version;
            r->desc_num = i % 3 ? 8 : r->desc_num;
            r->used_idx = (i & 1 ? fe_vq_published_used(&rig.vqs[k])
                           : r->used_idx);
            for (unsigned int d = 0; d < 8; d++) {
                /* There is nothing in the ring to be in flight. */
                r->desc[d].inflight = i & 2 ? 1 : r->desc[d].inflight;
                r->desc[d].next = i & 4 ? d : r->desc[d].next;
            }
        }
        rig_start(&rig);
        rig_check_traffic(&rig, 0);
        CHECK_EQ(fe_vq_stop(RIG_RX(&rig, 0)), (i + 1) & 0xffff);
        CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), (i + 1) & 0xffff);
        CHECK_EQ(rig_all_guest_errors(&rig), 0);
    }
    CHECK(test_logged("makes no sense"));

    test_part("truncated");
    rig_start(&rig);
    fe_vq_stop(RIG_TX(&rig, 0));
    CHECK_EQ(ftruncate(fd, 0), 0);
    rig_start_ring(&rig, 1, fe_vq_base(RIG_TX(&rig, 0)));
    rig_check_traffic(&rig, 0);
    munmap(map, f.mmap_size);
    close(fd);
    rig_close(&rig);
}

static void
test_inflight_bad(void)
{
    const struct rig_config c = { .protocol = INFLIGHT_PROTOCOL };
    const struct inflight good = { .num_queues = 2, .queue_size = 256,
                                   .mmap_size = 2 * REGION_SIZE(256) };
    struct inflight bad[9];
    uint8_t payload[64];
    unsigned int n_fds;
    struct rig rig;
    int fd, pipes[2], fds[2];

    for (unsigned int i = 0; i < N_ELEMS(bad); i++) {
        bad[i] = good;
    }
    bad[0].num_queues = 0;
    bad[1].num_queues = 2 * RIG_MAX_PAIRS + 1;
    bad[2].queue_size = 0;
    bad[3].queue_size = 32769;
    bad[4].mmap_size--;         /* From here on GET does not care. */
    bad[5].mmap_offset = 4;
    bad[6].mmap_offset = 4096;
    bad[7].mmap_offset = UINT64_MAX - 7;
    bad[8].queue_size = 260;
    fd = fe_memfd(good.mmap_size, 0);
    CHECK_EQ(pipe(pipes), 0);
    fds[0] = fds[1] = fd;
    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    rig_start(&rig);
    n_fds = rig_settled_fds(&rig);
    for (unsigned int i = 0; i < N_ELEMS(bad); i++) {
        test_part("%u", i);
        if (i < 4) {
            CHECK_NE(fe_ask(&rig.fe, FE_GET_INFLIGHT_FD, &bad[i],
                            sizeof bad[i]), 0);
        }
        CHECK_NE(set_inflight(&rig, &bad[i], fd), 0);
    }
    test_part("no memory");
    CHECK_NE(set_inflight(&rig, &good, pipes[0]), 0);
    CHECK_NE(set_inflight(&rig, &good, rig.vqs[0].call_fd), 0);
    CHECK_EQ(set_inflight(&rig, &good, fd), 0);
    RIG_WAIT_FDS(&rig, n_fds);
    rig_check_traffic(&rig, 0);

    memset(payload, 0, sizeof payload);
    memcpy(payload, &good, sizeof good);
    for (unsigned int i = 0; i < 12; i++) {
        static const struct {
            uint32_t request;
            size_t size;
            unsigned int n_fds;
        } forms[12] = {
            { FE_SET_INFLIGHT_FD, 24, 0 }, { FE_SET_INFLIGHT_FD, 24, 2 },
            { FE_SET_INFLIGHT_FD, 0, 0 }, { FE_SET_INFLIGHT_FD, 0, 1 },
            { FE_SET_INFLIGHT_FD, 19, 1 }, { FE_SET_INFLIGHT_FD, 21, 1 },
            { FE_SET_INFLIGHT_FD, 25, 1 }, { FE_SET_INFLIGHT_FD, 64, 1 },
            { FE_GET_INFLIGHT_FD, 24, 1 }, { FE_GET_INFLIGHT_FD, 19, 0 },
            { FE_GET_INFLIGHT_FD, 25, 0 }, { FE_GET_INFLIGHT_FD, 0, 0 },
        };

        test_part("form %u", i);
        CHECK(fe_send_fds(&rig.fe, forms[i].request, FE_NEED_REPLY, payload,
                          forms[i].size, fds, forms[i].n_fds));
        CHECK(fe_closed(&rig.fe, 5000));
        fe_hang_up(&rig.fe);
        rig_connect(&rig);
    }

    test_part("answers that nobody takes");
    {
        struct fe_header h = { FE_GET_INFLIGHT_FD, FE_VERSION, sizeof good };
        unsigned int n = 0;

        memcpy(payload, &h, sizeof h);
        memcpy(payload + sizeof h, &good, sizeof good);
        while (send(rig.fe.sock, payload, sizeof h + sizeof good,
                    MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
            n++;
        }
        CHECK_EQ(errno, EAGAIN);
        CHECK_GT(n, 10);
    }
    rig_disconnect(&rig);
    rig_connect(&rig);
    rig_start(&rig);
    RIG_WAIT_FDS(&rig, n_fds);
    rig_check_traffic(&rig, 0);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "offer-changes", test_offer_changes, 0 },
    { "offered-pairs", test_offered_pairs, 0 },
    { "tolerated", test_tolerated, 0 },
    { "inflight-of-others", test_inflight_of_others, 0 },
    { "inflight-lies", test_inflight_lies, 60 },
    { "inflight-bad", test_inflight_bad, 60 },
    { "slots-limit", test_slots_limit, 60 },
    { "slots-bad", test_slots_bad, 0 },
    { "slots-hang-up", test_slots_hang_up, 60 },
};

static const struct test_case ring_cases[] = {
    { "ring-reset", test_ring_reset, 60 },
    { "ring-reset-forgets", test_ring_reset_forgets, 0 },
    { "ring-reset-mends", test_ring_reset_mends, 0 },
    { "slots", test_slots, 0 },
    { "slots-under-rings", test_slots_under_rings, 0 },
    { "slots-again", test_slots_again, 0 },
    { "reset-device", test_reset_device, 0 },
    { "inflight", test_inflight, 0 },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "", 0, cases, N_ELEMS(cases) },
        { "", 0, ring_cases, N_ELEMS(ring_cases) },
        { "packed-", FE_F_PACKED, ring_cases, N_ELEMS(ring_cases) },
        { "in-order-", FE_F_PACKED | FE_F_IN_ORDER, ring_cases,
          N_ELEMS(ring_cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
