/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * "vhost/memory": whose memory ports have mapped, how much of it exists, and
 * what memory there is for packets.  Guests with several ports have the same
 * memory behind each; in the sum it counts once.
 */

#include <config.h>

#include "commands.h"
#include "private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "openvswitch/json.h"

/* Sizes below this are told in KiB. */
#define SMALL (UINT64_C(16) << 20)

/* A part of a memory file that some port has mapped. */
struct piece {
    dev_t dev;
    ino_t ino;
    uint64_t start, end;        /* In the file. */
    double resident;            /* Share of it. */
};

/* A pool and the ports that use it. */
struct pool_use {
    struct packet_pool_info info;
    const struct packet_pool *pool;
    struct ds ports;
};

struct memory_command {
    struct port_command up;
    unsigned int n_ports;
    uint64_t mapped;            /* Of all ports, in bytes. */
    struct piece *pieces;
    size_t n_pieces, allocated_pieces;
    struct pool_use *pools;
    size_t n_pools, allocated_pools;
};

/* Of a port. */
struct port_memory {
    struct vhost_memory_info *regions;
    unsigned int n;
    uint64_t size, resident;
    bool exact;
};

static void
get_memory(const struct netdev_vhost *dev, struct port_memory *m)
{
    m->regions = xcalloc(VHOST_MAX_MEM_SLOTS, sizeof *m->regions);
    m->n = (dev->port ? vhost_port_get_memory(dev->port, m->regions,
                                              VHOST_MAX_MEM_SLOTS) : 0);
    m->size = m->resident = 0;
    m->exact = true;
    for (unsigned int i = 0; i < m->n; i++) {
        m->size += m->regions[i].region.size;
        m->resident += m->regions[i].resident;
        m->exact &= m->regions[i].exact;
    }
}

/* Sums. */

static void
add_pieces(struct memory_command *cmd, const struct port_memory *m)
{
    for (unsigned int i = 0; i < m->n; i++) {
        const struct vhost_memory_info *r = &m->regions[i];

        if (cmd->n_pieces == cmd->allocated_pieces) {
            cmd->pieces = x2nrealloc(cmd->pieces, &cmd->allocated_pieces,
                                     sizeof *cmd->pieces);
        }
        cmd->pieces[cmd->n_pieces++] = (struct piece) {
            .dev = r->dev,
            .ino = r->ino,
            .start = r->offset,
            .end = r->offset + r->region.size,
            .resident = (double) r->resident / r->region.size,
        };
    }
    cmd->mapped += m->size;
}

static void
add_pool(struct memory_command *cmd, const struct packet_pool *pool,
         const char *port)
{
    struct pool_use *use = NULL;

    if (!pool) {
        return;
    }
    for (size_t i = 0; i < cmd->n_pools && !use; i++) {
        use = cmd->pools[i].pool == pool ? &cmd->pools[i] : NULL;
    }
    if (!use) {
        if (cmd->n_pools == cmd->allocated_pools) {
            cmd->pools = x2nrealloc(cmd->pools, &cmd->allocated_pools,
                                    sizeof *cmd->pools);
        }
        use = &cmd->pools[cmd->n_pools++];
        use->pool = pool;
        packet_pool_get_info(pool, &use->info);
        ds_init(&use->ports);
    }
    ds_put_format(&use->ports, "%s%s", use->ports.length ? " " : "", port);
}

static int
compare_pieces(const void *a_, const void *b_)
{
    const struct piece *a = a_;
    const struct piece *b = b_;

    return (a->dev != b->dev ? (a->dev > b->dev) - (a->dev < b->dev)
            : a->ino != b->ino ? (a->ino > b->ino) - (a->ino < b->ino)
            : (a->start > b->start) - (a->start < b->start));
}

/* Adds up the pieces, none of them twice. */
static void
sum_pieces(struct memory_command *cmd, uint64_t *size, uint64_t *resident)
{
    uint64_t end = 0;

    *size = *resident = 0;
    qsort(cmd->pieces, cmd->n_pieces, sizeof *cmd->pieces, compare_pieces);
    for (size_t i = 0; i < cmd->n_pieces; i++) {
        const struct piece *p = &cmd->pieces[i];
        bool same = i && p->dev == p[-1].dev && p->ino == p[-1].ino;
        uint64_t start = same ? MAX(p->start, end) : p->start;

        if (start < p->end) {
            *size += p->end - start;
            *resident += (p->end - start) * p->resident;
        }
        end = same ? MAX(end, p->end) : p->end;
    }
}

/* Text. */

static void
put_plain_size(struct ds *ds, uint64_t bytes)
{
    bool small = bytes < SMALL;

    ds_put_format(ds, "%"PRIu64" %s", bytes >> (small ? 10 : 20),
                  small ? "KiB" : "MiB");
}

static void
put_size(struct ds *ds, bool exact, uint64_t bytes)
{
    ds_put_cstr(ds, exact ? "" : "about ");
    put_plain_size(ds, bytes);
}

static void
format_region(struct ds *ds, const struct vhost_memory_info *m)
{
    const struct vhost_region_info *r = &m->region;

    ds_put_format(ds, "        0x%"PRIx64": ", r->guest_addr);
    put_size(ds, true, r->size);
    if (r->numa >= 0) {
        ds_put_format(ds, ", node %d", r->numa);
    }
    ds_put_format(ds, ", pages of %"PRIu64" KiB, ", r->page_size >> 10);
    ds_put_cstr(ds, (m->exact ? ""
                     : r->page_size > get_page_size() ? "at least "
                     : "about "));
    put_plain_size(ds, m->resident);
    ds_put_format(ds, " resident; %s from byte 0x%"PRIx64" (inode %"PRIuMAX", "
                  "device %u:%u)\n", m->file[0] ? m->file : "a file",
                  m->offset, (uintmax_t) m->ino, major(m->dev),
                  minor(m->dev));
}

static void
format_pool(struct ds *ds, const char *name, const struct packet_pool *pool)
{
    if (pool) {
        ds_put_format(ds, "    %s: ", name);
        packet_pool_format(pool, ds);
        ds_put_char(ds, '\n');
    }
}

static void
format_port(struct ds *ds, const struct netdev_vhost *dev,
            const struct port_memory *m)
{
    ds_put_format(ds, "%s: %s\n", dev->up.name, netdev_get_type(&dev->up));
    ds_put_format(ds, "    guest memory: %u region%s, ", m->n,
                  m->n == 1 ? "" : "s");
    put_size(ds, true, m->size);
    ds_put_cstr(ds, ", ");
    put_size(ds, m->exact, m->resident);
    ds_put_cstr(ds, " resident\n");
    for (unsigned int i = 0; i < m->n; i++) {
        format_region(ds, &m->regions[i]);
    }
    if (!dev->pool) {
        ds_put_cstr(ds, "    packets: no memory for them\n");
    }
    format_pool(ds, "packets", dev->pool);
    format_pool(ds, "TSO packets", dev->big_pool);
}

static void
format_totals(struct memory_command *cmd, uint64_t size, uint64_t resident)
{
    struct ds *ds = &cmd->up.ds;

    ds_put_format(ds, "%sall %u ports:\n    guest memory: ",
                  ds->length ? "\n" : "", cmd->n_ports);
    put_size(ds, true, cmd->mapped);
    ds_put_cstr(ds, " mapped, ");
    put_size(ds, true, size);
    ds_put_cstr(ds, " of it different, ");
    put_size(ds, false, resident);
    ds_put_cstr(ds, " resident\n");
    for (size_t i = 0; i < cmd->n_pools; i++) {
        const struct pool_use *use = &cmd->pools[i];

        ds_put_cstr(ds, "    packets: ");
        packet_pool_format(use->pool, ds);
        ds_put_cstr(ds, ", ");
        put_size(ds, true, use->info.bytes);
        ds_put_format(ds, ": %s\n", ds_cstr_ro(&use->ports));
    }
}

/* JSON. */

static void
put_number(struct json *json, const char *name, uint64_t value)
{
    json_object_put(json, name, json_integer_create(value));
}

static struct json *
region_to_json(const struct vhost_memory_info *m)
{
    const struct vhost_region_info *r = &m->region;
    struct json *json = json_object_create();

    json_object_put_format(json, "guest_address", "0x%"PRIx64, r->guest_addr);
    put_number(json, "size", r->size);
    put_number(json, "page_size", r->page_size);
    json_object_put(json, "numa", (r->numa >= 0 ? json_integer_create(r->numa)
                                   : json_null_create()));
    put_number(json, "resident", m->resident);
    json_object_put(json, "resident_exact", json_boolean_create(m->exact));
    json_object_put_string(json, "file", m->file);
    put_number(json, "inode", m->ino);
    json_object_put_format(json, "device", "%u:%u", major(m->dev),
                           minor(m->dev));
    put_number(json, "offset", m->offset);
    return json;
}

static struct json *
port_to_json(const struct netdev_vhost *dev, const struct port_memory *m)
{
    struct json *array = json_array_create_empty();
    struct json *json = json_object_create();

    for (unsigned int i = 0; i < m->n; i++) {
        json_array_add(array, region_to_json(&m->regions[i]));
    }
    json_object_put_string(json, "name", dev->up.name);
    json_object_put_string(json, "type", netdev_get_type(&dev->up));
    put_number(json, "size", m->size);
    put_number(json, "resident", m->resident);
    json_object_put(json, "regions", array);
    netdev_vhost_put_pools(json, dev);
    return json;
}

static struct json *
totals_to_json(const struct memory_command *cmd, uint64_t size,
               uint64_t resident)
{
    struct json *array = json_array_create_empty();
    struct json *json = json_object_create();

    for (size_t i = 0; i < cmd->n_pools; i++) {
        struct json *pool = netdev_vhost_pool_to_json(cmd->pools[i].pool);

        json_object_put_string(pool, "used_by",
                               ds_cstr_ro(&cmd->pools[i].ports));
        json_array_add(array, pool);
    }
    put_number(json, "mapped", cmd->mapped);
    put_number(json, "size", size);
    put_number(json, "resident", resident);
    json_object_put(json, "pools", array);
    return json;
}

/* The command. */

static void
memory_one(struct port_command *up, struct netdev_vhost *dev)
{
    struct memory_command *cmd = CONTAINER_OF(up, struct memory_command, up);
    struct port_memory m;

    get_memory(dev, &m);
    if (up->array) {
        json_array_add(up->array, port_to_json(dev, &m));
    } else {
        format_port(&up->ds, dev, &m);
    }
    cmd->n_ports++;
    add_pieces(cmd, &m);
    add_pool(cmd, dev->pool, dev->up.name);
    add_pool(cmd, dev->big_pool, dev->up.name);
    free(m.regions);
}

static void
memory_end(struct port_command *up)
{
    struct memory_command *cmd = CONTAINER_OF(up, struct memory_command, up);
    uint64_t size, resident;

    sum_pieces(cmd, &size, &resident);
    if (up->array) {
        struct json *json = json_object_create();

        json_object_put(json, "ports", up->array);
        if (!up->name) {
            json_object_put(json, "totals",
                            totals_to_json(cmd, size, resident));
        }
        up->array = json;
    } else if (!up->name) {
        format_totals(cmd, size, resident);
    }
}

static void
vhost_memory(struct unixctl_conn *conn, int argc, const char *argv[],
             void *data OVS_UNUSED)
{
    struct memory_command cmd = {
        .up = { .cb = memory_one, .end = memory_end },
    };

    netdev_vhost_for_ports(conn, argc, argv, &cmd.up);
    for (size_t i = 0; i < cmd.n_pools; i++) {
        ds_destroy(&cmd.pools[i].ports);
    }
    free(cmd.pools);
    free(cmd.pieces);
}

void
netdev_vhost_memory_register(void)
{
    unixctl_command_register("vhost/memory", "[--json] [port]", 0, 2,
                             vhost_memory, NULL);
}
