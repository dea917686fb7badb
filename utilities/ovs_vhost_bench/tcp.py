# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""TCP between two QEMU guests with Linux's driver: PMD cycles per byte.

Without KVM the guests are slow, and so is the stream: the PMD has little to
do and finds few packets at a time, and notifies drivers that sleep.  So this
says what an interrupt-driven guest costs the PMD, not how fast TCP can be.
"""

import os
import signal
import time
from dataclasses import dataclass

from ovs_vhost_lab import Guest, Nic, guest_image

from . import host, results
from .side import make_window
from .unixctl import port_counters

WINDOW_SECONDS = 0.5
SETTLE_SECONDS = 0.3            # Until TCP has got over the pause.
MAX_DROPPED = 0.05              # TCP fills any queue.
MEMORY_MIB = 256
SINK = ("nc -l -p 5001 -e dd of=/dev/null bs=64k & "
        "until netstat -ltn | grep -q :5001; do sleep 0.1; done")
SOURCE = "nc 10.0.0.2 5001 -e dd if=/dev/zero bs=64k >/dev/null 2>&1 &"


class Machine:
    """A lab's Guest as a Side wants its guests: one that can be stopped."""

    def __init__(self, guest):
        self._guest = guest
        self.log = guest.log
        self.check_running = guest.check_running

    def kill(self, signum=signal.SIGKILL):
        """Sends a signal; SIGKILL ends it in order."""
        if signum == signal.SIGKILL:
            self._guest.kill()
        elif self._guest.pid():
            os.kill(self._guest.pid(), signum)


@dataclass(frozen=True)
class Tcp:
    """One stream, without offloads of any kind."""

    name: str = "tcp"
    title: str = "TCP between two QEMU guests"
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        found = bench.compare(prepare, measure, rounds=1, windows=max(
            bench.settings.windows // 3, 4))
        return [results.Result.of(self.name, "pmd_cycles_per_byte",
                                  "cycles/byte", found)]


def prepare(side):
    """Boots two guests and lets one send to the other."""
    side.add_vhost_ports("a", "b")
    side.add_flows("in_port=a,actions=output:b", "in_port=b,actions=output:a")
    image = guest_image()
    guests = []
    for number, port in enumerate("ab", 1):
        guest = Guest(port, image, os.path.join(side.folder, "vm"),
                      memory=MEMORY_MIB)
        os.makedirs(os.path.join(side.folder, "vm"), exist_ok=True)
        side.guests.append(Machine(guest))
        guest.start(Nic(side.socket(port), listen=True,
                        address="10.0.0.%d/24" % number))
        host.prefer(guest.pid())
        guests.append(guest)
    for guest in guests:
        guest.wait_ready(120)
    guests[1].check(SINK)
    guests[0].check(SOURCE)
    side.wait_traffic("b", timeout=30)


def measure(side):
    """Returns a Window in cycles per byte of the frames from a to b."""
    with side.running():
        time.sleep(SETTLE_SECONDS)
        octets = port_counters(side.control)["a"].rx_bytes
        first = side.before()
        time.sleep(WINDOW_SECONDS)
        last = side.after()
        octets = port_counters(side.control)["a"].rx_bytes - octets
    window = make_window(first, last,
                         lambda pmd: pmd.busy / max(octets, 1), 0,
                         max_dropped=MAX_DROPPED)
    window.extra["mbps"] = octets * 8e-6 / (last.time - first.time)
    if octets < 100000:
        window.reasons += ("stalled",)
    return window
