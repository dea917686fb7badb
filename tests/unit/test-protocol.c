/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of the vhost-user protocol: every message well-formed and
 * malformed, in whole and in pieces.  Cases at the end have peers that send
 * nonsense or half of something. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "rig.h"

#define ALL_PROTOCOL (FE_P_MQ | FE_P_REPLY_ACK | FE_P_RARP | FE_P_NET_MTU \
                      | FE_P_STATUS | FE_P_BACKEND_REQ | FE_P_LOG_SHMFD)

/* A connected and negotiated port, rings not started. */
static void
open_session(struct rig *rig)
{
    struct rig_config c = {
        .protocol = ALL_PROTOCOL,
        .features = RIG_FEATURES | FE_F_MTU,
    };

    rig_create(rig, "p", &c);
    rig_connect(rig);
}

/* A fresh connection in the place of the present one. */
static void
renew(struct rig *rig)
{
    rig_disconnect(rig);
    rig_connect(rig);
}

/* Sends a message that must be refused: a nonzero answer where asked for one
 * (the connection then works on), or the end of the connection.  Either way a
 * connection is there afterwards.  Returns true if it is the same one. */
static bool
refused_(struct rig *rig, int line, uint32_t request, const void *payload,
         size_t size, const int fds[], unsigned int n_fds)
{
    struct fe *fe = &rig->fe;
    struct fe_header h;
    uint64_t value = 0;
    enum fe_got got;

    CHECK(fe_send_fds(fe, request, FE_NEED_REPLY, payload, size, fds, n_fds));
    got = fe_receive(fe, &h, &value, sizeof value, 5000);
    if (got == FE_GOT_MESSAGE) {
        if (h.request != request || h.size != 8 || !value) {
            test_fail(__FILE__, line, "request %u was not refused (reply to "
                      "%u, %llu)", request, h.request,
                      (unsigned long long int) value);
        }
        fe_sync(fe);
        return true;
    }
    if (got != FE_GOT_END) {
        test_fail(__FILE__, line, "request %u: neither reply nor end",
                  request);
    }
    fe_hang_up(fe);
    rig_connect(rig);
    return false;
}
#define REFUSED(RIG, REQUEST, PAYLOAD, SIZE) \
    refused_(RIG, __LINE__, REQUEST, PAYLOAD, SIZE, NULL, 0)
#define REFUSED_FDS(RIG, REQUEST, PAYLOAD, SIZE, FDS, N_FDS) \
    refused_(RIG, __LINE__, REQUEST, PAYLOAD, SIZE, FDS, N_FDS)

static bool
refused_state_(struct rig *rig, int line, uint32_t request, uint32_t index,
               uint32_t num)
{
    struct fe_vring_state state = { index, num };

    return refused_(rig, line, request, &state, sizeof state, NULL, 0);
}
#define REFUSED_STATE(RIG, REQUEST, INDEX, NUM) \
    refused_state_(RIG, __LINE__, REQUEST, INDEX, NUM)

/* The connection must end, whatever was asked for. */
static void
closed_(struct rig *rig, int line)
{
    if (!fe_closed(&rig->fe, 5000)) {
        test_fail(__FILE__, line, "the connection was not closed");
    }
    fe_hang_up(&rig->fe);
    rig_connect(rig);
}
#define CLOSED(RIG) closed_(RIG, __LINE__)

static void
test_owner(void)
{
    struct rig rig;

    rig_create(&rig, "p", NULL);
    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    CHECK(fe_send(&rig.fe, FE_SET_OWNER, 0, NULL, 0));
    fe_sync(&rig.fe);
    /* A second one is not forbidden. */
    CHECK(fe_send(&rig.fe, FE_SET_OWNER, 0, NULL, 0));
    fe_sync(&rig.fe);
    CHECK(fe_send(&rig.fe, FE_RESET_OWNER, 0, NULL, 0));
    fe_sync(&rig.fe);
    CHECK_EQ(rig_info(&rig).n_protocol_errors, 0);
    CHECK_GE(rig_info(&rig).n_messages, 6);
    CHECK_EQ(rig_info(&rig).peer_pid, getpid());
    rig_disconnect(&rig);
    CHECK_EQ(rig_info(&rig).peer_pid, 0);
    rig_close(&rig);
}

/* RESET_OWNER with rings running: nothing is processed any more, or nothing
 * changes; the session goes on. */
static void
test_reset_owner(void)
{
    struct rig rig;

    rig_open(&rig, "p", NULL);
    rig_check_traffic(&rig, 0);
    CHECK(fe_send(&rig.fe, FE_RESET_OWNER, 0, NULL, 0));
    fe_sync(&rig.fe);
    fe_vq_stop(RIG_RX(&rig, 0));
    fe_vq_stop(RIG_TX(&rig, 0));
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

static void
test_features(void)
{
    struct rig rig;
    uint64_t offered, value;

    rig_create(&rig, "p", NULL);
    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    offered = fe_get_u64(&rig.fe, FE_GET_FEATURES);
    CHECK_EQ(offered, vhost_supported_features);
    CHECK_EQ(offered, rig_info(&rig).offer.features);
    CHECK_EQ(offered & RIG_FEATURES, RIG_FEATURES);
    CHECK_EQ(rig_info(&rig).features, 0);

    /* What nobody knows must not be offered. */
    CHECK_EQ(offered >> 42, 0);

    fe_negotiate(&rig.fe, RIG_FEATURES, RIG_PROTOCOL);
    CHECK_EQ(rig_info(&rig).features, RIG_FEATURES);
    WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_FEATURES);

    /* A bit that was not offered. */
    for (unsigned int bit = 0; bit < 64; bit++) {
        if (offered & FE_BIT(bit)) {
            continue;
        }
        test_part("bit %u", bit);
        value = FE_F_VERSION_1 | FE_F_PROTOCOL | FE_BIT(bit);
        if (REFUSED(&rig, FE_SET_FEATURES, &value, sizeof value)) {
            CHECK_EQ(rig_info(&rig).features & FE_BIT(bit), 0);
        }
    }

    /* Sizes and descriptors. */
    for (unsigned int size = 0; size <= 16; size++) {
        uint64_t buf[2] = { FE_F_PROTOCOL, 0 };

        if (size != 8) {
            test_part("size %u", size);
            CHECK(fe_send(&rig.fe, FE_SET_FEATURES, FE_NEED_REPLY, buf,
                          size));
            CLOSED(&rig);
        }
    }
    CHECK(fe_send(&rig.fe, FE_GET_FEATURES, 0, &value, 8));
    CLOSED(&rig);
    CHECK(fe_send_fds(&rig.fe, FE_GET_FEATURES, 0, NULL, 0,
                      (int[]) { STDIN_FILENO }, 1));
    CLOSED(&rig);
    rig_close(&rig);
}

static void
test_protocol_features(void)
{
    struct rig rig;
    uint64_t offered, value;

    rig_create(&rig, "p", NULL);
    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    offered = fe_get_u64(&rig.fe, FE_GET_PROTOCOL_FEATURES);
    CHECK_EQ(offered | (vhost_postcopy_obstacle() ? FE_P_PAGEFAULT : 0),
             vhost_supported_protocol_features);
    CHECK_EQ(offered & ALL_PROTOCOL, ALL_PROTOCOL);
    /* In-band notifications. */
    CHECK_EQ(offered & FE_BIT(14), 0);
    rig_connect(&rig);
    CHECK_EQ(rig_info(&rig).protocol_features, RIG_PROTOCOL);
    for (unsigned int bit = 0; bit < 64; bit++) {
        if (!(offered & FE_BIT(bit))) {
            test_part("bit %u", bit);
            value = FE_BIT(bit) | FE_P_REPLY_ACK;
            REFUSED(&rig, FE_SET_PROTOCOL_FEATURES, &value, sizeof value);
        }
    }
    test_part("sizes");
    CHECK(fe_send(&rig.fe, FE_SET_PROTOCOL_FEATURES, 0, &value, 4));
    CLOSED(&rig);
    CHECK(fe_send(&rig.fe, FE_GET_PROTOCOL_FEATURES, 0, &value, 4));
    CLOSED(&rig);
    rig_close(&rig);
}

/* Fixed sizes: one byte more or less, and descriptors where none belong. */
static void
test_sizes(void)
{
    static const struct {
        uint32_t request;
        unsigned int size;
        bool takes_fd;
    } messages[] = {
        { FE_GET_FEATURES, 0, false },
        { FE_SET_FEATURES, 8, false },
        { FE_SET_OWNER, 0, false },
        { FE_RESET_OWNER, 0, false },
        { FE_SET_VRING_NUM, 8, false },
        { FE_SET_VRING_ADDR, 40, false },
        { FE_SET_VRING_BASE, 8, false },
        { FE_GET_VRING_BASE, 8, false },
        { FE_SET_VRING_KICK, 8, true },
        { FE_SET_VRING_CALL, 8, true },
        { FE_SET_VRING_ERR, 8, true },
        { FE_GET_PROTOCOL_FEATURES, 0, false },
        { FE_SET_PROTOCOL_FEATURES, 8, false },
        { FE_GET_QUEUE_NUM, 0, false },
        { FE_SET_VRING_ENABLE, 8, false },
        { FE_SEND_RARP, 8, false },
        { FE_NET_SET_MTU, 8, false },
        { FE_SET_BACKEND_REQ_FD, 0, true },
        { FE_SET_STATUS, 8, false },
        { FE_GET_STATUS, 0, false },
        { FE_SET_LOG_BASE, 16, true },
        { FE_SET_LOG_FD, 0, true },
    };
    uint8_t payload[128];
    struct rig rig;
    int fds[3];
    unsigned int n_fds;

    memset(payload, 0, sizeof payload);
    for (unsigned int i = 0; i < N_ELEMS(fds); i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    open_session(&rig);
    n_fds = rig_settled_fds(&rig);
    for (size_t i = 0; i < N_ELEMS(messages); i++) {
        uint32_t request = messages[i].request;
        unsigned int size = messages[i].size;

        test_part("request %u, %u bytes too many", request, 1);
        CHECK(fe_send(&rig.fe, request, FE_NEED_REPLY, payload, size + 1));
        CLOSED(&rig);
        CHECK(fe_send(&rig.fe, request, 0, payload, size + 40));
        CLOSED(&rig);
        if (size) {
            test_part("request %u, one byte too few", request);
            CHECK(fe_send(&rig.fe, request, FE_NEED_REPLY, payload,
                          size - 1));
            CLOSED(&rig);
            test_part("request %u, empty", request);
            CHECK(fe_send(&rig.fe, request, 0, payload, 0));
            CLOSED(&rig);
        }
        test_part("request %u, too many descriptors", request);
        CHECK(fe_send_fds(&rig.fe, request, FE_NEED_REPLY, payload, size, fds,
                          messages[i].takes_fd ? 2 : 1));
        CLOSED(&rig);
        CHECK(fe_send_fds(&rig.fe, request, 0, payload, size, fds, 3));
        CLOSED(&rig);
        if (messages[i].takes_fd) {
            test_part("request %u, no descriptor", request);
            REFUSED(&rig, request, payload, size);
            CHECK(fe_send(&rig.fe, request, 0, payload, size));
            CLOSED(&rig);
        }
    }
    RIG_WAIT_FDS(&rig, n_fds);
    CHECK_GE(rig_info(&rig).n_protocol_errors, N_ELEMS(messages) * 4);
    for (unsigned int i = 0; i < N_ELEMS(fds); i++) {
        close(fds[i]);
    }
    rig_close(&rig);
}

/* Sends SET_MEM_TABLE with 'n' regions and 'n_fds' copies of 'fd'. */
static bool
mem_table_refused_(struct rig *rig, int line, struct fe_mem_table *table,
                   unsigned int n, int fd, unsigned int n_fds)
{
    int fds[32];

    for (unsigned int i = 0; i < n_fds; i++) {
        fds[i] = fd;
    }
    table->n = n;
    return refused_(rig, line, FE_SET_MEM_TABLE, table, FE_MEM_TABLE_SIZE(n),
                    fds, n_fds);
}
#define MEM_TABLE_REFUSED(TABLE, N, FD, N_FDS) \
    mem_table_refused_(&rig, __LINE__, TABLE, N, FD, N_FDS)

static void
test_mem_table(void)
{
    struct fe_mem_table t;
    const struct fe_mem_region good = { 0x100000, 1 << 20, 0x7000000, 0 };
    unsigned int n_fds, n_maps;
    struct rig rig;
    int fd, other;

    fd = fe_memfd(16 << 20, MFD_ALLOW_SEALING);
    open_session(&rig);
    n_fds = rig_settled_fds(&rig);
    n_maps = test_n_maps();
    memset(&t, 0, sizeof t);
    for (unsigned int i = 0; i < 16; i++) {
        t.regions[i] = (struct fe_mem_region) {
            0x100000 * (i + 1), 1 << 20, 0x7000000 + 0x200000 * i,
            (i % 16) << 20,
        };
    }

    test_part("number of regions");
    MEM_TABLE_REFUSED(&t, 0, fd, 0);
    MEM_TABLE_REFUSED(&t, 9, fd, 8);
    t.n = 0x10000001;
    REFUSED_FDS(&rig, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(1), &fd, 1);
    t.n = 0xffffffff;
    REFUSED_FDS(&rig, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(8), &fd, 1);

    test_part("number of descriptors");
    MEM_TABLE_REFUSED(&t, 2, fd, 0);
    MEM_TABLE_REFUSED(&t, 2, fd, 1);
    MEM_TABLE_REFUSED(&t, 2, fd, 3);
    MEM_TABLE_REFUSED(&t, 1, fd, 8);
    MEM_TABLE_REFUSED(&t, 1, fd, 20);

    test_part("payload's size");
    t.n = 2;
    REFUSED_FDS(&rig, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(1),
                ((int[]) { fd, fd }), 2);
    REFUSED_FDS(&rig, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(2) - 1,
                ((int[]) { fd, fd }), 2);
    REFUSED_FDS(&rig, FE_SET_MEM_TABLE, &t, 7, ((int[]) { fd, fd }), 2);

    test_part("overlap in guest addresses");
    t.regions[1].guest_addr = t.regions[0].guest_addr + FE_PAGE;
    MEM_TABLE_REFUSED(&t, 2, fd, 2);
    t.regions[1].guest_addr = t.regions[0].guest_addr - FE_PAGE;
    MEM_TABLE_REFUSED(&t, 2, fd, 2);
    t.regions[1].guest_addr = t.regions[0].guest_addr;
    MEM_TABLE_REFUSED(&t, 2, fd, 2);
    t.regions[1].guest_addr = 0x200000;

    test_part("addresses that wrap around");
    t.regions[0] = good;
    t.regions[0].guest_addr = UINT64_MAX - (1 << 19) + 1;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0] = good;
    t.regions[0].user_addr = UINT64_MAX - (1 << 19) + 1;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0] = good;
    t.regions[0].offset = UINT64_MAX - FE_PAGE + 1;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0] = good;
    t.regions[0].size = UINT64_MAX;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0].size = UINT64_MAX - FE_PAGE + 1;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0] = good;
    t.regions[0].size = 0;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);

    test_part("more than the file has");
    t.regions[0] = good;
    t.regions[0].size = (16 << 20) + FE_PAGE;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0] = good;
    t.regions[0].offset = (15 << 20) + FE_PAGE;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0].offset = 1ULL << 40;
    MEM_TABLE_REFUSED(&t, 1, fd, 1);
    t.regions[0] = good;

    test_part("files that are no memory");
    other = open("/dev/zero", O_RDWR | O_CLOEXEC);
    MEM_TABLE_REFUSED(&t, 1, other, 1);
    close(other);
    other = open(test_path("regular"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQ(ftruncate(other, 4 << 20), 0);
    unlink(test_path("regular"));
    if (fcntl(other, F_GET_SEALS) < 0) {
        MEM_TABLE_REFUSED(&t, 1, other, 1);
    }                           /* Otherwise TMPDIR is on a tmpfs. */
    close(other);
    other = eventfd(0, EFD_CLOEXEC);
    MEM_TABLE_REFUSED(&t, 1, other, 1);
    close(other);
    other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MEM_TABLE_REFUSED(&t, 1, other, 1);
    close(other);

    test_part("a file that cannot be written");
    other = fe_memfd(4 << 20, MFD_ALLOW_SEALING);
    CHECK_EQ(fcntl(other, F_ADD_SEALS, F_SEAL_WRITE), 0);
    MEM_TABLE_REFUSED(&t, 1, other, 1);
    close(other);

    test_part("nothing is left behind");
    RIG_WAIT_FDS(&rig, n_fds);
    WAIT_FOR(test_n_maps() == n_maps);

    test_part("good ones");
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t,
                        (t.n = 1, FE_MEM_TABLE_SIZE(1)), &fd, 1), 0);
    CHECK_EQ(rig_info(&rig).n_regions, 1);
    t.regions[1].guest_addr = 0x500000;
    t.n = 8;
    for (unsigned int i = 0; i < 8; i++) {
        /* Adjacent, in falling order. */
        t.regions[i] = (struct fe_mem_region) {
            0x100000 * (16 - i), 1 << 20, 0x7000000 + 0x200000 * i,
            i << 20,
        };
    }
    CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_MEM_TABLE, &t, FE_MEM_TABLE_SIZE(8),
                        (int[]) { fd, fd, fd, fd, fd, fd, fd, fd }, 8), 0);
    CHECK_EQ(rig_info(&rig).n_regions, 8);
    RIG_WAIT_FDS(&rig, n_fds);
    close(fd);
    rig_close(&rig);
}

/* The same memory again and again is mapped once and leaks nothing; memory
 * that goes is unmapped. */
static void
test_mem_table_again(void)
{
    struct vhost_region_info regions[4];
    unsigned int n_fds, n_maps;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    n_fds = rig_settled_fds(&rig);
    n_maps = test_n_maps();
    for (unsigned int i = 0; i < 50; i++) {
        CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
        if (i % 10 == 0) {
            rig_check_traffic(&rig, 0);
        }
    }
    RIG_WAIT_FDS(&rig, n_fds);
    WAIT_FOR(test_n_maps() == n_maps);

    /* One region more: the rings keep running. */
    fe_add_region(&rig.fe, 0x80000000, 2 << 20, 0x123400000);
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    CHECK_EQ(rig_info(&rig).n_regions, 2);
    CHECK_EQ(vhost_port_get_regions(rig.port, regions, 4), 2);
    CHECK_EQ(regions[1].guest_addr, 0x80000000);
    CHECK_EQ(regions[1].size, 2 << 20);
    CHECK_EQ(regions[1].page_size, 4096);
    CHECK_EQ(vhost_port_get_regions(rig.port, regions, 1), 2);
    rig_check_traffic(&rig, 0);
    CHECK(rig_guest_send(&rig, 0, 0x80000000 + (1 << 20), 700, 5));
    {
        uint8_t frame[1024];
        uint16_t head;
        uint32_t len;

        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 700);
        CHECK_PATTERN(frame, 700, 5);
        CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    /* And without it again. */
    rig.fe.n_regions = 1;
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    rig.fe.n_regions = 2;
    WAIT_FOR(test_n_maps() == n_maps + 1);      /* Our own. */
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* Bytes of the file 'fd' that there are. */
static uint64_t
allocated(int fd)
{
    struct stat s;

    CHECK(!fstat(fd, &s));
    return s.st_blocks * 512;
}

/* A process that locks its memory, as ovs-vswitchd does by default, does not
 * fill files that are sparse.  What is touched it locks. */
static void
test_mem_table_locked(void)
{
    struct fe_mem_table t = {
        .n = 1, .regions = { { 0x1000000000, 64 << 20, 0x7000000, 0 } },
    };
    struct rig rig;
    int fd = fe_memfd(64 << 20, MFD_ALLOW_SEALING);

    open_session(&rig);
    if (mlockall(MCL_FUTURE)) {
        rig_close(&rig);
        test_skip("mlockall: %s", strerror(errno));
    }
    if (!vhost_mem_is_locked()) {
        rig_close(&rig);
        test_skip("mlockall() does nothing here, as with AddressSanitizer");
    }
    CHECK(fe_send_fds(&rig.fe, FE_SET_MEM_TABLE, 0, &t, FE_MEM_TABLE_SIZE(1),
                      &fd, 1));
    fe_sync(&rig.fe);
    CHECK_EQ(rig_info(&rig).n_regions, 1);
    CHECK(allocated(fd) <= 1 << 20);

    /* All works as ever. */
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    munlockall();
    close(fd);
    rig_close(&rig);
}

/* Other memory at the same guest address, while the rings run: from the answer
 * on packets come from there and go there. */
static void
test_mem_table_moved(void)
{
    struct rig_config c = { .n_regions = 2, .region_size = 1 << 20 };
    struct virtio_net_hdr_mrg_rxbuf h;
    struct rig rig;
    uint64_t addr;

    rig_open(&rig, "p", &c);
    addr = rig.fe.regions[1].guest_addr + 12345;
    for (unsigned int i = 0; i < 30; i++) {
        struct fe_region *r = &rig.fe.regions[1];
        struct fe_buf buf = { addr, 2048, true };
        struct fe_region old = *r;
        uint8_t frame[2048];
        uint16_t head;
        uint32_t len;

        test_part("round %u", i);
        CHECK(rig_guest_send(&rig, 0, addr, 1000, i));
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 1000);
        CHECK_PATTERN(frame, 1000, i);
        CHECK(fe_vq_used(RIG_TX(&rig, 0), &head, &len));
        CHECK_GE(fe_vq_add(RIG_RX(&rig, 0), &buf, 1, 0, 0), 0);
        fe_vq_publish(RIG_RX(&rig, 0));
        CHECK(rig_switch_send(&rig, 0, 1000, i + 100, NULL));
        CHECK_EQ(fe_net_take(RIG_RX(&rig, 0), &h, frame, sizeof frame, NULL,
                             NULL, 0), 1000);
        CHECK_PATTERN(frame, 1000, i + 100);

        rig.fe.n_regions = 1;
        fe_add_region(&rig.fe, old.guest_addr, old.size, old.user_addr);
        memset(old.map, 0xaa, old.size);
        CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
        CHECK(rig_vring(&rig, 0).started && rig_vring(&rig, 1).started);
        munmap(old.map, old.size);
        close(old.fd);
    }
    CHECK_EQ(rig_all_guest_errors(&rig), 0);

    /* Memory with the rings goes: they stop, and nothing crashes. */
    {
        struct fe less = rig.fe;

        less.regions[0] = rig.fe.regions[1];
        less.n_regions = 1;
        fe_send_mem_table(&less);
        CHECK(!vhost_port_vring_enabled(rig.port, 0));
        CHECK(!vhost_port_vring_enabled(rig.port, 1));
        CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
        CHECK(!rig_switch_send(&rig, 0, 100, 1, NULL));
        CHECK(rig_info(&rig).error[0]);
    }

    /* And come back, with the ring's position unchanged. */
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    CHECK(vhost_port_vring_enabled(rig.port, 0));
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

static void
test_vring_num(void)
{
    static const uint32_t bad[] = { 0, 3, 5, 6, 255, 257, 32767, 65535, 65536,
                                    1 << 20, UINT32_MAX, 0x10100 };
    struct rig rig;

    open_session(&rig);
    for (unsigned int n = 1; n <= 32768; n *= 2) {
        CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, n), 0);
        CHECK_EQ(rig_vring(&rig, 1).size, n);
    }
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 256), 0);
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        struct vhost_vring_info info;
        bool same;

        test_part("size %u", bad[i]);
        /* A ring's size may also be refused when the ring starts (virtio 1.2
         * packed rings need no power of 2), but not later. */
        CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 0, 256), 0);
        same = REFUSED_STATE(&rig, FE_SET_VRING_NUM, 0, bad[i]);
        if (same && vhost_port_get_vring(rig.port, 0, &info)) {
            CHECK_EQ(info.size, 256);
        }
    }

    test_part("index");
    REFUSED_STATE(&rig, FE_SET_VRING_NUM, 2 * RIG_MAX_PAIRS, 256);
    REFUSED_STATE(&rig, FE_SET_VRING_NUM, 256, 256);
    REFUSED_STATE(&rig, FE_SET_VRING_NUM, 65536, 256);
    REFUSED_STATE(&rig, FE_SET_VRING_NUM, 1u << 31, 256);
    REFUSED_STATE(&rig, FE_SET_VRING_NUM, UINT32_MAX, 256);

    test_part("while the ring runs");
    rig_start(&rig);
    REFUSED_STATE(&rig, FE_SET_VRING_NUM, 0, 32768);
    rig_close(&rig);
}

/* Sends an address and, if that is taken, starts the ring, which must not
 * work then. */
static void
addr_refused_(struct rig *rig, int line, const struct fe_vring_addr *addr)
{
    struct fe *fe = &rig->fe;
    struct fe_vq *vq = &rig->vqs[addr->index];
    uint64_t index = addr->index;
    struct fe_header h;
    uint64_t value = 0;
    enum fe_got got;

    CHECK_EQ(fe_ask_state(fe, FE_SET_VRING_NUM, addr->index, vq->size), 0);
    CHECK(fe_send(fe, FE_SET_VRING_ADDR, FE_NEED_REPLY, addr, sizeof *addr));
    got = fe_receive(fe, &h, &value, sizeof value, 5000);
    if (got == FE_GOT_MESSAGE && !value) {
        CHECK(fe_send_fds(fe, FE_SET_VRING_KICK, FE_NEED_REPLY, &index,
                          sizeof index, &vq->kick_fd, 1));
        got = fe_receive(fe, &h, &value, sizeof value, 5000);
        if (got == FE_GOT_MESSAGE && !value) {
            test_fail(__FILE__, line, "the address was not refused");
        }
    }
    CHECK(got != FE_GOT_NOTHING);
    CHECK(vhost_port_vring_enabled(rig->port, addr->index) == false);
    renew(rig);
}
#define ADDR_REFUSED(ADDR) addr_refused_(&rig, __LINE__, ADDR)

static void
test_vring_addr(void)
{
    struct fe_vring_addr good, a;
    struct rig_config c = { .n_regions = 2, .region_size = 1 << 20 };
    uint64_t end0, start0;
    struct rig rig;

    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    memset(&good, 0, sizeof good);
    good.index = 1;
    good.desc = fe_user_addr(&rig.fe, RIG_TX(&rig, 0)->desc_addr);
    good.avail = fe_user_addr(&rig.fe, RIG_TX(&rig, 0)->avail_addr);
    good.used = fe_user_addr(&rig.fe, RIG_TX(&rig, 0)->used_addr);
    start0 = rig.fe.regions[0].user_addr;
    end0 = start0 + rig.fe.regions[0].size;

    test_part("misaligned");
    a = good;
    a.desc += 8;
    ADDR_REFUSED(&a);
    a = good;
    a.avail += 1;
    ADDR_REFUSED(&a);
    a = good;
    a.used += 2;
    ADDR_REFUSED(&a);

    test_part("outside memory");
    a = good;
    a.desc = 0;
    ADDR_REFUSED(&a);
    a = good;
    a.avail = start0 - 4096;
    ADDR_REFUSED(&a);
    a = good;
    a.used = end0;
    ADDR_REFUSED(&a);
    a = good;
    a.used = UINT64_MAX - 3;
    ADDR_REFUSED(&a);
    a = good;
    a.desc = UINT64_MAX - 15;
    ADDR_REFUSED(&a);
    a = good;                   /* A guest address is no user address. */
    a.desc = RIG_TX(&rig, 0)->desc_addr;
    ADDR_REFUSED(&a);

    test_part("across the region's end");
    a = good;
    a.desc = end0 - 16 * 256 + 16;
    ADDR_REFUSED(&a);
    a = good;
    a.avail = end0 - 4 - 2 * 256 + 2;
    ADDR_REFUSED(&a);
    a = good;                   /* The event index does not fit any more. */
    a.avail = end0 - 4 - 2 * 256;
    ADDR_REFUSED(&a);
    a = good;
    a.used = end0 - 4 - 8 * 256 + 4;
    ADDR_REFUSED(&a);

    test_part("index");
    a = good;
    a.index = 2 * RIG_MAX_PAIRS;
    REFUSED(&rig, FE_SET_VRING_ADDR, &a, sizeof a);
    a.index = 0x10001;
    REFUSED(&rig, FE_SET_VRING_ADDR, &a, sizeof a);
    a.index = UINT32_MAX;
    REFUSED(&rig, FE_SET_VRING_ADDR, &a, sizeof a);

    test_part("exactly at the region's end");
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 256), 0);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_BASE, 1, 0), 0);
    a = good;
    a.used = end0 - 4 - 8 * 256 - 4;    /* Aligned to 4. */
    CHECK_EQ(fe_ask(&rig.fe, FE_SET_VRING_ADDR, &a, sizeof a), 0);
    CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_KICK, 1,
                             RIG_TX(&rig, 0)->kick_fd), 0);
    CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), true), 0);
    CHECK(vhost_port_vring_enabled(rig.port, 1));
    rig_close(&rig);
}

/* The size that counts is the one at the start of the ring, not the one when
 * the addresses came. */
static void
test_num_after_addr(void)
{
    struct rig_config c = { .region_size = 1 << 20, .ring_size = 256 };
    struct fe_vring_addr a;
    uint64_t end, index = 1, value = 0;
    struct fe_header h;
    enum fe_got got;
    struct rig rig;

    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    end = rig.fe.regions[0].user_addr + rig.fe.regions[0].size;
    memset(&a, 0, sizeof a);
    a.index = 1;
    a.desc = end - 16 * 256;
    a.avail = end - 16 * 256 - 1024;
    a.used = end - 16 * 256 - 8192;
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, 1, 256), 0);
    CHECK_EQ(fe_ask(&rig.fe, FE_SET_VRING_ADDR, &a, sizeof a), 0);
    CHECK(fe_send(&rig.fe, FE_SET_VRING_NUM, FE_NEED_REPLY,
                  &(struct fe_vring_state) { 1, 32768 }, 8));
    got = fe_receive(&rig.fe, &h, &value, sizeof value, 5000);
    if (got == FE_GOT_MESSAGE && !value) {
        /* It may be accepted, and so may the kick, but the ring must wait for
         * addresses that were checked for this size. */
        CHECK(fe_send_fds(&rig.fe, FE_SET_VRING_KICK, FE_NEED_REPLY, &index,
                          sizeof index, &RIG_TX(&rig, 0)->kick_fd, 1));
        got = fe_receive(&rig.fe, &h, &value, sizeof value, 5000);
        if (got == FE_GOT_MESSAGE) {
            CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 1, 1), 0);
        }
    }
    CHECK(got != FE_GOT_NOTHING);
    CHECK_EQ(vhost_rxq_peek(rig.rxqs[0], rig_burst(), 32), 0);
    CHECK(!vhost_port_vring_enabled(rig.port, 1));
    rig_close(&rig);
}

static void
test_vring_base(void)
{
    struct rig rig;

    open_session(&rig);
    rig_start(&rig);
    CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), 0);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_BASE, 1, 65535), 0);
    CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), 65535);
    REFUSED_STATE(&rig, FE_SET_VRING_BASE, 1, 65536);
    REFUSED_STATE(&rig, FE_SET_VRING_BASE, 1, UINT32_MAX);
    REFUSED_STATE(&rig, FE_SET_VRING_BASE, 2 * RIG_MAX_PAIRS, 0);
    REFUSED_STATE(&rig, FE_SET_VRING_BASE, 65537, 0);

    test_part("a session does not know the one before");
    renew(&rig);
    CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), 0);

    test_part("bad index of GET_VRING_BASE");
    CHECK(fe_send(&rig.fe, FE_GET_VRING_BASE, 0,
                  &(struct fe_vring_state) { 2 * RIG_MAX_PAIRS, 0 }, 8));
    CLOSED(&rig);
    CHECK(fe_send(&rig.fe, FE_GET_VRING_BASE, 0,
                  &(struct fe_vring_state) { 0x10000, 0 }, 8));
    CLOSED(&rig);
    rig_close(&rig);
}

/* GET_VRING_BASE stops its ring and no other. */
static void
test_get_vring_base(void)
{
    struct rig_config c = { .n_pairs = 2, .n_senders = 2 };
    uint8_t frame[256];
    struct rig rig;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    for (unsigned int i = 0; i < 3; i++) {
        CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, i));
        CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 60);
    }
    CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), 3);
    CHECK(!rig_vring(&rig, 1).started);
    CHECK(!vhost_port_vring_enabled(rig.port, 1));
    for (unsigned int i = 0; i < 4; i++) {
        CHECK_EQ(rig_vring(&rig, i).started, i != 1);
    }
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    CHECK(rig_guest_send(&rig, 0, fe_alloc(&rig.fe, 0, 128, 64), 60, 9));
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), -1);
    CHECK(rig_guest_send(&rig, 1, fe_alloc(&rig.fe, 0, 128, 64), 61, 9));
    CHECK_EQ(rig_switch_recv(&rig, 1, frame, sizeof frame, NULL), 61);

    /* Stopping a stopped ring answers the same. */
    CHECK_EQ(fe_vq_stop(RIG_TX(&rig, 0)), 3);

    /* It goes on where it was. */
    fe_vq_start(RIG_TX(&rig, 0), 3, true);
    CHECK_EQ(rig_switch_recv(&rig, 0, frame, sizeof frame, NULL), 60);
    CHECK_PATTERN(frame, 60, 9);

    for (unsigned int i = 0; i < 4; i++) {
        fe_vq_stop(&rig.vqs[i]);
    }
    CHECK_EQ(rig_info(&rig).state, VHOST_S_CONNECTED);
    rig_close(&rig);
}

static void
test_vring_fds(void)
{
    static const uint32_t requests[] = { FE_SET_VRING_KICK, FE_SET_VRING_CALL,
                                         FE_SET_VRING_ERR };
    struct fe_vring_addr addr;
    unsigned int n_fds;
    int pipes[2], file, ev;
    uint64_t value;
    struct rig rig;

    CHECK_EQ(pipe2(pipes, O_CLOEXEC), 0);
    file = fe_memfd(4096, 0);
    ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    open_session(&rig);
    memset(&addr, 0, sizeof addr);
    n_fds = rig_settled_fds(&rig);
    for (size_t i = 0; i < N_ELEMS(requests); i++) {
        uint32_t r = requests[i];

        test_part("request %u: no eventfd", r);
        value = 0;
        REFUSED_FDS(&rig, r, &value, 8, &pipes[1], 1);
        REFUSED_FDS(&rig, r, &value, 8, &file, 1);
        REFUSED_FDS(&rig, r, &value, 8, (int[]) { STDOUT_FILENO }, 1);

        test_part("request %u: bad index", r);
        value = 2 * RIG_MAX_PAIRS;
        REFUSED_FDS(&rig, r, &value, 8, &ev, 1);
        value = 0xff;
        REFUSED_FDS(&rig, r, &value, 8, &ev, 1);
        value = 0x200;
        REFUSED_FDS(&rig, r, &value, 8, &ev, 1);
        value = 1ULL << 32;
        REFUSED_FDS(&rig, r, &value, 8, &ev, 1);
        value = 1ULL << 63 | FE_NOFD;
        REFUSED(&rig, r, &value, 8);

        test_part("request %u: NOFD bit and a descriptor", r);
        value = FE_NOFD;
        REFUSED_FDS(&rig, r, &value, 8, &ev, 1);
        CHECK(fe_send_fds(&rig.fe, r, 0, &value, 8, &ev, 1));
        CLOSED(&rig);
        test_part("request %u: neither", r);
        value = 0;
        REFUSED(&rig, r, &value, 8);
        CHECK(fe_send(&rig.fe, r, 0, &value, 8));
        CLOSED(&rig);
    }
    RIG_WAIT_FDS(&rig, n_fds);

    test_part("replacing");
    for (size_t i = 1; i < N_ELEMS(requests); i++) {
        for (unsigned int k = 0; k < 20; k++) {
            CHECK_EQ(fe_ask_vring_fd(&rig.fe, requests[i], 0, ev), 0);
        }
        RIG_WAIT_FDS(&rig, n_fds + 1);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, requests[i], 0, -1), 0);
        RIG_WAIT_FDS(&rig, n_fds);
    }

    test_part("all rings without descriptors");
    for (unsigned int i = 0; i < 2; i++) {
        struct fe_vq *vq = &rig.vqs[i];

        CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_NUM, i, vq->size), 0);
        CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_BASE, i, 0), 0);
        CHECK_EQ(fe_vq_send_addr(vq), 0);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_CALL, i, -1), 0);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_ERR, i, -1), 0);
        CHECK_EQ(fe_ask_vring_fd(&rig.fe, FE_SET_VRING_KICK, i, -1), 0);
        CHECK_EQ(fe_vq_enable(vq, true), 0);
        CHECK(!rig_vring(&rig, i).has_call);
    }
    rig_check_traffic(&rig, 0);
    close(pipes[0]);
    close(pipes[1]);
    close(file);
    close(ev);
    rig_close(&rig);
}

static void
test_vring_enable(void)
{
    struct rig rig;

    rig_open(&rig, "p", NULL);
    CHECK(rig_vring(&rig, 0).enabled);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 0, 0), 0);
    CHECK(!rig_vring(&rig, 0).enabled);
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 0, 1), 0);
    CHECK(rig_vring(&rig, 0).enabled);
    rig_check_traffic(&rig, 0);
    REFUSED_STATE(&rig, FE_SET_VRING_ENABLE, 0, 2);
    REFUSED_STATE(&rig, FE_SET_VRING_ENABLE, 2 * RIG_MAX_PAIRS, 1);
    REFUSED_STATE(&rig, FE_SET_VRING_ENABLE, UINT32_MAX, 1);

    /* Before the ring is set up, as QEMU does with queues it will not use. */
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 2, 1), 0);
    CHECK(!vhost_port_vring_enabled(rig.port, 2));
    CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 2, 0), 0);
    rig_close(&rig);
}

static void
test_queue_num(void)
{
    struct rig rig;

    open_session(&rig);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_QUEUE_NUM), RIG_MAX_PAIRS);
    CHECK(fe_send(&rig.fe, FE_GET_QUEUE_NUM, FE_NEED_REPLY, NULL, 0));
    CHECK_EQ(fe_reply_u64(&rig.fe, FE_GET_QUEUE_NUM), RIG_MAX_PAIRS);
    fe_sync(&rig.fe);           /* One reply, not two. */
    rig_close(&rig);
}

static void
test_mtu(void)
{
    static const uint64_t good[] = { 68, 1500, 9000, 65535 };
    static const uint64_t bad[] = { 0, 67, 65536, 1ULL << 32, 1ULL << 63 };
    struct rig rig;

    open_session(&rig);
    CHECK_EQ(rig_info(&rig).mtu, 0);
    for (size_t i = 0; i < N_ELEMS(good); i++) {
        CHECK_EQ(fe_ask_u64(&rig.fe, FE_NET_SET_MTU, good[i]), 0);
        CHECK_EQ(rig_info(&rig).mtu, good[i]);
        WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_MTU);
    }
    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        test_part("MTU %llu", (unsigned long long int) bad[i]);
        if (REFUSED(&rig, FE_NET_SET_MTU, &bad[i], 8)) {
            CHECK_EQ(rig_info(&rig).mtu, 65535);
        }
    }
    rig_close(&rig);
}

static void
test_rarp(void)
{
    static const uint8_t mac[8] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0 };
    uint8_t got[6];
    struct rig rig;

    open_session(&rig);
    CHECK(!vhost_port_take_rarp(rig.port, got));
    CHECK_EQ(fe_ask(&rig.fe, FE_SEND_RARP, mac, 8), 0);
    WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_RARP);
    CHECK(vhost_port_take_rarp(rig.port, got));
    CHECK(!memcmp(got, mac, 6));
    CHECK(!vhost_port_take_rarp(rig.port, got));
    rig_close(&rig);
}

static void
test_status(void)
{
    struct rig rig;

    open_session(&rig);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_STATUS), 0);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_STATUS, 1), 0);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_STATUS, 3), 0);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_STATUS), 3);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_STATUS, 0xb), 0);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_STATUS) & 0xb, 0xb);
    rig_start(&rig);
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_STATUS, 0xf), 0);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_STATUS), 0xf);

    /* Reset. */
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_STATUS, 0), 0);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_STATUS), 0);
    fe_sync(&rig.fe);

    /* And again from the start, with the same connection. */
    CHECK_EQ(fe_ask_u64(&rig.fe, FE_SET_FEATURES, rig.c.features), 0);
    CHECK_EQ(fe_send_mem_table(&rig.fe), 0);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

static void
test_backend_req_fd(void)
{
    unsigned int n_fds;
    struct rig rig;
    int pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    open_session(&rig);
    n_fds = rig_settled_fds(&rig);
    for (unsigned int i = 0; i < 10; i++) {
        CHECK_EQ(fe_ask_fds(&rig.fe, FE_SET_BACKEND_REQ_FD, NULL, 0, &pair[1],
                            1), 0);
    }
    RIG_WAIT_FDS(&rig, n_fds + 1);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);

    /* It is closed with the session. */
    close(pair[1]);
    rig_disconnect(&rig);
    {
        char byte;

        CHECK_EQ(read(pair[0], &byte, 1), 0);
    }
    close(pair[0]);
    rig_close(&rig);
}

static void
test_unknown(void)
{
    static const uint32_t requests[] = { 0, 41, 42, 43, 44, 45, 46, 100, 255,
                                         256, 0x10001, 0x7fffffff,
                                         UINT32_MAX };
    uint8_t payload[64];
    unsigned int n_fds;
    struct rig rig;
    int fd = eventfd(0, EFD_CLOEXEC);

    memset(payload, 0xa5, sizeof payload);
    open_session(&rig);
    n_fds = rig_settled_fds(&rig);
    for (size_t i = 0; i < N_ELEMS(requests); i++) {
        uint32_t r = requests[i];

        test_part("request %u", r);
        CHECK(fe_send(&rig.fe, r, FE_NEED_REPLY, payload, 0));
        CHECK_NE(fe_reply_u64(&rig.fe, r), 0);
        CHECK(fe_send(&rig.fe, r, FE_NEED_REPLY, payload, 8));
        CHECK_NE(fe_reply_u64(&rig.fe, r), 0);
        CHECK(fe_send(&rig.fe, r, FE_NEED_REPLY, payload, sizeof payload));
        CHECK_NE(fe_reply_u64(&rig.fe, r), 0);
        CHECK(fe_send_fds(&rig.fe, r, FE_NEED_REPLY, payload, 8, &fd, 1));
        CHECK_NE(fe_reply_u64(&rig.fe, r), 0);
        RIG_WAIT_FDS(&rig, n_fds);
        CHECK(fe_send(&rig.fe, r, 0, payload, 8));
        CLOSED(&rig);
    }
    CHECK_GE(rig_info(&rig).n_protocol_errors, N_ELEMS(requests));
    close(fd);
    rig_close(&rig);
}

/* Messages of features that were not offered count as unknown. */
static void
test_not_negotiated(void)
{
    static const uint32_t requests[] = {
        FE_IOTLB_MSG, 23, 24, 25, 26, 27, 28,
        29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
    };
    uint8_t payload[16];
    struct rig rig;

    memset(payload, 0, sizeof payload);
    open_session(&rig);
    for (size_t i = 0; i < N_ELEMS(requests); i++) {
        test_part("request %u", requests[i]);
        REFUSED(&rig, requests[i], payload, 8);
        REFUSED(&rig, requests[i], payload, 16);
        REFUSED(&rig, requests[i], payload, 0);
        CHECK(fe_send(&rig.fe, requests[i], 0, payload, 8));
        CLOSED(&rig);
    }
    rig_close(&rig);
}

/* Answers only where they were asked for and negotiated. */
static void
test_reply_ack(void)
{
    struct rig_config c = { .protocol = FE_P_MQ };
    uint64_t features = RIG_FEATURES;
    struct fe_header h;
    struct rig rig;

    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    /* Not negotiated: no answer. */
    CHECK(fe_send(&rig.fe, FE_SET_FEATURES, FE_NEED_REPLY, &features, 8));
    CHECK_EQ(fe_receive(&rig.fe, &h, &features, 8, 100), FE_GOT_NOTHING);
    fe_sync(&rig.fe);
    rig_disconnect(&rig);

    rig.c.protocol = FE_P_MQ | FE_P_REPLY_ACK;
    rig_connect(&rig);
    /* Not asked for: no answer. */
    features = RIG_FEATURES;
    CHECK(fe_send(&rig.fe, FE_SET_FEATURES, 0, &features, 8));
    CHECK_EQ(fe_receive(&rig.fe, &h, &features, 8, 100), FE_GOT_NOTHING);
    /* Asked for: one. */
    features = RIG_FEATURES;
    CHECK(fe_send(&rig.fe, FE_SET_FEATURES, FE_NEED_REPLY, &features, 8));
    CHECK_EQ(fe_reply_u64(&rig.fe, FE_SET_FEATURES), 0);
    CHECK_EQ(fe_receive(&rig.fe, &h, &features, 8, 50), FE_GOT_NOTHING);
    /* What has a reply of its own gets that and no other. */
    CHECK(fe_send(&rig.fe, FE_GET_FEATURES, FE_NEED_REPLY, NULL, 0));
    CHECK_EQ(fe_reply_u64(&rig.fe, FE_GET_FEATURES),
             vhost_supported_features);
    CHECK_EQ(fe_receive(&rig.fe, &h, &features, 8, 50), FE_GOT_NOTHING);
    rig_close(&rig);
}

/* A session of several hundred messages in one write, and the same byte by
 * byte with pauses. */
static void
test_pieces(void)
{
    struct {
        struct fe_header h;
        uint64_t value;
    } __attribute__((packed)) m = {
        { FE_SET_FEATURES, FE_VERSION | FE_NEED_REPLY, 8 }, RIG_FEATURES
    };
    char *many = malloc(300 * sizeof m);
    struct rig rig;

    CHECK(many != NULL);
    open_session(&rig);
    for (unsigned int i = 0; i < 300; i++) {
        memcpy(many + i * sizeof m, &m, sizeof m);
    }
    CHECK(fe_send_bytes(&rig.fe, many, 300 * sizeof m, NULL, 0));
    for (unsigned int i = 0; i < 300; i++) {
        CHECK_EQ(fe_reply_u64(&rig.fe, FE_SET_FEATURES), 0);
    }
    for (unsigned int cut = 1; cut < sizeof m; cut++) {
        CHECK(fe_send_bytes(&rig.fe, &m, cut, NULL, 0));
        test_sleep_us(1000);
        CHECK(fe_send_bytes(&rig.fe, (char *) &m + cut, sizeof m - cut, NULL,
                            0));
        CHECK_EQ(fe_reply_u64(&rig.fe, FE_SET_FEATURES), 0);
    }
    for (unsigned int i = 0; i < sizeof m; i++) {
        CHECK(fe_send_bytes(&rig.fe, (char *) &m + i, 1, NULL, 0));
        test_sleep_us(500);
    }
    CHECK_EQ(fe_reply_u64(&rig.fe, FE_SET_FEATURES), 0);
    free(many);
    rig_close(&rig);
}

/* Descriptors come with the first byte; the message may come later. */
static void
test_pieces_with_fds(void)
{
    struct {
        struct fe_header h;
        uint64_t value;
    } __attribute__((packed)) m = {
        { FE_SET_VRING_CALL, FE_VERSION | FE_NEED_REPLY, 8 }, 1
    };
    unsigned int n_fds;
    struct rig rig;
    int ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    open_session(&rig);
    n_fds = rig_settled_fds(&rig);
    for (unsigned int cut = 1; cut < sizeof m; cut++) {
        CHECK(fe_send_bytes(&rig.fe, &m, cut, &ev, 1));
        test_sleep_us(1000);
        CHECK(fe_send_bytes(&rig.fe, (char *) &m + cut, sizeof m - cut, NULL,
                            0));
        CHECK_EQ(fe_reply_u64(&rig.fe, FE_SET_VRING_CALL), 0);
        RIG_WAIT_FDS(&rig, n_fds + 1);
    }

    /* A descriptor with each of several pieces: too many. */
    CHECK(fe_send_bytes(&rig.fe, &m, 6, &ev, 1));
    CHECK(fe_send_bytes(&rig.fe, (char *) &m + 6, sizeof m - 6, &ev, 1));
    CLOSED(&rig);
    RIG_WAIT_FDS(&rig, n_fds);

    /* The peer goes in the middle, descriptors on their way. */
    for (unsigned int cut = 1; cut < sizeof m; cut += 3) {
        CHECK(fe_send_bytes(&rig.fe, &m, cut, &ev, 1));
        renew(&rig);
        RIG_WAIT_FDS(&rig, n_fds);
    }
    close(ev);
    rig_close(&rig);
}

/* Half a message delays nobody else. */
static void
test_half_a_message(void)
{
    struct fe_header h = { FE_SET_VRING_ADDR, FE_VERSION, 40 };
    struct rig a, b;

    rig_create(&a, "a", NULL);
    rig_create(&b, "b", NULL);
    rig_connect(&a);
    rig_connect(&b);
    for (unsigned int cut = 1; cut <= sizeof h; cut++) {
        long long int start;

        CHECK(fe_send_bytes(&a.fe, &h, cut, NULL, 0));
        test_sleep_us(2000);
        start = test_now_us();
        for (unsigned int i = 0; i < 20; i++) {
            fe_sync(&b.fe);
        }
        CHECK_LT(test_now_us() - start, 1000000);
        rig_disconnect(&a);
        rig_connect(&a);
    }
    CHECK(fe_send_bytes(&a.fe, &h, sizeof h, NULL, 0));
    rig_start(&b);
    rig_check_traffic(&b, 0);
    rig_close(&b);
    rig_close(&a);
}

/* A peer that asks and never reads the answers delays nobody and costs a
 * bounded amount of memory. */
static void
test_reads_no_replies(void)
{
    struct fe_header h = { FE_GET_FEATURES, FE_VERSION, 0 };
    struct rig a, b;
    int flags;

    rig_create(&a, "a", NULL);
    rig_create(&b, "b", NULL);
    rig_connect(&a);
    rig_connect(&b);
    flags = fcntl(a.fe.sock, F_GETFL);
    CHECK_EQ(fcntl(a.fe.sock, F_SETFL, flags | O_NONBLOCK), 0);
    for (unsigned int i = 0; i < 100000; i++) {
        if (send(a.fe.sock, &h, sizeof h, MSG_NOSIGNAL) < 0) {
            break;              /* Closed by the port, or full. */
        }
    }
    for (unsigned int i = 0; i < 20; i++) {
        CHECK(fe_alive(&b.fe, 1000));
    }
    rig_start(&b);
    rig_check_traffic(&b, 0);
    fe_hang_up(&a.fe);
    WAIT_FOR(rig_info(&a).n_disconnects == 1);
    rig_connect(&a);
    rig_close(&b);
    rig_close(&a);
}

static void
test_huge_size(void)
{
    static const uint32_t sizes[] = { 65536, 1 << 20, 0x7fffffff,
                                      0x80000000, 0xfffffff4, UINT32_MAX };
    static const uint32_t requests[] = { FE_GET_FEATURES, FE_SET_FEATURES,
                                         FE_SET_MEM_TABLE, 77 };
    struct rig rig;

    open_session(&rig);
    for (size_t i = 0; i < N_ELEMS(sizes); i++) {
        for (size_t k = 0; k < N_ELEMS(requests); k++) {
            struct fe_header h = { requests[k], FE_VERSION | FE_NEED_REPLY,
                                   sizes[i] };

            /* Must not wait for all these bytes. */
            test_part("size %u of request %u", sizes[i], requests[k]);
            CHECK(fe_send_bytes(&rig.fe, &h, sizeof h, NULL, 0));
            CLOSED(&rig);
        }
    }
    rig_close(&rig);
}

static void
test_bad_flags(void)
{
    static const uint32_t flags[] = { 0, 2, 3, FE_NEED_REPLY };
    struct rig rig;

    open_session(&rig);
    for (size_t i = 0; i < N_ELEMS(flags); i++) {
        struct fe_header h = { FE_GET_FEATURES, flags[i], 0 };

        test_part("flags %#x", flags[i]);
        CHECK(fe_send_bytes(&rig.fe, &h, sizeof h, NULL, 0));
        CLOSED(&rig);
    }
    rig_close(&rig);
}

/* Peers that speak no vhost-user. */
static void
test_garbage(void)
{
    struct rig rig, other;
    uint64_t rnd = 7;
    unsigned int n_fds;
    int ev = eventfd(0, EFD_CLOEXEC);

    rig_create(&rig, "p", NULL);
    rig_create(&other, "q", NULL);
    rig_connect(&other);
    n_fds = rig_settled_fds(&other);

    CHECK(fe_connect(&rig.fe, rig.path, 5000));
    CHECK(fe_send_bytes(&rig.fe, "GET / HTTP/1.1\r\nHost: example\r\n\r\n", 33,
                        NULL, 0));
    CHECK(fe_closed(&rig.fe, 5000));
    fe_hang_up(&rig.fe);
    WAIT_FOR(rig_info(&rig).n_protocol_errors == 1);
    CHECK(rig_info(&rig).error[0] || test_n_warnings("p"));

    for (unsigned int i = 0; i < 300; i++) {
        uint64_t junk[64];
        size_t len = 1 + test_random(&rnd) % sizeof junk;

        for (unsigned int k = 0; k < N_ELEMS(junk); k++) {
            junk[k] = test_random(&rnd);
        }
        if (i % 2) {
            /* A plausible header, so that contents matter. */
            struct fe_header h = {
                test_random(&rnd) % 48,
                FE_VERSION | (i % 4 == 1 ? 0 : FE_NEED_REPLY),
                i % 8 == 1 ? 8 : test_random(&rnd) % 300,
            };

            memcpy(junk, &h, sizeof h);
        }
        CHECK(fe_connect(&rig.fe, rig.path, 5000));
        fe_send_bytes(&rig.fe, junk, len, &ev, i % 3 == 0);
        fe_hang_up(&rig.fe);
    }
    fe_sync(&other.fe);
    WAIT_FOR(rig_info(&rig).state == VHOST_S_WAITING);
    RIG_WAIT_FDS(&other, n_fds);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    close(ev);
    rig_close(&other);
    rig_close(&rig);
}

/* Random well-formed messages with random values, a long session: must not
 * crash, hang or leak. */
static void
test_random_messages(void)
{
    struct rig rig, other;
    uint64_t rnd = 99;
    int ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    unsigned int n = test_slow ? 1000 : 5000;

    open_session(&rig);
    rig_create(&other, "other", NULL);
    rig_connect(&other);
    rig_start(&rig);
    for (unsigned int i = 0; i < n; i++) {
        uint64_t r = test_random(&rnd);
        uint32_t index = r % 16 ? r % 4 : r >> 40;
        struct fe_vring_state state = { index, r >> 32 & 0x3ff };
        struct fe_vring_addr addr = {
            .index = index,
            .desc = rig.fe.regions[0].user_addr + (r >> 16 & 0xffff),
            .avail = rig.fe.regions[0].user_addr + (r >> 20 & 0xffff),
            .used = rig.fe.regions[0].user_addr + (r >> 24 & 0xffff),
        };
        uint64_t value = index;
        bool ok = true;

        if (r & 1 << 20) {
            addr.desc &= ~15;
            addr.avail &= ~1;
            addr.used &= ~3;
            state.num = 1 << (state.num % 12);
        }
        switch (r >> 56 & 15) {
        case 0:
            ok = fe_send(&rig.fe, FE_SET_VRING_NUM, 0, &state, 8);
            break;
        case 1:
        case 2:
            ok = fe_send(&rig.fe, FE_SET_VRING_ADDR, 0, &addr, sizeof addr);
            break;
        case 3:
            ok = fe_send(&rig.fe, FE_SET_VRING_BASE, 0, &state, 8);
            break;
        case 4:
            ok = fe_send(&rig.fe, FE_GET_VRING_BASE, 0, &state, 8);
            break;
        case 5:
        case 6:
            ok = fe_send_fds(&rig.fe, FE_SET_VRING_KICK, 0, &value, 8, &ev,
                             1);
            break;
        case 7:
            ok = fe_send_fds(&rig.fe, FE_SET_VRING_CALL, 0, &value, 8, &ev,
                             1);
            break;
        case 8:
            state.num &= 1;
            ok = fe_send(&rig.fe, FE_SET_VRING_ENABLE, 0, &state, 8);
            break;
        case 9:
            value = r & RIG_FEATURES;
            ok = fe_send(&rig.fe, FE_SET_FEATURES, 0, &value, 8);
            break;
        case 10:
            ok = fe_send(&rig.fe, FE_SET_STATUS, 0, &value, 8);
            break;
        case 11:
            ok = fe_send(&rig.fe, FE_RESET_OWNER, 0, NULL, 0);
            break;
        case 12:
            value |= FE_NOFD;
            ok = fe_send(&rig.fe, FE_SET_VRING_KICK, 0, &value, 8);
            break;
        case 13:
            ok = fe_send_fds(&rig.fe, FE_SET_VRING_ERR, 0, &value, 8, &ev, 1);
            break;
        default:
            break;
        }
        {
            struct vhost_burst *b = rig_burst();
            enum vhost_reserve why;
            uint32_t len = 60;
            char bytes[512];

            /* A polling thread at work, and somebody who reads replies. */
            if (vhost_rxq_peek(rig.rxqs[i % 2], b, 32)) {
                vhost_rxq_complete(rig.rxqs[i % 2], b, b->n);
            }
            if (vhost_sender_reserve(rig.senders[0], b, &len, 1, false,
                                     &why)) {
                vhost_sender_commit(rig.senders[0], b, false);
            }
            while (ok && recv(rig.fe.sock, bytes, sizeof bytes,
                              MSG_DONTWAIT) > 0) {
                continue;
            }
        }
        if (!ok || i % 100 == 99) {
            rig_disconnect(&rig);
            CHECK(fe_connect(&rig.fe, rig.path, 5000));
            CHECK(fe_send(&rig.fe, FE_SET_PROTOCOL_FEATURES, 0,
                          (uint64_t[]) { ALL_PROTOCOL }, 8));
            CHECK(fe_send(&rig.fe, FE_SET_FEATURES, 0,
                          (uint64_t[]) { RIG_FEATURES }, 8));
            {
                uint64_t old = rig.fe.protocol;

                rig.fe.protocol = 0;
                fe_send_mem_table(&rig.fe);
                rig.fe.protocol = old;
            }
        }
    }
    fe_sync(&other.fe);
    close(ev);
    rig_close(&other);
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "owner", test_owner, 0 },
    { "reset-owner", test_reset_owner, 0 },
    { "features", test_features, 0 },
    { "protocol-features", test_protocol_features, 0 },
    { "sizes", test_sizes, 0 },
    { "mem-table", test_mem_table, 0 },
    { "mem-table-again", test_mem_table_again, 0 },
    { "mem-table-locked", test_mem_table_locked, 0 },
    { "mem-table-moved", test_mem_table_moved, 0 },
    { "vring-num", test_vring_num, 0 },
    { "vring-addr", test_vring_addr, 0 },
    { "num-after-addr", test_num_after_addr, 0 },
    { "vring-base", test_vring_base, 0 },
    { "get-vring-base", test_get_vring_base, 0 },
    { "vring-fds", test_vring_fds, 0 },
    { "vring-enable", test_vring_enable, 0 },
    { "queue-num", test_queue_num, 0 },
    { "mtu", test_mtu, 0 },
    { "rarp", test_rarp, 0 },
    { "status", test_status, 0 },
    { "backend-req-fd", test_backend_req_fd, 0 },
    { "unknown", test_unknown, 0 },
    { "not-negotiated", test_not_negotiated, 0 },
    { "reply-ack", test_reply_ack, 0 },
    { "pieces", test_pieces, 0 },
    { "pieces-with-fds", test_pieces_with_fds, 0 },
    { "half-a-message", test_half_a_message, 0 },
    { "reads-no-replies", test_reads_no_replies, 0 },
    { "huge-size", test_huge_size, 0 },
    { "bad-flags", test_bad_flags, 0 },
    { "garbage", test_garbage, 0 },
    { "random-messages", test_random_messages, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
