# SPDX-License-Identifier: GPL-2.0-or-later
"""Switching Alternate Injection on or off in a copy of an IGVM file, and what depends on it.

COCONUT asks for Alternate Injection if its boot parameter block says so (igvmbuilder --alt-injection), and makes the
guest VMPL's VMSA itself. So the block's byte is what has to change. Where a file brings the VMSA of a lower VMPL along,
its SEV_FEATURES change as well; the SVSM's own, at VMPL0, keeps restricted injection.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.svsm import vmsa
from harness.svsm.igvm import (
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
    pack_header,
    with_fixed_header,
)
from harness.svsm.igvm_measure import id_blocks, measure
from harness.svsm.igvm_params import find_parameter_blocks

_OFFSET_IN_PAGE_DATA = 12
_OFFSET_IN_VP_CONTEXT = 12


@dataclass(frozen=True, slots=True)
class Injection:
    """What came of it. data: the new file. changes: what is different. warnings: what is not valid any more."""

    data: bytes = field(repr=False)
    changes: tuple[str, ...]
    warnings: tuple[str, ...]


class _Editor:
    """Changes contents that headers refer to. Contents that another header uses too are copied to the file's end."""

    def __init__(self, file: IgvmFile) -> None:
        self.file = file
        self.data = bytearray(file.data)
        self.headers: dict[int, bytes] = {}

    def replace(self, header: PageData | VpContext, contents: bytes) -> None:
        """Give a header other contents of the same size."""
        if not self._shared(header):
            self.data[header.offset : header.offset + len(contents)] = contents
            return
        self.data += bytes(-len(self.data) % 8)
        at = _OFFSET_IN_PAGE_DATA if isinstance(header, PageData) else _OFFSET_IN_VP_CONTEXT
        content = header.content
        self.headers[header.at] = content[:at] + len(self.data).to_bytes(4, "little") + content[at + 4 :]
        self.data += contents

    def _shared(self, header: PageData | VpContext) -> bool:
        """Another header's contents overlap."""
        size = _size(header)
        return any(
            other.at != header.at and other.offset and -_size(other) < other.offset - header.offset < size
            for other in self.file.headers
            if isinstance(other, PageData | VpContext)
        )

    def finish(self, dropped: set[int]) -> bytes:
        """The file's bytes, without the headers that start at the offsets in `dropped`."""
        file = self.file
        headers = b"".join(
            pack_header(header.type, self.headers.get(header.at, header.content))
            for header in file.headers
            if header.at not in dropped
        )
        end = file.headers_at + file.headers_size
        # File data keeps its place: what is left free before it is zero.
        self.data[file.headers_at : end] = headers + bytes(file.headers_size - len(headers))
        return with_fixed_header(bytes(self.data), headers_size=len(headers))


def _size(header: PageData | VpContext) -> int:
    return header.size if isinstance(header, PageData) else PAGE


def inject(file: IgvmFile, *, alternate_injection: bool, drop_id_block: bool = False) -> Injection:
    """A copy of a file with Alternate Injection on or off, its checksum and unsigned ID blocks made right.

    drop_id_block: leave the ID blocks for SEV-SNP out. Raises IgvmError for a file without an SVSM's parameter block.
    """
    mask = file.snp_mask
    if mask is None:
        raise IgvmError(f"{file.name} is not for SEV-SNP", "build it with igvmbuilder --snp")
    if not file.checksum_is_right:
        raise IgvmError(f"{file.name} is a damaged IGVM file: its checksum is wrong", "build or copy it again")
    blocks = find_parameter_blocks(file, mask)
    if len(blocks) != 1:
        found = "no boot parameter block of COCONUT's" if not blocks else f"{len(blocks)} boot parameter blocks"
        raise IgvmError(f"{file.name} has {found}", "Alternate Injection can be set in COCONUT's IGVM files")
    editor = _Editor(file)
    changes: list[str] = []
    warnings: list[str] = []
    block = blocks[0]
    if block.use_alternate_injection != alternate_injection:
        page = bytearray(file.contents(block.page))
        page[block.layout.alternate_injection] = alternate_injection
        editor.replace(block.page, bytes(page))
        changes.append(f"use_alternate_injection = {int(alternate_injection)} in the boot parameter block")
        others = [one for one in file.platforms if one.mask != mask and block.page.applies(one.mask or 0)]
        if others:
            warnings.append("the boot parameter block is that of the file's other platforms too")
    for header in file.headers:
        if isinstance(header, VpContext) and header.applies(mask):
            _inject_vmsa(editor, header, alternate_injection, changes, warnings)
    if not changes and not drop_id_block:
        return Injection(file.data, (), ())
    return _finish(editor, drop_id_block, changes, warnings)


def _inject_vmsa(editor: _Editor, header: VpContext, on: bool, changes: list[str], warnings: list[str]) -> None:
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


def _finish(editor: _Editor, drop: bool, changes: list[str], warnings: list[str]) -> Injection:
    file = editor.file
    blocks = id_blocks(file)
    dropped: set[int] = {block.at for block in blocks} if drop else set()
    changes += ["the ID block is left out"] * len(dropped)
    data = editor.finish(dropped)
    new = IgvmFile.parse(data, file.name)
    before, after = measure(file), measure(new)
    assert before is not None
    assert after is not None
    if after.digest != before.digest:
        changes.append(f"launch digest {after.digest.hex()}")
        data = _renew_id_blocks(new, after.digest, changes, warnings)
        _warn_of_vbs(new.headers, warnings)
    changes.append(f"checksum {int.from_bytes(data[20:24], 'little'):08X}")
    return Injection(data, tuple(changes), tuple(warnings))


def _renew_id_blocks(file: IgvmFile, digest: bytes, changes: list[str], warnings: list[str]) -> bytes:
    """An ID block that nobody has signed takes the new digest; a signed one cannot."""
    editor = _Editor(file)
    for block in id_blocks(file):
        if block.signed:
            warnings.append(
                "the ID block is signed for another launch digest: the launch will be refused; sign a new one, or"
                " leave it out with --drop-id-block"
            )
        else:
            editor.headers[block.at] = _with_digest(block, digest)
            changes.append("the ID block, which is not signed, holds the new launch digest")
    return editor.finish(set()) if editor.headers else file.data


def _with_digest(block: SnpIdBlock, digest: bytes) -> bytes:
    end = ID_BLOCK_DIGEST + DIGEST_SIZE
    return block.content[:ID_BLOCK_DIGEST] + digest + block.content[end:]


def _warn_of_vbs(headers: tuple[Header, ...], warnings: list[str]) -> None:
    if any(header.kind is HeaderType.VBS_MEASUREMENT for header in headers):
        warnings.append("the file's VBS measurement may be that of the old contents")
