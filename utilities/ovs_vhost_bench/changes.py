# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""How long a guest waits for a change while its rings are in use, and who
notices.

A guest whose receive ring is under load stops its rings and starts them again
over and over: how long the GET_VRING_BASE of all its rings take is what a
live migration or a guest's reset has to wait.  Or it plugs in memory and takes
it out: how long SET_MEM_TABLE takes.  Two neighbour ports time round trips
meanwhile.  These share their processor with all that the restarts set
off outside of the PMD; what the PMD itself makes neighbours wait is seen in
the lengths of its iterations.  What neighbours see without any change is
measured, too.
"""

import functools
from dataclasses import dataclass

from . import host, results
from .latency import judge, probes, undisturbed_interval
from .side import MAX_WAITED, make_window
from .traffic import start_guest
from .unixctl import iteration_lengths, time_quantile

EVERY_MS = 20
WINDOW_SECONDS = 0.5
FIGURES = {                     # Name -> (histogram, percentile).
    "median": ("stop_ns", "p50"),
    "p99": ("stop_ns", "p99"),
    "neighbour-p99": ("latency_ns", "p99"),
    "neighbour-p99.9": ("latency_ns", "p99.9"),
}
CALM = "neighbour-p99.9"        # Also measured without changes.
CONFIG = {"pmd-perf-metrics": "true"}   # Shows the lengths of iterations.
# Not p99.9: the switch is asked before and after the while in which nothing
# interrupts the PMD, and one millisecond there would be all that it shows.
STALLS = {"iteration-p99": 0.99}


@dataclass(frozen=True)
class Change:
    """A change under load that ovs-vhost-guest's option 'change' makes."""

    name: str
    title: str
    change: str
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        compare = functools.partial(
            bench.compare, rounds=1, other_config=CONFIG,
            windows=max(bench.settings.windows // 5, 4))
        found = compare(functools.partial(self.prepare, True), measure)
        calm = compare(functools.partial(self.prepare, False), measure_calm)
        return [self.result(name, source.replace("_ns", "_") + percentile,
                            found.of(name))
                for name, (source, percentile) in FIGURES.items()] + [
            self.result("calm-" + CALM, "latency_p99.9", calm.of(CALM))] + [
            self.result(name, "pmd_" + name.replace("-", "_"), found.of(name))
            for name in STALLS]

    def result(self, figure, what, comparison):
        """Returns a Result in microseconds."""
        return results.Result.of("%s-%s" % (self.name, figure), what, "us",
                                 comparison)

    def prepare(self, changing, side):
        """Starts a load from c to d, which changes if 'changing', and probes
        between a and b."""
        side.add_vhost_ports("a", "b", "c", "d")
        side.add_flows("in_port=a,actions=output:b",
                       "in_port=b,actions=output:a",
                       "in_port=c,actions=output:d")
        start_guest(side, "d", *probes(side, "a", "b"),
                    "generate:%s,server,prepared,size=64" % side.socket("c"),
                    "discard:%s,server" % side.socket("d")
                    + (",%s=%d" % (self.change, EVERY_MS) if changing else ""),
                    stamps=True)


def serving(side, guest):
    """Returns the threads that serve messages between guest and switch.  The
    switch's main thread, which each restart gives something to do, is not one
    of them."""
    polling = set(host.workers(guest.pid))
    return [thread for thread, name
            in host.thread_names(side.switch.pid()).items()
            if "vhost" in name] + [
        thread for thread in host.thread_names(guest.pid)
        if thread not in polling]


def observe(side):
    """Returns a Window, without its figures, and what the guest has
    measured."""
    guest, = side.guests
    host.let_others_run()
    with side.running():
        earlier = iteration_lengths(side.control, side.cpus.pmd)
        first = side.before()
        found, waits = undisturbed_interval(side, WINDOW_SECONDS,
                                            serving(side, guest))
        last = side.after()
        later = iteration_lengths(side.control, side.cpus.pmd)
    # Packets for a ring that is stopped have nowhere to go.
    window = make_window(first, last, lambda pmd: 0.0, 0, max_dropped=1.0,
                         max_waited=1)
    judge(window, waits[0], MAX_WAITED)
    pmd = last.pmd.since(first.pmd)
    cycles_per_us = (pmd.busy + pmd.idle) / (last.time - first.time) / 1e6
    lengths = {wall: later[wall] - earlier[wall] for wall in later}
    for figure, share in STALLS.items():
        window.extra[figure] = time_quantile(lengths, share) / cycles_per_us
    return window, found


def add_figures(window, found, names):
    """Gives a Window these figures in microseconds."""
    for name in names:
        source, percentile = FIGURES[name]
        window.extra[name] = found[source][percentile] / 1e3
        if not found[source]["samples"]:
            window.reasons += ("empty",)
    return window


def measure(side):
    """Returns a Window with all figures."""
    return add_figures(*observe(side), FIGURES)


def measure_calm(side):
    """Returns a Window with what there is without changes."""
    return add_figures(*observe(side), [CALM])
