/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Where a front end or a back end is met: "connect:PATH" or "listen:PATH". */

#ifndef SESSION_ENDPOINT_H
#define SESSION_ENDPOINT_H 1

#include <stdbool.h>

struct endpoint {
    const char *path;
    bool listens;
    int listen_fd;              /* -1: does not listen. */
};

/* Parses 'text'; returns false if it is no endpoint. */
bool endpoint_parse(struct endpoint *, const char *text);

/* Begins to listen, if it is to; replaces a socket that nobody listens on any
 * more.  Ends the program if that fails. */
void endpoint_open(struct endpoint *);

/* Returns a connection, -1 if there is none within 'ms'. */
int endpoint_meet(struct endpoint *, int ms);

/* Removes the listening socket. */
void endpoint_close(struct endpoint *);

#endif /* session/endpoint.h */
