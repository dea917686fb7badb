# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""From the moment a guest's socket appears to the moment its port is up.

The guest listens under another name first and is given the right one by
rename(2), so that the moment is known.  That the port is up is what the
database says, which tells us when it changes.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass

from ovs_vhost_lab import LabError, wait_until

from . import host, results
from .jsonrpc import JsonRpc
from .windows import Window

PORT = "a"

# Who looks for the socket by a clock does so each second, and begins anew when
# the side is resumed.  So a trial takes longer than that, and the trials fall
# on evenly spread moments of that second, for any number of them.
PERIOD = 1.0
STEP = 0.618034


@dataclass(frozen=True)
class LinkUp:
    """A port that connects to its guest's socket."""

    name: str = "link-up"
    title: str = "socket appears to link up"
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        count = max(bench.settings.windows // 5, 6)
        trials = Counter()

        def measure(side):
            trials[side.name] += 1
            return trial(side, PERIOD * (1 + trials[side.name] * STEP % 1))
        found = bench.compare(lambda side: side.add_vhost_ports(PORT), measure,
                              windows=count, rounds=1)
        return [results.Result.of(self.name, "socket_to_link_up", "ms",
                                  found)]


class LinkMonitor:
    """Hears from the database of each change of a port's link."""

    def __init__(self, side, port):
        self._port = port
        self._rpc = JsonRpc(side.switch.db[len("unix:"):])
        columns = {"Interface": [{"columns": ["name", "link_state"]}]}
        self._note(self._rpc.call("monitor", "Open_vSwitch", None, columns))

    def close(self):
        self._rpc.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _note(self, tables):
        for row in tables.get("Interface", {}).values():
            new = row.get("new", {})
            if new.get("name") == self._port:
                self.state = new["link_state"]

    def wait(self, state, timeout=10):
        """Waits until the link is 'state'; returns when that was heard."""
        limit = time.monotonic() + timeout
        while self.state != state:
            if time.monotonic() > limit:
                raise LabError("port %s is not %s within %g s"
                               % (self._port, state, timeout))
            message = self._rpc.receive()
            if message.get("method") == "update":
                self._note(message["params"][1])
        return time.monotonic()


def trial(side, delay):
    """Lets a guest appear, once, 'delay' seconds after the side was resumed;
    returns a Window in milliseconds."""
    resumed = time.monotonic()
    with side.running(), LinkMonitor(side, PORT) as link:
        link.wait("down")
        hidden = side.socket(PORT) + ".new"
        guest = side.start_guest("discard:%s,server" % hidden)
        wait_until(lambda: guest.check_running() or os.path.exists(hidden), 5,
                   "the guest listens", interval=0.002)
        time.sleep(max(0.0, resumed + delay - time.monotonic()))
        steal = host.steal_ticks((side.cpus.guests,))
        start = time.monotonic()
        os.rename(hidden, side.socket(PORT))
        took = link.wait("up") - start
        stolen = host.steal_ticks((side.cpus.guests,)) - steal
        guest.kill()
        side.guests.remove(guest)
        os.unlink(side.socket(PORT))
        link.wait("down")
    return Window(1000 * took, ("steal",) if stolen else ())
