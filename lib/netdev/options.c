/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Parses options; see options.h.  A value that makes no sense must not cost
 * the port, so it is replaced by the default, and a sentence says so.  An
 * option's meaning depends on nothing but its value, not on what it was
 * before: a restart of ovs-vswitchd changes nothing.
 */

#include <config.h>

#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "smap.h"
#include "sset.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_options);

#define BIT(N) (UINT64_C(1) << (N))

/* Separators of lists. */
#define SEPARATORS ", \t\r\n"

/* For client ports, as with the stock ones. */
static bool default_iommu;
static bool default_postcopy;

/* All options of ports, those of config.c and others too. */
static const struct {
    const char *name;
    bool client, server;        /* Ports that have it. */
} known[] = {
    { "n_rxq", true, true },
    { "tx-retries-max", true, true },
    { "vhost-extras", true, true },
    { "vhost-features-off", true, true },
    { "vhost-iommu-support", true, true },
    { "vhost-max-queue-pairs", true, true },
    { "vhost-packed", true, true },
    { "vhost-postcopy-support", true, true },
    { "vhost-server-path", true, false },
    { "vhost-sock-mode", false, true },
    { "vhost-sock-owner", false, true },
};

/* Keys of other_config. */
static const char *const other_keys[] = {
    "vhost-iommu-support", "vhost-notify-offload", "vhost-postcopy-support",
    "vhost-sock-dir", "vhost-user-takeover",
};

/* Options of other versions and ports that are spelt as they should be. */
static const char *const foreign[] = {
    "dq-zero-copy", "n_txq",
};

/* Of ports of type "dpdk".  Programs set some of them on every port that has
 * to do with DPDK, and the stock vhost ports do not mind. */
static const char *const of_nics[] = {
    "dpdk-devargs", "dpdk-lsc-interrupt", "dpdk-vf-mac", "flow-ctrl-autoneg",
    "n_rxq_desc", "n_txq_desc", "rx-flow-ctrl", "rx-steering", "tx-flow-ctrl",
};

static const struct {
    const char *name;
    enum vhost_extra extra;
} extras[] = {
    { "csum", VHOST_EXTRA_CSUM },
    { "device-state", VHOST_EXTRA_DEVICE_STATE },
    { "inflight", VHOST_EXTRA_INFLIGHT },
    { "mem-slots", VHOST_EXTRA_MEM_SLOTS },
    { "reset-device", VHOST_EXTRA_RESET_DEVICE },
    { "ring-reset", VHOST_EXTRA_RING_RESET },
    { "tso", VHOST_EXTRA_TSO },
};

/* Logs, each once, the keys in 'other_config' that begin like ours and are
 * not. */
static void
check_other_config(const struct smap *other_config)
{
    static struct sset told = SSET_INITIALIZER(&told);
    struct smap_node *node;

    SMAP_FOR_EACH (node, other_config) {
        struct nearest best = { NULL, INT_MAX };

        for (size_t i = 0; i < ARRAY_SIZE(other_keys); i++) {
            nearest_consider(&best, node->key, other_keys[i]);
        }
        if ((best.name ? strcmp(best.name, node->key)
             : !strncmp(node->key, "vhost-", 6))
            && sset_add(&told, node->key)) {
            VLOG_WARN("other_config:%s is not known here%s%s%s", node->key,
                      best.name ? " (did you mean " : "",
                      best.name ? best.name : "", best.name ? "?)" : "");
        }
    }
}

void
netdev_vhost_options_configure(const struct smap *other_config)
{
    static bool done;

    check_other_config(other_config);
    if (done) {
        return;
    }
    done = true;
    default_iommu = smap_get_bool(other_config, "vhost-iommu-support", false);
    default_postcopy = smap_get_bool(other_config, "vhost-postcopy-support",
                                     false);
    if (default_iommu) {
        VLOG_INFO("client ports offer IOMMU support");
    }
    if (default_postcopy) {
        VLOG_INFO("client ports offer postcopy support");
    }
}

static bool
is_one_of(const char *key, const char *const names[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(key, names[i])) {
            return true;
        }
    }
    return false;
}

bool
netdev_vhost_option_is_of_nics(const char *key)
{
    return is_one_of(key, of_nics, ARRAY_SIZE(of_nics));
}

bool
netdev_vhost_option_is_known(const char *key, enum vhost_role role,
                             struct ds *hints)
{
    struct nearest best = { NULL, INT_MAX };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (role == VHOST_CLIENT ? known[i].client : known[i].server) {
            nearest_consider(&best, key, known[i].name);
        } else if (!strcmp(key, known[i].name) && hints) {
            ds_put_format(hints, " (it is for type vhostuser%s)",
                          role == VHOST_CLIENT ? "" : "client");
        }
    }
    if (best.name && !strcmp(key, best.name)) {
        return true;
    }
    if (best.name && hints
        && !is_one_of(key, foreign, ARRAY_SIZE(foreign))) {
        ds_put_format(hints, " (did you mean %s?)", best.name);
    }
    return false;
}

void
options_complain(struct ds *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    ds_put_cstr(s, s->length ? "; " : "");
    ds_put_format_valist(s, format, args);
    va_end(args);
}

/* Adds what may have been meant to the sentence at the end of 's'. */
static void
guess(struct ds *s, const struct nearest *best)
{
    if (best->name) {
        ds_put_format(s, " (did you mean %s?)", best->name);
    }
}

static bool
parse_bool(const struct smap *args, const char *key, bool def,
           struct ds *errors)
{
    const char *s = smap_get(args, key);

    if (!s || !strcasecmp(s, "true") || !strcasecmp(s, "false")) {
        return s ? !strcasecmp(s, "true") : def;
    }
    options_complain(errors, "%s \"%s\" is neither true nor false: using %s",
                     key, s, def ? "true" : "false");
    return def;
}

static unsigned int
parse_queue_pairs(const struct smap *args, struct ds *errors)
{
    const char *s = smap_get(args, "vhost-max-queue-pairs");
    int n = VHOST_MAX_QUEUE_PAIRS;

    if (s && (!str_to_int(s, 10, &n) || n < 1 || n > VHOST_MAX_QUEUE_PAIRS)) {
        n = VHOST_MAX_QUEUE_PAIRS;
        options_complain(errors, "vhost-max-queue-pairs \"%s\" is no number "
                         "from 1 to %d: using %d", s, VHOST_MAX_QUEUE_PAIRS,
                         n);
    }
    return n;
}

/* Feature names, in any case of letters and with dashes or underscores. */
static bool
names_are_equal(const char *a, const char *b)
{
    for (;; a++, b++) {
        int x = *a == '-' ? '_' : toupper((unsigned char) *a);

        if (x != *b || !x) {
            return x == *b;
        }
    }
}

/* The feature of 'name', as a mask; 0 if there is none. */
static uint64_t
find_feature(const char *name)
{
    for (unsigned int i = 0; i < 64; i++) {
        const char *s = vhost_feature_name(i);

        if (s && names_are_equal(name, s)) {
            return BIT(i);
        }
    }
    return 0;
}

/* 'off' with the features that must not be offered without one of those
 * (virtio 1.2, section 5.1.3.1). */
static uint64_t
with_dependents(uint64_t off)
{
    static const struct {
        uint64_t feature, dependents;
    } needs[] = {
        { BIT(VIRTIO_NET_F_CSUM),
          BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6)
          | BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_UFO) },
        { BIT(VIRTIO_NET_F_GUEST_CSUM),
          BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6)
          | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) },
        { BIT(VIRTIO_NET_F_CTRL_VQ),
          BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_MQ)
          | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) },
    };

    for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
        if (off & needs[i].feature) {
            off |= needs[i].dependents;
        }
    }
    return off;
}

static uint64_t
parse_features_off(const struct smap *args, struct ds *errors)
{
    const char *s = smap_get_def(args, "vhost-features-off", "");
    unsigned long long int mask;
    uint64_t off = 0;
    char *copy, *next, *name;

    if (!strncasecmp(s, "0x", 2) && str_to_ullong(s, 16, &mask)) {
        return with_dependents(mask);
    }
    next = copy = xstrdup(s);
    while ((name = strsep(&next, SEPARATORS))) {
        uint64_t feature = *name ? find_feature(name) : 0;

        if (*name && !feature) {
            struct nearest best = { NULL, INT_MAX };

            for (unsigned int i = 0; i < 64; i++) {
                if (vhost_feature_name(i)) {
                    nearest_consider(&best, name, vhost_feature_name(i));
                }
            }
            options_complain(errors, "vhost-features-off: there is no feature "
                             "\"%s\"", name);
            guess(errors, &best);
        }
        off |= feature;
    }
    free(copy);
    return with_dependents(off);
}

static unsigned int
parse_extras(const struct smap *args, struct ds *errors)
{
    char *copy = xstrdup(smap_get_def(args, "vhost-extras", ""));
    char *next = copy;
    char *name;
    unsigned int mask = 0;

    while ((name = strsep(&next, SEPARATORS))) {
        bool found = !*name;

        for (size_t i = 0; i < ARRAY_SIZE(extras); i++) {
            if (!strcmp(name, extras[i].name)) {
                mask |= extras[i].extra;
                found = true;
            }
        }
        if (!found) {
            struct nearest best = { NULL, INT_MAX };

            for (size_t i = 0; i < ARRAY_SIZE(extras); i++) {
                nearest_consider(&best, name, extras[i].name);
            }
            options_complain(errors, "vhost-extras: there is no \"%s\"", name);
            guess(errors, &best);
        }
    }
    free(copy);
    return mask;
}

char *
netdev_vhost_options_parse(const struct smap *args, enum vhost_role role,
                           struct vhost_options *o)
{
    const struct smap none = SMAP_INITIALIZER(&none);
    struct ds errors = DS_EMPTY_INITIALIZER;
    bool client = role == VHOST_CLIENT;

    args = args ? args : &none;
    o->iommu = parse_bool(args, "vhost-iommu-support",
                          client && default_iommu, &errors);
    o->postcopy = parse_bool(args, "vhost-postcopy-support",
                             client && default_postcopy, &errors);
    o->packed = parse_bool(args, "vhost-packed", true, &errors);
    o->queue_pairs = parse_queue_pairs(args, &errors);
    o->features_off = parse_features_off(args, &errors);
    o->extras = parse_extras(args, &errors);
    return errors.length ? ds_steal_cstr(&errors) : NULL;
}
