# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""One side of a case: a switch with ports of ours or stock ones.

Both sides run the same ovs-vswitchd with the same settings, the plugin loaded,
one after the other.  The bridge is a learning switch, as it is without rules:
it finds the way again by itself after a restart, which forgets all rules.
"""

import os
from dataclasses import dataclass

from ovs_vhost_lab import LabError, NetworkNamespace, Switch, wait_until

BRIDGE = "br0"


@dataclass(frozen=True)
class Types:
    """Names of port types: the guest listens, the switch listens."""

    client: str
    server: str


TYPES = {"ours": Types("vhostuserclient", "vhostuser"),
         "stock": Types("dpdkvhostuserclient", "dpdkvhostuser")}


class Bed:
    """A switch.  'name' is "ours" or "stock", 'server' the role of its vhost
    ports: whether the switch listens."""

    def __init__(self, name, build, folder, server=False, other_config=None):
        self.name = name
        self.build = build
        self.folder = folder
        self.server = server
        self.loads = []         # To be ended with this.
        os.makedirs(folder, exist_ok=True)
        self.netns = NetworkNamespace()
        self.switch = Switch(build, folder, self.netns, other_config={
            "pmd-cpu-mask": "0x1", **(other_config or {})})

    def start(self):
        """Starts the switch with an empty bridge."""
        self.switch.start()
        self.switch.add_bridge(BRIDGE)

    def close(self):
        """Ends it all."""
        for load in self.loads:
            load.kill()
        self.switch.kill()
        self.switch.stop()
        self.switch.forget()
        self.netns.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Ports.

    def socket(self, port):
        """Returns the socket of a vhost port."""
        return self.switch.socket_path(port) if self.server \
            else os.path.join(self.folder, port)

    def add_port(self, port):
        """Adds a vhost port."""
        types = TYPES[self.name]
        if self.server:
            self.switch.add_port(BRIDGE, port, types.server)
        else:
            self.switch.add_port(BRIDGE, port, types.client,
                                 vhost_server_path=self.socket(port))

    def delete_port(self, port):
        """Deletes a port."""
        self.switch.vsctl("del-port", BRIDGE, port)

    def guest(self, port, mode, *options):
        """Returns ovs-vhost-guest's argument for a guest at a port."""
        return ",".join(["%s:%s" % (mode, self.socket(port)),
                         "client" if self.server else "server",
                         "ring=1024", *options])

    def set_config(self, setting):
        """Sets KEY=VALUE in the switch's other_config."""
        self.switch.vsctl("set", "Open_vSwitch", ".",
                          "other_config:" + setting)

    # The switch itself.

    def kill_switch(self):
        """Kills ovs-vswitchd and starts it again."""
        self.switch.kill()
        self.switch.start_vswitchd()

    def restart_switch(self):
        """Ends ovs-vswitchd in order and starts it again."""
        self.switch.exit_vswitchd()
        self.switch.start_vswitchd()

    def errors(self):
        """Returns what the ports' error columns say."""
        text = self.switch.vsctl("--columns=error", "--data=bare",
                                 "--no-headings", "list", "Interface")
        return " ".join(text.split())

    def wait_flowing(self, load, limit):
        """Waits until each sink of 'load' gets frames."""
        def flowing():
            self.switch.check_running()
            return all(load.books().received)
        try:
            wait_until(flowing, limit, "traffic begins", interval=0.1)
        except LabError as error:
            raise LabError("%s: %s\n%s" % (self.name, error,
                                           self.errors())) from error
