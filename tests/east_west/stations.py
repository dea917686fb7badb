# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Guests whose every frame is made and seen here.

An ovs-vhost-guest in mode bridge stands at the port; behind it, in a network
namespace of its own, is a tap.  A packet socket at the tap is the guest's
driver for frames as bytes, and the kernel its stack once it has an address.
Namespaces have no IPv6, so the kernel says nothing by itself."""

import os
import select
import socket
import struct
import time

from ovs_vhost_lab import LabError, NetworkNamespace
from ovs_vhost_lab.process import scaled
from qemu_life.traffic import inside

ETH_ALL, SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 3, 263, 8, 23
SO_RCVBUFFORCE = 33
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("IIIHHHH")      # struct tpacket_auxdata.
TAP = "eth0"
BUFFER = 16 << 20
ETH_VLAN = 0x8100
ETH_MARK = b"\x88\xb5"                  # IEEE 802: local experiments.
BROADCAST = b"\xff" * 6


class Station:
    """A guest.  'number' makes its addresses."""

    def __init__(self, name, number):
        self.name = name
        self.mac = bytes((2, 0x76, 0x68, 1, 0, number))
        self.number = number
        self.netns = NetworkNamespace()
        self._socket = None
        with inside(self.netns):
            with open("/proc/sys/net/ipv6/conf/default/disable_ipv6",
                      "w") as stream:
                stream.write("1")

    def __repr__(self):
        return self.name

    def argument(self):
        """Returns the options of its port for ovs-vhost-guest."""
        return "tap=%s,netns=%s,mac=%s" % (
            TAP, self.netns.path(), self.mac.hex(":"))

    def open(self):
        """Opens the socket.  The tap must be there."""
        with inside(self.netns):
            it = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                               socket.htons(ETH_ALL))
            it.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            it.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            it.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            it.bind((TAP, ETH_ALL))
        it.setblocking(False)
        self._socket = it

    def fileno(self):
        """Returns the socket's descriptor, for select()."""
        return self._socket.fileno()

    def send(self, frame):
        """Sends a frame; one of at least 60 bytes, as on a wire."""
        self._socket.send(frame)

    def receive(self):
        """Returns the next frame, tag included, or None."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(65536, 128)
        except BlockingIOError:
            return None
        for level, kind, value in ancillary:
            if level == SOL_PACKET and kind == PACKET_AUXDATA:
                status, _, _, _, _, tci, _ = AUXDATA.unpack(
                    value[:AUXDATA.size])
                if status & TP_STATUS_VLAN_VALID:
                    data = (data[:12] + struct.pack("!HH", ETH_VLAN, tci)
                            + data[12:])
        return data

    def drain(self):
        """Throws away what has come."""
        while self.receive() is not None:
            pass

    def address(self, address):
        """Gives its stack an address, ADDRESS/LENGTH."""
        self.netns.ip("addr", "add", address, "dev", TAP)

    def close(self):
        if self._socket:
            self._socket.close()
        self.netns.close()


def is_mark(frame):
    """Tells whether a frame, tagged or not, is a mark."""
    return frame[12:14] == ETH_MARK or (frame[12:14] == b"\x81\x00"
                                        and frame[16:18] == ETH_MARK)


class Exchange:
    """Frames between stations: what is to come, and what has come.

    'marks(number)' sends a broadcast from each station that has a way to
    others and returns {station: the number of marks that it is to get}.  A
    mark takes the same way as frames that were sent before it: when all have
    come, what has not come before them does not come any more."""

    _number = 0

    def __init__(self, stations, marks):
        self._stations = stations
        self._marks = marks

    def meet(self, timeout=30):
        """Sends marks again and again until all have come: links are up, and
        the switch knows where everybody is."""
        limit = time.monotonic() + scaled(timeout)
        while not self._fence(0.5):
            if time.monotonic() > limit:
                raise LabError("marks do not come: %s" % self._missing)
        for station in self._stations:
            station.drain()

    def run(self, sends, expected, timeout=30):
        """Sends (station, frame) each and compares what arrives, which is to
        be {station: list of frames}, in any order, and nothing else."""
        left = {station: list(frames) for station, frames in expected.items()}
        got = {station: [] for station in self._stations}
        for count, (station, frame) in enumerate(sends):
            station.send(frame)
            if count % 16 == 15:
                self._collect(got, 0)
                while self._behind(got, sends[:count + 1], expected):
                    if not self._collect(got, 0.02):
                        break           # Compared below.
        if not self._fence(scaled(timeout), got):
            raise LabError("marks do not come: %s" % self._missing)
        self._compare(left, got)

    @staticmethod
    def _behind(got, sent, expected):
        """Tells whether so much is on its way that a ring may become full."""
        return sum(map(len, got.values())) + 128 < len(sent) \
            and any(expected.values())

    def _collect(self, got, timeout):
        """Takes what has come, waiting at most 'timeout' for the first.
        Returns the number of frames."""
        count = 0
        readable, _, _ = select.select(self._stations, [], [], timeout)
        for station in readable:
            while True:
                frame = station.receive()
                if frame is None:
                    break
                got[station].append(frame)
                count += 1
        return count

    def _fence(self, timeout, got=None):
        """Sends marks and waits until all have come; frames that are none go
        to 'got'."""
        Exchange._number += 1
        number = struct.pack("!I", Exchange._number)
        wanted = self._marks(number)
        limit = time.monotonic() + timeout
        fresh = {station: [] for station in self._stations}
        seen = {station: set() for station in self._stations}
        while True:
            self._missing = {
                station: count - len(seen[station])
                for station, count in wanted.items()
                if len(seen[station]) < count}
            if not self._missing:
                return True
            if time.monotonic() > limit:
                return False
            self._collect(fresh, 0.05)
            for station, frames in fresh.items():
                for frame in frames:
                    if not is_mark(frame):
                        if got is not None:
                            got[station].append(frame)
                    elif number in (frame[14:18], frame[18:22]):
                        seen[station].add(frame)
                frames.clear()

    @staticmethod
    def _compare(left, got):
        for station, frames in got.items():
            wanted = left.get(station, [])
            total = len(wanted)
            for frame in frames:
                if is_mark(frame):
                    continue
                if frame not in wanted:
                    raise LabError("%s got %s, which was not to come" % (
                        station, describe(frame)))
                wanted.remove(frame)
            if wanted:
                raise LabError("%s did not get %d of %d frames, such as %s" % (
                    station, len(wanted), total, describe(wanted[0])))


def describe(frame):
    """Returns a frame's beginning for people."""
    return "%d bytes: %s" % (len(frame), frame[:64].hex(" ", 2))


def mark(station, number, vlan=0):
    """Returns a broadcast that says who sent it and its 'number'."""
    return (BROADCAST + station.mac + ETH_MARK + number
            + struct.pack("!BH", station.number, vlan)).ljust(60, b"\0")
