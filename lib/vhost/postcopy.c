/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Postcopy: the messages, the userfaultfd, and the helper thread that waits
 * for pages; postcopy.h says how they work together.
 *
 * Registering and unregistering take the process's memory lock, as mmap(2)
 * does, and so are jobs of the worker.  Memory is always unregistered before
 * the descriptor is closed: the front end has a copy of it, so that closing
 * ours wakes nobody.
 */

#include "messages.h"
#include "postcopy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* Pages that may be asked for at the same time, a power of 2.  Who finds no
 * place asks again at its next turn. */
#define MAX_WANTED 64
#define MAX_PROBES 4

/* Pages of one buffer that are asked for at once. */
#define MAX_AHEAD 16

/* Event thread's. */
enum state {
    ADVISED,                    /* The front end has the userfaultfd. */
    LISTENING,                  /* Pages may be missing from now on. */
    ASKING,                     /* It was told where the memory is. */
    SERVED,                     /* The memory is registered. */
};

/* Work of the worker's. */
struct postcopy_job {
    struct vhost_job job;
    struct vhost_port *port;    /* NULL: nobody waits for it. */
    struct vhost_postcopy *pc;
    struct vhost_mem *mem;      /* To be registered. */
    bool find_nodes;            /* All pages have come: see where they are. */
};

struct vhost_postcopy {
    _Atomic unsigned int refs;  /* The port, jobs, the helper thread. */
    enum state state;
    bool registered;            /* A registration was tried, */
    char *error;                /* and this went wrong. */
    int uffd;                   /* The worker's from LISTENING on. */
    bool have_helper;           /* The worker's. */
    struct postcopy_job *last;  /* Ends it all; NULL: posted already. */

    pthread_mutex_t mutex;      /* Protects the next two; never held while a
                                 * page is touched. */
    struct vhost_port *port;    /* NULL: it has gone on without us. */
    struct vhost_mem *mem;      /* What is registered. */

    _Atomic bool stop;          /* The helper shall end. */
    _Atomic bool rings_wait;    /* The port wants to hear of each page. */
    _Atomic uint64_t n_pages;   /* That were waited for. */
    _Atomic int64_t since;      /* The present one, vhost_now_ms(); 0: none. */
    sem_t wake;
    _Atomic uintptr_t wanted[MAX_WANTED];   /* Addresses; 0: free. */
};

/* What the process allows. */

/* Returns a userfaultfd, or a negative errno value.  It does not serve faults
 * of the kernel's own accesses, of which there are none here: so no system
 * call can be made to wait. */
static int
open_uffd(void)
{
    const int flags = O_CLOEXEC | O_NONBLOCK;
    struct uffdio_api api = { .api = UFFD_API };
    int fd = syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);

    if (fd < 0 && errno == EINVAL) {
        fd = syscall(SYS_userfaultfd, flags);   /* Linux < 5.11. */
    }
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd < 0 ? -errno : fd;
}

const char *
vhost_postcopy_obstacle(void)
{
    int fd;

    if (vhost_mem_is_locked()) {
        return "all memory of the process is locked (--mlockall)";
    }
    fd = open_uffd();
    if (fd < 0) {
        return (fd == -EPERM ? "userfaultfd is not permitted"
                : "there is no userfaultfd");
    }
    close(fd);
    return NULL;
}

/* Life. */

static struct vhost_postcopy *
postcopy_create(struct vhost_port *port)
{
    struct vhost_postcopy *pc = calloc(1, sizeof *pc);

    if (pc) {
        pc->last = calloc(1, sizeof *pc->last);
        if (!pc->last) {
            free(pc);
            return NULL;
        }
        atomic_init(&pc->refs, 1);
        pc->uffd = -1;
        pc->port = port;
        pthread_mutex_init(&pc->mutex, NULL);
        sem_init(&pc->wake, 0, 0);
    }
    return pc;
}

static struct vhost_postcopy *
postcopy_ref(struct vhost_postcopy *pc)
{
    atomic_fetch_add(&pc->refs, 1);
    return pc;
}

static void
postcopy_unref(struct vhost_postcopy *pc)
{
    if (atomic_fetch_sub(&pc->refs, 1) == 1) {
        if (pc->uffd >= 0) {
            close(pc->uffd);
        }
        vhost_mem_unref(pc->mem);
        sem_destroy(&pc->wake);
        pthread_mutex_destroy(&pc->mutex);
        free(pc->error);
        free(pc->last);
        free(pc);
    }
}

/* Pages. */

/* The mapping of the region of 'mem' that 'addr' is in, or NULL. */
static struct vhost_mapping *
find_mapping(const struct vhost_mem *mem, const uint8_t *addr)
{
    for (unsigned int i = 0; i < mem->n_regions; i++) {
        struct vhost_mapping *m = mem->regions[i].mapping;

        if (addr >= m->addr && (size_t) (addr - m->addr) < m->len) {
            return m;
        }
    }
    return NULL;
}

static inline bool
is_resident(const struct vhost_mapping *m, size_t page)
{
    return (atomic_load_explicit(&m->resident[page / 64],
                                 memory_order_acquire) >> page % 64) & 1;
}

/* Asks for the page at 'addr'. */
static void
want_page(struct vhost_postcopy *pc, uintptr_t addr)
{
    unsigned int start = (addr / 4096 * UINT64_C(0x9e3779b97f4a7c15)) >> 58;

    for (unsigned int i = 0; i < MAX_PROBES; i++) {
        _Atomic uintptr_t *place = &pc->wanted[(start + i) % MAX_WANTED];
        uintptr_t old = 0;

        if (atomic_compare_exchange_strong(place, &old, addr)) {
            sem_post(&pc->wake);
            return;
        } else if (old == addr) {
            return;
        }
    }
}

bool
vhost_postcopy_have(struct vhost_postcopy *pc, const struct vhost_mem *mem,
                    const uint8_t *host, uint64_t *len)
{
    const struct vhost_mapping *m = find_mapping(mem, host);
    size_t offset, first, last, page;

    if (!m || !*len) {
        *len = 0;
        return false;           /* Cannot be. */
    }
    offset = host - m->addr;
    first = offset / m->page_size;
    last = (offset + *len - 1) / m->page_size;
    for (page = first; page <= last && is_resident(m, page); page++) {
        /* Nothing. */
    }
    if (page > first) {
        if (page <= last) {
            *len = page * m->page_size - offset;
        }
        return true;
    }
    last = last - first < MAX_AHEAD ? last : first + MAX_AHEAD - 1;
    for (; page <= last; page++) {
        if (!is_resident(m, page)) {
            want_page(pc, (uintptr_t) m->addr + page * m->page_size);
        }
    }
    *len = 0;
    return false;
}

/* Whether all of the 'len' bytes at 'p' have come.  Asks for the others. */
static bool
have_all(struct vhost_postcopy *pc, const struct vhost_mem *mem, const void *p,
         uint64_t len)
{
    const uint8_t *host = p;
    bool all = true;

    while (len) {
        const struct vhost_mapping *m = find_mapping(mem, host);
        uint64_t n = len;

        if (!vhost_postcopy_have(pc, mem, host, &n)) {
            if (!m) {
                return false;
            }
            all = false;
            n = m->page_size - (host - m->addr) % m->page_size;
            n = n < len ? n : len;
        }
        host += n;
        len -= n;
    }
    return all;
}

bool
vhost_postcopy_has_ring(struct vhost_postcopy *pc,
                        const struct vhost_vring *vr)
{
    const struct vhost_mem *mem = vr->mem;
    uint32_t size = vr->size;
    bool a, b, c;

    /* Before the look, so that no news is missed. */
    atomic_store(&pc->rings_wait, true);
    if (vr->packed) {
        a = have_all(pc, mem, vr->pdesc, vring_packed_desc_len(size));
        b = have_all(pc, mem, vr->driver_event, sizeof *vr->driver_event);
        c = have_all(pc, mem, vr->device_event, sizeof *vr->device_event);
    } else {
        a = have_all(pc, mem, vr->desc, vring_split_desc_len(size));
        b = have_all(pc, mem, vr->avail, vring_split_avail_len(size, true));
        c = have_all(pc, mem, vr->used, vring_split_used_len(size, true));
    }
    return a && b && c;
}

void
vhost_postcopy_no_rings_wait(struct vhost_postcopy *pc)
{
    atomic_store(&pc->rings_wait, false);
}

/* The helper thread. */

static void
tell_port(struct vhost_postcopy *pc)
{
    pthread_mutex_lock(&pc->mutex);
    if (pc->port) {
        vhost_task_post(pc->port->loop, &pc->port->pages_task);
    }
    pthread_mutex_unlock(&pc->mutex);
}

/* Touches the page at 'addr' if it is in 'mem', which may take for ever. */
static void
fetch_page(struct vhost_postcopy *pc, struct vhost_mem *mem, uintptr_t addr)
{
    struct vhost_mapping *m = find_mapping(mem, (const uint8_t *) addr);
    size_t page;

    if (!m || !m->resident) {
        return;
    }
    page = (addr - (uintptr_t) m->addr) / m->page_size;
    atomic_store(&pc->since, vhost_now_ms());
    vhost_guard_begin(mem);
    __atomic_load_n(m->addr + page * m->page_size, __ATOMIC_RELAXED);
    vhost_guard_end();
    atomic_store(&pc->since, 0);
    atomic_fetch_or(&m->resident[page / 64], UINT64_C(1) << page % 64);
    atomic_fetch_add(&pc->n_pages, 1);
    if (atomic_load(&pc->rings_wait)) {
        tell_port(pc);
    }
}

static void
fetch_all(struct vhost_postcopy *pc)
{
    struct vhost_mem *mem;

    pthread_mutex_lock(&pc->mutex);
    mem = vhost_mem_ref(pc->mem);
    pthread_mutex_unlock(&pc->mutex);
    for (unsigned int i = 0; mem && i < MAX_WANTED; i++) {
        uintptr_t addr = atomic_load(&pc->wanted[i]);

        if (addr && !atomic_load(&pc->stop)) {
            fetch_page(pc, mem, addr);
            atomic_store(&pc->wanted[i], 0);
        }
    }
    vhost_mem_unref(mem);
}

static void *
helper_main(void *pc_)
{
    struct vhost_postcopy *pc = pc_;

    while (!atomic_load(&pc->stop)) {
        if (!sem_wait(&pc->wake)) {
            fetch_all(pc);
        }
    }
    postcopy_unref(pc);
    return NULL;
}

/* Starts the helper, which takes no signals but those of its own doing. */
static bool
start_helper(struct vhost_postcopy *pc)
{
    static const int sync[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT };
    pthread_attr_t attr;
    sigset_t most, old;
    pthread_t thread;

    if (pc->have_helper) {
        return true;
    }
    sigfillset(&most);
    for (size_t i = 0; i < sizeof sync / sizeof sync[0]; i++) {
        sigdelset(&most, sync[i]);
    }
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    pthread_sigmask(SIG_SETMASK, &most, &old);
    postcopy_ref(pc);
    pc->have_helper = !pthread_create(&thread, &attr, helper_main, pc);
    if (!pc->have_helper) {
        postcopy_unref(pc);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return pc->have_helper;
}

/* Jobs of the worker. */

/* Back on the event thread: goes on with the message. */
static void
job_done(struct vhost_job *job_)
{
    struct postcopy_job *job = VHOST_CONTAINER_OF(job_, struct postcopy_job,
                                                  job);
    struct vhost_port *port = job->port;

    postcopy_unref(job->pc);
    free(job);
    if (port) {
        port->postcopy_job = NULL;
        vhost_session_prepared(port);
    }
}

/* Has the worker do 'job' for the migration of 'port', and the message that
 * the port works on, if it 'waits', wait for that. */
static void
job_post(struct vhost_port *port, struct postcopy_job *job,
         void (*work)(struct vhost_job *), bool waits)
{
    job->pc = postcopy_ref(port->postcopy);
    job->job.work = work;
    if (waits) {
        job->port = port;
        job->job.done = job_done;
        port->postcopy_job = &job->job;
    }
    vhost_job_post(port->loop, &job->job);
}

static bool
register_mapping(struct vhost_postcopy *pc, struct vhost_mapping *m)
{
    struct uffdio_register reg = {
        .range = { (uintptr_t) m->addr, m->len },
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };

    if (!m->resident) {
        void *map = mmap(NULL, vhost_mapping_bitmap_size(m),
                         PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (map == MAP_FAILED) {
            return false;
        }
        m->resident = map;
    }
    return !ioctl(pc->uffd, UFFDIO_REGISTER, &reg);
}

/* Wakes up who waits for a page of 'm' and lets nobody wait any more. */
static void
unregister_mapping(const struct vhost_postcopy *pc,
                   const struct vhost_mapping *m)
{
    struct uffdio_range range = { (uintptr_t) m->addr, m->len };

    ioctl(pc->uffd, UFFDIO_UNREGISTER, &range);
}

static void
register_work(struct vhost_job *job_)
{
    struct postcopy_job *job = VHOST_CONTAINER_OF(job_, struct postcopy_job,
                                                  job);
    struct vhost_postcopy *pc = job->pc;
    struct vhost_mem *mem = job->mem, *old;

    free(pc->error);
    pc->error = NULL;
    pthread_mutex_lock(&pc->mutex);
    old = pc->mem;
    pc->mem = mem;              /* And the reference. */
    pthread_mutex_unlock(&pc->mutex);
    for (unsigned int i = 0; !pc->error && i < mem->n_regions; i++) {
        if (!register_mapping(pc, mem->regions[i].mapping)
            && asprintf(&pc->error, "userfaultfd: %s", strerror(errno)) < 0) {
            pc->error = NULL;
        }
    }
    for (unsigned int i = 0; old && i < old->n_regions; i++) {
        struct vhost_mapping *m = old->regions[i].mapping;

        if (find_mapping(mem, m->addr) != m) {
            unregister_mapping(pc, m);
        }
    }
    vhost_mem_unref(old);
    if (!pc->error && !start_helper(pc)) {
        pc->error = strdup("no thread to wait for pages");
    }
}

/* Ends it all.  What the helper waits for is there afterwards, as zeros unless
 * the front end has put something there. */
static void
end_work(struct vhost_job *job_)
{
    struct postcopy_job *job = VHOST_CONTAINER_OF(job_, struct postcopy_job,
                                                  job);
    struct vhost_postcopy *pc = job->pc;
    struct vhost_mem *mem;

    pthread_mutex_lock(&pc->mutex);
    mem = pc->mem;
    pc->mem = NULL;
    pthread_mutex_unlock(&pc->mutex);
    atomic_store(&pc->stop, true);
    sem_post(&pc->wake);
    for (unsigned int i = 0; mem && i < mem->n_regions; i++) {
        unregister_mapping(pc, mem->regions[i].mapping);
    }
    if (mem && job->find_nodes) {
        vhost_mem_find_nodes(mem);
    }
    vhost_mem_unref(mem);
    if (pc->uffd >= 0) {
        close(pc->uffd);
        pc->uffd = -1;
    }
    if (!job->job.done) {
        postcopy_unref(pc);     /* Then the worker frees the job. */
    }
}

/* Messages. */

const char *
vhost_postcopy_advise(struct vhost_port *port, struct vhost_reply *reply)
{
    struct vhost_postcopy *pc = port->postcopy;
    int fd;

    if (pc && pc->state != ADVISED) {
        return "it comes too late";
    }
    if ((port->info.protocol_features
         >> VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) & 1) {
        return "not together with CONFIGURE_MEM_SLOTS";
    }

    /* QEMU asks once for each queue pair, and serves memory by the descriptor
     * that it got last. */
    if (!pc) {
        pc = postcopy_create(port);
        if (!pc) {
            return "out of memory";
        }
        port->postcopy = pc;
        vhost_port_log(port, VHOST_LOG_INFO, "a guest may arrive by postcopy: "
                       "its front end gets a userfaultfd, by which it can "
                       "change memory of this process and keep its threads "
                       "waiting");
    } else if (pc->uffd >= 0) {
        close(pc->uffd);
    }
    fd = open_uffd();
    pc->uffd = fd < 0 ? -1 : fd;
    if (fd < 0) {
        vhost_port_log(port, VHOST_LOG_WARN, "userfaultfd: %s",
                       strerror(-fd));
    }
    reply->is_empty = true;
    reply->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    vhost_port_changed(port, VHOST_CHANGE_STATUS);
    return NULL;
}

const char *
vhost_postcopy_listen(struct vhost_port *port, struct vhost_reply *reply)
{
    struct vhost_postcopy *pc = port->postcopy;

    (void) reply;
    if (!pc || pc->uffd < 0) {
        return "there is no userfaultfd";
    }
    if (pc->state == ADVISED) {
        if (port->mem) {
            return "there is guest memory already";
        }
        pc->state = LISTENING;
        vhost_port_changed(port, VHOST_CHANGE_STATUS);
    }
    return NULL;
}

bool
vhost_postcopy_is_listening(const struct vhost_port *port)
{
    return port->postcopy && port->postcopy->state >= LISTENING;
}

bool
vhost_postcopy_is_asking(const struct vhost_port *port)
{
    return port->postcopy && port->postcopy->state == ASKING;
}

void
vhost_postcopy_ask(struct vhost_port *port, struct vhost_reply *reply)
{
    struct vhost_wire_mem_table *t = &reply->payload.mem;

    *t = port->msg.payload.mem;
    for (unsigned int i = 0; i < t->n_regions; i++) {
        struct vhost_wire_region *r = &t->regions[i];

        r->user_addr = (uintptr_t) vhost_mem_find(port->mem,
                                                  r->guest_addr)->host;
    }
    reply->size = port->msg.header.size;
    port->postcopy->state = ASKING;
}

void
vhost_postcopy_ack_prepare(struct vhost_port *port)
{
    struct postcopy_job *job = NULL;

    if (vhost_postcopy_is_asking(port) && !port->msg.payload.u64) {
        job = calloc(1, sizeof *job);
        port->postcopy->registered = job != NULL;
    }
    if (job) {
        job->mem = vhost_mem_ref(port->mem);
        job_post(port, job, register_work, true);
    } else {
        vhost_session_prepared(port);   /* ack() says why. */
    }
}

const char *
vhost_postcopy_ack(struct vhost_port *port)
{
    struct vhost_postcopy *pc = port->postcopy;

    if (!vhost_postcopy_is_asking(port)) {
        return "nothing is to be acknowledged";
    }
    if (port->msg.payload.u64) {
        return "the front end cannot serve this memory";
    }
    if (!pc->registered || pc->error) {
        return pc->error ? pc->error : "out of memory";
    }
    pc->state = SERVED;
    vhost_port_log(port, VHOST_LOG_INFO, "postcopy: the guest's memory comes "
                   "page by page");
    return NULL;
}

void
vhost_postcopy_end_prepare(struct vhost_port *port)
{
    struct vhost_postcopy *pc = port->postcopy;

    if (pc) {
        struct postcopy_job *job = pc->last;

        pc->last = NULL;
        job->find_nodes = true;
        job_post(port, job, end_work, true);
    } else {
        vhost_session_prepared(port);
    }
}

int
vhost_postcopy_end_stop(const struct vhost_port *port)
{
    return port->postcopy ? VHOST_STOP_ALL : VHOST_STOP_NOTHING;
}

/* The port goes on without its migration. */
static void
detach(struct vhost_port *port)
{
    struct vhost_postcopy *pc = port->postcopy;

    port->info.n_postcopy_pages += atomic_load(&pc->n_pages);
    port->postcopy = NULL;
    pthread_mutex_lock(&pc->mutex);
    pc->port = NULL;
    pthread_mutex_unlock(&pc->mutex);
    postcopy_unref(pc);
    vhost_port_changed(port, VHOST_CHANGE_STATUS);
}

const char *
vhost_postcopy_end(struct vhost_port *port, struct vhost_reply *reply)
{
    /* QEMU says it once for each queue pair. */
    if (port->postcopy) {
        vhost_port_log(port, VHOST_LOG_INFO, "postcopy has ended: %llu pages "
                       "were waited for", (unsigned long long int)
                       atomic_load(&port->postcopy->n_pages));
        detach(port);
    }
    reply->payload.u64 = 0;
    reply->size = sizeof reply->payload.u64;
    return NULL;
}

/* The end of a connection. */

void
vhost_postcopy_cancel(struct vhost_port *port)
{
    if (port->postcopy_job) {
        VHOST_CONTAINER_OF(port->postcopy_job, struct postcopy_job, job)->port
            = NULL;
        port->postcopy_job = NULL;
    }
}

void
vhost_postcopy_release(struct vhost_port *port)
{
    struct vhost_postcopy *pc = port->postcopy;

    if (pc) {
        struct postcopy_job *job = pc->last;

        pc->last = NULL;
        if (job) {
            job_post(port, job, end_work, false);
        }
        detach(port);
    }
}

/* State. */

struct vhost_postcopy *
vhost_postcopy_active(const struct vhost_port *port)
{
    return (port->postcopy && port->postcopy->state == SERVED ? port->postcopy
            : NULL);
}

void
vhost_postcopy_get_info(const struct vhost_port *port,
                        struct vhost_port_info *info)
{
    const struct vhost_postcopy *pc = port->postcopy;
    int64_t since = pc ? atomic_load(&pc->since) : 0;

    info->postcopy = (!pc ? VHOST_POSTCOPY_NONE
                      : pc->state == ADVISED ? VHOST_POSTCOPY_ADVISED
                      : VHOST_POSTCOPY_RUNNING);
    info->n_postcopy_pages += pc ? atomic_load(&pc->n_pages) : 0;
    info->postcopy_wait_ms = since ? vhost_now_ms() - since : 0;
}
