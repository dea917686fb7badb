#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Many guests on one switch: who gets which frame, and what is lost.

    east-west.py [--side ours|stock] [--server] [--ports N] [--queues N]
                 [--rounds N] [--build-dir DIR] [--ovs-tree DIR]
                 [--logs DIR] [--json FILE] SCENARIO...

SCENARIO:

    switching  14 guests: VLANs, rules, a stateful firewall, a mirror
    bonds      guests on both ends of a bond of two NICs, one of which fails
    changes    flows change under load
    hundreds   --ports guests (256) with --queues queue pairs (1) come and go,
               --rounds times (1)
    machines   2 guests of QEMU among 14 emulated ones, and all their kernels

The ports are ours, or the stock ones, to which the same has to happen; with
--server the switch listens.  Needs root.  Exit status 0: all held; 77: this
host cannot run it.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from dataclasses import asdict

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from east_west import bonds, changes, hundreds, machines  # noqa: E402
from east_west import switching  # noqa: E402
from east_west.hall import Hall  # noqa: E402
from ovs_vhost_lab import Build, LabError, instance  # noqa: E402

SKIP = 77
SCENARIOS = {"switching": switching.run, "bonds": bonds.run,
             "changes": changes.run, "hundreds": hundreds.run,
             "machines": machines.run}


@contextlib.contextmanager
def log(name):
    """Prints what is done and how long it took; what is said inside, too."""
    start = time.monotonic()
    said = []
    try:
        yield said.append
    except LabError:
        print("%s: FAILED" % name, flush=True)
        raise
    print("%s: ok (%.1f s)%s" % (name, time.monotonic() - start, "".join(
        "\n    " + text for text in said)), flush=True)


def work(directory, options):
    """Runs the scenarios; returns the exit status."""
    build = Build(options.build_dir, options.ovs_tree)
    for name in options.scenario:
        words = {}
        if name == "hundreds":
            words = {"ports": options.ports, "queues": options.queues,
                     "rounds": options.rounds}
        print("%s, %s:" % (name, options.side))
        with Hall(options.side, build, os.path.join(directory.path, name[0]),
                  options.server) as hall:
            try:
                found = SCENARIOS[name](hall, log, **words)
            except LabError as error:
                print("east-west: %s" % error, file=sys.stderr)
                return 1
            finally:
                if options.logs:
                    hall.keep_logs(options.logs)
        if options.json and found:
            with open(options.json, "w") as stream:
                json.dump([asdict(each) for each in found], stream)
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("ours", "stock"), default="ours")
    parser.add_argument("--server", action="store_true")
    parser.add_argument("--ports", type=int, default=256)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    parser.add_argument("--json")
    parser.add_argument("scenario", nargs="+", choices=sorted(SCENARIOS))
    options = parser.parse_args()
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        print("needs root and taps")
        return SKIP
    return instance.supervise(
        lambda directory, keep: work(directory, options), "east-west")


if __name__ == "__main__":
    sys.exit(main())
