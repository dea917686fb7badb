/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Nodes for a machine that has only one: preloaded into ovs-vswitchd, this
 * makes all memory be on the node whose number is in $FAKE_NODE_FILE at the
 * moment when it is asked for.  Open vSwitch's own --dummy-numa does the same
 * for processors. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODE_OF_ADDRESS 3       /* MPOL_F_NODE | MPOL_F_ADDR. */

long get_mempolicy(int *mode, unsigned long *nodemask, unsigned long maxnode,
                   void *addr, unsigned flags);

/* In place of libnuma's, which is a system call. */
__attribute__((visibility("default"))) long
get_mempolicy(int *mode, unsigned long *nodemask, unsigned long maxnode,
              void *addr, unsigned flags)
{
    const char *name = getenv("FAKE_NODE_FILE");
    FILE *stream = name && flags == NODE_OF_ADDRESS ? fopen(name, "r") : NULL;
    int node = -1;

    if (stream) {
        if (fscanf(stream, "%d", &node) != 1) {
            node = -1;
        }
        fclose(stream);
    }
    if (node >= 0) {
        *mode = node;
        return 0;
    }
    return syscall(SYS_get_mempolicy, mode, nodemask, maxnode, addr, flags);
}
