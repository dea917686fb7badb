/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port's connection to the switch and its thread: connects or listens,
 * negotiates, starts the rings, notices the end and begins again. */

#ifndef GUEST_SESSION_H
#define GUEST_SESSION_H 1

#include "guest/port.h"

/* Opens the listening socket if there is to be one.  Ends the program if that
 * does not go. */
void session_listen(struct port *);

void session_start(struct port *);

/* Stops the rings in an orderly manner, if connected, and the thread. */
void session_join(struct port *);

/* After which nobody can connect to a listening port. */
void session_stop_listening(struct port *);

/* For who does without the thread (misbehave.c); fail as front ends do.  Waits
 * for a connection up to 'ms'; negotiates and starts all rings. */
bool session_connect(struct port *, int ms);
void session_bring_up(struct port *);

#endif /* guest/session.h */
