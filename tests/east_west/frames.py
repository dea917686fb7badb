# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Frames between stations, each with contents of its own."""

import random
import struct

from north_south import wire

MIN_PAYLOAD, MAX_PAYLOAD = 18, 1464     # Of UDP, untagged.
SYN, RST, PSH, ACK, FIN = 2, 4, 8, 16, 1

_source = random.Random(8)
_number = 0


def payload(size=None):
    """Returns bytes that come once."""
    global _number
    _number += 1
    if size is None:
        size = _source.randint(MIN_PAYLOAD, MAX_PAYLOAD)
    return struct.pack("!I", _number) + _source.randbytes(size - 4)


def ip_of(station, vlan=10):
    """Returns a station's address in a VLAN."""
    return "10.0.%d.%d" % (vlan, station.number)


def udp(source, to, vlan=10, dport=2000, sport=1000, mac=None, data=None):
    """Returns a frame of UDP.  'to': a station, or None for a broadcast.
    'mac': another source than its own."""
    return wire.udp(
        to.mac.hex(":") if to else "ff:ff:ff:ff:ff:ff",
        (mac or source.mac).hex(":"), ip_of(source, vlan),
        ip_of(to, vlan) if to else "10.0.%d.255" % vlan,
        payload() if data is None else data, sport=sport, dport=dport)


def tcp(source, to, sport, dport, flags, seq, ack=0, data=b"", good=True,
        vlan=10):
    """Returns a frame of TCP (RFC 9293, section 3.1); 'good': with the right
    checksum."""
    src, dst = (wire.ip_bytes(ip_of(each, vlan)) for each in (source, to))
    body = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff,
                       ack & 0xffffffff, 5 << 4, flags, 65535, 0, 0) + data
    check = wire.csum(src + dst + struct.pack("!HH", 6, len(body)) + body)
    if not good:
        check ^= 0x5555
    body = body[:16] + struct.pack("!H", check) + body[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 6,
                       0, src, dst)
    head = head[:10] + struct.pack("!H", wire.csum(head)) + head[12:]
    return (to.mac + source.mac + b"\x08\x00" + head + body).ljust(60, b"\0")


tagged = wire.tagged
