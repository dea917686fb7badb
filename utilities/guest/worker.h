/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Threads that move frames.  Each has some ports, which it polls in turn; when
 * there is nothing to do it asks the devices for calls and sleeps, or polls on
 * if that was asked for. */

#ifndef GUEST_WORKER_H
#define GUEST_WORKER_H 1

#include <pthread.h>
#include <stdbool.h>

#include "guest/port.h"

struct worker {
    pthread_t thread;
    struct port *ports[MAX_PORTS];
    unsigned int n_ports;
    struct port *current;       /* Being polled. */
    bool poll;
    int cpu;                    /* -1: any. */
    int wake_fd;
    struct pollfd *pfds;
    unsigned int n_pfds, allocated;
};

void worker_start(struct worker *);

/* Makes it look at its ports again. */
void worker_wake(struct worker *);

/* Waits for its end, after 'run_stop' was set. */
void worker_join(struct worker *);

/* When nobody can wake it any more. */
void worker_destroy(struct worker *);

#endif /* guest/worker.h */
