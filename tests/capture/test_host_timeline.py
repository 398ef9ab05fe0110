# SPDX-License-Identifier: GPL-2.0-or-later
"""Host records as accesses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import VMPL_MAX, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import APIC_BASE
from snp_harness.apic.timeline import Timeline
from snp_harness.capture import collect, condense
from snp_harness.capture.record import (
    FLAG_WRITE,
    RecordKind,
    RecordOutcome,
    RecordPath,
)
from snp_harness.launch.ring import RECORD_SIZE
from tests.capture.host_records import (
    GUEST,
    X2APIC,
    XAPIC,
    Run,
)


@pytest.fixture
def run() -> Run:
    return Run()


def test_an_mmio_write(run: Run) -> None:
    run.apic(0xFEE00380, 0xFFFFFFFF, write=True)
    [access] = run.timeline().accesses
    assert access.operation is Operation.WRITE
    assert access.register.name == "Timer Initial Count"
    assert (access.path, access.value, access.size) == (Path.MMIO, 0xFFFFFFFF, 4)
    assert (access.vcpu, access.vmpl, access.mode) == (0, GUEST, ApicMode.XAPIC)
    assert (access.outcome, access.served_by) == (Outcome.OK, Server.HYPERVISOR)
    assert (access.module, access.module_offset, access.phase) == ("SecMain", 0x3B52, Phase.SEC)


def test_msr_and_svsm_accesses(run: Run) -> None:
    run.apic(0x832, 0x10000, aux=X2APIC)
    run.apic(0x80B, 0, aux=X2APIC, path=RecordPath.SVSM, write=True)
    run.apic(0x832, 0, aux=XAPIC, outcome=RecordOutcome.GP)
    run.apic(0xFEE00020, 0xFFFFFFFF, aux=X2APIC, outcome=RecordOutcome.NOT_CLAIMED)
    accesses = run.timeline().accesses
    assert [a.register.name for a in accesses] == ["Timer LVT", "EOI", "Timer LVT", "APIC ID"]
    assert [a.path for a in accesses] == [Path.MSR, Path.SVSM, Path.MSR, Path.MMIO]
    # A refusal is an answer.
    assert [a.served_by for a in accesses] == [Server.HYPERVISOR, Server.SVSM, Server.HYPERVISOR, Server.NOBODY]
    assert [a.outcome for a in accesses] == [Outcome.OK, Outcome.OK, Outcome.GP, Outcome.NOT_CLAIMED]


def test_a_vmpl_that_does_not_exist_is_not_observed(run: Run) -> None:
    run.apic(0xFEE00020, 0, vmpl=VMPL_MAX + 1)
    timeline = run.timeline()
    assert [access.vmpl for access in timeline.accesses] == [None]
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline


def test_apic_base(run: Run) -> None:
    run.add(
        RecordKind.APIC_BASE,
        value=0xFEE00D00,
        extra=0xFEE00900,
        aux=XAPIC,
        flags=FLAG_WRITE,
        size=8,
        path=RecordPath.MSR,
    )
    [access] = run.timeline().accesses
    assert access.register == APIC_BASE
    assert access.is_base
    assert access.mode is ApicMode.XAPIC


def test_an_unknown_kind(run: Run) -> None:
    run.add(4711)
    assert run.host.unknown == 1


def test_the_modes_that_are_set_are_kept_when_accesses_are_condensed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 0)
    monkeypatch.setattr(condense, "SORT_LIMIT", 1)
    for value in (0xFEE00D00, 0xFEE00D00, 0xFEE00100, 0xFEE00100):
        run.add(RecordKind.APIC_BASE, value=value, flags=FLAG_WRITE, aux=X2APIC)
    assert [access.value for access in run.timeline().accesses] == [0xFEE00D00, 0xFEE00100]


def test_memory_stays_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condense, "ACCESS_LIMIT", 10)
    monkeypatch.setattr(condense, "SORT_LIMIT", 2)
    monkeypatch.setattr(collect, "EVENT_LIMIT", 3)
    for number in range(30):
        run.apic(0xFEE000B0, number, write=True)
    run.apic(0xFEE00020, 0, outcome=RecordOutcome.GP)
    timeline = run.timeline()
    assert [a.register.name for a in timeline.accesses] == ["EOI"] * 12 + ["APIC ID"]
    assert timeline.complete
    assert timeline.events[-1].kind == "condensed"
    assert timeline.events[-1].fields["accesses"] == 18
    for _ in range(5):
        run.add(RecordKind.VMSA)
    assert run.timeline().gaps == ("2 events were not kept",)


CONTENTS = st.lists(st.binary(min_size=RECORD_SIZE - 2, max_size=RECORD_SIZE - 2), max_size=30)


@given(CONTENTS, st.sampled_from(RecordKind))
def test_any_record_is_survived(contents: list[bytes], kind: int) -> None:
    run = Run()
    for content in contents:
        run.host.take(content[:52] + kind.to_bytes(2, "little") + content[52:])
    timeline = run.timeline()
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline
