# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest firmware in one of COCONUT's IGVM files: extracted, and replaced in a copy.

igvmbuilder writes the whole image page by page to its addresses below 4 GiB, and the contents of its SEV metadata into
the boot parameter block (igvmbuilder/src/ovmf_firmware.rs). So an image can replace another one of the same size and
with the same metadata, such as another build of the same OVMF.
"""

from __future__ import annotations

from snp_harness.errors import FirmwareError
from snp_harness.firmware.metadata import parse_metadata
from snp_harness.svsm.igvm import PAGE, IgvmError, IgvmFile, PageData
from snp_harness.svsm.igvm_inject import Editor, Injection, finish_copy, settings_of
from snp_harness.svsm.igvm_params import FIRMWARE_MAX

_REBUILD = (
    "name another build of the firmware that the IGVM file was built with (--firmware), or build the file with this one"
    " (igvmbuilder --firmware, or FW_FILE= of COCONUT's build)"
)


def contained_firmware(file: IgvmFile) -> bytes | None:
    """Return the image in a file for SEV-SNP, None without one. Raises IgvmError if pages of it are missing."""
    mask = file.snp_mask
    if mask is None:
        return None
    start, size = settings_of(file, mask).block.firmware
    if not size:
        return None
    return b"".join(file.contents(page) or bytes(PAGE) for page in _pages(file, mask, start, size))[:size]


def replace_firmware(file: IgvmFile, image: bytes, name: str) -> Injection:
    """Return a copy of a file with another firmware image. name: the image's, for messages. Raises IgvmError."""
    old = contained_firmware(file)
    mask = file.snp_mask
    if old is None or mask is None:
        raise IgvmError(f"{file.name} contains no firmware to replace", _REBUILD)
    if old == image:
        return Injection(file.data, (), ())
    if len(old) != len(image):
        raise IgvmError(f"{name} has {len(image)} bytes, the firmware in {file.name} {len(old)}", _REBUILD)
    try:
        if parse_metadata(old) != parse_metadata(image):
            raise IgvmError(f"{name} has other SEV metadata than the firmware in {file.name}", _REBUILD)
    except FirmwareError as error:
        raise IgvmError(f"{name}: {error.message}", error.hint) from None
    editor = Editor(file)
    start, size = settings_of(file, mask).block.firmware
    padded = image + bytes(-size % PAGE)
    for page in _pages(file, mask, start, size):
        at = page.gpa - start
        contents = padded[at : at + PAGE]
        if contents != (file.contents(page) or bytes(PAGE)):
            editor.replace(page, contents)
    return finish_copy(editor, [f"firmware {name}"], [])


def _pages(file: IgvmFile, mask: int, start: int, size: int) -> list[PageData]:
    """The pages of the firmware, in order."""
    if size > FIRMWARE_MAX or start % PAGE:
        raise IgvmError(f"{file.name} describes firmware of {size:#x} bytes at {start:#x}", _REBUILD)
    pages = {
        header.gpa: header
        for header in file.headers
        if isinstance(header, PageData) and header.applies(mask) and start <= header.gpa < start + size
    }
    found = [pages.get(gpa) for gpa in range(start, start + size, PAGE)]
    whole = [page for page in found if page is not None and page.size == PAGE]
    if len(whole) != len(found):
        raise IgvmError(f"{file.name} lacks {len(found) - len(whole)} pages of its firmware", "build or copy it again")
    return whole
