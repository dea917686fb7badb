# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Network namespaces without names.

'ip netns add' binds a namespace to a file, which outlives a crash and needs
mounts that a chroot may not have.  These are held by an open descriptor
instead: when the process that made one and all processes in it have ended,
the kernel removes it with every interface inside, persistent taps included.
"""

import os
import threading

from .process import CLONE_NEWNET, LabError, enter_netns, libc, run


class NetworkNamespace:
    """A new network namespace with only its loopback interface, up."""

    def __init__(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            if libc.unshare(CLONE_NEWNET):
                raise LabError("cannot make a network namespace: this needs "
                               "root (CAP_SYS_ADMIN)")
            try:
                self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            finally:
                enter_netns(home)
        finally:
            os.close(home)
        self.ip("link", "set", "lo", "up")

    def fileno(self):
        """Returns the descriptor that holds the namespace."""
        return self._fd

    def path(self):
        """Returns a path to the namespace for other programs, valid as long
        as this process lives."""
        return "/proc/%d/fd/%d" % (os.getpid(), self._fd)

    def run(self, argv, **kwargs):
        """Runs 'argv' inside; see process.run()."""
        return run(argv, netns=self, **kwargs)

    def call(self, function):
        """Calls 'function' in a thread that is inside, and returns what it
        returns: a socket that it makes belongs to the namespace."""
        results = []

        def work():
            try:
                enter_netns(self._fd)
                results.append((function(), None))
            except BaseException as error:
                results.append((None, error))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        (value, error), = results
        if error:
            raise error
        return value

    def ip(self, *words):
        """Runs ip(8) inside and returns its output."""
        return self.run(("ip",) + words).stdout

    def add_veth(self, name, peer_name, peer_netns):
        """Makes a veth pair, both ends up: 'name' here and 'peer_name' in
        'peer_netns', without offloads, so that each frame on it is one that
        a wire could carry."""
        self.ip("link", "add", name, "type", "veth",
                "peer", "name", peer_name, "netns", peer_netns.path())
        for netns, interface in ((self, name), (peer_netns, peer_name)):
            netns.run(("ethtool", "-K", interface, "tx", "off", "tso", "off",
                       "gso", "off", "gro", "off"))
            netns.ip("link", "set", interface, "up")

    def close(self):
        """Lets go of the namespace."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
