# SPDX-License-Identifier: GPL-2.0-or-later
"""`--snp-keep`: who has started pytest types at the guest of a failed test."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.guest.echo import echo_image

pytestmark = pytest.mark.tcg

TIMEOUT_S = 60
TESTS = """
import pytest

@pytest.mark.snp_tcg
def test_fails(snp_guest):
    guest = snp_guest({firmware!r}, timeout_s=60)
    guest.wait_for("ready")
    assert not guest.running

@pytest.mark.snp_tcg
def test_passes(snp_guest):
    snp_guest({firmware!r}, timeout_s=60).wait_for("ready")
"""


def test_the_guest_of_a_failed_test_goes_on(tmp_path: Path) -> None:
    firmware = tmp_path / "echo.fd"
    firmware.write_bytes(echo_image())
    (tmp_path / "test_it.py").write_text(TESTS.format(firmware=str(firmware)))
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", "--color=no"]
    arguments += ["--snp-keep", "test_it.py"]
    child: Any = pexpect.spawn(sys.executable, arguments, cwd=tmp_path, timeout=TIMEOUT_S, encoding="utf-8")
    child.expect_exact("test_fails has failed, and its guest runs:")
    child.expect_exact("Ctrl-] ends the guest")
    child.send("typed\x03")
    child.expect("typed\x03")
    child.send("\x1d")
    # The test that passes keeps nothing, and the session goes on to its end.
    child.expect_exact("1 failed, 1 passed")
    child.expect(pexpect.EOF)
