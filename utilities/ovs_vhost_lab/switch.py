# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Open vSwitch in a directory and a network namespace of its own.

DPDK runs without hugepages and without probing PCI: the machine's own NICs
are never looked at.  Sockets, database, logs and DPDK's run-time files are
all below the given directory, so that any number of switches run side by side.
"""

import glob
import os
import signal

from .build import PLUGIN
from .process import LabError, Process, run, wait_until

DPDK_EXTRA = "--no-pci --no-huge --legacy-mem -m 512"


class Switch:
    """ovsdb-server and ovs-vswitchd.

    'folder' gets a subdirectory 'ovs'; keep it short, sockets live there.
    'plugins' are the names for other_config:netdev-plugins; () loads none.
    'other_config' adds to or replaces the settings made here."""

    def __init__(self, build, folder, netns, plugins=(PLUGIN,),
                 other_config=None):
        self.build = build
        self.netns = netns
        self.plugins = tuple(plugins)
        self.rundir = os.path.join(folder, "ovs")
        self.log = os.path.join(self.rundir, "ovs-vswitchd.log")
        self.ovsdb_log = os.path.join(self.rundir, "ovsdb-server.log")
        self.db = "unix:" + os.path.join(self.rundir, "db.sock")
        self.control = os.path.join(self.rundir, "ovs-vswitchd.ctl")
        self.other_config = {
            "dpdk-init": "true",
            "dpdk-extra": DPDK_EXTRA,
            # A pool for each port, some 20000 buffers, instead of a shared
            # one of 262144, which would not fit.
            "per-port-memory": "true",
            "pmd-maxsleep": "100",
        }
        if self.plugins:
            self.other_config["netdev-plugins"] = ",".join(self.plugins)
        self.other_config.update(other_config or {})
        self._ovsdb = None
        self._vswitchd = None
        os.makedirs(self.rundir, mode=0o700, exist_ok=True)

    def environment(self):
        """Returns the environment for the daemons and the tools."""
        env = dict(os.environ, OVS_RUNDIR=self.rundir, OVS_LOGDIR=self.rundir,
                   OVS_DBDIR=self.rundir, OVS_SYSCONFDIR=self.rundir,
                   OVS_PKGDATADIR=os.path.dirname(self.build.schema()),
                   RUNTIME_DIRECTORY=self.rundir,
                   PATH=self.build.tool_path())
        if self.plugins:
            env["OVS_NETDEV_PLUGINDIR"] = self.build.plugin_dir()
        return env

    def start(self, timeout=30):
        """Starts both daemons and waits until the datapath is ready."""
        self.start_ovsdb()
        settings = ["other_config:%s=\"%s\"" % item
                    for item in sorted(self.other_config.items())]
        self.vsctl("--no-wait", "--", "init", "--", "set", "Open_vSwitch",
                   ".", *settings)
        self.start_vswitchd(timeout)

    def start_ovsdb(self):
        """Makes an empty database and starts ovsdb-server on it."""
        database = os.path.join(self.rundir, "conf.db")
        if not os.path.exists(database):
            self._tool("ovsdb-tool", "create", database, self.build.schema())
        control = os.path.join(self.rundir, "ovsdb-server.ctl")
        self._ovsdb = Process(
            "ovsdb-server",
            [self.build.program("ovsdb-server"), database,
             "--remote=p" + self.db, "--unixctl=" + control,
             "--no-chdir", "-vconsole:info"],
            self.ovsdb_log, netns=self.netns, env=self.environment())
        socket_path = self.db[len("unix:"):]

        def listening():
            self._ovsdb.check_running()
            return os.path.exists(socket_path)
        wait_until(listening, 10, "ovsdb-server listens")

    def start_vswitchd(self, timeout=30, extra=()):
        """Starts ovs-vswitchd, with the options 'extra' if given, and waits
        until it has read its configuration."""
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                   "dpdk_initialized=false")
        self._vswitchd = Process(
            "ovs-vswitchd",
            [self.build.program("ovs-vswitchd"), self.db,
             "--unixctl=" + self.control, "--pidfile", "--no-chdir",
             "--disable-system", "-vconsole:info", *extra],
            self.log, netns=self.netns, env=self.environment())

        # Where ovs-appctl looks for it if it is not told.
        os.symlink(self.control, os.path.join(
            self.rundir, "ovs-vswitchd.%d.ctl" % self._vswitchd.pid))

        def ready():
            self._vswitchd.check_running()
            return os.path.exists(self.control) and \
                self._tool("ovs-appctl", "-t", self.control, "version",
                           check=False).returncode == 0
        wait_until(ready, timeout, "ovs-vswitchd answers")
        if self.other_config.get("dpdk-init") == "true":
            self._check_dpdk(timeout)

    def _check_dpdk(self, timeout):
        def initialized():
            self._vswitchd.check_running()
            return self.vsctl("get", "Open_vSwitch", ".",
                              "dpdk_initialized").strip() == "true"
        wait_until(initialized, timeout, "ovs-vswitchd initializes DPDK")

    def kill(self, signum=signal.SIGKILL):
        """Kills ovs-vswitchd; the database stays for the next start."""
        if self._vswitchd:
            self._vswitchd.kill(signum)

    def exit_vswitchd(self, *words):
        """Ends ovs-vswitchd in order, 'words' being options of its command
        "exit"; the database stays for the next start."""
        self.appctl("exit", *words)
        if not self._vswitchd.wait(10):
            raise LabError("ovs-vswitchd does not end")

    def pid(self):
        """Returns ovs-vswitchd's process id, or None."""
        running = self._vswitchd and self._vswitchd.status() is None
        return self._vswitchd.pid if running else None

    def pids(self):
        """Returns the process ids of the daemons that run."""
        return [each.pid for each in (self._ovsdb, self._vswitchd)
                if each and each.status() is None]

    def check_running(self):
        """Raises LabError if ovs-vswitchd has ended."""
        if not self._vswitchd:
            raise LabError("ovs-vswitchd was not started")
        self._vswitchd.check_running()

    def stop(self):
        """Ends both daemons in order.  May be called at any time."""
        if self.pid():
            run([self.build.program("ovs-appctl"), "-T", "5", "-t",
                 self.control, "exit", "--cleanup"],
                check=False, netns=self.netns, env=self.environment())
            if not self._vswitchd.wait(5):
                self._vswitchd.kill()
        if self._ovsdb:
            self._ovsdb.end()
        self._vswitchd = self._ovsdb = None

    def forget(self):
        """Removes the crash records of guests that were connected to the last,
        for a switch that will not be started again: where its run directory
        is not on tmpfs they are elsewhere."""
        found = os.stat(self.rundir)
        for path in glob.glob("/dev/shm/ovs-vhost.%d/%x-%x.*"
                              % (os.geteuid(), found.st_dev, found.st_ino)):
            os.unlink(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.forget()

    def _tool(self, name, *words, check=True, timeout=40):
        return run([self.build.program(name), *words], timeout=timeout,
                   check=check, netns=self.netns, env=self.environment())

    def vsctl(self, *words):
        """Runs ovs-vsctl and returns its output."""
        return self._tool("ovs-vsctl", "--timeout=30", "--db=" + self.db,
                          *words).stdout

    def appctl(self, *words):
        """Runs ovs-appctl on ovs-vswitchd and returns its output."""
        return self._tool("ovs-appctl", "-T", "30", "-t", self.control,
                          *words).stdout

    def ofctl(self, command, bridge, *words):
        """Runs 'ovs-ofctl command bridge ...' and returns its output."""
        return self._tool("ovs-ofctl", "--timeout=30", command,
                          "unix:%s/%s.mgmt" % (self.rundir, bridge),
                          *words).stdout

    def add_bridge(self, bridge):
        """Adds a bridge of the userspace datapath."""
        self.vsctl("add-br", bridge, "--",
                   "set", "Bridge", bridge, "datapath_type=netdev")

    def add_port(self, bridge, port, kind, **options):
        """Adds a port of type 'kind'; an option's underscores become dashes.
        Raises LabError with the Interface's error column if that is set."""
        settings = ["options:%s=\"%s\"" % (key.replace("_", "-"), value)
                    for key, value in sorted(options.items())]
        self.vsctl("add-port", bridge, port, "--", "set", "Interface", port,
                   "type=" + kind, *settings)
        error = self.interface(port, "error")
        if error not in ("[]", ""):
            raise LabError("port %s (type %s): %s" % (port, kind, error))

    def interface(self, port, column):
        """Returns a column of an Interface as ovs-vsctl prints it."""
        return self.vsctl("get", "Interface", port, column).strip()

    def socket_path(self, port):
        """Returns where a port of a server type listens."""
        return os.path.join(self.rundir, port)

    def has_command(self, command):
        """Tells whether ovs-vswitchd knows the appctl command."""
        return any(line.split()[:1] == [command]
                   for line in self.appctl("list-commands").splitlines())
