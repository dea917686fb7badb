# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Flows change while numbered frames run both ways between two guests.

A change to another way of saying the same loses nothing.  What a flow drops
is lost, and nothing else: every number that a sink misses is in a counter."""

import re
import time
from dataclasses import dataclass

from ovs_vhost_gaps.bed import BRIDGE
from ovs_vhost_gaps.load import Load
from ovs_vhost_lab import LabError, wait_until

PORTS = ("p1", "p2")
RATE = 4000                     # Frames a second, each way.
FLOWS = 64                      # Addresses that they come from, each way.
ROUNDS = 4
OTHERS = 200                    # Flows.
TABLE_1 = "table=1,actions=normal"
MORE = 0.15                     # Seconds of traffic after each change.

# The same, said otherwise.  What conntrack has under way goes on in table 1 as
# it is then, so that table must not be empty after the last one.
SAME = (
    ("actions=normal", TABLE_1),
    ("in_port=p1,actions=output:p2", "in_port=p2,actions=output:p1", TABLE_1),
    ("actions=resubmit(,1)", "table=1,in_port=p1,actions=output:p2",
     "table=1,in_port=p2,actions=output:p1"),
    ("in_port=p1,udp,actions=load:7->NXM_NX_REG0[],output:p2",
     "in_port=p2,udp,actions=mod_vlan_vid:7,strip_vlan,output:p1",
     "priority=0,actions=normal", TABLE_1),
    ("ip,actions=ct(table=1,zone=9)", TABLE_1),
)


@dataclass
class Fates:
    """What became of frames, of both ports together."""

    received: int
    missing: int                # Numbers that the sinks did not get.
    full: int                   # The guest's ring was full.
    dropped: int                # By the pipeline: flows said so.
    refused: dict               # By the datapath: {reason: frames}.

    def __sub__(self, other):
        return Fates(self.received - other.received,
                     self.missing - other.missing, self.full - other.full,
                     self.dropped - other.dropped,
                     {name: count - other.refused.get(name, 0)
                      for name, count in self.refused.items()
                      if count != other.refused.get(name, 0)})

    @property
    def unexplained(self):
        return (self.missing - self.full - self.dropped
                - sum(self.refused.values()))


class Talk:
    """Two guests that send to each other."""

    def __init__(self, hall):
        self.hall = hall
        hall.start()
        hall.add_ports(PORTS)
        self.load = Load(hall, "talk", RATE, [
            hall.guest(port, "generate+sink", "flows=%d" % FLOWS)
            for port in PORTS])
        hall.wait_flowing(self.load, 30)
        self._before = self._now()

    def _now(self):
        books = self.load.books()
        if books.repeated or books.corrupt:
            raise LabError("frames came twice or changed: %s" % books)
        refused = self._coverage()
        return Fates(sum(books.received), books.lost, self._full(),
                     refused.pop("drop_action_of_pipeline", 0), refused)

    def _full(self):
        """Returns how many frames did not fit into the guests' rings."""
        text = self.hall.switch.ofctl("dump-ports", BRIDGE, "--names")
        found = dict(re.findall(
            r"port +\"?(\w+)\"?: rx.*\n +tx pkts=\d+, bytes=\d+, "
            r"drop=(\d+)", text))
        return sum(int(found[port]) for port in PORTS)

    def _coverage(self):
        """Returns {reason: frames that the datapath dropped}."""
        text = self.hall.switch.appctl("coverage/show")
        return {name: int(count) for name, count in re.findall(
            r"^((?:datapath_drop|drop_action)_\w+) .*total: (\d+)", text,
            re.M)}

    def go_on(self):
        """Waits until frames have come at both sinks for a while."""
        first = self.load.books().received
        time.sleep(MORE)
        wait_until(lambda: all(
            now - then >= RATE * MORE / 4 for then, now
            in zip(first, self.load.books().received)), 30, "traffic goes on")

    def account(self, drops):
        """Raises LabError if a frame has been lost since the last call for no
        reason, or for one that was none.  'drops': flows were to drop some.
        Returns the Fates.  Each thread's counters come within seconds."""
        self.go_on()
        try:
            wait_until(lambda: not (self._now() - self._before).unexplained,
                       10, "all is counted")
        except LabError:
            pass
        now = self._now()
        fates = now - self._before
        self._before = now
        if fates.unexplained or fates.refused \
                or bool(fates.dropped) != drops:
            raise LabError("frames are lost: %s" % fates)
        return fates


def same(talk):
    """The flow table says the same in other words."""
    for _ in range(ROUNDS):
        for flows in SAME:
            talk.hall.write_flows(BRIDGE, flows)
            talk.go_on()
    return talk.account(False)


def others(talk):
    """Flows come and go that are about other frames, but make the datapath
    look at more of each."""
    hall = talk.hall
    for number in range(ROUNDS):
        hall.write_flows(BRIDGE, [TABLE_1] + [
            "priority=%d,udp,nw_src=%d.0.0.0/%d,tp_src=%d,tp_dst=%d,"
            "actions=drop" % (2 + each, 11 + each % 100, 8 + each % 25,
                              1 + each, 60000 + number)
            for each in range(OTHERS)] + ["priority=1,actions=normal"])
        talk.go_on()
        hall.switch.ofctl("del-flows", BRIDGE, "udp")
        talk.go_on()
    return talk.account(False)


def one_by_one(talk):
    """Each flow gets other actions by itself, while it is used."""
    hall = talk.hall
    hall.write_flows(BRIDGE, SAME[1])
    for actions in ("%s", "resubmit(,1)", "load:1->NXM_NX_REG1[],%s", "%s"):
        for port, to in (PORTS, PORTS[::-1]):
            hall.switch.ofctl("add-flow", BRIDGE, "--names", "table=1,in_port="
                              "%s,actions=output:%s" % (port, to))
            hall.switch.ofctl(
                "mod-flows", BRIDGE, "--names",
                "table=0,in_port=%s,actions=%s" % (
                    port, actions.replace("%s", "output:" + to)))
            talk.go_on()
    return talk.account(False)


def forgotten(talk):
    """The datapath's flows are taken away, and found again."""
    for number in range(2 * ROUNDS):
        talk.hall.switch.appctl(*(("revalidator/purge",),
                                  ("dpctl/del-flows",))[number % 2])
        talk.go_on()
    return talk.account(False)


def dropped(talk):
    """What a flow drops is lost, and not one frame more."""
    hall = talk.hall
    hall.write_flows(BRIDGE, SAME[0])
    hall.switch.ofctl("add-flow", BRIDGE, "--names", "priority=40000,"
                      "in_port=p1,udp,tp_src=0x0/0x3,actions=drop")
    talk.go_on()
    hall.switch.ofctl("del-flows", BRIDGE, "--names", "in_port=p1,udp")
    return talk.account(True)


STEPS = (same, others, one_by_one, forgotten, dropped)


def run(hall, log):
    """The scenario."""
    talk = Talk(hall)
    for step in STEPS:
        with log(step.__name__) as say:
            fates = step(talk)
            say("%(received)d frames came, %(full)d found a full ring, "
                "%(dropped)d were dropped by a flow" % vars(fates))
    talk.load.end()
