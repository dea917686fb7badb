/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Captures: see capture.h.
 *
 * A capture is reached by polling threads through netdev_vhost.capture, under
 * RCU.  Whoever ends it (its own thread at a limit, a command, the port's
 * destruction) takes it out of there; its thread then waits until no polling
 * thread can be using it, writes the rest, and leaves the numbers in a list
 * for people to read.  The thread is in RCU's quiescent state all the time, so
 * that a slow disk holds up nobody.
 */

#include <config.h>

#include "capture.h"
#include "capture-file.h"
#include "private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "fatal-signal.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/list.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "timeval.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_capture);

/* Memory of a capture's ring. */
#define RING_BYTES (16u << 20)

/* Captures at a time, and how many that have ended are remembered. */
#define MAX_RUNNING 8
#define MAX_ENDED 16

/* Records that are written before somebody asks whether to go on. */
#define RECORDS_PER_TURN 1024

/* How long the thread sleeps when there is nothing, in ns.  So many times that
 * bursts may last at the end of the process, and so many times it waits for
 * all files to be complete. */
#define NAP 1000000
#define EXIT_BURSTS 20
#define EXIT_PATIENCE 2000

struct capture {
    /* For polling threads. */
    struct capture_ring ring;
    uint32_t snaplen;

    struct ovs_list node;       /* In 'captures'. */
    char *port;
    char *path;
    struct capture_limits limits;
    struct netdev_vhost *dev;   /* NULL: it has been taken out there. */
    const char *reason;         /* Why it ends, NULL: it does not. */
    bool ended;                 /* Its thread is done with it. */
    bool unused;                /* Polling threads are, too. */

    /* The thread's.  Others read some of it. */
    struct capture_file file;
    uint64_t n_lost;            /* Packets that did not fit, in the end. */
    long long int ended_at;     /* time_wall_msec(). */
    long long int deadline;     /* time_msec(). */
    bool idle;                  /* There was nothing left to write. */
};

/* The process ends. */
static bool exiting;

/* Protects 'captures', and of each: 'dev', 'reason', 'ended'. */
static struct ovs_mutex captures_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list captures OVS_GUARDED_BY(captures_mutex)
    = OVS_LIST_INITIALIZER(&captures);

/* Polling threads. */

struct capture *
netdev_vhost_capture(const struct netdev_vhost *dev)
{
    return ovsrcu_get(struct capture *, &dev->capture);
}

static uint64_t
wall_clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

struct capture_record *
capture_begin(struct capture *cap, enum capture_direction direction,
              uint16_t queue, uint32_t len, uint32_t have)
{
    struct capture_record *rec;

    rec = capture_ring_reserve(&cap->ring, MIN(have, cap->snaplen));
    if (rec) {
        rec->ns = wall_clock_ns();
        rec->len = len;
        rec->queue = queue;
        rec->direction = direction;
    }
    return rec;
}

void
capture_header(struct capture_record *rec, const struct virtio_net_hdr *h)
{
    if (rec) {
        rec->flags = h->flags;
        rec->gso_type = h->gso_type;
        rec->gso_size = h->gso_size;
        rec->csum_start = h->csum_start;
        rec->csum_offset = h->csum_offset;
    }
}

struct capture_record *
capture_frame(struct capture *cap, enum capture_direction direction,
              uint16_t queue, const void *data, uint32_t len,
              const struct virtio_net_hdr *h)
{
    struct capture_record *rec = capture_begin(cap, direction, queue, len,
                                               len);

    if (rec) {
        memcpy(rec->data, data, rec->data_len);
        if (h) {
            capture_header(rec, h);
        }
    }
    return rec;
}

void
capture_end(struct capture_record *rec, uint8_t verdict)
{
    if (rec) {
        rec->verdict = verdict;
        capture_ring_publish(rec);
    }
}

void
capture_cancel(struct capture_record *rec)
{
    if (rec) {
        capture_ring_cancel(rec);
    }
}

/* The end of a capture. */

/* Ends 'cap' for 'reason', unless it ends already: new bursts of its port do
 * not find it any more. */
static void
detach(struct capture *cap, const char *reason)
    OVS_REQUIRES(captures_mutex)
{
    if (!cap->reason) {
        cap->reason = reason;
    }
    if (cap->dev) {
        netdev_vhost_set_special(cap->dev, DEV_CAPTURED, false);
        ovsrcu_set(&cap->dev->capture, NULL);
        cap->dev = NULL;
    }
}

/* Its thread. */

/* Writes the records that are there, or many of them; sets 'cap->idle' if none
 * is left.  Returns NULL, or why there must be no more. */
static const char *
write_records(struct capture *cap)
{
    const struct capture_record *rec = NULL;

    for (unsigned int i = 0; i < RECORDS_PER_TURN && !cap->file.error; i++) {
        rec = capture_ring_peek(&cap->ring);
        if (!rec) {
            break;
        }
        if (!capture_file_put(&cap->file, rec, cap->limits.bytes)) {
            return "the file has as many bytes as it may";
        }
        capture_ring_drop(&cap->ring);
        if (counter_get(&cap->file.n_packets) >= cap->limits.packets) {
            return "it has as many packets as it may";
        }
    }
    cap->idle = !rec;
    if (cap->idle) {
        capture_file_flush(&cap->file);
    }
    return cap->file.error ? "the file cannot be written" : NULL;
}

/* True if somebody else has ended 'cap'. */
static bool
is_detached(struct capture *cap)
{
    bool detached;

    ovs_mutex_lock(&captures_mutex);
    detached = !cap->dev;
    ovs_mutex_unlock(&captures_mutex);
    return detached;
}

static void
nap(void)
{
    struct timespec ts = { .tv_nsec = NAP };

    nanosleep(&ts, NULL);
}

/* Captures until there is a reason to end. */
static const char *
run(struct capture *cap)
{
    while (!is_detached(cap)) {
        const char *reason = write_records(cap);

        if (reason) {
            return reason;
        }
        if (time_msec() >= cap->deadline) {
            return "its time is over";
        }
        if (cap->idle) {
            nap();
        }
    }
    return NULL;
}

static void
unused_cb(struct capture *cap)
{
    __atomic_store_n(&cap->unused, true, __ATOMIC_RELEASE);
}

static bool
is_unused(const struct capture *cap)
{
    return __atomic_load_n(&cap->unused, __ATOMIC_ACQUIRE);
}

/* Waits until no polling thread uses 'cap' any more, which is out of their
 * sight.  When the process ends that cannot be told, because threads of RCU's
 * do not run any more; but a burst does not last that long. */
static void
wait_for_users(struct capture *cap)
{
    unsigned int patience = EXIT_BURSTS;

    ovsrcu_postpone(unused_cb, cap);
    ovsrcu_quiesce_start();
    while (!is_unused(cap) && patience) {
        patience -= __atomic_load_n(&exiting, __ATOMIC_RELAXED);
        nap();
    }
}

/* Ends the file, and frees all but what people may want to know. */
static void
finish(struct capture *cap)
{
    capture_file_end(&cap->file, cap->n_lost, cap->reason);
    if (is_unused(cap)) {
        capture_ring_destroy(&cap->ring);
    }
    cap->ended_at = time_wall_msec();
    if (cap->file.error) {
        VLOG_WARN("%s: %s: %s", cap->port, cap->path,
                  ovs_strerror(cap->file.error));
    }
    VLOG_INFO("%s: captured %"PRIu64" packets into %s (%s)", cap->port,
              counter_get(&cap->file.n_packets), cap->path, cap->reason);
}

static void *
capture_main(void *cap_)
{
    struct capture *cap = cap_;
    const char *reason;

    pthread_detach(pthread_self());
    ovsrcu_quiesce_start();
    reason = run(cap);

    ovs_mutex_lock(&captures_mutex);
    detach(cap, reason);
    ovs_mutex_unlock(&captures_mutex);
    wait_for_users(cap);

    /* A limit is a limit: what came after that does not count. */
    do {
        cap->idle = true;
    } while (!reason && !write_records(cap) && !cap->idle);
    cap->n_lost = (reason ? cap->file.seen_lost
                   : capture_ring_lost(&cap->ring));
    finish(cap);
    ovs_mutex_lock(&captures_mutex);
    cap->ended = true;
    ovs_mutex_unlock(&captures_mutex);
    return NULL;
}

/* The beginning. */

static void
capture_free(struct capture *cap)
{
    if (cap) {
        capture_ring_destroy(&cap->ring);
        free(cap->port);
        free(cap->path);
        free_cacheline(cap);
    }
}

/* Counts the captures that run.  Forgets the oldest of those that have ended,
 * if there are too many. */
static unsigned int
sweep(void)
    OVS_REQUIRES(captures_mutex)
{
    struct capture *cap;
    unsigned int n_running = 0;
    unsigned int n_ended = 0;

    LIST_FOR_EACH (cap, node, &captures) {
        n_running += !cap->ended;
        n_ended += cap->ended;
    }
    LIST_FOR_EACH_SAFE (cap, node, &captures) {
        if (cap->ended && is_unused(cap) && n_ended > MAX_ENDED) {
            ovs_list_remove(&cap->node);
            capture_free(cap);
            n_ended--;
        }
    }
    return n_running;
}

/* The process ends: completes all files. */
static void
end_all(void *aux OVS_UNUSED)
{
    unsigned int patience = EXIT_PATIENCE;
    unsigned int n_running;
    struct capture *cap;

    __atomic_store_n(&exiting, true, __ATOMIC_RELAXED);
    do {
        ovs_mutex_lock(&captures_mutex);
        LIST_FOR_EACH (cap, node, &captures) {
            detach(cap, "ovs-vswitchd ends");
        }
        n_running = sweep();
        ovs_mutex_unlock(&captures_mutex);
        if (n_running) {
            nap();
        }
    } while (n_running && patience--);
}

static char *
check_path(const char *path)
{
    size_t len = strlen(path);

    if (path[0] != '/') {
        return xasprintf("%s: not an absolute path", path);
    }
    if (len < strlen("/x.pcapng")
        || strcmp(path + len - strlen(".pcapng"), ".pcapng")) {
        return xasprintf("%s: the name has to end in .pcapng", path);
    }
    return NULL;
}

static struct capture *
capture_create(struct netdev_vhost *dev, const char *path,
               const struct capture_limits *limits)
{
    struct capture *cap = xzalloc_cacheline(sizeof *cap);

    cap->limits = *limits;
    cap->snaplen = limits->snaplen;
    cap->dev = dev;
    cap->port = xstrdup(dev->up.name);
    cap->path = xstrdup(path);
    cap->deadline = time_msec() + limits->seconds * 1000LL;
    if (!capture_ring_init(&cap->ring, RING_BYTES)) {
        capture_free(cap);
        return NULL;
    }
    return cap;
}

static void
watch_exit(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;

    if (ovsthread_once_start(&once)) {
        fatal_signal_add_hook(end_all, NULL, NULL, true);
        ovsthread_once_done(&once);
    }
}

char *
capture_start(struct netdev_vhost *dev, const char *path,
              const struct capture_limits *limits)
{
    char *error = check_path(path);
    struct capture *cap;

    if (error) {
        return error;
    }
    ovs_mutex_lock(&captures_mutex);
    if (netdev_vhost_capture(dev)) {
        error = xasprintf("%s is being captured already", dev->up.name);
    } else if (sweep() >= MAX_RUNNING) {
        error = xasprintf("%d ports are being captured already", MAX_RUNNING);
    }
    cap = error ? NULL : capture_create(dev, path, limits);
    if (!cap && !error) {
        error = xstrdup("out of memory");
    }
    if (!error) {
        int err = capture_file_create(&cap->file, path, cap->port,
                                      netdev_get_type(&dev->up),
                                      cap->snaplen);

        error = err ? xasprintf("%s: %s", path, ovs_strerror(err)) : NULL;
    }
    if (error) {
        capture_free(cap);
    } else {
        ovs_list_push_back(&captures, &cap->node);
        ovsrcu_set(&dev->capture, cap);
        netdev_vhost_set_special(dev, DEV_CAPTURED, true);
        ovs_thread_create("vhost_capture", capture_main, cap);
    }
    ovs_mutex_unlock(&captures_mutex);
    if (!error) {
        watch_exit();
        VLOG_INFO("%s: capturing into %s", dev->up.name, path);
    }
    return error;
}

bool
capture_stop(struct netdev_vhost *dev, const char *reason)
{
    struct capture *cap;

    ovs_mutex_lock(&captures_mutex);
    cap = netdev_vhost_capture(dev);
    if (cap) {
        detach(cap, reason);
    }
    ovs_mutex_unlock(&captures_mutex);
    return cap != NULL;
}

/* For people. */

static void
format_capture(const struct capture *cap, struct ds *ds)
    OVS_REQUIRES(captures_mutex)
{
    long long int ms = (cap->ended ? cap->ended_at : time_wall_msec())
                       - cap->file.begun_at;
    uint64_t lost = (cap->ended ? cap->n_lost
                     : capture_ring_lost(&cap->ring));

    ds_put_format(ds, "%s: %s\n    %s%s", cap->port, cap->path,
                  (!cap->reason ? "running" : cap->ended ? "ended: "
                   : "ending: "), cap->reason ? cap->reason : "");
    if (cap->file.error) {
        ds_put_format(ds, " (%s)", ovs_strerror(cap->file.error));
    }
    ds_put_format(ds, "\n    %"PRIu64" packets, %"PRIu64" of them dropped by "
                  "the port; %"PRIu64" did not fit; %"PRIu64" bytes in "
                  "%lld.%03lld s\n", counter_get(&cap->file.n_packets),
                  counter_get(&cap->file.n_drops),
                  lost, counter_get(&cap->file.n_bytes), ms / 1000, ms % 1000);
    if (!cap->ended) {
        ds_put_format(ds, "    ends at %"PRIu64" packets, %"PRIu64" MiB or "
                      "%u s\n", cap->limits.packets, cap->limits.bytes >> 20,
                      cap->limits.seconds);
    }
}

void
capture_format(const char *name, struct ds *ds)
{
    const struct capture *cap;

    ovs_mutex_lock(&captures_mutex);
    LIST_FOR_EACH (cap, node, &captures) {
        if (!name || !strcmp(cap->port, name)) {
            format_capture(cap, ds);
        }
    }
    ovs_mutex_unlock(&captures_mutex);
}
