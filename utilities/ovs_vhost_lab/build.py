# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Where the build put things: the only place that knows these paths.

A build directory holds the patched Open vSwitch in ovs/ and the plugin's
module in PLUGIN_DIR.  An Open vSwitch tree from elsewhere, such as a
stock one to compare with, can take the place of ovs/.
"""

import os

from .process import LabError

PLUGIN = "ovs-vhost"
PLUGIN_DIR = "lib/netdev"
PROGRAM_DIRS = ("vswitchd", "ovsdb", "utilities")

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


class Build:
    """A finished build.

    'path' is the build directory, by default $OVS_VHOST_BUILD or _build/demo
    under the project's top; 'ovs_tree' an Open vSwitch tree to use instead of
    the one in it."""

    def __init__(self, path=None, ovs_tree=None):
        self.path = os.path.abspath(
            path or os.environ.get("OVS_VHOST_BUILD")
            or os.path.join(TOP, "_build", "demo"))
        self.ovs_tree = os.path.abspath(ovs_tree
                                        or os.path.join(self.path, "ovs"))

    def program(self, name):
        """Returns the path of an Open vSwitch program."""
        for folder in PROGRAM_DIRS:
            path = os.path.join(self.ovs_tree, folder, name)
            if os.access(path, os.X_OK):
                return path
        raise LabError("no %s under %s: build the project first"
                       % (name, self.ovs_tree))

    def schema(self):
        """Returns the path of the switch database's schema."""
        return os.path.join(self.ovs_tree, "vswitchd", "vswitch.ovsschema")

    def plugin_dir(self):
        """Returns the directory of the plugin's module."""
        path = os.path.join(self.path, PLUGIN_DIR)
        if not os.path.exists(os.path.join(path, PLUGIN + ".so")):
            raise LabError("no %s.so in %s: build the project first"
                           % (PLUGIN, path))
        return path

    def tool_path(self):
        """Returns a PATH for shells that should find the built tools."""
        return os.pathsep.join([os.path.join(self.ovs_tree, folder)
                                for folder in PROGRAM_DIRS]
                               + [os.environ.get("PATH", os.defpath)])
