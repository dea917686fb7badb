/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The file of a socket that a port listens on: who it belongs to, who may
 * connect, and whether it is still there.
 *
 * Its directory may be one that others can write to, and who is root must not
 * be led to give away a file that somebody has put in the socket's place.  So
 * nothing here follows the socket's path once it is bound: owner and mode are
 * changed through a descriptor of the file itself, which the kernel hands out
 * for the socket, or, where we may not ask for it, which is opened if nobody
 * else can change any directory on the way.  If neither can be had the file
 * stays as it is.
 */

#ifndef VHOST_SOCKET_FILE_H
#define VHOST_SOCKET_FILE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vhost.h"

struct vhost_socket_file {
    bool bound;                 /* There is one, of this identity: */
    dev_t dev;
    ino_t ino;
    int fd;                     /* Of the file (O_PATH), -1: cannot be had. */
    uid_t uid;                  /* As bind() has made it. */
    gid_t gid;
    mode_t mode;
};

/* Makes 'f' that of no file. */
void vhost_socket_file_init(struct vhost_socket_file *f);

/* Finds the file of 'sock', which has just been bound to 'path'. */
void vhost_socket_file_open(struct vhost_socket_file *f, int sock,
                            const char *path);

/* Gives the file the owner and mode of 'access'; what that has not set becomes
 * what it was at first.  Does as much of it as is possible.  Returns true, or
 * false and a sentence in 'error'. */
bool vhost_socket_file_set_access(struct vhost_socket_file *f,
                                  const struct vhost_socket_access *access,
                                  char *error, size_t size);

/* Forgets the file, and removes it from 'path' unless something else is there
 * now. */
void vhost_socket_file_remove(struct vhost_socket_file *f, const char *path);

#endif /* socket-file.h */
