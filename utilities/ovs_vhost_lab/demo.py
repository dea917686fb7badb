# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What utilities/ovs-vhost-demo shows, step by step.

Two guests, one on a port of each type, and a third station behind a DPDK NIC
port share a bridge.  Each step is a method that returns a short text for the
summary or raises LabError.  The script utilities/ovs-vhost-demo, which
documents the options, installs and builds what this needs.
"""

import argparse
import contextlib
import os
import re
import sys
import threading
import time

from . import instance
from .build import Build
from .guest import Guest, Nic, accelerator, qemu_version
from .image import guest_image
from .netns import NetworkNamespace
from .process import LabError, popen, wait_until
from .steps import (print_logs, print_summary, run_steps, save_logs,
                    succeeded)
from .switch import Switch

BRIDGE = "br0"
ADDRESS = {"vm1": "10.0.0.1", "vm2": "10.0.0.2", "station": "10.0.0.3"}
TRANSFER_MIB = 64
MEMORY_MIB = 1400               # Two guests, DPDK's pools, the daemons.
PINGS = 5

# What a guest sends later, and its digest, are made while others go on.
MAKE_DATA = ("{ dd if=/dev/urandom of=/tmp/out bs=1M count=%d;"
             " md5sum </tmp/out >/tmp/sum; touch /tmp/made; } 2>/dev/null &"
             % TRANSFER_MIB)


class PingWatch:
    """Pings an address from a namespace ten times a second and notes when
    each answer came, to tell how long a station could not be reached."""

    def __init__(self, netns, busybox, address):
        self._answers = []
        self._child = popen([busybox, "ping", "-i", "0.1", address], netns,
                            stdout=-1, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._child.stdout:
            if "bytes from" in line:
                self._answers.append(time.monotonic())

    def answered_after(self, moment):
        """Tells whether an answer came after 'moment'."""
        return bool(self._answers) and self._answers[-1] > moment

    def gap(self, moment):
        """Returns the seconds from the last answer before 'moment' to the
        first one after it."""
        before = [answer for answer in self._answers if answer <= moment]
        after = [answer for answer in self._answers if answer > moment]
        return after[0] - (before[-1] if before else moment)

    def close(self):
        self._child.kill()
        self._child.wait()
        self._reader.join()
        self._child.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def check_host():
    """Raises LabError if this host cannot show the demo at all."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise LabError("no /dev/net/tun, which a bridge's internal port needs:"
                       " load module tun, or bind /dev into this chroot")
    with open("/proc/meminfo") as stream:
        free = int(re.search(r"MemAvailable: *(\d+)", stream.read()).group(1))
    if free < MEMORY_MIB << 10:
        raise LabError("%d MiB of memory are available, %d are needed"
                       % (free >> 10, MEMORY_MIB))


class Demo:
    """The laboratory and the steps.  'stack' ends what they start."""

    def __init__(self, folder, options, stack):
        self.folder = folder
        self.options = options
        self.stack = stack
        self.guests = {}
        self.watches = {}
        self.switch = None
        self.netns = None
        self.station = None
        self.image = None
        self.killed_at = None

    def steps(self):
        """Returns (title, method, whether the later steps need it)."""
        server, client = self.options.type_server, self.options.type_client
        size = "%d MiB" % TRANSFER_MIB
        return (
            ("image: kernel and initramfs", self.make_image, True),
            ("switch: ovs-vswitchd with DPDK and plugin",
             self.start_switch, True),
            ("ports: %s, %s, dpdk" % (server, client), self.add_ports, True),
            ("boot: vm1 and vm2", self.boot, True),
            ("ping: vm1, vm2, station", self.ping_all, False),
            ("tcp: vm1 to vm2, " + size,
             lambda: self.transfer("vm1", "vm2"), False),
            ("tcp: vm2 to vm1, " + size,
             lambda: self.transfer("vm2", "vm1"), False),
            ("flow: drop vm1's ping", self.drop_ping, False),
            ("flow: delete the drop", self.restore_ping, False),
            ("restart: kill -9 ovs-vswitchd, start it", self.restart, True),
            ("restart: vm2 (%s)" % client,
             lambda: self.check_back("vm2"), False),
            ("restart: vm1 (%s)" % server,
             lambda: self.check_back("vm1"), False),
            ("ping: vm1, vm2, station again", self.ping_all, False),
        )

    # Making the laboratory.

    def make_image(self):
        check_host()
        self.image = guest_image()
        kernel = os.path.basename(self.image.kernel)
        return "%s, QEMU %s, %s" % (
            kernel.replace("vmlinuz-", "Linux "),
            ".".join(map(str, qemu_version())),
            accelerator(self.image).upper())

    def start_switch(self):
        self.netns = self.stack.enter_context(NetworkNamespace())
        self.station = self.stack.enter_context(NetworkNamespace())
        self.netns.add_veth("nic0", "eth0", self.station)
        self.station.ip("addr", "add", ADDRESS["station"] + "/24",
                        "dev", "eth0")
        build = Build(self.options.build_dir, self.options.ovs_tree)
        settings = {} if self.needs_plugin() else {"plugins": ()}
        self.switch = self.stack.enter_context(
            Switch(build, self.folder, self.netns, **settings))
        self.switch.start()
        self.check_types()
        self.switch.add_bridge(BRIDGE)
        return "Open vSwitch %s, %s" % (
            self.switch.appctl("version").split()[-1],
            self.switch.vsctl("get", "Open_vSwitch", ".",
                              "dpdk_version").strip().strip('"'))

    def check_types(self):
        """Raises LabError if the switch does not know the ports' types."""
        known = self.switch.vsctl("get", "Open_vSwitch", ".", "iface_types")
        known = re.findall(r"[\w-]+", known)
        for kind in self.options.type_server, self.options.type_client:
            if kind not in known:
                raise LabError("the switch knows no ports of type %s\n%s" % (
                    kind, self.switch.appctl("netdev-plugin/list")
                    if self.needs_plugin() else ""))

    def needs_plugin(self):
        """Tells whether a port's type is other than a stock one."""
        return not all(kind.startswith("dpdk") for kind in
                       (self.options.type_server, self.options.type_client))

    def client_path(self):
        """Returns where vm2's QEMU listens."""
        return os.path.join(self.folder, "vm2.vhost")

    def add_ports(self):
        self.switch.add_port(BRIDGE, "vm1", self.options.type_server)
        self.switch.add_port(BRIDGE, "vm2", self.options.type_client,
                             vhost_server_path=self.client_path())
        self.switch.add_port(BRIDGE, "nic", "dpdk",
                             dpdk_devargs="net_af_packet0,iface=nic0")
        return "no error column set"

    def boot(self):
        nics = {"vm1": Nic(self.switch.socket_path("vm1")),
                "vm2": Nic(self.client_path(), listen=True)}
        start = time.monotonic()
        for name, nic in nics.items():
            nic.address = ADDRESS[name] + "/24"
            self.guests[name] = self.stack.enter_context(
                Guest(name, self.image, self.folder, netns=self.netns))
            self.guests[name].start(nic)
        times = []
        for name in nics:
            self.guests[name].wait_ready()
            times.append("%s %.1f s" % (name, time.monotonic() - start))
        for guest in self.guests.values():
            guest.check(MAKE_DATA)
        return "shells answer: " + ", ".join(times)

    # Traffic.

    def execute(self, station, command, timeout=30):
        """Runs a line of shell at a station; returns (status, output)."""
        if station in self.guests:
            return self.guests[station].run(command, timeout)
        result = self.station.run([self.image.busybox, "sh", "-c", command],
                                  timeout=timeout, check=False)
        return result.returncode, result.stdout

    def ping(self, source, target, count=PINGS):
        """Returns how many of 'count' pings were answered, and their average
        round trip in milliseconds (None without answers)."""
        ping = "ping" if source in self.guests \
            else self.image.busybox + " ping"
        _, output = self.execute(source, "%s -c %d -i 0.1 -W 1 %s"
                                 % (ping, count, ADDRESS[target]),
                                 timeout=10 + 2 * count)
        received = re.search(r"(\d+) packets received", output)
        average = re.search(r"min/avg/max = [\d.]+/([\d.]+)/", output)
        return (int(received.group(1)) if received else 0,
                float(average.group(1)) if average else None)

    def ping_without_loss(self, source, target):
        """Lets the stations learn each other's addresses, then pings.
        Returns the average round trip; raises LabError if any is lost."""
        wait_until(lambda: self.ping(source, target, 1)[0], 10,
                   "first answer to %s from %s" % (source, target))
        received, average = self.ping(source, target)
        if received != PINGS:
            raise LabError("%s to %s: %d of %d pings answered"
                           % (source, target, received, PINGS))
        return average

    def ping_all(self):
        times = [self.ping_without_loss(source, target)
                 for source in ADDRESS for target in ADDRESS
                 if source != target]
        return "%d ways, 0%% loss, %.1f to %.1f ms" % (
            len(times), min(times), max(times))

    def transfer(self, source, target):
        """Sends random bytes from one guest to the other and compares."""
        sender, receiver = self.guests[source], self.guests[target]
        expected = sender.check("until [ -e /tmp/made ]; do sleep 0.1; done; "
                                "cat /tmp/sum", 60).split()[0]
        receiver.check("nc -l -p 5001 -e dd of=/tmp/in bs=64k & "
                       "until netstat -ltn | grep -q :5001; do sleep .1; done")
        start = time.monotonic()
        sender.check("nc %s 5001 </tmp/out" % ADDRESS[target], 120)
        receiver.check("while pidof nc dd; do sleep 0.1; done")
        seconds = time.monotonic() - start
        size = int(receiver.check("wc -c </tmp/in"))
        found = receiver.check("md5sum </tmp/in", 60).split()[0]
        receiver.check("rm /tmp/in")
        if size != TRANSFER_MIB << 20 or found != expected:
            raise LabError("%d bytes with MD5 %s arrived, not %d with %s"
                           % (size, found, TRANSFER_MIB << 20, expected))
        return "MD5 equal, %.1f s, %.0f Mbit/s" % (
            seconds, TRANSFER_MIB * 8.388608 / seconds)

    # Flows.

    def drop_match(self):
        """Returns the match of the rule that drops vm1's ping."""
        return "icmp,in_port=" + self.switch.interface("vm1", "ofport")

    def drop_ping(self):
        match = self.drop_match()
        self.switch.ofctl("add-flow", BRIDGE,
                          "priority=100,%s,actions=drop" % match)
        wait_until(lambda: not self.ping("vm1", "vm2", 1)[0], 5,
                   "vm1's ping stops")
        received, _ = self.ping("vm1", "vm2")
        if received:
            raise LabError("%d of %d pings passed the rule"
                           % (received, PINGS))

        def counted():
            flows = self.switch.ofctl("dump-flows", BRIDGE, match)
            found = re.search(r"n_packets=(\d+)", flows)
            return int(found.group(1)) if found else 0
        packets = wait_until(lambda: counted() >= PINGS and counted(), 10,
                             "dump-flows counts %d packets" % PINGS)
        self.ping_without_loss("vm2", "station")
        return "%d of %d lost, n_packets=%d, vm2's pass" % (PINGS, PINGS,
                                                           packets)

    def restore_ping(self):
        self.switch.ofctl("del-flows", BRIDGE, self.drop_match())
        self.ping_without_loss("vm1", "vm2")
        return "%d of %d answered" % (PINGS, PINGS)

    # Restart.

    def restart(self):
        for name in self.guests:
            self.watches[name] = self.stack.enter_context(PingWatch(
                self.station, self.image.busybox, ADDRESS[name]))
        wait_until(lambda: all(watch.answered_after(0)
                               for watch in self.watches.values()),
                   10, "the station reaches both guests")
        self.killed_at = time.monotonic()
        self.switch.kill()
        if self.options.type_server.startswith("dpdk"):
            # The stock port refuses the socket that it left behind.
            os.unlink(self.switch.socket_path("vm1"))
        self.switch.start_vswitchd()
        return "it answers after %.1f s" % (time.monotonic() - self.killed_at)

    def check_back(self, name):
        watch = self.watches[name]
        wait_until(lambda: watch.answered_after(self.killed_at), 20,
                   "%s answers the station again" % name)
        gap = watch.gap(self.killed_at)
        watch.close()
        self.ping_without_loss(name, "station")
        return "%.1f s from the last answer to the next" % gap

    # Telling what happened.

    def show(self):
        """Returns the switch's own description of the ports."""
        command = "vhost/show" if self.switch.has_command("vhost/show") \
            else "dpctl/show"
        return "ovs-appctl %s:\n%s" % (command, self.switch.appctl(command))

    def logs(self):
        """Returns [(path, how many of its last lines tell something)]."""
        logs = [(self.switch.ovsdb_log, 5), (self.switch.log, 40)] \
            if self.switch else []
        for guest in self.guests.values():
            logs += [(guest.log, 10), (guest.console_log, 15)]
        return logs


# Running the steps.

def work(directory, keep, options):
    """The worker's whole life; returns the exit status."""
    with contextlib.ExitStack() as stack:
        demo = Demo(directory.path, options, stack)
        results = run_steps(demo)
        with contextlib.suppress(LabError):
            if demo.switch:
                print("\n" + demo.show())
        if not succeeded(results):
            print_logs(demo)
        print_summary(results)
        if options.logs:
            save_logs(demo, options.logs)
        status = 0 if succeeded(results) else 1
        if options.keep and len(demo.guests) == 2:
            keep_running(directory, keep, demo, status)
    return status


def keep_running(directory, keep, demo, status):
    """Lets the user in, and waits for the signal that ends it all."""
    for watch in demo.watches.values():
        watch.close()
    environment = {name: value
                   for name, value in demo.switch.environment().items()
                   if name.startswith("OVS_") or name == "PATH"}
    directory.describe(guests=sorted(demo.guests), environment=environment,
                       namespaces={"switch": demo.netns.fileno(),
                                   "station": demo.station.fileno()})
    print("""
Everything goes on running in %s.
  utilities/ovs-vhost-demo --shell vm1      a shell in guest vm1 (or vm2)
  utilities/ovs-vhost-demo --shell station  a shell beyond the DPDK port
  utilities/ovs-vhost-demo --shell switch   a shell for ovs-vsctl, ovs-ofctl
                                            and ovs-appctl
  utilities/ovs-vhost-demo --stop           ends it
Addresses: %s.""" % (directory.path, ", ".join(
        "%s %s" % item for item in ADDRESS.items())), flush=True)
    keep(status)
    while True:
        time.sleep(3600)


def parse_options(arguments):
    """Parses what the script did not handle itself; it has the help."""
    parser = argparse.ArgumentParser(prog="ovs-vhost-demo", add_help=False,
                                     allow_abbrev=False)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--shell")
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--dir")
    parser.add_argument("--logs")
    parser.add_argument("--build-dir")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--type-server", default="vhostuser")
    parser.add_argument("--type-client", default="vhostuserclient")
    return parser.parse_args(arguments)


def main():
    options = parse_options(sys.argv[1:])
    try:
        if options.stop:
            return instance.stop(options.dir)
        if options.shell:
            return instance.shell(options.shell, options.dir)
        return instance.supervise(
            lambda directory, keep: work(directory, keep, options))
    except LabError as error:
        print("ovs-vhost-demo: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
