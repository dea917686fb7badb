# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A switch with many guests: a Bed of ovs-vhost-gaps with stations."""

import os
import shutil

from ovs_vhost_gaps.bed import BRIDGE, TYPES, Bed
from ovs_vhost_lab import LabError, Process, wait_until

from .stations import Station

# The stock ports' default, one pool for all: one for each would not fit.
CONFIG = {"per-port-memory": "false",
          "dpdk-extra": "--no-pci --no-huge --legacy-mem -m 2048"}
LIMIT = 30


class Hall(Bed):
    """A Bed with a bridge, and stations at vhost ports of the same names."""

    def __init__(self, name, build, folder, server=False, config=None):
        super().__init__(name, build, folder, server,
                         {**CONFIG, **(config or {})})
        self.stations = []
        self.processes = []

    def close(self):
        for process in self.processes:
            process.kill()
        super().close()
        for station in self.stations:
            station.close()

    def add_stations(self, *names, bridge=BRIDGE):
        """Makes stations, their ports and one process that is all these
        guests; returns the stations."""
        made = []
        for name in names:
            station = Station(name, len(self.stations) + 1)
            self.stations.append(station)
            made.append(station)
        self.add_ports(names, bridge)
        process = self.start_guests(
            "stations-%s" % names[0],
            [self.guest(station.name, "bridge", station.argument())
             for station in made])
        self.wait_links(names, process)
        for station in made:
            station.open()
        return made

    def add_ports(self, names, bridge=BRIDGE, *settings):
        """Adds vhost ports in one transaction."""
        words = []
        for name in names:
            words += ["--", "add-port", bridge, name,
                      "--", "set", "Interface", name,
                      "type=" + self.port_type(), *settings]
            if not self.server:
                words.append("options:vhost-server-path=\"%s\""
                             % self.socket(name))
        self.switch.vsctl(*words)
        if self.errors():
            raise LabError("ports: " + self.errors())

    def port_type(self):
        """Returns the type of the vhost ports."""
        types = TYPES[self.name]
        return types.server if self.server else types.client

    def start_guests(self, name, ports, words=()):
        """Starts an ovs-vhost-guest with 'ports'."""
        process = Process(name, [
            os.path.join(self.build.path, "utilities", "ovs-vhost-guest"),
            "--progress=0", "--connect-timeout=0", *words, *ports],
            os.path.join(self.folder, name + ".log"))
        self.processes.append(process)
        return process

    def wait_links(self, names, process=None):
        """Waits until the ports are up."""
        def up():
            self.switch.check_running()
            if process:
                process.check_running()
            text = self.switch.vsctl("--columns=name", "--data=bare",
                                     "--no-headings", "find", "Interface",
                                     "link_state=up")
            return set(names) <= set(text.split())
        wait_until(up, LIMIT * 2, "guests of %s .. %s are up"
                   % (names[0], names[-1]))

    def add_flows(self, *flows, bridge=BRIDGE):
        """Replaces a bridge's flows at once, also in the datapath."""
        self.write_flows(bridge, flows)
        self.settle_flows()

    def write_flows(self, bridge, flows):
        """Replaces a bridge's flows at once."""
        path = os.path.join(self.folder, "flows")
        with open(path, "w") as stream:
            stream.write("".join(flow + "\n" for flow in flows))
        self.switch.ofctl("replace-flows", bridge, "--bundle", "--names",
                          path)

    def settle_flows(self):
        """Takes all flows out of the datapath: what comes next is looked up
        anew, and what came is counted."""
        self.switch.appctl("revalidator/purge")

    def n_packets(self, cookie, bridge=BRIDGE):
        """Returns how many packets the flows with a cookie have seen."""
        text = self.switch.ofctl("dump-flows", bridge, "cookie=%#x/-1"
                                 % cookie)
        return sum(int(word.split("=")[1].rstrip(","))
                   for word in text.split() if word.startswith("n_packets="))

    def wait_packets(self, cookie, count):
        """Waits until the flows with a cookie have seen 'count' packets."""
        self.settle_flows()
        try:
            wait_until(lambda: self.n_packets(cookie) == count, 10, "counted")
        except LabError:
            raise LabError("flow %#x has seen %d packets, not %d" % (
                cookie, self.n_packets(cookie), count)) from None

    def keep_logs(self, folder):
        """Copies all logs."""
        for path in (self.folder, self.switch.rundir):
            for name in os.listdir(path):
                if name.endswith(".log"):
                    shutil.copy(os.path.join(path, name), os.path.join(
                        folder, "%s-%s" % (self.name, name)))
