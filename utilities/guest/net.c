/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Frames in virtqueues: see net.h. */

#include "guest/net.h"

#include <string.h>

#include "guest/fail.h"

size_t
fe_net_header_len(const struct fe *fe)
{
    return fe->features & (FE_F_MRG | FE_F_VERSION_1) ? 12 : 10;
}

void
fe_net_write(const struct fe *fe, uint64_t addr,
             const struct virtio_net_hdr *hdr, const void *frame, size_t len)
{
    struct virtio_net_hdr_mrg_rxbuf h;
    size_t hlen = fe_net_header_len(fe);

    memset(&h, 0, sizeof h);
    if (hdr) {
        h.hdr = *hdr;
    }
    fe_write(fe, addr, &h, hlen);
    fe_write(fe, addr + hlen, frame, len);
}

/* Notes buffer number 'i' of a frame. */
static void
note_head(uint16_t *heads, unsigned int i, unsigned int max_heads,
          uint16_t head)
{
    if (heads) {
        FE_CHECK_LT(i, max_heads);
        heads[i] = head;
    }
}

/* Takes the first buffer of a frame with the header in it.  Returns the number
 * of buffers that the frame has, 0 if there is none. */
static unsigned int
take_first(struct fe_vq *vq, struct virtio_net_hdr_mrg_rxbuf *h,
           uint16_t *head, uint32_t *len)
{
    size_t hlen = fe_net_header_len(vq->fe);

    if (!fe_vq_used(vq, head, len)) {
        return 0;
    }
    FE_CHECK_GE(*len, hlen);
    h->num_buffers = 1;
    fe_chain_read(vq, *head, 0, h, hlen);
    if (!(vq->fe->features & FE_F_MRG)) {
        if (vq->fe->lenient && !h->num_buffers) {
            h->num_buffers = 1; /* As it would be if it were set. */
        }
        FE_CHECK_EQ(h->num_buffers, 1);
    }
    FE_CHECK_GE(h->num_buffers, 1);
    return h->num_buffers;
}

/* Copies buffers 'i' to 'n' - 1 of a frame, of which buffer 0 is 'head' with
 * 'len' bytes, to 'frame'. */
static size_t
gather(struct fe_vq *vq, unsigned int n, uint16_t head, uint32_t len,
       uint8_t *frame, size_t max, uint16_t *heads, unsigned int max_heads)
{
    size_t skip = fe_net_header_len(vq->fe);
    size_t total = 0;

    for (unsigned int i = 0; i < n; i++) {
        if (i) {
            /* All buffers of a frame come at once. */
            FE_CHECK(fe_vq_used(vq, &head, &len));
            skip = 0;
        }
        FE_CHECK_LE(total + len - skip, max);
        fe_chain_read(vq, head, skip, frame + total, len - skip);
        total += len - skip;
        note_head(heads, i, max_heads, head);
    }
    return total;
}

long int
fe_net_take(struct fe_vq *vq, struct virtio_net_hdr_mrg_rxbuf *h, void *frame,
            size_t max, uint16_t *heads, unsigned int *n_heads,
            unsigned int max_heads)
{
    unsigned int n;
    uint16_t head;
    uint32_t len;

    memset(h, 0, sizeof *h);
    n = take_first(vq, h, &head, &len);
    if (!n) {
        return -1;
    }
    if (n_heads) {
        *n_heads = n;
    }
    return gather(vq, n, head, len, frame, max, heads, max_heads);
}

const uint8_t *
fe_net_look(struct fe_vq *vq, struct virtio_net_hdr_mrg_rxbuf *h, size_t *lenp,
            uint8_t *room, size_t max, uint16_t *heads, unsigned int *n_heads,
            unsigned int max_heads)
{
    size_t hlen = fe_net_header_len(vq->fe);
    const struct fe_chain *chain;
    uint16_t head;
    uint32_t len;

    *n_heads = take_first(vq, h, &head, &len);
    if (!*n_heads) {
        return NULL;
    }
    chain = &vq->chains[head];
    if (*n_heads == 1 && chain->n == 1) {
        note_head(heads, 0, max_heads, head);
        *lenp = len - hlen;
        return (uint8_t *) fe_ptr(vq->fe, chain->bufs[0].addr, len) + hlen;
    }
    *lenp = gather(vq, *n_heads, head, len, room, max, heads, max_heads);
    return room;
}
