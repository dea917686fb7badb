/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The copy loops for CPUs with AVX2.
 */

#ifdef __x86_64__
#pragma GCC target("avx2")

#define COPY_VARIANT vhost_copy_avx2
#define COPY_NAME "avx2"
#include "copy.h"
#endif
