# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Huge pages for as long as something runs, and no trace of them afterwards.

What is raised is the number that the kernel may make when somebody wants them
(nr_overcommit_hugepages), and by a difference: those that the machine has stay
alone, and others may do the same at the same time.  The hugetlbfs is mounted
in a mount namespace of this process's own.
"""

import ctypes
import fcntl
import os

from .process import LabError, libc, run

CLONE_NEWNS = 0x00020000
SYSFS = "/sys/kernel/mm/hugepages/hugepages-2048kB"
OVERCOMMIT = SYSFS + "/nr_overcommit_hugepages"
PAGE_MIB = 2


class HugePages:
    """'mib' of huge pages, and a hugetlbfs at 'path', an empty directory or
    one that this makes.  Processes that are started later see it there.
    Raises LabError if there are none to be had."""

    def __init__(self, path, mib):
        self.path = path
        self._pages = mib // PAGE_MIB
        _own_mounts()
        self._made = not os.path.isdir(path)
        if self._made:
            os.mkdir(path)
        try:
            _add(self._pages)
        except OSError as error:
            self._forget_path()
            raise LabError("%s: %s" % (OVERCOMMIT, error.strerror)) from error
        try:
            run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none",
                 path])
            probe = os.path.join(path, "probe")
            run(["fallocate", "-l", "%dM" % mib, probe])
            os.unlink(probe)
        except BaseException:
            self.close()
            raise

    def close(self):
        """Unmounts it, and takes the pages away."""
        run(["umount", "-l", self.path], check=False)
        _add(-self._pages)
        self._forget_path()

    def _forget_path(self):
        if self._made:
            os.rmdir(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _own_mounts():
    """What is mounted from now on is mounted for this process and those that
    it starts."""
    if libc.unshare(CLONE_NEWNS):
        number = ctypes.get_errno()
        raise LabError("no mount namespace: " + os.strerror(number))
    run(["mount", "--make-rprivate", "/"])


def _add(pages):
    """Lets the kernel make so many huge pages more."""
    folder = os.open(SYSFS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with open(OVERCOMMIT, "r+") as stream:
            number = int(stream.read())
            stream.seek(0)
            stream.write("%d\n" % (number + pages))
    finally:
        os.close(folder)
