# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that answers on its serial port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.guest.guest import Guest, boot
from tests.guest.echo import echo_image


@pytest.fixture
def echo_firmware(tmp_path: Path) -> Path:
    path = tmp_path / "echo.fd"
    path.write_bytes(echo_image())
    return path


@pytest.fixture
def echo(echo_firmware: Path, tmp_path: Path) -> Iterator[Guest]:
    """A guest that prints what is typed, on plain TCG."""
    with boot(echo_firmware, platform="tcg", out=tmp_path / "out", timeout_s=60) as guest:
        yield guest
