/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See base.h. */

#include "session/base.h"

#include <err.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/fail.h"

/* What of libguest.a is used here fails only for want of memory or of
 * descriptors. */
void
fe_failed(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    verrx(EXIT_CANNOT, format, args);
}

void *
zero_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (!p) {
        errx(EXIT_CANNOT, "no memory");
    }
    return p;
}

void *
more_memory(void *p, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size) {
        errx(EXIT_CANNOT, "no memory");
    }
    p = realloc(p, n && size ? n * size : 1);
    if (!p) {
        errx(EXIT_CANNOT, "no memory");
    }
    return p;
}

char *
copy_text(const char *text)
{
    size_t n = strlen(text) + 1;

    return memcpy(more_memory(NULL, n, 1), text, n);
}
