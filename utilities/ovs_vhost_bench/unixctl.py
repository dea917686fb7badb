# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""ovs-vswitchd's counters as numbers.

Starting ovs-appctl costs milliseconds of the guests' CPU for each question,
and the benchmark asks before and after each window.  So this asks on one
connection that stays (a JsonRpc to the control socket), which takes a fraction
of a millisecond.
"""

import re
from dataclasses import dataclass, fields

@dataclass
class PmdCounters:
    """A PMD's counters since its start.  Cycles are TSC cycles."""

    packets: int = 0            # Received from ports.
    busy: int = 0               # Cycles of iterations that moved packets.
    idle: int = 0               # Cycles of those that did not.
    iterations: int = 0
    idle_iterations: int = 0

    def since(self, earlier):
        """Returns the differences to an earlier value.  Counters may go
        through 0: if the CPUs' TSCs differ, a PMD that was moved to its CPU
        begins with an iteration of negative length."""
        return PmdCounters(*((getattr(self, field.name)
                              - getattr(earlier, field.name)) % (1 << 64)
                             for field in fields(self)))


def _number(text, pattern):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def pmd_counters(control, core, reverse=False):
    """Returns the PmdCounters of the PMD on 'core'.  The iterations come from
    a question of their own, asked after the other one, or before it if
    'reverse'."""
    questions = [("dpif-netdev/pmd-stats-show", "-pmd", str(core)),
                 ("dpif-netdev/pmd-perf-show", "-nh", "-pmd", str(core))]
    if reverse:
        questions.reverse()
    text = "\n".join(control.call(*question) for question in questions)
    return PmdCounters(_number(text, r"packets received: (\d+)"),
                       _number(text, r" processing cycles: (\d+) \("),
                       _number(text, r" idle cycles: (\d+) \("),
                       _number(text, r"Iterations: +(\d+)"),
                       _number(text, r"- idle iterations: +(\d+)"))


def iteration_lengths(control, core):
    """Returns {cycles: iterations that were not longer, but longer than the
    next lower number} of the PMD on 'core'.  Iterations that are longer than
    all that are not counted."""
    text = control.call("dpif-netdev/pmd-perf-show", "-pmd", str(core))
    _, _, table = text.partition("cycles/it ")
    rows = re.findall(r"^ +(\d+) +(\d+) ", table.partition("---")[0], re.M)
    return {int(wall): int(count) for wall, count in rows}


def time_quantile(lengths, share):
    """Returns the length of iteration, in cycles, that a random moment finds
    at most, with probability 'share'; interpolated within the steps.
    'lengths' are differences of what iteration_lengths() returns."""
    walls = sorted(lengths)
    parts = [(low, high, lengths[high] * (low * high) ** 0.5)
             for low, high in zip([walls[0] / 2] + walls, walls)]
    left = share * sum(part for _, _, part in parts)
    for low, high, part in parts:
        if part and left <= part:
            return low * (high / low) ** (left / part)
        left -= part
    return float(walls[-1])


@dataclass
class PortCounters:
    """A port's statistics, as the switch sees them."""

    rx_packets: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_dropped: int = 0
    known: bool = True          # False: the port could not say.


def port_counters(control):
    """Returns {port: PortCounters} of the userspace datapath, read from the
    ports now (the database's are up to five seconds old)."""
    text = control.call("dpctl/show", "-s")
    return {block.split()[0]: PortCounters(
                _number(block, r"RX packets:(\d+)"),
                _number(block, r"RX bytes:(\d+)"),
                _number(block, r"TX packets:(\d+)"),
                _number(block, r"TX bytes:(\d+)"),
                _number(block, r"TX packets:\d+ errors:\S+ dropped:(\d+)"),
                "RX packets:" in block)
            for block in re.split(r"  port \d+: ", text)[1:]}
