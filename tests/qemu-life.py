#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest's whole life at a vhost-user port, with real QEMU guests.

    qemu-life.py [--type TYPE] [--packed] [--extras LIST] [--build-dir DIR]
                 [--ovs-tree DIR] [--logs DIR] CASE...

Cases: see qemu_life/cases.py; without any, prints their names.  TYPE is one
of ours or of the stock ports: what fails with the stock port too is no fault
of ours, and a test that cannot pass there may ask for the wrong thing.

Needs root.  Exit status 0: all held; 77: this host cannot run it.
$OVS_VHOST_QEMU, $OVS_VHOST_CACHE and $OVS_VHOST_TIMEOUT_SCALE are those of
utilities/ovs-vhost-demo.
"""

import argparse
import contextlib
import os
import shutil
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(TESTS), "utilities"))

from ovs_vhost_lab import LabError, instance, tail  # noqa: E402
from ovs_vhost_lab.guest import QEMU, qemu_version  # noqa: E402
from qemu_life.cases import CASES  # noqa: E402
from qemu_life.life import OURS, STOCK, Life  # noqa: E402

SKIP = 77


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--type", default="vhostuserclient",
                        choices=sorted(STOCK) + sorted(OURS))
    parser.add_argument("--packed", action="store_true")
    parser.add_argument("--extras", metavar="LIST",
                        help="the port's options:vhost-extras")
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--logs")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES],
                        metavar="CASE")
    return parser.parse_args()


def missing():
    """Returns what this host lacks, or None."""
    if os.geteuid():
        return "root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun"
    if not shutil.which(QEMU):
        return QEMU
    return None


def show_logs(life, target):
    for path, lines in life.logs():
        print("--- the last lines of %s:\n%s" % (os.path.basename(path),
                                                tail(path, lines)))
        if target and os.path.exists(path):
            shutil.copy(path, target)


def run_case(name, folder, options):
    """Runs a case; tells whether it held."""
    with contextlib.ExitStack() as stack:
        life = Life(folder, options, stack)
        start = time.monotonic()
        print("%s, %s%s, QEMU %s" % (
            name, options.type, ", packed" if options.packed else "",
            ".".join(map(str, qemu_version()))), flush=True)
        try:
            CASES[name](life)
        except (LabError, OSError, ValueError) as error:
            print("FAIL %s: %s" % (name, error), flush=True)
            with contextlib.suppress(LabError):
                print(life.switch.appctl("vhost/show" if life.ours
                                         else "dpif-netdev/pmd-rxq-show"))
            show_logs(life, options.logs)
            return False
        print("PASS %s (%.1f s)" % (name, time.monotonic() - start),
              flush=True)
        return True


def work(directory, options):
    results = []
    for name in options.cases:
        folder = os.path.join(directory.path, name)
        os.mkdir(folder)
        results.append(run_case(name, folder, options))
    return 0 if all(results) else 1


def main():
    options = parse()
    if not options.cases:
        print("\n".join(CASES))
        return 0
    lacking = missing()
    if lacking:
        print("qemu-life: skipped, there is no " + lacking)
        return SKIP
    return instance.supervise(
        lambda directory, _: work(directory, options), "qemu-life")


if __name__ == "__main__":
    sys.exit(main())
