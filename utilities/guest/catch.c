/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Where failures go: see catch.h. */

#include "guest/catch.h"

#include <err.h>
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
        errx(EXIT_CANNOT, "%s:%d: %s", file, line, failure);
    }
    _longjmp(*landing, 1);
}
