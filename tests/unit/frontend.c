/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The tests' vhost-user front end and split virtqueue driver: see
 * frontend.h. */

#include "frontend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"

#define REPLY_MS 8000
#define MAX_FDS 32

/* Memory. */

int
fe_memfd(uint64_t size, unsigned int flags)
{
    int fd = memfd_create("unit-guest", MFD_CLOEXEC | flags);

    CHECK_GE(fd, 0);
    CHECK_EQ(ftruncate(fd, size), 0);
    return fd;
}

void
fe_init(struct fe *fe)
{
    memset(fe, 0, sizeof *fe);
    fe->sock = -1;
}

void
fe_hang_up(struct fe *fe)
{
    if (fe->sock >= 0) {
        close(fe->sock);
        fe->sock = -1;
    }
}

void
fe_free_regions(struct fe *fe)
{
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        munmap(fe->regions[i].map, fe->regions[i].size);
        close(fe->regions[i].fd);
    }
    fe->n_regions = 0;
}

void
fe_destroy(struct fe *fe)
{
    fe_hang_up(fe);
    fe_free_regions(fe);
}

struct fe_region *
fe_add_region_fd(struct fe *fe, uint64_t guest_addr, uint64_t size,
                 uint64_t user_addr, int fd, uint64_t offset)
{
    struct fe_region *r = &fe->regions[fe->n_regions];

    CHECK_LT(fe->n_regions, FE_MAX_REGIONS);
    r->guest_addr = guest_addr;
    r->size = size;
    r->user_addr = user_addr;
    r->offset = offset;
    r->fd = fd;
    r->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    CHECK(r->map != MAP_FAILED);
    r->brk = guest_addr;
    fe->n_regions++;
    return r;
}

struct fe_region *
fe_add_region(struct fe *fe, uint64_t guest_addr, uint64_t size,
              uint64_t user_addr)
{
    return fe_add_region_fd(fe, guest_addr, size, user_addr,
                            fe_memfd(size, MFD_ALLOW_SEALING), 0);
}

uint64_t
fe_alloc(struct fe *fe, unsigned int r, uint64_t size, uint64_t align)
{
    struct fe_region *region = &fe->regions[r];
    uint64_t addr = (region->brk + align - 1) / align * align;

    CHECK_LT(r, fe->n_regions);
    CHECK_LE(addr + size - region->guest_addr, region->size);
    region->brk = addr + size;
    return addr;
}

static const struct fe_region *
find_region(const struct fe *fe, uint64_t addr)
{
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        const struct fe_region *r = &fe->regions[i];

        if (addr >= r->guest_addr && addr - r->guest_addr < r->size) {
            return r;
        }
    }
    test_fail(__FILE__, __LINE__, "guest address %#llx is not in memory",
              (unsigned long long int) addr);
}

void *
fe_ptr(const struct fe *fe, uint64_t addr, uint64_t len)
{
    const struct fe_region *r = find_region(fe, addr);

    CHECK_LE(len, r->size - (addr - r->guest_addr));
    return r->map + (addr - r->guest_addr);
}

uint64_t
fe_user_addr(const struct fe *fe, uint64_t addr)
{
    const struct fe_region *r = find_region(fe, addr);

    return r->user_addr + (addr - r->guest_addr);
}

void
fe_write(const struct fe *fe, uint64_t addr, const void *src, size_t len)
{
    const uint8_t *s = src;

    while (len) {
        const struct fe_region *r = find_region(fe, addr);
        uint64_t room = r->size - (addr - r->guest_addr);
        size_t n = room < len ? room : len;

        memcpy(r->map + (addr - r->guest_addr), s, n);
        addr += n;
        s += n;
        len -= n;
    }
}

void
fe_read(const struct fe *fe, uint64_t addr, void *dst, size_t len)
{
    uint8_t *d = dst;

    while (len) {
        const struct fe_region *r = find_region(fe, addr);
        uint64_t room = r->size - (addr - r->guest_addr);
        size_t n = room < len ? room : len;

        memcpy(d, r->map + (addr - r->guest_addr), n);
        addr += n;
        d += n;
        len -= n;
    }
}

/* Sockets. */

static void
make_address(struct sockaddr_un *sun, const char *path)
{
    memset(sun, 0, sizeof *sun);
    sun->sun_family = AF_UNIX;
    CHECK_LT(strlen(path), sizeof sun->sun_path);
    memcpy(sun->sun_path, path, strlen(path) + 1);
}

bool
fe_connect(struct fe *fe, const char *path, int ms)
{
    long long int end = test_now_us() + ms * 1000LL;
    struct sockaddr_un sun;

    make_address(&sun, path);
    fe_hang_up(fe);
    fe->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_GE(fe->sock, 0);
    while (connect(fe->sock, (struct sockaddr *) &sun, sizeof sun)) {
        if (test_now_us() >= end) {
            fe_hang_up(fe);
            return false;
        }
        test_sleep_us(500);
    }
    return true;
}

int
fe_listen(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un sun;

    make_address(&sun, path);
    CHECK_GE(fd, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *) &sun, sizeof sun), 0);
    CHECK_EQ(listen(fd, 10), 0);
    return fd;
}

bool
fe_accept(struct fe *fe, int listen_fd, int ms)
{
    struct pollfd pfd = { .fd = listen_fd, .events = POLLIN };

    fe_hang_up(fe);
    if (poll(&pfd, 1, ms) <= 0) {
        return false;
    }
    fe->sock = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    CHECK_GE(fe->sock, 0);
    return true;
}

/* Messages. */

bool
fe_send_bytes(struct fe *fe, const void *data, size_t len, const int fds[],
              unsigned int n_fds)
{
    union {
        char buf[CMSG_SPACE(MAX_FDS * sizeof (int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { (void *) data, len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    size_t done = 0;

    CHECK_LE(n_fds, MAX_FDS);
    if (n_fds) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof control);
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof (int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof (int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof (int));
    }
    while (done < len) {
        ssize_t n;

        iov.iov_base = (char *) data + done;
        iov.iov_len = len - done;
        n = sendmsg(fe->sock, &msg, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        done += n;
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
    }
    return true;
}

bool
fe_send_fds(struct fe *fe, uint32_t request, uint32_t flags,
            const void *payload, size_t size, const int fds[],
            unsigned int n_fds)
{
    struct fe_header h = { request, FE_VERSION | flags, size };
    char buf[sizeof h + 8192];

    CHECK_LE(size, sizeof buf - sizeof h);
    memcpy(buf, &h, sizeof h);
    if (size) {
        memcpy(buf + sizeof h, payload, size);
    }
    return fe_send_bytes(fe, buf, sizeof h + size, fds, n_fds);
}

bool
fe_send(struct fe *fe, uint32_t request, uint32_t flags, const void *payload,
        size_t size)
{
    return fe_send_fds(fe, request, flags, payload, size, NULL, 0);
}

/* Receives exactly 'len' bytes before 'end'. */
static enum fe_got
receive_bytes(struct fe *fe, void *data, size_t len, long long int end)
{
    size_t done = 0;

    while (done < len) {
        struct pollfd pfd = { .fd = fe->sock, .events = POLLIN };
        long long int left = end - test_now_us();
        ssize_t n;

        if (left < 0) {
            left = 0;
        }
        if (poll(&pfd, 1, (left + 999) / 1000) <= 0) {
            if (test_now_us() >= end) {
                return FE_GOT_NOTHING;
            }
            continue;
        }
        n = recv(fe->sock, (char *) data + done, len - done, 0);
        if (!n || (n < 0 && errno != EINTR && errno != EAGAIN)) {
            return FE_GOT_END;
        }
        if (n > 0) {
            done += n;
        }
    }
    return FE_GOT_MESSAGE;
}

enum fe_got
fe_receive(struct fe *fe, struct fe_header *h, void *payload, size_t max,
           int ms)
{
    long long int end = test_now_us() + ms * 1000LL;
    enum fe_got got = receive_bytes(fe, h, sizeof *h, end);

    if (got == FE_GOT_MESSAGE) {
        CHECK_LE(h->size, max);
        got = receive_bytes(fe, payload, h->size, end);
        CHECK(got != FE_GOT_NOTHING);
    }
    return got;
}

void
fe_reply(struct fe *fe, uint32_t request, void *payload, size_t size)
{
    struct fe_header h;
    uint8_t buf[4096];

    CHECK_LE(size, sizeof buf);
    CHECK_EQ(fe_receive(fe, &h, buf, sizeof buf, REPLY_MS), FE_GOT_MESSAGE);
    CHECK_EQ(h.request, request);
    CHECK_EQ(h.flags, FE_VERSION | FE_REPLY);
    CHECK_EQ(h.size, size);
    memcpy(payload, buf, size);
}

uint64_t
fe_reply_u64(struct fe *fe, uint32_t request)
{
    uint64_t value;

    fe_reply(fe, request, &value, sizeof value);
    return value;
}

uint64_t
fe_get_u64(struct fe *fe, uint32_t request)
{
    CHECK(fe_send(fe, request, 0, NULL, 0));
    return fe_reply_u64(fe, request);
}

bool
fe_closed(struct fe *fe, int ms)
{
    long long int end = test_now_us() + ms * 1000LL;

    while (test_now_us() < end) {
        char byte;

        if (receive_bytes(fe, &byte, 1, end) == FE_GOT_END) {
            return true;
        }
    }
    return false;
}

void
fe_sync(struct fe *fe)
{
    fe_get_u64(fe, FE_GET_FEATURES);
}

bool
fe_alive(struct fe *fe, int ms)
{
    struct fe_header h;
    uint64_t value;

    if (!fe_send(fe, FE_GET_FEATURES, 0, NULL, 0)) {
        return false;
    }
    return fe_receive(fe, &h, &value, sizeof value, ms) == FE_GOT_MESSAGE
           && h.request == FE_GET_FEATURES;
}

uint64_t
fe_ask_fds(struct fe *fe, uint32_t request, const void *payload, size_t size,
           const int fds[], unsigned int n_fds)
{
    bool ack = (fe->protocol & FE_P_REPLY_ACK) != 0;

    CHECK(fe_send_fds(fe, request, ack ? FE_NEED_REPLY : 0, payload, size,
                      fds, n_fds));
    if (ack) {
        return fe_reply_u64(fe, request);
    }
    fe_sync(fe);
    return 0;
}

uint64_t
fe_ask(struct fe *fe, uint32_t request, const void *payload, size_t size)
{
    return fe_ask_fds(fe, request, payload, size, NULL, 0);
}

uint64_t
fe_ask_u64(struct fe *fe, uint32_t request, uint64_t value)
{
    return fe_ask(fe, request, &value, sizeof value);
}

uint64_t
fe_ask_state(struct fe *fe, uint32_t request, uint32_t index, uint32_t num)
{
    struct fe_vring_state state = { index, num };

    return fe_ask(fe, request, &state, sizeof state);
}

uint64_t
fe_ask_vring_fd(struct fe *fe, uint32_t request, uint32_t index, int fd)
{
    uint64_t value = index | (fd < 0 ? FE_NOFD : 0);

    return fe_ask_fds(fe, request, &value, sizeof value, &fd, fd >= 0);
}

void
fe_negotiate(struct fe *fe, uint64_t features, uint64_t protocol)
{
    fe->protocol = 0;
    fe->offered = fe_get_u64(fe, FE_GET_FEATURES);
    CHECK_EQ(fe->offered & features, features);
    if (features & FE_F_PROTOCOL) {
        fe->offered_protocol = fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES);
        CHECK_EQ(fe->offered_protocol & protocol, protocol);
        CHECK(fe_send(fe, FE_SET_PROTOCOL_FEATURES, 0, &protocol,
                      sizeof protocol));
        fe->protocol = protocol;
    }
    CHECK(fe_send(fe, FE_SET_OWNER, 0, NULL, 0));
    if (fe->features != features) {
        /* Drivers in other threads read this, also while a front end
         * connects again. */
        fe->features = features;
    }
    CHECK_EQ(fe_ask_u64(fe, FE_SET_FEATURES, features), 0);
}

uint64_t
fe_send_mem_table(struct fe *fe)
{
    struct fe_mem_table table;
    int fds[FE_MAX_REGIONS];

    memset(&table, 0, sizeof table);
    table.n = fe->n_regions;
    for (unsigned int i = 0; i < fe->n_regions; i++) {
        const struct fe_region *r = &fe->regions[i];

        table.regions[i].guest_addr = r->guest_addr;
        table.regions[i].size = r->size;
        table.regions[i].user_addr = r->user_addr;
        table.regions[i].offset = r->offset;
        fds[i] = r->fd;
    }
    return fe_ask_fds(fe, FE_SET_MEM_TABLE, &table,
                      FE_MEM_TABLE_SIZE(table.n), fds, table.n);
}

/* Split virtqueues. */

static int
new_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    CHECK_GE(fd, 0);
    return fd;
}

void
fe_vq_init(struct fe_vq *vq, struct fe *fe, unsigned int index,
           unsigned int size, unsigned int r)
{
    size_t desc_len = sizeof *vq->desc * size;
    size_t avail_len = 6 + 2 * size;
    size_t used_len = 6 + sizeof vq->used->ring[0] * size;

    memset(vq, 0, sizeof *vq);
    vq->fe = fe;
    vq->index = index;
    vq->size = size;
    vq->desc_addr = fe_alloc(fe, r, desc_len, 16);
    vq->avail_addr = fe_alloc(fe, r, avail_len, 2);
    vq->used_addr = fe_alloc(fe, r, used_len, 4);
    vq->desc = fe_ptr(fe, vq->desc_addr, desc_len);
    vq->avail = fe_ptr(fe, vq->avail_addr, avail_len);
    vq->used = fe_ptr(fe, vq->used_addr, used_len);
    vq->next_free = calloc(size, sizeof *vq->next_free);
    vq->chains = calloc(size, sizeof *vq->chains);
    CHECK(vq->next_free && vq->chains);
    vq->kick_fd = new_eventfd();
    vq->call_fd = new_eventfd();
    vq->err_fd = new_eventfd();
    fe_vq_reset(vq);
}

void
fe_vq_reset(struct fe_vq *vq)
{
    memset(vq->desc, 0, sizeof *vq->desc * vq->size);
    memset(vq->avail, 0, 6 + 2 * vq->size);
    memset(vq->used, 0, 6 + sizeof vq->used->ring[0] * vq->size);
    for (unsigned int i = 0; i < vq->size; i++) {
        vq->next_free[i] = i + 1;
        free(vq->chains[i].bufs);
        memset(&vq->chains[i], 0, sizeof vq->chains[i]);
    }
    vq->free_head = 0;
    vq->n_free = vq->size;
    vq->avail_idx = vq->used_idx = 0;
}

void
fe_vq_destroy(struct fe_vq *vq)
{
    if (!vq->fe) {
        return;
    }
    for (unsigned int i = 0; i < vq->size; i++) {
        free(vq->chains[i].bufs);
    }
    free(vq->chains);
    free(vq->next_free);
    close(vq->kick_fd);
    close(vq->call_fd);
    close(vq->err_fd);
    vq->fe = NULL;
}

void
fe_vq_set_position(struct fe_vq *vq, uint16_t n)
{
    vq->avail_idx = vq->used_idx = n;
    __atomic_store_n(&vq->avail->idx, n, __ATOMIC_RELEASE);
    __atomic_store_n(&vq->used->idx, n, __ATOMIC_RELEASE);
}

uint64_t
fe_vq_send_addr(struct fe_vq *vq)
{
    struct fe_vring_addr addr = {
        .index = vq->index,
        .desc = fe_user_addr(vq->fe, vq->desc_addr),
        .avail = fe_user_addr(vq->fe, vq->avail_addr),
        .used = fe_user_addr(vq->fe, vq->used_addr),
    };

    return fe_ask(vq->fe, FE_SET_VRING_ADDR, &addr, sizeof addr);
}

uint64_t
fe_vq_enable(struct fe_vq *vq, bool enable)
{
    return fe_ask_state(vq->fe, FE_SET_VRING_ENABLE, vq->index, enable);
}

void
fe_vq_start(struct fe_vq *vq, uint16_t base, bool enable)
{
    struct fe *fe = vq->fe;

    CHECK_EQ(fe_ask_state(fe, FE_SET_VRING_NUM, vq->index, vq->size), 0);
    CHECK_EQ(fe_ask_state(fe, FE_SET_VRING_BASE, vq->index, base), 0);
    CHECK_EQ(fe_vq_send_addr(vq), 0);
    CHECK_EQ(fe_ask_vring_fd(fe, FE_SET_VRING_CALL, vq->index, vq->call_fd),
             0);
    CHECK_EQ(fe_ask_vring_fd(fe, FE_SET_VRING_ERR, vq->index, vq->err_fd), 0);
    CHECK_EQ(fe_ask_vring_fd(fe, FE_SET_VRING_KICK, vq->index, vq->kick_fd),
             0);
    if (enable && fe->features & FE_F_PROTOCOL) {
        CHECK_EQ(fe_vq_enable(vq, true), 0);
    }
}

uint16_t
fe_vq_stop(struct fe_vq *vq)
{
    struct fe_vring_state state = { vq->index, 0 };

    CHECK(fe_send(vq->fe, FE_GET_VRING_BASE, 0, &state, sizeof state));
    fe_reply(vq->fe, FE_GET_VRING_BASE, &state, sizeof state);
    CHECK_EQ(state.index, vq->index);
    CHECK_LE(state.num, 65535);
    return state.num;
}

void
fe_vq_use_indirect(struct fe_vq *vq, unsigned int r, unsigned int n)
{
    vq->table_addr = fe_alloc(vq->fe, r,
                              (uint64_t) vq->size * n * sizeof *vq->desc, 16);
    vq->table_size = n;
}

static void
fill_desc(struct vring_desc *d, const struct fe_buf *buf, bool more,
          uint16_t next)
{
    d->addr = buf->addr;
    d->len = buf->len;
    d->flags = (buf->in ? VRING_DESC_F_WRITE : 0)
               | (more ? VRING_DESC_F_NEXT : 0);
    d->next = more ? next : 0;
}

void
fe_vq_avail_raw(struct fe_vq *vq, uint16_t head)
{
    __atomic_store_n(&vq->avail->ring[vq->avail_idx % vq->size], head,
                     __ATOMIC_RELAXED);
    vq->avail_idx++;
}

int
fe_vq_add(struct fe_vq *vq, const struct fe_buf bufs[], unsigned int n,
          unsigned int flags, uint64_t token)
{
    uint16_t head = vq->free_head;
    unsigned int n_descs = flags & FE_INDIRECT ? 1 : n;
    struct fe_chain *chain;

    if (n_descs > vq->n_free) {
        return -1;
    }
    if (flags & FE_INDIRECT) {
        size_t len = n * sizeof *vq->desc;
        uint64_t addr = vq->table_addr
                        + (uint64_t) head * vq->table_size * sizeof *vq->desc;
        struct vring_desc *table = fe_ptr(vq->fe, addr, len);

        CHECK_LE(n, vq->table_size);
        for (unsigned int i = 0; i < n; i++) {
            fill_desc(&table[i], &bufs[i], i + 1 < n, i + 1);
        }
        vq->desc[head].addr = addr;
        vq->desc[head].len = len;
        vq->desc[head].flags = VRING_DESC_F_INDIRECT;
        vq->desc[head].next = 0;
        vq->free_head = vq->next_free[head];
    } else {
        uint16_t id = head;

        for (unsigned int i = 0; i < n; i++) {
            fill_desc(&vq->desc[id], &bufs[i], i + 1 < n, vq->next_free[id]);
            id = vq->next_free[id];
        }
        vq->free_head = id;
    }
    vq->n_free -= n_descs;

    chain = &vq->chains[head];
    CHECK(!chain->busy);
    chain->bufs = realloc(chain->bufs, n * sizeof *bufs);
    CHECK(chain->bufs);
    memcpy(chain->bufs, bufs, n * sizeof *bufs);
    chain->n = n;
    chain->n_descs = n_descs;
    chain->busy = true;
    chain->token = token;

    fe_vq_avail_raw(vq, head);
    return head;
}

void
fe_vq_publish(struct fe_vq *vq)
{
    /* Before the driver looks whether a kick is wanted. */
    __atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_SEQ_CST);
}

uint16_t
fe_vq_published_used(const struct fe_vq *vq)
{
    return __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
}

bool
fe_vq_used(struct fe_vq *vq, uint16_t *headp, uint32_t *lenp)
{
    uint16_t published = fe_vq_published_used(vq);
    const struct vring_used_elem *e;
    struct fe_chain *chain;
    uint64_t room = 0;
    uint16_t id;

    if (published == vq->used_idx) {
        return false;
    }
    CHECK_LE((uint16_t) (published - vq->used_idx), vq->size);
    e = &vq->used->ring[vq->used_idx % vq->size];
    CHECK_LT(e->id, vq->size);
    *headp = e->id;
    *lenp = e->len;
    chain = &vq->chains[e->id];
    if (!chain->busy) {
        test_fail(__FILE__, __LINE__, "ring %u: used entry %u gives back "
                  "chain %u, which the device does not have", vq->index,
                  vq->used_idx, e->id);
    }
    for (unsigned int i = 0; i < chain->n; i++) {
        room += chain->bufs[i].in ? chain->bufs[i].len : 0;
    }
    CHECK_LE(e->len, room);

    id = e->id;
    for (unsigned int i = 1; i < chain->n_descs; i++) {
        id = vq->next_free[id];
    }
    vq->next_free[id] = vq->free_head;
    vq->free_head = e->id;
    vq->n_free += chain->n_descs;
    chain->busy = false;
    vq->used_idx++;
    return true;
}

void
fe_vq_set_flags(struct fe_vq *vq, uint16_t flags)
{
    __atomic_store_n(&vq->avail->flags, flags, __ATOMIC_SEQ_CST);
}

void
fe_vq_set_used_event(struct fe_vq *vq, uint16_t value)
{
    __atomic_store_n(&vq->avail->ring[vq->size], value, __ATOMIC_SEQ_CST);
}

uint16_t
fe_vq_avail_event(const struct fe_vq *vq)
{
    return __atomic_load_n((uint16_t *) &vq->used->ring[vq->size],
                           __ATOMIC_SEQ_CST);
}

uint64_t
fe_event_take(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    uint64_t value = 0;

    /* The descriptor may block. */
    if (poll(&pfd, 1, 0) == 1 && read(fd, &value, sizeof value) < 0) {
        value = 0;
    }
    return value;
}

void
fe_event_signal(int fd)
{
    uint64_t one = 1;

    CHECK_EQ(write(fd, &one, sizeof one), sizeof one);
}

bool
fe_event_wait(int fd, int ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return poll(&pfd, 1, ms) == 1;
}

unsigned int
fe_split(struct fe_buf *bufs, uint64_t addr, uint32_t len, unsigned int n,
         bool in)
{
    if (n > len) {
        n = len;
    }
    for (unsigned int i = 0; i < n; i++) {
        uint32_t from = (uint64_t) len * i / n;
        uint32_t to = (uint64_t) len * (i + 1) / n;

        bufs[i].addr = addr + from;
        bufs[i].len = to - from;
        bufs[i].in = in;
    }
    return n;
}

void
fe_chain_read(const struct fe_vq *vq, uint16_t head, size_t offset,
              void *dst, size_t len)
{
    const struct fe_chain *chain = &vq->chains[head];
    uint8_t *d = dst;

    for (unsigned int i = 0; i < chain->n && len; i++) {
        const struct fe_buf *b = &chain->bufs[i];
        size_t n;

        if (!b->in) {
            continue;
        }
        if (offset >= b->len) {
            offset -= b->len;
            continue;
        }
        n = b->len - offset < len ? b->len - offset : len;
        fe_read(vq->fe, b->addr + offset, d, n);
        offset = 0;
        d += n;
        len -= n;
    }
    CHECK_EQ(len, 0);
}

/* Network frames. */

size_t
fe_net_header_len(const struct fe *fe)
{
    return fe->features & (FE_F_MRG | FE_F_VERSION_1) ? 12 : 10;
}

void
fe_net_write(const struct fe *fe, uint64_t addr,
             const struct virtio_net_hdr *hdr, const void *frame, size_t len)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    size_t hlen = fe_net_header_len(fe);

    memset(&h, 0, sizeof h);
    if (hdr) {
        h.hdr = *hdr;
    }
    fe_write(fe, addr, &h, hlen);
    fe_write(fe, addr + hlen, frame, len);
}

long int
fe_net_take(struct fe_vq *vq, struct virtio_net_hdr_mrg_rxbuf *h, void *frame,
            size_t max, uint16_t *heads, unsigned int *n_heads,
            unsigned int max_heads)
{
    size_t hlen = fe_net_header_len(vq->fe);
    unsigned int n_buffers = 1;
    uint8_t *d = frame;
    size_t total = 0;

    memset(h, 0, sizeof *h);
    for (unsigned int i = 0; i < n_buffers; i++) {
        size_t skip = i ? 0 : hlen;
        uint16_t head;
        uint32_t len;

        if (!fe_vq_used(vq, &head, &len)) {
            CHECK_EQ(i, 0);     /* All buffers of a frame come at once. */
            return -1;
        }
        CHECK_GE(len, skip);
        if (!i) {
            fe_chain_read(vq, head, 0, h, hlen);
            if (hlen == sizeof *h) {
                n_buffers = h->num_buffers;
                CHECK_GE(n_buffers, 1);
                if (!(vq->fe->features & FE_F_MRG)) {
                    CHECK_EQ(n_buffers, 1);
                }
            }
        }
        CHECK_LE(total + len - skip, max);
        fe_chain_read(vq, head, skip, d + total, len - skip);
        total += len - skip;
        if (heads) {
            CHECK_LT(i, max_heads);
            heads[i] = head;
        }
    }
    if (n_heads) {
        *n_heads = n_buffers;
    }
    return total;
}
