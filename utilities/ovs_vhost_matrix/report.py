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
    "rtt_us": ("round trip", "us", 0),
    "switch_ns": ("switch CPU", "ns/packet", 0),
    "exits": ("accesses", "/round trip", 1),
    "kicks": ("kicks", "/packet", 3),
    "interrupts": ("interrupts", "/packet", 3),
}


@dataclass
class Row:
    """A rung and what was measured of it, {figure: [values]}."""

    rung: object
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


def save_json(rows, path, **more):
    """Writes an object per rung, under its name, and 'more' beside them."""
    rungs = {row.rung.name: {
        "title": row.rung.title,
        **{name: row.median(name) for name in FIGURES},
        "samples": row.samples, "errors": row.errors} for row in rows}
    results.save_json({"rungs": rungs, **more}, path)
