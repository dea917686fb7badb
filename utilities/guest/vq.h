/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The driver's side of a virtqueue.  What all ring formats have in common is
 * in vq.c: starting and stopping by messages, the book of chains that the
 * device has, batches of used buffers (IN_ORDER).  A format is a struct
 * fe_vq_ops (vq-split.c, vq-packed.c).  Everything in the ring may also be
 * written directly, for who wants to break it.
 *
 * Reference: virtio 1.2, sections 2.7 (split virtqueues) and 2.8 (packed). */

#ifndef GUEST_VQ_H
#define GUEST_VQ_H 1

#include "guest/frontend.h"

struct fe_buf {
    uint64_t addr;              /* Guest address. */
    uint32_t len;
    bool in;                    /* For the device to write to. */
};

struct fe_chain {
    struct fe_buf *bufs;
    unsigned int n;
    unsigned int allocated;     /* Room in 'bufs'. */
    unsigned int n_descs;       /* Descriptors in the ring. */
    uint32_t room;              /* Bytes for the device to write to. */
    bool busy;                  /* The device has it. */
    bool indirect;
    uint64_t token;             /* The driver's own. */

    /* Packed rings: the first descriptor, but for avail and used bits. */
    struct vring_packed_desc first;
};

struct fe_vq;

/* A ring format.  Heads are what identifies a chain: less than 'size'. */
struct fe_vq_ops {
    /* Takes guest memory from region 'r' and sets the three addresses; makes
     * an empty ring of it. */
    void (*layout)(struct fe_vq *, unsigned int r);
    void (*reset)(struct fe_vq *);

    /* As if 'n' descriptors (packed) or chains (split) had gone through the
     * empty ring. */
    void (*set_position)(struct fe_vq *, uint16_t n);

    /* Writes the descriptors of a chain of 'n' buffers, or one that refers to
     * the indirect table at guest address 'table', and offers it without
     * publishing.  There is room.  Its head is 'free_head'. */
    void (*add)(struct fe_vq *, const struct fe_buf[], unsigned int n,
                uint64_t table);
    void (*publish)(struct fe_vq *);

    /* Looks at the next used entry, if there is one, and does not judge it.
     * Goes past a chain of 'n_descs' descriptors that was used. */
    bool (*used)(const struct fe_vq *, uint32_t *id, uint32_t *len);
    void (*consume)(struct fe_vq *, unsigned int n_descs);

    /* Gives the descriptors of 'head' back to the driver. */
    void (*release)(struct fe_vq *, uint16_t head, unsigned int n_descs);

    /* fe_vq_recycle(), where chains need not get another head. */
    unsigned int (*recycle)(struct fe_vq *, unsigned int max,
                            uint64_t *bytes);

    /* Whether the device wants to be told of what was published since the
     * last call of this. */
    bool (*wants_kick)(struct fe_vq *);

    /* Asks for a call at the next used entry, or for none at all.  Returns
     * whether there is a used entry already. */
    bool (*want_calls)(struct fe_vq *, bool);

    /* See fe_vq_base(). */
    uint32_t (*base)(const struct fe_vq *);
};

extern const struct fe_vq_ops fe_vq_split;
extern const struct fe_vq_ops fe_vq_packed;

struct fe_vq {
    struct fe *fe;
    const struct fe_vq_ops *ops;
    unsigned int index;
    unsigned int size;
    bool in_order;
    uint64_t desc_addr, avail_addr, used_addr;  /* Guest addresses. */
    int kick_fd, call_fd, err_fd;
    bool log;                   /* What the device writes to the ring. */
    uint64_t log_addr;          /* Guest address; 0: 'used_addr'. */

    /* Split rings. */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx;         /* Next, not necessarily published. */
    uint16_t used_idx;          /* Next to look at. */
    uint16_t kick_idx;          /* 'avail_idx' when kicks were looked at. */

    /* Packed rings.  A position is a slot of the ring and a wrap counter. */
    struct vring_packed_desc *ring;
    struct vring_packed_desc_event *driver_event;
    struct vring_packed_desc_event *device_event;
    unsigned int avail_at, used_at;     /* Next to fill, to look at. */
    bool avail_wrap, used_wrap;
    struct vring_packed_desc *held;     /* First one not published, or NULL. */
    uint16_t held_flags;                /* That publish it. */
    unsigned int n_held;        /* Descriptors offered and not published. */
    unsigned int n_new;         /* Published since kicks were looked at. */

    /* All formats. */
    bool has_told;              /* 'told_base' was said. */
    uint32_t told_base;         /* By either side, the last time. */
    uint16_t free_head;         /* Of the next chain. */
    uint16_t *next_free;        /* Descriptors (split) or IDs (packed). */
    unsigned int n_free;        /* Descriptors. */
    struct fe_chain *chains;    /* By head. */
    bool calls;                 /* want_calls()'s latest. */
    uint64_t n_kicks;

    /* In order: the chain that the device has had longest, and a batch of used
     * ones that is not all taken. */
    uint16_t oldest;
    bool in_batch;
    uint32_t batch_last, batch_len;

    uint64_t table_addr;        /* Indirect tables, one per head. */
    unsigned int table_size;    /* Entries each. */
};

/* Lays out a ring of 'size' entries in region 'r' and makes its eventfds.
 * Says nothing on the socket.  The format is that of the accepted features. */
void fe_vq_init(struct fe_vq *, struct fe *, unsigned int index,
                unsigned int size, unsigned int r);
void fe_vq_destroy(struct fe_vq *);

/* Forgets all buffers, as a driver does at a reset. */
void fe_vq_reset(struct fe_vq *);

/* Messages that start it: NUM, BASE, ADDR, KICK, CALL, ERR; and ENABLE if
 * 'enable' and protocol features are in use.  All must be acknowledged. */
void fe_vq_start(struct fe_vq *, uint32_t base, bool enable);
uint64_t fe_vq_send_addr(struct fe_vq *);
uint64_t fe_vq_enable(struct fe_vq *, bool);

/* GET_VRING_BASE; returns the base. */
uint32_t fe_vq_stop(struct fe_vq *);

/* What SET_VRING_BASE has to say after an unexpected end: where the device
 * was, as far as the ring tells.  Both halves in a packed ring. */
uint32_t fe_vq_base(const struct fe_vq *);

/* The same of front ends that do not look, as QEMU with packed rings: the base
 * that was spoken of last, by either side. */
uint32_t fe_vq_old_base(const struct fe_vq *);

/* What SET_VRING_BASE and GET_VRING_BASE call a position of a packed ring. */
uint32_t fe_packed_base(unsigned int at, bool wrap);

/* Takes guest memory for indirect tables of 'n' entries. */
void fe_vq_use_indirect(struct fe_vq *, unsigned int r, unsigned int n);

/* Offers a chain (not yet published).  Returns its head or -1 if the ring has
 * no room for it. */
#define FE_INDIRECT 1u          /* In an indirect table. */
int fe_vq_add(struct fe_vq *, const struct fe_buf[], unsigned int n,
              unsigned int flags, uint64_t token);

/* Publishes all chains offered so far.  The same, and kicks the device if it
 * wants that. */
void fe_vq_publish(struct fe_vq *);
void fe_vq_publish_and_kick(struct fe_vq *);

/* Takes the next used entry.  Returns false if there is none.  Fails if the
 * entry is not of a chain that the device has, or too long. */
bool fe_vq_used(struct fe_vq *, uint16_t *head, uint32_t *len);

/* Takes up to 'max' used entries and offers their chains again as they are,
 * not published.  Adds their lengths to '*bytes'.  Returns their number. */
unsigned int fe_vq_recycle(struct fe_vq *, unsigned int max, uint64_t *bytes);

/* Asks for calls or none, see struct fe_vq_ops. */
bool fe_vq_want_calls(struct fe_vq *, bool);

/* Makes every descriptor and index start as if 'n' buffers (split rings) or
 * descriptors (packed rings) had gone through the ring, which is empty. */
void fe_vq_set_position(struct fe_vq *, uint16_t n);

/* Split rings only. */

/* Puts 'head' into the available ring without any check, not published. */
void fe_vq_avail_raw(struct fe_vq *, uint16_t head);

/* The used index that the device has published. */
uint16_t fe_vq_published_used(const struct fe_vq *);

/* Event suppression.  Event index: fields behind the rings. */
void fe_vq_set_flags(struct fe_vq *, uint16_t flags);
void fe_vq_set_used_event(struct fe_vq *, uint16_t);
uint16_t fe_vq_avail_event(const struct fe_vq *);

/* Packed rings only. */

/* Puts a descriptor into the next slot without any check, not published; the
 * bits of 'flags' for avail and used are inverted in what makes it available
 * (0: available). */
void fe_vq_desc_raw(struct fe_vq *, uint64_t addr, uint32_t len, uint16_t id,
                    uint16_t flags);

/* Event suppression: the driver's structure, and the device's. */
void fe_vq_set_driver_event(struct fe_vq *, uint16_t off_wrap,
                            uint16_t flags);
void fe_vq_device_event(const struct fe_vq *, uint16_t *off_wrap,
                        uint16_t *flags);

/* Eventfds: the counter, 0 if it was 0; a write of 1; until it is not 0. */
uint64_t fe_event_take(int fd);
void fe_event_signal(int fd);
bool fe_event_wait(int fd, int ms);

/* Splits 'len' bytes at 'addr' into 'n' buffers of nearly equal length (at
 * least 1 byte each); returns the number of buffers. */
unsigned int fe_split(struct fe_buf *, uint64_t addr, uint32_t len,
                      unsigned int n, bool in);

/* Copies what lies in the buffers of chain 'head' that the device writes, from
 * 'offset' of them on. */
void fe_chain_read(const struct fe_vq *, uint16_t head, size_t offset,
                   void *, size_t len);

#endif /* guest/vq.h */
