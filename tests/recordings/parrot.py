#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A back end that says what the recorded one said, and does one thing wrong.

    parrot.py RECORDING SOCKET [WRONG]

No real port breaks the rules that ovs-vhost-session has to check, so this one
does.  It listens at SOCKET, takes one connection, answers as in RECORDING, and
uses what the guest sends; split rings only, and nothing is received.  Without
WRONG, which is one of the names in WRONGS, it does all that as it should.
"""

import json
import mmap
import os
import select
import socket
import struct
import sys

GUEST, USER = 0, 1
GET_VRING_BASE = "GET_VRING_BASE"
NUMBERS = {"GET_FEATURES": 1, "SET_MEM_TABLE": 5, "SET_VRING_NUM": 8,
           "SET_VRING_ADDR": 9, "SET_VRING_BASE": 10, GET_VRING_BASE: 11}
WRONGS = {
    "foreign": "gives back a chain that it does not have",
    "twice": "gives the same receive buffer back twice",
    "long": "says that it has written to a buffer that it may only read",
    "jump": "publishes more used entries than chains were offered",
    "idle": "uses nothing",
    "base": "answers GET_VRING_BASE with a base that is one too high",
    "answer": "answers the first acknowledged message with an error",
    "mute": "does not answer GET_VRING_BASE",
    "confused": "answers another request than the one that was sent",
    "hangup": "hangs up in place of an answer to GET_VRING_BASE",
    "corrupt": "sends a frame back with its last byte changed",
    "short": "gives a receive buffer back that has no room for a header",
    "empty": "receives a frame in no buffers",
}


class Ring:
    """One ring, as messages describe it."""

    def __init__(self, index):
        self.index = index
        self.size = self.base = self.seen = 0
        self.desc = self.used = self.avail = None

    def running(self):
        return self.used is not None


class Parrot:
    def __init__(self, events, connection, wrong):
        self.events = events
        self.connection = connection
        self.wrong = wrong
        self.regions = []
        self.rings = {}
        self.spoiled = False
        self.last = None        # Number of the latest request.

    # Memory.

    def set_table(self, payload, fds):
        self.regions = []
        for number, fd in enumerate(fds):
            guest, size, user, offset = struct.unpack_from(
                "<4Q", payload, 8 + 32 * number)
            memory = mmap.mmap(fd, size + offset)
            self.regions.append(((guest, user), size, memory, offset))
            os.close(fd)

    def find(self, address, kind):
        """Returns (memory, offset) of an address, GUEST or USER."""
        for starts, size, memory, offset in self.regions:
            if starts[kind] <= address < starts[kind] + size:
                return memory, offset + address - starts[kind]
        raise ValueError("address %#x is nowhere" % address)

    @staticmethod
    def get(place, offset, form):
        return struct.unpack_from(form, place[0], place[1] + offset)[0]

    @staticmethod
    def put(place, offset, form, *values):
        struct.pack_into(form, place[0], place[1] + offset, *values)

    # Rings.

    def use(self, ring, head, length):
        index = self.get(ring.used, 2, "<H")
        self.put(ring.used, 4 + 8 * (index % ring.size), "<II", head, length)
        self.put(ring.used, 2, "<H", (index + 1) % 65536)

    def take(self, ring):
        """Returns the next chain's head, or None."""
        if self.get(ring.avail, 2, "<H") == ring.seen:
            return None
        head = self.get(ring.avail, 4 + 2 * (ring.seen % ring.size), "<H")
        ring.seen = (ring.seen + 1) % 65536
        return head

    def spoil(self, wrong):
        """True once, if 'wrong' is what is to be done."""
        if self.wrong != wrong or self.spoiled:
            return False
        self.spoiled = True
        return True

    def run_sent(self, ring):
        if self.wrong == "idle":
            return
        while True:
            head = self.take(ring)
            if head is None:
                return
            if self.spoil("foreign"):
                head = (head + 1) % ring.size
            if self.spoil("corrupt"):
                self.return_corrupt(ring, head)
            self.use(ring, head, 1 if self.spoil("long") else 0)
            if self.spoil("jump"):
                index = self.get(ring.used, 2, "<H")
                self.put(ring.used, 2, "<H", (index + ring.size) % 65536)

    def return_corrupt(self, ring, head):
        """Puts what was sent, in one buffer, into a receive buffer."""
        place = ring.desc[0], ring.desc[1] + 16 * head
        address, length = struct.unpack_from("<QI", *place)
        memory, offset = self.find(address, GUEST)
        frame = bytearray(memory[offset:offset + length])
        frame[10:12] = b"\1\0"         # Number of buffers.
        frame[-1] ^= 1
        other = self.rings[ring.index - 1]
        head = self.take(other)
        memory, offset = self.find(self.get(other.desc, 16 * head, "<Q"),
                                   GUEST)
        memory[offset:offset + length] = bytes(frame)
        self.use(other, head, length)

    def run_received(self, ring):
        if self.wrong not in ("short", "empty", "twice") or self.spoiled:
            return
        head = self.take(ring)
        if head is None:
            return
        buffer = self.find(self.get(ring.desc, 16 * head, "<Q"), GUEST)
        if self.spoil("short"):
            self.use(ring, head, 5)
        elif self.spoil("empty"):
            self.put(buffer, 10, "<H", 0)
            self.use(ring, head, 100)
        elif self.take(ring) is not None and self.spoil("twice"):
            self.put(buffer, 10, "<H", 1)
            self.use(ring, head, 100)
            self.use(ring, head, 100)

    def run_rings(self):
        for ring in self.rings.values():
            if ring.running():
                if ring.index % 2:
                    self.run_sent(ring)
                else:
                    self.run_received(ring)

    # Messages.

    def receive(self):
        """Returns (number, payload, descriptors); looks after the rings
        meanwhile.  None: the player hung up."""
        while not select.select([self.connection], [], [], 0.001)[0]:
            self.run_rings()
        header, fds, _, _ = socket.recv_fds(self.connection, 12, 32)
        if not header:
            return None
        number, _, size = struct.unpack("<3I", header)
        payload = self.connection.recv(size, socket.MSG_WAITALL) if size \
            else b""
        return number, payload, fds

    def note(self, number, payload, fds):
        """Takes notice of what the front end says."""
        if number == NUMBERS["SET_MEM_TABLE"]:
            self.set_table(payload, fds)
            return
        for fd in fds:
            os.close(fd)
        if number not in NUMBERS.values() or len(payload) < 8:
            return
        index, value = struct.unpack_from("<2I", payload)
        ring = self.rings.setdefault(index, Ring(index))
        if number == NUMBERS["SET_VRING_NUM"]:
            ring.size = value
        elif number == NUMBERS["SET_VRING_BASE"]:
            ring.seen = value
        elif number == NUMBERS["SET_VRING_ADDR"]:
            ring.desc, ring.used, ring.avail = (
                self.find(address, USER)
                for address in struct.unpack_from("<3Q", payload, 8))

    def answer(self, event):
        """Says what the recorded back end said there; returns False if it is
        time to hang up."""
        number = NUMBERS.get(event["request"], self.last)
        if event["request"] == GET_VRING_BASE:
            ring = self.rings[event["index"]]
            if self.wrong == "mute" or self.wrong == "hangup":
                return False
            payload = struct.pack("<2I", ring.index, ring.seen
                                  + self.spoil("base"))
            ring.used = None
        else:
            value = event["value"]
            value = int(value, 16) if isinstance(value, str) else value
            if not event["request"].startswith("GET_") \
                    and self.spoil("answer"):
                value = 1
            payload = struct.pack("<Q", value)
        if self.spoil("confused"):
            number = 33
        self.connection.sendall(struct.pack("<3I", number, event["flags"],
                                            len(payload)) + payload)
        return True

    def run(self):
        """Goes through the recording; other events than messages happen in
        guest memory."""
        for event in self.events:
            if event["event"] != "message":
                continue
            if event["from"] == "front":
                message = self.receive()
                if not message:
                    return
                self.last = message[0]
                self.note(*message)
            elif not self.answer(event):
                if self.wrong == "mute":
                    self.receive()
                return
        self.receive()


def main():
    path, address = sys.argv[1:3]
    wrong = sys.argv[3] if len(sys.argv) > 3 else None
    if wrong and wrong not in WRONGS:
        sys.exit("parrot.py: no such wrong: %s" % wrong)
    with open(path, encoding="ascii") as stream:
        events = [json.loads(line) for line in stream][1:]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        connection, _ = listener.accept()
        with connection:
            Parrot(events, connection, wrong).run()


if __name__ == "__main__":
    main()
