/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Policing of what guests send, and QoS for what they receive: the names and
 * the meanings of the stock ports (docs/reference.md, "Policing and QoS").
 *
 * PMDs come here only if a bit of netdev_vhost.special says so.  They find the
 * meters by RCU and take no lock, so a change of the settings disturbs nobody.
 * All else runs under the device's mutex.
 */

#ifndef NETDEV_VHOST_QOS_H
#define NETDEV_VHOST_QOS_H 1

#include <stdint.h>

#include "netdev-provider.h"
#include "vhost/vhost.h"

struct dp_packet;
struct ds;
struct netdev_vhost;
struct smap;
struct sset;

/* For PMDs.  They drop packets that exceed what is set for 'dev', free them,
 * and return how many of 'pkts' are left. */
unsigned int netdev_vhost_police_rx(struct netdev_vhost *dev,
                                    struct dp_packet *pkts[], unsigned int n);
unsigned int netdev_vhost_police_tx(struct netdev_vhost *dev,
                                    struct dp_packet *pkts[], unsigned int n);

/* Frees what 'dev' has, which no thread uses any more. */
void netdev_vhost_qos_destruct(struct netdev_vhost *dev);

/* Appends what is set for 'dev' to 'ds', one line each.  The caller holds its
 * mutex. */
void netdev_vhost_qos_format(const struct netdev_vhost *dev, struct ds *ds);

/* How far the meters of 'dev' are used up, among the values that go with a
 * guest to another host.  On the event thread. */
void netdev_vhost_qos_save(struct netdev_vhost *dev,
                           uint64_t values[VHOST_STATE_VALUES]);
void netdev_vhost_qos_load(struct netdev_vhost *dev,
                           const uint64_t values[VHOST_STATE_VALUES]);

/* Members of struct netdev_class. */
int netdev_vhost_set_policing(struct netdev *, uint32_t kbits_rate,
                              uint32_t kbits_burst, uint32_t kpkts_rate,
                              uint32_t kpkts_burst);
int netdev_vhost_get_qos_types(const struct netdev *, struct sset *types);
int netdev_vhost_get_qos(const struct netdev *, const char **typep,
                         struct smap *details);
int netdev_vhost_set_qos(struct netdev *, const char *type,
                         const struct smap *details);
int netdev_vhost_get_queue(const struct netdev *, unsigned int id,
                           struct smap *details);
int netdev_vhost_set_queue(struct netdev *, unsigned int id,
                           const struct smap *details);
int netdev_vhost_delete_queue(struct netdev *, unsigned int id);
int netdev_vhost_get_queue_stats(const struct netdev *, unsigned int id,
                                 struct netdev_queue_stats *);
int netdev_vhost_queue_dump_start(const struct netdev *, void **statep);
int netdev_vhost_queue_dump_next(const struct netdev *, void *state,
                                 unsigned int *id, struct smap *details);
int netdev_vhost_queue_dump_done(const struct netdev *, void *state);
int netdev_vhost_dump_queue_stats(
    const struct netdev *,
    void (*cb)(unsigned int id, struct netdev_queue_stats *, void *aux),
    void *aux);

#define NETDEV_VHOST_QOS_MEMBERS                                \
        .set_policing = netdev_vhost_set_policing,              \
        .get_qos_types = netdev_vhost_get_qos_types,            \
        .get_qos = netdev_vhost_get_qos,                        \
        .set_qos = netdev_vhost_set_qos,                        \
        .get_queue = netdev_vhost_get_queue,                    \
        .set_queue = netdev_vhost_set_queue,                    \
        .delete_queue = netdev_vhost_delete_queue,              \
        .get_queue_stats = netdev_vhost_get_queue_stats,        \
        .queue_dump_start = netdev_vhost_queue_dump_start,      \
        .queue_dump_next = netdev_vhost_queue_dump_next,        \
        .queue_dump_done = netdev_vhost_queue_dump_done,        \
        .dump_queue_stats = netdev_vhost_dump_queue_stats

#endif /* qos.h */
