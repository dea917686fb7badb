/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What lib/vhost needs of the process that it runs in: its threads, a log,
 * and the SIGBUS handler.  All of it starts with the first port and not when
 * the plug-in is loaded, which may be before ovs-vswitchd forks or drops
 * privileges.
 */

#include <config.h>

#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dirs.h"
#include "hash.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"

VLOG_DEFINE_THIS_MODULE(netdev_vhost_loop);

/* Lines that a guest or front end can cause are limited, by port: a noisy one
 * must not hide the others.  (Ports share a limit when their names' hashes
 * do.) */
#define N_LIMITS 64
static struct vlog_rate_limit problem_limits[N_LIMITS] = {
    [0 ... N_LIMITS - 1] = VLOG_RATE_LIMIT_INIT(5, 20),
};
static struct vlog_rate_limit event_limits[N_LIMITS] = {
    [0 ... N_LIMITS - 1] = VLOG_RATE_LIMIT_INIT(60, 100),
};

static void
loop_log(enum vhost_log_level vhost_level, const char *port,
         const char *format, va_list args)
{
    unsigned int slot = port ? hash_string(port, 0) % N_LIMITS : 0;
    struct vlog_rate_limit *limit = NULL;
    struct ds s = DS_EMPTY_INITIALIZER;
    enum vlog_level level = VLL_DBG;

    switch (vhost_level) {
    case VHOST_LOG_ERR:
        level = VLL_ERR;
        limit = &problem_limits[slot];
        break;
    case VHOST_LOG_WARN:
        level = VLL_WARN;
        limit = &problem_limits[slot];
        break;
    case VHOST_LOG_INFO:
        level = VLL_INFO;
        limit = &event_limits[slot];
        break;
    case VHOST_LOG_DBG:
        break;
    }
    if (!vlog_is_enabled(&this_module, level)
        || (limit && vlog_should_drop(&this_module, level, limit))) {
        return;
    }

    if (port) {
        ds_put_format(&s, "%s: ", port);
    }
    ds_put_format_valist(&s, format, args);
    vlog(&this_module, level, "%s", ds_cstr(&s));
    ds_destroy(&s);
}

static const struct vhost_env env = {
    .log = loop_log,
    .wait_begin = ovsrcu_quiesce_start,
    .wait_end = ovsrcu_quiesce_end,
};

static void *
event_main(void *loop)
{
    vhost_loop_run(loop);
    return NULL;
}

static void *
worker_main(void *loop)
{
    vhost_loop_worker(loop);
    return NULL;
}

static void *
notifier_main(void *loop)
{
    vhost_loop_notifier(loop);
    return NULL;
}

static struct ovs_mutex loop_mutex = OVS_MUTEX_INITIALIZER;
static struct vhost_loop *the_loop OVS_GUARDED_BY(loop_mutex) = NULL;
static enum vhost_offload offload OVS_GUARDED_BY(loop_mutex)
    = VHOST_OFFLOAD_NEVER;

/* Puts 'offload' into force.  The notifier's thread starts when it is first
 * wanted. */
static void
apply_offload(void)
    OVS_REQUIRES(loop_mutex)
{
    static bool started;

    if (offload != VHOST_OFFLOAD_NEVER && !started) {
        ovs_thread_create("vhost_notify", notifier_main, the_loop);
        started = true;
    }
    vhost_loop_set_offload(the_loop, offload);
}

/* Chooses who calls guests, now and for the loop that is still to come. */
void
vhost_netdev_set_offload(enum vhost_offload wanted)
{
    ovs_mutex_lock(&loop_mutex);
    offload = wanted;
    if (the_loop) {
        apply_offload();
    }
    ovs_mutex_unlock(&loop_mutex);
}

/* Chooses where packed rings' crash records are kept: below the run directory
 * if that is on tmpfs; otherwise on /dev/shm, by names that only a switch with
 * this run directory has; or nowhere. */
static void
choose_record_dir(struct vhost_loop *loop)
{
    const char *rundir = ovs_rundir();
    char *path = xasprintf("%s/ovs-vhost", rundir);
    char *why = NULL;
    struct stat s;
    int error;

    error = vhost_loop_set_record_dir(loop, path, "", &why);
    if (error == ENOTSUP && !stat(rundir, &s)) {
        char *prefix = xasprintf("%jx-%jx.", (uintmax_t) s.st_dev,
                                 (uintmax_t) s.st_ino);

        free(path);
        free(why);
        path = xasprintf("/dev/shm/ovs-vhost.%u", (unsigned int) geteuid());
        error = vhost_loop_set_record_dir(loop, path, prefix, &why);
        free(prefix);
    }
    if (error) {
        VLOG_INFO("guests with packed rings would not survive a crash of this "
                  "process: %s", why ? why : ovs_strerror(error));
    } else {
        VLOG_INFO("crash records of packed rings are in %s", path);
    }
    free(why);
    free(path);
}

/* Stores the process's loop in '*loopp', started if it does not run yet.
 * Returns 0 or a positive errno value, after which the next call tries
 * again. */
int
vhost_netdev_start_loop(struct vhost_loop **loopp)
{
    int error = 0;

    ovs_mutex_lock(&loop_mutex);
    if (!the_loop) {
        error = vhost_loop_create(&env, &the_loop);
        if (!error) {
            choose_record_dir(the_loop);
            ovs_thread_create("vhost_event", event_main, the_loop);
            ovs_thread_create("vhost_worker", worker_main, the_loop);
            apply_offload();
        } else {
            the_loop = NULL;
            VLOG_ERR("vhost-user cannot be started: %s", ovs_strerror(error));
        }
    }
    *loopp = the_loop;
    ovs_mutex_unlock(&loop_mutex);

    if (!error) {
        vhost_netdev_check_sigbus();
    }
    return error;
}

/* Sees to it that the handler which survives a front end that truncates its
 * memory is in place, and the outermost one.  DPDK puts its own in and out
 * again while it allocates memory. */
void
vhost_netdev_check_sigbus(void)
{
    int error = vhost_sigbus_install();

    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 1);

        VLOG_ERR_RL(&rl, "cannot install the handler for SIGBUS (%s); a "
                    "front end that truncates its memory will end this "
                    "process", ovs_strerror(error));
    }
}
