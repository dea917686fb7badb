/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What the recorder knows of the device from the messages that pass: guest
 * memory, which it maps read-only, and rings, whose indexes it follows.  It
 * never writes there, and neither side waits for it; so a chain may be used,
 * or be gone, by the time it looks.  The record says which. */

#ifndef SESSION_WATCH_H
#define SESSION_WATCH_H 1

#include "session/recording.h"

struct watch;

/* At most 'max_chains' chains of each ring are recorded after each of its
 * starts. */
struct watch *watch_new(unsigned int max_chains);
void watch_free(struct watch *);

/* Gives memory files among 'm's descriptors, which are 'fds', their
 * numbers. */
void watch_number_files(struct watch *, struct message *m, const int fds[]);

/* Call these before a front end's message is passed on, after it was
 * recorded; and when a back end's has come, before it is recorded. */
void watch_front(struct watch *, const struct message *, const int fds[],
                 uint64_t t);
void watch_back(struct watch *, const struct message *, uint64_t t);

/* Looks at all rings and records what is new.  Returns false if there is no
 * ring to be followed. */
bool watch_sample(struct watch *, uint64_t t);

/* Goes on counting, but records nothing of rings any more. */
void watch_mute(struct watch *);

/* The connection has ended: forgets rings and memory. */
void watch_close(struct watch *);

/* Totals of the rings that were ever started. */
unsigned int watch_totals(const struct watch *,
                          struct ring_totals[MAX_RINGS]);

#endif /* session/watch.h */
