# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What is tested between the guests: pings, TCP with contents, ACLs, routing.

Each step returns a short text for the summary or raises LabError.
"""

import os
import re
import socket
import threading

from ovs_vhost_lab import LabError, wait_until
from ovs_vhost_lab.process import scaled

from .cloud import MTU, PLACES, ROUTER

PINGS = 5
SIZE = 4 << 20                  # Bytes of a transfer, each way.
PIECE = 65536
ALLOWED = 6000                  # The TCP port that an ACL allows.


class Way(threading.Thread):
    """One direction of a connection: random bytes, compared at the end."""

    def __init__(self, source, target):
        super().__init__(daemon=True)
        self._source = source
        self._target = target
        self._error = None

    def run(self):
        data = os.urandom(SIZE)
        sender = threading.Thread(target=self._send, args=(data,),
                                  daemon=True)
        sender.start()
        received = bytearray()
        try:
            while len(received) < SIZE:
                piece = self._target.recv(PIECE)
                if not piece:
                    break
                received += piece
            if received != data:
                self._error = "%d of %d bytes, %s" % (
                    len(received), SIZE, "but others" if len(received) == SIZE
                    else "then it ended")
        except OSError as error:
            self._error = str(error)
        sender.join()

    def _send(self, data):
        try:
            self._source.sendall(data)
        except OSError as error:
            self._error = str(error)

    def finish(self, what):
        """Waits for the end; raises LabError if it was not right."""
        self.join()
        if self._error:
            raise LabError("TCP, %s: %s" % (what, self._error))


class Checks:
    """Steps with the guests of a Cloud."""

    def __init__(self, cloud):
        self.cloud = cloud
        self._port = 5000

    def first_steps(self):
        """Returns the steps that tell whether it works at all; of the first
        packets between two hosts some wait for ARP, and are lost."""
        return (("ping: all pairs", self.ping_all, True),)

    def steps(self):
        """Returns the others."""
        return (
            ("tunnel: frames between the chassis", self.check_tunnel, False),
            ("routing: vm1 (blue) to vm3 (green)", self.check_route, False),
            ("TCP: vm1 and vm2, over Geneve",
             lambda: self.transfer("vm1", "vm2"), False),
            ("TCP: vm3 to vm1, routed", lambda: self.transfer("vm3", "vm1"),
             False),
            ("ACL: drop vm1's pings to vm2", self.acl_drop, False),
            ("ACL: stateful, one TCP port of vm2", self.acl_stateful, False),
        )

    # Ping.

    def ping(self, source, target, count=PINGS, options=""):
        """Returns how many pings were answered, and ping's output."""
        _, output = self.cloud.guests[source].run(
            "ping -c %d -i 0.05 -W 1 %s %s" % (count, options,
                                              PLACES[target].address),
            timeout=10 + 2 * count)
        found = re.search(r"(\d+) packets received", output)
        return int(found.group(1)) if found else 0, output

    def ping_without_loss(self, source, target, options=""):
        """Waits for a first answer, then pings; raises LabError if any is
        lost.  Returns the output."""
        wait_until(lambda: self.ping(source, target, 1, options)[0], 20,
                   "%s answers %s" % (target, source))
        received, output = self.ping(source, target, options=options)
        if received != PINGS:
            raise LabError("%s to %s: %d of %d pings answered\n%s" % (
                source, target, received, PINGS, output))
        return output

    def ping_all(self):
        ways = [(source, target) for source in self.cloud.guests
                for target in self.cloud.guests if source != target]
        for way in ways:
            # The largest that is not fragmented.
            self.ping_without_loss(*way, options="-s %d" % (MTU - 28))
        return "%d ways, 0%% loss, %d bytes each" % (len(ways), MTU)

    def no_ping(self, source, target):
        """Waits until pings stop; raises LabError if some still pass."""
        wait_until(lambda: not self.ping(source, target, 1)[0], 20,
                   "%s does not answer %s" % (target, source))
        received, _ = self.ping(source, target)
        if received:
            raise LabError("%s to %s: %d of %d pings passed"
                           % (source, target, received, PINGS))

    # What is between the chassis.

    def tunnelled(self, host):
        """Returns the statistics (packets received, sent) of the tunnels of a
        chassis."""
        switch = self.cloud.hosts[host].switch
        switch.appctl("revalidator/purge")      # Which counts all there was.
        names = switch.vsctl("--bare", "--columns=name", "find", "Interface",
                             "type=geneve").split()
        sums = [0, 0]
        for name in names:
            line = switch.ofctl("dump-ports", "br-int", name)
            found = re.findall(r"[rt]x pkts=(\d+)", line)
            sums = [have + int(more) for have, more in zip(sums, found)]
        return sums

    def check_tunnel(self):
        """Between the chassis there is Geneve and nothing else, and within
        one there is none."""
        before = self.tunnelled("hv2")
        self.ping_without_loss("vm1", "vm2")
        across = self.tunnelled("hv2")
        if any(after - start < PINGS
               for start, after in zip(before, across)):
            raise LabError("pings across: tunnels' packets %s, then %s"
                           % (before, across))
        self.ping_without_loss("vm2", "vm3")
        within = self.tunnelled("hv2")
        if any(after - start >= PINGS
               for start, after in zip(across, within)):
            raise LabError("pings within hv2: tunnels' packets %s, then %s"
                           % (across, within))
        return "Geneve between hv1 and hv2 only"

    def check_route(self):
        """The router takes one of the TTL, which Linux starts with 64, and
        answers pings itself."""
        output = self.ping_without_loss("vm1", "vm3")
        if "ttl=63" not in output:
            raise LabError("not routed once:\n" + output)
        output = self.ping_without_loss("vm1", "vm2")
        if "ttl=64" not in output:
            raise LabError("not switched:\n" + output)
        return "by %s, TTL 63; to vm2 64" % ROUTER

    # TCP.

    def listen(self, name, port):
        """Returns a socket that listens at a guest."""
        return self.cloud.guests[name].netns.call(
            lambda: socket.create_server((PLACES[name].address, port)))

    def connect(self, source, target, port, timeout=60):
        """Returns a connection from one guest to another; raises OSError."""
        return self.cloud.guests[source].netns.call(
            lambda: socket.create_connection((PLACES[target].address, port),
                                             timeout))

    def transfer(self, source, target, port=None):
        """Sends random bytes both ways over a connection, and compares what
        arrives."""
        self._port += 1
        port = port or self._port
        with self.listen(target, port) as listener, \
                self.connect(source, target, port) as one:
            listener.settimeout(scaled(20))
            other, _ = listener.accept()
            with other:
                other.settimeout(scaled(20))
                ways = [Way(one, other), Way(other, one)]
                for way in ways:
                    way.start()
                for way in ways:
                    way.finish("%s to %s" % (source, target))
        return "%d KiB each way, equal" % (SIZE >> 10)

    def connects(self, source, target, port):
        """Tells whether a connection can be made to a guest that listens."""
        with self.listen(target, port):
            try:
                self.connect(source, target, port, 2).close()
            except socket.timeout:
                return False
        return True

    # ACLs.

    def set_acls(self, *acls):
        """Replaces the ACLs of the switch blue by (direction, priority, match,
        action), and waits until the chassis have them."""
        nbctl = self.cloud.central.nbctl
        nbctl("acl-del", "blue")
        for direction, priority, match, action in acls:
            nbctl("acl-add", "blue", direction, str(priority), match, action)
        self.cloud.central.sync()

    def acl_drop(self):
        self.set_acls(("to-lport", 1000, 'outport == "vm2" && ip4.src == %s '
                       '&& icmp4' % PLACES["vm1"].address, "drop"))
        self.no_ping("vm1", "vm2")
        self.ping_without_loss("vm3", "vm2")
        self.transfer("vm1", "vm2")
        self.set_acls()
        self.ping_without_loss("vm1", "vm2")
        return "vm1's lost, vm3's and TCP pass; deleted: all pass"

    def acl_stateful(self):
        """vm2 may be reached at one TCP port only, and reach everything: what
        comes back passes by connection tracking."""
        self.set_acls(
            ("to-lport", 1002, 'outport == "vm2" && tcp.dst == %d' % ALLOWED,
             "allow-related"),
            ("to-lport", 1001, 'outport == "vm2" && ip', "drop"),
            ("from-lport", 1001, 'inport == "vm2" && ip', "allow-related"))
        self.no_ping("vm1", "vm2")
        if self.connects("vm1", "vm2", ALLOWED + 1):
            raise LabError("vm1 can connect to port %d" % (ALLOWED + 1))
        self.transfer("vm1", "vm2", ALLOWED)
        self.ping_without_loss("vm2", "vm1")
        self.transfer("vm2", "vm1")
        self.set_acls()
        self.ping_without_loss("vm1", "vm2")
        return "port %d and what vm2 begins pass, nothing else" % ALLOWED
