#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What stands at the other end of a port in the switch tests, except guests.

    listen PATH             a process that uses a socket at PATH
    garbage PATH            connects to PATH and says what is no vhost-user
    garbage-listen PATH     the same to whoever connects
    half PATH               connects, says half a message and waits
    silent PATH             connects and says nothing
    capture IFACE           writes the frames that arrive to the output
    send IFACE COUNT SIZE   sends frames to 02:00:00:00:00:01 with contents that
                            tell their number
    check COUNT SIZE        reads what "capture" wrote from the input: each of
                            these frames must be there once and as it was sent
    ping ADDRESS COUNT      pings, every 10 ms, and prints how many answers came

All print "ready" once they are, and stay until they are killed, except "send",
"check", "ping" and "garbage", which ends when the switch has closed the
connection.
"""

import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
DESTINATION = bytes.fromhex("020000000001")
SOURCE = bytes.fromhex("0200000000aa")
GARBAGE = b"GET / HTTP/1.0\r\nHost: a switch\r\n\r\n"

# GET_FEATURES is 12 bytes without payload.
HALF = struct.pack("<II", 1, 1)


def say(text):
    print(text, flush=True)


def listener(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(4)
    return sock


def connection(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def for_ever():
    while True:
        time.sleep(3600)


def listen(path):
    sock = listener(path)
    say("ready")
    for_ever()
    sock.close()


def until_closed(sock):
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        pass
    say("closed")


def say_garbage(sock):
    try:
        sock.sendall(GARBAGE)
    except ConnectionError:
        pass                    # The switch was quicker.
    until_closed(sock)


def garbage(path):
    sock = connection(path)
    say("ready")
    say_garbage(sock)


def garbage_listen(path):
    sock = listener(path)
    say("ready")
    while True:
        peer, _ = sock.accept()
        say_garbage(peer)
        peer.close()


def half(path):
    sock = connection(path)
    sock.sendall(HALF)
    say("ready")
    until_closed(sock)
    for_ever()


def silent(path):
    sock = connection(path)
    say("ready")
    until_closed(sock)
    for_ever()


def packet_socket(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                         socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
    sock.bind((interface, ETH_P_ALL))
    return sock


def capture(interface):
    sock = packet_socket(interface)
    say("ready")
    while True:
        frame, address = sock.recvfrom(65536)
        if address[2] != PACKET_OUTGOING:
            say("%d %s" % (len(frame), frame.hex()))


def frame(number, size):
    # 0x88b5 is for experiments.
    header = DESTINATION + SOURCE + b"\x88\xb5" + struct.pack(">I", number)
    body = bytes((number + i) & 255 for i in range(size - len(header)))
    return header + body


def send(interface, count, size):
    sock = packet_socket(interface)
    say("ready")
    for i in range(int(count)):
        sock.send(frame(i, int(size)))
        if i % 32 == 31:
            time.sleep(0.002)       # For short rings on the way.
    say("sent")


def check(count, size):
    wanted = {frame(i, int(size)).hex(): 0 for i in range(int(count))}
    strange = 0
    for line in sys.stdin:
        words = line.split()
        if words[-1] in wanted:
            wanted[words[-1]] += 1
        elif "88b5" in words[-1][24:28]:
            strange += 1
    say("%d missing, %d more than once, %d damaged"
        % (sum(n == 0 for n in wanted.values()),
           sum(n > 1 for n in wanted.values()), strange))


def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ping(address, count):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.settimeout(2)
    answers = 0
    for i in range(int(count)):
        body = struct.pack(">HH", 0x7676, i) + bytes(range(100))
        body = struct.pack(">BBH", 8, 0, checksum(
            struct.pack(">BBH", 8, 0, 0) + body)) + body
        sock.sendto(body, (address, 0))
        try:
            reply = sock.recv(2048)
            while reply[20] != 0 or reply[24:] != body[4:]:
                reply = sock.recv(2048)
            answers += checksum(reply[20:]) == 0
        except socket.timeout:
            pass
        time.sleep(0.01)
    say("%d answers" % answers)


def main():
    commands = {"listen": listen, "garbage": garbage, "half": half,
                "garbage-listen": garbage_listen, "silent": silent,
                "capture": capture, "send": send, "check": check,
                "ping": ping}
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except (KeyError, IndexError, TypeError):
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
