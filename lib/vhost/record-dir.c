/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The directory of the crash records' files: is it fit and safe, and which
 * files are nobody's any more.  See record-file.h.
 */

#include "record-file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static int
fail(int error, char **errorp, const char *path, const char *why)
{
    if (asprintf(errorp, "%s: %s", path, why) < 0) {
        *errorp = NULL;
    }
    return error;
}

/* Returns 0 if stores into mapped files of the directory 'fd' neither wait nor
 * get lost, and nobody else can put files there. */
static int
check_dir(int fd, const char *path, char **errorp)
{
    struct statfs fs;
    struct stat s;

    if (fstat(fd, &s) || fstatfs(fd, &fs)) {
        return fail(errno, errorp, path, strerror(errno));
    }
    if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC) {
        return fail(ENOTSUP, errorp, path, "not on tmpfs");
    }
    if (s.st_uid != geteuid()) {
        return fail(EPERM, errorp, path, "the directory is another user's");
    }
    if (s.st_mode & (S_IWGRP | S_IWOTH)) {
        return fail(EPERM, errorp, path, "others may write to the directory");
    }
    return 0;
}

int
vhost_record_dir_open(const char *path, const char *prefix,
                      struct vhost_record_dir **dirp, char **errorp)
{
    bool made = !mkdir(path, 0700);
    struct vhost_record_dir *dir;
    int error, fd;

    *errorp = NULL;
    if (!made && errno != EEXIST) {
        return fail(errno, errorp, path, strerror(errno));
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return fail(errno, errorp, path, strerror(errno));
    }
    error = check_dir(fd, path, errorp);
    if (error) {
        goto fail;
    }
    dir = malloc(sizeof *dir);
    if (!dir) {
        error = ENOMEM;
        goto fail;
    }
    dir->fd = fd;
    dir->path = strdup(path);
    dir->prefix = strdup(prefix);
    if (!dir->path || !dir->prefix) {
        free(dir->path);
        free(dir->prefix);
        free(dir);
        error = ENOMEM;
        goto fail;
    }
    *dirp = dir;
    return 0;

fail:
    close(fd);
    if (made) {
        rmdir(path);
    }
    return error;
}

void
vhost_record_dir_close(struct vhost_record_dir *dir)
{
    if (dir) {
        close(dir->fd);
        free(dir->path);
        free(dir->prefix);
        free(dir);
    }
}

/* Removes the file 'name' if nobody has had it since 'oldest'. */
static bool
sweep_file(struct vhost_record_dir *dir, const char *name, time_t oldest)
{
    bool removed = false;
    struct stat s;
    int fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK
                                   | O_NOCTTY | O_CLOEXEC);

    if (fd < 0) {
        return false;
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK) {
            futimens(fd, NULL);
        }
    } else if (!fstat(fd, &s) && S_ISREG(s.st_mode) && s.st_mtime <= oldest) {
        removed = !unlinkat(dir->fd, name, 0);
    }
    close(fd);
    return removed;
}

static bool
has_suffix(const char *name)
{
    size_t n = strlen(name), k = strlen(VHOST_RECORD_SUFFIX);

    return n > k && !strcmp(name + n - k, VHOST_RECORD_SUFFIX);
}

unsigned int
vhost_record_dir_sweep(struct vhost_record_dir *dir, int max_age)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    time_t oldest = time(NULL) - max_age;
    unsigned int n = 0;
    struct dirent *e;

    if (!stream) {
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    while ((e = readdir(stream))) {
        n += has_suffix(e->d_name) && sweep_file(dir, e->d_name, oldest);
    }
    closedir(stream);
    return n;
}
