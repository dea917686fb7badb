# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Traffic that goes on while something is done to a guest, and tells
afterwards what became of it: pings, which are lost or not, and TCP streams
each byte of which is compared.

The streams are slow on purpose.  They are to be there when something happens,
not to keep an emulated processor from everything else."""

import contextlib
import random
import re
import threading
import time

import os
import socket

from ovs_vhost_lab.process import (LabError, enter_netns, popen, scaled,
                                   wait_until)

PING_INTERVAL = 0.1
BLOCK = random.Random(1).randbytes(1 << 20)     # What streams repeat.
BLOCK_FILE = "/block"                           # The same in the guest.
CHUNK = 1 << 15
PAUSE = 0.02                                    # After each CHUNK.


@contextlib.contextmanager
def inside(netns):
    """The calling thread is in 'netns'; sockets made there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter_netns(netns.fileno())
        yield
    finally:
        enter_netns(home)
        os.close(home)


class Pinger:
    """Pings 'address' from 'netns' ten times a second."""

    def __init__(self, netns, busybox, address):
        self.answers = []                       # (number, time)
        self._child = popen([busybox, "ping", "-i", str(PING_INTERVAL),
                             address], netns, stdout=-1, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._child.stdout:
            found = re.search(r"bytes from .* seq=(\d+)", line)
            if found:
                self.answers.append((int(found.group(1)), time.monotonic()))

    def wait(self, timeout=30):
        """Waits until a ping is answered that was sent after this call, and
        the one after that."""
        sent = self._sent() + 2
        wait_until(lambda: sum(number >= sent for number, _ in
                               self.answers[-10:]) >= 2, timeout,
                   "pings of the guest are answered")

    def _sent(self):
        """Returns about how many were sent: the clock tells."""
        if not self.answers:
            return 0
        number, moment = self.answers[-1]
        return number + int((time.monotonic() - moment) / PING_INTERVAL)

    def since(self, moment):
        """Returns (how many numbers are missing, seconds of the longest time
        without an answer) from the last answer before 'moment' to now."""
        first = max((index for index, (_, when) in enumerate(self.answers)
                     if when <= moment), default=0)
        part = self.answers[first:]
        if len(part) < 2:
            raise LabError("no answer to a ping")
        return (part[-1][0] - part[0][0] + 1 - len(part),
                max(after[1] - before[1]
                    for before, after in zip(part, part[1:])))

    def close(self):
        self._child.kill()
        self._child.wait()
        self._reader.join()
        self._child.stdout.close()


class Stream:
    """A TCP connection between the guest and 'netns' on which BLOCK goes
    round and round in one direction.  'upwards': from the guest."""

    def __init__(self, guest, netns, station, address, port, upwards):
        self.bytes = 0
        self._error = None
        self._upwards = upwards
        self._guest = guest
        self._stopping = threading.Event()
        self._result = "/tmp/stream.%d" % port
        if upwards:
            with inside(netns):
                server = socket.create_server((station, port))
            server.settimeout(scaled(20))
            guest.check("{ while cat %s; do :; done | nc %s %d; } "
                        ">/dev/null 2>&1 &" % (BLOCK_FILE, station, port))
            self._socket, _ = server.accept()
            server.close()
        else:
            guest.check(
                "mkfifo /tmp/fifo.%d;"
                " { while cat %s; do :; done >/tmp/fifo.%d; } 2>/dev/null &"
                " { nc -l -p %d | cmp - /tmp/fifo.%d; } >%s 2>&1 &"
                " until netstat -ltn | grep -q :%d; do sleep .1; done"
                % (port, BLOCK_FILE, port, port, port, self._result, port))
            with inside(netns):
                self._socket = socket.create_connection((address, port),
                                                        scaled(20))
        self._socket.settimeout(scaled(60))
        self._thread = threading.Thread(
            target=self._receive if upwards else self._send, daemon=True)
        self._thread.start()

    def _send(self):
        try:
            while not self._stopping.is_set():
                at = self.bytes % len(BLOCK)
                self.bytes += self._socket.send(BLOCK[at:at + CHUNK])
                time.sleep(PAUSE)
        except OSError as error:
            self._error = str(error)

    def _receive(self):
        try:
            while not self._stopping.is_set():
                data = self._socket.recv(CHUNK)
                if not data:
                    raise OSError("closed by the guest")
                at = self.bytes % len(BLOCK)
                if (BLOCK + BLOCK[:CHUNK])[at:at + len(data)] != data:
                    raise OSError("wrong contents near byte %d" % self.bytes)
                self.bytes += len(data)
                time.sleep(PAUSE)
        except OSError as error:
            self._error = str(error)

    def check(self):
        """Raises LabError if it has broken off."""
        if self._error:
            raise LabError("TCP %s the guest, after %d bytes: %s" % (
                "from" if self._upwards else "to", self.bytes, self._error))

    def wait(self, timeout=60):
        """Waits until it has made some progress."""
        goal = self.bytes + 10 * CHUNK

        def progressed():
            self.check()
            return self.bytes >= goal
        wait_until(progressed, timeout, "TCP goes on")

    def close(self):
        """Ends it; raises LabError if a byte was wrong."""
        self._stopping.set()
        self._thread.join()
        self.check()
        self._socket.close()
        if self._upwards:
            return
        said = wait_until(lambda: self._guest.run("cat " + self._result)[1],
                          20, "the guest's end of TCP has compared")
        if "EOF on -" not in said:
            raise LabError("TCP to the guest: " + said.strip())
