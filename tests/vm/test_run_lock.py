# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock of a run directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snp_harness.errors import UsageError
from snp_harness.vm import rundir
from snp_harness.vm.run_lock import RunLock, in_use
from snp_harness.vm.rundir import RunDirectory


def test_a_directory_is_in_use_until_it_is_released(tmp_path: Path) -> None:
    assert not in_use(tmp_path / "none")
    lock = RunLock(tmp_path)
    assert (lock.held, in_use(tmp_path)) == (True, True)
    with pytest.raises(UsageError, match="another run is writing to"):
        RunLock(tmp_path)
    lock.release()
    lock.release()
    assert (lock.held, in_use(tmp_path)) == (False, False)


def test_one_that_another_run_writes_to_is_left_alone(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "out", "tcg")
    first.write_text(rundir.SERIAL, "Shell> ")
    with pytest.raises(UsageError, match=r"another run is writing to .*out: name another directory"):
        RunDirectory.create(tmp_path / "out", "tcg")
    assert first.file(rundir.SERIAL).read_text() == "Shell> "
    made = RunDirectory.create(None, "tcg", tmp_path / "runs")
    with pytest.raises(UsageError, match="another run"):
        RunDirectory.create(tmp_path / "runs" / "latest", "tcg")
    del made
    RunDirectory.create(tmp_path / "runs" / "latest", "tcg")


def test_a_process_that_is_being_started_keeps_no_lock(tmp_path: Path) -> None:
    """Between fork and exec it has every descriptor, also those that exec closes."""
    first = RunDirectory.create(tmp_path / "out", "tcg")
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if not child:
        os.close(write_fd)
        os.read(read_fd, 1)
        os._exit(0)
    first.release()
    second = RunDirectory.create(tmp_path / "out", "tcg")
    assert second.path == first.path
    second.release()
    os.close(read_fd)
    os.close(write_fd)
    os.waitpid(child, 0)
