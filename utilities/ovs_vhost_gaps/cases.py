# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The list of cases, and choosing among them."""

import fnmatch

from . import emulated, machines

CASES = emulated.CASES + machines.CASES


def choose(patterns, quick):
    """Returns the cases whose names match one of 'patterns' (shell
    wildcards); without patterns all, or the quick ones.  Raises ValueError
    with the pattern that matches nothing."""
    if not patterns:
        return [case for case in CASES if case.quick or not quick]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(case.name, pattern)
                   for case in CASES):
            raise ValueError(pattern)
    return [case for case in CASES
            if any(fnmatch.fnmatchcase(case.name, pattern)
                   for pattern in patterns)]
