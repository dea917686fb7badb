# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Two chassis, joined by a veth pair, and what OVN makes of them: the logical
switches "blue" and "green", and a router between them.

Of the guests vm1 is on the chassis hv1, vm2 and vm3 are on hv2; vm1 and vm2
are on the switch blue, vm3 is on green.  They get their addresses by DHCP,
which OVN answers.  Each chassis has its own network namespace, switch and NIC;
the only way from one to the other is Geneve through the veth pair.
"""

import json
import os
from dataclasses import dataclass

from ovs_vhost_lab import Build, LabError, wait_until
from ovs_vhost_lab.image import busybox
from ovs_vhost_lab.ovn import Central, Chassis, Programs
from ovs_vhost_lab.station import Station

HOSTS = {"hv1": "172.16.0.1", "hv2": "172.16.0.2"}     # Ends of tunnels.
SUBNETS = {"blue": "192.168.1.", "green": "192.168.2."}
ROUTER = "r0"
ROUTER_MAC = {"blue": "00:00:00:00:01:01", "green": "00:00:00:00:02:01"}
MTU = 1442                      # 1500 less Geneve's headers.
LEASE = 3600
APPLETS = ("nc", "ping", "traceroute", "udhcpc", "wget")    # In guests' PATH.

# What udhcpc runs: it sets what it was given, and keeps it in a file.
DHCP_SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev $interface
ip link set $interface mtu ${mtu:-1500}
ip addr add $ip/$mask dev $interface
ip route replace default via $router
echo "$ip/$mask router $router mtu $mtu server $serverid lease $lease"
"""


@dataclass(frozen=True)
class Place:
    """A guest's logical port: its switch, its number there, and the chassis
    where it is."""

    name: str
    network: str
    number: int
    host: str

    @property
    def address(self):
        return "%s%d" % (SUBNETS[self.network], self.number)

    @property
    def mac(self):
        return "52:54:00:00:%02x:%02x" % (
            sorted(SUBNETS).index(self.network) + 1, self.number)


PLACES = {place.name: place for place in (
    Place("vm1", "blue", 11, "hv1"),
    Place("vm2", "blue", 12, "hv2"),
    Place("vm3", "green", 11, "hv2"))}


class Cloud:
    """All of it, below 'folder'.  'stack' ends what is started here."""

    def __init__(self, folder, options, stack):
        self.folder = folder
        self.options = options
        self.stack = stack
        self.programs = self.central = self.busybox = None
        self.hosts = {}
        self.guests = {}
        self.script = os.path.join(folder, "dhcp")
        self.bin = os.path.join(folder, "bin")
        self.options_of_dhcp = {}

    # Making it.

    def fetch(self):
        """Has OVN's programs and busybox."""
        self.programs = Programs()
        self.busybox = busybox()
        with open(self.script, "w") as stream:
            stream.write(DHCP_SCRIPT)
        os.chmod(self.script, 0o755)
        os.mkdir(self.bin)
        for name in APPLETS:
            os.symlink(self.busybox, os.path.join(self.bin, name))
        return "OVN %s" % self.programs.version()

    def start_central(self):
        build = Build(self.options.build_dir, self.options.ovs_tree)
        self.central = Central(build, self.programs, self.folder)
        self.stack.callback(self.central.stop)
        self.central.start()
        return "databases and ovn-northd, %d processes" % len(
            self.central.pids())

    def start_hosts(self):
        build = self.central.build
        settings = {} if not self.options.type.startswith("dpdk") \
            else {"plugins": ()}
        for name, address in HOSTS.items():
            host = Chassis(name, build, self.programs, self.folder, address,
                           **settings)
            self.stack.callback(host.stop)
            self.hosts[name] = host
        first, second = self.hosts.values()
        first.netns.add_veth("eth0", "eth0", second.netns)
        for host in self.hosts.values():
            host.start(self.central, "eth0")
        wait_until(lambda: len(self.central.sbctl(
            "--bare", "--columns=name", "list", "Chassis").split())
            == len(self.hosts), 20, "both chassis are known to OVN")
        return "Open vSwitch %s" % first.switch.appctl("version").split()[-1]

    def make_networks(self):
        """Describes switches, router and ports to OVN."""
        nbctl = self.central.nbctl
        nbctl("lr-add", ROUTER)
        for name, subnet in SUBNETS.items():
            gateway = subnet + "1"
            nbctl("ls-add", name, "--",
                  "lrp-add", ROUTER, "r0-" + name, ROUTER_MAC[name],
                  gateway + "/24", "--",
                  "lsp-add", name, name + "-r0", "--",
                  "lsp-set-type", name + "-r0", "router", "--",
                  "lsp-set-addresses", name + "-r0", "router", "--",
                  "lsp-set-options", name + "-r0", "router-port=r0-" + name)
            dhcp = nbctl("create", "DHCP_Options",
                         "cidr=\"%s0/24\"" % subnet).strip()
            nbctl("dhcp-options-set-options", dhcp,
                  "server_id=" + gateway, "router=" + gateway,
                  "server_mac=" + ROUTER_MAC[name],
                  "lease_time=%d" % LEASE, "mtu=%d" % MTU)
            self.options_of_dhcp[name] = dhcp
        for place in PLACES.values():
            self.add_logical_port(place)
        self.central.sync()
        return "blue, green, %s, %d ports" % (ROUTER, len(PLACES))

    def add_logical_port(self, place):
        addresses = place.mac + " " + place.address
        self.central.nbctl(
            "lsp-add", place.network, place.name, "--",
            "lsp-set-addresses", place.name, addresses, "--",
            "lsp-set-port-security", place.name, addresses, "--",
            "lsp-set-dhcpv4-options", place.name,
            self.options_of_dhcp[place.network])

    def add_guests(self):
        """Has a guest at a port of each place."""
        kind = self.options.type
        for place in PLACES.values():
            host = self.hosts[place.host]
            host.add_port(place.name, kind)
            guest = self.stack.enter_context(Station(
                place.name, self.central.build, self.folder, self.busybox,
                place.mac))
            guest.start(host.socket_path(place.name, kind),
                        kind.endswith("client"))
            self.guests[place.name] = guest
        self.central.wait_up(*PLACES)
        return "ports of type %s, bound on %s" % (kind, ", ".join(
            "%s %s" % (name, self.central.chassis_of(name))
            for name in PLACES))

    def check_lease(self, place, guest, script):
        """Has a guest get its address by DHCP, and compares what it is
        told."""
        gateway = SUBNETS[place.network] + "1"
        wanted = "%s/24 router %s mtu %d server %s lease %d" % (
            place.address, gateway, MTU, gateway, LEASE)
        found = guest.check(
            "udhcpc -i eth0 -f -q -n -t 20 -T 1 -O mtu -s %s 2>/dev/null"
            % script, 30).strip()
        if found != wanted:
            raise LabError("%s got by DHCP '%s' and not '%s'"
                           % (place.name, found, wanted))

    def configure(self):
        """All guests get their addresses from OVN."""
        for name, guest in self.guests.items():
            self.check_lease(PLACES[name], guest, self.script)
        return ", ".join("%s %s" % (name, PLACES[name].address)
                         for name in self.guests)

    def steps(self):
        """Returns what makes it, for ovs_vhost_lab.steps."""
        return (
            ("OVN: programs", self.fetch, True),
            ("OVN: central", self.start_central, True),
            ("chassis: hv1 and hv2", self.start_hosts, True),
            ("logical: two switches and a router", self.make_networks, True),
            ("guests: vm1 on hv1, vm2 and vm3 on hv2", self.add_guests, True),
            ("DHCP: addresses from OVN", self.configure, True),
        )

    # What there is to see.

    def environments(self):
        """Returns {namespace: what a shell in it needs to be told}."""
        found = {name: self._wanted(host.environment(), host.environment())
                 for name, host in self.hosts.items()}
        central = self._wanted(self.central.environment(),
                               next(iter(self.hosts.values())).environment())
        for name in self.guests:
            found[name] = {"PATH": self.bin + os.pathsep + central["PATH"]}
        found["central"] = central
        return found

    def _wanted(self, environment, tools):
        found = {name: value for name, value in environment.items()
                 if name.startswith(("OVS_", "OVN_"))}
        found.update(OVN_NB_DB=self.central.db, OVN_SB_DB=self.central.db)
        found["PATH"] = self.programs.search_path() + os.pathsep \
            + tools["PATH"]
        return found

    def namespaces(self):
        """Returns {name: descriptor}."""
        found = {name: each.netns.fileno()
                 for name, each in {**self.hosts, **self.guests}.items()}
        found["central"] = self.hosts["hv1"].netns.fileno()
        return found

    def show(self):
        """Returns what OVN and the switches say."""
        parts = [("ovn-nbctl show", self.central.nbctl("show")),
                 ("ovn-sbctl show", self.central.sbctl("show"))]
        for name, host in self.hosts.items():
            for command in "ovs/route/show", "dpctl/show", "vhost/show":
                if host.switch.has_command(command):
                    parts.append(("%s: ovs-appctl %s" % (name, command),
                                  host.switch.appctl(command)))
        return "\n".join("# %s\n%s" % part for part in parts)

    def logs(self):
        """Returns [(path, how many of its last lines tell something)]."""
        logs = [(path, 10) for path in self.central.logs] \
            if self.central else []
        for host in self.hosts.values():
            logs += [(path, 20) for path in host.logs()]
        return logs + [(guest.log, 10) for guest in self.guests.values()]

    def write_facts(self, path):
        """Writes down what 'status' prints."""
        with open(path, "w") as stream:
            json.dump({"pids": self.pids(),
                       "guests": {name: PLACES[name].address
                                  for name in self.guests}}, stream)

    def pids(self):
        """Returns {what: the process ids of its daemons}."""
        return {"central": self.central.pids(),
                **{name: host.pids() for name, host in self.hosts.items()}}
