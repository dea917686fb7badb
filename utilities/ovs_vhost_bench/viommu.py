# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest behind a vIOMMU that maps its memory once: DPDK in a QEMU guest.

Frames go round between guest and switch, so that both rings are in use and
nothing is ever dropped.  Without KVM the guest is slower than the PMD, which
finds what the guest sends in a burst: what that costs the PMD is the figure.
How many frames pass is said as well; most of that time is the guest's.
"""

import os
import time
from dataclasses import dataclass

from ovs_vhost_lab import Guest, LabError, Nic, Testpmd, dpdk_image
from ovs_vhost_lab.dpdk import HUGEPAGES
from ovs_vhost_lab.guest import (VIOMMU_ARGS, VIOMMU_DEVICE,
                                 VIOMMU_KERNEL_ARGS, VIOMMU_MACHINE)

from . import host, results
from .side import cycles_per_packet
from .tcp import Machine
from .traffic import METRIC, UNIT, NotOffered
from .unixctl import port_counters

MEMORY_MIB = 512
BURSTS = 4                      # They fit the rings.
TRIES, TRY_SECONDS = 20, 0.5
ACCESS_PLATFORM = 1 << 33       # Feature bit.


@dataclass(frozen=True)
class Viommu:
    """Frames of 64 bytes, translated in both directions."""

    name: str = "viommu-64"
    title: str = "a DPDK guest behind a vIOMMU"
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        try:
            found = bench.compare(
                prepare, lambda side: measure(side, bench.settings),
                rounds=1, other_config={"vhost-iommu-support": "true"})
        except NotOffered as error:
            return [results.Result.without(self.name, METRIC, UNIT,
                                           results.NOT_OFFERED, str(error))]
        return [results.Result.of(self.name, METRIC, UNIT, found),
                results.Result.of(self.name + "-time", "ns_per_packet",
                                  "ns/packet", found.of("ns"))]


def prepare(side):
    """Boots a guest and has it and the switch send each other frames."""
    side.add_vhost_ports("a")
    side.add_flows("in_port=a,actions=in_port")
    folder = os.path.join(side.folder, "vm")
    os.makedirs(folder)
    guest = Guest("a", dpdk_image(), folder, memory=MEMORY_MIB,
                  machine=VIOMMU_MACHINE, qemu_args=VIOMMU_ARGS,
                  kernel_args="%s hugepages=%d" % (VIOMMU_KERNEL_ARGS,
                                                   HUGEPAGES))
    side.guests.append(Machine(guest))
    guest.start(Nic(side.socket("a"), listen=True, device=VIOMMU_DEVICE))
    host.prefer(guest.pid())
    guest.wait_ready(120)
    testpmd = Testpmd(guest)
    testpmd.start()
    side.wait_links("a")
    if not side.features("a") & ACCESS_PLATFORM:
        raise NotOffered(side.name + ": a vIOMMU")
    testpmd.command("set fwd io")
    go_round(side, testpmd)


def go_round(side, testpmd):
    """Lets frames go round.  As long as the guest begins to use more of its
    memory they may be dropped, and are sent anew."""
    for _ in range(TRIES):
        testpmd.command("start tx_first %d" % BURSTS)
        before = port_counters(side.control)["a"]
        time.sleep(TRY_SECONDS)
        after = port_counters(side.control)["a"]
        if after.rx_packets > before.rx_packets \
                and after.tx_dropped == before.tx_dropped:
            return
        testpmd.command("stop")
    raise LabError("%s: no frame goes round" % side.name)


def measure(side, settings):
    """Returns a Window in cycles per packet."""
    # Bursts are what the guest makes them: no number of packets is too few.
    window = side.window(settings.window_seconds, cycles_per_packet, queues=0)
    rate = window.extra["mpps"]
    window.extra["ns"] = 1000 / rate if rate else 0.0
    if not rate:
        window.reasons += ("stalled",)
    return window
