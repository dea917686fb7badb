/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What is the same in all ring formats and too hot to call: checking used
 * entries against the book, with batches (IN_ORDER) taken apart, and offering
 * used chains again.  Only vq.c and the formats include this. */

#ifndef GUEST_VQ_FORMAT_H
#define GUEST_VQ_FORMAT_H 1

#include "guest/fail.h"
#include "guest/vq.h"

typedef bool fe_used_func(const struct fe_vq *, uint32_t *id, uint32_t *len);
typedef void fe_consume_func(struct fe_vq *, unsigned int n_descs);
typedef void fe_again_func(struct fe_vq *, struct fe_chain *, uint16_t head);

/* The chain that a used entry names; the device must have it. */
static inline struct fe_chain *
fe_chain_of(const struct fe_vq *vq, uint32_t id)
{
    FE_CHECK_LT(id, vq->size);
    if (!vq->chains[id].busy) {
        fe_failed(__FILE__, __LINE__, "ring %u: a used entry gives back "
                  "chain %u, which the device does not have", vq->index, id);
    }
    return &vq->chains[id];
}

/* In order, heads go round the ring by the number of descriptors. */
static inline uint16_t
fe_next_head(const struct fe_vq *vq, uint16_t head, unsigned int n_descs)
{
    unsigned int next = head + n_descs;

    return next < vq->size ? next : next - vq->size;
}

/* In order, one used entry may stand for all chains up to the one it names;
 * those before it count as used completely. */
static inline bool
fe_used_in_order(struct fe_vq *vq, fe_used_func *used, uint32_t *id,
                 uint32_t *len)
{
    const struct fe_chain *chain;

    if (!vq->in_batch) {
        if (!used(vq, &vq->batch_last, &vq->batch_len)) {
            return false;
        }
        fe_chain_of(vq, vq->batch_last);
    }
    *id = vq->oldest;
    chain = fe_chain_of(vq, *id);
    vq->in_batch = *id != vq->batch_last;
    *len = vq->in_batch ? chain->room : vq->batch_len;
    vq->oldest = fe_next_head(vq, *id, chain->n_descs);
    return true;
}

/* Takes the next used chain out of the ring; NULL if there is none. */
static inline struct fe_chain *
fe_next_used(struct fe_vq *vq, fe_used_func *used, fe_consume_func *consume,
             uint32_t *id, uint32_t *len)
{
    struct fe_chain *chain;

    if (!(vq->in_order ? fe_used_in_order(vq, used, id, len)
          : used(vq, id, len))) {
        return NULL;
    }
    chain = fe_chain_of(vq, *id);
    FE_CHECK_LE(*len, chain->room);
    consume(vq, chain->n_descs);
    return chain;
}

/* For 'recycle' of struct fe_vq_ops; the functions are the format's. */
static inline __attribute__((always_inline)) unsigned int
fe_recycle(struct fe_vq *vq, unsigned int max, uint64_t *bytes,
           fe_used_func *used, fe_consume_func *consume, fe_again_func *again)
{
    struct fe_chain *chain;
    uint64_t sum = 0;
    uint32_t id, len;
    unsigned int n;

    for (n = 0; n < max; n++) {
        chain = fe_next_used(vq, used, consume, &id, &len);
        if (!chain) {
            break;
        }
        sum += len;
        again(vq, chain, id);
    }
    *bytes += sum;
    return n;
}

#endif /* guest/vq-format.h */
