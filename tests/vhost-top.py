# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Checks for top.at: what "vhost/show --json" and ovs-vhost-top print is well
formed and agrees with what is said elsewhere."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request


def check(condition, *what):
    if not condition:
        sys.exit("wrong: %s" % (what,))


def load(name):
    with open(name, encoding="utf-8") as stream:
        return stream.read()


def numbers(text, pattern):
    found = re.search(pattern, text)
    check(found, pattern, text)
    return [int(group, 0) if re.match(r"\d", group) else group
            for group in found.groups()]


def check_bits(text, part, line, key):
    """A mask and its names."""
    found = re.search(r"^    %s: (0x[0-9a-f]+):(.*)" % line, text, re.M)
    check(found[1] == part[key + "s"], line)
    check(found[2].split() == (part[key + "_names"] or ["none"]), line)


def check_connections(text, port):
    c = port["counters"]["connections"]
    check(numbers(text, r"connections: (\d+) made, (\d+) lost, (\d+) link "
                  r"changes, (\d+) messages, (\d+) protocol errors, (\d+) r")
          == [c[k] for k in ("made", "lost", "link_changes", "messages",
                             "protocol_errors", "ring_stops")], c)


def check_rings(text, port):
    lines = re.findall(r"    ring (\d+) \(guest (\w+)\): (\d+) entries(.*), "
                       r"avail (\d+), used (\d+)", text)
    check(len(lines) == len(port["rings"]) > 0, lines)
    for line, ring in zip(lines, port["rings"]):
        check(list(line[:3]) == [str(ring["ring"]), ring["guest"],
                                 str(ring["entries"])], line, ring)
        check((", started" in line[3]) == ring["started"], line, ring)
        check((", enabled" in line[3]) == ring["enabled"], line, ring)
        check((", packed" in line[3]) == ring["packed"], line, ring)
        check([int(x) for x in line[4:]] == [ring["avail"], ring["used"]],
              line, ring)


def show(text_file, json_file):
    """show TEXT JSON: the two forms of "vhost/show" of one port that is
    ready agree."""
    text = load(text_file)
    ports = json.loads(load(json_file))
    check(len(ports) == 1, ports)
    port = ports[0]
    check(text.startswith("%s: %s\n" % (port["name"], port["type"])), port)
    check(numbers(text, r"state: (\w+)") == [port["status"]["state"]], port)
    check(numbers(text, r"socket: (\S+)") == [port["status"]["socket"]], port)
    check(numbers(text, r"process (\d+)") == [port["front_end_pid"]], port)
    check(numbers(text, r"MTU: (\d+)") == [port["mtu"]], port)
    check(numbers(text, r"memory: (\d+) region")
          == [len(port["memory"]["regions"])], port)
    check(numbers(text, r"frames up to (\d+)")
          == [port["packets"]["max_frame"]], port)
    check(numbers(text, r"queues: (\d+) .*, (\d+) sender slots, (\d+) pairs")
          == [port["queues"][k] for k in ("received_from", "sender_slots",
                                          "enabled_pairs")], port)
    check_bits(text, port["negotiated"], "features", "feature")
    check_bits(text, port["negotiated"], "protocol features",
               "protocol_feature")
    check_connections(text, port)
    check_rings(text, port)
    c = port["counters"]
    check(numbers(text, r"    received (\d+) packets, (\d+) bytes; sent (\d+) "
                  r"packets, (\d+) bytes")
          == [c["rx"]["packets"], c["rx"]["bytes"], c["tx"]["packets"],
              c["tx"]["bytes"]], c)
    check(c["tx"]["packets"] == c["tx_queues"]["0"]["packets"] > 0, c)


def live(json_file, sender, receiver, idle, low, high):
    """live JSON SENDER RECEIVER IDLE LOW HIGH: a report of ovs-vhost-top while
    the guest at SENDER sends to that at RECEIVER, and nobody at IDLE."""
    report = json.loads(load(json_file))
    ports = {port["port"]: port for port in report["ports"]}
    queues = {(q["port"], q["direction"], q["queue"]): q
              for q in report["queues"]}
    low, high = float(low), float(high)
    check(low < ports[sender]["rx_pps"] < high, ports[sender])
    check(low < ports[receiver]["tx_pps"] < high, ports[receiver])
    check(low * 60 * 8 <= ports[sender]["rx_bps"], ports[sender])
    check(ports[sender]["tx_pps"] == ports[receiver]["rx_pps"] == 0, ports)
    for side in ("rx", "tx"):
        check(ports[idle][side + "_pps"] == 0, ports[idle])
    check(low < queues[sender, "rx", 0]["pps"] < high, queues)
    check(low < queues[receiver, "tx", 0]["pps"] < high, queues)
    check(queues[sender, "rx", 0]["entries"] > 0, queues)
    calls = [queues[receiver, "tx", 0]["notifications_%s_ps" % kind]
             for kind in ("sent", "suppressed", "offloaded")]
    check(sum(calls) > 0, calls)
    # It alone received anything: its thread's cycles are its own.
    check(queues[sender, "rx", 0]["cycles_per_packet"] > 0, queues)
    check(not queues[sender, "rx", 0]["cycles_are_estimated"], queues)
    check(report["pmds"], report)
    # Others than ours, with what the switch knows of them.
    check(ports["br0"]["rx_pps"] is not None, ports["br0"])


def stock(json_file, port):
    """stock JSON PORT: a stock port on which a guest sends is in the report,
    with what is known of it."""
    report = json.loads(load(json_file))
    summary, = [p for p in report["ports"] if p["port"] == port]
    queue, = [q for q in report["queues"] if q["port"] == port
              and q["direction"] == "rx"]
    check(summary["type"] == "dpdkvhostuserclient", summary)
    check(summary["state"] == "up", summary)
    check(summary["rx_pps"] > 0, summary)
    check(summary["drops"]["tx_mtu_exceeded"] == 0, summary)
    check("drops_ps" not in summary, summary)
    check(queue["pps"] == summary["rx_pps"], queue)
    check(queue["core"] is not None and queue["backlog"] is None, queue)


def screen(text, *command):
    """screen TEXT COMMAND...: in a terminal the command shows TEXT, takes keys
    and ends with q."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ.update(TERM="linux", LINES="40", COLUMNS="140")
        os.execvp(command[0], command)
    seen = b""
    limit = time.monotonic() + 60
    while text.encode() not in seen:
        check(time.monotonic() < limit, seen)
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    os.write(terminal, b"srppq")
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass                    # Its last process closed it.
    check(os.waitpid(pid, 0)[1] == 0, seen)


LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"(ovs_vhost_[a-z_]+)(?:\{(%s(?:,%s)*)\})? (\d+)$"
                    % (LABEL, LABEL))


def parse_metrics(text):
    """Returns {name and labels: value} of Prometheus' text format, of which
    it checks what we use."""
    samples = {}
    kinds = {}
    helped = set()
    current = None
    check(text.endswith("\n"), text)
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            check(name not in helped, line)
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            check(current in helped and current not in kinds, line)
            check(kind in ("counter", "gauge"), line)
            check((kind == "counter") == current.endswith("_total"), line)
            kinds[current] = kind
        else:
            found = SAMPLE.match(line)
            check(found and found[1] == current, line)
            key = line.rpartition(" ")[0]
            check(key not in samples, line)
            samples[key] = int(found[3])
    return samples


def metrics(*files):
    """metrics FILE...: all of them are well formed, and no counter falls from
    one to the next."""
    before = {}
    for name in files:
        samples = parse_metrics(load(name))
        check(samples["ovs_vhost_up"] == 1, name)
        for key, value in samples.items():
            if "_total" in key:
                check(value >= before.get(key, 0), key, value)
        before = samples


def metric(name, key):
    """metric FILE KEY: prints the sample with this name and labels."""
    print(parse_metrics(load(name))[key])


def listen(*command):
    """listen COMMAND...: it serves metrics."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            words = process.stdout.readline().decode().split()
            url = "http://%s:%s/" % (words[2], words[4])
            check(words[2] == "127.0.0.1", words)
            with urllib.request.urlopen(url + "metrics", timeout=60) as reply:
                check(reply.headers["Content-Type"]
                      == "text/plain; version=0.0.4; charset=utf-8", reply)
                check(parse_metrics(reply.read().decode())["ovs_vhost_up"]
                      == 1)
            try:
                urllib.request.urlopen(url + "other", timeout=60)
                sys.exit("no 404")
            except urllib.error.HTTPError as error:
                check(error.code == 404, error)
        finally:
            process.terminate()


if __name__ == "__main__":
    commands = {"show": show, "live": live, "stock": stock, "screen": screen,
                "metrics": metrics, "metric": metric, "listen": listen}
    commands[sys.argv[1]](*sys.argv[2:])
