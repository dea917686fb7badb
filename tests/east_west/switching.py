# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Fourteen guests on a learning switch with VLANs; rules for who may talk to
whom; a stateful firewall; a mirror.

Every frame that any guest gets is compared, and what no guest is to get is
seen not to come."""

from ovs_vhost_gaps.bed import BRIDGE
from ovs_vhost_lab import LabError, wait_until

from . import frames
from .frames import ACK, PSH, SYN
from .stations import Exchange
from .vlans import Network, Script, Vlan

PLACES = {
    **{"g%d" % number: Vlan("access", 10) for number in range(5)},
    **{"g%d" % number: Vlan("access", 20) for number in range(5, 9)},
    "g9": Vlan("access", 30), "g10": Vlan("access", 30),
    "g11": Vlan("trunk", trunks=(10, 20)),
    "g12": Vlan("native-untagged", 30, (20,)),
    "g13": Vlan("native-tagged", 10, (30,)),
}
MONITOR = "mon"
NORMAL = "priority=0,actions=normal"
ROUNDS = 2                      # Frames from each to each.


class Hospital:
    """The guests on a hall's bridge."""

    def __init__(self, hall):
        self.hall = hall
        hall.start()
        made = hall.add_stations(*PLACES, MONITOR)
        self.by_name = {station.name: station for station in made}
        self.monitor = self.by_name[MONITOR]
        for name, place in PLACES.items():
            hall.switch.vsctl("set", "Port", name, *place.columns())
        # In no VLAN of theirs: it sees what is mirrored and nothing else.
        hall.switch.vsctl("set", "Port", MONITOR, "tag=4000")
        self.network = Network({self.by_name[name]: place
                                for name, place in PLACES.items()})
        self.mirrored = ()      # Stations whose marks the monitor gets.
        self.exchange = Exchange(made, self._marks)
        self.exchange.meet()

    def _marks(self, number):
        wanted = self.network.marks(number)
        wanted[self.monitor] = len(self.mirrored)
        return wanted

    def __getitem__(self, name):
        return self.by_name[name]

    def script(self):
        return Script(self.network)

    def run(self, script):
        self.exchange.run(script.sends, script.expected)


def vlans(them):
    """All to all within VLANs; nothing between them, nothing ill-tagged."""
    script = them.script()
    network = them.network
    for vlan in network.vlans():
        members = network.members(vlan)
        for source in members:
            others = [each for each in members if each is not source]
            script.send(source, frames.udp(source, None, vlan), vlan, others)
            for to in others * ROUNDS:
                script.send(source, frames.udp(source, to, vlan), vlan, [to])
    _ill_tagged(them, script)
    them.run(script)


def _ill_tagged(them, script):
    """Adds frames that a port does not take."""
    def send(source, to, vlan):
        frame = frames.udp(them[source], them[to])
        script.raw(them[source], frames.tagged(frame, vlan) if vlan
                   else frame)
    send("g0", "g1", 20)        # Access ports take no tag of another VLAN,
    send("g0", "g1", 10)        # nor of their own.
    send("g11", "g9", 30)       # Not among its trunks.
    send("g11", "g0", 0)        # Trunks take nothing untagged.
    send("g12", "g0", 10)


def acl(them):
    """Rules of who may send what; each frame dropped is counted."""
    g0, g1, g2, g3 = (them["g%d" % number] for number in range(4))
    hall = them.hall
    hall.add_flows(
        "cookie=0x1,priority=100,in_port=g0,udp,tp_dst=666,actions=drop",
        "cookie=0x2,priority=100,ip,nw_src=%s,nw_dst=%s,actions=drop"
        % (frames.ip_of(g3), frames.ip_of(g2)),
        "priority=90,in_port=g1,dl_src=%s,actions=normal" % g1.mac.hex(":"),
        "cookie=0x3,priority=80,in_port=g1,actions=drop",
        NORMAL)
    script = them.script()
    for _ in range(20):
        script.send(g0, frames.udp(g0, g1, dport=666), 10)
        script.send(g0, frames.udp(g0, g1, dport=667), 10, [g1])
        script.send(g1, frames.udp(g1, g0, dport=666), 10, [g0])
        script.send(g1, frames.udp(g1, g0, mac=g3.mac), 10)
        script.send(g1, frames.udp(g1, g0), 10, [g0])
        script.send(g3, frames.udp(g3, g2), 10)
        script.send(g2, frames.udp(g2, g3), 10, [g3])
    them.run(script)
    for cookie in (1, 2, 3):
        hall.wait_packets(cookie, 20)


FIREWALL = (
    "priority=100,in_port=g0,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
    "priority=100,in_port=g1,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
    "table=1,cookie=0x10,priority=30,ct_state=+inv+trk,actions=drop",
    "table=1,priority=20,in_port=g0,ip,ct_state=+trk+new,"
    "actions=ct(commit,zone=7),normal",
    "table=1,priority=20,in_port=g0,ct_state=+trk+est,actions=normal",
    "table=1,priority=20,in_port=g1,ct_state=+trk+est+rpl,actions=normal",
    "table=1,cookie=0x11,priority=0,actions=drop",
    NORMAL)


def firewall(them):
    """g0 may begin connections with g1, but not the other way round."""
    inside, outside = them["g0"], them["g1"]
    hall = them.hall
    hall.add_flows(*FIREWALL)
    _firewall_tcp(them, inside, outside)
    _firewall_udp(them, inside, outside)
    hall.wait_packets(0x10, 3)
    hall.wait_packets(0x11, 3)
    found = hall.switch.appctl("dpctl/dump-conntrack", "zone=7")
    wanted = "src=%s,dst=%s,sport=4000,dport=80" % (
        frames.ip_of(inside), frames.ip_of(outside))
    if not any(wanted in line and "ESTABLISHED" in line
               for line in found.splitlines()):
        raise LabError("no %s among\n%s" % (wanted, found))
    _firewall_forgets(them, inside, outside)
    hall.add_flows(NORMAL)


def _firewall_tcp(them, inside, outside):
    def out(flags, seq, ack=0, data=b"", good=True):
        return frames.tcp(inside, outside, 4000, 80, flags, seq, ack, data,
                          good)

    def back(flags, seq, ack, data=b"", good=True):
        return frames.tcp(outside, inside, 80, 4000, flags, seq, ack, data,
                          good)

    def step(source, frame, to=()):
        script = them.script()
        script.send(source, frame, 10, to)
        them.run(script)
    # From outside: new, and in the middle of nothing.
    step(outside, frames.tcp(outside, inside, 5000, 22, SYN, 1))
    step(outside, back(ACK | PSH, 1, 1, frames.payload(100)))
    # From inside: the handshake and data both ways.
    step(inside, out(SYN, 1000), [outside])
    step(outside, back(SYN | ACK, 9000, 1001), [inside])
    step(inside, out(ACK, 1001, 9001), [outside])
    step(inside, out(ACK | PSH, 1001, 9001, frames.payload(1000)), [outside])
    step(outside, back(ACK | PSH, 9001, 2001, frames.payload(1400)), [inside])
    # Another connection, one with a wrong checksum, one far from its window.
    step(outside, frames.tcp(outside, inside, 80, 4001, SYN | ACK, 1, 1001))
    step(outside, back(ACK | PSH, 10401, 2001, frames.payload(200),
                       good=False))
    step(outside, back(ACK | PSH, 10401 + (1 << 30), 2001,
                       frames.payload(200)))
    step(outside, back(ACK | PSH, 10401, 2001, frames.payload(200)), [inside])


def _firewall_udp(them, inside, outside):
    for source, to, passes in ((outside, inside, False),
                               (inside, outside, True),
                               (outside, inside, True)):
        script = them.script()
        script.send(source, frames.udp(source, to, sport=5353, dport=5353),
                    10, [to] if passes else [])
        them.run(script)


def _firewall_forgets(them, inside, outside):
    """What was an answer is none any more once the state is gone."""
    them.hall.switch.appctl("dpctl/flush-conntrack", "zone=7")
    script = them.script()
    script.send(outside, frames.udp(outside, inside, sport=5353, dport=5353),
                10)
    them.run(script)
    them.hall.wait_packets(0x11, 4)


def mirror(them):
    """The monitor sees what g0 sends and gets, each frame once."""
    hall, g0 = them.hall, them["g0"]
    hall.switch.vsctl(
        "--id=@g0", "get", "Port", "g0", "--", "--id=@mon", "get", "Port",
        MONITOR, "--", "--id=@m", "create", "Mirror", "name=m",
        "select_src_port=@g0", "select_dst_port=@g0", "output_port=@mon",
        "--", "set", "Bridge", BRIDGE, "mirrors=@m")
    them.mirrored = them.network.members(10)    # From g0, or to it.
    _wait_mirror(them, True)
    script = _mirrored(them, g0, them.monitor)
    them.run(script)
    wanted = len(script.expected[them.monitor])
    count = wait_until(
        lambda: _mirror_packets(hall), 15, "the mirror counts")
    if count < wanted:          # And marks.
        raise LabError("the mirror has counted %d frames, not %d"
                       % (count, wanted))
    hall.switch.vsctl("clear", "Bridge", BRIDGE, "mirrors")
    them.mirrored = ()
    _wait_mirror(them, False)
    them.run(_mirrored(them, g0, None))


def _wait_mirror(them, mirrored):
    """Waits until the mirror is there or gone, also in the datapath, which
    Open vSwitch 3.1 does not look after when the last one goes.  MACs have
    to be learned again."""
    switch = them.hall.switch
    flow = "in_port=g0,dl_src=%s,dl_dst=ff:ff:ff:ff:ff:ff" % (
        them["g0"].mac.hex(":"))

    def seen():
        actions = switch.appctl("ofproto/trace", BRIDGE, flow, "--names")
        return (MONITOR in actions.split("Datapath actions:")[1]) == mirrored
    wait_until(seen, 15, "the mirror changes")
    them.hall.settle_flows()
    them.exchange.meet()


def _mirror_packets(hall):
    """Returns the mirror's counter once it counts."""
    text = hall.switch.vsctl("--if-exists", "get", "Mirror", "m",
                             "statistics:tx_packets").strip()
    return int(text or 0)


def _mirrored(them, g0, monitor):
    script = them.script()
    members = them.network.members(10)

    def send(source, to, seen):
        frame = frames.udp(source, to)
        script.send(source, frame, 10, [to] if to else [
            each for each in members if each is not source])
        if seen and monitor:
            script.expect(monitor, frame)
    for other in members:
        if other is not g0:
            send(g0, other, True)
            send(other, g0, True)
            send(other, None, True)     # A broadcast, g0 among others.
    send(g0, None, True)
    send(them["g1"], them["g2"], False)
    return script


STEPS = (vlans, acl, firewall, mirror)


def run(hall, log):
    """The scenario."""
    them = Hospital(hall)
    for step in STEPS:
        with log(step.__name__):
            if step is not firewall:
                hall.add_flows(NORMAL)
            step(them)
