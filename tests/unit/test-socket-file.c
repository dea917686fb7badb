/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of a listening socket's owner and mode: as a port has them from
 * its configuration, and changed while it is in use; and what must not be
 * changed when somebody else puts another file in the socket's place. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "rig.h"
#include "socket-file.h"

#define USER 12345
#define GROUP 23456

static struct stat
stat_of(const char *path)
{
    struct stat st;

    CHECK_EQ(lstat(path, &st), 0);
    return st;
}

static unsigned int
mode_of(const char *path)
{
    return stat_of(path).st_mode & 07777;
}

static void
need_root(void)
{
    if (geteuid()) {
        test_skip("only root may change a file's owner");
    }
}

/* Takes a capability from this thread. */
static void
drop_capability(unsigned int cap)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[2];

    CHECK_EQ(syscall(SYS_capget, &header, data), 0);
    data[cap / 32].effective &= ~(1u << (cap % 32));
    CHECK_EQ(syscall(SYS_capset, &header, data), 0);
}

/* Without a port. */
static int
bind_socket(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    CHECK_GE(fd, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *) &sun, sizeof sun), 0);
    return fd;
}

static const struct vhost_socket_access all = {
    .set_uid = true,
    .set_gid = true,
    .set_mode = true,
    .uid = USER,
    .gid = GROUP,
    .mode = 0660,
};

/* A port in use: a change is in force at once, and the guest does not notice;
 * what is not wanted any more is as it was. */
static void
test_live(void)
{
    const struct vhost_socket_access none = { .set_uid = false };
    const struct vhost_socket_access mode = { .set_mode = true,
                                              .mode = 0606 };
    const struct vhost_socket_access group = { .set_gid = true,
                                               .gid = GROUP };
    struct rig rig;

    need_root();
    umask(027);
    rig_create(&rig, "p", NULL);
    CHECK_EQ(mode_of(rig.path), 0750);
    rig_connect(&rig);
    rig_start(&rig);

    vhost_port_set_access(rig.port, &all);
    CHECK_EQ(stat_of(rig.path).st_uid, USER);
    CHECK_EQ(stat_of(rig.path).st_gid, GROUP);
    CHECK_EQ(mode_of(rig.path), 0660);
    vhost_port_set_access(rig.port, &group);
    CHECK_EQ(stat_of(rig.path).st_uid, 0);
    CHECK_EQ(stat_of(rig.path).st_gid, GROUP);
    CHECK_EQ(mode_of(rig.path), 0750);
    vhost_port_set_access(rig.port, &mode);
    CHECK_EQ(stat_of(rig.path).st_gid, 0);
    CHECK_EQ(mode_of(rig.path), 0606);
    vhost_port_set_access(rig.port, &none);
    CHECK_EQ(mode_of(rig.path), 0750);
    CHECK_EQ(stat_of(rig.path).st_uid, 0);
    CHECK(!rig_info(&rig).access_error[0]);

    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_info(&rig).n_disconnects, 0);
    CHECK_EQ(test_n_warnings("p"), 0);
    rig_close(&rig);
}

/* It is kept over changes of the path, and there before anybody can connect. */
static void
check_path(const char *name, struct rig *rig)
{
    char *error = NULL;

    CHECK_EQ(vhost_port_set_path(rig->port, test_path(name), &error), 0);
    CHECK_EQ(stat_of(test_path(name)).st_uid, USER);
    CHECK_EQ(mode_of(test_path(name)), 0660);
}

static void
test_from_the_start(void)
{
    struct rig rig;

    need_root();
    rig_create(&rig, "p", NULL);
    vhost_port_set_access(rig.port, &all);
    check_path("q", &rig);
    check_path("r", &rig);
    rig_close(&rig);
    CHECK_NE(access(test_path("r"), F_OK), 0);
}

/* Somebody who can write to the directory moves the socket away, just after it
 * was bound, and has a file of his choice in its place.  That stays as it is.
 * The kernel tells which one is meant. */
static void
test_swapped(void)
{
    struct vhost_socket_file f;
    char error[200] = "";
    int victim, sock;
    FILE *file;

    need_root();

    /* A symbolic link to a file. */
    file = fopen(test_path("secret"), "w");
    CHECK(file != NULL);
    fclose(file);
    CHECK_EQ(chmod(test_path("secret"), 0600), 0);
    sock = bind_socket(test_path("p"));
    CHECK_EQ(rename(test_path("p"), test_path("away")), 0);
    CHECK_EQ(symlink(test_path("secret"), test_path("p")), 0);
    vhost_socket_file_open(&f, sock, test_path("p"));
    CHECK(vhost_socket_file_set_access(&f, &all, error, sizeof error));
    CHECK_EQ(stat_of(test_path("secret")).st_uid, 0);
    CHECK_EQ(mode_of(test_path("secret")), 0600);
    CHECK_EQ(stat_of(test_path("away")).st_uid, USER);
    vhost_socket_file_remove(&f, test_path("p"));
    CHECK_EQ(unlink(test_path("p")), 0);
    CHECK_EQ(unlink(test_path("away")), 0);
    CHECK_EQ(unlink(test_path("secret")), 0);
    close(sock);

    /* Another socket of ours. */
    victim = bind_socket(test_path("other"));
    CHECK_EQ(chmod(test_path("other"), 0600), 0);
    sock = bind_socket(test_path("p"));
    CHECK_EQ(unlink(test_path("p")), 0);
    CHECK_EQ(link(test_path("other"), test_path("p")), 0);
    vhost_socket_file_open(&f, sock, test_path("p"));
    vhost_socket_file_set_access(&f, &all, error, sizeof error);
    CHECK_EQ(stat_of(test_path("other")).st_uid, 0);
    CHECK_EQ(mode_of(test_path("other")), 0600);

    /* Nor is it removed. */
    vhost_socket_file_remove(&f, test_path("p"));
    CHECK_EQ(unlink(test_path("p")), 0);
    CHECK_EQ(unlink(test_path("other")), 0);
    close(sock);
    close(victim);
}

/* Where the kernel may not be asked, a directory that others can write to is
 * enough not to touch anything. */
static void
test_unsafe_dir(void)
{
    static const unsigned int modes[] = { 0777, 0775, 0757 };
    struct vhost_socket_file f;
    char error[200];
    int sock;

    need_root();
    drop_capability(CAP_NET_ADMIN);
    CHECK_EQ(mkdir(test_path("d"), 0700), 0);
    for (size_t i = 0; i < N_ELEMS(modes); i++) {
        CHECK_EQ(chmod(test_path("d"), modes[i]), 0);
        sock = bind_socket(test_path("d/p"));
        vhost_socket_file_open(&f, sock, test_path("d/p"));
        error[0] = '\0';
        CHECK(!vhost_socket_file_set_access(&f, &all, error, sizeof error));
        CHECK_HAS(error, "others can write to its directory");
        CHECK_EQ(stat_of(test_path("d/p")).st_uid, 0);
        vhost_socket_file_remove(&f, test_path("d/p"));
        CHECK_NE(access(test_path("d/p"), F_OK), 0);
        close(sock);
    }

    /* The one above it counts too; and another owner's. */
    CHECK_EQ(mkdir(test_path("d/e"), 0700), 0);
    sock = bind_socket(test_path("d/e/p"));
    vhost_socket_file_open(&f, sock, test_path("d/e/p"));
    CHECK(!vhost_socket_file_set_access(&f, &all, error, sizeof error));
    vhost_socket_file_remove(&f, test_path("d/e/p"));
    close(sock);
    CHECK_EQ(chmod(test_path("d"), 0755), 0);
    CHECK_EQ(chown(test_path("d/e"), USER, -1), 0);
    sock = bind_socket(test_path("d/e/p"));
    vhost_socket_file_open(&f, sock, test_path("d/e/p"));
    CHECK(!vhost_socket_file_set_access(&f, &all, error, sizeof error));
    vhost_socket_file_remove(&f, test_path("d/e/p"));
    close(sock);

    /* A safe one. */
    CHECK_EQ(chown(test_path("d/e"), 0, -1), 0);
    sock = bind_socket(test_path("d/e/p"));
    vhost_socket_file_open(&f, sock, test_path("d/e/p"));
    CHECK(vhost_socket_file_set_access(&f, &all, error, sizeof error));
    CHECK_EQ(stat_of(test_path("d/e/p")).st_uid, USER);
    CHECK_EQ(mode_of(test_path("d/e/p")), 0660);
    vhost_socket_file_remove(&f, test_path("d/e/p"));
    close(sock);
    CHECK_EQ(rmdir(test_path("d/e")), 0);
    CHECK_EQ(rmdir(test_path("d")), 0);
}

/* A switch that is not root: it cannot give the file away, which is said, but
 * who else may connect is for it to decide. */
static void
test_refused(void)
{
    struct vhost_socket_file f;
    char error[200] = "";
    int sock;

    need_root();
    drop_capability(CAP_CHOWN);
    sock = bind_socket(test_path("p"));
    vhost_socket_file_open(&f, sock, test_path("p"));
    CHECK(!vhost_socket_file_set_access(&f, &all, error, sizeof error));
    CHECK_HAS(error, "owner stays 0 instead of 12345");
    CHECK_EQ(stat_of(test_path("p")).st_uid, 0);
    CHECK_EQ(mode_of(test_path("p")), 0660);
    vhost_socket_file_remove(&f, test_path("p"));
    close(sock);
}

/* A port without a socket of its own. */
static void
test_client(void)
{
    static const struct vhost_socket_access nothing = { .set_uid = false };
    struct rig_config c = { .role = VHOST_CLIENT };
    struct rig rig;

    rig_create(&rig, "p", &c);
    vhost_port_set_access(rig.port, &all);
    CHECK(!rig_info(&rig).access_error[0]);
    rig_connect(&rig);
    rig_start(&rig);
    rig_check_traffic(&rig, 0);
    vhost_port_set_access(rig.port, &nothing);
    rig_close(&rig);
}

int
main(int argc, char *argv[])
{
    static const struct test_case cases[] = {
        { "live", test_live, 0 },
        { "from-the-start", test_from_the_start, 0 },
        { "swapped", test_swapped, 0 },
        { "unsafe-dir", test_unsafe_dir, 0 },
        { "refused", test_refused, 0 },
        { "client", test_client, 0 },
    };

    return test_main(argc, argv, cases, N_ELEMS(cases));
}
