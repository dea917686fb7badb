# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The commands of utilities/ovs-vhost-ovn, which installs and builds what this
needs.  ovs-vhost-ovn(1) is the manual."""

import argparse
import contextlib
import os
import sys
import time

from ovs_vhost_lab import LabError, instance
from ovs_vhost_lab.steps import (print_logs, print_summary, run_steps,
                                 save_logs, succeeded)

from .checks import Checks
from .cloud import PLACES, Cloud
from .mover import Mover

PROGRAM = "ovs-vhost-ovn"
TYPES = ("vhostuser", "vhostuserclient", "dpdkvhostuser",
         "dpdkvhostuserclient")


class Work:
    """What a command does: the steps of a Cloud and, of a test, more."""

    def __init__(self, folder, options, stack):
        self.folder = folder
        self.cloud = Cloud(folder, options, stack)
        self._checks = Checks(self.cloud)
        self._mover = Mover(self.cloud)
        self._tests = options.command == "test"
        self._moves = self._tests and options.migrate

    def steps(self):
        return self.cloud.steps() + self._checks.first_steps() + (
            self._mover.steps() if self._moves else
            self._checks.steps() if self._tests else ())

    def logs(self):
        return self.cloud.logs() + self._mover.logs()


def work(directory, keep, options):
    """The worker's whole life; returns the exit status."""
    with contextlib.ExitStack() as stack:
        job = Work(directory.path, options, stack)
        results = run_steps(job)
        status = 0 if succeeded(results) else 1
        if status:
            with contextlib.suppress(LabError, OSError, AttributeError):
                print("\n" + job.cloud.show())
            print_logs(job)
        print_summary(results)
        if options.logs:
            save_logs(job, options.logs)
        if options.command == "start" and not status:
            keep_running(directory, keep, job.cloud)
    return status


def keep_running(directory, keep, cloud):
    """Lets the user in, and waits for the signal that ends it all."""
    directory.describe(
        guests=[], environment={}, environments=cloud.environments(),
        namespaces=cloud.namespaces(), processes=cloud.pids(),
        addresses={name: PLACES[name].address for name in cloud.guests})
    print("""
OVN goes on running in %s.
  utilities/ovs-vhost-ovn status                  what there is
  utilities/ovs-vhost-ovn shell central           a shell for ovn-nbctl,
                                                  ovn-sbctl and ovn-trace
  utilities/ovs-vhost-ovn shell hv1               one for ovs-vsctl,
                                                  ovs-ofctl and ovs-appctl
  utilities/ovs-vhost-ovn shell vm1 [COMMAND...]  in a guest's namespace
  utilities/ovs-vhost-ovn stop                    ends it""" % directory.path,
          flush=True)
    keep(0)
    while True:
        time.sleep(3600)


def show_status(options):
    """Prints what runs, and what OVN says of it."""
    path, state = instance.find(options.dir, PROGRAM)
    print("running in %s (process %d)" % (path, state["pid"]))
    for what, pids in state["processes"].items():
        alive = [pid for pid in pids if os.path.exists("/proc/%d" % pid)]
        print("%s: %d of %d daemons run" % (what, len(alive), len(pids)))
    for name, address in state["addresses"].items():
        print("guest %s: %s" % (name, address))
    for tool in "ovn-nbctl", "ovn-sbctl":
        print("\n# %s show" % tool, flush=True)
        status = os.spawnvpe(os.P_WAIT, "env", ["env", tool, "show"], dict(
            os.environ, **state["environments"]["central"]))
        if status:
            raise LabError("%s: status %d" % (tool, status))


def parse():
    there = argparse.ArgumentParser(add_help=False)
    there.add_argument("--dir")
    there.add_argument("--no-build", action="store_true")
    making = argparse.ArgumentParser(add_help=False)
    making.add_argument("--logs")
    making.add_argument("--type", default="vhostuserclient", choices=TYPES)
    making.add_argument("--build-dir")
    making.add_argument("--no-build", action="store_true")
    making.add_argument("--ovs-tree")

    parser = argparse.ArgumentParser(prog=PROGRAM)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", parents=[making])
    test = commands.add_parser("test", parents=[making])
    test.add_argument("--migrate", action="store_true")
    for name in "status", "stop":
        commands.add_parser(name, parents=[there])
    shell = commands.add_parser("shell", parents=[there])
    shell.add_argument("name")
    shell.add_argument("words", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main():
    options = parse()
    try:
        if options.command == "stop":
            instance.stop(options.dir, PROGRAM)
        elif options.command == "status":
            show_status(options)
        elif options.command == "shell":
            instance.shell(options.name, options.dir, PROGRAM, options.words)
        else:
            return instance.supervise(
                lambda directory, keep: work(directory, keep, options),
                PROGRAM)
    except LabError as error:
        print("%s: %s" % (PROGRAM, error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
