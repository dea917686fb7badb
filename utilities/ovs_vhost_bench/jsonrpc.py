# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""JSON-RPC on a Unix socket, as Open vSwitch's daemons speak it."""

import json
import socket
import time

from ovs_vhost_lab.process import LabError, scaled


class JsonRpc:
    """A connection on which calls come one after the other."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(scaled(20))
        self._socket.connect(path)
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._id = 0

    def close(self):
        self._socket.close()

    def call(self, method, *params):
        """Returns the result.  Raises LabError if there is an error."""
        self._id += 1
        self._send(id=self._id, method=method, params=list(params))
        while True:
            reply = self.receive()
            if reply.get("id") == self._id and "method" not in reply:
                break
        if reply.get("error"):
            raise LabError("%s: %s" % (method, reply["error"]))
        return reply["result"]

    def receive(self, timeout=20):
        """Returns the next message other than a question whether we live.
        Raises LabError if there is none within 'timeout' seconds."""
        limit = time.monotonic() + scaled(timeout)
        while True:
            message = self._next(limit)
            if message.get("method") != "echo":
                return message
            self._send(id=message["id"], result=message["params"], error=None)

    def _send(self, **message):
        self._socket.sendall(json.dumps(message).encode())

    def _next(self, limit):
        while True:
            try:
                message, end = self._decoder.raw_decode(self._text)
                self._text = self._text[end:].lstrip()
                return message
            except ValueError:
                self._read(limit)

    def _read(self, limit):
        try:
            self._socket.settimeout(max(limit - time.monotonic(), 0.001))
            data = self._socket.recv(65536)
        except OSError as error:
            raise LabError("no answer from Open vSwitch: %s"
                           % error) from error
        if not data:
            raise LabError("Open vSwitch closed the connection")
        self._text += data.decode()
