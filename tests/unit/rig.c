/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port with a front end on it: see rig.h. */

#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST_BASE UINT64_C(0x100000)
#define USER_BASE UINT64_C(0x7f5500000000)
#define CONNECT_MS (test_slow ? 20000 : 5000)

struct vhost_burst *
rig_burst(void)
{
    static __thread struct vhost_burst burst;

    return &burst;
}

static void
changed_cb(void *aux, unsigned int what)
{
    struct rig *rig = aux;
    void (*on_changed)(struct rig *) = atomic_load(&rig->on_changed);

    CHECK_NE(what, 0);
    if (on_changed) {
        on_changed(rig);
    }
    atomic_fetch_or(&rig->changed, what);
    atomic_fetch_add(&rig->n_changed, 1);
}

void
rig_set_senders(struct rig *rig, unsigned int n)
{
    CHECK_LE(n, RIG_MAX_SENDERS);
    CHECK_EQ(vhost_port_set_senders(rig->port, n, n), 0);
    rig->c.n_senders = n;
    for (unsigned int i = 0; i < n; i++) {
        rig->senders[i] = vhost_port_sender(rig->port, i);
        CHECK(rig->senders[i] != NULL);
    }
    CHECK(!vhost_port_sender(rig->port, n));
}

void
rig_prepare(struct rig *rig, const char *name, const struct rig_config *c)
{
    memset(rig, 0, sizeof *rig);
    if (c) {
        rig->c = *c;
    }
    c = &rig->c;
    rig->c.features = c->features ? c->features : RIG_FEATURES;
    rig->c.features |= test_variant();
    rig->c.protocol = c->protocol ? c->protocol : RIG_PROTOCOL;
    rig->c.n_pairs = c->n_pairs ? c->n_pairs : 1;
    rig->c.ring_size = c->ring_size ? c->ring_size : 256;
    rig->c.n_senders = c->n_senders ? c->n_senders : 1;
    rig->c.n_regions = c->n_regions ? c->n_regions : 1;
    rig->c.region_size = c->region_size ? c->region_size : 16 << 20;
    CHECK_LE(c->n_pairs, RIG_MAX_PAIRS);

    snprintf(rig->name, sizeof rig->name, "%s", name);
    snprintf(rig->path, sizeof rig->path, "%s", test_path(name));
    fe_init(&rig->fe);
    rig->fe.features = rig->c.features; /* For rings made before connecting. */
    if (rig->c.features & FE_F_IOMMU) {
        fe_iommu_init(&rig->iommu, &rig->fe);
        rig->c.protocol |= FE_P_BACKEND_REQ;
    }
    rig->listen_fd = -1;
    if (c->role == VHOST_CLIENT) {
        rig->listen_fd = fe_listen(rig->path);
    }
}

static void
save_cb(void *aux, uint64_t values[VHOST_STATE_VALUES])
{
    struct rig *rig = aux;

    for (unsigned int i = 0; i < VHOST_STATE_VALUES; i++) {
        values[i] = rig->values[i];
    }
}

static void
load_cb(void *aux, const uint64_t values[VHOST_STATE_VALUES])
{
    struct rig *rig = aux;

    for (unsigned int i = 0; i < VHOST_STATE_VALUES; i++) {
        rig->values[i] += values[i];
    }
}

static void
make_port(struct rig *rig)
{
    static const struct vhost_port_ops ops = {
        .changed = changed_cb, .save = save_cb, .load = load_cb,
    };
    const struct rig_config *c = &rig->c;
    struct vhost_port_config pc;
    char *error = NULL;
    int retval;

    memset(&pc, 0, sizeof pc);
    pc.name = rig->name;
    pc.role = c->role;
    pc.path = rig->path;
    pc.offer.features = vhost_supported_features;
    pc.offer.protocol_features = vhost_supported_protocol_features;
    pc.offer.queue_pairs = RIG_MAX_PAIRS;
    pc.max_queue_pairs = RIG_MAX_PAIRS;
    pc.ops = &ops;
    pc.aux = rig;
    retval = vhost_port_create(test_loop(), &pc, &rig->port, &error);
    if (retval) {
        test_fail(__FILE__, __LINE__, "vhost_port_create: %d, %s", retval,
                  error ? error : "no text");
    }
    rig_set_senders(rig, c->n_senders);
    for (unsigned int i = 0; i < RIG_MAX_PAIRS; i++) {
        rig->rxqs[i] = vhost_port_rxq(rig->port, i);
        CHECK(rig->rxqs[i] != NULL);
    }
    CHECK(!vhost_port_rxq(rig->port, RIG_MAX_PAIRS));
}

void
rig_create(struct rig *rig, const char *name, const struct rig_config *config)
{
    rig_prepare(rig, name, config);
    make_port(rig);
}

void
rig_create_again(struct rig *rig)
{
    vhost_port_destroy(rig->port);
    fe_hang_up(&rig->fe);
    make_port(rig);
}

void
rig_make_guest(struct rig *rig)
{
    for (unsigned int i = 0; i < rig->c.n_regions; i++) {
        uint64_t size = rig->c.region_size;
        uint64_t guest_addr = GUEST_BASE + i * size;
        uint64_t user_addr = USER_BASE + i * (size + (1 << 20));

        fe_add_region_fd(&rig->fe, guest_addr, size, user_addr,
                         fe_memfd(size, (rig->c.unsealable
                                         ? 0 : MFD_ALLOW_SEALING)), 0);
    }
    for (unsigned int i = 0; i < 2 * rig->c.n_pairs; i++) {
        fe_vq_init(&rig->vqs[i], &rig->fe, i, rig->c.ring_size, 0);
    }
}

void
rig_send_mem_table(struct rig *rig)
{
    CHECK_EQ(fe_send_mem_table(&rig->fe), 0);
    if (rig->c.features & FE_F_IOMMU && !rig->c.misses) {
        fe_iommu_update_all(&rig->iommu, RIG_IOMMU_PIECE);
    }
}

void
rig_connect(struct rig *rig)
{
    if (rig->c.role == VHOST_CLIENT) {
        CHECK(fe_accept(&rig->fe, rig->listen_fd, CONNECT_MS));
    } else {
        CHECK(fe_connect(&rig->fe, rig->path, CONNECT_MS));
    }
    fe_negotiate(&rig->fe, rig->c.features, rig->c.protocol);
    if (!rig->fe.n_regions) {
        rig_make_guest(rig);
    }
    if (rig->c.features & FE_F_IOMMU) {
        fe_iommu_connect(&rig->iommu);
    }
    rig_send_mem_table(rig);
}

void
rig_start_ring(struct rig *rig, unsigned int idx, uint32_t base)
{
    fe_vq_start(&rig->vqs[idx], base, true);
    rig->bases[idx] = base;
    CHECK(rig_vring(rig, idx).started);
}

void
rig_start(struct rig *rig)
{
    for (unsigned int i = 0; i < 2 * rig->c.n_pairs; i++) {
        rig_start_ring(rig, i, fe_vq_base(&rig->vqs[i]));
    }
}

void
rig_open(struct rig *rig, const char *name, const struct rig_config *c)
{
    rig_create(rig, name, c);
    rig_connect(rig);
    rig_start(rig);
}

void
rig_disconnect(struct rig *rig)
{
    uint64_t n = rig_info(rig).n_connects;

    fe_hang_up(&rig->fe);
    WAIT_FOR(rig_info(rig).n_disconnects >= n);
}

void
rig_free_guest(struct rig *rig)
{
    for (unsigned int i = 0; i < N_ELEMS(rig->vqs); i++) {
        fe_vq_destroy(&rig->vqs[i]);
    }
    fe_destroy(&rig->fe);
    memset(rig->vqs, 0, sizeof rig->vqs);
}

void
rig_close(struct rig *rig)
{
    if (rig->port) {
        vhost_port_destroy(rig->port);
        rig->port = NULL;
    }
    rig_free_guest(rig);
    if (rig->c.features & FE_F_IOMMU) {
        fe_iommu_destroy(&rig->iommu);
    }
    if (rig->listen_fd >= 0) {
        close(rig->listen_fd);
        unlink(rig->path);
        rig->listen_fd = -1;
    }
}

struct vhost_port_info
rig_info(struct rig *rig)
{
    struct vhost_port_info info;

    memset(&info, 0x55, sizeof info);
    vhost_port_get_info(rig->port, &info);
    return info;
}

struct vhost_vring_info
rig_vring(struct rig *rig, unsigned int idx)
{
    struct vhost_vring_info info;

    memset(&info, 0, sizeof info);
    if (!vhost_port_get_vring(rig->port, idx, &info)) {
        memset(&info, 0, sizeof info);
    }
    return info;
}

uint64_t
rig_counter(struct rig *rig, unsigned int idx, enum vhost_counter c)
{
    return rig_vring(rig, idx).counters[c];
}

uint64_t
rig_guest_errors(struct rig *rig, unsigned int idx)
{
    struct vhost_vring_info info = rig_vring(rig, idx);
    uint64_t sum = 0;

    for (unsigned int i = 0; i < VHOST_C_FIRST_SOFT; i++) {
        sum += info.counters[i];
    }
    return sum;
}

uint64_t
rig_all_guest_errors(struct rig *rig)
{
    uint64_t sum = 0;

    for (unsigned int i = 0; i < 2 * RIG_MAX_PAIRS; i++) {
        sum += rig_guest_errors(rig, i);
    }
    return sum;
}

void
rig_post(struct rig *rig, unsigned int pair, unsigned int n, uint32_t len)
{
    struct fe_vq *vq = RIG_RX(rig, pair);

    for (unsigned int i = 0; i < n; i++) {
        struct fe_buf buf = { fe_alloc(&rig->fe, 0, len, 64), len, true };

        CHECK_GE(fe_vq_add(vq, &buf, 1, 0, i), 0);
    }
    fe_vq_publish(vq);
}

bool
rig_guest_send(struct rig *rig, unsigned int pair, uint64_t addr, size_t len,
               uint64_t seed)
{
    struct fe_vq *vq = RIG_TX(rig, pair);
    struct fe_buf buf = { addr, len + fe_net_header_len(&rig->fe), false };
    uint8_t *frame;

    if (!vq->n_free) {
        return false;
    }
    frame = malloc(len + 1);
    CHECK(frame != NULL);
    pattern_fill(frame, len, seed);
    fe_net_write(&rig->fe, addr, NULL, frame, len);
    free(frame);
    CHECK_GE(fe_vq_add(vq, &buf, 1, 0, seed), 0);
    fe_vq_publish(vq);
    return true;
}

long int
rig_switch_recv(struct rig *rig, unsigned int pair, void *frame, size_t max,
                struct virtio_net_hdr *hdr)
{
    struct vhost_burst *b = rig_burst();
    long int len;

    if (!vhost_rxq_peek(rig->rxqs[pair], b, 1)) {
        return -1;
    }
    CHECK_EQ(b->n, 1);
    len = b->pkts[0].len;
    CHECK_LE(len, max);
    vhost_burst_read(b, 0, frame);
    if (hdr) {
        *hdr = b->pkts[0].hdr;
    }
    vhost_rxq_complete(rig->rxqs[pair], b, 1);
    return len;
}

bool
rig_switch_send(struct rig *rig, unsigned int slot, size_t len, uint64_t seed,
                const struct virtio_net_hdr *hdr)
{
    struct vhost_sender *s = rig->senders[slot];
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    uint32_t len32 = len;
    bool delivered = false;
    uint8_t *frame;

    if (!vhost_sender_reserve(s, b, &len32, 1, false, &why)) {
        return false;
    }
    CHECK_EQ(b->n, 1);
    if (b->pkts[0].n_segs) {
        frame = malloc(len + 1);
        CHECK(frame != NULL);
        pattern_fill(frame, len, seed);
        vhost_burst_write(b, 0, frame);
        free(frame);
        memset(&b->pkts[0].hdr, 0, sizeof b->pkts[0].hdr);
        if (hdr) {
            b->pkts[0].hdr = *hdr;
        }
        delivered = true;
    }
    vhost_sender_commit(s, b, false);
    return delivered;
}

void
rig_check_traffic(struct rig *rig, unsigned int pair)
{
    static uint64_t seed = 1000;
    struct virtio_net_hdr_mrg_rxbuf h;
    uint8_t frame[2048];
    uint16_t head;
    uint32_t len;
    uint64_t buf = fe_alloc(&rig->fe, 0, 2048, 64);

    /* Guest to switch. */
    seed++;
    CHECK(rig_guest_send(rig, pair, buf, 300, seed));
    CHECK_EQ(rig_switch_recv(rig, pair, frame, sizeof frame, NULL), 300);
    CHECK_PATTERN(frame, 300, seed);
    CHECK(fe_vq_used(RIG_TX(rig, pair), &head, &len));
    CHECK_EQ(RIG_TX(rig, pair)->chains[head].token, seed);
    CHECK_EQ(len, 0);

    /* Switch to guest. */
    seed++;
    rig_post(rig, pair, 1, 2048);
    for (unsigned int slot = 0; slot < rig->c.n_senders; slot++) {
        /* Which slot serves which ring is the port's choice. */
        if (rig_switch_send(rig, slot, 400, seed, NULL)) {
            if (fe_net_take(RIG_RX(rig, pair), &h, frame, sizeof frame, NULL,
                            NULL, 0) == 400) {
                CHECK_PATTERN(frame, 400, seed);
                return;
            }
        }
    }
    test_fail(__FILE__, __LINE__, "%s: pair %u receives nothing", rig->name,
              pair);
}

int
rig_main(int argc, char *argv[], const struct test_case *cases,
         size_t n_cases)
{
    const struct test_group groups[] = {
        { "", 0, cases, n_cases },
        { "packed-", FE_F_PACKED, cases, n_cases },
        { "in-order-", FE_F_PACKED | FE_F_IN_ORDER, cases, n_cases },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}

unsigned int
rig_settled_fds(struct rig *rig)
{
    unsigned int n, before;

    /* What is not known to be harmless is closed a little later. */
    fe_sync(&rig->fe);
    n = test_n_fds();
    do {
        before = n;
        test_sleep_us(100000);
        n = test_n_fds();
    } while (n != before);
    return n;
}
