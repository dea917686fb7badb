# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""How programs that measure cases list them, choose among them, and run.

A case has a name, a title, and 'quick', which says that it is among those that
--quick runs.
"""

import argparse
import fnmatch
import os
import sys

from . import instance
from .process import LabError


def choose(cases, patterns, quick):
    """Returns the cases whose names match one of 'patterns' (shell
    wildcards); without patterns all, or the quick ones.  Raises ValueError
    with the pattern that matches nothing."""
    if not patterns:
        return [case for case in cases if case.quick or not quick]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(case.name, pattern)
                   for case in cases):
            raise ValueError(pattern)
    return [case for case in cases
            if any(fnmatch.fnmatchcase(case.name, pattern)
                   for pattern in patterns)]


def option_parser(program):
    """Makes a parser of the options that all of the programs have."""
    parser = argparse.ArgumentParser(prog=program, add_help=False,
                                     allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", type=os.path.abspath)
    parser.add_argument("--build-dir")
    parser.add_argument("--ovs-tree")
    parser.add_argument("--no-build", action="store_true")
    return parser


def print_list(cases):
    """Prints the cases' names and what they are."""
    width = max(len(case.name) for case in cases)
    for case in cases:
        print("%-*s  %s%s" % (width, case.name, case.title,
                              " *" if case.quick else ""))
    print("\n* also with --quick")


def run_program(program, cases, options, work):
    """Does what 'options' say: prints the list, or calls 'work(directory,
    chosen)' in a process that is cleaned up after.  Returns the exit
    status."""
    if options.list:
        print_list(cases)
        return 0
    try:
        chosen = choose(cases, options.case, options.quick)
        return instance.supervise(
            lambda directory, keep: work(directory, chosen), program)
    except ValueError as error:
        print("%s: no case is named %s (see --list)" % (program, error),
              file=sys.stderr)
    except LabError as error:
        print("%s: %s" % (program, error), file=sys.stderr)
    return 1
