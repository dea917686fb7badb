# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What an interruption has left behind in ovs-vswitchd and its directory.

Open descriptors, mapped files and threads of the process, and the files in its
run directory, are counted by kind before the first interruption and after
each.  A new process (the switch was restarted) is compared with the old one.
Memory of no file is not looked at: it grows and shrinks as malloc() likes.
"""

import collections
import contextlib
import os
import re
import time

SETTLE_SECONDS = 10

# What a thread makes for itself when it first needs it: a pipe to be woken by
# (Open vSwitch), a context for notifications (ours); and such threads.  These
# are no leak unless there are more of them after each of several rounds in the
# same process.
SEVERAL = 3
LATE = re.compile(r"descriptor of pipe|mapping of /\[aio\]"
                  r"|thread (urcu|vhost_reconn|vhost-events|vhost_dispose)")


def _kind(text, rundir):
    """Returns a name without what differs between things of a kind."""
    text = text.replace(rundir, "RUN").replace(" (deleted)", "")
    return re.sub(r"\d+", "#", text)


def _descriptors(pid, rundir):
    for name in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(FileNotFoundError):
            yield "descriptor of " + _kind(
                os.readlink("/proc/%d/fd/%s" % (pid, name)), rundir)


def _mappings(pid, rundir):
    """Files that are mapped, each once whatever the number of its pieces."""
    found = set()
    with open("/proc/%d/maps" % pid) as stream:
        for line in stream:
            words = line.split(None, 5)
            if len(words) == 6 and words[4] != "0" \
                    and "/lib/" not in words[5]:
                found.add((words[3], words[4], words[5].strip()))
    for _, _, path in found:
        yield "mapping of " + _kind(path, rundir)


def _threads(pid, rundir):
    for name in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(FileNotFoundError), \
                open("/proc/%d/task/%s/comm" % (pid, name)) as stream:
            yield "thread " + _kind(stream.read().strip(), rundir)


def _files(rundir):
    for folder, _, names in os.walk(rundir):
        for name in names:
            path = os.path.join(folder, name)
            # The lab's own link, one for each start.
            if not name.endswith((".log", ".ctl")):
                yield "file " + _kind(path, rundir)


def take(switch):
    """Returns a Counter of all that ovs-vswitchd has now."""
    pid, rundir = switch.pid(), switch.rundir
    return collections.Counter([
        *_descriptors(pid, rundir), *_mappings(pid, rundir),
        *_threads(pid, rundir), *_files(rundir)])


class Watch:
    """Compares with what 'switch' has now."""

    def __init__(self, switch):
        self._switch = switch
        self._pid = switch.pid()
        self._before = take(switch)
        self._late = [self._before]     # And after each round.

    def left(self):
        """Returns the list of what is there now, after a round, and was not
        before, once nothing goes away any more."""
        limit = time.monotonic() + SETTLE_SECONDS
        while True:
            now = take(self._switch)
            more = {what: count for what, count in (now - self._before).items()
                    if not LATE.match(what)}
            if not more or time.monotonic() > limit:
                break
            time.sleep(0.1)
        if self._switch.pid() == self._pid:
            self._late.append(now)
            more.update(self._growing())
        return ["%d %s" % (count, what)
                for what, count in sorted(more.items())]

    def _growing(self):
        """Returns {what: how many more} for what came late again and again."""
        counts = {what: [each[what] for each in self._late]
                  for what in self._late[-1] if LATE.match(what)}
        return {what: all_[-1] - all_[0] for what, all_ in counts.items()
                if len(all_) > SEVERAL
                and all(a < b for a, b in zip(all_, all_[1:]))}
