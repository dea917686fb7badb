/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The driver's side of a virtqueue.  What all ring formats have in common is
 * in vq.c: starting and stopping by messages, the book of chains that the
 * device has.  A format is a struct fe_vq_ops (vq-split.c).  Everything in the
 * ring may also be written directly, for who wants to break it.
 *
 * Reference: virtio 1.2, section 2.7 (split virtqueues). */

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
    bool busy;                  /* The device has it. */
    uint64_t token;             /* The driver's own. */
};

struct fe_vq;

/* A ring format.  Heads are what identifies a chain: less than 'size'. */
struct fe_vq_ops {
    /* Takes guest memory from region 'r' and sets the three addresses; makes
     * an empty ring of it. */
    void (*layout)(struct fe_vq *, unsigned int r);
    void (*reset)(struct fe_vq *);

    /* Writes the descriptors of a chain of 'n' buffers, or one that refers to
     * the indirect table at guest address 'table', and offers it without
     * publishing.  There is room.  Returns the head. */
    uint16_t (*add)(struct fe_vq *, const struct fe_buf[], unsigned int n,
                    uint64_t table);
    void (*publish)(struct fe_vq *);

    /* Takes the next used entry, without looking at what it says. */
    bool (*used)(struct fe_vq *, uint32_t *id, uint32_t *len);

    /* Gives the descriptors of 'head' back to the driver. */
    void (*release)(struct fe_vq *, uint16_t head, unsigned int n_descs);

    /* Offers the chain 'head', just used, again as it is. */
    void (*recycle)(struct fe_vq *, uint16_t head);

    /* Whether the device wants to be told of what was published since the
     * last call of this. */
    bool (*wants_kick)(struct fe_vq *);

    /* Asks for a call at the next used entry, or for none at all.  Returns
     * whether there is a used entry already. */
    bool (*want_calls)(struct fe_vq *, bool);

    /* What SET_VRING_BASE has to say after an unexpected end. */
    uint32_t (*base)(const struct fe_vq *);
};

extern const struct fe_vq_ops fe_vq_split;

struct fe_vq {
    struct fe *fe;
    const struct fe_vq_ops *ops;
    unsigned int index;
    unsigned int size;
    uint64_t desc_addr, avail_addr, used_addr;  /* Guest addresses. */
    int kick_fd, call_fd, err_fd;

    /* Split rings. */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx;         /* Next, not necessarily published. */
    uint16_t used_idx;          /* Next to look at. */
    uint16_t kick_idx;          /* 'avail_idx' when kicks were looked at. */
    uint16_t *next_free;
    uint16_t free_head;

    /* All formats. */
    unsigned int n_free;        /* Descriptors. */
    struct fe_chain *chains;    /* By head. */
    bool calls;                 /* want_calls()'s latest. */
    uint64_t n_kicks;

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
uint16_t fe_vq_stop(struct fe_vq *);

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

/* Split rings only. */

/* Makes every descriptor and index start as if 'n' buffers had gone through
 * the ring. */
void fe_vq_set_position(struct fe_vq *, uint16_t n);

/* Puts 'head' into the available ring without any check, not published. */
void fe_vq_avail_raw(struct fe_vq *, uint16_t head);

/* The used index that the device has published. */
uint16_t fe_vq_published_used(const struct fe_vq *);

/* Event suppression.  Event index: fields behind the rings. */
void fe_vq_set_flags(struct fe_vq *, uint16_t flags);
void fe_vq_set_used_event(struct fe_vq *, uint16_t);
uint16_t fe_vq_avail_event(const struct fe_vq *);

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
