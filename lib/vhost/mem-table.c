/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * SET_MEM_TABLE, ADD_MEM_REG and REM_MEM_REG: the guest's memory is mapped by
 * the worker while the event thread serves others, also if the connection ends
 * meanwhile.  Each makes a new map, in which regions that did not change keep
 * their place; rings are described anew from it.
 */

#include "messages.h"
#include "postcopy.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* The acknowledgement that postcopy needs has the same number. */
static bool
is_ack(const struct vhost_message *msg)
{
    return msg->header.size == sizeof msg->payload.u64 && !msg->n_fds;
}

bool
vhost_mem_table_check(const struct vhost_message *msg)
{
    const struct vhost_wire_mem_table *t = &msg->payload.mem;
    uint32_t size = msg->header.size;

    return is_ack(msg)
           || (size >= offsetof(struct vhost_wire_mem_table, regions)
               && t->n_regions >= 1
               && t->n_regions <= VHOST_WIRE_MAX_REGIONS
               && size == (offsetof(struct vhost_wire_mem_table, regions)
                           + t->n_regions * sizeof t->regions[0])
               && msg->n_fds == t->n_regions);
}

bool
vhost_mem_add_check(const struct vhost_message *msg)
{
    return msg->n_fds == 1;
}

/* Mapping guest memory, at the worker. */
struct mem_job {
    struct vhost_job job;
    uint32_t request;           /* Message that it is for. */
    struct vhost_port *port;    /* NULL: nobody wants the result. */
    struct vhost_loop *loop;
    struct vhost_disposal *disposal;
    struct vhost_wire_mem_table table;
    int fds[VHOST_WIRE_MAX_REGIONS];
    struct vhost_mem *old, *new;
    bool untouched;             /* Its pages are not there yet. */
    char *error;
};

static void
mem_job_work(struct vhost_job *job_)
{
    struct mem_job *job = VHOST_CONTAINER_OF(job_, struct mem_job, job);

    switch (job->request) {
    case VHOST_USER_ADD_MEM_REG:
        job->new = vhost_mem_add(job->old, job->table.regions, job->fds[0],
                                 &job->error);
        break;
    case VHOST_USER_REM_MEM_REG:
        job->new = vhost_mem_remove(job->old, job->table.regions,
                                    &job->error);
        break;
    default:
        job->new = vhost_mem_create(job->table.regions, job->fds,
                                    job->table.n_regions, job->old,
                                    job->untouched, &job->error);
        break;
    }
    vhost_mem_unref(job->old);
    for (unsigned int i = 0; i < job->table.n_regions; i++) {
        if (vhost_mem_is_shared_memory(job->fds[i])) {
            close(job->fds[i]);
            job->fds[i] = -1;
        }
    }
    vhost_dispose(job->disposal, job->fds, job->table.n_regions);
    vhost_disposal_unref(job->disposal);
}

/* Work for the worker: drops a map that nobody wants any more. */
static void
mem_job_discard(struct vhost_job *job)
{
    vhost_mem_unref(VHOST_CONTAINER_OF(job, struct mem_job, job)->new);
}

static void
mem_job_done(struct vhost_job *job_)
{
    struct mem_job *job = VHOST_CONTAINER_OF(job_, struct mem_job, job);
    struct vhost_port *port = job->port;

    if (!port) {
        job->job.work = mem_job_discard;
        job->job.done = NULL;
        free(job->error);
        vhost_job_post(job->loop, &job->job);
        return;
    }
    port->mem_job = NULL;
    port->new_mem = job->new;
    port->mem_error = job->error;
    free(job);
    vhost_session_prepared(port);
}

void
vhost_mem_table_prepare(struct vhost_port *port)
{
    const struct vhost_message *msg = &port->msg;
    bool poisoned = port->mem && atomic_load(&port->mem->poisoned);
    struct mem_job *job;

    if (is_ack(&port->msg)) {
        vhost_postcopy_ack_prepare(port);
        return;
    }
    job = vhost_postcopy_is_asking(port) ? NULL : calloc(1, sizeof *job);
    if (!job) {
        vhost_session_prepared(port);   /* Without a map: the error. */
        return;
    }
    job->port = port;
    job->loop = port->loop;
    job->disposal = vhost_disposal_ref(port->disposal);
    job->request = msg->header.request;
    if (job->request == VHOST_USER_SET_MEM_TABLE) {
        job->table = msg->payload.mem;
    } else {
        job->table.n_regions = 1;
        job->table.regions[0] = msg->payload.mem_reg.region;
    }
    for (unsigned int i = 0; i < job->table.n_regions; i++) {
        job->fds[i] = vhost_take_fd(port, i);
    }

    /* What was taken away has to come anew in a whole table.  (The connection
     * is about to end for it.) */
    if (!poisoned || job->request != VHOST_USER_SET_MEM_TABLE) {
        job->old = vhost_mem_ref(port->mem);
    }
    job->untouched = vhost_postcopy_is_listening(port);
    job->job.work = mem_job_work;
    job->job.done = mem_job_done;
    port->mem_job = &job->job;
    vhost_job_post(port->loop, &job->job);
}

int
vhost_mem_table_stop(const struct vhost_port *port)
{
    return port->new_mem ? VHOST_STOP_ALL : VHOST_STOP_NOTHING;
}

vhost_result
vhost_mem_table_set(struct vhost_port *port, struct vhost_reply *reply)
{
    if (is_ack(&port->msg)) {
        return vhost_postcopy_ack(port);
    }
    if (!port->new_mem) {
        return (port->mem_error ? port->mem_error
                : vhost_postcopy_is_asking(port) ? "the one before has not "
                "been acknowledged" : "out of memory");
    }
    vhost_device_set_mem(port, port->new_mem);
    port->new_mem = NULL;
    if (vhost_postcopy_is_listening(port)) {
        vhost_postcopy_ask(port, reply);
    }
    return NULL;
}

void
vhost_mem_table_cancel(struct vhost_port *port)
{
    if (port->mem_job) {
        VHOST_CONTAINER_OF(port->mem_job, struct mem_job, job)->port = NULL;
        port->mem_job = NULL;
    }
}
