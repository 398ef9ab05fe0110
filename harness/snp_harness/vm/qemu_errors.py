# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of a QEMU process and of the guest's consoles."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from snp_harness.errors import EXIT_INCONCLUSIVE, BrokenEnvironmentError, HarnessError

#: What it means that a signal has ended QEMU, where QEMU has written no reason.
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "another process ended it, or the kernel because memory ran out (see dmesg)",
    signal.SIGTERM: "another process ended it",
    signal.SIGINT: "another process ended it",
    signal.SIGHUP: "another process ended it",
    signal.SIGSEGV: "a defect of QEMU",
    signal.SIGABRT: "QEMU gave up, without a message",
    signal.SIGBUS: "memory that it shares could not be allocated: is /dev/shm or the disk full?",
    signal.SIGXFSZ: "a file became too large (see ulimit -f)",
}
#: Precedes a message with `-msg timestamp=on`.
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ")
#: Messages that are not why QEMU ended.
_NO_REASON = re.compile(r"\bwarning: |\binfo: |^\*\*$|^Bail out!|-WARNING \*\*:")
#: cpu_abort() and hw_error() of QEMU, assertions of GLib and of the C library, a failed allocation of GLib.
_ABORT = re.compile(r"qemu: (fatal|hardware error): |ERROR:|\S+: .*: Assertion .* failed|.*GLib-ERROR \*\*: ")


class QemuError(BrokenEnvironmentError):
    """A failure of QEMU itself, not of the guest in it."""


class QemuMissingError(QemuError):
    """QEMU was not found, or cannot be executed."""


class NotQemuError(QemuError):
    """The program runs, but is not a QEMU system emulator."""


class QemuTooOldError(QemuError):
    """A QEMU older than the oldest that is supported."""


class QemuExitError(QemuError):
    """QEMU ended when it should not have.

    command: argv. status: exit status, negative for a signal. stderr: the last lines QEMU wrote.
    """

    what = "QEMU ended"

    def __init__(self, command: Sequence[str], status: int, stderr: str) -> None:
        said = telling_line(stderr) or _SIGNALS.get(-status, "")
        reason = f": {said}" if said else ", without a message"
        super().__init__(f"{self.what} with {describe_status(status)}{reason}")
        self.command = tuple(command)
        self.status = status
        self.stderr = stderr

    def details(self) -> str:
        """Return several lines: the command, how it ended, and the end of what it wrote to stderr."""
        how = describe_status(self.status)
        return f"command: {shlex.join(self.command)}\nended with: {how}\nstderr:\n{self.stderr}"


class QemuLaunchError(QemuExitError):
    """QEMU refused its command line, or died before its monitor answered."""

    what = "QEMU did not start: it ended"


class QemuDiedError(QemuExitError):
    """QEMU died while the guest ran. What was observed until then is kept."""

    what = "QEMU died in the middle of the run: it ended"


class QemuTimeoutError(QemuError):
    """QEMU itself did not answer in time (its monitor, or its end)."""


class QmpEndedError(QemuError):
    """The session with QEMU's monitor has ended, or could not be opened: QEMU is ending."""


class QmpCommandError(QemuError):
    """QEMU refused a QMP command."""


class ConsoleError(HarnessError):
    """Expected text did not appear on a console. The guest is the cause, so the environment is not broken."""

    exit_status = EXIT_INCONCLUSIVE


class ConsoleTimeoutError(ConsoleError):
    """The text did not appear in time; the message quotes it and the last line of the console."""


class GuestCrashError(ConsoleError):
    """The console shows that the guest has crashed: one of the crash patterns matched."""


class CannotWriteError(BrokenEnvironmentError):
    """A file of the run directory cannot be written: the disk is full, or the directory is not the user's."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {error.strerror}", "make room, or name another directory with --out")
        self.number = error.errno


def printable(text: str, limit: int) -> str:
    """Return text of a guest or a program for one line: at most `limit` characters, control characters as "?"."""
    return "".join(character if character.isprintable() else "?" for character in text[:limit])


def telling_line(stderr: str) -> str:
    """The line that says why: the reason of an abort, else QEMU's last message, else the last line; never a warning.

    What follows the reason of an abort is registers, or less precise.
    """
    lines = [_TIMESTAMP.sub("", line.strip()) for line in stderr.splitlines()]
    lines = [line for line in lines if line and not _NO_REASON.search(line)]
    aborts = [line for line in lines if _ABORT.match(line)]
    messages = [line for line in lines if line.startswith("qemu-system")]
    return printable((aborts[:1] or messages[-1:] or lines[-1:] or [""])[0], 400)


def describe_status(status: int) -> str:
    """Return an exit status in words: "status 1" or "signal 9 (SIGKILL)"."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
