/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * What other sides of ring-bench need of librte_vhost's: its packets, so that
 * all copy to and from the same kind of buffer. */

#ifndef BENCH_STOCK_H
#define BENCH_STOCK_H 1

struct rte_mempool;

/* The mempool for frames of 'size' bytes.  Replaced when a frame needs another
 * one; all packets must have been freed. */
struct rte_mempool *stock_mempool(unsigned int size);

#endif /* bench/stock.h */
