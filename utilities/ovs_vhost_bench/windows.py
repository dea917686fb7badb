# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Two sides measured in turn, in many short windows, and what that says.

The machines this runs on are shared: the same case costs 225 cycles in one
minute and 1100 in another.  So both sides are measured in windows that follow
each other closely (A B A B ...), a window that was disturbed is discarded, and
what is left is compared by lower quartiles, which a disturbance that went
unseen changes least, by medians, and pair by pair.
"""

from collections import Counter
from dataclasses import dataclass, field

# More discarded windows than this, on either side, and the case says nothing.
MAX_DISCARDED = 0.20


@dataclass
class Window:
    """One measurement of one side.  'reasons' says why it has to be discarded
    and is empty if it does not; 'extra' has further figures."""

    value: float
    reasons: tuple = ()
    extra: dict = field(default_factory=dict)


def quantile(values, share):
    """Returns the value below which 'share' of 'values' lie, interpolated.
    There must be at least one."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@dataclass
class Summary:
    """Quartiles of some values."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values):
        """Returns the Summary of 'values', or None if there are none."""
        if not values:
            return None
        return cls(*(quantile(values, share) for share in (0.25, 0.5, 0.75)))

    @property
    def spread(self):
        """Distance of the quartiles as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


class Comparison:
    """What the windows of both sides say."""

    def __init__(self, ours, stock):
        self._sides = {"ours": ours, "stock": stock}
        self.windows = len(ours)
        self.ours = Summary.of(self.values("ours"))
        self.stock = Summary.of(self.values("stock"))
        self.pairs = Summary.of([
            one.value / other.value for one, other in zip(ours, stock)
            if not one.reasons and not other.reasons and other.value])
        self.all_pairs = Summary.of([
            one.value / other.value for one, other in zip(ours, stock)
            if other.value])

    def values(self, side):
        """Returns what the kept windows of 'side' measured."""
        return [window.value for window in self._sides[side]
                if not window.reasons]

    def of(self, name):
        """Returns the Comparison of a further figure of the same windows."""
        return Comparison(*([Window(window.extra[name], window.reasons)
                             for window in windows]
                            for windows in self._sides.values()))

    def extra(self, side, name):
        """Returns the median of a further figure, None without any."""
        kept = [window.extra[name] for window in self._sides[side]
                if not window.reasons and name in window.extra]
        return quantile(kept, 0.5) if kept else None

    def extras(self):
        """Returns the names of the further figures."""
        return sorted({name for windows in self._sides.values()
                       for window in windows for name in window.extra})

    def discarded(self, side):
        """Returns how many windows of 'side' were discarded."""
        return sum(bool(window.reasons) for window in self._sides[side])

    def reasons(self, side):
        """Returns {reason: number of windows}."""
        return dict(Counter(reason for window in self._sides[side]
                            for reason in window.reasons))

    @property
    def ratio(self):
        """Ours by stock, of the lower quartiles; None if there is none."""
        if not self.ours or not self.stock or not self.stock.low:
            return None
        return self.ours.low / self.stock.low

    @property
    def ratio_median(self):
        """Median of the ratios of neighbouring windows."""
        return self.pairs.median if self.pairs else None

    @property
    def spread(self):
        """Spread of the ratios of neighbouring windows."""
        return self.pairs.spread if self.pairs else None

    def cannot_tell(self):
        """Tells whether too many windows were discarded."""
        limit = MAX_DISCARDED * self.windows
        return self.ratio is None or any(self.discarded(side) > limit
                                         for side in self._sides)

