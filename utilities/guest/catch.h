/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Failures of the front end (fail.h) in ovs-vhost-guest: a session or a burst
 * ends there, the program goes on. */

#ifndef GUEST_CATCH_H
#define GUEST_CATCH_H 1

/* Calls 'function(aux)'.  Returns NULL if that returns, and what went wrong if
 * it calls fe_failed(); the text is the thread's and lasts until its next
 * failure.  A failure outside of this ends the program. */
const char *attempt(void (*function)(void *), void *aux);

/* How the program ends, by errx(3). */
enum exit_status {
    EXIT_OK = 0,
    EXIT_UNEXPECTED = 1,        /* An expectation did not hold. */
    EXIT_USAGE = 2,             /* Wrong options. */
    EXIT_CANNOT = 3,            /* No connection, no file, no memory. */
};

#endif /* guest/catch.h */
