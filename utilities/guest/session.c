/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port's connection: see session.h. */

#include "guest/session.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/catch.h"
#include "guest/fail.h"
#include "guest/worker.h"

#define PLUGGED_SIZE (UINT64_C(64) << 20)
#define PATIENCE_MS 20          /* Before looking whether to stop. */

/* Device status bits. */
#define S_ACKNOWLEDGE 1u
#define S_DRIVER 2u
#define S_DRIVER_OK 4u
#define S_FEATURES_OK 8u

/* Removes a socket that nobody listens on. */
static void
remove_stale(const char *path)
{
    struct stat st;
    struct fe probe;

    if (lstat(path, &st)) {
        return;
    }
    if (!S_ISSOCK(st.st_mode)) {
        errx(EXIT_CANNOT, "%s: there is something that is no socket", path);
    }
    fe_init(&probe);
    if (fe_connect(&probe, path, 0)) {
        fe_hang_up(&probe);
        errx(EXIT_CANNOT, "%s: somebody listens there already", path);
    }
    unlink(path);
}

void
session_listen(struct port *p)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    if (!p->o->server) {
        return;
    }
    remove_stale(p->o->path);
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", p->o->path);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listen_fd < 0
        || bind(p->listen_fd, (struct sockaddr *) &sun, sizeof sun)
        || listen(p->listen_fd, 10)) {
        errx(EXIT_CANNOT, "%s: cannot listen: %s", p->o->path,
             strerror(errno));
    }
}

void
session_stop_listening(struct port *p)
{
    if (p->listen_fd >= 0) {
        close(p->listen_fd);
        unlink(p->o->path);
        p->listen_fd = -1;
    }
}

bool
session_connect(struct port *p, int ms)
{
    return p->o->server ? fe_accept(&p->fe, p->listen_fd, ms)
                        : fe_connect(&p->fe, p->o->path, ms);
}

static void
set_status(struct port *p, uint64_t status)
{
    if (p->fe.protocol & FE_P_STATUS) {
        FE_CHECK_EQ(fe_ask_u64(&p->fe, FE_SET_STATUS, status), 0);
    }
}

static void
refuse_offer(bool protocol, uint64_t missing)
{
    char names[512];

    features_format(missing, protocol, names, sizeof names);
    fe_failed(__FILE__, __LINE__, "the port does not offer %s%s",
              protocol ? "protocol features " : "", names);
}

static void
negotiate(struct port *p)
{
    const struct port_options *o = p->o;
    uint64_t required = (o->features.required | p->with) & ~p->without;
    uint64_t wanted = (o->features.wanted | p->with) & ~p->without;
    uint64_t features, protocol, old = p->fe.features;

    fe_ask_offer(&p->fe);
    features = p->fe.offered & wanted;
    protocol = p->fe.offered_protocol & o->protocol.wanted;
    if (o->pairs == 1 && !(required & FE_F_MQ)) {
        features &= ~FE_F_MQ;
    }
    if (!(features & FE_F_PROTOCOL)) {
        protocol = 0;
    }
    if (required & ~features) {
        refuse_offer(false, required & ~features);
    }
    if (o->protocol.required & ~protocol) {
        refuse_offer(true, o->protocol.required & ~protocol);
    }
    if (p->fe.n_regions && features != old) {
        fe_failed(__FILE__, __LINE__, "the port offers other features than "
                  "before");
    }
    fe_accept_offer(&p->fe, features, protocol);
}

static void
check_pairs(struct port *p)
{
    uint64_t max = 1;

    if (p->fe.protocol & FE_P_MQ) {
        max = fe_get_u64(&p->fe, FE_GET_QUEUE_NUM);
    }
    if (p->o->pairs > max || (p->o->pairs > 1
                              && !(p->fe.features & FE_F_MQ))) {
        fe_failed(__FILE__, __LINE__, "the port does not have %u queue pairs",
                  (unsigned int) p->o->pairs);
    }
}

void
session_bring_up(struct port *p)
{
    negotiate(p);
    check_pairs(p);
    set_status(p, S_ACKNOWLEDGE | S_DRIVER);
    set_status(p, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
    if (!p->fe.n_regions) {
        port_make_guest(p);
        if (p->mode && p->mode->negotiated) {
            p->mode->negotiated(p);
        }
    }
    FE_CHECK_EQ(fe_send_mem_table(&p->fe), 0);
    /* QEMU does this early on.  librte_vhost learns from it how many rings
     * there are before it calls the device ready. */
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        FE_CHECK_EQ(fe_ask_vring_fd(&p->fe, FE_SET_VRING_CALL, i,
                                    p->vqs[i].call_fd), 0);
    }
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        struct fe_vq *vq = &p->vqs[i];
        bool old = p->o->old_base && p->fe.features & FE_F_PACKED;

        fe_vq_start(vq, old ? fe_vq_old_base(vq) : fe_vq_base(vq), true);
        fe_vq_want_calls(vq, false);
    }
    set_status(p, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fe_event_signal(p->vqs[i].kick_fd);
    }
}

static void
bring_up(void *p)
{
    session_bring_up(p);
}

static void
tear_down(void *p_)
{
    struct port *p = p_;

    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fe_vq_stop(&p->vqs[i]);
    }
    set_status(p, 0);
}

static void
set_live(struct port *p, bool live)
{
    port_lock(p);
    p->live = live && !p->broken;
    port_unlock(p);
}

static void
say_connected(struct port *p, bool connected)
{
    if (p->mode && p->mode->connected) {
        p->mode->connected(p, connected);
    }
}

static void
say_features(const struct port *p)
{
    char names[512];

    features_format(p->fe.features, false, names, sizeof names);
    warnx("%s: up, features %#llx: %s", p->o->path,
          (unsigned long long int) p->fe.features, names);
}

/* True if the thread has to end. */
static bool
stop_wanted(struct port *p, int ms)
{
    return fe_event_wait(p->stop_fd, ms);
}

/* Stops all rings and starts them again where they were, as a driver does
 * that is loaded again.  The device is stopped while it is at work: the guest
 * ends what it does only then. */
static void
restart_rings(void *p_)
{
    struct port *p = p_;
    uint32_t bases[2 * MAX_PAIRS];
    uint64_t start = fe_now_ns(), took;

    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        bases[i] = fe_vq_stop(&p->vqs[i]);
    }
    took = fe_now_ns() - start;
    port_lock(p);
    histogram_add(&p->stops, took);
    port_unlock(p);
    set_live(p, false);
    for (unsigned int i = 0; i < 2 * p->o->pairs; i++) {
        fe_vq_start(&p->vqs[i], bases[i], true);
        fe_event_signal(p->vqs[i].kick_fd);
    }
    set_live(p, true);
    worker_wake(p->worker);
}

/* Plugs in one more region of memory, behind all others, or takes it out. */
static void
change_memory(void *p_)
{
    struct port *p = p_;
    const struct fe_region *last = &p->fe.regions[p->fe.n_regions - 1];
    bool plugged = p->fe.n_regions > p->o->regions;
    uint64_t start, took;

    port_lock(p);
    if (plugged) {
        fe_remove_region(&p->fe);
    } else {
        fe_add_region(&p->fe, last->guest_addr + last->size, PLUGGED_SIZE,
                      last->user_addr + last->size);
    }
    port_unlock(p);
    start = fe_now_ns();
    FE_CHECK_EQ(fe_send_mem_table(&p->fe), 0);
    took = fe_now_ns() - start;
    port_lock(p);
    histogram_add(&p->stops, took);
    port_unlock(p);
}

/* Says the first half of a memory table, descriptors included. */
static void
say_half(void *p_)
{
    struct port *p = p_;
    struct {
        struct fe_header header;
        uint32_t n, padding;
        uint8_t half_a_region[sizeof(struct fe_mem_region) / 2];
    } m;
    int fds[FE_MAX_REGIONS];

    memset(&m, 0, sizeof m);
    m.n = p->fe.n_regions;
    m.header.request = FE_SET_MEM_TABLE;
    m.header.flags = FE_VERSION;
    m.header.size = FE_MEM_TABLE_SIZE(m.n);
    for (unsigned int i = 0; i < m.n; i++) {
        fds[i] = p->fe.regions[i].fd;
    }
    fe_send_bytes(&p->fe, &m, sizeof m, fds, m.n);
}

static int
at_least_1(double ms)
{
    return ms > 1 ? ms : 1;
}

/* Does what the guest is to do every now and then.  Returns what went wrong,
 * or "" if the connection is to end. */
static const char *
disturb(struct port *p)
{
    const char *error;

    if (p->o->restart) {
        return attempt(restart_rings, p);
    } else if (p->o->hotplug) {
        return attempt(change_memory, p);
    }
    error = attempt(say_half, p);
    p->hung_up = !error;
    return error ? error : "";
}

/* Waits until the peer hangs up, it is time to hang up, or this thread has to
 * end. */
static void
await_end(struct port *p)
{
    double every = (p->o->restart ? p->o->restart
                    : p->o->hotplug ? p->o->hotplug : p->o->cut);
    int timeout = every ? at_least_1(every) : -1;
    struct pollfd pfds[] = {
        { .fd = p->fe.sock, .events = POLLIN },
        { .fd = p->stop_fd, .events = POLLIN },
    };

    for (;;) {
        char bytes[512];

        if (!poll(pfds, 2, timeout)) {
            const char *error = disturb(p);

            if (error) {
                if (*error) {
                    warnx("%s: %s", p->o->path, error);
                }
                return;
            }
            continue;
        }
        if (pfds[1].revents) {
            return;
        }
        if (pfds[0].revents
            && recv(p->fe.sock, bytes, sizeof bytes, MSG_DONTWAIT) <= 0
            && errno != EAGAIN) {
            return;
        }
    }
}

/* One connection. */
static void
run_session(struct port *p)
{
    const char *error = attempt(bring_up, p);

    if (error) {
        if (strcmp(p->error, error)) {
            warnx("%s: %s", p->o->path, error);
            snprintf(p->error, sizeof p->error, "%s", error);
        }
        fe_hang_up(&p->fe);
        stop_wanted(p, 100);
        return;
    }
    if (p->all->verbose) {
        say_features(p);
    }
    p->n_connects++;
    p->hung_up = false;
    set_live(p, true);
    say_connected(p, true);
    p->was_live = true;
    worker_wake(p->worker);

    await_end(p);
    set_live(p, false);
    say_connected(p, false);
    if (stop_wanted(p, 0)) {
        session_stop_listening(p);
        attempt(tear_down, p);
    } else {
        if (!p->hung_up) {
            p->n_disconnects++;
        }
        if (!p->hung_up && !p->all->quiet) {
            warnx("%s: the connection has ended", p->o->path);
        }
        if (!p->o->reconnect) {
            p->gone = true;
        }
    }
    fe_hang_up(&p->fe);
}

static void *
session_main(void *p_)
{
    struct port *p = p_;

    while (!p->gone && !stop_wanted(p, 0)) {
        if (session_connect(p, PATIENCE_MS)) {
            run_session(p);
        }
    }
    return NULL;
}

void
session_start(struct port *p)
{
    if (pthread_create(&p->session, NULL, session_main, p)) {
        errx(EXIT_CANNOT, "cannot start a thread");
    }
}

void
session_join(struct port *p)
{
    fe_event_signal(p->stop_fd);
    pthread_join(p->session, NULL);
    session_stop_listening(p);
}
