/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Stage 1 of messages that come with memory: the worker maps it, while the
 * event thread serves others.  The connection may end meanwhile; then the
 * result is for nobody.
 */

#ifndef VHOST_MAP_JOB_H
#define VHOST_MAP_JOB_H 1

#include "loop.h"
#include "wire.h"

struct vhost_port;

/* Each user has its own around it, of which this is the first member, and
 * which calloc() made. */
struct vhost_map_job {
    struct vhost_job job;
    struct vhost_port *port;    /* NULL: nobody wants the result. */
    struct vhost_loop *loop;
    struct vhost_disposal *disposal;
    int fds[VHOST_WIRE_MAX_REGIONS];
    unsigned int n_fds;

    /* On the worker: makes a result, or, if it is not for want of memory,
     * 'error', which the port frees.  Does not close 'fds'. */
    void (*map)(struct vhost_map_job *);
    char *error;

    /* On the event thread: gives the result, if any, to the port. */
    void (*give)(struct vhost_map_job *, struct vhost_port *);

    /* On the worker: frees the result, if any. */
    void (*drop)(struct vhost_map_job *);
};

/* Posts 'job' with the first 'n_fds' descriptors of the message that 'port'
 * is handling.  When it is done, vhost_session_prepared() is called, with what
 * 'give' left and 'mem_error'. */
void vhost_map_job_post(struct vhost_map_job *, struct vhost_port *,
                        unsigned int n_fds);

/* The message that 'port' is handling has lost its connection. */
void vhost_map_job_cancel(struct vhost_port *);

#endif /* map-job.h */
