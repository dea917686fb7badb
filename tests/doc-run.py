#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Runs the commands of a page of the documentation and compares what the page
shows, so that a page that is wrong fails a test.

    doc-run.py [--switch] [--setting KEY=VALUE]... [--qemu OPTIONS]
               [--replace OLD NEW]... [--first COMMAND] [--finally COMMAND]
               [--list] PAGE

The commands are those of code blocks that are marked with a comment in the
line above, which readers do not see:

    <!-- run -->        run the commands; what they print has to be what the
                        page shows, but for numbers
    <!-- run exact -->  numbers too
    <!-- run wait -->   repeat each command until that is so
    <!-- run fails -->  the exit status has to be other than 0
    <!-- run qemu -->   a QEMU command line: is started and left running
    <!-- file PATH -->  the block is what this file has in it

A command begins after "# " and goes on where a line ends with a backslash; in
a block without "# " each line is one.  Lines without "# " are its output
but for empty ones; where there are none, anything may be printed.  "..." alone
in a line stands for any number of lines, and in a line for anything.  All
commands of a page are given to one bash.

Must run in mount, network and process namespaces of its own: /run is replaced,
and nothing is ended at the end.  The current directory has to look like this
project's, with a build in _build/demo.  --switch starts a switch with the
plugin, as it is after an installation, for pages that presuppose one, and
--setting adds to its other_config.  --replace has other words where this
machine lacks what the page has (they must be there), and --qemu what stands
for "..." in a QEMU command line.  The COMMAND of --first is run before the
page's, and that of --finally has to succeed at the end, after some time.
"""

import argparse
import os
import re
import select
import shlex
import subprocess
import sys
import time
import traceback

TIMEOUT = 30 * float(os.environ.get("OVS_VHOST_TIMEOUT_SCALE", "1"))
RUNDIR = "/run/openvswitch"
NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:\.\d+)?[kMG]?")

# As after an installation, but that programs are those of the build.
ENVIRONMENT = """
build=$PWD/_build/demo
export PATH=$build/utilities:$build/ovs/vswitchd:$build/ovs/ovsdb:$PATH
export PATH=$build/ovs/utilities:$PATH
export OVS_RUNDIR=%s OVS_NETDEV_PLUGINDIR=$build/lib/netdev
start_vswitchd () {
    ovs-vswitchd --detach --pidfile --log-file=$OVS_RUNDIR/ovs-vswitchd.log \
        --disable-system -vconsole:off
}
restart_switch () {
    ovs-appctl exit && while pidof ovs-vswitchd; do sleep 0.1; done
    start_vswitchd
}
""" % RUNDIR

START_SWITCH = """
ovsdb-tool create $OVS_RUNDIR/conf.db \
    $build/ovs/vswitchd/vswitch.ovsschema &&
ovsdb-server --detach --pidfile --remote=punix:$OVS_RUNDIR/db.sock \
    --remote=db:Open_vSwitch,Open_vSwitch,manager_options \
    $OVS_RUNDIR/conf.db &&
ovs-vsctl --no-wait init -- \
    set Open_vSwitch . other_config:netdev-plugins=ovs-vhost %s &&
start_vswitchd
"""


class Command:
    """A command of a page: its text, the words of its block's mark, and the
    lines that the page shows as its output."""

    def __init__(self, number, text, words):
        self.number = number
        self.text = text
        self.words = words
        self.shown = []

    def pattern(self):
        """Returns a regular expression for the output that is shown."""
        result = ""
        for line in self.shown:
            if line.strip() == "...":
                result += r"(?:.*\n)*?"
            else:
                result += self.line_pattern(line) + r" *\n"
        return result

    def line_pattern(self, line):
        result = ""
        for word in re.findall(r"\.\.\.|%s|\s+|." % NUMBER.pattern, line):
            if word == "...":
                result += ".*"
            elif word.isspace():
                result += r"\s+"
            elif NUMBER.fullmatch(word) and "exact" not in self.words:
                result += "0x[0-9a-f]+" if word.startswith("0x") \
                    else r"\d+(?:\.\d+)?[kMG]?"
            else:
                result += re.escape(word)
        return result

    def explain(self, status, output):
        """Returns why this is not what the page shows, or None."""
        if (status != 0) != ("fails" in self.words):
            return "status %s" % status
        printed = "".join(line + "\n" for line in output.splitlines()
                          if line.strip())
        if self.shown and not re.fullmatch(self.pattern(), printed):
            return "it printed something else"
        return None


def blocks(text):
    """Yields (words of the mark, number of the first line, lines) of each
    marked block."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        mark = re.fullmatch(r"<!-- (run|file)( [^>]*)? *-->", line.strip())
        if not mark:
            continue
        first = number + 1
        while first < len(lines) and not lines[first].strip():
            first += 1
        block = []
        for each in lines[first:]:
            if each.strip() and not each.startswith("    "):
                break
            block.append(each[4:])
        while block and not block[-1].strip():
            block.pop()
        if not block:
            raise ValueError("line %d: no block of code" % (number + 1))
        yield mark.group(0).split()[1:-1], first + 1, block


def file_command(path, block):
    """Returns the command that writes a file of a page."""
    return "cat > %s <<'end-of-file'\n%s\nend-of-file" % (path,
                                                         "\n".join(block))


def commands(text):
    """Returns the Commands of a page."""
    result = []
    for words, number, block in blocks(text):
        if words[0] == "file":
            result.append(Command(number, file_command(words[1], block), []))
            continue
        prompts = any(line.startswith("# ") for line in block)
        unfinished = False
        for offset, line in enumerate(block):
            if unfinished:
                result[-1].text += "\n" + line
            elif line.startswith("# ") or not prompts and line.strip():
                result.append(Command(number + offset,
                                      line[2:] if prompts else line, words))
            elif line.strip():
                result[-1].shown.append(line)
                continue
            else:
                continue
            unfinished = line.endswith("\\")
    return result


class Shell:
    """A bash that is given commands one by one."""

    def __init__(self):
        # Not its standard input, which commands may read.
        script, self._script = os.pipe()
        self._bash = subprocess.Popen(
            ["bash", "--norc", "/dev/fd/%d" % script], pass_fds=[script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        os.close(script)
        self._number = 0

    def run(self, text):
        """Runs a command and returns its status and what it printed."""
        self._number += 1
        mark = "<end-of-command-%d>" % self._number
        # The mark is in a line of its own.
        os.write(self._script, ('%s\nprintf "\\n%s %%d\\n" $?\n'
                                % (text, mark)).encode())
        limit = time.monotonic() + TIMEOUT
        output = b""
        end = re.compile(br"\n%s (\d+)\n" % mark.encode())
        # Not until the end of the file: what a command has left in the
        # background may have the pipe, too.
        while not end.search(output):
            left = limit - time.monotonic()
            ready = left > 0 and select.select([self._bash.stdout], [], [],
                                               left)[0]
            data = ready and os.read(self._bash.stdout.fileno(), 65536)
            if not data:
                return "none: it did not end", output.decode()
            output += data
        found = end.search(output)
        return int(found.group(1)), output[:found.start()].decode()


def runnable_qemu(text, rest):
    """Returns a command line that starts the machine of an abridged one."""
    return "%s > /run/qemu.log 2>&1 &" % text.replace(" ... ", " %s " % rest)


def run(shell, command, qemu=""):
    """Runs a command; returns an explanation if it is not as shown."""
    text = command.text
    if "qemu" in command.words:
        text = runnable_qemu(text, qemu)
    limit = time.monotonic() + TIMEOUT
    while True:
        status, output = shell.run(text)
        why = command.explain(status, output)
        if not why or "wait" not in command.words \
                or time.monotonic() > limit:
            break
        time.sleep(0.1)
    print("line %d: # %s\n%s" % (command.number, command.text, output),
          flush=True)
    return why and "%s\nThe page shows:\n%s" % (why, "\n".join(command.shown))


def as_init(function):
    """Returns what 'function' returns, and is init meanwhile: whose parent has
    ended becomes a child of process 1, which has to wait for it."""
    if os.getpid() != 1:
        return function()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = function()
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status) != 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--switch", action="store_true")
    parser.add_argument("--setting", action="append", default=[],
                        metavar="KEY=VALUE")
    parser.add_argument("--qemu", metavar="OPTIONS",
                        default="-accel tcg -display none -S")
    parser.add_argument("--replace", nargs=2, action="append", default=[],
                        metavar=("OLD", "NEW"))
    parser.add_argument("--first", metavar="COMMAND")
    parser.add_argument("--finally", dest="last", metavar="COMMAND")
    parser.add_argument("--list", action="store_true",
                        help="print the commands, run nothing")
    parser.add_argument("page")
    options = parser.parse_args()
    with open(options.page) as stream:
        text = stream.read()
    for old, new in options.replace:
        if old not in text:
            print("%s: nowhere %r" % (options.page, old))
            return 1
        text = text.replace(old, new)
    found = commands(text)
    if options.list:
        print("\n".join(command.text for command in found))
        return 0

    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.mkdir(RUNDIR)
    os.environ["RUNTIME_DIRECTORY"] = RUNDIR
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shell = Shell()
    if options.switch:
        shell.run(ENVIRONMENT)
        settings = ["other_config:" + each for each in options.setting]
        status, output = shell.run(START_SWITCH
                                   % " ".join(map(shlex.quote, settings)))
        if status:
            print("no switch: %s" % output)
            return 1
    first = [Command(0, options.first, [])] if options.first else []
    last = [Command(0, options.last, ["wait"])] if options.last else []
    for command in first + found + last:
        why = run(shell, command, options.qemu)
        if why:
            print("%s, line %d: %s" % (options.page, command.number, why))
            return 1
    print("%d commands" % len(found))
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(as_init(main))
