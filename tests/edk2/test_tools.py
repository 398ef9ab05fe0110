# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that a build needs are found, or the error names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from snp_harness.edk2.tools import ToolError, find_tools
from snp_harness.errors import FetchError
from tests.edk2.conftest import Said
from tests.edk2.trees import stand_in_tools, write_tree

pytestmark = pytest.mark.usefixtures("cache")


def script(directory: Path, name: str, text: str) -> None:
    write_tree(directory, {name: f"#!/bin/sh\n{text}\n".encode()})
    (directory / name).chmod(0o755)


def only(directory: Path, *names: str) -> str:
    """A PATH that has these programs of the machine and no others."""
    directory.mkdir()
    for name in names:
        found = shutil.which(name)
        if found is not None:
            (directory / name).symlink_to(found)
    return str(directory)


def test_where_nothing_is_missing_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    for name, value in stand_in_tools(tmp_path / "tools").items():
        monkeypatch.setenv(name, value)
    tools = find_tools(said)
    assert [version.split()[0] for version in tools.versions] == ["python", "gcc", "g++", "ld", "nasm", "iasl"]
    assert (tools.path, tools.host, said) == ((), (), [])


def test_another_tool_chain_needs_its_own_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    for name, value in stand_in_tools(tmp_path / "tools").items():
        monkeypatch.setenv(name, value)
    clang = ["clang", "ld.lld", "llvm-ar", "llvm-objcopy"]
    for name in clang:
        script(tmp_path / "clang", name, f"echo {name} 14")
    monkeypatch.setenv("PATH", str(tmp_path / "clang"), prepend=":")
    tools = find_tools(said, "CLANGDWARF")
    assert [version.split()[0] for version in tools.versions][-4:] == clang
    assert not set(clang) & {version.split()[0] for version in find_tools(said).versions}
    assert said == []


def test_what_must_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", only(tmp_path / "bin", "gcc", "ld", "objcopy"))
    with pytest.raises(ToolError, match=r"not installed: git make: .*apt-get install git make"):
        find_tools()


def test_a_compiler_without_the_c_library_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare Debian with gcc but without the packages that it recommends."""
    script(tmp_path / "bin", "gcc", "echo 'fatal error: stdio.h: No such file or directory' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{only(tmp_path / 'more', 'git', 'ld', 'objcopy', 'make')}")
    with pytest.raises(ToolError, match="gcc cannot make a program here") as error:
        find_tools()
    assert "libc6-dev" in error.value.hint


def test_a_tool_that_does_not_work_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stand_in_tools(tmp_path / "tools").items():
        monkeypatch.setenv(name, value)
    script(tmp_path / "broken", "nasm", "echo 'error while loading shared libraries' >&2; exit 127")
    monkeypatch.setenv("PATH", str(tmp_path / "broken"), prepend=":")
    with pytest.raises(ToolError, match=r"nasm does not work: error while loading"):
        find_tools()


def test_without_network_what_cannot_be_fetched_is_an_error_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    for name, value in stand_in_tools(tmp_path / "tools").items():
        monkeypatch.setenv(name, value)
    names = ("gcc", "g++", "ld", "objcopy", "make", "git", "iasl", "apt-get", "dpkg", "sh")
    monkeypatch.setenv("PATH", only(tmp_path / "bin", *names))
    monkeypatch.setenv("SNP_HARNESS_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises((FetchError, ToolError)) as error:
        find_tools(said)
    assert error.value.exit_status >= 128
    assert "\n" not in str(error.value)
