# SPDX-License-Identifier: GPL-2.0-or-later
"""A console's FIFOs, with a process that opens them as QEMU does."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from snp_harness.launch.fifo import ConsoleFifo


def open_as_qemu(directory: Path) -> tuple[int, int]:
    """Open both FIFOs, as QEMU's `pipe` does."""
    source, sink = (os.open(directory / f"serial.{end}", os.O_RDWR | os.O_NONBLOCK) for end in ("in", "out"))
    return source, sink


def test_bytes_nobody_reads_wait_in_it(tmp_path: Path) -> None:
    """Bytes written one by one, as by a serial port: a socket is full after some 280."""
    fifo = ConsoleFifo(tmp_path, "serial")
    source, sink = open_as_qemu(tmp_path)
    for _ in range(60_000):
        assert os.write(sink, b"x") == 1
    assert fifo.recv(1 << 20) == b"x" * 60_000
    assert fifo.send(b"typed") == 5
    assert os.read(source, 100) == b"typed"
    os.close(source)
    os.close(sink)
    fifo.close()


def test_its_end_is_told_from_its_beginning(tmp_path: Path) -> None:
    fifo = ConsoleFifo(tmp_path, "serial")
    with pytest.raises(BlockingIOError):
        fifo.recv(1)
    source, sink = open_as_qemu(tmp_path)
    with pytest.raises(BlockingIOError):
        fifo.recv(1)
    os.write(sink, b"last")
    os.close(source)
    os.close(sink)
    assert fifo.recv(100) == b"last"
    assert fifo.recv(100) == b""
    fifo.close()


def test_they_are_the_owners_and_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "serial.in").write_text("left by a run that was killed")
    fifo = ConsoleFifo(tmp_path, "serial")
    for path in tmp_path.iterdir():
        assert path.is_fifo()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 2
    fifo.close()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_takes_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ConsoleFifo(tmp_path / "missing", "serial")
