# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What frames do between NICs and a guest, wherever the switch runs.

A bed has wires, the outer ends of its NICs p0 and p1, a guest that echoes at
port v0, and switch() and flows() for the switch, whose bridge is br0."""

import os
import time

from ovs_vhost_lab import LabError

from .wire import (echoed, inside_vxlan, pass_through, random_frames, tagged,
                   udp, vxlan)

MACS = ("52:54:00:02:00:01", "52:54:00:02:00:02")
OUTSIDE = ("02:00:00:00:00:01", "02:00:00:00:00:02")
GUEST_MAC = "02:00:00:00:00:99"
FRAMES = 200
TUNNEL = {"local": "10.9.0.1", "remote": "10.9.0.2", "vni": 7}


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
    found = bed.switch("ovs-appctl revalidator/purge; "
                       "ovs-ofctl dump-flows br0 tp_dst=666,udp,in_port=p0")
    if "n_packets=%d," % FRAMES not in found:
        raise LabError("%d frames were to be dropped:\n%s" % (FRAMES, found))


def tunnel(bed):
    """A guest's network is VXLAN on the wire."""
    bed.switch(
        "ovs-vsctl set Bridge br0 other-config:hwaddr=\\\"{mac}\\\" -- "
        "add-port br0 x0 -- set Interface x0 type=vxlan "
        "options:remote_ip={remote} options:key={vni}; "
        "ip addr add {local}/24 dev br0; ip link set br0 up; "
        "ovs-appctl tnl/neigh/set br0 {remote} {outside}".format(
            mac=MACS[0], outside=OUTSIDE[0], **TUNNEL))
    bed.flows("in_port=x0,actions=output:v0", "in_port=v0,actions=output:x0",
              "in_port=p0,actions=LOCAL", "in_port=LOCAL,actions=output:p0")
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


STEPS = (nic_to_nic, nic_to_guest, vlans, drops, tunnel)
