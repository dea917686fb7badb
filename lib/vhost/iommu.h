/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A port behind a vIOMMU (VIRTIO_F_ACCESS_PLATFORM): what the event thread
 * does about translations.  It takes the front end's updates and
 * invalidations, and asks it for what is missing: for rings that are to start,
 * for polling threads that have met an unknown address, and, ahead of them,
 * for all buffers that the guest has made available.  The table itself is
 * iotlb.h's.
 *
 * Event thread only.  What polling threads do is in walk.c.
 */

#ifndef VHOST_IOMMU_H
#define VHOST_IOMMU_H 1

#include "iotlb.h"
#include "port.h"

struct vhost_reply;

/* Has 'port' use a vIOMMU, or not, as negotiated.  Returns false if out of
 * memory.  No ring runs. */
bool vhost_iommu_enable(struct vhost_port *, bool);

/* The table of translations, NULL if there is no vIOMMU. */
struct vhost_iotlb *vhost_iommu_table(const struct vhost_port *);

/* No translation is good any more: another memory map, no ring left.  All
 * gates must be closed. */
void vhost_iommu_flush(struct vhost_port *);

/* Uses the channel that SET_BACKEND_REQ_FD gave, or stops to. */
void vhost_iommu_use_channel(struct vhost_port *);
void vhost_iommu_drop_channel(struct vhost_port *);

/* The stages of IOTLB_MSG, see messages.h. */
void vhost_iommu_prepare(struct vhost_port *);
int vhost_iommu_stop(const struct vhost_port *);
vhost_result vhost_iommu_message(struct vhost_port *, struct vhost_reply *);

/* Where the 'len' bytes of a ring's part at 'iova' are here.  NULL if that is
 * not known (then '*wait' is set, and it is asked for), or not in one
 * piece. */
void *vhost_iommu_ring_part(struct vhost_port *, uint64_t iova, uint64_t len,
                            unsigned int perm, bool *wait);

/* Sends what was asked for. */
void vhost_iommu_ask(struct vhost_port *);

/* Serves polling threads that have met an unknown address. */
void vhost_iommu_serve(struct vhost_port *);

/* Looks, soon, for buffers whose translations are not known. */
void vhost_iommu_look_soon(struct vhost_port *);

/* Notes that ring's buffer needs the rights 'perm' at 'iova', which are not
 * known.  Returns false if there is no room for it now. */
bool vhost_iommu_want(struct vhost_port *, uint64_t iova, unsigned int perm);

/* lookahead.c: wants what is not known of the buffers that are available in
 * 'vr'.  Takes each lookup from '*budget' and stops at 0. */
void vhost_iommu_look_ahead(struct vhost_port *, struct vhost_vring *,
                            unsigned int *budget);

#endif /* iommu.h */
