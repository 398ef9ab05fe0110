# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.debian.cache import Entries, cache_root, file_digest, version_of
from snp_harness.errors import FetchError


def add(entries: Entries, version: str) -> Path:
    with entries.adding(version) as directory:
        (directory / "file").write_text(version)
    return entries.directory / directory.name


def test_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert cache_root() == Path("/var/cache/me/snp-harness")
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_root() == Path.home() / ".cache" / "snp-harness"


def test_entry_appears_when_it_is_complete(tmp_path: Path) -> None:
    entries = Entries(tmp_path / "thing")
    assert entries.current() is None
    with entries.adding("1:2~rc1+x") as directory:
        (directory / "file").write_text("content")
        assert entries.current() is None
        assert entries.find("1:2~rc1+x") is None
    entry = entries.current()
    assert entry is not None
    assert entry == entries.find("1:2~rc1+x")
    assert (entry / "file").read_text() == "content"
    assert version_of(entry) == "1:2~rc1+x"
    assert ":" not in entry.name


def test_failure_leaves_the_entry_before(tmp_path: Path) -> None:
    entries = Entries(tmp_path)
    add(entries, "1")

    def fail() -> None:
        with entries.adding("2") as directory:
            (directory / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "current"]


def test_versions_are_selected_and_pruned(tmp_path: Path) -> None:
    entries = Entries(tmp_path)
    for version in ("1", "2", "3"):
        add(entries, version)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "current"]
    entries.select("2")
    current = entries.current()
    assert current is not None
    assert current.name == "2"


def test_entry_that_was_removed_is_none(tmp_path: Path) -> None:
    entries = Entries(tmp_path)
    entry = add(entries, "1")
    (tmp_path / "1" / "file").unlink()
    (tmp_path / "1").rmdir()
    assert entry != entries.current() is None


@pytest.mark.parametrize("version", ["..", ".", "", "current", ".incomplete-1"])
def test_versions_that_are_none(tmp_path: Path, version: str) -> None:
    with pytest.raises(FetchError, match="is not a version"), Entries(tmp_path / "thing").adding(version):
        pass
    assert list((tmp_path / "thing").glob("*")) == []


def test_a_version_stays_in_its_directory(tmp_path: Path) -> None:
    add(Entries(tmp_path / "thing"), "../../out")
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "file", "md5") == "900150983cd24fb0d6963f7d28e17f72"
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "none")
