/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * See map-job.h. */

#include "map-job.h"

#include <stdlib.h>
#include <unistd.h>

#include "dispose.h"
#include "memory.h"
#include "messages.h"
#include "port.h"

static void
map_job_work(struct vhost_job *job_)
{
    struct vhost_map_job *job = VHOST_CONTAINER_OF(job_, struct vhost_map_job,
                                                   job);

    job->map(job);
    for (unsigned int i = 0; i < job->n_fds; i++) {
        if (vhost_mem_is_shared_memory(job->fds[i])) {
            close(job->fds[i]);
            job->fds[i] = -1;
        }
    }
    vhost_dispose(job->disposal, job->fds, job->n_fds);
    vhost_disposal_unref(job->disposal);
}

/* Work for the worker, which frees the job then. */
static void
map_job_drop(struct vhost_job *job_)
{
    struct vhost_map_job *job = VHOST_CONTAINER_OF(job_, struct vhost_map_job,
                                                   job);

    job->drop(job);
}

static void
map_job_done(struct vhost_job *job_)
{
    struct vhost_map_job *job = VHOST_CONTAINER_OF(job_, struct vhost_map_job,
                                                   job);
    struct vhost_port *port = job->port;

    if (!port) {
        job->job.work = map_job_drop;
        job->job.done = NULL;
        free(job->error);
        vhost_job_post(job->loop, &job->job);
        return;
    }
    port->map_job = NULL;
    port->mem_error = job->error;
    job->give(job, port);
    free(job);
    vhost_session_prepared(port);
}

void
vhost_map_job_post(struct vhost_map_job *job, struct vhost_port *port,
                   unsigned int n_fds)
{
    job->port = port;
    job->loop = port->loop;
    job->disposal = vhost_disposal_ref(port->disposal);
    for (job->n_fds = 0; job->n_fds < n_fds; job->n_fds++) {
        job->fds[job->n_fds] = vhost_take_fd(port, job->n_fds);
    }
    job->job.work = map_job_work;
    job->job.done = map_job_done;
    port->map_job = job;
    vhost_job_post(port->loop, &job->job);
}

void
vhost_map_job_cancel(struct vhost_port *port)
{
    if (port->map_job) {
        port->map_job->port = NULL;
        port->map_job = NULL;
    }
}
