/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The settings of policing and QoS; see qos.h.  The arithmetic is policer.h's,
 * what PMDs do with it police.c's.
 *
 * As with the stock ports, a frame counts without its Ethernet header, a
 * policer drops and never delays, and settings that are no good leave the port
 * without QoS.  Other than there, settings that are set again, which the
 * bridge does whenever anything changes, leave all meters as they are; a
 * change of the port's rates leaves the queues as they are; and a queue that is
 * no good is as if it had not been set.
 */

#include <config.h>

#include "qos.h"
#include "private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmap.h"
#include "compat.h"
#include "dp-packet.h"
#include "hash.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "qos-meters.h"
#include "smap.h"
#include "sset.h"
#include "timeval.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_qos);

/* Defaults of the Interface's columns. */
#define KBITS_BURST_DEFAULT 8000
#define KPKTS_BURST_DEFAULT 16

static const char *const type_names[] = { "egress-policer", "trtcm-policer" };

/* Policing. */

static struct ingress_policer *
make_ingress(const struct ingress_policer *wanted)
{
    struct ingress_policer *in = xmemdup(wanted, sizeof *wanted);
    uint64_t now = meter_now_ns();

    bucket_init(&in->bytes, in->kbits_rate * UINT64_C(125),
                in->kbits_burst * UINT64_C(125), now);
    bucket_init(&in->packets, in->kpkts_rate * UINT64_C(1000),
                in->kpkts_burst * UINT64_C(1000), now);
    return in;
}

static bool
ingress_is(const struct ingress_policer *a, const struct ingress_policer *b)
{
    return (a->kbits_rate == b->kbits_rate && a->kbits_burst == b->kbits_burst
            && a->kpkts_rate == b->kpkts_rate
            && a->kpkts_burst == b->kpkts_burst);
}

int
netdev_vhost_set_policing(struct netdev *netdev, uint32_t kbits_rate,
                          uint32_t kbits_burst, uint32_t kpkts_rate,
                          uint32_t kpkts_burst)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const struct ingress_policer wanted = {
        .kbits_rate = kbits_rate,
        .kbits_burst = (!kbits_rate ? 0
                        : kbits_burst ? kbits_burst : KBITS_BURST_DEFAULT),
        .kpkts_rate = kpkts_rate,
        .kpkts_burst = (!kpkts_rate ? 0
                        : kpkts_burst ? kpkts_burst : KPKTS_BURST_DEFAULT),
    };
    bool on = kbits_rate || kpkts_rate;
    struct ingress_policer *old;

    ovs_mutex_lock(&dev->mutex);
    old = ovsrcu_get_protected(struct ingress_policer *, &dev->ingress);
    if (old ? !on || !ingress_is(old, &wanted) : on) {
        ovsrcu_set(&dev->ingress, on ? make_ingress(&wanted) : NULL);
        netdev_vhost_set_special(dev, DEV_POLICED_RX, on);
        if (old) {
            ovsrcu_postpone(free, old);
        }
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* QoS. */

static void
parse_rates(const struct smap *details, bool trtcm, struct qos_rates *r)
{
    memset(r, 0, sizeof *r);
    r->cir = smap_get_ullong(details, "cir", 0);
    r->cbs = smap_get_ullong(details, "cbs", 0);
    if (trtcm) {
        r->eir = smap_get_ullong(details, "eir", 0);
        r->ebs = smap_get_ullong(details, "ebs", 0);
    }
}

/* What is wrong with 'r', or NULL. */
static const char *
check_rates(const struct qos_rates *r, bool trtcm)
{
    if (!trtcm) {
        return r->cir && r->cbs ? NULL : "cir and cbs must be more than 0";
    } else if (r->cir && !r->cbs) {
        return "cbs must be more than 0, as cir is";
    } else {
        return (r->eir && !r->ebs ? "ebs must be more than 0, as eir is"
                : NULL);
    }
}

static void
add_rates(const struct qos_rates *r, bool trtcm, struct smap *details)
{
    smap_add_format(details, "cir", "%"PRIu64, r->cir);
    smap_add_format(details, "cbs", "%"PRIu64, r->cbs);
    if (trtcm) {
        smap_add_format(details, "eir", "%"PRIu64, r->eir);
        smap_add_format(details, "ebs", "%"PRIu64, r->ebs);
    }
}

static void
init_meter(struct meter *m, const struct qos_rates *r)
{
    uint64_t now = meter_now_ns();

    bucket_init(&m->committed, r->cir, r->cbs, now);
    bucket_init(&m->excess, r->eir, r->ebs, now);
}

static void
free_queue(struct qos_queue *queue)
{
    free(queue->counters);
    free(queue);
}

static void
remove_queue(struct qos_queues *queues, struct qos_queue *queue)
{
    cmap_remove(&queues->map, &queue->node, hash_int(queue->id, 0));
    ovsrcu_postpone(free_queue, queue);
}

static void
free_queues(struct qos_queues *queues)
{
    struct qos_queue *queue;

    CMAP_FOR_EACH (queue, node, &queues->map) {
        remove_queue(queues, queue);
    }
    cmap_destroy(&queues->map);
    free(queues);
}

/* Gives queue 'id' other rates, if these are others, or creates it. */
static void
put_queue(struct qos_queues *queues, uint32_t id, const struct qos_rates *r)
{
    struct qos_queue *old = qos_find_queue(queues, id);
    struct qos_queue *queue;

    if (old && !memcmp(&old->rates, r, sizeof *r)) {
        return;
    }
    queue = xzalloc(sizeof *queue);
    queue->id = id;
    queue->rates = *r;
    init_meter(&queue->meter, r);
    if (old) {
        queue->counters = old->counters;
        cmap_replace(&queues->map, &old->node, &queue->node, hash_int(id, 0));
        ovsrcu_postpone(free, old);
    } else {
        queue->counters = xzalloc(sizeof *queue->counters);
        queue->counters->created = time_msec();
        cmap_insert(&queues->map, &queue->node, hash_int(id, 0));
    }
}

/* Deletes queue 'id'.  Queue 0 gets the port's rates: it serves all packets
 * that have no other, so that there always is one. */
static void
delete_queue(struct netdev_vhost *dev, struct qos_queues *queues, uint32_t id)
    OVS_REQUIRES(dev->mutex)
{
    struct qos_queue *queue = qos_find_queue(queues, id);

    if (!id) {
        put_queue(queues, 0,
                  &ovsrcu_get_protected(struct qos *, &dev->qos)->rates);
    } else if (queue) {
        remove_queue(queues, queue);
    }
}

/* A port's new QoS.  It takes over the queues of 'old' (may be NULL), if that
 * is of the same type. */
static struct qos *
make_qos(bool trtcm, const struct qos_rates *r, const struct qos *old)
{
    struct qos *q = xzalloc(sizeof *q);

    q->trtcm = trtcm;
    q->rates = *r;
    init_meter(&q->meter, r);
    if (trtcm && old && old->queues) {
        q->queues = old->queues;
    } else if (trtcm) {
        q->queues = xmalloc(sizeof *q->queues);
        cmap_init(&q->queues->map);
        put_queue(q->queues, 0, r);
    }
    return q;
}

/* Puts 'q' (may be NULL) in place of the QoS that 'dev' has. */
static void
replace_qos(struct netdev_vhost *dev, struct qos *q)
    OVS_REQUIRES(dev->mutex)
{
    struct qos *old = ovsrcu_get_protected(struct qos *, &dev->qos);

    if (q != old) {
        ovsrcu_set(&dev->qos, q);
        netdev_vhost_set_special(dev, DEV_POLICED_TX, q != NULL);
        if (old) {
            if (old->queues && (!q || q->queues != old->queues)) {
                ovsrcu_postpone(free_queues, old->queues);
            }
            ovsrcu_postpone(free, old);
        }
    }
}

/* Forgets what could not be set.  (The bridge sets all again, queues too,
 * whenever anything changes.) */
static void
forget_error(struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    if (dev->qos_error) {
        free(dev->qos_error);
        dev->qos_error = NULL;
        netdev_change_seq_changed(&dev->up);
    }
}

/* Says why 'what' cannot be set, in the log not twice in a row. */
static void
note_error(struct netdev_vhost *dev, const char *what, int error,
           const char *reason)
    OVS_REQUIRES(dev->mutex)
{
    forget_error(dev);
    dev->qos_error = xasprintf("%s: %s", what, reason);
    netdev_change_seq_changed(&dev->up);
    if (!nullable_string_is_equal(dev->qos_error, dev->qos_logged)) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(20, 40);

        /* As the stock ports say it. */
        VLOG_ERR_RL(&rl, "Failed to set QoS %s on port %s: %s", what,
                    dev->up.name, ovs_strerror(error));
        VLOG_INFO_RL(&rl, "%s: QoS %s", dev->up.name, dev->qos_error);
        free(dev->qos_logged);
        dev->qos_logged = xstrdup(dev->qos_error);
    }
}

int
netdev_vhost_get_qos_types(const struct netdev *netdev OVS_UNUSED,
                           struct sset *types)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
        sset_add(types, type_names[i]);
    }
    return 0;
}

int
netdev_vhost_get_qos(const struct netdev *netdev, const char **typep,
                     struct smap *details)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const struct qos *q;

    ovs_mutex_lock(&dev->mutex);
    q = ovsrcu_get_protected(struct qos *, &dev->qos);
    *typep = q ? type_names[q->trtcm] : "";
    if (q) {
        add_rates(&q->rates, q->trtcm, details);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

int
netdev_vhost_set_qos(struct netdev *netdev, const char *type,
                     const struct smap *details)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    bool trtcm = !strcmp(type, type_names[1]);
    const char *reason = NULL;
    struct qos *old, *new = NULL;
    struct qos_rates rates;
    int error = 0;

    ovs_mutex_lock(&dev->mutex);
    old = ovsrcu_get_protected(struct qos *, &dev->qos);
    if (!type[0]) {
        /* None wanted. */
    } else if (!trtcm && strcmp(type, type_names[0])) {
        reason = "there is no such type";
        error = EOPNOTSUPP;
    } else {
        parse_rates(details, trtcm, &rates);
        reason = check_rates(&rates, trtcm);
        if (reason) {
            error = EINVAL;
        } else if (old && old->trtcm == trtcm
                   && !memcmp(&old->rates, &rates, sizeof rates)) {
            new = old;
        } else {
            new = make_qos(trtcm, &rates, old);
        }
    }
    forget_error(dev);
    if (reason) {
        char *what = xasprintf("type %s", type);

        note_error(dev, what, error, reason);
        free(what);
    }
    replace_qos(dev, new);
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

/* Queues. */

/* The queues of 'dev', NULL if its QoS, if it has any, knows none. */
static struct qos_queues *
get_queues(const struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    const struct qos *q = ovsrcu_get_protected(struct qos *, &dev->qos);

    return q ? q->queues : NULL;
}

/* Stores the queue 'id' of 'dev' in '*queuep', or NULL, and returns 0 or why
 * there is none. */
static int
get_queue(const struct netdev_vhost *dev, unsigned int id,
          const struct qos_queue **queuep)
    OVS_REQUIRES(dev->mutex)
{
    const struct qos_queues *queues = get_queues(dev);

    *queuep = queues ? qos_find_queue(queues, id) : NULL;
    return !queues ? EOPNOTSUPP : *queuep ? 0 : EINVAL;
}

int
netdev_vhost_get_queue(const struct netdev *netdev, unsigned int id,
                       struct smap *details)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const struct qos_queue *queue;
    int error;

    ovs_mutex_lock(&dev->mutex);
    error = get_queue(dev, id, &queue);
    if (!error) {
        add_rates(&queue->rates, true, details);
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

int
netdev_vhost_set_queue(struct netdev *netdev, unsigned int id,
                       const struct smap *details)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    struct qos_queues *queues;
    struct qos_rates rates;
    int error = EOPNOTSUPP;

    ovs_mutex_lock(&dev->mutex);
    queues = get_queues(dev);
    if (queues) {
        const char *reason;

        if (!id && smap_is_empty(details)) {
            rates = ovsrcu_get_protected(struct qos *, &dev->qos)->rates;
        } else {
            parse_rates(details, true, &rates);
        }
        reason = check_rates(&rates, true);
        error = reason ? EINVAL : 0;
        if (!reason) {
            put_queue(queues, id, &rates);
        } else {
            char *what = xasprintf("queue %u", id);

            delete_queue(dev, queues, id);
            note_error(dev, what, error, reason);
            free(what);
        }
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

int
netdev_vhost_delete_queue(struct netdev *netdev, unsigned int id)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    struct qos_queues *queues;

    ovs_mutex_lock(&dev->mutex);
    queues = get_queues(dev);
    if (queues) {
        delete_queue(dev, queues, id);
    }
    ovs_mutex_unlock(&dev->mutex);
    return queues ? 0 : EOPNOTSUPP;
}

static void
get_stats(const struct qos_queue *queue, struct netdev_queue_stats *stats)
{
    stats->tx_packets = counter_get(&queue->counters->packets);
    stats->tx_bytes = counter_get(&queue->counters->bytes);
    stats->tx_errors = counter_get(&queue->counters->errors);
    stats->created = queue->counters->created;
}

int
netdev_vhost_get_queue_stats(const struct netdev *netdev, unsigned int id,
                             struct netdev_queue_stats *stats)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const struct qos_queue *queue;
    int error;

    ovs_mutex_lock(&dev->mutex);
    error = get_queue(dev, id, &queue);
    if (!error) {
        get_stats(queue, stats);
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

/* A list of queues, made when a dump begins: they may come and go meanwhile,
 * one by one. */
struct queue_dump {
    size_t n, next;
    uint32_t ids[];
};

int
netdev_vhost_queue_dump_start(const struct netdev *netdev, void **statep)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const struct qos_queues *queues;
    const struct qos_queue *queue;

    ovs_mutex_lock(&dev->mutex);
    queues = get_queues(dev);
    if (queues) {
        size_t n = cmap_count(&queues->map);
        struct queue_dump *dump = xzalloc(sizeof *dump
                                          + n * sizeof dump->ids[0]);

        CMAP_FOR_EACH (queue, node, &queues->map) {
            if (dump->n < n) {
                dump->ids[dump->n++] = queue->id;
            }
        }
        *statep = dump;
    }
    ovs_mutex_unlock(&dev->mutex);
    return queues ? 0 : EOPNOTSUPP;
}

int
netdev_vhost_queue_dump_next(const struct netdev *netdev, void *state,
                             unsigned int *id, struct smap *details)
{
    struct queue_dump *dump = state;

    while (dump->next < dump->n) {
        *id = dump->ids[dump->next++];
        if (!netdev_vhost_get_queue(netdev, *id, details)) {
            return 0;
        }
    }
    return EOF;
}

int
netdev_vhost_queue_dump_done(const struct netdev *netdev OVS_UNUSED,
                             void *state)
{
    free(state);
    return 0;
}

int
netdev_vhost_dump_queue_stats(
    const struct netdev *netdev,
    void (*cb)(unsigned int id, struct netdev_queue_stats *, void *aux),
    void *aux)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    const struct qos_queues *queues;
    const struct qos_queue *queue;

    ovs_mutex_lock(&dev->mutex);
    queues = get_queues(dev);
    if (queues) {
        CMAP_FOR_EACH (queue, node, &queues->map) {
            struct netdev_queue_stats stats;

            get_stats(queue, &stats);
            cb(queue->id, &stats, aux);
        }
    }
    ovs_mutex_unlock(&dev->mutex);
    return queues ? 0 : EOPNOTSUPP;
}

/* For the rest of the provider. */

void
netdev_vhost_qos_destruct(struct netdev_vhost *dev)
{
    struct ingress_policer *in;

    ovs_mutex_lock(&dev->mutex);
    in = ovsrcu_get_protected(struct ingress_policer *, &dev->ingress);
    if (in) {
        ovsrcu_set(&dev->ingress, NULL);
        ovsrcu_postpone(free, in);
    }
    replace_qos(dev, NULL);
    free(dev->qos_error);
    free(dev->qos_logged);
    dev->qos_error = dev->qos_logged = NULL;
    ovs_mutex_unlock(&dev->mutex);
}

void
netdev_vhost_qos_format(const struct netdev_vhost *dev, struct ds *ds)
{
    const struct ingress_policer *in
        = ovsrcu_get_protected(struct ingress_policer *, &dev->ingress);
    const struct qos *q = ovsrcu_get_protected(struct qos *, &dev->qos);

    if (in) {
        ds_put_cstr(ds, "    policing:");
        if (in->kbits_rate) {
            ds_put_format(ds, " %"PRIu32" kbit/s, bursts of %"PRIu32" kbit",
                          in->kbits_rate, in->kbits_burst);
        }
        if (in->kpkts_rate) {
            ds_put_format(ds, "%s %"PRIu32" kpkt/s, bursts of %"PRIu32" kpkt",
                          in->kbits_rate ? ";" : "", in->kpkts_rate,
                          in->kpkts_burst);
        }
        ds_put_char(ds, '\n');
    }
    if (q) {
        ds_put_format(ds, "    QoS: %s, cir %"PRIu64" cbs %"PRIu64,
                      type_names[q->trtcm], q->rates.cir, q->rates.cbs);
        if (q->trtcm) {
            ds_put_format(ds, " eir %"PRIu64" ebs %"PRIu64", %"PRIuSIZE
                          " queues", q->rates.eir, q->rates.ebs,
                          cmap_count(&q->queues->map));
        }
        ds_put_char(ds, '\n');
    }
    if (dev->qos_error) {
        ds_put_format(ds, "    QoS error: %s\n", dev->qos_error);
    }
}

/* Where the meters are in a device's state: what is missing in each.  This
 * never changes.  (The other places are stats.c's.) */
enum {
    STATE_INGRESS_BYTES = 60,
    STATE_INGRESS_PACKETS = 61,
    STATE_COMMITTED = 62,
    STATE_EXCESS = 63,
};

void
netdev_vhost_qos_save(struct netdev_vhost *dev,
                      uint64_t values[VHOST_STATE_VALUES])
{
    const struct ingress_policer *in = ovsrcu_get(struct ingress_policer *,
                                                  &dev->ingress);
    const struct qos *q = ovsrcu_get(struct qos *, &dev->qos);
    uint64_t now = meter_now_ns();

    if (in) {
        values[STATE_INGRESS_BYTES] = bucket_missing(&in->bytes, now);
        values[STATE_INGRESS_PACKETS] = bucket_missing(&in->packets, now);
    }
    if (q) {
        values[STATE_COMMITTED] = bucket_missing(&q->meter.committed, now);
        values[STATE_EXCESS] = bucket_missing(&q->meter.excess, now);
    }
}

/* A state only takes away what the guest could still send or receive now: a
 * front end gets nothing by inventing one. */
void
netdev_vhost_qos_load(struct netdev_vhost *dev,
                      const uint64_t values[VHOST_STATE_VALUES])
{
    struct ingress_policer *in = ovsrcu_get(struct ingress_policer *,
                                            &dev->ingress);
    struct qos *q = ovsrcu_get(struct qos *, &dev->qos);
    uint64_t now = meter_now_ns();

    if (in) {
        bucket_set_missing(&in->bytes, values[STATE_INGRESS_BYTES], now);
        bucket_set_missing(&in->packets, values[STATE_INGRESS_PACKETS], now);
    }
    if (q) {
        bucket_set_missing(&q->meter.committed, values[STATE_COMMITTED], now);
        bucket_set_missing(&q->meter.excess, values[STATE_EXCESS], now);
    }
}
