# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""QEMU guests: started, asked to do things over a serial port, and ended.

A guest needs no network to be controlled: commands go to an agent on its first
serial port and come back with their status and output.  QEMU itself is asked
over QMP.  The second serial port has a shell for people.

KVM is used only where a guest was seen to boot under it.  A /dev/kvm that
opens proves nothing: some hosts offer one that emulates guest kernels one
instruction at a time and gives up halfway.
"""

import base64
import json
import os
import re
import signal
import socket
import time
from dataclasses import dataclass

from .image import Cpio, cache_dir
from .process import LabError, Process, run, scaled, tail, wait_until

QEMU = os.environ.get("OVS_VHOST_QEMU", "qemu-system-x86_64")
PROBE_SECONDS = 8
KERNEL_ARGS = "console=ttyS0 quiet mitigations=off panic=0"

# What puts a NIC behind a vIOMMU: Guest's 'machine', 'qemu_args' and
# 'kernel_args', and properties for Nic.device.  (A kernel that gets too little
# time finds that its timer's interrupts do not come, and panics, unless told
# not to look.)
VIOMMU_MACHINE = "q35"
VIOMMU_ARGS = ("-device",
               "intel-iommu,intremap=on,device-iotlb=on,caching-mode=on")
VIOMMU_KERNEL_ARGS = "intel_iommu=on no_timer_check"
VIOMMU_DEVICE = "disable-legacy=on,iommu_platform=on,ats=on"

# The same for NICs that are the machine's own, whose driver is vfio-pci: what
# the kernel's own drivers do is not translated.
NIC_IOMMU_ARGS = ("-device", "intel-iommu,intremap=on,caching-mode=on")
NIC_IOMMU_KERNEL_ARGS = "intel_iommu=on iommu=pt no_timer_check"


# Accelerator.

def accelerator(image):
    """Returns "kvm" or "tcg": $OVS_VHOST_ACCEL, or KVM if 'image's kernel
    boots under it within PROBE_SECONDS.  The answer is kept in the cache for
    this boot of the host, this QEMU and this kernel."""
    wanted = os.environ.get("OVS_VHOST_ACCEL")
    if wanted:
        return wanted
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    key = _probe_key(image)
    path = os.path.join(cache_dir(), "accelerator")
    if os.path.exists(path):
        with open(path) as stream:
            known = json.load(stream)
        if known.get("key") == key:
            return known["accelerator"]
    answer = "kvm" if _boots_under_kvm(image) else "tcg"
    temporary = "%s.%d" % (path, os.getpid())
    with open(temporary, "w") as stream:
        json.dump({"key": key, "accelerator": answer}, stream)
    os.replace(temporary, path)
    return answer


def _probe_key(image):
    with open("/proc/sys/kernel/random/boot_id") as stream:
        boot = stream.read().strip()
    return "%s %s %s" % (boot, qemu_version(), image.kernel)


def _boots_under_kvm(image):
    """Boots a guest whose init only says that it is there."""
    cpio = Cpio()
    cpio.directory("dev")
    cpio.console()
    with open(image.busybox, "rb") as stream:
        cpio.file("bin/busybox", stream.read(), 0o755)
    cpio.file("init", "#!/bin/busybox sh\necho GUEST-BOOTED\n"
                      "exec /bin/busybox poweroff -f\n", 0o755)
    initramfs = os.path.join(cache_dir(), "probe.%d.cpio" % os.getpid())
    log = os.path.join(cache_dir(), "probe.%d.log" % os.getpid())
    with open(initramfs, "wb") as stream:
        stream.write(cpio.archive())
    try:
        probe = Process("KVM probe", [
            QEMU, "-accel", "kvm", "-cpu", "host", "-m", "128", "-nodefaults",
            "-display", "none", "-no-reboot", "-serial", "stdio",
            "-kernel", image.kernel, "-initrd", initramfs,
            "-append", KERNEL_ARGS.replace("panic=0", "panic=-1")], log)
        probe.wait(PROBE_SECONDS)
        probe.kill()
        return "GUEST-BOOTED" in tail(log, 100)
    finally:
        for path in (initramfs, log):
            if os.path.exists(path):
                os.unlink(path)


def qemu_version():
    """Returns QEMU's version, such as (7, 2, 22)."""
    words = run([QEMU, "--version"]).stdout.split()
    number = words[words.index("version") + 1]
    return tuple(int(part) for part in number.split("."))


# Guests.

@dataclass
class Nic:
    """A vhost-user NIC of a guest.

    'listen': QEMU listens on 'socket' (a vhostuserclient port connects);
    otherwise QEMU connects to it, again and again, each second.  'address' is
    ADDRESS/LENGTH, 'device' more properties for virtio-net-pci, such as
    "packed=on,host_mtu=9000"."""

    socket: str
    listen: bool = False
    address: str = ""
    mac: str = ""
    queues: int = 1
    mtu: int = 0
    device: str = ""

    def arguments(self, number, mac, accel):
        """Returns QEMU's for the NIC 'number'."""
        role = "server=on" if self.listen else "reconnect=1"
        properties = [_virtio_net(number, mac, self.queues, accel)]
        if self.device:
            properties.append(self.device)
        return ["-chardev", "socket,id=vhost%d,path=%s,%s"
                            % (number, self.socket, role),
                "-netdev", "vhost-user,id=net%d,chardev=vhost%d,queues=%d"
                           % (number, number, self.queues),
                "-device", ",".join(properties)]


@dataclass
class TapNic:
    """A NIC of a guest that QEMU serves itself, with a tap behind it.

    'tap' is an interface in the guest's network namespace.  'model' is a
    device of QEMU's, such as e1000.  'address' and 'mtu' as of a Nic.  With
    'offloads' QEMU leaves checksums and segmentation to who reads the tap."""

    tap: str
    model: str = "virtio-net-pci"
    address: str = ""
    mac: str = ""
    mtu: int = 0
    offloads: bool = False

    def arguments(self, number, mac, accel):
        """Returns QEMU's for the NIC 'number'."""
        return ["-netdev", "tap,id=net%d,ifname=%s,script=no,downscript=no,"
                           "vhost=off,vnet_hdr=%s"
                           % (number, self.tap,
                              "on" if self.offloads else "off"),
                "-device", _emulated(self.model, number, mac, accel)]


@dataclass
class WireNic:
    """A NIC of a guest whose wire is a pair of UNIX datagram sockets, a frame
    in each datagram: QEMU binds 'near' and sends to 'far'.  'model', 'address'
    and 'mtu' as of a TapNic, 'device' as of a Nic.  With 'root_port' it has a
    PCI Express slot of its own (machine q35), as a NIC with SR-IOV must: it is
    then 0000:NUMBER:00.0, with 01 for the first."""

    near: str
    far: str
    model: str = "virtio-net-pci"
    address: str = ""
    mac: str = ""
    mtu: int = 0
    device: str = ""
    root_port: bool = False

    def arguments(self, number, mac, accel):
        """Returns QEMU's for the NIC 'number'."""
        words = ["-netdev", "dgram,id=net%d,local.type=unix,local.path=%s,"
                            "remote.type=unix,remote.path=%s"
                            % (number, self.near, self.far)]
        properties = [_emulated(self.model, number, mac, accel)]
        if self.device:
            properties.append(self.device)
        if self.root_port:
            words += ["-device", "pcie-root-port,id=port%d,chassis=%d"
                                 % (number, number + 1)]
            properties.append("bus=port%d" % number)
        return [*words, "-device", ",".join(properties)]


def _emulated(model, number, mac, accel):
    if model == "virtio-net-pci":
        return _virtio_net(number, mac, 1, accel)
    return "%s,netdev=net%d,mac=%s" % (model, number, mac)


def _virtio_net(number, mac, queues, accel):
    properties = ["virtio-net-pci", "netdev=net%d" % number, "mac=" + mac]
    if queues > 1:
        properties.append("mq=on")
    if accel == "tcg" and qemu_version() < (8,):
        # QEMU 7.2 crashes with vhost-user and MSI-X where there is no
        # KVM to route the interrupts: use INTx.
        properties.append("vectors=0")
    elif queues > 1:
        properties.append("vectors=%d" % (2 * queues + 2))
    return ",".join(properties)


class Guest:
    """One virtual machine.  Its sockets and logs are 'folder'/NAME.*, so keep
    'folder' short.  'memory' is in MiB, and 'memory_object' what QEMU makes it
    of.  Of 'nodes' NUMA nodes each has its share of memory and 'cpus'."""

    def __init__(self, name, image, folder, memory=384, cpus=1, accel=None,
                 netns=None, machine="pc", kernel_args="", qemu_args=(),
                 memory_object="memory-backend-memfd,share=on", nodes=1):
        self.name = name
        self.image = image
        self.memory = memory
        self.cpus = cpus
        self.accel = accel or accelerator(image)
        self.netns = netns
        self.machine = machine
        self.memory_object = memory_object
        self.nodes = nodes
        self.kernel_args = kernel_args
        self.qemu_args = tuple(qemu_args)
        base = os.path.join(folder, name)
        self.log = base + ".qemu.log"
        self.console_log = base + ".console.log"
        self.console_path = base + ".console"
        self.shell_path = base + ".shell"
        self.qmp_path = base + ".qmp"
        self._qemu = None
        self._console = None
        self._qmp = None

    # Life.

    def start(self, *nics):
        """Starts QEMU with a NIC for each Nic, TapNic or WireNic.  Returns at
        once: QEMU waits for a switch where it listens, and the kernel takes
        seconds."""
        for path in (self.console_path, self.shell_path, self.qmp_path):
            if os.path.exists(path):
                os.unlink(path)
        self._qemu = Process("guest " + self.name, self._command(nics),
                             self.log, netns=self.netns)

    def wait_ready(self, timeout=60):
        """Waits until the guest's agent takes commands."""
        limit = time.monotonic() + scaled(timeout)
        self._connect(limit)
        first = self._console.next_number()
        while not self._console.answers(self.check_running, first):
            if time.monotonic() > limit:
                raise LabError("guest %s: no answer within %g s\n%s"
                               % (self.name, scaled(timeout),
                                  tail(self.console_log, 20)))

    def _connect(self, limit):
        def connected():
            self.check_running()
            self._console = _connect(self.console_path, Console)
            return self._console
        wait_until(connected, limit - time.monotonic(),
                   "guest %s has a console" % self.name)

    def pid(self):
        """Returns QEMU's process id, or None."""
        running = self._qemu and self._qemu.status() is None
        return self._qemu.pid if running else None

    def check_running(self):
        """Raises LabError if QEMU has ended."""
        if not self._qemu:
            raise LabError("guest %s was not started" % self.name)
        self._qemu.check_running()

    def kill(self, signum=signal.SIGKILL):
        """Kills QEMU.  The guest can be started again."""
        for connection in (self._console, self._qmp):
            if connection:
                connection.close()
        self._console = self._qmp = None
        if self._qemu:
            self._qemu.kill(signum)

    stop = kill

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    # Control.

    def run(self, command, timeout=30):
        """Runs 'command' in a shell of its own in the guest; returns
        (status, output).  The status is 124, as timeout(1) has it, if
        'timeout' passes; the command is then interrupted."""
        if not self._console:
            raise LabError("guest %s has no console yet" % self.name)
        return self._console.command(command, timeout, self.check_running)

    def check(self, command, timeout=30):
        """Like run(), but returns only the output.  Raises
        LabError if its status is not zero."""
        status, output = self.run(command, timeout)
        if status:
            raise LabError("in guest %s: %s: status %d\n%s"
                           % (self.name, command, status, output))
        return output

    def qmp(self, command, **arguments):
        """Runs a QMP command and returns what it returned; an argument's
        underscores become dashes."""
        return self._qmp_connection().command(command, arguments)

    def wait_event(self, name, timeout=30):
        """Waits for the QMP event 'name' and returns its data."""
        return self._qmp_connection().wait_event(name, timeout)

    def _qmp_connection(self):
        if not self._qmp:
            self._qmp = wait_until(lambda: _connect(self.qmp_path, Qmp), 10,
                                   "guest %s has QMP" % self.name)
        return self._qmp

    # QEMU's command line.

    def _command(self, nics):
        words = [
            QEMU, "-name", self.name, "-nodefaults", "-no-user-config",
            "-display", "none", "-machine", self.machine,
            "-accel", self.accel,
            "-cpu", "host" if self.accel == "kvm" else "max",
            "-smp", str(self.cpus), "-m", str(self.memory),
            *self._memory(),
            "-qmp", "unix:%s,server=on,wait=off" % self.qmp_path]
        words += _serial("console", self.console_path, self.console_log)
        words += _serial("shell", self.shell_path, None)
        append = [KERNEL_ARGS, self.kernel_args, "lab.name=" + self.name]
        for number, nic in enumerate(nics):
            mac = nic.mac or self.mac(number)
            words += nic.arguments(number, mac, self.accel)
            append.append("lab.nic=%s,%s,%s"
                          % (mac, nic.address, nic.mtu or ""))
        words += ["-kernel", self.image.kernel,
                  "-initrd", self.image.initramfs,
                  "-append", " ".join(filter(None, append))]
        return words + list(self.qemu_args)

    def _memory(self):
        """Returns QEMU's arguments for the nodes."""
        words = []
        each = self.cpus // self.nodes
        for node in range(self.nodes):
            cpus = ",cpus=%d-%d" % (node * each, node * each + each - 1)
            words += ["-object", "%s,id=ram%d,size=%dM" % (
                          self.memory_object, node, self.memory // self.nodes),
                      "-numa", "node,memdev=ram%d%s" % (
                          node, cpus if self.nodes > 1 else "")]
        return words

    def mac(self, number):
        """Returns the default MAC of a NIC: the same for the same name."""
        letters = sum(ord(letter) * 31 ** place
                      for place, letter in enumerate(self.name))
        return "52:54:00:%02x:%02x:%02x" % (letters >> 8 & 255,
                                            letters & 255, number)


def _serial(name, path, log):
    chardev = "socket,id=%s,path=%s,server=on,wait=off" % (name, path)
    if log:
        chardev += ",logfile=%s,logappend=on" % log
    return ["-chardev", chardev, "-serial", "chardev:" + name]


def _connect(path, kind):
    """Returns kind(socket), or None if nobody listens on 'path' yet."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return kind(connection)


class Console:
    """The agent on a guest's serial port (AGENT in image.py)."""

    def __init__(self, connection):
        self._socket = connection
        self._buffer = b""
        self._number = 0

    def close(self):
        self._socket.close()

    def _read_until(self, mark, timeout, check):
        """Returns what comes before 'mark', and throws that and the mark
        away.  Raises TimeoutError after 'timeout' seconds, and whatever
        'check', called now and then, raises."""
        limit = time.monotonic() + timeout
        while mark not in self._buffer:
            check()
            left = limit - time.monotonic()
            if left <= 0:
                raise TimeoutError("guest: no %r" % mark)
            self._socket.settimeout(min(left, 0.5))
            try:
                data = self._socket.recv(65536)
            except socket.timeout:
                continue
            if not data:
                check()
                raise LabError("guest: console closed")
            self._buffer += data
        before, _, self._buffer = self._buffer.partition(mark)
        return before

    def _send(self, data):
        self._socket.settimeout(scaled(10))
        self._socket.sendall(data)

    def _start(self, command):
        self._number += 1
        self._send(b"%d %s\n" % (self._number,
                                 base64.b64encode(command.encode())))

    def _finish(self, timeout, check):
        """Returns (status, output) of the command that was started."""
        limit = time.monotonic() + timeout
        self._read_until(b"<%d-begin>\n" % self._number, timeout, check)
        try:
            output = self._read_until(b"<%d-end> " % self._number,
                                      limit - time.monotonic(), check)
        except TimeoutError:
            output, self._buffer = self._buffer, b""
            return 124, _text(output + self._interrupt(check))
        return int(self._read_until(b"\n", scaled(10), check)), _text(output)

    def _interrupt(self, check):
        """Interrupts the command, and returns what it still prints."""
        for key in b"\x03", b"\x1c":
            self._send(key)
            try:
                output = self._read_until(b"<%d-end> " % self._number,
                                          scaled(3), check)
                self._read_until(b"\n", scaled(3), check)
                return output
            except TimeoutError:
                continue
        raise LabError("guest: a command cannot be interrupted")

    def command(self, command, timeout, check):
        """Runs a command as Guest.run() describes."""
        self._start(command)
        try:
            return self._finish(scaled(timeout), check)
        except TimeoutError:
            raise LabError("guest: its agent does not answer") from None

    def next_number(self):
        """Returns the number that the next command will have."""
        return self._number + 1

    def answers(self, check, first):
        """Asks the agent, and tells whether it answers this, or what was asked
        since command 'first', within a second.  What the guest printed before
        the connection was made is lost, so there is nothing to wait for."""
        self._start(":")
        try:
            while True:
                text = self._read_until(b"-end> ", 1, check)
                found = re.search(rb"<(\d+)$", text)
                if found and int(found.group(1)) >= first:
                    break
        except TimeoutError:
            return False
        return True


def _text(data):
    return data.decode("utf-8", "replace").replace("\r", "")


class Qmp:
    """A QMP connection."""

    def __init__(self, connection):
        self._socket = connection
        self._buffer = b""
        self._events = []
        self._receive(10)
        self.command("qmp_capabilities", {})

    def close(self):
        self._socket.close()

    def _receive(self, timeout):
        """Returns the next message, or raises TimeoutError."""
        limit = time.monotonic() + scaled(timeout)
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(limit - time.monotonic(), 0.001))
            data = self._socket.recv(65536)
            if not data:
                raise LabError("QMP: connection closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def command(self, command, arguments):
        """Runs a command and returns what it returned."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = {key.replace("_", "-"): value
                                    for key, value in arguments.items()}
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            reply = self._receive(30)
            if "event" in reply:
                self._events.append(reply)
            elif "error" in reply:
                raise LabError("QMP %s: %s" % (command,
                                               reply["error"]["desc"]))
            else:
                return reply["return"]

    def wait_event(self, name, timeout):
        """Returns the data of the next event 'name', in the order in which
        they came; earlier ones of other names are forgotten."""
        while True:
            event = self._events.pop(0) if self._events \
                else self._receive(timeout)
            if event.get("event") == name:
                return event.get("data", {})
