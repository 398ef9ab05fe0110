# SPDX-License-Identifier: GPL-2.0-or-later
"""Tracing KVM on this machine's own kernel, where that is possible: filters, lost events, removal."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.tracefs import PREFIX, TraceInstance
from snp_harness.capture.kvm_trace import ENCRYPTED_EVENTS, EXITS_OF_ACCESSES, PLAIN_EVENTS, KvmEventKind, parse_line
from tests.agent.kernel_trace import PORT, Guests, kernel_tracefs

PIO = {"kvm_pio": f"port == {PORT:#x}"}


@pytest.fixture
def root() -> Iterator[Path]:
    with kernel_tracefs() as place:
        yield place


LEAVES = f"""
import os, signal, sys
from pathlib import Path
from snp_harness.agent.tracefs import TraceInstance
made = TraceInstance({PIO!r}, mount_points=(Path(sys.argv[1]),))
assert made.path.is_dir()
print(made.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def ours(root: Path) -> list[str]:
    return [path.name for path in (root / "instances").iterdir() if path.name.startswith(f"{PREFIX}{os.getpid()}-")]


def test_only_the_process_that_is_followed(root: Path) -> None:
    with Guests() as followed, Guests() as other, TraceInstance(PIO, ("kvm_pio",), mount_points=(root,)) as trace:
        trace.follow(followed.pid)
        followed.run()
        trace.start()
        assert select.select([trace], [], [], 0)[0] == []
        other.run()
        followed.run()
        assert select.select([trace], [], [], 120)[0] == [trace]
        data = trace.read()
        trace.stop()
        followed.run()
        rest = trace.read()
    [line] = data.splitlines()
    event = parse_line(line)
    assert event is not None
    assert (event.kind, event.thread, event.number, event.value) == (KvmEventKind.PIO, followed.pid, PORT, 0x5A)
    assert rest == b""
    assert ours(root) == []


def test_filters_of_fields(root: Path) -> None:
    events = {"kvm_pio": "port == 0x11", "kvm_userspace_exit": "no_such_field == 1"}
    with Guests() as guests, TraceInstance(events, mount_points=(root,)) as trace:
        trace.follow(guests.pid)
        trace.start()
        guests.run()
        data = trace.read()
    assert trace.unfiltered == ("kvm_userspace_exit",)
    assert b"kvm_pio" not in data
    assert b"kvm_userspace_exit" in data


@pytest.mark.parametrize("events", [PLAIN_EVENTS, ENCRYPTED_EVENTS], ids=["plain", "encrypted"])
def test_the_kernel_takes_our_filters(events: dict[str, str], root: Path) -> None:
    with TraceInstance(events, mount_points=(root,)) as trace:
        assert trace.unfiltered == ()
        assert trace.missing == ()
        trace.filter("kvm_exit", EXITS_OF_ACCESSES)
        with pytest.raises(AgentError, match="Invalid argument"):
            trace.filter("kvm_exit", "no_such_field == 1")
        with pytest.raises(AgentError, match="no event is named"):
            trace.filter("../kvm_exit", "")


def test_events_that_this_kernel_does_not_have(root: Path) -> None:
    with TraceInstance({**PIO, "kvm_no_such_event": ""}, mount_points=(root,)) as trace:
        assert trace.missing == ("kvm_no_such_event",)
    with pytest.raises(AgentError, match="no trace event kvm_no_such_event"):
        TraceInstance(PIO, ("kvm_no_such_event",), mount_points=(root,))
    assert ours(root) == []


def test_every_lost_event_is_counted(root: Path) -> None:
    count = 400
    # Each processor has its own buffer, and a process that the kernel migrates would not fill any of them.
    processors = sorted(os.sched_getaffinity(0))[:2]
    with Guests() as guests, TraceInstance(PIO, buffer_kb=4, mount_points=(root,)) as trace:
        trace.follow(guests.pid)
        trace.start()
        lost = [0]
        for processor in processors:
            os.sched_setaffinity(guests.pid, {processor})
            guests.run(count)
            lost.append(trace.lost())
        data = trace.read()
    kept = data.count(b": kvm_pio: ")
    assert lost == sorted(set(lost))
    assert kept + lost[-1] == count * len(processors)


def test_what_others_trace_is_left_alone(root: Path) -> None:
    # The state visible from outside: before, during and after.
    files = ("tracing_on", "set_event", "set_event_pid", "trace_clock", "buffer_size_kb", "events/kvm/kvm_pio/enable")
    before = [(root / name).read_bytes() for name in files]
    with Guests() as guests, TraceInstance(PIO, mount_points=(root,)) as trace:
        trace.follow(guests.pid)
        trace.start()
        assert [(root / name).read_bytes() for name in files] == before
    assert [(root / name).read_bytes() for name in files] == before


def test_an_instance_of_a_process_that_was_killed_is_removed_by_the_next(root: Path) -> None:
    argv = [sys.executable, "-c", LEAVES, str(root)]
    # After its end another user of tracing may remove it, too.
    left = Path(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout.strip())
    assert left.name.startswith(PREFIX)
    with TraceInstance(PIO, mount_points=(root,)):
        assert not left.exists()


def test_a_process_that_has_ended(root: Path) -> None:
    with Guests() as guests:
        pass
    with TraceInstance(PIO, mount_points=(root,)) as trace, pytest.raises(AgentError, match=f"process {guests.pid}"):
        trace.follow(guests.pid)
