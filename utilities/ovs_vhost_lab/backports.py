# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A newer QEMU than the distribution's: that of Debian's backports, unpacked
into the cache and run from there.  The machine's own QEMU stays as it is.

    python3 -m ovs_vhost_lab.backports

prints the path for $OVS_VHOST_QEMU.  Exit status 77: there are no backports
for this release, or they cannot be reached; what is in the cache is used
without asking.  It runs with the libraries that the packages
qemu-system-x86 and its kind of the release itself need.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

from .image import apt, cache_dir, cache_lock
from .process import LabError, run

PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data",
            "seabios")
FROM_RELEASE = ("ipxe-qemu",)   # Good enough for both.
BINARY = "usr/bin/qemu-system-x86_64"
SKIP = 77


def backports_qemu():
    """Returns the path of the newer QEMU, which it downloads and unpacks if
    the cache does not have it."""
    with cache_lock():
        folder = os.path.join(cache_dir(), "qemu-backports")
        binary = os.path.join(folder, BINARY)
        if not os.path.exists(binary):
            with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
                _unpack(scratch)
                os.rename(os.path.join(scratch, "root"), folder)
    if run([binary, "--version"], check=False).returncode:
        raise LabError("%s does not start: is qemu-system-x86 installed?"
                       % binary)
    return binary


def _release():
    with open("/etc/os-release") as stream:
        found = re.search(r"^VERSION_CODENAME=(\w+)", stream.read(), re.M)
    if not found:
        raise LabError("/etc/os-release names no release")
    return found.group(1)


def _sources(release):
    """Returns a list for apt with the backports of each place that the
    release itself comes from, signed by the same keys."""
    listing = run(["apt-get", "indextargets", "--format",
                   "$(CODENAME) $(CREATED_BY) $(COMPONENT) $(REPO_URI) "
                   "$(SIGNED_BY)"], check=False).stdout
    lines = set()
    for line in listing.splitlines():
        words = line.split(" ")
        if words[:3] == [release, "Packages", "main"]:
            # Without a value, apt prints the format.
            key = "" if words[4].startswith("$") or not words[4] \
                else " [signed-by=%s]" % words[4]
            lines.add("deb%s %s %s-backports main\n" % (key, words[3],
                                                         release))
    if not lines:
        raise LabError("apt has no source of %s" % release)
    return "".join(sorted(lines))


def _unpack(scratch):
    """Puts the packages into 'scratch'/root.  apt works in 'scratch' only."""
    sources = os.path.join(scratch, "sources.list")
    for folder in "lists/partial", "archives/partial", "debs", "root":
        os.makedirs(os.path.join(scratch, folder))
    release = _release()
    with open(sources, "w") as stream:
        stream.write(_sources(release))
    options = []
    for key, value in (("Dir::Etc::sourcelist", sources),
                       ("Dir::Etc::sourceparts", "-"),
                       ("Dir::State::lists", scratch + "/lists"),
                       ("Dir::Cache::archives", scratch + "/archives"),
                       ("Dir::Cache::pkgcache", ""),
                       ("Dir::Cache::srcpkgcache", ""),
                       ("APT::Sandbox::User", "root")):
        options += ["-o", "%s=%s" % (key, value)]
    debs = os.path.join(scratch, "debs")
    _apt(["apt-get", "-qq", *options, "update"], scratch)
    _apt(["apt-get", "-qq", *options, "download", *PACKAGES], debs)
    apt(["apt-get", "download", *FROM_RELEASE], debs)
    for archive in glob.glob(os.path.join(scratch, "debs", "*.deb")):
        run(["dpkg-deb", "-x", archive, os.path.join(scratch, "root")],
            timeout=300)


def _apt(argv, directory):
    result = subprocess.run(argv, cwd=directory, text=True,
                            env=dict(os.environ, LC_ALL="C"),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=600)
    if result.returncode:
        raise LabError("apt-get: %s" % result.stdout.strip())


def main():
    try:
        print(backports_qemu())
    except (LabError, OSError, subprocess.TimeoutExpired) as error:
        print("no QEMU from backports: %s" % error, file=sys.stderr)
        return SKIP
    return 0


if __name__ == "__main__":
    sys.exit(main())
