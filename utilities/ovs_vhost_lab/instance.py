# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""A laboratory's directory and its two guardians.

Two processes watch each other.  The front is what the user started; it waits.
The worker makes the laboratory and ends it.  Whichever is killed, the other
cleans up: the kernel tells the worker when the front is gone, and the front
removes the directory of a worker that could not.  The worker's children and
namespaces go with it by themselves (see process.py and netns.py).

A laboratory that is kept has only its worker, which holds the lock on
DIRECTORY/lock; that lock, not a process id alone, says that it is alive.
"""

import contextlib
import fcntl
import glob
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import termios
import time
import tty

from .process import (LabError, enter_netns, scaled,
                      set_parent_death_signal)

PROGRAM = "ovs-vhost-demo"
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ESCAPE = b"\x1d"                # Ctrl-]


class Interrupted(BaseException):
    """A signal asked this process to end."""


def _base():
    """Returns the directory for laboratories: $TMPDIR unless the sockets'
    names would not fit below it."""
    base = os.environ.get("TMPDIR") or "/tmp"
    return base if len(base) <= 40 and os.path.isabs(base) else "/tmp"


class Directory:
    """A private temporary directory with a lock that its owner holds."""

    def __init__(self, prefix):
        _remove_abandoned(prefix)
        self.path = tempfile.mkdtemp(prefix=prefix, dir=_base())
        self._lock = open(os.path.join(self.path, "lock"), "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def describe(self, **facts):
        """Writes down what --shell and --stop need to know."""
        path = os.path.join(self.path, "state.json")
        with open(path + ".new", "w") as stream:
            json.dump(dict(facts, pid=os.getpid()), stream)
        os.rename(path + ".new", path)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


def _is_alive(path):
    """Tells whether somebody holds the lock of a laboratory of ours."""
    try:
        if os.lstat(path).st_uid != os.geteuid():
            return False
        with open(os.path.join(path, "lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _remove_abandoned(prefix):
    """Removes directories whose owners were all killed at once, once they
    are old enough not to be in the making."""
    for path in glob.glob(os.path.join(_base(), prefix + "*")):
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            if status.st_uid == os.geteuid() and not _is_alive(path) \
                    and time.time() - status.st_mtime > 60:
                shutil.rmtree(path, ignore_errors=True)


# Front and worker.

def supervise(work, program=PROGRAM):
    """Runs work(directory, keep) in a worker; returns its exit status.
    'program' is the name for messages and directories.

    'work' gets a Directory and a function that it calls with an exit status
    if the laboratory is to be kept: then this process returns that status,
    and 'work' goes on without it until it gets SIGTERM."""
    directory = Directory(program + ".")
    reader, writer = os.pipe()
    front = os.getpid()
    sys.stdout.flush()
    _hold_signals()
    worker = os.fork()
    if worker == 0:
        os.close(reader)
        _be_worker(front, writer, directory, work, program)
    os.close(writer)
    _forward_signals(worker)
    kept = os.read(reader, 1)
    if kept:
        return kept[0]
    _, status = os.waitpid(worker, 0)
    if os.WIFSIGNALED(status):
        time.sleep(0.5)         # For its children, which the kernel kills.
        directory.remove()
        print("\n%s: the worker was killed by signal %d; cleaned up."
              % (program, os.WTERMSIG(status)), file=sys.stderr)
        return 1
    return os.WEXITSTATUS(status)


def _hold_signals():
    """Blocks the ending signals until handlers for them are in place."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)


def _handle_signals(handler):
    for signum in ENDING_SIGNALS:
        signal.signal(signum, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)


def _forward_signals(worker):
    def forward(_signum, _frame):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)
    _handle_signals(forward)


def _interrupt(_signum, _frame):
    """Ends the worker's work, once: what cleans up is left in peace."""
    for signum in ENDING_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    raise Interrupted()


def _be_worker(front, writer, directory, work, program):
    os.setsid()
    set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != front:
        os._exit(1)
    status = 1

    def keep(result):
        set_parent_death_signal(0)
        os.write(writer, bytes([result]))
        _leave_terminal(directory)

    try:
        _handle_signals(_interrupt)
        status = work(directory, keep)
    except Interrupted:
        print("\nInterrupted; everything is taken away.", file=sys.stderr)
        status = 130
    except Exception as error:          # A defect of the program itself.
        import traceback
        traceback.print_exc()
        print("%s: %s" % (program, error), file=sys.stderr)
    finally:
        directory.remove()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _leave_terminal(directory):
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(os.path.join(directory.path, "keeper.log"),
                  os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir("/")


# Laboratories that were kept.

def find(path=None, program=PROGRAM):
    """Returns (directory, state) of the kept laboratory 'path' of 'program'
    or, if 'path' is None, of the only one there is."""
    if path:
        found = [path] if _is_alive(path) else []
    else:
        found = [each for each in glob.glob(os.path.join(_base(),
                                                         program + ".*"))
                 if _is_alive(each)
                 and os.path.exists(os.path.join(each, "state.json"))]
    if not found:
        raise LabError("no %s is running here%s" % (program, " in " + path
                                                    if path else ""))
    if len(found) > 1:
        raise LabError("several are running; choose one by --dir: "
                       + " ".join(sorted(found)))
    try:
        with open(os.path.join(found[0], "state.json")) as stream:
            return found[0], json.load(stream)
    except FileNotFoundError:
        raise LabError("what is in %s is not ready yet" % found[0]) from None


def stop(path=None, program=PROGRAM):
    """Ends a kept laboratory and waits until it is gone."""
    directory, state = find(path, program)
    os.kill(state["pid"], signal.SIGTERM)
    limit = time.monotonic() + scaled(30)
    while os.path.exists(directory):
        if time.monotonic() > limit:
            raise LabError("%s in %s (process %d) does not end"
                           % (program, directory, state["pid"]))
        time.sleep(0.1)
    print("%s in %s has ended." % (program, directory))


def shell(name, path=None, program=PROGRAM, command=()):
    """Gives the user a shell in the guest 'name', or in the namespace of
    the switch or of a station; there, 'command' may take its place."""
    directory, state = find(path, program)
    if name in state["guests"]:
        if command:
            raise LabError("a command can be given for %s only" % " ".join(
                sorted(state["namespaces"])))
        _attach(os.path.join(directory, name + ".shell"), name)
    elif name in state["namespaces"]:
        _enter(state, name, command)
    else:
        raise LabError("no station %s here; there are: %s" % (
            name, " ".join(sorted(state["guests"])
                           + sorted(state["namespaces"]))))


def _enter(state, name, command):
    namespace = os.open("/proc/%d/fd/%d" % (state["pid"],
                                            state["namespaces"][name]),
                        os.O_RDONLY)
    enter_netns(namespace)
    os.close(namespace)
    own = state.get("environments", {}).get(name, state["environment"])
    os.environ.update(own, PS1=name + "# ")
    command = list(command) or ["/bin/sh"]
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise LabError("%s: %s" % (command[0], error.strerror)) from error


def _attach(path, name):
    """Joins the user's terminal and a guest's serial port."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    interactive = sys.stdin.isatty()
    if interactive:
        print("A shell in %s.  Ctrl-] leaves it; press Enter for a prompt."
              % name)
        saved = termios.tcgetattr(0)
        tty.setraw(0)
    try:
        connection.sendall(b"\n")
        _pump(connection, interactive)
    finally:
        if interactive:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
            print()


def _pump(connection, interactive):
    """Copies both ways until the user leaves or the guest ends.  Input that
    is not a terminal ends when nothing came from the guest for a second."""
    inputs = [connection, 0]
    while True:
        readable, _, _ = select.select(inputs, [], [],
                                       None if 0 in inputs else 1)
        if not readable:
            return
        if connection in readable:
            data = connection.recv(4096)
            if not data:
                return
            os.write(1, data)
        if 0 in readable:
            data = os.read(0, 4096)
            if interactive and (not data or ESCAPE in data):
                return
            if not data:
                inputs.remove(0)
            connection.sendall(data)
