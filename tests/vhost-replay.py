#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Says to a switch what programs say that know the stock vhost-user port types
by name, checks the answers that they rely on, and has guests at the ports that
come of it exchange frames.

    vhost-replay.py [--stock] PROGRAM

For takeover.at.  --stock: the ports are Open vSwitch's own, with which each of
the programs works: what fails there asks for the wrong thing."""

import argparse
import sys

from vhost_replay import clouds, kubernetes, openstack
from vhost_replay.bed import Bed, Wrong

PROGRAMS = {"openstack": openstack.replay, "kube-ovn": kubernetes.kube_ovn,
            "userspace-cni": kubernetes.userspace_cni,
            "opennebula": clouds.opennebula, "cloudstack": clouds.cloudstack}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("program", choices=sorted(PROGRAMS))
    options = parser.parse_args()
    with Bed(options.stock) as bed:
        try:
            PROGRAMS[options.program](bed)
        except Wrong as wrong:
            sys.exit("wrong: %s" % wrong)


if __name__ == "__main__":
    main()
