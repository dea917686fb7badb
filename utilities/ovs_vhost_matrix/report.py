# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What was found, as text, JSON and a chart."""

import statistics
from dataclasses import dataclass, field

from ovs_vhost_lab import results

# Name -> (title, unit, digits); the order of the table.
FIGURES = {
    "tcp_mbps": ("TCP", "Mbit/s", 0),
    "kpps": ("packets", "k/s", 1),
    "lost": ("lost", "%", 0),
    "rtt_us": ("round trip", "us", 0),
    "switch_ns": ("switch CPU", "ns/packet", 0),
    "exits": ("accesses", "/round trip", 1),
    "kicks": ("kicks", "/packet", 3),
    "interrupts": ("interrupts", "/packet", 3),
}


NOTES = {
    "tcg": "Guests are emulated, without KVM: they are many times slower than "
           "the switch, and limit TCP and packets per second; what leaves a "
           "guest costs little.  Absolute values say little: compare within "
           "a run only.",
    "kvm": "Guests run with KVM.  Compare within a run only.",
}


@dataclass
class Row:
    """A rung and what was measured of it, {figure: [values]}.

    'facts' are what guests and switch say the rung is: the driver of the
    guests' NICs, and the type of the switch's ports."""

    rung: object
    facts: dict = field(default_factory=dict)
    samples: dict = field(default_factory=dict)
    errors: list = field(default_factory=list)

    def add(self, sample):
        """Adds a sample, {figure: value or None}."""
        for name, value in sample.items():
            if value is not None:
                self.samples.setdefault(name, []).append(value)

    def median(self, name):
        """Returns the median of a figure, or None."""
        values = self.samples.get(name)
        return statistics.median(values) if values else None

    def cell(self, name):
        """Returns a figure as text."""
        value = self.median(name)
        return "-" if value is None else "%.*f" % (FIGURES[name][2], value)


def text(rows):
    """Returns the table as lines."""
    head = [["", *(title for title, _, _ in FIGURES.values())],
            ["rung", *(unit for _, unit, _ in FIGURES.values())]]
    body = [[row.rung.name, *map(row.cell, FIGURES)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*head, *body)]
    lines = ["  ".join([cells[0].ljust(widths[0])]
                       + [cell.rjust(width) for cell, width
                          in zip(cells[1:], widths[1:])]).rstrip()
             for cells in head + body]
    return lines + ["%s: %s" % (row.rung.name, error)
                    for row in rows for error in row.errors]


def notes(accelerators):
    """Returns what has to be known of values with such guests."""
    return " ".join(NOTES[each] for each in sorted(accelerators))


def save_json(rows, path, accelerators, rounds):
    """Writes an object per rung, under its name, and beside them what holds
    for all."""
    rungs = {row.rung.name: {
        "name": row.rung.name, "title": row.rung.title, **row.facts,
        **{name: row.median(name) for name in FIGURES},
        "samples": row.samples, "errors": row.errors} for row in rows}
    units = {name: unit for name, (_, unit, _) in FIGURES.items()}
    results.save_json({"rungs": rungs, "units": units, "rounds": rounds,
                       "accelerator": "+".join(sorted(accelerators)),
                       "note": notes(accelerators)}, path)
