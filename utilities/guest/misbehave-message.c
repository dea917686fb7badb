/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Misbehaviours of a front end: messages that must not be. */

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/fail.h"
#include "guest/misbehave.h"
#include "guest/port.h"

#define UNUSED __attribute__((unused))

/* Sends; that the switch may have hung up is no failure. */
static void
send_message(struct port *p, uint32_t request, uint32_t flags,
             const void *payload, size_t size)
{
    fe_send(&p->fe, request, flags, payload, size);
}

static void
send_u64(struct port *p, uint32_t request, uint64_t value)
{
    send_message(p, request, 0, &value, sizeof value);
}

static void
send_state(struct port *p, uint32_t request, uint32_t index, uint32_t num)
{
    struct fe_vring_state state = { index, num };

    send_message(p, request, 0, &state, sizeof state);
}

static void
send_header(struct port *p, uint32_t request, uint32_t flags, uint32_t size,
            size_t cut)
{
    struct fe_header h = { request, flags, size };

    fe_send_bytes(&p->fe, &h, cut, NULL, 0);
}

static void
half_header(struct port *p, struct fe_vq *vq UNUSED)
{
    send_header(p, FE_GET_FEATURES, FE_VERSION, 0, 7);
    fe_sleep_us(1000000);
}

static void
half_payload(struct port *p, struct fe_vq *vq UNUSED)
{
    send_header(p, FE_SET_VRING_ADDR, FE_VERSION, 40, 12);
    fe_sleep_us(1000000);
}

static void
byte_by_byte(struct port *p, struct fe_vq *vq UNUSED)
{
    struct fe_header h = { FE_GET_FEATURES, FE_VERSION, 0 };

    for (unsigned int i = 0; i < 50 * sizeof h; i++) {
        fe_send_bytes(&p->fe, (char *) &h + i % sizeof h, 1, NULL, 0);
        fe_sleep_us(200);
    }
}

static void
garbage(struct port *p, struct fe_vq *vq UNUSED)
{
    static const char text[] = "GET / HTTP/1.0\r\nHost: a switch\r\n\r\n";

    fe_send_bytes(&p->fe, text, sizeof text, NULL, 0);
}

static void
huge_size(struct port *p, struct fe_vq *vq UNUSED)
{
    send_header(p, FE_SET_FEATURES, FE_VERSION, UINT32_MAX, 12);
}

static void
short_size(struct port *p, struct fe_vq *vq UNUSED)
{
    uint32_t half = 0;

    send_message(p, FE_SET_FEATURES, 0, &half, sizeof half);
}

static void
long_size(struct port *p, struct fe_vq *vq UNUSED)
{
    uint64_t values[8];

    memset(values, 0, sizeof values);
    send_message(p, FE_SET_FEATURES, 0, values, sizeof values);
}

static void
wrong_version(struct port *p, struct fe_vq *vq UNUSED)
{
    send_header(p, FE_GET_FEATURES, 2, 0, 12);
}

static void
reply_flag(struct port *p, struct fe_vq *vq UNUSED)
{
    send_header(p, FE_GET_FEATURES, FE_VERSION | FE_REPLY, 0, 12);
}

static void
unknown(struct port *p, struct fe_vq *vq UNUSED)
{
    send_u64(p, 12345, 0);
}

static void
extra_fds(struct port *p, struct fe_vq *vq)
{
    int fds[32];

    for (unsigned int i = 0; i < 32; i++) {
        fds[i] = vq->kick_fd;
    }
    fe_send_fds(&p->fe, FE_GET_FEATURES, 0, NULL, 0, fds, 32);
}

static void
missing_fds(struct port *p, struct fe_vq *vq UNUSED)
{
    struct fe_mem_table t;

    memset(&t, 0, sizeof t);
    t.n = 1;
    t.regions[0].guest_addr = p->fe.regions[0].guest_addr;
    t.regions[0].user_addr = p->fe.regions[0].user_addr;
    t.regions[0].size = p->fe.regions[0].size;
    send_message(p, FE_SET_MEM_TABLE, 0, &t, FE_MEM_TABLE_SIZE(1));
}

static void
features_not_offered(struct port *p, struct fe_vq *vq UNUSED)
{
    send_u64(p, FE_SET_FEATURES, UINT64_MAX);
}

static void
protocol_not_offered(struct port *p, struct fe_vq *vq UNUSED)
{
    send_u64(p, FE_SET_PROTOCOL_FEATURES, UINT64_MAX);
}

static void
ring_index(struct port *p, struct fe_vq *vq UNUSED)
{
    send_state(p, FE_SET_VRING_NUM, 99999, 256);
}

static void
ring_size_0(struct port *p, struct fe_vq *vq)
{
    send_state(p, FE_SET_VRING_NUM, vq->index, 0);
}

static void
ring_size_odd(struct port *p, struct fe_vq *vq)
{
    send_state(p, FE_SET_VRING_NUM, vq->index, 65535);
}

static void
ring_address(struct port *p, struct fe_vq *vq)
{
    struct fe_vring_addr addr;

    memset(&addr, 0, sizeof addr);
    addr.index = vq->index;
    addr.desc = addr.avail = addr.used = UINT64_MAX - 100;
    send_message(p, FE_SET_VRING_ADDR, 0, &addr, sizeof addr);
}

/* Sends a table of 'n' regions that are all region 0 with the differences. */
static void
send_table(struct port *p, unsigned int n, uint64_t more_size,
           uint64_t offset, uint64_t step)
{
    const struct fe_region *r = &p->fe.regions[0];
    struct fe_mem_table t;
    int fds[16];

    memset(&t, 0, sizeof t);
    t.n = n;
    for (unsigned int i = 0; i < n; i++) {
        t.regions[i].guest_addr = r->guest_addr + i * step;
        t.regions[i].user_addr = r->user_addr + i * step;
        t.regions[i].size = r->size + more_size;
        t.regions[i].offset = offset;
        fds[i] = r->fd;
    }
    fe_send_fds(&p->fe, FE_SET_MEM_TABLE, 0, &t, FE_MEM_TABLE_SIZE(n), fds,
                n);
}

static void
memory_overlaps(struct port *p, struct fe_vq *vq UNUSED)
{
    send_table(p, 2, 0, 0, FE_PAGE);
}

static void
memory_beyond_file(struct port *p, struct fe_vq *vq UNUSED)
{
    send_table(p, 1, UINT64_C(1) << 30, 0, 0);
}

static void
memory_wraps(struct port *p, struct fe_vq *vq UNUSED)
{
    send_table(p, 1, UINT64_MAX - p->fe.regions[0].size, 0, 0);
}

static void
memory_offset(struct port *p, struct fe_vq *vq UNUSED)
{
    send_table(p, 1, 0, UINT64_MAX - FE_PAGE + 1, 0);
}

static void
memory_many(struct port *p, struct fe_vq *vq UNUSED)
{
    send_table(p, 16, 0, 0, UINT64_C(1) << 40);
}

static void
memory_empty(struct port *p, struct fe_vq *vq UNUSED)
{
    send_table(p, 0, 0, 0, 0);
}

/* A memory table whose file is no shared memory. */
static void
memory_no_shm(struct port *p, struct fe_vq *vq UNUSED)
{
    struct fe_mem_table t;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    memset(&t, 0, sizeof t);
    t.n = 1;
    t.regions[0].guest_addr = p->fe.regions[0].guest_addr;
    t.regions[0].user_addr = p->fe.regions[0].user_addr;
    t.regions[0].size = FE_PAGE;
    fe_send_fds(&p->fe, FE_SET_MEM_TABLE, 0, &t, FE_MEM_TABLE_SIZE(1), &fd,
                1);
    close(fd);
}

/* Sends a pipe as an eventfd. */
static void
send_pipe(struct port *p, uint32_t request, uint32_t index)
{
    uint64_t value = index;
    int fds[2];

    FE_CHECK(!pipe2(fds, O_CLOEXEC));
    fe_send_fds(&p->fe, request, 0, &value, sizeof value, &fds[1], 1);
    close(fds[0]);
    close(fds[1]);
}

static void
kick_pipe(struct port *p, struct fe_vq *vq)
{
    send_pipe(p, FE_SET_VRING_KICK, vq->index);
}

static void
call_pipe(struct port *p, struct fe_vq *vq)
{
    send_pipe(p, FE_SET_VRING_CALL, vq->index);
}

/* Asks and does not read what comes. */
static void
deaf(struct port *p, struct fe_vq *vq UNUSED)
{
    struct fe_header h = { FE_GET_FEATURES, FE_VERSION, 0 };

    for (unsigned int i = 0; i < 100000; i++) {
        if (send(p->fe.sock, &h, sizeof h, MSG_DONTWAIT | MSG_NOSIGNAL)
            != sizeof h) {
            break;
        }
    }
    fe_sleep_us(200000);
}

const struct misbehaviour misbehave_messages[] = {
    { "half-header", "half a header, then silence", half_header },
    { "half-payload", "a header whose payload does not come", half_payload },
    { "byte-by-byte", "messages in pieces of one byte", byte_by_byte },
    { "garbage", "a HTTP request", garbage },
    { "size-huge", "message of 4 GiB", huge_size },
    { "size-short", "SET_FEATURES with 4 bytes", short_size },
    { "size-long", "SET_FEATURES with 64 bytes", long_size },
    { "version", "version 2 in the header", wrong_version },
    { "reply-flag", "request that says it is a reply", reply_flag },
    { "unknown", "unknown request", unknown },
    { "extra-fds", "32 descriptors where none belong", extra_fds },
    { "missing-fds", "memory table without descriptors", missing_fds },
    { "features", "features that were not offered", features_not_offered },
    { "protocol-features", "protocol features that were not offered",
      protocol_not_offered },
    { "ring-index", "ring 99999", ring_index },
    { "ring-size-0", "ring of 0 entries", ring_size_0 },
    { "ring-size-odd", "ring of 65535 entries", ring_size_odd },
    { "ring-address", "ring outside of memory", ring_address },
    { "memory-overlap", "memory regions that overlap", memory_overlaps },
    { "memory-beyond", "memory region beyond the end of its file",
      memory_beyond_file },
    { "memory-wraps", "memory region of nearly 2^64 bytes", memory_wraps },
    { "memory-offset", "memory region at offset 2^64 - 4096",
      memory_offset },
    { "memory-many", "16 memory regions", memory_many },
    { "memory-empty", "memory table without regions", memory_empty },
    { "memory-no-shm", "memory that is an ordinary file", memory_no_shm },
    { "kick-pipe", "pipe as kick descriptor", kick_pipe },
    { "call-pipe", "pipe as call descriptor", call_pipe },
    { "deaf", "requests whose replies are not read", deaf },
    { NULL, NULL, NULL },
};
