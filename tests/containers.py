#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Containers of all kinds, and guests, on one bridge: everybody reaches
everybody.

    containers.py [--qemu] [--build-dir DIR] [--ovs-tree DIR] [--logs DIR]

Containers have user, network, mount, process, IPC and host-name namespaces of
their own.  On one bridge there are containers

    behind a veth           in a port of type system, and one of type afxdp
    with a tap              by ovs-vhost-container --tap, ports of both types,
                            and a stock one
    with DPDK               by ovs-vhost-container: testpmd on virtio-user,
                            ports of both types, memory with --no-huge, and
                            another one with hugepages if they can be had

and with --qemu guests in QEMU, with Linux's virtio-net, at ports of both
types.  All that have an IP stack ping each other and the ones with DPDK, and
exchange bytes by TCP and UDP; what comes back is compared (station.c).
testpmd has no TCP: it answers pings, and sends frames to the other testpmds,
which count them.

Must run in process and mount namespaces of its own, so that nothing can stay
behind.  Needs root.  Exit status 0: all held; 77: this host cannot run it.
"""

import argparse
import contextlib
import glob
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (  # noqa: E402
    Build, Guest, HugePages, LabError, NetworkNamespace, Nic, Switch,
    guest_image, instance, tail, wait_until)
from ovs_vhost_lab.container import FIRST_ID, Container  # noqa: E402
from ovs_vhost_lab.guest import QEMU  # noqa: E402
from ovs_vhost_lab.process import scaled  # noqa: E402

SKIP = 77
BRIDGE = "br0"
TESTPMD = "dpdk-testpmd"
BURST = 32                      # Frames that testpmd sends at once.
HUGEPAGES_MIB = 128             # For one testpmd.
TOOL = os.path.join(os.path.dirname(TESTS), "utilities",
                    "ovs-vhost-container")


class Bed:
    """The switch, and how its ports are made."""

    def __init__(self, build, folder, stack):
        self.build = build
        self.folder = folder
        self.stack = stack
        # Containers are nobody here, and may only pass through.
        os.chmod(folder, 0o711)
        self.station = shutil.copy(os.path.join(build.path, "tests/station"),
                                   folder)
        # Before anything else: it makes a mount namespace.
        self.hugepages = self._hugepages()
        self.netns = stack.enter_context(NetworkNamespace())
        self.switch = stack.enter_context(Switch(build, folder, self.netns))
        self.switch.start()
        self.switch.add_bridge(BRIDGE)

    def _hugepages(self):
        """Has them in store, if they can be had; tells whether."""
        try:
            self.stack.enter_context(HugePages(
                os.path.join(self.folder, "huge"), HUGEPAGES_MIB))
        except (LabError, OSError) as error:
            print("no container has hugepages: %s" % error, flush=True)
            return False
        return True

    def tool(self, *words, check=True):
        """Runs ovs-vhost-container and returns what it printed."""
        env = self.switch.environment()
        env["PATH"] = os.path.join(self.build.path, "utilities") + ":" \
            + env["PATH"]
        result = subprocess.run([TOOL, *words], env=env, text=True,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE,
                                timeout=scaled(60))
        if check and result.returncode:
            raise LabError("%s: %s" % (" ".join(words), result.stderr))
        return result.stdout.strip()

    def container(self, name):
        container = Container(name, self.folder)
        self.stack.callback(container.close)
        return container

    def wait_up(self, port):
        wait_until(lambda: self.switch.interface(port, "link_state") == "up",
                   30, "port %s is up" % port)


class Kernel:
    """A station with an IP stack of Linux's, in a container."""

    kind = "kernel"

    def __init__(self, bed, name, address):
        self.bed = bed
        self.name = name
        self.address = address
        self.container = bed.container(name)

    def connect(self):
        """Gives the container its interface."""
        raise NotImplementedError

    def serve(self):
        server = self.container.start([self.bed.station, "serve"])
        wait_until(lambda: "ready" in tail(server.log, 3), 10,
                   "%s serves" % self.name, interval=0.01)

    def ask(self, what, addresses):
        """Pings or tries the addresses; returns (all well, what it said)."""
        result = self.container.run([self.bed.station, what, *addresses],
                                    check=False, timeout=300)
        return result.returncode == 0, result.stdout


class Veth(Kernel):
    """Behind a veth pair whose other end is in a port of type 'type'."""

    type = "system"

    def connect(self):
        port = self.name
        self.bed.netns.ip("link", "add", port, "type", "veth", "peer", "name",
                          "eth1", "netns", self.container.netns())
        # The frames on it are what a wire could carry.
        for runner, interface in ((self.bed.netns, port),
                                  (self.container, "eth1")):
            runner.run(["ethtool", "-K", interface, "tx", "off", "tso", "off",
                        "gso", "off", "gro", "off"])
            runner.run(["ip", "link", "set", interface, "up"])
        self.container.run(["ip", "addr", "add", self.address + "/24", "dev",
                            "eth1"])
        self.bed.switch.add_port(BRIDGE, port, self.type)


class Afxdp(Veth):
    type = "afxdp"


class Tap(Kernel):
    """With ovs-vhost-container's tap."""

    type = "vhostuserclient"

    def connect(self):
        self.bed.tool("add-port", BRIDGE, "eth1", str(self.container.pid),
                      "--tap", "--type=" + self.type,
                      "--ipaddress=%s/24" % self.address)


class TapAtServer(Tap):
    type = "vhostuser"


class TapAtStock(Tap):
    type = "dpdkvhostuserclient"


class Machine:
    """A guest in QEMU."""

    kind = "kernel"
    type = "vhostuserclient"

    def __init__(self, bed, name, address):
        self.bed = bed
        self.name = name
        self.address = address
        self._guest = Guest(name, guest_image(programs=[bed.station]),
                            bed.folder, memory=256, netns=bed.netns)
        bed.stack.callback(self._guest.kill)

    def connect(self):
        listen = self.type.endswith("client")
        path = os.path.join(self.bed.folder, self.name + ".sock") if listen \
            else self.bed.switch.socket_path(self.name)
        options = {"vhost_server_path": path} if listen else {}
        self.bed.switch.add_port(BRIDGE, self.name, self.type, **options)
        self._guest.start(Nic(path, listen=listen,
                              address=self.address + "/24"))

    def serve(self):
        self._guest.wait_ready(120)
        self.bed.wait_up(self.name)
        self._guest.check("setsid station serve >/tmp/served 2>&1 & "
                          "until grep -q ready /tmp/served; do sleep .1; done")

    def ask(self, what, addresses):
        status, output = self._guest.run(
            "station %s %s" % (what, " ".join(addresses)), 300)
        return status == 0, output


class MachineAtServer(Machine):
    type = "vhostuser"


class Dpdk:
    """testpmd in a container, on virtio-user."""

    kind = "dpdk"
    type = "vhostuserclient"
    memory = ("--no-huge", "--no-shconf")

    def __init__(self, bed, name, address):
        self.bed = bed
        self.name = name
        self.address = address          # It answers for all.
        self.container = bed.container(name)
        self.mac = "02:00:00:00:01:%02x" % int(address.rpartition(".")[2])
        self._marks = 0

    def connect(self):
        inner = os.path.join(self.bed.folder, self.name + ".vhost")
        os.mkdir(inner)
        argument = self.bed.tool(
            "add-port", BRIDGE, "eth1", str(self.container.pid),
            "--type=" + self.type, "--macaddress=" + self.mac,
            "--container-dir=" + inner)
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        fifo = os.path.join(self.bed.folder, self.name + ".in")
        os.mkfifo(fifo)
        self._input = os.open(fifo, os.O_RDWR)
        self.bed.stack.callback(os.close, self._input)
        runtime = os.path.join(self.bed.folder, self.name + ".run")
        os.mkdir(runtime)
        os.chown(runtime, FIRST_ID, FIRST_ID)
        self._process = self.container.start(
            ["stdbuf", "-oL", TESTPMD, "--no-pci", *self.memory, "-m", "96",
             "--no-telemetry", "--log-level=error", "--lcores",
             "(0,1)@(%s)" % cpus, argument, "--", "-i", "--no-mlockall",
             "--total-num-mbufs=4096", "--nb-cores=1"],
            stdin=self._input, env=dict(os.environ, RUNTIME_DIRECTORY=runtime))

    def serve(self):
        self._wait("testpmd>")
        self.bed.wait_up(self._port())
        self._check_directory()

    def _port(self):
        found, = json.loads(self.bed.tool("list", "--json",
                                          str(self.container.pid)))
        return found["port"]

    def _check_directory(self):
        """The container's root has the directory, or the socket, and nobody
        else."""
        found, = json.loads(self.bed.tool("list", "--json",
                                          str(self.container.pid)))
        path = found["directory"]
        if not self.type.endswith("client"):
            path = os.path.join(path, "sock")
        status = os.stat(path)
        if status.st_uid != FIRST_ID or status.st_mode & 0o077:
            raise LabError("%s: owner %d, mode %o"
                           % (path, status.st_uid, status.st_mode))

    def _wait(self, text):
        def said():
            self._process.check_running()
            with open(self._process.log, errors="replace") as stream:
                return text in stream.read()
        wait_until(said, 60, "testpmd in %s says '%s'" % (self.name, text),
                   interval=0.01)

    def command(self, *lines):
        """Gives it commands; returns what it says to them."""
        self._marks += 1
        mark = "mark-%d-" % self._marks
        start = os.path.getsize(self._process.log)
        os.write(self._input, "".join(
            line + "\n" for line in (*lines, mark)).encode())
        self._wait(mark)
        with open(self._process.log, errors="replace") as stream:
            stream.seek(start)
            return stream.read()

    def received(self):
        return int(re.search(r"RX-packets: +(\d+)",
                             self.command("show port stats 0")).group(1))

    @contextlib.contextmanager
    def forwarding(self, mode):
        """It forwards, which keeps a processor busy, meanwhile."""
        self.command("set fwd " + mode, "start")
        yield
        self.command("stop")

    def send_to(self, other):
        """Sends a burst of frames to another one, which has to get it."""
        with other.forwarding("rxonly"):
            before = other.received()
            self.command("set eth-peer 0 " + other.mac, "set fwd rxonly",
                         "start tx_first", "stop")
            wait_until(lambda: other.received() >= before + BURST, 20,
                       "%d frames of %s come to %s"
                       % (BURST, self.name, other.name))


class DpdkAtServer(Dpdk):
    type = "vhostuser"


class DpdkHuge(Dpdk):
    memory = ("--in-memory", "--single-file-segments")

    def serve(self):
        super().serve()
        said = self.bed.switch.appctl("vhost/show", self._port())
        check("in pages of 2048 KiB" in said, "memory of " + self.name, said)


CONTAINERS = (("veth", Veth), ("afxdp", Afxdp), ("tap", Tap),
              ("taps", TapAtServer), ("stock", TapAtStock), ("dpdk", Dpdk),
              ("dpdks", DpdkAtServer))
MACHINES = (("vm", Machine), ("vms", MachineAtServer))


def stations(bed, qemu):
    kinds = CONTAINERS
    if bed.hugepages:
        kinds += (("huge", DpdkHuge),)
    if qemu:
        kinds += MACHINES
    return [kind(bed, name, "10.0.0.%d" % number)
            for number, (name, kind) in enumerate(kinds, 1)]


def timed(what, start):
    print("%-48s %5.1f s" % (what, time.monotonic() - start), flush=True)


def check(ok, what, said):
    if not ok:
        raise LabError("%s:\n%s" % (what, said.rstrip()))


def everybody_reaches_everybody(found):
    """Each to each, in both directions; but nobody is pinged by those with
    DPDK."""
    kernels = [each for each in found if each.kind == "kernel"]
    dpdks = [each for each in found if each.kind == "dpdk"]
    for one in kernels:
        start = time.monotonic()
        others = [each.address for each in kernels if each is not one]
        ask(one, "try", others)
        timed("%s: ping, TCP, UDP to %d others" % (one.name, len(others)),
              start)
    for one in dpdks:
        start = time.monotonic()
        with one.forwarding("icmpecho"):
            for each in kernels:
                ask(each, "ping", [one.address])
        timed("%s: ping by %d others" % (one.name, len(kernels)), start)
    start = time.monotonic()
    for one, other in itertools.permutations(dpdks, 2):
        one.send_to(other)
    timed("frames from each with DPDK to each", start)


def ask(station, what, addresses):
    ok, said = station.ask(what, addresses)
    check(ok, "%s %s %s" % (station.name, what, " ".join(addresses)), said)


def processes(name):
    """Returns the lines in /proc/PID/stat of those that run; nobody reaps
    what ovs-vhost-container leaves to process 1 of this test."""
    lines = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path) as stream:
            lines.append(stream.read())
    return [line for line in lines
            if "(%s)" % name in line and ") Z " not in line]


def take_away(bed, found):
    """Takes the containers' ports away: nothing is left."""
    start = time.monotonic()
    tools = [each for each in found if isinstance(each, (Tap, Dpdk))]
    for each in tools:
        bed.tool("del-port", BRIDGE, "eth1", str(each.container.pid))
        bed.tool("del-port", BRIDGE, "eth1", str(each.container.pid),
                 "--if-exists")
    left = glob.glob(os.path.join(bed.switch.rundir, "containers", "*"))
    check(not left, "left behind", "\n".join(left))
    check(bed.tool("list", "--json") == "[]", "list", bed.tool("list"))
    for each in tools:
        links = each.container.run(["ip", "-o", "link"]).stdout
        check("eth1" not in links, each.name, links)
    guests = processes("ovs-vhost-guest")
    check(not guests, "ovs-vhost-guest still runs", "\n".join(guests))
    timed("taken away", start)


def test(bed, qemu):
    start = time.monotonic()
    found = stations(bed, qemu)
    # Machines take longest: they come up meanwhile.
    for each in reversed(found):
        each.connect()
    for each in found:
        each.serve()
    timed("%d stations on a bridge" % len(found), start)
    everybody_reaches_everybody(found)
    take_away(bed, found)
    bed.switch.check_running()


def show_logs(folder, target):
    for path in sorted(glob.glob(os.path.join(folder, "*.log"))
                       + glob.glob(os.path.join(folder, "ovs/*.log"))
                       + glob.glob(os.path.join(folder,
                                                "ovs/containers/*.log"))):
        print("--- the last lines of %s:\n%s" % (os.path.basename(path),
                                                tail(path, 30)))
        if target:
            shutil.copy(path, target)


def work(directory, options):
    with contextlib.ExitStack() as stack:
        try:
            bed = Bed(Build(options.build_dir, options.ovs_tree),
                      directory.path, stack)
            test(bed, options.qemu)
        except (LabError, OSError, ValueError,
                subprocess.TimeoutExpired) as error:
            print("FAIL %s" % error, flush=True)
            show_logs(directory.path, options.logs)
            return 1
    print("PASS", flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--qemu", action="store_true")
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    options = parser.parse_args()
    needs = [TESTPMD, "ethtool"] + [QEMU] * options.qemu
    if os.geteuid() or not os.access("/dev/net/tun", os.R_OK | os.W_OK) \
            or not all(map(shutil.which, needs)):
        print("containers: skipped, it needs root, /dev/net/tun, "
              + ", ".join(needs))
        return SKIP
    return instance.supervise(
        lambda directory, _: work(directory, options), "ovs-vhost-containers")


if __name__ == "__main__":
    sys.exit(main())
