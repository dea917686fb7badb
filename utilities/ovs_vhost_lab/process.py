# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Child processes that cannot outlive their parent, and waiting for things.

Every child is tied to its parent by PR_SET_PDEATHSIG, so that even a kill -9
of the parent leaves nothing behind.  The kernel ties it to the parent's
*thread*: start long-lived children from a thread that stays, normally the
main one.  Children run in a session of their own, so that a terminal's Ctrl-C
reaches only the parent, which then ends them in order.
"""

import ctypes
import os
import signal
import subprocess
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something in the laboratory did not work; the text says what."""


def scaled(seconds):
    """Returns a time limit stretched by OVS_VHOST_TIMEOUT_SCALE, which slow
    machines set above 1."""
    return seconds * float(os.environ.get("OVS_VHOST_TIMEOUT_SCALE", "1"))


def set_parent_death_signal(signum):
    """Asks the kernel to send 'signum' (0: nothing) to this process when the
    thread that forked it ends."""
    libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)


def enter_netns(descriptor):
    """Moves the calling thread into the network namespace 'descriptor'."""
    if libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, "setns: " + os.strerror(number))


def _child_setup(netns):
    parent = os.getpid()

    def setup():
        if netns is not None:
            enter_netns(netns.fileno())
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)

    return setup


def popen(argv, netns=None, **kwargs):
    """subprocess.Popen for a child in 'netns' that is tied to this thread."""
    return subprocess.Popen([str(word) for word in argv],
                            stdin=kwargs.pop("stdin", subprocess.DEVNULL),
                            start_new_session=True,
                            preexec_fn=_child_setup(netns), **kwargs)


def run(argv, timeout=30, check=True, netns=None, env=None):
    """Runs 'argv' to its end in 'netns' (None: the caller's namespace).

    Returns a CompletedProcess whose stdout holds both outputs as text.
    Raises LabError when it cannot be started, when it takes more than
    'timeout' seconds and, if 'check', when its status is not zero."""
    try:
        child = popen(argv, netns, env=env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors="replace")
    except OSError as error:
        raise LabError("%s: %s" % (argv[0], error.strerror)) from error
    try:
        output, _ = child.communicate(timeout=scaled(timeout))
    except subprocess.TimeoutExpired:
        raise LabError("%s: no end after %g s"
                       % (_words(argv), scaled(timeout))) from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdout.close()
    if check and child.returncode:
        raise LabError("%s: status %d\n%s"
                       % (_words(argv), child.returncode, output.rstrip()))
    return subprocess.CompletedProcess(argv, child.returncode, output)


def _words(argv):
    return " ".join(str(word) for word in argv)


class Process:
    """A long-lived child whose output goes to the file 'log'.  'stdin' is
    what subprocess.Popen takes."""

    def __init__(self, name, argv, log, netns=None, env=None,
                 stdin=subprocess.DEVNULL):
        self.name = name
        self.log = log
        with open(log, "ab") as output:
            try:
                self._child = popen(argv, netns, env=env, stdin=stdin,
                                     stdout=output, stderr=subprocess.STDOUT)
            except OSError as error:
                raise LabError("%s: %s" % (argv[0], error.strerror)) from error
        self.pid = self._child.pid

    def status(self):
        """Returns None while it runs, then its exit status (a negative
        number: the signal that killed it)."""
        return self._child.poll()

    def check_running(self):
        """Raises LabError if it has ended."""
        status = self.status()
        if status is not None:
            raise LabError("%s ended with status %d\n%s"
                           % (self.name, status, tail(self.log, 20)))

    def wait(self, timeout):
        """Waits at most 'timeout' seconds; returns true if it ended."""
        try:
            self._child.wait(scaled(timeout))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self, signum=signal.SIGKILL):
        """Sends 'signum' and, if that is SIGKILL, waits for the end."""
        if self.status() is None:
            self._child.send_signal(signum)
        if signum == signal.SIGKILL:
            self._child.wait()

    def end(self, timeout=5):
        """Asks it to end, and kills it if it does not within 'timeout'."""
        self.kill(signal.SIGTERM)
        if not self.wait(timeout):
            self.kill()


def wait_until(condition, timeout, what, interval=0.05):
    """Calls 'condition' until it returns something true, and returns that.
    Raises LabError naming 'what' after 'timeout' seconds."""
    limit = time.monotonic() + scaled(timeout)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > limit:
            raise LabError("%s: not within %g s" % (what, scaled(timeout)))
        time.sleep(interval)


def tail(path, lines):
    """Returns the last 'lines' lines of a file, or '' if there is none."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 65536))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.replace("\r", "").splitlines()[-lines:])
