#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Frames between physical NICs and a guest, through the flow table.

    north-south.py [--nic MODEL] [--driver DRIVER] [--build-dir DIR]
                   [--ovs-tree DIR] [--logs DIR]

OVS-DPDK with the plugin runs in a machine of QEMU, whose NICs on PCI Express
belong to DPDK's drivers, by DRIVER: uio_pci_generic or vfio-pci, then behind
an IOMMU.  In there a guest (ovs-vhost-guest) echoes at a vhostuserclient port.
What comes out of the NICs is compared byte by byte, and no packet may be copied
between guest's port and NIC.  The first NIC is a MODEL, the second one
virtio-net-pci.  $OVS_VHOST_QEMU is the QEMU; e1000e and igb want a newer one
than 7.2.

Needs root.  Exit status 0: all held; 77: this host cannot run it.
"""

import argparse
import contextlib
import os
import shutil
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (Build, Guest, LabError, WireNic,  # noqa: E402
                           host_image, instance)
from ovs_vhost_lab.build import PLUGIN  # noqa: E402
from ovs_vhost_lab.dpdk import bind_nics  # noqa: E402
from ovs_vhost_lab.guest import (NIC_IOMMU_ARGS,  # noqa: E402
                                 NIC_IOMMU_KERNEL_ARGS, QEMU, qemu_version)
from ovs_vhost_lab.host_image import (HUGEPAGES, PLUGIN_DIR,  # noqa: E402
                                      on_switch, start_switch)
from north_south.copies import WATCHER, not_copied  # noqa: E402
from north_south.steps import GUEST_MAC, MACS, STEPS  # noqa: E402
from north_south.wire import Wire  # noqa: E402

SKIP = 77
DRIVERS = ("net_virtio", "net_vmxnet3", "net_e1000", "mempool_ring")
MODULES = ("virtio_pci", "uio_pci_generic", "vfio_iommu_type1", "vfio_pci",
           "tun")
VIRTIO = "virtio-net-pci"
# A NIC's driver in DPDK, as status:driver_name has it.
PMDS = {VIRTIO: "net_virtio", "vmxnet3": "net_vmxnet3",
        "e1000e": "net_e1000_em", "igb": "net_e1000_igb"}
# 7.2 has no igb, and its e1000e passes nothing under DPDK's driver.
NEEDS = {"e1000e": (8,), "igb": (8,)}
KERNEL_DRIVERS = ("uio_pci_generic", "vfio-pci")


class Bed:
    """The machine, its switch and its wires."""

    def __init__(self, build, folder, model, driver):
        self.wires = [Wire(folder, "w%d" % which) for which in range(2)]
        self.models = (model, VIRTIO)
        self.driver = driver
        self.ethdev = None      # DPDK's name of p0.
        self.iommu = driver == "vfio-pci"
        guest_program = os.path.join(build.path, "utilities/ovs-vhost-guest")
        self.machine = Guest(
            "host", host_image(build, drivers=DRIVERS, modules=MODULES,
                               programs=[guest_program],
                               files=self._watcher(build)),
            folder, memory=1280, cpus=2, machine="q35",
            qemu_args=NIC_IOMMU_ARGS if self.iommu else (),
            kernel_args="hugepages=%d %s" % (
                HUGEPAGES, NIC_IOMMU_KERNEL_ARGS if self.iommu else ""))

    def __enter__(self):
        try:
            self.machine.start(*(
                WireNic(wire.near, wire.far, model, mac=mac, root_port=True,
                        device=self._device(model)) for wire, model, mac
                in zip(self.wires, self.models, MACS)))
            self.machine.wait_ready(120)
            start_switch(self.machine, pmd_maxsleep="100",
                         netdev_plugins="%s,%s" % (PLUGIN, WATCHER))
            self._add_ports()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.machine.kill()

    @staticmethod
    def _watcher(build):
        """Returns the file of the plugin that sees copies."""
        name = WATCHER + ".so"
        with open(os.path.join(build.path, "tests/plugins", name),
                  "rb") as stream:
            return {"%s/%s" % (PLUGIN_DIR, name): stream.read()}

    def _device(self, model):
        """Returns more properties of a NIC.  Without iommu_platform, virtio
        would be the one device that the IOMMU is not asked about."""
        if self.iommu and model == VIRTIO:
            return "disable-legacy=on,iommu_platform=on"
        return ""

    def switch(self, command, timeout=60):
        """Runs a command of Open vSwitch's in the machine."""
        return on_switch(self.machine, command, timeout)

    def _add_ports(self):
        self.switch("ovs-vsctl add-br br0 -- set Bridge br0 "
                    "datapath_type=netdev fail_mode=secure")
        addresses = bind_nics(self.machine, self.driver)
        self.ethdev = addresses[0]
        for which, address in enumerate(addresses):
            self.switch("ovs-vsctl add-port br0 p%d -- set Interface p%d "
                        "type=dpdk options:dpdk-devargs=%s"
                        % (which, which, address))
        self.switch("ovs-vsctl add-port br0 v0 -- set Interface v0 "
                    "type=vhostuserclient options:vhost-server-path=/tmp/v0")
        # It polls: to wake a thread takes a busy machine of this kind
        # milliseconds, for which its ring would be stopped (slow_call).
        self.machine.check("start-stop-daemon -S -b -N 10 -n guest -a "
                           "/usr/bin/ovs-vhost-guest -- --poll "
                           "echo:/tmp/v0,server,mac=%s" % GUEST_MAC)
        for port in ("p0", "p1", "v0"):
            self.wait_up(port)
        self._check_drivers()

    def _check_drivers(self):
        """The NICs are driven by what was asked for."""
        for port, model in zip(("p0", "p1"), self.models):
            found = self.switch("ovs-vsctl get Interface %s status:driver_name"
                                % port).strip()
            if found != PMDS[model]:
                raise LabError("%s, a %s, is driven by %s"
                               % (port, model, found))
        # Then DPDK has given the NICs addresses of its own, which would be
        # somebody else's memory if the IOMMU did not translate them.
        said = self.machine.check("cat /tmp/ovs-vswitchd.log")
        if self.iommu != ("IOMMU type 1" in said):
            raise LabError("by %s:\n%s" % (self.driver, said))

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
        with Bed(build, directory.path, options.nic,
                 options.driver) as bed:
            for step in (*STEPS, not_copied):
                start = time.monotonic()
                try:
                    step(bed)
                except LabError:
                    with contextlib.suppress(LabError):
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


def missing(options):
    """Returns why this host cannot run it, or None."""
    if os.geteuid():
        return "needs root"
    if not shutil.which(QEMU):
        return "no %s" % QEMU
    if qemu_version() < NEEDS.get(options.nic, ()):
        return "%s is too old for %s" % (QEMU, options.nic)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nic", choices=PMDS, default="vmxnet3")
    parser.add_argument("--driver", choices=KERNEL_DRIVERS,
                        default="uio_pci_generic")
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    options = parser.parse_args()
    reason = missing(options)
    if reason:
        print("north-south: skipped: %s" % reason)
        return SKIP
    try:
        return instance.supervise(
            lambda directory, keep: work(directory, options), "north-south")
    except LabError as error:
        print("north-south: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
