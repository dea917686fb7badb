/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the player's parts share: play.c goes through the events and keeps the
 * result, dialogue.c says and hears messages. */

#ifndef SESSION_PLAYER_H
#define SESSION_PLAYER_H 1

#include "session/driver.h"
#include "session/lane.h"
#include "session/play.h"

#define MAX_REMARKS 20u

/* Texts for the result; those beyond MAX_REMARKS are only counted. */
struct remarks {
    unsigned int n;
    char *texts[MAX_REMARKS];
};

struct player {
    const struct play_options *o;
    struct recording recording;
    struct endpoint back;
    struct stage stage;
    struct ring rings[MAX_RINGS];
    struct fe fe;               /* For its socket. */
    struct lane in;
    struct fe channel;          /* The back end's channel, our end. */
    struct lane channel_in;

    /* Features: what the recorded back end offered, this one offers, and was
     * accepted. */
    uint64_t offered_then, offered, features;
    uint64_t protocol_offered_then, protocol_offered, protocol;
    /* SET_VRING_BASE after GET_VRING_BASE: what was answered. */
    struct base { bool valid; uint32_t then, now; } bases[MAX_RINGS];
    unsigned int unasked[64];   /* Answers that will not come, by request. */

    const struct event *event;  /* Being played. */
    bool over;                  /* Cannot go on. */
    uint32_t frame_number;
    uint64_t start_us, late_us;
    struct remarks failures, differences;
    uint64_t n_sent, n_skipped, n_answers, n_channel;
};

/* Notes a failure of the back end; the second kind ends the play. */
void play_fail(void *player, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void play_fail_for_good(struct player *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Notes that the back end is another one than that of the recording. */
void play_differs(struct player *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Looks after rings and the back end's channel for up to 'us'
 * microseconds. */
void play_serve(struct player *, unsigned int us);

/* Waits until the back end has used what the guest sent. */
void play_drain(struct player *);

/* A deadline from now, in fe_now_us()'s time. */
long long int play_deadline(const struct player *);

/* dialogue.c. */

/* Sends a recorded message of the front end, as far as it fits this back
 * end. */
void dialogue_send(struct player *, const struct message *);

/* Waits for the answer to compare with a recorded one. */
void dialogue_expect(struct player *, const struct message *);

/* Answers what has come in the back end's channel. */
void dialogue_channel(struct player *);

/* Forgets what was negotiated: for a new connection. */
void dialogue_reset(struct player *);

#endif /* session/player.h */
