# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness shell`, with a guest that prints what is typed, on a terminal and without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.guest.echo import echo_image

pytestmark = pytest.mark.tcg

TIMEOUT_S = 60
ENDED = 0


def command(directory: Path) -> list[str]:
    (directory / "echo.fd").write_bytes(echo_image())
    options = ("--firmware", str(directory / "echo.fd"), "--platform", "tcg", "--out", str(directory / "out"))
    return ["-m", "snp_harness", "shell", *options]


def test_keys_reach_the_guest_until_the_end_key(tmp_path: Path) -> None:
    child: Any = pexpect.spawn(sys.executable, command(tmp_path), timeout=TIMEOUT_S, encoding="utf-8")
    child.expect_exact("Ctrl-] ends the guest")
    child.expect_exact("ready")
    # Ctrl-C is a key for the guest, not a signal for the command.
    child.send("one\x03two")
    child.expect("one\x03two")
    child.send("\x1d")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == ENDED
    assert (tmp_path / "out" / "verdict.json").is_file()
    assert "one\x03two" in (tmp_path / "out" / "serial.log").read_text()


def test_without_a_terminal_the_guest_answers_what_a_file_says(tmp_path: Path) -> None:
    argv = [sys.executable, *command(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("typed")
        process.stdin.flush()
        shown = ""
        while not shown.endswith("typed"):
            character = process.stdout.read(1)
            assert character
            shown += character
        process.stdin.write("\x1d")
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == ENDED
