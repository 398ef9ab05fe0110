# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest of an SNP launch of an IGVM file.

SEV-SNP Firmware ABI (56860), section 8.17.2, table "Layout of the PAGE_INFO structure": each page that the loader
passes to the firmware extends the digest by SHA-384 over the digest so far, the SHA-384 of the contents (zero if they
are not measured), and type and address of the page. For the pages of an IGVM file and their order see
microsoft/igvm (igvm/src/measurement/snp.rs) and COCONUT's igvmmeasure.

QEMU and KVM differ from the specification in two ways: pages of zeroes are launched as zero pages (QEMU,
backends/igvm.c, qigvm_type_to_cgs_type; igvmmeasure --native-zero), and the VMSA is the last page, at an address that
KVM chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from snp_harness.svsm import vmsa
from snp_harness.svsm.igvm import (
    PAGE,
    DataType,
    IgvmError,
    IgvmFile,
    PageData,
    PageFlags,
    ParameterArea,
    ParameterInsert,
    SnpIdBlock,
    VpContext,
)
from snp_harness.svsm.igvm_order import in_qemu_order
from snp_harness.svsm.launch import KVM_VMSA_GPA, PageType
from snp_harness.svsm.launch_digest import NOT_MEASURED, LaunchDigest, hash_page

#: CR0 that KVM sets in the first VMSA (COCONUT igvmmeasure, --check-kvm).
KVM_VMSA_CR0 = 0x31
#: Bound on measured pages: a 2 MiB page counts as 512.
PAGES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Measurement:
    """Launch digests, 48 bytes each.

    digest: by the specification. qemu: of a launch by QEMU and KVM, as far as the file determines it; None without a
    VMSA. notes: sentences, why KVM measures something else than `qemu` or refuses the launch.
    """

    digest: bytes
    qemu: bytes | None
    notes: tuple[str, ...]


class _Digest(LaunchDigest):
    def __init__(self) -> None:
        super().__init__()
        #: Pages of memory that were launched, and those that were launched again.
        self.given: set[int] = set()
        self.again: list[int] = []

    def give(self, gpa: int) -> None:
        """Add a page of the guest's memory, which KVM accepts once (sev_gmem_post_populate: EEXIST)."""
        if gpa in self.given:
            self.again.append(gpa)
        self.given.add(gpa)


def measure(file: IgvmFile) -> Measurement | None:
    """Return the launch digests of a file on SEV-SNP, None if it is not for it. Raises IgvmError if it is too large."""
    mask = file.snp_mask
    if mask is None:
        return None
    specified = _Digest()
    areas: dict[int, int] = {}
    contexts: list[VpContext] = []
    for header in file.headers:
        if not header.applies(mask):
            continue
        match header:
            case ParameterArea():
                areas[header.index] = header.size
            case PageData() if not header.flags & PageFlags.SHARED:
                for kind, gpa, contents in _pages(file, header):
                    specified.give(gpa)
                    specified.extend(kind, gpa, contents)
            case ParameterInsert():
                for at in range(0, areas.get(header.index, 0), PAGE):
                    _check(file, specified)
                    specified.give(header.gpa + at)
                    specified.extend(PageType.UNMEASURED, header.gpa + at)
            case VpContext():
                contexts.append(header)
                specified.extend(PageType.VMSA, header.gpa, hash_page(file.contents(header)))
            case _:
                pass
        _check(file, specified)
    notes = [*_notes(file, contexts), *_repeated(specified.again)]
    return Measurement(specified.value, _by_qemu(file, mask, areas) if contexts else None, tuple(notes))


def _by_qemu(file: IgvmFile, mask: int, areas: dict[int, int]) -> bytes:
    """Return the digest of what QEMU launches: it does not know the flag for shared pages."""
    digest = LaunchDigest()
    contexts: list[VpContext] = []
    for step in in_qemu_order(file, mask):
        match step:
            case list():
                for page in step:
                    zero = not page.offset
                    for kind, gpa, contents in _pages(file, page):
                        if kind is PageType.NORMAL and zero:
                            digest.extend(PageType.ZERO, gpa)
                        else:
                            digest.extend(kind, gpa, contents)
                    _check(file, digest)
            case ParameterInsert():
                for at in range(0, areas.get(step.index, 0), PAGE):
                    digest.extend(PageType.UNMEASURED, step.gpa + at)
            case VpContext():
                contexts.append(step)
            case _:
                pass
    for context in contexts:
        digest.extend(PageType.VMSA, KVM_VMSA_GPA, hash_page(file.contents(context)))
    return digest.value


def id_blocks(file: IgvmFile) -> list[SnpIdBlock]:
    """Return the ID blocks for SEV-SNP: the firmware refuses a launch with another digest than theirs."""
    mask = file.snp_mask or 0
    return [header for header in file.headers if isinstance(header, SnpIdBlock) and header.applies(mask)]


def _pages(file: IgvmFile, header: PageData) -> Iterator[tuple[PageType, int, bytes]]:
    """Yield type, address and measured contents of each 4 KiB of a page."""
    kinds: dict[int, PageType] = {
        DataType.SECRETS: PageType.SECRETS,
        DataType.CPUID_DATA: PageType.CPUID,
        DataType.CPUID_XF: PageType.CPUID,
    }
    kind = kinds.get(header.data_type, PageType.NORMAL)
    if kind is PageType.NORMAL and header.flags & PageFlags.UNMEASURED:
        kind = PageType.UNMEASURED
    data = file.contents(header)
    for at in range(0, header.size, PAGE):
        contents = hash_page(data[at : at + PAGE]) if kind is PageType.NORMAL else NOT_MEASURED
        yield kind, header.gpa + at, contents


def _check(file: IgvmFile, digest: LaunchDigest) -> None:
    if digest.pages > PAGES_MAX:
        raise IgvmError(f"{file.name} loads more than {PAGES_MAX} pages", "use a smaller file")


def _repeated(again: list[int]) -> list[str]:
    if not again:
        return []
    return [f"{len(again)} pages are loaded twice, the first at {again[0]:X}: KVM refuses the second"]


def _notes(file: IgvmFile, contexts: list[VpContext]) -> list[str]:
    if not contexts:
        return ["the file has no VMSA: KVM measures its own"]
    notes = []
    if len(contexts) > 1:
        notes.append(f"the file has {len(contexts)} VMSAs: KVM measures one for each vCPU that runs")
    for context in contexts:
        page = vmsa.Vmsa(file.contents(context) or bytes(PAGE))
        if context.gpa != KVM_VMSA_GPA:
            notes.append(f"the VMSA's address is {context.gpa:X}: QEMU needs {KVM_VMSA_GPA:X}")
        if page.field("cr0") != KVM_VMSA_CR0:
            notes.append(f"the VMSA's CR0 is {page.field('cr0'):X}: KVM sets {KVM_VMSA_CR0:X}")
    return notes
