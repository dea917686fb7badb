# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Runs utilities/ring-bench, a program that times the rings in one process
without a switch, and takes over its results."""

import json
import os
from dataclasses import dataclass

from ovs_vhost_lab import LabError, Process, tail

from . import host, results

PROGRAM = "utilities/ring-bench"
QUICK = "64,64-packed,1518,1518-packed"
TIMEOUT = 600


@dataclass(frozen=True)
class RingBench:
    """All that ring-bench measures, or the usual rings only."""

    name: str = "ring-bench"
    title: str = "rings and copies without a switch"
    quick: bool = False

    def run(self, bench):
        """Returns the list of Results."""
        program = os.path.join(bench.build.path, PROGRAM)
        if not os.access(program, os.X_OK):
            return [results.Result.without(self.name, "", "",
                                           results.NOT_OFFERED,
                                           "no %s in the build" % PROGRAM)]
        path = os.path.join(bench.folder, "ring-bench.json")
        log = os.path.join(bench.folder, "ring-bench.log")
        argv = [program, "--json=" + path,
                "--cpu=%d" % bench.settings.cpus.pmd]
        if bench.settings.quick:
            argv.append("--case=" + QUICK)
        child = Process("ring-bench", argv, log)
        host.prefer(child.pid)
        if not child.wait(TIMEOUT) or child.status():
            child.kill()
            raise LabError("ring-bench: status %s\n%s" % (child.status(),
                                                          tail(log, 20)))
        with open(path) as stream:
            return [results.Result.from_json(each)
                    for each in json.load(stream)]
