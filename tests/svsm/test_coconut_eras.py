# SPDX-License-Identifier: GPL-2.0-or-later
"""The block and the launch information are found in files of every version of COCONUT, by what their values lead to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_launch import Reader, Settings, find_settings
from tests.svsm import igvm_writer as writer
from tests.svsm.coconut_eras import ERAS, Era, offsets

#: Of each reader in coconut_eras.py.
READERS = {"stage2": Reader.STAGE2, "kernel": Reader.LAUNCH_INFORMATION, "": Reader.UNKNOWN}
PORTS = (0x3F8, 0x2F8, 0x3E8, 0x2E8)

OPTIONS = st.fixed_dictionaries(
    {
        "era": st.sampled_from(ERAS),
        "use": st.integers(0, 1),
        "launch_use": st.sampled_from((None, 0, 1)),
        "port": st.sampled_from(PORTS),
        "image": st.integers(0, 5).map(lambda pages: bytes(range(256)) * 16 * pages),
        "context": st.booleans(),
        "madt": st.booleans(),
        "vmsa_in_kernel": st.integers(0, 1),
    }
)


def found(made: writer.Writer) -> list[Settings]:
    return find_settings(IgvmFile.parse(made.build(), "t.igvm"), writer.SNP)


def check(options: dict[str, Any], one: Settings) -> None:
    """Compare with what the writer wrote, by the table."""
    written = writer.Settings(**options)
    era, block, layout = written.era, one.block, one.block.layout
    at = offsets(era.block)
    use = written.use if "use" in at else 0
    assert block.page.gpa == written.base
    assert [page.gpa for page in block.copies] == ([writer.HEAP] if era.copied else [])
    assert (layout.parameter_page, layout.memory_map, layout.port) == (at["param"], at["map"], at["port"])
    assert layout.madt == (at["madt"] if "madt" in written.areas else None)
    assert layout.device_tree == at.get("tree")
    assert layout.use_alternate_injection == at.get("use", at["port"] + 2)
    assert (layout.firmware, layout.kernel) == (at["fw_start"], at["kernel"])
    assert (block.port, block.use_alternate_injection) == (written.port, bool(use))
    assert block.firmware == ((1 << 32) - len(written.image) if written.image else 0, len(written.image))
    assert block.kernel == (writer.KERNEL, writer.KERNEL_SIZE)
    assert block.area_size == 0x1000 * (len(written.areas) + 1)
    assert one.reader is READERS[era.reads]
    if era.launch is None:
        assert one.launch is None
        assert one.alternate_injection == (None if not era.reads else bool(use))
        return
    there = offsets(era.launch)
    written_there = use if era.builder_sets else 0
    assert one.launch is not None
    assert one.launch.page.gpa == writer.LAUNCH
    assert (one.launch.port_at, one.launch.use_at) == (there["port"], there["use"])
    assert one.alternate_injection == bool(written_there if written.launch_use is None else written.launch_use)


@settings(deadline=None, max_examples=300)
@given(OPTIONS, st.randoms(use_true_random=False))
def test_any_file_of_any_version(options: dict[str, Any], random: Any) -> None:
    made = writer.coconut(**options)
    # The order of directives is the builder's affair, except that pages and areas need their platforms.
    first = next(number for number, (kind, _) in enumerate(made.headers) if kind >= 0x300)
    rest = made.headers[first:]
    random.shuffle(rest)
    made.headers[first:] = rest
    (one,) = found(made)
    check(options, one)


@pytest.mark.parametrize("era", ERAS, ids=lambda era: era.name)
def test_each_version(era: Era) -> None:
    for port in PORTS:
        options: dict[str, Any] = {"era": era, "use": 1, "port": port}
        (one,) = found(writer.coconut(**options))
        check(options, one)


def test_the_table_has_every_tag_in_order() -> None:
    tags = [tag for era in ERAS for tag in era.tags]
    months = [
        f"v{year}.{month:02}-devel"
        for year, first, last in ((2025, 8, 12), (2026, 1, 7))
        for month in range(first, last + 1)
    ]
    assert tags == months
    assert [era.since for era in ERAS] == sorted(era.since for era in ERAS)


def broken(name: str, value: int, *, launch: bool = False) -> list[Settings]:
    """What is found in a file of the newest era with another value in a field."""
    era = writer.NEW_ERA
    made = writer.coconut(era=era)
    of_page = writer.Settings(era=era).launch if launch else writer.block(era=era)
    at = offsets(era.launch or "" if launch else era.block)[name]
    page = (
        of_page[:at]
        + value.to_bytes(2 if name == "port" else 4, "little")
        + of_page[at + (2 if name == "port" else 4) :]
    )
    made.data = [page if chunk == of_page else chunk for chunk in made.data]
    return found(made)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("area", 0),
        ("area", 0x2345),
        ("param", 0x3000),
        ("map", 0x1000),
        ("tree", 0x1000),
        ("port", 0),
        ("fw_start", 0x1000),
        ("kernel", 0x9000000),
    ],
)
def test_a_block_that_leads_elsewhere_is_none(name: str, value: int) -> None:
    assert broken(name, value) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel", 0x1000),
        ("kernel_end", 0),
        ("direct_map", 0x1000),
        ("block_va", 0),
        ("secrets_va", 0),
        ("port", 0x2F8),
    ],
)
def test_a_launch_information_that_leads_elsewhere_is_none(name: str, value: int) -> None:
    (one,) = broken(name, value, launch=True)
    assert one.launch is None
    assert one.reader is Reader.UNKNOWN
    assert one.alternate_injection is None


def test_a_launch_information_that_nobody_starts_from_is_none() -> None:
    made = writer.coconut(era=writer.NEW_ERA)
    made.headers = [one for one in made.headers if getattr(one[1], "gpa", 0) != writer.KERNEL_STACK]
    (one,) = found(made)
    assert one.reader is Reader.UNKNOWN
