# SPDX-License-Identifier: GPL-2.0-or-later
"""RMP operations of the reference SVSM in batches: the same records, in the same order, as of one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.capture.record import RecordKind, RecordRmpOp
from snp_harness.firmware_run import RunResult
from tests.helpers.run_records import records_to_goal
from tests.platforms.boots import boot, toml

pytestmark = [pytest.mark.emulated, pytest.mark.usefixtures("own_exits")]

CONFIG = "[svsm]\nalternate_injection = false\nrmp_batches = {}\n"
RMP = (RecordKind.RMP_CHANGE, RecordKind.RMP_VIOLATION)
#: At the reset vector: UD1 EAX, EAX, which VMPL0 has for its batches.
X86_UD = 6
BATCH_AT_RESET = b"\x0f\xb9\xc0"


def rmp_records(result: RunResult) -> Iterator[tuple[int, ...]]:
    """What concerns the RMP, without times, numbers and the SVSM's pcs."""
    for record in records_to_goal(result.directory):
        if record.kind in RMP:
            pc = record.rip if record.vmpl else 0
            yield (record.kind, record.vmpl, pc, record.address, record.value, record.extra, record.size,
                   record.outcome, record.aux)  # fmt: skip


def check_equal(firmware: Path, directory: Path, until: str, least: int) -> None:
    records = []
    for wanted in ("true", "false"):
        own = directory / wanted
        own.mkdir()
        config = toml(own, CONFIG.format(wanted))
        records.append(list(rmp_records(boot(firmware, own / "out", config, until=until, icount=True))))
    batches, singles = records
    assert batches == singles
    assert len(singles) >= least
    assert {record[-1] for record in singles} == set(RecordRmpOp)


def test_batches_leave_the_same_records(trixie_path: Path, tmp_path: Path) -> None:
    check_equal(trixie_path, tmp_path, "sec", 1000)


def test_the_guest_has_no_batches(trixie_path: Path, tmp_path: Path) -> None:
    """It gets #UD, as on a processor, whose entry in the table of real mode is in a page that is not validated."""
    image = bytearray(trixie_path.read_bytes())
    image[-16:-13] = BATCH_AT_RESET
    firmware = tmp_path / "batch.fd"
    firmware.write_bytes(image)
    [gap] = boot(firmware, tmp_path / "out", until="pei").timeline.gaps
    assert f"page that is not validated: GPA {4 * X86_UD:X} (C=1) in FFFFFFF0" in gap
