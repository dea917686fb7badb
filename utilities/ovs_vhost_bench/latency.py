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
ANSWER_SECONDS = 0.001          # For a guest to note what it has measured.
MAX_WAITED = 0.002              # Share of a window, of any thread that polls.
FIGURES = ("p50", "p90", "p99", "p99.9")
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


def undisturbed_interval(side, seconds, others=()):
    """Lets a side's PMD and its guest poll for 'seconds' and nothing but
    'others', threads, interrupt them.  Returns what the guest has measured,
    and the shares of the time that the PMD and each of the guest's threads
    had to wait."""
    guest, = side.guests
    pollers = [(side.switch.pid(), side.pmd_thread()),
               *((guest.pid, thread) for thread in host.workers(guest.pid))]
    with host.undisturbed([thread for _, thread in pollers],
                          [guest.pid, *others]):
        marks = side.mark(guest)
        time.sleep(ANSWER_SECONDS)
        waits = [host.waited_ns(*poller) for poller in pollers]
        time.sleep(seconds)
        waits = [host.waited_ns(*poller) - wait
                 for poller, wait in zip(pollers, waits)]
        side.mark(guest)
        time.sleep(ANSWER_SECONDS)
    return (side.marked(guest, marks, 2)[1],
            [wait / 1e9 / seconds for wait in waits])


def judge(window, waited, most=MAX_WAITED):
    """Discards a window if a thread that polls had to wait for more than
    'most', a share of the window."""
    window.extra["pollers_waited"] = waited
    if waited > most:
        window.reasons += ("preempted",)


def measure(side):
    """Returns a Window with the percentiles in microseconds."""
    host.let_others_run()
    with side.running():
        first = side.before()
        found, waits = undisturbed_interval(side, WINDOW_SECONDS)
        last = side.after()
    found = found["latency_ns"]
    window = make_window(first, last, lambda pmd: found["p99"] / 1e3, 0,
                         max_waited=1)
    judge(window, max(waits))
    for figure in FIGURES:
        window.extra[figure] = found[figure] / 1e3
    if not found["samples"]:
        window.reasons += ("empty",)
    return window
