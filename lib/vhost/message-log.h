/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What a port's front ends said last, and what became of it: to find out
 * afterwards why a guest has no network.  Messages and events have a ring
 * each, so that a front end that sends many messages does not push out when
 * it came.  They belong to the port and not to the connection.
 *
 * The event thread writes; what it stores is numbers, so that a message costs
 * it little.  They become words when a control thread asks.  A hostile front
 * end can fill the rings of its own port, and no more.
 */

#ifndef VHOST_MESSAGE_LOG_H
#define VHOST_MESSAGE_LOG_H 1

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost.h"
#include "wire.h"

struct vhost_message;
struct vhost_port;
struct vhost_reply;

#define VHOST_LOG_MESSAGES 64
#define VHOST_LOG_EVENTS 64

/* Bytes of a payload that are kept: all of those that are of interest. */
#define VHOST_LOG_PAYLOAD 40

enum vhost_outcome {
    VHOST_OUTCOME_NONE,         /* It is being handled, */
    VHOST_OUTCOME_ENDED,        /* or was when the connection ended. */
    VHOST_OUTCOME_DONE,         /* Nobody asked for an answer. */
    VHOST_OUTCOME_ACKED,
    VHOST_OUTCOME_ANSWERED,     /* With 'answer', unless 'answer_size' is 0. */
    VHOST_OUTCOME_REFUSED,      /* For 'reason'. */
    VHOST_OUTCOME_SENT,         /* A message of ours. */
};

struct vhost_logged_message {
    uint64_t number;            /* Among all messages and events. */
    uint64_t n;                 /* So many alike; this is the last one. */
    int64_t time_ms;            /* Since 1970. */
    uint32_t took_ms;
    uint32_t request;
    uint32_t size;              /* Of the payload, in bytes. */
    unsigned int n_fds;
    enum vhost_outcome outcome;
    uint32_t answer_size;
    uint64_t answer;            /* Its first 8 bytes. */
    uint64_t total;             /* Bytes of memory that it is about. */
    uint8_t payload[VHOST_LOG_PAYLOAD];
    char reason[120];
};

struct vhost_logged_event {
    uint64_t number;
    uint64_t n;
    int64_t time_ms;
    char text[200];
};

struct vhost_message_log {
    pthread_mutex_t mutex;
    uint64_t n_lines;           /* Numbers given so far. */
    uint64_t n_messages;        /* Places given so far, in each ring. */
    uint64_t n_events;
    struct vhost_logged_message *open;  /* Being handled, NULL: none. */
    struct vhost_logged_message messages[VHOST_LOG_MESSAGES];
    struct vhost_logged_event events[VHOST_LOG_EVENTS];
};

void vhost_message_log_init(struct vhost_message_log *);
void vhost_message_log_destroy(struct vhost_message_log *);

/* A message has come.  Its form need not be right. */
void vhost_message_log_received(struct vhost_message_log *,
                                const struct vhost_message *);

/* What became of it.  'acked': the answer is nothing but the word that it was
 * done, or, with 'reason', that it was not. */
void vhost_message_log_done(struct vhost_message_log *, const char *reason,
                            const struct vhost_reply *, bool acked);

/* It cost the connection, because of 'reason', or the connection has ended
 * meanwhile (NULL).  Does nothing if no message is being handled. */
void vhost_message_log_ended(struct vhost_message_log *, const char *reason);

/* We have sent an IOTLB_MSG. */
void vhost_message_log_sent(struct vhost_message_log *,
                            const struct vhost_wire_iotlb *);

/* Something else happened.  The same as last time is counted there. */
void vhost_port_event(struct vhost_port *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* message-words.c: a message in words. */
void vhost_message_words(const struct vhost_logged_message *,
                         struct vhost_line *);

#endif /* message-log.h */
