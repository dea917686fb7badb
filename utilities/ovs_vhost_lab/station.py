# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest without a machine: a network namespace behind ovs-vhost-guest.

The namespace's network stack is the guest's, ovs-vhost-guest is its virtio
driver and QEMU's part of the vhost-user protocol.  It is there at once and
answers as a QEMU guest would, which makes it the peer for what a test is not
about.
"""

import os

from .netns import NetworkNamespace
from .process import LabError, Process, run

PROGRAM = "utilities/ovs-vhost-guest"


class Station:
    """A guest at the vhost-user port whose socket is 'path'.

    'listen': it listens there, for a vhostuserclient port; otherwise it
    connects, again and again.  Its only interface is eth0, with the MAC
    'mac'.  'busybox' is what its commands are run by."""

    def __init__(self, name, build, folder, busybox, mac):
        self.name = name
        self.mac = mac
        self.busybox = busybox
        self.log = os.path.join(folder, name + ".guest.log")
        self.netns = NetworkNamespace()
        self._program = os.path.join(build.path, PROGRAM)
        self._guest = None
        if not os.access(self._program, os.X_OK):
            raise LabError("no %s: build the project first" % self._program)

    def start(self, path, listen=False):
        """Plugs it in.  eth0 has a carrier while the port is up."""
        self._guest = Process("guest " + self.name, [
            self._program, "--quiet", "--connect-timeout", "0",
            "bridge:%s,%s,tap=eth0,netns=%s,mac=%s" % (
                path, "server" if listen else "client", self.netns.path(),
                self.mac)], self.log)

    def check_running(self):
        """Raises LabError if the guest has ended."""
        if not self._guest:
            raise LabError("guest %s was not started" % self.name)
        self._guest.check_running()

    def run(self, command, timeout=30):
        """Runs a line of shell with busybox's programs; returns (status,
        output)."""
        result = run([self.busybox, "sh", "-c", command], timeout=timeout,
                     check=False, netns=self.netns,
                     env={"PATH": os.environ.get("PATH", os.defpath)})
        return result.returncode, result.stdout

    def check(self, command, timeout=30):
        """Like run(), but returns only the output.  Raises LabError if its
        status is not zero."""
        status, output = self.run(command, timeout)
        if status:
            raise LabError("in guest %s: %s: status %d\n%s"
                           % (self.name, command, status, output))
        return output

    def stop(self):
        """Pulls it out."""
        if self._guest:
            self._guest.end()
            self._guest = None

    def close(self):
        self.stop()
        self.netns.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
