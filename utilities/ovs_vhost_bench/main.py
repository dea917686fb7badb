# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Runs the cases one after the other, and says what they found.

The script utilities/ovs-vhost-bench, which documents the options, installs and
builds what this needs.
"""

import os
import sys
import time
import traceback

from ovs_vhost_lab import Build, LabError
from ovs_vhost_lab.cases import option_parser, run_program
from ovs_vhost_lab.results import positive, save_json

from . import chart, host, results
from .bench import Bench, Settings
from .cases import CASES
from .side import Cpus

PROGRAM = "ovs-vhost-bench"
QUICK_WINDOWS, QUICK_MS, QUICK_ROUNDS = 24, 50, 2


class Progress:
    """A line for each case: on a terminal it changes while the case runs."""

    def __init__(self, total):
        self._total = total
        self._done = 0
        self._text = ""
        self._start = 0.0
        self._terminal = sys.stdout.isatty()

    def begin(self, case):
        self._done += 1
        self._start = time.monotonic()
        self._text = "[%2d/%d] %s (%s) ..." % (self._done, self._total,
                                               case.name, case.title)
        if not self._terminal:
            print(self._text, end=" ", flush=True)

    def watch(self, done, total):
        if self._terminal:
            print("\r\033[K%s %d of %d" % (self._text, done, total), end="",
                  flush=True)

    def window(self, side, window):
        """For --verbose: each window in a line."""
        print("\n    %-6s %9.2f  %s  %s" % (
            side, window.value,
            "  ".join("%s %.4g" % item
                      for item in sorted(window.extra.items())),
            ",".join(window.reasons)), end="", flush=True)

    def end(self, found):
        print("%s%s (%.1f s)" % (
            "\r\033[K%s " % self._text if self._terminal else "",
            results.lines(found),
            time.monotonic() - self._start), flush=True)


def run_cases(cases, bench, progress):
    """Runs the cases and returns all Results."""
    found = []
    for case in cases:
        progress.begin(case)
        try:
            each = case.run(bench)
        except Exception as error:      # The other cases are worth having.
            text = str(error) if isinstance(error, LabError) \
                else traceback.format_exc()
            each = [results.Result.without(case.name, "", "", results.FAILED,
                                           text)]
        progress.end(each)
        for result in each:
            if result.verdict == results.FAILED:
                print(result.note, flush=True)
        found += each
    return found


def explain(found, settings):
    """Prints the table and how to read it."""
    print("\nLower quartiles of %d windows of %.0f ms a side, in turn, PMD on"
          " CPU %d, the rest on CPU %d." % (
              settings.windows, 1000 * settings.window_seconds,
              settings.cpus.pmd, settings.cpus.guests))
    print("Ratios are ours by stock, below 1 is better; median and spread "
          "(quartiles) are of\nthe ratios of neighbouring windows.\n")
    print("\n".join(results.table(found)))
    targets = [result for result in found if result.reached()]
    if targets:
        print("\n%d targets: %s" % (len(targets), ", ".join(
            "%s %d" % (word, sum(result.reached() == word
                                 for result in targets))
            for word in ("aim", "must", "missed"))))


def save(found, options):
    """Writes the files that were asked for."""
    if options.json:
        save_json([result.as_json() for result in found], options.json)
        print("results: %s" % options.json)
    if options.chart:
        print("charts: %s" % " ".join(chart.draw(found, options.chart)))


def work(directory, cases, options):
    """The worker's whole life; returns the exit status."""
    settings = make_settings(options)
    host.raise_limits()
    host.settle(settings.cpus.guests)
    progress = Progress(len(cases))
    bench = Bench(Build(options.build_dir, options.ovs_tree), directory.path,
                  settings, progress.watch,
                  progress.window if options.verbose else None)
    with host.alone(lambda: print("waiting for another benchmark to end",
                                  flush=True)):
        start = time.monotonic()
        found = run_cases(cases, bench, progress)
    explain(found, settings)
    save(found, options)
    print("%d cases took %.0f s" % (len(cases), time.monotonic() - start),
          flush=True)
    return 1 if any(result.verdict == results.FAILED
                    for result in found) else 0


def make_settings(options):
    """Makes Settings of the options."""
    settings = Settings(cpus=Cpus(options.pmd_cpu, options.guest_cpu))
    if options.quick:
        settings.quick = True
        settings.windows = QUICK_WINDOWS
        settings.window_seconds = QUICK_MS / 1000
        settings.rounds = QUICK_ROUNDS
    if options.windows:
        settings.windows = options.windows
    if options.window_ms:
        settings.window_seconds = options.window_ms / 1000
    if options.rounds:
        settings.rounds = options.rounds
    return settings


def parse_options(arguments):
    """Parses what the script did not handle itself; it has the help."""
    parser = option_parser(PROGRAM)
    parser.add_argument("--selftest", dest="case", action="append_const",
                        const="selftest*")
    parser.add_argument("--chart", type=os.path.abspath)
    parser.add_argument("--windows", type=positive)
    parser.add_argument("--window-ms", type=positive)
    parser.add_argument("--rounds", type=positive)
    parser.add_argument("--pmd-cpu", type=int, default=0)
    parser.add_argument("--guest-cpu", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(arguments)


def main():
    options = parse_options(sys.argv[1:])
    return run_program(
        PROGRAM, CASES, options,
        lambda directory, cases: work(directory, cases, options))


if __name__ == "__main__":
    sys.exit(main())
