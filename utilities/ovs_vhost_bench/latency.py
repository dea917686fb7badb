# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Round trips from guest to guest and back while the PMD has other work.

The load is another pair of ports with prepared frames at a given share of what
the stock ports can forward at most.  The frames that are timed have ports of
their own and are few, as a guest that stamps and verifies each frame would
itself be the slowest part.  One thread moves all guests' frames.
"""

import time
from dataclasses import dataclass

from . import host, results
from .side import make_window
from .traffic import Traffic, start_guest

PROBES = "50k"                  # Round trips per second.
WINDOW_SECONDS = 0.25           # So that p99.9 is of more than 10 of them.
MAX_WAITED = 0.02               # Share of a window, for the guests' threads.
MAX_PMD_WAITED = 0.005
FIGURES = ("p50", "p99", "p99.9")
LOAD = Traffic("load", "64 bytes")


@dataclass(frozen=True)
class Latency:
    """'load' is a share of the stock ports' rate."""

    name: str
    title: str
    load: float
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        rate = bench.stock_rate(LOAD.prepare)
        found = bench.compare(lambda side: self.prepare(side, rate), measure,
                              windows=max(bench.settings.windows // 4, 4))
        note = "load %.2f Mpps" % (self.load * rate / 1e6)
        return [results.Result.of("%s-%s" % (self.name, figure),
                                  "round_trip_" + figure, "us",
                                  found.of(figure), note)
                for figure in FIGURES]

    def prepare(self, side, rate):
        """Starts the load from c to d and probes between a and b."""
        side.add_vhost_ports("a", "b", "c", "d")
        side.add_flows("in_port=a,actions=output:b",
                       "in_port=b,actions=output:a",
                       "in_port=c,actions=output:d")
        start_guest(side, "d", *probes(side, "a", "b"),
                    "generate:%s,server,prepared,size=64,rate=%d"
                    % (side.socket("c"), self.load * rate),
                    "discard:%s,server" % side.socket("d"), stamps=True)


def probes(side, near, far):
    """Returns ovs-vhost-guest's arguments for round trips that are timed."""
    return ("generate+sink:%s,server,size=64,rate=%s" % (side.socket(near),
                                                         PROBES),
            "echo:%s,server" % side.socket(far))


def measure(side):
    """Returns a Window with the percentiles in microseconds."""
    guest, = side.guests
    with side.running():
        side.interval(guest)
        waited = host.process_waited_ns(guest.pid)
        first = side.before()
        time.sleep(WINDOW_SECONDS)
        last = side.after()
        waited = host.process_waited_ns(guest.pid) - waited
        found = side.interval(guest)["latency_ns"]
    window = make_window(first, last, lambda pmd: found["p99"] / 1e3, 0,
                         max_waited=MAX_PMD_WAITED)
    for figure in FIGURES:
        window.extra[figure] = found[figure] / 1e3
    window.extra["guest_waited"] = waited / 1e9 / (last.time - first.time)
    if window.extra["guest_waited"] > MAX_WAITED:
        window.reasons += ("guest preempted",)
    if not found["samples"]:
        window.reasons += ("empty",)
    return window
