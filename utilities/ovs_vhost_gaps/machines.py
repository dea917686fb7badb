# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Cases whose guest is a Linux in QEMU.

The guest at p2 is a router with one interface: what the emulated guest at p1
sends it for an address beyond, it sends back.  So frames are numbered and
counted here too, and the guest needs no program of its own.  While it boots,
frames for it have nowhere to go: lost says how many those were.
"""

import time
from dataclasses import dataclass

from ovs_vhost_lab import (Guest, LabError, Nic, guest_image, wait_until)

from . import leftovers
from .bed import Bed
from .load import Load, interrupted
from .table import Side

LIMIT = 20                      # Seconds until a port counts as lost.
BOOT_LIMIT = 90                 # The same where the guest boots meanwhile.
MAC = "52:54:00:00:00:02"
DIMM_MIB = 256

# At boot, and after the driver has come back: the interface, and the way back.
RC = """#!/bin/busybox sh
for all in all default; do
    echo 0 >/proc/sys/net/ipv4/conf/$all/send_redirects
done
echo 1 >/proc/sys/net/ipv4/ip_forward
for device in /sys/class/net/*; do
    [ "$(cat $device/address)" = %s ] && name=${device##*/}
done
ip addr add 10.0.0.2/16 dev $name
ip link set $name up
echo 0 >/proc/sys/net/ipv4/conf/$name/send_redirects
arp -s 10.0.0.1 02:76:68:00:00:01
ip route add 10.9.0.0/16 via 10.0.0.1
""" % MAC

# Finds the device of the only NIC.
DEVICE = "device=$(basename $(readlink -f /sys/class/net/%s/device)); " \
    % "$(grep -l %s /sys/class/net/*/address | cut -d/ -f5)" % MAC


@dataclass(frozen=True)
class Machine:
    """'action' is run with a Lab and the number of the round."""

    name: str
    title: str
    action: object
    server: bool = False        # The switch listens.
    limit: float = LIMIT
    rate: int = 1000            # Frames a second.
    rounds: int = 2             # At most: a machine takes long.
    quick: bool = False

    def run(self, name, build, folder, rounds):
        """Runs the rounds on one side; returns a Side."""
        side = Side()
        with Bed(name, build, folder, self.server) as bed, Lab(bed) as lab:
            lab.start(self.rate)
            watch = leftovers.Watch(bed.switch)
            for number in range(min(rounds, self.rounds)):
                side.add(interrupted(lab.load,
                                     lambda: self.action(lab, number),
                                     self.rate, self.limit))
                if side.stuck:
                    side.note = bed.errors()
                    break
                side.left = watch.left()
            lab.load.end()
        return side


class Lab:
    """A Bed with the load at p1 and the guest at p2."""

    def __init__(self, bed):
        self.bed = bed
        self.load = None
        self.guest = None
        self.nic = None

    def start(self, rate):
        """Starts everything and waits until frames come back."""
        bed = self.bed
        bed.start()
        bed.add_port("p1")
        bed.add_port("p2")
        image = guest_image(
            modules=("virtio_pci", "virtio_net", "uio_pci_generic"),
            files={"etc/rc": RC})
        self.guest = Guest(
            "vm", image, bed.folder, memory=256, netns=bed.netns,
            kernel_args="memhp_default_state=online_movable",
            qemu_args=("-m", "slots=4,maxmem=2G"))
        self.nic = Nic(bed.socket("p2"), listen=not bed.server, mac=MAC)
        self.guest.start(self.nic)
        self.load = Load(bed, "load", rate, [
            bed.guest("p1", "generate+sink", "mac=02:76:68:00:00:01",
                      "ip=10.0.0.1", "dst-mac=" + MAC, "dst-ip=10.9.0.1")])
        self.guest.wait_ready()
        bed.wait_flowing(self.load, BOOT_LIMIT)

    def close(self):
        """Ends the guest."""
        if self.guest:
            self.guest.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# What interrupts.

def kill_qemu(lab, _):
    lab.guest.kill()
    lab.guest.start(lab.nic)


def reset(lab, _):
    lab.guest.qmp("system_reset")
    lab.guest.wait_event("RESET")
    lab.guest.wait_ready()


def reset_without_switch(lab, _):
    lab.bed.switch.exit_vswitchd()
    lab.guest.qmp("system_reset")
    lab.guest.wait_event("RESET")
    lab.guest.wait_ready()
    lab.bed.switch.start_vswitchd()


def rebind(lab, _):
    lab.guest.check(DEVICE + "cd /sys/bus/virtio/drivers/virtio_net && "
                    "echo $device >unbind && echo $device >bind && sh /etc/rc")


def rebind_uio(lab, _):
    lab.guest.check(
        DEVICE + "virtio=/sys/bus/virtio/devices/$device; "
        "pci=$(basename $(dirname $(readlink -f $virtio))); "
        "cd /sys/bus/pci/devices/$pci && "
        "echo $pci >driver/unbind && "
        "echo uio_pci_generic >driver_override && "
        "echo $pci >/sys/bus/pci/drivers_probe && [ -e /dev/uio0 ] && "
        "echo $pci >driver/unbind && echo >driver_override && "
        "echo $pci >/sys/bus/pci/drivers_probe && sh /etc/rc")


def hot_plug(lab, _):
    guest = lab.guest
    before = total_memory(guest)
    guest.qmp("object-add", qom_type="memory-backend-memfd", id="more",
              share=True, size=DIMM_MIB << 20)
    guest.qmp("device_add", driver="pc-dimm", id="dimm", memdev="more")
    wait_until(lambda: total_memory(guest) > before, 20,
               "the guest has more memory", interval=0.2)
    guest.qmp("device_del", id="dimm")
    guest.wait_event("DEVICE_DELETED")
    guest.qmp("object-del", id="more")


def total_memory(guest):
    """Returns the guest's memory in KiB."""
    return int(guest.check("grep MemTotal /proc/meminfo").split()[1])


def kill_switch(lab, _):
    lab.bed.kill_switch()


def restart_switch(lab, _):
    lab.bed.restart_switch()


def _both(name, title, action, **kwargs):
    """Returns a case for each role."""
    return (Machine(name, title, action, **kwargs),
            Machine(name + "-server", title + ", the switch listens", action,
                    server=True, **kwargs))


CASES = (
    *_both("qemu-switch-kill", "QEMU guest; ovs-vswitchd killed (-9) and "
           "started", kill_switch),
    *_both("qemu-switch-restart", "QEMU guest; ovs-vswitchd ended in order "
           "and started", restart_switch),
    *_both("qemu-kill", "QEMU killed (-9) and started: the guest boots",
           kill_qemu, limit=BOOT_LIMIT),
    *_both("qemu-reset", "guest rebooted", reset, limit=BOOT_LIMIT),
    *_both("qemu-reset-down", "guest rebooted while the switch is down",
           reset_without_switch, limit=BOOT_LIMIT),
    Machine("qemu-rebind", "guest's driver unbound and bound again", rebind),
    Machine("qemu-uio", "guest's NIC given to uio_pci_generic and back",
            rebind_uio),
    Machine("qemu-dimm", "memory plugged and unplugged", hot_plug),
)
