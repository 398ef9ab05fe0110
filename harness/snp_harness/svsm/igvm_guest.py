# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest in an IGVM file: its firmware, another one in its place, and what the SVSM requests for it.

The firmware is what the file loads up to 4 GiB, where QEMU's machine has its ROM. COCONUT describes it in the boot
parameter block (boot/defs/src/boot_params.rs, GuestFwInfoBlock; tools/igvmbuilder/src/ovmf_firmware.rs fills it).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from snp_harness.errors import FirmwareError
from snp_harness.firmware.image import MIN_SIZE, FirmwareImage
from snp_harness.firmware.metadata import FIRMWARE_START, FOUR_GIB, SevMetadata, SevSectionType, parse_metadata
from snp_harness.svsm.igvm import IgvmError, IgvmFile
from snp_harness.svsm.igvm_launch import find_settings
from snp_harness.svsm.igvm_loader import load
from snp_harness.svsm.igvm_parameters import MachineFacts
from snp_harness.svsm.igvm_params import ParameterBlock
from snp_harness.svsm.launch import PAGE, Launch, Pages, PageType

#: Of GuestFwInfoBlock: start and size; behind 16 bytes the pages for secrets, CAA and CPUID; behind 8 bytes the
#: prevalidated regions, with their number.
_PLACE = struct.Struct("<II")
_PAGES_AT, _PAGES = 24, struct.Struct("<III")
_REGIONS_MAX = 8
_REGIONS_AT, _REGIONS = 44, struct.Struct(f"<{1 + 2 * _REGIONS_MAX}I")
#: For what does not depend on the machine.
_ANY_MACHINE = MachineFacts(1, 1 << 30)
_HINT = "use another build of the firmware that is in the file, or build the file with this one"


@dataclass(frozen=True, slots=True)
class IgvmGuest:
    """What a file has for the guest. image: its firmware; one of erased bytes if it has none, which nothing executes.

    alternate_injection: the SVSM requests it; None if the file does not show it.
    """

    image: FirmwareImage
    alternate_injection: bool | None


def open_guest(path: Path) -> IgvmGuest:
    """Read a file. Raises IgvmError if it cannot be launched."""
    file = IgvmFile.open(path)
    firmware = launched_firmware(load(file, _ANY_MACHINE))
    image = FirmwareImage(path, b"\xff" * MIN_SIZE if firmware is None else firmware)
    return IgvmGuest(image, requests_alternate_injection(file))


def launched_firmware(launch: Launch) -> bytes | None:
    """Return the firmware of a launch, None without one. Raises IgvmError if it has gaps."""
    pages = sorted((one for one in launch.pages if one.gpa >= FIRMWARE_START), key=lambda one: one.gpa)
    pages = [one for one in pages if one.end <= FOUR_GIB]
    if not pages or pages[-1].end != FOUR_GIB:
        return None
    at = pages[0].gpa
    for one in pages:
        if one.gpa != at:
            raise IgvmError(f"the firmware of the IGVM file has a gap at {at:X}", "build or copy it again")
        at = one.end
    return b"".join(one.data.ljust(one.count * PAGE, b"\0") for one in pages)


def requests_alternate_injection(file: IgvmFile) -> bool | None:
    """Whether the SVSM in a file requests Alternate Injection; None if the file does not show it."""
    settings = find_settings(file, file.snp_mask or 0)
    return settings[0].alternate_injection if len(settings) == 1 else None


def with_firmware(file: IgvmFile, launch: Launch, image: bytes, name: str) -> Launch:
    """Return the launch of a file with another firmware. name: of the image, for messages. Raises IgvmError.

    In COCONUT's files, the boot parameter block then describes it; in others it needs the same size and SEV metadata.
    """
    old = launched_firmware(launch)
    if old is None:
        raise IgvmError(f"{file.name} contains no firmware to replace", _HINT)
    try:
        before, after = parse_metadata(old), parse_metadata(image)
    except FirmwareError as error:
        raise IgvmError(f"{name}: {error.message}", error.hint) from None
    pages = list(_replaced(launch.pages, Pages(PageType.NORMAL, FOUR_GIB - len(image), len(image) // PAGE, image)))
    if len(old) != len(image) or before != after:
        settings = find_settings(file, file.snp_mask or 0)
        if len(settings) != 1 or before is None or after is None:
            raise IgvmError(f"{name} has another size or other SEV metadata than the firmware in {file.name}", _HINT)
        pages = _describe(file, settings[0].block, pages, before, after, len(image))
    notes = [f"the firmware in {file.name} was replaced by {name}"]
    if launch.id_block is not None:
        notes.append("the ID block, which is for another launch digest, was left out")
    return replace(launch, pages=tuple(pages), id_block=None, notes=(*launch.notes, *notes))


def _replaced(pages: tuple[Pages, ...], firmware: Pages) -> Iterator[Pages]:
    """Yield the pages, with the firmware where its first page was."""
    given = False
    for one in pages:
        if not FIRMWARE_START <= one.gpa < one.end <= FOUR_GIB:
            yield one
        elif not given:
            given = True
            yield firmware


def _describe(
    file: IgvmFile, block: ParameterBlock, pages: list[Pages], before: SevMetadata, after: SevMetadata, size: int
) -> list[Pages]:
    """Return the pages with a firmware of `size` bytes in the boot parameter block. Raises IgvmError."""
    at = block.layout.firmware
    regions = _merged(after)
    found = file.contents(block.page)[at:]
    if _PAGES.unpack_from(found, _PAGES_AT) != _pages_of(before) or len(regions) > _REGIONS_MAX:
        raise IgvmError(f"{file.name} describes its firmware in a way that is not known", _HINT)
    numbers = [number for region in regions for number in region]
    numbers += [0] * (2 * _REGIONS_MAX - len(numbers))
    changes = (
        (at, _PLACE.pack(FOUR_GIB - size, size)),
        (at + _PAGES_AT, _PAGES.pack(*_pages_of(after))),
        (at + _REGIONS_AT, _REGIONS.pack(len(regions), *numbers)),
    )
    for gpa in (block.page.gpa, *(page.gpa for page in block.copies)):
        pages = [_patched(one, gpa, changes) if one.gpa <= gpa < one.end else one for one in pages]
    return pages


def _pages_of(metadata: SevMetadata) -> tuple[int, int, int]:
    secrets, caa = metadata.gpa_of(SevSectionType.SECRETS), metadata.gpa_of(SevSectionType.SVSM_CAA)
    return secrets, caa, metadata.gpa_of(SevSectionType.CPUID)


def _merged(metadata: SevMetadata) -> list[tuple[int, int]]:
    """Return the memory that is validated before the firmware starts, neighbours as one, as igvmbuilder has it."""
    regions: list[tuple[int, int]] = []
    for section in sorted(metadata.of_type(SevSectionType.SEC_MEMORY), key=lambda one: one.gpa):
        if regions and sum(regions[-1]) == section.gpa:
            regions[-1] = regions[-1][0], regions[-1][1] + section.size
        else:
            regions.append((section.gpa, section.size))
    return regions


def _patched(pages: Pages, gpa: int, changes: tuple[tuple[int, bytes], ...]) -> Pages:
    data = bytearray(pages.data.ljust(pages.count * PAGE, b"\0"))
    for at, value in changes:
        place = gpa - pages.gpa + at
        data[place : place + len(value)] = value
    return replace(pages, data=bytes(data))
