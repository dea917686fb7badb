# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""OVN in directories and network namespaces of its own.

A Central has OVN's databases and ovn-northd, a Chassis a switch and
ovn-controller; a fabric of veth pairs joins the chassis.  The programs come
from Debian's packages, which are unpacked into the cache and not installed: no
service is started or stopped, and an OVN that the machine runs is not touched.

    python3 -m ovs_vhost_lab.ovn

has the packages in the cache and prints the programs' version.  Exit status
77: they cannot be had, or do not run.
"""

import os
import subprocess
import sys

from .image import package
from .netns import NetworkNamespace
from .process import LabError, Process, run, wait_until
from .switch import Switch

# Programs by package, of each of which a part is enough.
PACKAGES = {
    "ovn-common": ("usr/bin/ovn-nbctl", "usr/bin/ovn-sbctl",
                   "usr/bin/ovn-appctl", "usr/bin/ovn-trace"),
    "ovn-central": ("usr/bin/ovn-northd",),
    "ovn-host": ("usr/bin/ovn-controller",),
}
SCHEMAS = ("ovn-central", "usr/share/ovn")
INTEGRATION = "br-int"          # ovn-controller's bridge.
PHYSICAL = "br-phy"             # The bridge with the NIC and the address.
SKIP = 77


class Programs:
    """Where OVN's programs and schemas are."""

    def __init__(self):
        self._paths = {}
        for name, files in PACKAGES.items():
            folder = package(name)
            for each in files:
                self._paths[os.path.basename(each)] = os.path.join(folder,
                                                                   each)

    def path(self, name):
        """Returns the path of a program."""
        return self._paths[name]

    def schema(self, name):
        """Returns the path of the schema "nb" or "sb"."""
        return os.path.join(package(SCHEMAS[0]), SCHEMAS[1],
                            "ovn-%s.ovsschema" % name)

    def search_path(self):
        """Returns a PATH for shells that should find them."""
        return os.pathsep.join(sorted({os.path.dirname(path) for path
                                       in self._paths.values()}))

    def version(self):
        """Returns OVN's version; raises LabError if it does not run."""
        return run([self.path("ovn-controller"),
                    "--version"]).stdout.split("\n")[0].split()[-1]


class Central:
    """OVN's two databases, at one socket, and ovn-northd.  'folder' gets a
    subdirectory 'ovn'."""

    def __init__(self, build, programs, folder):
        self.build = build
        self.programs = programs
        self.rundir = os.path.join(folder, "ovn")
        self.db = "unix:" + os.path.join(self.rundir, "db.sock")
        self.logs = []
        self._daemons = []
        os.makedirs(self.rundir, mode=0o700, exist_ok=True)

    def environment(self):
        """Returns the environment for the daemons and the tools."""
        return dict(os.environ, OVN_RUNDIR=self.rundir, OVN_LOGDIR=self.rundir,
                    OVN_DBDIR=self.rundir, OVN_SYSCONFDIR=self.rundir,
                    OVS_RUNDIR=self.rundir, OVN_NB_DB=self.db,
                    OVN_SB_DB=self.db)

    def start(self):
        """Starts the daemons."""
        databases = [self._create(name) for name in ("nb", "sb")]
        self._daemon("ovsdb-server", self.build.program("ovsdb-server"),
                     *databases, "--remote=p" + self.db)
        wait_until(lambda: self._listens(self.db[len("unix:"):]), 10,
                   "OVN's databases can be reached")
        self.nbctl("init")
        self.sbctl("init")
        self._daemon("ovn-northd", self.programs.path("ovn-northd"),
                     "--ovnnb-db=" + self.db, "--ovnsb-db=" + self.db)
        self.nbctl("--wait=sb", "sync")

    def _create(self, name):
        path = os.path.join(self.rundir, name + ".db")
        run([self.build.program("ovsdb-tool"), "create", path,
             self.programs.schema(name)])
        return path

    def _daemon(self, name, program, *words):
        log = os.path.join(self.rundir, name + ".log")
        self.logs.append(log)
        self._daemons.append(Process(name, [
            program, *words, "--pidfile", "--no-chdir", "-vconsole:info"],
            log, env=self.environment()))

    def _listens(self, path):
        self.check_running()
        return os.path.exists(path)

    def check_running(self):
        """Raises LabError if a daemon has ended."""
        for each in self._daemons:
            each.check_running()

    def pids(self):
        """Returns the process ids of the daemons that run."""
        return [each.pid for each in self._daemons if each.status() is None]

    def nbctl(self, *words):
        """Runs ovn-nbctl and returns its output."""
        return self._tool("ovn-nbctl", *words)

    def sbctl(self, *words):
        """Runs ovn-sbctl and returns its output."""
        return self._tool("ovn-sbctl", *words)

    def _tool(self, name, *words):
        return run([self.programs.path(name), "--timeout=30", *words],
                   timeout=40, env=self.environment()).stdout

    def sync(self):
        """Waits until all chassis do what the northbound database says."""
        self.nbctl("--wait=hv", "sync")

    def chassis_of(self, port):
        """Returns the name of the chassis where a port is bound, or None."""
        found = self.sbctl("--bare", "--columns=chassis", "find",
                           "Port_Binding", "logical_port=" + port).strip()
        return found and self.sbctl("get", "Chassis", found,
                                    "name").strip().strip('"')

    def wait_up(self, *ports):
        """Waits until the ports are bound and can be used."""
        for port in ports:
            self.nbctl("wait-until", "Logical_Switch_Port", port, "up=true")
        self.sync()

    def stop(self):
        for each in reversed(self._daemons):
            each.end()
        self._daemons = []


class Chassis:
    """A host of OVN's: a network namespace with a switch, whose NIC is one end
    of a veth pair behind a port of type dpdk, and ovn-controller.

    'folder' gets a subdirectory 'name'.  'address' is the tunnels'.  'kwargs'
    are Switch's."""

    def __init__(self, name, build, programs, folder, address, **kwargs):
        self.name = name
        self.address = address
        self.programs = programs
        self.netns = NetworkNamespace()
        self.folder = os.path.join(folder, name)
        self.switch = Switch(build, self.folder, self.netns, **kwargs)
        self.log = os.path.join(self.switch.rundir, "ovn-controller.log")
        self._controller = None

    def environment(self):
        """Returns the environment for the daemons and the tools."""
        rundir = self.switch.rundir
        return dict(self.switch.environment(), OVN_RUNDIR=rundir,
                    OVN_LOGDIR=rundir, OVN_SYSCONFDIR=rundir)

    def start(self, central, nic):
        """Starts the switch, with the interface 'nic' of the namespace, which
        is there already, as its NIC, and ovn-controller."""
        self.switch.start()
        self.switch.add_bridge(PHYSICAL)
        self.switch.add_port(PHYSICAL, "nic", "dpdk",
                             dpdk_devargs="net_af_packet0,iface=" + nic)
        self.netns.ip("addr", "add", self.address + "/24", "dev", PHYSICAL)
        self.netns.ip("link", "set", PHYSICAL, "up")
        self.switch.vsctl("set", "Open_vSwitch", ".", *(
            "external_ids:%s=\"%s\"" % item for item in (
                ("system-id", self.name), ("hostname", self.name),
                ("ovn-remote", central.db),
                ("ovn-bridge-datapath-type", "netdev"),
                ("ovn-encap-type", "geneve"),
                ("ovn-encap-ip", self.address))))
        self._controller = Process("ovn-controller", [
            self.programs.path("ovn-controller"), self.switch.db,
            "--pidfile", "--no-chdir", "-vconsole:info"],
            self.log, netns=self.netns, env=self.environment())
        wait_until(self._has_bridge, 20, "ovn-controller makes its bridge")

    def _has_bridge(self):
        self.check_running()
        return INTEGRATION in self.switch.vsctl("list-br").split()

    def check_running(self):
        """Raises LabError if a daemon has ended."""
        self.switch.check_running()
        if self._controller:
            self._controller.check_running()

    def pids(self):
        """Returns the process ids of the daemons that run."""
        running = self._controller and self._controller.status() is None
        return self.switch.pids() + ([self._controller.pid] if running else [])

    def socket_path(self, port, kind):
        """Returns the path of the socket of a port of type 'kind'."""
        return os.path.join(self.folder, port + ".vhost") \
            if kind.endswith("client") else self.switch.socket_path(port)

    def add_port(self, port, kind, logical=None):
        """Adds a vhost-user port for the logical port 'logical', by default of
        the same name."""
        options = {"vhost_server_path": self.socket_path(port, kind)} \
            if kind.endswith("client") else {}
        self.switch.add_port(INTEGRATION, port, kind, **options)
        self.switch.vsctl("set", "Interface", port,
                          "external_ids:iface-id=" + (logical or port))

    def stop(self):
        """Ends all of it.  May be called at any time."""
        if self._controller:
            self._controller.end()
            self._controller = None
        self.switch.stop()
        self.switch.forget()
        self.netns.close()

    def logs(self):
        return [self.switch.ovsdb_log, self.switch.log, self.log]


def main():
    try:
        print(Programs().version())
    except (LabError, OSError, subprocess.SubprocessError) as error:
        print("no OVN: %s" % error, file=sys.stderr)
        return SKIP
    return 0


if __name__ == "__main__":
    sys.exit(main())
