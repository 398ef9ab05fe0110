# SPDX-License-Identifier: GPL-2.0-or-later
"""The ROM of an emulated run."""

from __future__ import annotations

from snp_harness.platforms import rom
from snp_harness.platforms.rom import HOST_ROM_SIZE, ROM_MULTIPLE, ROM_SIZE


def test_configuration_is_directly_below_the_hypervisor() -> None:
    hypervisor, config = b"H" * HOST_ROM_SIZE, b"C" * 4096
    image = rom.build(config, hypervisor)
    assert image.endswith(config + hypervisor)
    assert len(image) == ROM_SIZE
    assert len(image) % ROM_MULTIPLE == 0
