# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What the replays share: commands, guests, and the port's own story.

The environment is that of a test in takeover.at: the switch runs, OVS_RUNDIR
says where, and the tools are in PATH."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

TIMEOUT = 60
RATE = 500                      # Frames per second and direction.


class Wrong(Exception):
    """An answer is not what the program relies on."""


def expect(condition, *what):
    if not condition:
        raise Wrong(" ".join(map(str, what)))


def wait(condition, *what):
    """Waits until 'condition' returns something true, and returns that."""
    limit = time.monotonic() + TIMEOUT
    while True:
        result = condition()
        if result:
            return result
        expect(time.monotonic() < limit, *what)
        time.sleep(0.05)


def attempt(*argv):
    """Runs a command; returns its exit status and what it said."""
    print("$", *argv, flush=True)
    done = subprocess.run(argv, timeout=TIMEOUT, text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    print(done.stdout, end="", flush=True)
    return done.returncode, done.stdout


def command(*argv):
    """Runs a command that has to succeed; returns what it said."""
    status, output = attempt(*argv)
    expect(status == 0, argv, "has status", status)
    return output


def vsctl(*argv):
    return command("ovs-vsctl", *argv)


class Bed:
    """One switch and the guests at its ports.  'stock': the ports are not
    ours but those that the programs were written for."""

    def __init__(self, stock):
        self.stock = stock
        self.rundir = os.environ["OVS_RUNDIR"]
        # Where unprivileged processes come to.
        self.public = tempfile.mkdtemp(prefix="vhost-replay.")
        os.chmod(self.public, 0o755)
        self.guest_program = os.path.join(self.public, "guest")
        shutil.copy(shutil.which("ovs-vhost-guest"), self.guest_program)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.public, ignore_errors=True)

    def directory(self, name, mode, public=False):
        """Makes a directory: one that everybody can come to if 'public', and
        otherwise one on the switch's file system."""
        path = os.path.join(self.public if public else self.rundir, name)
        os.mkdir(path)
        os.chmod(path, mode)
        return path

    def check_port(self, port, kind):
        """The port is there, without an error, and says what it is."""
        expect(vsctl("get", "Interface", port, "error").strip() == "[]", port)
        expect(vsctl("get", "Interface", port, "type").strip() == kind, port)
        if not self.stock:
            shown = json.loads(command("ovs-appctl", "vhost/show", "--json",
                                       port))
            expect(shown[0]["type"] == kind, shown[0]["type"])

    @staticmethod
    def wait_mtu(port, mtu):
        """Waits until a port has the MTU.  A stock one that no guest has been
        at says 0."""
        wait(lambda: vsctl("get", "Interface", port, "mtu").strip()
             == str(mtu), "MTU of", port)

    @staticmethod
    def received(port):
        """Returns how many packets OpenFlow's statistics have."""
        # By number: OpenFlow 1.0 cuts long names short.
        said = command("ovs-ofctl", "dump-ports",
                       vsctl("iface-to-br", port).strip(),
                       vsctl("get", "Interface", port, "ofport").strip())
        return int(re.search(r"rx pkts=(\d+)", said)[1])


class Guests:
    """Two guests that send each other frames of all sizes up to 'size' for as
    long as the context lasts.  None may be lost.

    'sockets' are their paths; 'listen' says that the guests do that."""

    _n_macs = 0                 # A bridge may remember where one has been.

    def __init__(self, bed, sockets, listen, size=1514, user=None):
        self._bed = bed
        words = [bed.guest_program, "--json", "--quiet", "--settle=1",
                 "--connect-timeout=%d" % TIMEOUT, "--rate=%d" % RATE,
                 "--size=60-%d" % size, "--expect-loss=0",
                 "--expect-duplicates=0",
                 "--server" if listen else "--client"]
        for path in sockets:
            Guests._n_macs += 1
            words.append("generate+sink:%s,mac=02:00:00:00:01:%02x"
                         % (path, Guests._n_macs))
        privileges = ["setpriv", "--pdeathsig", "KILL"]
        if user is not None:
            privileges += ["--reuid=%d" % user, "--regid=%d" % user,
                           "--clear-groups"]
        print("$", *privileges, *words, "&", flush=True)
        self._output = tempfile.TemporaryFile("w+")
        self._child = subprocess.Popen(privileges + words,
                                       stdin=subprocess.DEVNULL,
                                       stdout=self._output)
        self.report = None

    def __enter__(self):
        return self

    def _reports(self):
        """Returns what the guests have reported so far."""
        self._output.seek(0)
        return [json.loads(line) for line in self._output
                if line.endswith("\n")]

    def _runs(self):
        expect(self._child.poll() is None, "the guests have ended")
        return True

    def wait_traffic(self, *ports):
        """Waits until the guests at 'ports' have received some frames each."""
        for port in ports:
            wait(lambda: self._runs() and vsctl(
                "get", "Interface", port, "link_state").strip() == "up",
                "no link at", port)

        def received():
            self._runs()
            self._child.send_signal(signal.SIGUSR1)
            time.sleep(0.1)
            return any(all(port["rx_frames"] > 20 for port in each["ports"])
                       for each in self._reports()[-1:])
        wait(received, "no traffic at", *ports)

    def __exit__(self, kind, *_):
        self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise
        if not kind:
            self.report = self._reports()[-1]
            expect(self._child.returncode == 0, "guests:", self.report)
        self._output.close()

    def check_counters(self, *ports):
        """Our ports have counted, when the guests have gone, exactly what the
        guests have sent."""
        if self._bed.stock:
            return
        for port, guest in zip(ports, self.report["ports"]):
            expect(self._bed.received(port) == guest["tx_frames"],
                   port, guest["tx_frames"])
