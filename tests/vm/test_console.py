# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles over real sockets: what is kept, what is found, what fails at once."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.vm import console
from snp_harness.vm.console import LINE, BoundedLog
from snp_harness.vm.qemu_errors import CannotWriteError, ConsoleError, ConsoleTimeoutError, GuestCrashError
from tests.vm.wire import Wire

CRASH = "!!!! X64 Exception Type - 0D(#GP - General Protection)  CPU Apic ID - 00000000 !!!!\r\n"


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(tmp_path)
    yield made
    made.close()


def test_a_console_that_goes_on(wire: Wire) -> None:
    """What was shown before is in the log, and for what watches it; it is neither read again nor a new crash."""
    seen: list[str] = []
    wire.console.watch("Shell>", seen.append)
    wire.console.go_on(f"{CRASH}Shell> caf\xe9".encode()[:-1], None, [(0, 7.0)])
    assert seen == ["Shell>"]
    assert wire.console.crash is None
    assert wire.console.read(0) == ""
    wire.console.raise_if_crashed()
    wire.guest.sendall("\xe9".encode()[1:] + b"!\n")
    while wire.loop.turn(0):
        pass
    assert wire.console.read(0) == "\xe9!\n"
    assert wire.log.read_bytes().decode() == f"{CRASH}Shell> caf\xe9!\n"
    assert wire.console.last_line == "Shell> caf\xe9!"
    assert wire.console.marks[0] == (0, 7.0)
    wire.prints(CRASH)
    assert wire.console.crash is not None


def test_a_crash_goes_on(wire: Wire) -> None:
    wire.console.go_on(b"x", "a crash", [])
    with pytest.raises(GuestCrashError, match="a crash"):
        wire.console.raise_if_crashed()


def test_marks_say_when_what_follows_was_read(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("one\n", "two\n"):
        wire.prints(text)
        time.sleep(console.MARK_S)
    (first, before), (second, after) = wire.console.marks
    assert (first, second) == (0, 4)
    assert before + console.MARK_S <= after == wire.console.read_at
    monkeypatch.setattr(console, "MARKS_MAX", 2)
    wire.prints("three\n")
    assert len(wire.console.marks) == 2


def test_expect_takes_text_in_order(wire: Wire) -> None:
    wire.prints("one two Shell> ")
    found = wire.console.expect(["two", "one"], 1)
    assert (found.index, found.before, found.match.group()) == (1, "", "one")
    assert wire.console.expect("Shell> ", 1).before == " two "
    with pytest.raises(ConsoleTimeoutError):
        wire.console.expect("Shell> ", 0.01)


def test_expect_waits_for_what_comes_later(wire: Wire) -> None:
    later = threading.Timer(0.05, lambda: wire.guest.sendall(b"lo there"))
    wire.prints("hel")
    later.start()
    assert wire.console.expect("hello", 60).index == 0
    later.join()


def test_a_timeout_says_what_was_wanted_and_what_came_last(wire: Wire) -> None:
    wire.prints("first\r\n\x1b[1mBdsDxe: loading\x1b[0m Boot0001\r\n\r\n")
    with pytest.raises(ConsoleTimeoutError) as caught:
        wire.console.expect(["Shell> ", "login:"], 0.01)
    assert caught.value.message == (
        "'Shell> ' or 'login:' did not appear on the serial console in 0.01 s, "
        "its last line is 'BdsDxe: loading Boot0001'"
    )


def test_a_crash_fails_at_once(wire: Wire) -> None:
    wire.prints("SEC\r\n" + CRASH[:20])
    wire.console.raise_if_crashed()
    wire.prints(CRASH[20:])
    with pytest.raises(GuestCrashError, match="X64 Exception Type - 0D"):
        wire.console.expect("Shell> ", 60)


@pytest.mark.parametrize(
    "text", ["ASSERT [SecMain] /edk2/OvmfPkg/Sec/SecMain.c(42): FALSE\r\n", "Kernel panic - not syncing: x"]
)
def test_other_crashes(wire: Wire, text: str) -> None:
    wire.prints("x\n" + text)
    assert wire.console.crash == text.strip()


def test_the_line_of_a_crash_comes_in_pieces(wire: Wire) -> None:
    start = "Kernel panic - not syncing: VFS: Un"
    said = []
    for part in (start, "able to mount", " root fs\r", "\nKernel panic - not syncing: y\r\n"):
        wire.prints(part)
        said.append(wire.console.crash)
    assert said == [start, f"{start}able to mount", f"{start}able to mount root fs", f"{start}able to mount root fs"]


def test_the_end_of_the_console(wire: Wire) -> None:
    wire.prints("bye\n")
    wire.guest.close()
    with pytest.raises(ConsoleError, match="ended before 'Shell> ' appeared, its last line is 'bye'"):
        wire.console.expect("Shell> ", 60)
    with pytest.raises(ConsoleError, match="is closed"):
        wire.console.send("x")


def test_a_watch_is_called_once_and_across_pieces(wire: Wire) -> None:
    seen: list[str] = []
    wire.console.watch(r"Bds\w+: [^\n]*\n", seen.append)
    wire.prints("....Bds")
    wire.prints("Dxe: load")
    assert seen == []
    wire.prints("ing\nBdsDxe: starting\n")
    assert seen == ["BdsDxe: loading\n"]


def test_send_to_a_guest_that_does_not_read(wire: Wire) -> None:
    wire.console.send("ok\r")
    assert wire.guest.recv(10) == b"ok\r"
    with pytest.raises(ConsoleTimeoutError, match=r"accepted no input for 0\.1 s"):
        wire.console.send("x" * (4 << 20), 0.1)


def test_what_is_left_at_the_end_is_kept(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.guest.sendall(b"x" * 100_000 + b"end")
    wire.close()
    assert wire.log.read_bytes().endswith(b"xend")
    assert wire.log.stat().st_size == 100_003


def test_bytes_that_are_no_text(wire: Wire) -> None:
    wire.guest.sendall(b"\xff\xfe\x00\x1b]0;title\x07abc\n")
    while wire.loop.turn(0):
        pass
    assert wire.log.read_bytes().startswith(b"\xff\xfe")
    assert wire.console.last_line.isprintable()


def test_a_log_is_bounded(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", limit=10)
    for _ in range(5):
        log.write(b"12345678")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"1234567812\n[snp-harness: the log is full, the rest is not kept]\n"
    assert log.dropped == 30


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    log = BoundedLog(Path("/dev/full"))
    with pytest.raises(CannotWriteError, match="cannot write /dev/full: No space left on device: make room"):
        log.write(b"12345678")
    log.write(b"1234")
    log.close()
    assert log.dropped == 12
    with pytest.raises(CannotWriteError, match="No such file"):
        BoundedLog(tmp_path / "none" / "log")


def test_what_a_guest_prints_cannot_drive_a_terminal(wire: Wire) -> None:
    wire.prints("!!!! X64 Exception Type - 0D\x1b]0;owned\x07\x1b[2J" + "A" * 100_000 + "\r\n")
    assert wire.console.crash is not None
    assert wire.console.crash.startswith("!!!! X64 Exception Type - 0D?]0;owned??[2JAAA")
    assert len(wire.console.crash) == LINE
    wire.prints("\x9b31m\u202eevil\u0000\n")
    assert wire.console.last_line.isprintable()


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_are_survived_and_kept(parts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        wire = Wire(Path(directory))
        for part in parts:
            wire.guest.sendall(part)
            while wire.loop.turn(0):
                pass
        assert wire.log.read_bytes() == b"".join(parts)
        assert wire.console.last_line.isprintable()
        assert wire.console.crash is None or wire.console.crash.isprintable()
        wire.close()


def test_a_flood_takes_bounded_memory_and_time(wire: Wire) -> None:
    """The worst for the patterns: beginnings of all of them, without an end."""
    flood = ("BdsDxe: " * 50 + "!!!! X64 Exception Type " + "ASSERT [" + "Kernel panic " + "\x1b[" * 50).encode() * 20

    def spent() -> float:
        begin = time.process_time()
        for _ in range(8):
            wire.guest.sendall(flood)
            while wire.loop.turn(0):
                pass
        return time.process_time() - begin

    # 1 MB/s, the best rate of QEMU's serial port; measured are 90. The best of some, as a virtual machine's time may
    # be charged with what its host does.
    assert min(spent() for _ in range(5)) < len(flood) * 8 / 1e6
    assert wire.console.crash is None
    assert len(wire.console.read(0)) <= 2 << 20
