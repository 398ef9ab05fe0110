# SPDX-License-Identifier: GPL-2.0-or-later
"""A profile is made of a whole log only."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.capture.record import RecordKind
from snp_harness.cli import profile
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware_run import RunSpec
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.vm import rundir
from tests.launch.ring import make_record


def exits(*numbers: int) -> bytes:
    return b"".join(make_record(number, kind=RecordKind.EXIT, address=0x78, vmpl=2) for number in numbers)


@pytest.fixture
def spec(snp_firmware: Path) -> RunSpec:
    return RunSpec(FirmwareImage.open(snp_firmware))


def test_each_exit_is_counted_once(spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_BLOCK", 2 * RECORD_SIZE)
    (tmp_path / rundir.HOST_LOG).write_bytes(exits(1, 2, 3, 4, 5))
    assert profile.read(tmp_path, spec).kinds() == {"HLT": 5}


@pytest.mark.parametrize(
    ("data", "limit"),
    [(exits(1, 2, 4), 1 << 20), (exits(2, 3), 1 << 20), (exits(1, 2), 2 * RECORD_SIZE)],
    ids=["in the middle", "at the start", "at the limit"],
)
def test_records_that_are_missing(
    data: bytes, limit: int, spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "HOST_LOG_LIMIT", limit)
    (tmp_path / rundir.HOST_LOG).write_bytes(data)
    with pytest.raises(profile.IncompleteProfileError, match=r"host\.log lacks records"):
        profile.read(tmp_path, spec)


def test_no_log(spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(profile.IncompleteProfileError, match=r"cannot read .*host\.log: No such file"):
        profile.read(tmp_path, spec)
