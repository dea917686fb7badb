# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""One switch, and guests with a NIC of every kind.

Each rung has a bridge of its own with one port for each guest, all in one
ovs-vswitchd: what is not measured is quiet.  Booted once, so that what
differs between the rungs is the NIC and nothing else.
"""

import os

from ovs_vhost_lab import (Guest, LabError, NetworkNamespace, Nic,
                           Switch, TapNic, guest_image)

from .rungs import CLIENT, SERVER, TAP

KERNEL = "linux-image-amd64"    # The cloud kernel has no driver for old cards.
MODULES = ("virtio_pci", "virtio_net", "e1000", "8139cp", "8139too", "pktgen")
MEMORY_MIB = 512


def image():
    """Returns what the guests boot."""
    return guest_image(MODULES, ("/usr/bin/iperf3", "/usr/sbin/ethtool"),
                       kernel_package=KERNEL)


class Bed:
    """Switch and guests for 'rungs', below 'folder'.  'guests' are their
    names, of one letter."""

    def __init__(self, build, folder, rungs, image, guests="ab",
                 kernel_args=""):
        self.rungs = tuple(rungs)
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.netns = NetworkNamespace()
        self.switch = Switch(build, folder, self.netns)
        self.guests = [Guest(name, image, folder, memory=MEMORY_MIB,
                             netns=self.netns, kernel_args=kernel_args)
                       for name in guests]

    def __enter__(self):
        try:
            self.switch.start()
            nics = [self._add_rung(rung) for rung in self.rungs]
            for guest, own in zip(self.guests, zip(*nics)):
                guest.start(*own)
            for guest in self.guests:
                guest.wait_ready(120)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for guest in self.guests:
            guest.kill()
        self.switch.stop()
        self.switch.forget()
        self.netns.close()

    def _add_rung(self, rung):
        """Adds the bridge of a rung; returns both guests' NICs."""
        bridge = self.bridge(rung)
        self.switch.add_bridge(bridge)
        return [self._add_port(rung, bridge, which)
                for which in range(len(self.guests))]

    def _add_port(self, rung, bridge, which):
        port = self.port(rung, which)
        address = self.address(rung, which) + "/24"
        if rung.backend == TAP:
            # Without offloads: of a tap's frames the switch would not know
            # that they have yet to be checksummed or segmented.
            self.netns.ip("tuntap", "add", port, "mode", "tap")
            self.netns.ip("link", "set", port, "up")
            self.switch.add_port(bridge, port, "system")
            return TapNic(port, rung.device, address,
                          mac=self.mac(rung, which))
        if rung.backend == SERVER:
            self.switch.add_port(bridge, port, rung.port_type)
            path = self.switch.socket_path(port)
        else:
            path = os.path.join(self.folder, port + ".sock")
            self.switch.add_port(bridge, port, rung.port_type,
                                 vhost_server_path=path)
        return Nic(path, rung.backend == CLIENT, address,
                   mac=self.mac(rung, which))

    def bridge(self, rung):
        """Returns the name of a rung's bridge."""
        return "br%d" % self.rungs.index(rung)

    def port(self, rung, which):
        """Returns the name of the port of guest 'which' (0 or 1)."""
        return "%s%d" % (self.guests[which].name, self.rungs.index(rung))

    def address(self, rung, which):
        """Returns the address of guest 'which' on a rung's network."""
        return "10.0.%d.%d" % (self.rungs.index(rung), which + 1)

    def interface(self, rung, which):
        """Returns the name of a rung's NIC inside guest 'which'."""
        wanted = self.mac(rung, which)
        found = self.guests[which].check(
            "grep -l %s /sys/class/net/*/address" % wanted).split("/")
        if len(found) < 5:
            raise LabError("guest %s has no NIC %s"
                           % (self.guests[which].name, wanted))
        return found[4]

    def mac(self, rung, which):
        """Returns the MAC of guest 'which' on a rung."""
        return "52:54:00:00:%02x:%02x" % (self.rungs.index(rung), which + 1)
