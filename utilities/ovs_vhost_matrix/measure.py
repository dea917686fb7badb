# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The figures of one rung: a stream, small packets, round trips.

Small packets are made by the kernel's packet generator in guest a, which
waits for nobody, and counted where guest b's driver receives them.  What the
switch spends on them is the time that its threads ran, less what they use
when there is nothing to do: a thread that polls and sleeps is seen with what
it needs.  That is divided by the packets that the switch received, by its own
count: what a tap's full queue drops before it costs it nothing.
"""

import glob
import os
import re
import time

from ovs_vhost_lab import LabError

STREAM_SECONDS = 3
PACKETS_SECONDS = 2
IDLE_SECONDS = 0.5
PING = "ping -A -q -c 200 %s"
EXIT_PINGS = 50
PACKET_SIZE = 60                # Bytes, without FCS.

GENERATE = """
control() { echo "$2" >/proc/net/pktgen/$1; }
control kpktgend_0 rem_device_all
control kpktgend_0 "add_device %(interface)s"
for setting in "count 0" "pkt_size %(size)d" "dst %(address)s" \\
        "dst_mac %(mac)s" "udp_dst_min 9" "udp_dst_max 9"; do
    control %(interface)s "$setting"
done
start-stop-daemon -S -b -n generator -a /bin/sh -- \\
    -c 'echo start >/proc/net/pktgen/pgctrl'
"""
END = "echo stop >/proc/net/pktgen/pgctrl"


def prepare(bed):
    """What has to be done once: servers in guest b."""
    bed.guests[1].check("iperf3 -s -D")


def stream(bed, rung):
    """Returns {tcp_mbps} from guest a to guest b."""
    text = bed.guests[0].check("iperf3 -f m -t %d -c %s" % (
        STREAM_SECONDS, bed.address(rung, 1)), timeout=60)
    found = re.search(r"([\d.]+) Mbits/sec +receiver", text)
    if not found:
        raise LabError("%s: iperf3 says\n%s" % (rung.name, text))
    return {"tcp_mbps": float(found.group(1))}


def round_trips(bed, rung, asker=0):
    """Returns {rtt_us}, the mean, from guest 'asker' to b."""
    return {"rtt_us": mean_us(bed.guests[asker].check(
        PING % bed.address(rung, 1), timeout=60))}


def mean_us(said):
    """Returns the mean that ping has said."""
    found = re.search(r"min/avg/max = [\d.]+/([\d.]+)/", said)
    if not found:
        raise LabError("ping says\n" + said)
    return float(found.group(1)) * 1000


def switch_ns(bed):
    """Returns for how long the switch's threads have run, in ns."""
    total = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % bed.switch.pid()):
        with open(path) as stream:
            total += int(stream.read().split()[0])
    return total


def packets_taken(said):
    """Returns how many packets a datapath has received, by what
    dpif-netdev/pmd-stats-show or, of the kernel's, dpctl/show says.  (The
    stock ports do not all count.)"""
    found = re.findall(r"packets received: (\d+)"
                       r"|lookups: hit:(\d+) missed:(\d+)", said)
    if not found:
        raise LabError("the datapath says\n" + said)
    return sum(int(number) for numbers in found
               for number in filter(None, numbers))


def taken(bed):
    """Returns how many packets the switch has received."""
    return packets_taken(bed.switch.appctl("dpif-netdev/pmd-stats-show"))


def ns_per_packet(used_ns, n_taken, idle, seconds):
    """Returns for how long the switch ran for each packet that it received
    meanwhile, beyond its share of a CPU when 'idle'.  used_ns() and n_taken()
    tell what there was so far."""
    start, used, packets = time.monotonic(), used_ns(), n_taken()
    time.sleep(seconds)
    elapsed, used = time.monotonic() - start, used_ns() - used
    packets = n_taken() - packets
    if not packets:
        raise LabError("no packets came to the switch")
    return max(used - idle * elapsed * 1e9, 0) / packets


def share_of_cpu(used_ns, seconds):
    """Returns the share of a CPU that is used meanwhile."""
    start, before = time.monotonic(), used_ns()
    time.sleep(seconds)
    return (used_ns() - before) / (time.monotonic() - start) / 1e9


def facts(bed, rung):
    """Returns {driver, port_type} of a rung, the same in both guests, or
    raises LabError."""
    found = [{"driver": driver(bed.guests[which], bed.interface(rung, which)),
              "port_type": port_type(bed, rung, which)} for which in range(2)]
    if found[0] != found[1]:
        raise LabError("%s: %s" % (rung.name, found))
    return found[0]


def driver(guest, interface):
    """Returns the name of an interface's driver in a guest."""
    return os.path.basename(guest.check(
        "readlink /sys/class/net/%s/device/driver" % interface).strip())


def port_type(bed, rung, which):
    """Returns the type of the port of guest 'which'."""
    return bed.switch.interface(bed.port(rung, which), "type").strip('"')


def guest_counters(bed, rung, which):
    """Returns (seconds, packets sent, received, interrupts, kicks) of a
    rung's NIC inside guest 'which'.  Kicks are None if its driver does not
    count them."""
    name = bed.interface(rung, which)
    text = bed.guests[which].check(
        "cut -d' ' -f1 /proc/uptime; cd /sys/class/net/%s/statistics; "
        "cat tx_packets rx_packets; cat /proc/interrupts; "
        "basename $(readlink ../device); echo KICKS; "
        "ethtool -S %s 2>/dev/null | grep tx_queue_._kicks; true"
        % (name, name))
    lines, _, kicks = text.partition("KICKS\n")
    lines = lines.splitlines()
    names = {name, lines[-1]}
    interrupts = sum(
        int(line.split()[1]) for line in lines[3:-1]
        if names & set(re.split(r"[\s,:-]+", line)[2:]))
    counted = [int(line.split()[1]) for line in kicks.splitlines()]
    return (float(lines[0]), int(lines[1]), int(lines[2]), interrupts,
            sum(counted) if counted else None)


def packets(bed, rung):
    """Returns {kpps, lost, switch_ns, kicks, interrupts} of small
    packets."""
    a, _ = bed.guests
    idle = share_of_cpu(lambda: switch_ns(bed), IDLE_SECONDS)
    a.check(GENERATE % {"interface": bed.interface(rung, 0),
                        "size": PACKET_SIZE, "address": bed.address(rung, 1),
                        "mac": bed.mac(rung, 1)})
    try:
        time.sleep(0.3)
        before = guest_counters(bed, rung, 0), guest_counters(bed, rung, 1)
        cost = ns_per_packet(lambda: switch_ns(bed), lambda: taken(bed), idle,
                             PACKETS_SECONDS)
        after = guest_counters(bed, rung, 0), guest_counters(bed, rung, 1)
    finally:
        a.run(END)
    return {**figures(before, after), "switch_ns": cost}


def figures(before, after):
    """Returns the figures from two readings of both guests' counters."""
    (a_time, sent, _, _, kicks), (b_time, _, received, interrupts, _) = (
        [None if second is None else second - first
         for first, second in zip(*pair)]
        for pair in zip(before, after))
    if not (a_time > 0 and b_time > 0 and sent and received):
        raise LabError("no packets: %d sent, %d received" % (sent, received))
    return {"kpps": received / b_time / 1e3,
            "lost": percent_lost(sent / a_time, received / b_time),
            "kicks": None if kicks is None else kicks / sent,
            "interrupts": interrupts / received}


def percent_lost(sent, received):
    """Returns how much of what was sent has not come, in percent."""
    return 100 * max(1 - received / sent, 0)


def exits(bed, rung):
    """Returns {exits}: how often guest a touches the NIC's registers in a
    round trip, each of which a real machine leaves the guest for.  What rings
    a vhost-user port's doorbell is not seen here but in 'kicks'."""
    guest = bed.guests[0]
    log = "%s/%s.trace" % (bed.folder, rung.name)
    monitor(guest, "logfile " + log)
    events = ("memory_region_ops_write", "memory_region_ops_read")
    for event in events:
        monitor(guest, "trace-event %s on" % event)
    try:
        guest.check("ping -A -q -c %d %s" % (EXIT_PINGS,
                                             bed.address(rung, 1)))
    finally:
        for event in events:
            monitor(guest, "trace-event %s off" % event)
    with open(log, errors="replace") as stream:
        touched = sum(is_of_nic(line, rung) for line in stream)
    return {"exits": touched / EXIT_PINGS}


def monitor(guest, command):
    """Runs a command of QEMU's monitor."""
    answer = guest.qmp("human-monitor-command", command_line=command)
    if answer:
        raise LabError("%s: %s" % (command, answer))


def is_of_nic(line, rung):
    """Tells whether a line of the trace is an access to a rung's NIC."""
    found = re.search(r"name '([^']*)'", line)
    name = found.group(1) if found else ""
    return name.startswith({"e1000": "e1000", "rtl8139": "rtl8139"}.get(
        rung.device, "virtio"))


ALL = (stream, packets, round_trips, exits)


def sample(bed, rung):
    """Returns all figures of a rung, once."""
    found = {}
    for part in ALL:
        found.update(part(bed, rung))
    return found
