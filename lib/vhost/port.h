/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * One port as the event thread sees it, for lib/vhost only.  The parts and
 * who has them:
 *
 *     port.c        life cycle, control threads' requests, snapshots
 *     transport.c   listening, connecting, connecting again
 *     session.c     messages of one connection
 *     device.c      features, memory and rings: what the messages build up
 *     describe.c    what the polling threads see of that
 *     stop.c        the asynchronous handshake with the polling threads
 *
 * 'mutex' protects everything that control threads read.  The event thread
 * holds it while it changes such state, never across a callback, a wait or a
 * system call on a peer's file.
 */

#ifndef VHOST_PORT_H
#define VHOST_PORT_H 1

#include <linux/virtio_config.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "backend-channel.h"
#include "dispose.h"
#include "loop.h"
#include "memory.h"
#include "message-log.h"
#include "record-file.h"
#include "socket-file.h"
#include "vhost.h"
#include "vring.h"
#include "wire.h"

/* A vring as the front end set it up; see struct vhost_vring for what the
 * packet code gets of it. */
struct vhost_ring {
    struct vhost_port *port;
    unsigned int idx;

    /* By messages. */
    uint32_t size;              /* 0: SET_VRING_NUM is due. */
    bool have_addr;
    struct vhost_wire_vring_addr addr;
    uint32_t base;              /* SET_VRING_BASE. */
    bool fresh;                 /* Started, but not run yet. */
    bool call_anew;             /* A call may have been lost. */
    bool waits;                 /* For its own pages (postcopy.h). */
    int kickfd, callfd, errfd;  /* -1: none. */
    bool started;               /* SET_VRING_KICK came. */
    bool enabled;
    bool waiting;               /* For translations of its own pages. */

    /* Derived. */
    struct vring_state st;
    struct vhost_call call;
    struct vhost_crash_record *record;  /* Packed rings; NULL: none. */
    bool record_is_malloced;    /* It is not in the port's file. */
    struct vhost_vring *vr;     /* NULL: not running.  Ours to change only
                                 * while no gate shows it. */
    struct vhost_rxq rxq;       /* Odd rings. */
    struct vhost_source kick;   /* Watched while the ring is drained. */
    int64_t drain_after;        /* Not before, vhost_now_ms(). */
};

/* A buffer for descriptors in flight (inflight.h). */
struct vhost_inflight {
    struct vhost_mem *map;      /* SET_INFLIGHT_FD; NULL: none. */
    unsigned int n_queues;
    unsigned int queue_size;
};

/* The handshake with the polling threads that is under way (stop.c). */
struct vhost_stop {
    bool active;
    int what;                   /* See vhost_stop_begin(). */
    unsigned int n_gates;
    unsigned int allocated;
    struct {
        struct vhost_gate *gate;
        uint64_t mark;
    } *gates;                   /* Those not clear yet. */
    void (*done)(struct vhost_port *);
    struct vhost_timer timer;
};

/* Each stop interrupts every polling thread of the process, so a port may have
 * only so many: on average this many a second, and this many at once.
 * Connecting again does not help. */
#define VHOST_STOPS_PER_SECOND 1000
#define VHOST_STOPS_AT_ONCE 2000

/* Which gates a change needs closed. */
#define VHOST_STOP_NOTHING -2
#define VHOST_STOP_GRACE -3     /* None, but every burst that is under way has
                                 * to end.  For rings behind a vIOMMU. */
#define VHOST_STOP_ALL -1       /* Otherwise a vring's index. */

/* Longest payload that is read at all, in bytes; no message of the
 * specification is longer. */
#define VHOST_MESSAGE_MAX 4096

/* Receive buffer of a connection. */
struct vhost_message {
    struct vhost_wire_header header;
    union {
        union vhost_wire_payload payload;
        uint8_t raw[VHOST_MESSAGE_MAX];     /* Unknown messages. */
    };
    size_t n_received;          /* Header and payload, bytes so far. */
    int fds[VHOST_WIRE_MAX_FDS];
    unsigned int n_fds;
    bool too_many_fds;          /* More came; they were closed. */
};

enum vhost_op_type {
    VHOST_OP_START,             /* Begin to listen or connect. */
    VHOST_OP_SENDERS,
    VHOST_OP_PATH,
    VHOST_OP_ACCESS,
    VHOST_OP_DISCONNECT,
    VHOST_OP_DESTROY,
};

/* A request of a control thread, on its stack. */
struct vhost_op {
    enum vhost_op_type type;
    const char *path;
    const struct vhost_socket_access *access;
    unsigned int n_senders;
    unsigned int n_own_senders;
    struct vhost_sender *senders;
    bool disconnected;          /* There was a connection. */
    bool done;                  /* Under loop->mutex. */
    TAILQ_ENTRY(vhost_op) node;
};
TAILQ_HEAD(vhost_op_list, vhost_op);

struct vhost_port {
    struct vhost_loop *loop;
    char *name;
    enum vhost_role role;
    struct vhost_offer offer;   /* To the present front end. */
    struct vhost_offer next_offer;  /* To the next one; under 'mutex'. */
    unsigned int max_vrings;
    const struct vhost_port_ops *ops;
    void *aux;

    struct vhost_disposal *disposal;    /* Closes what a peer gave us. */

    pthread_mutex_t mutex;
    struct vhost_port_info info;    /* As shown; some parts live only here. */
    struct vhost_message_log messages;

    /* Control threads' requests. */
    struct vhost_op_list ops_queue; /* Under loop->mutex. */
    struct vhost_task ops_task;
    struct vhost_op *current_op;    /* The one that is being carried out. */

    /* Transport. */
    int sock_fd;                /* Connection, -1: none. */
    struct vhost_source sock;
    int listen_fd;
    struct vhost_source listener;
    struct vhost_socket_file file;  /* What it is bound to. */
    struct vhost_socket_access access;  /* Wanted for that. */
    struct vhost_source inotify;
    int watch;                  /* Inotify watch, -1: none. */
    struct vhost_timer retry;
    bool transport_on;          /* Listen or connect when there is need. */
    int64_t retry_since;        /* Start of the present series of tries. */
    int64_t connected_since;
    int retry_delay;            /* Milliseconds. */

    /* Session. */
    struct vhost_message msg;
    bool stop_wanted;           /* It waits for another stop to end. */
    /* An answer for which there was no room in the socket yet. */
    uint8_t reply[sizeof(struct vhost_wire_header)
                  + sizeof(union vhost_wire_payload)];
    size_t reply_len;           /* Its bytes, 0: none. */
    int reply_fd;               /* That goes with it, -1: none. */
    bool closing;               /* The connection is being torn down. */
    struct vhost_map_job *map_job;  /* What the worker maps for 'msg', */
    struct vhost_mem *new_mem;  /* and the result: SET_MEM_TABLE's, */
    struct vhost_dirty_log *new_log;    /* SET_LOG_BASE's, */
    struct vhost_mem *new_inflight; /* SET_INFLIGHT_FD's, */
    char *mem_error;            /* or why there is none. */
    int state_fd;               /* State to be loaded, -1: none. */
    bool state_due;             /* CHECK_DEVICE_STATE has to come. */
    const char *state_error;    /* Of the message that is handled. */
    int backend_fd;             /* SET_BACKEND_REQ_FD, -1: none. */
    struct vhost_postcopy *postcopy;    /* Migration to here, or NULL. */
    struct vhost_job *postcopy_job;     /* The worker's, for a message. */
    struct vhost_backend_channel backend;   /* In use behind a vIOMMU. */
    uint8_t status;             /* SET_STATUS. */
    bool have_features;
    int64_t stop_tokens;        /* In thousandths; see session.c. */
    int64_t stop_tokens_time;
    struct vhost_timer throttle;
    struct vhost_timer hint;    /* No memory yet: say what may be wrong. */

    /* Device. */
    struct vhost_mem *mem;
    struct vhost_dirty_log *log;    /* SET_LOG_BASE, NULL: none. */
    struct vhost_inflight inflight;
    struct vhost_record_file record_file;
    struct vhost_iommu *iommu;  /* NULL: no vIOMMU. */
    _Atomic uint64_t iommu_asked, iommu_updates, iommu_invalidations;
    /* Made at first use, by the event thread or a control thread, and never
     * removed. */
    _Atomic(struct vhost_ring *) rings[VHOST_MAX_VRINGS];
    unsigned int n_senders;
    unsigned int n_own_senders;
    struct vhost_sender *senders;
    struct vhost_stop stop;
    struct vhost_task wake_task;    /* Posted by polling threads. */
    struct vhost_task pages_task;   /* Posted when a page has come. */
    bool republish;             /* Rings can run that could not before. */
    int64_t slow_calls_until;   /* The notifier's, see vhost_call. */
    struct vhost_timer drain_timer;
    struct vhost_timer free_timer;
    unsigned int drain_next;    /* Ring to go on with. */
    _Atomic uint64_t enabled_rings[VHOST_MAX_VRINGS / 64];

    /* Announcements to the owner. */
    unsigned int changes;       /* enum vhost_change. */
    int64_t next_announcement;  /* Milliseconds; in the past: how many of
                                 * ANNOUNCE_BURST are left. */
    struct vhost_timer announce_timer;
    bool have_rarp;
    uint8_t rarp[6];
};

#define VHOST_CONTAINER_OF(POINTER, STRUCT, MEMBER) \
    ((STRUCT *) (void *) ((char *) (POINTER) - offsetof(STRUCT, MEMBER)))

/* port.c */

/* Logs a line about 'port'. */
void vhost_port_log(const struct vhost_port *, enum vhost_log_level,
                    const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the text that status shows, and logs it if it is news, which is then
 * returned. */
bool vhost_port_set_error(struct vhost_port *, enum vhost_log_level,
                          const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void vhost_port_clear_error(struct vhost_port *);

/* Says what kind of thing the error is that was just set. */
void vhost_port_set_trouble(struct vhost_port *, enum vhost_trouble);

/* Notes that the owner has to hear of 'changes', a mask of enum
 * vhost_change. */
void vhost_port_changed(struct vhost_port *, unsigned int changes);

void vhost_port_set_state(struct vhost_port *, enum vhost_state);

/* Makes the event thread look at the rings' errors.  Polling threads. */
void vhost_port_wake(struct vhost_port *);

/* Goes on with what waits for the end of a stop or of a connection: closing,
 * a message, requests of control threads.  The port may be gone after it. */
void vhost_port_continue(struct vhost_port *);

/* transport.c */

/* Starts to listen or to connect. */
void vhost_transport_start(struct vhost_port *);

/* Undoes that; the connection, if any, stays. */
void vhost_transport_stop(struct vhost_port *);

/* Gives a server's socket the owner and mode that are wanted. */
void vhost_transport_apply_access(struct vhost_port *);

/* The connection has gone and its rings are stopped: wait for the next. */
void vhost_transport_closed(struct vhost_port *);

/* Checks that 'path' can be a socket's.  Returns 0, or a positive errno value
 * and a sentence that the caller frees. */
int vhost_transport_check_path(const char *path, char **errorp);

/* session.c */

/* Takes over a connection. */
void vhost_session_start(struct vhost_port *, int fd);

/* Ends the connection, because of 'format' or, if NULL, because the peer went
 * or we were asked to.  The rings are stopped first, so the connection may
 * live on for a while. */
void vhost_session_end(struct vhost_port *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Go on after a stop: with the end of the connection, or with the message that
 * waited.  For vhost_port_continue(). */
void vhost_session_teardown(struct vhost_port *);
void vhost_session_resume(struct vhost_port *);

static inline bool
vhost_has_feature(const struct vhost_port *port, unsigned int bit)
{
    return (port->info.features >> bit) & 1;
}

static inline bool
vhost_is_packed(const struct vhost_port *port)
{
    return vhost_has_feature(port, VIRTIO_F_RING_PACKED);
}

static inline bool
vhost_ring_is_broken(const struct vhost_ring *ring)
{
    return atomic_load_explicit(&ring->st.broken, memory_order_acquire);
}

/* describe.c */

/* Makes descriptions of the rings that can run, and opens the gates. */
void vhost_device_publish(struct vhost_port *);

/* Tells control threads and the owner what runs now. */
void vhost_device_publish_info(struct vhost_port *);

/* True if some ring that waited for its pages can run now. */
bool vhost_device_pages_came(struct vhost_port *);

/* Behind a vIOMMU: asks for what rings lack that wait for translations; tries
 * again to drain rings. */
void vhost_device_translate_waiting(struct vhost_port *);
void vhost_device_drain_soon(struct vhost_port *);

/* The guest has kicked a ring that is not enabled: a source's 'ready'. */
void vhost_drain_ready(struct vhost_source *, uint32_t events);

/* Tells control threads where the crash records are. */
void vhost_device_show_record(struct vhost_port *);

/* device.c */

/* The ring 'idx', made at first use.  NULL if out of memory. */
struct vhost_ring *vhost_device_ring(struct vhost_port *, unsigned int idx);

/* Finds out where the parts of 'ring' are in 'mem' and stores that in the
 * description.  Returns false if that cannot be, or not yet. */
bool vhost_translate_ring(struct vhost_ring *ring, const struct vhost_mem *mem,
                          struct vhost_vring *);

/* The result of a message: 0, or a sentence for the log. */
typedef const char *vhost_result;

vhost_result vhost_device_set_features(struct vhost_port *, uint64_t);
vhost_result vhost_device_set_vring_num(struct vhost_port *, unsigned int idx,
                                        uint32_t num);
vhost_result vhost_device_set_vring_addr(struct vhost_port *,
                                         const struct vhost_wire_vring_addr *);
vhost_result vhost_device_set_vring_base(struct vhost_port *, unsigned int idx,
                                         uint32_t base);

/* Stops vring 'idx' and stores where to go on. */
vhost_result vhost_device_get_vring_base(struct vhost_port *, unsigned int idx,
                                         uint32_t *base);

/* These take over 'fd' (-1: none) where they succeed. */
vhost_result vhost_device_set_vring_kick(struct vhost_port *, unsigned int idx,
                                         int fd);
vhost_result vhost_device_set_vring_call(struct vhost_port *, unsigned int idx,
                                         int fd);
vhost_result vhost_device_set_vring_err(struct vhost_port *, unsigned int idx,
                                        int fd);
vhost_result vhost_device_set_vring_enable(struct vhost_port *,
                                           unsigned int idx, bool enable);

/* Where the parts of a ring are that SET_VRING_ADDR has named, in the address
 * space that it names. */
struct vhost_ring_part {
    uint64_t addr;
    uint64_t len;               /* Bytes, > 0. */
};
void vhost_device_ring_parts(const struct vhost_ring *,
                             struct vhost_ring_part[3]);

/* Puts 'mem' in the place of the memory map.  Takes over the reference. */
void vhost_device_set_mem(struct vhost_port *, struct vhost_mem *mem);

/* Stops all rings, as at RESET_OWNER or a status of 0.  All gates must be
 * closed. */
void vhost_device_reset(struct vhost_port *);

/* The same, and forgets how the rings were set up and the features: the device
 * is as it was when the front end came, but for memory, call and error
 * descriptors, which are the front end's.  For RESET_DEVICE. */
void vhost_device_reset_all(struct vhost_port *);

/* Forgets all that a connection has built up.  All gates must be closed. */
void vhost_device_release(struct vhost_port *);

/* Looks for rings that their guest has broken. */
void vhost_device_check(struct vhost_port *);

/* Puts the new array of senders in place.  All senders' gates must be closed.
 * Returns the old array. */
struct vhost_sender *vhost_device_swap_senders(struct vhost_port *,
                                               struct vhost_sender *,
                                               unsigned int n);

/* Sends the calls that rings which 'what' concerns are still owed.  Their
 * gates must be closed. */
void vhost_device_settle_calls(struct vhost_port *, int what);

/* True if the notifier still has to let go of a ring.  It will soon, once all
 * gates are closed. */
bool vhost_device_in_use(const struct vhost_port *);

void vhost_device_free(struct vhost_port *);

/* Drops a reference to 'mem' (may be NULL) at the worker. */
void vhost_device_unref_mem(struct vhost_port *, struct vhost_mem *);

/* dirty-log.c */

/* Puts 'log', or none, in the place of the log.  All gates must be closed. */
void vhost_log_replace(struct vhost_port *, struct vhost_dirty_log *log);

/* Guards the log together with a new memory map. */
void vhost_log_attach(struct vhost_port *);

/* Forgets the logs: the connection has ended. */
void vhost_log_release(struct vhost_port *);

/* Looks for writes beyond the log. */
void vhost_log_check(struct vhost_port *);

/* stop.c */

/* Closes the gates that 'what' (VHOST_STOP_ALL, or a vring) needs closed, and
 * calls 'done' when no polling thread is inside any more: at once, before the
 * return, or later.  One at a time per port. */
void vhost_stop_begin(struct vhost_port *, int what,
                      void (*done)(struct vhost_port *));

/* True if a change to 'what' concerns the calls to the guest of 'ring', which
 * may be NULL. */
bool vhost_stop_concerns_call(const struct vhost_ring *ring, int what);

/* True if a change to 'what' needs a handshake at all. */
bool vhost_stop_is_needed(const struct vhost_port *, int what);

#endif /* port.h */
