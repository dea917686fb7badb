# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The list of cases."""

from .changes import Change
from .idle import Idle
from .latency import Latency
from .linkup import LinkUp
from .memory import Memory
from .ringbench import RingBench
from .side import STOCK
from .tcp import Tcp
from .traffic import Floor, Nic, Testpmd, Traffic
from .viommu import Viommu

PACKED = "+ring_packed"

CASES = (
    Traffic("selftest", "stock against stock: has to be near 1",
            types=(STOCK, STOCK), quick=True),

    # Sizes.
    Traffic("v2v-64-split", "guest to guest, 64 bytes", quick=True),
    Traffic("v2v-256-split", "256 bytes", size="256"),
    Traffic("v2v-512-split", "512 bytes", size="512"),
    Traffic("v2v-1518-split", "1518 bytes", size="1518", quick=True),
    Traffic("v2v-9000-split", "9000 bytes", size="9000", mtu=9000),
    Traffic("v2v-imix-split", "60, 566 and 1514 bytes mixed 7:4:1",
            size="imix"),

    # What guests do with frames.
    Traffic("v2v-64-split-touched", "guests write and read the frames",
            writes=True, reads=True),
    Traffic("v2v-1518-split-touched", "guests write and read the frames",
            size="1518", writes=True, reads=True, quick=True),

    # Ring formats and features.
    Traffic("v2v-64-packed", "packed rings", features=PACKED, quick=True),
    Traffic("v2v-1518-packed", "packed rings", size="1518", features=PACKED),
    Traffic("v2v-64-packed-inorder", "packed rings, in order",
            features=PACKED + ",+in_order"),
    Traffic("v2v-64-split-inorder", "split rings, in order",
            features="+in_order"),
    Traffic("v2v-64-split-nomrg", "buffers that do not merge",
            features="-mrg_rxbuf"),
    Traffic("v2v-1518-split-nomrg", "buffers that do not merge", size="1518",
            features="-mrg_rxbuf"),
    Traffic("v2v-64-split-server", "the switch listens", server=True),

    # More at once.
    Traffic("v2v-64-split-both", "both ways", both_ways=True),
    Traffic("v2v-1518-split-both", "both ways", size="1518", both_ways=True),
    Traffic("v2v-64-split-4q", "4 queue pairs", pairs=4),
    Traffic("v2v-64-split-flows1", "1 flow, rules on addresses", flows=1,
            writes=True),
    Traffic("v2v-64-split-flows10k", "10 000 flows, rules on addresses",
            flows=10000, writes=True),

    # The other generator.
    Testpmd("v2v-64-split-testpmd", "guest is dpdk-testpmd",
            quick=True),
    Testpmd("v2v-1518-split-testpmd", "guest is dpdk-testpmd", size="1518"),
    Testpmd("v2v-64-packed-testpmd", "guest is dpdk-testpmd, packed rings",
            packed=True),

    # NIC ports.
    Nic("nic-64-tx", "guest to NIC (net_null)", way="tx", quick=True),
    Nic("nic-64-rx", "NIC (net_null) to guest", way="rx", quick=True),
    Nic("nic-1518-tx", "guest to NIC (net_null)", size="1518", way="tx"),
    Nic("nic-1518-rx", "NIC (net_null) to guest", size="1518", way="rx"),
    Nic("nic-64-ring", "guest to NIC (net_ring) and back", way="ring"),

    Floor("floor-64", "net_null to net_null: Open vSwitch's own share"),

    # Quiet ports.
    Idle("idle-15", "one busy port among 15 idle ones", 15),
    Idle("idle-63", "among 63", 63),
    Idle("idle-255", "among 255", 255, quick=True),

    # Time.
    Latency("latency-10", "round trips, 10 % of the stock ports' rate", 0.1),
    Latency("latency-50", "50 %", 0.5, quick=True),
    Latency("latency-90", "90 %", 0.9),
    LinkUp(quick=True),
    Change("vring-base", "GET_VRING_BASE under load", "restart"),
    Change("mem-table", "memory plugged in and out under load", "hotplug"),

    # QEMU guests: Linux, and DPDK behind a vIOMMU.
    Tcp(),
    Viommu(),

    # Space.
    Memory("memory-64", "memory of 64 ports", 64, quick=True),

    # Without a switch.
    RingBench(quick=True),
)
