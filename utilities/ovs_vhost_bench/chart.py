# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Charts of results, by gnuplot, each as SVG and PNG.

ratios: what each case costs with our ports as a share of what it costs with
the stock ones, with the targets.  cycles: both sides' PMD cycles per packet.
"""

import os

from ovs_vhost_lab.results import gnuplot

from .results import MEASURED
from .traffic import METRIC

WIDTH = 900
ROW_HEIGHT = 24
FRAME_HEIGHT = 120              # Title, axis and key.
TERMINALS = {"svg": "svg size %d,%d dynamic font 'DejaVu Sans,12' "
                    "background '#ffffff'",
             "png": "pngcairo size %d,%d font 'DejaVu Sans,10'"}
OURS, STOCK, MUST, AIM = "#7fb2de", "#b8b8b8", "#c03000", "#107a3c"

COMMON = """
set encoding utf8
set border 3
set grid xtics lc rgb '#dddddd'
set tics nomirror out
set ytics scale 0
set style fill solid 1.0 noborder
set yrange [%(rows)d - 0.3:-0.7]
set bmargin 5
set key below horizontal samplen 1
"""

RATIOS = """
set title 'Costs with ovs-vhost by costs with the stock ports (less is better)'
set xrange [0:%(limit)g]
set arrow from 1, graph 0 to 1, graph 1 nohead lw 1.5 lc rgb '#444444'
$data << END
%(data)s
END
plot $data using ($2/2):0:($2/2):(0.32):ytic(1) with boxxyerror \\
         lc rgb '""" + OURS + """' title 'ratio of the lower quartiles', \\
     $data using 2:0:3:4 with xerrorbars pt 0 lw 1.5 lc rgb '#222222' \\
         title 'quartiles of the pairs', \\
     $data using 5:0 with points pt 7 ps 1 lc rgb '""" + MUST + """' \\
         title 'must', \\
     $data using 6:0 with points pt 7 ps 1 lc rgb '""" + AIM + """' \\
         title 'aim'
"""

CYCLES = """
set title 'PMD cycles per packet, lower quartiles'
set xrange [0:*]
$data << END
%(data)s
END
plot $data using ($2/2):($0-0.17):($2/2):(0.16):ytic(1) with boxxyerror \\
         lc rgb '""" + OURS + """' title 'ovs-vhost', \\
     $data using ($3/2):($0+0.17):($3/2):(0.16) with boxxyerror \\
         lc rgb '""" + STOCK + """' title 'stock ports'
"""


def draw(found, folder):
    """Draws the charts of a list of Results.  Returns the files' paths."""
    os.makedirs(folder, exist_ok=True)
    measured = [result for result in found
                if result.verdict == MEASURED and result.ratio is not None
                and (result.target() or not result.case.startswith("ring-"))]
    paths = []
    if measured:
        limit = max(1.15, 1.1 * max(_ends(result)[1] for result in measured))
        paths += _chart(os.path.join(folder, "ratios"), RATIOS,
                        [_ratio_row(result) for result in measured],
                        limit=min(limit, 2.5))
    cycles = [result for result in measured if result.metric == METRIC]
    if cycles:
        paths += _chart(os.path.join(folder, "cycles"), CYCLES,
                        ["\"%s\" %g %g" % (result.case, result.ours,
                                           result.stock)
                         for result in cycles])
    return paths


def _ends(result):
    return (result.more.get("ratio_low", result.ratio),
            result.more.get("ratio_high", result.ratio))


def _ratio_row(result):
    must, aim = result.target() or ("NaN", "NaN")
    return "\"%s\" %g %g %g %s %s" % (result.case, result.ratio,
                                      *_ends(result), must, aim)


def _chart(base, template, rows, **values):
    paths = []
    height = FRAME_HEIGHT + ROW_HEIGHT * len(rows)
    values.update(rows=len(rows), data="\n".join(rows))
    for kind, terminal in TERMINALS.items():
        path = "%s.%s" % (base, kind)
        gnuplot("set terminal %s\nset output '%s'\n" % (
            terminal % (WIDTH, height), path.replace("'", "''"))
                 + COMMON % values + template % values)
        paths.append(path)
    return paths
