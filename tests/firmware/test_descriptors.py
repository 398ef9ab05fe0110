# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from snp_harness.debian.firmware_names import cached_names
from snp_harness.firmware import descriptors, split
from snp_harness.firmware.descriptors import Descriptor, directories, read_descriptors
from snp_harness.firmware.find import find_firmware, open_firmware
from snp_harness.firmware.image import FirmwareError, FirmwareImage
from snp_harness.firmware.sections import NVDATA_GUID
from tests.firmware import builder


def firmware(code: str, variables: str | None = None, **changes: Any) -> dict[str, Any]:
    """A descriptor as edk2 packages have it: without a mode, split is meant."""
    mapping: dict[str, Any] = {"device": "memory", "filename": code}
    if variables is not None:
        mapping = {
            "device": "flash",
            "executable": {"filename": code, "format": "raw"},
            "nvram-template": {"filename": variables, "format": "raw"},
        }
    return {
        "description": "UEFI firmware",
        "interface-types": ["uefi"],
        "mapping": mapping,
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["amd-sev-snp"],
        "tags": [],
        **changes,
    }


def write(directory: Path, name: str, content: dict[str, Any] | str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return directory / name


def codes(*where: Path) -> list[str]:
    return [str(descriptor.code) for descriptor in read_descriptors(where)]


def test_split(tmp_path: Path) -> None:
    file = write(tmp_path, "50-a.json", firmware("/f/CODE.fd", "/f/VARS.fd"))
    assert read_descriptors((tmp_path,)) == (
        Descriptor(file, "UEFI firmware", Path("/f/CODE.fd"), Path("/f/VARS.fd"), frozenset({"amd-sev-snp"})),
    )


def test_stateless_and_memory(tmp_path: Path) -> None:
    stateless = firmware("/f/A.fd", "/f/VARS.fd")
    stateless["mapping"]["mode"] = "stateless"
    write(tmp_path, "1.json", stateless)
    write(tmp_path, "2.json", firmware("/f/B.fd"))
    assert [(str(d.code), d.vars) for d in read_descriptors((tmp_path,))] == [("/f/A.fd", None), ("/f/B.fd", None)]


def test_order_and_hiding(tmp_path: Path) -> None:
    """By name over all directories; the first directory's file hides the others', an empty one wholly."""
    user, system = tmp_path / "user", tmp_path / "system"
    write(system, "40-a.json", firmware("/system/a"))
    write(system, "50-b.json", firmware("/system/b"))
    write(system, "60-c.json", firmware("/system/c"))
    write(user, "50-b.json", firmware("/user/b"))
    write(user, "60-c.json", "")
    write(user, "10-d.json", firmware("/user/d"))
    assert codes(user, tmp_path / "none", system) == ["/user/d", "/system/a", "/user/b"]


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[]",
        "{}",
        "[" * 100000,
        firmware("/f", targets=[{"architecture": "aarch64", "machines": []}]),
        {**firmware("/f"), "interface-types": ["bios"]},
        firmware("relative.fd"),
        firmware("/f", mapping={"device": "igvm", "filename": "/f"}),
        firmware("/f", mapping={"device": "flash", "executable": {"filename": "/f", "format": "qcow2"}}),
        firmware("/f", mapping={"device": "flash", "executable": "/f"}),
    ],
)
def test_what_is_no_raw_x86_firmware_is_left_out(tmp_path: Path, content: dict[str, Any] | str) -> None:
    write(tmp_path, "1.json", content)
    write(tmp_path, "2.json", firmware("/good"))
    (tmp_path / "3.json").mkdir()
    (tmp_path / "4.txt").write_text(json.dumps(firmware("/text")))
    assert codes(tmp_path) == ["/good"]


def test_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/me/config")
    system = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
    assert directories() == (Path("/home/me/config/qemu/firmware"), *system)


class TestFind:
    """The default, and what is known, on a machine with the descriptors and the cache of the test."""

    @pytest.fixture(autouse=True)
    def machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(descriptors, "_SYSTEM_DIRECTORIES", ())

    def install(self, tmp_path: Path, name: str, content: bytes, **changes: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        write(tmp_path / "config" / "qemu" / "firmware", f"{name}.json", firmware(str(path), **changes))
        return path

    def cache(self, tmp_path: Path, suite: str, version: str, content: bytes) -> Path:
        package = tmp_path / "cache" / "snp-harness" / "debian" / suite / "ovmf"
        image = package / version / "usr" / "share" / "ovmf" / "OVMF.fd"
        image.parent.mkdir(parents=True)
        image.write_bytes(content)
        (package / "current").symlink_to(version)
        return package / "current" / ".." / version / "usr" / "share" / "ovmf" / "OVMF.fd"

    def test_nothing(self) -> None:
        with pytest.raises(FirmwareError, match="no firmware is installed or fetched") as caught:
            find_firmware(None)
        assert "snp-harness fetch" in caught.value.hint

    def test_installed(self, tmp_path: Path) -> None:
        self.install(tmp_path, "1-damaged", b"nothing")
        self.install(tmp_path, "2-smm", builder.image(), features=["requires-smm"])
        plain = self.install(tmp_path, "3-plain", builder.image(builder.SECTIONS[:3]))
        svsm = self.install(tmp_path, "4-svsm", builder.image())
        assert find_firmware(None) == svsm
        assert find_firmware(None, svsm=False) == plain

    def test_none_for_an_svsm(self, tmp_path: Path) -> None:
        self.install(tmp_path, "plain", builder.image(None))
        with pytest.raises(FirmwareError, match="calling area for an SVSM"):
            find_firmware(None)

    def test_cached_before_installed(self, tmp_path: Path) -> None:
        self.install(tmp_path, "installed", builder.image())
        self.cache(tmp_path, "bookworm", "1", builder.image(None))
        self.cache(tmp_path, "forky", "2", builder.image())
        trixie = self.cache(tmp_path, "trixie", "2025.02", builder.image())
        assert find_firmware(None).samefile(trixie)
        assert find_firmware("debian:trixie").samefile(trixie)
        assert cached_names() == ("debian:trixie", "debian:bookworm", "debian:forky")

    def test_path_is_taken_as_it_is(self) -> None:
        assert find_firmware("some/OVMF.fd") == Path("some/OVMF.fd")
        assert find_firmware("~/OVMF.fd") == Path.home() / "OVMF.fd"

    def test_what_is_named_is_opened(self, tmp_path: Path) -> None:
        trixie = self.cache(tmp_path, "trixie", "2025.02", builder.image())
        for spec in (None, "debian:trixie", str(trixie), trixie):
            assert open_firmware(spec).data == builder.image()
        with pytest.raises(FirmwareError, match="not found"):
            open_firmware(tmp_path / "none.fd")

    def test_vars_of_the_descriptor(self, tmp_path: Path) -> None:
        code, variables = tmp_path / "firmware.bin", tmp_path / "template.bin"
        code.write_bytes(builder.image(variables=False))
        variables.write_bytes(builder.volume(b"", builder.NVDATA_SIZE, NVDATA_GUID))
        assert split.find_vars(code, code.stat().st_size) is None
        write(tmp_path / "config" / "qemu" / "firmware", "1.json", firmware(str(code), str(variables)))
        assert FirmwareImage.open(code).vars_path == variables
        assert find_firmware(None) == code
        assert open_firmware(None).vars_path == open_firmware(code).vars_path == variables
