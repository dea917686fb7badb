/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The file of a capture.  It knows records and what to say of them, and
 * neither the ring that they come from nor when to end.
 *
 * One thread writes; others may read what is said so, by counter_get().
 */

#ifndef CAPTURE_FILE_H
#define CAPTURE_FILE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_record;

struct capture_file {
    /* For others to read, too. */
    uint64_t n_packets;         /* In the file. */
    uint64_t n_drops;           /* Of them, packets that were dropped. */
    uint64_t n_bytes;           /* Of the file: whole blocks. */
    long long int begun_at;     /* time_wall_msec(). */
    int error;                  /* Of writing, 0: none. */

    int fd;
    uint64_t seen_lost;         /* At the last packet. */
    uint8_t *buf;               /* Blocks not written yet. */
    size_t n_buf;
};

/* Makes the file 'path', which must not be there, for its owner only, and
 * writes its beginning, for a port of 'type'.  No link is followed.  Returns 0
 * or a positive errno value, with nothing left behind. */
int capture_file_create(struct capture_file *, const char *path,
                        const char *port, const char *type,
                        uint32_t snaplen);

/* Adds a packet.  Returns false if the file might then be longer than
 * 'max_bytes' in the end. */
bool capture_file_put(struct capture_file *, const struct capture_record *,
                      uint64_t max_bytes);

/* Writes what is in the buffer.  Where that fails the file ends with the last
 * block that is whole, and stays so. */
void capture_file_flush(struct capture_file *);

/* Writes the file's end and closes it. */
void capture_file_end(struct capture_file *, uint64_t n_lost,
                      const char *reason);

#endif /* capture-file.h */
