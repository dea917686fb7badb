/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See json.h. */

#include "guest/json.h"

#include <inttypes.h>
#include <stdio.h>

static bool first = true;

static void
quote(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        unsigned char c = *s;

        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20 || c > 0x7e) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void
begin(const char *name)
{
    if (!first) {
        putchar(',');
    }
    first = false;
    if (name) {
        quote(name);
        putchar(':');
    }
}

void
json_open(const char *name, char bracket)
{
    begin(name);
    putchar(bracket);
    first = true;
}

void
json_close(char bracket)
{
    putchar(bracket);
    first = false;
}

void
json_string(const char *name, const char *value)
{
    begin(name);
    quote(value);
}

void
json_number(const char *name, uint64_t value)
{
    begin(name);
    printf("%"PRIu64, value);
}

void
json_real(const char *name, double value)
{
    begin(name);
    printf("%.6f", value);
}

void
json_bool(const char *name, bool value)
{
    begin(name);
    printf(value ? "true" : "false");
}

void
json_end(void)
{
    putchar('\n');
    first = true;
}
