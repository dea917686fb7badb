/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * For people who look at guest memory: what its files are called, and how much
 * of it the kernel has pages for.  Nothing here touches the memory.
 */

#ifndef VHOST_RESIDENCY_H
#define VHOST_RESIDENCY_H 1

#include <stdbool.h>
#include <stdint.h>

#include "vhost.h"

struct vhost_region;

/* Stores the name that the kernel has for 'fd', which asks nothing of what is
 * behind it.  Names are whatever the peer chose: only what can be printed is
 * taken over. */
void vhost_file_name(int fd, char name[VHOST_FILE_NAME]);

/* Bytes of 'r' that are in memory, found by a look at about 'max_pages' pages
 * of 4 KiB.  If it has more, that is an estimate, and '*exact' false.  Takes
 * some ten nanoseconds for each page. */
uint64_t vhost_region_resident(const struct vhost_region *r,
                               uint64_t max_pages, bool *exact);

#endif /* residency.h */
