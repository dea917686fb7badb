/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The player: does at a back end what a recorded front end and its guest did,
 * and compares. */

#ifndef SESSION_PLAY_H
#define SESSION_PLAY_H 1

#include <stdbool.h>

#include "session/endpoint.h"

struct play_options {
    const char *path;           /* The recording. */
    struct endpoint back;
    double speed;               /* 0: as fast as possible. */
    double timeout;             /* Seconds for each thing waited for. */
    bool strict;                /* Differences are failures. */
    bool json;
};

/* Returns the exit status. */
int play(struct play_options *);

#endif /* session/play.h */
