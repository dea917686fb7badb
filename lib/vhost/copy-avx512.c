/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The copy loops for CPUs with AVX-512 (F, BW, VL).
 */

#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512vl")

#define COPY_VARIANT vhost_copy_avx512
#define COPY_NAME "avx512"
#include "copy.h"
#endif
