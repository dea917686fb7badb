#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Compares the names that documents have with those that there are.

    doc-names.py SRCDIR FILE...

docs/reference.md is to name every option, key of other_config, status key,
statistic and command, and none that does not exist; the manual page
ovs-vhost(7) is to name the same ones.  What there is comes from the sources by
the rules in class Code, which are simple: who writes code that they do not see
makes the test say that a documented name does not exist.  Statistics are those
that a port in a running switch has: each FILE is what "ovs-vsctl get Interface
PORT statistics" printed.  Without a FILE statistics are not compared with the
switch's.

Prints a line for each difference; the exit status is 1 if there is any.
"""

import glob
import os
import re
import sys

# Keys of other_config that Open vSwitch itself reads.
KEYS_OF_OVS = {"userspace-tso-enable", "per-port-memory",
               "shared-mempool-config"}

# Kinds of names, and where the two documents have them: a heading, and what
# the column with the names is called.
REFERENCE = {
    "option": ("Interface:options", "key"),
    "extra": ("Live migration", "extra"),
    "other_config key": ("Open_vSwitch:other_config", "key"),
    "status key": ("Status (Interface:status)", "key"),
    "statistic": ("Statistics (Interface:statistics)", "key"),
}
MANUAL = {
    "option": "OPTIONS",
    "extra": "EXTRAS",
    "other_config key": "SETTINGS OF THE SWITCH",
    "status key": "STATUS",
    "statistic": "STATISTICS",
    "command": "COMMANDS",
}


class Code:
    """The names in the sources."""

    def __init__(self, top):
        self.text = ""
        for pattern in "lib/netdev/*.c", "vswitchd-patches/3.1.0/*.patch":
            for path in sorted(glob.glob(os.path.join(top, pattern))):
                with open(path) as stream:
                    text = stream.read()
                for macro, value in re.findall(
                        r'^#define (\w+) ("[^"\n]*")$', text, re.M):
                    text = re.sub(r"\b%s\b" % macro, value, text)
                self.text += text
        # Its keys are no status.
        self.text = re.sub(r"^netdev_vhost_get_config\(.*?^}", "", self.text,
                           flags=re.M | re.S)

    def found(self, pattern):
        return set(re.findall(pattern, self.text))

    def names(self):
        return {
            "option": self.found(r'(?:smap_get|parse)\w*\(\s*args,'
                                 r'\s*"([\w-]+)"'),
            "extra": self.found(r'\{ "([\w-]+)", VHOST_EXTRA_\w+ \}'),
            "other_config key": KEYS_OF_OVS | self.found(
                r'smap_get\w*\(\s*other_config,\+?\s*"([\w-]+)"'),
            "status key": {
                name.replace("%u", "N").replace("%s", "NAME")
                for name in self.found(
                    r'smap_add\w*\(\s*(?:args|status),'
                    r'\s*(?:xasprintf\()?"([\w%-]+)"')},
            "command": self.found(
                r'\n\+? +unixctl_command_register\(\s*"'
                r'((?:vhost|netdev-plugin)/[\w-]+)"'),
        }


def statistics(path):
    """Returns the names in the statistics of a port."""
    with open(path) as stream:
        names = re.findall(r'[{ ]"?(\w+)"?=', stream.read())
    return {re.sub(r"_q[0-9]+_", "_qN_", name) for name in names}


def expanded(name):
    """Returns what a name with {a,b} in it stands for."""
    found = re.match(r"(.*?)\{([^}]*)\}(.*)$", name)
    if not found:
        return {name}
    before, choice, after = found.groups()
    return {result for word in choice.split(",")
            for result in expanded(before + word + after)}


class Reference:
    """docs/reference.md."""

    def __init__(self, top):
        with open(os.path.join(top, "docs/reference.md")) as stream:
            self.text = stream.read()

    def section(self, heading):
        """Returns what is between a heading and the next of its level."""
        found = re.search(r"^(#+) %s\n(.*?)(?=^#{2,3} |\Z)"
                          % re.escape(heading), self.text, re.M | re.S)
        return found.group(2) if found else ""

    def column(self, heading, title):
        """Returns the names in the first columns, with this title, of the
        section's tables."""
        names = set()
        inside = False
        for line in self.section(heading).splitlines():
            cells = re.split(r"\s*(?<!\\)\|\s*", line)
            if len(cells) < 3 or cells[0]:
                inside = False
            elif cells[1] == title:
                inside = True
            elif inside:
                for name in re.findall(r"`([^`]*)`", cells[1]):
                    names |= expanded(name)
        return names

    def names(self):
        result = {kind: self.column(*where)
                  for kind, where in REFERENCE.items()}
        result["command"] = set(re.findall(
            r"^### ovs-appctl ((?:vhost|netdev-plugin)/\S+)", self.text, re.M))
        return result


class Manual:
    """ovs-vhost(7): in the sections, names are bold and begin the lines after
    .TP, or stand alone in a block of lines between .nf and .fi."""

    def __init__(self, path):
        with open(path) as stream:
            text = stream.read().replace("\\-", "-")
        # What stands for something else within a name is italic.
        text = re.sub(r"\\fR\\fI(N|NAME)\\fR(\\fB)?",
                      lambda found: found.group(1)
                      + ("" if found.group(2) else "\\fR"), text)
        self.sections = dict(re.findall(
            r'^\.SH "?([^"\n]*)"?\n(.*?)(?=^\.SH |\Z)', text, re.M | re.S))

    def names(self):
        result = {}
        for kind, heading in MANUAL.items():
            text = self.sections.get(heading, "")
            words = []
            for line in re.findall(r"^\.TP\n(.*)", text, re.M):
                words += re.findall(r"\\fB(.*?)\\fR", line)
            for block in re.findall(r"^\.nf\n(.*?)^\.fi", text, re.M | re.S):
                words += block.split()
            result[kind] = {
                name.replace("ovs-appctl ", "") for word in words
                for name in expanded(word) if not name.startswith("-")}
        return result


def compare(what, there, which, documented):
    """Returns a line for each difference of two dictionaries by kind."""
    lines = []
    for kind in there:
        lines += ["%s does not have the %s %s" % (which, kind, name)
                  for name in sorted(there[kind] - documented[kind])]
        lines += ["%s has the %s %s, which %s does not have"
                  % (which, kind, name, what)
                  for name in sorted(documented[kind] - there[kind])]
    return lines


def main():
    top = sys.argv[1]
    there = Code(top).names()
    if sys.argv[2:]:
        there["statistic"] = set.union(*map(statistics, sys.argv[2:]))
    for kind in there:
        if not there[kind]:
            sys.exit("no %s found: the rules have to change" % kind)

    reference = Reference(top).names()
    lines = compare("the code", there, "docs/reference.md", reference)
    manual = os.path.join(top, "docs/ovs-vhost.7")
    if os.path.exists(manual):
        lines += compare("docs/reference.md", reference, "ovs-vhost(7)",
                         Manual(manual).names())
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
