/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The device's state in migration; see state.h.
 *
 * The front end's own channel may be a pipe that it never reads from or writes
 * to, so it is not used: the specification lets the back end answer with one
 * of its own.  Ours is a memory file in both directions, whose size is sealed.
 * Reading and writing that waits for nobody, takes a bounded amount of memory,
 * and needs no attention between the two messages.
 *
 * When a state is saved the file holds it, whole, before the front end gets
 * it.  When one is loaded, the front end writes to a file of zeros, and what
 * is in it at CHECK_DEVICE_STATE is read, once.  A marker tells its end, since
 * the file is longer.
 *
 * The state is a list of counters, of vrings and of the embedding program.
 * All numbers are little-endian.  Counters that are 0 are left out, those that
 * the reader does not know are passed over.
 */

#include "state.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x65746174532d4f56)      /* "VO-State" */
#define END_MAGIC UINT64_C(0x2e646e452d2d4f56)  /* "VO--End." */
#define VERSION 1

/* Of struct state_entry, in place of a vring: the embedding program's. */
#define EMBEDDER 0xffff

/* A port that counts more has been lied to, and no sum overflows. */
#define VALUE_MAX (UINT64_C(1) << 60)

struct state_header {
    uint64_t magic;
    uint32_t version;
    uint32_t n_entries;
};

struct state_entry {
    uint16_t vring;
    uint16_t reserved;          /* 0. */
    uint32_t number;            /* Of 'numbers', or the embedder's. */
    uint64_t value;
};

#define MAX_ENTRIES (VHOST_MAX_VRINGS * VHOST_N_COUNTERS + VHOST_STATE_VALUES)

/* What a file holds that is loaded: more than anybody saves. */
#define LOAD_SIZE (128 << 10)

struct state_file {
    struct state_header header;
    struct state_entry entries[MAX_ENTRIES];
    uint64_t room_for_end;
};

_Static_assert(sizeof(struct state_file) <= LOAD_SIZE, "too many counters");

/* The numbers of counters in a state.  They never change; 0 is none. */
static const uint8_t numbers[VHOST_N_COUNTERS] = {
    [VHOST_C_BAD_AVAIL_IDX] = 1,
    [VHOST_C_BAD_HEAD] = 2,
    [VHOST_C_BAD_CHAIN] = 3,
    [VHOST_C_BAD_INDIRECT] = 4,
    [VHOST_C_BAD_ADDRESS] = 5,
    [VHOST_C_BAD_LENGTH] = 6,
    [VHOST_C_BAD_DIRECTION] = 7,
    [VHOST_C_FAULT] = 8,
    [VHOST_C_SLOW_CALL] = 9,
    [VHOST_C_TOO_MANY_SEGS] = 10,
    [VHOST_C_TOO_BIG] = 11,
    [VHOST_C_DISCARDED] = 12,
    [VHOST_C_CRASH_LOST] = 13,
    [VHOST_C_NOTIFICATIONS] = 14,
    [VHOST_C_SUPPRESSED] = 15,
    [VHOST_C_NOTIFY_ERRORS] = 16,
    [VHOST_C_OFFLOADED] = 17,
    [VHOST_C_CONTENTION] = 18,
    [VHOST_C_IOTLB_HITS] = 19,
    [VHOST_C_IOTLB_MISSES] = 20,
    [VHOST_C_IOTLB_AHEAD] = 21,
};

/* "Suspended device state" is all that a state is transferred in. */
static bool
is_suspended(const struct vhost_port *port)
{
    for (unsigned int i = 0; i < port->max_vrings; i++) {
        if (port->rings[i] && port->rings[i]->started) {
            return false;
        }
    }
    return true;
}

void
vhost_state_release(struct vhost_port *port)
{
    if (port->state_fd >= 0) {
        close(port->state_fd);
        port->state_fd = -1;
    }
    port->state_due = false;
}

/* A file of 'size' bytes that keeps this size, -1 if there can be none. */
static int
make_file(const void *data, size_t size)
{
    int fd = memfd_create("vhost-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

    if (fd < 0) {
        return -1;
    }
    if (data ? pwrite(fd, data, size, 0) != (ssize_t) size
             : ftruncate(fd, size)) {
        close(fd);
        return -1;
    }
    if (fcntl(fd, F_ADD_SEALS, seals | (data ? F_SEAL_WRITE : 0))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Saving. */

static void
add_entry(struct state_file *f, uint32_t *n, unsigned int vring,
          unsigned int number, uint64_t value)
{
    if (value) {
        struct state_entry *e = &f->entries[(*n)++];

        e->vring = htole16(vring);
        e->number = htole32(number);
        e->value = htole64(value < VALUE_MAX ? value : VALUE_MAX);
    }
}

/* Collects the state in 'f', which is all zeros.  Returns its size. */
static size_t
collect(struct vhost_port *port, struct state_file *f)
{
    uint64_t values[VHOST_STATE_VALUES] = { 0 };
    const uint64_t end = htole64(END_MAGIC);
    uint32_t n = 0;

    for (unsigned int v = 0; v < port->max_vrings; v++) {
        struct vhost_vring_info info;

        if (vhost_port_get_vring(port, v, &info)) {
            for (unsigned int i = 0; i < VHOST_N_COUNTERS; i++) {
                add_entry(f, &n, v, numbers[i], info.counters[i]);
            }
        }
    }
    if (port->ops && port->ops->save) {
        port->ops->save(port->aux, values);
    }
    for (unsigned int i = 0; i < VHOST_STATE_VALUES; i++) {
        add_entry(f, &n, EMBEDDER, i, values[i]);
    }
    f->header.magic = htole64(MAGIC);
    f->header.version = htole32(VERSION);
    f->header.n_entries = htole32(n);
    memcpy(&f->entries[n], &end, sizeof end);
    return sizeof f->header + n * sizeof *f->entries + sizeof end;
}

static int
save(struct vhost_port *port)
{
    struct state_file *f = calloc(1, sizeof *f);
    int fd = f ? make_file(f, collect(port, f)) : -1;

    free(f);
    return fd;
}

/* Makes the channel, with no lock held, since it calls the embedder. */
void
vhost_state_prepare(struct vhost_port *port)
{
    const struct vhost_wire_state_transfer *t = &port->msg.payload.transfer;

    vhost_state_release(port);
    port->state_error = NULL;
    if (t->direction > VHOST_WIRE_STATE_LOAD
        || t->phase != VHOST_WIRE_STATE_STOPPED) {
        port->state_error = "no such direction or phase";
    } else if (!is_suspended(port)) {
        port->state_error = "rings are not stopped";
    } else {
        port->state_fd = (t->direction == VHOST_WIRE_STATE_LOAD
                          ? make_file(NULL, LOAD_SIZE) : save(port));
        if (port->state_fd < 0) {
            port->state_error = "no memory file";
        }
    }
    vhost_session_prepared(port);
}

/* Says in the message's own answer what is wrong. */
static void
refuse(struct vhost_port *port, struct vhost_reply *reply, uint64_t answer)
{
    vhost_port_log(port, VHOST_LOG_WARN, "%s refused: %s",
                   vhost_message_name(port), port->state_error);
    reply->payload.u64 = answer;
}

vhost_result
vhost_state_set_fd(struct vhost_port *port, struct vhost_reply *reply)
{
    bool load = port->msg.payload.transfer.direction == VHOST_WIRE_STATE_LOAD;

    reply->size = sizeof reply->payload.u64;
    reply->payload.u64 = 0;
    if (!port->state_error && load) {
        reply->fd = fcntl(port->state_fd, F_DUPFD_CLOEXEC, 0);
        if (reply->fd < 0) {
            port->state_error = "no descriptor";
            vhost_state_release(port);
        }
    } else if (!port->state_error) {
        reply->fd = port->state_fd;
        port->state_fd = -1;
    }
    if (port->state_error) {
        refuse(port, reply, 1 | VHOST_WIRE_STATE_NOFD);
    } else {
        port->state_due = true;
    }
    return NULL;
}

/* Loading. */

/* Reads all of the file, which the front end may be writing to.  Returns NULL
 * if that cannot be. */
static uint8_t *
read_file(int fd)
{
    uint8_t *data = malloc(LOAD_SIZE);
    size_t n = 0;

    while (data && n < LOAD_SIZE) {
        ssize_t got = pread(fd, data + n, LOAD_SIZE - n, n);

        if (got > 0) {
            n += got;
        } else if (!got || errno != EINTR) {
            free(data);
            return NULL;
        }
    }
    return data;
}

/* What is wrong with the form of the state at 'data', or NULL. */
static const char *
check_form(const uint8_t *data)
{
    const struct state_file *f = (const void *) data;
    size_t n = le32toh(f->header.n_entries);
    size_t size = sizeof f->header;
    uint64_t end;

    if (le64toh(f->header.magic) != MAGIC) {
        return "it is no state of a port like this";
    }
    if (le32toh(f->header.version) != VERSION) {
        return "its version is not known";
    }
    if (n > (LOAD_SIZE - size - sizeof end) / sizeof *f->entries) {
        return "it is too long";
    }
    size += n * sizeof *f->entries;
    memcpy(&end, data + size, sizeof end);
    if (le64toh(end) != END_MAGIC) {
        return "it is not complete";
    }
    for (size += sizeof end; size < LOAD_SIZE; size++) {
        if (data[size]) {
            return "more follows its end";
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct state_entry *e = (const struct state_entry *)
            (data + sizeof f->header) + i;

        if (e->reserved || le64toh(e->value) > VALUE_MAX) {
            return "it has an impossible counter";
        }
    }
    return NULL;
}

/* Adds to counter 'number' of vring 'idx'.  No polling thread is there: rings
 * are stopped. */
static void
load_counter(struct vhost_port *port, unsigned int idx, uint32_t number,
             uint64_t value)
{
    struct vhost_ring *ring = (idx < 2 * port->offer.queue_pairs
                               ? vhost_device_ring(port, idx) : NULL);

    for (unsigned int i = 0; ring && i < VHOST_N_COUNTERS; i++) {
        uint64_t old = atomic_load_explicit(&ring->st.counters[i],
                                            memory_order_relaxed);

        if (number == numbers[i] && old < VALUE_MAX) {
            value = value < VALUE_MAX - old ? value : VALUE_MAX - old;
            vring_count(&ring->st, i, value);
        }
    }
}

/* Takes over the state at 'data', whose form is right. */
static void
load(struct vhost_port *port, const uint8_t *data)
{
    const struct state_file *f = (const void *) data;
    const struct state_entry *e = (const struct state_entry *) (&f->header
                                                                 + 1);
    uint64_t values[VHOST_STATE_VALUES] = { 0 };
    size_t n = le32toh(f->header.n_entries);

    pthread_mutex_lock(&port->mutex);
    for (; n--; e++) {
        uint32_t number = le32toh(e->number);

        if (le16toh(e->vring) != EMBEDDER) {
            load_counter(port, le16toh(e->vring), number, le64toh(e->value));
        } else if (number < VHOST_STATE_VALUES) {
            values[number] = le64toh(e->value);
        }
    }
    pthread_mutex_unlock(&port->mutex);
    if (port->ops && port->ops->load) {
        port->ops->load(port->aux, values);
    }
}

static const char *
load_file(struct vhost_port *port)
{
    const char *error = "the file cannot be read";
    uint8_t *data;

    if (!is_suspended(port)) {
        return "rings are not stopped";
    }
    data = read_file(port->state_fd);
    if (data) {
        error = check_form(data);
        if (!error) {
            load(port, data);
        }
    }
    free(data);
    return error;
}

/* Loads with no lock held, since it calls the embedder. */
void
vhost_state_check_prepare(struct vhost_port *port)
{
    port->state_error = (!port->state_due ? "there was no transfer"
                         : port->state_fd < 0 ? NULL    /* It was saved. */
                         : load_file(port));
    vhost_state_release(port);
    vhost_session_prepared(port);
}

vhost_result
vhost_state_check(struct vhost_port *port, struct vhost_reply *reply)
{
    reply->size = sizeof reply->payload.u64;
    reply->payload.u64 = 0;
    if (port->state_error) {
        refuse(port, reply, 1);
    }
    return NULL;
}
