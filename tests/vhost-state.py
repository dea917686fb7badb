#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A front end that does nothing but move a device's state (DEVICE_STATE).

    vhost-state.py load SOCKET NUMBER=VALUE...
    vhost-state.py move SOCKET SOCKET

"load" has the port at SOCKET load a state of its embedder's counters NUMBER.
"move" has the first port save its state and the second one load that.
"""

import os
import socket
import struct
import sys

# How long to wait, in seconds: only for what will never come.
PATIENCE = 40

SET_OWNER = 3
SET_PROTOCOL_FEATURES = 16
SET_DEVICE_STATE_FD = 42
CHECK_DEVICE_STATE = 43

DEVICE_STATE = 1 << 19
SAVE, LOAD = 0, 1
EMBEDDER = 0xffff


def say(sock, request, payload=b"", fds=()):
    socket.send_fds(sock, [struct.pack("<III", request, 1, len(payload))
                           + payload], fds)


def answer(sock, request):
    """Returns the descriptor that came with a positive answer, or None."""
    got, fds, _, _ = socket.recv_fds(sock, 20, 1)
    if len(got) != 20:
        sys.exit("the port has closed the connection")
    answered, _, _, value = struct.unpack("<IIIQ", got)
    if answered != request or value:
        sys.exit("answer %#x to request %d" % (value, request))
    return fds[0] if fds else None


def begin(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(path)
    say(sock, SET_OWNER)
    say(sock, SET_PROTOCOL_FEATURES, struct.pack("<Q", DEVICE_STATE))
    return sock


def transfer(sock, direction):
    pipe = os.pipe()
    say(sock, SET_DEVICE_STATE_FD, struct.pack("<II", direction, 0),
        [pipe[direction == SAVE]])
    os.close(pipe[0])
    os.close(pipe[1])
    return answer(sock, SET_DEVICE_STATE_FD)


def check(sock):
    say(sock, CHECK_DEVICE_STATE)
    answer(sock, CHECK_DEVICE_STATE)
    sock.close()


def save(path):
    sock = begin(path)
    with os.fdopen(transfer(sock, SAVE), "rb") as state:
        data = state.read()
    check(sock)
    return data


def load(path, data):
    sock = begin(path)
    with os.fdopen(transfer(sock, LOAD), "wb") as state:
        state.write(data)
    check(sock)


def main():
    if sys.argv[1] == "load":
        data = struct.pack("<8sII", b"VO-State", 1, len(sys.argv) - 3)
        for arg in sys.argv[3:]:
            number, value = arg.split("=")
            data += struct.pack("<HHIQ", EMBEDDER, 0, int(number), int(value))
        load(sys.argv[2], data + b"VO--End.")
    elif sys.argv[1] == "move":
        load(sys.argv[3], save(sys.argv[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
