/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A recording: a file of one JSON object per line, which the man page
 * describes.  The first line is a header, every other one an event, and the
 * last event is EVENT_END. */

#ifndef SESSION_RECORDING_H
#define SESSION_RECORDING_H 1

#include "session/message.h"

#define RECORDING_VERSION 1u
#define MAX_RINGS 256u
#define MAX_RING_SIZE 32768u

struct chain_desc {
    uint32_t id;                /* Its place in the ring or table. */
    uint32_t len;
    uint64_t addr;
    uint16_t flags;
};

/* What the driver offered: the descriptors of one chain, never what is in the
 * buffers but the network header. */
struct chain {
    uint32_t id;                /* Head, or packed rings: the buffer's id. */
    bool late;                  /* Read only after the device had used it. */
    bool indirect;
    unsigned int n;
    struct chain_desc table;    /* If indirect: the ring's descriptor. */
    struct chain_desc *descs;
    unsigned int header_len;    /* 0: nothing but zeros. */
    uint8_t header[12];
};

struct used_entry {
    uint32_t id;
    uint32_t len;
};

enum event_kind {
    EVENT_CONNECT,              /* Both sides are there. */
    EVENT_CLOSE,                /* One of them hung up. */
    EVENT_MESSAGE,
    EVENT_CHANNEL,              /* A message on the back end's channel. */
    EVENT_START,                /* A ring that can be followed. */
    EVENT_OFFER,                /* Chains that became available at once. */
    EVENT_USED,
    EVENT_END,
    N_EVENTS,
};

struct event {
    enum event_kind kind;
    unsigned int line;          /* In the file. */
    uint64_t t;                 /* Microseconds since the first EVENT_CONNECT,
                                 * by and large. */
    bool front;                 /* The front end sent it or hung up. */
    struct message msg;

    /* Rings. */
    unsigned int ring;
    unsigned int size;
    bool packed;
    uint32_t avail, used_idx;   /* EVENT_START: indexes at that time. */
    uint32_t at;                /* Index of the first chain or entry. */
    unsigned int n;
    struct chain *chains;
    struct used_entry *used;
};

struct recording {
    const char *path;
    char *front_end, *back_end, *note;      /* What was recorded. */
    unsigned int n;
    struct event *events;
};

/* What was noted of a ring, for EVENT_END. */
struct ring_totals {
    unsigned int ring;
    uint64_t chains;            /* That were offered. */
    uint64_t recorded;
    uint64_t late;              /* Recorded, but see struct chain. */
    uint64_t missed;            /* Too late to see anything. */
    uint64_t bad;               /* No chain of the driver's could be so. */
};

/* Writes to the standard output. */
void recording_write_header(const char *front_end, const char *back_end,
                            const char *note);
void recording_write(const struct event *);
void recording_write_end(uint64_t t, uint64_t messages, uint64_t left_out,
                         const struct ring_totals[], unsigned int n);

/* Reads a whole recording; ends the program if it is none or damaged. */
void recording_read(struct recording *, const char *path);
void recording_free(struct recording *);

#endif /* session/recording.h */
