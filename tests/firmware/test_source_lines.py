# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from snp_harness.apic.access import Access
from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.firmware import debug_file
from snp_harness.firmware.debug_directories import own_directories
from snp_harness.firmware.debug_file import DebugFile, DebugFileError
from snp_harness.firmware.source_lines import SourceLines
from tests.apic.samples import READ, xapic
from tests.firmware import debug_files
from tests.firmware.debug_files import ACCESS_LINE, CALL_LINE, PACKAGE, SOURCE, access_offset, firmware

FRAMES = (Frame("MmioRead32", PACKAGE, ACCESS_LINE), Frame("ReadLocalApicReg", PACKAGE, CALL_LINE))


@pytest.fixture(scope="module")
def debug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debug_files.build(tmp_path_factory.mktemp("build"))


def access(offset: int | None, module: str | None = "Driver") -> Access:
    return replace(xapic(READ, 0xF0), module=module, module_offset=offset)


@pytest.mark.parametrize("options", [(), ("-gdwarf-4",)])
def test_an_offset_is_a_line_and_the_functions_inlined_there(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = debug_files.build(tmp_path, "Driver", SOURCE, *options)
    assert DebugFile(path).frames(access_offset(path)) == FRAMES


def test_without_a_table_of_addresses_the_units_are_searched(debug: Path, tmp_path: Path) -> None:
    path = tmp_path / "Driver.debug"
    subprocess.run(("objcopy", "-R", ".debug_aranges", debug, path), check=True, timeout=60)
    assert DebugFile(path).frames(access_offset(debug)) == FRAMES


def test_an_offset_outside_the_code_has_no_line(debug: Path) -> None:
    file = DebugFile(debug)
    assert file.frames(0x10) == ()
    assert file.frames(1 << 40) == ()


def test_a_file_belongs_to_a_module_if_its_code_is_equal(debug: Path, tmp_path: Path) -> None:
    file = DebugFile(debug)
    (module,) = (m for m in firmware(debug, tmp_path / "a.fd").modules if m.name == "Driver")
    assert file.belongs_to(module)
    assert not file.belongs_to(replace(module, entry_rva=module.entry_rva + 1))
    assert not file.belongs_to(replace(module, image=None))
    other = debug_files.build(tmp_path, "Driver", SOURCE.replace("return 1;", "return 2;"))
    assert not DebugFile(other).belongs_to(module)


def test_files_that_are_none_say_why(debug: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.debug"
    with pytest.raises(DebugFileError, match="No such file"):
        DebugFile(path)
    path.write_bytes(b"MZ" + bytes(100))
    with pytest.raises(DebugFileError, match="not an ELF file"):
        DebugFile(path)
    for argument, why in (("--strip-debug", "no debug information"), ("--only-keep-debug", "no code to compare")):
        subprocess.run(("objcopy", argument, debug, path), check=True, timeout=60)
        with pytest.raises(DebugFileError, match=why):
            DebugFile(path)
    monkeypatch.setattr(debug_file, "SIZE_MAX", 100)
    with pytest.raises(DebugFileError, match="more than"):
        DebugFile(debug)


def test_a_damaged_file_is_refused_or_has_no_lines(debug: Path, tmp_path: Path) -> None:
    data, offset = debug.read_bytes(), access_offset(debug)
    path = tmp_path / "x.debug"
    chance = random.Random(1)
    for _ in range(60):
        harmed = bytearray(data[: chance.choice((len(data), chance.randrange(len(data))))])
        for _ in range(20):
            harmed[chance.randrange(len(harmed))] = chance.randrange(256)
        path.write_bytes(harmed)
        try:
            frames = DebugFile(path).frames(offset)
        except DebugFileError:
            continue
        assert all(0 <= frame.line < 1 << 31 for frame in frames)


def test_the_source_of_accesses(debug: Path, tmp_path: Path) -> None:
    lines = SourceLines(firmware(debug, tmp_path / "a.fd"), [debug.parent])
    at = access_offset(debug)
    found = lines.places([access(at), access(at), access(None), access(at, None)])
    assert found == (SourcePlace("Driver", at, FRAMES),)
    assert found[0].compiled == FRAMES[1]
    assert lines.notes == []


def test_a_file_of_another_build_gives_no_line(debug: Path, tmp_path: Path) -> None:
    debug_files.build(tmp_path, "Driver", SOURCE.replace("0xF0", "0xF1"))
    lines = SourceLines(firmware(debug, tmp_path / "a.fd"), [tmp_path])
    assert lines.places([access(access_offset(debug))]) == ()
    assert lines.notes == [f"no source lines of Driver: {tmp_path}/Driver.debug is of another build"]


def test_a_module_without_a_file_is_named_once(debug: Path, tmp_path: Path) -> None:
    lines = SourceLines(firmware(debug, tmp_path / "a.fd"), [tmp_path])
    assert lines.places([access(0x300), access(0x310)]) == ()
    assert lines.notes == [f"no source lines of Driver: no Driver.debug in {tmp_path}"]


def test_modules_of_one_name_have_a_line_only_if_they_agree(debug: Path, tmp_path: Path) -> None:
    """A name is all that an access has: two builds of a module with different libraries have the same."""
    (tmp_path / "2").mkdir()
    other = debug_files.build(tmp_path / "2", "Driver", "\n" + SOURCE)
    image = firmware(debug, tmp_path / "a.fd")
    lines = SourceLines(image, [debug.parent, other.parent])
    assert lines.places([access(access_offset(debug))]) == ()


@pytest.mark.parametrize(("magic", "header"), [(b"NB10", 16), (b"RSDS", 24)])
def test_a_file_is_found_by_the_path_in_the_image(debug: Path, tmp_path: Path, magic: bytes, header: int) -> None:
    record = magic.ljust(header, b"\0") + b"/build/X64/Some/DEBUG/Driver.dll\0"
    image = firmware(debug, tmp_path / "a.fd", "Another name", record)
    assert [m.image.debug_path() for m in image.modules if m.image and m.name == "Another name"] == [
        "/build/X64/Some/DEBUG/Driver.dll"
    ]
    at = access_offset(debug)
    (place,) = SourceLines(image, [debug.parent]).places([access(at, "Another name")])
    assert place.frames == FRAMES


def test_the_directories_of_an_images_own_build(tmp_path: Path) -> None:
    built, copied = tmp_path / "DEBUG_GCC" / "FV" / "OVMF.fd", tmp_path / "out" / "OVMF.fd"
    assert own_directories(built) == ()
    for path in (built.parent.parent / "X64", copied.parent / "symbols"):
        path.mkdir(parents=True)
    assert own_directories(built) == (tmp_path / "DEBUG_GCC" / "X64",)
    assert own_directories(copied) == (tmp_path / "out" / "symbols",)
