# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Rungs on which the guests' own packets never meet a kernel.

dpdk-testpmd drives the NICs of guests a and b: a sends, b receives, or b
answers what guest c, an ordinary one, asks.  There is no TCP in testpmd.
"""

import re
import time

from ovs_vhost_lab import LabError, Testpmd, dpdk_image, wait_until

from .measure import (IDLE_SECONDS, ns_per_packet, percent_lost, port_type,
                      round_trips, share_of_cpu, switch_ns, taken)

MODULES = ("virtio_pci", "virtio_net", "uio_pci_generic")
DRIVER = "uio_pci_generic"
KERNEL_ARGS = "hugepages=96"
PACKETS_SECONDS = 2
SETTLE_SECONDS = 0.5
PATIENCE = 20                   # Seconds; others may have all CPUs.


def image():
    """Returns what all three guests boot."""
    return dpdk_image(modules=MODULES)


class Applications:
    """testpmd in guests a and b of a Bed."""

    def __init__(self, bed):
        self.bed = bed
        self.sender, self.receiver = (Testpmd(guest, driver=DRIVER)
                                      for guest in bed.guests[:2])
        for each in (self.sender, self.receiver):
            each.start(120)

    def facts(self, rung):
        """Returns {driver, port_type} of a rung."""
        return {"driver": driver_of(self.receiver, self.bed.mac(rung, 1)),
                "port_type": port_type(self.bed, rung, 1)}

    def _round_trips(self, rung):
        """Returns {rtt_us} of guest c, with b's testpmd as its peer."""
        port = port_of(self.receiver, self.bed.mac(rung, 1))
        self.receiver.command("set fwd icmpecho", "set portlist %d" % port,
                              "start")
        try:
            return round_trips(self.bed, rung, asker=2)
        finally:
            self.receiver.command("stop")

    def sample(self, rung):
        """Returns all figures of a rung, once."""
        ports = [port_of(application, self.bed.mac(rung, which))
                 for which, application
                 in enumerate((self.sender, self.receiver))]
        return {**count_packets(self.sender, self.receiver,
                                lambda: switch_ns(self.bed),
                                lambda: taken(self.bed), *ports),
                **self._round_trips(rung)}


def count_packets(sender, receiver, used_ns, n_taken, sending=0, receiving=0):
    """Returns {kpps, lost, switch_ns} of packets of 64 bytes, with FCS, from
    one testpmd's port 'sending' to another one's 'receiving'.  used_ns() is
    for how long the switch has run, n_taken() how many packets came to it."""
    idle = share_of_cpu(used_ns, IDLE_SECONDS)
    earlier = receiver.counters(receiving)[0]
    receiver.command("set fwd rxonly", "set portlist %d" % receiving, "start")
    sender.command("set fwd txonly", "set portlist %d" % sending, "start")
    try:
        wait_until(lambda: receiver.counters(receiving)[0] > earlier,
                   PATIENCE, "packets arrive")
        time.sleep(SETTLE_SECONDS)
        start = time.monotonic()
        sent = sender.counters(sending)[1]
        received = receiver.counters(receiving)[0]
        cost = ns_per_packet(used_ns, n_taken, idle, PACKETS_SECONDS)
        sent = sender.counters(sending)[1] - sent
        received = receiver.counters(receiving)[0] - received
        elapsed = time.monotonic() - start
    finally:
        sender.command("stop")
        receiver.command("stop")
    if not received:
        raise LabError("no packets: %d sent" % sent)
    return {"kpps": received / elapsed / 1e3,
            "lost": percent_lost(sent, received),
            "switch_ns": cost}


def _port(application, mac):
    """Returns what testpmd says of the port with an address: (number,
    driver)."""
    said = application.command("show port info all")
    for number, address, driver in re.findall(
            r"Infos for port (\d+) .*?MAC address: (\S+)"
            r".*?Driver name: (\S+)", said, re.S):
        if address.lower() == mac:
            return int(number), driver
    raise LabError("testpmd has no port %s:\n%s" % (mac, said))


def port_of(application, mac):
    """Returns testpmd's number of the port with an address."""
    return _port(application, mac)[0]


def driver_of(application, mac):
    """Returns the driver of testpmd's port with an address."""
    return _port(application, mac)[1]
