# SPDX-License-Identifier: GPL-2.0-or-later
"""IGVM files of a reference SVSM that is not one, with a firmware that is not one."""

from __future__ import annotations

import struct

from snp_harness.firmware.metadata import SevMetadata, SevSection, SevSectionType
from snp_harness.svsm import reference
from snp_harness.svsm.config_files import parse_config

BASE = 0x5000000000
ENTRY, SIZE = 0x1234, 0x203000
IMAGE = struct.pack("<QQQ", reference.IMAGE_MAGIC, ENTRY, SIZE) + bytes(range(256)) * 40
FIRMWARE = b"\xf0" * 4096 + bytes(4096) + b"\xf1" * 4096
METADATA = SevMetadata(
    1,
    (
        SevSection(0x800000, 0x9000, SevSectionType.SEC_MEMORY),
        SevSection(0x80D000, 0x1000, SevSectionType.SECRETS),
        SevSection(0x80E000, 0x1000, SevSectionType.CPUID),
        SevSection(0x80F000, 0x1000, SevSectionType.SVSM_CAA),
    ),
)


def file(text: str = "") -> bytes:
    return reference.build(IMAGE, FIRMWARE, METADATA, parse_config(text.encode(), "c.toml"), BASE)
