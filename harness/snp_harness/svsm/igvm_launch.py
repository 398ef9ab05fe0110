# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT's launch information in an IGVM file: what its kernel starts from, and where its settings are read.

Source: coconut-svsm/svsm, boot/defs/src/kernel_launch.rs (KernelLaunchInfo); boot/bootimg writes it. Since 2026-04-01
it is made with the file, and has copies of the boot parameter block's console port and use_alternate_injection, which
the kernel reads there; before, stage 2 made it at boot. Its page and fields are found by what their values lead to:

| field | leads to |
|---|---|
| first two words | the kernel's memory, as in the block |
| others | kernel addresses of the block and of the secrets page, both by one direct map |
| own kernel address | it is among the last words of a page of the file: the kernel's first stack |
| port | the block's; after it flags of one byte, and zeroes to the page's end |
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from snp_harness.svsm.igvm import PAGE, DataType, IgvmFile, PageData
from snp_harness.svsm.igvm_params import BLOCKS_MAX, ParameterBlock, find_parameter_blocks, measured_pages, u16, u64

#: From the port to the flags: vmsa_in_kernel_heap is the first.
USE_AFTER_PORT = 3
#: Bound on the fields, bytes.
_FIELDS_MAX = 512


@dataclass(frozen=True, slots=True)
class LaunchInformation:
    """The launch information. page: the header of its page. port_at: offset of the port, which is the block's."""

    page: PageData
    port_at: int
    use_alternate_injection: bool

    @property
    def use_at(self) -> int:
        """Offset of use_alternate_injection."""
        return self.port_at + USE_AFTER_PORT


class Reader(enum.Enum):
    """Where the SVSM's kernel gets use_alternate_injection from. The values are phrases of `igvm show`."""

    LAUNCH_INFORMATION = "the kernel reads it from the launch information"
    STAGE2 = "stage 2 reads it from the boot parameter block"
    UNKNOWN = "not known to be read by the SVSM: no launch information was found"


@dataclass(frozen=True, slots=True)
class Settings:
    """A block and the launch information that belongs to it, None if there is none in the file."""

    block: ParameterBlock
    launch: LaunchInformation | None

    @property
    def reader(self) -> Reader:
        """Where the kernel gets use_alternate_injection from."""
        if self.launch is not None:
            return Reader.LAUNCH_INFORMATION
        return Reader.STAGE2 if self.block.stage2_reads else Reader.UNKNOWN

    @property
    def alternate_injection(self) -> bool | None:
        """Whether the SVSM requests Alternate Injection; None if the file does not show it."""
        if self.launch is not None:
            return self.launch.use_alternate_injection
        return self.block.use_alternate_injection if self.block.stage2_reads else None


def find_settings(file: IgvmFile, mask: int) -> list[Settings]:
    """Return a platform's boot parameter blocks with their launch information."""
    return [Settings(block, _launch_information(file, mask, block)) for block in find_parameter_blocks(file, mask)]


def _launch_information(file: IgvmFile, mask: int, block: ParameterBlock) -> LaunchInformation | None:
    base = block.kernel[0]
    secrets = [
        header.gpa
        for header in file.headers
        if isinstance(header, PageData) and header.applies(mask) and header.data_type == DataType.SECRETS
    ]
    del secrets[BLOCKS_MAX:]
    blocks = [page.gpa for page in (block.page, *block.copies)]
    pages = measured_pages(file, mask)
    on_stacks = {u64(file.contents(page), at) for page in pages for at in range(PAGE - 32, PAGE, 8)}
    found = []
    for page in pages:
        data = file.contents(page)
        if u64(data, 0) != base or not base < u64(data, 8) <= base + (1 << 32):
            continue
        port_at = len(data.rstrip(b"\0\1")) - 2
        if not 16 < port_at < _FIELDS_MAX or port_at % 2 or u16(data, port_at) != block.port:
            continue
        if any(direct + page.gpa - base in on_stacks for direct in _direct_maps(data, base, blocks, secrets)):
            found.append(LaunchInformation(page, port_at, bool(data[port_at + USE_AFTER_PORT])))
    return found[0] if len(found) == 1 else None


def _direct_maps(data: bytes, base: int, blocks: list[int], secrets: list[int]) -> Iterator[int]:
    """Yield the kernel addresses of the kernel's memory by which words lead to the block and to the secrets page."""
    words = {u64(data, at) for at in range(16, _FIELDS_MAX, 8)}
    for word in sorted(words):
        if word and word % PAGE == 0:
            leads = [any(word + gpa - base in words for gpa in gpas) for gpas in (blocks, secrets)]
            if all(leads):
                yield word
