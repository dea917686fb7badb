/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The file of a capture: what its blocks say of each record, and when they are
 * written.  See capture-file.h.
 */

#include <config.h>

#include "capture-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "pcapng.h"
#include "private.h"
#include "timeval.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_capture_file);

/* Memory for blocks that are written at once. */
#define BUFFER_BYTES (512u << 10)

void
capture_file_flush(struct capture_file *f)
{
    size_t done = 0;

    while (done < f->n_buf && !f->error) {
        ssize_t n = write(f->fd, f->buf + done, f->n_buf - done);

        if (n >= 0) {
            done += n;
        } else if (errno != EINTR) {
            f->error = errno;
        }
    }
    if (f->error && done && ftruncate(f->fd, counter_get(&f->n_bytes))) {
        VLOG_DBG("ftruncate: %s", ovs_strerror(errno));
    }
    if (!f->error) {
        counter_add(&f->n_bytes, f->n_buf, false);
    }
    f->n_buf = 0;
}

/* Returns where a block of up to 'size' bytes may be put. */
static uint8_t *
room(struct capture_file *f, size_t size)
{
    if (BUFFER_BYTES - f->n_buf < size) {
        capture_file_flush(f);
    }
    return f->buf + f->n_buf;
}

static void
put_header(struct capture_file *f, const char *port, const char *type,
           uint32_t snaplen)
{
    char *application = xasprintf("%s with ovs-vhost", ovs_get_program_name());
    char *description = xasprintf("%s port of Open vSwitch", type);

    f->n_buf = pcapng_put_header(f->buf, BUFFER_BYTES, application, port,
                                 description, snaplen);
    free(application);
    free(description);
}

static uint32_t
packet_flags(const struct capture_record *rec)
{
    uint8_t gso_type = rec->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
    uint32_t flags = (rec->direction == CAPTURE_IN
                      ? PCAPNG_INBOUND : PCAPNG_OUTBOUND);

    if (rec->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        flags |= PCAPNG_CSUM_NOT_READY;
    } else if (rec->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
        flags |= PCAPNG_CSUM_VALID;
    }
    if (gso_type == VIRTIO_NET_HDR_GSO_TCPV4
        || gso_type == VIRTIO_NET_HDR_GSO_TCPV6) {
        flags |= PCAPNG_TSO;
    }
    return flags;
}

/* The name of a counter of drops, without "_drops" at its end. */
static void
put_drop_name(struct ds *ds, const char *name)
{
    static const char suffix[] = "_drops";
    size_t len = strlen(name);

    if (len > strlen(suffix)
        && !strcmp(name + len - strlen(suffix), suffix)) {
        len -= strlen(suffix);
    }
    ds_put_format(ds, "dropped: %.*s", (int) len, name);
}

static void
put_verdict(struct ds *ds, const struct capture_record *rec)
{
    unsigned int event = rec->verdict - 1;

    switch (rec->verdict) {
    case CAPTURE_PASSED:
        break;
    case CAPTURE_MADE:
        ds_put_cstr(ds, "made by the switch, for the guest");
        break;
    case CAPTURE_UNREADABLE:
        put_drop_name(ds, vhost_counter_to_string(VHOST_C_TOO_MANY_SEGS));
        break;
    default:
        put_drop_name(ds, (rec->direction == CAPTURE_IN
                           ? rx_event_names[event % RX_N_EVENTS]
                           : tx_event_names[event % TX_N_EVENTS]));
        break;
    }
}

static void
put_offloads(struct ds *ds, const struct capture_record *rec)
{
    if (rec->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && rec->csum_start) {
        ds_put_format(ds, "%schecksum from byte %u on, to byte %u, is not "
                      "complete", ds->length ? "; " : "", rec->csum_start,
                      rec->csum_start + rec->csum_offset);
    }
    if (rec->gso_type && rec->gso_size) {
        ds_put_format(ds, "%sto be cut into segments of %u bytes (type %u)",
                      ds->length ? "; " : "", rec->gso_size, rec->gso_type);
    }
}

bool
capture_file_put(struct capture_file *f, const struct capture_record *rec,
                 uint64_t max_bytes)
{
    size_t max = rec->data_len + PCAPNG_PACKET_ROOM;
    struct ds comment = DS_EMPTY_INITIALIZER;
    struct pcapng_packet p = {
        .ns = rec->ns,
        .data = rec->data,
        .data_len = rec->data_len,
        .len = rec->len,
        .flags = packet_flags(rec),
        .queue = rec->queue == CAPTURE_NO_QUEUE ? -1 : rec->queue,
        .n_lost = rec->n_lost - MIN(rec->n_lost, f->seen_lost),
    };
    uint8_t *buf;

    if (counter_get(&f->n_bytes) + f->n_buf + max + PCAPNG_BLOCK_ROOM
        > max_bytes) {
        return false;
    }
    put_verdict(&comment, rec);
    put_offloads(&comment, rec);
    p.comment = comment.length ? ds_cstr(&comment) : NULL;
    buf = room(f, max);
    f->n_buf += pcapng_put_packet(buf, max, &p);
    ds_destroy(&comment);

    f->seen_lost = MAX(f->seen_lost, rec->n_lost);
    counter_add(&f->n_packets, 1, false);
    if (rec->verdict != CAPTURE_PASSED && rec->verdict != CAPTURE_MADE) {
        counter_add(&f->n_drops, 1, false);
    }
    return true;
}

int
capture_file_create(struct capture_file *f, const char *path,
                    const char *port, const char *type, uint32_t snaplen)
{
    memset(f, 0, sizeof *f);
    f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                 S_IRUSR | S_IWUSR);
    if (f->fd < 0) {
        return errno;
    }
    f->buf = xmalloc(BUFFER_BYTES);
    f->begun_at = time_wall_msec();
    put_header(f, port, type, snaplen);
    capture_file_flush(f);
    if (f->error) {
        close(f->fd);
        unlink(path);
        free(f->buf);
    }
    return f->error;
}

void
capture_file_end(struct capture_file *f, uint64_t n_lost, const char *reason)
{
    long long int now = time_wall_msec();
    struct pcapng_statistics s = {
        .start_ns = f->begun_at * UINT64_C(1000000),
        .end_ns = now * UINT64_C(1000000),
        .n_packets = f->n_packets + n_lost,
        .n_lost = n_lost,
        .comment = reason,
    };

    f->n_buf += pcapng_put_statistics(room(f, PCAPNG_BLOCK_ROOM),
                                      PCAPNG_BLOCK_ROOM, &s);
    capture_file_flush(f);
    if (close(f->fd) && !f->error) {
        f->error = errno;
    }
    free(f->buf);
    f->buf = NULL;
}
