# SPDX-License-Identifier: GPL-2.0-or-later
"""ELF files made by the compiler here, and damaged ones."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.tools.initramfs.elf import Dynamic, ElfError, dynamic, function_offset, module_info

TIMEOUT_S = 60


def compiled(directory: Path, source: str, *options: str) -> bytes:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (install gcc)")
    (directory / "a.S").write_text(source)
    subprocess.run(
        ["gcc", "-nostdlib", *options, "-o", directory / "out", directory / "a.S"], check=True, timeout=TIMEOUT_S
    )
    return (directory / "out").read_bytes()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("elf")
    compiled(directory, ".globl f\nf: ret\n", "-shared", "-Wl,-soname,libneeded.so.7")
    (directory / "out").rename(directory / "libneeded.so")
    options = ("-shared", "-Wl,--no-as-needed", f"-L{directory}", "-lneeded", "-Wl,-rpath,/one:/two")
    compiled(directory, ".globl g\ng: jmp f@plt\n", *options)
    return directory / "out"


def test_needed_and_search(library: Path) -> None:
    assert dynamic(library.read_bytes(), "a") == Dynamic(("libneeded.so.7",), ("/one", "/two"))


def test_static_program_needs_nothing(tmp_path: Path) -> None:
    assert dynamic(compiled(tmp_path, ".globl _start\n_start: ret\n", "-static", "-no-pie"), "a") == Dynamic((), ())


@pytest.mark.parametrize("program", ["/bin/sh", "/usr/bin/gcc"])
def test_as_readelf_reads(program: str) -> None:
    path = Path(program)
    if shutil.which("readelf") is None or not path.exists():
        pytest.skip("readelf is not installed (install binutils)")
    said = subprocess.run(
        ["readelf", "-dW", path], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    ).stdout
    assert list(dynamic(path.read_bytes(), program).needed) == re.findall(r"\(NEEDED\).*\[(.*)\]", said)


def test_module_info(tmp_path: Path) -> None:
    text = '.section .modinfo, "a"\n.asciz "depends=kvm,irq-bypass"\n.asciz "name=kvm_amd"\n.asciz "depends=second"\n'
    module = compiled(tmp_path, text, "-r")
    assert module_info(module, "m") == {"depends": ["kvm,irq-bypass", "second"], "name": ["kvm_amd"]}
    assert module_info(compiled(tmp_path, "ret\n", "-r"), "m") == {}


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x01\x01\x01" + bytes(80), b"MZ" + bytes(200)])
def test_no_elf(data: bytes) -> None:
    with pytest.raises(ElfError, match="damaged"):
        dynamic(data, "a")
    with pytest.raises(ElfError, match="damaged"):
        module_info(data, "a")


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12), st.integers(0, 20000))
def test_damaged_files_raise_nothing_else(library: Path, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(library.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    for read in (dynamic, module_info, lambda data, name: function_offset(data, "g", name)):
        try:
            read(bytes(data[: max(length, 100)]), "a")
        except ElfError:
            continue
