# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Traffic that goes on while something is done to a guest: pings, of which the
longest gap is told, and TCP, of which each byte is compared.

The other end is a station: a network namespace, where this process's threads
have their sockets.
"""

import hashlib
import random
import socket
import threading
import time

from .process import LabError, enter_netns, popen, scaled, wait_until

PIECE = 65536                   # Bytes between pauses of a TCP transfer.
PAUSE = 0.004
BLOCK = random.Random(1).getrandbits(8 * PIECE).to_bytes(PIECE, "big")


class Pinger:
    """Pings a guest from a namespace twenty times a second and notes when each
    answer came."""

    def __init__(self, netns, busybox, address):
        self._answers = []
        self._child = popen([busybox, "ping", "-i", "0.05", address], netns,
                            stdout=-1, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._child.stdout:
            if "bytes from" in line:
                self._answers.append(time.monotonic())

    def wait(self):
        """Waits for an answer."""
        start = time.monotonic()
        wait_until(lambda: self._answers and self._answers[-1] > start, 30,
                   "the guest answers a ping")

    def longest_gap(self, start):
        """Returns the longest time without an answer since 'start'."""
        times = [start] + [each for each in self._answers if each > start]
        return max(after - before for before, after
                   in zip(times, times[1:] + [time.monotonic()]))

    def close(self):
        self._child.kill()
        self._child.wait()
        self._reader.join()
        self._child.stdout.close()


class Transfer(threading.Thread):
    """A TCP connection to or from the guest.  Its thread, which moves to the
    station's namespace, runs run_in_netns()."""

    def __init__(self, netns, port):
        super().__init__(daemon=True)
        self._netns = netns
        self.port = port
        self.n_bytes = 0
        self.error = None
        self.ending = False

    def run(self):
        try:
            enter_netns(self._netns.fileno())
            self.run_in_netns()
        except (OSError, LabError) as error:
            self.error = "TCP, port %d: %s" % (self.port, error)

    def check(self):
        if self.error:
            raise LabError(self.error)

    def wait(self, more=20 * PIECE):
        """Waits until 'more' bytes were transferred."""
        wanted = self.n_bytes + more

        def arrived():
            self.check()
            return self.n_bytes >= wanted
        wait_until(arrived, 60, "TCP, port %d, goes on" % self.port)

    def join_and_check(self):
        self.join(scaled(60))
        if self.is_alive():
            raise LabError("TCP, port %d: no end" % self.port)
        self.check()


class Upward(Transfer):
    """The guest, which has BLOCK in its file /block, sends that again and
    again to the station's 'address'; each byte is compared.  A file /tmp/stop
    in the guest ends it."""

    def __init__(self, guest, netns, address, port):
        super().__init__(netns, port)
        self._address = address
        self._listening = threading.Event()
        self.start()
        self._listening.wait(10)
        guest.check("setsid sh -c 'while [ ! -e /tmp/stop ]; do cat /block; "
                    "done | nc %s %d' >/dev/null 2>&1 &" % (address, port))

    def run_in_netns(self):
        with socket.create_server((self._address, self.port)) as server:
            self._listening.set()
            server.settimeout(scaled(30))
            connection, _ = server.accept()
        with connection:
            connection.settimeout(scaled(60))
            while True:
                data = connection.recv(PIECE)
                if not data:
                    break
                self._compare(data)
                time.sleep(PAUSE)
        if self.n_bytes % PIECE:
            raise LabError("it ended in the midst of a block")

    def _compare(self, data):
        at = self.n_bytes % PIECE
        expected = (BLOCK[at:] + BLOCK[:at])[:len(data)]
        if data != expected:
            wrong = next(i for i, (a, b) in enumerate(zip(data, expected))
                         if a != b)
            raise LabError("byte %d is wrong" % (self.n_bytes + wrong))
        self.n_bytes += len(data)

    def finish(self):
        """Waits for the end, after the guest was told."""
        self.join_and_check()


class Downward(Transfer):
    """The station sends random bytes to the guest's 'address', and the guest
    says what their digest is."""

    def __init__(self, guest, netns, address, port):
        super().__init__(netns, port)
        self._address = address
        guest.check("setsid nc -l -p %d -e sha256sum >/dev/null 2>&1 & "
                    "until netstat -ltn | grep -q :%d; do sleep .1; done"
                    % (port, port))
        self.start()

    def run_in_netns(self):
        digest = hashlib.sha256()
        generator = random.Random(self.port)
        with socket.create_connection((self._address, self.port),
                                      scaled(30)) as connection:
            connection.settimeout(scaled(60))
            while not self.ending:
                data = generator.getrandbits(8 * PIECE).to_bytes(PIECE, "big")
                connection.sendall(data)
                digest.update(data)
                self.n_bytes += len(data)
                time.sleep(PAUSE)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                data = connection.recv(4096)
                if not data:
                    break
                answer += data
        if answer.split()[:1] != [digest.hexdigest().encode()]:
            raise LabError("the guest has other bytes")

    def finish(self):
        self.ending = True
        self.join_and_check()
