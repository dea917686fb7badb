/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Mode bridge: a tap device is the guest's network stack.  What the guest may
 * leave to the device, and the device to the guest, goes through in the
 * header, which taps have in virtio's format.  The tap has a carrier while the
 * port is connected.
 *
 * The tap may be moved to another namespace meanwhile.  If it goes with that
 * one, as a container's does, the port is finished. */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest/catch.h"
#include "guest/fail.h"
#include "guest/port.h"

#define TAP_BURST 32

/* Enters the namespace 'path', or goes back to 'home'. */
static void
enter(const char *path, int home)
{
    int fd = home >= 0 ? home : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || setns(fd, CLONE_NEWNET)) {
        errx(EXIT_CANNOT, "%s: %s", path, strerror(errno));
    }
    close(fd);
}

static void
set_address_and_up(const struct port *p)
{
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr;

    memset(&ifr, 0, sizeof ifr);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", p->o->tap);
    if (p->o->mac_set) {
        ifr.ifr_hwaddr.sa_family = 1;           /* ARPHRD_ETHER */
        memcpy(ifr.ifr_hwaddr.sa_data, p->o->mac, 6);
        if (ioctl(sock, SIOCSIFHWADDR, &ifr)) {
            errx(EXIT_CANNOT, "%s: cannot set its address: %s", p->o->tap,
                 strerror(errno));
        }
    }
    if (ioctl(sock, SIOCGIFFLAGS, &ifr) == 0) {
        ifr.ifr_flags |= IFF_UP;
        ioctl(sock, SIOCSIFFLAGS, &ifr);
    }
    close(sock);
}

/* Linux before 5.0 cannot: there it always has one. */
static void
set_carrier(struct port *p, bool on)
{
    int carrier = on;

    (void) ioctl(p->fd, TUNSETCARRIER, &carrier);
}

static void
open_tap(struct port *p)
{
    struct ifreq ifr;

    p->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    memset(&ifr, 0, sizeof ifr);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", p->o->tap);
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (p->fd < 0 || ioctl(p->fd, TUNSETIFF, &ifr)) {
        errx(EXIT_CANNOT, "tap %s: %s", p->o->tap, strerror(errno));
    }
    set_carrier(p, false);
    set_address_and_up(p);
}

static void
bridge_start(struct port *p)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (p->o->netns) {
        enter(p->o->netns, -1);
    }
    open_tap(p);
    if (p->o->netns) {
        enter("home", home);
    } else {
        close(home);
    }
}

/* What the device takes off the guest is what the tap may leave undone. */
static void
bridge_negotiated(struct port *p)
{
    uint64_t features = p->fe.features;
    int len = fe_net_header_len(&p->fe);
    unsigned int flags = 0;

    if (features & FE_F_CSUM) {
        flags |= TUN_F_CSUM;
        flags |= features & FE_F_HOST_TSO4 ? TUN_F_TSO4 : 0;
        flags |= features & FE_F_HOST_TSO6 ? TUN_F_TSO6 : 0;
    }
    if (ioctl(p->fd, TUNSETVNETHDRSZ, &len)
        || ioctl(p->fd, TUNSETOFFLOAD, flags)) {
        fe_failed(__FILE__, __LINE__, "tap %s: %s", p->o->tap,
                  strerror(errno));
    }
}

static void
to_tap(struct port *p, struct queue *q, const struct frame *frame,
       uint64_t now)
{
    struct virtio_net_hdr_mrg_rxbuf h = *frame->hdr;
    struct iovec iov[] = {
        { &h, fe_net_header_len(&p->fe) },
        { (void *) frame->data, frame->len },
    };

    (void) q;
    (void) now;
    if (writev(p->fd, iov, 2) < 0) {
        p->n_dropped++;
    }
}

static unsigned int
from_tap(struct port *p, struct queue *q, uint64_t now)
{
    size_t hlen = fe_net_header_len(&p->fe);
    unsigned int n;

    (void) now;
    for (n = 0; n < TAP_BURST; n++) {
        struct virtio_net_hdr_mrg_rxbuf *h;
        uint8_t *frame = port_tx_room(q, 0, &h);
        ssize_t len;

        if (!frame) {
            break;
        }
        len = read(p->fd, h, p->tx_len);
        if (len < 0 && errno == EBADFD) {
            fe_failed(__FILE__, __LINE__, "tap %s is gone", p->o->tap);
        }
        if (len < (ssize_t) (hlen + ETH_HLEN)) {
            break;
        }
        if (len == p->tx_len) {
            p->n_dropped++;     /* Taps do not say that they cut frames off. */
            continue;
        }
        port_tx_commit(q, len - hlen);
    }
    if (n) {
        port_tx_flush(q);
    }
    return n;
}

/* The tap's descriptor tells. */
static uint64_t
bridge_next(struct port *p)
{
    (void) p;
    return UINT64_MAX;
}

const struct mode_ops bridge_ops = {
    .start = bridge_start,
    .negotiated = bridge_negotiated,
    .connected = set_carrier,
    .receive = to_tap,
    .transmit = from_tap,
    .next = bridge_next,
};
