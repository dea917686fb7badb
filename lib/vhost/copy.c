/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The copy loops for any CPU, and the choice of the variant that fits this
 * one.
 */

#define COPY_VARIANT vhost_copy_portable
#define COPY_NAME "portable"
#include "copy.h"

#include <stdlib.h>

extern const struct vhost_copy vhost_copy_avx2;
extern const struct vhost_copy vhost_copy_avx512;

const struct vhost_copy *vhost_copy = &vhost_copy_portable;

bool
vhost_copy_select(const char *name)
{
    const struct vhost_copy *found[3];
    unsigned int n = 0;

#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512vl")) {
        found[n++] = &vhost_copy_avx512;
    }
    if (__builtin_cpu_supports("avx2")) {
        found[n++] = &vhost_copy_avx2;
    }
#endif
    found[n++] = &vhost_copy_portable;
    for (unsigned int i = 0; i < n; i++) {
        if (!name || !strcmp(name, found[i]->name)) {
            vhost_copy = found[i];
            return true;
        }
    }
    return false;
}

void
vhost_copy_init(void)
{
    if (!vhost_copy_select(getenv("OVS_VHOST_COPY"))) {
        vhost_copy_select(NULL);
    }
}
