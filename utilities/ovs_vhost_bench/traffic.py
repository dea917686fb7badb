# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Cases in which packets pass a saturated PMD: its busy cycles per packet.

The guests are ovs-vhost-guest, mostly with prepared frames: its generator only
offers descriptors again and its receiver only gives buffers back, so that it
takes less time for a packet than the PMD does.  Or dpdk-testpmd with
virtio-user ports, which this project did not write.
"""

import re
from dataclasses import dataclass

from ovs_vhost_lab import LabError

from . import results
from .side import MAX_DROPPED, OURS, STOCK, cycles_per_packet

METRIC = "pmd_cycles_per_packet"
UNIT = "cycles/packet"

NULL_NIC = "net_null0,copy=0,size=%s"
RING_NIC = "net_ring0"
RING_PACKED = 1 << 34           # Feature bit.


class NotOffered(LabError):
    """A side does not offer what a case needs."""


@dataclass(frozen=True)
class Traffic:
    """Guest to guest through the switch.  'features' are those of the guests,
    as ovs-vhost-guest takes them."""

    name: str
    title: str
    size: str = "64"            # Bytes, without FCS.
    features: str = ""
    both_ways: bool = False
    flows: int = 0              # 0: one, and rules that match ports only.
    pairs: int = 1              # Queue pairs.
    writes: bool = False        # The sender writes each frame.
    reads: bool = False         # The receiver reads each frame.
    mtu: int = 0
    server: bool = False        # Ports where the switch listens.
    types: tuple = (OURS, STOCK)
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        try:
            comparison = bench.compare(self.prepare, lambda side: side.window(
                bench.settings.window_seconds, cycles_per_packet,
                self.busy_queues(), max_dropped=self.max_dropped()),
                                       types=self.types)
        except NotOffered as error:
            return [results.Result.without(self.name, METRIC, UNIT,
                                           results.NOT_OFFERED, str(error))]
        return [results.Result.of(self.name, METRIC, UNIT, comparison)]

    def busy_queues(self):
        """Returns how many of the PMD's queues always have packets."""
        return self.pairs * (2 if self.both_ways else 1)

    def max_dropped(self):
        """Returns the share of packets that may find no room in guests."""
        return MAX_DROPPED

    # One side.

    def prepare(self, side):
        """Adds ports, rules and guests, and waits for traffic."""
        columns = {"mtu_request": self.mtu} if self.mtu else {}
        side.add_vhost_ports("a", "b", server=self.server, **columns)
        side.add_flows(*self.rules())
        start_guest(side, "b", self.guest(side, "generate", "a"),
                    self.guest(side, self.receiver(), "b"))

    def rules(self):
        """Returns the OpenFlow rules.  A match on an address keeps Open
        vSwitch from taking the short cut for rules that match ports only."""
        match = ",ip,nw_src=10.0.0.0/8" if self.flows else ""
        return ("in_port=a%s,actions=output:b" % match,
                "in_port=b%s,actions=output:a" % match)

    def receiver(self):
        """Returns the mode of the guest at the second port."""
        if self.both_ways:
            return "generate"
        return "sink" if self.reads else "discard"

    def guest(self, side, mode, port):
        """Returns ovs-vhost-guest's argument for a port."""
        options = [mode + ":" + side.socket(port, self.server),
                   "client" if self.server else "server",
                   "queues=%d" % self.pairs]
        if mode == "generate":
            options += ["size=" + self.size, "flows=%d" % max(self.flows, 1)]
            options += [] if self.writes else ["prepared"]
        elif self.pairs > 1:
            # One PMD sends to one ring, whatever the number of queues.
            options.append("ring=%d" % (256 * self.pairs))
        if self.features:
            options.append(self.features)
        return ",".join(options)


def start_guest(side, port, *guests, stamps=False):
    """Starts one process for all the guests' ports and waits for traffic
    through the switch's 'port'.  'stamps': it measures latency."""
    process = side.start_guest("--poll", *([] if stamps
                                           else ["--no-latency"]), *guests)

    def check():
        with open(process.log) as stream:
            text = stream.read().strip()
        found = re.search("(does not offer|no driver here).*", text)
        if found:
            raise NotOffered("%s: %s" % (side.name, found.group()))
        process.check_running()
    side.wait_traffic(port, check)


@dataclass(frozen=True)
class Testpmd(Traffic):
    """The same with dpdk-testpmd in the middle: what it gets at one port it
    sends at the other one, so that some frames go round for ever."""

    packed: bool = False

    def busy_queues(self):
        return 2

    def prepare(self, side):
        side.add_vhost_ports("a", "b")
        side.add_flows(*self.rules())
        side.start_testpmd(
            ["net_virtio_user%d,path=%s,server=1,queue_size=256,packed_vq=%d"
             % (number, side.socket(port), self.packed)
             for number, port in enumerate("ab")],
            ["--forward-mode=io", "--nb-cores=1", "--rxd=256", "--txd=256",
             "--burst=32", "--txpkts=" + self.size],
            "ab", ["start tx_first 7"])
        side.wait_traffic("b")
        if self.packed and not side.features("a") & RING_PACKED:
            raise NotOffered(side.name + ": packed rings")


@dataclass(frozen=True)
class Nic(Traffic):
    """A guest and a NIC port of type dpdk.  'way' is "tx" (from the guest to
    a NIC that throws away), "rx" (from a NIC that makes up packets) or "ring"
    (to a NIC that gives back what it gets)."""

    way: str = "tx"

    def busy_queues(self):
        return 2 if self.way == "ring" else 1

    def max_dropped(self):
        # Nothing tells a net_null to wait while a guest has no CPU.
        return 0.10 if self.way == "rx" else MAX_DROPPED

    def prepare(self, side):
        side.add_vhost_ports("a")
        # A net_ring gives back what was sent on its queue of the same number,
        # and the PMD may send on either.
        side.add_nic("n", self.devargs(), 2 if self.way == "ring" else 1)
        side.add_flows(*self.rules())
        start_guest(side, "n" if self.way == "tx" else "a",
                    self.guest(side, "discard" if self.way == "rx"
                               else "generate", "a"))

    def devargs(self):
        """Returns the NIC as DPDK takes it."""
        if self.way == "ring":
            return RING_NIC
        return NULL_NIC % self.size + (",no-rx=1" if self.way == "tx" else "")

    def rules(self):
        to_nic, to_guest = ("in_port=a,actions=output:n",
                            "in_port=n,actions=output:a")
        return {"tx": (to_nic,), "rx": (to_guest,),
                "ring": (to_nic, to_guest)}[self.way]


@dataclass(frozen=True)
class Floor(Traffic):
    """From a NIC that makes up packets to one that throws them away: what is
    left is Open vSwitch's own share, the same on both sides."""

    def prepare(self, side):
        side.add_nic("n", NULL_NIC % self.size)
        side.add_nic("m", "net_null1,no-rx=1")
        side.add_flows("in_port=n,actions=output:m")
        side.wait_traffic("m")
