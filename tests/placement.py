#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Where guests' memory is, with QEMU.

    placement.py [--build-dir DIR] [--ovs-tree DIR] [--logs DIR] CASE

Cases:

    memory  guests of QEMU in each kind of shared memory: frames cross, and the
            switch sees what the memory is
    nodes   Open vSwitch with DPDK and the plugin in a machine of QEMU with two
            NUMA nodes, one processor on each; guests in there, whose memory is
            on one or the other (ovs-vhost-guest)

Needs root.  Exit status 0: all held; 77: this host cannot run it.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import (Build, Guest, HugePages, LabError,  # noqa: E402
                           NetworkNamespace, Nic, Switch, guest_image,
                           host_image, instance, wait_until)
from ovs_vhost_lab.guest import QEMU  # noqa: E402
from ovs_vhost_lab.host_image import (HUGEPAGES, on_switch,  # noqa: E402
                                      start_switch)

SKIP = 77


# Kinds of memory.

GUEST_MIB = 256

# QEMU's object -> (page size in KiB, beginning of the file's name).
KINDS = {
    "memory-backend-memfd,share=on": (4, "/memfd:memory-backend-memfd"),
    "memory-backend-memfd,share=on,hugetlb=on,hugetlbsize=2M":
        (2048, "/memfd:memory-backend-memfd"),
    "memory-backend-file,share=on,mem-path=/dev/shm": (4, "/dev/shm/"),
    "memory-backend-file,share=on,prealloc=on,mem-path=HUGE":
        (2048, "HUGE/"),
}


def memory(stack, folder, build):
    """A guest in each kind of memory."""
    huge = os.path.join(folder, "huge")
    try:
        stack.enter_context(HugePages(huge, 2 * GUEST_MIB + 64))
    except LabError as error:
        print("skipped: %s" % error)
        return SKIP
    image = guest_image()
    netns = stack.enter_context(NetworkNamespace())
    switch = stack.enter_context(Switch(build, folder, netns))
    switch.start()
    switch.add_bridge("br0")
    netns.ip("link", "set", "br0", "up")
    netns.ip("addr", "add", "10.0.0.100/24", "dev", "br0")
    for number, (kind, (pages, file)) in enumerate(KINDS.items(), 1):
        port = "vm%d" % number
        path = os.path.join(folder, port + ".sock")
        address = "10.0.0.%d" % number
        switch.add_port("br0", port, "vhostuserclient", vhost_server_path=path)
        with Guest(port, image, folder, memory=GUEST_MIB, netns=netns,
                   memory_object=kind.replace("HUGE", huge)) as guest:
            guest.start(Nic(path, listen=True, address=address + "/24"))
            guest.wait_ready(120)
            wait_until(lambda: switch.interface(port, "link_state") == "up",
                       30, "%s is up" % port)
            netns.run([image.busybox, "ping", "-c", "20", "-i", "0.05", "-s",
                       "1400", "-W", "10", address], timeout=60)
            check_memory(switch, port, pages, file.replace("HUGE", huge))
        print("%s: ok" % kind)
    return 0


def check_memory(switch, port, pages, file):
    """Raises LabError unless the switch sees such memory at a port."""
    shown = switch.appctl("vhost/show", port)
    sizes = re.findall(r" (\d+) MiB in pages of (\d+) KiB", shown)
    if sum(int(mib) for mib, _ in sizes) != GUEST_MIB \
            or {int(kib) for _, kib in sizes} != {pages}:
        raise LabError("vhost/show says\n" + shown)
    said = switch.appctl("vhost/memory", "--json", port)
    for region in json.loads(said)["ports"][0]["regions"]:
        if region["page_size"] != pages << 10 \
                or not region["file"].startswith(file) \
                or not 0 < region["resident"] <= region["size"]:
            raise LabError("vhost/memory says %s" % region)
    print(switch.appctl("vhost/memory", port))


# Nodes.

PORTS = ("p0", "p1")
FRAMES = 200


class Host:
    """The machine with two nodes, its switch and the guests in it."""

    def __init__(self, build, folder):
        program = os.path.join(build.path, "utilities/ovs-vhost-guest")
        self.machine = Guest(
            "host", host_image(build, modules=("virtio_pci", "tun"),
                               programs=[program]),
            folder, memory=1536, cpus=2, nodes=2,
            kernel_args="hugepages=%d" % HUGEPAGES)

    def __enter__(self):
        self.machine.start()
        try:
            self.machine.wait_ready(120)
            nodes = self.machine.check(
                "cat /sys/devices/system/node/node*/cpulist").split()
            if nodes != ["0", "1"]:
                raise LabError("the machine's nodes have CPUs %s" % nodes)
            start_switch(self.machine, pmd_maxsleep="100", pmd_cpu_mask="3",
                         dpdk_socket_mem="128,128")
            self.switch("ovs-vsctl add-br br0 -- set Bridge br0 "
                        "datapath_type=netdev fail_mode=secure")
            for port in PORTS:
                self.switch(
                    "ovs-vsctl add-port br0 {0} -- set Interface {0} "
                    "type=vhostuserclient options:vhost-server-path=/tmp/{0};"
                    .format(port))
        except BaseException:
            self.machine.kill()
            raise
        return self

    def __exit__(self, *_):
        self.machine.kill()

    def switch(self, command):
        """Runs a command of Open vSwitch's."""
        return on_switch(self.machine, command)

    def add_flows(self):
        """Lets frames cross.  Before, no page of a guest's memory is touched
        first, and so placed, by a thread of the switch."""
        for here, there in (PORTS, PORTS[::-1]):
            self.switch("ovs-ofctl add-flow br0 in_port=%s,actions=output:%s"
                        % (here, there))

    def appctl(self, *words):
        """Runs ovs-appctl."""
        return self.switch("ovs-appctl " + " ".join(words))

    def start_guest(self, port, node, mode):
        """Starts a guest at 'port' on the processor of 'node', where the
        kernel then has its memory.  'mode' is ovs-vhost-guest's, with
        options."""
        self.machine.check(
            "cd /tmp; rm -f {0}.pid; echo 'exec taskset {1:x} "
            "ovs-vhost-guest --json --server {2} </dev/null >/tmp/{0}.json "
            "2>/tmp/{0}.log' >{0}.sh; start-stop-daemon -S -b -m "
            "-p /tmp/{0}.pid -n {0} -a /bin/sh -- /tmp/{0}.sh".format(
                port, 1 << node, mode))
        wait_until(lambda: "up" in self.switch(
            "ovs-vsctl get Interface %s link_state" % port), 60,
            "%s is up" % port, interval=0.5)

    def end_guest(self, port):
        """Ends the guest at 'port'; returns its result."""
        self.machine.check("pid=$(cat /tmp/{0}.pid); kill -INT $pid;"
                           " while kill -0 $pid 2>/dev/null; do sleep 0.1;"
                           " done".format(port), timeout=60)
        said = self.machine.check("cat /tmp/%s.json" % port)
        if not said:
            raise LabError("guest %s: %s" % (port, self.machine.run(
                "cat /tmp/%s.log" % port)[1]))
        return json.loads(said)

    def memory_nodes(self, port):
        """Returns on which nodes the pages of the guest at 'port' are, says
        the kernel: {node: pages}."""
        said = self.machine.check(
            "grep memfd:ovs-vhost-guest /proc/$(cat /tmp/%s.pid)/numa_maps"
            % port)
        found = {}
        for node, pages in re.findall(r"\bN(\d+)=(\d+)", said):
            found[int(node)] = found.get(int(node), 0) + int(pages)
        return found

    def polled_by(self, port):
        """Returns the nodes of the threads that poll a port's queues."""
        nodes, node = set(), None
        for line in self.appctl("dpif-netdev/pmd-rxq-show").splitlines():
            found = re.match(r"pmd thread numa_id (\d+)", line)
            if found:
                node = int(found.group(1))
            elif re.match(r"\s+port: %s\s" % port, line):
                nodes.add(node)
        return nodes

    def wait_polled(self, port, node):
        """Waits until a port's queues are polled on 'node'."""
        wait_until(lambda: self.polled_by(port) == {node}, 60,
                   "%s is polled on node %d" % (port, node), interval=0.5)

    def check_node(self, port, node):
        """Memory, packets, threads and what is said of them are on 'node'."""
        pages = self.memory_nodes(port)
        if set(pages) != {node}:
            raise LabError("memory of %s is on %s" % (port, pages))
        self.wait_polled(port, node)
        shown = self.appctl("vhost/show", port)
        for text in (", NUMA node %d\n" % node,
                     r"packets: .*, node %d," % node):
            if not re.search(text, shown):
                raise LabError("%r is not in\n%s" % (text, shown))
        said = self.appctl("vhost/memory", port)
        if ", node %d, pages" % node not in said:
            raise LabError("vhost/memory says\n" + said)
        wait_until(lambda: self.status(port, "numa") == str(node), 30,
                   "status has node %d" % node, interval=0.5)
        print("%s is on node %d:\n%s%s" % (port, node, shown, said))

    def status(self, port, key):
        """Returns a key of a port's status."""
        return self.switch("ovs-vsctl --if-exists get Interface %s status:%s"
                           % (port, key)).strip().strip('"')

    def log(self):
        """Returns the switch's log."""
        return self.machine.check("cat /tmp/ovs-vswitchd.log")


def nodes(stack, folder, build):
    """Guests on either node."""
    host = stack.enter_context(Host(build, folder))
    host.start_guest("p1", 1, "echo:/tmp/p1")
    host.start_guest("p0", 0, "generate+sink:/tmp/p0,rate=100")
    for node, port in enumerate(PORTS):
        host.check_node(port, node)
    print(host.appctl("dpif-netdev/pmd-rxq-show"))
    host.add_flows()
    wait_until(lambda: int(re.search(
        r"tx pkts=(\d+)", host.switch("ovs-ofctl dump-ports br0 p0"))
        .group(1)) >= FRAMES, 60, "frames cross", interval=0.5)
    result = host.end_guest("p0")
    if result["corrupt"] or result["duplicates"]:
        raise LabError("frames: %s" % result)

    # The next guest's memory is elsewhere, and the port follows.
    host.start_guest("p0", 1, "discard:/tmp/p0")
    host.check_node("p0", 1)
    if "no available" in host.log():
        raise LabError("a node had no thread:\n" + host.log())

    # A thread on the other node only.
    host.switch("ovs-vsctl set Open_vSwitch . other_config:pmd-cpu-mask=1")
    host.wait_polled("p0", 0)
    wait_until(lambda: host.status("p0", "warnings") == "numa", 60,
               "the port warns", interval=0.5)
    print(host.status("p0", "warning_numa"))
    if not re.search("no available.* on numa node 1.*'p0' rx queue 0",
                     host.log()):
        raise LabError("Open vSwitch does not warn:\n" + host.log())
    host.switch("ovs-vsctl set Open_vSwitch . other_config:pmd-cpu-mask=2")
    host.wait_polled("p0", 1)
    wait_until(lambda: not host.status("p0", "warnings"), 60,
               "the warning ends", interval=0.5)
    return 0


CASES = {"memory": memory, "nodes": nodes}


def work(directory, options):
    """Runs a case; returns the exit status."""
    build = Build(options.build_dir, options.ovs_tree)
    try:
        with contextlib.ExitStack() as stack:
            return CASES[options.case](stack, directory.path, build)
    except LabError as error:
        print("FAIL: %s" % error)
        return 1
    finally:
        for name in os.listdir(directory.path) if options.logs else ():
            if name.endswith(".log"):
                shutil.copy(os.path.join(directory.path, name), options.logs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    options = parser.parse_args()
    if os.geteuid() or not shutil.which(QEMU):
        print("needs root and %s" % QEMU)
        return SKIP
    return instance.supervise(
        lambda directory, keep: work(directory, options), "placement")


if __name__ == "__main__":
    sys.exit(main())
