# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The outer end of a NIC that is a network interface of this host.

A packet socket (packet(7)) sends and receives whole frames there.  The kernel
takes VLAN tags out of what it receives and tells them apart: they are put back.
"""

import socket
import struct

from ovs_vhost_lab.process import scaled

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
AUXDATA = struct.Struct("=IIIHHHH")     # struct tpacket_auxdata


class RawWire:
    """An interface of a network namespace, as a Wire."""

    def __init__(self, netns, interface, in_order=True):
        self.in_order = in_order
        self._socket = netns.call(lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.bind((interface, ETH_P_ALL))

    def send(self, frame):
        """Sends a frame."""
        self._socket.settimeout(scaled(10))
        self._socket.send(frame)

    def receive(self, timeout):
        """Returns the next frame, or None after 'timeout' seconds."""
        self._socket.settimeout(timeout)
        while True:
            try:
                frame, extra, _, address = self._socket.recvmsg(
                    65536, socket.CMSG_SPACE(AUXDATA.size))
            except (socket.timeout, BlockingIOError):
                return None
            if address[2] != PACKET_OUTGOING:
                return with_tag(frame, extra)

    def drain(self):
        """Throws away what has come."""
        while self.receive(0.05) is not None:
            pass

    def close(self):
        """Closes the socket."""
        self._socket.close()


def with_tag(frame, extra):
    """Returns a frame with the tag that the kernel told of in 'extra'."""
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = AUXDATA.unpack(data[:AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                if not status & TP_STATUS_VLAN_TPID_VALID:
                    tpid = 0x8100
                return (frame[:12] + struct.pack("!HH", tpid, tci)
                        + frame[12:])
    return frame
