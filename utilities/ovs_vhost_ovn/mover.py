# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A QEMU guest that moves from one chassis to the other, live, in each of the
ways that OVN has for its port.

While it moves, vm1, vm2 and vm3 ping it, and bytes go both ways by TCP, all of
which are compared.  It cannot announce itself (guest_announce=off), so that
QEMU asks the port to: OVN may wait for that RARP packet.  Nothing else depends
on it, as OVN learns no addresses from packets.
"""

import os
import time
from dataclasses import dataclass

from ovs_vhost_lab import Guest, LabError, Nic, guest_image, wait_until
from ovs_vhost_lab.guest import accelerator, qemu_version
from ovs_vhost_lab.migration import (start_precopy, wait_incoming,
                                     wait_migrated)
from ovs_vhost_lab.process import scaled
from ovs_vhost_lab.traffic import BLOCK, Downward, Pinger, Upward

from .cloud import DHCP_SCRIPT, PLACES, Place

MOVER = Place("mover", "blue", 20, "hv1")
MEMORY = 256                    # MiB.
MAX_GAP = 6                     # Seconds without an answer to a ping.
KEEP = "dd if=/dev/urandom of=/tmp/keep bs=1M count=16 2>/dev/null; " \
       "sha256sum </tmp/keep"


@dataclass(frozen=True)
class Strategy:
    """What OVN is told of the port: while the guest moves the port may be on
    both chassis, or it is bound to the other one afterwards; and what makes
    the second place of it active, if not its being there."""

    title: str
    both: bool = False
    activation: str = ""


STRATEGIES = (
    Strategy("bound anew afterwards"),
    Strategy("bound to both", both=True),
    Strategy("bound to both, active by RARP", both=True, activation="rarp"))


class Mover:
    """Steps with a guest that moves between the chassis of a Cloud."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.host = MOVER.host
        self.guest = self.image = self.kept = None
        self.guests = []
        self.pingers = {}
        self.transfers = []

    def steps(self):
        """Returns the steps, for ovs_vhost_lab.steps."""
        moves = tuple(
            ("move: " + each.title, lambda each=each: self.move(each), True)
            for each in STRATEGIES)
        return (
            ("guest: QEMU on hv1", self.boot, True),
            ("traffic: pings and TCP", self.start_traffic, True),
            *moves,
            ("traffic: after the moves", self.end_traffic, False),
        )

    def logs(self):
        """Returns [(path, how many of its last lines tell something)]."""
        return [log for guest in self.guests
                for log in ((guest.log, 10), (guest.console_log, 10))]

    # The guest.

    def bind(self, *hosts, activation=""):
        """Tells OVN where the port may be, and waits until it is known."""
        options = ["requested-chassis=" + ",".join(hosts)]
        if activation:
            options.append("activation-strategy=" + activation)
        self.cloud.central.nbctl("lsp-set-options", MOVER.name, *options)
        self.cloud.central.sync()

    def start_guest(self, host, *qemu_args):
        """Starts a QEMU at a port of its own on a chassis."""
        kind = self.cloud.options.type
        chassis = self.cloud.hosts[host]
        chassis.add_port(MOVER.name, kind)
        guest = self.cloud.stack.enter_context(Guest(
            "mover%d" % len(self.guests), self.image, self.cloud.folder,
            memory=MEMORY, netns=chassis.netns, qemu_args=qemu_args))
        self.guests.append(guest)
        guest.start(Nic(chassis.socket_path(MOVER.name, kind), mac=MOVER.mac,
                        listen=kind.endswith("client"),
                        device="guest_announce=off"))
        return guest

    def boot(self):
        self.image = guest_image(files={"block": BLOCK, "dhcp": DHCP_SCRIPT})
        self.cloud.add_logical_port(MOVER)
        self.bind(MOVER.host)
        self.guest = self.start_guest(MOVER.host)
        self.guest.wait_ready(120)
        self.cloud.central.wait_up(MOVER.name)
        self.cloud.check_lease(MOVER, self.guest, "/dhcp")
        self.kept = self.guest.check(KEEP, 60)
        return "%s by DHCP, QEMU %s, %s" % (
            MOVER.address, ".".join(map(str, qemu_version())),
            accelerator(self.image).upper())

    # Traffic.

    def start_traffic(self):
        for name, station in self.cloud.guests.items():
            pinger = Pinger(station.netns, station.busybox, MOVER.address)
            self.cloud.stack.callback(pinger.close)
            self.pingers[name] = pinger
        self.transfers = [
            Upward(self.guest, self.cloud.guests["vm1"].netns,
                   PLACES["vm1"].address, 5001),
            Downward(self.guest, self.cloud.guests["vm3"].netns,
                     MOVER.address, 6001)]
        self.check_traffic()
        return "pings from %s; TCP to vm1 and from vm3" % ", ".join(
            self.pingers)

    def check_traffic(self):
        """Waits until all traffic goes on by itself."""
        for pinger in self.pingers.values():
            pinger.wait()
        for transfer in self.transfers:
            transfer.wait()

    def end_traffic(self):
        self.guest.wait_ready(60)
        self.guest.check("touch /tmp/stop")
        for transfer in self.transfers:
            transfer.finish()
        if self.guest.check("sha256sum </tmp/keep", 180) != self.kept:
            raise LabError("the guest's memory is not what it was")
        return "%d MiB by TCP, equal; the guest's memory, too" % (
            sum(each.n_bytes for each in self.transfers) >> 20)

    # Moves.

    def move(self, strategy):
        """Moves the guest to the other chassis; returns what it cost."""
        here = self.host
        there, = set(self.cloud.hosts) - {here}
        incoming = os.path.join(self.cloud.folder,
                                "incoming%d" % len(self.guests))
        target = self.start_guest(there, "-incoming", "unix:" + incoming)
        wait_incoming(target)
        if strategy.both:
            self.bind(here, there, activation=strategy.activation)
            wait_until(self.is_at_both, 20, "the port is on both chassis")
        start = time.monotonic()
        start_precopy(self.guest, incoming)
        info = wait_migrated(self.guest, target)
        if strategy.activation:
            wait_until(lambda: self.binding("options:additional-chassis-"
                                            "activated"), 20,
                       "a RARP packet makes the new place active")
            self.check_announced(there)
        if strategy.both:
            self.check_traffic()
        self.bind(there)
        self.check_traffic()
        self.leave(here, there, target)
        return self.report(start, info)

    def binding(self, column):
        """Returns a column of the port's binding, '' if it is empty."""
        found = self.cloud.central.sbctl(
            "--if-exists", "get", "Port_Binding", MOVER.name, column).strip()
        return "" if found in ("[]", "{}") else found.strip('"')

    def is_at_both(self):
        return self.binding("additional_chassis")

    def check_announced(self, host):
        """Our port has sent the RARP packet."""
        if self.cloud.options.type.startswith("dpdk"):
            return
        text = self.cloud.hosts[host].switch.appctl("vhost/stats", MOVER.name)
        if "rx.rarp_packets" not in text:
            raise LabError("the port did not announce the guest:\n" + text)

    def leave(self, here, there, target):
        """Takes away the place where the guest was.  Usually
        QEMU ends first; but a stock port that is deleted while DPDK begins to
        reconnect ends ovs-vswitchd by a use after free (seen with 22.11)."""
        ends = [self.guest.kill, lambda: self.cloud.hosts[here].switch.vsctl(
            "del-port", MOVER.name)]
        if self.cloud.options.type.startswith("dpdk"):
            ends.reverse()
        for end in ends:
            end()
        self.guest = target
        self.host = there
        found = self.cloud.central.chassis_of(MOVER.name)
        if found != there:
            raise LabError("OVN has the port on %s and not on %s"
                           % (found, there))
        self.check_traffic()

    def report(self, start, info):
        gaps = {name: pinger.longest_gap(start)
                for name, pinger in self.pingers.items()}
        text = "to %s, %.1f s, downtime %d ms, longest gap %s" % (
            self.host, info["total-time"] / 1000, info["downtime"],
            ", ".join("%s %.2f s" % item for item in gaps.items()))
        if max(gaps.values()) > scaled(MAX_GAP):
            raise LabError(text)
        return text
