# SPDX-License-Identifier: GPL-2.0-or-later
"""Records KVM's trace events of one guest, through a private instance of the kernel's tracefs.

An instance has its own buffer, events, filters and clock (Linux Documentation/trace/ftrace.rst, "Instances"): it does
not change the tracing of other users of this host, and does not record other guests.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from snp_harness.agent.agent_errors import AgentError

#: Mount points of tracefs: since Linux 4.1, and the earlier one in debugfs.
MOUNT_POINTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
#: Start of an instance's name; the process id and a number follow.
PREFIX = "snp-harness-"
SYSTEM = "kvm"
#: Clocks that are equal on all processors, so that events can be ordered; the first available one is used.
CLOCKS = ("mono", "boot", "global")
#: Limits of each processor's buffer, and of all buffers together, KiB.
BUFFER_KB = (512, 8192)
BUFFER_TOTAL_KB = 256 << 10
#: Bytes of one read; the kernel returns one or two pages of text.
_READ_SIZE = 1 << 16
#: Most bytes that one `read` returns, where the caller names no limit.
_TAKE_SIZE = 1 << 19
#: Most bytes read from a file of tracefs.
_FILE_SIZE = 1 << 16
_PROCESSES = Path("/proc")
#: Counters of per_cpu/cpuN/stats.
_LOST = frozenset({"overrun", "commit overrun", "dropped events"})
_PRIVILEGE_HINT = (
    "tracing needs root: run as root, or with SNP_HARNESS_SUDO=1, or let a group access tracefs: mount -o"
    " remount,gid=GROUP {root}"
)


def find_root(mount_points: Sequence[Path] = MOUNT_POINTS) -> Path:
    """Return the directory of tracefs. Raises AgentError if it is not mounted, or this user has no access."""
    for root in mount_points:
        instances = root / "instances"
        try:
            next(instances.iterdir(), None)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            raise _refused(root) from None
        except OSError as error:
            raise _unreadable(root, error) from None
        if not os.access(instances, os.W_OK | os.X_OK):
            raise _refused(root)
        return root
    raise AgentError(
        "system",
        "tracefs is not mounted, or the kernel has no tracing",
        f"as root: mount -t tracefs tracefs {mount_points[0]}",
    )


def survey(events: Iterable[str], mount_points: Sequence[Path] = MOUNT_POINTS) -> dict[str, Any]:
    """Return what this host can trace, as JSON values: {"root", "error", "hint", "events": [...], "missing": [...]}.

    events: names to look for. The result's error is "" if tracing is available.
    """
    facts: dict[str, Any] = {"root": "", "error": "", "hint": "", "events": [], "missing": []}
    try:
        root = find_root(mount_points)
        facts["root"] = str(root)
        have = _kvm_events(root)
    except AgentError as error:
        facts["error"], facts["hint"] = error.message, error.hint
        return facts
    for name in events:
        facts["events" if name in have else "missing"].append(name)
    return facts


def remove_stale(root: Path) -> list[str]:
    """Remove the instances of killed agents; return their names. The kernel does not remove an instance in use."""
    removed = []
    for instance in (root / "instances").iterdir():
        owner = instance.name[len(PREFIX) :].partition("-")[0]
        if not instance.name.startswith(PREFIX) or not owner.isdigit() or (_PROCESSES / owner).exists():
            continue
        with contextlib.suppress(OSError):
            instance.rmdir()
            removed.append(instance.name)
    return removed


class TraceInstance:
    """A private instance, recording from `start` to `stop`; a context manager that removes it.

    events: filter by name of an event of the kvm system, "" for none. required: events whose absence is an error.
    buffer_kb: of each processor, KiB; None: chosen for the host. Only processes passed to `follow` are recorded.
    missing: events that the kernel lacks. clock: the chosen one. unfiltered: events whose filter the kernel rejects.
    Raises AgentError.
    """

    _count = 0

    def __init__(
        self,
        events: Mapping[str, str],
        required: Sequence[str] = (),
        buffer_kb: int | None = None,
        mount_points: Sequence[Path] = MOUNT_POINTS,
    ) -> None:
        root = find_root(mount_points)
        have = _kvm_events(root)
        lacking = [name for name in required if name not in have]
        if lacking:
            raise AgentError(
                "system",
                f"this kernel has no trace event {', '.join(lacking)}",
                "Linux 5.10 or newer with KVM is needed",
            )
        self.missing = tuple(name for name in events if name not in have)
        self.clock = ""
        self.unfiltered: tuple[str, ...] = ()
        self._fd = -1
        remove_stale(root)
        TraceInstance._count += 1
        self.path = root / "instances" / f"{PREFIX}{os.getpid()}-{TraceInstance._count}"
        self._removed = False
        try:
            self.path.mkdir(0o700)
        except OSError as error:
            locked = error.errno == errno.EPERM
            raise AgentError(
                "permission",
                f"cannot make a trace instance in {root}: {error.strerror}",
                "a kernel that is locked down does not allow tracing: see /sys/kernel/security/lockdown"
                if locked
                else _PRIVILEGE_HINT.format(root=root),
            ) from None
        try:
            self._configure({name: rule for name, rule in events.items() if name in have}, buffer_kb)
            self._fd = os.open(self.path / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise _unreadable(self.path / "trace_pipe", error) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TraceInstance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are events; -1 after `close`."""
        return self._fd

    def follow(self, pid: int) -> None:
        """Record a process: all its threads, and those that they start from now on. Raises AgentError."""
        process = _PROCESSES / str(pid)
        try:
            threads = sorted(int(task.name) for task in (process / "task").iterdir())
        except OSError:
            raise AgentError(
                "system", f"process {pid} has ended before it could be traced", "see QEMU's messages"
            ) from None
        for thread in threads:
            try:
                self._write("set_event_pid", str(thread), append=True)
            except AgentError:
                # A thread may end meanwhile; the process may not.
                if not process.exists():
                    raise

    def start(self) -> None:
        """Start recording. Raises AgentError."""
        self._write("tracing_on", "1")

    def stop(self) -> None:
        """Stop recording; recorded events can still be read. Raises AgentError."""
        self._write("tracing_on", "0")

    def filter(self, event: str, rule: str) -> None:
        """Set the filter of an event's fields, from now on. Raises AgentError."""
        if "/" in event:
            raise AgentError("usage", f"no event is named {event!a}")
        self._write(f"events/{SYSTEM}/{event}/filter", rule)

    def read(self, limit: int = _TAKE_SIZE) -> bytes:
        """Return events recorded since the last call, as text of at most `limit` bytes. Raises AgentError."""
        parts = []
        while limit > 0:
            try:
                part = os.read(self._fd, min(_READ_SIZE, limit))
            except BlockingIOError:
                break
            except OSError as error:
                raise _unreadable(self.path / "trace_pipe", error) from None
            if not part:
                break
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)

    def lost(self) -> int:
        """Return the number of events lost so far on all processors, because they were not read in time.

        Raises AgentError.
        """
        total = 0
        try:
            for stats in self.path.glob("per_cpu/cpu*/stats"):
                for line in _read(stats).splitlines():
                    key, _, value = line.partition(":")
                    if key in _LOST:
                        total += int(value)
        except (OSError, ValueError) as error:
            raise AgentError("system", f"the state of the trace buffers cannot be read: {error}") from None
        return total

    def close(self) -> str:
        """Stop and remove the instance. Return "", or the reason if the kernel does not remove it. Never raises."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._removed:
            return ""
        for name in ("tracing_on", "events/enable"):
            with contextlib.suppress(AgentError):
                self._write(name, "0")
        try:
            self.path.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            return f"the trace instance {self.path} is still there: {error.strerror}"
        self._removed = True
        return ""

    def _configure(self, events: Mapping[str, str], buffer_kb: int | None) -> None:
        self._write("tracing_on", "0")
        clocks = _read(self.path / "trace_clock").replace("[", " ").replace("]", " ").split()
        self.clock = next((name for name in CLOCKS if name in clocks), "")
        if not self.clock:
            raise AgentError("system", "this kernel has no trace clock that orders events of several processors")
        self._write("trace_clock", self.clock)
        if buffer_kb is None:
            smallest, largest = BUFFER_KB
            buffer_kb = max(smallest, min(largest, BUFFER_TOTAL_KB // max(1, os.cpu_count() or 1)))
        self._write("buffer_size_kb", str(buffer_kb))
        # The first events are those of SEC: when the buffer is full, later events are dropped, and counted.
        self._write("options/overwrite", "0")
        self._write("options/event-fork", "1")
        # The first event wakes the reader, not a half full buffer (Linux 5.0 and later).
        if (self.path / "buffer_percent").exists():
            self._write("buffer_percent", "0")
        # Only this process until `follow`: an empty list would mean all processes.
        self._write("set_event_pid", str(os.getpid()))
        unfiltered = []
        for name, rule in events.items():
            event = f"events/{SYSTEM}/{name}"
            if rule:
                try:
                    self._write(f"{event}/filter", rule)
                except AgentError:
                    # The event has no field of that name in this kernel: more is recorded than needed, not less.
                    unfiltered.append(name)
                    self._write(f"{event}/filter", "0")
            self._write(f"{event}/enable", "1")
        self.unfiltered = tuple(unfiltered)

    def _write(self, name: str, text: str, append: bool = False) -> None:
        path = self.path / name
        flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
        try:
            fd = os.open(path, flags)
            try:
                os.write(fd, text.encode("ascii"))
            finally:
                os.close(fd)
        except OSError as error:
            raise AgentError("system", f"cannot write {text!r} to {path}: {error.strerror}") from None


def _refused(root: Path) -> AgentError:
    return AgentError("permission", f"no permission to use tracefs at {root}", _PRIVILEGE_HINT.format(root=root))


def _unreadable(path: Path, error: OSError) -> AgentError:
    return AgentError("system", f"{path} cannot be read: {error.strerror}", "see the kernel's log")


def _kvm_events(root: Path) -> frozenset[str]:
    """Return the names of KVM's events. Raises AgentError if there are none."""
    try:
        return frozenset(entry.name for entry in (root / "events" / SYSTEM).iterdir())
    except FileNotFoundError:
        raise AgentError(
            "system", "KVM is not loaded: there are no trace events of it", "modprobe kvm_amd or kvm_intel"
        ) from None
    except OSError as error:
        raise _unreadable(root / "events", error) from None


def _read(path: Path) -> str:
    """Return a small file of tracefs as text. Raises AgentError."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_SIZE).decode("ascii", "replace")
    except OSError as error:
        raise _unreadable(path, error) from None
