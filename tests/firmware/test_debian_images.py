# SPDX-License-Identifier: GPL-2.0-or-later
"""The parser on Debian's images, against virt-firmware's and pefile's reading of them."""

from __future__ import annotations

import itertools
from collections import UserList
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pefile  # type: ignore[import-untyped]
import pytest
from virt.firmware import dump  # type: ignore[import-untyped]

from snp_harness.apic.access import Phase
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware.metadata import SevSectionType

#: Where SEC unpacks the volume of PEI (edk2 OvmfPkg: PcdOvmfPeiMemFvBase), and its largest size.
PEI_START, PEI_SIZE = 0x820000, 0x100000


def walk(item: Any) -> Iterator[Any]:
    """virt-firmware's tree, flat."""
    yield item
    if isinstance(item, UserList):
        for child in item:
            yield from walk(child)


@pytest.fixture(scope="module")
def reference(debian_image: FirmwareImage) -> list[Any]:
    return list(walk(dump.Edk2Image(debian_image.path.name, debian_image.data)))


def test_modules_are_those_of_virt_firmware_and_pefile(debian_image: FirmwareImage, reference: list[Any]) -> None:
    expected = set()
    for file in reference:
        if not isinstance(file, dump.Edk2FfsFile):
            continue
        sections = [s for s in file if isinstance(s, dump.Edk2FileSection)]
        names = [dump.ucs16.from_ucs16(s.blob, 0) for s in sections if s.typeid == 0x15]
        for section in sections:
            if section.typeid != 0x10 or bytes(section.blob[:2]) != b"MZ":
                continue
            optional = pefile.PE(data=bytes(section.blob), fast_load=True).OPTIONAL_HEADER
            base = optional.ImageBase if file.typeid in (3, 4, 6, 8) else None
            name = str(names[0]) if names else str(file.guid)
            identity = (optional.SizeOfImage, optional.AddressOfEntryPoint)
            expected.add((name, str(file.guid), file.typeid, base, *identity))
    assert len(expected) > 90
    assert {
        (m.name, str(m.guid), int(m.file_type), m.base, m.size_of_image, m.entry_rva) for m in debian_image.modules
    } == expected


def test_metadata_is_that_of_virt_firmware(debian_image: FirmwareImage, reference: list[Any]) -> None:
    names = {
        SevSectionType.SEC_MEMORY: "MEM",
        SevSectionType.SECRETS: "Secrets",
        SevSectionType.CPUID: "CPUID",
        SevSectionType.SVSM_CAA: "SVSM-CAA",
        SevSectionType.KERNEL_HASHES: "Kernel hashes",
    }
    expected = [
        (item.membase, item.memsize, item.typename)
        for entry in reference
        if isinstance(entry, dump.OvmfGuidListEntry) and str(entry.guid) == dump.guids.OvmfSevMetadataOffset
        for item in entry
        if isinstance(item, dump.OvmfMemoryRange)
    ]
    assert debian_image.metadata is not None
    assert [(s.gpa, s.size, names[s.type]) for s in debian_image.metadata.sections] == expected


def test_every_module_is_known_by_its_header(debian_image: FirmwareImage) -> None:
    """SizeOfImage and entry point identify each module of an image: relocated code is attributed by them."""
    for module in debian_image.modules:
        assert debian_image.by_identity(module.size_of_image, module.entry_rva) is module


def test_sec_runs_in_flash_where_its_header_says(debian_image: FirmwareImage) -> None:
    (sec,) = (module for module in debian_image.modules if module.phase is Phase.SEC)
    assert sec.name == "SecMain"
    assert sec.base is not None
    offset = sec.base - debian_image.base
    assert debian_image.data[offset : offset + 2] == b"MZ"
    located = debian_image.locate(sec.base + sec.entry_rva)
    assert located is not None
    assert (located.module, located.offset) == (sec, sec.entry_rva)


def test_pei_runs_where_sec_unpacks_it(debian_image: FirmwareImage) -> None:
    pei = [module for module in debian_image.modules if module.phase is Phase.PEI]
    assert {"PeiCore", "PlatformPei", "CpuMpPei", "DxeIpl"} <= {module.name for module in pei}
    ranges = sorted((module.base or 0, (module.base or 0) + module.size_of_image) for module in pei)
    assert ranges[0][0] >= PEI_START
    assert ranges[-1][1] <= PEI_START + PEI_SIZE
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges))


def test_phases(debian_image: FirmwareImage) -> None:
    of_phase = {phase: {m.name for m in debian_image.modules if m.phase is phase} for phase in Phase}
    assert {"DxeCore", "CpuDxe", "LocalApicTimerDxe"} & of_phase[Phase.DXE] >= {"DxeCore", "CpuDxe"}
    assert {"BdsDxe", "UiApp"} <= of_phase[Phase.BDS]


def test_nothing_is_unreadable(debian_image: FirmwareImage) -> None:
    """amdsev's boot loader is an empty file in a section for an executable: the only one that is not an executable."""
    expected = ("b5ae312c-bc8a-43b1-9c62-ebb826dd5d07: no DOS header",) if "amdsev" in debian_image.path.name else ()
    assert debian_image.defects == expected


def test_svsm_support_is_told_by_the_metadata(trixie_path: Path, bookworm_path: Path, amdsev_path: Path) -> None:
    def supports(path: Path) -> bool:
        metadata = FirmwareImage.open(path).metadata
        return metadata is not None and metadata.has_svsm_caa

    assert (supports(trixie_path), supports(amdsev_path), supports(bookworm_path)) == (True, True, False)


def test_split_image_is_the_combined_one(trixie_path: Path) -> None:
    code = trixie_path.parents[1] / "OVMF" / "OVMF_CODE_4M.fd"
    split = FirmwareImage.open(code)
    whole = FirmwareImage.open(trixie_path)
    assert split.vars_path == code.with_name("OVMF_VARS_4M.fd")
    assert split.size == whole.size
    assert split.metadata == whole.metadata
    assert {m.name for m in split.modules} == {m.name for m in whole.modules}


def test_secs_modules_are_told_without_decompressing(trixie_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decompression takes ten times as long as the parts of an image that a verdict for SEC needs."""
    with monkeypatch.context() as broken:
        broken.setattr("snp_harness.firmware.sections.decompress", lambda *_: pytest.fail("was decompressed"))
        image = FirmwareImage.open(trixie_path)
        found = image.locate(0xFFFCD000)
        assert found is not None
        assert (found.module.name, found.module.phase) == ("SecMain", Phase.SEC)
    assert len(image.modules) > 50
