# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeline of a run whose harness was killed. tests/cli/test_run.py kills one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.errors import UsageError
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.platforms.kept_run import rebuild
from snp_harness.vm import rundir
from tests.platforms.kept import RUN


def write(directory: Path, kept: object = RUN) -> None:
    (directory / rundir.RUN).write_text(json.dumps(kept))


def test_a_directory_without_a_raw_log(tmp_path: Path) -> None:
    assert rebuild(tmp_path) is None
    write(tmp_path)
    assert rebuild(tmp_path) is None
    (tmp_path / rundir.TRACE).write_bytes(b"")
    # KVM's events need the host.
    write(tmp_path, RUN | {"platform": "kvm"})
    assert rebuild(tmp_path) is None


def test_an_empty_log_and_a_firmware_that_is_gone(tmp_path: Path) -> None:
    write(tmp_path)
    # Part of a record, and one whose check word is wrong.
    (tmp_path / rundir.HOST_LOG).write_bytes(bytes(RECORD_SIZE) + b"\1" * 7)
    timeline = rebuild(tmp_path)
    assert timeline is not None
    assert (timeline.platform, timeline.alternate_injection, timeline.faults) == ("emulated", True, ("busy",))
    assert timeline.gaps == (
        "the harness was stopped before the end of the run: made again from host.log",
        "snp.launch is not there: modules and phases are not known",
        "1 records of the log are torn",
    )
    assert (timeline.complete, timeline.lost, timeline.accesses) == (False, 1, ())


@pytest.mark.parametrize(
    "kept",
    [[], {}, RUN | {"version": 2}, RUN | {"firmware": {}}, RUN | {"faults": [1]}, RUN | {"vcpus": "1"}, "\ud800"],
)
def test_a_description_that_is_damaged(kept: object, tmp_path: Path) -> None:
    write(tmp_path, kept)
    (tmp_path / rundir.HOST_LOG).write_bytes(b"")
    with pytest.raises(UsageError, match=r"run\.json does not describe a run of this version"):
        rebuild(tmp_path)
