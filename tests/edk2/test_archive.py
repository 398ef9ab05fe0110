# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives are untrusted."""

from __future__ import annotations

import contextlib
import lzma
import posixpath
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.edk2 import archive as module
from snp_harness.edk2.archive import Member, members, points_out
from snp_harness.errors import FetchError
from tests.edk2.trees import entry, tar_xz


def test_files_modes_and_links(tmp_path: Path) -> None:
    archive = tar_xz(
        tmp_path / "a.tar.xz",
        [
            entry("./edk2-1/", type=tarfile.DIRTYPE),
            entry("edk2-1/a.c", b"text\r\n"),
            entry("edk2-1/bin/tool", b"#!/bin/sh\n", mode=0o755),
            entry("edk2-1/bin/link", type=tarfile.SYMTYPE, linkname="../a.c"),
        ],
    )
    assert list(members(archive)) == [
        Member("a.c", b"text\r\n"),
        Member("bin/tool", b"#!/bin/sh\n", executable=True),
        Member("bin/link", b"../a.c", link=True),
    ]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "x/../../../outside", "x/../y"])
def test_links_that_point_out_are_left_out(tmp_path: Path, target: str) -> None:
    link = entry("edk2-1/x", type=tarfile.SYMTYPE, linkname=target)
    assert list(members(tar_xz(tmp_path / "a.tar.xz", [link]))) == []


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=6), st.integers(0, 3))
def test_a_link_that_is_kept_leads_nowhere_else(parts: list[str], depth: int) -> None:
    path, target = "d/" * depth + "link", "/".join(parts)
    led = posixpath.normpath(posixpath.join("/top", path.rpartition("/")[0], target))
    assert points_out(path, target) or led == "/top" or led.startswith("/top/")


@pytest.mark.parametrize(
    "bad",
    [
        entry("../evil", b""),
        entry("edk2-1/../../evil", b""),
        entry("/etc/evil", b""),
        entry("edk2-1/.git/config", b""),
        entry("edk2-1/x/.GIT/hooks/y", b""),
        entry("edk2-1/new\nline", b""),
        entry('"quoted', b""),
        entry("other-top/file", b""),
        entry("edk2-1", b""),
        entry("edk2-1/device", type=tarfile.CHRTYPE),
        entry("edk2-1/fifo", type=tarfile.FIFOTYPE),
        entry("edk2-1/hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    ],
    ids=lambda pair: ascii(pair[0].name),
)
def test_what_no_source_has_is_refused(tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(FetchError):
        list(members(tar_xz(tmp_path / "a.tar.xz", [entry("edk2-1/ok", b""), bad])))


def test_sizes_and_counts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar_xz(tmp_path / "a.tar.xz", [entry(f"edk2-1/{n}", bytes(1000)) for n in range(5)])
    for name, limit, text in (
        ("MAX_MEMBERS", 4, "more than 4 files"),
        ("MAX_BYTES", 2000, "unpacks to more"),
        ("MAX_FILE_BYTES", 999, "has 0 MiB"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, limit)
            with pytest.raises(FetchError, match=text):
                list(members(archive))
    assert len(list(members(archive))) == 5


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_an_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tar_xz(tmp_path_factory.mktemp("damaged") / "a.tar.xz", [entry(f"edk2-1/{n}", b"x" * 700) for n in range(3)])
    plain = bytearray(lzma.decompress(path.read_bytes()))
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 8))):
            plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(lzma.compress(bytes(plain), preset=0))
    else:
        path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, path.stat().st_size - 1))])
    found: list[Member] = []
    with contextlib.suppress(FetchError):
        found.extend(members(path))
    assert all(not member.path.startswith(("/", "..")) for member in found)
