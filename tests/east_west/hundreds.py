# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""256 guests come, talk and go.

Each guest sends to one other one, and every frame is checked.  Times and
memory are printed; bounds are loose, for they are for a machine that does
other things as well.  What is not loose: when the ports are gone, nothing of
them is left, neither descriptor, mapping, thread or file, nor a byte of DPDK's
heap.  (What that had at most stays resident: with --legacy-mem DPDK gives
nothing back to the kernel.)"""

import json
import re
import signal
import time
from dataclasses import dataclass

from ovs_vhost_bench.host import raise_limits, resident_bytes
from ovs_vhost_gaps import leftovers
from ovs_vhost_gaps.bed import BRIDGE
from ovs_vhost_lab import LabError, wait_until

PER_PROCESS = 128               # ovs-vhost-guest takes up to 255.
FRAMES = 100                    # Of each guest.
RATE = 200                      # A second, of each guest.
GUEST_MEMORY = ("ovs-vhost-guest",)
DPDK_MEMORY = ("nohuge",)

# Bounds, for ours: seconds for each step, and MiB.
SLOWEST = 120
PORTS_MIB = 512
GROWN_MIB = 64
TIMES = ("create", "up", "frames", "gone", "delete")


@dataclass
class Round:
    """Seconds and MiB."""

    ports: int
    queues: int
    create: float = 0.0         # ovs-vsctl add-port of all, at once.
    up: float = 0.0             # From the guests' start to all queues polled.
    frames: float = 0.0         # All frames sent and received.
    gone: float = 0.0           # From the guests' end to all links down.
    delete: float = 0.0         # ovs-vsctl del-port of all.
    idle_mib: float = 0.0       # ovs-vswitchd: more than before any port,
    up_mib: float = 0.0         # with guests,
    after_mib: float = 0.0      # after they have talked,
    left_mib: float = 0.0       # and when the ports are gone.
    dpdk_mib: float = 0.0       # Of DPDK's heap in use, then.
    grown_mib: float = 0.0      # The rest, without DPDK's memory, by a round.
    dpdk_left: int = 0          # Bytes of DPDK's heap, by a round.


class Crowd:
    """The ports and their guests."""

    def __init__(self, hall, ports, queues, base=None):
        raise_limits()
        self.hall = hall
        self.queues = queues
        self.base = base or (self.resident(), self.dpdk())
        self.names = ["v%d" % number for number in range(ports)]

    def resident(self, skip=GUEST_MEMORY):
        """Returns the MiB that ovs-vswitchd has for itself."""
        return resident_bytes(self.hall.switch.pid(), skip) / 2 ** 20

    def dpdk(self):
        """Returns the bytes of DPDK's heap that are used."""
        text = self.hall.switch.appctl("dpdk/get-malloc-stats")
        return sum(map(int, re.findall(r"Alloc_size:(\d+)", text)))

    def round(self):
        """Has them come and go; returns a Round."""
        found = Round(len(self.names), self.queues)
        before_mib = self.resident(GUEST_MEMORY + DPDK_MEMORY)
        before_dpdk = self.dpdk()

        def timed(what, step, *args):
            start = time.monotonic()
            result = step(*args)
            setattr(found, what, time.monotonic() - start)
            return result
        timed("create", self.create)
        found.idle_mib = self.resident() - self.base[0]
        guests = timed("up", self.up)
        found.up_mib = self.resident() - self.base[0]
        timed("frames", self.talk, guests)
        found.after_mib = self.resident() - self.base[0]
        timed("gone", self.wait_down)
        timed("delete", self.delete)
        self.settle(before_dpdk)
        found.left_mib = self.resident() - self.base[0]
        found.grown_mib = (self.resident(GUEST_MEMORY + DPDK_MEMORY)
                           - before_mib)
        found.dpdk_left = self.dpdk() - before_dpdk
        found.dpdk_mib = (self.dpdk() - self.base[1]) / 2 ** 20
        return found

    def create(self):
        self.hall.add_ports(self.names, BRIDGE,
                            "options:n_rxq=%d" % self.queues)
        self.hall.write_flows(BRIDGE, [
            "in_port=v%d,actions=output:v%d" % (number, number ^ 1)
            for number in range(len(self.names))])

    def up(self):
        """Starts the guests, who do not talk yet."""
        guests = []
        for first in range(0, len(self.names), PER_PROCESS):
            names = self.names[first:first + PER_PROCESS]
            guests.append(self.hall.start_guests("crowd%d" % first, [
                ",".join(["generate+sink:" + self.hall.socket(name),
                          "client" if self.hall.server else "server",
                          "queues=%d" % self.queues,
                          "count=%d" % FRAMES, "rate=%d" % RATE])
                for name in names], [
                    "--settle=3600", "--json", "--no-latency",
                    "--expect-loss=0", "--expect-reordered=0",
                    "--expect-duplicates=0",
                    "--expect-received=%d" % (FRAMES * len(names))]))
        self.hall.wait_links(self.names)
        wait_until(self.polled, 60, "all queues are polled")
        return guests

    def polled(self):
        """Tells whether a PMD polls each queue.  The stock ports take a
        reconfiguration of the datapath for each guest until it does."""
        text = self.hall.switch.appctl("dpif-netdev/pmd-rxq-show")
        found = re.findall(r"port: v\d+ +queue-id: +\d+ \(enabled\)", text)
        return len(found) >= len(self.names) * self.queues

    def talk(self, guests):
        """Waits until the guests have said and heard everything."""
        for guest in guests:
            guest.kill(signal.SIGUSR2)
        for guest in guests:
            if not guest.wait(120):
                raise LabError("%s does not end" % guest.name)
            if guest.status():
                with open(guest.log) as stream:
                    text = stream.read().strip().splitlines()[-1]
                try:
                    text = json.loads(text)["failures"]
                except ValueError:
                    pass
                raise LabError("%s: status %d: %s" % (
                    guest.name, guest.status(), text))
            self.hall.processes.remove(guest)

    def wait_down(self):
        def down():
            text = self.hall.switch.vsctl(
                "--columns=name", "--data=bare", "--no-headings", "find",
                "Interface", "link_state=up")
            return not set(self.names) & set(text.split())
        wait_until(down, 60, "links are down")

    def delete(self):
        words = []
        for name in self.names:
            words += ["--", "del-port", BRIDGE, name]
        self.hall.switch.vsctl(*words)

    def settle(self, dpdk):
        """Waits until what is freed later is."""
        limit = time.monotonic() + 5
        while self.dpdk() > dpdk and time.monotonic() < limit:
            time.sleep(0.1)


def check(found):
    """Raises LabError if a bound does not hold."""
    times = vars(found)
    if max(times[step] for step in TIMES) > SLOWEST:
        raise LabError("too slow: %s" % found)
    if max(found.up_mib, found.after_mib) > PORTS_MIB:
        raise LabError("too much memory: %s" % found)
    if found.grown_mib > GROWN_MIB or found.dpdk_left:
        raise LabError("memory is left: %s" % found)


def run(hall, log, ports=256, queues=1, rounds=1):
    """The scenario; returns the Rounds.  Bounds are for our ports only."""
    hall.start()
    few = Crowd(hall, 2, queues)
    few.round()                 # What is made once has been made.
    crowd = Crowd(hall, ports, queues, few.base)
    watch = leftovers.Watch(hall.switch)
    found = []
    for number in range(rounds):
        with log("round %d" % (number + 1)) as say:
            found.append(crowd.round())
            left = watch.left()
            say(", ".join("%s %.3g" % item
                          for item in vars(found[-1]).items()))
            if left:
                raise LabError("left behind: " + "; ".join(left))
            if hall.name == "ours":
                check(found[-1])
    return found
