/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of the dirty log of a live migration: whatever the device writes
 * to guest memory is marked and nothing else is, with both ring formats, while
 * the log comes and goes under traffic; and logs that are too small, no logs
 * at all, or taken away.
 *
 * The driver here writes only while the switch does nothing.  So guest memory
 * is compared with what it was, and what has changed is the device's. */

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest/dirty-log.h"
#include "rig.h"

#define LOG_PROTOCOL (RIG_PROTOCOL | FE_P_LOG_SHMFD)
#define REGION_SIZE (UINT64_C(4) << 20)
#define BUFFERS_SIZE (UINT64_C(1) << 20)    /* Of a queue pair. */
#define TABLE_SIZE 4                        /* Entries of indirect tables. */

/* Reads memory that somebody may be writing to, in whole words. */
static void __attribute__((noinline, no_sanitize("thread")))
racy_copy(void *dst_, const void *src_, size_t len)
{
    const volatile uint64_t *src = src_;
    uint64_t *dst = dst_;

    CHECK_EQ(len % 8, 0);
    for (size_t i = 0; i < len / 8; i++) {
        dst[i] = src[i];
    }
}

/* A port, with what guest memory was like. */
struct lab {
    struct rig rig;
    struct fe_log log;
    uint8_t *before[FE_MAX_REGIONS];
    bool *allowed;              /* Pages that may be marked. */
    uint64_t buffers[RIG_MAX_PAIRS];
    uint64_t state;             /* Of test_random(). */
    unsigned int n_frames;
};

static void
lab_open(struct lab *lab, const struct rig_config *config)
{
    struct rig_config c = { .protocol = LOG_PROTOCOL };

    memset(lab, 0, sizeof *lab);
    if (config) {
        c = *config;
        c.protocol = c.protocol ? c.protocol : LOG_PROTOCOL;
    }
    c.region_size = REGION_SIZE;
    c.n_senders = c.n_pairs ? c.n_pairs : 1;
    rig_create(&lab->rig, "p", &c);
    rig_connect(&lab->rig);
    for (unsigned int i = 0; i < 2 * lab->rig.c.n_pairs; i++) {
        fe_vq_use_indirect(&lab->rig.vqs[i], 0, TABLE_SIZE);
    }
    for (unsigned int i = 0; i < lab->rig.c.n_pairs; i++) {
        lab->buffers[i] = fe_alloc(&lab->rig.fe, i % lab->rig.c.n_regions,
                                   BUFFERS_SIZE, FE_PAGE);
    }
    fe_log_init(&lab->log, fe_log_size(&lab->rig.fe), 192);
    lab->allowed = calloc(lab->log.size * 8, sizeof *lab->allowed);
    CHECK(lab->allowed != NULL);
    for (unsigned int i = 0; i < lab->rig.fe.n_regions; i++) {
        lab->before[i] = malloc(lab->rig.fe.regions[i].size);
        CHECK(lab->before[i] != NULL);
    }
    lab->state = 1;
}

static void
lab_close(struct lab *lab)
{
    fe_log_check_outside(&lab->log);
    for (unsigned int i = 0; i < lab->rig.fe.n_regions; i++) {
        free(lab->before[i]);
    }
    free(lab->allowed);
    rig_close(&lab->rig);
    fe_log_destroy(&lab->log);
}

static unsigned int
lab_random(struct lab *lab, unsigned int n)
{
    return test_random(&lab->state) % n;
}

static unsigned int
n_vqs(const struct lab *lab)
{
    return 2 * lab->rig.c.n_pairs;
}

static void
log_on(struct lab *lab)
{
    CHECK_EQ(fe_send_log_base(&lab->rig.fe, &lab->log), 0);
    fe_log_switch(&lab->rig.fe, lab->rig.vqs, n_vqs(lab), true);
}

static void
log_off(struct lab *lab)
{
    fe_log_switch(&lab->rig.fe, lab->rig.vqs, n_vqs(lab), false);
}

/* Notes what memory is like, and that only rings may be marked. */
static void
snapshot(struct lab *lab)
{
    struct fe *fe = &lab->rig.fe;

    memset(lab->allowed, 0, lab->log.size * 8 * sizeof *lab->allowed);
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        racy_copy(lab->before[i], fe->regions[i].map, fe->regions[i].size);
    }
}

static void
allow(struct lab *lab, uint64_t addr, uint64_t len)
{
    for (uint64_t page = addr / FE_PAGE;
         len && page <= (addr + len - 1) / FE_PAGE; page++) {
        CHECK_LT(page, lab->log.size * 8);
        lab->allowed[page] = true;
    }
}

/* The parts of rings that the device writes. */
static void
allow_rings(struct lab *lab)
{
    for (unsigned int i = 0; i < n_vqs(lab); i++) {
        const struct fe_vq *vq = &lab->rig.vqs[i];

        if (lab->rig.fe.features & FE_F_PACKED) {
            allow(lab, vq->desc_addr, 16 * vq->size);
            allow(lab, vq->used_addr, 4);
        } else {
            allow(lab, vq->log_addr ? vq->log_addr : vq->used_addr,
                  6 + 8 * vq->size);
        }
    }
}

/* The first 'len' bytes of a chain's buffers. */
static void
allow_chain(struct lab *lab, const struct fe_chain *chain, uint32_t len)
{
    for (unsigned int i = 0; i < chain->n && len; i++) {
        uint32_t n = chain->bufs[i].len < len ? chain->bufs[i].len : len;

        allow(lab, chain->bufs[i].addr, n);
        len -= n;
    }
}

static bool
page_changed(struct lab *lab, uint64_t addr)
{
    for (unsigned int i = 0; i < lab->rig.fe.n_regions; i++) {
        const struct fe_region *r = &lab->rig.fe.regions[i];

        if (addr >= r->guest_addr && addr - r->guest_addr < r->size) {
            uint64_t offset = addr - r->guest_addr;

            return memcmp(r->map + offset, lab->before[i] + offset, FE_PAGE);
        }
    }
    return false;
}

/* Every page that changed since the snapshot is marked (but for the used rings
 * if those are marked elsewhere), and none that the device had no business
 * with.  Returns the number of marked pages. */
static unsigned int
check_marks(struct lab *lab, bool used_elsewhere)
{
    unsigned int n = 0;

    for (uint64_t page = 0; page < lab->log.size * 8; page++) {
        uint64_t addr = page * FE_PAGE;
        bool marked = fe_log_marked(&lab->log, addr);

        n += marked;
        if (marked && !lab->allowed[page]) {
            test_fail(__FILE__, __LINE__, "0x%llx is marked and was not "
                      "written", (unsigned long long int) addr);
        }
        if (!marked && page_changed(lab, addr)
            && (lab->allowed[page] || !used_elsewhere)) {
            test_fail(__FILE__, __LINE__, "0x%llx was written and is not "
                      "marked", (unsigned long long int) addr);
        }
    }
    return n;
}

/* Traffic in buffers of many shapes. */

/* Takes the next 'len' bytes of the pair's buffers, after a gap. */
static uint64_t
take_bytes(struct lab *lab, unsigned int pair, uint64_t *next, uint32_t len)
{
    uint64_t addr = lab->buffers[pair] + *next + lab_random(lab, 3000);

    *next = addr + len - lab->buffers[pair];
    CHECK_LE(*next, BUFFERS_SIZE);
    return addr;
}

/* The driver offers a buffer of 'len' bytes in up to 3 pieces, of any
 * layout. */
static void
offer(struct lab *lab, struct fe_vq *vq, uint64_t addr, uint32_t len, bool in)
{
    struct fe_buf bufs[3];
    unsigned int n = fe_split(bufs, addr, len, 1 + lab_random(lab, 3), in);
    unsigned int flags = lab_random(lab, 2) ? FE_INDIRECT : 0;

    CHECK_GE(fe_vq_add(vq, bufs, n, flags, addr), 0);
}

/* Buffers for 'n' frames, and 'n' frames from the guest. */
static void
driver_prepares(struct lab *lab, unsigned int pair, unsigned int n)
{
    struct fe *fe = &lab->rig.fe;
    unsigned int hdr_len = fe_net_header_len(fe);
    uint64_t next = 0;

    memset(fe_ptr(fe, lab->buffers[pair], BUFFERS_SIZE), 0xee, BUFFERS_SIZE);
    for (unsigned int i = 0; i < n; i++) {
        uint32_t len = 60 + lab_random(lab, 1440);
        uint64_t addr = take_bytes(lab, pair, &next, len + hdr_len);
        uint8_t frame[1500];

        pattern_fill(frame, len, addr);
        fe_net_write(fe, addr, NULL, frame, len);
        offer(lab, RIG_TX(&lab->rig, pair), addr, len + hdr_len, false);

        len = hdr_len + 60 + lab_random(lab, 6000);
        addr = take_bytes(lab, pair, &next, len);
        offer(lab, RIG_RX(&lab->rig, pair), addr, len, true);
    }
    fe_vq_publish(RIG_TX(&lab->rig, pair));
    fe_vq_publish(RIG_RX(&lab->rig, pair));
}

static void
switch_receives(struct lab *lab, unsigned int pair, unsigned int n)
{
    static uint8_t frame[2048];

    for (unsigned int i = 0; i < n; i++) {
        CHECK_GT(rig_switch_recv(&lab->rig, pair, frame, sizeof frame, NULL),
                 0);
    }
}

/* A burst of frames, some longer than a buffer, by vhost_burst_write_all(). */
static void
switch_sends_burst(struct lab *lab, unsigned int slot)
{
    static uint8_t frame[8000];
    struct vhost_burst *b = rig_burst();
    const void *src[VHOST_BURST];
    uint32_t lens[VHOST_BURST];
    unsigned int n = 1 + lab_random(lab, VHOST_BURST);
    enum vhost_reserve why;

    for (unsigned int i = 0; i < n; i++) {
        lens[i] = 60 + lab_random(lab, i % 4 ? 1440 : 7000);
        src[i] = frame;
    }
    pattern_fill(frame, sizeof frame, lab->state);
    n = vhost_sender_reserve_simple(lab->rig.senders[slot], b, lens, n, false,
                                    &why);
    if (n) {
        CHECK(!b->odd);
        vhost_burst_write_all(b, src, n);
        vhost_sender_commit(lab->rig.senders[slot], b, false);
        lab->n_frames += n;
    }
}

static void
switch_sends(struct lab *lab, unsigned int slot)
{
    for (unsigned int i = 0; i < 3; i++) {
        switch_sends_burst(lab, slot);
        lab->n_frames += rig_switch_send(&lab->rig, slot,
                                         60 + lab_random(lab, 3000),
                                         lab->state, NULL);
    }
}

/* The driver takes back what was used, whose pages may be marked. */
static void
driver_finds(struct lab *lab, unsigned int pair)
{
    uint16_t head;
    uint32_t len;

    while (fe_vq_used(RIG_TX(&lab->rig, pair), &head, &len)) {
        CHECK_EQ(len, 0);
    }
    while (fe_vq_used(RIG_RX(&lab->rig, pair), &head, &len)) {
        allow_chain(lab, &RIG_RX(&lab->rig, pair)->chains[head], len);
    }
}

/* One round of traffic each way on all queue pairs.  Which pages were written
 * is noted. */
static void
traffic(struct lab *lab)
{
    unsigned int n = 1 + lab_random(lab, 60);

    for (unsigned int i = 0; i < lab->rig.c.n_pairs; i++) {
        driver_prepares(lab, i, n);
    }
    snapshot(lab);
    for (unsigned int i = 0; i < lab->rig.c.n_pairs; i++) {
        switch_receives(lab, i, n);
        switch_sends(lab, i);
    }
    for (unsigned int i = 0; i < lab->rig.c.n_pairs; i++) {
        driver_finds(lab, i);
    }
    allow_rings(lab);
}

/* Uses up the buffers that are left, and clears the log. */
static void
finish_round(struct lab *lab)
{
    for (unsigned int i = 0; i < lab->rig.c.n_pairs; i++) {
        while (rig_switch_send(&lab->rig, i, 60, 1, NULL)) {
            driver_finds(lab, i);
        }
        CHECK_EQ(RIG_RX(&lab->rig, i)->n_free, lab->rig.c.ring_size);
    }
    fe_log_clear(&lab->log);
}

static void
round_with_log(struct lab *lab, bool used_elsewhere)
{
    traffic(lab);
    CHECK_GT(check_marks(lab, used_elsewhere), 0);
    finish_round(lab);
}

static void
round_without_log(struct lab *lab)
{
    traffic(lab);
    CHECK_EQ(fe_log_clear(&lab->log), 0);
    finish_round(lab);
}

/* Everything is marked, nothing else is; also when the log came to rings that
 * run, and not before it came or after it went. */
static void
test_marks(void)
{
    static const struct rig_config configs[] = {
        { .n_pairs = 1 },
        { .n_pairs = 2, .n_regions = 2, .ring_size = 1024 },
        { .n_pairs = 2, .n_regions = 2,
          .features = FE_F_VERSION_1 | FE_F_INDIRECT | FE_F_PROTOCOL
                      | FE_F_MRG | FE_F_MQ },
    };

    for (unsigned int i = 0; i < N_ELEMS(configs); i++) {
        struct lab lab;

        test_part("configuration %u", i);
        lab_open(&lab, &configs[i]);
        rig_start(&lab.rig);
        for (unsigned int k = 0; k < 4; k++) {
            round_without_log(&lab);
            log_on(&lab);
            for (unsigned int j = 0; j < 10; j++) {
                round_with_log(&lab, false);
            }
            log_off(&lab);
            fe_log_clear(&lab.log);
        }
        CHECK_GT(lab.n_frames, 100);
        CHECK_EQ(rig_all_guest_errors(&lab.rig), 0);
        lab_close(&lab);
    }
}

/* Rings that start while there is a log already. */
static void
test_marks_from_start(void)
{
    struct lab lab;

    lab_open(&lab, &(struct rig_config) { .n_pairs = 2 });
    CHECK_EQ(fe_send_log_base(&lab.rig.fe, &lab.log), 0);
    fe_log_switch(&lab.rig.fe, NULL, 0, true);
    for (unsigned int i = 0; i < n_vqs(&lab); i++) {
        lab.rig.vqs[i].log = true;
    }
    snapshot(&lab);
    rig_start(&lab.rig);
    allow_rings(&lab);
    CHECK_GT(check_marks(&lab, false), 0);
    fe_log_clear(&lab.log);
    round_with_log(&lab, false);

    test_part("stopped and started");
    for (unsigned int i = 0; i < n_vqs(&lab); i++) {
        fe_vq_stop(&lab.rig.vqs[i]);
    }
    rig_start(&lab.rig);
    fe_log_clear(&lab.log);
    round_with_log(&lab, false);
    lab_close(&lab);
}

/* A split ring's used ring is marked where the front end says; a packed one
 * where it is. */
static void
test_log_address(void)
{
    bool packed = test_variant() & FE_F_PACKED;
    struct lab lab;

    lab_open(&lab, NULL);
    for (unsigned int i = 0; i < n_vqs(&lab); i++) {
        lab.rig.vqs[i].log_addr = (i + 1) * 16 * FE_PAGE;
    }
    rig_start(&lab.rig);
    log_on(&lab);
    round_with_log(&lab, !packed);
    if (!packed) {
        traffic(&lab);
        for (unsigned int i = 0; i < n_vqs(&lab); i++) {
            CHECK(fe_log_marked(&lab.log, lab.rig.vqs[i].log_addr));
            CHECK(!fe_log_marked(&lab.log, lab.rig.vqs[i].used_addr));
        }
        finish_round(&lab);

        test_part("an address that wraps");
        for (unsigned int i = 0; i < n_vqs(&lab); i++) {
            lab.rig.vqs[i].log_addr = UINT64_MAX - 9;
            CHECK_EQ(fe_vq_send_addr(&lab.rig.vqs[i]), 0);
        }
        traffic(&lab);
        finish_round(&lab);

        test_part("not logged");
        for (unsigned int i = 0; i < n_vqs(&lab); i++) {
            lab.rig.vqs[i].log_addr = 0;
            lab.rig.vqs[i].log = false;
            CHECK_EQ(fe_vq_send_addr(&lab.rig.vqs[i]), 0);
        }
        fe_log_clear(&lab.log);
        traffic(&lab);
        CHECK(!fe_log_marked(&lab.log, lab.rig.vqs[0].used_addr));
        CHECK_GT(fe_log_clear(&lab.log), 0);
        finish_round(&lab);
    }
    rig_check_traffic(&lab.rig, 0);
    lab_close(&lab);
}

/* A log that ends in the midst of guest memory: nothing is written behind it,
 * the operator is told, traffic goes on. */
static void
test_too_small(void)
{
    struct lab lab;
    struct fe_log small;
    uint64_t size;

    lab_open(&lab, NULL);
    rig_start(&lab.rig);

    /* It ends in the midst of the buffers. */
    size = (lab.buffers[0] + (128 << 10)) / FE_PAGE / 8;
    fe_log_init(&small, size, FE_PAGE - 16);
    CHECK_EQ(fe_send_log_base(&lab.rig.fe, &small), 0);
    fe_log_switch(&lab.rig.fe, lab.rig.vqs, n_vqs(&lab), true);
    for (unsigned int i = 0; i < 20; i++) {
        traffic(&lab);
        finish_round(&lab);
    }
    CHECK_GT(fe_log_clear(&small), 0);
    fe_log_check_outside(&small);

    test_part("one byte");
    small.size = 1;
    CHECK_EQ(fe_send_log_base(&lab.rig.fe, &small), 0);
    traffic(&lab);
    finish_round(&lab);
    WAIT_FOR(test_logged("the dirty log of 8 pages is too small"));
    small.size = size;
    fe_log_check_outside(&small);
    CHECK_EQ(fe_log_clear(&small), 0);

    test_part("a log that will do");
    log_on(&lab);
    round_with_log(&lab, false);
    CHECK_EQ(rig_all_guest_errors(&lab.rig), 0);
    lab_close(&lab);
    fe_log_destroy(&small);
}

/* Sends SET_LOG_BASE that must not be taken: the connection ends, since the
 * front end would migrate with a log that nobody writes, or it says that it
 * knows by its answer. */
static void
refused_(struct rig *rig, int line, uint64_t size, uint64_t offset, int fd,
         unsigned int n_fds)
{
    uint64_t payload[2] = { size, offset };
    uint64_t value = 0;
    int fds[2] = { fd, fd };
    struct fe_header h;
    enum fe_got got;

    CHECK(fe_send_fds(&rig->fe, FE_SET_LOG_BASE, FE_NEED_REPLY, payload,
                      sizeof payload, fds, n_fds));
    got = fe_receive(&rig->fe, &h, &value, sizeof value, 5000);
    if (got == FE_GOT_NOTHING || (got == FE_GOT_MESSAGE && !value)) {
        test_fail(__FILE__, line, "SET_LOG_BASE was not refused");
    }
    if (got == FE_GOT_END) {
        rig_disconnect(rig);
        rig_connect(rig);
    }
    CHECK(fe_send_fds(&rig->fe, FE_SET_LOG_BASE, 0, payload, sizeof payload,
                      fds, n_fds));
    if (!fe_closed(&rig->fe, 5000)) {
        test_fail(__FILE__, line, "the connection was not closed");
    }
    rig_disconnect(rig);
    rig_connect(rig);
}
#define REFUSED(SIZE, OFFSET, FD, N_FDS) \
    refused_(&lab.rig, __LINE__, SIZE, OFFSET, FD, N_FDS)

static void
test_bad_base(void)
{
    unsigned int n_fds, n_maps;
    struct lab lab;
    int pipes[2], event, zero;
    uint64_t end;

    event = eventfd(0, EFD_CLOEXEC);
    zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
    lab_open(&lab, NULL);
    n_fds = test_n_fds();
    n_maps = test_n_maps();
    end = lab.log.file_size;

    test_part("descriptors");
    REFUSED(4096, 0, lab.log.fd, 0);
    REFUSED(4096, 0, lab.log.fd, 2);
    REFUSED(4096, 0, event, 1);
    REFUSED(4096, 0, pipes[0], 1);
    REFUSED(4096, 0, zero, 1);
    REFUSED(4096, 0, lab.rig.fe.sock, 1);

    test_part("bounds");
    REFUSED(0, 0, lab.log.fd, 1);
    REFUSED(end + 1, 0, lab.log.fd, 1);
    REFUSED(1, end, lab.log.fd, 1);
    REFUSED(UINT64_MAX, 4096, lab.log.fd, 1);
    REFUSED(4096, UINT64_MAX - 4095, lab.log.fd, 1);
    REFUSED(4096, UINT64_MAX / 4096 * 4096, lab.log.fd, 1);
    REFUSED(UINT64_C(1) << 60, 0, lab.log.fd, 1);

    test_part("what is left");
    WAIT_FOR(test_n_fds() == n_fds && test_n_maps() == n_maps);
    rig_start(&lab.rig);
    log_on(&lab);
    round_with_log(&lab, false);

    /* A descriptor for errors, which nobody has ever used. */
    CHECK_EQ(fe_ask_fds(&lab.rig.fe, FE_SET_LOG_FD, NULL, 0, &event, 1), 0);
    round_with_log(&lab, false);

    test_part("another log, and refused ones, in the place of one in use");
    REFUSED(4096, 0, event, 1);
    rig_start(&lab.rig);
    for (unsigned int i = 0; i < 5; i++) {
        log_on(&lab);
        round_with_log(&lab, false);
    }
    rig_disconnect(&lab.rig);
    WAIT_FOR(test_n_maps() <= n_maps);
    close(event);
    close(zero);
    close(pipes[0]);
    close(pipes[1]);
    lab_close(&lab);
}

/* A device that starts while a migration is under way has its rings before its
 * log: they wait.  Without LOG_SHMFD there is no log to wait for. */
static void
test_log_comes_late(void)
{
    struct rig_config c = { .features = RIG_FEATURES | FE_F_LOG_ALL };
    struct lab lab;

    lab_open(&lab, &c);
    for (unsigned int i = 0; i < n_vqs(&lab); i++) {
        lab.rig.vqs[i].log = true;
        fe_vq_start(&lab.rig.vqs[i], fe_vq_base(&lab.rig.vqs[i]), true);
    }
    driver_prepares(&lab, 0, 10);
    snapshot(&lab);
    for (unsigned int i = 0; i < 100; i++) {
        uint8_t frame[64];

        CHECK_EQ(rig_switch_recv(&lab.rig, 0, frame, sizeof frame, NULL), -1);
        CHECK(!rig_switch_send(&lab.rig, 0, 60, 1, NULL));
        test_sleep_us(2000);    /* Nor does the event thread throw away. */
    }
    CHECK_EQ(check_marks(&lab, false), 0);

    CHECK_EQ(fe_send_log_base(&lab.rig.fe, &lab.log), 0);
    switch_receives(&lab, 0, 10);
    switch_sends(&lab, 0);
    driver_finds(&lab, 0);
    allow_rings(&lab);
    CHECK_GT(check_marks(&lab, false), 0);
    finish_round(&lab);
    round_with_log(&lab, false);
    lab_close(&lab);

    test_part("no log to wait for");
    c.protocol = RIG_PROTOCOL;
    lab_open(&lab, &c);
    rig_start(&lab.rig);
    rig_check_traffic(&lab.rig, 0);
    lab_close(&lab);
}

/* The log's file is truncated: the port loses its session, and no other port
 * anything. */
static void
test_truncated(void)
{
    struct lab lab;
    struct rig other;
    uint8_t frame[2048];
    unsigned int n = 0;

    CHECK_EQ(vhost_sigbus_install(), 0);
    rig_open(&other, "other", NULL);
    lab_open(&lab, &(struct rig_config) { .n_pairs = 2 });
    rig_start(&lab.rig);
    for (unsigned int i = 0; i < 6; i++) {
        bool sends = i & 1;

        test_part("%s, %u", sends ? "to the guest" : "from the guest", i);
        log_on(&lab);
        if (i >= 4) {           /* The map is another one. */
            CHECK_EQ(fe_send_mem_table(&lab.rig.fe), 0);
        }
        driver_prepares(&lab, 0, 10);
        CHECK_EQ(ftruncate(lab.log.fd, 0), 0);
        if (sends) {
            rig_switch_send(&lab.rig, 0, 1000, 1, NULL);
        } else {
            rig_switch_recv(&lab.rig, 0, frame, sizeof frame, NULL);
        }
        n++;
        WAIT_FOR(rig_info(&lab.rig).n_disconnects == n);
        CHECK_EQ(rig_info(&lab.rig).n_protocol_errors, n);
        rig_check_traffic(&other, 0);

        CHECK_EQ(ftruncate(lab.log.fd, lab.log.file_size), 0);
        fe_hang_up(&lab.rig.fe);
        for (unsigned int k = 0; k < n_vqs(&lab); k++) {
            lab.rig.vqs[k].log = false;
            fe_vq_reset(&lab.rig.vqs[k]);
        }
        rig_connect(&lab.rig);
        for (unsigned int k = 0; k < n_vqs(&lab); k++) {
            rig_start_ring(&lab.rig, k, fe_vq_base(&lab.rig.vqs[k]));
        }
        rig_check_traffic(&lab.rig, 0);
        rig_check_traffic(&lab.rig, 1);
    }
    CHECK_EQ(rig_info(&other).n_disconnects, 0);
    fe_log_destroy(&lab.log);
    fe_log_init(&lab.log, 64, 0);   /* For lab_close(). */
    lab_close(&lab);
    rig_close(&other);
}

/* A migration: a thread copies the pages that are marked, again and again,
 * while frames arrive, and the log is switched on and off.  In the end the
 * copy is what the memory is. */
struct migration {
    struct lab *lab;
    uint8_t *copy;              /* Of region 0. */
    pthread_t sender, copier;
    atomic_bool end_sender, end_copier;
    atomic_uint n_sent;
};

static void *
sender_main(void *m_)
{
    struct migration *m = m_;

    while (!atomic_load(&m->end_sender)) {
        if (rig_switch_send(&m->lab->rig, 0, 900,
                            atomic_load(&m->n_sent), NULL)) {
            atomic_fetch_add(&m->n_sent, 1);
        }
        test_sleep_us(5);
    }
    return NULL;
}

static void
copy_marked(struct migration *m)
{
    const struct fe_region *r = &m->lab->rig.fe.regions[0];

    for (uint64_t offset = 0; offset < r->size; offset += FE_PAGE) {
        if (fe_log_take(&m->lab->log, (r->guest_addr + offset) / FE_PAGE)) {
            racy_copy(m->copy + offset, r->map + offset, FE_PAGE);
        }
    }
}

static void *
copier_main(void *m_)
{
    struct migration *m = m_;

    while (!atomic_load(&m->end_copier)) {
        copy_marked(m);
    }
    return NULL;
}

/* The driver offers each buffer again that was used, until 'n' more frames
 * have been sent. */
static void
let_pass(struct migration *m, unsigned int n)
{
    unsigned int end = atomic_load(&m->n_sent) + n;
    long long int limit = test_now_us() + 10000000;

    while ((int) (end - atomic_load(&m->n_sent)) > 0) {
        uint64_t bytes = 0;

        CHECK_LT(test_now_us(), limit);
        if (fe_vq_recycle(RIG_RX(&m->lab->rig, 0), 64, &bytes)) {
            fe_vq_publish(RIG_RX(&m->lab->rig, 0));
        } else {
            test_sleep_us(10);
        }
    }
}

/* The bytes that only the device writes are the same in both. */
static void
compare_copy(const struct migration *m)
{
    const struct lab *lab = m->lab;
    const struct fe_region *r = &lab->rig.fe.regions[0];
    const struct fe_vq *rx = RIG_RX(&lab->rig, 0);
    uint64_t used_len = (test_variant() & FE_F_PACKED ? 4
                         : 6 + 8 * rx->size);

    CHECK(!memcmp(r->map + (lab->buffers[0] - r->guest_addr),
                  m->copy + (lab->buffers[0] - r->guest_addr), BUFFERS_SIZE));
    CHECK(!memcmp(r->map + (rx->used_addr - r->guest_addr),
                  m->copy + (rx->used_addr - r->guest_addr), used_len));
}

static void
test_migration(void)
{
    struct migration m = { .n_sent = 0 };
    unsigned int rounds = test_slow ? 5 : 30;
    struct fe_region *r;
    struct lab lab;

    /* The used ring has several pages. */
    lab_open(&lab, &(struct rig_config) { .ring_size = 1024 });
    m.lab = &lab;
    r = &lab.rig.fe.regions[0];
    m.copy = malloc(r->size);
    CHECK(m.copy != NULL);
    rig_start(&lab.rig);
    for (unsigned int i = 0; i < 900; i++) {
        struct fe_buf buf = { lab.buffers[0] + i * 1024, 1024, true };

        CHECK_GE(fe_vq_add(RIG_RX(&lab.rig, 0), &buf, 1, 0, 0), 0);
    }
    fe_vq_publish(RIG_RX(&lab.rig, 0));
    CHECK(!pthread_create(&m.sender, NULL, sender_main, &m));
    for (unsigned int i = 0; i < rounds; i++) {
        test_part("migration %u", i);
        let_pass(&m, 100);
        log_on(&lab);
        racy_copy(m.copy, r->map, r->size);
        atomic_store(&m.end_copier, false);
        CHECK(!pthread_create(&m.copier, NULL, copier_main, &m));
        let_pass(&m, 500);
        atomic_store(&m.end_copier, true);
        CHECK(!pthread_join(m.copier, NULL));

        /* The guest is stopped; nothing is written after the answer. */
        fe_vq_stop(RIG_RX(&lab.rig, 0));
        copy_marked(&m);
        compare_copy(&m);

        /* It goes on here after all. */
        fe_vq_start(RIG_RX(&lab.rig, 0), fe_vq_base(RIG_RX(&lab.rig, 0)),
                    true);
        let_pass(&m, 50);
        log_off(&lab);
        fe_log_clear(&lab.log);
        let_pass(&m, 50);
        CHECK_EQ(fe_log_clear(&lab.log), 0);
    }
    atomic_store(&m.end_sender, true);
    CHECK(!pthread_join(m.sender, NULL));
    CHECK_EQ(rig_all_guest_errors(&lab.rig), 0);
    free(m.copy);
    lab_close(&lab);
}

static const struct test_case cases[] = {
    { "marks", test_marks, 60 },
    { "marks-from-start", test_marks_from_start, 0 },
    { "log-address", test_log_address, 0 },
    { "too-small", test_too_small, 0 },
    { "bad-base", test_bad_base, 60 },
    { "log-comes-late", test_log_comes_late, 0 },
    { "truncated", test_truncated, 0 },
    { "migration", test_migration, 60 },
};

int
main(int argc, char *argv[])
{
    return rig_main(argc, argv, cases, N_ELEMS(cases));
}
