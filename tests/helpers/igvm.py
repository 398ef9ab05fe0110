# SPDX-License-Identifier: GPL-2.0-or-later
"""IGVM files as the harness reads them."""

from __future__ import annotations

from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_measure import measure


def parse(data: bytes) -> IgvmFile:
    return IgvmFile.parse(data, "t.igvm")


def digest_of(data: bytes) -> bytes:
    """The launch digest by QEMU, which has to be known."""
    measured = measure(parse(data))
    assert measured is not None
    assert measured.qemu is not None
    return measured.qemu
