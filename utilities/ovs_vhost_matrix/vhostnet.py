# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""vhost-net, the backend in the kernel, where the host's kernel has none.

A machine of QEMU takes the host's place: Open vSwitch runs in it, on a kernel
with vhost_net.ko, and in place of guests DPDK applications, whose virtio-user
speaks to /dev/vhost-net as QEMU would.  The kernel's thread has a tap on its
other side, which is in the bridge.  All of that is emulated, switch and kernel
included: so it is compared with two vhostuserclient ports, with the same
applications, in the same machine.
"""

import os
import re
import time

from ovs_vhost_lab import Guest, LabError, Testpmd, host_image
from ovs_vhost_lab.host_image import HUGEPAGES, on_switch, start_switch

from .dpdk import count_packets, driver_of
from .measure import PING, mean_us
from .rungs import TAP

MODULES = ("virtio_pci", "virtio_net", "tun", "vhost_net")
MEMORY_MIB = 1280
NAMES = ("a", "b")
ADDRESS = "10.0.0.1"            # Of the bridge's own interface, which asks.

# The kernel's threads for vhost-net.
THREADS = "grep -l ^vhost- /proc/[0-9]*/comm | cut -d/ -f3"

# Nanoseconds that they and the switch's threads ran.
USED = """for pid in $(pidof ovs-vswitchd) $(""" + THREADS + """); do
    cat /proc/$pid/task/*/schedstat; done 2>/dev/null"""


class Host:
    """The machine, with a switch and a bridge."""

    def __init__(self, build, folder):
        os.makedirs(folder, exist_ok=True)
        self.guest = Guest("host", host_image(build, modules=MODULES), folder,
                           memory=MEMORY_MIB, cpus=2,
                           kernel_args="hugepages=%d" % HUGEPAGES)
        self._facts = {}

    def __enter__(self):
        self.guest.start()
        try:
            self.guest.wait_ready(120)
            start_switch(self.guest, pmd_maxsleep="100")
            on_switch(self.guest, "ovs-vsctl add-br br0 -- "
                      "set bridge br0 datapath_type=netdev; "
                      "ip addr add %s/24 dev br0; ip link set br0 up"
                      % ADDRESS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.guest.kill()

    def switch_ns(self):
        """Returns for how long the switch has run, in ns."""
        return sum(int(line.split()[0]) for line
                   in self.guest.check(USED).splitlines())

    def sample(self, rung):
        """Returns the figures of a rung, whose ports are there meanwhile."""
        applications = [Testpmd(self.guest, huge=False, name=name,
                                vdevs=[self._device(rung, which)])
                        for which, name in enumerate(NAMES)]
        try:
            self._add_ports(rung, applications)
            self._facts[rung.name] = self._look(rung, applications)
            return {**count_packets(*applications, self.switch_ns),
                    **self._round_trips(applications[1])}
        finally:
            for each in applications:
                each.end()
            on_switch(self.guest, " -- ".join(
                ["ovs-vsctl"] + ["--if-exists del-port " + name
                                 for name in NAMES]))

    def facts(self, rung):
        """Returns what was found when 'rung' was measured last."""
        return self._facts[rung.name]

    def _look(self, rung, applications):
        """Returns {driver, port_type, vhost_threads} of a rung: the last is
        how many threads of the kernel serve it."""
        kind = on_switch(self.guest, "ovs-vsctl get Interface %s type"
                         % NAMES[1])
        return {"driver": driver_of(applications[1], mac(1)),
                "port_type": kind.strip().strip('"') or "system",
                "vhost_threads": len(self.guest.check(THREADS).split())}

    def _device(self, rung, which):
        """Returns virtio-user's device, with port or tap NAME."""
        name = NAMES[which]
        return "net_virtio_user0,mac=%s,queue_size=256,%s" % (
            mac(which), "path=/dev/vhost-net,iface=" + name
            if rung.backend == TAP else "path=/tmp/%s.sock,server=1" % name)

    def _add_ports(self, rung, applications):
        """Starts the applications, and connects them to the bridge."""
        for name, application in zip(NAMES, applications):
            port = "type=system"
            if rung.backend != TAP:
                port = "type=%s options:vhost-server-path=/tmp/%s.sock" % (
                    rung.port_type, name)
                on_switch(self.guest, "ovs-vsctl add-port br0 %s -- "
                          "set Interface %s %s" % (name, name, port))
            application.start(120)
            if rung.backend == TAP:
                on_switch(self.guest, "ip link set %s up; "
                          "ovs-vsctl add-port br0 %s" % (name, name))

    def _round_trips(self, application):
        """Returns {rtt_us} from the bridge's own interface to b."""
        application.command("set fwd icmpecho", "start")
        return {"rtt_us": mean_us(self.guest.check(
            "arp -s 10.0.0.2 %s; " % mac(1) + PING % "10.0.0.2", 120))}


def mac(which):
    """Returns the MAC of an application."""
    return "52:54:00:01:00:%02x" % which
