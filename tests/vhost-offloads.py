#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What tests of offloads need in the namespaces behind the ports.

    serve                   answers whatever arrives at port 5000, by TCP or
                            UDP, IPv4 or IPv6, with its SHA-256
    transfer BYTES COUNT LARGEST4 ADDRESS...
                            sends BYTES by TCP and COUNT datagrams of all sizes
                            (by IPv4 of at most LARGEST4 bytes) by UDP to each
                            ADDRESS and compares the answers
    try tcp|udp ADDRESS     sends something, whatever becomes of it
    errors                  prints how many packets came to this namespace with
                            a wrong TCP or UDP checksum
    plain IFACE             takes checksums and TSO off an interface
    no-tso IFACE            takes TSO off an interface

"serve" prints "ready" and stays until it is killed.
"""

import array
import fcntl
import hashlib
import os
import socket
import struct
import sys
import threading
import time

PORT = 5000

# How long to try, in seconds: only for what will never work.
PATIENCE = 40


def say(text):
    print(text, flush=True)


def answer_tcp(sock):
    digest = hashlib.sha256()
    while data := sock.recv(1 << 18):
        digest.update(data)
    sock.sendall(digest.digest())
    sock.close()


def serve_tcp(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=answer_tcp, args=(sock,), daemon=True).start()


def serve():
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6,
                                    dualstack_ipv6=True)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", PORT))
    threading.Thread(target=serve_tcp, args=(listener,), daemon=True).start()
    say("ready")
    while True:
        data, peer = udp.recvfrom(65536)
        udp.sendto(hashlib.sha256(data).digest(), peer)


def tcp_once(address, data):
    with socket.create_connection((address, PORT), PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while more := sock.recv(64):
            answer += more
    return answer == hashlib.sha256(data).digest()


def transfer_tcp(address, size):
    try:
        return "ok" if tcp_once(address, os.urandom(size)) else "DAMAGED"
    except OSError as error:
        return str(error)


def udp_socket(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.connect((address, PORT))
    return sock


def transfer_udp(address, count, largest):
    """Each datagram until it is answered: UDP may lose some.  But answers that
    are to something else than what was sent must not be."""
    until = time.monotonic() + PATIENCE
    sock = udp_socket(address)
    sock.settimeout(0.5)
    sent = set()
    for i in range(count):
        # Odd and even, short and more than a frame.
        size = [1 + i, 1471 - i, 1300 + i, 3000 + i][i % 4]
        data = os.urandom(min(size, largest))
        wanted = hashlib.sha256(data).digest()
        sent.add(wanted)
        answer = None
        while answer != wanted:
            if time.monotonic() > until:
                return "only %d of %d" % (i, count)
            try:
                sock.send(data)
                answer = sock.recv(64)
                if answer not in sent:
                    return "DAMAGED"
            except OSError:
                pass
    return "ok"


def transfer(size, count, largest4, *addresses):
    """Ends with the first that fails."""
    for address in addresses:
        largest = 65507 if ":" in address else int(largest4)
        for name, result in (
                ("tcp", lambda: transfer_tcp(address, int(size))),
                ("udp", lambda: transfer_udp(address, int(count), largest))):
            said = result()
            say("%s %s %s" % (name, address, said))
            if said != "ok":
                return


def try_once(protocol, address):
    data = os.urandom(100000)
    if protocol == "udp":
        sock = udp_socket(address)
        for size in (100, 1000):
            sock.send(data[:size])
        return
    sock = socket.socket(socket.AF_INET6 if ":" in address
                         else socket.AF_INET)
    sock.settimeout(0.5)
    try:
        sock.connect((address, PORT))
        sock.sendall(data)
        sock.recv(64)
    except OSError:
        pass


def errors():
    n = 0
    with open("/proc/net/snmp") as stream:
        lines = [line.split() for line in stream]
    for names, values in zip(lines[::2], lines[1::2]):
        if names[0] in ("Tcp:", "Udp:"):
            n += int(values[names.index("InCsumErrors")])
    with open("/proc/net/snmp6") as stream:
        n += sum(int(line.split()[1]) for line in stream
                 if line.startswith("Udp6InCsumErrors"))
    say(n)


SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
ETHTOOL_STSO = 0x1f


def ethtool(interface, command, value):
    request = array.array("I", [command, value])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL,
                    struct.pack("16sP16x", interface.encode(),
                                request.buffer_info()[0]))


def plain(interface):
    ethtool(interface, ETHTOOL_STSO, 0)
    ethtool(interface, ETHTOOL_STXCSUM, 0)


def no_tso(interface):
    ethtool(interface, ETHTOOL_STSO, 0)


def main():
    commands = {"serve": serve, "transfer": transfer, "try": try_once,
                "errors": errors, "plain": plain, "no-tso": no_tso}
    try:
        command, arguments = commands[sys.argv[1]], sys.argv[2:]
    except (KeyError, IndexError):
        sys.exit(__doc__)
    command(*arguments)


if __name__ == "__main__":
    main()
