# SPDX-License-Identifier: GPL-2.0-or-later
"""Written archives, read by a reader that follows Linux, early-userspace/buffer-format."""

from __future__ import annotations

import io
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.tools.initramfs.cpio import CpioWriter
from tests.tools.initramfs.archive import read


def test_all_kinds() -> None:
    file = io.BytesIO()
    writer = CpioWriter(file)
    writer.character_device("dev/console", 5, 1)
    writer.add("usr/bin/program", b"\x7fELF", 0o755)
    writer.link("usr/bin/alias", "program")
    writer.directory("proc")
    writer.directory("usr")
    writer.finish()
    entries = read(file.getvalue())
    assert [entry.name for entry in entries] == [
        *("dev", "dev/console", "usr", "usr/bin", "usr/bin/program", "usr/bin/alias", "proc"),
    ]
    by_name = {entry.name: entry for entry in entries}
    console = by_name["dev/console"]
    assert stat.S_ISCHR(console.mode)
    assert console.device == (5, 1)
    assert by_name["usr/bin/program"].mode == stat.S_IFREG | 0o755
    assert by_name["usr/bin/alias"].data == b"program"
    assert stat.S_ISLNK(by_name["usr/bin/alias"].mode)
    assert stat.S_ISDIR(by_name["usr"].mode)
    assert len({entry.number for entry in entries}) == len(entries)


NAMES = st.from_regex(r"[a-z]{1,9}(/[a-z0-9.-]{1,9}[a-z]){0,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=8))
def test_files_come_back(files: dict[str, bytes]) -> None:
    archives = []
    for _ in range(2):
        file = io.BytesIO()
        writer = CpioWriter(file)
        for name, data in files.items():
            writer.add(name, data)
        writer.finish()
        archives.append(file.getvalue())
    assert archives[0] == archives[1]
    assert {entry.name: entry.data for entry in read(archives[0]) if stat.S_ISREG(entry.mode)} == files


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../outside", "a/../b"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        CpioWriter(io.BytesIO()).add(path, b"")
