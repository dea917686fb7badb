# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What ports cost that nobody uses: one busy port among many quiet ones."""

from dataclasses import dataclass

from . import results
from .side import cycles_per_packet
from .traffic import METRIC, UNIT, Traffic, start_guest

PORTS_PER_PROCESS = 128

# The stock ports' default, one pool for all, as some hundred pools would not
# fit.
CONFIG = {"per-port-memory": "false"}
EAL_MIB = 2048


@dataclass(frozen=True)
class Idle:
    """'ports' quiet ports, whose guests are up, beside two busy ones."""

    name: str
    title: str
    ports: int
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        seconds = bench.settings.window_seconds
        found = bench.compare_all(self.prepare, {
            "quiet": lambda side: side.window(
                seconds, self.cycles_per_port, 0, side.guests[1:]),
            "busy": lambda side: side.window(seconds, cycles_per_packet)},
                                  other_config=CONFIG, eal_mib=EAL_MIB)
        return [results.Result.of(self.name, "pmd_cycles_per_idle_port",
                                  "cycles/port", found["quiet"]),
                results.Result.of(self.name + "-busy", METRIC, UNIT,
                                  found["busy"])]

    def cycles_per_port(self, pmd):
        """What a port costs in a round of the PMD in which no port has
        anything.  The round's own cost is in it, divided by all ports."""
        rounds = pmd.iterations * (self.ports + 2)
        return pmd.idle / rounds if rounds else 0.0

    def prepare(self, side):
        """Starts the traffic of v2v-64-split, then the quiet guests."""
        traffic = Traffic(self.name, self.title)
        names = ["i%d" % number for number in range(self.ports)]
        side.add_vhost_ports("a", "b", *names)
        side.add_flows(*traffic.rules())
        start_guest(side, "b", traffic.guest(side, "generate", "a"),
                    traffic.guest(side, "discard", "b"))
        for first in range(0, self.ports, PORTS_PER_PROCESS):
            side.start_guest(*("discard:%s,server" % side.socket(name)
                               for name in names[first:first
                                                 + PORTS_PER_PROCESS]))
        side.wait_links(*names, timeout=60)
