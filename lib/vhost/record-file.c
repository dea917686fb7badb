/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port's file of crash records.  See record-file.h.
 *
 * The file has a header and then a record for each vring up to the highest one
 * that needed any.  It only grows.
 */

#include "record-file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x73676e697268766f)      /* "ovhrings" */

/* To be changed whenever the meaning of anything in the file changes. */
#define VERSION 1

/* At the start of the file. */
struct header {
    uint64_t magic;             /* Written last. */
    uint32_t version;
    uint32_t record_size;
    uint8_t unused[VHOST_CACHE_LINE - 16];
};

/* Bytes from one record to the next. */
#define RECORD_SIZE ((sizeof(struct vhost_crash_record)                 \
                      + VHOST_CACHE_LINE - 1)                           \
                     / VHOST_CACHE_LINE * VHOST_CACHE_LINE)

/* Bytes of a file with records of 'N' rings. */
#define FILE_SIZE(N) (sizeof(struct header) + (size_t) (N) * RECORD_SIZE)

static bool
fail(struct vhost_record_file *f, const char *why)
{
    snprintf(f->error, sizeof f->error, "%s", why);
    return false;
}

/* Returns the name of the file of 'port', NULL if out of memory.  It has
 * nothing but letters, digits and a few signs, and no dot at the start. */
static char *
make_name(const char *prefix, const char *port)
{
    char *name = malloc(strlen(prefix) + 3 * strlen(port)
                        + sizeof VHOST_RECORD_SUFFIX);
    char *p = name;

    if (!name) {
        return NULL;
    }
    p = stpcpy(p, prefix);
    for (; *port; port++) {
        unsigned char c = *port;

        if ((c < 0x80 && isalnum(c)) || strchr("-_", c)
            || (c == '.' && p != name)) {
            *p++ = c;
        } else {
            p += sprintf(p, "%%%02x", c);
        }
    }
    strcpy(p, VHOST_RECORD_SUFFIX);
    return name;
}

static struct vhost_crash_record *
get_record(const struct vhost_record_file *f, unsigned int idx)
{
    return (void *) (f->map + FILE_SIZE(idx));
}

/* What an opened file is worth. */
enum verdict {
    GOOD,
    BAD,                        /* To be replaced. */
    GONE,                       /* It is not there any more: look again. */
    BUSY,                       /* Somebody else's. */
};

/* Locks the file 'fd' and looks who it belongs to. */
static enum verdict
lock_file(const struct vhost_record_file *f, int fd, struct stat *s)
{
    struct stat now;

    if (flock(fd, LOCK_EX | LOCK_NB)) {
        return BUSY;
    }
    if (fstat(fd, s)) {
        return BAD;
    }

    /* It may have been removed before we had the lock. */
    if (fstatat(f->dir->fd, f->name, &now, AT_SYMLINK_NOFOLLOW)
        || now.st_dev != s->st_dev || now.st_ino != s->st_ino) {
        return GONE;
    }
    return (S_ISREG(s->st_mode) && s->st_uid == geteuid() && s->st_nlink == 1
            && !(s->st_mode & (S_IWGRP | S_IWOTH)) ? GOOD : BAD);
}

/* Checks the header and the size of the file 'fd', and makes sure that it has
 * memory everywhere.  Returns the number of rings, 0 if it is of no use. */
static unsigned int
check_contents(int fd, const struct stat *s)
{
    struct header h;
    size_t n;

    if (s->st_size < (off_t) FILE_SIZE(1)
        || s->st_size > (off_t) FILE_SIZE(VHOST_MAX_VRINGS)
        || pread(fd, &h, sizeof h, 0) != sizeof h
        || h.magic != MAGIC || h.version != VERSION
        || h.record_size != RECORD_SIZE) {
        return 0;
    }
    n = (s->st_size - sizeof h) / RECORD_SIZE;
    return ((off_t) FILE_SIZE(n) == s->st_size
            && !fallocate(fd, 0, 0, s->st_size) ? n : 0);
}

/* Maps 'fd', a file with 'n_rings' records, with room for all that may come.
 * Behind the file's end nothing is touched. */
static bool
take_file(struct vhost_record_file *f, int fd, unsigned int n_rings)
{
    void *p = mmap(NULL, FILE_SIZE(VHOST_MAX_VRINGS), PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        return fail(f, strerror(errno));
    }
    f->fd = fd;
    f->map = p;
    f->n_rings = n_rings;
    return true;
}

/* Opens the existing file.  Returns true if it is in use then.  Otherwise
 * '*verdict' says why not; GOOD stands for a failure that was noted. */
static bool
open_existing(struct vhost_record_file *f, enum verdict *verdict)
{
    unsigned int n_rings;
    struct stat s;
    int fd = openat(f->dir->fd, f->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK
                                         | O_NOCTTY | O_CLOEXEC);

    if (fd < 0) {
        *verdict = errno == ENOENT ? GONE : BAD;
        fail(f, strerror(errno));
        return false;
    }
    *verdict = lock_file(f, fd, &s);
    if (*verdict == GOOD) {
        n_rings = check_contents(fd, &s);
        if (n_rings && take_file(f, fd, n_rings)) {
            return true;
        }
        if (!n_rings) {
            *verdict = BAD;
        }
    }
    close(fd);
    return false;
}

/* Makes a new file, empty so far. */
static bool
make_file(struct vhost_record_file *f)
{
    struct stat s;
    int fd = openat(f->dir->fd, f->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
                                         | O_CLOEXEC, 0600);

    if (fd < 0) {
        return fail(f, strerror(errno));
    }
    if (lock_file(f, fd, &s) != GOOD) {
        fail(f, "another process is using the file");
    } else if (take_file(f, fd, 0)) {
        return true;
    }
    close(fd);
    return false;
}

/* Has the file opened, or made. */
static bool
need_file(struct vhost_record_file *f)
{
    if (f->fd >= 0) {
        return true;
    }
    for (int i = 0; i < 4; i++) {
        enum verdict verdict;

        if (open_existing(f, &verdict)) {
            return true;
        }
        if (verdict == BUSY) {
            return fail(f, "another process is using the file");
        }

        /* The directory is ours, and so is whatever has this name. */
        if (verdict == BAD && unlinkat(f->dir->fd, f->name, 0)) {
            return fail(f, strerror(errno));
        }
        if (verdict == GOOD) {
            return false;
        }
        if (make_file(f)) {
            return true;
        }
    }
    return false;
}

/* Makes the file long enough for 'n_rings'.  All of its memory is there after
 * that, so that no store can fail, and mapped. */
static bool
grow(struct vhost_record_file *f, unsigned int n_rings)
{
    struct header *h = (struct header *) (void *) f->map;
    size_t old = f->n_rings ? FILE_SIZE(f->n_rings) : 0;
    int error;

    do {
        error = fallocate(f->fd, 0, 0, FILE_SIZE(n_rings)) ? errno : 0;
    } while (error == EINTR);
    if (error) {
        return fail(f, strerror(error));
    }
    memset(f->map + old, 0, FILE_SIZE(n_rings) - old);
    f->n_rings = n_rings;
    if (!old) {
        h->version = VERSION;
        h->record_size = RECORD_SIZE;
        atomic_signal_fence(memory_order_seq_cst);
        __atomic_store_n(&h->magic, MAGIC, __ATOMIC_RELAXED);
    }
    return true;
}

void
vhost_record_file_open(struct vhost_record_file *f,
                       struct vhost_record_dir *dir, const char *port)
{
    enum verdict verdict;

    *f = (struct vhost_record_file) { .fd = -1 };
    if (!dir) {
        return;
    }
    f->name = make_name(dir->prefix, port);
    if (f->name && strlen(f->name) <= NAME_MAX) {
        f->dir = dir;
        open_existing(f, &verdict);
        f->error[0] = '\0';
    } else {
        fail(f, f->name ? "the port's name is too long" : "out of memory");
    }
}

struct vhost_crash_record *
vhost_record_file_get(struct vhost_record_file *f, unsigned int idx)
{
    if (!f->dir) {
        return NULL;
    }
    if (!need_file(f) || (idx >= f->n_rings && !grow(f, idx + 1))) {
        vhost_record_file_drop(f);
        return NULL;
    }
    f->error[0] = '\0';
    return get_record(f, idx);
}

void
vhost_record_file_clear(struct vhost_record_file *f, unsigned int idx)
{
    if (idx < f->n_rings) {
        vhost_record_clear(get_record(f, idx));
    }
}

static bool
is_needed(const struct vhost_record_file *f)
{
    for (unsigned int i = 0; i < f->n_rings; i++) {
        if (vhost_record_is_live(get_record(f, i))) {
            return true;
        }
    }
    return false;
}

static void
release(struct vhost_record_file *f)
{
    munmap(f->map, FILE_SIZE(VHOST_MAX_VRINGS));
    close(f->fd);
    f->map = NULL;
    f->fd = -1;
    f->n_rings = 0;
}

void
vhost_record_file_drop(struct vhost_record_file *f)
{
    if (f->fd >= 0 && !is_needed(f)) {
        unlinkat(f->dir->fd, f->name, 0);
        release(f);
    }
}

void
vhost_record_file_close(struct vhost_record_file *f)
{
    vhost_record_file_drop(f);
    if (f->fd >= 0) {
        /* Its age counts from now, see vhost_record_dir_sweep(). */
        futimens(f->fd, NULL);
        release(f);
    }
    free(f->name);
    f->name = NULL;
    f->dir = NULL;
}
