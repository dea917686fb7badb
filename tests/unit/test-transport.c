/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of sockets: listening, connecting, connecting again, and paths
 * that cannot be used. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rig.h"

/* "Within 100 ms" loosely: machines that run tests have other things to do. */
#define SOON_MS 2000

static void
make_dir(const char *path)
{
    CHECK_EQ(mkdir(path, 0755), 0);
}

static bool
is_socket(const char *path)
{
    struct stat st;

    return !lstat(path, &st) && S_ISSOCK(st.st_mode);
}

static void
ignore_change(void *aux, unsigned int what)
{
    (void) aux;
    (void) what;
}

static const struct vhost_port_ops ops = { .changed = ignore_change };

/* Creates a port without a rig. */
static int
create(const char *name, enum vhost_role role, const char *path,
       struct vhost_port **portp, char **errorp)
{
    struct vhost_port_config pc = {
        .name = name,
        .role = role,
        .path = path,
        .offer = {
            .features = vhost_supported_features,
            .protocol_features = vhost_supported_protocol_features,
            .queue_pairs = 1,
        },
        .max_queue_pairs = 1,
        .ops = &ops,
    };

    *portp = NULL;
    *errorp = NULL;
    return vhost_port_create(test_loop(), &pc, portp, errorp);
}

static struct vhost_port_info
info_of(struct vhost_port *port)
{
    struct vhost_port_info info;

    vhost_port_get_info(port, &info);
    return info;
}

/* The socket is there as long as the port. */
static void
test_server(void)
{
    char path[512];
    struct rig rig;

    snprintf(path, sizeof path, "%s", test_path("p"));
    CHECK(!is_socket(path));
    rig_create(&rig, "p", NULL);
    CHECK(is_socket(path));
    CHECK_EQ(rig_info(&rig).state, VHOST_S_WAITING);
    CHECK_EQ(rig_info(&rig).role, VHOST_SERVER);
    CHECK(!strcmp(rig_info(&rig).path, path));
    CHECK(!rig_info(&rig).error[0]);
    rig_connect(&rig);
    CHECK_EQ(rig_info(&rig).state, VHOST_S_CONNECTED);
    rig_start(&rig);
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_LINK);
    CHECK_EQ(rig_info(&rig).n_connects, 1);
    CHECK_EQ(rig_info(&rig).n_disconnects, 0);
    CHECK_EQ(rig_info(&rig).n_link_changes, 1);
    rig_check_traffic(&rig, 0);

    rig_disconnect(&rig);
    WAIT_FOR(rig_info(&rig).state == VHOST_S_WAITING);
    CHECK_EQ(rig_info(&rig).n_link_changes, 2);
    CHECK(is_socket(path));
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_info(&rig).n_connects, 2);
    rig_close(&rig);
    CHECK(!is_socket(path));
}

/* A hundred front ends one after the other. */
static void
test_server_again(void)
{
    struct rig rig;

    rig_create(&rig, "p", NULL);
    for (unsigned int i = 0; i < 100; i++) {
        rig_connect(&rig);
        rig_start(&rig);
        if (i % 10 == 0) {
            rig_check_traffic(&rig, 0);
        }
        rig_disconnect(&rig);
    }
    WAIT_FOR(rig_info(&rig).n_disconnects == 100);
    CHECK_EQ(rig_info(&rig).n_connects, 100);
    CHECK_EQ(rig_info(&rig).n_protocol_errors, 0);
    rig_close(&rig);
}

/* The next front end is there the moment the last one goes, as when a VMM
 * restarts, and before the port has seen that: it must not be sent away. */
static void
test_next_at_once(void)
{
    struct rig rig;

    rig_create(&rig, "p", NULL);
    for (unsigned int i = 0; i < 50; i++) {
        rig_connect(&rig);
        rig_start(&rig);
        fe_hang_up(&rig.fe);
    }
    WAIT_FOR(rig_info(&rig).n_disconnects == 50);
    CHECK_EQ(rig_info(&rig).n_connects, 50);
    rig_close(&rig);
}

static void
test_stale_socket(void)
{
    struct rig rig;

    /* Bound once, nobody listens any more. */
    close(fe_listen(test_path("p")));
    CHECK(is_socket(test_path("p")));
    rig_create(&rig, "p", NULL);
    CHECK(!rig_info(&rig).error[0]);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
    CHECK(!is_socket(test_path("p")));
}

static void
test_live_socket(void)
{
    char path[512];
    struct rig rig;
    struct fe fe;
    int fd;

    snprintf(path, sizeof path, "%s", test_path("p"));
    fd = fe_listen(path);
    rig_create(&rig, "p", NULL);
    WAIT_FOR(rig_info(&rig).error[0]);
    CHECK_HAS(rig_info(&rig).error, rig.path);
    CHECK_HAS(rig_info(&rig).error, "another");
    CHECK_EQ(rig_info(&rig).state, VHOST_S_WAITING);
    WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_STATUS);

    /* The other program still has its socket. */
    test_sleep_us(100000);
    fe_init(&fe);
    CHECK(fe_connect(&fe, path, 0));
    fe_hang_up(&fe);

    /* The port works once the cause is mended. */
    close(fd);
    rig_connect(&rig);
    CHECK(!rig_info(&rig).error[0]);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
    CHECK(!is_socket(path));
}

/* Two ports with one path: the second sees an error, the first works on, and
 * destroying the second leaves the first's socket alone. */
static void
test_same_path_twice(void)
{
    struct vhost_port *second;
    struct rig rig;
    char *error;

    rig_create(&rig, "p", NULL);
    CHECK_EQ(create("second", VHOST_SERVER, rig.path, &second, &error), 0);
    WAIT_FOR(info_of(second).error[0]);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    vhost_port_destroy(second);
    CHECK(is_socket(rig.path));
    rig_disconnect(&rig);
    rig_connect(&rig);
    rig_close(&rig);
}

static void
test_regular_file(void)
{
    struct vhost_port *port;
    char path[512];
    char text[8];
    char *error;
    FILE *f;

    snprintf(path, sizeof path, "%s", test_path("p"));
    f = fopen(path, "w");
    CHECK(f != NULL);
    fputs("keep me", f);
    fclose(f);
    CHECK_EQ(create("p", VHOST_SERVER, path, &port, &error), 0);
    WAIT_FOR(info_of(port).error[0]);
    CHECK_HAS(info_of(port).error, "socket");
    test_sleep_us(50000);
    vhost_port_destroy(port);
    f = fopen(path, "r");
    CHECK(f != NULL);
    CHECK(fgets(text, sizeof text, f) != NULL);
    CHECK(!strcmp(text, "keep me"));
    fclose(f);

    /* Removing it while the port waits mends it. */
    CHECK_EQ(create("p", VHOST_SERVER, path, &port, &error), 0);
    WAIT_FOR(info_of(port).error[0]);
    CHECK_EQ(unlink(path), 0);
    WAIT_FOR(is_socket(path));
    WAIT_FOR(!info_of(port).error[0]);
    vhost_port_destroy(port);

    /* So does a client that finds it. */
    f = fopen(path, "w");
    CHECK(f != NULL);
    fclose(f);
    CHECK_EQ(create("p", VHOST_CLIENT, path, &port, &error), 0);
    WAIT_FOR(info_of(port).error[0]);
    vhost_port_destroy(port);
    CHECK_EQ(unlink(path), 0);
}

/* Directories, symbolic links to nowhere. */
static void
test_odd_files(void)
{
    struct vhost_port *port;
    char path[512];
    char *error;

    snprintf(path, sizeof path, "%s", test_path("d"));
    make_dir(path);
    CHECK_EQ(create("p", VHOST_SERVER, path, &port, &error), 0);
    WAIT_FOR(info_of(port).error[0]);
    vhost_port_destroy(port);
    CHECK_EQ(rmdir(path), 0);

    CHECK_EQ(symlink("/nowhere/at/all", path), 0);
    CHECK_EQ(create("p", VHOST_SERVER, path, &port, &error), 0);
    WAIT_FOR(info_of(port).error[0]);
    vhost_port_destroy(port);
    CHECK_EQ(unlink(path), 0);
}

/* A server's directory is missing at first. */
static void
test_server_dir_later(void)
{
    struct vhost_port *port;
    char dir[512], path[600];
    char *error;

    snprintf(dir, sizeof dir, "%s", test_path("later"));
    snprintf(path, sizeof path, "%s/p", dir);
    CHECK_EQ(create("p", VHOST_SERVER, path, &port, &error), 0);
    WAIT_FOR(info_of(port).error[0]);
    make_dir(dir);
    WAIT_FOR(is_socket(path));
    WAIT_FOR(!info_of(port).error[0]);
    vhost_port_destroy(port);
    CHECK(!is_socket(path));
    CHECK_EQ(rmdir(dir), 0);
}

/* Somebody else's socket took the place of ours: it is not unlinked. */
static void
test_not_our_socket(void)
{
    struct rig rig;
    int fd;

    rig_create(&rig, "p", NULL);
    CHECK_EQ(unlink(test_path("p")), 0);
    fd = fe_listen(test_path("p"));
    rig_close(&rig);
    CHECK(is_socket(test_path("p")));
    close(fd);
    CHECK_EQ(unlink(test_path("p")), 0);
}

/* One front end at a time; the second gets its turn or is sent away, the first
 * one does not notice. */
static void
test_second_front_end(void)
{
    struct rig rig;
    struct fe second;
    struct fe_header h;
    uint64_t value;
    enum fe_got got;

    rig_open(&rig, "p", NULL);
    fe_init(&second);
    CHECK(fe_connect(&second, rig.path, 5000));
    fe_send(&second, FE_GET_FEATURES, 0, NULL, 0);
    got = fe_receive(&second, &h, &value, sizeof value, 300);
    CHECK(got != FE_GOT_MESSAGE);
    rig_check_traffic(&rig, 0);
    CHECK(fe_alive(&rig.fe, 5000));
    CHECK_EQ(rig_info(&rig).n_connects, 1);
    fe_hang_up(&second);
    test_sleep_us(20000);
    CHECK(fe_alive(&rig.fe, 5000));
    rig_check_traffic(&rig, 0);

    /* A second one that is in the queue when the first goes. */
    CHECK(fe_connect(&second, rig.path, 5000));
    fe_send(&second, FE_GET_FEATURES, 0, NULL, 0);
    fe_hang_up(&rig.fe);
    got = fe_receive(&second, &h, &value, sizeof value, 5000);
    if (got == FE_GOT_END) {
        CHECK(fe_connect(&second, rig.path, 5000));
        CHECK(fe_alive(&second, 5000));
    } else {
        CHECK_EQ(got, FE_GOT_MESSAGE);
    }
    fe_hang_up(&second);
    rig_close(&rig);
}

static void
test_disconnect(void)
{
    struct rig rig;

    rig_open(&rig, "p", NULL);
    vhost_port_disconnect(rig.port);
    CHECK(fe_closed(&rig.fe, 5000));
    fe_hang_up(&rig.fe);
    WAIT_FOR(rig_info(&rig).state == VHOST_S_WAITING);
    vhost_port_disconnect(rig.port);    /* Nobody there. */
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* Client ports. */

static void
test_client(void)
{
    struct rig_config c = { .role = VHOST_CLIENT };
    struct rig rig;

    rig_open(&rig, "p", &c);
    CHECK_EQ(rig_info(&rig).role, VHOST_CLIENT);
    CHECK_EQ(rig_info(&rig).state, VHOST_S_READY);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* The peer goes and comes again; the socket stays. */
static void
test_client_reconnect(void)
{
    struct rig_config c = { .role = VHOST_CLIENT };
    struct rig rig;

    rig_create(&rig, "p", &c);
    for (unsigned int i = 0; i < 20; i++) {
        long long int start = test_now_us();

        CHECK(fe_accept(&rig.fe, rig.listen_fd, SOON_MS));
        CHECK_LT(test_now_us() - start, SOON_MS * 1000);
        CHECK(fe_alive(&rig.fe, 5000));
        fe_hang_up(&rig.fe);
    }
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    CHECK_GE(rig_info(&rig).n_connects, 21);
    rig_close(&rig);
}

/* The VMM restarts: its socket goes and is made anew. */
static void
test_client_new_socket(void)
{
    struct rig_config c = { .role = VHOST_CLIENT };
    struct rig rig;

    rig_open(&rig, "p", &c);
    for (unsigned int i = 0; i < 10; i++) {
        fe_hang_up(&rig.fe);
        close(rig.listen_fd);
        CHECK_EQ(unlink(rig.path), 0);
        test_sleep_us(i * 10000);
        rig.listen_fd = fe_listen(rig.path);
        CHECK(fe_accept(&rig.fe, rig.listen_fd, SOON_MS));
        CHECK(fe_alive(&rig.fe, 5000));
    }
    fe_hang_up(&rig.fe);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
}

/* Waits for the port to connect to 'fd' and checks that it talks. */
static void
check_connects(int fd)
{
    struct fe fe;

    fe_init(&fe);
    if (!fe_accept(&fe, fd, SOON_MS)) {
        test_fail(__FILE__, __LINE__, "no connection within %d ms", SOON_MS);
    }
    CHECK(fe_alive(&fe, 5000));
    fe_hang_up(&fe);
}

static void
test_client_path_later(void)
{
    struct vhost_port *port;
    char path[512], aside[600], dir[512], deep[600];
    char *error;
    int fd;

    snprintf(path, sizeof path, "%s", test_path("p"));
    snprintf(aside, sizeof aside, "%s", test_path("aside"));
    snprintf(dir, sizeof dir, "%s", test_path("dir"));
    snprintf(deep, sizeof deep, "%s/sub/p", dir);

    test_part("the socket is created");
    CHECK_EQ(create("p", VHOST_CLIENT, path, &port, &error), 0);
    test_sleep_us(300000);      /* Past the quickest tries. */
    CHECK_EQ(info_of(port).state, VHOST_S_WAITING);
    fd = fe_listen(path);
    check_connects(fd);
    vhost_port_destroy(port);
    close(fd);
    CHECK_EQ(unlink(path), 0);

    test_part("the socket is moved into place");
    CHECK_EQ(create("p", VHOST_CLIENT, path, &port, &error), 0);
    test_sleep_us(200000);
    fd = fe_listen(aside);
    test_sleep_us(100000);
    CHECK_EQ(rename(aside, path), 0);
    check_connects(fd);
    vhost_port_destroy(port);
    close(fd);
    CHECK_EQ(unlink(path), 0);

    test_part("its mode changes");
    fd = fe_listen(path);
    CHECK_EQ(chmod(path, 0), 0);    /* Has no effect for root. */
    CHECK_EQ(create("p", VHOST_CLIENT, path, &port, &error), 0);
    test_sleep_us(100000);
    CHECK_EQ(chmod(path, 0777), 0);
    check_connects(fd);
    vhost_port_destroy(port);
    close(fd);
    CHECK_EQ(unlink(path), 0);

    test_part("nobody listens at first");
    fd = fe_listen(path);
    close(fd);
    CHECK_EQ(create("p", VHOST_CLIENT, path, &port, &error), 0);
    test_sleep_us(100000);
    CHECK_EQ(unlink(path), 0);
    fd = fe_listen(path);
    check_connects(fd);
    vhost_port_destroy(port);
    close(fd);
    CHECK_EQ(unlink(path), 0);

    test_part("the directories are created");
    CHECK_EQ(create("p", VHOST_CLIENT, deep, &port, &error), 0);
    test_sleep_us(200000);
    make_dir(dir);
    test_sleep_us(50000);
    snprintf(aside, sizeof aside, "%s/sub", dir);
    make_dir(aside);
    test_sleep_us(50000);
    fd = fe_listen(deep);
    check_connects(fd);

    test_part("the directories are removed and created again");
    close(fd);
    CHECK_EQ(unlink(deep), 0);
    CHECK_EQ(rmdir(aside), 0);
    CHECK_EQ(rmdir(dir), 0);
    test_sleep_us(100000);
    make_dir(dir);
    make_dir(aside);
    fd = fe_listen(deep);
    check_connects(fd);
    vhost_port_destroy(port);
    close(fd);
    CHECK_EQ(unlink(deep), 0);
    CHECK_EQ(rmdir(aside), 0);
    CHECK_EQ(rmdir(dir), 0);
}

/* The port is told when its socket appears; it does not just look for it at
 * intervals (of 50 ms by then).  Not each time within 10 ms where other
 * programs want the CPUs too, but a timer alone would do that to one in five
 * only. */
static void
test_client_told(void)
{
    unsigned int soon = 0, n;
    uint64_t rnd = 1;

    for (n = 0; n < 10 || (n < 60 && soon < n / 2); n++) {
        struct vhost_port *port;
        long long int start;
        char path[512];
        struct fe fe;
        char *error;
        int fd;

        snprintf(path, sizeof path, "%s", test_path("p"));
        CHECK_EQ(create("p", VHOST_CLIENT, path, &port, &error), 0);
        test_sleep_us(120000 + test_random(&rnd) % 50000);
        start = test_now_us();
        fd = fe_listen(path);
        fe_init(&fe);
        CHECK(fe_accept(&fe, fd, SOON_MS));
        soon += test_now_us() - start < 10000;
        fe_hang_up(&fe);
        vhost_port_destroy(port);
        close(fd);
        CHECK_EQ(unlink(path), 0);
    }
    test_part("%u of %u at once", soon, n);
    CHECK_GE(soon, n / 2);
}

/* A peer that accepts nobody: the connection comes from its queue, and does
 * not hold up others. */
static void
test_client_backlog_full(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    struct vhost_port *port;
    struct rig other;
    int fd, fillers[8];
    char path[512];
    char *error;

    snprintf(path, sizeof path, "%s", test_path("full"));
    fd = fe_listen(path);
    CHECK_EQ(listen(fd, 0), 0);
    strcpy(sun.sun_path, path);
    for (unsigned int i = 0; i < N_ELEMS(fillers); i++) {
        fillers[i] = socket(AF_UNIX,
                            SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fillers[i], (struct sockaddr *) &sun, sizeof sun)) {
            CHECK_EQ(errno, EAGAIN);
        }
    }
    CHECK_EQ(create("full", VHOST_CLIENT, path, &port, &error), 0);
    rig_open(&other, "p", NULL);
    for (unsigned int i = 0; i < 50; i++) {
        CHECK(fe_alive(&other.fe, 1000));
        test_sleep_us(2000);
    }
    rig_check_traffic(&other, 0);

    /* There is room again. */
    for (unsigned int i = 0; i < N_ELEMS(fillers); i++) {
        struct fe fe;

        fe_init(&fe);
        close(fillers[i]);
        if (fe_accept(&fe, fd, 0)) {
            fe_hang_up(&fe);
        }
    }
    check_connects(fd);
    vhost_port_destroy(port);
    close(fd);
    CHECK_EQ(unlink(path), 0);
    rig_close(&other);
}

/* Paths. */

static void
check_refused(enum vhost_role role, const char *path, int expected,
              const char *text)
{
    struct vhost_port *port;
    char *error;

    test_part("path of %zu bytes", strlen(path));
    CHECK_EQ(create("p", role, path, &port, &error), expected);
    CHECK(!port);
    CHECK_HAS(error, text);
    free(error);
}

static void
test_path_too_long(void)
{
    struct vhost_port *port;
    char path[4096];
    char *error;
    size_t n;

    for (int role = VHOST_SERVER; role <= VHOST_CLIENT; role++) {
        n = snprintf(path, sizeof path, "%s/", test_dir());
        memset(path + n, 'x', sizeof path - n);

        path[VHOST_PATH_MAX + 1] = '\0';
        check_refused(role, path, ENAMETOOLONG, "107");
        memset(path + n, 'x', sizeof path - n);
        path[4000] = '\0';
        check_refused(role, path, ENAMETOOLONG, "long");

        path[VHOST_PATH_MAX] = '\0';
        CHECK_EQ(create("p", role, path, &port, &error), 0);
        CHECK_EQ(strlen(info_of(port).path), VHOST_PATH_MAX);
        if (role == VHOST_SERVER) {
            struct fe fe;

            fe_init(&fe);
            CHECK(is_socket(path));
            CHECK(fe_connect(&fe, path, 5000));
            CHECK(fe_alive(&fe, 5000));
            fe_hang_up(&fe);
        } else {
            int fd = fe_listen(path);

            check_connects(fd);
            close(fd);
            unlink(path);
        }
        vhost_port_destroy(port);
    }
    check_refused(VHOST_SERVER, "", EINVAL, "");
    check_refused(VHOST_CLIENT, "", EINVAL, "");
}

static void
test_bad_config(void)
{
    const struct vhost_port_config good = {
        .name = "p",
        .role = VHOST_SERVER,
        .path = test_path("p"),
        .offer = {
            .features = vhost_supported_features,
            .protocol_features = vhost_supported_protocol_features,
            .queue_pairs = 1,
        },
        .max_queue_pairs = 1,
        .ops = &ops,
    };
    struct vhost_port_config bad[7];
    struct vhost_port *port;

    for (unsigned int i = 0; i < N_ELEMS(bad); i++) {
        bad[i] = good;
    }
    bad[0].offer.features |= UINT64_C(1) << 63;
    bad[1].offer.protocol_features |= UINT64_C(1) << 63;
    bad[2].max_queue_pairs = 0;
    bad[3].max_queue_pairs = VHOST_MAX_QUEUE_PAIRS + 1;
    bad[4].offer.tolerated |= UINT64_C(1) << 63;
    bad[5].offer.queue_pairs = 0;
    bad[6].offer.queue_pairs = 2;
    for (unsigned int i = 0; i < N_ELEMS(bad); i++) {
        char *error = NULL;

        test_part("configuration %u", i);
        port = NULL;
        CHECK_EQ(vhost_port_create(test_loop(), &bad[i], &port, &error),
                 EINVAL);
        CHECK(!port);
        CHECK(error && error[0]);
        free(error);
        CHECK(!is_socket(good.path));
    }
}

static void
test_set_path(void)
{
    char first[512], second[512], too_long[300];
    struct rig rig;
    char *error = NULL;

    snprintf(first, sizeof first, "%s", test_path("p"));
    snprintf(second, sizeof second, "%s", test_path("second"));
    rig_open(&rig, "p", NULL);

    test_part("the same path");
    CHECK_EQ(vhost_port_set_path(rig.port, first, &error), 0);
    CHECK(fe_alive(&rig.fe, 5000));
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_info(&rig).n_disconnects, 0);

    test_part("a bad path");
    memset(too_long, 'x', sizeof too_long);
    too_long[0] = '/';
    too_long[sizeof too_long - 1] = '\0';
    CHECK_EQ(vhost_port_set_path(rig.port, too_long, &error), ENAMETOOLONG);
    CHECK(error && error[0]);
    free(error);
    error = NULL;
    CHECK(fe_alive(&rig.fe, 5000));
    CHECK(!strcmp(rig_info(&rig).path, first));
    rig_check_traffic(&rig, 0);

    test_part("another path");
    CHECK_EQ(vhost_port_set_path(rig.port, second, &error), 0);
    CHECK(!error);
    CHECK(!strcmp(rig_info(&rig).path, second));
    CHECK(fe_closed(&rig.fe, 5000));
    fe_hang_up(&rig.fe);
    CHECK(is_socket(second));
    CHECK(!is_socket(first));
    snprintf(rig.path, sizeof rig.path, "%s", second);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);

    test_part("back and forth");
    for (unsigned int i = 0; i < 20; i++) {
        CHECK_EQ(vhost_port_set_path(rig.port, i % 2 ? second : first,
                                     &error), 0);
    }
    fe_hang_up(&rig.fe);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    rig_close(&rig);
    CHECK(!is_socket(first));
    CHECK(!is_socket(second));
}

/* A client without a path waits for one. */
static void
test_set_path_client(void)
{
    struct vhost_port *port;
    char a[512], b[512];
    char *error;
    int fa, fb;

    snprintf(a, sizeof a, "%s", test_path("a"));
    snprintf(b, sizeof b, "%s", test_path("b"));
    fa = fe_listen(a);
    fb = fe_listen(b);
    CHECK_EQ(create("p", VHOST_CLIENT, NULL, &port, &error), 0);
    CHECK_EQ(info_of(port).state, VHOST_S_IDLE);
    CHECK(!info_of(port).path[0]);
    CHECK_EQ(vhost_port_set_path(port, a, &error), 0);
    check_connects(fa);
    CHECK_EQ(vhost_port_set_path(port, b, &error), 0);
    check_connects(fb);
    vhost_port_destroy(port);
    close(fa);
    close(fb);
    unlink(a);
    unlink(b);
}

/* Many ports. */
static void
many_ports(enum vhost_role role)
{
    enum { N = 64 };
    struct rig_config c = { .role = role, .region_size = 2 << 20,
                            .ring_size = 64 };
    struct rig *rigs = calloc(N, sizeof *rigs);
    char name[16];

    CHECK(rigs != NULL);
    for (unsigned int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "p%u", i);
        rig_create(&rigs[i], name, &c);
    }
    for (unsigned int i = 0; i < N; i++) {
        rig_connect(&rigs[i]);
    }
    for (unsigned int i = 0; i < N; i++) {
        rig_start(&rigs[i]);
    }
    for (unsigned int i = 0; i < N; i++) {
        rig_check_traffic(&rigs[i], 0);
    }
    /* All front ends go at once and come again. */
    for (unsigned int i = 0; i < N; i++) {
        fe_hang_up(&rigs[i].fe);
    }
    for (unsigned int i = 0; i < N; i++) {
        WAIT_FOR(rig_info(&rigs[i]).n_disconnects == 1);
    }
    for (unsigned int i = 0; i < N; i++) {
        rig_connect(&rigs[i]);
        rig_start(&rigs[i]);
        rig_check_traffic(&rigs[i], 0);
    }
    for (unsigned int i = 0; i < N; i++) {
        rig_close(&rigs[i]);
    }
    free(rigs);
}

static void
test_64_servers(void)
{
    many_ports(VHOST_SERVER);
}

static void
test_64_clients(void)
{
    many_ports(VHOST_CLIENT);
}

/* Creating and destroying quickly, with and without a front end. */
static void
test_create_destroy(void)
{
    for (unsigned int i = 0; i < 60; i++) {
        struct rig_config c = { .role = i % 2 ? VHOST_CLIENT : VHOST_SERVER };
        struct rig rig;

        rig_create(&rig, "p", &c);
        if (i % 3 == 1) {
            rig_connect(&rig);
        } else if (i % 3 == 2) {
            rig_connect(&rig);
            rig_start(&rig);
        }
        rig_close(&rig);
    }
}

/* No callback after a port's end, and not too many before. */
static void
test_callbacks(void)
{
    struct rig rig;
    long long int start, took;
    unsigned int n;

    rig_open(&rig, "p", NULL);
    test_sleep_us(100000);
    n = atomic_load(&rig.n_changed);
    CHECK_GE(n, 1);
    start = test_now_us();
    for (unsigned int i = 0; i < 500; i++) {
        CHECK_EQ(fe_vq_enable(RIG_TX(&rig, 0), i % 2), 0);
    }
    test_sleep_us(50000);
    took = test_now_us() - start;
    n = atomic_load(&rig.n_changed) - n;
    CHECK_GE(n, 1);
    /* "At most about 100 times a second." */
    CHECK_LE(n, took / 5000 + 10);

    CHECK(fe_send(&rig.fe, FE_SET_VRING_ENABLE, 0,
                  &(struct fe_vring_state) { 1, 0 }, 8));
    vhost_port_destroy(rig.port);
    rig.port = NULL;
    n = atomic_load(&rig.n_changed);
    test_sleep_us(100000);
    CHECK_EQ(atomic_load(&rig.n_changed), n);
    rig_close(&rig);
}

static void *
ask_for_everything(void *rig_)
{
    struct rig *rig = rig_;
    struct vhost_region_info region;
    uint8_t mac[6];

    rig_info(rig);
    rig_vring(rig, 1);
    vhost_port_get_regions(rig->port, &region, 1);
    vhost_port_take_rarp(rig->port, mac);
    return NULL;
}

/* Another thread takes snapshots while a callback runs and waits for it: hangs
 * if the library holds a lock meanwhile. */
static void
ask_in_other_thread(struct rig *rig)
{
    pthread_t thread;

    CHECK(!pthread_create(&thread, NULL, ask_for_everything, rig));
    pthread_join(thread, NULL);
}

static void
test_callback_locks(void)
{
    struct rig_config c = { .protocol = RIG_PROTOCOL | FE_P_NET_MTU };
    struct rig rig;

    rig_create(&rig, "p", &c);
    atomic_store(&rig.on_changed, ask_in_other_thread);
    for (unsigned int i = 0; i < 5; i++) {
        rig_connect(&rig);
        CHECK_EQ(fe_ask_u64(&rig.fe, FE_NET_SET_MTU, 1500), 0);
        rig_start(&rig);
        WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_QUEUES);
        atomic_store(&rig.changed, 0);
        rig_disconnect(&rig);
        WAIT_FOR(atomic_load(&rig.changed) & VHOST_CHANGE_LINK);
    }
    rig_close(&rig);
}

/* Names for people. */
static void
test_names(void)
{
    CHECK_HAS(vhost_feature_name(VIRTIO_NET_F_MRG_RXBUF), "MRG_RXBUF");
    CHECK(!vhost_feature_name(63));
    CHECK(!vhost_feature_name(1000));
    CHECK_HAS(vhost_protocol_feature_name(3), "REPLY_ACK");
    CHECK(!vhost_protocol_feature_name(63));
    for (unsigned int bit = 0; bit < 64; bit++) {
        if (vhost_supported_features & FE_BIT(bit)) {
            CHECK(vhost_feature_name(bit) != NULL);
        }
        if (vhost_supported_protocol_features & FE_BIT(bit)) {
            CHECK(vhost_protocol_feature_name(bit) != NULL);
        }
    }
    for (unsigned int i = 0; i < VHOST_N_COUNTERS; i++) {
        CHECK(vhost_counter_to_string(i) != NULL);
        for (unsigned int k = 0; k < i; k++) {
            CHECK(strcmp(vhost_counter_to_string(i),
                         vhost_counter_to_string(k)));
        }
    }
    for (unsigned int i = 0; i <= VHOST_S_READY; i++) {
        CHECK(vhost_state_to_string(i)[0]);
    }
}

static const struct test_case cases[] = {
    { "server", test_server, 0 },
    { "server-again", test_server_again, 0 },
    { "next-at-once", test_next_at_once, 0 },
    { "stale-socket", test_stale_socket, 0 },
    { "live-socket", test_live_socket, 0 },
    { "same-path-twice", test_same_path_twice, 0 },
    { "regular-file", test_regular_file, 0 },
    { "odd-files", test_odd_files, 0 },
    { "server-dir-later", test_server_dir_later, 0 },
    { "not-our-socket", test_not_our_socket, 0 },
    { "second-front-end", test_second_front_end, 0 },
    { "disconnect", test_disconnect, 0 },
    { "client", test_client, 0 },
    { "client-reconnect", test_client_reconnect, 0 },
    { "client-new-socket", test_client_new_socket, 0 },
    { "client-path-later", test_client_path_later, 0 },
    { "client-told", test_client_told, 0 },
    { "client-backlog-full", test_client_backlog_full, 0 },
    { "path-too-long", test_path_too_long, 0 },
    { "bad-config", test_bad_config, 0 },
    { "set-path", test_set_path, 0 },
    { "set-path-client", test_set_path_client, 0 },
    { "64-servers", test_64_servers, 0 },
    { "64-clients", test_64_clients, 0 },
    { "create-destroy", test_create_destroy, 0 },
    { "callbacks", test_callbacks, 0 },
    { "callback-locks", test_callback_locks, 0 },
    { "names", test_names, 0 },
};

int
main(int argc, char *argv[])
{
    return test_main(argc, argv, cases, N_ELEMS(cases));
}
