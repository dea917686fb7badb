/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * SET_MEM_TABLE, ADD_MEM_REG and REM_MEM_REG: the guest's memory is mapped by
 * the worker while the event thread serves others, also if the connection ends
 * meanwhile.  Each makes a new map, in which regions that did not change keep
 * their place; rings are described anew from it.
 */

#include "map-job.h"
#include "messages.h"
#include "postcopy.h"

#include <stddef.h>
#include <stdlib.h>

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
    struct vhost_map_job map;
    uint32_t request;           /* Message that it is for. */
    struct vhost_wire_mem_table table;
    struct vhost_mem *old, *new;
    bool untouched;             /* Its pages are not there yet. */
};

static void
mem_job_map(struct vhost_map_job *map)
{
    struct mem_job *job = VHOST_CONTAINER_OF(map, struct mem_job, map);

    switch (job->request) {
    case VHOST_USER_ADD_MEM_REG:
        job->new = vhost_mem_add(job->old, job->table.regions, map->fds[0],
                                 &map->error);
        break;
    case VHOST_USER_REM_MEM_REG:
        job->new = vhost_mem_remove(job->old, job->table.regions,
                                    &map->error);
        break;
    default:
        job->new = vhost_mem_create(job->table.regions, map->fds,
                                    job->table.n_regions, job->old,
                                    job->untouched, &map->error);
        break;
    }
    vhost_mem_unref(job->old);
}

static void
mem_job_give(struct vhost_map_job *map, struct vhost_port *port)
{
    port->new_mem = VHOST_CONTAINER_OF(map, struct mem_job, map)->new;
}

static void
mem_job_drop(struct vhost_map_job *map)
{
    vhost_mem_unref(VHOST_CONTAINER_OF(map, struct mem_job, map)->new);
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
    job->request = msg->header.request;
    if (job->request == VHOST_USER_SET_MEM_TABLE) {
        job->table = msg->payload.mem;
    } else {
        job->table.n_regions = 1;
        job->table.regions[0] = msg->payload.mem_reg.region;
    }

    /* What was taken away has to come anew in a whole table.  (The connection
     * is about to end for it.) */
    if (!poisoned || job->request != VHOST_USER_SET_MEM_TABLE) {
        job->old = vhost_mem_ref(port->mem);
    }
    job->untouched = vhost_postcopy_is_listening(port);
    job->map.map = mem_job_map;
    job->map.give = mem_job_give;
    job->map.drop = mem_job_drop;
    vhost_map_job_post(&job->map, port, job->table.n_regions);
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
