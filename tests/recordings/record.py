#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Makes the recordings in this directory anew, from the real thing.

    record.py [--build-dir DIR] [--ovs-tree DIR] [--output DIR] NAME...

A switch with a stock port, the recorder, and QEMU with a Linux guest or
dpdk-testpmd: see README.md, which also says where QEMU comes from.  Addresses
are not randomised, so that a recording made again differs by little more than
its times.  Needs root.
"""

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (Build, Guest, LabError, NetworkNamespace,  # noqa
                           Nic, Switch, guest_image, wait_until)
from ovs_vhost_lab.guest import qemu_version  # noqa
from ovs_vhost_lab.process import popen  # noqa

ADDR_NO_RANDOMIZE = 0x0040000
STATION = "10.0.0.3"
KIND = "dpdkvhostuserclient"
CHAINS = "32"
TRANSFER = 100000


class Recorder:
    """ovs-vhost-session between 'front' and the port's socket 'back'."""

    def __init__(self, program, output, front, back, front_end, back_end):
        self.process = subprocess.Popen(
            [program, "record", "--chains", CHAINS, "--output", output,
             "--front-end", front_end, "--back-end", back_end, front, back])

    def wait(self, timeout):
        """Waits until the recorded connection has ended."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError("the recorder sees no end") from None
        if status:
            raise LabError("the recorder failed: status %d" % status)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()


class Session:
    """What the recordings have in common: one switch, one stock port."""

    def __init__(self, stack, build, folder, output, tso):
        self.stack = stack
        self.build = build
        self.folder = folder
        self.output = output
        self.tso = tso
        self.image = guest_image()
        self.netns = stack.enter_context(NetworkNamespace())
        self.switch = stack.enter_context(Switch(
            build, folder, self.netns, plugins=(), other_config={
                "userspace-tso-enable": "true" if tso else "false"}))
        self.switch.start()
        self.switch.add_bridge("br0")

    def add_station(self):
        """Adds the machine that the guest talks to: the network namespace,
        behind a second port."""
        path = os.path.join(self.folder, "station")
        station = popen([self.program("ovs-vhost-guest"), "--quiet",
                         "bridge:%s,server,tap=st0" % path],
                        self.netns, stdout=subprocess.DEVNULL)
        self.stack.callback(station.wait)
        self.stack.callback(station.terminate)
        self.switch.add_port("br0", "station", KIND, vhost_server_path=path)
        wait_until(lambda: "st0" in self.netns.ip("link"), 10, "st0 is there")
        self.netns.ip("addr", "add", STATION + "/24", "dev", "st0")

    def program(self, name):
        return os.path.join(self.build.path, "utilities", name)

    def record(self, front_end):
        """Starts the recorder; the front end has to listen at the path
        returned."""
        front, back = (os.path.join(self.folder, name)
                       for name in ("front", "back"))
        version = self.switch.appctl("version").split()[-1]
        dpdk = self.switch.vsctl("get", "Open_vSwitch", ".", "dpdk_version")
        recorder = self.stack.enter_context(Recorder(
            self.program("ovs-vhost-session"), self.output,
            "connect:" + front, "listen:" + back, front_end,
            "%s, Open vSwitch %s, %s%s" % (
                KIND, version, dpdk.strip().strip('"'),
                ", userspace TSO" if self.tso else "")))
        self.switch.add_port("br0", "port", KIND, vhost_server_path=back)
        return recorder, front


def ping(_, guest):
    """Five pings and three large ones, none of which may get lost."""
    wait_until(lambda: not guest.run("ping -c 1 -W 1 " + STATION)[0], 20,
               "the guest reaches the switch")
    guest.check("ping -c 5 -i 0.2 -W 1 " + STATION)
    guest.check("ping -c 3 -i 0.2 -W 1 -s 1400 " + STATION)


def transfer(session, guest):
    """Sends TRANSFER bytes by TCP to the switch."""
    busybox = session.image.busybox
    path = os.path.join(session.folder, "transfer")
    listener = popen([busybox, "nc", "-l", "-p", "5001", "-e", busybox, "dd",
                      "of=" + path], session.netns,
                     stderr=subprocess.DEVNULL)
    wait_until(lambda: ":5001 " in session.netns.run(
        [busybox, "netstat", "-ltn"]).stdout, 10, "nc listens")
    guest.check("dd if=/dev/zero bs=%d count=1 2>/dev/null | nc %s 5001"
                % (TRANSFER, STATION))
    listener.wait(20)
    got = os.path.getsize(path)
    if got != TRANSFER:
        raise LabError("%d bytes arrived, not %d" % (got, TRANSFER))


def pause(_, guest):
    """Stops the machine, which stops the rings, and goes on."""
    guest.qmp("stop")
    time.sleep(0.3)
    guest.qmp("cont")


def reboot(_, guest):
    end(guest, "reboot -f")
    guest.wait_ready()


def end(guest, command):
    """Gives the guest a command after which it does not answer."""
    with contextlib.suppress(LabError, TimeoutError):
        guest.run(command, 5)


def record_qemu(session, queues, steps):
    version = ".".join(map(str, qemu_version()))
    session.add_station()
    recorder, path = session.record(
        "QEMU %s, Linux guest, %d queue pair%s" %
        (version, queues, "s" if queues > 1 else ""))
    guest = session.stack.enter_context(Guest(
        "vm", session.image, session.folder, cpus=queues, netns=session.netns,
        accel="tcg"))
    guest.start(Nic(path, listen=True, address="10.0.0.1/24",
                    queues=queues))
    guest.wait_ready()
    for step in steps:
        step(session, guest)
    end(guest, "poweroff -f")
    recorder.wait(20)


def record_testpmd(session):
    """Four bursts, which the switch sends back."""
    version = subprocess.run(["pkg-config", "--modversion", "libdpdk"],
                             capture_output=True, text=True, check=True)
    recorder, path = session.record(
        "dpdk-testpmd %s, virtio-user, split ring" % version.stdout.strip())
    session.switch.ofctl("add-flow", "br0", "in_port=port,actions=in_port")
    pmd = subprocess.Popen(
        ["dpdk-testpmd", "--no-pci", "--no-huge", "--no-shconf", "-m", "96",
         "--no-telemetry", "--log-level=error", "--lcores", "(0,1)@(0-1)",
         "--vdev", "net_virtio_user0,path=%s,server=1,queue_size=256,"
         "mac=02:00:00:00:00:01" % path,
         "--", "-i", "--total-num-mbufs=4096", "--no-mlockall",
         "--nb-cores=1", "--rxd=256", "--txd=256"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env=dict(os.environ, RUNTIME_DIRECTORY=session.folder))
    try:
        for command, pause in (("set fwd rxonly", 3), ("start tx_first 1", 1),
                               ("stop", 0.5), ("start", 0.5), ("stop", 0.5),
                               ("quit", 0)):
            pmd.stdin.write(command + "\n")
            pmd.stdin.flush()
            time.sleep(pause)
        pmd.wait(20)
    finally:
        pmd.kill()
    recorder.wait(20)


# Name: (whether with userspace TSO, what to do).
RECORDINGS = {
    "qemu-7.2": (False, lambda session: record_qemu(
        session, 1, (ping, pause, ping))),
    "qemu-10.0": (True, lambda session: record_qemu(
        session, 2, (ping, reboot, ping, transfer))),
    "testpmd": (False, record_testpmd),
}


def make(name, options):
    output = os.path.join(options.output, name + ".jsonl")
    folder = tempfile.mkdtemp(prefix="rec-")
    try:
        with contextlib.ExitStack() as stack:
            build = Build(options.build_dir, options.ovs_tree)
            tso, steps = RECORDINGS[name]
            steps(Session(stack, build, folder, output, tso))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("%s: %d bytes" % (output, os.path.getsize(output)))


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--output", default=os.path.dirname(
        os.path.abspath(__file__)))
    parser.add_argument("name", nargs="+", choices=sorted(RECORDINGS))
    options = parser.parse_args()
    ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)
    for name in options.name:
        make(name, options)


if __name__ == "__main__":
    main()
