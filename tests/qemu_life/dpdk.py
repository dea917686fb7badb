# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A guest with a vIOMMU that is a DPDK application: it maps all of its memory
once.  The switch asks for each translation when the memory is first used, and
from then on nothing is lost."""

import time

from ovs_vhost_lab import LabError, Testpmd, dpdk_image, wait_until
from ovs_vhost_lab.dpdk import HUGEPAGES

from .iommu import boot_behind_iommu
from .life import BRIDGE, PORT

MEMORY = 512                    # MiB of the guest.
PINGS = 100
BURSTS = 4                      # Frames on their way: they fit any ring.
FRAMES = 100000
COOKIE = "0xd9d4"


def iommu_dpdk(life):
    """testpmd in the guest, in huge pages and in small ones: pings, and frames
    that go round between guest and switch, all of which are counted."""
    testpmd = Testpmd(None)
    life.on_boot = lambda: start(life, testpmd)
    boot_behind_iommu(life, "hugepages=%d" % HUGEPAGES, dpdk_image(),
                      memory=MEMORY)
    work(life, testpmd, "huge pages")

    # All is unmapped, and other memory mapped.  With small pages the stock
    # ports' tables do not do.
    for huge in (False, True) if life.ours else (True,):
        testpmd.end()
        testpmd.huge = huge
        life.on_boot()
        life.reach()
        work(life, testpmd, "testpmd anew, %s pages"
             % ("huge" if huge else "small"))

    # The new switch knows no translation.
    if life.ours or not life.packed:
        life.kill_switch()
        life.start_switch()
        life.reach()
        work(life, testpmd, "ovs-vswitchd killed, started")


def start(life, testpmd):
    """Starts testpmd, which then answers pings for any address."""
    testpmd.guest = life.guest
    testpmd.start()
    testpmd.command("set fwd icmpecho", "start")


def work(life, testpmd, what):
    """Pings, and frames that go round."""
    lost = PINGS - life.ping(PINGS, interval=0.02, patience=10)
    life.say("%s: %d of %d pings lost" % (what, lost, PINGS))
    if lost and life.ours:
        raise LabError("%d pings lost" % lost)
    warm_up(life, testpmd)
    received, sent, rate = go_round(life, testpmd)
    life.say("%d frames from the guest, %d to it, %.0f a second, %d misses"
             % (received, sent, rate, asked(life)))
    if life.ours and life.show("BROKEN"):
        raise LabError("a ring is broken")


def port_counters(life):
    """Returns what the switch has received, sent and dropped."""
    return [life.stat(name) for name in ("rx_packets", "tx_packets",
                                         "tx_dropped")]


def asked(life):
    """Returns how many translations the switch has missed."""
    return sum(life.stat("%s_q0_iotlb_misses" % way) for way in ("rx", "tx"))


def round_frames(life):
    """Waits until the frames have gone round FRAMES times in all, or no frame
    moves any more; tells which."""
    first = last = life.stat("rx_packets")

    def ended():
        nonlocal last
        before, last = last, life.stat("rx_packets")
        return last - first > FRAMES or last == before
    wait_until(ended, 60, "frames go round", interval=1)
    return last - first > FRAMES


def warm_up(life, testpmd):
    """Lets frames go round until testpmd uses no memory that it has not used
    before.  Frames cannot wait for a translation of the guest's buffers."""
    dropped = life.stat("tx_dropped")
    for attempt in range(20):
        before = asked(life)
        turn_back(life, testpmd)
        testpmd.command("start tx_first %d" % BURSTS)
        if round_frames(life) and asked(life) == before:
            break
    else:
        raise LabError("there are always more translations to ask for")
    life.say("%d frames dropped in %d turns until all was known"
             % (life.stat("tx_dropped") - dropped, attempt))


def go_round(life, testpmd):
    """The switch sends each frame back, and so does the guest.  At the end the
    guest has got all that it has sent, and both have counted the same.
    Returns (frames from the guest, frames to it, frames per second)."""
    turn_back(life, testpmd)
    before = port_counters(life)
    testpmd.command("start tx_first %d" % BURSTS)
    begin, first = time.monotonic(), life.stat("rx_packets")
    if not round_frames(life):
        raise LabError("the frames have gone")
    rate = (life.stat("rx_packets") - first) / (time.monotonic() - begin)

    # What is on its way is still to come.
    testpmd.command("stop", "set fwd rxonly", "start")
    wait_until(lambda: testpmd.counters() == testpmd.counters(), 20,
               "nothing is on its way")
    received, sent, dropped = (after - first for first, after in
                               zip(before, port_counters(life)))
    if testpmd.counters() != (sent, received):
        raise LabError("the guest has counted %d to it, %d from it, the "
                       "switch %d and %d" % (*testpmd.counters(), sent,
                                             received))
    if dropped or sent != received:
        raise LabError("%d frames from the guest, %d to it, %d dropped"
                       % (received, sent, dropped))
    life.switch.ofctl("del-flows", BRIDGE, "cookie=%s/-1" % COOKIE)
    testpmd.command("stop", "set fwd icmpecho", "start")
    return received, sent, rate


def turn_back(life, testpmd):
    """From now on nothing passes but what the guest sends, which comes back
    to it.  Waits until nothing else is on its way."""
    for flow in "priority=40000,actions=drop", \
                "priority=50000,in_port=%s,actions=in_port" % PORT:
        life.switch.ofctl("add-flow", BRIDGE, "--names",
                          "cookie=%s,%s" % (COOKIE, flow))
    testpmd.command("stop", "set fwd rxonly", "start")
    wait_until(lambda: testpmd.counters() == testpmd.counters(), 20,
               "nothing is on its way")
    testpmd.command("stop", "clear port stats all", "set fwd io")
