/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Reads the JSON that recordings are made of: objects, lists, strings, true,
 * false and natural numbers below 2^64.  Everything else is an error, since a
 * recording has nothing else.
 *
 * Reference: RFC 8259. */

#ifndef SESSION_JSON_READ_H
#define SESSION_JSON_READ_H 1

#include <stdbool.h>
#include <stdint.h>

enum json_type { JSON_OBJECT, JSON_LIST, JSON_STRING, JSON_NUMBER, JSON_BOOL };

struct json {
    enum json_type type;
    char *name;                 /* In an object, otherwise NULL. */
    char *string;
    uint64_t number;            /* Also 0 or 1 of a JSON_BOOL. */
    unsigned int n;             /* Members of a list or object. */
    struct json *first;         /* The first of them. */
    struct json *next;          /* The next one of the same parent. */
};

/* Parses 'text', which is one value and nothing else.  Returns NULL if it is
 * none; '*error' then says why. */
struct json *json_parse(const char *text, const char **error);
void json_free(struct json *);

/* The member 'name' of an object, NULL if there is none.  Member 'i' of a
 * list. */
const struct json *json_get(const struct json *, const char *name);
const struct json *json_at(const struct json *, unsigned int i);

/* Takes a number, or a string "0x..." that is one. */
bool json_to_u64(const struct json *, uint64_t *);

#endif /* session/json-read.h */
