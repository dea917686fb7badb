#! /usr/bin/env python3
#
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Installs, switches over, upgrades, rolls back and removes, on a machine where
Debian's Open vSwitch runs.

usage: install.py ROOT BUILD

ROOT is a directory with Debian, the switch's packages and debs/1.deb and 2.deb;
BUILD the package's build directory.  tests/check-install makes both, and the
namespaces that this runs in.

Two guests at client ports send to each other all the time, and live through all
of it.  Each step says for how long they heard nothing.
"""

import os
import re
import signal
import sys
from types import SimpleNamespace

from ovs_vhost_gaps.load import Load, interrupted
from ovs_vhost_lab import LabError, run, tail, wait_until

RATE = 1000                     # Frames a second, each way.
LIMIT = 40                      # Seconds until traffic has to be back.
PORTS = ("vm1", "vm2")
KERNEL = "/usr/lib/openvswitch-switch/ovs-vswitchd"
DPDK = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
OURS = "/usr/libexec/ovs-vhost/ovs-vswitchd"
PLUGIN = "/usr/lib/openvswitch/plugins/ovs-vhost.so"
COMPLETIONS = "/usr/share/bash-completion/completions"
STOCK_TYPE, OUR_TYPE = "dpdkvhostuserclient", "vhostuserclient"
DEFAULTS = "/etc/default/openvswitch-switch"
USER = "openvswitch"
OWNED = ("/etc/openvswitch", "/var/lib/openvswitch", "/var/log/openvswitch",
         "/run/openvswitch")

# What ovs-vswitchd keeps when it becomes another user: CAP_NET_BIND_SERVICE,
# CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK.
KEPT = 0x7c00


def check(condition, text):
    """Raises LabError with 'text' if the condition does not hold."""
    if not condition:
        raise LabError(text)


class Machine:
    """Debian in a directory."""

    def __init__(self, root):
        self.root = root

    def path(self, path):
        """Returns where one of its files is."""
        return self.root + path

    def run(self, *words, timeout=120):
        """Runs a command there and returns its output."""
        return run(["chroot", self.root, "env", "-i", "HOME=/root",
                    "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive",
                    "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                    *words], timeout=timeout).stdout

    def service(self, action):
        """Starts, stops or restarts Open vSwitch."""
        self.run("/etc/init.d/openvswitch-switch", action)

    def vsctl(self, *words):
        """Runs ovs-vsctl."""
        return self.run("ovs-vsctl", "--timeout=60", *words).strip()

    def choose(self, path):
        """Chooses the ovs-vswitchd that is to be started."""
        self.run("update-alternatives", "--set", "ovs-vswitchd", path)

    def chosen(self):
        """Returns the ovs-vswitchd that would be started."""
        return re.search("^Value: (.*)$", self.run(
            "update-alternatives", "--query", "ovs-vswitchd"), re.M).group(1)

    def pid(self):
        """Returns the process id of the ovs-vswitchd that runs."""
        with open(self.path("/run/openvswitch/ovs-vswitchd.pid")) as stream:
            return int(stream.read())

    def program(self):
        """Returns the file that it runs."""
        return os.readlink("/proc/%d/exe" % self.pid())[len(self.root):]

    def status(self, field):
        """Returns a field of its /proc/PID/status."""
        with open("/proc/%d/status" % self.pid()) as stream:
            return re.search("^%s:\t(.*)$" % field, stream.read(),
                             re.M).group(1)

    def set_types(self, kind):
        """Gives both ports another type."""
        self.vsctl(*[word for port in PORTS for word in
                     ("--", "set", "Interface", port, "type=" + kind)])

    def check_runs(self, program, kind):
        """Raises LabError if not 'program' runs, or not both ports are of the
        type and without error."""
        check(self.program() == program,
              "%s runs instead of %s" % (self.program(), program))
        for port in PORTS:
            found = self.vsctl("get", "Interface", port, "type", "error")
            check(found.split() == [kind, "[]"], "%s: %s" % (port, found))

    def log(self):
        """Returns the log of ovs-vswitchd."""
        with open(self.path("/var/log/openvswitch/ovs-vswitchd.log"),
                  errors="replace") as stream:
            return stream.read()


class Story:
    """The steps, in their order: each method that is one has a title, and is
    told the traffic to interrupt."""

    def __init__(self, machine, build):
        self.machine = machine
        self.load = None
        self.guests = machine.path("/run/guests")
        self.bed = SimpleNamespace(folder=self.guests, loads=[],
                                   build=SimpleNamespace(path=build))

    # What steps are made of.

    def interrupt(self, action):
        """Does what interrupts traffic; returns how long that was."""
        found = interrupted(self.load, action, RATE, LIMIT)
        check(found.seconds is not None, "traffic does not come back")
        check(not found.corrupt, "%d corrupt frames" % found.corrupt)
        return "%.2f s without a frame" % found.seconds

    def leave_alone(self, action):
        """Does what must not interrupt traffic: the same switch goes on, and
        the guests keep their connections."""
        pid, before = self.machine.pid(), self.load.books()
        action()
        now = self.load.books()

        def goes_on():
            after = self.load.books()
            return after if all(here > there for here, there in zip(
                after.received, now.received)) else None
        after = wait_until(goes_on, LIMIT, "traffic goes on", interval=0.2)
        check(self.machine.pid() == pid, "ovs-vswitchd was restarted")
        check(after.connects == before.connects, "guests were cut off")
        return "the same process, %d frames lost" % (after.lost - before.lost)

    def restart(self):
        self.machine.service("restart")

    def kill(self):
        """Kills ovs-vswitchd and starts it again."""
        pid = self.machine.pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists("/proc/%d" % pid), 10,
                   "ovs-vswitchd has gone")
        self.machine.service("start")

    def use_ours(self):
        """Switches over, as docs/install.md says."""
        self.machine.choose(OURS)
        self.machine.vsctl("set", "Open_vSwitch", ".",
                           "other_config:netdev-plugins=ovs-vhost")
        self.restart()

    def use_stock(self):
        """Rolls back, as docs/upgrade.md says."""
        self.machine.set_types(STOCK_TYPE)
        self.machine.vsctl("remove", "Open_vSwitch", ".", "other_config",
                           "netdev-plugins")
        self.machine.choose(DPDK)
        self.restart()

    def set_options(self, options):
        """Sets OVS_CTL_OPTS for the next start."""
        with open(self.machine.path(DEFAULTS)) as stream:
            lines = [line for line in stream
                     if not line.startswith("OVS_CTL_OPTS=")]
        with open(self.machine.path(DEFAULTS), "w") as stream:
            stream.writelines(lines + ["OVS_CTL_OPTS='%s'\n" % options])

    def start_as(self, owner, options):
        """Stops the switch, gives its files to 'owner' and starts it."""
        self.machine.service("stop")
        self.machine.run("chown", "-R", owner, *OWNED)
        self.set_options(options)
        self.machine.service("start")

    def check_user(self):
        uids = set(self.machine.status("Uid").split())
        check(uids == {self.machine.run("id", "-u", USER).strip()},
              "user ids are %s" % uids)
        for kind in "CapPrm", "CapEff":
            found = int(self.machine.status(kind), 16)
            check(found == KEPT, "%s is %#x" % (kind, found))
        for kind in "CapInh", "CapBnd", "CapAmb":
            found = int(self.machine.status(kind), 16)
            check(not found & ~KEPT, "%s is %#x" % (kind, found))

    # Steps.

    def debian(self):
        """Debian's ovs-vswitchd starts"""
        # There may have been another run before, see OVS_VHOST_KEEP.
        self.machine.run("rm", "-f", "/var/lib/openvswitch/conf.db")
        self.machine.run("chown", "-R", "root:root", *OWNED[:-1])
        self.set_options("")
        self.machine.service("start")
        check(self.machine.program() == KERNEL, self.machine.program())

    def dpdk(self):
        """Debian's ovs-vswitchd-dpdk, guests at dpdkvhostuserclient"""
        os.makedirs(self.guests)
        os.umask(0)             # The sockets are everybody's.
        self.machine.choose(DPDK)
        self.machine.vsctl(
            "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
            "other_config:per-port-memory=true",
            "other_config:pmd-maxsleep=100",
            'other_config:dpdk-extra="--no-pci --no-huge --legacy-mem -m 512"')
        self.restart()
        self.machine.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                           "datapath_type=netdev")
        for port in PORTS:
            self.machine.vsctl(
                "add-port", "br0", port, "--", "set", "Interface", port,
                "type=" + STOCK_TYPE,
                "options:vhost-server-path=/run/guests/" + port)
        self.load = Load(self.bed, "guests", RATE, [
            "generate+sink:%s/%s,server,ring=1024" % (self.guests, port)
            for port in PORTS])
        wait_until(lambda: all(self.load.books().received), LIMIT,
                   "traffic begins", interval=0.5)
        self.machine.check_runs(DPDK, STOCK_TYPE)

    def install(self):
        """the package is installed"""
        said = ""

        def action():
            nonlocal said
            said = self.machine.run("dpkg", "-i", "/debs/1.deb")
        result = self.leave_alone(action)
        check("nothing is switched over yet" in said, said)
        check(self.machine.chosen() == DPDK, self.machine.chosen())
        return result

    def switch_over(self):
        """switched over, types as they are"""
        result = self.interrupt(self.use_ours)
        self.machine.check_runs(OURS, STOCK_TYPE)
        loaded = self.machine.run("ovs-appctl", "netdev-plugin/list")
        check(loaded == "ovs-vhost: loaded from %s\n" % PLUGIN, loaded)
        return result

    def our_types(self):
        """ports become vhostuserclient"""
        result = self.interrupt(lambda: self.machine.set_types(OUR_TYPE))
        self.machine.check_runs(OURS, OUR_TYPE)
        for port in PORTS:
            state = self.machine.vsctl("get", "Interface", port,
                                       "status:state")
            check(state == "ready", state)
        return result

    def tools(self):
        """the package's programs work"""
        top = self.machine.run("ovs-vhost-top", "--once")
        check(all(port in top for port in PORTS), top)
        self.machine.run("ovs-vhost-guest", "--features", "list")
        self.machine.run("ovs-vhost-session", "--help")
        self.machine.run("ovs-vhost-container", "list")
        for name in "ovs-vhost-guest", "ovs-vhost-top", "ovs-appctl":
            self.machine.run("bash", "-c", ". %s/%s && complete -p %s" % (
                COMPLETIONS, name, name))

    def restarted(self):
        """restarted; all memory is locked"""
        result = self.interrupt(self.restart)
        self.machine.check_runs(OURS, OUR_TYPE)
        locked = int(self.machine.status("VmLck").split()[0])
        check(locked > 100000, "%d kB are locked" % locked)
        return result

    def upgrade(self):
        """the package is upgraded"""
        said = ""

        def action():
            nonlocal said
            said = self.machine.run("dpkg", "-i", "/debs/2.deb")
        result = self.leave_alone(action)
        check("the running ovs-vswitchd is still the one before" in said,
              said)
        check(self.machine.chosen() == OURS, self.machine.chosen())
        check(self.machine.program().endswith(" (deleted)"),
              "the old file is still there")
        return result

    def upgraded(self):
        """restarted after the upgrade"""
        result = self.interrupt(self.restart)
        self.machine.check_runs(OURS, OUR_TYPE)
        return result

    def killed(self):
        """killed and started"""
        result = self.interrupt(self.kill)
        self.machine.check_runs(OURS, OUR_TYPE)
        return result

    def other_user(self):
        """as user openvswitch"""
        self.machine.run("adduser", "--quiet", "--system", "--group",
                         "--no-create-home", USER)
        lines = len(self.machine.log().splitlines())
        result = self.interrupt(lambda: self.start_as(
            USER + ":" + USER, "--ovs-user=%s:%s" % (USER, USER)))
        self.machine.check_runs(OURS, OUR_TYPE)
        self.check_user()
        locked = int(self.machine.status("VmLck").split()[0])
        check(locked > 100000, "%d kB are locked" % locked)
        log = "\n".join(self.machine.log().splitlines()[lines:])
        check("crash records of packed rings are in /var/run/openvswitch/"
              in log, "no crash records")
        check("AIO is not available" not in log, "no AIO")
        return result

    def other_user_socket(self):
        """as user openvswitch, a socket for QEMU's group"""
        def action():
            self.machine.vsctl(
                "add-port", "br0", "vm3", "--", "set", "Interface", "vm3",
                "type=vhostuser", "options:vhost-sock-mode=0660",
                "options:vhost-sock-owner=:" + USER)
            path = self.machine.path("/run/openvswitch/vm3")
            found = wait_until(
                lambda: os.path.exists(path) and os.stat(path), 10,
                "the port listens")
            check(found.st_mode & 0o7777 == 0o660, "%o" % found.st_mode)
            check(found.st_gid == int(self.machine.run("id", "-g", USER)),
                  "its group is %d" % found.st_gid)
            status = self.machine.vsctl("get", "Interface", "vm3", "status")
            check("socket_access" not in status, status)
            self.machine.vsctl("del-port", "vm3")
        return self.leave_alone(action)

    def other_user_killed(self):
        """as user openvswitch, killed and started"""
        result = self.interrupt(self.kill)
        self.machine.check_runs(OURS, OUR_TYPE)
        self.check_user()
        return result

    def other_user_postcopy(self):
        """as user openvswitch, postcopy without --mlockall"""
        self.set_options("--ovs-user=%s:%s --no-mlockall" % (USER, USER))
        self.machine.vsctl("set", "Open_vSwitch", ".",
                           "other_config:vhost-postcopy-support=true")
        result = self.interrupt(self.restart)
        self.check_user()
        said = self.machine.vsctl("get", "Interface", "vm1",
                                  "status:postcopy")
        check("unavailable" not in said, said)
        self.machine.vsctl("remove", "Open_vSwitch", ".", "other_config",
                           "vhost-postcopy-support")
        return result

    def root_again(self):
        """as root again"""
        result = self.interrupt(lambda: self.start_as("root:root", ""))
        self.machine.check_runs(OURS, OUR_TYPE)
        return result

    def roll_back(self):
        """rolled back"""
        result = self.interrupt(self.use_stock)
        self.machine.check_runs(DPDK, STOCK_TYPE)
        return result

    def remove(self):
        """the package is removed while its ovs-vswitchd runs"""
        self.interrupt(self.use_ours)
        self.interrupt(lambda: self.machine.set_types(OUR_TYPE))
        said = ""

        def action():
            nonlocal said
            said = self.machine.run("dpkg", "-r", "ovs-vhost")
        result = self.leave_alone(action)
        check("the running ovs-vswitchd is this package's" in said, said)
        check(self.machine.chosen() == DPDK, self.machine.chosen())
        return result

    def removed(self):
        """restarted after the removal"""
        def action():
            self.machine.set_types(STOCK_TYPE)
            self.restart()
        result = self.interrupt(action)
        self.machine.check_runs(DPDK, STOCK_TYPE)
        return result

    def purge(self):
        """purged: nothing is left"""
        result = self.leave_alone(
            lambda: self.machine.run("dpkg", "-P", "ovs-vhost"))
        left = self.machine.run(
            "find", "/etc", "/usr", "/var/lib", "-name", "*ovs-vhost*",
            "-not", "-path", "/var/lib/apt/*")
        check(not left, left)
        check(not os.path.exists(self.machine.path(os.path.dirname(PLUGIN))),
              "the plugins' directory is left")
        return result

    def make_install(self):
        """make install, switched over"""
        self.make("install")
        self.machine.run("update-alternatives", "--install",
                         "/usr/sbin/ovs-vswitchd", "ovs-vswitchd", OURS, "40")
        check(self.machine.chosen() == DPDK, self.machine.chosen())
        result = self.interrupt(self.use_ours)
        self.machine.check_runs(OURS, STOCK_TYPE)
        self.interrupt(lambda: self.machine.set_types(OUR_TYPE))
        self.machine.check_runs(OURS, OUR_TYPE)
        return result

    def make_uninstall(self):
        """rolled back, make uninstall"""
        result = self.interrupt(self.use_stock)
        self.machine.check_runs(DPDK, STOCK_TYPE)
        self.machine.run("update-alternatives", "--remove", "ovs-vswitchd",
                         OURS)
        self.make("uninstall")
        left = self.machine.run("find", "/usr", "-path", "*ovs-vhost*",
                                "-not", "-type", "d")
        check(not left, left)
        return result

    def make(self, target):
        """Runs make in the build directory."""
        run(["make", "-s", "-C", self.bed.build.path, target,
             "DESTDIR=" + self.machine.root], timeout=600)

    def end(self):
        """Ends the guests and the switch."""
        for load in self.bed.loads:
            load.kill()
        run(["chroot", self.machine.root, "/etc/init.d/openvswitch-switch",
             "stop"], check=False)


STEPS = (Story.debian, Story.dpdk, Story.install, Story.switch_over,
         Story.our_types, Story.tools, Story.restarted, Story.upgrade,
         Story.upgraded, Story.killed, Story.other_user,
         Story.other_user_socket, Story.other_user_killed,
         Story.other_user_postcopy, Story.root_again, Story.roll_back,
         Story.remove, Story.removed, Story.purge, Story.make_install,
         Story.make_uninstall)


def main():
    root, build = map(os.path.abspath, sys.argv[1:3])
    machine = Machine(root)
    story = Story(machine, build)
    failed = 0
    for number, step in enumerate(STEPS):
        try:
            said = step(story)
            result = "PASS"
        except (LabError, OSError) as error:
            said = str(error)
            result = "FAIL"
            failed += 1
        print("[%d/%d] %-52s %s%s" % (
            number + 1, len(STEPS), step.__doc__, result,
            " (%s)" % said if said else ""), flush=True)
        if failed:              # What follows would have no ground.
            print(tail(machine.path(
                "/var/log/openvswitch/ovs-vswitchd.log"), 40))
            break
    story.end()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
