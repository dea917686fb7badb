# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest that is a host: Open vSwitch with the plugin, in a machine of QEMU.

There it may have what the host itself must not touch (NICs on PCI) or does
not have (vhost-net).  Its switch is the built one, with the libraries that it
has here; DPDK's memory is hugepages, which the kernel must have been given.

    machine = Guest("host", host_image(build), folder, memory=1024, cpus=2,
                    kernel_args="hugepages=%d" % HUGEPAGES)
    machine.start()
    machine.wait_ready()
    start_switch(machine)
    machine.check("ovs-vsctl show")
"""

import os

from .build import PLUGIN
from .dpdk import dpdk_image

PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl",
            "ovs-appctl", "ovs-ofctl")
HUGEPAGES = 256                 # Of 2 MiB.
SOCKET_MEM = 256                # MiB of the switch.
RUNDIR = "/run/openvswitch"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PLUGIN_DIR = "/usr/lib/openvswitch/plugins"

# For every command: where the switch is, and DPDK's drivers.
PROFILE = """export OVS_RUNDIR=%(rundir)s OVS_LOGDIR=/tmp OVS_DBDIR=/tmp
export OVS_SYSCONFDIR=/tmp OVS_PKGDATADIR=/usr/share/openvswitch
export OVS_NETDEV_PLUGINDIR=%(plugins)s
export LD_LIBRARY_PATH=$(cat /etc/dpdk-drivers)
""" % {"rundir": RUNDIR, "plugins": PLUGIN_DIR}

START = """. /etc/host-profile
chmod go-w /
mkdir -p %(rundir)s
ovsdb-tool create /tmp/conf.db %(schema)s
ovsdb-server /tmp/conf.db --remote=punix:%(rundir)s/db.sock \\
    --pidfile --detach --no-chdir --log-file=/tmp/ovsdb-server.log
ovs-vsctl --no-wait init -- set Open_vSwitch . %(settings)s
ovs-vswitchd --pidfile --detach --no-chdir %(options)s \\
    --log-file=/tmp/ovs-vswitchd.log
"""


def host_image(build, drivers=("net_virtio", "mempool_ring"), programs=(),
               files=None, **kwargs):
    """Returns an Image with the switch of 'build', testpmd, and DPDK's
    'drivers'; 'kwargs' are those of dpdk_image()."""
    with open(build.schema(), "rb") as stream:
        schema = stream.read()
    plugin = os.path.join(build.plugin_dir(), PLUGIN + ".so")
    with open(plugin, "rb") as stream:
        contents = stream.read()
    return dpdk_image(
        drivers=drivers,
        programs=(*map(build.program, PROGRAMS), *programs),
        files={"etc/host-profile": PROFILE, SCHEMA: schema,
               "%s/%s.so" % (PLUGIN_DIR, PLUGIN): contents, **(files or {})},
        **kwargs)


def start_switch(machine, kernel=False, **other_config):
    """Starts the switch in 'machine', a Guest; an other_config key's
    underscores become dashes.  'kernel': also with the kernel's datapath, for
    which the module openvswitch has to be there."""
    settings = {"dpdk-init": "true", "netdev-plugins": PLUGIN,
                "dpdk-socket-mem": str(SOCKET_MEM),
                "per-port-memory": "true"}
    settings.update((key.replace("_", "-"), value)
                    for key, value in other_config.items())
    machine.check(START % {
        "rundir": RUNDIR, "schema": SCHEMA,
        "options": "" if kernel else "--disable-system",
        "settings": " ".join(
            "other_config:%s='\"%s\"'" % item
            for item in sorted(settings.items()))}, timeout=120)


def on_switch(machine, command, timeout=60):
    """Runs a command of Open vSwitch's in 'machine'; returns its output."""
    return machine.check(". /etc/host-profile; " + command, timeout)
