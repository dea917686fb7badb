/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the operator wants of a port, and what comes of it: from the settings
 * of the switch and of the port to the vhost port that is created or changed,
 * and what it offers to front ends.  How the options that decide about the
 * offer are written is options.c's.
 *
 * An error from set_config makes the bridge delete the port, see
 * netdev-vhost.c: there is one only if the port cannot exist at all.
 */

#include <config.h>

#include "netdev-vhost.h"
#include "private.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "compat.h"
#include "dirs.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "smap.h"
#include "timeval.h"
#include "userspace-tso.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_config);

#define TX_RETRIES_LIMIT 32

/* Directory of server sockets. */
static char *sock_dir;

/* What is offered. */

/* Logs, once, what the operator has opted in to. */
static void
say_what_postcopy_means(const struct netdev_vhost *dev)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;

    if (ovsthread_once_start(&once)) {
        const char *obstacle = vhost_postcopy_obstacle();

        VLOG_INFO("%s: postcopy is offered: a front end that takes it gets a "
                  "userfaultfd, by which it can change any memory of this "
                  "process", dev->up.name);
        if (obstacle) {
            VLOG_WARN("postcopy is not available: %s", obstacle);
        }
        ovsthread_once_done(&once);
    }
}

/* What to offer with the options as they are: the stock ports' features, less
 * those that are switched off, and more where that is asked for. */
static void
choose_offer(const struct netdev_vhost *dev, struct vhost_offer *offer)
{
    const uint64_t csum = UINT64_C(1) << VIRTIO_NET_F_CSUM;
    const struct vhost_options *o = &dev->options;
    bool as_client = (dev->role == VHOST_CLIENT
                      || (dev->tso && o->extras & VHOST_EXTRA_TSO));

    offer->features = compat_stock_features(as_client, dev->tso);
    if (o->iommu) {
        offer->features |= UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM;
    }
    if (!o->packed) {
        offer->features &= ~(UINT64_C(1) << VIRTIO_F_RING_PACKED);
    }
    if (o->extras & VHOST_EXTRA_CSUM) {
        offer->features |= csum;
    }
    if (o->extras & VHOST_EXTRA_RING_RESET) {
        offer->features |= UINT64_C(1) << VHOST_F_RING_RESET;
    }
    offer->features &= vhost_supported_features & ~o->features_off;

    /* A guest may have it from a host with another version or with userspace
     * TSO; see 'complete_csum'. */
    offer->tolerated = csum & ~offer->features & ~o->features_off;

    offer->protocol_features = COMPAT_STOCK_PROTOCOL_FEATURES;
    if (o->postcopy) {
        say_what_postcopy_means(dev);
        offer->protocol_features |= UINT64_C(1) << VHOST_PROTOCOL_F_PAGEFAULT;
    }
    if (o->extras & VHOST_EXTRA_INFLIGHT) {
        offer->protocol_features
            |= UINT64_C(1) << VHOST_PROTOCOL_F_INFLIGHT_SHMFD;
    }
    if (o->extras & VHOST_EXTRA_DEVICE_STATE) {
        offer->protocol_features
            |= UINT64_C(1) << VHOST_PROTOCOL_F_DEVICE_STATE;
    }
    if (o->extras & VHOST_EXTRA_RESET_DEVICE) {
        offer->protocol_features
            |= UINT64_C(1) << VHOST_PROTOCOL_F_RESET_DEVICE;
    }
    if (o->extras & VHOST_EXTRA_MEM_SLOTS && !o->postcopy) {
        offer->protocol_features
            |= UINT64_C(1) << VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
    }
    offer->protocol_features &= vhost_supported_protocol_features;
    offer->queue_pairs = o->queue_pairs;
}

/* Decides what is the same for all of a port's life. */
static void
choose_offloads(struct netdev_vhost *dev)
{
    dev->tso = userspace_tso_enabled();
    dev->complete_csum = !dev->tso && !COMPAT_SW_CSUM;
    dev->up.ol_flags = 0;
    if (dev->tso || COMPAT_SW_CSUM) {
        dev->up.ol_flags |= COMPAT_CSUM_OL_FLAGS;
    }
    if (dev->tso) {
        dev->up.ol_flags |= NETDEV_TX_OFFLOAD_TCP_TSO;
    }
}

/* Returns the path of a server's socket, or NULL with a sentence in '*errp' if
 * there can be none. */
static char *
server_path(const struct netdev_vhost *dev, char **errp)
{
    const char *name = dev->up.name;

    if (strpbrk(name, "/\\")) {
        *errp = xasprintf("\"%s\" cannot be the name of a %s port: it "
                          "names a socket and may have no '/' or '\\'", name,
                          netdev_get_type(&dev->up));
        return NULL;
    }
    return xasprintf("%s/%s", sock_dir ? sock_dir : ovs_rundir(), name);
}

/* Creates the vhost port of 'dev' on 'path' (NULL: none yet). */
static int
create_port(struct netdev_vhost *dev, const char *path, char **errp)
    OVS_REQUIRES(dev->mutex)
{
    struct vhost_port_config config = {
        .name = dev->up.name,
        .role = dev->role,
        .path = path,
        .access = dev->sock_access.wanted,
        .max_queue_pairs = VHOST_MAX_QUEUE_PAIRS,
        .ops = &netdev_vhost_port_ops,
        .aux = dev,
    };
    struct vhost_loop *loop;
    int error;

    error = vhost_netdev_start_loop(&loop);
    if (error) {
        *errp = xasprintf("vhost-user cannot be started: %s",
                          ovs_strerror(error));
        return error;
    }
    choose_offloads(dev);
    choose_offer(dev, &config.offer);
    error = vhost_port_create(loop, &config, &dev->port, errp);
    if (error) {
        dev->port = NULL;
        return error;
    }
    free(dev->path);
    dev->path = nullable_xstrdup(path);
    netdev_vhost_changed(dev, VHOST_CHANGE_STATUS);
    return 0;
}

/* Creates the vhost port of 'dev', a client's on 'path' (NULL: none yet).  On
 * error returns a positive errno value and stores a sentence in '*errp', or
 * NULL. */
int
netdev_vhost_create_port(struct netdev_vhost *dev, const char *path,
                         char **errp)
{
    char *own = NULL;
    int error;

    *errp = NULL;
    if (dev->role == VHOST_SERVER) {
        path = own = server_path(dev, errp);
    }
    error = (dev->role == VHOST_SERVER && !own
             ? EINVAL : create_port(dev, path, errp));
    free(own);
    return error;
}

/* Configuration. */

/* Of other_config:vhost-notify-offload. */
#define OFFLOAD_DEFAULT "auto"

/* Who makes the system calls that notify guests. */
static void
configure_offload(const struct smap *other_config)
{
    const char *value = smap_get_def(other_config, "vhost-notify-offload",
                                     OFFLOAD_DEFAULT);
    enum vhost_offload offload = VHOST_OFFLOAD_NEVER;

    if (!strcmp(value, "auto")) {
        offload = VHOST_OFFLOAD_AUTO;
    } else if (!strcmp(value, "true")) {
        offload = VHOST_OFFLOAD_ALWAYS;
    } else if (strcmp(value, "false")) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);

        VLOG_ERR_RL(&rl, "vhost-notify-offload \"%s\" is none of auto, true, "
                    "false: using false", value);
    }
    vhost_netdev_set_offload(offload);
}

/* The directory of the sockets. */
static void
configure_sock_dir(const struct smap *other_config)
{
    const char *sub = smap_get(other_config, "vhost-sock-dir");
    struct stat s;

    if (sock_dir) {
        return;
    }
    if (!sub) {
        sock_dir = xstrdup(ovs_rundir());
        return;
    }

    /* The database may be written from afar: stay below the run directory. */
    if (strstr(sub, "..")) {
        VLOG_ERR("vhost-sock-dir \"%s\" has \"..\" in it: using %s instead",
                 sub, ovs_rundir());
        sock_dir = xstrdup(ovs_rundir());
        return;
    }
    sock_dir = xasprintf("%s/%s", ovs_rundir(), sub);
    if (stat(sock_dir, &s)) {
        VLOG_ERR("vhost-sock-dir %s: %s", sock_dir, ovs_strerror(errno));
    } else if (!S_ISDIR(s.st_mode)) {
        VLOG_ERR("vhost-sock-dir %s is not a directory", sock_dir);
    } else {
        VLOG_INFO("sockets of server ports are in %s", sock_dir);
    }
}

void
netdev_vhost_configure(const struct smap *other_config)
{
    netdev_vhost_takeover_configure(other_config);
    configure_sock_dir(other_config);
    configure_offload(other_config);
    netdev_vhost_options_configure(other_config);
}

/* Remembers the options in 'args' that mean nothing here; of those that are a
 * mistake warnings.c tells.  A NIC's are none: Open vSwitch's own vhost ports
 * take them, too. */
static void
note_ignored(struct netdev_vhost *dev, const struct smap *args)
    OVS_REQUIRES(dev->mutex)
{
    const struct smap_node **nodes = smap_sort(args);
    struct ds names = DS_EMPTY_INITIALIZER;
    struct ds mistakes = DS_EMPTY_INITIALIZER;

    for (size_t i = 0; i < smap_count(args); i++) {
        const char *key = nodes[i]->key;
        struct ds hint = DS_EMPTY_INITIALIZER;

        if (!netdev_vhost_option_is_known(key, dev->role, &hint)) {
            ds_put_format(&names, "%s%s", names.length ? "," : "", key);
            if (!netdev_vhost_option_is_of_nics(key)) {
                ds_put_format(&mistakes, "%s%s%s",
                              mistakes.length ? ", " : "", key,
                              ds_cstr(&hint));
            }
        }
        ds_destroy(&hint);
    }
    free(nodes);
    if (names.length && !mistakes.length
        && !nullable_string_is_equal(dev->ignored, ds_cstr(&names))) {
        VLOG_INFO("%s: ignored options: %s", dev->up.name, ds_cstr(&names));
    }
    free(dev->ignored);
    free(dev->mistakes);
    dev->ignored = names.length ? ds_steal_cstr(&names) : NULL;
    dev->mistakes = mistakes.length ? ds_steal_cstr(&mistakes) : NULL;
    ds_destroy(&names);
    ds_destroy(&mistakes);
}

/* Notes that a setting was not taken because of 'reason', which is taken
 * over. */
static void
note_config_error(struct netdev_vhost *dev, char *reason)
    OVS_REQUIRES(dev->mutex)
{
    if (reason && !nullable_string_is_equal(reason, dev->config_error)) {
        VLOG_WARN("%s: %s", dev->up.name, reason);
    }
    free(dev->config_error);
    dev->config_error = reason;
}

/* Each of these returns NULL, or a sentence for note_config_error(). */

static char *
set_retries(struct netdev_vhost *dev, const struct smap *args)
    OVS_REQUIRES(dev->mutex)
{
    const char *s = smap_get(args, "tx-retries-max");
    int n = VHOST_TX_RETRIES_DEFAULT;
    char *reason = NULL;
    unsigned int old;

    if (s && (!str_to_int(s, 10, &n) || n < 0 || n > TX_RETRIES_LIMIT)) {
        reason = xasprintf("tx-retries-max is %d instead of %s: it may be 0 "
                           "to %d", VHOST_TX_RETRIES_DEFAULT, s,
                           TX_RETRIES_LIMIT);
        n = VHOST_TX_RETRIES_DEFAULT;
    }
    atomic_read_relaxed(&dev->tx_retries_max, &old);
    if (n != old) {
        atomic_store_relaxed(&dev->tx_retries_max, n);
        VLOG_INFO("%s: transmit retries limited to %d", dev->up.name, n);
    }
    return reason;
}

/* Takes over the number of queues that are kept ready before any guest asks
 * for them.  More than there are needs one reconfiguration, now. */
static char *
set_n_rxq(struct netdev_vhost *dev, const struct smap *args)
    OVS_REQUIRES(dev->mutex)
{
    const char *s = smap_get(args, "n_rxq");
    char *reason = NULL;
    int n = 1;

    if (s && (!str_to_int(s, 10, &n) || n < 1 || n > VHOST_MAX_QUEUE_PAIRS)) {
        reason = xasprintf("n_rxq is 1 instead of %s: it may be 1 to %d", s,
                           VHOST_MAX_QUEUE_PAIRS);
        n = 1;
    }
    dev->foreseen_pairs = n;
    if (dev->reconfigured && n > dev->up.n_rxq) {
        netdev_request_reconfigure(&dev->up);
    }
    return reason;
}

/* Takes over who may connect to a server's socket, at once. */
static char *
set_access(struct netdev_vhost *dev, const struct smap *args)
    OVS_REQUIRES(dev->mutex)
{
    struct ds errors = DS_EMPTY_INITIALIZER;

    if (dev->role == VHOST_SERVER
        && sock_access_parse(&dev->sock_access, args, &errors)
        && dev->port) {
        vhost_port_set_access(dev->port, &dev->sock_access.wanted);
    }
    return errors.length ? ds_steal_cstr(&errors) : NULL;
}

/* Takes over 'path' (NULL: none) for a port that exists.  Returns NULL, or a
 * sentence about why the old one stays, which the caller frees. */
static char *
change_path(struct netdev_vhost *dev, const char *path)
    OVS_REQUIRES(dev->mutex)
{
    char *why = NULL;
    char *reason = NULL;

    if (nullable_string_is_equal(path, dev->path)) {
        /* In use. */
    } else if (vhost_port_set_path(dev->port, path, &why)) {
        reason = xasprintf("vhost-server-path stays %s: %s",
                           dev->path ? dev->path : "unset",
                           why ? why : "not usable");
        free(why);
    } else {
        VLOG_INFO("%s: socket path is now %s", dev->up.name,
                  path ? path : "unset");
        free(dev->path);
        dev->path = nullable_xstrdup(path);
        netdev_vhost_changed(dev, VHOST_CHANGE_STATUS);
    }
    return reason;
}

/* Offers what the options that were just parsed ask for, from the next
 * connection on, if the port exists. */
static void
change_offer(struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    struct vhost_port_info info;
    struct vhost_offer offer;
    bool was_pending;

    if (dev->port) {
        vhost_port_get_info(dev->port, &info);
        was_pending = info.offer_pending;
        choose_offer(dev, &offer);
        vhost_port_set_offer(dev->port, &offer);
        vhost_port_get_info(dev->port, &info);
        if (info.offer_pending && !was_pending) {
            VLOG_INFO("%s: options that decide what is offered have changed: "
                      "they take effect when the front end connects again",
                      dev->up.name);
        }
        if (info.offer_pending != was_pending) {
            netdev_vhost_changed(dev, VHOST_CHANGE_STATUS);
        }
    }
}

/* Puts 'b' (may be NULL) behind 'a' (may be NULL); takes over both. */
static char *
join_reasons(char *a, char *b)
{
    char *both;

    if (!a || !b) {
        return a ? a : b;
    }
    both = xasprintf("%s; %s", a, b);
    free(a);
    free(b);
    return both;
}

int
netdev_vhost_set_config(struct netdev *netdev, const struct smap *args,
                        char **errp)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const char *option = smap_get(args, "vhost-server-path");
    const char *path = option && option[0] ? option : NULL;
    char *reason = NULL;
    char *bad_options;
    int error = 0;

    ovs_mutex_lock(&dev->mutex);
    bad_options = netdev_vhost_options_parse(args, dev->role, &dev->options);
    bad_options = join_reasons(bad_options, set_access(dev, args));
    change_offer(dev);
    if (!dev->port) {
        error = netdev_vhost_create_port(dev, path, errp);
    } else if (dev->role == VHOST_CLIENT) {
        reason = change_path(dev, path);
    }
    reason = join_reasons(reason, bad_options);
    reason = join_reasons(reason, set_retries(dev, args));
    reason = join_reasons(reason, set_n_rxq(dev, args));
    note_config_error(dev, reason);
    note_ignored(dev, args);
    if (netdev_vhost_warnings_run(dev, time_msec())) {
        netdev_change_seq_changed(netdev);
    }
    if (error) {
        /* The bridge warns of it, without the reason. */
        VLOG_INFO("%s: %s", netdev->name,
                  *errp ? *errp : ovs_strerror(error));
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

int
netdev_vhost_get_config(const struct netdev *netdev, struct smap *args)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    unsigned int retries;

    ovs_mutex_lock(&dev->mutex);
    smap_add_format(args, "requested_rx_queues", "%u",
                    MAX(dev->seen_pairs, dev->foreseen_pairs));
    smap_add_format(args, "configured_rx_queues", "%d", netdev->n_rxq);
    smap_add_format(args, "requested_tx_queues", "%d", dev->requested_n_txq);
    smap_add_format(args, "configured_tx_queues", "%d", netdev->n_txq);
    smap_add_format(args, "mtu", "%d", dev->mtu);
    if (dev->role == VHOST_CLIENT && dev->path) {
        smap_add(args, "vhost-server-path", dev->path);
    }
    atomic_read_relaxed(&dev->tx_retries_max, &retries);
    if (retries != VHOST_TX_RETRIES_DEFAULT) {
        smap_add_format(args, "tx-retries-max", "%u", retries);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}
