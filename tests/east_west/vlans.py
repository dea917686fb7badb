# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What a switch with VLANs owes its guests: ovs-vswitchd.conf.db(5),
"VLAN Configuration" of Port."""

from dataclasses import dataclass

from . import frames
from .stations import mark


@dataclass(frozen=True)
class Vlan:
    """A port's place: vlan_mode, tag and trunks as the columns of Port."""

    mode: str                   # access, trunk, native-tagged/-untagged.
    tag: int = 0
    trunks: tuple = ()

    def columns(self):
        """Returns the settings for ovs-vsctl."""
        words = ["vlan_mode=" + self.mode]
        if self.tag:
            words.append("tag=%d" % self.tag)
        if self.trunks:
            words.append("trunks=[%s]" % ",".join(map(str, self.trunks)))
        return words

    def vlans(self):
        """Returns the VLANs that it is in."""
        return {self.tag} - {0} | set(self.trunks)

    def form(self, frame, vlan):
        """Returns an untagged frame as it is on this port."""
        bare = self.mode in ("access", "native-untagged") and vlan == self.tag
        return frame if bare else frames.tagged(frame, vlan)


class Network:
    """Stations with their places."""

    def __init__(self, places):
        self.places = places    # {station: Vlan}

    def vlans(self):
        """Returns all VLANs."""
        return sorted(set().union(*(place.vlans()
                                    for place in self.places.values())))

    def members(self, vlan):
        """Returns the stations in a VLAN."""
        return [station for station, place in self.places.items()
                if vlan in place.vlans()]

    def form(self, station, frame, vlan):
        """Returns an untagged frame as a station sends and gets it."""
        return self.places[station].form(frame, vlan)

    def marks(self, number):
        """Sends a mark from each station in each of its VLANs; returns how
        many each is to get.  See Exchange."""
        wanted = dict.fromkeys(self.places, 0)
        for vlan in self.vlans():
            for station in self.members(vlan):
                station.send(self.form(station, mark(station, number, vlan),
                                       vlan))
                for other in self.members(vlan):
                    wanted[other] += other is not station
        return wanted


class Script:
    """Frames to send, and what is to come of them."""

    def __init__(self, network):
        self._network = network
        self.sends = []
        self.expected = {}

    def send(self, station, frame, vlan, to=()):
        """Has 'station' send an untagged frame, that stations 'to' get."""
        form = self._network.form
        self.raw(station, form(station, frame, vlan))
        for other in to:
            self.expect(other, form(other, frame, vlan))

    def raw(self, station, frame):
        """Has 'station' send a frame as it is."""
        self.sends.append((station, frame))

    def expect(self, station, frame):
        """Has 'station' get a frame as it is."""
        self.expected.setdefault(station, []).append(frame)
