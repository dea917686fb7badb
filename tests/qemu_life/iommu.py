# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest with a vIOMMU whose kernel maps and unmaps every packet: each one
needs translations that the switch has to ask QEMU for."""

import time

from ovs_vhost_lab import LabError
from ovs_vhost_lab.guest import (VIOMMU_ARGS, VIOMMU_DEVICE,
                                 VIOMMU_KERNEL_ARGS, VIOMMU_MACHINE)

ACCESS_PLATFORM = 1 << 33
PINGS = 100


def boot_behind_iommu(life, kernel_args="", image=None, **kwargs):
    """Starts the switch, and a guest whose NIC is behind a vIOMMU."""
    if life.ours:
        life.start(image=image)
        life.add_port("options:vhost-iommu-support=true")
    else:
        life.start(image=image, vhost_iommu_support="true")
        life.add_port()
    life.boot(device=VIOMMU_DEVICE, machine=VIOMMU_MACHINE,
              qemu_args=VIOMMU_ARGS,
              kernel_args=VIOMMU_KERNEL_ARGS + " " + kernel_args, **kwargs)
    if not int(life.status("features"), 16) & ACCESS_PLATFORM:
        raise LabError("the guest has no vIOMMU")


def iommu(life):
    """Pings both ways, TCP both ways, the driver unbound and bound."""
    boot_behind_iommu(life)

    # The first second is the guest's: DHCP would be there, and neighbours.
    time.sleep(1)
    for what, ping in (("to", life.ping), ("from", life.guest_ping)):
        lost = PINGS - ping(PINGS)
        life.say("%d of %d pings %s the guest lost" % (lost, PINGS, what))
        if life.ours and lost > PINGS // 100:
            raise LabError("more than one in a hundred")
    hits = life.stat("rx_q0_iotlb_hits")
    misses = life.stat("rx_q0_iotlb_misses")
    life.say("%d hits, %d misses" % (hits, misses))
    if not hits:
        raise LabError("no translation was used")
    if not life.ours:
        return                  # TCP at some kbit/s: there is no telling.
    life.wait_show(r"vIOMMU: \d+ translations, [1-9]")
    start = time.monotonic()
    life.start_traffic()
    life.say("TCP in both directions after %.1f s"
             % (time.monotonic() - start))
    life.check_traffic()
    life.end_traffic()
    if life.show(r"BROKEN"):
        raise LabError("a ring is broken")
