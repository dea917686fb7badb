# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The table as a chart, by gnuplot: a panel for each figure, a bar for each
rung, as SVG and PNG."""

import math
import os

from ovs_vhost_lab.results import gnuplot

from .report import FIGURES

PANELS = ("tcp_mbps", "kpps", "rtt_us", "switch_ns")
WIDTH = 1100
LABELS = 0.2                    # Share of the width.
ROW_HEIGHT = 22
FRAME_HEIGHT = 110
TERMINALS = {"svg": "svg size %d,%d dynamic font 'DejaVu Sans,11' "
                    "background '#ffffff'",
             "png": "pngcairo size %d,%d font 'DejaVu Sans,9'"}

SCRIPT = """
set terminal %(terminal)s
set output '%(path)s'
set multiplot title \\
    'Ways to give a guest a NIC, on one switch%(emulated)s'
set border 3
set grid xtics lc rgb '#dddddd'
set tics nomirror out
set ytics scale 0
set style fill solid 1.0 noborder
set yrange [%(rows)d - 0.4:-0.6]
set tmargin 4
set bmargin 2
unset key
%(plots)s
unset multiplot
"""

PLOT = """
$%(name)s << END
%(data)s
END
set title '%(title)s, %(unit)s'
set lmargin at screen %(left)g
set rmargin at screen %(right)g
set xrange [0:%(limit)g]
set xtics %(step)g
plot $%(name)s using ($2/2):0:($2/2):(0.35):ytic(%(ticks)s) \\
    with boxxyerror lc rgb '#7fb2de'
"""


def draw(rows, folder, emulated):
    """Draws the chart of a list of Rows, whose guests are 'emulated' or not;
    returns the files' paths."""
    os.makedirs(folder, exist_ok=True)
    panels = [name for name in PANELS
              if any(row.median(name) is not None for row in rows)]
    if not panels:
        return []
    paths = []
    size = WIDTH, FRAME_HEIGHT + ROW_HEIGHT * len(rows)
    for kind, terminal in TERMINALS.items():
        path = os.path.join(folder, "matrix." + kind)
        gnuplot(SCRIPT % {
            "terminal": terminal % size, "path": path.replace("'", "''"),
            "rows": len(rows), "emulated": emulated * ", guests emulated",
            "plots": "".join(_plot(rows, name, number, len(panels))
                             for number, name in enumerate(panels))})
        paths.append(path)
    return paths


def _plot(rows, name, number, panels):
    """Returns the commands for the panel 'number' of 'panels'; the first one
    names the rungs."""
    title, unit, _ = FIGURES[name]
    limit = 1.05 * max(row.median(name) or 0 for row in rows) or 1
    step = limit / 4
    digit = 10 ** math.floor(math.log10(step))
    width = (1 - LABELS) / panels
    left = LABELS + number * width
    data = "\n".join("\"%s\" %s" % (row.rung.name,
                                    "NaN" if row.median(name) is None
                                    else "%g" % row.median(name))
                     for row in rows)
    return PLOT % {"name": name, "data": data, "title": title, "unit": unit,
                   "limit": limit, "step": math.ceil(step / digit) * digit,
                   "left": left, "right": left + 0.85 * width,
                   "ticks": "''" if number else "strcol(1)"}
