/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The destination of a postcopy migration: the guest runs here while most of
 * its memory is still elsewhere.  Whoever touches a page that has not come
 * sleeps in the kernel until the front end, which is told of it by the
 * userfaultfd that it got from us, has fetched the page; for as long as the
 * front end likes.
 *
 * So no thread that serves anybody else touches such a page.  While a
 * migration runs, a port knows which pages have come (struct vhost_mapping,
 * 'resident'), and whoever needs another one says so and goes on with other
 * things: a packet waits in its ring, and a ring whose own pages are missing
 * does not start.  A helper thread of the port's own touches what was asked
 * for, and may hang there.  Pages that have come stay; a front end that takes
 * them away again can stall us, which is a part of the trust that postcopy
 * takes anyway: the userfaultfd acts on all of this process's memory.
 *
 * For lib/vhost only.
 */

#ifndef VHOST_POSTCOPY_H
#define VHOST_POSTCOPY_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

struct vhost_port;
struct vhost_port_info;
struct vhost_reply;
struct vhost_vring;

/* A migration of one port.  Lives on while its helper thread does. */
struct vhost_postcopy;

/* Messages, see struct vhost_handler. */
const char *vhost_postcopy_advise(struct vhost_port *, struct vhost_reply *);
const char *vhost_postcopy_listen(struct vhost_port *, struct vhost_reply *);
void vhost_postcopy_end_prepare(struct vhost_port *);
int vhost_postcopy_end_stop(const struct vhost_port *);
const char *vhost_postcopy_end(struct vhost_port *, struct vhost_reply *);

/* SET_MEM_TABLE after POSTCOPY_LISTEN: 1. the memory is mapped and not
 * touched; 2. ask() answers where it is; 3. the front end, which is then ready
 * to serve faults, acknowledges that by a SET_MEM_TABLE without a table, at
 * which the memory is registered with the userfaultfd. */

/* True if guest memory must not be touched when it is mapped. */
bool vhost_postcopy_is_listening(const struct vhost_port *);

/* True if the acknowledgement is due, or the registration. */
bool vhost_postcopy_is_asking(const struct vhost_port *);

void vhost_postcopy_ask(struct vhost_port *, struct vhost_reply *);
void vhost_postcopy_ack_prepare(struct vhost_port *);
const char *vhost_postcopy_ack(struct vhost_port *);

/* The connection ends: forgets what was to be called back.  And, when all
 * gates are closed: ends the migration, if there is one. */
void vhost_postcopy_cancel(struct vhost_port *);
void vhost_postcopy_release(struct vhost_port *);

/* The migration whose pages may be missing, or NULL. */
struct vhost_postcopy *vhost_postcopy_active(const struct vhost_port *);

/* True if all of the ring itself has come.  Otherwise asks for it, and
 * port->pages_task runs when there is news. */
bool vhost_postcopy_has_ring(struct vhost_postcopy *,
                             const struct vhost_vring *);

/* No ring waits any more. */
void vhost_postcopy_no_rings_wait(struct vhost_postcopy *);

/* Any thread: true if the first of the '*len' bytes at 'host', which are in
 * 'mem', have come; cuts '*len' to those.  Otherwise asks for them, without
 * waiting, and makes '*len' 0. */
bool vhost_postcopy_have(struct vhost_postcopy *, const struct vhost_mem *mem,
                         const uint8_t *host, uint64_t *len);

/* Fills in what 'info' says of the migration.  With port->mutex held. */
void vhost_postcopy_get_info(const struct vhost_port *,
                             struct vhost_port_info *);

#endif /* postcopy.h */
