/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See json-read.h. */

#include "session/json-read.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session/base.h"

#define MAX_DEPTH 16

struct parser {
    const char *at;
    const char *error;
    unsigned int depth;
};

static struct json *parse_value(struct parser *);

static void
fail(struct parser *p, const char *error)
{
    if (!p->error) {
        p->error = error;
    }
}

static void
skip_space(struct parser *p)
{
    p->at += strspn(p->at, " \t\r\n");
}

/* Takes 'c' if it is next. */
static bool
take(struct parser *p, char c)
{
    skip_space(p);
    if (*p->at != c) {
        return false;
    }
    p->at++;
    return true;
}

/* The character that an escape sequence stands for.  Those beyond ASCII are
 * not needed. */
static char
parse_escape(struct parser *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (*p->at == 'u') {
        char digits[5] = "";
        char *end;
        unsigned long int code;

        memcpy(digits, p->at + 1, strnlen(p->at + 1, 4));
        code = strtoul(digits, &end, 16);
        if (end != digits + 4 || !isxdigit((unsigned char) digits[0])
            || !code || code > 0x7f) {
            fail(p, "unknown \\u escape");
            return '?';
        }
        p->at += 5;
        return code;
    }
    found = *p->at ? strchr(from, *p->at) : NULL;
    if (!found) {
        fail(p, "unknown escape");
        return '?';
    }
    p->at++;
    return to[found - from];
}

static char *
parse_string(struct parser *p)
{
    char *s, *out;

    if (!take(p, '"')) {
        fail(p, "a string is missing");
        return NULL;
    }
    out = s = zero_alloc(strlen(p->at) + 1, 1);
    while (*p->at != '"' && !p->error) {
        if ((unsigned char) *p->at < 0x20) {
            fail(p, "a string does not end");
        } else if (*p->at == '\\') {
            p->at++;
            *out++ = parse_escape(p);
        } else {
            *out++ = *p->at++;
        }
    }
    if (p->error) {
        free(s);
        return NULL;
    }
    p->at++;
    return s;
}

static void
parse_number(struct parser *p, struct json *value)
{
    char *end;

    value->type = JSON_NUMBER;
    errno = 0;
    value->number = strtoull(p->at, &end, 10);
    if (errno || (*p->at == '0' && end != p->at + 1)) {
        fail(p, "bad number");
    }
    p->at = end;
    if (strchr(".eE", *p->at) && *p->at) {
        fail(p, "a number that is no natural one");
    }
}

/* The members of a list or an object up to 'bracket'. */
static void
parse_members(struct parser *p, struct json *parent, char bracket)
{
    struct json **link = &parent->first;

    if (take(p, bracket)) {
        return;
    }
    do {
        char *name = NULL;

        if (parent->type == JSON_OBJECT) {
            name = parse_string(p);
            if (name && !take(p, ':')) {
                fail(p, "':' is missing");
            }
        }
        *link = p->error ? NULL : parse_value(p);
        if (!*link) {
            free(name);
            return;
        }
        (*link)->name = name;
        link = &(*link)->next;
        parent->n++;
    } while (take(p, ','));
    if (!take(p, bracket)) {
        fail(p, "a list or an object does not end");
    }
}

static bool
parse_word(struct parser *p, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(p->at, word, n)) {
        return false;
    }
    p->at += n;
    return true;
}

static struct json *
parse_value(struct parser *p)
{
    struct json *value = zero_alloc(1, sizeof *value);

    skip_space(p);
    if (++p->depth > MAX_DEPTH) {
        fail(p, "too deep");
    } else if (take(p, '{')) {
        value->type = JSON_OBJECT;
        parse_members(p, value, '}');
    } else if (take(p, '[')) {
        value->type = JSON_LIST;
        parse_members(p, value, ']');
    } else if (*p->at == '"') {
        value->type = JSON_STRING;
        value->string = parse_string(p);
    } else if (isdigit((unsigned char) *p->at)) {
        parse_number(p, value);
    } else if (parse_word(p, "true")) {
        value->type = JSON_BOOL;
        value->number = 1;
    } else if (parse_word(p, "false")) {
        value->type = JSON_BOOL;
    } else {
        fail(p, "no value");
    }
    p->depth--;
    if (p->error) {
        json_free(value);
        return NULL;
    }
    return value;
}

struct json *
json_parse(const char *text, const char **error)
{
    struct parser p = { .at = text };
    struct json *value = parse_value(&p);

    skip_space(&p);
    if (value && *p.at) {
        fail(&p, "something comes after the value");
        json_free(value);
        value = NULL;
    }
    *error = p.error;
    return value;
}

void
json_free(struct json *value)
{
    while (value) {
        struct json *next = value->next;

        json_free(value->first);
        free(value->name);
        free(value->string);
        free(value);
        value = next;
    }
}

const struct json *
json_get(const struct json *object, const char *name)
{
    if (!object || object->type != JSON_OBJECT) {
        return NULL;
    }
    for (const struct json *m = object->first; m; m = m->next) {
        if (!strcmp(m->name, name)) {
            return m;
        }
    }
    return NULL;
}

const struct json *
json_at(const struct json *list, unsigned int i)
{
    const struct json *m = list && list->type == JSON_LIST ? list->first
                                                           : NULL;

    while (m && i--) {
        m = m->next;
    }
    return m;
}

bool
json_to_u64(const struct json *value, uint64_t *number)
{
    char *end;

    if (!value) {
        return false;
    }
    if (value->type == JSON_NUMBER) {
        *number = value->number;
        return true;
    }
    if (value->type != JSON_STRING || strncmp(value->string, "0x", 2)
        || !isxdigit((unsigned char) value->string[2])) {
        return false;
    }
    errno = 0;
    *number = strtoull(value->string + 2, &end, 16);
    return !errno && !*end;
}
