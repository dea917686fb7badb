# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Plugins for pods: kube-ovn (pkg/daemon, pkg/ovs) and the Userspace CNI plugin
(cniovs)."""

import os
import stat

from .bed import Guests, command, expect, vsctl, wait

CONTAINERS = ["4f8c02a1b7de9c55", "90ab1c2d3e4f5a6b"]
NOBODY = 65534


# kube-ovn.

def ovn(*words):
    return vsctl("--timeout=30", *words)


def kube_ovn_find(table, column, *conditions):
    return [each.strip('"') for each in
            ovn("--no-heading", "--columns=" + column, "find", table,
                *conditions).split()]


def kube_ovn_add(container, interface, path):
    """Adds a pod's port, and returns its name."""
    port = (container[:12] + "_h" if interface == "eth0" else
            "%s_%s_h" % (container[:12 - len(interface)], interface))
    iface = "pod-%s.default" % container[:4]
    expect(not kube_ovn_find("Interface", "_uuid",
                             "external-ids:iface-id=" + iface,
                             "name!=" + port), "a duplicate")
    ovn("--may-exist", "add-port", "br-int", port, "--", "set", "interface",
        port, "type=dpdkvhostuserclient", "options:vhost-server-path=" + path,
        "external_ids:iface-id=" + iface, "external_ids:pod_name=pod",
        "external_ids:pod_namespace=default", "external_ids:ip=10.16.0.5",
        "external_ids:pod_netns=/var/run/netns/pod")
    return port, iface


def kube_ovn_limit(iface, kbps):
    """Sets the pod's bandwidth.  To the pod that is a job for HTB, which a
    userspace port does not have, whoever's it is: the switch warns of it, and
    the port has to live on."""
    for name in kube_ovn_find("interface", "name",
                              "external-ids:iface-id=" + iface):
        ovn("set", "interface", name, "ingress_policing_rate=%d" % kbps,
            "ingress_policing_burst=%d" % (kbps * 8 // 10))
        queue = ovn("create", "queue", "other_config:max-rate=%d"
                    % (kbps * 1000), "other_config:burst=%d" % (kbps * 100),
                    "external-ids:iface-id=" + iface).strip()
        qos = ovn("create", "qos", "queues:0=" + queue, "type=linux-htb",
                  'external-ids:iface-id="%s"' % iface).strip()
        ovn("set", "port", name, "qos=" + qos)
        expect(ovn("get", "qos", qos, "type").strip() == "linux-htb", qos)


def kube_ovn(bed):
    """QEMU in a pod makes its socket in a directory that everybody may write
    to, and is nobody in particular."""
    vsctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int",
          "datapath_type=netdev")
    added = []
    sockets = []
    for container, interface in zip(CONTAINERS, ("eth0", "net1")):
        path = os.path.join(bed.directory(container[:8], 0o777, public=True),
                            "sock")
        added.append(kube_ovn_add(container, interface, path))
        sockets.append(path)
    ports = [port for port, _ in added]
    expect([len(port) for port in ports] == [14, 15], ports)
    kube_ovn_limit(added[0][1], 100000)
    for port in ports:
        bed.check_port(port, "dpdkvhostuserclient")
    with Guests(bed, sockets, listen=True, user=NOBODY) as guests:
        guests.wait_traffic(*ports)
    guests.check_counters(*ports)
    for port in ports:
        ovn("--if-exists", "--with-iface", "del-port", "br-int", port)
    expect(not vsctl("list-ports", "br-int").strip(), "a port is left")


# The Userspace CNI plugin.

def cni_bridge():
    if not vsctl("--bare", "--columns=name", "find", "bridge", "name=br0"):
        vsctl("add-br", "br0", "--", "set", "bridge", "br0",
              "datapath_type=netdev")
        command("ovs-ofctl", "add-flow", "br0", "actions=NORMAL")


def cni_add(bed, container, directory, client):
    """Adds a port.  A socket of the switch's is moved at once to where the pod
    sees it."""
    port = container[:12] + "-net1"
    words = ["add-port", "br0", port, "--", "set", "Interface", port]
    path = os.path.join(directory, port)
    if client:
        vsctl(*words, "type=dpdkvhostuserclient",
              "options:vhost-server-path=" + path)
    else:
        vsctl(*words, "type=dpdkvhostuser")
        os.rename(os.path.join(bed.rundir, port), path)
        expect(stat.S_ISSOCK(os.stat(path).st_mode), "no socket", path)
    expect(not vsctl("--bare", "--columns=mac", "find", "port",
                     "name=" + port).strip(), "a MAC address")
    return port, path


def cni_delete(port, directory):
    vsctl("--if-exists", "del-port", "br0", port)
    for name in os.listdir(directory):
        if name.startswith(port):
            os.unlink(os.path.join(directory, name))
    os.rmdir(directory)
    if not vsctl("list-ports", "br0").strip():
        vsctl("del-br", "br0")


def userspace_cni(bed):
    """In both of its modes."""
    vsctl("--if-exists", "del-br", "br0")
    for client in False, True:
        cni_bridge()
        directories = [bed.directory("%s-%d" % (container[:8], client), 0o750)
                       for container in CONTAINERS]
        added = [cni_add(bed, container, directory, client)
                 for container, directory in zip(CONTAINERS, directories)]
        ports = [port for port, _ in added]
        for port in ports:
            bed.check_port(port, "dpdkvhostuserclient" if client
                           else "dpdkvhostuser")
        # Pods come and go; the socket stays where it was moved to.
        for _ in range(2):
            with Guests(bed, [path for _, path in added],
                        listen=client) as guests:
                guests.wait_traffic(*ports)
        for (port, path), directory in zip(added, directories):
            cni_delete(port, directory)
            wait(lambda: not os.path.exists(path), "the switch leaves", path)
        expect("br0" not in vsctl("list-br").split(), "a bridge is left")
