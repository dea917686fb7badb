/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Where failures go, and messages to the user: see catch.h. */

#include "guest/catch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest/fail.h"

static __thread jmp_buf *landing;
static __thread char failure[512];

const char *
attempt(void (*function)(void *), void *aux)
{
    jmp_buf here;

    if (_setjmp(here)) {
        landing = NULL;
        return failure;
    }
    landing = &here;
    function(aux);
    landing = NULL;
    return NULL;
}

void
fe_failed(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(failure, sizeof failure, format, args);
    va_end(args);
    if (!landing) {
        die(EXIT_CANNOT, "%s:%d: %s", file, line, failure);
    }
    _longjmp(*landing, 1);
}

static void
say(const char *format, va_list args)
{
    char text[1024];

    vsnprintf(text, sizeof text, format, args);
    fprintf(stderr, "ovs-vhost-guest: %s\n", text);
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
