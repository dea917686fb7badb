/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench's guest: see bench.h.  The same for every back end, so that what
 * the driver costs and how it leaves the cache does not favour one. */

#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/fail.h"
#include "guest/payload.h"

#define CONNECT_MS 10000
#define GUEST_BASE UINT64_C(0x100000)
#define USER_BASE UINT64_C(0x7f0000000000)
#define RX_LEN 2048             /* Of a receive buffer, if frames may take
                                 * several. */
#define MAX_SIZE 9018           /* A batch has to fit the ring. */
#define BATCH_BYTES (512 << 10)
#define STREAM 0x52420000       /* Of test frames. */

void
case_name(const struct bench_case *c, char name[CASE_NAME_LEN])
{
    static const char *const shapes[] = {
        [SHAPE_DIRECT] = "",
        [SHAPE_CHAIN] = "-chain",
        [SHAPE_INDIRECT] = "-indirect",
    };

    snprintf(name, CASE_NAME_LEN, "%u%s%s%s%s", c->size,
             c->packed ? "-packed" : "", c->mergeable ? "" : "-nomrg",
             c->in_order ? "-inorder" : "", shapes[c->shape]);
}

static bool
skip(const char **s, const char *word)
{
    size_t len = strlen(word);
    bool found = !strncmp(*s, word, len);

    *s += found ? len : 0;
    return found;
}

bool
case_parse(const char *name, struct bench_case *c)
{
    char *end;

    c->size = strtoul(name, &end, 10);
    name = end;
    skip(&name, "-split");
    c->packed = skip(&name, "-packed");
    c->mergeable = !skip(&name, "-nomrg");
    c->in_order = skip(&name, "-inorder");
    c->shape = (skip(&name, "-chain") ? SHAPE_CHAIN
                : skip(&name, "-indirect") ? SHAPE_INDIRECT
                : SHAPE_DIRECT);
    return !*name && c->size >= PAYLOAD_MIN_FRAME && c->size <= MAX_SIZE;
}

uint64_t
case_features(const struct bench_case *c)
{
    return (FE_F_VERSION_1 | FE_F_PROTOCOL
            | (c->mergeable ? FE_F_MRG : 0)
            | (c->packed ? FE_F_PACKED : 0)
            | (c->in_order ? FE_F_IN_ORDER : 0)
            | (c->shape == SHAPE_INDIRECT ? FE_F_INDIRECT : 0));
}

void
guest_listen(struct guest *g, const struct bench_case *c, const char *path)
{
    memset(g, 0, sizeof *g);
    g->c = c;
    snprintf(g->path, sizeof g->path, "%s", path);
    fe_init(&g->fe);
    unlink(path);
    g->listen_fd = fe_listen(path);
}

static uint64_t
round_up(uint64_t x, uint64_t to)
{
    return (x + to - 1) / to * to;
}

static unsigned int
least(unsigned int a, unsigned int b)
{
    return a < b ? a : b;
}

static unsigned int
most(unsigned int a, unsigned int b)
{
    return a > b ? a : b;
}

static void
choose_sizes(struct guest *g)
{
    unsigned int n;
    uint32_t need;

    g->hlen = fe_net_header_len(&g->fe);
    need = g->hlen + g->c->size;
    g->tx_len = round_up(need, 64);
    g->rx_len = RX_LEN;
    if (!g->c->mergeable && need > RX_LEN) {
        g->rx_len = round_up(need, RX_LEN);
    }
    g->rx_bufs = (need + g->rx_len - 1) / g->rx_len;

    /* As many as both rings hold, and not so many bytes that they do not stay
     * in the cache. */
    n = RING_SIZE / g->rx_bufs;
    n = least(n, RING_SIZE / (g->c->shape == SHAPE_CHAIN ? 2 : 1));
    n = least(n, most(BATCH_BYTES / g->c->size, BURST));
    g->n_bursts = n / BURST;
    FE_CHECK_GE(g->n_bursts, 1);
}

static void
make_memory(struct guest *g)
{
    uint64_t size = round_up(RING_SIZE * (g->rx_len + g->tx_len)
                             + 2 * (RING_SIZE * 26 + 256)
                             + RING_SIZE * 32 + FE_PAGE, 2 << 20);

    fe_add_region(&g->fe, GUEST_BASE, size, USER_BASE);
    fe_vq_init(&g->rx, &g->fe, 0, RING_SIZE, 0);
    fe_vq_init(&g->tx, &g->fe, 1, RING_SIZE, 0);
    if (g->c->shape == SHAPE_INDIRECT) {
        fe_vq_use_indirect(&g->tx, 0, 2);
    }
    g->rx_addr = fe_alloc(&g->fe, 0, RING_SIZE * g->rx_len, FE_PAGE);
    g->tx_addr = fe_alloc(&g->fe, 0, RING_SIZE * g->tx_len, 64);
}

uint8_t *
guest_tx_frame(const struct guest *g, unsigned int i)
{
    uint64_t addr = g->tx_addr + (uint64_t) i * g->tx_len;

    return (uint8_t *) fe_ptr(&g->fe, addr, g->tx_len) + g->hlen;
}

/* Receive buffer number 'i'. */
static uint8_t *
rx_buffer(const struct guest *g, unsigned int i)
{
    return fe_ptr(&g->fe, g->rx_addr + (uint64_t) i * g->rx_len, g->rx_len);
}

uint8_t *
guest_rx_piece(const struct guest *g, unsigned int i, unsigned int k,
               size_t *len)
{
    size_t skip = k ? 0 : g->hlen;
    size_t done = k ? k * g->rx_len - g->hlen : 0;
    size_t room = g->rx_len - skip;

    *len = g->c->size - done < room ? g->c->size - done : room;
    return rx_buffer(g, i * g->rx_bufs + k) + skip;
}

static void
add_rx_buffer(struct guest *g, unsigned int i)
{
    struct fe_buf buf = { g->rx_addr + (uint64_t) i * g->rx_len, g->rx_len,
                          true };

    FE_CHECK_GE(fe_vq_add(&g->rx, &buf, 1, 0, i), 0);
}

static void
add_tx_frame(struct guest *g, unsigned int i)
{
    uint64_t addr = g->tx_addr + (uint64_t) i * g->tx_len;
    struct fe_buf one = { addr, g->hlen + g->c->size, false };
    struct fe_buf two[] = { { addr, g->hlen, false },
                            { addr + g->hlen, g->c->size, false } };
    bool direct = g->c->shape == SHAPE_DIRECT;

    FE_CHECK_GE(fe_vq_add(&g->tx, direct ? &one : two, direct ? 1 : 2,
                          g->c->shape == SHAPE_INDIRECT ? FE_INDIRECT : 0, i),
                0);
}

/* Makes the frames of a batch and fills both rings. */
static void
fill_rings(struct guest *g)
{
    const struct addresses a = {
        .src_mac = { 0x02, 0, 0, 0, 0, 1 },
        .dst_mac = { 0x02, 0, 0, 0, 0, 2 },
        .src_ip = 0x0a000001,
        .dst_ip = 0x0a000002,
    };

    for (unsigned int i = 0; i < g->n_bursts * BURST * g->rx_bufs; i++) {
        add_rx_buffer(g, i);
    }
    for (unsigned int i = 0; i < g->n_bursts * BURST; i++) {
        struct test_info info = { .stream = STREAM, .seq = i };

        payload_write(guest_tx_frame(g, i), g->c->size, &a, 0, &info);
        add_tx_frame(g, i);
    }
    fe_vq_publish(&g->rx);
    fe_vq_publish(&g->tx);
}

static void
start_rings(struct guest *g)
{
    struct fe_vq *vqs[] = { &g->rx, &g->tx };

    /* librte_vhost learns from this how many rings there are. */
    for (unsigned int i = 0; i < 2; i++) {
        FE_CHECK_EQ(fe_ask_vring_fd(&g->fe, FE_SET_VRING_CALL, i,
                                    vqs[i]->call_fd), 0);
    }
    for (unsigned int i = 0; i < 2; i++) {
        fe_vq_start(vqs[i], fe_vq_base(vqs[i]), true);
        fe_vq_want_calls(vqs[i], false);
        fe_event_signal(vqs[i]->kick_fd);
    }
}

uint64_t
guest_connect(struct guest *g)
{
    uint64_t features = case_features(g->c);

    FE_CHECK(fe_accept(&g->fe, g->listen_fd, CONNECT_MS));
    fe_ask_offer(&g->fe);
    if (features & ~g->fe.offered) {
        return features & ~g->fe.offered;
    }
    fe_accept_offer(&g->fe, features,
                    g->fe.offered_protocol & (FE_P_MQ | FE_P_REPLY_ACK));
    choose_sizes(g);
    make_memory(g);
    FE_CHECK_EQ(fe_send_mem_table(&g->fe), 0);
    fill_rings(g);
    start_rings(g);
    return 0;
}

void
guest_close(struct guest *g)
{
    fe_hang_up(&g->fe);
    fe_vq_destroy(&g->rx);
    fe_vq_destroy(&g->tx);
    fe_destroy(&g->fe);
    close(g->listen_fd);
    unlink(g->path);
}

static void
recycle(struct fe_vq *vq, unsigned int n, uint64_t bytes)
{
    uint64_t sum = 0;

    FE_CHECK_EQ(fe_vq_recycle(vq, RING_SIZE, &sum), n);
    FE_CHECK_EQ(sum, bytes);
    fe_vq_want_calls(vq, false);
    fe_vq_publish(vq);
}

void
guest_republish(struct guest *g, bool tx_only)
{
    unsigned int n = g->n_bursts * BURST;

    recycle(&g->tx, n, 0);
    if (!tx_only) {
        recycle(&g->rx, n * g->rx_bufs, n * (g->hlen + g->c->size));
    }
}

void
guest_clear_rx(struct guest *g)
{
    for (unsigned int i = 0; i < RING_SIZE; i++) {
        memset(rx_buffer(g, i), 0xee, g->rx_len);
    }
}

/* Puts together what arrived as frame 'i'. */
static void
gather(const struct guest *g, unsigned int i, uint8_t *frame)
{
    for (unsigned int k = 0; k < g->rx_bufs; k++) {
        size_t len;
        const uint8_t *piece = guest_rx_piece(g, i, k, &len);

        memcpy(frame, piece, len);
        frame += len;
    }
}

static void
check_header(const struct guest *g, unsigned int i)
{
    struct virtio_net_hdr_mrg_rxbuf h;

    memcpy(&h, rx_buffer(g, i * g->rx_bufs), sizeof h);
    FE_CHECK_EQ(h.hdr.flags, 0);
    FE_CHECK_EQ(h.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);

    /* librte_vhost leaves it alone where buffers do not merge. */
    FE_CHECK(!g->c->mergeable || h.num_buffers == g->rx_bufs);
}

void
guest_check_rx(struct guest *g, bool headers)
{
    uint8_t *frame = malloc(g->c->size);

    for (unsigned int i = 0; i < g->n_bursts * BURST; i++) {
        struct test_info info;

        if (headers) {
            check_header(g, i);
        }
        gather(g, i, frame);
        FE_CHECK_EQ(payload_read(frame, g->c->size, &info), PAYLOAD_GOOD);
        FE_CHECK_EQ(info.seq, i);
        FE_CHECK(!memcmp(frame, guest_tx_frame(g, i), g->c->size));
    }
    free(frame);
}
