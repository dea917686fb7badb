/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the operator has set for a port beyond its socket: the options that
 * decide what guests are offered, from the Interface's column "options" and,
 * where a port has no word on it, from other_config.  They are only read here;
 * what they lead to is config.c's.
 */

#ifndef NETDEV_VHOST_OPTIONS_H
#define NETDEV_VHOST_OPTIONS_H 1

#include <stdbool.h>
#include <stdint.h>

#include "openvswitch/compiler.h"
#include "vhost/vhost.h"

struct ds;
struct smap;

/* What a port may offer beyond what the stock ports do: bits of
 * vhost_options.extras, from "vhost-extras". */
enum vhost_extra {
    VHOST_EXTRA_CSUM = 1 << 0,          /* CSUM, completed on receive. */
    VHOST_EXTRA_TSO = 1 << 1,           /* HOST_TSO4, HOST_TSO6, if TSO. */
    VHOST_EXTRA_RING_RESET = 1 << 2,
    VHOST_EXTRA_MEM_SLOTS = 1 << 3,
    VHOST_EXTRA_RESET_DEVICE = 1 << 4,
    VHOST_EXTRA_INFLIGHT = 1 << 5,
    VHOST_EXTRA_DEVICE_STATE = 1 << 6,
};

struct vhost_options {
    bool iommu;                 /* "vhost-iommu-support". */
    bool postcopy;              /* "vhost-postcopy-support". */
    bool packed;                /* "vhost-packed". */
    unsigned int queue_pairs;   /* "vhost-max-queue-pairs". */
    uint64_t features_off;      /* "vhost-features-off", and what depends on
                                 * those. */
    unsigned int extras;        /* "vhost-extras": enum vhost_extra. */
};

/* Takes over the daemon-wide defaults, the first time it is called: they are
 * not for changing at run time, as with the stock ports. */
void netdev_vhost_options_configure(const struct smap *other_config);

/* Stores in '*options' those in 'args' (NULL: none set) for a port of 'role'.
 * What is not understood has the default.  Returns NULL, or sentences about
 * what was not, which the caller frees.  No errors otherwise. */
char *netdev_vhost_options_parse(const struct smap *args, enum vhost_role,
                                 struct vhost_options *options);

/* Adds another sentence to 'errors'. */
void options_complain(struct ds *errors, const char *format, ...)
    OVS_PRINTF_FORMAT(2, 3);

/* Returns true if 'key' is an option of ports of 'role'.  If not, adds to
 * 'hints' (may be NULL) what may have been meant, in parentheses. */
bool netdev_vhost_option_is_known(const char *key, enum vhost_role role,
                                  struct ds *hints);

/* True if 'key' is an option of DPDK's NICs, which means nothing here. */
bool netdev_vhost_option_is_of_nics(const char *key);

#endif /* options.h */
