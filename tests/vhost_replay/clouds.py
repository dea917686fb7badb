# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""OpenNebula (vnm_mad/remotes/ovswitch) and Apache CloudStack
(DpdkDriverImpl)."""

import os
import re

from .bed import Guests, command, expect, vsctl

MTU = 9000


def opennebula(bed):
    """Two machines on one virtual network with BRIDGE_TYPE openvswitch_dpdk.
    Its MTU is for jumbo frames."""
    sockets_dir = bed.directory("vhost-socks", 0o755)
    bridges = {bridge: vsctl("list-ports", bridge).split()
               for bridge in vsctl("list-br").split()}
    expect("onebr0" not in bridges, bridges)
    vsctl("--may-exist", "add-br", "onebr0")
    vsctl("set", "bridge", "onebr0", "datapath_type=netdev")
    command("ip", "link", "set", "onebr0", "up")
    ports = ["one-17-0", "one-18-0"]
    sockets = [os.path.join(sockets_dir, port) for port in ports]
    for port, path in zip(ports, sockets):
        vsctl("--may-exist", "add-port", "onebr0", port, "--", "set",
              "Interface", port, "type=dpdkvhostuserclient",
              "options:vhost-server-path=" + path)
        vsctl("set", "int", port, "mtu_request=%d" % MTU)
        vsctl("set", "Port", port, "tag=5")
        vsctl("set", "Port", port, "trunks=[]")
        vsctl("set", "Port", port, "vlan_mode=native-untagged")
        number = re.search(r"^\s*port\s*(\d+):", command(
            "ovs-ofctl", "dump-ports", "onebr0", port), re.M)
        # By name where the number is not printed as one.
        rule = "in_port=%s" % (number[1] if number else vsctl(
            "get", "Interface", port, "ofport").strip())
        command("ovs-ofctl", "del-flows", "onebr0", rule)
        for table, actions in ((0, "note:00.00.00.11.00.00,resubmit(,10)"),
                               (10, "resubmit(,20)"), (20, "normal")):
            command("ovs-ofctl", "add-flow", "onebr0",
                    "table=%d,%s,priority=100,actions=%s"
                    % (table, rule, actions))
        bed.check_port(port, "dpdkvhostuserclient")
    with Guests(bed, sockets, listen=True, size=MTU + 14) as guests:
        guests.wait_traffic(*ports)
        for port in ports:
            bed.wait_mtu(port, MTU)
    guests.check_counters(*ports)
    for port in ports:
        vsctl("--if-exists", "del-port", "onebr0", port)
    vsctl("--if-exists", "del-br", "onebr0")


def next_cloudstack_port():
    """CloudStack counts the ports that "ovs-vsctl show" lists."""
    names = re.findall(r'Port "?csdpdk-(\d+)', vsctl("show"))
    return "csdpdk-%d" % (max(map(int, names), default=0) + 1)


def cloudstack(bed):
    """In both of its modes, the switch's socket being the default one."""
    vsctl("add-br", "cloudbr0", "--", "set", "bridge", "cloudbr0",
          "datapath_type=netdev")
    directory = bed.directory("cloudstack", 0o755)
    for client in False, True:
        ports, sockets = [], []
        for _ in range(2):
            port = next_cloudstack_port()
            expect(port not in ports, port)
            path = os.path.join(directory if client else bed.rundir, port)
            vsctl("add-port", "cloudbr0", port, "vlan_mode=access", "tag=30",
                  "--", "set", "Interface", port,
                  *(["type=dpdkvhostuserclient",
                     "options:vhost-server-path=" + path] if client
                    else ["type=dpdkvhostuser"]))
            bed.check_port(port, "dpdkvhostuserclient" if client
                           else "dpdkvhostuser")
            ports.append(port)
            sockets.append(path)
        with Guests(bed, sockets, listen=client) as guests:
            guests.wait_traffic(*ports)
        guests.check_counters(*ports)
