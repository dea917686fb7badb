/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The player's guest memory: a sparse file for each one of the recording, of
 * the same size, and the regions of the memory table in force. */

#ifndef SESSION_STAGE_H
#define SESSION_STAGE_H 1

#include "session/message.h"

#define MAX_FILES 256u

struct stage {
    struct stage_file {
        int fd;                 /* -1: there is none. */
        uint64_t size;
        uint8_t *map;
    } files[MAX_FILES];
    unsigned int n_areas;
    struct stage_area {
        struct fe_mem_region r;
        uint8_t *map;
    } areas[FE_MAX_REGIONS];
};

void stage_init(struct stage *);
void stage_free(struct stage *);

/* The descriptor of the file that stands for 'info'; owned by the stage. */
int stage_file(struct stage *, const struct fd_info *info);

/* Takes over what SET_MEM_TABLE, ADD_MEM_REG or REM_MEM_REG say.  Returns
 * false if a region is not within its file. */
bool stage_set_table(struct stage *, const struct message *);
bool stage_add_region(struct stage *, const struct message *);
void stage_remove_region(struct stage *, const struct message *);

/* Where [addr, addr + len) is; NULL unless it is in one region. */
void *stage_guest(const struct stage *, uint64_t addr, uint64_t len);
void *stage_user(const struct stage *, uint64_t addr, uint64_t len);

#endif /* session/stage.h */
