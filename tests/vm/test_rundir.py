# SPDX-License-Identifier: GPL-2.0-or-later
"""Run directories."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.errors import UsageError
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import CannotWriteError
from snp_harness.vm.rundir import RunDirectory


def test_a_new_one_is_the_owner_s_only_and_the_latest(tmp_path: Path) -> None:
    parent = tmp_path / "runs"
    first = RunDirectory.create(None, "tcg", parent)
    second = RunDirectory.create(None, "tcg", parent)
    assert first.path != second.path
    assert first.path.name.endswith("-tcg") or "-tcg-" in first.path.name
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o700
    assert (parent / "latest").resolve() == second.path
    assert {entry.name for entry in parent.iterdir()} == {first.path.name, second.path.name, "latest", ".gitignore"}


def test_a_new_one_that_nothing_was_written_to_goes(tmp_path: Path) -> None:
    RunDirectory.create(None, "tcg", tmp_path).release()
    assert list(tmp_path.iterdir()) == []
    kept = RunDirectory.create(None, "tcg", tmp_path)
    kept.write_text(rundir.SERIAL, "Shell> ")
    kept.release()
    RunDirectory.create(None, "tcg", tmp_path).release()
    assert (tmp_path / "latest").resolve() == kept.path
    assert {entry.name for entry in tmp_path.iterdir()} == {kept.path.name, "latest"}


def test_one_without_a_run_leaves_nothing(tmp_path: Path) -> None:
    """Its firmware may be written, and it may be dropped without `release`."""
    before = RunDirectory.create(None, "tcg", tmp_path / "runs")
    before.write_text(rundir.SERIAL, "Shell> ")
    for parent in (None, tmp_path / "out", tmp_path / "mine"):
        if parent == tmp_path / "mine":
            parent.mkdir()
        refused = RunDirectory.create(parent, "tcg", tmp_path / "runs")
        assert not refused.has_run
        refused.write_bytes(rundir.ROM, b"firmware")
        del refused
    assert sorted(tmp_path.iterdir()) == [tmp_path / "mine", tmp_path / "runs"]
    assert list((tmp_path / "mine").iterdir()) == []
    assert (tmp_path / "runs" / "latest").resolve() == before.path
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_one_whose_run_was_refused_after_its_begin(tmp_path: Path) -> None:
    refused = RunDirectory.create(None, "tcg", tmp_path / "runs")
    refused.write_text(rundir.COMMAND_LINE, "qemu")
    assert refused.has_run
    refused.discard()
    refused.release()
    assert list(tmp_path.iterdir()) == []


def test_a_named_one_replaces_an_earlier_run(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    directory = RunDirectory.create(out, "tcg")
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    directory.write_json(rundir.VERDICT, {"status": "holds"})
    directory.release()
    RunDirectory.create(out, "tcg")
    assert list(out.iterdir()) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out", "tcg")
    directory.write_text(rundir.TIMELINE, "first")

    def lines() -> Iterator[str]:
        yield "second"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CannotWriteError, match=r"cannot write .*timeline\.jsonl: No space left on device: make room"):
        directory.write_lines(rundir.TIMELINE, lines())
    assert {path.name: path.read_text() for path in directory.path.iterdir()} == {rundir.TIMELINE: "first"}


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("this user may not mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_what_gives_way_to_the_result_on_a_full_disk(full_disk: Path) -> None:
    directory = RunDirectory.create(full_disk / "out", "tcg")
    directory.write_text(rundir.SERIAL, "Shell> ")
    directory.write_text(rundir.COMMAND_LINE, "qemu")
    with pytest.raises(CannotWriteError):
        directory.write_bytes(rundir.HOST_LOG, bytes(1 << 20))
    with pytest.raises(CannotWriteError, match="No space left"):
        directory.write_text(rundir.TIMELINE, "x" * 9000)
    directory.make_room_for(lambda: directory.write_text(rundir.TIMELINE, "x" * 9000))
    names = {rundir.SERIAL, rundir.COMMAND_LINE, rundir.TIMELINE}
    assert {path.name for path in directory.path.iterdir()} == names
    with pytest.raises(CannotWriteError, match=r"timeline\.jsonl: No space left"):
        directory.make_room_for(lambda: directory.write_text(rundir.TIMELINE, "x" * (1 << 17)))
    directory.release()


def test_a_firmware_that_the_disk_has_no_room_for_is_in_memory(full_disk: Path) -> None:
    directory = RunDirectory.create(full_disk / "out", "tcg")
    image = os.urandom(1 << 20)
    directory.write_input(rundir.ROM, image)
    assert directory.file(rundir.ROM).read_bytes() == image
    directory.write_text(rundir.SERIAL, "Shell> ")
    directory.release()
    assert [path.name for path in directory.path.iterdir()] == [rundir.SERIAL]
    small = RunDirectory.create(full_disk / "out", "tcg")
    small.write_input(rundir.ROM, b"firmware")
    assert not small.file(rundir.ROM).is_symlink()
    small.release()


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out", "tcg")
    directory.path.rmdir()
    with pytest.raises(CannotWriteError, match="No such file"):
        directory.write_bytes(rundir.ROM, b"")
    with pytest.raises(CannotWriteError, match="No such file"):
        directory.open_binary(rundir.STDERR)


def test_text_with_a_path_that_is_no_utf_8(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / os.fsdecode(b"\xff\n"), "tcg")
    directory.write_text(rundir.COMMAND_LINE, f"-bios {directory.path}")
    assert directory.file(rundir.COMMAND_LINE).read_bytes().endswith(b"/\xff\n")


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    (tmp_path / rundir.VERDICT).write_text("{}")
    with pytest.raises(UsageError, match=r"holds other files \('thesis.txt'\): name a new or empty"):
        RunDirectory.create(tmp_path, "tcg")
    assert (tmp_path / rundir.VERDICT).exists()


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a directory"):
        RunDirectory.create(tmp_path / "file", "tcg")
    with pytest.raises(UsageError, match="cannot make the run directory"):
        RunDirectory.create(tmp_path / "file" / "below", "tcg")


def test_environment(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out", "tcg")
    directory.write_environment(qemu="7.2.22, /usr/bin/qemu")
    environment = json.loads(directory.file(rundir.ENVIRONMENT).read_text())
    assert environment["qemu"] == "7.2.22, /usr/bin/qemu"
    assert {"snp_harness", "python", "kernel", "started"} <= environment.keys()


def test_a_directory_that_is_released_again_is_another_run_s(tmp_path: Path) -> None:
    first = RunDirectory.create(None, "tcg", tmp_path)
    first.release()
    first.path.mkdir()
    first.release()
    assert first.path.is_dir()
