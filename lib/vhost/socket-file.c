/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Owner and mode of a listening socket's file; socket-file.h says what has to
 * be minded.
 */

#include "socket-file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* From <linux/un.h>, which cannot be included beside <sys/un.h>. */
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

void
vhost_socket_file_init(struct vhost_socket_file *f)
{
    memset(f, 0, sizeof *f);
    f->fd = -1;
}

/* True if only root and we can put something else in the place of a file of
 * ours in directory 'dir'. */
static bool
is_safe_dir(const char *dir)
{
    struct stat st;

    return (!stat(dir, &st) && (!st.st_uid || st.st_uid == geteuid())
            && (!(st.st_mode & (S_IWGRP | S_IWOTH))
                || st.st_mode & S_ISVTX));
}

/* The same for all directories on the way to 'path'. */
static bool
is_safe_path(const char *path)
{
    char dir[VHOST_PATH_MAX + 1];

    if (*path != '/') {
        return false;
    }
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        snprintf(dir, sizeof dir, "%.*s", (int) (slash - path) + 1, path);
        if (!is_safe_dir(dir)) {
            return false;
        }
    }
    return true;
}

/* Opens the socket's file at 'path', if it can be no other one.  Returns -1 if
 * not. */
static int
open_safe_path(const char *path)
{
    struct stat st;
    int fd;

    if (!is_safe_path(path)) {
        return -1;
    }
    fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISSOCK(st.st_mode)
                    || st.st_uid != geteuid())) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void
vhost_socket_file_open(struct vhost_socket_file *f, int sock,
                       const char *path)
{
    struct stat st;

    vhost_socket_file_init(f);

    /* The kernel knows it, but tells only those with CAP_NET_ADMIN. */
    f->fd = ioctl(sock, SIOCUNIXFILE);
    if (f->fd < 0) {
        f->fd = open_safe_path(path);
    }
    f->bound = f->fd >= 0 ? !fstat(f->fd, &st) : !lstat(path, &st);
    if (f->bound) {
        f->dev = st.st_dev;
        f->ino = st.st_ino;
        f->uid = st.st_uid;
        f->gid = st.st_gid;
        f->mode = st.st_mode & 07777;
    }
}

static int
change_mode(int fd, mode_t mode)
{
    char name[32];

    /* chmod() takes no O_PATH descriptor, but follows this to the file that it
     * is of. */
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    return chmod(name, mode);
}

static int
change_owner(int fd, uid_t uid, gid_t gid)
{
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
}

bool
vhost_socket_file_set_access(struct vhost_socket_file *f,
                             const struct vhost_socket_access *access,
                             char *error, size_t size)
{
    uid_t uid = access->set_uid ? access->uid : f->uid;
    gid_t gid = access->set_gid ? access->gid : f->gid;
    mode_t mode = access->set_mode ? access->mode : f->mode;
    struct stat st;
    mode_t current;
    bool ok = true;

    if (!f->bound || (f->fd < 0 && uid == f->uid && gid == f->gid
                      && mode == f->mode)) {
        return true;
    }
    if (f->fd < 0) {
        snprintf(error, size, "the socket's owner and mode stay as they are: "
                 "others can write to its directory, and so could have "
                 "another file changed in its place");
        return false;
    }
    if (fstat(f->fd, &st)) {
        snprintf(error, size, "the socket's file cannot be looked at: %s",
                 strerror(errno));
        return false;
    }

    /* Nobody may connect meanwhile who may neither before nor after. */
    current = st.st_mode & 07777;
    if (current & ~mode && !change_mode(f->fd, current & mode)) {
        current &= mode;
    }
    if (gid != st.st_gid && change_owner(f->fd, -1, gid)) {
        snprintf(error, size, "the socket's group stays %u instead of %u: %s",
                 st.st_gid, gid, strerror(errno));
        ok = false;
    }
    if (uid != st.st_uid && change_owner(f->fd, uid, -1)) {
        snprintf(error, size, "the socket's owner stays %u instead of %u: %s",
                 st.st_uid, uid, strerror(errno));
        ok = false;
    }
    if (current != mode && change_mode(f->fd, mode)) {
        snprintf(error, size, "the socket's mode is %04o instead of %04o: %s",
                 (unsigned int) current, (unsigned int) mode,
                 strerror(errno));
        ok = false;
    }
    return ok;
}

void
vhost_socket_file_remove(struct vhost_socket_file *f, const char *path)
{
    struct stat st;

    if (f->bound && !lstat(path, &st) && st.st_dev == f->dev
        && st.st_ino == f->ino) {
        unlink(path);
    }
    if (f->fd >= 0) {
        close(f->fd);
    }
    vhost_socket_file_init(f);
}
