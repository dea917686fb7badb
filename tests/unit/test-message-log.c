/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of a port's log of messages and events: what it says, that it is
 * bounded, and that nothing that a front end sends does harm there.  And of
 * ending a connection on request. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define PROTOCOL (RIG_PROTOCOL | FE_P_STATUS)

struct log {
    struct vhost_line lines[VHOST_MAX_LINES];
    unsigned int n;
};

static struct log *
get_log(struct rig *rig)
{
    static struct log log;

    log.n = vhost_port_get_log(rig->port, log.lines);
    CHECK_LE(log.n, VHOST_MAX_LINES);
    for (unsigned int i = 0; i < log.n; i++) {
        const struct vhost_line *line = &log.lines[i];

        CHECK_GE(line->n, 1);
        CHECK_GT(line->time_ms, INT64_C(1500000000000));
        if (i) {
            CHECK_GT(line->number, line[-1].number);
        }
        if (line->kind == VHOST_LINE_EVENT) {
            CHECK_EQ(line->name[0], 0);
            CHECK_EQ(line->outcome[0], 0);
            CHECK_NE(line->text[0], 0);
        } else {
            CHECK_NE(line->name[0], 0);
            CHECK_NE(line->outcome[0], 0);
        }
    }
    return &log;
}

/* The last line with 'name' (for events ""), whose text has 'text' in it, or
 * NULL. */
static const struct vhost_line *
find_line(const struct log *log, const char *name, const char *text)
{
    for (unsigned int i = log->n; i-- > 0; ) {
        const struct vhost_line *line = &log->lines[i];

        if (!strcmp(line->name, name) && strstr(line->text, text)) {
            return line;
        }
    }
    return NULL;
}

static unsigned int
count_kind(const struct log *log, enum vhost_line_kind kind)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < log->n; i++) {
        n += log->lines[i].kind == kind;
    }
    return n;
}

static void
check_line_(const struct log *log, int line_number, const char *name,
            const char *text, const char *outcome)
{
    const struct vhost_line *line = find_line(log, name, text);

    if (!line) {
        test_fail(__FILE__, line_number, "no line %s \"%s\"", name, text);
    } else if (!strstr(line->outcome, outcome)) {
        test_fail(__FILE__, line_number, "%s \"%s\": outcome \"%s\", not "
                  "\"%s\"", name, text, line->outcome, outcome);
    }
}
#define CHECK_LINE(LOG, NAME, TEXT, OUTCOME) \
    check_line_(LOG, __LINE__, NAME, TEXT, OUTCOME)
#define CHECK_EVENT(LOG, TEXT) check_line_(LOG, __LINE__, "", TEXT, "")

/* What a front end does, from its coming to its going, and once more. */
static void
test_conversation(void)
{
    static const struct rig_config c = { .protocol = PROTOCOL };
    struct log *log;
    uint64_t number;
    struct rig rig;
    char mask[32];

    rig_create(&rig, "p", &c);
    log = get_log(&rig);
    CHECK_EVENT(log, "listening on ");
    CHECK_EQ(log->n, 1);

    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(fe_get_u64(&rig.fe, FE_GET_STATUS), 0);
    log = get_log(&rig);
    CHECK_EVENT(log, "front end connected (process ");
    CHECK_EVENT(log, "guest is ready");
    snprintf(mask, sizeof mask, "answered 0x%llx",
             (unsigned long long int) rig.fe.offered);
    CHECK_LINE(log, "GET_FEATURES", "", mask);
    snprintf(mask, sizeof mask, "0x%llx",
             (unsigned long long int) rig.fe.features);
    CHECK_LINE(log, "SET_FEATURES", mask, "done");
    CHECK_LINE(log, "SET_MEM_TABLE", "1 regions, 16777216 bytes",
               "done, acknowledged");
    CHECK_LINE(log, "SET_VRING_NUM", "ring 1: 256", "done");
    CHECK_LINE(log, "SET_VRING_ADDR", "ring 0, flags 0x0", "done");
    CHECK_LINE(log, "SET_VRING_KICK", "ring 1", "done");
    CHECK_LINE(log, "SET_VRING_ENABLE", "ring 0: 1", "done");
    CHECK_LINE(log, "GET_STATUS", "", "answered 0x0");
    CHECK_EQ(count_kind(log, VHOST_LINE_SENT), 0);
    number = log->lines[log->n - 1].number;

    rig_disconnect(&rig);
    rig_connect(&rig);
    log = get_log(&rig);
    CHECK_EVENT(log, "guest is ready");
    CHECK_EVENT(log, "guest has stopped");
    CHECK_EVENT(log, "front end has closed the connection");
    CHECK_EVENT(log, "front end disconnected");
    CHECK_LINE(log, "SET_VRING_KICK", "ring 1", "done");
    CHECK_GT(log->lines[log->n - 1].number, number);
    CHECK_GT(find_line(log, "", "front end connected")->number, number);
    rig_close(&rig);
}

/* Messages do not push out events, nor other ports' messages; events that are
 * the same are one. */
static void
test_bounds(void)
{
    const struct vhost_line *line;
    struct rig a, b;
    struct log *log;
    uint64_t number;

    rig_open(&a, "a", NULL);
    rig_open(&b, "b", NULL);
    log = get_log(&b);
    number = log->lines[log->n - 1].number;
    for (unsigned int i = 0; i < 500; i++) {
        CHECK_EQ(fe_ask_state(&a.fe, FE_SET_VRING_ENABLE, 0, 1), 0);
    }
    log = get_log(&a);
    CHECK_EQ(count_kind(log, VHOST_LINE_RECEIVED), 64);
    CHECK_EVENT(log, "front end connected");
    CHECK_EVENT(log, "guest is ready");
    log = get_log(&b);
    CHECK_EQ(log->lines[log->n - 1].number, number);

    rig_disconnect(&a);
    for (unsigned int i = 0; i < 100; i++) {
        CHECK(fe_connect(&a.fe, a.path, 5000));
        fe_sync(&a.fe);
        CHECK(fe_send_bytes(&a.fe, "nonsense is here", 16, NULL, 0));
        CHECK(fe_closed(&a.fe, 5000));
        fe_hang_up(&a.fe);
    }
    WAIT_FOR(rig_info(&a).n_disconnects == 101);
    log = get_log(&a);
    CHECK_EQ(count_kind(log, VHOST_LINE_EVENT), 64);
    line = find_line(log, "", "is not vhost-user");
    CHECK(line);
    CHECK_EQ(line->n, 1);
    rig_connect(&a);
    rig_close(&a);
    rig_close(&b);
}

/* Messages that are wrong in each way. */
static void
test_wrong_messages(void)
{
    static const struct rig_config c = { .protocol = PROTOCOL };
    static uint8_t payload[512];
    struct log *log;
    struct rig rig;

    rig_create(&rig, "p", &c);
    rig_connect(&rig);
    test_part("an unknown one");
    CHECK_NE(fe_ask(&rig.fe, 99, payload, 8), 0);
    CHECK_LINE(get_log(&rig), "request 99", "8 bytes",
               "refused: not supported");
    test_part("one that cannot be");
    CHECK_NE(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 0, 7), 0);
    CHECK_LINE(get_log(&rig), "SET_VRING_ENABLE", "ring 0: 7",
               "refused: neither on nor off");

    rig_disconnect(&rig);

    memset(payload, 0xff, sizeof payload);
    for (uint32_t request = 0; request < 48; request++) {
        static const size_t sizes[] = { 0, 1, 4, 8, 16, 39, 40, 264, 500 };

        for (unsigned int i = 0; i < N_ELEMS(sizes); i++) {
            test_part("request %u of %zu bytes", request, sizes[i]);
            rig_connect(&rig);
            CHECK(fe_send(&rig.fe, request, FE_NEED_REPLY, payload,
                          sizes[i]));
            rig_disconnect(&rig);
            log = get_log(&rig);
            for (unsigned int j = 0; j < log->n; j++) {
                CHECK(!strstr(log->lines[j].outcome, "being handled"));
            }
        }
    }
    rig_close(&rig);
}

/* A series of messages about translations takes a line for each kind. */
static void
test_translations(void)
{
    struct rig_config c = { .features = RIG_FEATURES | FE_F_IOMMU };
    const struct vhost_line *line;
    struct log *log;
    struct rig rig;

    rig_open(&rig, "p", &c);
    rig_check_traffic(&rig, 0);
    log = get_log(&rig);
    line = find_line(log, "IOTLB_MSG", "update of ");
    CHECK(line);
    CHECK_GT(line->n, 10);
    CHECK(find_line(log, "SET_MEM_TABLE", ""));
    CHECK(find_line(log, "SET_VRING_NUM", "ring 1: 256"));
    rig_close(&rig);

    c.misses = true;
    rig_create(&rig, "q", &c);
    rig_connect(&rig);
    for (unsigned int i = 0; i < 2; i++) {
        rig_start_ring(&rig, i, 0);
    }
    for (unsigned int i = 0; i < 2000
         && rig_info(&rig).state != VHOST_S_READY; i++) {
        fe_iommu_serve(&rig.iommu, 1);
    }
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    log = get_log(&rig);
    line = find_line(log, "IOTLB_MSG", "miss at 0x");
    CHECK(line);
    CHECK_EQ(line->kind, VHOST_LINE_SENT);
    CHECK_EQ(strcmp(line->outcome, "sent"), 0);
    rig_close(&rig);
}

static void *
read_log(void *rig_)
{
    static struct vhost_line lines[VHOST_MAX_LINES];
    struct rig *rig = rig_;

    for (unsigned int i = 0; i < 2000; i++) {
        unsigned int n = vhost_port_get_log(rig->port, lines);

        CHECK_LE(n, VHOST_MAX_LINES);
    }
    return NULL;
}

/* It is read while it is written. */
static void
test_threads(void)
{
    pthread_t thread;
    struct rig rig;

    rig_open(&rig, "p", NULL);
    CHECK(!pthread_create(&thread, NULL, read_log, &rig));
    for (unsigned int i = 0; i < 1000; i++) {
        CHECK_EQ(fe_ask_state(&rig.fe, FE_SET_VRING_ENABLE, 0, i & 1), 0);
        if (i % 100 == 99) {
            rig_disconnect(&rig);
            rig_connect(&rig);
        }
    }
    CHECK(!pthread_join(thread, NULL));
    rig_close(&rig);
}

/* Connections that are ended on request. */
static void
test_disconnect(void)
{
    struct rig_config client = { .role = VHOST_CLIENT };
    struct log *log;
    struct rig rig;

    rig_open(&rig, "server", NULL);
    CHECK(vhost_port_disconnect(rig.port));
    CHECK_EQ(rig_info(&rig).state, VHOST_S_WAITING);
    CHECK_EQ(rig_info(&rig).n_disconnects, 1);
    CHECK(fe_closed(&rig.fe, 5000));
    CHECK(!vhost_port_disconnect(rig.port));
    fe_hang_up(&rig.fe);
    log = get_log(&rig);
    CHECK_EVENT(log, "asked to disconnect");
    CHECK(!find_line(log, "", "closed the connection"));
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);

    rig_open(&rig, "client", &client);
    CHECK(vhost_port_disconnect(rig.port));
    CHECK(fe_closed(&rig.fe, 5000));
    fe_hang_up(&rig.fe);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

static const struct test_case cases[] = {
    { "conversation", test_conversation, 0 },
    { "bounds", test_bounds, 0 },
    { "wrong-messages", test_wrong_messages, 60 },
    { "translations", test_translations, 0 },
    { "threads", test_threads, 0 },
    { "disconnect", test_disconnect, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
