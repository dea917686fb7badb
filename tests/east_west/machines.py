# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Two guests of QEMU among fourteen emulated ones, and everybody's kernel.

One is in VLAN 10, the other one has VLANs 10 and 20 on its NIC.  Who is in the
same VLAN reaches each other by ping, TCP and UDP, whose bytes are compared
(tests/station.c); who is not does not; a stateful firewall holds for them."""

import os
import socket

from ovs_vhost_lab import Guest, LabError, Nic, Process, guest_image, \
    wait_until
from ovs_vhost_lab.process import scaled
from qemu_life.traffic import inside

from . import switching
from .frames import ip_of
from .vlans import Vlan

STACKS = tuple("g%d" % number for number in range(11))  # Of one VLAN, bare.
Q0, Q1 = 101, 102               # Last parts of their addresses.
VLANS = {"q0": {10: Q0}, "q1": {10: Q1, 20: Q1}}
PORTS = {"q0": Vlan("access", 10), "q1": Vlan("trunk", trunks=(10, 20))}
PORT = 5000                     # Of station.c.
TIMEOUT = 120


def address(number, vlan):
    """Returns the address with a last part in a VLAN."""
    return "10.0.%d.%d" % (vlan, number)


class Ward(switching.Hospital):
    """The hospital with guests of QEMU, which start with it."""

    def __init__(self, hall):
        self.program = os.path.join(hall.build.path, "tests", "station")
        image = guest_image(modules=("virtio_pci", "virtio_net", "8021q"),
                            programs=[self.program])
        self.guests = {name: Guest(name, image, hall.folder, memory=192,
                                   kernel_args="ipv6.disable=1")
                       for name in VLANS}
        hall.machines = list(self.guests.values())
        super().__init__(hall)
        hall.add_ports(VLANS)
        for name, guest in self.guests.items():
            hall.switch.vsctl("set", "Port", name, *PORTS[name].columns())
            guest.start(Nic(hall.socket(name), listen=not hall.server))
        for guest in self.guests.values():
            guest.wait_ready(TIMEOUT)
        hall.wait_links(list(VLANS))

    def serve(self):
        """Gives everybody addresses and a server that echoes.  Emulated
        guests with tags have none: not each host has VLAN devices."""
        for name in STACKS:
            vlan = switching.PLACES[name].tag
            self[name].address("%s/24" % ip_of(self[name], vlan))
            self.hall.processes.append(Process(
                name, [self.program, "serve"],
                os.path.join(self.hall.folder, "served.log"),
                netns=self[name].netns))
        for name, vlans in VLANS.items():
            guest = self.guests[name]
            for vlan, number in vlans.items():
                device = "eth0"
                if PORTS[name].mode == "trunk":
                    device = "eth0.%d" % vlan
                    guest.check("ip link add link eth0 name {0} type vlan "
                                "id {1}; ip link set {0} up".format(device,
                                                                    vlan))
                guest.check("ip addr add %s/24 dev %s" % (
                    address(number, vlan), device))
            guest.check("start-stop-daemon -S -b -n served -a "
                        "/usr/bin/station -- serve")

    def addresses(self):
        """Returns {VLAN: {name: address}} of all that have a stack."""
        found = {}
        for name in STACKS:
            vlan = switching.PLACES[name].tag
            found.setdefault(vlan, {})[name] = ip_of(self[name], vlan)
        for name, vlans in VLANS.items():
            for vlan, number in vlans.items():
                found[vlan][name] = address(number, vlan)
        return found

    def ask(self, name, *addresses):
        """Has a guest exchange bytes with others, each of which is
        compared."""
        if name in self.guests:
            self.guests[name].check("station try " + " ".join(addresses),
                                    TIMEOUT)
        else:
            self[name].netns.run([self.program, "try", *addresses],
                                 timeout=TIMEOUT)

    def pings(self, name, target):
        """Tells whether a QEMU guest's pings are answered soon."""
        status, _ = self.guests[name].run("ping -c 1 -W 2 %s" % target)
        return not status


def raw(them):
    """The frames of the scenario switching, past machines that hear them."""
    switching.vlans(them)


def all_pairs(them):
    """Everybody reaches everybody in the same VLAN."""
    them.serve()
    for members in them.addresses().values():
        for name in members:
            them.ask(name, *(other for who, other in members.items()
                             if who != name))


def isolation(them):
    """What is in another VLAN is out of reach until it is moved."""
    target = address(205, 10)
    them["g5"].address(target + "/24")
    if them.pings("q0", target):
        raise LabError("q0 in VLAN 10 reaches g5 in VLAN 20")
    for tag, reached in ((10, True), (20, False)):
        them.hall.switch.vsctl("set", "Port", "g5", "tag=%d" % tag)
        wait_until(lambda: them.pings("q0", target) == reached, 30,
                   "q0 reaches g5 in VLAN %d: %s" % (tag, reached))


def connects(station, target):
    """Tells whether a connection from behind a station is taken."""
    with inside(station.netns):
        it = socket.socket()
    with it:
        it.settimeout(scaled(2))
        try:
            it.connect((target, PORT))
        except OSError:
            return False
    return True


def firewall(them):
    """q0 may begin connections with g1, but not the other way round."""
    hall, target = them.hall, address(Q0, 10)
    hall.add_flows(*(flow.replace("in_port=g0", "in_port=q0")
                     for flow in switching.FIREWALL))
    them.ask("q0", ip_of(them["g1"]))
    if connects(them["g1"], target):
        raise LabError("g1 passes the firewall")
    hall.settle_flows()
    wait_until(lambda: hall.n_packets(0x11), 10, "the firewall counts")
    hall.add_flows(switching.NORMAL)
    if not connects(them["g1"], target):
        raise LabError("g1 does not reach q0 without the firewall")


STEPS = (raw, all_pairs, isolation, firewall)


def run(hall, log):
    """The scenario."""
    hall.machines = []
    try:
        with log("start"):
            them = Ward(hall)
        for step in STEPS:
            with log(step.__name__):
                step(them)
    finally:
        for guest in hall.machines:
            guest.kill()
