# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The load: numbered frames at a rate, and the books about them.

An ovs-vhost-guest sends and receives.  It keeps the longest time that a stream
was not heard of, and tells on SIGUSR1; see ovs-vhost-guest(1).
"""

import json
import os
import signal
from dataclasses import dataclass

from ovs_vhost_lab import LabError, Process, wait_until


@dataclass
class Books:
    """What all sinks together have seen: since the run began, but for the
    times, which are since the last Books."""

    received: list              # Frames, by port.
    connects: list              # Connections made, by port.
    lost: int
    repeated: int
    reordered: int
    corrupt: int
    longest: float              # Seconds without a frame.
    p999: float                 # 99.9 % of times between frames.
    stops: int                  # Stops of a port's rings.

    @classmethod
    def of(cls, told):
        """Makes Books of what SIGUSR1 prints."""
        sinks = [port for port in told["ports"] if "gap_ns" in port]

        def total(name):
            return sum(port[name] for port in sinks)

        def most(name):
            return max((port["gap_ns"][name] for port in sinks),
                       default=0) / 1e9
        return cls([port["rx_frames"] for port in sinks],
                   [port["connects"] for port in told["ports"]],
                   total("gaps"), total("duplicates"), total("reordered"),
                   total("corrupt"), most("max"), most("p99.9"),
                   told["stop_ns"]["samples"])


class Load:
    """An ovs-vhost-guest with 'ports', its arguments, sending 'rate' frames a
    second from each generator.  'words' are more of its options."""

    def __init__(self, bed, name, rate, ports, words=()):
        program = os.path.join(bed.build.path, "utilities", "ovs-vhost-guest")
        self._log = os.path.join(bed.folder, name + ".log")
        self._process = Process(name, [
            program, "--progress=0", "--connect-timeout=0", "--settle=0",
            "--rate=%d" % rate, *words, *ports], self._log)
        bed.loads.append(self)
        wait_until(self._takes_signals, 10, "the load starts")

    def _takes_signals(self):
        """Tells whether SIGUSR1 would not end it: its threads are there, and
        before them it has seen to signals."""
        self._process.check_running()
        return len(os.listdir("/proc/%d/task" % self._process.pid)) > 1

    def check_running(self):
        """Raises LabError if it has ended."""
        self._process.check_running()

    def books(self):
        """Returns the Books up to now."""
        start = os.path.getsize(self._log)
        self._process.kill(signal.SIGUSR1)

        def told():
            self._process.check_running()
            with open(self._log) as stream:
                stream.seek(start)
                for line in stream:
                    if line.startswith("{") and line.endswith("\n"):
                        return json.loads(line)
            return None
        return Books.of(wait_until(told, 10, "the load's books",
                                   interval=0.005))

    def end(self):
        """Ends it in order, so that its guests reset their devices."""
        self._process.end()

    def kill(self):
        """Kills it, if it has not ended."""
        self._process.kill()


@dataclass
class Interruption:
    """What one interruption did to the load."""

    seconds: float              # Without a frame; None: it did not come back.
    lost: int
    repeated: int
    reordered: int
    corrupt: int


def interrupted(load, action, rate, limit, done=None):
    """Runs 'action' under 'load' and waits until each sink gets frames again,
    for at most 'limit' seconds.  Returns an Interruption.

    'done', if given, is called with the first and the latest Books until it
    says that what the guest does by itself has happened."""
    first = load.books()
    longest = 0.0
    marks = []

    def note():
        nonlocal longest
        books = load.books()
        longest = max(longest, books.longest)
        return books

    action()
    if done:
        wait_until(lambda: done(first, note()), limit, "what was to happen")
    marks.append(note())
    enough = max(rate // 10, 2)

    def resumed():
        marks.append(note())
        return all(now - then >= enough for now, then
                   in zip(marks[-1].received, marks[0].received))
    try:
        wait_until(resumed, limit, "traffic resumes")
        seconds = max(0.0, longest - 1 / rate)
    except LabError:
        load.check_running()
        seconds = None
    last = marks[-1]
    return Interruption(seconds, last.lost - first.lost,
                        last.repeated - first.repeated,
                        last.reordered - first.reordered,
                        last.corrupt - first.corrupt)
