/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See recording.h. */

#include "session/recording.h"

#include <err.h>
#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/json.h"
#include "session/json-read.h"
#include "session/base.h"

#define FORMAT "ovs-vhost-session"

static const char *const event_names[N_EVENTS] = {
    [EVENT_CONNECT] = "connect",
    [EVENT_CLOSE] = "close",
    [EVENT_MESSAGE] = "message",
    [EVENT_CHANNEL] = "channel",
    [EVENT_START] = "start",
    [EVENT_OFFER] = "offer",
    [EVENT_USED] = "used",
    [EVENT_END] = "end",
};

/* Writing. */

void
recording_write_header(const char *front_end, const char *back_end,
                       const char *note)
{
    json_open(NULL, '{');
    json_string("format", FORMAT);
    json_number("version", RECORDING_VERSION);
    json_string("front_end", front_end);
    json_string("back_end", back_end);
    json_string("note", note);
    json_close('}');
    json_end();
}

static void
begin_event(uint64_t t, enum event_kind kind)
{
    json_open(NULL, '{');
    json_number("t", t);
    json_string("event", event_names[kind]);
}

static void
end_event(void)
{
    json_close('}');
    json_end();
}

static void
write_address(uint64_t address)
{
    char text[20];

    snprintf(text, sizeof text, "0x%"PRIx64, address);
    json_string(NULL, text);
}

static void
write_desc(const char *name, const struct chain_desc *d)
{
    json_open(name, '[');
    json_number(NULL, d->id);
    write_address(d->addr);
    json_number(NULL, d->len);
    json_number(NULL, d->flags);
    json_close(']');
}

static void
write_chain(const struct chain *c)
{
    json_open(NULL, '{');
    json_number("id", c->id);
    if (c->late) {
        json_bool("late", true);
    }
    if (c->indirect) {
        write_desc("table", &c->table);
    }
    json_open("descs", '[');
    for (unsigned int i = 0; i < c->n; i++) {
        write_desc(NULL, &c->descs[i]);
    }
    json_close(']');
    if (c->header_len) {
        char text[2 * sizeof c->header + 1];

        for (unsigned int i = 0; i < c->header_len; i++) {
            sprintf(text + 2 * i, "%02x", c->header[i]);
        }
        json_string("header", text);
    }
    json_close('}');
}

static void
write_start(const struct event *e)
{
    json_number("ring", e->ring);
    json_number("size", e->size);
    json_string("format", e->packed ? "packed" : "split");
    json_number("avail", e->avail);
    json_number("used", e->used_idx);
}

static void
write_entries(const struct event *e)
{
    json_number("ring", e->ring);
    json_number("at", e->at);
    json_open(e->kind == EVENT_OFFER ? "chains" : "entries", '[');
    for (unsigned int i = 0; i < e->n; i++) {
        if (e->kind == EVENT_OFFER) {
            write_chain(&e->chains[i]);
            continue;
        }
        json_open(NULL, '[');
        json_number(NULL, e->used[i].id);
        json_number(NULL, e->used[i].len);
        json_close(']');
    }
    json_close(']');
}

void
recording_write(const struct event *e)
{
    begin_event(e->t, e->kind);
    switch (e->kind) {
    case EVENT_CLOSE:
        json_string("by", e->front ? "front" : "back");
        break;
    case EVENT_MESSAGE:
    case EVENT_CHANNEL:
        json_string("from", e->front ? "front" : "back");
        message_write(e->kind == EVENT_MESSAGE ? CHANNEL_MAIN : CHANNEL_BACK,
                      &e->msg);
        break;
    case EVENT_START:
        write_start(e);
        break;
    case EVENT_OFFER:
    case EVENT_USED:
        write_entries(e);
        break;
    case EVENT_CONNECT:
    case EVENT_END:
    case N_EVENTS:
        break;
    }
    end_event();
}

void
recording_write_end(uint64_t t, uint64_t messages, uint64_t left_out,
                    const struct ring_totals rings[], unsigned int n)
{
    begin_event(t, EVENT_END);
    json_number("messages", messages);
    json_number("left_out", left_out);
    json_open("rings", '[');
    for (unsigned int i = 0; i < n; i++) {
        json_open(NULL, '{');
        json_number("ring", rings[i].ring);
        json_number("chains", rings[i].chains);
        json_number("recorded", rings[i].recorded);
        json_number("late", rings[i].late);
        json_number("missed", rings[i].missed);
        json_number("bad", rings[i].bad);
        json_close('}');
    }
    json_close(']');
    end_event();
}

/* Reading. */

/* Takes the number 'name', at most 'max'. */
static const char *
read_number(const struct json *object, const char *name, uint64_t max,
            uint64_t *value)
{
    static char error[80];

    if (!json_to_u64(json_get(object, name), value) || *value > max) {
        snprintf(error, sizeof error, "no \"%s\", or a bad one", name);
        return error;
    }
    return NULL;
}

static const char *
read_unsigned(const struct json *object, const char *name, unsigned int max,
              unsigned int *value)
{
    uint64_t number = 0;
    const char *error = read_number(object, name, max, &number);

    *value = number;
    return error;
}

static bool
read_desc(const struct json *list, struct chain_desc *d)
{
    uint64_t id, len, flags;

    if (!list || list->type != JSON_LIST || list->n != 4
        || !json_to_u64(json_at(list, 0), &id) || id >= MAX_RING_SIZE
        || !json_to_u64(json_at(list, 1), &d->addr)
        || !json_to_u64(json_at(list, 2), &len) || len > UINT32_MAX
        || !json_to_u64(json_at(list, 3), &flags) || flags > UINT16_MAX) {
        return false;
    }
    d->id = id;
    d->len = len;
    d->flags = flags;
    return true;
}

static bool
read_header_bytes(const struct json *value, struct chain *c)
{
    size_t n;

    if (!value) {
        return true;
    }
    if (value->type != JSON_STRING) {
        return false;
    }
    n = strlen(value->string);
    if (n % 2 || n > 2 * sizeof c->header
        || strspn(value->string, "0123456789abcdef") != n) {
        return false;
    }
    c->header_len = n / 2;
    for (unsigned int i = 0; i < c->header_len; i++) {
        char digits[3] = { value->string[2 * i], value->string[2 * i + 1] };

        c->header[i] = strtoul(digits, NULL, 16);
    }
    return true;
}

static const char *
read_chain(const struct json *object, struct chain *c)
{
    const struct json *descs = json_get(object, "descs");
    const struct json *table = json_get(object, "table");
    const struct json *late = json_get(object, "late");
    const char *error = read_unsigned(object, "id", UINT16_MAX, &c->id);

    if (error) {
        return error;
    }
    if (!descs || descs->type != JSON_LIST || !descs->n
        || (table && !read_desc(table, &c->table))) {
        return "a chain without descriptors";
    }
    c->late = late && late->number;
    c->indirect = table != NULL;
    c->n = descs->n;
    c->descs = zero_alloc(c->n, sizeof *c->descs);
    for (unsigned int i = 0; i < c->n; i++) {
        if (!read_desc(json_at(descs, i), &c->descs[i])) {
            return "a bad descriptor";
        }
    }
    return read_header_bytes(json_get(object, "header"), c)
           ? NULL : "a bad header";
}

static const char *
read_chains(const struct json *list, struct event *e)
{
    const char *error = NULL;

    if (!list || list->type != JSON_LIST) {
        return "no chains";
    }
    e->n = list->n;
    e->chains = zero_alloc(e->n, sizeof *e->chains);
    for (unsigned int i = 0; i < e->n && !error; i++) {
        error = read_chain(json_at(list, i), &e->chains[i]);
    }
    return error;
}

static const char *
read_used(const struct json *list, struct event *e)
{
    if (!list || list->type != JSON_LIST) {
        return "no entries";
    }
    e->n = list->n;
    e->used = zero_alloc(e->n, sizeof *e->used);
    for (unsigned int i = 0; i < e->n; i++) {
        const struct json *entry = json_at(list, i);
        uint64_t id, len;

        if (!json_to_u64(json_at(entry, 0), &id) || id > UINT32_MAX
            || !json_to_u64(json_at(entry, 1), &len) || len > UINT32_MAX) {
            return "a bad entry";
        }
        e->used[i].id = id;
        e->used[i].len = len;
    }
    return NULL;
}

static const char *
read_start(const struct json *object, struct event *e)
{
    const struct json *format = json_get(object, "format");
    const char *error;

    if (!format || format->type != JSON_STRING
        || (strcmp(format->string, "split")
            && strcmp(format->string, "packed"))) {
        return "no format";
    }
    e->packed = !strcmp(format->string, "packed");
    error = read_unsigned(object, "size", MAX_RING_SIZE, &e->size);
    if (!error) {
        error = read_unsigned(object, "avail", UINT16_MAX, &e->avail);
    }
    return error ? error
                 : read_unsigned(object, "used", UINT16_MAX, &e->used_idx);
}

static const char *
read_side(const struct json *object, const char *name, bool *front)
{
    const struct json *side = json_get(object, name);

    if (!side || side->type != JSON_STRING
        || (strcmp(side->string, "front") && strcmp(side->string, "back"))) {
        return "nothing says who did it";
    }
    *front = !strcmp(side->string, "front");
    return NULL;
}

static const char *
read_ring_event(const struct json *object, struct event *e)
{
    const char *error = read_unsigned(object, "ring", MAX_RINGS - 1, &e->ring);

    if (error) {
        return error;
    }
    if (e->kind == EVENT_START) {
        return read_start(object, e);
    }
    error = read_unsigned(object, "at", UINT16_MAX, &e->at);
    if (error) {
        return error;
    }
    return e->kind == EVENT_OFFER
           ? read_chains(json_get(object, "chains"), e)
           : read_used(json_get(object, "entries"), e);
}

static const char *
read_event_kind(const struct json *object, enum event_kind *kind)
{
    const struct json *name = json_get(object, "event");

    for (int i = 0; name && name->type == JSON_STRING && i < N_EVENTS; i++) {
        if (!strcmp(name->string, event_names[i])) {
            *kind = i;
            return NULL;
        }
    }
    return "no event, or an unknown one";
}

static const char *
read_event(const struct json *object, struct event *e)
{
    const char *error = read_event_kind(object, &e->kind);

    if (!error) {
        error = read_number(object, "t", UINT64_MAX / 1000, &e->t);
    }
    if (error) {
        return error;
    }
    switch (e->kind) {
    case EVENT_CLOSE:
        return read_side(object, "by", &e->front);
    case EVENT_MESSAGE:
    case EVENT_CHANNEL:
        error = read_side(object, "from", &e->front);
        return error ? error : message_read(e->kind == EVENT_MESSAGE
                                            ? CHANNEL_MAIN : CHANNEL_BACK,
                                            object, &e->msg);
    case EVENT_START:
    case EVENT_OFFER:
    case EVENT_USED:
        return read_ring_event(object, e);
    case EVENT_CONNECT:
    case EVENT_END:
    case N_EVENTS:
        break;
    }
    return NULL;
}

static char *
read_text(const struct json *object, const char *name)
{
    const struct json *value = json_get(object, name);

    return copy_text(value && value->type == JSON_STRING ? value->string : "");
}

static const char *
read_header(const struct json *object, struct recording *r)
{
    const struct json *format = json_get(object, "format");
    uint64_t version;

    if (!format || format->type != JSON_STRING
        || strcmp(format->string, FORMAT)) {
        return "this is no recording of ovs-vhost-session";
    }
    if (!json_to_u64(json_get(object, "version"), &version)
        || version != RECORDING_VERSION) {
        return "this version of the format is unknown";
    }
    r->front_end = read_text(object, "front_end");
    r->back_end = read_text(object, "back_end");
    r->note = read_text(object, "note");
    return NULL;
}

/* Adds an event to 'r'. */
static struct event *
new_event(struct recording *r, unsigned int line)
{
    struct event *e;

    if (!(r->n & (r->n - 1))) {
        r->events = more_memory(r->events, r->n ? 2 * (size_t) r->n : 1,
                                sizeof *r->events);
    }
    e = &r->events[r->n++];
    memset(e, 0, sizeof *e);
    e->line = line;
    return e;
}

static void
read_line(struct recording *r, const char *text, unsigned int line)
{
    const char *error;
    struct json *value = json_parse(text, &error);

    if (value && value->type != JSON_OBJECT) {
        error = "no object";
    } else if (value && line == 1) {
        error = read_header(value, r);
    } else if (value && r->n && r->events[r->n - 1].kind == EVENT_END) {
        error = "there is something after the end";
    } else if (value) {
        error = read_event(value, new_event(r, line));
    }
    json_free(value);
    if (error) {
        errx(EXIT_CANNOT, "%s:%u: %s", r->path, line, error);
    }
}

void
recording_read(struct recording *r, const char *path)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
    unsigned int line = 0;
    char *text = NULL;
    size_t allocated;

    memset(r, 0, sizeof *r);
    r->path = path;
    if (!file) {
        errx(EXIT_CANNOT, "%s: %s", path, strerror(errno));
    }
    while (getline(&text, &allocated, file) >= 0) {
        read_line(r, text, ++line);
    }
    if (ferror(file)) {
        errx(EXIT_CANNOT, "%s: %s", path, strerror(errno));
    }
    free(text);
    if (file != stdin) {
        fclose(file);
    }
    if (!r->n || r->events[r->n - 1].kind != EVENT_END) {
        errx(EXIT_CANNOT, "%s: the recording has no end", path);
    }
}

void
recording_free(struct recording *r)
{
    for (unsigned int i = 0; i < r->n; i++) {
        struct event *e = &r->events[i];

        message_free(&e->msg);
        for (unsigned int j = 0; e->chains && j < e->n; j++) {
            free(e->chains[j].descs);
        }
        free(e->chains);
        free(e->used);
    }
    free(r->events);
    free(r->front_end);
    free(r->back_end);
    free(r->note);
}
