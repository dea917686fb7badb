#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What ports offer to front ends, for tests of feature masks.

    vhost-masks.py offer ENDPOINT
    vhost-masks.py differ OURS STOCK

ENDPOINT is connect:PATH or listen:PATH.  "offer" asks the port there and prints

    features 0x...
    protocol 0x...
    queue pairs N

"differ" asks two ports and prints one line for each bit in which they differ,
"virtio NAME: stock only" and the like, in the order of the bits; nothing if
there is none.
"""

import os
import socket
import struct
import sys

# How long to wait, in seconds: only for what will never come.
PATIENCE = 40

GET_FEATURES = 1
SET_FEATURES = 2
SET_OWNER = 3
GET_PROTOCOL_FEATURES = 15
SET_PROTOCOL_FEATURES = 16
GET_QUEUE_NUM = 17

PROTOCOL_FEATURES = 1 << 30
MQ = 1 << 0

VIRTIO = {
    0: "CSUM", 1: "GUEST_CSUM", 3: "MTU", 6: "GSO", 7: "GUEST_TSO4",
    8: "GUEST_TSO6", 9: "GUEST_ECN", 10: "GUEST_UFO", 11: "HOST_TSO4",
    12: "HOST_TSO6", 13: "HOST_ECN", 14: "HOST_UFO", 15: "MRG_RXBUF",
    17: "CTRL_VQ", 18: "CTRL_RX", 21: "GUEST_ANNOUNCE", 22: "MQ",
    26: "LOG_ALL", 27: "ANY_LAYOUT", 28: "INDIRECT_DESC", 29: "EVENT_IDX",
    30: "PROTOCOL_FEATURES", 32: "VERSION_1", 33: "ACCESS_PLATFORM",
    34: "RING_PACKED", 35: "IN_ORDER", 40: "RING_RESET"}
PROTOCOL = {
    0: "MQ", 1: "LOG_SHMFD", 2: "RARP", 3: "REPLY_ACK", 4: "NET_MTU",
    5: "BACKEND_REQ", 7: "CRYPTO_SESSION", 8: "PAGEFAULT",
    10: "BACKEND_SEND_FD", 11: "HOST_NOTIFIER", 12: "INFLIGHT_SHMFD",
    13: "RESET_DEVICE", 15: "CONFIGURE_MEM_SLOTS", 16: "STATUS",
    19: "DEVICE_STATE"}


def connection(endpoint):
    how, path = endpoint.split(":", 1)
    sock = socket.socket(socket.AF_UNIX)
    if how == "connect":
        sock.settimeout(PATIENCE)
        sock.connect(path)
        return sock
    if os.path.exists(path):
        os.unlink(path)
    sock.bind(path)
    sock.listen(1)
    sock.settimeout(PATIENCE)
    peer, _ = sock.accept()
    sock.close()
    os.unlink(path)
    peer.settimeout(PATIENCE)
    return peer


def say(sock, request, payload=b""):
    sock.sendall(struct.pack("<III", request, 1, len(payload)) + payload)


def ask(sock, request):
    say(sock, request)
    got = b""
    while len(got) < 20:
        data = sock.recv(20 - len(got))
        if not data:
            sys.exit("the port has closed the connection")
        got += data
    answered, _, size, value = struct.unpack("<IIIQ", got)
    if answered != request or size != 8:
        sys.exit("a strange answer to request %d" % request)
    return value


def offer(endpoint):
    """Returns features, protocol features and queue pairs."""
    sock = connection(endpoint)
    say(sock, SET_OWNER)
    features = ask(sock, GET_FEATURES)
    protocol = 0
    pairs = 1
    if features & PROTOCOL_FEATURES:
        protocol = ask(sock, GET_PROTOCOL_FEATURES)
        say(sock, SET_PROTOCOL_FEATURES, struct.pack("<Q", protocol))
        if protocol & MQ:
            pairs = ask(sock, GET_QUEUE_NUM)
    sock.close()
    return features, protocol, pairs


def differences(what, names, ours, stock):
    for bit in range(64):
        if (ours ^ stock) >> bit & 1:
            print("%s %s: %s only" % (what, names.get(bit, "bit %d" % bit),
                                      "ours" if ours >> bit & 1 else "stock"))


def main():
    if sys.argv[1] == "offer":
        print("features %#x\nprotocol %#x\nqueue pairs %d"
              % offer(sys.argv[2]))
    elif sys.argv[1] == "differ":
        ours, stock = offer(sys.argv[2]), offer(sys.argv[3])
        differences("virtio", VIRTIO, ours[0], stock[0])
        differences("protocol", PROTOCOL, ours[1], stock[1])
        if ours[2] != stock[2]:
            print("queue pairs: %d, stock %d" % (ours[2], stock[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
