/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Messages as they are recorded: the bytes of one, their meaning, and what
 * descriptors came with it.  Here is all that is known of each request.
 *
 * Reference: the vhost-user specification of QEMU. */

#ifndef SESSION_MESSAGE_H
#define SESSION_MESSAGE_H 1

#include <stdbool.h>
#include <stdint.h>

#include "guest/frontend.h"

struct json;

#define MAX_PAYLOAD 4096u
#define MAX_FDS 32u

/* Requests that frontend.h has no name for. */
enum {
    REQ_GET_CONFIG = 24,
    REQ_SET_CONFIG = 25,
    REQ_GET_INFLIGHT_FD = 31,
    REQ_SET_INFLIGHT_FD = 32,
    REQ_RESET_DEVICE = 34,
    REQ_GET_MAX_MEM_SLOTS = 36,
    REQ_ADD_MEM_REG = 37,
    REQ_REM_MEM_REG = 38,
};

#define FD_NO_FILE UINT32_MAX

/* What can be told about a descriptor without disturbing its owner. */
struct fd_info {
    enum fd_kind { FD_MEMORY, FD_EVENT, FD_SOCKET, FD_OTHER } kind;
    uint32_t file;              /* Same file, same number; FD_MEMORY only. */
    uint64_t size;              /* Likewise. */
};

struct message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    unsigned int n_fds;
    uint8_t *payload;
    struct fd_info *fds;
};

/* Connections: the front end's, and the one that SET_BACKEND_REQ_FD makes,
 * where the back end asks.  Requests are numbered for each. */
enum channel { CHANNEL_MAIN, CHANNEL_BACK };

/* The request's name, or its number as a string. */
const char *request_name(enum channel, uint32_t request);
bool request_number(enum channel, const char *name, uint32_t *request);
const char *fd_kind_name(enum fd_kind);

/* True if the answer to 'request' is data and not an acknowledgement. */
bool request_asks(uint32_t request);

/* The protocol feature that the request belongs to, as a mask; 0 if it may
 * always be sent. */
uint64_t request_needs(uint32_t request);

/* Writes the payload's fields, and the descriptors, as members of a JSON
 * object; reads them.  A payload that has no known form or is not what its
 * fields say is written byte by byte.  message_read() returns what is wrong,
 * or NULL. */
void message_write(enum channel, const struct message *);
const char *message_read(enum channel, const struct json *, struct message *);
void message_free(struct message *);

/* For people: one line of text. */
void message_print(enum channel, const struct message *);

/* The payload's beginning, as far as there is one, the rest zero. */
uint64_t message_u64(const struct message *);
struct fe_vring_state message_state(const struct message *);
struct fe_vring_addr message_addr(const struct message *);

/* Regions of SET_MEM_TABLE, ADD_MEM_REG or REM_MEM_REG; at most
 * FE_MAX_REGIONS. */
unsigned int message_regions(const struct message *, struct fe_mem_region *);

#endif /* session/message.h */
