# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snp_harness.errors import EXIT_USAGE
from snp_harness.firmware import sections as ffs
from snp_harness.firmware.firmware_modules import FileType
from snp_harness.firmware.image import FirmwareError, FirmwareImage
from tests.firmware import builder

SEC_BASE = builder.BASE + 0x30000


@pytest.fixture
def image(tmp_path: Path) -> FirmwareImage:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(builder.image())
    return FirmwareImage.open(path)


def refused(path: Path, problem: str, vars_path: Path | None = None) -> None:
    """Opening raises a one-line usage error that names the problem and says what to do."""
    with pytest.raises(FirmwareError, match=problem) as caught:
        FirmwareImage.open(path, vars_path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_status == EXIT_USAGE


def test_open(image: FirmwareImage) -> None:
    assert (image.size, image.base, image.vars_path) == (builder.SIZE, builder.BASE, None)
    assert image.flat() == image.data == builder.image()
    assert image.metadata is not None
    assert image.metadata.has_svsm_caa
    assert [module.name for module in image.modules] == ["SecMain", "PeiCore", "Driver"]
    assert image.defects == ()


@pytest.mark.parametrize(
    ("pc", "where"),
    [
        (SEC_BASE, "SecMain+0x0"),
        (SEC_BASE + 0x3FFF, "SecMain+0x3fff"),
        (SEC_BASE + 0x4000, None),
        (0xFFFFFFF0, None),
        (0x820600, "PeiCore+0x600"),
        (0x822000, None),
        (0x7F000000, None),
        (1 << 32, None),
        (builder.BASE - 1, None),
    ],
)
def test_locate(image: FirmwareImage, pc: int, where: str | None) -> None:
    located = image.locate(pc)
    assert (None if located is None else str(located)) == where


def test_by_identity(image: FirmwareImage) -> None:
    found = image.by_identity(0x3000, 0x700)
    assert found is not None
    assert found.name == "Driver"
    assert image.by_identity(0x3000, 0x701) is None


def test_identity_of_two_modules_is_nobodys(tmp_path: Path) -> None:
    body = builder.section(ffs.SECTION_PE32, builder.pe32(0, 0x3000, 0x700))
    twins = b"".join(builder.file(guid, FileType.DRIVER, body) for guid in (builder.DXE_GUID, builder.PEI_GUID))
    path = tmp_path / "OVMF.fd"
    path.write_bytes(builder.image(files=twins))
    assert FirmwareImage.open(path).by_identity(0x3000, 0x700) is None


def test_flash_needs_no_decompression(tmp_path: Path) -> None:
    """SEC is found although the compressed part is damaged, which is not read for it."""
    data = bytearray(builder.image())
    at = bytes(data).index(ffs.LZMA_GUID.bytes_le)
    data[at + 20 : at + 60] = b"\xff" * 40
    path = tmp_path / "OVMF.fd"
    path.write_bytes(data)
    image = FirmwareImage.open(path)
    located = image.locate(SEC_BASE + 4)
    assert located is not None
    assert located.offset == 4
    assert image.plain_defects == ()
    assert image._all is None
    assert [module.name for module in image.modules] == ["SecMain"]
    assert len(image.defects) == 1
    assert image.plain_defects == ()


def test_flash_does_not_wait_for_a_decompression(image: FirmwareImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first offence in SEC is named while another thread decompresses the rest."""
    begun, end = threading.Event(), threading.Event()
    decompress = ffs.decompress

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert end.wait(60)
        return decompress(*arguments)

    monkeypatch.setattr(ffs, "decompress", slow)
    thread = threading.Thread(target=lambda: image.modules)
    thread.start()
    assert begun.wait(60)
    located = image.locate(SEC_BASE + 4)
    assert located is not None
    assert located.module.name == "SecMain"
    assert image.plain_defects == ()
    assert image._all is None
    end.set()
    thread.join()
    assert len(image.modules) == 3


def test_many_threads_see_the_same(image: FirmwareImage) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(len(image.modules))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [3] * 8


def test_not_found(tmp_path: Path) -> None:
    refused(tmp_path / "none.fd", "none.fd not found")
    refused(tmp_path / "two\nlines.fd", r"two\?lines.fd not found")
    refused(tmp_path / "a.fd" / "b.fd", "not found")


def test_directory(tmp_path: Path) -> None:
    refused(tmp_path, "is a directory")


def test_name_that_no_file_can_have() -> None:
    refused(Path("a\0b"), "cannot be read")
    refused(Path("x" * 5000), "cannot be read")


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "not a regular file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(builder.image())
    path.chmod(0)
    refused(path, "Permission denied")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 bytes, too few"),
        (bytes(0xF000), "too few"),
        (builder.image()[:-1], "truncated: 262143 bytes"),
        (builder.image()[:-0x1000], "truncated or damaged: the volume at 0x30000"),
        (builder.image()[: builder.NVDATA_SIZE], "a store of variables"),
        (builder.image()[: builder.NVDATA_SIZE + 0x20000], "does not end with a reset vector"),
        (bytes(builder.SIZE), "not a UEFI firmware image"),
        (os.urandom(16) * 0x4000, "not a UEFI firmware image"),
        (b"\x7fELF" + bytes(0x20000 - 4), "an ELF file"),
    ],
)
def test_not_firmware(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(content)
    refused(path, problem)


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "OVMF.fd"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 0x1000)
    refused(path, "larger than 64 MiB")


def test_damaged_metadata_names_the_image(tmp_path: Path) -> None:
    """Only a guest with SEV uses the metadata: others start whatever they are."""
    path = tmp_path / "OVMF.fd"
    path.write_bytes(builder.image(((0x800, 0x1000, 1),)))
    image = FirmwareImage.open(path)
    with pytest.raises(FirmwareError, match=r"OVMF\.fd: SEV metadata section at 0x800") as caught:
        _ = image.metadata
    assert caught.value.hint


@pytest.mark.parametrize(
    ("start", "what", "hint"),
    [
        (b"IGVM", "an IGVM file, not a firmware image", "svsm.igvm"),
        (b"\x1f\x8b\x08", "compressed with gzip", "gunzip"),
        (b"\xfd7zXZ\x00", "compressed with xz", "unxz"),
        (b"!<arch>\ndebian-binary", "an archive such as a Debian package", "debian:trixie"),
        (b"QFI\xfb", "a qcow2 image", "qemu-img"),
        (b"MZ", "an EFI program", "-kernel"),
    ],
)
def test_other_files_are_named(tmp_path: Path, start: bytes, what: str, hint: str) -> None:
    path = tmp_path / "file"
    for size in (100, 0x20000, 0x20001):
        path.write_bytes(start.ljust(size, b"\0"))
        refused(path, f"file is {what}")
        with pytest.raises(FirmwareError) as caught:
            FirmwareImage.open(path)
        assert hint in caught.value.hint


class TestSplit:
    CODE = builder.image(variables=False)
    VARS = builder.volume(b"", builder.NVDATA_SIZE, ffs.NVDATA_GUID)

    @pytest.mark.parametrize(
        ("code", "variables"),
        [
            ("OVMF_CODE.fd", "OVMF_VARS.fd"),
            ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.secboot.fd"),
            ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd"),
            ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
        ],
    )
    def test_vars_by_name(self, tmp_path: Path, code: str, variables: str) -> None:
        (tmp_path / code).write_bytes(self.CODE)
        (tmp_path / variables).write_bytes(self.VARS)
        image = FirmwareImage.open(tmp_path / code)
        assert image.vars_path == tmp_path / variables
        assert image.flat() == self.VARS + self.CODE == builder.image()
        located = image.locate(SEC_BASE)
        assert located is not None
        assert located.module.name == "SecMain"

    def test_code_without_vars(self, tmp_path: Path) -> None:
        """The firmware alone, at its place below 4 GiB; the image is one that QEMU's -bios accepts."""
        code = b"\xff" * 0x1000 + self.CODE
        (tmp_path / "OVMF_CODE.fd").write_bytes(code)
        image = FirmwareImage.open(tmp_path / "OVMF_CODE.fd")
        assert image.vars_path is None
        assert image.size % 0x10000 == 0
        assert image.flat() == b"\xff" * (image.size - len(code)) + code
        located = image.locate(SEC_BASE)
        assert located is not None
        assert located.module.name == "SecMain"

    def test_vars_of_another_size_are_not_taken(self, tmp_path: Path) -> None:
        (tmp_path / "OVMF_CODE.fd").write_bytes(self.CODE)
        (tmp_path / "OVMF_VARS.fd").write_bytes(builder.volume(b"", 0x20000, ffs.NVDATA_GUID))
        assert FirmwareImage.open(tmp_path / "OVMF_CODE.fd").vars_path is None
        refused(tmp_path / "OVMF_CODE.fd", "does not belong to it", tmp_path / "OVMF_VARS.fd")

    def test_vars_given(self, tmp_path: Path) -> None:
        (tmp_path / "code").write_bytes(self.CODE)
        (tmp_path / "vars").write_bytes(self.VARS)
        assert FirmwareImage.open(tmp_path / "code", tmp_path / "vars").size == builder.SIZE
        refused(tmp_path / "code", "is not a VARS image", tmp_path / "code")
        refused(tmp_path / "code", "missing not found", tmp_path / "missing")

    def test_vars_given_to_a_combined_image(self, tmp_path: Path) -> None:
        (tmp_path / "OVMF.fd").write_bytes(builder.image())
        (tmp_path / "vars").write_bytes(self.VARS)
        refused(tmp_path / "OVMF.fd", "already contains its variables", tmp_path / "vars")

    def test_a_stateless_image_needs_no_vars(self, tmp_path: Path) -> None:
        path = tmp_path / "OVMF.amdsev.fd"
        data = bytearray(builder.volume(b"", 0x30000) + builder.volume(builder.sec_file(), 0x10000))
        data[-16:] = builder.RESET_VECTOR
        path.write_bytes(data)
        assert FirmwareImage.open(path).size == builder.SIZE


def survives(path: Path, patches: list[tuple[int, bytes]]) -> None:
    """With any damage, opening and scanning end with modules, defects or FirmwareError."""
    data = bytearray(builder.image())
    for offset, content in patches:
        data[offset : offset + len(content)] = content[: len(data) - offset]
    path.write_bytes(data)
    try:
        image = FirmwareImage.open(path)
    except FirmwareError:
        return
    assert all(0 <= module.size_of_image < 1 << 33 for module in image.modules)
    assert all("\n" not in defect for defect in image.defects)
    image.locate(0xFFFFFFF0)


fuzzed = settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)


@fuzzed
@given(st.lists(st.tuples(st.integers(0, builder.SIZE - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=8))
def test_damage_anywhere(tmp_path: Path, patches: list[tuple[int, bytes]]) -> None:
    survives(tmp_path / "OVMF.fd", patches)


#: Where volumes, their first files and the sections of these begin.
HEADERS = [start + offset for start in (0, builder.NVDATA_SIZE, 0x30000) for offset in (0, 40, 48, 72, 96)]


@fuzzed
@given(st.sampled_from(HEADERS), st.integers(0, 64), st.binary(min_size=1, max_size=24))
def test_damage_of_headers(tmp_path: Path, header: int, offset: int, content: bytes) -> None:
    survives(tmp_path / "OVMF.fd", [(header + offset, content)])
