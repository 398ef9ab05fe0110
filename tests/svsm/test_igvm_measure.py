# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest, compared with that of the PyPI package sev-snp-measure (IBM), an independent implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from snp_harness.svsm import igvm_measure
from snp_harness.svsm.igvm import LARGE_PAGE, IgvmError, IgvmFile, PageFlags
from snp_harness.svsm.igvm_measure import id_blocks, measure
from tests.svsm import igvm_writer as writer

gctx = pytest.importorskip("sevsnpmeasure.gctx")


def digest(made: writer.Writer) -> bytes:
    found = measure(IgvmFile.parse(made.build(), "t.igvm"))
    assert found is not None
    return found.digest


def expected(steps: Callable[[Any], None]) -> bytes:
    context = gctx.GCTX()
    steps(context)
    result: bytes = context.ld()
    return result


def test_the_digest_of_a_coconut_file() -> None:
    def steps(context: Any) -> None:
        for area in (writer.PARAMS, writer.MAP, writer.MADT):
            context.update_unmeasured_pages(area, 4096)
        context.update_normal_pages(writer.FIRMWARE, b"\xf0" * 4096 + b"\xf1" * 4096)
        context.update_normal_pages(writer.BLOCK, writer.block())
        context.update_cpuid_page(writer.CPUID)
        context.update_secrets_page(writer.SECRETS)
        context.update_normal_pages(0x800000, bytes(3 * 4096))
        context.update_normal_pages(writer.STAGE2, b"\x90" * 4096)
        context.update_vmsa_page(writer.vmsa())

    file = IgvmFile.parse(writer.coconut().build(), "t.igvm")
    found = measure(file)
    assert found is not None
    assert found.digest == expected(steps)
    assert found.notes == ()


def test_what_qemu_and_kvm_measure() -> None:
    """Zeroes as such, and the VMSA last, at KVM's address."""

    def steps(context: Any) -> None:
        context.update_normal_pages(0x1000, b"\x01" * 4096)
        context.update_zero_pages(0x2000, 8192)
        context.update_secrets_page(0x4000)
        context.update_vmsa_page(writer.vmsa())

    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 2, 1, 0))
    made.add(0x304, writer.VpContext(0x9000, writer.SNP, 0, 0, 0), writer.vmsa())
    made.page(0x1000, b"\x01" * 4096)
    made.page(0x2000, None)
    made.page(0x3000, None)
    made.page(0x4000, None, data_type=1)
    found = measure(IgvmFile.parse(made.build(), "t.igvm"))
    assert found is not None
    assert found.qemu == expected(steps)
    assert found.qemu != found.digest


def test_large_unmeasured_and_shared_pages() -> None:
    def steps(context: Any) -> None:
        context.update_normal_pages(0x200000, b"\x11" * 0x200000)
        context.update_unmeasured_pages(0x5000, 4096)

    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(4, 0, 2, 1, 0))
    made.page(0x200000, b"\x11" * 0x200000, 4, flags=1)
    made.page(0x5000, b"\x22" * 4096, 4, flags=2)
    made.page(0x6000, b"\x22" * 4096, 4, flags=4)
    made.page(0x7000, b"\x33" * 4096, 2)
    assert digest(made) == expected(steps)


def test_measured_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU measures pages with the flag for shared ones, too."""
    made = writer.coconut()
    for page in range(3):
        made.page(0x40000000 + page * LARGE_PAGE, None, flags=PageFlags.LARGE | PageFlags.SHARED)
    monkeypatch.setattr(igvm_measure, "PAGES_MAX", 1000)
    with pytest.raises(IgvmError, match="loads more than 1000 pages"):
        measure(IgvmFile.parse(made.build(), "t.igvm"))


def test_pages_of_other_platforms_do_not_count() -> None:
    made = writer.coconut()
    before = digest(made)
    made.page(0x123000, b"\x55" * 4096, writer.TDP)
    assert digest(made) == before


def test_files_for_other_platforms_have_none() -> None:
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 3, 1, 0))
    assert measure(IgvmFile.parse(made.build(), "t.igvm")) is None


def test_what_kvm_measures_otherwise_is_told() -> None:
    made = writer.coconut(vmsas=())
    assert measure(IgvmFile.parse(made.build(), "t.igvm")).qemu is None  # type: ignore[union-attr]
    made.add(0x304, writer.VpContext(0x1000, writer.SNP, 0, 0, 0), bytes(4096))
    made.add(0x304, writer.VpContext(writer.VMSA_GPA, writer.SNP, 0, 1, 0), writer.vmsa())
    found = measure(IgvmFile.parse(made.build(), "t.igvm"))
    assert found is not None
    assert [note.split(":")[0] for note in found.notes] == [
        "the file has 2 VMSAs",
        "the VMSA's address is 1000",
        "the VMSA's CR0 is 0",
    ]


def test_pages_that_are_given_twice_are_told() -> None:
    made = writer.coconut()
    assert not [note for note in _notes(made) if "twice" in note]
    made.page(writer.BLOCK, bytes(4096))
    made.add(0x302, writer.PageData(0, writer.SNP, 0, 1, 0, 0))
    made.add(0x302, writer.PageData(0x1FF000, writer.SNP, 0, 0, 0, 0))
    # A page of another platform, and a shared one, do not count as a second one.
    made.add(0x302, writer.PageData(0x1000, writer.TDP, 0, 0, 0, 0))
    made.add(0x302, writer.PageData(0x2000, writer.SNP, 0, 4, 0, 0))
    twice = [note for note in _notes(made) if "twice" in note]
    assert twice == [f"2 pages are loaded twice, the first at {writer.BLOCK:X}: KVM refuses the second"]


def _notes(made: writer.Writer) -> tuple[str, ...]:
    found = measure(IgvmFile.parse(made.build(), "t.igvm"))
    assert found is not None
    return found.notes


def test_id_blocks_are_those_of_snp() -> None:
    made = writer.coconut(signature=b"\x01", digest=b"\x07" * 48)
    made.add(0x30B, writer.IdBlock(writer.TDP))
    (block,) = id_blocks(IgvmFile.parse(made.build(), "t.igvm"))
    assert block.launch_digest == b"\x07" * 48
    assert block.signed
    assert block.version == 1
