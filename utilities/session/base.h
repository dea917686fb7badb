/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the files of ovs-vhost-session share: how it ends, by errx(3), and
 * memory. */

#ifndef SESSION_BASE_H
#define SESSION_BASE_H 1

#include <stddef.h>

enum exit_status {
    EXIT_OK = 0,
    EXIT_DIFFERENT = 1,         /* The back end did not do what it should. */
    EXIT_USAGE = 2,             /* Wrong options. */
    EXIT_CANNOT = 3,            /* No recording, no connection, no memory. */
};

/* Memory that is never NULL; zero_alloc()'s is zeroed, copy_text()'s a copy of
 * 'text'. */
void *zero_alloc(size_t n, size_t size);
void *more_memory(void *, size_t n, size_t size);
char *copy_text(const char *text);

#endif /* session/base.h */
