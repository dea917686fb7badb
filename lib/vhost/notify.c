/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Signals eventfds by Linux AIO; notify.h says why.  Each thread has an AIO
 * context of its own, from its first call to its end; the next thread gets it
 * then.  io_destroy(2) takes tens of milliseconds, for which all of the
 * datapath would wait when a PMD thread ends.
 */

#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Start of the completion ring that io_setup(2) maps into the process.  Its
 * layout is part of the kernel's interface as far as 'magic' goes: libaio
 * relies on it in the same way. */
struct aio_ring {
    uint32_t id;
    uint32_t nr;
    uint32_t head;
    uint32_t tail;
    uint32_t magic;
};
#define AIO_RING_MAGIC 0xa10a10a1

enum aio_state { AIO_NONE, AIO_READY, AIO_FAILED };

static __thread aio_context_t aio_context;
static __thread enum aio_state aio_state;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned int n_users;
static pthread_key_t context_key;
static int zero_fd = -1;        /* What the requests read nothing from. */
static int own_fd = -1;         /* An eventfd that no peer has. */

/* Contexts of threads that have ended.  There are never more contexts than
 * there were threads at once; should that be a lot, not all are kept. */
static aio_context_t spare[64];
static unsigned int n_spare;

/* A thread ends. */
static void
leave_context(void *context_)
{
    aio_context_t context = (uintptr_t) context_;
    bool kept;

    pthread_mutex_lock(&mutex);
    kept = n_spare < sizeof spare / sizeof *spare;
    if (kept) {
        spare[n_spare++] = context;
    }
    pthread_mutex_unlock(&mutex);
    if (!kept) {
        syscall(SYS_io_destroy, context);
    }
}

/* Finds or makes a context for this thread. */
static bool
take_context(void)
{
    bool found;

    pthread_mutex_lock(&mutex);
    found = n_spare > 0;
    if (found) {
        aio_context = spare[--n_spare];
    }
    pthread_mutex_unlock(&mutex);
    return found || !syscall(SYS_io_setup, 1, &aio_context);
}

void
vhost_notify_init(void)
{
    static bool have_key;

    pthread_mutex_lock(&mutex);
    if (!have_key) {
        have_key = !pthread_key_create(&context_key, leave_context);
    }
    if (!n_users++) {
        own_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (have_key) {
            zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        }
    }
    pthread_mutex_unlock(&mutex);
}

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void
vhost_notify_exit(void)
{
    pthread_mutex_lock(&mutex);
    if (!--n_users) {
        close_fd(&zero_fd);
        close_fd(&own_fd);
    }
    pthread_mutex_unlock(&mutex);
}

/* Sees to it that this thread has a context, if there is one to be had. */
static bool
aio_open(void)
{
    if (aio_state != AIO_NONE) {
        return aio_state == AIO_READY;
    }
    aio_state = AIO_FAILED;
    if (zero_fd >= 0 && take_context()) {
        pthread_setspecific(context_key, (void *) (uintptr_t) aio_context);
        aio_state = AIO_READY;
    }
    return aio_state == AIO_READY;
}

/* Forgets the completions, in user space where the ring's layout is the one
 * known here. */
static void
aio_reap(void)
{
    struct aio_ring *ring = (struct aio_ring *) (uintptr_t) aio_context;

    if (ring->magic == AIO_RING_MAGIC) {
        __atomic_store_n(&ring->head,
                         __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
    } else {
        struct timespec now = { 0, 0 };
        struct io_event events[8];

        syscall(SYS_io_getevents, aio_context, 0, 8, events, &now);
    }
}

int
vhost_notify(int fd)
{
    char dummy;
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = zero_fd,
        .aio_buf = (uintptr_t) &dummy,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = fd,
    };
    struct iocb *requests = &request;

    if (!aio_open()) {
        uint64_t one = 1;

        return write(fd, &one, sizeof one) == sizeof one ? 0 : errno;
    }
    if (syscall(SYS_io_submit, aio_context, 1, &requests) != 1) {
        return errno;
    }
    aio_reap();
    return 0;
}

int64_t
vhost_notify_cost(void)
{
    int64_t start = vhost_clock_ns(CLOCK_THREAD_CPUTIME_ID);

    vhost_notify(own_fd);
    return vhost_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

int
vhost_notify_reference(void)
{
    return own_fd;
}

bool
vhost_is_eventfd(int fd)
{
    char link[64], name[64];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof name - 1);
    if (n < 0) {
        return false;
    }
    name[n] = '\0';
    return !strcmp(name, "anon_inode:[eventfd]");
}

bool
vhost_notify_is_safe(void)
{
    return aio_open();
}
