# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest that is a DPDK application: dpdk-testpmd on the guest's NICs.

DPDK has no use for the kernel's drivers: its image has none for NICs, but
vfio-pci, for NICs behind a vIOMMU, and uio_pci_generic, for others.  testpmd
is the host's, with those of its drivers that are named here; it is asked at
its prompt.

    guest = Guest("vm1", dpdk_image(), folder, memory=512, netns=net,
                  machine=VIOMMU_MACHINE, qemu_args=VIOMMU_ARGS,
                  kernel_args="%s hugepages=%d" % (VIOMMU_KERNEL_ARGS,
                                                   HUGEPAGES))
    guest.start(Nic(path, device=VIOMMU_DEVICE))
    guest.wait_ready()
    testpmd = Testpmd(guest)
    testpmd.start()
    testpmd.command("set fwd icmpecho", "start")
"""

import glob
import os
import re
import shutil

from .image import guest_image, needed_libraries
from .process import LabError, scaled

PROGRAM = "dpdk-testpmd"
MODULES = ("vfio_iommu_type1", "vfio_pci", "uio_pci_generic")
DRIVERS = ("net_virtio", "mempool_ring")
MEMORY = 128                    # MiB of testpmd.
HUGEPAGES = 96                  # Of 2 MiB, for hugepages= of the kernel.
STDBUF = "/usr/libexec/coreutils/libstdbuf.so"  # It writes line by line.

# Takes all NICs on PCI from their drivers and prints their addresses.
BIND = """cd /sys/bus/pci/devices
for device in *; do
    case $(cat $device/class) in 0x0200*) ;; *) continue ;; esac
    [ ! -e $device/driver ] || echo $device >$device/driver/unbind
    echo %(driver)s >$device/driver_override
    echo $device >/sys/bus/pci/drivers_probe
    [ -e $device/driver ] || { echo $device is not taken; exit 1; }
    echo $device
done"""


def _driver_dir(program):
    """Returns the directory where the host's DPDK looks for drivers."""
    for path in needed_libraries(program):
        if "/dpdk/pmds-" in path:
            return os.path.dirname(path)
    raise LabError("%s: its directory of drivers is not known" % program)


def _driver(folder, name):
    """Returns the path of a driver under the name that DPDK looks for, which
    ends in the whole version."""
    found = glob.glob(os.path.join(folder, "librte_%s.so.*.*" % name))
    if not found:
        raise LabError("no librte_%s in %s" % (name, folder))
    return found[0]


def dpdk_image(drivers=DRIVERS, modules=MODULES, **kwargs):
    """Returns an Image with testpmd and its 'drivers'; 'kwargs' are those of
    guest_image()."""
    program = shutil.which(PROGRAM)
    if not program:
        raise LabError("no %s here (Debian: dpdk-dev)" % PROGRAM)
    folder = _driver_dir(program)
    libraries = [_driver(folder, name) for name in drivers]
    return guest_image(
        modules=modules,
        programs=(program, *kwargs.pop("programs", ())),
        libraries=(*libraries, STDBUF, *kwargs.pop("libraries", ())),
        files={"etc/dpdk-drivers": folder, **kwargs.pop("files", {})},
        **kwargs)


def bind_nics(guest, driver="vfio-pci"):
    """Gives all the guest's NICs to a driver for DPDK; returns their PCI
    addresses."""
    found = guest.check(BIND % {"driver": driver}).split()
    if not found:
        raise LabError("guest %s has no NIC" % guest.name)
    return found


class Testpmd:
    """testpmd in a Guest that runs a dpdk_image().

    It drives all the guest's NICs or, if there are any, the virtual devices
    'vdevs', as DPDK's option of that name has them.  Its files in the guest
    are /tmp/NAME.in, .log and .pid.

    'words' are options of testpmd's own.  Its memory is of hugepages, which
    the guest's kernel must have been given, unless 'huge' is false: then each
    page has 4 KiB, and a translation of its own behind a vIOMMU."""

    def __init__(self, guest, words=(), driver="vfio-pci", huge=True,
                 vdevs=(), name="testpmd"):
        self.guest = guest
        self.vdevs = tuple(vdevs)
        self.base = "/tmp/" + name
        self.words = tuple(words)
        self.driver = driver
        self.huge = huge
        self._marks = 0

    def start(self, timeout=60):
        """Starts it on all the guest's NICs and waits for its prompt."""
        words = [PROGRAM, "--lcores", "0@0,1@0", "-m", str(MEMORY),
                 "--in-memory" if self.huge else "--no-huge --no-shconf",
                 "--no-telemetry"]
        words += self._devices()
        words += ["--", "-i", "--no-mlockall", "--nb-cores=1",
                  "--total-num-mbufs=8192", *self.words]
        self.guest.check(
            # DPDK takes no drivers from below a directory that is everybody's.
            "chmod go-w /; mkdir -p /var/run; rm -f {0}.in; mkfifo {0}.in;"
            " LD_LIBRARY_PATH=$(cat /etc/dpdk-drivers) LD_PRELOAD={1}"
            " _STDBUF_O=L setsid {2} <>{0}.in >{0}.log 2>&1 &"
            " echo $! >{0}.pid".format(self.base, STDBUF, " ".join(words)))
        self._wait("testpmd>", timeout)

    def _devices(self):
        """Returns EAL's options for the devices."""
        if self.vdevs:
            return ["--no-pci", *("--vdev=" + each for each in self.vdevs)]
        return [word for address in bind_nics(self.guest, self.driver)
                for word in ("-a", address)]

    def _wait(self, text, timeout):
        """Waits until it has said 'text'."""
        status, output = self.guest.run(
            "until grep -q '{1}' {0}.log; do"
            " kill -0 $(cat {0}.pid) 2>/dev/null || exit 3;"
            " sleep 0.1; done".format(
                self.base, text), timeout)
        if status:
            _, said = self.guest.run("tail -n 20 %s.log" % self.base)
            raise LabError("testpmd in guest %s: %s\n%s" % (
                self.guest.name, "it has ended" if status == 3 else
                "no '%s' within %g s" % (text, scaled(timeout)),
                output + said))

    def command(self, *lines, timeout=60):
        """Gives it commands, and returns what it says until it has done them
        all."""
        self._marks += 1
        mark = "mark-%d-" % self._marks
        size = int(self.guest.check("wc -c <%s.log" % self.base))
        self.guest.check("printf '%%s\\n' %s >%s.in" % (
            " ".join("'%s'" % line for line in (*lines, mark)), self.base))
        self._wait(mark, timeout)
        return self.guest.check("tail -c +%d %s.log" % (size + 1, self.base))

    def counters(self, port=0):
        """Returns (packets received, packets sent) since the last "clear port
        stats all"."""
        said = self.command("show port stats %d" % port)
        found = [re.search(r"%s-packets: +(\d+)" % way, said)
                 for way in ("RX", "TX")]
        if not all(found):
            raise LabError("testpmd: no counters of port %d:\n%s"
                           % (port, said))
        return tuple(int(each.group(1)) for each in found)

    def end(self, timeout=60):
        """Ends it in order: it gives back the NICs and its memory."""
        status, _ = self.guest.run(
            "echo quit >{0}.in; while kill -0 $(cat {0}.pid) 2>/dev/null; do"
            " sleep 0.1; done".format(self.base), timeout)
        if status:
            raise LabError("testpmd in guest %s does not end"
                           % self.guest.name)
