# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""libvirt (src/util/virnetdevopenvswitch.c): it does not make ports for
<interface type='vhostuser'>, but wants to know what the one is called that its
socket belongs to, and for "virsh domifstat" what that one has counted."""

import json
import os

from .bed import attempt, expect, vsctl, wait

TIMEOUT = "--timeout=5"


def ifname(path, server):
    """Returns the port's name, or None.  'server': QEMU listens."""
    if server:
        reply = vsctl(TIMEOUT, "--no-headings", "--columns=name", "find",
                      "Interface", "options:vhost-server-path=" + path)
    else:
        status, reply = attempt("ovs-vsctl", TIMEOUT, "get", "Interface",
                                os.path.basename(path), "name")
        if status:
            return None
    reply = reply.removesuffix("\n")
    return json.loads(reply) if reply.startswith('"') else reply or None


def check_ifname(port, path, server):
    """The domain is about to start: the port is there, its guest is not."""
    expect(ifname(path, server) == port, "not the port of", path)
    expect(ifname(path + "-none", server) is None, "a port that is not there")
    expect(vsctl(TIMEOUT, "iface-to-br", port).strip(), "no bridge")


def domifstat(port):
    """Returns what "virsh domifstat" shows, that is, the guest's view, without
    what is unknown."""
    reply = vsctl(TIMEOUT, "--if-exists", "--format=list", "--data=json",
                  "--no-headings", "--columns=statistics", "list",
                  "Interface", port)
    kind, pairs = json.loads(reply)
    expect(kind == "map", reply)
    expect(all(isinstance(value, int) for _, value in pairs), reply)
    statistics = dict(pairs)
    return {there + what: statistics[here + what]
            for here, there in (("rx_", "tx_"), ("tx_", "rx_"))
            for what in ("bytes", "packets", "errors", "dropped")
            if here + what in statistics}


def check_domifstat(port):
    """Traffic shows in both directions; the database is told every 5
    seconds."""
    def shown():
        statistics = domifstat(port)
        return statistics.get("rx_packets") and statistics.get("tx_packets") \
            and statistics
    statistics = wait(shown, "no statistics of", port)
    for name in "bytes", "packets", "dropped":
        expect("rx_" + name in statistics and "tx_" + name in statistics,
               "no", name, "of", port)
    expect(statistics["rx_bytes"] >= 60 * statistics["rx_packets"], statistics)
    expect(statistics["tx_dropped"] == 0, statistics)
