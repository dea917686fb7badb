# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What a guest boots: Debian's cloud kernel and an initramfs of busybox.

Both come from Debian packages that are downloaded and unpacked into a cache,
not installed: no second kernel in the host's /boot, no busybox in place of
another.  The initramfs is written here, file by file, with the modules and
programs that were asked for; its name in the cache is a hash of its contents,
so that nothing stale is ever booted and two users may build at once.
"""

import contextlib
import fcntl
import glob
import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass

from .process import LabError, run

KERNEL_PACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"
XZ_MAGIC = b"\xfd7zXZ\0"
MODULES = ("virtio_pci", "virtio_net")

# The guest's init.  Interfaces get the addresses that the kernel command line
# gives for their MAC: lab.nic=MAC,ADDRESS/LENGTH,MTU.  Then /etc/rc is run, if
# guest_image() was given one.  The first serial port
# has the kernel's messages until the agent takes it over; the second one has
# a shell for people.
INIT = r"""#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=linux
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devpts pts /dev/pts
mount -t tmpfs -o size=85% tmp /tmp
dmesg -n 1
for module in $(cat /etc/modules); do insmod $module; done

configure_nic() {
    IFS=, read mac address mtu <<END
$1
END
    for device in /sys/class/net/*; do
        if [ "$(cat $device/address)" = "$mac" ]; then
            [ -z "$mtu" ] || ip link set ${device##*/} mtu $mtu
            [ -z "$address" ] || ip addr add $address dev ${device##*/}
            ip link set ${device##*/} up
        fi
    done
}

ip link set lo up
for word in $(cat /proc/cmdline); do
    case $word in
    lab.name=*) hostname ${word#lab.name=} ;;
    lab.nic=*) configure_nic ${word#lab.nic=} ;;
    esac
done
[ ! -e /etc/rc ] || sh /etc/rc

# Not by "&", after which Ctrl-C would be ignored for ever.
start-stop-daemon -S -b -n shell -a /bin/sh -- /shell
while :; do
    stty -F /dev/ttyS0 -echo -onlcr -icanon min 1
    setsid sh -c 'exec sh /agent </dev/ttyS0 >/dev/ttyS0 2>&1'
    sleep 1
done
"""

# The shell for people, again and again.
SHELL = r"""export PS1='\h:\w\$ '
while :; do
    setsid sh -c 'exec sh -i </dev/ttyS1 >/dev/ttyS1 2>&1'
    sleep 1
done
"""

# Runs what Guest.run() asks for: lines with a number and a command in base64.
# Ctrl-C (or Ctrl-\) ends the command, not the agent.
AGENT = """trap : INT QUIT
while :; do
    read -r number code || continue
    command=$(echo "$code" | base64 -d)
    echo "<$number-begin>"
    sh -c "$command" </dev/null 2>&1
    echo "<$number-end> $?"
done
"""


def cache_dir():
    """Returns the cache directory, which it makes: $OVS_VHOST_CACHE, or
    ovs-vhost under $XDG_CACHE_HOME, /var/cache or ~/.cache."""
    path = os.environ.get("OVS_VHOST_CACHE")
    if not path:
        base = os.environ.get("XDG_CACHE_HOME") or (
            "/var/cache" if os.access("/var/cache", os.W_OK)
            else os.path.expanduser("~/.cache"))
        path = os.path.join(base, "ovs-vhost")
    os.makedirs(path, exist_ok=True)
    return path


@contextlib.contextmanager
def cache_lock():
    """Holds the cache's lock, so that two users do not download twice."""
    with open(os.path.join(cache_dir(), "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Packages.

def package(name):
    """Returns the directory with the unpacked Debian package 'name'.

    A name without a version part, such as linux-image-cloud-amd64, that only
    depends on the real package stands for that one.  What is in the cache is
    used as it is; delete it there to get a newer one."""
    with cache_lock():
        return _package(name)


def _package(name):
    root = os.path.join(cache_dir(), "packages")
    os.makedirs(root, exist_ok=True)
    link = os.path.join(root, name)
    if not os.path.isdir(link):
        folder = _download(_real_name(name), root)
        temporary = tempfile.mktemp(dir=root)
        os.symlink(os.path.basename(folder), temporary)
        os.replace(temporary, link)
    return os.path.realpath(link)


def _real_name(name):
    if not name.startswith("linux-image-") or re.search(r"\d\.\d", name):
        return name
    listing = apt(["apt-cache", "depends", name])
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if not found:
        raise LabError("apt knows no kernel under the name " + name)
    return found.group(1)


def apt(argv, directory=None):
    """Runs an apt program; brings its lists up to date if it fails."""
    env = dict(os.environ, LC_ALL="C")
    quiet = ["-qq", "-o", "APT::Sandbox::User=root"]
    for attempt in (1, 2):
        result = subprocess.run([argv[0], *quiet, *argv[1:]], cwd=directory,
                                env=env, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        if result.returncode == 0 and result.stdout.find("\nE: ") < 0:
            return result.stdout
        if attempt == 1:
            run(["apt-get", *quiet, "update"], timeout=300, check=False)
    raise LabError("%s: %s" % (" ".join(argv), result.stdout.strip()))


def _download(name, root):
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        apt(["apt-get", "download", name], scratch)
        archive, = glob.glob(os.path.join(scratch, "*.deb"))
        folder = os.path.join(root, os.path.basename(archive)[:-len(".deb")])
        if not os.path.isdir(folder):
            unpacked = os.path.join(scratch, "root")
            run(["dpkg-deb", "-x", archive, unpacked], timeout=300)
            os.rename(unpacked, folder)
    return folder


# Kernel modules.

def _module_files(kernel_root):
    """Returns a dictionary from module names to files."""
    files = {}
    for folder, _, names in os.walk(os.path.join(kernel_root, "lib/modules")):
        for name in names:
            found = re.match(r"(.+)\.ko(\.xz)?$", name)
            if found:
                files[found.group(1).replace("-", "_")] = os.path.join(folder,
                                                                       name)
    return files


def _module_contents(path):
    with open(path, "rb") as stream:
        contents = stream.read()
    return lzma.decompress(contents) if path.endswith(".xz") else contents


def modules_in_order(kernel_root, names):
    """Returns [(name, contents)] of the modules 'names' and all that they
    depend on, each after what it needs.  Built-in ones are left out."""
    files = _module_files(kernel_root)
    ordered = {}

    def visit(name):
        if name in ordered or name not in files:
            return
        contents = _module_contents(files[name])
        found = re.search(rb"\0depends=([^\0]*)\0", contents)
        for other in filter(None, found.group(1).decode().split(",")):
            visit(other.replace("-", "_"))
        ordered[name] = contents

    for name in names:
        visit(name.replace("-", "_"))
    return list(ordered.items())


# Initramfs.

class Cpio:
    """Collects files for an archive in the "newc" format of initramfs."""

    def __init__(self):
        self._entries = {}

    def _add(self, path, mode, contents=b"", device=(0, 0)):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self._entries:
            self._add(parent, stat.S_IFDIR | 0o755)
        self._entries[path] = (mode, contents, device)

    def directory(self, path):
        self._add(path, stat.S_IFDIR | 0o755)

    def file(self, path, contents, mode=0o644):
        if isinstance(contents, str):
            contents = contents.encode()
        self._add(path, stat.S_IFREG | mode, contents)

    def symlink(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def console(self):
        self._add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def __contains__(self, path):
        return path.strip("/") in self._entries

    def archive(self):
        """Returns the archive."""
        chunks = []
        for number, (path, entry) in enumerate(self._entries.items(), 1):
            chunks += _cpio_entry(number, path, *entry)
        chunks += _cpio_entry(0, "TRAILER!!!", 0, b"", (0, 0))
        return b"".join(chunks)


def _cpio_entry(number, path, mode, contents, device):
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(contents), 0, 0, *device,
              len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return [header, name, b"\0" * (-(len(header) + len(name)) % 4),
            contents, b"\0" * (-len(contents) % 4)]


def needed_libraries(path):
    """Returns the paths of the libraries that a host's program or library
    needs."""
    listing = run(["ldd", path], check=False).stdout
    return re.findall(r"(?:=> |^\s*)(/\S+)", listing, re.M)


def _add_host_file(cpio, path, place):
    """Adds a host's program or library to the archive, as 'place', and the
    libraries it needs where they are on the host."""
    for source, target in [*((library, library)
                             for library in needed_libraries(path)),
                           (path, place)]:
        if target not in cpio:
            with open(source, "rb") as stream:
                cpio.file(target, stream.read(), 0o755)


@dataclass(frozen=True)
class Image:
    """A kernel, an initramfs to boot with it, and busybox for the host."""

    kernel: str
    initramfs: str
    busybox: str


def _kernel_file(kernel_root):
    found = glob.glob(os.path.join(kernel_root, "boot", "vmlinuz-*"))
    if not found:
        raise LabError("no kernel in " + kernel_root)
    return found[0]


def _plain_kernel(path):
    """Returns a kernel that is not compressed by xz, which it keeps in the
    cache: without KVM, to uncompress it would be most of a guest's boot."""
    with open(path, "rb") as stream:
        contents = stream.read()
    start = contents.find(XZ_MAGIC)
    if start < 0:
        return path
    plain = os.path.join(cache_dir(), "kernels",
                         os.path.basename(path).replace("vmlinuz", "vmlinux"))
    if not os.path.exists(plain):
        os.makedirs(os.path.dirname(plain), exist_ok=True)
        kernel = lzma.LZMADecompressor().decompress(contents[start:])
        if not kernel.startswith(b"\x7fELF"):
            return path
        _replace(plain, kernel)
    return plain


def _busybox_file(root):
    for path in ("bin/busybox", "usr/bin/busybox"):
        if os.path.exists(os.path.join(root, path)):
            return os.path.join(root, path)
    raise LabError("no busybox in " + root)


def busybox():
    """Returns the path of a busybox for the host."""
    return _busybox_file(package(BUSYBOX_PACKAGE))


def guest_image(modules=MODULES, programs=(), files=None, init=INIT,
                kernel_package=None, libraries=()):
    """Returns an Image, which it builds unless the cache has it.

    'modules' are loaded at boot, in order, with what they depend on.
    'programs' are host files that go to /usr/bin with their libraries.
    'files' maps paths in the guest to bytes or text.  'libraries' are more of
    the host's, which keep their paths."""
    kernel_root = package(kernel_package
                          or os.environ.get("OVS_VHOST_KERNEL_PACKAGE")
                          or KERNEL_PACKAGE)
    program = busybox()
    contents = _initramfs(kernel_root, program, modules, programs, libraries,
                          files or {}, init)
    return Image(_plain_kernel(_kernel_file(kernel_root)), _store(contents),
                 program)


def _initramfs(kernel_root, busybox, modules, programs, libraries, files,
               init):
    cpio = Cpio()
    for path in ("dev", "proc", "sys", "tmp", "etc", "usr/bin"):
        cpio.directory(path)
    cpio.console()
    with open(busybox, "rb") as stream:
        cpio.file("bin/busybox", stream.read(), 0o755)
    for applet in run([busybox, "--list"]).stdout.split():
        if applet != "busybox":
            cpio.symlink("bin/" + applet, "/bin/busybox")
    order = modules_in_order(kernel_root, modules)
    for name, contents in order:
        cpio.file("lib/modules/%s.ko" % name, contents)
    cpio.file("etc/modules",
              "".join("/lib/modules/%s.ko\n" % name for name, _ in order))
    for path in programs:
        _add_host_file(cpio, path, "usr/bin/" + os.path.basename(path))
    for path in libraries:
        _add_host_file(cpio, path, path)
    for path, contents in sorted(files.items()):
        cpio.file(path, contents, 0o755)
    cpio.file("agent", AGENT)
    cpio.file("shell", SHELL)
    cpio.file("init", init, 0o755)
    return cpio.archive()


def _store(contents):
    """Keeps 'contents' in the cache under their hash; returns the path."""
    folder = os.path.join(cache_dir(), "images")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder,
                        hashlib.sha256(contents).hexdigest()[:16] + ".cpio")
    if not os.path.exists(path):
        _replace(path, contents)
    return path


def _replace(path, contents):
    """Makes a file that is never seen half written."""
    folder = os.path.dirname(path)
    _check_space(folder, len(contents))
    descriptor, temporary = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(contents)
    os.replace(temporary, path)


def _check_space(folder, size):
    if shutil.disk_usage(folder).free < size + (64 << 20):
        raise LabError("%s: not enough space for a guest image" % folder)
