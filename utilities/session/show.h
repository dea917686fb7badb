/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Prints a recording for people. */

#ifndef SESSION_SHOW_H
#define SESSION_SHOW_H 1

#include <stdbool.h>

/* Prints each chain if 'verbose', otherwise their number.  Returns the exit
 * status. */
int show(const char *path, bool verbose);

#endif /* session/show.h */
