# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Cases whose guests are ovs-vhost-guest: both send to each other.

Frames are counted both ways, so that loss is exact: a frame that waits in a
ring while nobody is there is not lost.
"""

import time
from dataclasses import dataclass

from ovs_vhost_lab import LabError

from . import leftovers
from .bed import BRIDGE, Bed
from .load import Interruption, Load, interrupted
from .table import Side

LIMIT = 15                      # Seconds until a port counts as lost.
SECONDS = 1                     # Of a neighbour's rounds.
NULL_NIC = "net_null0,no-rx=1"


@dataclass(frozen=True)
class Emulated:
    """Two guests, p1 and p2; 'action' is run with (bed, number of the round).
    'options' are those of p2's guest, 'done' and 'settle' those of a guest
    that interrupts by itself (see interrupted())."""

    name: str
    title: str
    action: object
    server: bool = False        # The switch listens.
    options: tuple = ()
    both: tuple = ()            # Options of both guests.
    done: object = None
    prepare: object = None      # Called with the bed before the load begins.
    rate: int = 5000            # Frames a second, each way.
    quick: bool = False

    def run(self, name, build, folder, rounds):
        """Runs the rounds on one side; returns a Side."""
        side = Side()
        with Bed(name, build, folder, self.server) as bed:
            bed.start()
            bed.add_port("p1")
            bed.add_port("p2")
            if self.prepare:
                self.prepare(bed)
            load = self.start_load(bed)
            bed.wait_flowing(load, LIMIT)
            watch = leftovers.Watch(bed.switch)
            for number in range(rounds):
                self.one_round(side, bed, load, number)
                if side.stuck:
                    side.note = bed.errors()
                    break
                side.left = watch.left()
            load.end()
        return side

    def start_load(self, bed):
        """Starts both guests."""
        return Load(bed, "load", self.rate, [
            bed.guest("p1", "generate+sink", *self.both),
            bed.guest("p2", "generate+sink", *self.both, *self.options)])

    def one_round(self, side, bed, load, number):
        """Adds an Interruption to the Side."""
        side.add(interrupted(load, lambda: self.action(bed, number),
                             self.rate, LIMIT, self.done))


# What interrupts.

def kill(bed, _):
    bed.kill_switch()


def restart(bed, _):
    bed.restart_switch()


def add_again(bed, _):
    bed.delete_port("p2")
    bed.add_port("p2")


def move_pmd(bed, number):
    bed.set_config("pmd-cpu-mask=" + ("0x2", "0x1")[number % 2])


def other_port(bed, _):
    bed.add_port("p3")
    bed.delete_port("p3")


def add_nic(bed):
    bed.switch.add_port(BRIDGE, "n", "dpdk", dpdk_devargs=NULL_NIC)


def other_queues(bed, number):
    bed.switch.vsctl("set", "Interface", "n",
                     "options:n_rxq=%d" % (2, 1)[number % 2])


def by_guest(_bed, _number):
    """The guest does it."""


def stopped(_first, books):
    """Tells whether p2's guest has restarted its rings since the Books before
    these."""
    return books.stops > 0


def connected(first, books):
    """Tells whether p2's guest has connected again."""
    return books.connects[1] > first.connects[1]


@dataclass(frozen=True)
class Neighbour(Emulated):
    """Two guests whose neighbour stops its rings over and over, under load:
    the time that 99.9 % of the times between their frames do not exceed.  With
    'restart' 0, the same without the stops."""

    restart: int = 20           # Milliseconds.

    def run(self, name, build, folder, rounds):
        side = Side()
        with Bed(name, build, folder, self.server,
                 {"pmd-maxsleep": "0"}) as bed:
            bed.start()
            for port in "p1", "p2", "p3", "p4":
                bed.add_port(port)
            stops = ["restart=%d" % self.restart] if self.restart else []
            load = Load(bed, "load", self.rate, [
                bed.guest("p1", "generate+sink"),
                bed.guest("p2", "generate+sink"),
                bed.guest("p3", "generate", "rate=50000",
                          "dst-mac=02:76:68:00:00:04"),
                bed.guest("p4", "generate", "rate=100",
                          "dst-mac=02:76:68:00:00:03", *stops)], ["--poll"])
            bed.wait_flowing(load, LIMIT)
            watch = leftovers.Watch(bed.switch)
            for _ in range(rounds):
                side.add(self.measure(load))
            side.left = watch.left()
            load.end()
        return side

    def measure(self, load):
        """Returns an Interruption for a second of this."""
        first = load.books()
        time.sleep(SECONDS)
        last = load.books()
        if self.restart and not last.stops:
            raise LabError("the neighbour's rings never stopped")
        return Interruption(max(0.0, last.p999 - 1 / self.rate),
                            last.lost - first.lost,
                            last.repeated - first.repeated,
                            last.reordered - first.reordered,
                            last.corrupt - first.corrupt)


def _both(name, title, action, **kwargs):
    """Returns a case for each role."""
    return (Emulated(name, title, action, **kwargs),
            Emulated(name + "-server", title + ", the switch listens", action,
                     server=True, **kwargs))


CASES = (
    *_both("kill", "ovs-vswitchd killed (-9) and started", kill, quick=True),
    Emulated("kill-packed", "ovs-vswitchd killed (-9) and started, packed "
             "rings", kill,
             both=("+ring_packed",)),
    *_both("restart", "ovs-vswitchd ended in order and started", restart),
    *_both("add-again", "port deleted and added again", add_again,
           quick=True),
    *_both("cut", "connection ended in the middle of a message", by_guest,
           options=("cut=2500",), done=connected),
    Emulated("stop", "guest stops its rings and starts them", by_guest,
             options=("restart=1000",), done=stopped, quick=True),
    Emulated("pmd-mask", "PMD moved to another CPU (pmd-cpu-mask)", move_pmd),
    Emulated("other-port", "another port added and deleted", other_port),
    Emulated("other-queues", "n_rxq of another port changed", other_queues,
             prepare=add_nic),
    Neighbour("neighbour-quiet", "p99.9 beside a neighbour under load", None,
              rate=10000, restart=0),
    Neighbour("neighbour", "the same while the neighbour stops its rings",
              None, rate=10000),
)
