# SPDX-License-Identifier: GPL-2.0-or-later
"""A log that was changed on its way to the harness, so that it is right by itself, is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import AGREEMENT
from snp_harness.apic.verdict import Status
from snp_harness.capture.host_log import HostLog
from snp_harness.capture.record import RECORD, HostRecord, RecordKind, RecordPath, record_check
from snp_harness.launch.ring import RECORD_SIZE
from tests.helpers.raw_log import disagreements
from tests.platforms.boots import boot

pytestmark = pytest.mark.emulated

_OF_ACCESSES = frozenset({RecordKind.ACCESS, RecordKind.APIC})


class Forger:
    """Leaves out records of a log, and gives the others numbers and check words that are right."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, leave_out: Callable[[HostRecord], bool]) -> None:
        self.left_out = 0
        self._leave_out = leave_out
        give = HostLog._give
        monkeypatch.setattr(HostLog, "_give", lambda log, batch: give(log, self.forged(batch)))

    def forged(self, batch: bytes) -> bytes:
        found = bytearray()
        for fields in RECORD.iter_unpack(batch):
            record = HostRecord._make(fields)
            if self._leave_out(record):
                self.left_out += 1
                continue
            record = record._replace(seq=record.seq - self.left_out, check=0)
            found += RECORD.pack(*record._replace(check=record_check(RECORD.pack(*record))))
        return bytes(found)


def test_what_agrees_is_said(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", until=Phase.SEC)
    [agreed] = [event for event in result.timeline.events if event.kind == AGREEMENT]
    assert agreed.text.startswith("the log and the hypervisor's own account of it: ")
    log = result.directory / "host.log"
    raw = log.read_bytes()
    # What the guest did until QEMU was stopped is in the log, too.
    records = agreed.fields["records"]
    assert isinstance(records, int)
    assert records <= len(raw) // RECORD_SIZE
    for number in (records - 1, records - 2):
        short = raw[: number * RECORD_SIZE]
        log.write_bytes(short)
        assert any("agreed with" in line for line in disagreements(result.directory))
    log.write_bytes(raw)
    assert not disagreements(result.directory)


def test_hidden_accesses_are_noticed(trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All offences of a stock OVMF: the forged log is that of a firmware that keeps the contract."""
    forger = Forger(monkeypatch, lambda record: record.kind in _OF_ACCESSES and record.path == RecordPath.MMIO)
    result = boot(trixie_path, tmp_path / "out", until=Phase.SEC)
    assert forger.left_out >= 14
    assert result.verdict.status is Status.INCONCLUSIVE
    assert result.timeline.lost
    assert any(gap.startswith("the hypervisor has written ") for gap in result.timeline.gaps)
    assert any(gap.startswith("the hypervisor has counted ") for gap in result.timeline.gaps)
    assert not any(event.kind == AGREEMENT for event in result.timeline.events)


def test_a_covered_ring_is_noticed(trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while the records that are written reach nobody: their slots keep zeros."""
    give, number = HostLog._give, [0]

    def cover(log: HostLog, batch: bytes) -> None:
        number[0] += 1
        give(log, bytes(len(batch)) if number[0] % 2 else batch)

    monkeypatch.setattr(HostLog, "_give", cover)
    result = boot(trixie_path, tmp_path / "out", until=Phase.SEC)
    assert result.verdict.status is not Status.HOLDS
    assert result.timeline.lost
    assert len((result.directory / "host.log").read_bytes()) % RECORD_SIZE == 0
    assert not disagreements(result.directory)
