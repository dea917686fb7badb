# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The outer end of a NIC's wire: frames as bytes, made and compared here."""

import os
import random
import socket
import struct
import time

from ovs_vhost_lab import LabError
from ovs_vhost_lab.process import scaled

ETH_IPV4, ETH_VLAN = 0x0800, 0x8100
VXLAN_PORT = 4789
WINDOW = 16


def mac_bytes(mac):
    """Returns a MAC as bytes."""
    return bytes(int(part, 16) for part in mac.split(":"))


def ip_bytes(address):
    """Returns an IPv4 address as bytes."""
    return socket.inet_aton(address)


def csum(data):
    """Returns the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp(dst_mac, src_mac, src, dst, payload, sport=1000, dport=2000):
    """Returns a frame of UDP over IPv4, without a UDP checksum."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 17,
                       0, ip_bytes(src), ip_bytes(dst))
    head = head[:10] + struct.pack("!H", csum(head)) + head[12:]
    return (mac_bytes(dst_mac) + mac_bytes(src_mac)
            + struct.pack("!H", ETH_IPV4) + head + body)


def tagged(frame, vlan):
    """Returns an untagged frame with a tag of IEEE 802.1Q."""
    return frame[:12] + struct.pack("!HH", ETH_VLAN, vlan) + frame[12:]


def vxlan(dst_mac, src_mac, src, dst, vni, inner):
    """Returns a frame that carries 'inner' (RFC 7348)."""
    return udp(dst_mac, src_mac, src, dst,
               struct.pack("!II", 0x08000000, vni << 8) + inner,
               sport=50000, dport=VXLAN_PORT)


def inside_vxlan(frame, vni):
    """Returns the frame that 'frame' carries, or None."""
    if (len(frame) > 50 and frame[12:14] == b"\x08\x00" and frame[23] == 17
            and struct.unpack("!H", frame[36:38])[0] == VXLAN_PORT
            and struct.unpack("!I", frame[46:50])[0] == vni << 8):
        return frame[50:]
    return None


def echoed(frame):
    """Returns what the guest's echo makes of a frame of udp()."""
    return (frame[6:12] + frame[:6] + frame[12:26] + frame[30:34]
            + frame[26:30] + frame[34:])


def random_frames(count, dst_mac, src_mac, seed, dport=2000):
    """Returns frames of all sizes with contents that repeat nowhere."""
    source = random.Random(seed)
    return [udp(dst_mac, src_mac, "10.1.0.1", "10.1.0.2",
                struct.pack("!I", number)
                + source.randbytes(source.randint(18, 1464)), dport=dport)
            for number in range(count)]


class Wire:
    """A wire's outer end: 'far' of a WireNic."""

    in_order = True             # Frames of a flow do not overtake each other.

    def __init__(self, folder, name):
        self.near = os.path.join(folder, name + ".near")
        self.far = os.path.join(folder, name + ".far")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(self.far)

    def send(self, frame):
        """Sends a frame."""
        self._socket.settimeout(scaled(10))
        self._socket.sendto(frame, self.near)

    def receive(self, timeout):
        """Returns the next frame, or None after 'timeout' seconds."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(65536)
        except (socket.timeout, BlockingIOError):
            return None

    def drain(self):
        """Throws away what has come."""
        while self.receive(0.05) is not None:
            pass


def pass_through(source, target, frames, expected, lost=(), timeout=30):
    """Sends 'frames' at one wire and waits until 'expected' have come at
    another one, in this order if it keeps one, and nothing else of ours.
    Those in 'lost' are not to come.  Of the others no more than WINDOW are on
    their way: nothing on it has a reason to drop them."""
    limit = time.monotonic() + scaled(timeout)
    lost = set(lost)
    sent = waited_for = 0
    left = list(expected)
    while left:
        while (sent < len(frames)
               and waited_for + len(left) - len(expected) < WINDOW):
            source.send(frames[sent])
            waited_for += frames[sent] not in lost
            sent += 1
        frame = target.receive(max(0.001, limit - time.monotonic()))
        if frame is None:
            raise LabError("%d of %d frames came within %g s" % (
                len(expected) - len(left), len(expected), scaled(timeout)))
        if frame in left[:1 if target.in_order else WINDOW]:
            left.remove(frame)
        elif not is_chatter(frame):
            raise LabError("frame %d begins with\n%s\ninstead of\n%s" % (
                len(expected) - len(left), frame[:80].hex(),
                left[0][:80].hex()))


def is_chatter(frame):
    """Tells whether a frame is what the machine's kernel says by itself: to a
    group, and no IPv4."""
    return frame[0] & 1 and frame[12:14] != b"\x08\x00"
