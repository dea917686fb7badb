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
from north_south.wire import (Wire, echoed, inside_vxlan,  # noqa: E402
                              pass_through, random_frames, tagged, udp, vxlan)

SKIP = 77
DRIVERS = ("net_virtio", "net_vmxnet3", "net_e1000", "mempool_ring")
MODULES = ("virtio_pci", "uio_pci_generic", "tun")
MACS = ("52:54:00:02:00:01", "52:54:00:02:00:02")
OUTSIDE = ("02:00:00:00:00:01", "02:00:00:00:00:02")
GUEST_MAC = "02:00:00:00:00:99"
FRAMES = 200
TUNNEL = {"local": "10.9.0.1", "remote": "10.9.0.2", "vni": 7}


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
            self._wait_up(port)

    def _wait_up(self, port):
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


def nic_to_nic(bed):
    """Frames of all sizes cross from either NIC to the other one."""
    bed.flows("in_port=p0,actions=output:p1", "in_port=p1,actions=output:p0")
    for here in range(2):
        there = 1 - here
        frames = random_frames(FRAMES, OUTSIDE[there], OUTSIDE[here], here)
        pass_through(bed.wires[here], bed.wires[there], frames, frames)


def nic_to_guest(bed):
    """A guest echoes what comes from a NIC."""
    bed.flows("in_port=p0,actions=output:v0", "in_port=v0,actions=output:p0")
    frames = random_frames(FRAMES, GUEST_MAC, OUTSIDE[0], 2)
    pass_through(bed.wires[0], bed.wires[0], frames, list(map(echoed, frames)))


def vlans(bed):
    """A guest's frames have a tag on the wire, and none in the guest."""
    bed.flows("in_port=p0,dl_vlan=100,actions=strip_vlan,output:v0",
              "in_port=v0,actions=mod_vlan_vid:100,output:p1")
    frames = random_frames(FRAMES, GUEST_MAC, OUTSIDE[0], 3)
    pass_through(bed.wires[0], bed.wires[1],
                 [tagged(frame, 100) for frame in frames],
                 [tagged(echoed(frame), 100) for frame in frames])


def drops(bed):
    """What a flow drops does not come, and all else does."""
    bed.flows("priority=40000,in_port=p0,udp,tp_dst=666,actions=drop",
              "in_port=p0,actions=output:v0", "in_port=v0,actions=output:p0")
    frames = random_frames(FRAMES, GUEST_MAC, OUTSIDE[0], 4)
    bad = random_frames(FRAMES, GUEST_MAC, OUTSIDE[0], 5, dport=666)
    mixed = [frame for pair in zip(bad, frames) for frame in pair]
    pass_through(bed.wires[0], bed.wires[0], mixed,
                 list(map(echoed, frames)), lost=bad)
    found = bed.switch("ovs-ofctl dump-flows br0 tp_dst=666,udp,in_port=p0")
    if "n_packets=%d," % FRAMES not in found:
        raise LabError("%d frames were to be dropped:\n%s" % (FRAMES, found))


def tunnel(bed):
    """A guest's network is VXLAN on the wire."""
    bed.switch(
        "ovs-vsctl del-port br0 p0 -- add-br br1 -- "
        "set Bridge br1 datapath_type=netdev other-config:hwaddr=\\\"{mac}\\\""
        " -- add-port br1 p0 -- set Interface p0 type=dpdk "
        "options:dpdk-devargs={nic} -- add-port br0 x0 -- set Interface x0 "
        "type=vxlan options:remote_ip={remote} options:key={vni}; "
        "ip addr add {local}/24 dev br1; ip link set br1 up; "
        "ovs-appctl tnl/neigh/set br1 {remote} {outside}".format(
            mac=MACS[0], outside=OUTSIDE[0], nic=bed.switch(
                "ovs-vsctl get Interface p0 options:dpdk-devargs").strip(),
            **TUNNEL))
    bed._wait_up("p0")
    bed.flows("in_port=x0,actions=output:v0", "in_port=v0,actions=output:x0")
    wire = bed.wires[0]
    for number in range(20):
        inner = udp(GUEST_MAC, OUTSIDE[0], "10.1.0.1", "10.1.0.2",
                    os.urandom(18 + 50 * number))
        wire.send(vxlan(MACS[0], OUTSIDE[0], TUNNEL["remote"],
                        TUNNEL["local"], TUNNEL["vni"], inner))
        wait_inner(wire, echoed(inner))


def wait_inner(wire, expected):
    """Waits for a frame of the tunnel that has 'expected' in it."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        frame = wire.receive(1)
        inner = frame and inside_vxlan(frame, TUNNEL["vni"])
        if inner == expected:
            return
        if inner and inner[12:14] == b"\x08\x00":
            raise LabError("%s came, not %s" % (inner.hex(), expected.hex()))
    raise LabError("nothing came through the tunnel")


def explain(bed):
    """Prints where frames may have been lost."""
    print(bed.machine.run(
        ". /etc/host-profile; ovs-ofctl dump-ports br0; "
        "ovs-ofctl dump-flows br0; ovs-appctl vhost/stats v0; "
        "ovs-appctl coverage/show | grep -E 'drop|upcall'; "
        "ovs-appctl dpctl/dump-flows; ovs-vsctl get Interface p0 statistics; "
        "tail -n 20 /tmp/ovs-vswitchd.log")[1])


STEPS = (nic_to_nic, nic_to_guest, vlans, drops, tunnel)


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
