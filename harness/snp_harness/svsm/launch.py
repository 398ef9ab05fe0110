# SPDX-License-Identifier: GPL-2.0-or-later
"""What a loader launches as an SEV-SNP guest, in order."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from msgspec import Struct

PAGE = 0x1000
#: The address at which KVM puts every VMSA of the launch (QEMU, docs/system/igvm.rst).
KVM_VMSA_GPA = 0xFFFFFFFFF000
#: The policy of QEMU's sev-snp-guest without another one: SMT is allowed, and bit 17, which must be one.
DEFAULT_POLICY = 0x30000


class PageType(enum.IntEnum):
    """PAGE_TYPE of SNP_LAUNCH_UPDATE (56860, section 8.17)."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


class Pages(Struct, frozen=True):
    """Consecutive pages of one type. data: their contents, b"" for zeros; what is missing at the end is zero.

    hashes: the hypervisor puts the hashes of a kernel there (QEMU's kernel-hashes=on), at this offset from gpa.
    """

    kind: PageType
    gpa: int
    count: int
    data: bytes = b""
    hashes: int | None = None

    def __repr__(self) -> str:
        return f"<Pages {self.kind.name} {self.gpa:X}, {self.count}>"

    @property
    def end(self) -> int:
        """The first address behind them."""
        return self.gpa + self.count * PAGE


class IdBlock(Struct, frozen=True):
    """The ID block of SNP_LAUNCH_FINISH (56860, section 8.18), and the digests of its keys (b"" without a key)."""

    launch_digest: bytes
    family_id: bytes
    image_id: bytes
    guest_svn: int
    policy: int
    id_key_digest: bytes = b""
    author_key_digest: bytes = b""


class Launch(Struct, frozen=True):
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
