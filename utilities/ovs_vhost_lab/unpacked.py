# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Programs of Debian packages, with all that they need and this machine lacks,
unpacked into the cache: nothing is installed, no service is started.

    python3 -m ovs_vhost_lab.unpacked PACKAGE...

prints the directory.  It is meant to be laid over "/" with overlayfs in a mount
namespace.  Exit status 77: the packages cannot be reached; what is in the cache
is used without asking.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

from .image import apt, cache_dir, cache_lock
from .process import LabError, run

SKIP = 77


def unpacked(packages):
    """Returns a directory with 'packages' and what they depend on."""
    folder = os.path.join(cache_dir(), "unpacked", "+".join(packages))
    with cache_lock():
        if not os.path.isdir(folder):
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
                _unpack(packages, scratch)
                os.rename(os.path.join(scratch, "root"), folder)
    return folder


def _unpack(packages, scratch):
    """Puts the packages into 'scratch'/root."""
    plan = apt(["apt-get", "install", "--simulate", "--reinstall",
                "--no-install-recommends", *packages])
    names = re.findall(r"^Inst (\S+)", plan, re.M)
    if not names:
        raise LabError("apt has no plan for %s" % " ".join(packages))
    apt(["apt-get", "download", *names], scratch)
    root = os.path.join(scratch, "root")
    os.mkdir(root)
    os.chmod(root, 0o755)
    for archive in glob.glob(os.path.join(scratch, "*.deb")):
        run(["dpkg-deb", "-x", archive, root], timeout=300)
    # /lib is a link on the machine, and a directory in some packages.
    for name in "bin", "lib", "sbin":
        if os.path.isdir(os.path.join(root, name)):
            run(["cp", "-a", os.path.join(root, name, "."),
                 os.path.join(root, "usr", name)])


def main():
    try:
        print(unpacked(sys.argv[1:]))
    except (LabError, OSError, subprocess.TimeoutExpired) as error:
        print("not unpacked: %s" % error, file=sys.stderr)
        return SKIP
    return 0


if __name__ == "__main__":
    sys.exit(main())
