/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See message.h. */

#include "session/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/json.h"
#include "session/json-read.h"
#include "session/base.h"

/* Forms of payloads. */

struct field {
    const char *name;
    uint8_t offset;
    uint8_t width;              /* 0: there is no such field. */
    bool hex;
};

struct form {
    uint32_t size;
    struct field fields[6];
};

static const struct form value_form = {
    8, { { "value", 0, 8, true } }
};
static const struct form count_form = {
    8, { { "value", 0, 8, false } }
};
static const struct form state_form = {
    8, { { "index", 0, 4, false }, { "num", 4, 4, false } }
};
static const struct form address_form = {
    40, { { "index", 0, 4, false }, { "address_flags", 4, 4, false },
          { "desc", 8, 8, true }, { "used", 16, 8, true },
          { "avail", 24, 8, true }, { "log", 32, 8, true } }
};
/* An index below 256, and the bit that says that there is no descriptor. */
static const struct form vring_fd_form = {
    8, { { "index", 0, 1, false }, { "nofd", 1, 1, false } }
};
static const struct form log_form = {
    16, { { "size", 0, 8, true }, { "offset", 8, 8, true } }
};
static const struct form region_form = {
    40, { { "padding", 0, 8, true }, { "guest", 8, 8, true },
          { "size", 16, 8, true }, { "user", 24, 8, true },
          { "offset", 32, 8, true } }
};
static const struct form iotlb_form = {
    32, { { "iova", 0, 8, true }, { "size", 8, 8, true },
          { "user", 16, 8, true }, { "perm", 24, 1, false },
          { "type", 25, 1, false } }
};
static const struct form table_region_form = {
    32, { { "guest", 0, 8, true }, { "size", 8, 8, true },
          { "user", 16, 8, true }, { "offset", 24, 8, true } }
};
#define MAX_FIELDS (sizeof ((struct form *) 0)->fields \
                    / sizeof (struct field))

/* Requests. */

struct request {
    const char *name;           /* NULL: unknown. */
    const struct form *form;    /* Of the request. */
    const struct form *answer;  /* NULL: acknowledged only if asked to. */
    uint64_t needs;
};

#define P(BIT) (UINT64_C(1) << (BIT))

static const struct request main_requests[] = {
    [FE_GET_FEATURES] = { "GET_FEATURES", NULL, &value_form, 0 },
    [FE_SET_FEATURES] = { "SET_FEATURES", &value_form, NULL, 0 },
    [FE_SET_OWNER] = { "SET_OWNER", NULL, NULL, 0 },
    [FE_RESET_OWNER] = { "RESET_OWNER", NULL, NULL, 0 },
    [FE_SET_MEM_TABLE] = { "SET_MEM_TABLE", NULL, NULL, 0 },
    [FE_SET_LOG_BASE] = { "SET_LOG_BASE", &log_form, &value_form,
                          FE_P_LOG_SHMFD },
    [FE_SET_LOG_FD] = { "SET_LOG_FD", NULL, NULL, 0 },
    [FE_SET_VRING_NUM] = { "SET_VRING_NUM", &state_form, NULL, 0 },
    [FE_SET_VRING_ADDR] = { "SET_VRING_ADDR", &address_form, NULL, 0 },
    [FE_SET_VRING_BASE] = { "SET_VRING_BASE", &state_form, NULL, 0 },
    [FE_GET_VRING_BASE] = { "GET_VRING_BASE", &state_form, &state_form, 0 },
    [FE_SET_VRING_KICK] = { "SET_VRING_KICK", &vring_fd_form, NULL, 0 },
    [FE_SET_VRING_CALL] = { "SET_VRING_CALL", &vring_fd_form, NULL, 0 },
    [FE_SET_VRING_ERR] = { "SET_VRING_ERR", &vring_fd_form, NULL, 0 },
    [FE_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", NULL, &value_form,
                                   0 },
    [FE_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", &value_form, NULL,
                                   0 },
    [FE_GET_QUEUE_NUM] = { "GET_QUEUE_NUM", NULL, &count_form, FE_P_MQ },
    [FE_SET_VRING_ENABLE] = { "SET_VRING_ENABLE", &state_form, NULL, 0 },
    [FE_SEND_RARP] = { "SEND_RARP", &value_form, NULL, FE_P_RARP },
    [FE_NET_SET_MTU] = { "NET_SET_MTU", &count_form, NULL, FE_P_NET_MTU },
    [FE_SET_BACKEND_REQ_FD] = { "SET_BACKEND_REQ_FD", NULL, NULL,
                                FE_P_BACKEND_REQ },
    [FE_IOTLB_MSG] = { "IOTLB_MSG", &iotlb_form, NULL, 0 },
    [23] = { "SET_VRING_ENDIAN", &state_form, NULL, P(6) },
    [REQ_GET_CONFIG] = { "GET_CONFIG", NULL, NULL, P(9) },
    [REQ_SET_CONFIG] = { "SET_CONFIG", NULL, NULL, P(9) },
    [28] = { "POSTCOPY_ADVISE", NULL, NULL, P(8) },
    [29] = { "POSTCOPY_LISTEN", NULL, NULL, P(8) },
    [30] = { "POSTCOPY_END", NULL, &value_form, P(8) },
    [REQ_GET_INFLIGHT_FD] = { "GET_INFLIGHT_FD", NULL, NULL, P(12) },
    [REQ_SET_INFLIGHT_FD] = { "SET_INFLIGHT_FD", NULL, NULL, P(12) },
    [REQ_RESET_DEVICE] = { "RESET_DEVICE", NULL, NULL, P(13) },
    [35] = { "VRING_KICK", &state_form, NULL, P(14) },
    [REQ_GET_MAX_MEM_SLOTS] = { "GET_MAX_MEM_SLOTS", NULL, &count_form,
                                P(15) },
    [REQ_ADD_MEM_REG] = { "ADD_MEM_REG", &region_form, NULL, P(15) },
    [REQ_REM_MEM_REG] = { "REM_MEM_REG", &region_form, NULL, P(15) },
    [FE_SET_STATUS] = { "SET_STATUS", &value_form, NULL, FE_P_STATUS },
    [FE_GET_STATUS] = { "GET_STATUS", NULL, &value_form, FE_P_STATUS },
    [42] = { "SET_DEVICE_STATE_FD", NULL, &value_form, P(19) },
    [43] = { "CHECK_DEVICE_STATE", NULL, &value_form, P(19) },
};

static const struct request back_requests[] = {
    [1] = { "IOTLB_MSG", &iotlb_form, NULL, 0 },
    [2] = { "CONFIG_CHANGE", NULL, NULL, 0 },
    [3] = { "VRING_HOST_NOTIFIER", NULL, NULL, 0 },
    [4] = { "VRING_CALL", &state_form, NULL, 0 },
    [5] = { "VRING_ERR", &state_form, NULL, 0 },
};

#define N_MAIN (sizeof main_requests / sizeof *main_requests)
#define N_BACK (sizeof back_requests / sizeof *back_requests)

static const char *const fd_kinds[] = {
    [FD_MEMORY] = "memory",
    [FD_EVENT] = "eventfd",
    [FD_SOCKET] = "socket",
    [FD_OTHER] = "other",
};
#define N_FD_KINDS (sizeof fd_kinds / sizeof *fd_kinds)

static const struct request *
find_request(enum channel channel, uint32_t number)
{
    static const struct request unknown;

    if (channel == CHANNEL_MAIN) {
        return number < N_MAIN ? &main_requests[number] : &unknown;
    }
    return number < N_BACK ? &back_requests[number] : &unknown;
}

const char *
request_name(enum channel channel, uint32_t number)
{
    const struct request *r = find_request(channel, number);
    static char text[16];

    if (r->name) {
        return r->name;
    }
    snprintf(text, sizeof text, "%"PRIu32, number);
    return text;
}

bool
request_number(enum channel channel, const char *name, uint32_t *number)
{
    unsigned long int n;
    char *end;

    for (uint32_t i = 0; i < N_MAIN; i++) {
        const struct request *r = find_request(channel, i);

        if (r->name && !strcmp(r->name, name)) {
            *number = i;
            return true;
        }
    }
    n = strtoul(name, &end, 10);
    *number = n;
    return *name && !*end && n <= UINT32_MAX;
}

const char *
fd_kind_name(enum fd_kind kind)
{
    return fd_kinds[kind];
}

bool
request_asks(uint32_t request)
{
    return find_request(CHANNEL_MAIN, request)->answer
           || request == REQ_GET_CONFIG || request == REQ_GET_INFLIGHT_FD;
}

uint64_t
request_needs(uint32_t request)
{
    return find_request(CHANNEL_MAIN, request)->needs;
}

/* The form that the payload should have; NULL if none is known.  All
 * acknowledgements are one number. */
static const struct form *
usual_form(enum channel channel, const struct message *m)
{
    const struct request *r = find_request(channel, m->request);

    if (m->flags & FE_REPLY) {
        return r->answer ? r->answer : &value_form;
    }
    return r->form;
}

static bool
is_table(enum channel channel, const struct message *m)
{
    return channel == CHANNEL_MAIN && m->request == FE_SET_MEM_TABLE
           && !(m->flags & FE_REPLY);
}

/* Fields. */

static uint64_t
get_field(const uint8_t *data, const struct field *f)
{
    uint64_t value = 0;

    memcpy(&value, data + f->offset, f->width);
    return value;
}

static void
write_hex(const char *name, uint64_t value)
{
    char text[20];

    snprintf(text, sizeof text, "0x%"PRIx64, value);
    json_string(name, text);
}

/* True if the message's payload is of form 'form' and nothing else. */
static bool
fits(const struct form *form, const struct message *m)
{
    uint8_t copy[64];

    if (!form || form->size != m->size) {
        return false;
    }
    memcpy(copy, m->payload, form->size);
    for (unsigned int i = 0; i < MAX_FIELDS; i++) {
        memset(copy + form->fields[i].offset, 0, form->fields[i].width);
    }
    for (unsigned int i = 0; i < form->size; i++) {
        if (copy[i]) {
            return false;
        }
    }
    return true;
}

static void
write_form(const struct form *form, const uint8_t *data)
{
    for (unsigned int i = 0; i < MAX_FIELDS; i++) {
        const struct field *f = &form->fields[i];

        if (f->width && f->hex) {
            write_hex(f->name, get_field(data, f));
        } else if (f->width) {
            json_number(f->name, get_field(data, f));
        }
    }
}

static const char *
read_form(const struct form *form, const struct json *object, uint8_t *data)
{
    for (unsigned int i = 0; i < MAX_FIELDS; i++) {
        const struct field *f = &form->fields[i];
        uint64_t value;

        if (!f->width) {
            break;
        }
        if (!json_to_u64(json_get(object, f->name), &value)) {
            return "a field of the payload is missing or no number";
        }
        if (f->width < 8 && value >> 8 * f->width) {
            return "a field of the payload is too large";
        }
        memcpy(data + f->offset, &value, f->width);
    }
    return NULL;
}

/* True if the message is a SET_MEM_TABLE with nothing unusual in it. */
static bool
is_plain_table(enum channel channel, const struct message *m)
{
    uint32_t head[2];

    if (!is_table(channel, m) || m->size < sizeof head) {
        return false;
    }
    memcpy(head, m->payload, sizeof head);
    return !head[1] && head[0] <= FE_MAX_REGIONS
           && m->size == FE_MEM_TABLE_SIZE(head[0]);
}

static void
write_table(const struct message *m)
{
    json_open("regions", '[');
    for (uint32_t at = 8; at < m->size; at += table_region_form.size) {
        json_open(NULL, '{');
        write_form(&table_region_form, m->payload + at);
        json_close('}');
    }
    json_close(']');
}

static const char *
read_table(const struct json *regions, struct message *m)
{
    uint32_t n = regions->n;

    if (n > FE_MAX_REGIONS) {
        return "too many regions";
    }
    m->size = FE_MEM_TABLE_SIZE(n);
    m->payload = zero_alloc(m->size, 1);
    memcpy(m->payload, &n, sizeof n);
    for (uint32_t i = 0; i < n; i++) {
        const char *error = read_form(&table_region_form, json_at(regions, i),
                                      m->payload + FE_MEM_TABLE_SIZE(i));

        if (error) {
            return error;
        }
    }
    return NULL;
}

/* Bytes that have no form. */

static void
write_bytes(const char *name, const uint8_t *data, size_t n)
{
    char *text = zero_alloc(2 * n + 1, 1);

    for (size_t i = 0; i < n; i++) {
        sprintf(text + 2 * i, "%02x", data[i]);
    }
    json_string(name, text);
    free(text);
}

static const char *
read_bytes(const char *text, struct message *m)
{
    size_t n = strlen(text) / 2;

    if (strlen(text) % 2 || n > MAX_PAYLOAD
        || strspn(text, "0123456789abcdef") != 2 * n) {
        return "the payload is not made of hexadecimal bytes";
    }
    m->size = n;
    m->payload = zero_alloc(n, 1);
    for (size_t i = 0; i < n; i++) {
        char digits[3] = { text[2 * i], text[2 * i + 1] };

        m->payload[i] = strtoul(digits, NULL, 16);
    }
    return NULL;
}

/* Descriptors. */

static void
write_fds(const struct message *m)
{
    if (!m->n_fds) {
        return;
    }
    json_open("fds", '[');
    for (unsigned int i = 0; i < m->n_fds; i++) {
        json_open(NULL, '{');
        json_string("kind", fd_kind_name(m->fds[i].kind));
        if (m->fds[i].kind == FD_MEMORY) {
            json_number("file", m->fds[i].file);
            json_number("size", m->fds[i].size);
        }
        json_close('}');
    }
    json_close(']');
}

static const char *
read_fd(const struct json *object, struct fd_info *fd)
{
    const struct json *kind = json_get(object, "kind");
    uint64_t file = FD_NO_FILE;
    unsigned int i;

    for (i = 0; i < N_FD_KINDS; i++) {
        if (kind && kind->type == JSON_STRING
            && !strcmp(kind->string, fd_kinds[i])) {
            break;
        }
    }
    if (i == N_FD_KINDS) {
        return "a descriptor of unknown kind";
    }
    fd->kind = i;
    if (fd->kind == FD_MEMORY
        && (!json_to_u64(json_get(object, "file"), &file) || file > 255
            || !json_to_u64(json_get(object, "size"), &fd->size))) {
        return "a memory file without number or size";
    }
    fd->file = file;
    return NULL;
}

static const char *
read_fds(const struct json *list, struct message *m)
{
    const char *error = NULL;

    if (!list) {
        return NULL;
    }
    if (list->type != JSON_LIST || list->n > MAX_FDS) {
        return "bad list of descriptors";
    }
    m->n_fds = list->n;
    m->fds = zero_alloc(list->n, sizeof *m->fds);
    for (unsigned int i = 0; i < list->n && !error; i++) {
        error = read_fd(json_at(list, i), &m->fds[i]);
    }
    return error;
}

/* Whole messages. */

void
message_write(enum channel channel, const struct message *m)
{
    const struct form *form = usual_form(channel, m);

    json_string("request", request_name(channel, m->request));
    json_number("flags", m->flags);
    if (is_plain_table(channel, m)) {
        write_table(m);
    } else if (fits(form, m)) {
        write_form(form, m->payload);
    } else if (m->size || form || is_table(channel, m)) {
        write_bytes("payload", m->payload, m->size);
    }
    write_fds(m);
}

static const char *
read_payload(enum channel channel, const struct json *object,
             struct message *m)
{
    const struct json *bytes = json_get(object, "payload");
    const struct json *regions = json_get(object, "regions");
    const struct form *form = usual_form(channel, m);

    if (bytes && bytes->type == JSON_STRING) {
        return read_bytes(bytes->string, m);
    }
    if (is_table(channel, m)) {
        return regions && regions->type == JSON_LIST
               ? read_table(regions, m) : "no regions";
    }
    if (!form) {
        return NULL;
    }
    m->size = form->size;
    m->payload = zero_alloc(m->size, 1);
    return read_form(form, object, m->payload);
}

const char *
message_read(enum channel channel, const struct json *object,
             struct message *m)
{
    const struct json *name = json_get(object, "request");
    const char *error;
    uint64_t flags;

    memset(m, 0, sizeof *m);
    if (!name || name->type != JSON_STRING
        || !request_number(channel, name->string, &m->request)) {
        return "no request, or an unknown one";
    }
    if (!json_to_u64(json_get(object, "flags"), &flags)
        || flags > UINT32_MAX) {
        return "no flags";
    }
    m->flags = flags;
    error = read_payload(channel, object, m);
    return error ? error : read_fds(json_get(object, "fds"), m);
}

void
message_free(struct message *m)
{
    free(m->payload);
    free(m->fds);
    memset(m, 0, sizeof *m);
}

/* For people. */

static void
print_form(const struct form *form, const uint8_t *data)
{
    for (unsigned int i = 0; i < MAX_FIELDS; i++) {
        const struct field *f = &form->fields[i];

        if (f->width) {
            printf(f->hex ? " %s=0x%"PRIx64 : " %s=%"PRIu64, f->name,
                   get_field(data, f));
        }
    }
}

static void
print_payload(enum channel channel, const struct message *m)
{
    const struct form *form = usual_form(channel, m);

    if (is_plain_table(channel, m)) {
        for (uint32_t at = 8; at < m->size; at += table_region_form.size) {
            printf(" [");
            print_form(&table_region_form, m->payload + at);
            printf(" ]");
        }
    } else if (fits(form, m)) {
        print_form(form, m->payload);
    } else if (m->size) {
        printf(" %"PRIu32" bytes", m->size);
    }
}

void
message_print(enum channel channel, const struct message *m)
{
    printf("%s%s", request_name(channel, m->request),
           m->flags & FE_REPLY ? " answer" : "");
    print_payload(channel, m);
    if (m->flags & FE_NEED_REPLY) {
        printf(" need_reply");
    }
    for (unsigned int i = 0; i < m->n_fds; i++) {
        printf(" +%s", fd_kind_name(m->fds[i].kind));
        if (m->fds[i].kind == FD_MEMORY) {
            printf("(%"PRIu32", %"PRIu64")", m->fds[i].file, m->fds[i].size);
        }
    }
}

/* Payloads. */

static void
copy_payload(const struct message *m, void *to, size_t size)
{
    memset(to, 0, size);
    if (m->size) {
        memcpy(to, m->payload, m->size < size ? m->size : size);
    }
}

uint64_t
message_u64(const struct message *m)
{
    uint64_t value;

    copy_payload(m, &value, sizeof value);
    return value;
}

struct fe_vring_state
message_state(const struct message *m)
{
    struct fe_vring_state state;

    copy_payload(m, &state, sizeof state);
    return state;
}

struct fe_vring_addr
message_addr(const struct message *m)
{
    struct fe_vring_addr addr;

    copy_payload(m, &addr, sizeof addr);
    return addr;
}

unsigned int
message_regions(const struct message *m, struct fe_mem_region *regions)
{
    unsigned int n = 1;

    if (m->request == FE_SET_MEM_TABLE) {
        n = message_u64(m) & UINT32_MAX;
    }
    for (unsigned int i = 0; i < n; i++) {
        size_t at = 8 + i * sizeof *regions;

        if (i == FE_MAX_REGIONS || at + sizeof *regions > m->size) {
            return i;
        }
        memcpy(&regions[i], m->payload + at, sizeof *regions);
    }
    return n;
}
