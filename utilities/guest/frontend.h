/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A vhost-user front end, that is what a VMM does on the socket and the memory
 * that it shares.  It has no code and no definition in common with lib/vhost,
 * so that a mistake there does not cancel out here, and it can do everything
 * wrong on purpose: messages of any size and number of descriptors, in pieces.
 * The guest's driver is in vq.h and net.h.
 *
 * Unit tests of lib/vhost and ovs-vhost-guest both stand on this.  Calls fail
 * (fe_failed()) where a well-behaved back end could not make them fail.
 *
 * Hosts: little-endian ones.
 *
 * Reference: the vhost-user specification of QEMU.
 */

#ifndef GUEST_FRONTEND_H
#define GUEST_FRONTEND_H 1

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Messages from the front end. */
enum fe_request {
    FE_GET_FEATURES = 1,
    FE_SET_FEATURES = 2,
    FE_SET_OWNER = 3,
    FE_RESET_OWNER = 4,
    FE_SET_MEM_TABLE = 5,
    FE_SET_LOG_BASE = 6,
    FE_SET_LOG_FD = 7,
    FE_SET_VRING_NUM = 8,
    FE_SET_VRING_ADDR = 9,
    FE_SET_VRING_BASE = 10,
    FE_GET_VRING_BASE = 11,
    FE_SET_VRING_KICK = 12,
    FE_SET_VRING_CALL = 13,
    FE_SET_VRING_ERR = 14,
    FE_GET_PROTOCOL_FEATURES = 15,
    FE_SET_PROTOCOL_FEATURES = 16,
    FE_GET_QUEUE_NUM = 17,
    FE_SET_VRING_ENABLE = 18,
    FE_SEND_RARP = 19,
    FE_NET_SET_MTU = 20,
    FE_SET_BACKEND_REQ_FD = 21,
    FE_IOTLB_MSG = 22,
    FE_POSTCOPY_ADVISE = 28,
    FE_POSTCOPY_LISTEN = 29,
    FE_POSTCOPY_END = 30,
    FE_GET_INFLIGHT_FD = 31,
    FE_SET_INFLIGHT_FD = 32,
    FE_RESET_DEVICE = 34,
    FE_GET_MAX_MEM_SLOTS = 36,
    FE_ADD_MEM_REG = 37,
    FE_REM_MEM_REG = 38,
    FE_SET_STATUS = 39,
    FE_GET_STATUS = 40,
    FE_SET_DEVICE_STATE_FD = 42,
    FE_CHECK_DEVICE_STATE = 43,
};

/* Bits of a header's flags. */
#define FE_VERSION 0x1u
#define FE_REPLY 0x4u
#define FE_NEED_REPLY 0x8u

#define FE_NOFD 0x100u          /* In SET_VRING_{KICK,CALL,ERR}'s payload. */

/* Protocol features, as masks. */
#define FE_P_MQ (UINT64_C(1) << 0)
#define FE_P_LOG_SHMFD (UINT64_C(1) << 1)
#define FE_P_RARP (UINT64_C(1) << 2)
#define FE_P_REPLY_ACK (UINT64_C(1) << 3)
#define FE_P_NET_MTU (UINT64_C(1) << 4)
#define FE_P_BACKEND_REQ (UINT64_C(1) << 5)
#define FE_P_PAGEFAULT (UINT64_C(1) << 8)
#define FE_P_INFLIGHT (UINT64_C(1) << 12)
#define FE_P_RESET_DEVICE (UINT64_C(1) << 13)
#define FE_P_MEM_SLOTS (UINT64_C(1) << 15)
#define FE_P_STATUS (UINT64_C(1) << 16)
#define FE_P_DEVICE_STATE (UINT64_C(1) << 19)

/* Virtio features, as masks. */
#define FE_BIT(N) (UINT64_C(1) << (N))
#define FE_F_CSUM FE_BIT(VIRTIO_NET_F_CSUM)
#define FE_F_GUEST_CSUM FE_BIT(VIRTIO_NET_F_GUEST_CSUM)
#define FE_F_MTU FE_BIT(VIRTIO_NET_F_MTU)
#define FE_F_GUEST_TSO4 FE_BIT(VIRTIO_NET_F_GUEST_TSO4)
#define FE_F_GUEST_TSO6 FE_BIT(VIRTIO_NET_F_GUEST_TSO6)
#define FE_F_GUEST_UFO FE_BIT(VIRTIO_NET_F_GUEST_UFO)
#define FE_F_HOST_TSO4 FE_BIT(VIRTIO_NET_F_HOST_TSO4)
#define FE_F_HOST_TSO6 FE_BIT(VIRTIO_NET_F_HOST_TSO6)
#define FE_F_MRG FE_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define FE_F_MQ FE_BIT(VIRTIO_NET_F_MQ)
#define FE_F_LOG_ALL FE_BIT(26)
#define FE_F_ANY_LAYOUT FE_BIT(VIRTIO_F_ANY_LAYOUT)
#define FE_F_INDIRECT FE_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define FE_F_EVENT_IDX FE_BIT(VIRTIO_RING_F_EVENT_IDX)
#define FE_F_PROTOCOL FE_BIT(30)
#define FE_F_VERSION_1 FE_BIT(VIRTIO_F_VERSION_1)
#define FE_F_IOMMU FE_BIT(VIRTIO_F_ACCESS_PLATFORM)
#define FE_F_PACKED FE_BIT(VIRTIO_F_RING_PACKED)
#define FE_F_IN_ORDER FE_BIT(VIRTIO_F_IN_ORDER)

struct fe_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
};

struct fe_vring_state {
    uint32_t index;
    uint32_t num;
};

struct fe_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

struct fe_mem_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t offset;
};

struct fe_mem_table {
    uint32_t n;
    uint32_t padding;
    struct fe_mem_region regions[16];   /* 8 at most are legal. */
};
#define FE_MEM_TABLE_SIZE(N) (8 + (N) * sizeof (struct fe_mem_region))

/* ADD_MEM_REG and REM_MEM_REG. */
struct fe_mem_reg {
    uint64_t padding;
    struct fe_mem_region region;
};

/* Guest memory. */

#define FE_MAX_REGIONS 16
#define FE_PAGE 4096u

struct fe_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t offset;            /* In the file. */
    int fd;
    uint8_t *map;               /* Here; 'size' bytes. */
    uint64_t brk;               /* Next byte that fe_alloc() gives. */
};

struct fe {
    int sock;                   /* -1: not connected. */
    uint64_t features;          /* Accepted by fe_negotiate(). */
    uint64_t offered;
    uint64_t protocol;
    uint64_t offered_protocol;
    bool lenient;               /* About what librte_vhost is known to do. */
    unsigned int n_regions;
    struct fe_region regions[FE_MAX_REGIONS];
    struct fe_iommu *iommu;     /* NULL: none.  See guest/iommu.h. */
};

/* Makes a memory file of 'size' bytes; 'flags' are memfd_create()'s.  The same
 * with a nameless file on the hugetlbfs mounted at 'dir'. */
int fe_memfd(uint64_t size, unsigned int flags);
int fe_huge_file(const char *dir, uint64_t size);

void fe_init(struct fe *);

/* Closes the socket if it is open. */
void fe_hang_up(struct fe *);

/* Hangs up and frees all memory. */
void fe_destroy(struct fe *);

/* Adds a region with a memory file of its own, or with 'fd' (that the region
 * then owns) from 'offset'. */
struct fe_region *fe_add_region(struct fe *, uint64_t guest_addr,
                                uint64_t size, uint64_t user_addr);
struct fe_region *fe_add_region_fd(struct fe *, uint64_t guest_addr,
                                   uint64_t size, uint64_t user_addr,
                                   int fd, uint64_t offset);
void fe_free_regions(struct fe *);

/* Frees the region that was added last, of which nothing is in use. */
void fe_remove_region(struct fe *);

/* Takes 'size' bytes of guest memory, in region 'r', aligned to 'align'. */
uint64_t fe_alloc(struct fe *, unsigned int r, uint64_t size, uint64_t align);

/* Where guest address 'addr' is in this process; fails if [addr, addr
 * + len) is not within one region.  And its user address. */
void *fe_ptr(const struct fe *, uint64_t addr, uint64_t len);
uint64_t fe_user_addr(const struct fe *, uint64_t addr);

/* Copies, also across regions. */
void fe_write(const struct fe *, uint64_t addr, const void *, size_t len);
void fe_read(const struct fe *, uint64_t addr, void *, size_t len);

/* Sockets. */

/* Connects to 'path', waiting up to 'ms' for somebody to listen there.
 * Returns false if nobody does. */
bool fe_connect(struct fe *, const char *path, int ms);

/* Makes a listening socket at 'path'; accepts from it, waiting up to 'ms'. */
int fe_listen(const char *path);
bool fe_accept(struct fe *, int listen_fd, int ms);

/* Messages. */

/* Sends 'len' bytes with descriptors 'fds' attached.  Returns false if the
 * peer has gone. */
bool fe_send_bytes(struct fe *, const void *, size_t len, const int fds[],
                   unsigned int n_fds);

/* Sends a whole message; 'flags' are or-ed to the version. */
bool fe_send_fds(struct fe *, uint32_t request, uint32_t flags,
                 const void *payload, size_t size, const int fds[],
                 unsigned int n_fds);
bool fe_send(struct fe *, uint32_t request, uint32_t flags,
             const void *payload, size_t size);

enum fe_got {
    FE_GOT_MESSAGE,
    FE_GOT_END,                 /* The peer closed the connection. */
    FE_GOT_NOTHING,             /* In this time. */
};

/* Receives one message; at most 'max' bytes of payload. */
enum fe_got fe_receive(struct fe *, struct fe_header *, void *payload,
                       size_t max, int ms);

/* Receives the reply to 'request' and returns its u64; fails if
 * there is none or if it is not well-formed. */
uint64_t fe_reply_u64(struct fe *, uint32_t request);
void fe_reply(struct fe *, uint32_t request, void *payload, size_t size);

/* GET_*: request without payload, u64 reply. */
uint64_t fe_get_u64(struct fe *, uint32_t request);

/* True if the peer closes the connection within 'ms'; replies that come
 * before are dropped. */
bool fe_closed(struct fe *, int ms);

/* Returns after the peer has processed all earlier messages (it has answered
 * a GET_FEATURES sent after them). */
void fe_sync(struct fe *);

/* True if a GET_FEATURES is answered within 'ms'. */
bool fe_alive(struct fe *, int ms);

/* Sends a message.  With REPLY_ACK negotiated asks for and returns the answer
 * (0: success), otherwise waits as fe_sync() does and returns 0. */
uint64_t fe_ask_fds(struct fe *, uint32_t request, const void *payload,
                    size_t size, const int fds[], unsigned int n_fds);
uint64_t fe_ask(struct fe *, uint32_t request, const void *payload,
                size_t size);
uint64_t fe_ask_u64(struct fe *, uint32_t request, uint64_t);
uint64_t fe_ask_state(struct fe *, uint32_t request, uint32_t index,
                      uint32_t num);
uint64_t fe_ask_vring_fd(struct fe *, uint32_t request, uint32_t index,
                         int fd);       /* -1: NOFD bit. */

/* Asks what is offered; accepts, in QEMU's order, 'features' (sent at the end,
 * as at driver start) and 'protocol'. */
void fe_ask_offer(struct fe *);
void fe_accept_offer(struct fe *, uint64_t features, uint64_t protocol);

/* Negotiates like QEMU: both of the above.  Fails if not all of 'features' and
 * 'protocol' is offered. */
void fe_negotiate(struct fe *, uint64_t features, uint64_t protocol);

/* SET_MEM_TABLE with the regions that were added; returns the answer. */
uint64_t fe_send_mem_table(struct fe *);

/* ADD_MEM_REG or REM_MEM_REG with one of them, alike. */
uint64_t fe_send_mem_reg(struct fe *, uint32_t request,
                         const struct fe_region *);

#endif /* guest/frontend.h */
