#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Looks at what the commands that see into ports print, for see.at.

    vhost-see.py COMMAND [ARG...]

Commands:

    log FILE PORT           "vhost/log --json": well-formed; prints what a
                            guest that is there must have said
    memory FILE PID         "vhost/memory --json": what it says of guest
                            memory is what the process PID has
"""

import json
import re
import sys


def load(name):
    with open(name) as stream:
        return json.load(stream)


def log(name, port):
    (found,) = load(name)
    assert found["name"] == port, found
    number = 0
    for line in found["lines"]:
        assert line["number"] > number, line
        number = line["number"]
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
                        line["time"]), line
        assert line["times"] >= 1
        if line["kind"] == "event":
            assert set(line) == {"number", "time", "kind", "times", "text"}
        else:
            assert line["kind"] in ("received", "sent"), line
            assert line["message"] and line["outcome"], line
    for line in found["lines"]:
        if line.get("message") in ("SET_OWNER", "GET_QUEUE_NUM"):
            print(line["message"], line["outcome"])


def maps(pid):
    """The memory files of a process: (inode, size)."""
    found = []
    with open("/proc/%s/maps" % pid) as stream:
        for line in stream:
            start, end, inode, path = re.match(
                r"(\w+)-(\w+) \S+ \w+ \S+ (\d+) *(.*)", line).groups()
            if path.startswith("/memfd:"):
                found.append((int(inode), int(end, 16) - int(start, 16)))
    return sorted(found)


def memory(name, pid):
    found = load(name)
    regions = [r for p in found["ports"] for r in p["regions"]]
    for port in found["ports"]:
        print(port["name"], len(port["regions"]))
        assert port["size"] == sum(r["size"] for r in port["regions"]), port
        assert port["resident"] == sum(r["resident"]
                                       for r in port["regions"]), port
    for region in regions:
        assert 0 <= region["resident"] <= region["size"], region
        assert region["resident_exact"] is True, region
        assert region["page_size"] == 4096, region
        assert region["file"].startswith("/memfd:"), region
    # Some of the memory is in use, most is not.
    totals = found["totals"]
    assert 0 < totals["resident"] < totals["size"], totals
    assert totals["mapped"] == sum(p["size"] for p in found["ports"]), totals
    assert (totals["size"]
            == sum(size for inode, size in
                   {(r["inode"], r["size"]) for r in regions})), totals
    for pool in totals["pools"]:
        assert pool["free"] <= pool["packets"], pool
        assert pool["bytes"] > pool["packets"] * pool["max_frame"], pool
        print("pool of", pool["used_by"])
    ours = sorted((r["inode"], r["size"]) for r in regions)
    assert ours == maps(pid), (ours, maps(pid))


def main():
    globals()[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
