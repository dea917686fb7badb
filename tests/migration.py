#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Live migration of a QEMU guest from one port of a bridge to another.

    migration.py [--from TYPE] [--to TYPE] [--queues N] [--packed]
                 [--no-announce] [--mode MODE] [--build-dir DIR]
                 [--ovs-tree DIR] [--logs DIR]

Two QEMU processes, source and destination, are at ports of one switch, and a
station is behind its DPDK NIC port.  While the guest moves, its memory is
written to, the station pings it, and bytes go both ways by TCP, all of which
are compared.  Afterwards all of that has to go on, and what was in the guest's
memory to be there still.

TYPE is one of ours or of the stock ports: vhostuser, vhostuserclient (the
default), dpdkvhostuser, dpdkvhostuserclient.

Needs root.  Exit status 0: all held; 77: this host cannot run it.
$OVS_VHOST_QEMU, $OVS_VHOST_CACHE and $OVS_VHOST_TIMEOUT_SCALE are those of
utilities/ovs-vhost-demo.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import random
import re
import shutil
import socket
import sys
import termios
import threading
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (  # noqa: E402
    Build, Guest, LabError, NetworkNamespace, Nic, Switch, guest_image,
    instance, tail, wait_until)
from ovs_vhost_lab.guest import QEMU, qemu_version  # noqa: E402
from ovs_vhost_lab.migration import (  # noqa: E402
    start_precopy, wait_copied, wait_migrated)
from ovs_vhost_lab.process import scaled  # noqa: E402
from ovs_vhost_lab.traffic import (  # noqa: E402
    BLOCK, PIECE, Downward, Pinger, Transfer, Upward)

SKIP = 77
TYPES = ("vhostuser", "vhostuserclient", "dpdkvhostuser",
         "dpdkvhostuserclient")
BRIDGE = "br0"
GUEST = "10.0.0.1"
STATION = "10.0.0.3"
MAC = "52:54:00:00:6d:69"
MEMORY = 256                    # MiB of the guest.
MAX_GAP = {"precopy": 6,        # Seconds without an answer to a ping.
           "postcopy": 60}      # (QEMU is slow with pages, on purpose.)
HELD = 48 << 10                 # Less than the first window.

# What the guest keeps, and what it writes to its memory again and again.
KEEP = "dd if=/dev/urandom of=/tmp/keep bs=1M count=16 2>/dev/null; " \
       "sha256sum </tmp/keep"
DIRTY = """setsid sh -c 'n=0; while :; do
    dd if=/dev/urandom of=/tmp/dirt bs=256k count=8 conv=notrunc 2>/dev/null
    n=$((n + 1)); echo $n >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.1
done' >/dev/null 2>&1 &"""


class Held(Transfer):
    """The station sends HELD random bytes when it is told to, which the guest
    does not read before it is told to: they stay where its NIC has put them,
    in pages to which the guest itself writes nothing."""

    def __init__(self, guest, netns, port):
        super().__init__(netns, port)
        self._send = threading.Event()
        self._read = threading.Event()
        self._data = random.Random(port).getrandbits(8 * HELD).to_bytes(
            HELD, "big")
        guest.check("setsid nc -l -p %d -e sh -c 'until [ -e /tmp/read ]; do "
                    "sleep 0.3; done; exec sha256sum' >/dev/null 2>&1 & "
                    "until netstat -ltn | grep -q :%d; do sleep .1; done"
                    % (port, port))
        self.start()

    def run_in_netns(self):
        with socket.create_connection((GUEST, self.port),
                                      scaled(30)) as connection:
            connection.settimeout(scaled(60))
            self._send.wait()
            connection.sendall(self._data)
            self._wait_acknowledged(connection)
            self.n_bytes += HELD
            self._read.wait()
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        if answer.split()[:1] != [
                hashlib.sha256(self._data).hexdigest().encode()]:
            raise LabError("what the guest received while it moved is not "
                           "what was sent")

    def _wait_acknowledged(self, connection):
        def acknowledged():
            left = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
            return not any(left)
        wait_until(acknowledged, 30, "the guest acknowledges", 0.01)

    def send(self):
        """Sends, and waits until the guest has it all."""
        self._send.set()
        self.wait(HELD)

    def finish(self):
        self._read.set()
        self.join_and_check()


class Migration:
    """The switch, the station, and the guest at its two places.  'stack' ends
    what is started here."""

    def __init__(self, folder, options, stack):
        self.folder = folder
        self.options = options
        self.stack = stack
        self.types = {"src": options.source, "dst": options.target}
        self.switch = self.netns = self.station = self.image = None
        self.source = self.target = self.pinger = None
        self.transfers = []
        self.held = []
        self.kept = None
        self.incoming = os.path.join(folder, "mig")
        self._started = time.monotonic()

    def say(self, text):
        """Prints a line of the story."""
        print("%6.1f s  %s" % (time.monotonic() - self._started, text),
              flush=True)

    # Making the laboratory.

    def start_switch(self, **other_config):
        self.image = guest_image(files={"block": BLOCK})
        self.netns = self.stack.enter_context(NetworkNamespace())
        self.station = self.stack.enter_context(NetworkNamespace())
        self.netns.add_veth("nic0", "eth0", self.station)
        self.station.ip("addr", "add", STATION + "/24", "dev", "eth0")
        self.switch = self.stack.enter_context(Switch(
            Build(self.options.build_dir, self.options.ovs_tree),
            self.folder, self.netns,
            other_config={key.replace("_", "-"): value
                          for key, value in other_config.items()}))
        self.switch.start()
        self.switch.add_bridge(BRIDGE)
        self.switch.add_port(BRIDGE, "nic", "dpdk",
                             dpdk_devargs="net_af_packet0,iface=nic0")

    def socket(self, name):
        """Returns the path of the socket between switch and QEMU."""
        return os.path.join(self.folder, name + ".vhost") \
            if self.types[name].endswith("client") \
            else self.switch.socket_path(name)

    def add_port(self, name, **port_options):
        """Adds the port 'name'."""
        if self.types[name].endswith("client"):
            port_options["vhost_server_path"] = self.socket(name)
        elif self.options.mode == "postcopy":
            port_options["vhost_postcopy_support"] = "true"
        self.switch.add_port(BRIDGE, name, self.types[name], **port_options)

    def start_guest(self, name, qemu_args=()):
        """Starts a QEMU for the port 'name'.  Both are the same machine."""
        device = ["packed=on"] if self.options.packed else []
        if self.options.no_announce:
            device.append("guest_announce=off")
        guest = self.stack.enter_context(Guest(
            name, self.image, self.folder, memory=MEMORY,
            cpus=self.options.queues, netns=self.netns, qemu_args=qemu_args))
        guest.start(Nic(self.socket(name), mac=MAC, address=GUEST + "/24",
                        listen=self.types[name].endswith("client"),
                        queues=self.options.queues, device=",".join(device)))
        return guest

    def boot(self):
        """Starts the guest, and the QEMU to which it will move."""
        for name in self.types:
            self.add_port(name)
        self.source = self.start_guest("src")
        self.source.wait_ready(120)
        self.target = self.start_guest("dst",
                                       ("-incoming", "unix:" + self.incoming))
        self.say("guest is up, features %s" % self.switch.vsctl(
            "get", "Interface", "src", "status:features").strip())

    # Traffic.

    def start_traffic(self):
        self.kept = self.source.check(KEEP, 60)
        self.source.check(DIRTY)
        self.pinger = Pinger(self.station, self.image.busybox, GUEST)
        self.stack.callback(self.pinger.close)
        self.pinger.wait()
        for number in range(self.options.queues):
            self.transfers += [
                Upward(self.source, self.station, STATION, 5001 + number),
                Downward(self.source, self.station, GUEST, 6001 + number)]
        self.held = [Held(self.source, self.station, 7001 + number)
                     for number in range(4)]
        self.check_traffic()
        self.say("traffic")

    def check_traffic(self):
        """Waits until all traffic goes on by itself."""
        self.pinger.wait()
        for transfer in self.transfers:
            transfer.wait()

    def end_traffic(self, guest):
        """Ends the transfers with the guest; each byte has to be right."""
        guest.check("touch /tmp/stop /tmp/read")
        for transfer in self.transfers + self.held:
            transfer.finish()
        self.say("%d MiB by TCP, all right" % (
            sum(each.n_bytes for each in self.transfers) >> 20))

    # Migration, by modes.

    def precopy(self):
        """All of the memory moves before the guest does."""
        start_precopy(self.source, self.incoming)
        self.check_log()
        wait_copied(self.source)
        for held in self.held:
            held.send()
        return wait_migrated(self.source, self.target)

    def postcopy(self):
        """The guest moves after a small part of its memory has.  The rest
        comes slowly, and as it is asked for."""
        for guest in self.source, self.target:
            guest.qmp("migrate-set-capabilities", capabilities=[
                {"capability": "postcopy-ram", "state": True}])
        self.source.qmp("migrate-set-parameters", max_bandwidth=8 << 20,
                        max_postcopy_bandwidth=2 << 20, downtime_limit=1)
        self.source.qmp("migrate", uri="unix:" + self.incoming)
        self.wait_transferred(8 << 20)
        self.source.qmp("migrate-start-postcopy")
        self.wait_status("postcopy-active")
        self.check_postcopy("running")
        self.pinger.wait()
        for transfer in self.transfers:
            transfer.wait(PIECE)
        for each in self.held:
            each.send()
        self.wait_status("postcopy-active")
        self.source.qmp("migrate-set-parameters",
                        max_postcopy_bandwidth=1 << 30)
        info = wait_migrated(self.source, self.target)
        self.check_postcopy("offered")
        self.say("QEMU was asked for %d pages, by the port for %s" % (
            info["ram"]["postcopy-requests"], self.port_status(
                "dst", "postcopy_pages") or "an unknown number of them"))
        return info

    def wait_transferred(self, n_bytes):
        wait_until(lambda: self.source.qmp("query-migrate").get(
            "ram", {}).get("transferred", 0) >= n_bytes, 60,
            "some of the memory is copied")

    def wait_status(self, wanted):
        """Waits until the migration is in status 'wanted', which it must not
        have passed."""
        def is_so():
            status = self.source.qmp("query-migrate")["status"]
            if status in ("completed", "failed", "cancelled"):
                raise LabError("migration is %s rather than %s" % (status,
                                                                   wanted))
            return status == wanted
        wait_until(is_so, 30, "migration is " + wanted)

    def port_status(self, name, key):
        """Returns what the database has in a port's status."""
        return self.switch.vsctl("--if-exists", "get", "Interface", name,
                                 "status:" + key).strip().strip('"')

    def check_postcopy(self, wanted):
        """Waits until our port at the destination says that postcopy is
        'wanted'."""
        if not self.types["dst"].startswith("dpdk"):
            wait_until(lambda: self.port_status(
                "dst", "postcopy").startswith(wanted), 20,
                "the port says that postcopy is " + wanted)

    def check_log(self):
        """Waits until our port says that it logs what it writes.  (The stock
        ports have no such command.)"""
        if not self.types["src"].startswith("dpdk"):
            wait_until(lambda: re.search(
                r"features: .*LOG_ALL",
                self.switch.appctl("vhost/show", "src")), 30,
                "the port logs what it writes")

    def migrate(self):
        """Moves the guest, under traffic."""
        start = time.monotonic()
        info = MODES[self.options.mode](self)
        self.check_traffic()
        gap = self.pinger.longest_gap(start)
        self.say("%s: %.1f s, downtime %d ms, %d MiB in %d rounds; longest "
                 "time without an answer %.2f s" % (
                     self.options.mode, info["total-time"] / 1000,
                     info["downtime"], info["ram"]["transferred"] >> 20,
                     info["ram"]["dirty-sync-count"], gap))
        if gap > scaled(MAX_GAP[self.options.mode]):
            raise LabError("no answer for %.1f s" % gap)

    # Afterwards.

    def check_guest(self):
        """What was in the guest's memory is still there, and what it did it
        still does."""
        self.target.wait_ready(60)
        if self.target.check("sha256sum </tmp/keep", 180) != self.kept:
            raise LabError("the guest's memory is not what it was")
        before = int(self.target.check("cat /tmp/n"))
        wait_until(lambda: int(self.target.check("cat /tmp/n")) > before, 30,
                   "the guest goes on writing")

    def check_announced(self):
        """A guest that cannot announce itself is announced by our port."""
        if not self.options.no_announce \
                or self.types["dst"].startswith("dpdk"):
            return
        wait_until(lambda: re.search(
            r"ovs_vhost_rx_rarp_packets=[1-9]",
            self.switch.vsctl("get", "Interface", "dst", "statistics")), 20,
            "the port has announced the guest")

    def check_switch(self):
        """Neither port has an error, and the switch does not complain of the
        guest."""
        for name, kind in self.types.items():
            if not kind.startswith("dpdk"):
                text = self.switch.appctl("vhost/show", name)
                if re.search("guest error|dirty log", text):
                    raise LabError("port %s:\n%s" % (name, text))

    def run(self):
        self.start_switch(**SETTINGS.get(self.options.mode, {}))
        self.boot()
        self.start_traffic()
        self.migrate()
        self.source.kill()
        self.check_traffic()
        self.check_guest()
        self.check_announced()
        self.end_traffic(self.target)
        self.check_switch()

    def show(self):
        """Prints what there is to know after a failure."""
        print(self.switch.appctl("vhost/show"))
        print("migration:", self.source.qmp("query-migrate"))
        print("target:", self.target.qmp("query-status"))
        self.target.wait_ready(10)
        print(self.target.run("uptime; cat /proc/interrupts; netstat -tn")[1])

    def logs(self):
        paths = [self.switch.log] if self.switch else []
        for guest in filter(None, (self.source, self.target)):
            paths += [guest.log, guest.console_log]
        return paths


# How a guest moves: functions that start it and return what query-migrate said
# in the end.
MODES = {"precopy": Migration.precopy, "postcopy": Migration.postcopy}

# What the switch has to be told for it.
SETTINGS = {"postcopy": {"vhost_postcopy_support": "true"}}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="source", default="vhostuserclient",
                        choices=TYPES)
    parser.add_argument("--to", dest="target", default="vhostuserclient",
                        choices=TYPES)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--packed", action="store_true")
    parser.add_argument("--no-announce", action="store_true",
                        help="the guest cannot announce where it is")
    parser.add_argument("--mode", default="precopy", choices=sorted(MODES))
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    return parser.parse_args()


def show_logs(migration, target):
    for path in migration.logs():
        print("--- the last lines of %s:\n%s" % (os.path.basename(path),
                                                tail(path, 40)))
        if target and os.path.exists(path):
            shutil.copy(path, target)


def work(directory, options):
    print("%s, %s to %s, %d queue pairs%s, QEMU %s" % (
        options.mode, options.source, options.target, options.queues,
        ", packed" if options.packed else "",
        ".".join(map(str, qemu_version()))), flush=True)
    with contextlib.ExitStack() as stack:
        migration = Migration(directory.path, options, stack)
        try:
            migration.run()
        except (LabError, OSError, ValueError) as error:
            print("FAIL %s" % error, flush=True)
            with contextlib.suppress(LabError, OSError, AttributeError):
                migration.show()
            show_logs(migration, options.logs)
            return 1
    print("PASS", flush=True)
    return 0


def main():
    options = parse()
    if os.geteuid() or not os.access("/dev/net/tun", os.R_OK | os.W_OK) \
            or not shutil.which(QEMU):
        print("migration: skipped, it needs root, /dev/net/tun and " + QEMU)
        return SKIP
    return instance.supervise(
        lambda directory, _: work(directory, options), "ovs-vhost-migration")


if __name__ == "__main__":
    sys.exit(main())
