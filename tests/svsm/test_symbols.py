# SPDX-License-Identifier: GPL-2.0-or-later
"""A pc as function and offset: ELF files made by the compiler here, damaged ones, and names of Rust."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.svsm.symbols import Function, SvsmSymbols, SymbolsError, readable

TIMEOUT_S = 60
SOURCE = """
.globl _start
.type _start, @function
_start: nop
nop
ret
.size _start, . - _start
.type second, @function
second: ret
.size second, . - second
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (install gcc)")
    directory = tmp_path_factory.mktemp("symbols")
    (directory / "a.S").write_text(SOURCE)
    options = ("-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x8000000")
    subprocess.run(["gcc", *options, "-o", directory / "kernel", directory / "a.S"], check=True, timeout=TIMEOUT_S)
    return directory / "kernel"


def test_functions_of_a_linked_program(program: Path) -> None:
    symbols = SvsmSymbols.open(program)
    assert symbols.name(0x8000000) == "_start+0"
    assert symbols.name(0x8000002) == "_start+2"
    assert symbols.name(0x8000003) == "second+0"
    assert symbols.name(0x8000004) is None
    assert symbols.name(0x7FFFFFF) is None


def test_a_function_without_a_size_ends_at_the_next() -> None:
    symbols = SvsmSymbols([Function(0x2000, 0, "late"), Function(0x1000, 0, "early")])
    assert symbols.name(0x1FFF) == "early+FFF"
    assert symbols.name(0x2000) == "late+0"
    assert symbols.name(0x7FFFFFFF) is None


def test_what_is_not_an_elf_file_with_symbols(program: Path, tmp_path: Path) -> None:
    with pytest.raises(SymbolsError, match="cannot read"):
        SvsmSymbols.open(tmp_path / "none")
    (tmp_path / "text").write_text("kernel\n")
    with pytest.raises(SymbolsError, match="not an ELF file"):
        SvsmSymbols.open(tmp_path / "text")
    subprocess.run(["strip", "-o", tmp_path / "stripped", program], check=True, timeout=TIMEOUT_S)
    with pytest.raises(SymbolsError, match="stripped"):
        SvsmSymbols.open(tmp_path / "stripped")
    (tmp_path / "cut").write_bytes(program.read_bytes()[:80])
    with pytest.raises(SymbolsError, match="damaged"):
        SvsmSymbols.open(tmp_path / "cut")


@given(st.data())
def test_any_file_is_read_or_is_one_error(
    program: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(program.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(whole)
    try:
        symbols = SvsmSymbols.open(path)
    except SymbolsError:
        return
    symbols.name(0x8000000)


@pytest.mark.parametrize(
    ("mangled", "shown"),
    [
        ("svsm_main", "svsm_main"),
        ("_ZN4svsm3sev9pvalidate17h0123456789abcdefE", "svsm::sev::pvalidate"),
        ("_ZN36_$LT$svsm..io..Port$u20$as$u20$T$GT$4outb17h0123456789abcdefE", "<svsm::io::Port as T>::outb"),
        (
            "_RNvNtNtNtCsgVbbn3EmRit_17compiler_builtins4math9libm_math3cos3cos",
            "compiler_builtins::math::libm_math::cos::cos",
        ),
        ("_RNvCs15kBYyAo9fc_7mycrate7example", "mycrate::example"),
        ("_R", "_R"),
    ],
)
def test_names_of_rust(mangled: str, shown: str) -> None:
    assert readable(mangled) == shown


@given(st.text(max_size=300))
def test_any_name_is_shown_in_a_line_of_bounded_length(name: str) -> None:
    for prefix in ("", "_R", "_ZN"):
        assert len(readable(prefix + name)) <= 120
