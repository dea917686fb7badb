# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest that moves from one QEMU to another, by pre-copy.

    wait_incoming(target)           # It has "-incoming unix:path".
    start_precopy(source, path)
    info = wait_migrated(source, target)
"""

from .process import LabError, wait_until


def wait_incoming(target):
    """Waits until the Guest 'target' can be reached by the other: it answers
    when it listens already."""
    wait_until(lambda: target.qmp("query-status")["status"] == "inmigrate", 30,
               "QEMU waits for the guest")


def start_precopy(source, path):
    """Has the Guest 'source' begin to move.

    In few rounds: QEMU without KVM loses what a guest's CPU writes, now and
    then, and the more the longer it takes, whatever the port's type."""
    source.qmp("migrate-set-parameters", max_bandwidth=48 << 20,
               downtime_limit=500)
    source.qmp("migrate", uri="unix:" + path)


def wait_copied(source):
    """Waits until most of the memory has been copied once."""
    def most():
        info = source.qmp("query-migrate")
        ram = info.get("ram")
        return info["status"] not in ("setup", "active") or \
            ram and ram["remaining"] < 0.3 * ram["total"]
    wait_until(most, 60, "most of the memory has been copied", 0.01)


def wait_migrated(source, target):
    """Waits until QEMU says that the migration has been completed and returns
    what it tells of it."""
    def ended():
        info = source.qmp("query-migrate")
        if info.get("status") in ("failed", "cancelled"):
            raise LabError("migration: %s" % info)
        return info.get("status") == "completed" and info
    info = wait_until(ended, 120, "the migration is completed")
    wait_until(lambda: target.qmp("query-status")["status"] == "running", 30,
               "the guest runs at its new place")
    return info
