#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Frames between a guest and NICs that DPDK makes of this host's interfaces.

    host-nics.py [--nic af_packet|af_xdp|tap] [--server] [--step NAME]...
                 [--build-dir DIR] [--ovs-tree DIR] [--logs DIR]

As north-south.py, whose steps these are, without a machine: veth pairs, or
taps, in network namespaces of its own are the wires.  The guest is an
ovs-vhost-guest at a vhostuserclient port, or, with --server, a vhostuser port.
It also makes sure that packets are not copied between the guest's port and the
NIC.

Needs root.  Exit status 0: all held; 77: this host cannot run it.
"""

import argparse
import os
import shlex
import shutil
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (Build, LabError, NetworkNamespace,  # noqa: E402
                           Process, Switch, instance, wait_until)
from north_south.copies import WATCHER, not_copied  # noqa: E402
from north_south.raw import RawWire  # noqa: E402
from north_south.steps import GUEST_MAC, STEPS  # noqa: E402

SKIP = 77
DEVICES = {
    "af_packet": "net_af_packet%d,iface=%s",
    "af_xdp": "net_af_xdp%d,iface=%s,start_queue=0,queue_count=1",
    "tap": "net_tap%d,iface=%s",
}


class WatchedSwitch(Switch):
    """A switch with the plugin of the tests beside the product's."""

    def __init__(self, build, folder, netns):
        self._plugin_dir = os.path.join(folder, "plugins")
        os.mkdir(self._plugin_dir)
        for path in (os.path.join(build.plugin_dir(), "ovs-vhost.so"),
                     os.path.join(build.path, "tests/plugins",
                                  WATCHER + ".so")):
            os.symlink(path, os.path.join(self._plugin_dir,
                                          os.path.basename(path)))
        super().__init__(build, folder, netns, ("ovs-vhost", WATCHER))

    def environment(self):
        return dict(super().environment(),
                    OVS_NETDEV_PLUGINDIR=self._plugin_dir)


class Bed:
    """A switch with two NICs and a guest, and the NICs' wires."""

    def __init__(self, build, folder, nic, server):
        self.nic = nic
        self.folder = folder
        self.netns = NetworkNamespace()
        self.outside = NetworkNamespace()
        self._switch = WatchedSwitch(build, folder, self.netns)
        self._server = server
        self._guest = None
        self.wires = []
        self.ethdev = DEVICES[nic].split("%")[0] + "0"  # Of p0.

    def __enter__(self):
        try:
            self._switch.start()
            self.switch("ovs-vsctl add-br br0 -- set Bridge br0 "
                        "datapath_type=netdev fail_mode=secure")
            for which in range(2):
                self._add_nic(which)
            self._add_guest()
            for port in ("p0", "p1", "v0"):
                self.wait_up(port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._guest:
            self._guest.kill()
        for wire in self.wires:
            wire.close()
        self._switch.stop()
        self._switch.forget()
        self.outside.close()
        self.netns.close()

    def _add_nic(self, which):
        """Adds port p0 or p1, and its wire."""
        interface = "n%d" % which
        options = ""
        if self.nic == "tap":
            options = " options:n_rxq=2"    # As many as it sends with.
        else:
            self.netns.add_veth(interface, "w%d" % which, self.outside)
        self.switch("ovs-vsctl add-port br0 p%d -- set Interface p%d "
                    "type=dpdk options:dpdk-devargs=%s%s" % (
                        which, which, DEVICES[self.nic] % (which, interface),
                        options))
        error = self._switch.interface("p%d" % which, "error")
        if error != "[]":
            raise LabError("%s: %s" % (self.nic, error))
        if self.nic == "tap":
            self.netns.ip("link", "set", interface, "up")
            # The kernel moves a flow to the queue that sent it last.
            self.wires.append(RawWire(self.netns, interface, in_order=False))
        else:
            self.wires.append(RawWire(self.outside, "w%d" % which))

    def _add_guest(self):
        path = os.path.join(self.folder, "v0")
        if self._server:
            self._switch.add_port("br0", "v0", "vhostuser")
            path, role = self._switch.socket_path("v0"), ""
        else:
            self._switch.add_port("br0", "v0", "vhostuserclient",
                                  vhost_server_path=path)
            role = ",server"
        self._guest = Process("guest", [
            os.path.join(self._switch.build.path, "utilities",
                         "ovs-vhost-guest"),
            "echo:%s%s,mac=%s" % (path, role, GUEST_MAC)],
            os.path.join(self.folder, "guest.log"))

    def switch(self, command, timeout=60):
        """Runs a command of Open vSwitch's, by the shell."""
        return self.netns.run(("sh", "-ec", command), timeout=timeout,
                              env=self._switch.environment()).stdout

    def wait_up(self, port):
        """Waits until a port's link is up."""
        wait_until(lambda: self._switch.interface(port, "link_state")
                   == "up", 60, "%s is up" % port)

    def flows(self, *flows):
        """Replaces br0's flows, also in the datapath."""
        self.switch("printf '%%s\\n' %s | ovs-ofctl replace-flows br0 "
                    "--bundle --names - && ovs-appctl revalidator/purge"
                    % " ".join(map(shlex.quote, flows)))
        for wire in self.wires:
            wire.drain()

    def explain(self):
        """Prints where frames may have been lost."""
        print(self.switch(
            "ovs-ofctl dump-ports br0; ovs-ofctl dump-flows br0; "
            "ovs-appctl vhost/stats v0; ovs-appctl dpctl/dump-flows; "
            "ovs-vsctl get Interface p0 statistics; tail -n 20 "
            + self._switch.log))


def choose_steps(options):
    """Returns the steps to be run."""
    return [step for step in (*STEPS, not_copied)
            if not options.step or step.__name__ in options.step]


def work(directory, options):
    """Runs the steps; returns the exit status."""
    build = Build(options.build_dir, options.ovs_tree)
    try:
        with Bed(build, directory.path, options.nic, options.server) as bed:
            for step in choose_steps(options):
                start = time.monotonic()
                try:
                    step(bed)
                except LabError:
                    bed.explain()
                    raise
                print("%s: ok (%.1f s)" % (step.__name__,
                                           time.monotonic() - start),
                      flush=True)
    finally:
        if options.logs:
            shutil.copy(os.path.join(directory.path, "ovs/ovs-vswitchd.log"),
                        options.logs)
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nic", choices=sorted(DEVICES), default="af_packet")
    parser.add_argument("--server", action="store_true")
    parser.add_argument("--step", action="append")
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    options = parser.parse_args()
    if os.geteuid():
        print("needs root")
        return SKIP
    try:
        return instance.supervise(
            lambda directory, keep: work(directory, options), "host-nics")
    except LabError as error:
        print("host-nics: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
