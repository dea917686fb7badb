# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Guests on two bridges that a bond of two NICs joins.

Each bridge has its ends of both cables (veth, by DPDK's net_af_packet) in a
bond.  In each mode every guest talks to every other one: with both cables,
while one has failed, and when it is back.  Numbered frames run all the time.
net_af_packet of DPDK 22.11 does not tell a carrier, so LACP finds the failure,
within three seconds."""

import re
import time

from ovs_vhost_gaps.bed import BRIDGE
from ovs_vhost_gaps.load import Load
from ovs_vhost_lab import LabError, wait_until
from ovs_vhost_lab.process import scaled

from . import frames
from .stations import Exchange
from .vlans import Network, Script, Vlan

BRIDGES = (BRIDGE, "br1")
CABLES = (("n0", "m0"), ("n1", "m1"))   # Ends at br0, at br1.
GUESTS = 4                              # On each bridge, and a talker.
RATE = 1000
PLACE = Vlan("access", 10)
FLOWS = 8                               # From each guest to each other one.
LIMIT = 60

# Mode: whether both cables carry frames.
MODES = {"active-backup": False, "balance-slb": True, "balance-tcp": True}


class Joined:
    """The bridges and their guests."""

    def __init__(self, hall):
        self.hall = hall
        hall.start()
        hall.switch.add_bridge(BRIDGES[1])
        for near, far in CABLES:
            hall.netns.add_veth(near, far, hall.netns)
        for side, bridge in enumerate(BRIDGES):
            self._add_bond(side, bridge)
        made = []
        for bridge in BRIDGES:
            made += hall.add_stations(
                *("%s-%d" % (bridge, number) for number in range(GUESTS)),
                bridge=bridge)
        hall.add_ports(["t0"], BRIDGES[0])
        hall.add_ports(["t1"], BRIDGES[1])
        for port in [station.name for station in made] + ["t0", "t1"]:
            hall.switch.vsctl("set", "Port", port, *PLACE.columns())
        self.network = Network(dict.fromkeys(made, PLACE))
        self.exchange = Exchange(made, self.network.marks)
        self.load = Load(hall, "talk", RATE, [
            hall.guest(port, "generate+sink", "size=1000", "flows=64")
            for port in ("t0", "t1")])

    def _add_bond(self, side, bridge):
        words = []
        ends = [cable[side] for cable in CABLES]
        for number, end in enumerate(ends):
            words += ["--", "set", "Interface", end, "type=dpdk",
                      "options:dpdk-devargs=net_af_packet%d,iface=%s"
                      % (2 * side + number, end)]
        self.hall.switch.vsctl(
            "add-bond", bridge, "bond%d" % side, *ends,
            "bond_mode=active-backup", "lacp=active",
            "other_config:lacp-time=fast",
            "other_config:bond-rebalance-interval=1000",
            "other_config:bond-primary=" + ends[0], *words)
        if self.hall.errors():
            raise LabError("bond: " + self.hall.errors())

    def set_mode(self, mode):
        """Gives both bonds a mode."""
        words = []
        for side in range(len(BRIDGES)):
            words += ["--", "set", "Port", "bond%d" % side,
                      "bond_mode=" + mode]
        self.hall.switch.vsctl(*words)
        self.wait_members({True})

    def wait_members(self, wanted):
        """Waits until the first cable's ends are used, or not, and the
        second one's are: 'wanted' has True for the first if it is."""
        def there():
            for side in range(len(BRIDGES)):
                text = self.hall.switch.appctl("bond/show", "bond%d" % side)
                found = dict(re.findall(r"^member (\w+): (\w+)", text, re.M))
                first, second = (found.get(cable[side]) for cable in CABLES)
                if (first == "enabled") not in wanted or second != "enabled":
                    return False
                if "lacp_status: configured" in text:
                    return False
            return True
        try:
            wait_until(there, LIMIT, "the bonds' members change")
        except LabError as error:
            raise LabError("%s\n%s" % (error, self.hall.switch.appctl(
                "bond/show"))) from None

    def set_cable(self, up):
        """Pulls the first cable, or plugs it in."""
        self.hall.netns.ip("link", "set", CABLES[0][0], "up" if up else
                           "down")
        self.wait_members({up})

    def wait_numbers(self, before):
        """Waits until more numbered frames come than had before; returns the
        Books."""
        wait_until(lambda: all(
            now > then + RATE // 20 for then, now in zip(
                before.received, self.load.books().received)),
            LIMIT, "numbered frames go on")
        after = self.load.books()
        if after.corrupt or after.repeated > before.repeated:
            raise LabError("frames came twice or changed: %s" % after)
        return after

    def sent(self):
        """Returns how many frames br0 has sent into each cable."""
        text = self.hall.switch.ofctl("dump-ports", BRIDGE, "--names")
        found = dict(re.findall(
            r"port +\"?(\w+)\"?: rx.*\n +tx pkts=(\d+)", text))
        return [int(found[near]) for near, _ in CABLES]

    def talk(self):
        """Each station sends to all others, and all is compared.  Returns how
        many frames br0 has sent into each cable."""
        self.exchange.meet()
        before = self.sent()
        script = Script(self.network)
        stations = self.network.members(10)
        for source in stations:
            for to in stations:
                for flow in range(FLOWS if to is not source else 0):
                    script.send(source, frames.udp(
                        source, to, sport=1000 + flow), 10, [to])
        self.exchange.run(script.sends, script.expected)
        return [now - then for now, then in zip(self.sent(), before)]


def spread(mode, counts, failed):
    """Tells whether frames went over the cables that they are to go over;
    LACP's own, and a talker's, may be few."""
    crossing = GUESTS * GUESTS * FLOWS
    wanted = [not failed, failed or MODES[mode]]
    return sum(counts) >= crossing and \
        [count > crossing / 20 for count in counts] == wanted


def wait_spread(joined, mode, failed):
    """Has all talk until frames go over the right cables; returns counts.
    What a bond has moved away from a cable that failed, and what it has not
    balanced yet, takes until it balances again."""
    limit = time.monotonic() + scaled(LIMIT)
    while True:
        counts = joined.talk()
        if spread(mode, counts, failed):
            return counts
        if failed or not MODES[mode] or time.monotonic() > limit:
            raise LabError("%s: %s frames in the cables\n%s" % (
                mode, counts, joined.hall.switch.appctl("bond/show",
                                                        "bond0")))


def try_mode(joined, mode, say):
    """One mode."""
    joined.set_mode(mode)
    joined.hall.wait_flowing(joined.load, LIMIT)
    said = []
    for failed in (False, True, False):
        before = joined.load.books()
        joined.set_cable(not failed)
        counts = wait_spread(joined, mode, failed)
        after = joined.wait_numbers(before)
        said.append("%s: %d and %d frames in the cables, %d numbered ones "
                    "lost" % ("one has failed" if failed else "both",
                              *counts, after.lost - before.lost))
    say("; ".join(said))


def run(hall, log):
    """The scenario."""
    joined = Joined(hall)
    for mode in MODES:
        with log(mode) as say:
            try_mode(joined, mode, say)
    joined.load.end()
