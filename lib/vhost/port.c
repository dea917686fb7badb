/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port's life: creation, the requests of control threads, snapshots of its
 * state, and announcements of changes to its owner.
 *
 * A request is a struct vhost_op on the stack of the control thread, which
 * waits until the event thread has carried it out.  Requests of one port are
 * served in order, between the stops that messages need.
 */

#include "port.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iommu.h"
#include "notify.h"
#include "postcopy.h"

/* Announcements to a port's owner: milliseconds between them in the long run,
 * and how many may come at once after a quiet time, as while a guest
 * starts. */
#define ANNOUNCE_INTERVAL 10
#define ANNOUNCE_BURST 5

#define BIT(N) (UINT64_C(1) << (N))

const uint64_t vhost_supported_features =
    BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM)
    | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_GSO)
    | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6)
    | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO)
    | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6)
    | BIT(VIRTIO_NET_F_HOST_ECN)
    | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CTRL_VQ)
    | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)
    | BIT(VIRTIO_NET_F_MQ) | BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_ANY_LAYOUT)
    | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX)
    | BIT(VHOST_USER_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1)
    | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED)
    | BIT(VIRTIO_F_IN_ORDER)
    | BIT(VHOST_F_RING_RESET);

const uint64_t vhost_supported_protocol_features =
    BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD)
    | BIT(VHOST_USER_PROTOCOL_F_RARP)
    | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK)
    | BIT(VHOST_USER_PROTOCOL_F_NET_MTU)
    | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ)
    | BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD)
    | BIT(VHOST_USER_PROTOCOL_F_HOST_NOTIFIER)
    | BIT(VHOST_USER_PROTOCOL_F_PAGEFAULT)
    | BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD)
    | BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE)
    | BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
    | BIT(VHOST_USER_PROTOCOL_F_STATUS)
    | BIT(VHOST_USER_PROTOCOL_F_DEVICE_STATE);

void
vhost_port_log(const struct vhost_port *port, enum vhost_log_level level,
               const char *format, ...)
{
    va_list args;

    va_start(args, format);
    port->loop->env->log(level, port->name, format, args);
    va_end(args);
}

/* Returns true if 'error' is not the one that was set already. */
static bool
replace_error(struct vhost_port *port, const char *error)
{
    bool news;

    pthread_mutex_lock(&port->mutex);
    news = strcmp(error, port->info.error);
    snprintf(port->info.error, sizeof port->info.error, "%s", error);
    if (news) {
        port->info.trouble = *error ? VHOST_T_OTHER : VHOST_T_NONE;
    }
    pthread_mutex_unlock(&port->mutex);
    if (news) {
        vhost_port_changed(port, VHOST_CHANGE_STATUS);
    }
    return news;
}

bool
vhost_port_set_error(struct vhost_port *port, enum vhost_log_level level,
                     const char *format, ...)
{
    char error[sizeof port->info.error];
    va_list args;
    bool news;

    va_start(args, format);
    vsnprintf(error, sizeof error, format, args);
    va_end(args);
    news = replace_error(port, error);
    if (news) {
        vhost_port_log(port, level, "%s", error);
        vhost_port_event(port, "%s", error);
    }
    return news;
}

void
vhost_port_clear_error(struct vhost_port *port)
{
    replace_error(port, "");
}

void
vhost_port_set_trouble(struct vhost_port *port, enum vhost_trouble trouble)
{
    pthread_mutex_lock(&port->mutex);
    port->info.trouble = trouble;
    pthread_mutex_unlock(&port->mutex);
}

static void
announce(struct vhost_timer *timer)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(timer, struct vhost_port,
                                                 announce_timer);
    unsigned int changes = port->changes;
    int64_t earliest = vhost_now_ms() - ANNOUNCE_BURST * ANNOUNCE_INTERVAL;

    port->changes = 0;
    if (port->next_announcement < earliest) {
        port->next_announcement = earliest;
    }
    port->next_announcement += ANNOUNCE_INTERVAL;
    if (changes && port->ops && port->ops->changed) {
        port->ops->changed(port->aux, changes);
    }
}

void
vhost_port_changed(struct vhost_port *port, unsigned int changes)
{
    if (!port->changes) {
        /* By timer even when it is due: no lock is held then. */
        vhost_timer_set(port->loop, &port->announce_timer,
                        port->next_announcement);
    }
    port->changes |= changes;
}

void
vhost_port_set_state(struct vhost_port *port, enum vhost_state state)
{
    enum vhost_state old = port->info.state;

    if (state == old) {
        return;
    }
    pthread_mutex_lock(&port->mutex);
    port->info.state = state;
    if (state == VHOST_S_READY || old == VHOST_S_READY) {
        port->info.n_link_changes++;
    }
    pthread_mutex_unlock(&port->mutex);
    if (state == VHOST_S_READY) {
        vhost_port_log(port, VHOST_LOG_INFO, "guest is ready");
        vhost_port_event(port, "guest is ready");
    } else if (old == VHOST_S_READY) {
        vhost_port_log(port, VHOST_LOG_INFO, "guest has stopped");
        vhost_port_event(port, "guest has stopped");
    }
    vhost_port_changed(port, VHOST_CHANGE_LINK);
}

static void
wake_up(struct vhost_task *task)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(task, struct vhost_port,
                                                 wake_task);

    vhost_device_check(port);
    vhost_iommu_serve(port);
}

/* Rings whose own pages have come are started. */
static void
pages_came(struct vhost_task *task)
{
    struct vhost_port *port = VHOST_CONTAINER_OF(task, struct vhost_port,
                                                 pages_task);

    if (vhost_device_pages_came(port)) {
        port->republish = true;
        vhost_port_continue(port);
    }
}

static void
republish(struct vhost_port *port)
{
    pthread_mutex_lock(&port->mutex);
    vhost_device_publish(port);
    pthread_mutex_unlock(&port->mutex);
    vhost_port_continue(port);
}

void
vhost_port_wake(struct vhost_port *port)
{
    vhost_task_post(port->loop, &port->wake_task);
}

/* Requests. */

static void
finish_op(struct vhost_port *port)
{
    struct vhost_loop *loop = port->loop;
    struct vhost_op *op = port->current_op;

    port->current_op = NULL;
    pthread_mutex_lock(&loop->mutex);
    op->done = true;
    pthread_cond_broadcast(&loop->done_cond);
    pthread_mutex_unlock(&loop->mutex);
}

static void
senders_stopped(struct vhost_port *port)
{
    struct vhost_op *op = port->current_op;

    pthread_mutex_lock(&port->mutex);
    op->senders = vhost_device_swap_senders(port, op->senders, op->n_senders);
    port->n_own_senders = op->n_own_senders;
    vhost_device_publish(port);
    pthread_mutex_unlock(&port->mutex);
    finish_op(port);
    vhost_port_continue(port);
}

static void
change_path(struct vhost_port *port, const char *path)
{
    pthread_mutex_lock(&port->mutex);
    snprintf(port->info.path, sizeof port->info.path, "%s", path);
    pthread_mutex_unlock(&port->mutex);
    if (*path) {
        vhost_transport_start(port);
    } else {
        vhost_port_clear_error(port);
        vhost_port_set_state(port, VHOST_S_IDLE);
    }
}

static void
prepare_to_be_freed(struct vhost_port *port)
{
    vhost_timer_cancel(&port->announce_timer);
    vhost_timer_cancel(&port->throttle);
    vhost_timer_cancel(&port->hint);
    vhost_timer_cancel(&port->drain_timer);
    vhost_timer_cancel(&port->free_timer);
    vhost_task_cancel(port->loop, &port->wake_task);
    vhost_task_cancel(port->loop, &port->pages_task);
    vhost_task_cancel(port->loop, &port->ops_task);
}

/* Carries out the request 'port->current_op', or begins with it.  Returns true
 * if the port may go on to the next one. */
static bool
run_op(struct vhost_port *port)
{
    struct vhost_op *op = port->current_op;

    switch (op->type) {
    case VHOST_OP_START:
        vhost_loop_sweep(port->loop);
        vhost_transport_start(port);
        finish_op(port);
        return true;

    case VHOST_OP_SENDERS:
        vhost_stop_begin(port, 0, senders_stopped);
        return false;           /* senders_stopped() goes on. */

    case VHOST_OP_ACCESS:
        port->access = *op->access;
        vhost_transport_apply_access(port);
        finish_op(port);
        return true;

    case VHOST_OP_DISCONNECT:
        if (port->sock_fd >= 0) {
            vhost_port_event(port, "asked to disconnect");
            op->disconnected = true;
            vhost_session_end(port, NULL);
            return false;       /* We come here again. */
        }
        finish_op(port);
        return true;

    case VHOST_OP_PATH:
    case VHOST_OP_DESTROY:
        vhost_transport_stop(port);
        if (port->sock_fd >= 0) {
            vhost_port_event(port, "its path changes");
            vhost_session_end(port, NULL);
            return false;       /* We come here again. */
        }
        if (op->type == VHOST_OP_PATH) {
            change_path(port, op->path);
            finish_op(port);
            return true;
        }
        if (vhost_device_in_use(port)) {
            vhost_timer_set(port->loop, &port->free_timer, vhost_now_ms() + 1);
            return false;       /* And here too. */
        }
        prepare_to_be_freed(port);
        finish_op(port);        /* From here on 'port' may be gone. */
        return false;
    }
    return true;
}

static struct vhost_op *
next_op(struct vhost_port *port)
{
    struct vhost_op *op;

    pthread_mutex_lock(&port->loop->mutex);
    op = TAILQ_FIRST(&port->ops_queue);
    if (op) {
        TAILQ_REMOVE(&port->ops_queue, op, node);
    }
    pthread_mutex_unlock(&port->loop->mutex);
    return op;
}

void
vhost_port_continue(struct vhost_port *port)
{
    if (port->stop.active) {
        return;
    }
    if (port->closing) {
        vhost_stop_begin(port, VHOST_STOP_ALL, vhost_session_teardown);
        return;
    }
    if (port->stop_wanted) {
        vhost_session_resume(port);
        return;
    }
    if (port->republish) {
        port->republish = false;
        vhost_stop_begin(port, 0 /* All senders. */, republish);
        return;
    }
    do {
        if (!port->current_op) {
            port->current_op = next_op(port);
        }
    } while (port->current_op && run_op(port));
}

static void
run_ops(struct vhost_task *task)
{
    vhost_port_continue(VHOST_CONTAINER_OF(task, struct vhost_port,
                                           ops_task));
}

/* Has the event thread carry out 'op' and waits for that. */
static void
submit_op(struct vhost_port *port, struct vhost_op *op)
{
    struct vhost_loop *loop = port->loop;

    /* In one go: a request that the event thread finds by chance may end with
     * the port's being freed, and with it a task that is posted too late. */
    pthread_mutex_lock(&loop->mutex);
    TAILQ_INSERT_TAIL(&port->ops_queue, op, node);
    vhost_task_post_locked(loop, &port->ops_task);
    while (!op->done) {
        pthread_cond_wait(&loop->done_cond, &loop->mutex);
    }
    pthread_mutex_unlock(&loop->mutex);
}

static void
try_to_free(struct vhost_timer *timer)
{
    vhost_port_continue(VHOST_CONTAINER_OF(timer, struct vhost_port,
                                           free_timer));
}

/* Life cycle. */

/* What is wrong with 'offer' for a port of 'max_queue_pairs', or NULL. */
static const char *
offer_error(const struct vhost_offer *offer, unsigned int max_queue_pairs)
{
    if ((offer->features | offer->tolerated) & ~vhost_supported_features) {
        return "features beyond those supported";
    }
    if (offer->protocol_features & ~vhost_supported_protocol_features) {
        return "protocol features beyond those supported";
    }
    if (offer->queue_pairs < 1 || offer->queue_pairs > max_queue_pairs
        || max_queue_pairs > VHOST_MAX_QUEUE_PAIRS) {
        return "number of queue pairs out of range";
    }
    return NULL;
}

static char *
config_error(const struct vhost_port_config *config)
{
    const char *error = offer_error(&config->offer, config->max_queue_pairs);

    return error ? strdup(error) : NULL;
}

static void
init_port(struct vhost_port *port, struct vhost_loop *loop,
          const struct vhost_port_config *config)
{
    pthread_mutexattr_t attr;

    port->loop = loop;
    port->role = config->role;
    port->offer = port->next_offer = config->offer;
    port->max_vrings = 2 * config->max_queue_pairs;
    port->ops = config->ops;
    port->aux = config->aux;
    port->sock_fd = port->listen_fd = port->backend_fd = -1;
    port->reply_fd = -1;
    port->state_fd = -1;
    port->inotify.fd = port->watch = -1;
    port->access = config->access;
    vhost_socket_file_init(&port->file);

    /* Recursive, so that what changes one item of 'info' can be called both
     * from a message's handler, which holds it, and from elsewhere. */
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&port->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    vhost_message_log_init(&port->messages);

    TAILQ_INIT(&port->ops_queue);
    port->ops_task.run = run_ops;
    port->wake_task.run = wake_up;
    port->pages_task.run = pages_came;
    port->announce_timer.expired = announce;
    port->free_timer.expired = try_to_free;
    port->info.role = config->role;
    port->info.n_queue_pairs = 1;
    port->info.numa = -1;
    port->stop_tokens = VHOST_STOPS_AT_ONCE * INT64_C(1000);
    port->stop_tokens_time = vhost_now_ms();
    if (config->path) {
        snprintf(port->info.path, sizeof port->info.path, "%s", config->path);
    }
}

int
vhost_port_create(struct vhost_loop *loop,
                  const struct vhost_port_config *config,
                  struct vhost_port **portp, char **errorp)
{
    struct vhost_op op = { .type = VHOST_OP_START };
    struct vhost_port *port;
    int error;

    *errorp = config_error(config);
    if (*errorp) {
        return EINVAL;
    }
    error = config->path ? vhost_transport_check_path(config->path, errorp)
                         : 0;
    if (error) {
        return error;
    }
    port = calloc(1, sizeof *port);
    if (port) {
        port->name = strdup(config->name);
        port->disposal = vhost_disposal_create();
    }
    if (!port || !port->name || !port->disposal) {
        if (port) {
            free(port->name);
            free(port->disposal);
            free(port);
        }
        *errorp = strdup("out of memory");
        return ENOMEM;
    }
    init_port(port, loop, config);
    vhost_record_file_open(&port->record_file, loop->records, port->name);
    if (!vhost_notify_is_safe()) {
        vhost_port_log(port, VHOST_LOG_WARN, "Linux AIO is not available: a "
                       "front end could stall the threads that notify it");
    }
    submit_op(port, &op);
    *portp = port;
    return 0;
}

void
vhost_port_destroy(struct vhost_port *port)
{
    struct vhost_op op = { .type = VHOST_OP_DESTROY };

    submit_op(port, &op);
    vhost_device_free(port);
    vhost_message_log_destroy(&port->messages);
    pthread_mutex_destroy(&port->mutex);
    vhost_disposal_unref(port->disposal);
    free(port->stop.gates);
    free(port->name);
    free(port);
}

int
vhost_port_set_path(struct vhost_port *port, const char *path, char **errorp)
{
    struct vhost_op op = { .type = VHOST_OP_PATH };
    int error = path ? vhost_transport_check_path(path, errorp) : 0;
    bool same;

    if (error) {
        return error;
    }
    op.path = path ? path : "";
    pthread_mutex_lock(&port->mutex);
    same = !strcmp(port->info.path, op.path);
    pthread_mutex_unlock(&port->mutex);
    if (!same) {
        submit_op(port, &op);
    }
    return 0;
}

int
vhost_port_set_offer(struct vhost_port *port, const struct vhost_offer *offer)
{
    if (offer_error(offer, port->max_vrings / 2)) {
        return EINVAL;
    }
    pthread_mutex_lock(&port->mutex);
    port->next_offer = *offer;
    pthread_mutex_unlock(&port->mutex);
    return 0;
}

void
vhost_port_set_access(struct vhost_port *port,
                      const struct vhost_socket_access *access)
{
    struct vhost_op op = { .type = VHOST_OP_ACCESS, .access = access };

    submit_op(port, &op);
}

int
vhost_port_set_senders(struct vhost_port *port, unsigned int n,
                       unsigned int n_own)
{
    struct vhost_op op = {
        .type = VHOST_OP_SENDERS, .n_senders = n, .n_own_senders = n_own,
    };

    if (n < 1 || n > VHOST_MAX_SENDERS) {
        return EINVAL;
    }
    op.senders = aligned_alloc(VHOST_CACHE_LINE, n * sizeof *op.senders);
    if (!op.senders) {
        return ENOMEM;
    }
    memset(op.senders, 0, n * sizeof *op.senders);
    submit_op(port, &op);
    free(op.senders);           /* The old ones. */
    return 0;
}

bool
vhost_port_disconnect(struct vhost_port *port)
{
    struct vhost_op op = { .type = VHOST_OP_DISCONNECT };

    submit_op(port, &op);
    return op.disconnected;
}

struct vhost_rxq *
vhost_port_rxq(struct vhost_port *port, unsigned int pair)
{
    struct vhost_ring *ring = NULL;

    if (pair < port->max_vrings / 2) {
        pthread_mutex_lock(&port->mutex);
        ring = vhost_device_ring(port, pair * 2 + 1);
        pthread_mutex_unlock(&port->mutex);
    }
    return ring ? &ring->rxq : NULL;
}

struct vhost_sender *
vhost_port_sender(struct vhost_port *port, unsigned int slot)
{
    return slot < port->n_senders ? &port->senders[slot] : NULL;
}

bool
vhost_port_take_rarp(struct vhost_port *port, uint8_t mac[6])
{
    bool have;

    pthread_mutex_lock(&port->mutex);
    have = port->have_rarp;
    port->have_rarp = false;
    memcpy(mac, port->rarp, sizeof port->rarp);
    pthread_mutex_unlock(&port->mutex);
    return have;
}

/* Snapshots. */

static bool
offers_are_equal(const struct vhost_offer *a, const struct vhost_offer *b)
{
    return (a->features == b->features && a->tolerated == b->tolerated
            && a->protocol_features == b->protocol_features
            && a->queue_pairs == b->queue_pairs);
}

void
vhost_port_get_info(struct vhost_port *port, struct vhost_port_info *info)
{
    pthread_mutex_lock(&port->mutex);
    *info = port->info;
    info->offer = port->next_offer;
    info->offer_pending = (info->n_connects != info->n_disconnects
                           && !offers_are_equal(&port->offer,
                                                &port->next_offer));
    vhost_postcopy_get_info(port, info);
    pthread_mutex_unlock(&port->mutex);
}

bool
vhost_port_get_vring(struct vhost_port *port, unsigned int idx,
                     struct vhost_vring_info *info)
{
    const struct vhost_ring *ring;

    memset(info, 0, sizeof *info);
    pthread_mutex_lock(&port->mutex);
    ring = idx < port->max_vrings ? port->rings[idx] : NULL;
    if (ring) {
        const struct vring_state *st = &ring->st;

        info->started = ring->started;
        info->enabled = ring->enabled;
        info->broken = atomic_load_explicit(&st->broken,
                                            memory_order_relaxed);
        info->has_call = ring->callfd >= 0;
        info->size = ring->size;
        info->avail_idx = atomic_load_explicit(&st->last_avail,
                                               memory_order_relaxed);
        info->used_idx = atomic_load_explicit(&st->used_idx,
                                              memory_order_relaxed);
        info->backlog = atomic_load_explicit(&st->backlog,
                                             memory_order_relaxed);
        for (int i = 0; i < VHOST_N_COUNTERS; i++) {
            info->counters[i] = atomic_load_explicit(&st->counters[i],
                                                     memory_order_relaxed);
        }
        info->counters[VHOST_C_NOTIFICATIONS]
            += atomic_load_explicit(&ring->call.sent, memory_order_relaxed);
        info->counters[VHOST_C_NOTIFY_ERRORS]
            += atomic_load_explicit(&ring->call.errors, memory_order_relaxed);
    }
    pthread_mutex_unlock(&port->mutex);
    return ring != NULL;
}

unsigned int
vhost_port_get_regions(struct vhost_port *port,
                       struct vhost_region_info *regions, unsigned int max)
{
    unsigned int n;

    pthread_mutex_lock(&port->mutex);
    n = port->mem ? port->mem->n_regions : 0;
    for (unsigned int i = 0; i < n && i < max; i++) {
        const struct vhost_region *r = &port->mem->regions[i];

        regions[i].guest_addr = r->guest_addr;
        regions[i].size = r->size;
        regions[i].page_size = r->mapping->page_size;
        regions[i].numa = r->mapping->numa;
    }
    pthread_mutex_unlock(&port->mutex);
    return n;
}

bool
vhost_port_vring_enabled(const struct vhost_port *port, unsigned int idx)
{
    return idx < port->max_vrings
           && (atomic_load_explicit(&port->enabled_rings[idx / 64],
                                    memory_order_relaxed)
               >> (idx % 64)) & 1;
}
