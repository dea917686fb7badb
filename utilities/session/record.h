/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The recorder: stands between a front end and a back end, passes on what they
 * say, and writes it down. */

#ifndef SESSION_RECORD_H
#define SESSION_RECORD_H 1

#include "session/endpoint.h"

struct record_options {
    struct endpoint front, back;        /* Where front end and back end are. */
    const char *front_end, *back_end, *note;    /* For the header. */
    unsigned int max_chains;            /* Of a ring after each start. */
    unsigned int max_messages;
    unsigned int connections;           /* 0: until a signal comes. */
    unsigned int interval_us;           /* Between looks at rings. */
};

/* Records to the standard output.  Returns the exit status. */
int record(struct record_options *);

#endif /* session/record.h */
