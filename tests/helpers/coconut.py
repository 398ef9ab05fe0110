# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT's files, which are built elsewhere: in the directory that SNP_HARNESS_COCONUT names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: SNP_HARNESS_IGVM is the variable for one file, on hardware.
DIRECTORY = "SNP_HARNESS_COCONUT"
#: OVMF of 2025.02 does not know an SVSM inside guest RAM, and validates over it.
MEMORY_MIB = 128


def coconut_file(name: str) -> Path:
    """Return the file of that name; skips the test without it.

    coconut.igvm, coconut-alt.igvm: for QEMU, without and with Alternate Injection, with an OVMF in it.
    coconut-test.igvm: COCONUT's test configuration, without virtio.
    """
    named = os.environ.get(DIRECTORY)
    file = Path(named or "") / name
    if not named or not file.is_file():
        pytest.skip(f"{DIRECTORY} names no directory with {name}")
    return file
