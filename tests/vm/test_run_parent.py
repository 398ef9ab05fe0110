# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory of runs, and the link to the latest."""

from __future__ import annotations

import subprocess
from pathlib import Path

from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory


def test_git_does_not_see_them_in_a_work_tree(tmp_path: Path) -> None:
    """bisect-step uses the files of the current directory as the source, and its run is not part of them."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    RunDirectory.create(None, "tcg", tmp_path / "runs").write_text(rundir.SERIAL, "Shell> ")
    done = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b""


def test_a_latest_that_another_run_has_become_stays(tmp_path: Path) -> None:
    empty = RunDirectory.create(None, "tcg", tmp_path)
    other = RunDirectory.create(None, "tcg", tmp_path)
    empty.release()
    assert (tmp_path / "latest").resolve() == other.path


def test_a_latest_of_the_user_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    RunDirectory.create(None, "tcg", tmp_path)
    assert not (tmp_path / "latest").is_symlink()


def test_a_parent_that_was_made_for_a_run_that_was_refused_is_removed(tmp_path: Path) -> None:
    parent = tmp_path / "deep" / "runs"
    with RunDirectory.create(None, "tcg", parent) as refused:
        pass
    assert not parent.exists()
    refused.release()
    first = RunDirectory.create(None, "tcg", parent)
    second = RunDirectory.create(None, "tcg", parent)
    first.release()
    assert {entry.name for entry in parent.iterdir()} == {second.path.name, "latest", ".gitignore"}
    second.release()
    assert list(parent.iterdir()) == [parent / ".gitignore"]
    RunDirectory.create(None, "tcg", parent).release()
    assert parent.is_dir()
