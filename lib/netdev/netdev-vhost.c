/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The netdev classes "vhostuser" and "vhostuserclient": life cycle,
 * reconfiguration, and what follows from what guests do.  Settings are
 * config.c's, packets rx.c's and tx.c's, numbers stats.c's; sockets, protocol
 * and rings are lib/vhost's.
 *
 * Errors.  An error from set_config makes the bridge delete the port, even one
 * that carries traffic, and one from reconfigure takes it out of the datapath.
 * So both fail only where the port cannot exist at all.  Everything else (a
 * bad new value, no memory for packets, a socket that is in use) leaves the
 * port as it is, and is said in its status and in the log.
 *
 * Reconfigurations stop every polling thread, so a guest must not be able to
 * cause many.  The number of queues never shrinks, requests are held back (see
 * schedule_request()), and nothing that happens at a disconnect needs one.
 */

#include <config.h>

#include "netdev-vhost.h"
#include "private.h"

#include <errno.h>
#include <limits.h>

#include "capture.h"
#include "compat.h"
#include "dpdk.h"
#include "fatal-signal.h"
#include "hash.h"
#include "openvswitch/json.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vlog.h"
#include "ovs-numa.h"
#include "qos.h"
#include "seq.h"
#include "timeval.h"
#include "userspace-tso.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost);

/* As the stock ports: the limit is on the frame with two VLAN tags and FCS. */
#define MIN_MTU 68
#define MAX_MTU 9702
#define MTU_OVERHEAD (ETH_HEADER_LEN + 4)   /* And FCS, or a VLAN tag. */
#define MTU_MAX_OVERHEAD (MTU_OVERHEAD + 2 * VLAN_HEADER_LEN)

/* Times in ms: a guest that adds queues is left alone until it has not added
 * any for so long; requests for a reconfiguration are so far apart at least,
 * and those for another NUMA node so far; and when to ask again for packet
 * memory that was not there. */
#define SETTLE_TIME 50
#define REQUEST_INTERVAL 2000
#define NUMA_INTERVAL 1000
#define POOL_RETRY 10000
#define REPEAT_DELAY 1000

/* All devices, for the main thread's visits. */
static struct ovs_mutex devices_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list devices OVS_GUARDED_BY(devices_mutex)
    = OVS_LIST_INITIALIZER(&devices);

/* Changes when any device has 'changes' to be looked at. */
static struct seq *changed_seq;

/* True while a guest can send and receive. */
bool
netdev_vhost_is_running(const struct netdev_vhost *dev,
                        const struct vhost_port_info *info)
{
    return info->state == VHOST_S_READY && dev->reconfigured && dev->pool;
}

/* Calls 'cb' for each device, with its mutex held. */
void
netdev_vhost_foreach(void (*cb)(struct netdev_vhost *, void *aux), void *aux)
{
    struct netdev_vhost *dev;

    ovs_mutex_lock(&devices_mutex);
    LIST_FOR_EACH (dev, node, &devices) {
        ovs_mutex_lock(&dev->mutex);
        cb(dev, aux);
        ovs_mutex_unlock(&dev->mutex);
    }
    ovs_mutex_unlock(&devices_mutex);
}

/* Life cycle. */

static struct netdev *
netdev_vhost_alloc(void)
{
    struct netdev_vhost *dev = xzalloc_cacheline(sizeof *dev);

    return &dev->up;
}

static void
netdev_vhost_dealloc(struct netdev *netdev)
{
    free_cacheline(netdev_vhost_cast(netdev));
}

/* Node for the packets of a port whose guest has not come yet. */
static int
default_numa(void)
{
#ifdef DPDK_NETDEV
    if (dpdk_available()) {
        return rte_lcore_to_socket_id(rte_get_main_lcore());
    }
#endif
    return 0;
}

/* The rest of the construction is netdev_vhost_create_port()'s, which is
 * called from set_config: only there can a sentence be given for why it failed. */
static void
construct(struct netdev_vhost *dev, enum vhost_role role)
{
    ovs_mutex_init(&dev->mutex);
    ovs_mutex_init(&dev->counters_mutex);
    dev->role = role;
    free(netdev_vhost_options_parse(NULL, role, &dev->options));
    dev->flags = NETDEV_UP | NETDEV_PROMISC;
    dev->mtu = dev->requested_mtu = ETH_PAYLOAD_MAX;
    dev->max_frame = dev->mtu + MTU_OVERHEAD;
    dev->requested_n_txq = 1;
    dev->foreseen_pairs = 1;
    dev->numa = default_numa();
    dev->request_due = dev->repeat_due = LLONG_MAX;
    dev->last_request = LLONG_MIN / 2;
    atomic_init(&dev->special, 0);
    ovsrcu_init(&dev->ingress, NULL);
    ovsrcu_init(&dev->qos, NULL);
    ovsrcu_init(&dev->capture, NULL);
    atomic_init(&dev->tx_retries_max, VHOST_TX_RETRIES_DEFAULT);
    atomic_init(&dev->changes, 0);
    dev->up.n_rxq = 0;
    dev->up.n_txq = 0;

    ovs_mutex_lock(&devices_mutex);
    ovs_list_push_back(&devices, &dev->node);
    ovs_mutex_unlock(&devices_mutex);
    netdev_request_reconfigure(&dev->up);
}

static int
netdev_vhost_server_construct(struct netdev *netdev)
{
    construct(netdev_vhost_cast(netdev), VHOST_SERVER);
    return 0;
}

static int
netdev_vhost_client_construct(struct netdev *netdev)
{
    construct(netdev_vhost_cast(netdev), VHOST_CLIENT);
    return 0;
}

static void
release_pools(struct netdev_vhost *dev)
{
    packet_pool_put(dev->pool, dev->n_pool_queues);
    packet_pool_put(dev->big_pool, dev->n_pool_queues);
    dev->pool = NULL;
    dev->big_pool = NULL;
}

static void
netdev_vhost_destruct(struct netdev *netdev)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    ovs_mutex_lock(&devices_mutex);
    ovs_list_remove(&dev->node);
    ovs_mutex_unlock(&devices_mutex);

    capture_stop(dev, "the port was deleted");
    if (dev->port) {
        vhost_port_destroy(dev->port);
    }
    if (dev->unlink) {
        fatal_signal_remove_file_to_unlink(dev->unlink);
    }
    netdev_vhost_qos_destruct(dev);
    release_pools(dev);
    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        free_cacheline(dev->slots[i]->pairs);
        free_cacheline(dev->slots[i]);
    }
    free(dev->slots);
    for (unsigned int q = 0; q < ARRAY_SIZE(dev->rx); q++) {
        free_cacheline(dev->rx[q]);
    }
    free(dev->path);
    free(dev->unlink);
    free(dev->config_error);
    free(dev->ignored);
    free(dev->mistakes);
    sock_access_destroy(&dev->sock_access);
    netdev_vhost_warnings_destroy(&dev->warnings);
    json_destroy(dev->baseline);
    ovs_mutex_destroy(&dev->counters_mutex);
    ovs_mutex_destroy(&dev->mutex);
}

/* What the event thread calls.  See "Threads" in private.h. */
static void
port_changed(void *dev_, unsigned int what)
{
    struct netdev_vhost *dev = dev_;
    unsigned int old;

    atomic_or_explicit(&dev->changes, what, &old, memory_order_acq_rel);
    seq_change(changed_seq);
}

const struct vhost_port_ops netdev_vhost_port_ops = {
    .changed = port_changed,
    .save = netdev_vhost_save,
    .load = netdev_vhost_load,
};

static int
netdev_vhost_get_numa_id(const struct netdev *netdev)
{
    return netdev_vhost_cast(netdev)->numa;
}

static int
netdev_vhost_set_tx_multiq(struct netdev *netdev, unsigned int n_txq)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    n_txq = MIN(n_txq, VHOST_MAX_SENDERS);
    ovs_mutex_lock(&dev->mutex);
    if (dev->requested_n_txq != n_txq) {
        dev->requested_n_txq = n_txq;
        netdev_request_reconfigure(netdev);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* Reconfiguration. */

/* Makes as many sender slots as the datapath has threads.  If the guest has
 * more queue pairs, there is a slot for each of them, too: with
 * tx-steering=hash the datapath chooses among all slots by the packet, and
 * says that they are used concurrently. */
static int
reconfigure_senders(struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    unsigned int n_own = dev->requested_n_txq;
    unsigned int n = MAX(n_own, dev->up.n_rxq);

    if (n != dev->n_slots || n_own != dev->n_own_slots) {
        int error = vhost_port_set_senders(dev->port, n, n_own);

        if (error) {
            VLOG_WARN("%s: cannot have %u transmit queues: %s", dev->up.name,
                      n, ovs_strerror(error));
            return dev->n_slots ? 0 : error;
        }
    }
    if (n > dev->n_all_slots) {
        ovs_mutex_lock(&dev->counters_mutex);
        dev->slots = xrealloc(dev->slots, n * sizeof *dev->slots);
        for (unsigned int i = dev->n_all_slots; i < n; i++) {
            dev->slots[i] = xzalloc_cacheline(sizeof *dev->slots[i]);
        }
        dev->n_all_slots = n;
        ovs_mutex_unlock(&dev->counters_mutex);
    }
    dev->n_slots = n;
    dev->n_own_slots = n_own;
    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        dev->slots[i]->sender = (i < n ? vhost_port_sender(dev->port, i)
                                 : NULL);
    }
    dev->up.n_txq = n;
    return 0;
}

/* Makes room to count for 'n' queue pairs. */
static void
reconfigure_counters(struct netdev_vhost *dev, unsigned int n)
    OVS_REQUIRES(dev->mutex)
{
    ovs_mutex_lock(&dev->counters_mutex);
    for (unsigned int q = 0; q < n; q++) {
        if (!dev->rx[q]) {
            dev->rx[q] = xzalloc_cacheline(sizeof *dev->rx[q]);
        }
    }
    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        struct tx_slot *slot = dev->slots[i];
        struct pkt_counters *pairs;

        if (slot->n_pairs < n) {
            pairs = xzalloc_cacheline(n * sizeof *pairs);
            if (slot->n_pairs) {
                memcpy(pairs, slot->pairs, slot->n_pairs * sizeof *pairs);
            }
            free_cacheline(slot->pairs);
            slot->pairs = pairs;
            slot->n_pairs = n;
        }
    }
    ovs_mutex_unlock(&dev->counters_mutex);
}

/* Gets pools for the current MTU, node and number of queues.  If there is no
 * memory the old ones stay. */
static void
reconfigure_pools(struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    unsigned int n_queues = dev->up.n_rxq + dev->n_own_slots;
    struct packet_pool *pool;
    struct packet_pool *big = NULL;

    pool = packet_pool_get(dev->numa, dev->mtu + MTU_MAX_OVERHEAD, n_queues,
                           dev->n_own_slots);
    if (pool && dev->tso) {
        /* Without it, frames that need it are dropped and counted. */
        big = packet_pool_get(dev->numa, PACKET_POOL_MAX_FRAME, n_queues,
                              dev->n_own_slots);
    }
    if (!pool) {
        VLOG_ERR("%s: no memory for packets (MTU %d, NUMA node %d)",
                 dev->up.name, dev->mtu, dev->numa);
        dev->pool_error = (dev->pool
                           ? "no memory for packets of this MTU: larger ones "
                             "than before are dropped"
                           : "no memory for packets");
        dev->request_due = time_msec() + POOL_RETRY;
        seq_change(changed_seq);
        return;
    }
    release_pools(dev);
    dev->pool_error = NULL;
    dev->pool = pool;
    dev->big_pool = big;
    dev->n_pool_queues = n_queues;
}

static int
netdev_vhost_reconfigure(struct netdev *netdev)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);
    struct vhost_port_info info;
    int error = 0;

    ovs_mutex_lock(&dev->mutex);
    if (!dev->port) {
        /* Whoever opened this never called set_config. */
        char *why = NULL;

        error = netdev_vhost_create_port(dev, NULL, &why);
        if (error) {
            VLOG_ERR("%s: %s", netdev->name, why ? why : ovs_strerror(error));
        }
        free(why);
    }
    if (!error) {
        vhost_port_get_info(dev->port, &info);
        netdev->n_rxq = MAX(netdev->n_rxq, info.n_queue_pairs);
        netdev->n_rxq = MAX(netdev->n_rxq, dev->foreseen_pairs);
        netdev->n_rxq = MIN(netdev->n_rxq, VHOST_MAX_QUEUE_PAIRS);
        error = reconfigure_senders(dev);
    }
    if (!error) {
        dev->seen_pairs = netdev->n_rxq;
        if (info.numa >= 0) {
            dev->numa = info.numa;
        }
        dev->mtu = dev->requested_mtu;
        dev->max_frame = dev->mtu + MTU_OVERHEAD;
        dev->request_due = LLONG_MAX;
        reconfigure_counters(dev, netdev->n_rxq);
        reconfigure_pools(dev);
        dev->reconfigured = true;
        netdev_change_seq_changed(netdev);
    }
    ovs_mutex_unlock(&dev->mutex);
    return error;
}

/* What the event thread's news lead to, in the main thread. */

/* Decides when to ask for a reconfiguration, if one is needed. */
static void
schedule_request(struct netdev_vhost *dev, const struct vhost_port_info *info,
                 long long int now)
    OVS_REQUIRES(dev->mutex)
{
    unsigned int pairs = MIN(info->n_queue_pairs, VHOST_MAX_QUEUE_PAIRS);
    long long int due = LLONG_MAX;

    if (pairs > dev->up.n_rxq) {
        due = now + (pairs != dev->seen_pairs ? SETTLE_TIME : 0);
        due = MAX(due, dev->last_request + REQUEST_INTERVAL);
        dev->seen_pairs = pairs;
    }
    if (info->numa >= 0 && info->numa != dev->numa) {
        due = MIN(due, MAX(now, dev->last_request + NUMA_INTERVAL));
    }
    if (due != LLONG_MAX && dev->reconfigured) {
        dev->request_due = MIN(dev->request_due, due);
    }
}

/* Has the server's socket unlinked if the process is killed by a signal, but
 * only while it is ours: another process may be listening there. */
static void
update_unlink(struct netdev_vhost *dev, const struct vhost_port_info *info)
    OVS_REQUIRES(dev->mutex)
{
    bool ours = info->listening;

    if (ours && !dev->unlink) {
        dev->unlink = xstrdup(info->path);
        fatal_signal_add_file_to_unlink(dev->unlink);
    } else if (!ours && dev->unlink) {
        fatal_signal_remove_file_to_unlink(dev->unlink);
        free(dev->unlink);
        dev->unlink = NULL;
    }
}

/* Hands the address to be announced, if any, to the thread that announces
 * it. */
static void
pass_on_rarp(struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    if (dev->rxqs[0] && dev->rarp) {
        atomic_store(&dev->rxqs[0]->requests, dev->rarp);
        dev->rarp = 0;
    }
}

/* Reacts to 'what' (a mask of enum vhost_change). */
void
netdev_vhost_changed(struct netdev_vhost *dev, unsigned int what)
    OVS_REQUIRES(dev->mutex)
{
    struct vhost_port_info info;
    struct eth_addr mac;

    if (!dev->port) {
        return;
    }
    vhost_port_get_info(dev->port, &info);
    schedule_request(dev, &info, time_msec());
    update_unlink(dev, &info);
    if (what & VHOST_CHANGE_RARP && vhost_port_take_rarp(dev->port, mac.ea)) {
        dev->rarp = RXQ_ANNOUNCE | eth_addr_to_uint64(mac);
        pass_on_rarp(dev);
    }

    /* The status column is written anew only if something has changed.  Just
     * after ovs-vswitchd's start the bridge compares with what its database
     * still has of the process before, and may take news for old: so they are
     * announced once more, a little later. */
    if (what & ~VHOST_CHANGE_RARP) {
        netdev_change_seq_changed(&dev->up);
        dev->repeat_due = time_msec() + REPEAT_DELAY;
    }
}

/* DPDK may have been initialised after the port was made.  From then on its
 * packets shall be such as a NIC sends without a copy. */
static void
request_dpdk_packets(struct netdev_vhost *dev)
    OVS_REQUIRES(dev->mutex)
{
    if (dev->pool && dev->pool->heap && dpdk_available()
        && !dev->pool_error) {
        netdev_request_reconfigure(&dev->up);
    }
}

/* Looks after 'dev' and returns when to do that again. */
static long long int
device_run(struct netdev_vhost *dev, long long int now)
{
    unsigned int changes;

    atomic_and_explicit(&dev->changes, 0, &changes, memory_order_acq_rel);
    ovs_mutex_lock(&dev->mutex);
    if (changes) {
        netdev_vhost_changed(dev, changes);
    }
    if (now >= dev->request_due) {
        dev->request_due = LLONG_MAX;
        dev->last_request = now;
        netdev_request_reconfigure(&dev->up);
    }
    if (now >= dev->warnings.due) {
        if (netdev_vhost_warnings_run(dev, now)) {
            dev->repeat_due = now;
        }
        request_dpdk_packets(dev);
    }
    if (now >= dev->repeat_due) {
        dev->repeat_due = LLONG_MAX;
        netdev_change_seq_changed(&dev->up);
    }
    now = MIN(MIN(dev->request_due, dev->repeat_due), dev->warnings.due);
    ovs_mutex_unlock(&dev->mutex);
    return now;
}

/* State of netdev_vhost_run(), for the main thread only. */
static uint64_t run_seq;
static long long int run_due;

/* All classes have this as their 'run': it serves all devices and has nothing
 * to do the next times. */
static void
netdev_vhost_run(const struct netdev_class *class OVS_UNUSED)
{
    long long int now = time_msec();
    uint64_t seq = seq_read(changed_seq);
    long long int pool_due;

    if (seq != run_seq || now >= run_due) {
        struct netdev_vhost *dev;

        run_seq = seq;
        run_due = LLONG_MAX;
        ovs_mutex_lock(&devices_mutex);
        LIST_FOR_EACH (dev, node, &devices) {
            run_due = MIN(run_due, device_run(dev, now));
        }
        ovs_mutex_unlock(&devices_mutex);
    }
    pool_due = packet_pool_run();
    run_due = MIN(run_due, pool_due);
}

static void
netdev_vhost_wait(const struct netdev_class *class OVS_UNUSED)
{
    seq_wait(changed_seq, run_seq);
    if (run_due != LLONG_MAX) {
        poll_timer_wait_until(run_due);
    }
}

/* Properties. */

static int
netdev_vhost_set_etheraddr(struct netdev *netdev, const struct eth_addr mac)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    if (!eth_addr_equals(dev->hwaddr, mac)) {
        dev->hwaddr = mac;
        netdev_change_seq_changed(netdev);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_vhost_get_etheraddr(const struct netdev *netdev, struct eth_addr *mac)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *mac = dev->hwaddr;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_vhost_get_mtu(const struct netdev *netdev, int *mtup)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    ovs_mutex_lock(&dev->mutex);
    *mtup = dev->mtu;
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static int
netdev_vhost_set_mtu(struct netdev *netdev, int mtu)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    if (mtu < MIN_MTU || mtu > MAX_MTU) {
        VLOG_WARN("%s: unsupported MTU %d", netdev->name, mtu);
        return EINVAL;
    }
    ovs_mutex_lock(&dev->mutex);
    if (dev->requested_mtu != mtu) {
        dev->requested_mtu = mtu;
        netdev_request_reconfigure(netdev);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* There is no interface of the kernel: a number that stays the same. */
static int
netdev_vhost_get_ifindex(const struct netdev *netdev)
{
    return hash_string(netdev->name, 0) % 0xfffffe + 1;
}

static int
netdev_vhost_update_flags(struct netdev *netdev, enum netdev_flags off,
                          enum netdev_flags on, enum netdev_flags *old_flagsp)
{
    struct netdev_vhost *dev = netdev_vhost_cast(netdev);

    if ((off | on) & ~(NETDEV_UP | NETDEV_PROMISC)) {
        return EINVAL;
    }
    ovs_mutex_lock(&dev->mutex);
    *old_flagsp = dev->flags;
    dev->flags = (dev->flags | on) & ~off;
    if (dev->flags != *old_flagsp) {
        netdev_vhost_set_special(dev, DEV_DOWN, !(dev->flags & NETDEV_UP));
        netdev_change_seq_changed(netdev);
    }
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

/* Receive queues. */

static struct netdev_rxq_vhost *
netdev_rxq_vhost_cast(const struct netdev_rxq *rxq)
{
    return CONTAINER_OF(rxq, struct netdev_rxq_vhost, up);
}

static struct netdev_rxq *
netdev_vhost_rxq_alloc(void)
{
    struct netdev_rxq_vhost *rxq = xzalloc_cacheline(sizeof *rxq);

    return &rxq->up;
}

static int
netdev_vhost_rxq_construct(struct netdev_rxq *rxq_)
{
    struct netdev_rxq_vhost *rxq = netdev_rxq_vhost_cast(rxq_);
    struct netdev_vhost *dev = netdev_vhost_cast(rxq_->netdev);

    rxq->dev = dev;
    rxq->ring = vhost_port_rxq(dev->port, rxq_->queue_id);
    rxq->counters = dev->rx[rxq_->queue_id];
    atomic_init(&rxq->requests, 0);
    atomic_init(&rxq->node, -1);
    if (!rxq->ring) {
        return ENOMEM;
    }
    ovs_mutex_lock(&dev->mutex);
    dev->rxqs[rxq_->queue_id] = rxq;
    pass_on_rarp(dev);
    ovs_mutex_unlock(&dev->mutex);
    return 0;
}

static void
netdev_vhost_rxq_destruct(struct netdev_rxq *rxq_)
{
    struct netdev_rxq_vhost *rxq = netdev_rxq_vhost_cast(rxq_);
    struct netdev_vhost *dev = rxq->dev;

    ovs_mutex_lock(&dev->mutex);
    if (dev->rxqs[rxq_->queue_id] == rxq) {
        dev->rxqs[rxq_->queue_id] = NULL;
    }
    ovs_mutex_unlock(&dev->mutex);
}

static void
netdev_vhost_rxq_dealloc(struct netdev_rxq *rxq)
{
    free_cacheline(netdev_rxq_vhost_cast(rxq));
}

/* Whether queue 'rxq_' needs polling.  Queues other than the first are left
 * alone while the guest does not use them (what it sends on a ring that it has
 * not enabled is discarded by lib/vhost), so that a port costs no more than
 * its guest needs, and almost nothing without a guest.  The first one is
 * always polled, which costs one load while there is nothing: threads notice a
 * change only every thousand rounds, which may be seconds if they sleep
 * between them, and a guest that just came should not wait for that. */
static bool
netdev_vhost_rxq_enabled(struct netdev_rxq *rxq_)
{
    struct netdev_rxq_vhost *rxq = netdev_rxq_vhost_cast(rxq_);

    return (!rxq_->queue_id
            || vhost_port_vring_enabled(rxq->dev->port,
                                        2 * rxq_->queue_id + 1));
}

/* Classes. */

#define NETDEV_VHOST_CLASS(TYPE, CONSTRUCT)             \
    {                                                   \
        .type = TYPE,                                   \
        .is_pmd = true,                                 \
        .run = netdev_vhost_run,                        \
        .wait = netdev_vhost_wait,                      \
        .alloc = netdev_vhost_alloc,                    \
        .construct = CONSTRUCT,                         \
        .destruct = netdev_vhost_destruct,              \
        .dealloc = netdev_vhost_dealloc,                \
        .get_config = netdev_vhost_get_config,          \
        .set_config = netdev_vhost_set_config,          \
        .get_numa_id = netdev_vhost_get_numa_id,        \
        .set_tx_multiq = netdev_vhost_set_tx_multiq,    \
        .send = netdev_vhost_send,                      \
        .set_etheraddr = netdev_vhost_set_etheraddr,    \
        .get_etheraddr = netdev_vhost_get_etheraddr,    \
        .get_mtu = netdev_vhost_get_mtu,                \
        .set_mtu = netdev_vhost_set_mtu,                \
        .get_ifindex = netdev_vhost_get_ifindex,        \
        .get_carrier = netdev_vhost_get_carrier,        \
        .get_carrier_resets = netdev_vhost_get_carrier_resets,  \
        .get_features = netdev_vhost_get_features,      \
        .get_stats = netdev_vhost_get_stats,            \
        .get_custom_stats = netdev_vhost_get_custom_stats,      \
        .get_status = netdev_vhost_get_status,          \
        NETDEV_VHOST_QOS_MEMBERS,                       \
        .update_flags = netdev_vhost_update_flags,      \
        .reconfigure = netdev_vhost_reconfigure,        \
        .rxq_alloc = netdev_vhost_rxq_alloc,            \
        .rxq_construct = netdev_vhost_rxq_construct,    \
        .rxq_destruct = netdev_vhost_rxq_destruct,      \
        .rxq_dealloc = netdev_vhost_rxq_dealloc,        \
        .rxq_recv = netdev_vhost_rxq_recv,              \
        .rxq_enabled = netdev_vhost_rxq_enabled,        \
    }

static const struct netdev_class classes[] = {
    [VHOST_SERVER] = NETDEV_VHOST_CLASS("vhostuser",
                                        netdev_vhost_server_construct),
    [VHOST_CLIENT] = NETDEV_VHOST_CLASS("vhostuserclient",
                                        netdev_vhost_client_construct),
};

const struct netdev_class *
netdev_vhost_class(enum vhost_role role)
{
    return &classes[role];
}

int
netdev_vhost_register(void)
{
    int error;

    changed_seq = seq_create();
    run_seq = seq_read(changed_seq);
    run_due = LLONG_MAX;
    error = netdev_register_provider(&classes[VHOST_SERVER]);
    if (!error) {
        error = netdev_register_provider(&classes[VHOST_CLIENT]);
    }
    if (!error) {
        netdev_vhost_unixctl_register();
    }
    return error;
}
