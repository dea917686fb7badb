#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest whose virtio-net headers may lie, for tests of offloads.

    vhost-headers.py CASES PATH FEATURES [PATH FEATURES]

connects to the vhost-user socket PATH, negotiates FEATURES (some of csum,
guest_csum, tso, guest_tso, with commas between, or none; one with a ! after it
without looking whether it is offered, like a guest that comes from elsewhere)
and sends packets, each with something else in its header.  The switch has to send them back, or
to a second guest at the second PATH.  Prints what came there:

    as it was       the frame that was sent
    completed       the frame that was sent with its checksum completed
    changed         something else; then also whether its checksum is right
    csum S+O        the header says that a checksum from byte S on, which goes
                    to byte S + O, is still to be completed
    gso T of N      the header says to cut it (type T) into segments of N bytes
    dropped         nothing

CASES are "honest" for headers that tell the truth, or "all".

Each of these packets is published at once with two ordinary frames around it,
which have to arrive, so that a lie costs the packet that it is about and no
other.

The emulated guest of utilities/guest is not used, as it has no way to say what
headers should be, nor should it have one.
"""

import collections
import mmap
import os
import socket
import struct
import sys
import time

# How long to try, in seconds: only for what will never work.
PATIENCE = 40

# Requests.
GET_FEATURES = 1
SET_FEATURES = 2
SET_OWNER = 3
SET_MEM_TABLE = 5
SET_VRING_NUM = 8
SET_VRING_ADDR = 9
SET_VRING_BASE = 10
SET_VRING_KICK = 12
SET_VRING_CALL = 13

VERSION_1 = 1 << 32
FEATURES = {"none": 0, "csum": 1 << 0, "guest_csum": 1 << 1,
            "tso": 1 << 11 | 1 << 12, "guest_tso": 1 << 7 | 1 << 8}

# Of the virtio-net header.
NEEDS_CSUM = 1
TCPV4 = 1
UDP = 3
TCPV6 = 4
ECN = 0x80

# Of the memory.
RING = 16
BUFFER = 1 << 14
MEMORY = 1 << 20
RX_BUFFERS = 1 << 16
TX_BUFFERS = 1 << 19

SOURCE = 10, 0, 0, 1
DESTINATION = 10, 0, 0, 2
TCP = socket.IPPROTO_TCP
SCTP = socket.IPPROTO_SCTP
CSUM_OFFSETS = {TCP: 16, socket.IPPROTO_UDP: 6, SCTP: 8}


class Ring:
    """A split ring of RING entries at offset 'at' in the memory.  Its indexes
    are read and written in the native format, as others do that in one go."""

    def __init__(self, memory, at):
        self.memory = memory
        self.desc = at
        self.avail = at + 16 * RING
        self.used = at + 4096
        self.next_avail = 0
        self.next_used = 0
        self.kick = os.eventfd(0)
        self.call = os.eventfd(0)

    def offer(self, i, address, size, write):
        """Puts buffer 'i' into the ring, for publish()."""
        struct.pack_into("<QIHH", self.memory, self.desc + 16 * i, address,
                         size, 2 if write else 0, 0)
        struct.pack_into("<H", self.memory,
                         self.avail + 4 + 2 * (self.next_avail % RING), i)
        self.next_avail = self.next_avail + 1 & 0xffff

    def publish(self):
        struct.pack_into("H", self.memory, self.avail + 2, self.next_avail)
        os.eventfd_write(self.kick, 1)

    def take(self):
        """The next used entry (number, length), or None."""
        n, = struct.unpack_from("H", self.memory, self.used + 2)
        if n == self.next_used:
            return None
        entry = struct.unpack_from("<II", self.memory,
                                   self.used + 4
                                   + 8 * (self.next_used % RING))
        self.next_used = self.next_used + 1 & 0xffff
        return entry


class Guest:
    """A device with one queue pair.  What is not needed is not there."""

    def __init__(self, path, names):
        names = names.split(",")
        features = sum(FEATURES[name.rstrip("!")] for name in names)
        elsewhere = sum(FEATURES[name[:-1]] for name in names
                        if name.endswith("!"))
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        fd = os.memfd_create("guest")
        os.truncate(fd, MEMORY)
        self.memory = mmap.mmap(fd, MEMORY)
        self.rx = Ring(self.memory, 0)
        self.tx = Ring(self.memory, 8192)
        self.negotiate(VERSION_1 | features, elsewhere)
        self.say(SET_OWNER)
        self.say(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, MEMORY, 0, 0),
                 fd)
        for i, ring in enumerate((self.rx, self.tx)):
            self.set_up(i, ring)
        for i in range(RING):
            self.rx.offer(i, RX_BUFFERS + i * BUFFER, BUFFER, True)
        self.rx.publish()

    def say(self, request, payload=b"", *fds):
        message = struct.pack("<III", request, 1, len(payload)) + payload
        if fds:
            socket.send_fds(self.sock, [message], fds)
        else:
            self.sock.sendall(message)

    def negotiate(self, features, elsewhere):
        self.say(GET_FEATURES)
        _, _, _, offered = struct.unpack("<IIIQ", self.sock.recv(20))
        if features & ~offered & ~elsewhere:
            sys.exit("features %#x are not offered" % (features & ~offered))
        self.say(SET_FEATURES, struct.pack("<Q", features))

    def set_up(self, i, ring):
        self.say(SET_VRING_NUM, struct.pack("<II", i, RING))
        self.say(SET_VRING_BASE, struct.pack("<II", i, 0))
        self.say(SET_VRING_ADDR, struct.pack("<IIQQQQ", i, 0, ring.desc,
                                             ring.used, ring.avail, 0))
        self.say(SET_VRING_CALL, struct.pack("<Q", i), ring.call)
        self.say(SET_VRING_KICK, struct.pack("<Q", i), ring.kick)

    def send(self, *packets):
        """Sends packets at once and waits until the switch has taken them."""
        for i, data in enumerate(packets):
            at = TX_BUFFERS + i * BUFFER
            self.memory[at:at + len(data)] = data
            self.tx.offer(i, at, len(data), False)
        self.tx.publish()
        until = time.monotonic() + PATIENCE
        for _ in packets:
            while not self.tx.take():
                if time.monotonic() > until:
                    sys.exit("the switch takes nothing any more")
                time.sleep(0.0002)

    def receive(self, timeout):
        """The next (header, frame), or None."""
        until = time.monotonic() + timeout
        while not (entry := self.rx.take()):
            if time.monotonic() > until:
                return None
            time.sleep(0.0002)
        i, size = entry
        at = RX_BUFFERS + i * BUFFER
        data = self.memory[at:at + size]
        self.rx.offer(i, at, BUFFER, True)
        self.rx.publish()
        return data[:12], data[12:]


def header(flags=0, gso=0, hdr_len=0, size=0, start=0, offset=0, buffers=0):
    return struct.pack("<BBHHHHH", flags, gso, hdr_len, size, start, offset,
                       buffers)


def ethernet(kind):
    return bytes.fromhex("020000000002020000000001") + struct.pack(">H", kind)


def fold(data):
    """The sum of the Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def complete(frame, start, offset, sctp=False):
    """The frame as it is after what a header asks for."""
    if sctp:
        value = struct.pack("<I", crc32c(frame[start:]))
    else:
        value = struct.pack(">H", (~fold(frame[start:]) & 0xffff) or 0xffff)
    at = start + offset
    return frame[:at] + value + frame[at + len(value):]


# A frame and where its layer 4 begins, with which protocol.
Packet = collections.namedtuple("Packet", "frame l4 protocol")


def ipv4(protocol, size, options=b"", fragment=0, length=None):
    size += 20 + len(options)
    ip = struct.pack(">BBHHHBBH4B4B", 0x45 + len(options) // 4, 0,
                     length or size, 1, fragment, 64, protocol, 0,
                     *SOURCE, *DESTINATION) + options
    return ip[:10] + struct.pack(">H", ~fold(ip) & 0xffff) + ip[12:]


def ipv6(protocol, size, extension=b""):
    addresses = bytes(12) + bytes(SOURCE) + bytes(12) + bytes(DESTINATION)
    if extension:
        extension = bytes([protocol]) + extension
    return struct.pack(">IHBB", 6 << 28, size + len(extension),
                       0 if extension else protocol,
                       64) + addresses + extension


def layer4(protocol, payload, tcp_header=5):
    """Layer 4 as a driver hands it over: with the pseudo header's sum where
    the checksum belongs."""
    if protocol == TCP:
        l4 = struct.pack(">HHIIBBHHH", 1, 9, 1, 1, tcp_header << 4, 0x10, 99,
                         0, 0)
    elif protocol == SCTP:
        return struct.pack(">HHII", 1, 9, 1, 0) + payload
    else:
        l4 = struct.pack(">HHHH", 1, 9, 8 + len(payload), 0)
    at = CSUM_OFFSETS[protocol]
    pseudo = fold(bytes(SOURCE + DESTINATION)
                  + struct.pack(">II", len(l4) + len(payload), protocol))
    return l4[:at] + struct.pack(">H", pseudo) + l4[at + 2:] + payload


def packet(version, protocol, payload, tags=(), tcp_header=5, **ip_fields):
    l4 = layer4(protocol, payload, tcp_header)
    l2 = ethernet(0x800 if version == 4 else 0x86dd)
    for tag in tags:
        l2 = l2[:12] + struct.pack(">HH", tag, 5) + l2[12:]
    l3 = (ipv4 if version == 4 else ipv6)(protocol, len(l4), **ip_fields)
    return Packet(l2 + l3 + l4, len(l2 + l3), protocol)


def checksum_is_right(frame):
    """Whether a frame, with at most one tag and no options, has the checksum
    that it should have."""
    at = 18 if frame[12:14] == b"\x81\x00" else 14
    if frame[at] >> 4 == 4:
        protocol, l4, addresses = frame[at + 9], at + 20, slice(at + 12,
                                                                at + 20)
        if fold(frame[at:l4]) != 0xffff:
            return False
    else:
        protocol, l4, addresses = frame[at + 6], at + 40, slice(at + 8,
                                                                at + 40)
    data = frame[l4:]
    if protocol == SCTP:
        return data[8:12] == struct.pack("<I", crc32c(data[:8] + bytes(4)
                                                      + data[12:]))
    return fold(frame[addresses] + struct.pack(">II", len(data), protocol)
                + data) == 0xffff


def csum(p, start=None, offset=None, **fields):
    """The header of a packet whose checksum is to be completed."""
    return header(NEEDS_CSUM, start=p.l4 if start is None else start,
                  offset=CSUM_OFFSETS[p.protocol] if offset is None
                  else offset, **fields)


SOME = bytes(range(1, 200))
MANY = bytes(range(250)) * 16


def honest():
    """Yields name, header, packet."""
    p = {}
    for version in 4, 6:
        for name, protocol in (("tcp", TCP), ("udp", socket.IPPROTO_UDP),
                               ("sctp", SCTP)):
            name += "%d" % version
            p[name] = packet(version, protocol, SOME)
            yield name, csum(p[name]), p[name]
    for name, gso, version in ("tso4", TCPV4, 4), ("tso6", TCPV6, 6):
        big = packet(version, TCP, MANY)
        yield name, csum(big, gso=gso, size=1000, hdr_len=big.l4 + 20), big


def unusual():
    """Yields name, header, packet of what is rare but right."""
    tcp4, udp4 = packet(4, TCP, SOME), packet(4, socket.IPPROTO_UDP, SOME)
    # A sum of zero is not what zero means.
    odd = packet(4, socket.IPPROTO_UDP, SOME + bytes(3))
    zero = odd.frame[:-2] + struct.pack(">H", ~fold(odd.frame[34:]) & 0xffff)
    yield "udp4 whose sum is 0", csum(odd), odd._replace(frame=zero)
    yield "other fields without a flag", header(0, 0, 9, 9, 65535, 65535,
                                                9), udp4
    yield "all flags", b"\xff" + csum(tcp4)[1:], tcp4
    for name, version, fields in (
            ("a tag", 4, {"tags": [0x8100]}),
            ("a tag", 6, {"tags": [0x8100]}),
            ("two tags", 4, {"tags": [0x8100, 0x88a8]}),
            ("options", 4, {"options": bytes([1] * 8)}),
            ("an extension header", 6, {"extension": b"\0\1\4" + bytes(4)}),
            ("a fragment", 4, {"fragment": 0x2000})):
        p = packet(version, TCP, SOME, **fields)
        yield "tcp%d, %s" % (version, name), csum(p), p
    big = packet(4, TCP, MANY, tags=[0x8100])
    yield "tso4, a tag", csum(big, gso=TCPV4, size=1000), big
    big = packet(4, TCP, MANY)
    yield "tso4 with ECN", csum(big, gso=TCPV4 | ECN, size=1000), big


def lies_about_checksums():
    tcp4 = packet(4, TCP, SOME)
    strange = Packet(ethernet(0x1234) + SOME, 20, TCP)
    end = len(tcp4.frame)
    yield "csum anywhere", csum(strange, offset=30), strange
    yield "csum in another place than it is", csum(tcp4, offset=20), tcp4
    yield "csum at the end", csum(tcp4, end - 2, 0), tcp4
    yield "csum cut off", csum(tcp4, end - 1, 0), tcp4
    yield "csum_start at the end", csum(tcp4, end, 0), tcp4
    yield "csum_start 65535", csum(tcp4, 65535), tcp4
    yield "csum_offset 65535", csum(tcp4, offset=65535), tcp4
    yield "both 65535", csum(tcp4, 65535, 65535), tcp4


def lies_about_segments():
    tcp4, udp4 = packet(4, TCP, SOME), packet(4, socket.IPPROTO_UDP, SOME)
    big4, big6 = packet(4, TCP, MANY), packet(6, TCP, MANY)
    yield "hdr_len 65535", csum(big4, gso=TCPV4, size=1000,
                                hdr_len=65535), big4
    yield "gso_size of more than there is", csum(tcp4, gso=TCPV4,
                                                 size=60000), tcp4
    yield "no small segments", csum(big4, gso=TCPV4, size=60000), big4
    yield "no segments", csum(big4), big4
    for size in (0, 1, 47):
        yield "gso_size %d" % size, csum(big4, gso=TCPV4, size=size), big4
    yield "gso without csum", header(0, TCPV4, 54, 1000), big4
    yield "tso6 on IPv4", csum(big4, gso=TCPV6, size=1000), big4
    yield "tso4 on IPv6", csum(big6, gso=TCPV4, size=1000), big6
    yield "tso4 on UDP", csum(udp4, gso=TCPV4, size=100), udp4
    yield "ufo", csum(udp4, gso=UDP, size=100), udp4
    for gso in (2, 127):
        yield "gso type %d" % gso, csum(big4, gso=gso, size=1000), big4
    yield "ECN alone", csum(big4, gso=ECN, size=1000), big4
    yield "tso4, csum elsewhere", csum(big4, 14, gso=TCPV4, size=1000), big4
    yield "tso4, csum beyond", csum(big4, 65535, gso=TCPV4, size=1000), big4
    tso4 = csum(big4, gso=TCPV4, size=1000)
    yield "tso4 on no IP", tso4, Packet(ethernet(0x1234) + MANY, 34, TCP)
    yield "tso4, IP longer than the frame", tso4, packet(4, TCP, MANY,
                                                         length=5000)
    yield "tso4, no TCP header", tso4, packet(4, TCP, MANY, tcp_header=0)
    yield "tso4, TCP header longer than the frame", tso4, packet(
        4, TCP, bytes(20), tcp_header=15)


def describe(got, sent, asked):
    """Says what became of the packet 'sent' with the header 'asked'."""
    flags, gso, _, size, start, offset, _ = struct.unpack("<BBHHHHH", got[0])
    _, _, _, _, *where, _ = struct.unpack("<BBHHHHH", asked)
    sctp = sent.protocol == SCTP
    if got[1] == sent.frame:
        words = ["as it was"]
    elif got[1] == complete(sent.frame, *where, sctp):
        words = ["completed"]
    else:
        frame = got[1]
        if flags & NEEDS_CSUM:
            frame = complete(frame, start, offset, sctp)
        words = ["changed", "right" if checksum_is_right(frame) else "WRONG"]
    if flags & NEEDS_CSUM:
        words.append("csum %d+%d" % (start, offset))
    if gso:
        words.append("gso %d of %d" % (gso, size))
    return ", ".join(words)


class Experiment:
    """Packets from one guest to another, who may be the same."""

    def __init__(self, sender, receiver):
        self.sender = sender
        self.receiver = receiver
        self.last = 0

    def mark(self):
        """An ordinary frame like no other."""
        self.last += 1
        return ethernet(0x88b5) + struct.pack(">I", self.last) + bytes(60)

    def begin(self):
        """Returns when frames arrive."""
        until = time.monotonic() + PATIENCE
        got = None
        while not got and time.monotonic() < until:
            frame = self.mark()
            self.sender.send(header() + frame)
            got = self.receiver.receive(0.5)
        # One of those before may be late.
        while got and got[1] != frame:
            got = self.receiver.receive(PATIENCE)
        if not got:
            sys.exit("no frame arrives")

    def do(self, asked, p):
        """Returns what arrives for the packet.  The switch may put packets of
        one burst that are unlike into another order."""
        first, last, end = self.mark(), self.mark(), self.mark()
        self.sender.send(header() + first, asked + p.frame, header() + last)
        self.sender.send(header() + end)
        got = []
        while not got or got[-1][1] != end:
            got.append(self.receiver.receive(PATIENCE))
            if not got[-1]:
                sys.exit("an ordinary frame is lost")
        for mark in first, last, end:
            got.remove((header(buffers=1), mark))
        return got


def main():
    cases = {"honest": [honest],
             "all": [honest, unusual, lies_about_checksums,
                     lies_about_segments]}
    try:
        chosen = cases[sys.argv[1]]
        guests = [Guest(path, names)
                  for path, names in zip(sys.argv[2::2], sys.argv[3::2])]
        experiment = Experiment(guests[0], guests[-1])
    except (KeyError, IndexError):
        sys.exit(__doc__)
    experiment.begin()
    for group in chosen:
        for name, asked, p in group():
            got = experiment.do(asked, p)
            print("%s: %s" % (name, "; ".join(describe(g, p, asked)
                                              for g in got) or "dropped"))


if __name__ == "__main__":
    main()
