# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What a case found, what it should have found, and how to say so.

A Result is one object of the JSON list and one line of the table.  Costs are
such that less is better, so that ratios below 1 are in our favour.
"""

from dataclasses import dataclass, field

# case -> (must, aim): ratios to the stock ports that the project set itself.
TARGETS = {
    "v2v-64-split": (0.60, 0.50),
    "v2v-64-packed": (0.75, 0.55),
    "v2v-1518-split-touched": (0.90, 0.75),
    "v2v-1518-split": (0.75, 0.60),
    "nic-64-tx": (0.70, 0.55),
    "nic-64-rx": (0.70, 0.55),
    "ring-bench-64": (0.40, 0.30),
    "ring-bench-1518": (0.75, 0.65),
    "ring-bare-64": (2.5, 2.0),
    "ring-bare-1518": (1.3, 1.15),
    "idle-255": (0.50, 0.30),
    "latency-50-p99": (0.90, 0.70),
    "link-up": (0.10, 0.02),
    "memory-64-idle": (0.10, 0.05),
}

MEASURED = "measured"
CANNOT_TELL = "cannot tell"
NOT_OFFERED = "not offered"
FAILED = "failed"


@dataclass
class Result:
    """One figure of both sides."""

    case: str
    metric: str
    unit: str
    verdict: str = MEASURED
    note: str = ""
    ours: float = None          # Lower quartiles.
    stock: float = None
    ratio: float = None
    ratio_median: float = None
    windows: int = 0            # Of each side.
    discarded: dict = field(default_factory=dict)
    spread: float = None        # Of the pairwise ratios.
    more: dict = field(default_factory=dict)

    @classmethod
    def of(cls, case, metric, unit, comparison, note=""):
        """Makes a Result of a windows.Comparison."""
        result = cls(case, metric, unit, note=note,
                     ratio=comparison.ratio,
                     ratio_median=comparison.ratio_median,
                     windows=comparison.windows, spread=comparison.spread)
        for side in "ours", "stock":
            result._add_side(side, comparison)
        if comparison.pairs:
            result.more["ratio_low"] = comparison.pairs.low
            result.more["ratio_high"] = comparison.pairs.high
        if comparison.cannot_tell():
            result.verdict = CANNOT_TELL
            if comparison.all_pairs:
                result.more["ratio_disturbed"] = comparison.all_pairs.median
                result.note = "disturbed windows included, the ratio is " \
                    "%.2f" % comparison.all_pairs.median
        return result

    def _add_side(self, side, comparison):
        summary = getattr(comparison, side)
        self.discarded[side] = comparison.discarded(side)
        self.more["reasons_" + side] = comparison.reasons(side)
        if not summary:
            return
        setattr(self, side, summary.low)
        self.more[side + "_median"] = summary.median
        self.more[side + "_high"] = summary.high
        self.more[side + "_spread"] = summary.spread
        for name in comparison.extras():
            self.more["%s_%s" % (side, name)] = comparison.extra(side, name)

    @classmethod
    def without(cls, case, metric, unit, verdict, note):
        """Makes a Result that has no figures."""
        return cls(case, metric, unit, verdict=verdict, note=note)

    def target(self):
        """Returns (must, aim), or None."""
        return TARGETS.get(self.case)

    def reached(self):
        """Returns "aim", "must" or "missed", None without a target or a
        figure."""
        target = self.target()
        if not target or self.verdict != MEASURED or self.ratio is None:
            return None
        must, aim = target
        if self.ratio <= aim:
            return "aim"
        return "must" if self.ratio <= must else "missed"

    def as_json(self):
        """Returns the JSON object."""
        target = self.target() or (None, None)
        known = {"case": self.case, "metric": self.metric, "unit": self.unit,
                 "ours": self.ours, "stock": self.stock, "ratio": self.ratio,
                 "ratio_median": self.ratio_median, "windows": self.windows,
                 "discarded": self.discarded, "spread": self.spread,
                 "verdict": self.verdict, "note": self.note,
                 "must": target[0], "aim": target[1],
                 "reached": self.reached()}
        return {**known, **{name: value for name, value in self.more.items()
                            if name not in known}}

    @classmethod
    def from_json(cls, known):
        """Makes a Result of an object that another program wrote."""
        names = ("case", "metric", "ours", "stock", "ratio", "ratio_median",
                 "windows", "discarded", "spread", "verdict", "note", "unit")
        given = {name: known[name] for name in names if name in known}
        given.setdefault("unit", "")
        return cls(**given, more={name: value for name, value in known.items()
                                  if name not in names})


# Text.

def number(value):
    """Formats a figure with three or four digits that tell something."""
    if value is None:
        return "-"
    if abs(value) >= 1000 or value == int(value):
        return "%.0f" % value
    return "%.1f" % value if abs(value) >= 100 else "%.3g" % value


def _ratio(value):
    return "-" if value is None else "%.2f" % value


def _discarded(result):
    if isinstance(result.discarded, dict):
        return "+".join(str(result.discarded.get(side, 0))
                        for side in ("ours", "stock"))
    return str(result.discarded)


def line(result):
    """Returns what happened in a case, as a sentence."""
    if result.verdict != MEASURED:
        return "%s%s" % (result.verdict,
                         result.note and ": " + result.note.splitlines()[0])
    return "%s by %s %s, ratio %s" % (number(result.ours),
                                      number(result.stock), result.unit,
                                      _ratio(result.ratio))


def lines(found):
    """Returns what happened in a case that has several Results."""
    if len(found) > 4:
        return "%d figures" % len(found)
    return "; ".join(line(result) for result in found)


def table(results):
    """Returns the lines of the table of all results."""
    rows = [("case", "unit", "ours", "stock", "ratio", "median", "spread",
             "windows", "discarded", "must", "aim", "")]
    for result in results:
        must, aim = result.target() or (None, None)
        spread = "-" if result.spread is None \
            else "%.0f %%" % (100 * result.spread)
        rows.append((result.case, result.unit, number(result.ours),
                     number(result.stock), _ratio(result.ratio),
                     _ratio(result.ratio_median), spread,
                     str(result.windows), _discarded(result),
                     _ratio(must) if must else "", _ratio(aim) if aim else "",
                     result.reached() or (
                         "" if result.verdict == MEASURED
                         else result.verdict)))
    widths = [max(len(row[column]) for row in rows)
              for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if column < 2 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row[:-1],
                                                            widths))]
        lines.append(("  ".join(cells) + "  " + row[-1]).rstrip())
    return lines
