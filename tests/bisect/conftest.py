# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine on which edk2 is built by scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.edk2.trees import stand_in_tools, write_buildable
from tests.vm.qemus import script


@pytest.fixture
def edk2(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source whose build is a script, on a machine that lacks nothing; tmp_path is its working directory."""
    for name, value in stand_in_tools(tmp_path / "tools").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SNP_HARNESS_QEMU", str(script(tmp_path / "qemu", "QEMU emulator version 7.2.0")))
    monkeypatch.chdir(tmp_path)
    return write_buildable(tmp_path / "edk2")
