/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * How ovs-vhost-session ends and what it says to its user. */

#ifndef SESSION_SAY_H
#define SESSION_SAY_H 1

#include <stddef.h>

enum exit_status {
    EXIT_OK = 0,
    EXIT_DIFFERENT = 1,         /* The back end did not do what it should. */
    EXIT_USAGE = 2,             /* Wrong options. */
    EXIT_CANNOT = 3,            /* No recording, no connection, no memory. */
};

/* Prints "ovs-vhost-session: ..." to the standard error; die() then ends the
 * program. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void die(int status, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

/* Memory that is never NULL; zero_alloc()'s is zeroed, copy_text()'s a copy of
 * 'text'. */
void *zero_alloc(size_t n, size_t size);
void *more_memory(void *, size_t n, size_t size);
char *copy_text(const char *text);

#endif /* session/say.h */
