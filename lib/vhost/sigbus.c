/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The SIGBUS guard.  A front end may truncate a memory file that it shared
 * with us, and then the next access to it is a SIGBUS, which would end the
 * whole switch.  The handler here puts an anonymous page in the place of the
 * one that was taken away, says so in the map, and returns: the burst goes on
 * with zeros and ends like any other, then the ring breaks and the port is
 * disconnected.
 *
 * It acts only where the thread had said, by vhost_guard_begin(), whose guest
 * memory it is touching, and the address is in there.  So no other thread can
 * unmap that memory meanwhile.  Everything else, memory failures (BUS_MCEERR)
 * among it, goes to the handler that was there before.
 */

#include "memory.h"
#include "vhost.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

__thread struct vhost_mem *vhost_guarded_mem;

static pthread_mutex_t install_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;

/* Puts an anonymous page in the place of the one at 'addr' if that is part of
 * 'mem'. */
static bool
replace_page_of(const struct vhost_mem *mem, uint8_t *addr)
{
    for (unsigned int i = 0; mem && i < mem->n_regions; i++) {
        const struct vhost_mapping *m = mem->regions[i].mapping;
        uint8_t *page;

        if (addr < m->addr || (size_t) (addr - m->addr) >= m->len) {
            continue;
        }
        page = m->addr + (addr - m->addr) / m->page_size * m->page_size;
        if (mmap(page, m->page_size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                 -1, 0) == MAP_FAILED) {
            return false;
        }
        return true;
    }
    return false;
}

/* The same for the memory that this thread said it would touch. */
static bool
replace_page(uint8_t *addr)
{
    struct vhost_mem *mem = vhost_guarded_mem;

    if (!mem || !(replace_page_of(mem, addr)
                  || replace_page_of(atomic_load_explicit(
                      &mem->log, memory_order_relaxed), addr))) {
        return false;
    }
    atomic_store_explicit(&mem->poisoned, true, memory_order_relaxed);
    return true;
}

static void
pass_on(int signum, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signum, info, context);
    } else if (previous.sa_handler != SIG_DFL
               && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signum);
    } else {
        /* The access is repeated after the return and meets the default. */
        signal(SIGBUS, SIG_DFL);
        if (info->si_code <= 0) {
            raise(SIGBUS);      /* Sent by a process, not by an access. */
        }
    }
}

static void
handle_sigbus(int signum, siginfo_t *info, void *context)
{
    static __thread struct {
        void *context, *frame;
    } passed_on __attribute__((tls_model("initial-exec")));
    void *frame = __builtin_frame_address(0);
    int saved_errno = errno;

    if (context == passed_on.context && frame < passed_on.frame) {
        /* The same signal, further down the stack: the handler to which it was
         * passed on passes it back.  Nobody has an answer.  (A flag would not
         * do, since handlers may leave by a jump.) */
        signal(SIGBUS, SIG_DFL);
        if (info->si_code <= 0) {
            raise(SIGBUS);      /* Sent by a process, not by an access. */
        }
    } else if (info->si_code != BUS_ADRERR || !replace_page(info->si_addr)) {
        passed_on.context = context;
        passed_on.frame = frame;
        pass_on(signum, info, context);
        passed_on.context = NULL;
    }
    errno = saved_errno;
}

int
vhost_sigbus_install(void)
{
    struct sigaction action = {
        .sa_sigaction = handle_sigbus,
        .sa_flags = SA_SIGINFO | SA_ONSTACK,
    };
    struct sigaction current;
    int error = 0;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&install_mutex);
    if (sigaction(SIGBUS, NULL, &current)) {
        error = errno;
    } else if (!(current.sa_flags & SA_SIGINFO)
               || current.sa_sigaction != handle_sigbus) {
        previous = current;
        error = sigaction(SIGBUS, &action, NULL) ? errno : 0;
    }
    pthread_mutex_unlock(&install_mutex);
    return error;
}
