# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's trace events of one guest, through a private instance of the kernel's tracefs.

An instance has its own buffer, events, filters and clock (Linux Documentation/trace/ftrace.rst, "Instances"): nothing
that another user traces on this host is changed, and nothing of another guest is recorded.
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

#: Where tracefs is mounted: by itself since Linux 4.1, below debugfs before.
MOUNT_POINTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
#: Names of our instances: this, the process and a number.
PREFIX = "snp-harness-"
SYSTEM = "kvm"
#: Clocks that are the same on all processors, so that events of several can be ordered; the first there is.
CLOCKS = ("mono", "boot", "global")
#: Buffer of each processor, KiB: at least and at most, and what all of them may have together.
BUFFER_KB = (512, 8192)
BUFFER_TOTAL_KB = 256 << 10
#: Bytes taken by one read; the kernel gives a page of text or two.
_READ_SIZE = 1 << 16
#: Most bytes that one `read` returns, where the caller names no limit.
_TAKE_SIZE = 1 << 19
#: Longest file of tracefs that is read, bytes.
_FILE_SIZE = 1 << 16
_PROCESSES = Path("/proc")
#: Counters of per_cpu/cpuN/stats.
_LOST = frozenset({"overrun", "commit overrun", "dropped events"})
_PRIVILEGE_HINT = (
    "tracing is root's: run as root, or with SNP_HARNESS_SUDO=1, or give a group access to it: mount -o"
    " remount,gid=GROUP {root}"
)


def find_root(mount_points: Sequence[Path] = MOUNT_POINTS) -> Path:
    """The directory of tracefs. Raises AgentError: not mounted, or not this user's to use."""
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
    """What this host can trace, as JSON values: {"root", "error", "hint", "events": [...], "missing": [...]}.

    events: names that are looked for. error: "" if tracing can be had.
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
    """Remove what agents left that were killed; returns the names. The kernel does not remove one that is in use."""
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

    events: name of each event of the kvm system, and the filter of its fields ("" for none); those that the kernel
    does not have are in `missing`, unless they are in `required`. Nothing is recorded but what processes do that were
    given to `follow`. clock: the one chosen. unfiltered: events whose filter this kernel does not take.
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
                f"no trace instance can be made in {root}: {error.strerror}",
                "a kernel that is locked down allows no tracing: see /sys/kernel/security/lockdown"
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
        """Readable when events are there."""
        return self._fd

    def follow(self, pid: int) -> None:
        """Record what a process does: all the threads it has, and what they start from now on."""
        process = _PROCESSES / str(pid)
        try:
            threads = sorted(int(task.name) for task in (process / "task").iterdir())
        except OSError:
            raise AgentError(
                "system", f"process {pid} has ended before it could be traced", "see what QEMU said"
            ) from None
        for thread in threads:
            try:
                self._write("set_event_pid", str(thread), append=True)
            except AgentError:
                # A thread may end in between; its process may not.
                if not process.exists():
                    raise

    def start(self) -> None:
        """Record from now on."""
        self._write("tracing_on", "1")

    def stop(self) -> None:
        """Record nothing more; what is recorded can still be read."""
        self._write("tracing_on", "0")

    def filter(self, event: str, rule: str) -> None:
        """Record of an event what a filter of its fields lets through, from now on. Raises AgentError."""
        if "/" in event:
            raise AgentError("usage", f"no event is named {event!a}")
        self._write(f"events/{SYSTEM}/{event}/filter", rule)

    def read(self, limit: int = _TAKE_SIZE) -> bytes:
        """What has been recorded since the last call, as lines of text, so many bytes at most; b"" for nothing."""
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
        """Events that were lost so far, over all processors: overwritten or dropped, because nobody read in time."""
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
        """Stop and remove the instance. Returns "" or, if the kernel does not remove it, why. Never raises."""
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
        # What came first is what SEC did: when the buffer is full, later events are dropped, and counted.
        self._write("options/overwrite", "0")
        self._write("options/event-fork", "1")
        # A reader is woken by the first event, not by a half full buffer (Linux 5.0 and later).
        if (self.path / "buffer_percent").exists():
            self._write("buffer_percent", "0")
        # No process but this one until `follow`: an empty list would mean all.
        self._write("set_event_pid", str(os.getpid()))
        unfiltered = []
        for name, rule in events.items():
            event = f"events/{SYSTEM}/{name}"
            if rule:
                try:
                    self._write(f"{event}/filter", rule)
                except AgentError:
                    # This kernel's event has no field of that name: more is recorded than needed, not less.
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
    """Names of KVM's events. Raises AgentError if there are none."""
    try:
        return frozenset(entry.name for entry in (root / "events" / SYSTEM).iterdir())
    except FileNotFoundError:
        raise AgentError(
            "system", "KVM is not loaded: there are no trace events of it", "modprobe kvm_amd or kvm_intel"
        ) from None
    except OSError as error:
        raise _unreadable(root / "events", error) from None


def _read(path: Path) -> str:
    """A small file of tracefs as text. Raises AgentError."""
    try:
        with path.open("rb") as file:
            return file.read(_FILE_SIZE).decode("ascii", "replace")
    except OSError as error:
        raise _unreadable(path, error) from None
