# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What every case needs: both sides, windows in rounds, and the settings.

The windows of a case are spread over some rounds, each with new processes on
both sides: where a process's memory happens to lie makes a difference of some
percent that no number of windows in one process would show.
"""

import contextlib
import itertools
import os
from dataclasses import dataclass

from .side import OURS, STOCK, Cpus, Side, cycles_per_packet
from .windows import Comparison, quantile


@dataclass
class Settings:
    """What the user chose."""

    windows: int = 100          # Of each side.
    window_seconds: float = 0.1
    rounds: int = 4
    quick: bool = False
    cpus: Cpus = Cpus()


class Bench:
    """Runs cases in 'folder' with the programs of 'build'.  'watch' is called
    with (windows done, windows in all) as a case goes on, 'note' with a side's
    name and each Window of it."""

    def __init__(self, build, folder, settings, watch=None, note=None):
        self.build = build
        self.folder = folder
        self.settings = settings
        self._watch = watch or (lambda done, total: None)
        self._note = note or (lambda side, window: None)
        self._numbers = itertools.count(1)
        self._stock_rate = None

    def side(self, name, types=None, **kwargs):
        """Returns a Side, not started, in a new directory."""
        folder = os.path.join(self.folder, str(next(self._numbers)))
        if types is None:
            types = OURS if name == "ours" else STOCK
        return Side(name, types, self.build, folder, self.settings.cpus,
                    **kwargs)

    def stock_rate(self, prepare):
        """Returns the packets per second that the stock side forwards with
        what prepare(side) starts, measured once in a run."""
        if self._stock_rate is None:
            with self.side("stock") as side:
                side.start()
                prepare(side)
                rates = [side.window(0.1, cycles_per_packet).extra["mpps"]
                         for _ in range(9)]
            self._stock_rate = 1e6 * quantile(rates, 0.5)
        return self._stock_rate

    @contextlib.contextmanager
    def pair(self, prepare, types=(OURS, STOCK), **kwargs):
        """Starts both sides, runs prepare(side) for each and pauses it;
        yields them."""
        with contextlib.ExitStack() as stack:
            sides = []
            for name, kind in zip(("ours", "stock"), types):
                side = stack.enter_context(self.side(name, kind, **kwargs))
                side.start()
                prepare(side)
                side.pause()
                sides.append(side)
            yield sides

    def compare(self, prepare, measure, **kwargs):
        """Measures windows of both sides in turn, in rounds: measure(side)
        returns one.  Returns the Comparison.  'kwargs' are those of
        compare_all()."""
        return self.compare_all(prepare, {"": measure}, **kwargs)[""]

    def compare_all(self, prepare, measures, windows=None, rounds=None,
                    **kwargs):
        """The same for several things to measure, {name: function}, on the
        same processes.  'windows' and 'rounds' are instead of what the user
        chose, the other 'kwargs' those of pair().  Returns {name:
        Comparison}."""
        windows = windows or self.settings.windows
        kept = {name: {"ours": [], "stock": []} for name in measures}
        done = 0
        for count in shares(windows, rounds or self.settings.rounds):
            with self.pair(prepare, **kwargs) as sides:
                for _ in range(count):
                    for name, measure in measures.items():
                        for side in sides:
                            window = measure(side)
                            kept[name][side.name].append(window)
                            self._note(side.name + " " + name, window)
                    done += 1
                    self._watch(done, windows)
        return {name: Comparison(each["ours"], each["stock"])
                for name, each in kept.items()}


def shares(total, count):
    """Splits 'total' into at most 'count' nearly equal numbers."""
    count = min(count, total)
    return [total * (number + 1) // count - total * number // count
            for number in range(count)]
