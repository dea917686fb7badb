/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The front end's side of a live migration: see dirty-log.h. */

#include "guest/dirty-log.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/fail.h"

#define OUTSIDE 0xa5            /* Around the log. */

void
fe_log_init(struct fe_log *log, uint64_t size, uint64_t offset)
{
    log->size = size;
    log->offset = offset;
    log->file_size = (offset + size) / FE_PAGE * FE_PAGE + 2 * FE_PAGE;
    log->fd = fe_memfd(log->file_size, 0);
    log->file = mmap(NULL, log->file_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                     log->fd, 0);
    FE_CHECK(log->file != MAP_FAILED);
    memset(log->file, OUTSIDE, log->file_size);
    memset(log->file + offset, 0, size);
}

void
fe_log_destroy(struct fe_log *log)
{
    munmap(log->file, log->file_size);
    close(log->fd);
}

uint64_t
fe_log_size(const struct fe *fe)
{
    uint64_t end = 0;

    for (unsigned int i = 0; i < fe->n_regions; i++) {
        const struct fe_region *r = &fe->regions[i];

        if (r->guest_addr + r->size > end) {
            end = r->guest_addr + r->size;
        }
    }
    return (end + 8 * FE_PAGE - 1) / (8 * FE_PAGE);
}

uint64_t
fe_send_log_base(struct fe *fe, const struct fe_log *log)
{
    uint64_t payload[2] = { log->size, log->offset };
    uint64_t value = 0;
    struct fe_header h;

    /* Always answered, by some with no payload. */
    FE_CHECK(fe_send_fds(fe, FE_SET_LOG_BASE, 0, payload, sizeof payload,
                         &log->fd, 1));
    FE_CHECK(fe_receive(fe, &h, &value, sizeof value, 8000)
             == FE_GOT_MESSAGE);
    FE_CHECK_EQ(h.request, FE_SET_LOG_BASE);
    FE_CHECK_EQ(h.flags, FE_VERSION | FE_REPLY);
    FE_CHECK(h.size == 0 || h.size == sizeof value);
    return value;
}

void
fe_log_switch(struct fe *fe, struct fe_vq vqs[], unsigned int n, bool on)
{
    FE_CHECK_EQ(fe_ask_u64(fe, FE_SET_FEATURES,
                           fe->features | (on ? FE_F_LOG_ALL : 0)), 0);
    for (unsigned int i = 0; i < n; i++) {
        vqs[i].log = on;
        FE_CHECK_EQ(fe_vq_send_addr(&vqs[i]), 0);
    }
}

bool
fe_log_marked(const struct fe_log *log, uint64_t addr)
{
    uint64_t page = addr / FE_PAGE;

    FE_CHECK_LT(page / 8, log->size);
    return (__atomic_load_n(&log->file[log->offset + page / 8],
                            __ATOMIC_ACQUIRE) >> page % 8) & 1;
}

bool
fe_log_take(struct fe_log *log, uint64_t page)
{
    uint8_t *byte = &log->file[log->offset + page / 8];
    uint8_t bit = 1 << page % 8;

    FE_CHECK_LT(page / 8, log->size);
    return (__atomic_load_n(byte, __ATOMIC_RELAXED) & bit
            && __atomic_fetch_and(byte, ~bit, __ATOMIC_SEQ_CST) & bit);
}

uint64_t
fe_log_clear(struct fe_log *log)
{
    uint64_t n = 0;

    for (uint64_t page = 0; page < log->size * 8; page++) {
        n += fe_log_take(log, page);
    }
    return n;
}

void
fe_log_check_outside(const struct fe_log *log)
{
    for (uint64_t i = 0; i < log->file_size; i++) {
        if (i < log->offset || i >= log->offset + log->size) {
            FE_CHECK_EQ(log->file[i], OUTSIDE);
        }
    }
}
