# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import ctypes
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from snp_harness.svsm import vmsa
from snp_harness.svsm.igvm import FILE_MAX, LARGE_PAGE, IgvmError, IgvmFile, PageData, VpContext
from snp_harness.svsm.igvm_launch import find_settings
from snp_harness.svsm.igvm_params import BLOCKS_MAX, find_parameter_blocks
from snp_harness.svsm.igvm_show import SHOWN, to_json
from snp_harness.svsm.igvm_text import to_text
from tests.helpers.igvm import parse
from tests.svsm import igvm_writer as writer


@pytest.mark.parametrize("version", [1, 2])
def test_a_coconut_file_is_read(version: int) -> None:
    data = writer.coconut(version=version, masks=writer.SNP | writer.NATIVE).build()
    file = parse(data)
    assert file.checksum_is_right
    assert (file.version, file.page_size, file.architecture) == (version, 4096, 0)
    assert [(one.mask, one.platform, one.highest_vtl) for one in file.platforms] == [(1, 2, 2), (2, 0, 2)]
    assert file.snp_mask == writer.SNP
    pages = [header for header in file.headers if isinstance(header, PageData)]
    assert [page.gpa for page in pages[:3]] == [writer.FIRMWARE, writer.FIRMWARE + 4096, writer.BLOCK]
    assert file.contents(pages[1]) == b"\xf1" * 4096
    assert file.contents(next(page for page in pages if page.gpa == writer.SECRETS)) == b""
    context = next(header for header in file.headers if isinstance(header, VpContext))
    page = vmsa.Vmsa(file.contents(context))
    assert (page.vmpl, page.entry, page.field("cr0")) == (0, writer.STAGE2, 0x31)
    assert vmsa.feature_names(page.features) == ["snp", "restricted-injection"]


def test_vmsa_fields_against_another_layout() -> None:
    save_area = pytest.importorskip("sevsnpmeasure.vmsa").SevEsSaveArea
    sizes = {name: dict(save_area._fields_)[name] for name in vmsa.OFFSETS if name not in ("cpl", "virtual_tom")}
    assert {name: getattr(save_area, name).offset for name in sizes} == {name: vmsa.OFFSETS[name] for name in sizes}


def test_other_igvm_files_have_no_block() -> None:
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 2, 1, 0))
    made.page(0x1000, writer.block())
    assert find_parameter_blocks(parse(made.build()), 1) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"MVGI" + data[4:], "is not an IGVM file"),
        (lambda data: data[:20], "is not an IGVM file"),
        (lambda data: data[:4] + b"\x03\0\0\0" + data[8:], "format version 3"),
        (lambda data: data[:-1], "are there"),
        (lambda data: data[:12] + b"\xff\xff\xff\x7f" + data[16:], "do not fit"),
        (lambda data: data[:8] + b"\x10\0\0\0" + data[12:], "do not fit"),
        (
            lambda data: data[:12] + (int.from_bytes(data[12:16], "little") - 12).to_bytes(4, "little") + data[16:],
            "longer",
        ),
        (lambda data: data[:28] + b"\x08\0\0\0" + data[32:], "has 8 bytes"),
    ],
)
def test_damaged_files_are_refused(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(IgvmError, match=message):
        parse(change(writer.coconut().build()))


def test_data_outside_the_file_is_refused() -> None:
    made = writer.coconut()
    made.headers.append((0x302, writer.PageData(0x1000, 1, 0x7FFFFFFF, 0, 0, 0)))
    with pytest.raises(IgvmError, match="outside its file data"):
        parse(made.build())
    made.headers[-1] = (0x302, writer.PageData(0x1000, 1, 8, 0, 0, 0))
    with pytest.raises(IgvmError, match="outside its file data"):
        parse(made.build())
    made.headers[-1] = (0x301, writer.ParameterArea(1 << 40, 7, 0))
    with pytest.raises(IgvmError, match="parameter area"):
        parse(made.build())


def test_a_last_header_without_its_padding_is_refused() -> None:
    """Headers are aligned to 8 bytes, the end of the last one too."""
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 2, 1, 0))
    made.headers.append((0x102, bytes(36)))
    data = made.build()
    size = int.from_bytes(data[12:16], "little")
    assert parse(data).headers_size == size
    data = data[:12] + (size - 4).to_bytes(4, "little") + data[16:]
    with pytest.raises(IgvmError, match="longer than their list"):
        parse(data)


@pytest.mark.parametrize(
    ("kind", "content"),
    [(0x302, writer.PageData(0x1800, 1, 0, 0, 0, 0)), (0x303, writer.ParameterInsert(0x1001, 1, 0))],
)
def test_pages_that_lie_across_pages_are_refused(kind: int, content: ctypes.Structure) -> None:
    made = writer.coconut()
    made.headers.append((kind, content))
    with pytest.raises(IgvmError, match=r"goes to 1[0-9A-F]{3}, which is not the start of a page"):
        parse(made.build())


def test_many_headers_are_counted_and_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made = writer.coconut()
    made.headers += [(0x80000399, b"abc")] * 5000
    file = parse(made.build())
    shown = to_json(file)
    assert len(shown["directives"]) == SHOWN
    assert shown["directive_count"] > 5000
    lines = to_text(file)
    assert len(lines) < 2 * SHOWN
    assert f"  ... and {shown['directive_count'] - SHOWN} more" in lines
    monkeypatch.setattr("snp_harness.svsm.igvm.HEADER_COUNT_MAX", 4000)
    with pytest.raises(IgvmError, match="has more than 4000 variable headers"):
        parse(made.build())


def test_pages_that_share_their_contents_cannot_load_more_than_a_file_has() -> None:
    """A file of 6 MiB would have 256 GiB otherwise."""
    made = writer.coconut()
    first = made.page(0x40000000, bytes(LARGE_PAGE), flags=1)
    for number in range(1, FILE_MAX // LARGE_PAGE + 1):
        made.page(0x40000000 + number * LARGE_PAGE, None, flags=1, like=first)
    with pytest.raises(IgvmError, match="has pages with contents of 514 MiB"):
        parse(made.build())


def test_unknown_headers_are_kept() -> None:
    made = writer.coconut()
    made.headers.append((0x80000399, b"abc"))
    file = parse(made.build())
    assert (file.headers[-1].kind, file.headers[-1].name, file.headers[-1].content) == (None, "type 80000399", b"abc")


def test_what_follows_the_file_is_not_its() -> None:
    data = writer.coconut().build()
    assert parse(data + b"more").data == data


def test_a_wrong_checksum_is_told() -> None:
    data = bytearray(writer.coconut().build())
    data[36] ^= 1
    assert not parse(bytes(data)).checksum_is_right


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(IgvmError, match="No such file"):
        IgvmFile.open(tmp_path / "none.igvm")
    huge = tmp_path / "huge.igvm"
    with huge.open("wb") as stream:
        stream.truncate(FILE_MAX + 1)
    with pytest.raises(IgvmError, match="larger than"):
        IgvmFile.open(huge)


GOOD = writer.coconut(era=writer.NEW_ERA, masks=writer.SNP | writer.TDP, signature=b"x").build()
#: Where the headers, the block and the launch information are in it.
PLACES = st.one_of(
    st.integers(0, 1800),
    *(
        st.integers(at, at + 200)
        for at in (
            GOOD.index(page) for page in (writer.block(era=writer.NEW_ERA), writer.Settings(era=writer.NEW_ERA).launch)
        )
    ),
)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _read(data)
    _read(GOOD[:24] + data)


@settings(deadline=None)
@given(st.lists(st.tuples(PLACES, st.integers(0, 255)), max_size=8))
def test_any_damage_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    _read(bytes(data))


def test_work_is_bounded_for_a_file_full_of_blocks() -> None:
    """Each page is a block, its launch information, and a copy of every other one."""
    made = writer.coconut(era=writer.NEW_ERA)
    settings = writer.Settings(era=writer.NEW_ERA)
    for page in (settings.block, settings.launch):
        number = made.data.index(page)
        for at in range(1500):
            made.page(writer.KERNEL + 0x150000 + 0x1000 * at, None, like=number)
    # Behind every fifth page, the areas that a block leads to: parameter page, MADT, memory map, device tree.
    for at in range(1500):
        if at % 5:
            area = (0, 0, 2, 1, 3)[at % 5]
            made.add(0x303, writer.ParameterInsert(writer.KERNEL + 0x150000 + 0x1000 * at, writer.SNP, area))
        made.page(writer.KERNEL + 0xF00000 + 0x1000 * at, None, data_type=1)
    file = parse(made.build())
    started = time.process_time()
    assert len(find_settings(file, writer.SNP)) == BLOCKS_MAX
    assert time.process_time() - started < 5


def _read(data: bytes) -> None:
    try:
        file = parse(data)
        to_json(file)
        text = to_text(file)
    except IgvmError as error:
        text = [str(error)]
    assert not any("\n" in line for line in text)


def test_headers_are_plain_values() -> None:
    first, second = parse(GOOD).headers[:2]
    assert replace(first, at=1) != first
    assert first == parse(GOOD).headers[0]
    assert first != second
