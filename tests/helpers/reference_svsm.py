# SPDX-License-Identifier: GPL-2.0-or-later
"""Another image in the place of the reference SVSM's, for the runs of one test."""

from __future__ import annotations

import pytest

from snp_harness.data import data_file
from snp_harness.platforms import rom
from snp_harness.svsm.symbols import functions

#: The reference SVSM with its symbols, linked at 0 as its image is.
SYMBOLS = data_file("harness/emulator/build/snp-svsm.elf")
UD2 = b"\x0f\x0b"


def use_svsm(monkeypatch: pytest.MonkeyPatch, image: bytes) -> None:
    """Run this image."""
    monkeypatch.setattr(rom, "read_svsm", lambda: image)


def patch_svsm(monkeypatch: pytest.MonkeyPatch, function: str, code: bytes) -> None:
    """Replace the beginning of a function."""
    [start] = [found.address for found in functions(SYMBOLS.read_bytes()) if found.name == function]
    image = bytearray(rom.read_svsm())
    image[start : start + len(code)] = code
    use_svsm(monkeypatch, bytes(image))
