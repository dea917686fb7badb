/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Where crash records (record.h) outlive the process: a file per port, in a
 * directory on tmpfs.
 *
 * Polling threads store into these files, which must neither wait (so never a
 * disk file system, whose write-back makes them) nor fail (so all memory is
 * taken beforehand).  Nobody else may change the files: the directory is the
 * user's own, and a file is locked as long as a process uses it.  All that a
 * file says is checked nevertheless: it may be of another version, or damaged.
 *
 * A file stays when its port is destroyed or the process ends while rings run:
 * whoever comes next needs it.  If nobody does it is removed some time later.
 *
 * For lib/vhost only.  No locks: the event thread, or a control thread while a
 * port is not or no longer the event thread's.
 */

#ifndef VHOST_RECORD_FILE_H
#define VHOST_RECORD_FILE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

/* What the names of all files end with. */
#define VHOST_RECORD_SUFFIX ".rings"

/* A directory of such files. */
struct vhost_record_dir {
    char *path;
    char *prefix;               /* Of the files' names. */
    int fd;
};

/* Opens the directory 'path', which is made if it does not exist, for its
 * owner only.  Returns 0, or a positive errno value and stores in '*errorp' a
 * sentence (NULL if out of memory) that the caller frees: ENOTSUP if it is on
 * a file system that is not fit, EPERM if others could change what is in
 * there.  A directory that was made is removed then. */
int vhost_record_dir_open(const char *path, const char *prefix,
                          struct vhost_record_dir **, char **errorp);

/* 'dir' may be NULL. */
void vhost_record_dir_close(struct vhost_record_dir *dir);

/* Removes the files, of whatever prefix, that no process has had for 'max_age'
 * seconds.  Whoever has files there calls it more often than that, since it is
 * noted in the files' times that they are in use.  Returns how many were
 * removed. */
unsigned int vhost_record_dir_sweep(struct vhost_record_dir *, int max_age);

/* A port's file, which may exist or not. */
struct vhost_record_file {
    struct vhost_record_dir *dir;       /* NULL: records are not kept. */
    char *name;                 /* In 'dir'. */
    int fd;                     /* -1: no file now. */
    uint8_t *map;               /* Room for all rings, as far as there is
                                 * file. */
    unsigned int n_rings;       /* That there is file for. */
    char error[128];            /* Why the last get() failed, "" if not. */
};

/* Initialises 'f' for a port.  Takes over the file of a predecessor, if there
 * is one, so that nobody else does or removes it. */
void vhost_record_file_open(struct vhost_record_file *f,
                            struct vhost_record_dir *dir, const char *port);

/* The record of vring 'idx' < VHOST_MAX_VRINGS: a predecessor's, or one that
 * is not live.  It has its memory and stays where it is until
 * vhost_record_file_drop().  Returns NULL, with 'error' set, if there is none
 * to be had. */
struct vhost_crash_record *vhost_record_file_get(struct vhost_record_file *,
                                                 unsigned int idx);

/* Clears the record of vring 'idx', if it has one. */
void vhost_record_file_clear(struct vhost_record_file *, unsigned int idx);

/* Removes the file unless it has a live record.  Invalidates all records
 * then. */
void vhost_record_file_drop(struct vhost_record_file *);

/* Ends the use of the file, which is removed unless it has a live record. */
void vhost_record_file_close(struct vhost_record_file *);

#endif /* record-file.h */
