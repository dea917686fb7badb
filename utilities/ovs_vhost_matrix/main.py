# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Brings up the rungs, measures them in turn, and prints the table.

The script utilities/ovs-vhost-matrix, which documents the options, installs
and builds what this needs.
"""

import argparse
import os
import sys
import textwrap
import time

from ovs_vhost_lab import Build, LabError, instance
from ovs_vhost_lab.results import positive

from . import bed, chart, dpdk, measure, report, vhostnet
from .rungs import DPDK_RUNGS, KERNEL_RUNGS, VHOST_NET_RUNGS

PROGRAM = "ovs-vhost-matrix"


def measure_rows(rows, rounds, facts, sample):
    """Adds 'rounds' samples to each Row, one of each at a time, so that what
    else happens on the machine meets all of them.  facts(rung) tells after a
    sample what the rung turned out to be."""
    for number in range(rounds):
        for row in rows:
            start = time.monotonic()
            print("  %s (%s), %d of %d ..." % (row.rung.name, row.rung.title,
                                               number + 1, rounds),
                  end=" ", flush=True)
            try:
                row.add(sample(row.rung))
                row.facts = facts(row.rung)
            except LabError as error:   # The other rungs are worth having.
                row.errors.append(str(error))
                print("failed", end=" ")
            print("%.0f s" % (time.monotonic() - start), flush=True)


def kernel_stage(rows, build, folder, rounds):
    """Rungs with the kernel's drivers in the guests.  Returns, as all stages
    do, how the guests are run: "tcg" or "kvm"."""
    print("Guests with Linux's drivers:", flush=True)
    with bed.Bed(build, folder, [row.rung for row in rows],
                 bed.image()) as found:
        measure.prepare(found)
        measure_rows(rows, rounds, lambda rung: measure.facts(found, rung),
                     lambda rung: measure.sample(found, rung))
        return found.guests[0].accel


def dpdk_stage(rows, build, folder, rounds):
    """Rungs with DPDK in the guests."""
    print("Guests with DPDK:", flush=True)
    with bed.Bed(build, folder, [row.rung for row in rows], dpdk.image(),
                 guests="abc", kernel_args=dpdk.KERNEL_ARGS) as found:
        applications = dpdk.Applications(found)
        measure_rows(rows, rounds, applications.facts, applications.sample)
        return found.guests[0].accel


def vhost_net_stage(rows, build, folder, rounds):
    """The rung whose backend the host's kernel does not have."""
    print("A guest as the host, for vhost-net:", flush=True)
    with vhostnet.Host(build, folder) as host:
        measure_rows(rows, rounds, host.facts, host.sample)
        return host.guest.accel


STAGES = ((KERNEL_RUNGS, kernel_stage), (VHOST_NET_RUNGS, vhost_net_stage),
          (DPDK_RUNGS, dpdk_stage))


def work(directory, options):
    """The worker's whole life; returns the exit status."""
    start = time.monotonic()
    build = Build(options.build_dir, options.ovs_tree)
    rows = []
    accelerators = set()
    for number, (rungs, stage) in enumerate(STAGES):
        chosen = [report.Row(rung) for rung in rungs
                  if not options.rung or rung.name in options.rung]
        if chosen:
            accelerators.add(stage(
                chosen, build, os.path.join(directory.path, str(number)),
                options.rounds))
        rows += chosen
    print("\n" + textwrap.fill("Medians of %d.  %s" % (
        options.rounds, report.notes(accelerators)), 79) + "\n")
    print("\n".join(report.text(rows)))
    if options.json:
        report.save_json(rows, options.json, accelerators, options.rounds)
    if options.chart:
        print("charts: " + " ".join(chart.draw(rows, options.chart,
                                               "tcg" in accelerators)))
    print("%d rungs took %.0f s" % (len(rows), time.monotonic() - start))
    return 1 if any(row.errors for row in rows) else 0


def parse(argv):
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    parser.add_argument("--rung", action="append", default=[])
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--json")
    parser.add_argument("--chart", metavar="DIR")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--build-dir",
                        default=os.environ.get("OVS_VHOST_BUILD"))
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--ovs-tree")
    options = parser.parse_args(argv)
    known = [rung.name for rungs, _ in STAGES for rung in rungs]
    for name in options.rung:
        if name not in known:
            parser.error("no rung %s: there are %s" % (name, " ".join(known)))
    return options


def print_list():
    """Prints the rungs."""
    for rungs, _ in STAGES:
        for rung in rungs:
            print("%-28s%s" % (rung.name, rung.title))


def main():
    options = parse(sys.argv[1:])
    if options.list:
        print_list()
        return 0
    try:
        return instance.supervise(
            lambda directory, keep: work(directory, options), PROGRAM)
    except LabError as error:
        print("%s: %s" % (PROGRAM, error), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
