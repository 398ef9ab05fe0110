# SPDX-License-Identifier: GPL-2.0-or-later
"""The ROM of an emulated run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.platforms import rom
from snp_harness.platforms.rom import HOST_ROM_SIZE, RomLayout

HOST = b"H" * HOST_ROM_SIZE


@given(st.integers(16, 1024), st.integers(0, 1 << 18))
def test_every_part_is_where_the_configuration_says(pages: int, svsm_size: int) -> None:
    firmware = b"F" * (pages * 4096)
    svsm = b"S" * svsm_size
    seen: list[RomLayout] = []

    def config(at: RomLayout) -> bytes:
        seen.append(at)
        return b"C" * 4096

    image = rom.build(firmware, svsm, HOST, config)
    [at] = seen
    assert len(image) == at.size
    assert at.size % (64 << 10) == 0
    base = FOUR_GIB - at.size
    assert image[at.fw_rom - base :][: at.fw_size] == firmware
    assert image.endswith(b"C" * 4096 + HOST)
    assert at.fw_rom % 4096 == 0
    assert at.svsm_size == svsm_size
    if svsm_size:
        assert at.svsm_rom % 4096 == 0
        assert image[at.svsm_rom - base :][: at.svsm_size] == svsm
    else:
        assert at.svsm_rom == 0


@pytest.mark.parametrize("size", [100, 4096 * 10 + 1, 16 << 20])
def test_what_does_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match="does not fit the ROM"):
        rom.layout(size, 0)
