/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See say.h. */

#include "session/say.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/fail.h"

static void
say(const char *format, va_list args)
{
    char text[1024];

    vsnprintf(text, sizeof text, format, args);
    fprintf(stderr, "ovs-vhost-session: %s\n", text);
}

void
warn(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
}

void
die(int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
    exit(status);
}

/* What of libguest.a is used here fails only for want of memory or of
 * descriptors. */
void
fe_failed(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    say(format, args);
    va_end(args);
    exit(EXIT_CANNOT);
}

void *
zero_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (!p) {
        die(EXIT_CANNOT, "no memory");
    }
    return p;
}

void *
more_memory(void *p, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size) {
        die(EXIT_CANNOT, "no memory");
    }
    p = realloc(p, n && size ? n * size : 1);
    if (!p) {
        die(EXIT_CANNOT, "no memory");
    }
    return p;
}

char *
copy_text(const char *text)
{
    size_t n = strlen(text) + 1;

    return memcpy(more_memory(NULL, n, 1), text, n);
}
