# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What the host did to us: stolen time, and threads that had to wait.

The kernel counts both.  /proc/stat has the time that a hypervisor gave to
somebody else although a CPU here wanted it; a thread's schedstat has the time
that it waited on a run queue while another one ran.
"""

import contextlib
import fcntl
import glob
import os
import resource
import time

PMD_NAME = "pmd-c%02d/"
LOCK = "/run/ovs-vhost-bench.lock"
OTHERS_SECONDS = 0.1            # For what was starved to be done with.


def steal_ticks(cpus):
    """Returns the stolen time of 'cpus' together, in clock ticks."""
    wanted = {"cpu%d" % cpu for cpu in cpus}
    with open("/proc/stat") as stream:
        return sum(int(line.split()[8]) for line in stream
                   if line.split(None, 1)[0] in wanted)


def thread_names(pid):
    """Returns {thread id: name} of a process."""
    names = {}
    for path in glob.glob("/proc/%d/task/*/comm" % pid):
        with contextlib.suppress(OSError), open(path) as stream:
            names[int(path.split("/")[4])] = stream.read().strip()
    return names


def pmd_thread(pid, core):
    """Returns the id of ovs-vswitchd's PMD thread on 'core', or None."""
    for thread, name in thread_names(pid).items():
        if name.startswith(PMD_NAME % core):
            return thread
    return None


def waited_ns(pid, thread):
    """Returns how long a thread has waited for a CPU, in nanoseconds."""
    try:
        with open("/proc/%d/task/%d/schedstat" % (pid, thread)) as stream:
            return int(stream.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0                # A kernel without schedstat.


def workers(pid):
    """Returns the ids of the threads of an ovs-vhost-guest that poll."""
    return [thread for thread, name in thread_names(pid).items()
            if name.startswith("worker")]


@contextlib.contextmanager
def alone(waiting):
    """Lets one benchmark run at a time on this host.  Calls waiting() if
    there is another one."""
    with open(LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def raise_limits():
    """Allows as many open files as hundreds of ports need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else max(hard, 65536)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))


def settle(cpu):
    """Keeps this process, and what it will start, on one CPU, and lets it go
    before what else runs on this host.  PMD threads choose their own CPU, but
    keep the priority."""
    os.sched_setaffinity(0, {cpu})
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    prefer(os.getpid())


def prefer(pid):
    """Lets a process that this one has started go before others.  Where the
    kernel groups processes by session, their own priority, which they have
    inherited, counts within the session only."""
    with contextlib.suppress(OSError), \
            open("/proc/%d/autogroup" % pid, "w") as stream:
        stream.write("-20")


@contextlib.contextmanager
def undisturbed(pollers, others):
    """Lets threads run that poll, and are interrupted by nothing on their
    CPUs but this process and 'others'.  For less than a second: after that
    the kernel steps in, for what is starved; see let_others_run()."""
    priorities = [(2, it) for it in (0, *others)] + [(1, it) for it in pollers]
    changed = []
    try:
        with contextlib.suppress(PermissionError):
            for priority, thread in priorities:
                os.sched_setscheduler(thread, os.SCHED_FIFO,
                                      os.sched_param(priority))
                changed.append(thread)
        yield
    finally:
        for thread in reversed(changed):
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_OTHER,
                                      os.sched_param(0))


def let_others_run():
    """For between two undisturbed() whiles, when nothing polls: otherwise the
    kernel sees one long while and lets what is starved run in its middle."""
    time.sleep(OTHERS_SECONDS)


def resident_bytes(pid, skip=()):
    """Returns the resident memory of a process without the mappings of files
    whose name contains one of 'skip'."""
    total, counted = 0, True
    with open("/proc/%d/smaps" % pid) as stream:
        for line in stream:
            if "-" in line.split(None, 1)[0]:
                counted = not any(word in line for word in skip)
            elif line.startswith("Rss:") and counted:
                total += int(line.split()[1]) << 10
    return total
