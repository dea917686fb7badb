#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The two command lines that many texts on vhost-user have, as printed.

    as-printed.py [--type TYPE] [--stock] [--build-dir DIR] [--ovs-tree DIR]
                  [--logs DIR]

The first adds a port; TYPE stands in it for dpdkvhostuser, which is the
default and is our port there, by takeover, unless --stock.  The second one
starts a guest with two NICs, one at that port, and one that QEMU emulates and
that has a tap in the same bridge.  What has to be changed in it is said.  Both
NICs answer, each through its own port.

Needs root.  Exit status 0: all held; 77: this host cannot run it.
"""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import socket
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (Build, Guest, HugePages, LabError,  # noqa: E402
                           NetworkNamespace, Process, Switch, guest_image,
                           instance, run, tail, wait_until)
from ovs_vhost_lab.guest import (KERNEL_ARGS, QEMU, Console,  # noqa: E402
                                 qemu_version)

ADD_PORT = ("ovs-vsctl add-port br0 myportnameone -- "
            "set Interface myportnameone type=dpdkvhostuser "
            "options:dpdk-devargs=0000:02:06.0")
START_GUEST = (
    "qemu-system-x86_64 -m 1024 -smp 1 -hda ... -boot c -enable-kvm "
    "-no-reboot -net none -nographic "
    "-chardev socket,id=char1,path=.../openvswitch/myportnameone "
    "-netdev type=vhost-user,id=mynet1,chardev=char1,vhostforce "
    "-device virtio-net-pci,mac=00:00:00:00:00:01,netdev=mynet1 "
    "-object memory-backend-file,id=mem,size=1G,mem-path=/dev/hugepages,"
    "share=on -numa node,memdev=mem -mem-prealloc -vnc :1 --enable-kvm "
    "-netdev tap,id=tapnet,ifname=vnet0,script=no "
    "-device rtl8139,netdev=tapnet,mac=52:54:00:12:34:58")

SKIP = 77
PORT, TAP = "myportnameone", "vnet0"
STATION = {PORT: "10.0.0.3", TAP: "10.0.1.3"}
GUEST = {PORT: "10.0.0.1", TAP: "10.0.1.1"}
MACS = {PORT: "00:00:00:00:00:01", TAP: "52:54:00:12:34:58"}
DRIVERS = {PORT: "virtio_net", TAP: "8139cp"}
MODULES = ("virtio_pci", "virtio_net", "8139cp")
KERNEL = "linux-image-amd64"    # The cloud kernel has no 8139cp.
MEMORY_MIB = 1024
PINGS = 20

# An address is the one of its own interface alone, since both are on one
# bridge; there is no second serial port for a shell.
RC = """rm -f /shell
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
"""


class PrintedGuest(Guest):
    """A guest by a command line that has its serial port on its standard
    input and output."""

    def __init__(self, image, folder, netns, words):
        super().__init__("printed", image, folder, netns=netns)
        self._words = words

    def start(self, *_):
        near, far = socket.socketpair()
        self._qemu = Process("QEMU", ["sh", "-c", 'exec "$@" >&0', "sh",
                                      *self._words],
                             self.log, netns=self.netns, stdin=far)
        far.close()
        self._console = Console(near)

    def _connect(self, limit):
        pass


def changed(command, changes):
    """Returns a command line after 'changes', [(text, new text, why)], each of
    which it prints."""
    for old, new, why in changes:
        if old not in command:
            raise LabError("%r is not in %r" % (old, command))
        command = command.replace(old, new)
        print("  %s %s (%s)" % (old.strip(),
                                "becomes " + new.strip() if new.strip()
                                else "left out", why))
    return command


def add_port(switch, kind):
    """Runs the first command line."""
    command = changed(ADD_PORT, [] if kind == "dpdkvhostuser" else [
        ("type=dpdkvhostuser", "type=" + kind, "the other name")])
    run(shlex.split(command), env=switch.environment())
    error = switch.interface(PORT, "error")
    if error != "[]":
        raise LabError("%s: %s" % (command, error))


def huge_pages(stack, folder):
    """Returns (directory with huge pages, or one that has to do, why)."""
    try:
        stack.enter_context(HugePages("/dev/hugepages", MEMORY_MIB))
        return "/dev/hugepages", ""
    except LabError as error:
        path = os.path.join("/dev/shm", os.path.basename(folder))
        os.mkdir(path)
        stack.callback(shutil.rmtree, path, True)
        return path, "no huge pages: %s" % error


def guest_changes(image, rundir, memory, why):
    """Returns what is to be changed in the second command line."""
    append = "%s lab.name=printed %s" % (KERNEL_ARGS, " ".join(
        "lab.nic=%s,%s/24," % (MACS[port], GUEST[port]) for port in GUEST))
    changes = [
        ("qemu-system-x86_64 ", QEMU + " ", "where it is")
    ] if QEMU != "qemu-system-x86_64" else []
    changes += [
        (" -hda ...", " -kernel %s -initrd %s -append '%s'" % (
            image.kernel, image.initramfs, append), "no disk image"),
        (" -enable-kvm", "", "no KVM"), (" --enable-kvm", "", "no KVM"),
        ("path=.../openvswitch/", "path=%s/" % rundir, "where it is")]
    if why:
        changes.append(("mem-path=/dev/hugepages", "mem-path=" + memory, why))
    if qemu_version() < (8,):
        changes.append((",netdev=mynet1 ", ",netdev=mynet1,vectors=0 ",
                        "QEMU 7.2 without KVM ends with MSI-X"))
    return changes


def interfaces(guest):
    """Returns {port: the guest's interface}, by MAC."""
    found = {}
    for port, mac in MACS.items():
        path = guest.check("grep -l %s /sys/class/net/*/address" % mac)
        found[port] = path.split("/")[4]
    return found


def counted(switch, port):
    """Returns how many packets a port has received and sent, or None: stock
    ports may not know."""
    said = switch.ofctl("dump-ports", "br0", port)
    found = re.findall(r"pkts=(\d+)", said)
    return tuple(map(int, found[:2])) if len(found) == 2 else None


def ping(switch, image, guest, port):
    """Pings the guest at the address that is behind 'port', and the other way
    round.  All have to be answered, and all have to come by that port."""
    before = {each: counted(switch, each) for each in GUEST}
    argv = ["ping", "-c", str(PINGS), "-i", "0.05", "-W", "10"]
    said = switch.netns.run([image.busybox, *argv, GUEST[port]], timeout=120,
                            check=False).stdout
    said += guest.run(" ".join([*argv, STATION[port]]), timeout=120)[1]
    answers = re.findall(r"(\d+) packets received", said)
    if answers != [str(PINGS)] * 2:
        raise LabError("%s answered %s of %d pings:\n%s"
                       % (port, answers, PINGS, said))
    after = {each: counted(switch, each) for each in GUEST}
    passed = {each: min(now - then for now, then
                        in zip(after[each], before[each]))
              for each in GUEST if after[each] and before[each]}
    if passed.get(port, 2 * PINGS) < 2 * PINGS \
            or sum(passed.values()) > 3 * PINGS:
        raise LabError("pings by %s, but packets passed: %s" % (port, passed))
    print("%s: %d of %d pings answered, both ways"
          % (port, PINGS, PINGS))


def check_port(switch, kind):
    """What the switch says of a port of ours: that the option has no effect,
    among other things."""
    for each in GUEST:
        if not counted(switch, each):
            raise LabError("%s does not count" % each)
    said = switch.interface(PORT, "status:ignored_options").strip('"')
    if said != "dpdk-devargs":
        raise LabError("status:ignored_options is " + said)
    shown = switch.appctl("vhost/show", PORT)
    print(shown)
    if not shown.startswith("%s: %s\n" % (PORT, kind)):
        raise LabError("the port is not ours")
    if "config_error" in switch.interface(PORT, "status"):
        raise LabError("status has a config_error")


def check_memory(switch, memory):
    """The guest's memory is what the command line says."""
    pages = 2048 if memory == "/dev/hugepages" else 4
    said = switch.appctl("vhost/show", PORT)
    found = re.findall(r" (\d+) MiB in pages of (\d+) KiB", said)
    # Each region's size is told in whole MiB.
    missing = MEMORY_MIB - sum(int(mib) for mib, _ in found)
    if {int(size) for _, size in found} != {pages} \
            or not 0 <= missing < len(found):
        raise LabError("memory: %s of pages of %d KiB\n%s"
                       % (found, pages, said))


def check_vnc(netns):
    """Somebody speaks VNC on display 1."""
    said = netns.run([sys.executable, "-c",
                      "import socket\n"
                      "s = socket.create_connection(('127.0.0.1', 5901), 10)\n"
                      "print(s.recv(4).decode())"]).stdout
    if said.strip() != "RFB":
        raise LabError("VNC says %r" % said)


def start_switch(stack, folder, options):
    """Returns the switch, with br0 and its own interface for the pings."""
    netns = stack.enter_context(NetworkNamespace())
    build = Build(options.build_dir, options.ovs_tree)
    switch = Switch(build, folder, netns, other_config={} if options.stock
                    else {"vhost-user-takeover": "true"})
    stack.callback(switch.forget)
    stack.callback(switch.stop)
    switch.start()
    switch.add_bridge("br0")
    netns.ip("link", "set", "br0", "up")
    for address in STATION.values():
        netns.ip("addr", "add", address + "/24", "dev", "br0")
    netns.ip("tuntap", "add", TAP, "mode", "tap")
    netns.ip("link", "set", TAP, "up")
    switch.add_port("br0", TAP, "system")
    return switch


def scenario(stack, folder, options):
    image = guest_image(MODULES, files={"etc/rc": RC}, kernel_package=KERNEL)
    switch = start_switch(stack, folder, options)
    print(ADD_PORT)
    add_port(switch, options.type)
    print(START_GUEST)
    memory, why = huge_pages(stack, folder)
    words = shlex.split(changed(START_GUEST, guest_changes(
        image, switch.rundir, memory, why)))
    guest = stack.enter_context(
        PrintedGuest(image, folder, switch.netns, words))
    guest.start()
    try:
        guest.wait_ready(120)
        found = interfaces(guest)
        for port, name in found.items():
            driver = os.path.basename(guest.check(
                "readlink /sys/class/net/%s/device/driver" % name).strip())
            if driver != DRIVERS[port]:
                raise LabError("%s is driven by %s" % (port, driver))
        wait_until(lambda: switch.interface(PORT, "link_state") == "up", 30,
                   "the port is up")
        for port in GUEST:
            ping(switch, image, guest, port)
        if not options.stock:
            check_port(switch, options.type)
            check_memory(switch, memory)
        check_vnc(switch.netns)
    except LabError:
        print(tail(guest.log, 20), tail(switch.log, 30), sep="\n")
        raise


def work(directory, options):
    """Runs it all; returns the exit status."""
    try:
        with contextlib.ExitStack() as stack:
            scenario(stack, directory.path, options)
    except LabError as error:
        print("FAIL: %s" % error)
        return 1
    finally:
        if options.logs:
            for path in ("printed.qemu.log", "ovs/ovs-vswitchd.log"):
                with contextlib.suppress(OSError):
                    shutil.copy(os.path.join(directory.path, path),
                                options.logs)
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--type", default="dpdkvhostuser",
                        choices=["dpdkvhostuser", "vhostuser"])
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which(QEMU):
        print("needs root and %s" % QEMU)
        return SKIP
    return instance.supervise(
        lambda directory, keep: work(directory, options), "as-printed")


if __name__ == "__main__":
    sys.exit(main())
