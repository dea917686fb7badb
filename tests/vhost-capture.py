#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Reads what "vhost/capture" has written, for capture.at.

    vhost-capture.py COMMAND [ARG...]

Commands:

    show FILE           prints how many packets there are, by direction and
                        comment, and what the statistics block says
    total FILE          prints packets + lost packets, by the statistics block
    same FILE DIR PCAP  the frames of FILE in the direction DIR, "in" or "out",
                        that were not dropped are those of the pcap file PCAP,
                        in this order
    queues FILE DIR     prints the queues that they were on
    lengths FILE DIR COMMENT
                        prints lengths, captured and whole, of frames with the
                        COMMENT
    offloads FILE FILE  both are of the same conversation, from both its ends:
                        the frames are the same but for checksums; prints what
                        marks there were
    make FILE LEN...    makes a pcap file with a frame of each length

The reader is this file's own and strict: what the specification of pcapng does
not allow, or what would not be written, is an error.
"""

import collections
import struct
import sys

SECTION, INTERFACE, STATISTICS, PACKET = 0x0a0d0d0a, 1, 5, 6
CSUM_NOT_READY, CSUM_VALID, TSO = 1 << 9, 1 << 10, 1 << 11

Packet = collections.namedtuple(
    "Packet", "ns data length direction flags comment queue lost")


class Capture:
    def __init__(self, name):
        with open(name, "rb") as stream:
            self.data = stream.read()
        self.packets = []
        self.statistics = None
        self.interface = None
        at = 0
        while at < len(self.data):
            kind, length = struct.unpack_from("<II", self.data, at)
            assert length % 4 == 0 and at + length <= len(self.data), at
            assert struct.unpack_from("<I", self.data,
                                      at + length - 4)[0] == length, at
            assert (kind == SECTION) == (at == 0), "sections"
            assert self.statistics is None, "something after the end"
            self.block(kind, self.data[at + 8:at + length - 4])
            at += length

    def block(self, kind, body):
        if kind == SECTION:
            assert struct.unpack_from("<IHHq", body) == (0x1a2b3c4d, 1, 0, -1)
            assert b"ovs-vhost" in options(body[16:])[4]
        elif kind == INTERFACE:
            assert self.interface is None
            link, reserved, self.snaplen = struct.unpack_from("<HHI", body)
            assert (link, reserved) == (1, 0)
            found = options(body[8:])
            assert found[9] == b"\x09", found
            self.interface = found[2].decode()
        elif kind == PACKET:
            self.packets.append(self.packet(body))
        elif kind == STATISTICS:
            assert struct.unpack_from("<I", body)[0] == 0
            found = options(body[12:])
            received, dropped, written = (
                struct.unpack("<Q", found[i])[0] for i in (4, 5, 8))
            assert written == len(self.packets), (written, len(self.packets))
            assert received == written + dropped
            assert time_of(found[2]) <= time_of(found[3])
            self.statistics = dropped, found[1].decode()
        else:
            raise AssertionError("block of type %#x" % kind)

    def packet(self, body):
        interface, high, low, captured, length = struct.unpack_from("<5I",
                                                                    body)
        assert interface == 0 and captured <= min(length, self.snaplen)
        end = 20 + captured
        padded = end + (-captured) % 4
        assert not any(body[end:padded]), "padding"
        found = options(body[padded:])
        flags, = struct.unpack("<I", found[2])
        assert flags & ~(3 | CSUM_NOT_READY | CSUM_VALID | TSO) == 0, flags
        return Packet(high << 32 | low, body[20:end], length,
                      {1: "in", 2: "out"}[flags & 3], flags,
                      found.get(1, b"").decode(),
                      struct.unpack("<I", found[6])[0] if 6 in found else None,
                      struct.unpack("<Q", found[4])[0] if 4 in found else 0)

    def passed(self, direction):
        return [p for p in self.packets if p.direction == direction
                and not p.comment.startswith("dropped: ")]


def time_of(option):
    high, low = struct.unpack("<II", option)
    return high << 32 | low


def options(data):
    found = {}
    while True:
        kind, length = struct.unpack_from("<HH", data)
        if not kind:
            assert length == 0 and len(data) == 4, "end of options"
            return found
        assert kind not in found
        end = 4 + length
        found[kind] = data[4:end]
        assert not any(data[end:end + (-length) % 4]), "padding"
        data = data[end + (-length) % 4:]


def read_pcap(name):
    with open(name, "rb") as stream:
        magic = struct.unpack("<I20x", stream.read(24))[0]
        assert magic in (0xa1b2c3d4, 0xa1b23c4d), hex(magic)
        frames = []
        while True:
            header = stream.read(16)
            if not header:
                return frames
            captured, length = struct.unpack("<8xII", header)
            assert captured == length
            frames.append(stream.read(length))


def show(name):
    capture = Capture(name)
    counts = collections.Counter(
        "%s: %s" % (p.direction, p.comment or "passed")
        for p in capture.packets)
    for what in sorted(counts):
        print(what, counts[what])
    if capture.statistics is None:
        print("not complete")
    else:
        print("%s: lost %d, %s" % (capture.interface, *capture.statistics))


def total(name):
    capture = Capture(name)
    lost = capture.statistics[0]
    # What was lost before some packet is told there, too.
    assert sum(p.lost for p in capture.packets) <= lost
    print(len(capture.packets) + lost)


def same(name, direction, pcap):
    capture = Capture(name)
    ours = [p.data for p in capture.passed(direction)]
    theirs = read_pcap(pcap)
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    for i, (a, b) in enumerate(zip(ours, theirs)):
        assert a == b, (i, a, b)
    assert all(p.length == len(p.data) for p in capture.passed(direction))
    times = [p.ns for p in capture.packets]
    assert times == sorted(times), "times"
    print(len(ours), "frames")


def queues(name, direction):
    print(sorted({p.queue for p in Capture(name).passed(direction)}))


def lengths(name, direction, comment):
    print(sorted({(len(p.data), p.length) for p in Capture(name).packets
                  if (p.direction, p.comment) == (direction, comment)}))


def comparable(frame):
    """A frame of IPv4 or IPv6 without its layer 4's checksum, which may be
    incomplete at one end and not at the other."""
    frame = bytearray(frame)
    kind = frame[12:14]
    if kind == b"\x08\x00":
        l4, protocol = 14 + (frame[14] & 15) * 4, frame[23]
        if frame[20] & 0x3f or frame[21]:
            return None             # A fragment.
    elif kind == b"\x86\xdd":
        l4, protocol = 54, frame[20]
    else:
        return None
    if protocol not in (6, 17):
        return None
    at = l4 + (16 if protocol == 6 else 6)
    frame[at:at + 2] = b"\0\0"
    return bytes(frame)


def offloads(name_a, name_b):
    a, b = Capture(name_a), Capture(name_b)
    marks = set()
    for here, there in ((a, b), (b, a)):
        sent = [comparable(p.data) for p in here.passed("in")]
        received = [comparable(p.data) for p in there.packets
                    if p.direction == "out"]
        sent = [f for f in sent if f]
        received = [f for f in received if f]
        assert sent == received, "frames differ"
        assert len(sent) > 100, len(sent)
    for capture in (a, b):
        for p in capture.packets:
            if p.comment.startswith("dropped: "):
                continue            # By a guest that was too slow.
            if p.flags & TSO:
                assert p.flags & CSUM_NOT_READY
                assert p.length > 1514
                assert "to be cut into segments of" in p.comment, p.comment
                marks.add("%s: tso" % p.direction)
            elif p.flags & CSUM_NOT_READY:
                assert "is not complete" in p.comment, p.comment
                marks.add("%s: checksum" % p.direction)
            else:
                marks.add("%s: plain" % p.direction)
    for mark in sorted(marks):
        print(mark)


def make(name, *sizes):
    """Frames from station 1 to station 2 that differ."""
    with open(name, "wb") as stream:
        stream.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535,
                                 1))
        for i, size in enumerate(map(int, sizes)):
            frame = (bytes.fromhex("020000000002" "020000000001" "88b5")
                     + bytes((i * 7 + j) & 255 for j in range(size)))[:size]
            stream.write(struct.pack("<IIII", 1, i, size, size) + frame)


def main():
    globals()[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
