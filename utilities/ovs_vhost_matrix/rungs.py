# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The rungs of the ladder: what each guest's NIC is, and who serves it.

Where packets go on each, and how often they are copied, is in
docs/backends.md.
"""

from dataclasses import dataclass

TAP, CLIENT, SERVER = "tap", "client", "server"


@dataclass(frozen=True)
class Rung:
    """'backend' is TAP: QEMU emulates 'device' and has a tap in the bridge;
    or CLIENT or SERVER: a port of the type 'port_type' serves it, which
    connects to QEMU or listens.  'datapath' is the bridge's datapath_type."""

    name: str
    title: str
    backend: str
    device: str = "virtio-net-pci"
    port_type: str = ""
    datapath: str = "netdev"


KERNEL_RUNGS = (
    Rung("e1000", "emulated Intel card, tap", TAP, "e1000"),
    Rung("rtl8139", "emulated Realtek card, tap", TAP, "rtl8139"),
    Rung("virtio-tap", "virtio-net served by QEMU, tap", TAP),
    Rung("dpdkvhostuser", "vhost-user, stock, switch listens", SERVER,
         port_type="dpdkvhostuser"),
    Rung("dpdkvhostuserclient", "vhost-user, stock, QEMU listens", CLIENT,
         port_type="dpdkvhostuserclient"),
    Rung("vhostuser", "vhost-user, ours, switch listens", SERVER,
         port_type="vhostuser"),
    Rung("vhostuserclient", "vhost-user, ours, QEMU listens", CLIENT,
         port_type="vhostuserclient"),
)

# The same ports with DPDK's driver in the guests; see dpdk.py.
DPDK_RUNGS = (
    Rung("testpmd-in-guest-tap", "DPDK in the guest, virtio-net by QEMU, tap",
         TAP),
    Rung("testpmd-in-guest-stock", "DPDK in the guest, dpdkvhostuserclient",
         CLIENT, port_type="dpdkvhostuserclient"),
    Rung("testpmd-in-guest-vhostuser", "DPDK in the guest, vhostuser", SERVER,
         port_type="vhostuser"),
    Rung("testpmd-in-guest", "DPDK in the guest, vhostuserclient", CLIENT,
         port_type="vhostuserclient"),
)

# In a machine of its own; see vhostnet.py.
VHOST_NET_RUNGS = (
    Rung("vhost-net", "vhost-net in the kernel, tap, in a machine of QEMU",
         TAP),
    Rung("vhost-net-kernel", "the same, with the kernel's Open vSwitch", TAP,
         datapath="system"),
    Rung("vhost-net-vhostuserclient", "vhostuserclient in that machine",
         CLIENT, port_type="vhostuserclient"),
)
