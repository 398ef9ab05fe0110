# SPDX-License-Identifier: GPL-2.0-or-later
"""Switches Alternate Injection on or off in a copy of an IGVM file, and updates what depends on it.

COCONUT enables Alternate Injection if use_alternate_injection is set (igvmbuilder --alt-injection), and makes the guest
VMPL's VMSA itself. So that flag is changed in the boot parameter block, and in the launch information if the file has
one: the kernel reads it there. If a file contains the VMSA of a lower VMPL, its SEV_FEATURES are changed as well; the
SVSM's own, at VMPL0, keeps restricted injection.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass, field

from snp_harness.svsm import vmsa
from snp_harness.svsm.igvm import (
    DIGEST_SIZE,
    ID_BLOCK_DIGEST,
    PAGE,
    Header,
    HeaderType,
    IgvmError,
    IgvmFile,
    PageData,
    SnpIdBlock,
    VpContext,
    checksum_of,
    pack_header,
    with_fixed_header,
)
from snp_harness.svsm.igvm_launch import Reader, Settings, find_settings
from snp_harness.svsm.igvm_measure import Measurement, id_blocks, measure

#: Where the offset of the contents is in the headers of pages and VP contexts.
_OFFSET_AT = 12
#: I/O ports of COM1 to COM4: igvmbuilder's choice for the SVSM's console.
CONSOLE_PORTS = (0x3F8, 0x2F8, 0x3E8, 0x2E8)
_UNKNOWN_HINT = (
    "build the file by COCONUT v2026.05 or newer (igvmbuilder --alt-injection), or before 2026-02-12: versions between,"
    " and before June 2024, have no Alternate Injection"
)


@dataclass(frozen=True, slots=True)
class Injection:
    """The new file. data: its bytes. changes: the differences. warnings: parts that are not valid any more."""

    data: bytes = field(repr=False)
    changes: tuple[str, ...]
    warnings: tuple[str, ...]


class Editor:
    """Changes the contents of headers. Contents that another header also uses are copied to the file's end first."""

    def __init__(self, file: IgvmFile) -> None:
        self.file = file
        self.data = bytearray(file.data)
        self.headers: dict[int, bytes] = {}
        used = sorted(
            (header.offset, header.offset + _size(header))
            for header in file.headers
            if isinstance(header, PageData | VpContext) and header.offset
        )
        self._starts = [start for start, _ in used]
        #: For each start, the furthest end of contents that start no later.
        self._ends = list(itertools.accumulate((end for _, end in used), max))

    def replace(self, header: PageData | VpContext, contents: bytes) -> None:
        """Replace a header's contents by others of the same size."""
        if header.offset and not self._shared(header):
            self.data[header.offset : header.offset + len(contents)] = contents
            return
        self.data += bytes(-len(self.data) % 8)
        offset = len(self.data).to_bytes(4, "little")
        self.headers[header.at] = header.content[:_OFFSET_AT] + offset + header.content[_OFFSET_AT + 4 :]
        self.data += contents

    def _shared(self, header: PageData | VpContext) -> bool:
        """Whether another header's contents overlap these."""
        first = bisect.bisect_left(self._starts, header.offset)
        last = bisect.bisect_left(self._starts, header.offset + _size(header))
        return last - first > 1 or (first > 0 and self._ends[first - 1] > header.offset)

    def finish(self, dropped: set[int]) -> bytes:
        """The file's bytes, without the headers that start at the offsets in `dropped`."""
        file = self.file
        headers = b"".join(
            pack_header(header.type, self.headers.get(header.at, header.content))
            for header in file.headers
            if header.at not in dropped
        )
        end = file.headers_at + file.headers_size
        # File data keeps its offset: the gap before it is zero.
        self.data[file.headers_at : end] = headers + bytes(file.headers_size - len(headers))
        return with_fixed_header(bytes(self.data), headers_size=len(headers))


def _size(header: PageData | VpContext) -> int:
    return header.size if isinstance(header, PageData) else PAGE


def inject(file: IgvmFile, *, alternate_injection: bool) -> Injection:
    """Return a copy of a file with Alternate Injection on or off, and correct checksum and unsigned ID blocks.

    Raises IgvmError for a file without an SVSM's boot parameter block, and if it is to be on and the file does not
    show where its SVSM reads that: an old or an unknown version.
    """
    mask = _check(file)
    settings = settings_of(file, mask)
    editor = Editor(file)
    changes: list[str] = []
    warnings: list[str] = []
    if settings.reader is Reader.UNKNOWN and (alternate_injection or settings.block.use_alternate_injection):
        reason = f"{file.name} does not show where its SVSM reads use_alternate_injection"
        if alternate_injection:
            raise IgvmError(f"{reason}: the copy could run without Alternate Injection", _UNKNOWN_HINT)
        warnings.append(f"{reason}: only the boot parameter block is changed")
    _set(editor, settings, "use_alternate_injection", bytes([alternate_injection]), changes, warnings)
    for header in file.headers:
        if isinstance(header, VpContext) and header.applies(mask):
            _inject_vmsa(editor, header, alternate_injection, changes, warnings)
    if not changes:
        return Injection(file.data, (), tuple(warnings))
    return finish_copy(editor, changes, warnings)


def set_console_port(file: IgvmFile, port: int) -> Injection:
    """Return a copy of a file whose SVSM has its console at another I/O port. Raises IgvmError."""
    settings = settings_of(file, _check(file))
    editor = Editor(file)
    changes: list[str] = []
    warnings: list[str] = []
    _set(editor, settings, "debug_serial_port", port.to_bytes(2, "little"), changes, warnings)
    if not changes:
        return Injection(file.data, (), ())
    return finish_copy(editor, changes, warnings)


def drop_id_blocks(file: IgvmFile) -> Injection:
    """Return a copy of a file without ID blocks for SEV-SNP."""
    _check(file)
    dropped = {block.at for block in id_blocks(file)}
    if not dropped:
        return Injection(file.data, (), ())
    data = Editor(file).finish(dropped)
    return Injection(data, ("the ID block is left out", _checksum(data)), ())


def _check(file: IgvmFile) -> int:
    """Return the mask of SEV-SNP in a file that can be changed. Raises IgvmError."""
    if file.snp_mask is None:
        raise IgvmError(f"{file.name} is not for SEV-SNP", "build it with igvmbuilder --snp")
    if not file.checksum_is_right:
        raise IgvmError(f"{file.name} is a damaged IGVM file: its checksum is wrong", "build or copy it again")
    return file.snp_mask


def settings_of(file: IgvmFile, mask: int) -> Settings:
    """Return the only boot parameter block of a file and its launch information. Raises IgvmError."""
    found = find_settings(file, mask)
    if len(found) != 1:
        blocks = "no boot parameter block of COCONUT" if not found else f"{len(found)} boot parameter blocks"
        raise IgvmError(f"{file.name} has {blocks}", "only COCONUT's IGVM files can be changed")
    return found[0]


def _set(editor: Editor, settings: Settings, field: str, value: bytes, changes: list[str], warnings: list[str]) -> None:
    """Set a setting in every place of it: "use_alternate_injection" or "debug_serial_port"."""
    file, block, launch = editor.file, settings.block, settings.launch
    is_flag = field == "use_alternate_injection"
    at = block.layout.use_alternate_injection if is_flag else block.layout.port
    places = [(block.page, at, "boot parameter block")]
    places += [(page, at, "kernel's copy of it") for page in block.copies]
    if launch is not None:
        places.append((launch.page, launch.use_at if is_flag else launch.port_at, "kernel's launch information"))
    written = []
    for page, at, name in places:
        contents = file.contents(page)
        if contents[at : at + len(value)] != value:
            editor.replace(page, contents[:at] + value + contents[at + len(value) :])
            written.append(page)
            changes.append(f"{field} = {int.from_bytes(value, 'little'):X} in the {name}")
    others = [one.mask or 0 for one in file.platforms if one.mask != file.snp_mask]
    if any(page.applies(mask) for page in written for mask in others):
        warnings.append("changed pages are shared with the file's other platforms")


def _inject_vmsa(editor: Editor, header: VpContext, on: bool, changes: list[str], warnings: list[str]) -> None:
    contents = editor.file.contents(header)
    if not contents:
        return
    page = vmsa.Vmsa(contents)
    if page.vmpl == 0:
        if on and not page.features & vmsa.RESTRICTED_INJECTION:
            warnings.append(f"the SVSM's VMSA for vCPU {header.vp} has no restricted injection, which COCONUT's has")
        return
    features = vmsa.inject(page.features, alternate_injection=on)
    if features != page.features:
        editor.replace(header, page.with_features(features))
        changes.append(f"SEV_FEATURES = {features:X} in the VMSA of vCPU {header.vp}, VMPL{page.vmpl}")


def finish_copy(editor: Editor, changes: list[str], warnings: list[str]) -> Injection:
    """Return the copy, after updating what depends on its contents."""
    file = editor.file
    data = editor.finish(set())
    new = IgvmFile.parse(data, file.name)
    before, after = measure(file), measure(new)
    assert before is not None
    assert after is not None
    if after.digest != before.digest:
        changes.append(f"launch digest {(after.qemu or after.digest).hex()}{' by QEMU' if after.qemu else ''}")
        data = _renew_id_blocks(new, before, after, changes, warnings)
        _warn_of_others(new.headers, warnings)
    changes.append(_checksum(data))
    return Injection(data, tuple(changes), tuple(warnings))


def _checksum(data: bytes) -> str:
    return f"checksum {checksum_of(data):08X}"


def _renew_id_blocks(
    file: IgvmFile, before: Measurement, after: Measurement, changes: list[str], warnings: list[str]
) -> bytes:
    """Write the new digest, of the old one's kind, into unsigned ID blocks; signed ones cannot be changed."""
    editor = Editor(file)
    for block in id_blocks(file):
        if block.signed:
            warnings.append(
                "the ID block is signed for another launch digest: the launch will be refused; sign a new one, or"
                " leave it out with --drop-id-block"
            )
        else:
            specified = block.launch_digest == before.digest or after.qemu is None
            editor.headers[block.at] = _with_digest(block, after.digest if specified else after.qemu or b"")
            changes.append("the ID block, which is not signed, holds the new launch digest")
    return editor.finish(set()) if editor.headers else file.data


def _with_digest(block: SnpIdBlock, digest: bytes) -> bytes:
    end = ID_BLOCK_DIGEST + DIGEST_SIZE
    return block.content[:ID_BLOCK_DIGEST] + digest + block.content[end:]


def _warn_of_others(headers: tuple[Header, ...], warnings: list[str]) -> None:
    """Warn about headers that may describe the old contents: VBS's measurement, and unknown ones (such as CoRIM)."""
    if any(header.kind is HeaderType.VBS_MEASUREMENT for header in headers):
        warnings.append("the file's VBS measurement may be that of the old contents")
    unknown = sorted({header.name for header in headers if header.kind is None})
    if unknown:
        warnings.append(f"unknown headers are kept, and may describe the old contents: {', '.join(unknown[:4])}")
