/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of what lib/netdev decides without a switch: when a port warns of
 * something, how often that is logged, and what a misspelt name may have
 * meant. */

#include <limits.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "harness.h"
#include "netdev/nearest.h"
#include "netdev/warning-rules.h"

#define BIT(N) (UINT64_C(1) << (N))

/* A port with nothing to warn of. */
static struct warning_facts
fine(void)
{
    struct warning_facts f = {
        .state = VHOST_S_READY,
        .features = BIT(VIRTIO_NET_F_MRG_RXBUF),
        .mtu = 1500,
        .polled = true,
        .sent = true,
        .n_pairs = 1,
        .n_senders = 3,
        .n_packets = 1000,
        .n_free = 900,
    };

    return f;
}

/* Checks that 'f' is worth a warning of 'kind' and none of others. */
static void
check_only(const struct warning_facts *f, enum warning_kind kind)
{
    for (int i = 0; i < N_WARNINGS; i++) {
        test_part("%s, looking for %s", warning_name(kind), warning_name(i));
        if (i == (int) kind) {
            CHECK_EQ(warning_judge(i, f), VERDICT_YES);
        } else {
            CHECK_NE(warning_judge(i, f), VERDICT_YES);
        }
    }
}

static void
test_fine(void)
{
    struct warning_facts f = fine();

    for (int i = 0; i < N_WARNINGS; i++) {
        test_part("%s", warning_name(i));
        CHECK_EQ(warning_judge(i, &f), VERDICT_NO);
    }

    /* A port without a guest is nothing to warn of either. */
    memset(&f, 0, sizeof f);
    f.state = VHOST_S_WAITING;
    for (int i = 0; i < N_WARNINGS; i++) {
        CHECK_EQ(warning_judge(i, &f), VERDICT_NO);
    }
}

static void
test_peers(void)
{
    static const struct {
        enum vhost_trouble trouble;
        enum warning_kind kind;
    } cases[] = {
        { VHOST_T_NO_SOCKET, WARNING_NO_LISTENER },
        { VHOST_T_NO_LISTENER, WARNING_NO_LISTENER },
        { VHOST_T_DENIED, WARNING_REFUSED },
        { VHOST_T_NOT_A_SOCKET, WARNING_REFUSED },
        { VHOST_T_IN_USE, WARNING_REFUSED },
        { VHOST_T_NOT_VHOST_USER, WARNING_NO_FRONT_END },
    };
    struct warning_facts f = fine();

    f.state = VHOST_S_WAITING;
    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        f.trouble = cases[i].trouble;
        check_only(&f, cases[i].kind);
    }
    f.trouble = VHOST_T_NONE;
    f.state = VHOST_S_CONNECTED;
    f.silent = true;
    check_only(&f, WARNING_NO_FRONT_END);
    f.state = VHOST_S_WAITING;
    f.silent = false;
    f.socket_lost = true;
    check_only(&f, WARNING_SOCKET_LOST);
    f.state = VHOST_S_READY;
    CHECK_EQ(warning_judge(WARNING_SOCKET_LOST, &f), VERDICT_NO);
    f.state = VHOST_S_WAITING;
    f.socket_lost = false;
    f.access_failed = true;
    check_only(&f, WARNING_SOCKET_ACCESS);
    f.access_failed = false;
    f.ignored_options = true;
    check_only(&f, WARNING_IGNORED_OPTIONS);
}

static void
test_mrg_rxbuf(void)
{
    struct warning_facts f = fine();

    f.features = 0;
    CHECK_EQ(warning_judge(WARNING_NO_MRG_RXBUF, &f), VERDICT_NO);
    f.mtu = 9000;
    check_only(&f, WARNING_NO_MRG_RXBUF);
    f.features = BIT(VIRTIO_NET_F_GUEST_TSO4);
    CHECK_EQ(warning_judge(WARNING_NO_MRG_RXBUF, &f), VERDICT_NO);
    f.features = BIT(VIRTIO_NET_F_MRG_RXBUF);
    CHECK_EQ(warning_judge(WARNING_NO_MRG_RXBUF, &f), VERDICT_NO);
}

static void
test_numa(void)
{
    struct warning_facts f = fine();

    f.polled_afar = true;
    check_only(&f, WARNING_NUMA);
    f.polled = f.polled_afar = false;
    CHECK_EQ(warning_judge(WARNING_NUMA, &f), VERDICT_UNKNOWN);
    f.state = VHOST_S_CONNECTED;
    CHECK_EQ(warning_judge(WARNING_NUMA, &f), VERDICT_NO);
}

static void
test_draining(void)
{
    struct warning_facts f = fine();

    /* One thread is stuck although others are not. */
    f.stuck = true;
    check_only(&f, WARNING_NOT_DRAINING);

    /* Nothing was sent: it may be as it was. */
    f.stuck = f.sent = false;
    CHECK_EQ(warning_judge(WARNING_NOT_DRAINING, &f), VERDICT_UNKNOWN);
    f.state = VHOST_S_WAITING;
    CHECK_EQ(warning_judge(WARNING_NOT_DRAINING, &f), VERDICT_NO);
}

static void
test_queues(void)
{
    struct warning_facts f = fine();

    f.waits_per_second = 1000;
    check_only(&f, WARNING_FEW_QUEUES);
    f.waits_per_second = 50;
    CHECK_EQ(warning_judge(WARNING_FEW_QUEUES, &f), VERDICT_UNKNOWN);
    f.waits_per_second = 5;
    CHECK_EQ(warning_judge(WARNING_FEW_QUEUES, &f), VERDICT_NO);
    f.waits_per_second = 1000;
    f.n_pairs = 3;
    CHECK_EQ(warning_judge(WARNING_FEW_QUEUES, &f), VERDICT_NO);
}

static void
test_pool(void)
{
    struct warning_facts f = fine();

    f.n_free = 49;
    check_only(&f, WARNING_POOL_LOW);
    f.n_free = 0;
    check_only(&f, WARNING_POOL_LOW);
    f.n_free = 100;
    CHECK_EQ(warning_judge(WARNING_POOL_LOW, &f), VERDICT_UNKNOWN);
    f.n_free = 126;
    CHECK_EQ(warning_judge(WARNING_POOL_LOW, &f), VERDICT_NO);

    /* The heap has no limit. */
    f.n_packets = f.n_free = 0;
    CHECK_EQ(warning_judge(WARNING_POOL_LOW, &f), VERDICT_NO);
}

/* What lasts is a warning, once; what does not is none. */
static void
test_hysteresis(void)
{
    const enum warning_kind kind = WARNING_NOT_DRAINING;
    struct warning w = { .raised = false };
    long long int now = 1000000;

    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now), WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now + 2999), WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_NO, now + 3000), WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now + 3001), WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now + 6000), WARNING_STAYS);

    /* What is not known neither helps nor hinders. */
    CHECK_EQ(warning_step(&w, kind, VERDICT_UNKNOWN, now + 6001),
             WARNING_STAYS);
    CHECK(!w.raised);
    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now + 6001),
             WARNING_RAISED);
    CHECK(w.raised);
    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now + 60000),
             WARNING_STAYS);

    /* The end has to last, too. */
    CHECK_EQ(warning_step(&w, kind, VERDICT_NO, now + 60001), WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_YES, now + 64000),
             WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_NO, now + 65001), WARNING_STAYS);
    CHECK_EQ(warning_step(&w, kind, VERDICT_NO, now + 70000), WARNING_STAYS);
    CHECK(w.raised);
    CHECK_EQ(warning_step(&w, kind, VERDICT_NO, now + 70001),
             WARNING_CLEARED);
    CHECK(!w.raised);
}

/* However a guest toggles, there are a few lines a minute, and the database
 * hears of it every few seconds at most. */
static void
test_flood(void)
{
    const enum warning_kind kind = WARNING_NO_MRG_RXBUF;
    struct warning w = { .raised = false };
    unsigned int n_logged = 0;
    unsigned int n_news = 0;
    uint64_t random = 1;

    for (long long int ms = 0; ms < 3600 * 1000; ms += 100) {
        bool yes = test_random(&random) % 100 < 96 ? w.raised : !w.raised;

        /* Mostly against what is, so that it changes as often as it can. */
        switch (warning_step(&w, kind, yes ? VERDICT_NO : VERDICT_YES, ms)) {
        case WARNING_RAISED:
        case WARNING_CLEARED:
            n_logged++;
            n_news++;
            break;
        case WARNING_RAISED_AGAIN:
        case WARNING_CLEARED_AGAIN:
            n_news++;
            break;
        case WARNING_STAYS:
            break;
        }
    }
    CHECK_GT(n_news, 10);
    CHECK_LE(n_news, 2 * 3600 / 7);
    CHECK_GT(n_logged, 10);
    CHECK_LE(n_logged, 2 * 61);
}

static const char *
nearest_of(const char *typed, const char *const names[], size_t n)
{
    struct nearest best = { NULL, INT_MAX };

    for (size_t i = 0; i < n; i++) {
        nearest_consider(&best, typed, names[i]);
    }
    return best.name ? best.name : "(none)";
}

static void
test_nearest(void)
{
    static const char *const names[] = {
        "n_rxq", "tx-retries-max", "vhost-server-path", "vhost-sock-owner",
        "vhost-sock-mode", "vhost-packed",
    };
    static const char *const cases[][2] = {
        { "vhost-serverpath", "vhost-server-path" },
        { "vhost_server_path", "vhost-server-path" },
        { "VHOST-SERVER-PATH", "vhost-server-path" },
        { "vhost-srever-paht", "vhost-server-path" },
        { "tx-retry-max", "tx-retries-max" },
        { "vhost-socket-owner", "vhost-sock-owner" },
        { "vhost-sock-mod", "vhost-sock-mode" },
        { "nrxq", "n_rxq" },
        { "n-rxq", "n_rxq" },
        { "dpdk-devargs", "(none)" },
        { "key", "(none)" },
        { "", "(none)" },
        { "vhost-server-path-that-is-much-longer-than-any-name", "(none)" },
    };

    for (size_t i = 0; i < N_ELEMS(cases); i++) {
        test_part("%s", cases[i][0]);
        CHECK(!strcmp(nearest_of(cases[i][0], names, N_ELEMS(names)),
                      cases[i][1]));
    }
    CHECK_EQ(name_distance("abc", "abc"), 0);
    CHECK_EQ(name_distance("abc", "acb"), 1);
    CHECK_EQ(name_distance("abc", ""), 3);
    CHECK_EQ(name_distance("kitten", "sitting"), 3);
}

int
main(int argc, char *argv[])
{
    static const struct test_case cases[] = {
        { "fine", test_fine, 0 },
        { "peers", test_peers, 0 },
        { "mrg-rxbuf", test_mrg_rxbuf, 0 },
        { "numa", test_numa, 0 },
        { "draining", test_draining, 0 },
        { "queues", test_queues, 0 },
        { "pool", test_pool, 0 },
        { "hysteresis", test_hysteresis, 0 },
        { "flood", test_flood, 0 },
        { "nearest", test_nearest, 0 },
    };

    return test_main(argc, argv, cases, N_ELEMS(cases));
}
