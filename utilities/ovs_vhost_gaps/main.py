# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Runs the cases one after the other, and prints the table.

The script utilities/ovs-vhost-gaps, which documents the options, installs and
builds what this needs.
"""

import os
import sys
import time
import traceback

from ovs_vhost_lab import Build, LabError
from ovs_vhost_lab.cases import option_parser, run_program
from ovs_vhost_lab.results import positive, save_json

from . import table
from .cases import CASES

PROGRAM = "ovs-vhost-gaps"
SIDES = ("ours", "stock")


def run_side(case, name, build, folder, rounds):
    """Runs a case on one side; what goes wrong is in the Side."""
    try:
        return case.run(name, build, folder, rounds)
    except Exception as error:          # The other cases are worth having.
        return table.Side(error=str(error) if isinstance(error, LabError)
                          else traceback.format_exc())


def run_case(case, build, folder, options):
    """Runs a case on both sides and says what it found; returns a Row."""
    found = {}
    for name in SIDES:
        if name in options.side:
            start = time.monotonic()
            side = run_side(case, name, build, os.path.join(folder, name),
                            options.rounds)
            print("%s %s, lost %s (%.1f s)" % (
                name, side.gap_cell(), side.lost_cell(),
                time.monotonic() - start), end="; ", flush=True)
            found[name] = side
        else:
            found[name] = table.Side()
    print(flush=True)
    return table.Row(case, **found)


def run_cases(cases, build, folder, options):
    """Runs the cases and returns their Rows."""
    rows = []
    for number, case in enumerate(cases, 1):
        print("[%2d/%d] %s (%s), ms:" % (number, len(cases), case.name,
                                     case.title), end=" ", flush=True)
        row = run_case(case, build, os.path.join(folder, str(number)),
                       options)
        for name in SIDES:
            for sentence in getattr(row, name).wrong():
                print("    %s: %s" % (name, sentence), flush=True)
            if getattr(row, name).note:
                print("    %s: %s" % (name, getattr(row, name).note))
        rows.append(row)
    return rows


def work(directory, cases, options):
    """The worker's whole life; returns the exit status."""
    start = time.monotonic()
    rows = run_cases(cases,
                     Build(options.build_dir, options.ovs_tree),
                     directory.path, options)
    print("\nMedians of %d rounds; repeated: in all of them.\n"
          % options.rounds)
    print("\n".join((table.markdown if options.markdown
                     else table.text)(rows)))
    if options.json:
        save_json([row.as_json() for row in rows], options.json)
    bad = [row.case.name for row in rows if row.ours.wrong()]
    print("\n%d cases took %.0f s%s" % (
        len(rows), time.monotonic() - start,
        "; with ours something is wrong in: " + " ".join(bad) if bad else ""),
          flush=True)
    return 1 if bad else 0


def parse_options(arguments):
    """Parses what the script did not handle itself; it has the help."""
    parser = option_parser(PROGRAM)
    parser.add_argument("--side", action="append", choices=SIDES)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--rounds", type=positive, default=3)
    options = parser.parse_args(arguments)
    options.side = options.side or SIDES
    return options


def main():
    options = parse_options(sys.argv[1:])
    return run_program(
        PROGRAM, CASES, options,
        lambda directory, cases: work(directory, cases, options))


if __name__ == "__main__":
    sys.exit(main())
