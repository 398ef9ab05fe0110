# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT's files, which are built elsewhere: in the directory that SNP_HARNESS_IGVM names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snp_harness.platforms.snp import IGVM_VARIABLE


def coconut_file(name: str) -> Path:
    """Return the file of that name; skips the test without it.

    coconut.igvm, coconut-alt.igvm: for QEMU, without and with Alternate Injection, with an OVMF in it.
    coconut-test.igvm: COCONUT's test configuration, without virtio.
    """
    named = os.environ.get(IGVM_VARIABLE)
    file = Path(named or "") / name
    if not named or not file.is_file():
        pytest.skip(f"{IGVM_VARIABLE} names no directory with {name}")
    return file
