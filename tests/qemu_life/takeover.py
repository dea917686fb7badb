# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Takeover of the stock types' names, under a guest like one of OpenStack's:
more than one queue pair, long rings, and an MTU that it is told."""

from ovs_vhost_lab import LabError, wait_until

from .life import PORT

MTU = 1450
DEVICE = "rx_queue_size=512,tx_queue_size=512,host_mtu=%d" % MTU
KEY = "other_config:vhost-user-takeover="


def restart(life, value):
    """Starts ovs-vswitchd anew with the setting."""
    life.switch.vsctl("set", "Open_vSwitch", ".", KEY + value)
    life.switch.exit_vswitchd()
    life.start_switch()


def whose(life):
    """Returns the type by which one of our ports presents itself, or None."""
    for line in life.switch.appctl("vhost/show").splitlines():
        if line.startswith(PORT + ": "):
            return line.split()[1]
    return None


def takeover(life):
    """The port's type is a stock one all the time; who has it changes."""
    life.start()
    life.add_port("mtu_request=%d" % MTU)
    life.boot(queues=2, device=DEVICE)
    features = life.status("features")
    told = life.guest.check("cat /sys/class/net/eth0/mtu").strip()
    if told != str(MTU):
        raise LabError("the guest's MTU is %s" % told)
    life.start_traffic()
    for value, kind in (("true", life.kind), ("false", None)):
        life.during("restart with takeover=" + value,
                    lambda: restart(life, value))
        if whose(life) != kind:
            raise LabError("the port is %s" % whose(life))
        wait_until(lambda: life.status("features") == features, 20,
                   "the guest has the features that it had")
        wait_until(lambda: life.switch.interface(PORT, "mtu") == str(MTU), 20,
                   "the port has its MTU")
    life.end_traffic()
