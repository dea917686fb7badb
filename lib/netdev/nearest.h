/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What may have been meant by a name that does not exist.  Knows nothing else,
 * so that a unit test can have it.
 */

#ifndef NETDEV_VHOST_NEAREST_H
#define NETDEV_VHOST_NEAREST_H 1

#include <limits.h>

/* How many letters have to be changed, added, left out, or exchanged with
 * their neighbour, to make 'b' of 'a'.  Capitals, and '_' for '-', do not
 * count.  Names that are too long for a guess are INT_MAX apart. */
int name_distance(const char *a, const char *b);

/* The best guess so far.  { NULL, INT_MAX } at first. */
struct nearest {
    const char *name;
    int distance;
};

/* Considers whether 'name' was meant by 'typed'.  It has to have most letters
 * in common with it. */
void nearest_consider(struct nearest *, const char *typed, const char *name);

#endif /* nearest.h */
