/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What is kept of a message (message-log.h) in words.  The payload is the
 * front end's and may be anything: nothing is taken out of it that its size
 * does not cover.
 *
 * Left out are addresses in the front end's address space: they would tell who
 * reads the log where to look for things in that process, and help nobody.
 */

#include "message-log.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "messages.h"

/* What payloads and answers look like. */
enum shape {
    NOTHING,
    MASK,                       /* u64: bits. */
    NUMBER,                     /* u64. */
    RING,                       /* A vring state of which one number counts. */
    RING_NUMBER,                /* A vring state. */
    RING_ADDR,
    RING_FD,
    MEM_TABLE,
    MEM_REG,
    DIRTY_LOG,
    MAC,
    IOTLB,
    INFLIGHT,
    TRANSFER,
};

static const struct {
    uint8_t payload, answer;    /* enum shape. */
} shapes[VHOST_USER_N_REQUESTS] = {
    [VHOST_USER_GET_FEATURES] = { NOTHING, MASK },
    [VHOST_USER_SET_FEATURES] = { MASK, NOTHING },
    [VHOST_USER_SET_MEM_TABLE] = { MEM_TABLE, NOTHING },
    [VHOST_USER_SET_LOG_BASE] = { DIRTY_LOG, NOTHING },
    [VHOST_USER_SET_VRING_NUM] = { RING_NUMBER, NOTHING },
    [VHOST_USER_SET_VRING_ADDR] = { RING_ADDR, NOTHING },
    [VHOST_USER_SET_VRING_BASE] = { RING_NUMBER, NOTHING },
    [VHOST_USER_GET_VRING_BASE] = { RING, RING_NUMBER },
    [VHOST_USER_SET_VRING_KICK] = { RING_FD, NOTHING },
    [VHOST_USER_SET_VRING_CALL] = { RING_FD, NOTHING },
    [VHOST_USER_SET_VRING_ERR] = { RING_FD, NOTHING },
    [VHOST_USER_GET_PROTOCOL_FEATURES] = { NOTHING, MASK },
    [VHOST_USER_SET_PROTOCOL_FEATURES] = { MASK, NOTHING },
    [VHOST_USER_GET_QUEUE_NUM] = { NOTHING, NUMBER },
    [VHOST_USER_SET_VRING_ENABLE] = { RING_NUMBER, NOTHING },
    [VHOST_USER_SEND_RARP] = { MAC, NOTHING },
    [VHOST_USER_NET_SET_MTU] = { NUMBER, NOTHING },
    [VHOST_USER_IOTLB_MSG] = { IOTLB, NOTHING },
    [VHOST_USER_GET_INFLIGHT_FD] = { INFLIGHT, NOTHING },
    [VHOST_USER_SET_INFLIGHT_FD] = { INFLIGHT, NOTHING },
    [VHOST_USER_GET_MAX_MEM_SLOTS] = { NOTHING, NUMBER },
    [VHOST_USER_ADD_MEM_REG] = { MEM_REG, NOTHING },
    [VHOST_USER_REM_MEM_REG] = { MEM_REG, NOTHING },
    [VHOST_USER_SET_STATUS] = { MASK, NOTHING },
    [VHOST_USER_GET_STATUS] = { NOTHING, MASK },
    [VHOST_USER_SET_DEVICE_STATE_FD] = { TRANSFER, MASK },
    [VHOST_USER_CHECK_DEVICE_STATE] = { NOTHING, NUMBER },
};

/* Bytes that a payload of 'shape' has at least. */
static size_t
shape_size(enum shape shape)
{
    switch (shape) {
    case NOTHING:
        return 0;
    case MASK:
    case NUMBER:
    case RING_FD:
    case MAC:
        return sizeof(uint64_t);
    case RING:
    case RING_NUMBER:
        return sizeof(struct vhost_wire_vring_state);
    case RING_ADDR:
        return sizeof(struct vhost_wire_vring_addr);
    case MEM_TABLE:
        return offsetof(struct vhost_wire_mem_table, regions);
    case MEM_REG:
        return sizeof(struct vhost_wire_mem_reg);
    case DIRTY_LOG:
        return sizeof(struct vhost_wire_log);
    case IOTLB:
        return sizeof(struct vhost_wire_iotlb);
    case INFLIGHT:
        return VHOST_WIRE_INFLIGHT_MIN;
    case TRANSFER:
        return sizeof(struct vhost_wire_state_transfer);
    }
    return SIZE_MAX;
}
_Static_assert(sizeof(struct vhost_wire_vring_addr) <= VHOST_LOG_PAYLOAD
               && sizeof(struct vhost_wire_mem_reg) <= VHOST_LOG_PAYLOAD
               && sizeof(struct vhost_wire_iotlb) <= VHOST_LOG_PAYLOAD,
               "what is said must have been kept");

/* The first parts of payloads, aligned. */
union payload {
    uint8_t raw[VHOST_LOG_PAYLOAD];
    uint64_t u64;
    uint32_t u32;
    struct vhost_wire_vring_state state;
    struct vhost_wire_vring_addr addr;
    struct vhost_wire_mem_reg mem_reg;
    struct vhost_wire_log log;
    struct vhost_wire_iotlb iotlb;
    struct vhost_wire_inflight inflight;
    struct vhost_wire_state_transfer transfer;
};

static void
iotlb_words(const struct vhost_wire_iotlb *m, char *s, size_t max)
{
    static const char *const types[] = {
        [VHOST_WIRE_IOTLB_MISS] = "miss",
        [VHOST_WIRE_IOTLB_UPDATE] = "update",
        [VHOST_WIRE_IOTLB_INVALIDATE] = "invalidate",
        [VHOST_WIRE_IOTLB_ACCESS_FAIL] = "access failed",
    };
    const char *type = (m->type < sizeof types / sizeof types[0]
                        && types[m->type] ? types[m->type] : "unknown type");

    if (m->type == VHOST_WIRE_IOTLB_MISS) {
        snprintf(s, max, "%s at 0x%"PRIx64, type, m->iova);
    } else {
        snprintf(s, max, "%s of %"PRIu64" bytes at 0x%"PRIx64, type, m->size,
                 m->iova);
    }
}

static void
shape_words(enum shape shape, const union payload *p, uint64_t total,
            char *s, size_t max)
{
    const uint8_t *mac = p->raw;

    switch (shape) {
    case NOTHING:
        *s = '\0';
        break;
    case MASK:
        snprintf(s, max, "0x%"PRIx64, p->u64);
        break;
    case NUMBER:
        snprintf(s, max, "%"PRIu64, p->u64);
        break;
    case RING:
        snprintf(s, max, "ring %"PRIu32, p->state.index);
        break;
    case RING_NUMBER:
        snprintf(s, max, "ring %"PRIu32": %"PRIu32, p->state.index,
                 p->state.num);
        break;
    case RING_ADDR:
        snprintf(s, max, "ring %"PRIu32", flags 0x%"PRIx32, p->addr.index,
                 p->addr.flags);
        break;
    case RING_FD:
        snprintf(s, max, "ring %u%s",
                 (unsigned int) (p->u64 & VHOST_WIRE_VRING_IDX_MASK),
                 p->u64 & VHOST_WIRE_VRING_NOFD ? ", no descriptor" : "");
        break;
    case MEM_TABLE:
        snprintf(s, max, "%"PRIu32" regions, %"PRIu64" bytes", p->u32, total);
        break;
    case MEM_REG:
        snprintf(s, max, "%"PRIu64" bytes at guest address 0x%"PRIx64,
                 p->mem_reg.region.size, p->mem_reg.region.guest_addr);
        break;
    case DIRTY_LOG:
        snprintf(s, max, "%"PRIu64" bytes", p->log.mmap_size);
        break;
    case MAC:
        snprintf(s, max, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                 mac[2], mac[3], mac[4], mac[5]);
        break;
    case IOTLB:
        iotlb_words(&p->iotlb, s, max);
        break;
    case INFLIGHT:
        snprintf(s, max, "%u queues of %u", p->inflight.num_queues,
                 p->inflight.queue_size);
        break;
    case TRANSFER:
        snprintf(s, max, "%s, phase %"PRIu32,
                 p->transfer.direction == VHOST_WIRE_STATE_SAVE ? "save"
                 : p->transfer.direction == VHOST_WIRE_STATE_LOAD ? "load"
                 : "unknown direction", p->transfer.phase);
        break;
    }
}

static void
payload_words(const struct vhost_logged_message *m, char *s, size_t max)
{
    enum shape shape = (m->request < VHOST_USER_N_REQUESTS
                        ? shapes[m->request].payload : NOTHING);
    union payload p;

    if ((shape == NOTHING && m->size) || m->size < shape_size(shape)) {
        snprintf(s, max, "%"PRIu32" bytes", m->size);
        return;
    }
    /* Postcopy's acknowledgement is a number, not a table. */
    if (m->request == VHOST_USER_SET_MEM_TABLE && !m->n_fds
        && m->size == sizeof(uint64_t)) {
        shape = NUMBER;
    }
    memcpy(p.raw, m->payload, sizeof p.raw);
    shape_words(shape, &p, m->total, s, max);
}

static void
answer_words(const struct vhost_logged_message *m, char *s, size_t max)
{
    enum shape shape = (m->request < VHOST_USER_N_REQUESTS
                        ? shapes[m->request].answer : NOTHING);
    union payload p = { .u64 = m->answer };
    char words[64] = "";

    if (shape != NOTHING && m->answer_size >= sizeof p.u64) {
        shape_words(shape, &p, 0, words, sizeof words);
    }
    snprintf(s, max, "answered%s%s", *words ? " " : "", words);
}

static void
outcome_words(const struct vhost_logged_message *m, char *s, size_t max)
{
    switch (m->outcome) {
    case VHOST_OUTCOME_NONE:
        snprintf(s, max, "being handled");
        break;
    case VHOST_OUTCOME_ENDED:
        snprintf(s, max, "the connection ended before it was handled");
        break;
    case VHOST_OUTCOME_DONE:
        snprintf(s, max, "done");
        break;
    case VHOST_OUTCOME_ACKED:
        snprintf(s, max, "done, acknowledged");
        break;
    case VHOST_OUTCOME_ANSWERED:
        answer_words(m, s, max);
        break;
    case VHOST_OUTCOME_REFUSED:
        snprintf(s, max, "refused: %s", m->reason);
        break;
    case VHOST_OUTCOME_SENT:
        snprintf(s, max, "sent");
        break;
    }
}

void
vhost_message_words(const struct vhost_logged_message *m,
                    struct vhost_line *line)
{
    const char *name = vhost_request_name(m->request);

    memset(line, 0, sizeof *line);
    line->number = m->number;
    line->n = m->n;
    line->time_ms = m->time_ms;
    line->took_ms = m->took_ms;
    line->kind = (m->outcome == VHOST_OUTCOME_SENT ? VHOST_LINE_SENT
                  : VHOST_LINE_RECEIVED);
    if (name) {
        snprintf(line->name, sizeof line->name, "%s", name);
    } else {
        snprintf(line->name, sizeof line->name, "request %"PRIu32,
                 m->request);
    }
    payload_words(m, line->text, sizeof line->text);
    outcome_words(m, line->outcome, sizeof line->outcome);
}
