# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Whether a packet is copied between a guest's port and a NIC.

The plugin tests/plugins/mbuf-watch.c, which the switch must have loaded, tells
where each packet is in memory as the port and DPDK's driver take and give
it.  The bed's 'ethdev' is DPDK's name of p0."""

import re

from ovs_vhost_lab import LabError

from .steps import FRAMES, GUEST_MAC, OUTSIDE
from .wire import echoed, pass_through, random_frames

WATCHER = "mbuf-watch"


def same_places(bed):
    """Returns how many frames were seen at both the guest's port and the
    NIC, and how many of them in the same place, for both directions."""
    text = bed.switch("ovs-appctl test-mbufs/show")
    return [tuple(map(int, pair)) for pair in re.findall(
        r": (\d+) frames, (\d+) of them in the same place", text)]


def not_copied(bed):
    """Between the guest's port and the NIC a packet stays where it is."""
    bed.flows("in_port=p0,actions=output:v0", "in_port=v0,actions=output:p0")
    bed.switch("ovs-appctl test-mbufs/watch v0 " + bed.ethdev)
    frames = random_frames(FRAMES, GUEST_MAC, OUTSIDE[0], 6)
    pass_through(bed.wires[0], bed.wires[0], frames, list(map(echoed, frames)))
    found = same_places(bed)
    if found != [(FRAMES, FRAMES)] * 2:
        raise LabError("frames, in the same place: %s" % found)

    # This would see a copy: of two ports only one can have the packet itself.
    bed.flows("in_port=p0,actions=output:v0",
              "in_port=v0,actions=output:p0,output:p1")
    bed.switch("ovs-appctl test-mbufs/watch v0 " + bed.ethdev)
    pass_through(bed.wires[0], bed.wires[0], frames, list(map(echoed, frames)))
    (frames_out, same_out), _ = same_places(bed)
    if (frames_out, same_out) != (FRAMES, 0):
        raise LabError("%d of %d copied frames are in the same place"
                       % (same_out, frames_out))
