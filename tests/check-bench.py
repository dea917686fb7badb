#! /usr/bin/env python3
#
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Whether a file of ovs-vhost-bench --json has all that it has to have.

usage: check-bench.py FILE CASE...

Each case has to be there once, with windows on both sides that are measured or
discarded, and with figures unless all of them were.  What the figures are is
not judged: tests share their machine.
"""

import json
import sys

NUMBERS = ("ours", "stock", "ratio")


def problems(found, case):
    """Yields what is wrong with 'case' in the list of results 'found'."""
    objects = [each for each in found if each.get("case") == case]
    if len(objects) != 1:
        yield "%s: %d objects" % (case, len(objects))
        return
    result, = objects
    missing = {"metric", "unit", "ratio_median", "windows", "discarded",
               "spread", "verdict", *NUMBERS} - set(result)
    if missing:
        yield "%s: no %s" % (case, ", ".join(sorted(missing)))
        return
    if result["verdict"] not in ("measured", "cannot tell"):
        yield "%s: %s: %s" % (case, result["verdict"], result["note"])
        return
    for side, discarded in result["discarded"].items():
        if not 0 <= discarded <= result["windows"]:
            yield "%s: %s discarded of %s" % (case, discarded,
                                              result["windows"])
        kept = discarded < result["windows"]
        if kept and not (result[side] or 0) > 0:
            yield "%s: %s is %s" % (case, side, result[side])
    if result["verdict"] == "measured" and not result["ratio"] > 0:
        yield "%s: the ratio is %s" % (case, result["ratio"])


def main():
    path, *cases = sys.argv[1:]
    with open(path) as stream:
        found = json.load(stream)
    wrong = [text for case in cases for text in problems(found, case)]
    print("\n".join(wrong) if wrong else "%s: complete" % path)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
