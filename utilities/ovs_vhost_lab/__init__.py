# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A private laboratory: Open vSwitch with this plugin, and guests.

The demo, the tests with real guests and the benchmarks share this package.
It starts ovsdb-server, ovs-vswitchd and QEMU in network namespaces that have
no name and no way out, talks to guests over their serial port and QMP, and
takes everything away when the process that made it ends, however it ends.
It knows nothing of what is being tested; the steps are in its users.

    with NetworkNamespace() as net, Switch(Build(), folder, net) as switch:
        switch.start()
        switch.add_bridge("br0")
        switch.add_port("br0", "vm1", "vhostuser")
        guest = Guest("vm1", guest_image(), folder, netns=net)
        guest.start(Nic(switch.socket_path("vm1"), address="10.0.0.1/24"))
        guest.wait_ready()
        status, output = guest.run("ip addr")

Needs Linux, root, Python 3.9 and, from Debian, qemu-system-x86, iproute2 and
apt (for the guests' kernel, which is unpacked into a cache, not installed).
"""

from .build import Build
from .dpdk import Testpmd, dpdk_image
from .guest import Guest, Nic, TapNic, WireNic, accelerator
from .host_image import host_image
from .hugepages import HugePages
from .image import Image, cache_dir, guest_image
from .netns import NetworkNamespace
from .process import LabError, Process, run, tail, wait_until
from .switch import Switch

__all__ = ["Build", "Guest", "HugePages", "Image", "LabError",
           "NetworkNamespace", "Nic", "Process", "Switch", "TapNic",
           "Testpmd", "WireNic", "accelerator", "cache_dir", "dpdk_image",
           "guest_image", "host_image", "run", "tail", "wait_until"]
