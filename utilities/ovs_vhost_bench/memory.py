# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""How much memory ports take, with quiet guests and under load.

What counts is what ovs-vswitchd has resident more than without ports, DPDK's
memory included (it is ordinary memory here, --no-huge, and is counted where it
was touched), the guests' own memory not.
"""

import time
from dataclasses import dataclass

from . import host, results
from .windows import Comparison, Window

GUEST_MEMORY = ("ovs-vhost-guest",)     # Names of the memory's files.
EAL_MIB = 2048
CONFIG = {"per-port-memory": "false"}   # The stock ports' default.
LOAD_SECONDS = 1.0


@dataclass(frozen=True)
class Memory:
    """'ports' ports, half of which send to the other half under load."""

    name: str
    title: str
    ports: int
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        found = {"idle": {}, "load": {}}
        for name in "ours", "stock":
            with bench.side(name, other_config=CONFIG,
                            eal_mib=EAL_MIB) as side:
                idle, load = self.measure(side)
                found["idle"][name], found["load"][name] = idle, load
        return [results.Result.of(
            "%s-%s" % (self.name, state), "resident_" + state, "MiB",
            Comparison([Window(each["ours"])], [Window(each["stock"])]))
                for state, each in found.items()]

    def measure(self, side):
        """Returns the MiB that the ports take when idle and under load."""
        side.start()
        before = resident(side)
        names = ["p%d" % number for number in range(self.ports)]
        side.add_vhost_ports(*names)
        guest = side.start_guest(*("discard:%s,server" % side.socket(name)
                                   for name in names))
        side.wait_links(*names, timeout=60)
        idle = resident(side)
        guest.end()
        side.guests.remove(guest)
        self.start_load(side, names)
        time.sleep(LOAD_SECONDS)
        return idle - before, resident(side) - before

    def start_load(self, side, names):
        """Lets each port of the first half send to one of the other half."""
        half = len(names) // 2
        guests = []
        for source, sink in zip(names[:half], names[half:]):
            side.add_flows("in_port=%s,actions=output:%s" % (source, sink))
            guests += ["generate:%s,server,prepared" % side.socket(source),
                       "discard:%s,server" % side.socket(sink)]
        side.start_guest("--poll", "--no-latency", *guests)
        side.wait_traffic(names[half])


def resident(side):
    """Returns ovs-vswitchd's resident MiB without the guests' memory."""
    return host.resident_bytes(side.switch.pid(), GUEST_MEMORY) / (1 << 20)
