#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Frames between physical NICs and a guest, through the flow table.

    north-south.py [--nic MODEL] [--build-dir DIR] [--ovs-tree DIR]
                   [--logs DIR]

OVS-DPDK with the plugin runs in a machine of QEMU, whose NICs on PCI belong to
DPDK's drivers, by uio_pci_generic.  In there a guest (ovs-vhost-guest) echoes
at a vhostuserclient port.  What comes out of the NICs is compared byte by
byte.  The first NIC is a MODEL (vmxnet3; e1000e and igb want QEMU 10), the
second one virtio-net-pci.

Needs root.  Exit status 0: all held; 77: this host cannot run it.
"""

import argparse
import os
import shutil
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (Build, Guest, LabError, WireNic,  # noqa: E402
                           host_image, instance)
from ovs_vhost_lab.dpdk import bind_nics  # noqa: E402
from ovs_vhost_lab.guest import QEMU  # noqa: E402
from ovs_vhost_lab.host_image import (HUGEPAGES, on_switch,  # noqa: E402
                                      start_switch)
from north_south.steps import GUEST_MAC, MACS, STEPS  # noqa: E402
from north_south.wire import Wire  # noqa: E402

SKIP = 77
DRIVERS = ("net_virtio", "net_vmxnet3", "net_e1000", "mempool_ring")
MODULES = ("virtio_pci", "uio_pci_generic", "tun")


class Bed:
    """The machine, its switch and its wires."""

    def __init__(self, build, folder, model):
        self.wires = [Wire(folder, "w%d" % which) for which in range(2)]
        self.models = (model, "virtio-net-pci")
        guest_program = os.path.join(build.path, "utilities/ovs-vhost-guest")
        self.machine = Guest(
            "host", host_image(build, drivers=DRIVERS, modules=MODULES,
                               programs=[guest_program]),
            folder, memory=1280, cpus=2,
            kernel_args="hugepages=%d" % HUGEPAGES)

    def __enter__(self):
        try:
            self.machine.start(*(
                WireNic(wire.near, wire.far, model, mac=mac) for wire, model,
                mac in zip(self.wires, self.models, MACS)))
            self.machine.wait_ready(120)
            start_switch(self.machine, pmd_maxsleep="100")
            self._add_ports()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.machine.kill()

    def switch(self, command, timeout=60):
        """Runs a command of Open vSwitch's in the machine."""
        return on_switch(self.machine, command, timeout)

    def _add_ports(self):
        self.switch("ovs-vsctl add-br br0 -- set Bridge br0 "
                    "datapath_type=netdev fail_mode=secure")
        addresses = bind_nics(self.machine, "uio_pci_generic")
        for which, address in enumerate(addresses):
            self.switch("ovs-vsctl add-port br0 p%d -- set Interface p%d "
                        "type=dpdk options:dpdk-devargs=%s"
                        % (which, which, address))
        self.switch("ovs-vsctl add-port br0 v0 -- set Interface v0 "
                    "type=vhostuserclient options:vhost-server-path=/tmp/v0")
        self.machine.check("start-stop-daemon -S -b -n guest -a "
                           "/usr/bin/ovs-vhost-guest -- "
                           "echo:/tmp/v0,server,mac=%s" % GUEST_MAC)
        for port in ("p0", "p1", "v0"):
            self.wait_up(port)

    def wait_up(self, port):
        """Waits until a port's link is up."""
        limit = time.monotonic() + 60
        while "up" not in self.switch("ovs-vsctl get Interface %s link_state"
                                      % port):
            if time.monotonic() > limit:
                raise LabError("%s is not up:\n%s" % (port, self.switch(
                    "ovs-vsctl list Interface %s; "
                    "tail -n 30 /tmp/ovs-vswitchd.log" % port)))
            time.sleep(0.5)

    def flows(self, *flows):
        """Replaces br0's flows, also in the datapath."""
        self.switch("ovs-ofctl del-flows br0; " + "; ".join(
            "ovs-ofctl add-flow br0 '%s'" % flow for flow in flows)
            + "; ovs-appctl revalidator/wait; ovs-appctl revalidator/wait")
        for wire in self.wires:
            wire.drain()


def explain(bed):
    """Prints where frames may have been lost."""
    print(bed.machine.run(
        ". /etc/host-profile; ovs-ofctl dump-ports br0; "
        "ovs-ofctl dump-flows br0; ovs-appctl vhost/stats v0; "
        "ovs-appctl coverage/show | grep -E 'drop|upcall'; "
        "ovs-appctl dpctl/dump-flows; ovs-vsctl get Interface p0 statistics; "
        "tail -n 20 /tmp/ovs-vswitchd.log")[1])


def work(directory, options):
    """Runs the steps; returns the exit status."""
    build = Build(options.build_dir, options.ovs_tree)
    try:
        with Bed(build, directory.path, options.nic) as bed:
            for step in STEPS:
                start = time.monotonic()
                try:
                    step(bed)
                except LabError:
                    explain(bed)
                    raise
                print("%s: ok (%.1f s)" % (step.__name__,
                                           time.monotonic() - start),
                      flush=True)
            print(bed.switch("ovs-appctl vhost/show v0"))
    finally:
        if options.logs:
            for name in os.listdir(directory.path):
                if name.endswith(".log"):
                    shutil.copy(os.path.join(directory.path, name),
                                options.logs)
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nic", default="vmxnet3")
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which(QEMU):
        print("needs root and %s" % QEMU)
        return SKIP
    try:
        return instance.supervise(
            lambda directory, keep: work(directory, options), "north-south")
    except LabError as error:
        print("north-south: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
