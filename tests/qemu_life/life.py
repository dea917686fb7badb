# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""One switch, one guest, and the station that the guest talks to.

The station is the test's network namespace: behind the bridge's own port,
which the switch's main thread serves, or, if 'nic', behind a DPDK port that
PMDs serve."""

import glob
import os
import re
import time

from ovs_vhost_lab import (Build, Guest, LabError, NetworkNamespace, Nic,
                           Switch, guest_image, wait_until)

from .traffic import BLOCK, BLOCK_FILE, Pinger, Stream

BRIDGE = "br0"
PORT = "vm1"
GUEST = "10.0.0.1"
STATION = "10.0.0.3"
ETHTOOL = ("/usr/sbin/ethtool", "/sbin/ethtool")

# The stock type that stands for the same thing.
STOCK = {"vhostuser": "dpdkvhostuser",
         "vhostuserclient": "dpdkvhostuserclient"}
OURS = {stock: ours for ours, stock in STOCK.items()}


class Life:
    """'kind' is the port's type.  'stack' ends what is started here."""

    def __init__(self, folder, options, stack):
        self.folder = folder
        self.stack = stack
        self.kind = options.type
        self.packed = options.packed
        self.extras = options.extras
        self.build = Build(options.build_dir, options.ovs_tree)
        self.ours = self.kind in STOCK
        self.listen = self.kind.endswith("client")
        self.image = self.switch = self.netns = self.guest = None
        self.station_netns = None
        self.pinger = None
        self.streams = []
        self.on_boot = None         # What makes a booted guest answer.
        self._nic = None
        self._started = time.monotonic()
        self._settings = ()
        self._log_from = 0

    def say(self, text):
        """Prints a line of the story."""
        print("%6.1f s  %s" % (time.monotonic() - self._started, text),
              flush=True)

    # Making the laboratory.

    def start(self, nic=False, image=None, **other_config):
        """Starts the switch, with a station and without a port.  'image' is
        instead of the usual one for guests."""
        programs = [path for path in ETHTOOL if os.path.exists(path)][:1]
        self.image = image or guest_image(programs=programs,
                                          files={BLOCK_FILE: BLOCK})
        self.netns = self.stack.enter_context(NetworkNamespace())
        self.switch = self.stack.enter_context(Switch(
            self.build, self.folder, self.netns,
            other_config={name.replace("_", "-"): value
                          for name, value in other_config.items()}))
        self.switch.start()
        self.switch.add_bridge(BRIDGE)
        if nic:
            self.station_netns = self.stack.enter_context(NetworkNamespace())
            self.netns.add_veth("nic0", "eth0", self.station_netns)
            self.switch.add_port(BRIDGE, "nic", "dpdk",
                                 dpdk_devargs="net_af_packet0,iface=nic0")
        else:
            self.station_netns = self.netns
            self.netns.ip("link", "set", BRIDGE, "up")
        self.station_netns.ip("addr", "add", STATION + "/24", "dev",
                              "eth0" if nic else BRIDGE)

    def port_settings(self, kind):
        """Returns what ovs-vsctl has to set for the port as type 'kind'."""
        settings = ["type=" + kind]
        if self.listen:
            settings.append("options:vhost-server-path=\"%s\"" % self.socket())
        if self.extras:
            settings.append("options:vhost-extras=\"%s\"" % self.extras)
        return settings + list(self._settings)

    def socket(self):
        """Returns the path of the socket between switch and QEMU."""
        return os.path.join(self.folder, PORT + ".vhost") if self.listen \
            else self.switch.socket_path(PORT)

    def add_port(self, *settings, kind=None):
        """Adds the guest's port, of type 'kind' if not the usual one."""
        self._settings = settings
        self.switch.vsctl("add-port", BRIDGE, PORT, "--", "set", "Interface",
                          PORT, *self.port_settings(kind or self.kind))
        error = self.switch.interface(PORT, "error")
        if error != "[]":
            raise LabError("port: " + error)

    def boot(self, queues=1, memory=256, cpus=1, device="", kernel_args="",
             qemu_args=(), machine="pc"):
        """Starts the guest and waits until it can be pinged."""
        if self.packed:
            device = ",".join(filter(None, [device, "packed=on"]))
        self._nic = Nic(self.socket(), listen=self.listen, queues=queues,
                        address=GUEST + "/24", device=device)
        self.guest = self.stack.enter_context(Guest(
            PORT, self.image, self.folder, memory=memory, cpus=cpus,
            netns=self.netns, machine=machine, kernel_args=kernel_args,
            qemu_args=qemu_args))
        self.start_guest()

    def start_guest(self, device=None):
        """Starts QEMU, again perhaps, and waits until all is well."""
        if device is not None:
            self._nic.device = device
        self.guest.start(self._nic)
        self.guest.wait_ready(120)
        if self.on_boot:
            self.on_boot()
        self.reach()
        self.say("guest is up, %s" % self.features())

    def kill_switch(self):
        """Ends ovs-vswitchd as a crash does."""
        self.switch.kill()
        if self.kind in OURS and not self.listen:
            # The stock port refuses the socket that it left behind.
            os.unlink(self.socket())

    def start_switch(self):
        """Starts ovs-vswitchd anew."""
        self.switch.start_vswitchd()
        if self.station_netns is self.netns:
            self.netns.ip("link", "set", BRIDGE, "up")

    def swap(self, kind, anew):
        """Gives the port another type, by deleting and adding it if
        'anew'."""
        words = ["set", "Interface", PORT, *self.port_settings(kind)]
        if anew:
            words = ["del-port", BRIDGE, PORT, "--", "add-port", BRIDGE, PORT,
                     "--"] + words
        self.switch.vsctl(*words)
        error = self.switch.interface(PORT, "error")
        if error != "[]":
            raise LabError("port as %s: %s" % (kind, error))
        self.kind = kind
        self.ours = kind in STOCK

    def swap_and_wait(self, kind):
        """Like swap(), and waits until QEMU is connected to the new port."""
        def negotiated():
            if self.ours:
                return self.status("state") in ("connected", "ready")
            with open(self.switch.log, errors="replace") as stream:
                stream.seek(start)
                return "VHOST_USER_SET_OWNER" in stream.read()
        start = os.path.getsize(self.switch.log)
        self.swap(kind, False)
        wait_until(negotiated, 20, "QEMU is connected as %s" % kind)

    # Traffic.

    def ping(self, count=1, size=56, interval=0.1, patience=1):
        """Pings the guest and returns how many answers came, the last ones
        within 'patience' seconds."""
        result = self.station_netns.run(
            [self.image.busybox, "ping", "-c", str(count), "-i",
             str(interval), "-W", str(patience), "-s", str(size), GUEST],
            timeout=30 + 2 * count, check=False)
        found = re.search(r"(\d+) packets received", result.stdout)
        return int(found.group(1)) if found else 0

    def guest_ping(self, count=1, size=56):
        """Lets the guest ping the station; returns how many answers came."""
        _, output = self.guest.run("ping -c %d -i 0.1 -W 1 -s %d %s" % (
            count, size, STATION), timeout=30 + 2 * count)
        found = re.search(r"(\d+) packets received", output)
        return int(found.group(1)) if found else 0

    def reach(self, timeout=30):
        """Waits until the guest answers a ping."""
        wait_until(self.ping, timeout, "the guest answers a ping")

    def start_traffic(self):
        """Starts pings and a TCP stream in each direction."""
        self.pinger = Pinger(self.station_netns, self.image.busybox, GUEST)
        self.stack.callback(self.pinger.close)
        self.streams = [
            Stream(self.guest, self.station_netns, STATION, GUEST,
                   5001 + upwards, upwards) for upwards in (False, True)]
        self.check_traffic()

    def check_traffic(self):
        """Waits until all traffic goes on by itself."""
        self.pinger.wait()
        for stream in self.streams:
            stream.wait()

    def during(self, what, action, lost=None, gap=15):
        """Calls 'action' while there is traffic and says what became of that.
        Raises LabError if more than 'lost' pings were lost (None: any number
        may), or none was answered for more than 'gap' seconds."""
        self.pinger.wait()
        start = time.monotonic()
        result = action()
        self.check_traffic()
        n_lost, seconds = self.pinger.since(start)
        self.say("%s: %d pings lost, %.1f s without" % (what, n_lost,
                                                        seconds))
        if lost is not None and n_lost > lost:
            raise LabError("%s: %d pings lost, not at most %d"
                           % (what, n_lost, lost))
        if seconds > gap:
            raise LabError("%s: no answer for %.1f s" % (what, seconds))
        return result

    def end_traffic(self):
        """Ends what start_traffic() started; each byte has to be right."""
        for stream in self.streams:
            stream.close()
        self.streams = []

    # What the switch says.

    def status(self, key):
        """Returns a key of the port's status ("": not there)."""
        return self.switch.vsctl("--if-exists", "get", "Interface", PORT,
                                 "status:" + key).strip().strip('"')

    def features(self):
        return "features " + self.status("features")

    def show(self, pattern):
        """Returns the groups of 'pattern' in vhost/show, or None."""
        found = re.search(pattern, self.switch.appctl("vhost/show", PORT))
        return found and found.groups()

    def wait_show(self, pattern, timeout=20):
        """Waits until vhost/show has 'pattern'; nothing to do for stock
        ports, which have no such command."""
        if self.ours:
            wait_until(lambda: self.show(pattern) is not None, timeout,
                       "vhost/show has %r" % pattern)

    def stat(self, name):
        """Returns a counter of the port as it is now (0: not there)."""
        text = self.switch.ofctl("dump-ports", BRIDGE, PORT,
                                 "-O", "OpenFlow14")
        text = re.sub(r"([rt]x) pkts=(\d+), bytes=(\d+), drop=(\d+)",
                      r"\1_packets=\2, \1_bytes=\3, \1_dropped=\4", text)
        found = re.search(r"\b%s=(\d+)" % name, text)
        return int(found.group(1)) if found else 0

    def enabled_queues(self):
        """Returns the numbers of the port's queues that PMDs poll, and of
        those that they do not."""
        text = self.switch.appctl("dpif-netdev/pmd-rxq-show")
        queues = re.findall(r"port: %s +queue-id: +(\d+) \((\w+)\)" % PORT,
                            text)
        return (sorted(int(queue) for queue, state in queues
                       if state == "enabled"),
                sorted(int(queue) for queue, state in queues
                       if state != "enabled"))

    def wait_queues(self, n, total):
        """Waits until the first 'n' of the port's queues are polled and the
        rest of 'total' is not."""
        wanted = list(range(n)), list(range(n, total))
        wait_until(lambda: self.enabled_queues() == wanted, 20,
                   "%d of %d queues are polled" % (n, total))
        self.wait_show(r"queues: %d received from, .*, %d pairs enabled"
                       % (total, n))

    def reconfigurations(self):
        """Returns how often the datapath was reconfigured since
        ovs-vswitchd's first start: each one distributes the queues anew, and
        says so."""
        with open(self.switch.log, errors="replace") as stream:
            return stream.read().count("Performing pmd to rx queue assignment")

    def same_reconfigurations(self, before, what):
        """Raises LabError if there was one since 'before'."""
        count = self.reconfigurations() - before
        if count:
            raise LabError("%s: the datapath was reconfigured %d times"
                           % (what, count))

    def belongings(self):
        """Returns what ovs-vswitchd holds that a guest could leave behind:
        open files by kind, threads, mappings of guest memory."""
        base = "/proc/%d/" % self.switch.pid()
        links = []
        for path in glob.glob(base + "fd/*"):
            try:
                links.append(re.sub(r"\d+|/.*", "", os.readlink(path)))
            except OSError:
                continue
        with open(base + "maps") as stream:
            maps = stream.read().count("/memfd:memory-backend-memfd")
        return (sorted(links), len(os.listdir(base + "task")), maps)

    def wait_belongings(self, before, what):
        """Waits until they are as 'before'."""
        wait_until(lambda: self.belongings() == before, 20,
                   "%s: nothing is left behind" % what)

    # What the guest does.

    def set_queues(self, n):
        """Lets the guest use 'n' queue pairs."""
        self.guest.check("ethtool -L eth0 combined %d" % n)

    def configure_guest(self):
        """Gives the guest's interface its address, after it was away."""
        self.guest.check("ip addr add %s/24 dev eth0; ip link set eth0 up"
                         % GUEST)

    def logs(self):
        """Returns [(path, how many of its last lines tell something)]."""
        found = [(self.switch.log, 40)] if self.switch else []
        if self.guest:
            found += [(self.guest.log, 10), (self.guest.console_log, 15)]
        return found
