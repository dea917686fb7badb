/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The life cycle half of the door between lib/vhost (the guest's side:
 * sockets, protocol, memory, rings) and whoever embeds it.  It creates and
 * destroys loops and ports and tells what state they are in.  Packets go
 * through the other half, ring.h.
 *
 * Nothing here or below knows OVS or DPDK: the embedding program supplies the
 * log and the clock, runs the thread bodies, and is told of changes,
 * through callbacks.
 *
 * Threads
 * -------
 *
 *   - The event thread runs vhost_loop_run().  It owns every socket and every
 *     port's protocol state and never blocks on a peer.
 *
 *   - The worker thread runs vhost_loop_worker().  It maps and unmaps guest
 *     memory, which may take long.
 *
 *   - The notifier thread, if there is one, runs vhost_loop_notifier().  It
 *     makes system calls that polling threads would have to make otherwise.
 *
 *   - Polling threads ("PMDs") use ring.h only.
 *
 *   - Control threads (in OVS, the main thread) call the functions below that
 *     say so.  They wait for the event thread, at most for a short while.
 *
 * Callbacks run on the event thread with no lock of lib/vhost held.  A control
 * thread must not hold a lock that a callback takes when it calls a function
 * that waits for the event thread (vhost_port_create(), vhost_port_destroy(),
 * vhost_port_set_senders(), vhost_port_set_path()).
 */

#ifndef VHOST_H
#define VHOST_H 1

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vhost_loop;
struct vhost_port;
struct vhost_rxq;
struct vhost_sender;

/* Limits. */
#define VHOST_MAX_QUEUE_PAIRS 128   /* What GET_QUEUE_NUM answers at most. */
#define VHOST_MAX_VRINGS (2 * VHOST_MAX_QUEUE_PAIRS)
#define VHOST_MAX_RING_SIZE 32768   /* Entries; virtio 1.2, section 2.6. */
#define VHOST_MAX_SENDERS 1024      /* Sender slots of one port. */
#define VHOST_MAX_MEM_SLOTS 509     /* Memory regions of a guest, one by one;
                                     * as many as KVM has. */
#define VHOST_STATE_VALUES 64       /* Counters of the embedder's that go with
                                     * a guest to another host. */
#define VHOST_FILE_NAME 128         /* Bytes of a memory file's name, with the
                                     * NUL; the rest is left out. */
#define VHOST_PATH_MAX 107          /* Bytes in sun_path without the NUL. */

/* Environment. */

enum vhost_log_level {
    VHOST_LOG_ERR,
    VHOST_LOG_WARN,
    VHOST_LOG_INFO,
    VHOST_LOG_DBG,
};

/* What the embedding program provides to a loop.  All members must be set
 * except those that say otherwise; all may be called from any thread of
 * lib/vhost, never from a polling thread. */
struct vhost_env {
    /* Logs one line (no newline at its end).  'port' is the port's name or
     * NULL.  The implementation limits rates of WARN and ERR lines. */
    void (*log)(enum vhost_log_level, const char *port, const char *format,
                va_list) __attribute__((format(printf, 3, 0)));

    /* Called around every wait of the event and worker threads, for programs
     * that must know when a thread holds no references (OVS: RCU).  May be
     * NULL. */
    void (*wait_begin)(void);
    void (*wait_end)(void);
};

/* Creates a loop.  Returns 0 and stores the loop in '*loopp', or a positive
 * errno value.  'env' must stay valid as long as the loop. */
int vhost_loop_create(const struct vhost_env *env, struct vhost_loop **loopp);

/* Frees 'loop', which must have no ports, after all thread bodies have
 * returned. */
void vhost_loop_destroy(struct vhost_loop *);

/* Body of the event thread: returns after vhost_loop_stop(). */
void vhost_loop_run(struct vhost_loop *);

/* Body of the worker thread: returns after vhost_loop_stop(). */
void vhost_loop_worker(struct vhost_loop *);

/* Body of the notifier thread, which calls guests in place of the polling
 * threads: returns after vhost_loop_stop().  A program may do without; then
 * polling threads call guests themselves. */
void vhost_loop_notifier(struct vhost_loop *);

/* Whether polling threads hand calls to the notifier. */
enum vhost_offload {
    VHOST_OFFLOAD_NEVER,        /* They do not: the default. */
    VHOST_OFFLOAD_AUTO,         /* While there are many calls. */
    VHOST_OFFLOAD_ALWAYS,
};

/* Sets that, for all ports, at any time, from any thread but a polling one.
 * Comes into force while the notifier runs. */
void vhost_loop_set_offload(struct vhost_loop *, enum vhost_offload);

/* Has the crash records of ports that are created from now on kept in files in
 * the directory 'path', so that packed rings go on where they were after the
 * process was killed (record-file.h).  It has to be on tmpfs, and in a place
 * where nobody else can put it; if it does not exist it is made.  Programs
 * that share a directory, and have ports of the same names, need a 'prefix'
 * each, which the files' names begin with.
 *
 * Returns 0, or a positive errno value and stores in '*errorp' a sentence
 * (NULL if out of memory), which the caller frees.  Not while there are
 * ports. */
int vhost_loop_set_record_dir(struct vhost_loop *, const char *path,
                              const char *prefix, char **errorp);

/* Makes all bodies return, from any thread. */
void vhost_loop_stop(struct vhost_loop *);

/* Installs the handler that keeps the process alive when a front end
 * truncates memory that it shared with us, if it is not in place now.  Safe to
 * call again, e.g. after a library replaced the handler.  SIGBUS that does not
 * concern guest memory goes to the handler found at installation.  Returns 0
 * or a positive errno value. */
int vhost_sigbus_install(void);

/* Ports. */

enum vhost_role {
    VHOST_SERVER,               /* We listen, the front end connects. */
    VHOST_CLIENT,               /* The front end listens, we connect. */
};

/* What changed, for vhost_port_ops.changed(): bits of a mask. */
enum vhost_change {
    VHOST_CHANGE_LINK     = 1 << 0, /* Connected and ready, or not. */
    VHOST_CHANGE_QUEUES   = 1 << 1, /* n_queue_pairs or a ring's enabling. */
    VHOST_CHANGE_NUMA     = 1 << 2, /* Guest memory's node. */
    VHOST_CHANGE_FEATURES = 1 << 3, /* A front end negotiated features. */
    VHOST_CHANGE_MTU      = 1 << 4, /* NET_SET_MTU arrived. */
    VHOST_CHANGE_RARP     = 1 << 5, /* vhost_port_take_rarp() has a MAC. */
    VHOST_CHANGE_STATUS   = 1 << 6, /* Text that status shows: errors. */
};

struct vhost_port_ops {
    /* 'what' is a nonempty mask of enum vhost_change.  Runs on the event
     * thread.  Calls are coalesced: however fast a guest toggles, a port's
     * owner hears of it at most about 100 times a second.  May be NULL. */
    void (*changed)(void *aux, unsigned int what);

    /* A guest migrates, to elsewhere or to here, and what was counted for it
     * goes with it (DEVICE_STATE).  'values' are counters of the embedder's
     * choice; it must not change what their indexes mean.  save() fills in
     * some of them, all being 0 before; load() gets those that were saved
     * elsewhere, of which none is above 2^60.  Both run on the event thread,
     * and must not take a lock under which anybody waits for it.  May be
     * NULL. */
    void (*save)(void *aux, uint64_t values[VHOST_STATE_VALUES]);
    void (*load)(void *aux, const uint64_t values[VHOST_STATE_VALUES]);
};

/* Bits that are for the embedding program to decide about: the virtio feature
 * that <linux/virtio_config.h> lacks on some systems, and protocol features
 * (vhost-user, "Protocol features"). */
#define VHOST_F_RING_RESET 40
#define VHOST_PROTOCOL_F_PAGEFAULT 8
#define VHOST_PROTOCOL_F_INFLIGHT_SHMFD 12
#define VHOST_PROTOCOL_F_RESET_DEVICE 13
#define VHOST_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define VHOST_PROTOCOL_F_DEVICE_STATE 19

/* What a front end may choose from. */
struct vhost_offer {
    uint64_t features;          /* Virtio features, with
                                 * VHOST_USER_F_PROTOCOL_FEATURES. */
    uint64_t tolerated;         /* Virtio features that are not offered, but
                                 * taken from a guest that has them from
                                 * elsewhere. */
    uint64_t protocol_features;
    unsigned int queue_pairs;   /* What GET_QUEUE_NUM answers: 1 to the port's
                                 * 'max_queue_pairs'. */
};

/* Who may connect to a server's socket.  What is not set stays as the umask and
 * our own user make it. */
struct vhost_socket_access {
    bool set_uid, set_gid, set_mode;
    uid_t uid;
    gid_t gid;
    mode_t mode;                /* Permission bits. */
};

struct vhost_port_config {
    const char *name;           /* For the log.  Copied. */
    enum vhost_role role;
    const char *path;           /* Socket.  Copied.  NULL: none yet. */
    struct vhost_socket_access access;  /* Of a server's. */
    struct vhost_offer offer;   /* To begin with. */
    unsigned int max_queue_pairs;   /* 1...VHOST_MAX_QUEUE_PAIRS. */
    const struct vhost_port_ops *ops;   /* NULL, or valid as long as the
                                         * port. */
    void *aux;                  /* For 'ops'. */
};

/* Everything this library is able to honour.  What is offered and tolerated
 * must be subsets. */
extern const uint64_t vhost_supported_features;
extern const uint64_t vhost_supported_protocol_features;

/* Creates a port on 'loop' and starts listening or connecting.
 *
 * Returns 0 and stores the port in '*portp'.  Where the port cannot exist at
 * all returns a positive errno value and stores in '*errorp' a sentence (NULL
 * if out of memory), which the caller frees: EINVAL for a configuration that
 * is wrong in itself, ENAMETOOLONG for a path that does not fit in sun_path,
 * ENOMEM.  What may mend itself (a socket that is in use, a missing directory)
 * is no error here: it is retried and shown in vhost_port_info.error.
 *
 * Control threads.  Waits for the event thread. */
int vhost_port_create(struct vhost_loop *, const struct vhost_port_config *,
                      struct vhost_port **portp, char **errorp);

/* Disconnects, unlinks a server's socket and frees 'port'.  No thread may be
 * in ring.h with one of its queues.  No callback runs after the return.
 *
 * Control threads.  Waits for the event thread. */
void vhost_port_destroy(struct vhost_port *);

/* Gives 'port' another socket path, or none (NULL); the front end on the old
 * one is disconnected.  Errors as for vhost_port_create(), on which the old
 * path stays in use.  A path equal to the current one changes nothing.
 *
 * Control threads.  Waits for the event thread. */
int vhost_port_set_path(struct vhost_port *, const char *path, char **errorp);

/* Changes what 'port' offers, from the next connection on.  Returns 0, or
 * EINVAL if 'offer' is not within what is supported.
 *
 * Control threads. */
int vhost_port_set_offer(struct vhost_port *, const struct vhost_offer *offer);

/* Changes who may connect to a server's socket, at once.  What cannot be
 * changed is shown in vhost_port_info.access_error.
 *
 * Control threads.  Waits for the event thread. */
void vhost_port_set_access(struct vhost_port *,
                           const struct vhost_socket_access *access);

/* Sets the number of sender slots (see ring.h), 1...VHOST_MAX_SENDERS.  Those
 * from 'n_own' on, if that is less than 'n', are never used but with
 * 'concurrent' set, and while they are the others are neither: so a ring that
 * only one of the first 'n_own' sends to needs no lock otherwise.  No thread
 * may be in ring.h with a sender of 'port' meanwhile.
 *
 * Control threads.  Waits for the event thread. */
int vhost_port_set_senders(struct vhost_port *, unsigned int n,
                           unsigned int n_own);

/* The queue that receives what the guest sends on queue pair 'pair' (the vring
 * 2 * pair + 1), 0 <= pair < max_queue_pairs; valid until the port is
 * destroyed.  A queue exists whether or not a guest is connected, so that a
 * caller may keep the pointer.  NULL if out of memory or range. */
struct vhost_rxq *vhost_port_rxq(struct vhost_port *, unsigned int pair);

/* Sender slot 'slot', 0 <= slot < n of vhost_port_set_senders(); valid until
 * that is called again.  NULL if out of range. */
struct vhost_sender *vhost_port_sender(struct vhost_port *, unsigned int slot);

/* Closes the current connection, as if the front end had gone, and returns
 * true, or false if there is none.  When it returns the connection is gone; a
 * server waits for another one, and a client looks for one as usual.
 *
 * Control threads.  Waits for the event thread. */
bool vhost_port_disconnect(struct vhost_port *);

/* Takes a MAC address for which SEND_RARP asked to announce a migrated guest
 * (vhost-user, "VHOST_USER_SEND_RARP").  Returns false if there is none. */
bool vhost_port_take_rarp(struct vhost_port *, uint8_t mac[6]);

/* State. */

enum vhost_state {
    VHOST_S_IDLE,               /* No path. */
    VHOST_S_WAITING,            /* Listening or trying to connect. */
    VHOST_S_CONNECTED,          /* Front end is there, guest's driver not. */
    VHOST_S_READY,              /* At least one ring is started. */
};
const char *vhost_state_to_string(enum vhost_state);

/* Why a ring is or was broken by its guest, or a packet was not delivered for
 * reasons that only the ring knows.  Kept per vring, never reset. */
enum vhost_counter {
    /* Guest errors: the ring stops until the guest resets it. */
    VHOST_C_BAD_AVAIL_IDX,      /* Jumped by more than the ring's size. */
    VHOST_C_BAD_HEAD,           /* Head or next index outside the ring. */
    VHOST_C_BAD_CHAIN,          /* Loop, or longer than allowed. */
    VHOST_C_BAD_INDIRECT,       /* Table's size, nesting or flags. */
    VHOST_C_BAD_ADDRESS,        /* Not in the guest's memory. */
    VHOST_C_BAD_LENGTH,         /* Zero, or too short for the header. */
    VHOST_C_BAD_DIRECTION,      /* Readable where writable is due, or v.v. */
    VHOST_C_FAULT,              /* Memory was taken away (SIGBUS). */
    VHOST_C_SLOW_CALL,          /* Calls take long, again and again. */
#define VHOST_C_FIRST_SOFT VHOST_C_TOO_MANY_SEGS
    /* Packets lost, ring goes on. */
    VHOST_C_TOO_MANY_SEGS,      /* Legal, but more than a burst holds. */
    VHOST_C_TOO_BIG,            /* Does not fit the guest's buffers. */
    VHOST_C_DISCARDED,          /* Sent on a ring that is not enabled. */
    VHOST_C_CRASH_LOST,         /* Taken by a process that was killed while it
                                 * did that (packed rings only). */
    /* Not losses. */
    VHOST_C_NOTIFICATIONS,      /* Calls sent to the guest, but for the one
                                 * at each start. */
    VHOST_C_SUPPRESSED,         /* Calls the guest did not ask for. */
    VHOST_C_NOTIFY_ERRORS,      /* Calls that could not be sent. */
    VHOST_C_OFFLOADED,          /* Calls handed to the notifier.  Those handed
                                 * over before it comes to send one are sent
                                 * as one. */
    VHOST_C_CONTENTION,         /* Waits for another sender. */
    VHOST_C_IOTLB_HITS,         /* Blocks found in a vIOMMU's table.  Buffers
                                 * that follow in the same one do not count. */
    VHOST_C_IOTLB_MISSES,       /* Bursts that ended because a translation was
                                 * not known. */
    VHOST_C_IOTLB_AHEAD,        /* Translations asked for before that. */
    VHOST_N_COUNTERS
};
const char *vhost_counter_to_string(enum vhost_counter);

struct vhost_vring_info {
    bool started;               /* SET_VRING_KICK seen, not stopped since. */
    bool enabled;
    bool broken;                /* By the guest; see 'counters'. */
    bool packed;
    bool has_call;              /* Guest wants interrupts at all. */
    uint32_t size;              /* Entries, 0 before SET_VRING_NUM. */
    uint16_t avail_idx;         /* Next entry that we shall take. */
    uint16_t used_idx;          /* Next entry that we shall give back. */
    uint16_t backlog;           /* Entries that waited after the last burst. */
    uint64_t counters[VHOST_N_COUNTERS];
};

struct vhost_region_info {
    uint64_t guest_addr;        /* Guest-physical. */
    uint64_t size;              /* Bytes. */
    uint64_t page_size;         /* Bytes. */
    int numa;                   /* -1: not known. */
};

/* Postcopy migration of a guest to here. */
enum vhost_postcopy_state {
    VHOST_POSTCOPY_NONE,
    VHOST_POSTCOPY_ADVISED,     /* One may come. */
    VHOST_POSTCOPY_RUNNING,     /* Pages may be missing. */
};

/* What kind of thing vhost_port_info.error tells. */
enum vhost_trouble {
    VHOST_T_NONE,
    VHOST_T_NO_SOCKET,          /* Client: no such file. */
    VHOST_T_NO_LISTENER,        /* Client: nobody listens on the socket. */
    VHOST_T_NOT_A_SOCKET,       /* Both: another kind of file is there. */
    VHOST_T_DENIED,             /* Client: no permission. */
    VHOST_T_IN_USE,             /* Server: another process listens there. */
    VHOST_T_NOT_VHOST_USER,     /* The peer said what is no vhost-user. */
    VHOST_T_OTHER,
};

struct vhost_port_info {
    enum vhost_role role;
    enum vhost_state state;
    char path[VHOST_PATH_MAX + 1];
    char error[256];            /* Why not connected or ready; "" if fine. */
    enum vhost_trouble trouble; /* The same for programs. */
    bool listening;             /* The socket's file is this port's own: */
    dev_t socket_dev;
    ino_t socket_ino;
    char access_error[160];     /* Why its owner or mode is not as wanted, ""
                                 * if it is. */
    uint64_t features;          /* Negotiated; 0 before SET_FEATURES. */
    uint64_t protocol_features; /* Negotiated. */
    struct vhost_offer offer;   /* To the next front end. */
    bool offer_pending;         /* The present one was offered another. */
    unsigned int n_vrings;      /* Highest vring used so far, plus 1. */
    unsigned int n_queue_pairs; /* Pairs of started rings, at least 1; grows
                                 * while a front end is connected, and is kept
                                 * after it goes. */
    unsigned int n_enabled_pairs;
    unsigned int n_regions;
    uint16_t mtu;               /* Of NET_SET_MTU; 0: not told. */
    int numa;                   /* Of the guest's memory; -1: not known. */
    char record[256];           /* File of its crash records, "" if none. */
    char record_error[128];     /* Why there is none, "" if none is needed. */
    pid_t peer_pid;             /* 0: none. */
    uint64_t n_connects, n_disconnects;     /* Since creation. */
    uint64_t n_link_changes;    /* To and from VHOST_S_READY. */
    uint64_t n_messages;        /* Received on all connections, */
    uint64_t n_messages_before; /* on those before the last one. */
    uint64_t n_protocol_errors; /* Messages that cost a connection. */
    uint64_t n_stops;           /* Handshakes with the polling threads. */
    enum vhost_postcopy_state postcopy;
    uint64_t n_postcopy_pages;  /* That were waited for, of all migrations. */
    int64_t postcopy_wait_ms;   /* So long for the present one; 0: none. */
};

/* Takes a snapshot.  Any thread but a polling one. */
void vhost_port_get_info(struct vhost_port *, struct vhost_port_info *);

struct vhost_iommu_info {
    bool active;                /* The guest has negotiated it. */
    unsigned int n_entries;     /* Blocks in the table. */
    uint64_t n_asked;           /* Misses sent, updates and invalidations */
    uint64_t n_updates;         /* received, since the port's creation. */
    uint64_t n_invalidations;
};

/* Takes a snapshot of the translations of 'port' and returns 'active'.  Any
 * thread but a polling one. */
bool vhost_port_get_iommu(struct vhost_port *, struct vhost_iommu_info *);

/* Takes a snapshot of vring 'idx' (even: guest receives, odd: guest sends).
 * Returns false if neither a guest nor vhost_port_rxq() ever used it.  Never
 * reads guest memory. */
bool vhost_port_get_vring(struct vhost_port *, unsigned int idx,
                          struct vhost_vring_info *);

/* Stores up to 'max' memory regions; returns how many there are. */
unsigned int vhost_port_get_regions(struct vhost_port *,
                                    struct vhost_region_info *,
                                    unsigned int max);

/* A memory region, and the file that it is in. */
struct vhost_memory_info {
    struct vhost_region_info region;
    uint64_t resident;          /* Bytes that the kernel has pages for. */
    bool exact;                 /* 'resident' is no estimate and, of huge
                                 * pages, no lower bound. */
    dev_t dev;                  /* Of the file. */
    ino_t ino;
    uint64_t offset;            /* In the file, of the region. */
    char file[VHOST_FILE_NAME]; /* Its name, as far as it can be printed. */
};

/* Stores up to 'max' memory regions; returns how many there are.  May take
 * some tens of milliseconds.  Any thread but a polling one and lib/vhost's
 * own. */
unsigned int vhost_port_get_memory(struct vhost_port *,
                                   struct vhost_memory_info *,
                                   unsigned int max);

/* A line of a port's log: a message of the vhost-user protocol and what became
 * of it, or an event of its connections. */
enum vhost_line_kind {
    VHOST_LINE_EVENT,
    VHOST_LINE_RECEIVED,        /* From the front end, with the answer. */
    VHOST_LINE_SENT,            /* Of our own accord. */
};

struct vhost_line {
    uint64_t number;            /* Grows by one: lines that were pushed out, or
                                 * counted elsewhere, leave gaps. */
    uint64_t n;                 /* It stands for so many, and is the last. */
    int64_t time_ms;            /* Since 1970. */
    enum vhost_line_kind kind;
    uint32_t took_ms;           /* From the message to its answer. */
    char name[32];              /* Of the message. */
    char text[200];             /* What it says, or what happened. */
    char outcome[160];          /* Of the message. */
};
#define VHOST_MAX_LINES 128

/* Stores the last messages and events of 'port', in their order, in 'lines'
 * and returns their number.  Addresses of the front end's are not told.  Any
 * thread but a polling one. */
unsigned int vhost_port_get_log(struct vhost_port *,
                                struct vhost_line lines[VHOST_MAX_LINES]);

/* True if vring 'idx' is started and enabled.  Cheap, any thread. */
bool vhost_port_vring_enabled(const struct vhost_port *, unsigned int idx);

/* Why PAGEFAULT is not offered, whatever the port's offer, or NULL.  The
 * answer may change. */
const char *vhost_postcopy_obstacle(void);

/* Names of bits, e.g. "MRG_RXBUF"; NULL for a bit without a name. */
const char *vhost_feature_name(unsigned int bit);
const char *vhost_protocol_feature_name(unsigned int bit);

#endif /* vhost.h */
