# SPDX-License-Identifier: GPL-2.0-or-later
"""Series files, and patches applied exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.edk2.git import PatchError, Store
from snp_harness.edk2.series import (
    SHIPPED,
    Bound,
    Entry,
    Without,
    apply_series,
    load_series,
    parse_series,
    quilt_series,
)
from snp_harness.errors import FirmwareError
from tests.edk2.trees import patch_between, tree_of


def test_a_series_has_patches_ranges_and_comments() -> None:
    text = "# heading\n\n0001-a.patch  [<202505]  # upstream since\nsub/b.patch\nc.patch [>=202502 <202608]\n"
    assert parse_series(text) == (
        Entry("0001-a.patch", (Bound("<", 202505),)),
        Entry("sub/b.patch"),
        Entry("c.patch", (Bound(">=", 202502), Bound("<", 202608))),
    )


@pytest.mark.parametrize(
    ("bounds", "versions"),
    [
        ("", [202402, 202502, 202505]),
        ("[<202505]", [202402, 202502]),
        ("[>=202502 <202505]", [202502]),
        ("[>=202502, <=202505]", [202502, 202505]),
        ("[==202402]", [202402]),
        ("[>202502]", [202505]),
    ],
)
def test_a_range_admits(bounds: str, versions: list[int]) -> None:
    (entry,) = parse_series(f"a.patch {bounds}")
    assert [version for version in (202402, 202502, 202505) if entry.wanted(version)] == versions


@pytest.mark.parametrize(
    "line",
    [
        "a.patch b.patch",
        "a.patch [202502]",
        "a.patch []",
        "a.patch [>=2025.02]",
        "a.patch [~202502]",
        "a.patch [without two]",
        "a.patch [without two in]",
        "a.patch [without two in a b]",
        "a.patch [>=202502",
        "/etc/passwd",
        "../a.patch",
        "x/../../a.patch",
        "..",
    ],
)
def test_what_is_no_line_of_a_series_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(FirmwareError, match="series, line 2"):
        parse_series(f"ok.patch\n{line}\n")


def test_a_patch_is_there_once() -> None:
    with pytest.raises(FirmwareError, match="twice"):
        parse_series("a.patch\n./a.patch\n")


@given(st.text(max_size=300))
def test_any_text_is_a_series_or_refused(text: str) -> None:
    try:
        entries = parse_series(text)
    except FirmwareError:
        return
    assert all(not entry.path.startswith(("/", "../")) and entry.path != ".." for entry in entries)


def test_quilt_series_may_not_leave_the_package() -> None:
    assert quilt_series("a.diff\n# no\nb.patch # yes\n") == ("a.diff", "b.patch")
    for name in ("../a.patch", "/a.patch", "a.patch -p0"):
        with pytest.raises(FirmwareError):
            quilt_series(name)


BEFORE = {"Pkg/a.c": b"one\r\ntwo\r\nthree\r\n", "Pkg/b.c": b"unix\n"}
AFTER = {"Pkg/a.c": b"one\r\nTWO\r\nthree\r\n", "Pkg/b.c": b"unix\n"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def series(directory: Path, store: Store, line: str = "0001-a.patch") -> Path:
    """A series of one patch, in the form of git format-patch."""
    patch = patch_between(store, BEFORE, AFTER)
    head = (
        b"From 0 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: [PATCH 1/1] Pkg: Shout\n\nBecause.\n---\n"
    )
    (directory / "0001-a.patch").write_bytes(head + patch)
    (directory / "series").write_text(line + "\n")
    return directory / "series"


def test_a_patch_keeps_line_endings_and_its_message(store: Store, tmp_path: Path) -> None:
    base = tree_of(store, BEFORE)
    commit = apply_series(store, base, load_series(series(tmp_path, store)), 202502)
    assert store.read(store.tree(commit), "Pkg/a.c") == AFTER["Pkg/a.c"]
    assert store.read(store.tree(commit), "Pkg/b.c") == b"unix\n"
    assert store.git("log", "-1", "--format=%B", commit).line == "Pkg: Shout\n\nBecause."
    assert store.git("rev-parse", f"{commit}^").line == base


@pytest.mark.parametrize(
    "content",
    [b"one\ntwo\nthree\n", b"one\r\n2\r\nthree\r\n", b"zero\r\ntwo\r\nthree\r\n"],
    ids=["line endings", "changed line", "context"],
)
def test_a_patch_that_does_not_fit_exactly_is_refused(store: Store, tmp_path: Path, content: bytes) -> None:
    base = tree_of(store, {**BEFORE, "Pkg/a.c": content})
    with pytest.raises(PatchError, match=r"0001-a\.patch does not apply: .*Pkg/a\.c"):
        apply_series(store, base, load_series(series(tmp_path, store)), 202502)


def test_a_patch_that_lost_its_line_endings_is_told_so(store: Store, tmp_path: Path) -> None:
    """Mailers and autocrlf do that."""
    base = tree_of(store, BEFORE)
    path = series(tmp_path, store)
    patch = tmp_path / "0001-a.patch"
    patch.write_bytes(patch.read_bytes().replace(b"\r\n", b"\n"))
    with pytest.raises(PatchError, match=r"0001-a\.patch does not apply") as error:
        apply_series(store, base, load_series(path), 202502)
    assert "line endings" in error.value.hint
    patch.write_bytes(patch.read_bytes().replace(b"-two", b"-other"))
    with pytest.raises(PatchError) as error:
        apply_series(store, base, load_series(path), 202502)
    assert "another version" in error.value.hint


def test_a_patch_of_another_version_is_left_out(store: Store, tmp_path: Path) -> None:
    patches = load_series(series(tmp_path, store, "0001-a.patch [<202502]"))
    base = tree_of(store, BEFORE)
    assert apply_series(store, base, patches, 202502) == base
    assert apply_series(store, base, patches, 202411) != base


def test_without_a_version_a_ranged_patch_is_left_out_where_the_source_has_it(store: Store, tmp_path: Path) -> None:
    ranged = load_series(series(tmp_path, store, "0001-a.patch [<202502]"))
    has_it, lacks_it = tree_of(store, AFTER), tree_of(store, BEFORE)
    assert apply_series(store, has_it, ranged, None) == has_it
    assert store.tree(apply_series(store, lacks_it, ranged, None)) == store.tree(has_it)
    with pytest.raises(PatchError):
        apply_series(store, tree_of(store, {"Pkg/a.c": b"other"}), ranged, None)


@pytest.mark.parametrize("version", [None, 202502])
def test_a_patch_may_be_for_sources_without_a_word(version: int | None, store: Store, tmp_path: Path) -> None:
    """In a file, of which the word may be a part of another one; or there is no such file."""
    (patch,) = load_series(series(tmp_path, store, "0001-a.patch [without TWO in Pkg/c.c]"))
    assert patch.entry == Entry("0001-a.patch", without=Without("TWO", "Pkg/c.c"))
    for content, wanted in ((b"a TWO b", False), (b"TWOS", True), (b"", True), (None, True)):
        base = tree_of(store, {**BEFORE, **({} if content is None else {"Pkg/c.c": content})})
        assert (apply_series(store, base, (patch,), version) != base) is wanted


def test_a_missing_patch_is_named(tmp_path: Path) -> None:
    (tmp_path / "series").write_text("gone.patch\n")
    with pytest.raises(FirmwareError, match=r"gone\.patch: No such file"):
        load_series(tmp_path / "series")


def test_the_series_of_the_harness_is_found_in_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless there is a file of that name; another one is not looked for."""
    monkeypatch.chdir(tmp_path)
    assert [patch.entry.path for patch in load_series(SHIPPED)][-1].endswith(".patch")
    with pytest.raises(FirmwareError, match="cannot read other/series"):
        load_series(Path("other/series"))
    (tmp_path / SHIPPED).parent.mkdir()
    (tmp_path / SHIPPED).write_text("")
    assert load_series(SHIPPED) == ()
