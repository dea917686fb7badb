# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Containers without an engine: what the kernel has for them, and no more.

A process in user, network, mount, process, IPC and host-name namespaces of
its own, whose root is user 100000 out here, and thus nobody.  It sees the same
files as everybody, so that no image is needed.

    with Container("web", folder) as web:
        web.start([program])
        web.run(["ip", "addr"])
"""

import os

from .process import Process, popen, run, wait_until

FIRST_ID = 100000               # Root's, out here.
IDS = 65536
NAMESPACES = ("-n", "-m", "-p", "-i", "-u")


def _namespace(pid, kind):
    return os.stat("/proc/%d/ns/%s" % (pid, kind)).st_ino


class Container:
    """A container, which lasts as long as close() is not called.  Logs are
    'folder'/NAME.log and so on.  'privileged': it has no user namespace, and
    its root is everybody's."""

    def __init__(self, name, folder, privileged=False):
        self.name = name
        self._base = os.path.join(folder, name)
        self._processes = []
        self._holder = None if privileged else self._user_namespace()
        words = NAMESPACES + ("--fork", "--kill-child", "--mount-proc",
                              "sleep", "100000")
        self._init = Process("container " + name,
                             [*self._enter_user(), "unshare", *words],
                             self._base + ".log")
        self.pid = self._init.pid
        wait_until(self._ready, 10, "container %s is there" % name,
                   interval=0.005)

    @staticmethod
    def _user_namespace():
        """Returns a process that holds a new user namespace."""
        child = popen(["unshare", "--user", "sleep", "100000"])
        wait_until(lambda: _namespace(child.pid, "user")
                   != _namespace(os.getpid(), "user"), 10,
                   "there is a user namespace", interval=0.002)
        for which in "uid", "gid":
            with open("/proc/%d/%s_map" % (child.pid, which), "w",
                      encoding="ascii") as stream:
                stream.write("0 %d %d" % (FIRST_ID, IDS))
        return child

    def _enter_user(self):
        if not self._holder:
            return []
        return ["nsenter", "--user=/proc/%d/ns/user" % self._holder.pid,
                "-S", "0", "-G", "0"]

    def _child(self):
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid),
                  encoding="ascii") as stream:
            return stream.read().split()

    def _ready(self):
        self._init.check_running()
        if _namespace(self.pid, "net") == _namespace(os.getpid(), "net"):
            return False
        children = self._child()
        if not children:
            return False
        with open("/proc/%s/comm" % children[0], encoding="ascii") as stream:
            return stream.read().strip() == "sleep"

    def netns(self):
        """Returns a path to the network namespace."""
        return "/proc/%d/ns/net" % self.pid

    def enter(self, argv):
        """Returns a command line that runs 'argv' in the container."""
        user = ["-U", "-S", "0", "-G", "0"] if self._holder else []
        return ["nsenter", "-t", self._child()[0], *user, "-n", "-m", "-p",
                "-i", "-u", *map(str, argv)]

    def run(self, argv, **kwargs):
        """Runs 'argv' inside; see process.run()."""
        return run(self.enter(argv), **kwargs)

    def start(self, argv, stdin=None, env=None, name="main"):
        """Starts a long-lived Process inside and returns it; its output goes
        to 'folder'/NAME.<name>.log."""
        options = {} if stdin is None else {"stdin": stdin}
        process = Process("%s in container %s" % (argv[0], self.name),
                          self.enter(argv), "%s.%s.log" % (self._base, name),
                          env=env, **options)
        self._processes.append(process)
        return process

    def check_running(self):
        """Raises LabError if anything in it has ended."""
        for process in self._init, *self._processes:
            process.check_running()

    def close(self):
        """Ends all that is in it."""
        self._init.kill()
        for process in self._processes:
            process.kill()
        if self._holder:
            self._holder.kill()
            self._holder.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
