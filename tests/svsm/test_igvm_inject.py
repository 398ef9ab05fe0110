# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.svsm import vmsa
from snp_harness.svsm.igvm import IgvmError, IgvmFile, VpContext
from snp_harness.svsm.igvm_inject import CONSOLE_PORTS, Injection, drop_id_blocks, inject, set_console_port
from snp_harness.svsm.igvm_measure import id_blocks, measure
from snp_harness.svsm.igvm_params import find_parameter_blocks
from tests.helpers.igvm import parse
from tests.svsm import igvm_writer as writer
from tests.svsm.coconut_eras import ERAS, Era


def switch(made: writer.Writer, *, on: bool = True, drop: bool = False) -> tuple[Injection, IgvmFile]:
    file = parse(made.build())
    if drop:
        file = parse(drop_id_blocks(file).data)
    done = inject(file, alternate_injection=on)
    return done, parse(done.data)


@pytest.mark.parametrize("era", [era for era in ERAS if era.reads], ids=lambda era: era.name)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("on", [False, True])
def test_the_copy_is_what_the_writer_would_write(era: Era, version: int, on: bool) -> None:
    """Byte by byte: the same file built with and without --alt-injection, in every version of COCONUT that has it."""
    made = writer.coconut(era=era, version=version, use=int(not on), launch_use=int(not on))
    done, _ = switch(made, on=on)
    assert done.data == writer.coconut(era=era, version=version, use=int(on), launch_use=int(on)).build()
    assert done.warnings == ()
    assert any("use_alternate_injection" in change for change in done.changes)


@pytest.mark.parametrize("era", [era for era in ERAS if not era.reads], ids=lambda era: era.name)
def test_a_flag_that_nobody_reads_is_not_set(era: Era) -> None:
    made = writer.coconut(era=era)
    with pytest.raises(IgvmError, match="does not show where its SVSM reads use_alternate_injection") as caught:
        switch(made)
    assert "v2026.05" in caught.value.hint
    done, _ = switch(made, on=False)
    assert (done.changes, done.warnings) == ((), ())


def test_a_flag_that_nobody_is_known_to_read_is_cleared_with_a_warning() -> None:
    era = next(era for era in ERAS if era.name == "v2026.03-devel")
    done, _ = switch(writer.coconut(era=era, use=1), on=False)
    assert done.data == writer.coconut(era=era).build()
    assert "only the boot parameter block is changed" in done.warnings[0]


def test_every_place_of_the_flag_is_set() -> None:
    """A builder of April 2026 copied the flag into the block, and not into the launch information."""
    era = next(era for era in ERAS if era.name == "v2026.04-devel")
    done, _ = switch(writer.coconut(era=era, use=1))
    assert done.data == writer.coconut(era=era, use=1, launch_use=1).build()
    assert done.changes[0] == "use_alternate_injection = 1 in the kernel's launch information"
    done, _ = switch(writer.coconut(era=era))
    assert [change.partition(" in ")[2] for change in done.changes[:3]] == [
        "the boot parameter block",
        "the kernel's copy of it",
        "the kernel's launch information",
    ]


@pytest.mark.parametrize("era", ERAS, ids=lambda era: era.name)
@pytest.mark.parametrize("port", CONSOLE_PORTS)
def test_the_console_s_port_is_set_in_every_place_of_it(era: Era, port: int) -> None:
    file = parse(writer.coconut(era=era, use=1).build())
    done = set_console_port(file, port)
    assert done.data == writer.coconut(era=era, use=1, port=port).build()
    assert bool(done.changes) == (port != 0x3F8)


def test_nothing_to_change() -> None:
    made = writer.coconut(use=1)
    done, _ = switch(made)
    assert done.data == made.build()
    assert done.changes == ()


def test_the_svsms_own_vmsa_stays_and_the_guests_changes() -> None:
    made = writer.coconut(vmsas=(writer.vmsa(), writer.vmsa(vmpl=2)))
    done, file = switch(made)
    contexts = [header for header in file.headers if isinstance(header, VpContext)]
    features = [vmsa.feature_names(vmsa.Vmsa(file.contents(one)).features) for one in contexts]
    assert features == [["snp", "restricted-injection"], ["snp", "alternate-injection"]]
    assert "SEV_FEATURES = 11 in the VMSA of vCPU 1, VMPL2" in done.changes
    back = inject(file, alternate_injection=False)
    assert vmsa.Vmsa(parse(back.data).contents(contexts[1])).features == 1


def test_a_svsm_without_restricted_injection_is_told() -> None:
    done, _ = switch(writer.coconut(vmsas=(writer.vmsa(features=1),)))
    assert "no restricted injection" in done.warnings[0]


def test_contents_that_another_page_shares_are_copied() -> None:
    made = writer.coconut()
    number = made.data.index(writer.block())
    made.page(0xA00000, None, like=number)
    size = len(made.build())
    done, file = switch(made)
    assert len(done.data) >= size + 4096
    (block,) = find_parameter_blocks(file, writer.SNP)
    assert block.use_alternate_injection
    assert file.checksum_is_right
    other = next(header for header in file.headers if getattr(header, "gpa", 0) == 0xA00000)
    assert file.contents(other) == writer.block()  # type: ignore[arg-type]


def test_a_signed_id_block_is_invalid_then() -> None:
    made = writer.coconut(signature=b"\x01")
    signed_for = measure(parse(made.build()))
    assert signed_for is not None
    made = writer.coconut(signature=b"\x01", digest=signed_for.digest)
    done, file = switch(made)
    assert "signed for another launch digest" in done.warnings[0]
    assert id_blocks(file)[0].launch_digest == signed_for.digest


def test_a_signed_id_block_can_be_dropped() -> None:
    made = writer.coconut(signature=b"\x01")
    done, file = switch(made, drop=True)
    assert done.warnings == ()
    assert id_blocks(file) == []
    assert file.checksum_is_right
    without = writer.coconut(use=1)
    assert len(file.headers) == len(parse(without.build()).headers)
    assert measure(file) == measure(parse(without.build()))


def test_dropping_alone_is_a_change() -> None:
    made = writer.coconut(use=1, signature=b"\x01")
    done = drop_id_blocks(parse(made.build()))
    assert id_blocks(parse(done.data)) == []
    assert "the ID block is left out" in done.changes
    assert parse(done.data).checksum_is_right
    assert drop_id_blocks(parse(done.data)).changes == ()


def test_an_id_block_without_a_signature_gets_the_new_digest() -> None:
    done, file = switch(writer.coconut(signature=b""))
    measured = measure(file)
    assert measured is not None
    assert id_blocks(file)[0].launch_digest == measured.qemu
    assert file.checksum_is_right
    assert done.warnings == ()


def test_an_id_block_keeps_its_sort_of_digest() -> None:
    before = measure(parse(writer.coconut(signature=b"").build()))
    assert before is not None
    _, file = switch(writer.coconut(signature=b"", digest=before.digest))
    measured = measure(file)
    assert measured is not None
    assert measured.qemu != measured.digest
    assert id_blocks(file)[0].launch_digest == measured.digest


def test_other_platforms_of_the_file_are_named() -> None:
    done, _ = switch(writer.coconut(masks=writer.SNP | writer.TDP))
    assert "other platforms" in done.warnings[0]


def test_headers_that_may_be_about_the_old_contents_are_named() -> None:
    made = writer.coconut()
    made.headers += [(0x80000314, bytes(24)), (0x311, bytes(864))]
    done, file = switch(made)
    assert len(file.headers) == len(made.headers)
    assert "VBS measurement" in done.warnings[0]
    assert "type 80000314" in done.warnings[1]


def test_files_that_cannot_be_changed() -> None:
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 2, 1, 0))
    with pytest.raises(IgvmError, match="no boot parameter block"):
        switch(made)
    made = writer.coconut()
    made.page(writer.BLOCK, writer.block())
    with pytest.raises(IgvmError, match="2 boot parameter blocks"):
        switch(made)
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 3, 1, 0))
    with pytest.raises(IgvmError, match="not for SEV-SNP"):
        switch(made)
    data = bytearray(writer.coconut().build())
    data[36] ^= 1
    with pytest.raises(IgvmError, match="checksum is wrong"):
        inject(parse(bytes(data)), alternate_injection=True)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.booleans(), st.booleans())
def test_a_copy_of_a_strange_file_is_sound_or_there_is_none(
    changes: list[tuple[int, int]], on: bool, drop: bool
) -> None:
    made = writer.coconut(era=writer.NEW_ERA, signature=b"", vmsas=(writer.vmsa(vmpl=1),))
    data = bytearray(made.build())
    for at, value in changes:
        data[at] = value
    try:
        file = parse(bytes(data))
        from snp_harness.svsm.igvm import with_fixed_header

        file = parse(with_fixed_header(file.data, headers_size=file.headers_size))
        if drop:
            file = parse(drop_id_blocks(file).data)
        done = inject(file, alternate_injection=on)
    except IgvmError:
        return
    assert parse(done.data).checksum_is_right
