# SPDX-License-Identifier: GPL-2.0-or-later
"""What a loader launches as an SEV-SNP guest, in order, and the launch digest of it.

SEV-SNP Firmware ABI (56860), section 8.17.2, table "Layout of the PAGE_INFO structure": each page that is launched
extends the digest by SHA-384 over the digest so far, the SHA-384 of the contents (zero if they are not measured), and
type and address of the page. harness/emulator/hardware/psp.c computes the same of what it carries out.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

PAGE = 0x1000
#: The address at which KVM puts every VMSA of the launch (QEMU, docs/system/igvm.rst).
KVM_VMSA_GPA = 0xFFFFFFFFF000
#: The policy of QEMU's sev-snp-guest without another one: SMT is allowed, and bit 17, which must be one.
DEFAULT_POLICY = 0x30000

_INFO = struct.Struct("<48s48sHBB4xQ")
NOT_MEASURED = bytes(48)
_ZERO_PAGE = hashlib.sha384(bytes(PAGE)).digest()


class PageType(enum.IntEnum):
    """PAGE_TYPE of SNP_LAUNCH_UPDATE (56860, section 8.17)."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


class LaunchDigest:
    """The digest so far. pages: how many were launched."""

    def __init__(self) -> None:
        self.value = NOT_MEASURED
        self.pages = 0

    def extend(self, kind: PageType, gpa: int, contents: bytes = NOT_MEASURED) -> None:
        """Add a page. contents: their SHA-384."""
        self.pages += 1
        info = _INFO.pack(self.value, contents, _INFO.size, kind, 0, gpa & 0xFFFFFFFFFFFFFFFF)
        self.value = hashlib.sha384(info).digest()


def hash_page(page: bytes) -> bytes:
    """Return the SHA-384 of a page; one of less than 4 KiB is padded with zeros."""
    return hashlib.sha384(page.ljust(PAGE, b"\0")).digest() if page else _ZERO_PAGE


@dataclass(frozen=True, slots=True)
class Pages:
    """Consecutive pages of one type. data: their contents, b"" for zeros; what is missing at the end is zero.

    hashes: the hypervisor puts the hashes of a kernel there (QEMU's kernel-hashes=on), at this offset from gpa.
    """

    kind: PageType
    gpa: int
    count: int
    data: bytes = field(default=b"", repr=False)
    hashes: int | None = None

    @property
    def end(self) -> int:
        """The first address behind them."""
        return self.gpa + self.count * PAGE


@dataclass(frozen=True, slots=True)
class IdBlock:
    """The ID block of SNP_LAUNCH_FINISH (56860, section 8.18), and the digests of its keys (b"" without a key)."""

    launch_digest: bytes
    family_id: bytes
    image_id: bytes
    guest_svn: int
    policy: int
    id_key_digest: bytes = b""
    author_key_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Launch:
    """The whole launch. pages: in order; vmsas: after them, by vCPU. memory: ranges (address, bytes) that must be RAM.

    start, size: of the firmware, which ends at 4 GiB; size 0 if there is none. notes: sentences about how what is
    launched differs from the file.
    """

    pages: tuple[Pages, ...]
    vmsas: tuple[tuple[int, bytes], ...]
    memory: tuple[tuple[int, int], ...] = ()
    policy: int = DEFAULT_POLICY
    id_block: IdBlock | None = None
    notes: tuple[str, ...] = ()

    @property
    def ranges(self) -> Iterable[tuple[int, int]]:
        """Address and bytes of everything that needs memory."""
        yield from ((pages.gpa, pages.count * PAGE) for pages in self.pages)
        yield from self.memory

    def digest(self) -> bytes:
        """Return the launch digest, without the hashes of a kernel."""
        digest = LaunchDigest()
        for pages in self.pages:
            for at in range(0, pages.count * PAGE, PAGE):
                measured = pages.kind is PageType.NORMAL
                contents = hash_page(pages.data[at : at + PAGE]) if measured else NOT_MEASURED
                digest.extend(pages.kind, pages.gpa + at, contents)
        for _, page in self.vmsas:
            digest.extend(PageType.VMSA, KVM_VMSA_GPA, hash_page(page))
        return digest.value
