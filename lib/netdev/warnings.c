/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Warnings of ports: collects the facts that warning-rules.c judges, and puts
 * what comes of it into words, for the log and for the status.
 *
 * A text depends on nothing that a guest can change as it likes, such as a
 * counter: it is in the database, and would be written there each time.
 */

#include <config.h>

#include "private.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/vlog.h"
#include "ovs-numa.h"
#include "smap.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_warnings);

#define LOOK_INTERVAL 1000      /* Milliseconds. */

/* Facts. */

/* True if the file at the path of a server's socket is not its own. */
static bool
socket_is_lost(const struct vhost_port_info *info)
{
    struct stat st;

    return (info->listening && info->path[0]
            && (lstat(info->path, &st) || st.st_dev != info->socket_dev
                || st.st_ino != info->socket_ino));
}

/* Has each PMD thread that polls 'dev' say where it is, and takes over what
 * they said when they were asked last. */
static void
ask_nodes(struct netdev_vhost *dev, int guest_node, struct warning_facts *f)
{
    if (guest_node < 0 || ovs_numa_get_n_numas() < 2) {
        return;
    }
    for (int q = 0; q < dev->up.n_rxq; q++) {
        struct netdev_rxq_vhost *rxq = dev->rxqs[q];
        uint64_t old;
        int node;

        if (!rxq || !vhost_port_vring_enabled(dev->port, 2 * q + 1)) {
            continue;
        }
        atomic_read_relaxed(&rxq->node, &node);
        if (node >= 0) {
            f->polled = true;
            f->polled_afar |= node != guest_node;
        }
        atomic_or_relaxed(&rxq->requests, RXQ_TELL_NODE, &old);
    }
}

int
netdev_vhost_own_node(void)
{
    const char *name = get_subprogram_name();
    int core;
    int node;

    if (!ovs_scan(name, "pmd-c%d/", &core)) {
        return -1;
    }
    node = ovs_numa_get_numa_id(core);
    return node != OVS_NUMA_UNSPEC ? node : -1;
}

/* Compares what each thread has sent to the guest with what it had at the last
 * look. */
static void
look_at_senders(struct netdev_vhost *dev, struct warning_facts *f)
{
    struct warnings *w = &dev->warnings;

    if (w->n_slots < dev->n_all_slots) {
        w->slots = xrealloc(w->slots, dev->n_all_slots * sizeof *w->slots);
        memset(w->slots + w->n_slots, 0,
               (dev->n_all_slots - w->n_slots) * sizeof *w->slots);
        w->n_slots = dev->n_all_slots;
    }
    for (unsigned int i = 0; i < dev->n_all_slots; i++) {
        const struct tx_slot *slot = dev->slots[i];
        struct warnings_slot now = { .sent = 0 };

        now.full = counter_get(&slot->events[TX_DROP_FULL]);
        for (unsigned int q = 0; q < slot->n_pairs; q++) {
            now.sent += counter_get(&slot->pairs[q].packets);
        }
        f->sent |= now.sent != w->slots[i].sent;
        f->stuck |= (now.full != w->slots[i].full
                     && now.sent == w->slots[i].sent);
        w->slots[i] = now;
    }
}

static void
look_at_waits(struct netdev_vhost *dev, long long int ms,
              struct warning_facts *f)
{
    uint64_t rings[VHOST_N_COUNTERS];
    uint64_t waits;

    netdev_vhost_sum_rings(dev, 0, rings);
    waits = rings[VHOST_C_CONTENTION];
    if (ms > 0) {
        f->waits_per_second = (waits - dev->warnings.waits) * 1000 / ms;
    }
    dev->warnings.waits = waits;
}

static void
look_at_pool(const struct netdev_vhost *dev, struct warning_facts *f)
{
    struct packet_pool_info info;

    if (dev->pool) {
        packet_pool_get_info(dev->pool, &info);
        f->n_packets = info.n_packets;
        f->n_free = info.n_free;
    }
}

static void
collect(struct netdev_vhost *dev, const struct vhost_port_info *info,
        long long int now, struct warning_facts *f)
{
    struct warnings *w = &dev->warnings;
    long long int ms = w->looked_at ? now - w->looked_at : 0;

    memset(f, 0, sizeof *f);
    f->state = info->state;
    f->trouble = info->trouble;
    f->silent = info->n_messages == info->n_messages_before;
    f->socket_lost = dev->role == VHOST_SERVER && socket_is_lost(info);
    f->access_failed = info->access_error[0] != '\0';
    f->ignored_options = dev->mistakes != NULL;
    f->features = info->features;
    f->mtu = dev->mtu;
    f->n_pairs = info->n_enabled_pairs;
    f->n_senders = dev->n_own_slots;
    if (f->state == VHOST_S_READY) {
        ask_nodes(dev, info->numa, f);
    }
    look_at_senders(dev, f);
    if (info->postcopy == VHOST_POSTCOPY_RUNNING) {
        /* What looks like a full ring is memory that has not come. */
        f->stuck = false;
    }
    look_at_waits(dev, ms, f);
    look_at_pool(dev, f);
    if (!w->looked_at) {
        f->stuck = f->sent = false;
    }
    w->looked_at = now;
}

/* Texts. */

static char *
no_listener_text(const struct vhost_port_info *info)
{
    return xasprintf("nobody listens on %s: start the guest, and compare the "
                     "path with its VMM's (QEMU: -chardev socket,path=%s,"
                     "server=on); a VMM that connects instead needs a port of "
                     "type vhostuser", info->path, info->path);
}

static char *
refused_text(const struct netdev_vhost *dev,
             const struct vhost_port_info *info)
{
    switch (info->trouble) {
    case VHOST_T_DENIED:
        return xasprintf("ovs-vswitchd (user %u) may not connect to %s: give "
                         "this user write permission on the socket and search "
                         "permission on its directories, and look for denials "
                         "of SELinux or AppArmor in the audit log",
                         (unsigned int) geteuid(), info->path);
    case VHOST_T_IN_USE:
        return xasprintf("another process listens on %s: if it is the guest's "
                         "VMM, both sides are servers, so take server=on from "
                         "its chardev, or make the port a vhostuserclient; "
                         "otherwise end it", info->path);
    default:
        return (dev->role == VHOST_SERVER
                ? xasprintf("there is a file that is no socket at %s: "
                            "remove it", info->path)
                : xasprintf("%s is no socket: set options:vhost-server-path "
                            "to the one of the guest's VMM", info->path));
    }
}

static char *
no_front_end_text(const struct netdev_vhost *dev,
                  const struct vhost_port_info *info)
{
    return xasprintf("what %s %s is no vhost-user front end%s: connect the "
                     "guest's VMM there (QEMU: -netdev vhost-user), or "
                     "correct %s",
                     dev->role == VHOST_SERVER ? "connects to" : "listens on",
                     info->path,
                     (info->trouble == VHOST_T_NOT_VHOST_USER
                      ? ", since it says something else"
                      : ", since it says nothing (a port of a switch does "
                      "not either: then both sides are back ends)"),
                     (dev->role == VHOST_SERVER
                      ? "that program's path"
                      : "options:vhost-server-path"));
}

static char *
numa_text(const struct vhost_port_info *info)
{
    return xasprintf("the guest's memory is on NUMA node %d, and PMD threads "
                     "on another node poll it, which is slow: give "
                     "other_config:pmd-cpu-mask a core of node %d, or change "
                     "the port's pmd-rxq-affinity", info->numa, info->numa);
}

static char *
few_queues_text(const struct netdev_vhost *dev,
                const struct vhost_port_info *info)
{
    return xasprintf("%u threads send to %u queue%s of the guest, and wait "
                     "for each other: give it more queues (QEMU: queues=N for "
                     "its netdev, mq=on,vectors=2N+2 for its device; in the "
                     "guest: ethtool -L eth0 combined N), or have fewer PMD "
                     "threads", dev->n_own_slots, info->n_enabled_pairs,
                     info->n_enabled_pairs == 1 ? "" : "s");
}

/* What to say of a warning of 'kind'. */
static char *
text_of(enum warning_kind kind, const struct netdev_vhost *dev,
        const struct vhost_port_info *info)
{
    switch (kind) {
    case WARNING_NO_LISTENER:
        return no_listener_text(info);
    case WARNING_REFUSED:
        return refused_text(dev, info);
    case WARNING_NO_FRONT_END:
        return no_front_end_text(dev, info);
    case WARNING_SOCKET_LOST:
        return xasprintf("%s is not this port's socket any more: a program "
                         "has removed, moved or replaced it (QEMU with "
                         "server=on does that: then use a port of type "
                         "vhostuserclient); to have it made again, delete and "
                         "add the port", info->path);
    case WARNING_SOCKET_ACCESS:
        return xasprintf("%s; give ovs-vswitchd the right to change it "
                         "(CAP_CHOWN and CAP_FOWNER, or run it as a member of "
                         "the group), or correct options:vhost-sock-owner and "
                         "vhost-sock-mode", info->access_error);
    case WARNING_IGNORED_OPTIONS:
        return xasprintf("ignored options: %s", dev->mistakes);
    case WARNING_NO_MRG_RXBUF:
        return xasprintf("the guest has no MRG_RXBUF, while the port's MTU is "
                         "%d: frames that do not fit one of its buffers are "
                         "dropped (too_big_drops); switch it on (QEMU: "
                         "mrg_rxbuf=on; driver: mergeable buffers), or set "
                         "mtu_request to 1500", dev->mtu);
    case WARNING_NUMA:
        return numa_text(info);
    case WARNING_NOT_DRAINING:
        return xstrdup("the guest takes nothing from its full ring, and what "
                       "is sent to it is dropped (ring_full_drops): look "
                       "whether its vCPUs run, its interface is up, and its "
                       "driver or program polls all queues that it has "
                       "enabled");
    case WARNING_FEW_QUEUES:
        return few_queues_text(dev, info);
    case WARNING_POOL_LOW:
        return xstrdup("the packet pool is nearly empty and cannot grow: give "
                       "DPDK more memory (other_config:dpdk-socket-mem, or -m "
                       "in dpdk-extra), or find the port that holds the "
                       "packets; ports that share the pool cannot receive "
                       "(mbuf_alloc_failed)");
    case N_WARNINGS:
        break;
    }
    OVS_NOT_REACHED();
}

/* Those whose text depends on settings alone, so that each change of it is worth
 * a line in the log. */
static bool
is_of_settings(enum warning_kind kind)
{
    return kind == WARNING_IGNORED_OPTIONS || kind == WARNING_SOCKET_ACCESS;
}

/* Those whose text a guest could change all the time: it stays as it was at
 * first. */
static bool
is_of_guest(enum warning_kind kind)
{
    return (kind == WARNING_NO_FRONT_END || kind == WARNING_NUMA
            || kind == WARNING_FEW_QUEUES);
}

/* Has 'text', which is taken over (NULL: none), be said of 'kind'.  Returns
 * true if that is news. */
static bool
set_text(struct warnings *w, enum warning_kind kind, char *text)
{
    if (nullable_string_is_equal(text, w->text[kind])) {
        free(text);
        return false;
    }
    free(w->text[kind]);
    w->text[kind] = text;
    return true;
}

/* Goes on with one kind of warning.  Returns true if there is news. */
static bool
run_one(struct netdev_vhost *dev, enum warning_kind kind,
        const struct vhost_port_info *info, const struct warning_facts *f,
        long long int now)
{
    struct warning *state = &dev->warnings.states[kind];
    unsigned int n_unlogged = state->n_unlogged;
    enum warning_event event;
    bool news;

    event = warning_step(state, kind, warning_judge(kind, f), now);
    if (!state->raised) {
        if (event == WARNING_CLEARED) {
            VLOG_INFO("%s: warning \"%s\" has ended", dev->up.name,
                      warning_name(kind));
        }
        return set_text(&dev->warnings, kind, NULL);
    }
    news = ((event == WARNING_STAYS && is_of_guest(kind))
            ? false : set_text(&dev->warnings, kind,
                               text_of(kind, dev, info)));
    if (event == WARNING_RAISED && n_unlogged) {
        VLOG_WARN("%s: %s (and %u times since this was logged last)",
                  dev->up.name, dev->warnings.text[kind], n_unlogged);
    } else if (event == WARNING_RAISED
               || (news && is_of_settings(kind))) {
        VLOG_WARN("%s: %s", dev->up.name, dev->warnings.text[kind]);
    }
    return news;
}

bool
netdev_vhost_warnings_run(struct netdev_vhost *dev, long long int now)
{
    struct vhost_port_info info;
    struct warning_facts facts;
    bool news = false;

    dev->warnings.due = now + LOOK_INTERVAL;
    if (!dev->port) {
        return false;
    }
    vhost_port_get_info(dev->port, &info);
    collect(dev, &info, now, &facts);
    for (int i = 0; i < N_WARNINGS; i++) {
        news |= run_one(dev, i, &info, &facts, now);
    }
    return news;
}

void
netdev_vhost_warnings_destroy(struct warnings *w)
{
    for (int i = 0; i < N_WARNINGS; i++) {
        free(w->text[i]);
    }
    free(w->slots);
}

/* What others see. */

void
netdev_vhost_warnings_to_status(const struct warnings *w, struct smap *status)
{
    struct ds names = DS_EMPTY_INITIALIZER;

    for (int i = 0; i < N_WARNINGS; i++) {
        if (w->text[i]) {
            ds_put_format(&names, "%s%s", names.length ? "," : "",
                          warning_name(i));
            smap_add_nocopy(status, xasprintf("warning_%s", warning_name(i)),
                            xstrdup(w->text[i]));
        }
    }
    if (names.length) {
        smap_add(status, "warnings", ds_cstr(&names));
    }
    ds_destroy(&names);
}

void
netdev_vhost_warnings_format(const struct warnings *w, struct ds *ds)
{
    for (int i = 0; i < N_WARNINGS; i++) {
        if (w->text[i]) {
            ds_put_format(ds, "    warning %s: %s\n", warning_name(i),
                          w->text[i]);
        }
    }
}

struct json *
netdev_vhost_warnings_to_json(const struct warnings *w)
{
    struct json *json = json_object_create();

    for (int i = 0; i < N_WARNINGS; i++) {
        if (w->text[i]) {
            json_object_put_string(json, warning_name(i), w->text[i]);
        }
    }
    return json;
}
