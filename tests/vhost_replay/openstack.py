# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""OpenStack: neutron's ML2 drivers for Open vSwitch and OVN decide what to plug
a server's port into, nova passes that on, os-vif (vif_plug_ovs) plugs it in,
libvirt looks at it, and neutron's agent wires it.

os-vif and the agent make transactions with the database itself, by ovsdbapp;
these are their forms for ovs-vsctl, which os-vif has as well.  As there, nobody
waits for the switch: hence --no-wait."""

import json
import os
import stat

from . import libvirt
from .bed import Guests, attempt, command, expect, vsctl, wait

SERVER_TYPE = "dpdkvhostuser"
CLIENT_TYPE = "dpdkvhostuserclient"
DEAD_VLAN = 4095
MTU = 1450
INSTANCE = "f0000000-0000-0000-0000-000000000001"


def transact(*commands):
    """Returns a line for each of 'commands'."""
    words = []
    for each in commands:
        words += ["--", *each]
    return vsctl("--timeout=120", "--oneline", "--format=json", "--no-wait",
                 *words).splitlines()


def native(value):
    """Converts OVSDB's JSON."""
    if isinstance(value, list):
        kind, content = value
        if kind == "set":
            return [native(each) for each in content]
        if kind == "map":
            return {native(key): native(each) for key, each in content}
        return content
    return value


def rows(*words, columns=()):
    """Returns what the ovs-vsctl command "list" says of some rows."""
    listed = ["--columns=" + ",".join(columns)] if columns else []
    reply = json.loads(transact([*listed, "--if-exists", "list", *words])[0]
                       .replace("\\\\", "\\"))
    return [dict(zip(reply["headings"], map(native, row)))
            for row in reply["data"]]


def get(table, record, column):
    return rows(table, record, columns=[column])[0][column]


# neutron's server.

def ml2_ovs_binding(socket_dir, port_id):
    """Mechanism driver "openvswitch": returns (vif_type, mode, socket) by
    what the agent has reported."""
    switch = rows("Open_vSwitch")[0]
    expect("netdev" in switch["datapath_types"], switch["datapath_types"])
    types = switch["iface_types"]
    if SERVER_TYPE not in types and CLIENT_TYPE not in types:
        return "ovs", None, None
    return ("vhostuser", "server" if CLIENT_TYPE in types else "client",
            os.path.join(socket_dir, ("vhu" + port_id)[:14]))


def ml2_ovn_binding(socket_dir, port_id):
    """Mechanism driver "ovn": the types come by way of ovn-controller, which
    joins them to a string of the chassis."""
    chassis = ",".join(rows("Open_vSwitch")[0]["iface_types"])
    if "dpdkvhostuser" not in chassis.split(","):
        return "ovs", None, None
    return ("vhostuser", "server",
            os.path.join(socket_dir, ("vhu" + port_id)[:14]))


# os-vif.

def plug(bridge, port_id, mac, mode, path, isolated=False):
    """Plugs a VIFVHostUser in.  'mode' is QEMU's.  Returns the port."""
    port = ("vhu" + port_id)[:14]
    commands = [["--may-exist", "add-br", bridge],
                ["set", "Bridge", bridge, "datapath_type=netdev"],
                ["--may-exist", "add-port", bridge, port]]
    if isolated:
        commands += [["set", "Port", port, "tag=%d" % DEAD_VLAN],
                     ["set", "Port", port, "vlan_mode=trunk"],
                     ["set", "Port", port, "trunks=%d" % DEAD_VLAN]]
    settings = ["external_ids:iface-id=" + port_id,
                "external_ids:iface-status=active",
                'external_ids:attached-mac="%s"' % mac,
                "external_ids:vm-uuid=" + INSTANCE]
    if bridge.startswith("tbr-"):
        settings.append("external_ids:bridge_name=" + bridge)
    settings.append("type=" + (SERVER_TYPE if mode == "client"
                               else CLIENT_TYPE))
    if mode != "client":
        settings.append("options:vhost-server-path=" + path)
    commands += [["set", "Interface", port, *settings],
                 ["set", "Interface", port, "mtu_request=%d" % MTU]]
    rows("Interface", columns=["mtu_request"])      # Is there such a column?
    transact(*commands)
    return port


def unplug(bridge, port):
    transact(["--if-exists", "del-port", bridge, port])
    status, _ = attempt("ip", "link", "show", "dev", port)
    expect(status, "there is a network device", port)
    if bridge.startswith("tbr-"):
        transact(["--if-exists", "del-br", bridge])


# neutron's agent.

def wire(port, port_id, mac, vlan):
    """The agent has found a new port."""
    ofport = wait(lambda: get("Interface", port, "ofport"),
                  "no ofport for", port)
    expect(isinstance(ofport, int) and ofport > 0, "ofport", ofport)
    found = rows("Interface", port, columns=["name", "external_ids",
                                             "ofport"])[0]
    expect(found["external_ids"]["iface-id"] == port_id, found)
    expect(found["external_ids"]["attached-mac"] == mac, found)
    expect(rows("Port", port, columns=["name", "tag"])[0]["tag"] == DEAD_VLAN,
           "not isolated so far")
    transact(["set", "Port", port, "tag=%d" % vlan],
             ["clear", "Port", port, "vlan_mode"],
             ["clear", "Port", port, "trunks"])


def limit_bandwidth(port, kbps, burst):
    """Rules for both directions.  By the port's type the agent knows that the
    one to the guest has to be DPDK's policer."""
    expect(get("Interface", port, "type") in (SERVER_TYPE, CLIENT_TYPE), port)
    transact(["set", "Interface", port, "ingress_policing_rate=%d" % kbps],
             ["set", "Interface", port, "ingress_policing_burst=%d" % burst])
    transact(["--id=@qos", "create", "QoS", "external_ids:id=" + port,
              "type=egress-policer",
              'other_config:cir="%d"' % (kbps * 1000 // 8),
              'other_config:cbs="%d"' % (burst * 1000 // 8)],
             ["set", "Port", port, "qos=@qos"])
    wait(lambda: "egress-policer" in command("ovs-appctl", "qos/show", port),
         "no policer at", port)


def plug_all(bed, bridge, mode, vifs, socket_of):
    """Returns ports and sockets of 'vifs', which are wired."""
    ports, sockets = [], []
    for number, (port_id, mac) in enumerate(vifs):
        path = socket_of(port_id)
        port = plug(bridge, port_id, mac, mode, path, isolated=True)
        expect(len(port) == 14, port)
        wire(port, port_id, mac, 7)
        bed.check_port(port, SERVER_TYPE if mode == "client" else CLIENT_TYPE)
        libvirt.check_ifname(port, path, mode == "server")
        ports.append(port)
        sockets.append(path)
    return ports, sockets


VIFS = [("b679325f-ca89-4ee0-a8be-6db1409b69ea", "fa:16:3e:00:00:01"),
        ("1db4092d-59b0-4da6-a4d0-9c2f1d6f5e11", "fa:16:3e:00:00:02")]


def replay(bed):
    """Two servers, with ports as all releases since Pike make them, and then
    as they were before that: the switch listens."""
    socket_dir = bed.directory("vhost-sockets", 0o770)
    vif_type, mode, _ = ml2_ovs_binding(socket_dir, VIFS[0][0])
    expect((vif_type, mode) == ("vhostuser", "server"), vif_type, mode)
    expect(ml2_ovn_binding(socket_dir, VIFS[0][0])
           == ml2_ovs_binding(socket_dir, VIFS[0][0]), "OVN binds otherwise")

    ports, sockets = plug_all(
        bed, "br-int", mode, VIFS,
        lambda port_id: ml2_ovs_binding(socket_dir, port_id)[2])
    limit_bandwidth(ports[0], 100000, 80000)
    with Guests(bed, sockets, listen=True, size=MTU + 14) as guests:
        guests.wait_traffic(*ports)
        for port in ports:
            bed.wait_mtu(port, MTU)
            libvirt.check_domifstat(port)
    guests.check_counters(*ports)
    for port in ports:
        unplug("br-int", port)
    expect(not vsctl("list-ports", "br-int").strip(), "a port is left")

    # On a trunk's bridge, which goes with its last port.
    ports, sockets = plug_all(
        bed, "tbr-01", "client", VIFS,
        lambda port_id: os.path.join(bed.rundir, ("vhu" + port_id)[:14]))
    for path in sockets:
        expect(stat.S_ISSOCK(os.stat(path).st_mode), "no socket", path)
    with Guests(bed, sockets, listen=False, size=MTU + 14) as guests:
        guests.wait_traffic(*ports)
    guests.check_counters(*ports)
    for port in ports:
        transact(["--if-exists", "del-port", "tbr-01", port])
    for path in sockets:
        wait(lambda: not os.path.exists(path), "the switch leaves", path)
    unplug("tbr-01", ports[0])
    expect("tbr-01" not in vsctl("list-br").split(), "a bridge is left")
