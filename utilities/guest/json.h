/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Writes JSON to the standard output, one value after another. */

#ifndef GUEST_JSON_H
#define GUEST_JSON_H 1

#include <stdbool.h>
#include <stdint.h>

/* 'name' is NULL inside of a list.  'bracket' is '{' or '[', '}' or ']'. */
void json_open(const char *name, char bracket);
void json_close(char bracket);
void json_string(const char *name, const char *value);
void json_number(const char *name, uint64_t value);
void json_real(const char *name, double value);
void json_bool(const char *name, bool value);

/* After the last one. */
void json_end(void);

#endif /* guest/json.h */
