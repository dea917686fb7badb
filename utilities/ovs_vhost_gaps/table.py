# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What the cases found: as a table, and as JSON."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Side:
    """What the rounds of a case found on one side."""

    rounds: list = field(default_factory=list)
    left: list = field(default_factory=list)    # Left behind.
    stuck: bool = False         # Traffic did not come back.
    note: str = ""
    error: str = ""             # The case could not be run.

    def add(self, interruption):
        self.rounds.append(interruption)
        self.stuck |= interruption.seconds is None

    def _median(self, name):
        values = [getattr(each, name) for each in self.rounds
                  if each.seconds is not None]
        return statistics.median(values) if values else None

    def milliseconds(self):
        """Returns the median gap; None if there is none."""
        seconds = self._median("seconds")
        return None if seconds is None else 1000 * seconds

    def lost(self):
        return self._median("lost")

    def repeated(self):
        """Returns the frames that came twice, in all rounds."""
        return sum(each.repeated for each in self.rounds)

    def wrong(self):
        """Returns what must not be, as a list of sentences."""
        corrupt = sum(each.corrupt for each in self.rounds)
        found = [self.error] if self.error else []
        if self.stuck:
            found.append("traffic did not come back")
        if self.repeated():
            found.append("%d frames came twice" % self.repeated())
        if corrupt:
            found.append("%d frames were corrupt" % corrupt)
        return found + ["left behind: " + what for what in self.left]

    def as_json(self):
        return {"gap_ms": self.milliseconds(), "lost": self.lost(),
                "repeated": self.repeated(), "came_back": not self.stuck,
                "left": self.left, "note": self.note, "error": self.error,
                "rounds": [{"gap_ms": each.seconds and 1000 * each.seconds,
                            "lost": each.lost, "repeated": each.repeated,
                            "reordered": each.reordered,
                            "corrupt": each.corrupt} for each in self.rounds]}

    # Cells.

    def gap_cell(self):
        if self.error:
            return "failed"
        if self.stuck:
            return "never"
        value = self.milliseconds()
        return "-" if value is None else number(value)

    def lost_cell(self):
        value = self.lost()
        return "-" if value is None or self.stuck else "%.0f" % value


def number(value):
    """Formats milliseconds with as many digits as mean anything."""
    if value >= 100:
        return "%.0f" % value
    return "%.1f" % value if value >= 10 else "%.2f" % value


@dataclass
class Row:
    """A case's results."""

    case: object
    ours: Side
    stock: Side

    def as_json(self):
        return {"case": self.case.name, "what": self.case.title,
                "ours": self.ours.as_json(), "stock": self.stock.as_json()}


HEAD = ("case", "gap, ms", "stock", "lost", "stock", "repeated", "stock")


def cells(row):
    """Returns a row's cells, as HEAD has them."""
    return (row.case.name, row.ours.gap_cell(), row.stock.gap_cell(),
            row.ours.lost_cell(), row.stock.lost_cell(),
            str(row.ours.repeated()), str(row.stock.repeated()))


def text(rows):
    """Returns the lines of the table."""
    table = [HEAD] + [cells(row) for row in rows]
    widths = [max(len(line[column]) for line in table)
              for column in range(len(HEAD))]
    return ["  ".join([line[0].ljust(widths[0])]
                      + [cell.rjust(width) for cell, width
                         in zip(line[1:], widths[1:])]) for line in table]


def markdown(rows):
    """Returns the lines of the table for a document."""
    lines = ["| case | what | gap, ms | stock | lost | stock | repeated | "
             "stock |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        found = cells(row)
        lines.append("| `%s` | %s | %s |" % (found[0], row.case.title,
                                             " | ".join(found[1:])))
    return lines
