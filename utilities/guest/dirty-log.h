/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The front end's side of a live migration: shares a log, has the device mark
 * in it what it writes, and looks.
 *
 * Reference: the vhost-user specification, section "Migration". */

#ifndef GUEST_DIRTY_LOG_H
#define GUEST_DIRTY_LOG_H 1

#include "guest/vq.h"

struct fe_log {
    int fd;
    uint64_t size;              /* Bytes of the log. */
    uint64_t offset;            /* Where it begins in the file. */
    uint64_t file_size;
    uint8_t *file;              /* The whole file here. */
};

/* Makes a log of 'size' bytes, at 'offset' of a file with some space after
 * it. */
void fe_log_init(struct fe_log *, uint64_t size, uint64_t offset);
void fe_log_destroy(struct fe_log *);

/* Bytes of a log for all of the guest's memory. */
uint64_t fe_log_size(const struct fe *);

/* SET_LOG_BASE.  Returns the answer, 0 for success. */
uint64_t fe_send_log_base(struct fe *, const struct fe_log *);

/* Switches logging on or off, with rings that run or not, as QEMU does:
 * SET_FEATURES, then SET_VRING_ADDR for each of the 'n' rings.  All must be
 * acknowledged. */
void fe_log_switch(struct fe *, struct fe_vq[], unsigned int n, bool on);

/* Whether the page of guest address 'addr' is marked. */
bool fe_log_marked(const struct fe_log *, uint64_t addr);

/* Takes the mark of page 'page' away; returns whether there was one. */
bool fe_log_take(struct fe_log *, uint64_t page);

/* Clears the log; returns how many pages were marked. */
uint64_t fe_log_clear(struct fe_log *);

/* Fails unless what is around the log in its file is as it was. */
void fe_log_check_outside(const struct fe_log *);

#endif /* guest/dirty-log.h */
