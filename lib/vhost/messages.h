/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What a message of the front end is like and what is done with it: the table
 * that session.c works by, and the functions in it that are more than a few
 * lines and so have files of their own.  For lib/vhost only; all of it runs on
 * the event thread.
 *
 * A message goes through three stages, between which the event thread serves
 * others, and the next message of the connection is not read until it is
 * through:
 *
 *     1. prepare    something takes long, and another thread does it
 *     2. stop       the polling threads leave the rings that it changes
 *     3. execute    the change is made, the rings are published, the answer
 *                   is sent
 */

#ifndef VHOST_MESSAGES_H
#define VHOST_MESSAGES_H 1

#include "port.h"

/* An answer. */
struct vhost_reply {
    union {
        uint64_t u64;
        struct vhost_wire_vring_state state;
        struct vhost_wire_mem_table mem;
        struct vhost_wire_inflight inflight;
    } payload;
    uint32_t size;              /* 0: nothing but an acknowledgement, */
    bool is_empty;              /* unless this says that it has no payload. */
    int fd;                     /* Goes with it and is closed, -1: none. */
};

/* What a message is like and what is done with it. */
struct vhost_handler {
    const char *name;
    int size;                   /* Exact payload size in bytes, or -1. */
    unsigned int max_fds;
    int feature;                /* Protocol feature it takes, -1: none. */

    /* Further checks of its form, or NULL. */
    bool (*check)(const struct vhost_message *);

    /* Begins stage 1, which ends by a call of vhost_session_prepared(), at
     * once or later.  NULL: there is none. */
    void (*prepare)(struct vhost_port *);

    /* Which gates it needs closed.  NULL: none. */
    int (*stop)(const struct vhost_port *);

    /* Makes the change.  'reply' is empty and needs to be filled in for
     * messages that have an answer. */
    vhost_result (*execute)(struct vhost_port *, struct vhost_reply *);
};

/* The handler of the message that arrived, NULL if there is none, which
 * includes those of protocol features that were not negotiated. */
const struct vhost_handler *vhost_find_handler(const struct vhost_port *);

/* Its name, for the log. */
const char *vhost_message_name(const struct vhost_port *);

/* The name of message 'request', NULL if there is none. */
const char *vhost_request_name(uint32_t request);

/* Takes descriptor 'i' out of the message, -1 if there is none: the caller
 * closes it, the message will not. */
int vhost_take_fd(struct vhost_port *, unsigned int i);

/* session.c */

/* Stage 1 is over. */
void vhost_session_prepared(struct vhost_port *);

/* mem-table.c: SET_MEM_TABLE, ADD_MEM_REG and REM_MEM_REG, which differ in
 * their form only. */

bool vhost_mem_table_check(const struct vhost_message *);
bool vhost_mem_add_check(const struct vhost_message *);
void vhost_mem_table_prepare(struct vhost_port *);
int vhost_mem_table_stop(const struct vhost_port *);
vhost_result vhost_mem_table_set(struct vhost_port *, struct vhost_reply *);

/* dirty-log.c: SET_LOG_BASE. */

bool vhost_log_base_check(const struct vhost_message *);
void vhost_log_base_prepare(struct vhost_port *);
int vhost_log_base_stop(const struct vhost_port *);
vhost_result vhost_log_base_set(struct vhost_port *, struct vhost_reply *);

#endif /* messages.h */
