# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The scenarios.  Each gets a Life, and raises LabError if what has to hold
does not.  What only our ports promise is not asked of stock ones."""

import os
import re
import signal
import time

from ovs_vhost_lab import LabError, wait_until

from .dpdk import iommu_dpdk
from .iommu import iommu
from .life import BRIDGE, GUEST, OURS, PORT, STATION, STOCK
from .takeover import takeover

QUEUES = 4
DIMM = 256                      # MiB
BLOCK_MIB = 128                 # Of Linux's memory hot-plug, x86.
FOUR_GIB = 4 << 30              # Above it is what was plugged in.


# The type of the port changes.

def swap(life):
    """The port's type is changed to its counterpart's under a running guest,
    and back, in both ways that ovs-vsctl has."""
    here, there = life.kind, STOCK.get(life.kind) or OURS[life.kind]
    life.start()
    life.add_port()
    life.boot()
    features = life.status("features")
    life.start_traffic()
    if life.packed:
        swap_packed(life, here, there)
    for anew in (False, True) if not life.packed else ():
        for kind in there, here:
            life.during("%s to %s" % ("del-port, add-port" if anew
                                      else "type set", kind),
                        lambda: life.swap(kind, anew))
            wait_until(lambda: life.status("features") == features, 20,
                       "the guest has the features that it had")
    if life.streams:
        life.end_traffic()


def swap_packed(life, here, there):
    """A packed ring does not tell where its device is.  QEMU knows only if
    the rings were stopped before the port went, the link taken down or the
    machine paused, and stay stopped until the new port is connected: without
    one QEMU serves the rings itself, and stock ports tell it only half of
    where they are.  Otherwise the guest's driver has to start anew."""
    def paused(kind):
        life.guest.qmp("stop")
        life.swap_and_wait(kind)
        life.guest.qmp("cont")

    def unplugged(kind):
        life.guest.qmp("set_link", name="net0", up=False)
        life.swap_and_wait(kind)
        life.guest.qmp("set_link", name="net0", up=True)

    for how in paused, unplugged:
        for kind in there, here:
            life.during("%s, type set to %s" % (how.__name__, kind),
                        lambda: how(kind))
    life.end_traffic()
    for kind in there, here:
        life.swap(kind, False)
        wait_carrier(life, "1")
        life.say("type set to %s: %d of 5 pings answered"
                 % (kind, life.ping(5)))
        rebind(life)
        life.reach()
        life.say("driver bound anew: the guest is back")


# Queue pairs.

def cpu_masks():
    """Returns masks for one PMD and for two, as far as there are CPUs."""
    cpus = sorted(os.sched_getaffinity(0))
    masks = ["0x%x" % (1 << cpus[0])]
    if len(cpus) > 1:
        masks.append("0x%x" % (1 << cpus[0] | 1 << cpus[1]))
    return masks


def set_pmds(life, mask):
    life.switch.vsctl("set", "Open_vSwitch", ".",
                      "other_config:pmd-cpu-mask=" + mask)


def check_spread(life, n):
    """The guest's traffic comes by its 'n' queues and no other."""
    before = [life.stat("rx_q%d_good_packets" % queue)
              for queue in range(QUEUES)]

    def used():
        # Each attempt has a port of its own, and so a queue by its hash.
        life.guest.check("for i in 1 2 3 4 5 6 7 8; do"
                         " nc -w 1 %s 9 2>/dev/null & done; wait" % STATION)
        return [queue for queue in range(QUEUES)
                if life.stat("rx_q%d_good_packets" % queue) > before[queue]]
    if life.ours:
        wait_until(lambda: used() == list(range(n)), 30,
                   "packets come by %d queues" % n)


def queues(life):
    """The guest changes the number of its queue pairs at run time, with more
    PMDs than queues and fewer."""
    masks = cpu_masks()
    foreseen = ["options:n_rxq=%d" % QUEUES] if life.ours else []
    life.start(nic=True, pmd_cpu_mask=masks[0])
    life.add_port(*foreseen)
    before = life.reconfigurations()
    life.boot(queues=QUEUES)
    if life.ours:
        life.same_reconfigurations(before, "the guest came")

    # One processor: Linux begins with one pair, and three were never enabled.
    life.wait_queues(1, QUEUES)
    life.start_traffic()
    for mask, numbers in zip(masks, ((QUEUES, 1), (3, 1, 2))):
        set_pmds(life, mask)
        life.check_traffic()
        life.say("PMDs: %s" % mask)
        before = life.reconfigurations()
        for n in numbers:
            life.during("%d queue pairs" % n, lambda: life.set_queues(n),
                        lost=None if not life.ours else 2)
            life.wait_queues(n, QUEUES)
            check_spread(life, n)
        life.same_reconfigurations(before, "queues enabled and disabled")
    life.end_traffic()

    # QEMU comes anew: the queues are there already.
    before = life.reconfigurations()
    life.guest.kill()
    life.start_guest()
    life.wait_queues(1, QUEUES)
    life.same_reconfigurations(before, "reconnected")


def unforeseen(life):
    """Queues that the switch was not told of before cost one reconfiguration
    of the datapath, whatever the guest does with them."""
    life.start()
    life.add_port()
    before = life.reconfigurations()
    life.boot(queues=QUEUES, cpus=2)
    life.wait_queues(2, QUEUES)
    count = life.reconfigurations() - before
    life.say("%d reconfigurations for %d queues" % (count, QUEUES))
    if life.ours and count != 1:
        raise LabError("not exactly one reconfiguration")
    before = life.reconfigurations()
    for n in QUEUES, 1, QUEUES:
        life.set_queues(n)
        life.wait_queues(n, QUEUES)
        life.reach()
    life.guest.qmp("system_reset")
    life.guest.wait_ready(120)
    life.reach()
    life.same_reconfigurations(before, "ethtool -L, reboot")


# MTU.

def has_counters(life):
    """Whether the port counts: of Open vSwitch 3.1, dpdkvhostuser does not."""
    return life.kind != "dpdkvhostuser"


def large_pings(life, size, mtu):
    """Pings of 'size' bytes pass in whole frames."""
    count = 5
    frames = life.stat("rx_packets"), life.stat("tx_packets")
    n_bytes = life.stat("rx_bytes"), life.stat("tx_bytes")
    if life.ping(count, size) != count or life.guest_ping(count, size) != count:
        raise LabError("MTU %d: not all pings of %d bytes are answered"
                       % (mtu, size))
    for before, old_bytes, way in zip(frames, n_bytes, ("rx", "tx")):
        new = life.stat(way + "_packets") - before
        new_bytes = life.stat(way + "_bytes") - old_bytes
        if not has_counters(life):
            continue
        if new > 4 * count or new_bytes < 2 * count * size:
            raise LabError("MTU %d: %d bytes in %d frames, %s"
                           % (mtu, new_bytes, new, way))
    life.say("MTU %d: pings of %d bytes in whole frames" % (mtu, size))


def check_guest_mtu(life, mtu):
    found = int(life.guest.check("cat /sys/class/net/eth0/mtu"))
    if found != mtu:
        raise LabError("the guest's MTU is %d, not %d" % (found, mtu))
    if life.ours and life.status("mtu") != str(mtu):
        raise LabError("status:mtu is '%s', not %d" % (life.status("mtu"),
                                                       mtu))


def set_port_mtu(life, mtu):
    """Changes the port's MTU; the bridge's own port keeps its."""
    life.switch.vsctl("set", "Interface", PORT, "mtu_request=%d" % mtu)
    wait_until(lambda: life.switch.interface(PORT, "mtu") == str(mtu), 20,
               "the port has MTU %d" % mtu)


def mtu(life):
    """QEMU tells guest and switch an MTU; frames up to it pass, and larger
    ones are counted."""
    life.start()
    life.switch.vsctl("set", "Interface", BRIDGE, "mtu_request=9702")
    life.add_port("mtu_request=9000")
    life.boot(device="host_mtu=9000")
    check_guest_mtu(life, 9000)
    large_pings(life, 8000, 9000)
    large_pings(life, 9000 - 28, 9000)

    # The largest; under a guest that runs, and then one that is told.
    set_port_mtu(life, 9702)
    large_pings(life, 9000 - 28, 9702)
    life.guest.kill()
    life.start_guest(device=life_device(life, "host_mtu=9702"))
    check_guest_mtu(life, 9702)
    large_pings(life, 9702 - 28, 9702)

    # A port that takes less than its guest thinks.
    set_port_mtu(life, 1500)
    life.reach()
    dropped, large = life.stat("rx_dropped"), \
        life.stat("ovs_vhost_rx_too_big_drops")
    if life.guest_ping(5, 8000):
        raise LabError("a frame larger than the port's buffers passed")
    if life.ours:
        wait_until(lambda: life.stat("ovs_vhost_rx_too_big_drops") - large
                   == 5 == life.stat("rx_dropped") - dropped, 10,
                   "5 frames are counted as too big")
        life.wait_show(r"receiving: .*too_big_drops 5")
    refused = life.stat("ovs_tx_mtu_exceeded_drops")
    if life.ping(5, 8000):
        raise LabError("a frame larger than the port's MTU passed")
    if has_counters(life) \
            and life.stat("ovs_tx_mtu_exceeded_drops") - refused != 5:
        raise LabError("not 5 frames are counted as larger than the MTU")
    life.reach()
    life.say("larger frames are dropped and counted")
    set_port_mtu(life, 9702)
    life.reach()
    large_pings(life, 9702 - 28, 9702)


def life_device(life, device):
    return device + (",packed=on" if life.packed else "")


# Memory.

def plug(life, number):
    """Gives the guest another DIMM."""
    name = "dimm%d" % number
    life.guest.qmp("object-add", **{
        "qom_type": "memory-backend-memfd", "id": "mem-" + name,
        "size": DIMM << 20, "share": True})
    life.guest.qmp("device_add", driver="pc-dimm", id=name,
                   memdev="mem-" + name)


def offline_blocks(life):
    """Returns the numbers of memory blocks that Linux does not use."""
    text = life.guest.check("cd /sys/devices/system/memory;"
                            " grep -l offline memory*/state || :")
    return re.findall(r"memory(\d+)/", text)


def online(life, kind):
    """Lets Linux use what was plugged in: 'kind' is what for."""
    def appeared():
        blocks = offline_blocks(life)
        return len(blocks) >= DIMM // BLOCK_MIB and blocks
    blocks = wait_until(appeared, 20, "the guest sees the memory")
    for block in blocks:
        life.guest.check("echo %s >/sys/devices/system/memory/memory%s/state"
                         % (kind, block))


def zone_pages(life, zone):
    """Returns (pages that the guest's zone has, pages of those in use)."""
    text = life.guest.check("cat /proc/zoneinfo")
    found = re.search(r"zone +%s\n(.*?)(?=\nNode|\Z)" % zone, text, re.S)
    if not found:
        return 0, 0
    free = int(re.search(r"pages free +(\d+)", found.group(1)).group(1))
    managed = int(re.search(r"managed +(\d+)", found.group(1)).group(1))
    return managed, managed - free


def check_rings_above(life, limit):
    """The guest's rings, and the buffers for packets to it, are at addresses
    of at least 'limit'."""
    device = life.guest.qmp("x-query-virtio")[0]["path"]
    for queue in 0, 1:
        # Without "vhost", it would ask the switch for the ring's base, and so
        # stop the ring.
        ring = life.guest.qmp("x-query-virtio-vhost-queue-status",
                              path=device, queue=queue)
        if ring["desc-phys"] < limit:
            raise LabError("ring %d is at 0x%x" % (queue, ring["desc-phys"]))
        dump = life.guest.qmp(
            "human-monitor-command", command_line="xp /%dgx 0x%x" % (
                2 * ring["num"], ring["desc-phys"]))
        words = re.findall(r"0x([0-9a-f]{16})", dump)
        buffers = [int(word, 16) for word in words[::2] if int(word, 16)]
        above = sum(address >= limit for address in buffers)
        life.say("ring %d, and %d of %d buffers, are in the new memory"
                 % (queue, above, len(buffers)))
        if queue == 0 and above < len(buffers) / 2:
            raise LabError("most buffers are elsewhere")


def rebind(life):
    """The guest's driver lets go of the NIC and takes it again."""
    life.guest.check("cd /sys/bus/virtio/drivers/virtio_net;"
                     " for name in virtio*; do echo $name >unbind;"
                     " echo $name >bind; done; sleep 0.1")
    life.configure_guest()


def memory(life):
    """Memory is plugged in under traffic, used for rings and packets, and
    pulled out again."""
    life.start()
    life.add_port()
    life.boot(memory=256, kernel_args="memhp_default_state=offline",
              qemu_args=("-m", "slots=4,maxmem=4G"))
    if "mem-slots" in (life.extras or ""):
        life.wait_show("CONFIGURE_MEM_SLOTS")
    life.start_traffic()
    for number in 1, 2:
        life.during("DIMM %d plugged" % number, lambda: plug(life, number),
                    lost=2)
        life.wait_show(r"memory: %d regions" % (1 + number))
        if number == 1:
            # Below 4 GiB there is no zone "Normal": it is the new memory.
            # The kernel takes from there first.
            life.during("DIMM 1 in use", lambda: online(life, "online_kernel"),
                        lost=2)
    life.during("DIMM 2 in use", lambda: online(life, "online_movable"),
                lost=2)
    if not zone_pages(life, "Normal")[0] or not zone_pages(life, "Movable")[0]:
        raise LabError("the guest does not use the new memory")

    life.end_traffic()
    rebind(life)
    life.reach()
    check_rings_above(life, FOUR_GIB)
    life.start_traffic()
    life.during("DIMM 2 pulled", lambda: pull(life, 2), lost=2)
    life.wait_show(r"memory: 2 regions")
    life.end_traffic()


def pull(life, number):
    """Takes the DIMM away, with the guest's consent."""
    name = "dimm%d" % number
    life.guest.qmp("device_del", id=name)
    while life.guest.wait_event("DEVICE_DELETED", 60).get("device") != name:
        pass
    life.guest.qmp("object-del", id="mem-" + name)


# Interruptions.

def stop_and_go(life):
    life.guest.qmp("stop")
    time.sleep(0.5)
    life.guest.qmp("cont")


def wait_carrier(life, wanted):
    """Waits until the guest's interface has a link ("1") or none ("0")."""
    path = "/sys/class/net/eth0/carrier"
    wait_until(lambda: life.guest.run("cat " + path)[1].strip() == wanted,
               20, "the guest's link is " + wanted)


def unplug_cable(life):
    life.guest.qmp("set_link", name="net0", up=False)
    wait_carrier(life, "0")
    life.guest.qmp("set_link", name="net0", up=True)
    wait_carrier(life, "1")


def reload_driver(life):
    life.guest.check("rmmod virtio_net; insmod /lib/modules/virtio_net.ko")
    life.configure_guest()


def down_and_up(life):
    life.guest.check("ip link set eth0 down; ip link set eth0 up")


def reset(life):
    life.guest.qmp("system_reset")
    life.guest.wait_event("RESET", 30)
    life.guest.wait_ready(120)


def restart_qemu(life):
    life.guest.kill()
    life.start_guest()


def end_qemu(life):
    life.guest.kill(signal.SIGTERM)
    wait_until(lambda: not life.guest.pid(), 20, "QEMU ends")
    life.start_guest()


def interruptions(life):
    """What an operator or the guest does to a running guest: it is back by
    itself, nothing is left behind, and the datapath has not noticed."""
    life.start()
    life.add_port()
    life.boot()
    before = life.reconfigurations()
    life.start_traffic()
    life.during("stop, cont", lambda: stop_and_go(life))
    life.during("set_link off, on", lambda: unplug_cable(life))
    life.during("interface down, up", lambda: down_and_up(life))
    belongings = life.belongings()
    life.during("driver unbound, bound", lambda: rebind(life))
    life.during("driver unloaded, loaded", lambda: reload_driver(life))
    life.end_traffic()
    for what, action in (("system_reset", reset),
                         ("QEMU killed, started", restart_qemu),
                         ("QEMU ended, started", end_qemu)):
        action(life)
        life.reach()
        life.wait_belongings(belongings, what)
        life.say("%s: the guest is back" % what)
    life.same_reconfigurations(before, "interruptions")


def switch_down(life):
    """The switch is killed under the guest; the guest reboots meanwhile, or
    QEMU is started anew."""
    life.start()
    life.add_port()
    life.boot()
    if life.ours or not life.packed:
        # A stock port forgets where a packed ring was.
        life.start_traffic()

        def crash():
            life.kill_switch()
            life.start_switch()
        life.during("ovs-vswitchd killed, started", crash)
        life.end_traffic()
    life.kill_switch()
    reset(life)
    life.start_switch()
    life.reach()
    life.say("rebooted while the switch was down: the guest is back")
    life.kill_switch()
    life.guest.kill()
    life.guest.start(life._nic)
    life.start_switch()
    life.guest.wait_ready(120)
    life.reach()
    life.say("QEMU started while the switch was down: the guest is back")


def crash(life):
    """The switch is killed, again and again, ends in an orderly manner, and
    loses its port, all under the guest's traffic.  QEMU does not know where
    packed rings are then: what becomes of a guest with these at a stock port
    is said and not judged."""
    life.start()
    life.add_port()
    life.boot()

    def kill():
        life.kill_switch()
        life.start_switch()

    if life.packed and not life.ours:
        life.ping(5)
        kill()
        answers = life.ping(20, interval=0.5)
        life.say("ovs-vswitchd killed, started: %d of 20 pings answered"
                 % answers)
        if not answers:
            reload_driver(life)
            life.reach()
            life.say("after its driver was reloaded the guest is back")
        return

    def leave():
        life.switch.exit_vswitchd()
        life.start_switch()

    life.start_traffic()
    for _ in range(3):
        life.during("ovs-vswitchd killed, started", kill)
    life.during("ovs-vswitchd ended, started", leave)
    life.during("port deleted and added",
                lambda: life.swap(life.kind, True))
    life.end_traffic()
    if life.packed and not life.status("crash_record"):
        raise LabError("there is no crash record")
    if life.ours and life.show("(BROKEN)"):
        raise LabError("a ring is broken")


CASES = {case.__name__.replace("_", "-"): case for case in (
    swap, queues, unforeseen, mtu, memory, interruptions, switch_down,
    crash, iommu, iommu_dpdk, takeover)}
