# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Steps of a demonstration or a test: run in turn, with a line for each, and
summed up in a table.

What has the steps is an object with the methods steps(), which returns (title,
method, whether the later steps need it) for each, and logs(), which returns
(path, how many of its last lines tell something) for each; and with 'folder',
below which the logs are.  A step returns a short text for the summary or
raises LabError.
"""

import os
import shutil
import time

from .process import LabError, tail


def run_steps(lab):
    """Runs the steps; returns [(title, verdict, seconds, text)]."""
    results = []
    steps = lab.steps()
    for number, (title, method, needed) in enumerate(steps, 1):
        print("[%2d/%d] %s ..." % (number, len(steps), title), end=" ",
              flush=True)
        start = time.monotonic()
        try:
            verdict, text = "PASS", method()
        except (LabError, OSError, ValueError) as error:
            verdict, text = "FAIL", str(error)
        seconds = time.monotonic() - start
        results.append((title, verdict, seconds, text))
        print("%s (%.1f s)" % (verdict, seconds), flush=True)
        if verdict == "FAIL":
            print(text, flush=True)
            if needed:
                break
    results += [(title, "-", 0, "not run") for title, _, _
                in steps[len(results):]]
    return results


def print_summary(results):
    width = max(len(title) for title, _, _, _ in results)
    print("\n%-*s  %-6s %6s  %s" % (width, "step", "result", "time", "what"))
    for title, verdict, seconds, text in results:
        first_line = (text.splitlines() or [""])[0]
        print("%-*s  %-6s %4.1f s  %s" % (width, title, verdict, seconds,
                                          first_line[:100]))
    print("%-*s  %-6s %4.1f s" % (
        width, "all", "PASS" if succeeded(results) else "FAIL",
        sum(seconds for _, _, seconds, _ in results)), flush=True)


def succeeded(results):
    return all(verdict == "PASS" for _, verdict, _, _ in results)


def print_logs(lab):
    for path, lines in lab.logs():
        text = tail(path, lines)
        if text:
            print("\n--- the last lines of %s:\n%s" % (
                os.path.relpath(path, lab.folder), text))


def save_logs(lab, target):
    """Copies the logs to 'target', under their names below the laboratory's
    folder."""
    for path, _ in lab.logs():
        if os.path.exists(path):
            copy = os.path.join(target, os.path.relpath(path, lab.folder))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(path, copy)
    print("The logs are in %s." % target)
