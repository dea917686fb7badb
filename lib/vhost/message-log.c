/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The rings of a port's last messages and events: see message-log.h.
 */

#include "message-log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "messages.h"

_Static_assert(VHOST_MAX_LINES == VHOST_LOG_MESSAGES + VHOST_LOG_EVENTS,
               "as many lines as there are places");

static int64_t
wall_clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

void
vhost_message_log_init(struct vhost_message_log *log)
{
    memset(log, 0, sizeof *log);
    pthread_mutex_init(&log->mutex, NULL);
}

void
vhost_message_log_destroy(struct vhost_message_log *log)
{
    pthread_mutex_destroy(&log->mutex);
}

/* The 'back'th last message, from 0 on, or NULL. */
static struct vhost_logged_message *
last_message(struct vhost_message_log *log, unsigned int back)
{
    if (back >= log->n_messages || back >= VHOST_LOG_MESSAGES) {
        return NULL;
    }
    return &log->messages[(log->n_messages - 1 - back) % VHOST_LOG_MESSAGES];
}

static bool
is_iotlb(const struct vhost_logged_message *m)
{
    return (m->request == VHOST_USER_IOTLB_MSG
            && m->size == sizeof(struct vhost_wire_iotlb));
}

/* True if 'a' and 'b' say the same of a vIOMMU, but for addresses. */
static bool
are_alike(const struct vhost_logged_message *a,
          const struct vhost_logged_message *b)
{
    const size_t type = offsetof(struct vhost_wire_iotlb, type);

    return a->payload[type] == b->payload[type];
}

/* A place for 'new'.  Behind a vIOMMU there may be thousands of messages about
 * translations in a second: a series of them has one place for each kind, so
 * that the others stay to be seen. */
static struct vhost_logged_message *
place_for(struct vhost_message_log *log,
          const struct vhost_logged_message *new)
{
    struct vhost_logged_message *m;

    if (is_iotlb(new)) {
        for (unsigned int i = 0; (m = last_message(log, i)) != NULL
             && is_iotlb(m); i++) {
            if (are_alike(m, new)
                && (m->outcome == VHOST_OUTCOME_SENT
                    || m->outcome == VHOST_OUTCOME_DONE
                    || m->outcome == VHOST_OUTCOME_ACKED)) {
                return m;
            }
        }
    }
    m = &log->messages[log->n_messages++ % VHOST_LOG_MESSAGES];
    m->n = 0;
    if (m == log->open) {
        log->open = NULL;
    }
    return m;
}

/* Adds 'new', which has no number and time yet.  Returns where it is now. */
static struct vhost_logged_message *
add_message(struct vhost_message_log *log, struct vhost_logged_message *new)
{
    struct vhost_logged_message *m = place_for(log, new);

    new->n = m->n + 1;
    new->number = ++log->n_lines;
    *m = *new;
    return m;
}

/* Bytes of the regions in the table of 'msg', as far as it is one. */
static uint64_t
table_bytes(const struct vhost_message *msg)
{
    const struct vhost_wire_mem_table *t = &msg->payload.mem;
    uint64_t total = 0;

    for (uint32_t i = 0; i < t->n_regions && i < VHOST_WIRE_MAX_REGIONS; i++) {
        if (msg->header.size < (offsetof(struct vhost_wire_mem_table, regions)
                                + (i + 1) * sizeof t->regions[0])) {
            break;
        }
        total += t->regions[i].size;
    }
    return total;
}

void
vhost_message_log_received(struct vhost_message_log *log,
                           const struct vhost_message *msg)
{
    struct vhost_logged_message m = {
        .request = msg->header.request,
        .size = msg->header.size,
        .n_fds = msg->n_fds,
        .time_ms = wall_clock_ms(),
    };
    size_t size = (m.size < VHOST_LOG_PAYLOAD ? m.size : VHOST_LOG_PAYLOAD);

    memcpy(m.payload, msg->raw, size);
    if (m.request == VHOST_USER_SET_MEM_TABLE) {
        m.total = table_bytes(msg);
    }
    pthread_mutex_lock(&log->mutex);
    log->open = add_message(log, &m);
    pthread_mutex_unlock(&log->mutex);
}

void
vhost_message_log_sent(struct vhost_message_log *log,
                       const struct vhost_wire_iotlb *iotlb)
{
    struct vhost_logged_message m = {
        .request = VHOST_USER_IOTLB_MSG,
        .size = sizeof *iotlb,
        .outcome = VHOST_OUTCOME_SENT,
        .time_ms = wall_clock_ms(),
    };

    memcpy(m.payload, iotlb, sizeof *iotlb);
    pthread_mutex_lock(&log->mutex);
    add_message(log, &m);
    pthread_mutex_unlock(&log->mutex);
}

/* Ends the handling of a message. */
static void
close_message(struct vhost_message_log *log, enum vhost_outcome outcome,
              const char *reason)
{
    struct vhost_logged_message *m = log->open;

    m->outcome = outcome;
    m->took_ms = wall_clock_ms() - m->time_ms;
    snprintf(m->reason, sizeof m->reason, "%s", reason ? reason : "");
    log->open = NULL;
}

void
vhost_message_log_done(struct vhost_message_log *log, const char *reason,
                       const struct vhost_reply *reply, bool acked)
{
    pthread_mutex_lock(&log->mutex);
    if (log->open) {
        log->open->answer_size = reply->size;
        memcpy(&log->open->answer, &reply->payload, sizeof log->open->answer);
        close_message(log, (reason ? VHOST_OUTCOME_REFUSED
                            : acked ? VHOST_OUTCOME_ACKED
                            : reply->size || reply->is_empty
                            ? VHOST_OUTCOME_ANSWERED
                            : VHOST_OUTCOME_DONE), reason);
    }
    pthread_mutex_unlock(&log->mutex);
}

void
vhost_message_log_ended(struct vhost_message_log *log, const char *reason)
{
    pthread_mutex_lock(&log->mutex);
    if (log->open) {
        close_message(log, (reason ? VHOST_OUTCOME_REFUSED
                            : VHOST_OUTCOME_ENDED), reason);
    }
    pthread_mutex_unlock(&log->mutex);
}

void
vhost_port_event(struct vhost_port *port, const char *format, ...)
{
    struct vhost_message_log *log = &port->messages;
    struct vhost_logged_event new = { .time_ms = wall_clock_ms() };
    struct vhost_logged_event *e;
    va_list args;

    va_start(args, format);
    vsnprintf(new.text, sizeof new.text, format, args);
    va_end(args);

    pthread_mutex_lock(&log->mutex);
    e = (log->n_events
         ? &log->events[(log->n_events - 1) % VHOST_LOG_EVENTS] : NULL);
    if (!e || strcmp(e->text, new.text)) {
        e = &log->events[log->n_events++ % VHOST_LOG_EVENTS];
        e->n = 0;
    }
    new.n = e->n + 1;
    new.number = ++log->n_lines;
    *e = new;
    pthread_mutex_unlock(&log->mutex);
}

/* Reading. */

static void
event_line(const struct vhost_logged_event *e, struct vhost_line *line)
{
    memset(line, 0, sizeof *line);
    line->number = e->number;
    line->time_ms = e->time_ms;
    line->kind = VHOST_LINE_EVENT;
    line->n = e->n;
    snprintf(line->text, sizeof line->text, "%s", e->text);
}

static int
compare_lines(const void *a_, const void *b_)
{
    const struct vhost_line *a = a_;
    const struct vhost_line *b = b_;

    return (a->number > b->number) - (a->number < b->number);
}

unsigned int
vhost_port_get_log(struct vhost_port *port,
                   struct vhost_line lines[VHOST_MAX_LINES])
{
    struct vhost_message_log *log = malloc(sizeof *log);
    unsigned int n = 0;

    if (!log) {
        return 0;
    }

    /* What takes longer than a copy must not keep the event thread waiting. */
    pthread_mutex_lock(&port->messages.mutex);
    memcpy(log, &port->messages, sizeof *log);
    pthread_mutex_unlock(&port->messages.mutex);
    for (unsigned int i = 0; i < VHOST_LOG_MESSAGES; i++) {
        if (log->messages[i].number) {
            vhost_message_words(&log->messages[i], &lines[n++]);
        }
    }
    for (unsigned int i = 0; i < VHOST_LOG_EVENTS; i++) {
        if (log->events[i].number) {
            event_line(&log->events[i], &lines[n++]);
        }
    }
    free(log);
    qsort(lines, n, sizeof lines[0], compare_lines);
    return n;
}
