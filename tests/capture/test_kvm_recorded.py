# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of KVM that were recorded elsewhere: whatever they show, they never show that the contract holds."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Phase
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_recorded import COVERAGE, read_recorded
from snp_harness.capture.kvm_timeline import KvmTimeline
from tests.capture.kvm_lines import KERNELS, TRACES, Trace


def read(text: str | bytes) -> Timeline:
    data = text.encode() if isinstance(text, str) else text
    timeline = read_recorded(io.BytesIO(data), None, "kvm")
    assert timeline is not None
    return timeline


def status(timeline: Timeline) -> Status:
    return evaluate(timeline, as_if_active=True).status


def trace_cmd(text: str) -> str:
    """The layout of `trace-cmd report`: a header, and the events' text in a column."""
    lines = (re.sub(r": (kvm_\w+): ", lambda match: f": {match[1] + ':':<21}", line) for line in text.splitlines(True))
    return "cpus=2\n" + "".join(lines)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda text: text, id="trace_pipe"),
        pytest.param(lambda text: "# tracer: nop\n#\n" + text, id="trace"),
        pytest.param(trace_cmd, id="trace-cmd"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(lambda text: "".join(f"> {line}" for line in text.splitlines(True)), id="quoted"),
        pytest.param(lambda text: text.rstrip("\n"), id="no last newline"),
    ],
)
def test_the_accesses_of_a_stock_boot(kernel: str, form: object) -> None:
    text = (TRACES / f"{kernel}.txt").read_text()
    assert callable(form)
    timeline = read(form(text))
    assert timeline.accesses == read(text).accesses
    assert len([access for access in timeline.accesses if not access.is_base]) == 7
    assert status(timeline) is Status.VIOLATED
    assert timeline.gaps[0] == COVERAGE


def test_where_a_trace_begins_is_not_known() -> None:
    """Phase and mode are unknown until an event shows them: a part of DXE is not judged as SEC's."""
    trace = Trace()
    trace.mmio_read(0x0F0, 0x1FF)
    trace.msr("read", 0x1B, 0xFEE00D00)
    timeline = read("".join(trace.lines))
    assert [(access.phase, access.mode) for access in timeline.accesses] == [
        (Phase.UNKNOWN, ApicMode.XAPIC),
        (Phase.UNKNOWN, ApicMode.X2APIC),
    ]
    assert evaluate(timeline, as_if_active=True).result("x2apic-before-sec").status is Status.INCONCLUSIVE


def test_a_trace_without_offences_is_inconclusive() -> None:
    trace = Trace()
    trace.msr("read", 0x1B, 0xFEE00900)
    trace.msr("write", 0x1B, 0xFEE00D00)
    assert status(read("".join(trace.lines))) is Status.INCONCLUSIVE


def test_several_guests_are_named() -> None:
    trace = Trace()
    trace.msr("read", 0x1B, 0xFEE00900, thread=7)
    trace.msr("read", 0x1B, 0xFEE00900, thread=8)
    assert any("several guests" in gap for gap in read("".join(trace.lines)).gaps)


def test_what_could_not_be_read_is_counted() -> None:
    trace = Trace()
    trace.add("kvm_msr: a form of the future")
    trace.lines.append("CPU:0 [LOST 12 EVENTS]\n")
    timeline = read("".join(trace.lines))
    assert timeline.lost == 12
    assert any("1 lines" in gap for gap in timeline.gaps)


def test_gaps_of_the_trace_are_those_of_a_run() -> None:
    """A run's witness (platforms/kvm_witness.py) reports them by the same method."""
    trace = Trace()
    trace.exit("npf")
    trace.add("kvm_avic_unaccelerated_access: vcpu=0, offset=0xf0(APIC_SPIV), trap, write, vec=0x0")
    data = trace.data + b"CPU:0 [LOST 5 EVENTS]\n" + b"x" * 5000 + b"\n"
    served = "the processor handled a part of the APIC itself (AVIC): record with AVIC or APICv turned off"
    lines = "1 lines of KVM's trace could not be read"
    assert list(read(data).gaps) == [COVERAGE, "5 of KVM's trace events were lost", lines, served]
    timeline = KvmTimeline(Collector(), None)
    timeline.feed(data)
    assert timeline.gaps() == ["5 of KVM's trace events were lost", lines, served]


@pytest.mark.parametrize("text", [b"", b"\n", b"a letter\n" * 1000, b"\0" * 100_000])
def test_what_has_no_event(text: bytes) -> None:
    assert read_recorded(io.BytesIO(text), None, "kvm") is None


LINES = st.sampled_from((TRACES / "6.12.txt").read_bytes().splitlines(keepends=True)[:200]) | st.binary(max_size=200)


@given(st.lists(LINES, max_size=30))
def test_any_lines(lines: list[bytes]) -> None:
    timeline = read_recorded(io.BytesIO(b"".join(lines)), None, "kvm")
    assert timeline is None or status(timeline) in (Status.VIOLATED, Status.INCONCLUSIVE)
