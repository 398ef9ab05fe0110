# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of built images, and copies of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snp_harness.edk2 import images
from snp_harness.edk2.images import BuiltImage, add_image, copy_image, find_image
from snp_harness.errors import BrokenEnvironmentError
from tests.edk2.cached import entries, fill_disk
from tests.edk2.trees import write_tree


@pytest.mark.parametrize("harm", ["truncated", "a half missing", "no manifest", "no JSON", "a half as a directory"])
def test_an_entry_that_was_damaged_is_made_anew(cache: Path, tmp_path: Path, harm: str) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image", "OVMF_CODE.fd": b"code", "OVMF_VARS.fd": b"vars"})
    entry = add_image("key", volumes / "OVMF.fd", {}).directory
    assert find_image("key") is not None
    half = entry / "OVMF_VARS.fd"
    if harm == "truncated":
        os.truncate(entry / "OVMF.fd", 2)
    elif harm == "no manifest":
        (entry / "build.json").unlink()
    elif harm == "no JSON":
        (entry / "build.json").write_text("[]")
    else:
        half.unlink()
        if harm == "a half as a directory":
            half.mkdir()
    assert find_image("key") is None
    add_image("key", volumes / "OVMF.fd", {})
    assert find_image("key") is not None
    assert entries(cache) == ["key"]


def test_what_a_killed_process_left_half_made_goes(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image"})
    left, fresh = (cache / "edk2" / "images" / f".incomplete-{name}" for name in ("left", "fresh"))
    for path in (left, fresh):
        path.mkdir(parents=True)
    os.utime(left, (1, 1))
    add_image("key", volumes / "OVMF.fd", {})
    assert (left.exists(), fresh.exists()) == (False, True)


def test_a_disk_that_fills_up_where_the_copy_goes(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = add_image("key", write_tree(tmp_path / "FV", {"OVMF.fd": b"image"}) / "OVMF.fd", {})
    fill_disk(monkeypatch)
    with pytest.raises(BrokenEnvironmentError, match=r"out: No space left on device: make room") as error:
        copy_image(image, tmp_path / "out")
    assert "--out" in error.value.hint


def test_an_entry_appears_when_it_is_complete(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image", "OVMF_VARS.fd": b"vars"})
    image = add_image("key", volumes / "OVMF.fd", {"source": "x"})
    found = find_image("key")
    assert found is not None
    assert (found.directory, found.manifest["source"]) == (image.directory, "x")
    assert copy_image(found, tmp_path / "out").read_bytes() == b"image"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["OVMF.fd", "OVMF_VARS.fd", "build.json"]
    assert entries(cache) == ["key"]


def test_images_of_long_ago_go(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image"})
    for number in range(images.KEPT + 2):
        directory = add_image(f"key{number}", volumes / "OVMF.fd", {}).directory
        os.utime(directory, (number, number))
    assert find_image("key2") is not None
    add_image("new", volumes / "OVMF.fd", {})
    assert "key2" in entries(cache)
    assert "key3" not in entries(cache)
    assert len(entries(cache)) == images.KEPT


def test_the_modules_debug_files_are_kept_with_the_image(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image"})
    modules = tmp_path / "X64"
    files = {
        "OvmfPkg/Sec/SecMain/DEBUG/SecMain.debug": b"sec",
        "UefiCpuPkg/CpuDxe/CpuDxe/DEBUG/CpuDxe.debug": b"one",
        "UefiCpuPkg/CpuDxe/CpuDxe2/DEBUG/CpuDxe.debug": b"two",
        "UefiCpuPkg/CpuDxe/CpuDxe/DEBUG/CpuDxe.map": b"",
        "SecMain.debug": b"a copy",
    }
    write_tree(modules, files)
    first = add_image("first", volumes / "OVMF.fd", {}, modules)
    (modules / "OvmfPkg/Sec/SecMain/DEBUG/SecMain.debug").write_bytes(b"SEC")
    second = add_image("second", volumes / "OVMF.fd", {}, modules)
    for image, sec in ((first, b"sec"), (second, b"SEC")):
        copy_image(image, tmp_path / "out")
        for directory in (image.directory / "symbols", tmp_path / "out" / "symbols"):
            assert {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.debug")} == {
                "SecMain.debug": sec,
                "CpuDxe.debug": b"one",
                "2/CpuDxe.debug": b"two",
            }
    assert (second.directory / "symbols" / "CpuDxe.debug").stat().st_nlink == 2
    add_image("none", volumes / "OVMF.fd", {})
    copy_image(BuiltImage(cache / "edk2" / "images" / "none", {}), tmp_path / "out")
    assert not (tmp_path / "out" / "symbols").exists(), "they would be those of another image"


def test_debug_files_are_kept_of_the_last_images(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image"})
    modules = write_tree(tmp_path / "X64", {"SecMain/DEBUG/SecMain.debug": b"sec"})
    for number in range(images.SYMBOLS_KEPT + 2):
        directory = add_image(f"key{number}", volumes / "OVMF.fd", {}, modules).directory
        os.utime(directory, (number, number))
    add_image("new", volumes / "OVMF.fd", {}, modules)
    kept = {path.parent.name for path in (cache / "edk2" / "images").glob("*/symbols")}
    assert kept == {"new", *(f"key{number}" for number in range(3, images.SYMBOLS_KEPT + 2))}
    assert len(entries(cache)) == images.SYMBOLS_KEPT + 3
