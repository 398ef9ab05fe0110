# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from uuid import UUID

import pytest

from snp_harness.apic.access import Phase
from snp_harness.firmware import sections as ffs
from snp_harness.firmware.firmware_modules import FileType, Module, ModuleScan
from tests.firmware import builder

BDS_GUID = UUID("6d33944a-ec75-4855-a54d-809c75241f6c")
UI_GUID = UUID("462caa21-7614-4503-836e-8ab6f4662331")


def scan(*files: bytes, limits: ffs.Limits | None = None) -> tuple[list[Module], list[str]]:
    """Modules and defects of a volume of files."""
    found = ModuleScan(builder.volume(b"".join(files), 0x40000), limits)
    return [*found.uncompressed(), *found.compressed()], found.defects


def executable(kind: int, guid: UUID = builder.DXE_GUID, base: int = 0, name: str = "Module") -> bytes:
    body = builder.section(ffs.SECTION_PE32, builder.pe32(base, 0x2000, 0x400)) + builder.ui(name)
    return builder.file(guid, kind, body)


def test_of_a_whole_image() -> None:
    found = ModuleScan(builder.image())
    plain, packed = list(found.uncompressed()), list(found.compressed())
    assert plain == [
        Module("SecMain", builder.SEC_GUID, FileType.SECURITY_CORE, Phase.SEC, builder.BASE + 0x30000, 0x4000, 0x1000)
    ]
    assert packed == [
        Module("PeiCore", builder.PEI_GUID, FileType.PEI_CORE, Phase.PEI, 0x820000, 0x2000, 0x600),
        Module("Driver", builder.DXE_GUID, FileType.DRIVER, Phase.DXE, None, 0x3000, 0x700),
    ]
    assert found.defects == []


@pytest.mark.parametrize(
    ("kind", "guid", "phase"),
    [
        (FileType.SECURITY_CORE, builder.SEC_GUID, Phase.SEC),
        (FileType.PEI_CORE, builder.PEI_GUID, Phase.PEI),
        (FileType.PEIM, builder.PEI_GUID, Phase.PEI),
        (FileType.COMBINED_PEIM_DRIVER, builder.PEI_GUID, Phase.PEI),
        (FileType.DXE_CORE, builder.DXE_GUID, Phase.DXE),
        (FileType.DRIVER, builder.DXE_GUID, Phase.DXE),
        (FileType.MM, builder.DXE_GUID, Phase.DXE),
        (FileType.MM_CORE, builder.DXE_GUID, Phase.DXE),
        (FileType.DRIVER, BDS_GUID, Phase.BDS),
        (FileType.APPLICATION, UI_GUID, Phase.BDS),
    ],
)
def test_phase(kind: FileType, guid: UUID, phase: Phase) -> None:
    ((module,), defects) = scan(executable(kind, guid, base=0x900000))
    assert module.phase is phase
    assert module.base == (0x900000 if phase <= Phase.PEI else None)
    assert defects == []


def test_module_without_a_fixed_address() -> None:
    ((module,), _) = scan(executable(FileType.PEIM, base=0))
    assert module.base is None
    assert not module.contains(0x400)


def test_te_module() -> None:
    body = builder.section(ffs.SECTION_TE, builder.te(0x830000, 0x300, ((0x240, 0x1000),)))
    ((module,), _) = scan(builder.file(builder.PEI_GUID, FileType.PEIM, body))
    assert (module.name, module.base, module.size_of_image) == (str(builder.PEI_GUID), 0x830000, 0x1240)
    assert module.contains(0x83123F)
    assert not module.contains(0x831240)


def test_module_compressed_by_itself() -> None:
    inner = builder.section(ffs.SECTION_PE32, builder.pe32(0, 0x5000, 0x10)) + builder.ui("Packed")
    ((module,), _) = scan(builder.file(builder.DXE_GUID, FileType.DRIVER, builder.compressed(inner)))
    assert (module.name, module.size_of_image) == ("Packed", 0x5000)


def test_files_that_are_not_executable_are_left_out() -> None:
    assert scan(executable(0x02), executable(0x01)) == ([], [])


def test_names_are_made_printable() -> None:
    ((module,), _) = scan(executable(FileType.DRIVER, name="a\x1b[31m\nb"))
    assert module.name == "a?[31m?b"


def test_damage_costs_only_what_is_damaged() -> None:
    broken = builder.file(builder.PEI_GUID, FileType.DRIVER, builder.section(ffs.SECTION_PE32, b"not PE"))
    modules, defects = scan(executable(FileType.DRIVER, name="first"), broken, executable(FileType.DRIVER, name="last"))
    assert [module.name for module in modules] == ["first", "last"]
    assert defects == [f"{builder.PEI_GUID}: no DOS header"]


def test_compression_that_cannot_be_read_is_told() -> None:
    tiano = UUID("a31280ad-481e-41b6-95e8-127f4c984779")
    modules, defects = scan(builder.file(builder.FILE_GUID, 0x0B, builder.guided(tiano, b"data")))
    assert modules == []
    assert defects == [f"{builder.FILE_GUID}: sections encoded as {tiano} cannot be read"]


def test_nesting_is_bounded() -> None:
    body = executable(FileType.DRIVER)
    for _ in range(20):
        size = (len(body) + 72 + 0xFFF) & ~0xFFF
        body = builder.file(builder.FILE_GUID, 0x0B, builder.section(ffs.SECTION_VOLUME, builder.volume(body, size)))
    modules, defects = scan(body)
    assert modules == []
    assert defects == [f"{builder.FILE_GUID}: nested too deeply"]


def test_a_compressed_section_in_itself_ends() -> None:
    body = executable(FileType.DRIVER)
    for _ in range(20):
        body = builder.file(
            builder.FILE_GUID, 0x0B, builder.compressed(builder.section(0x17, builder.volume(body, 0x1000)))
        )
    modules, defects = scan(body)
    assert modules == []
    assert defects == [f"{builder.FILE_GUID}: nested too deeply"]
