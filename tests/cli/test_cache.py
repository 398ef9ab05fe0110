# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness cache`: what it removes, and what it leaves."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.cli.cache import size

ENTRIES = ["apt/sid", "debian/sid/ovmf", "debian/trixie/ovmf", "debian/trixie/qemu-bundle", "edk2/work", "runs"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ENTRIES:
        entry = tmp_path / "snp-harness" / name / "1"
        entry.mkdir(parents=True)
        (entry / "file").write_bytes(b"x" * 100_000)
        entry.chmod(0o555)
    return tmp_path / "snp-harness"


def left(root: Path) -> list[str]:
    return [name for name in ENTRIES if (root / name).exists()]


def test_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "show"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == str(root)
    assert [line.split()[-1] for line in lines] == ENTRIES
    assert all(line.split()[:2] == ["0.1", "MiB"] for line in lines)


def test_what_is_named_is_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "clean", "--dry-run", "debian"]) == 0
    assert "would remove debian/sid/ovmf: 0.1 MiB" in capsys.readouterr().out
    assert left(root) == ENTRIES
    assert cli.main(["cache", "clean", "debian/trixie", "runs/"]) == 0
    assert left(root) == ["apt/sid", "debian/sid/ovmf", "edk2/work"]
    assert cli.main(["cache", "clean", "--all"]) == 0
    assert left(root) == []


@pytest.mark.parametrize("arguments", [[], ["--all", "runs"], ["nothing"], ["debian/trix"], [".."], ["/"]])
def test_what_is_not_named_stays(arguments: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "clean", *arguments]) == 2
    assert "snp-harness cache show" in capsys.readouterr().err
    assert left(root) == ENTRIES


@pytest.mark.parametrize(
    ("given", "meant"), [("debian/trixe", "debian/trixie"), ("edk2/wrk", "edk2/work"), ("debain", "debian")]
)
def test_a_name_that_is_close(given: str, meant: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "clean", given]) == 2
    assert f"did you mean {meant}? name an entry" in capsys.readouterr().err
    assert left(root) == ENTRIES


@pytest.mark.parametrize("lock", ["edk2/work/slot.lock", "edk2/work.lock"])
def test_what_is_in_use_stays(lock: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (root / lock).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cli.main(["cache", "clean", "edk2/work"]) == 128
    assert "edk2/work is in use" in capsys.readouterr().err
    assert left(root) == ENTRIES
    assert cli.main(["cache", "clean", "edk2/work"]) == 0


def test_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert cli.main(["cache", "show"]) == 0
    assert cli.main(["cache", "clean", "--all"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    once = size(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    assert once <= size(tmp_path) <= once + 4096
