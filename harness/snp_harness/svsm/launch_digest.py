# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest.

SEV-SNP Firmware ABI (56860), section 8.17.2, table "Layout of the PAGE_INFO structure": each page that is launched
extends the digest by SHA-384 over the digest so far, the SHA-384 of the contents (zero if they are not measured), and
type and address of the page. harness/emulator/hardware/psp_launch.c computes the same of what it carries out.
"""

from __future__ import annotations

import hashlib
import struct

from snp_harness.svsm.launch import KVM_VMSA_GPA, PAGE, Launch, PageType

_INFO = struct.Struct("<48s48sHBB4xQ")
NOT_MEASURED = bytes(48)
_ZERO_PAGE = hashlib.sha384(bytes(PAGE)).digest()


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


def digest_of(launch: Launch) -> bytes:
    """Return the launch digest, without the hashes of a kernel."""
    digest = LaunchDigest()
    for pages in launch.pages:
        for at in range(0, pages.count * PAGE, PAGE):
            measured = pages.kind is PageType.NORMAL
            contents = hash_page(pages.data[at : at + PAGE]) if measured else NOT_MEASURED
            digest.extend(pages.kind, pages.gpa + at, contents)
    for _, page in launch.vmsas:
        digest.extend(PageType.VMSA, KVM_VMSA_GPA, hash_page(page))
    return digest.value
