# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""One side of a comparison: a switch, its ports and the guests behind them.

Each side has an ovs-vswitchd of its own, of the same binary with the same
settings and the plugin loaded, and differs in nothing but the type of its
ports.  Only one side runs at a time; the other one, its guests included, is
stopped by SIGSTOP.  Both in one process was considered: a PMD's busy cycles
are those of whole iterations, which poll the other side's idle ports too, and
so each side would pay for the other.
"""

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass

from ovs_vhost_lab import (LabError, NetworkNamespace, Process, Switch,
                           tail, wait_until)

from . import host
from .jsonrpc import JsonRpc
from .unixctl import pmd_counters, port_counters
from .windows import Window

BRIDGE = "br0"
EAL_MIB = 768
SETTLE_SECONDS = 0.010          # After a side was let go.

# A window is discarded if its PMD waited for the CPU for longer than this
# share of it, if more of the packets than this were dropped towards guests,
# or if the PMD's bursts were less full than this.
MAX_WAITED = 0.05
MAX_DROPPED = 0.005
MIN_FILL = 0.9
BURST = 32                      # Open vSwitch's NETDEV_MAX_BURST.


@dataclass(frozen=True)
class Types:
    """Names of port types: the guest listens, the switch listens."""

    client: str
    server: str


OURS = Types("vhostuserclient", "vhostuser")
STOCK = Types("dpdkvhostuserclient", "dpdkvhostuser")


@dataclass(frozen=True)
class Cpus:
    """Where the PMD runs, and where everything else does."""

    pmd: int = 0
    guests: int = 1


@dataclass
class Sample:
    """What is read before and after a window."""

    time: float
    steal: int
    waited: int
    dropped: int
    pmd: object


class Side:
    """A switch with one PMD.  'name' is "ours" or "stock".

    Every method but close() is for a side that is not paused."""

    def __init__(self, name, types, build, folder, cpus, other_config=None,
                 eal_mib=EAL_MIB):
        self.name = name
        self.types = types
        self.build = build
        self.cpus = cpus
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        settings = {"pmd-cpu-mask": hex(1 << cpus.pmd), "pmd-maxsleep": "0",
                    "dpdk-extra": "--no-pci --no-huge --legacy-mem -m %d"
                                  % eal_mib}
        settings.update(other_config or {})
        self.netns = NetworkNamespace()
        self.switch = Switch(build, self.folder, self.netns,
                             other_config=settings)
        self.guests = []
        self.control = None
        self._pipes = []
        self._pmd_thread = None

    # Life.

    def start(self):
        """Starts the switch, with a bridge that forwards nothing yet."""
        self.switch.start()
        for pid in self.switch.pids():
            host.prefer(pid)
        self.control = JsonRpc(self.switch.control)
        self.switch.add_bridge(BRIDGE)
        self.switch.ofctl("del-flows", BRIDGE)

    def close(self):
        """Ends everything at once: it was all made for this measurement."""
        for guest in self.guests:
            guest.kill()
        self.switch.kill()
        self.switch.stop()
        self.switch.forget()
        if self.control:
            self.control.close()
        for pipe in self._pipes:
            os.close(pipe)
        self.netns.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def pause(self):
        """Stops guests and switch; their rings stay as they are."""
        for guest in self.guests:
            guest.kill(signal.SIGSTOP)
        self.switch.kill(signal.SIGSTOP)

    def resume(self, guests=None):
        """Lets the switch go on, and these guests, or all."""
        self.switch.kill(signal.SIGCONT)
        for guest in self.guests if guests is None else guests:
            guest.kill(signal.SIGCONT)

    # Ports and guests.

    def socket(self, port, server=False):
        """Returns the socket of a vhost-user port."""
        return self.switch.socket_path(port) if server \
            else os.path.join(self.folder, port)

    def add_vhost_ports(self, *ports, server=False, **columns):
        """Adds vhost-user ports in one transaction.  'server': the switch
        listens.  'columns' are more settings, such as mtu_request=9000."""
        words = []
        for port in ports:
            words += ["--", "add-port", BRIDGE, port,
                      "--", "set", "Interface", port, "type="
                      + (self.types.server if server else self.types.client)]
            words += ["%s=%s" % item for item in columns.items()]
            if not server:
                words.append("options:vhost-server-path=\"%s\""
                             % self.socket(port))
        self.switch.vsctl(*words)
        for port, error in self._column("error").items():
            if error:
                raise LabError("%s: %s" % (port, error))

    def _column(self, column):
        """Returns {port: value of a column} of all Interfaces."""
        text = self.switch.vsctl("--format=json", "--columns=name," + column,
                                 "list", "Interface")
        return {name: "" if isinstance(value, list) else value
                for name, value in json.loads(text)["data"]}

    def add_flows(self, *flows):
        """Adds OpenFlow rules; ports go by their names."""
        for flow in flows:
            self.switch.ofctl("add-flow", BRIDGE, "--names", flow)

    def add_nic(self, port, devargs, queues=1):
        """Adds a port of type dpdk with so many receive queues."""
        self.switch.add_port(BRIDGE, port, "dpdk", dpdk_devargs=devargs)
        if queues > 1:
            self.switch.vsctl("set", "Interface", port,
                              "options:n_rxq=%d" % queues)

    def start_guest(self, *words):
        """Starts ovs-vhost-guest on the guests' CPU."""
        return self._start([
            os.path.join(self.build.path, "utilities", "ovs-vhost-guest"),
            "--cpus=%d" % self.cpus.guests, "--progress=0", *words])

    def start_testpmd(self, vdevs, words, ports, commands):
        """Starts dpdk-testpmd on the guests' CPU with virtio-user ports, waits
        until the switch's 'ports' are up and gives it commands for its
        prompt."""
        reader, writer = os.pipe()
        argv = ["dpdk-testpmd", "--no-pci", "--no-huge", "-m", "192",
                "--no-shconf", "--no-telemetry", "--lcores",
                "0@{0},1@{0}".format(self.cpus.guests)]
        for vdev in vdevs:
            argv += ["--vdev", vdev]
        guest = self._start(argv + ["--", "-i", "--no-mlockall",
                                    "--total-num-mbufs=16384"] + list(words),
                            stdin=reader)
        os.close(reader)
        self._pipes.append(writer)
        wait_until(lambda: guest.check_running()
                   or "testpmd>" in tail(guest.log, 5), 15,
                   "dpdk-testpmd has a prompt")
        self.wait_links(*ports)
        os.write(writer, "".join(line + "\n" for line in commands).encode())
        return guest

    def _start(self, argv, **kwargs):
        name = "guest%d" % len(self.guests)
        guest = Process(name, argv, os.path.join(self.folder, name + ".log"),
                        **kwargs)
        host.prefer(guest.pid)
        self.guests.append(guest)
        return guest

    def check_guests(self):
        """Raises LabError if a guest has ended."""
        for guest in self.guests:
            guest.check_running()

    def wait_links(self, *ports, timeout=15, check=None):
        """Waits until the guests of 'ports' are ready.  'check', by default
        check_guests(), is called meanwhile and may raise."""
        def up():
            (check or self.check_guests)()
            states = self._column("link_state")
            return all(states.get(port) == "up" for port in ports)
        wait_until(up, timeout, "%s: ports are up" % self.name)

    def wait_traffic(self, port, check=None, timeout=15):
        """Waits until packets leave the switch through 'port'.  'check': see
        wait_links()."""
        self.wait_links(port, timeout=timeout, check=check)

        def flowing():
            (check or self.check_guests)()
            counters = port_counters(self.control).get(port)
            if counters and not counters.known:
                # dpdkvhostuser of Open vSwitch 3.1 has no statistics.
                return self.pmd().packets > 1000
            return counters and counters.tx_packets > 1000
        wait_until(flowing, timeout, "%s: traffic begins" % self.name)

    def features(self, port):
        """Returns the features that the guest of a vhost-user port has
        accepted."""
        return int(self.switch.vsctl("get", "Interface", port,
                                     "status:features").strip('"\n'), 16)

    # Measuring.

    def pmd(self, reverse=False):
        """Returns the PMD's counters; see pmd_counters()."""
        return pmd_counters(self.control, self.cpus.pmd, reverse)

    def dropped(self):
        """Returns the packets that found no room in guests so far."""
        return sum(port.tx_dropped
                   for port in port_counters(self.control).values())

    def pmd_thread(self):
        """Returns the id of the PMD's thread."""
        if not self._pmd_thread:
            self._pmd_thread = host.pmd_thread(self.switch.pid(),
                                               self.cpus.pmd)
        return self._pmd_thread or self.switch.pid()

    def _host(self):
        pid = self.switch.pid()
        return (host.steal_ticks((self.cpus.pmd, self.cpus.guests)),
                host.waited_ns(pid, self.pmd_thread()))

    def before(self):
        """Takes the Sample at the beginning of a window.  The PMD's counters
        come last, and first at the end: the work of asking takes the CPU from
        the guests."""
        dropped = self.dropped()
        steal, waited = self._host()
        pmd = self.pmd(reverse=True)
        return Sample(time.monotonic(), steal, waited, dropped, pmd)

    def after(self):
        """Takes the Sample at the end of a window."""
        now, pmd = time.monotonic(), self.pmd()
        steal, waited = self._host()
        return Sample(now, steal, waited, self.dropped(), pmd)

    @contextlib.contextmanager
    def running(self, guests=None):
        """Lets the switch and these guests, or all, run."""
        self.resume(guests)
        time.sleep(SETTLE_SECONDS)
        try:
            yield
        finally:
            self.pause()

    def window(self, seconds, value, queues=1, guests=None,
               max_dropped=MAX_DROPPED):
        """Lets the side run, with these guests or all, and measures it for
        'seconds'.  'value' makes the figure of a PmdCounters; 'queues' is the
        number of those that always have packets.  Returns a Window."""
        with self.running(guests):
            first = self.before()
            time.sleep(seconds)
            last = self.after()
        return make_window(first, last, value, queues * BURST, max_dropped)

    def interval(self, guest):
        """Returns what an ovs-vhost-guest has measured since the last call of
        this."""
        return self.marked(guest, self.mark(guest), 1)[0]

    def mark(self, guest):
        """Has an ovs-vhost-guest note what it has measured since the last
        call of this.  Returns where marked() will find it."""
        start = os.path.getsize(guest.log)
        guest.kill(signal.SIGUSR1)
        return start

    def marked(self, guest, start, count):
        """Returns 'count' notes, the first one from the mark() that returned
        'start'."""
        def found():
            guest.check_running()
            with open(guest.log) as stream:
                stream.seek(start)
                notes = [json.loads(line) for line in stream
                         if line.startswith("{") and line.endswith("\n")]
            return notes if len(notes) >= count else None
        return wait_until(found, 5, "a guest's figures", interval=0.003)


def make_window(first, last, value, full, max_dropped=MAX_DROPPED,
                max_waited=MAX_WAITED):
    """Makes a Window of two Samples.  An iteration of the PMD that found all
    queues full had 'full' packets."""
    pmd = last.pmd.since(first.pmd)
    dropped = last.dropped - first.dropped
    seconds = last.time - first.time
    cycles = pmd.busy + pmd.idle
    waited = (last.waited - first.waited) / 1e9 / seconds
    # The TSC goes on while the PMD waits; those are no cycles of its own.
    pmd.busy -= int(waited * pmd.busy)
    pmd.idle -= int(waited * pmd.idle)
    reasons = []
    if last.steal > first.steal:
        reasons.append("steal")
    if waited > max_waited:
        reasons.append("preempted")
    if dropped > max_dropped * pmd.packets:
        reasons.append("dropped")
    batch = pmd.packets / max(pmd.iterations - pmd.idle_iterations, 1)
    if batch < MIN_FILL * full:
        reasons.append("starved")
    extra = {"mpps": pmd.packets / seconds / 1e6,
             "batch": batch,
             "idle": pmd.idle / max(cycles, 1),
             "dropped": dropped / max(pmd.packets, 1),
             "waited": waited}
    return Window(value(pmd), tuple(reasons), extra)


def cycles_per_packet(pmd):
    """What a packet costs in iterations that move some; 0 without packets.

    Iterations that find nothing are left out.  There are a few of them even
    if the guests are faster than the PMD, as they have no CPU while questions
    are asked, and more if they are slower.  That does not change the figure
    as long as bursts are full, which is what windows are judged by."""
    return pmd.busy / pmd.packets if pmd.packets else 0.0
