# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What the measuring programs share: numbers on their command lines, files of
results, charts.
"""

import json
import os
import subprocess

from .process import LabError


def positive(word):
    """Parses a number of 1 or more."""
    value = int(word)
    if value < 1:
        raise ValueError(word)
    return value


def save_json(value, path):
    """Writes 'value' to a file, which is never seen half written."""
    with open(path + ".new", "w") as stream:
        json.dump(value, stream, indent=1)
        stream.write("\n")
    os.replace(path + ".new", path)


def gnuplot(script):
    """Runs a script of gnuplot's."""
    try:
        done = subprocess.run(["gnuplot"], input=script, text=True, timeout=60,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except OSError as error:
        raise LabError("gnuplot: %s" % error.strerror) from error
    if done.returncode:
        raise LabError("gnuplot: %s" % done.stdout)
