# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference SVSM as an IGVM file; another image in its place, for the runs of one test."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from snp_harness.data import data_file
from snp_harness.firmware.image import FirmwareImage
from snp_harness.platforms import rom
from snp_harness.platforms.memory_map import memory_map
from snp_harness.svsm.config_files import load_config
from snp_harness.svsm.reference import build
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


def write_reference(path: Path, image: FirmwareImage, name: str, *, self_test: bool = False) -> str:
    """Write an IGVM file of the reference SVSM, with a firmware and the settings of a configuration."""
    config = load_config(name)
    config = structs.replace(config, svsm=structs.replace(config.svsm, self_test=self_test))
    assert image.metadata is not None
    base = memory_map(1 << 30, config.memory.phys_bits).svsm_gpa
    path.write_bytes(build(rom.read_svsm(), image.flat(), image.metadata, config, base))
    return str(path)
