# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""vhost-net, the backend in the kernel, where the host's kernel has none.

A machine of QEMU takes the host's place: Open vSwitch runs in it, on a kernel
with vhost_net.ko, and in place of guests DPDK applications, whose virtio-user
speaks to /dev/vhost-net as QEMU would.  The kernel's thread has a tap on its
other side, which is in a bridge of the switch's or, with openvswitch.ko, in
one of the kernel's.  All of that is emulated, switch and kernel included: so it is
compared with two vhostuserclient ports, with the same applications, in the
same machine.
"""

import os
import re
import time

from ovs_vhost_lab import Guest, LabError, Testpmd, host_image
from ovs_vhost_lab.host_image import HUGEPAGES, on_switch, start_switch

from .dpdk import count_packets, driver_of
from .measure import PING, mean_us, packets_taken
from .rungs import TAP

MODULES = ("virtio_pci", "virtio_net", "tun", "vhost_net", "openvswitch")
MEMORY_MIB = 1280
NAMES = ("a", "b")

# datapath_type -> (bridge, beginning of its network).  The bridge's own
# interface is number 1 there, and asks; number 2 answers.
BRIDGES = {"netdev": ("br0", "10.0.0."), "system": ("br1", "10.0.1.")}

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
            start_switch(self.guest, kernel=True, pmd_maxsleep="100")
            for datapath, (bridge, network) in BRIDGES.items():
                on_switch(self.guest, "ovs-vsctl add-br {0} -- "
                          "set bridge {0} datapath_type={1}; "
                          "ip addr add {2}1/24 dev {0}; ip link set {0} up"
                          .format(bridge, datapath, network))
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

    def _taken(self, rung):
        """Returns how many packets the rung's datapath has received."""
        return packets_taken(on_switch(self.guest, "ovs-appctl " + (
            "dpctl/show system@ovs-system" if rung.datapath == "system"
            else "dpif-netdev/pmd-stats-show")))

    def sample(self, rung):
        """Returns the figures of a rung, whose ports are there meanwhile."""
        applications = [Testpmd(self.guest, huge=False, name=name,
                                vdevs=[self._device(rung, which)])
                        for which, name in enumerate(NAMES)]
        try:
            self._add_ports(rung, applications)
            self._facts[rung.name] = self._look(rung, applications)
            return {**count_packets(*applications, self.switch_ns,
                                    lambda: self._taken(rung)),
                    **self._round_trips(rung, applications[1])}
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
        """Returns {driver, port_type, datapath, vhost_threads} of a rung: the
        last is how many threads of the kernel serve it."""
        bridge, _ = BRIDGES[rung.datapath]
        datapath = on_switch(self.guest, "ovs-vsctl get Bridge %s "
                             "datapath_type" % bridge)
        kind = on_switch(self.guest, "ovs-vsctl get Interface %s type"
                         % NAMES[1])
        return {"driver": driver_of(applications[1], mac(1)),
                "port_type": kind.strip().strip('"') or "system",
                "datapath": datapath.strip().strip('"'),
                "vhost_threads": len(self.guest.check(THREADS).split())}

    def _device(self, rung, which):
        """Returns virtio-user's device, with port or tap NAME."""
        name = NAMES[which]
        return "net_virtio_user0,mac=%s,queue_size=256,%s" % (
            mac(which), "path=/dev/vhost-net,iface=" + name
            if rung.backend == TAP else "path=/tmp/%s.sock,server=1" % name)

    def _add_ports(self, rung, applications):
        """Starts the applications, and connects them to the bridge."""
        bridge, _ = BRIDGES[rung.datapath]
        for name, application in zip(NAMES, applications):
            port = "type=system"
            if rung.backend != TAP:
                port = "type=%s options:vhost-server-path=/tmp/%s.sock" % (
                    rung.port_type, name)
                on_switch(self.guest, "ovs-vsctl add-port %s %s -- "
                          "set Interface %s %s" % (bridge, name, name, port))
            application.start(120)
            if rung.backend == TAP:
                on_switch(self.guest, "ip link set %s up; "
                          "ovs-vsctl add-port %s %s" % (name, bridge, name))

    def _round_trips(self, rung, application):
        """Returns {rtt_us} from the bridge's own interface to b."""
        address = BRIDGES[rung.datapath][1] + "2"
        application.command("set fwd icmpecho", "start")
        return {"rtt_us": mean_us(self.guest.check(
            "arp -s %s %s; " % (address, mac(1)) + PING % address, 120))}


def mac(which):
    """Returns the MAC of an application."""
    return "52:54:00:01:00:%02x" % which
