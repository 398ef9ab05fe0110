# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds: workspaces, interrupts, errors. `build` is a small script here; test_real.py has the real one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from snp_harness.debian.cache import remove
from snp_harness.edk2 import workspaces
from snp_harness.edk2.build import Builder
from snp_harness.edk2.images import find_image
from snp_harness.edk2.recipe import Platform, Recipe
from snp_harness.edk2.source import Source, directory_source
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import ToolError, Tools
from snp_harness.errors import BrokenEnvironmentError, FetchError
from tests.edk2.cached import entries, fill_disk
from tests.edk2.conftest import Said
from tests.edk2.trees import write_tree, write_with_build
from tests.vm.processes import fifo, is_running, line_of, wait_for_end

TOOLS = Tools(("gcc 1",))
#: Seconds that anything here may take on any machine.
MOST_S = 300
#: Makes an image of the code and its options, names modules as edk2 does, and fails if the code contains "error".
#: Pkg/slow: it does not end, but writes its process to the FIFO named there. If it is killed it leaves half a file.
#: The target genc, which precedes the compilation of edk2's tools, only reads the description.
BUILD = b"""#!/bin/sh
case "$*" in *genc) ! grep mistake OvmfPkg/OvmfPkgX64.dsc; exit;; esac
echo "Building ... $WORKSPACE/Pkg/Sec.inf [X64]"
echo "Building ... $WORKSPACE/Pkg/Dxe.inf [X64]"
if grep -q error Pkg/code.c; then sed 's/^/Pkg\\/code.c:/' Pkg/code.c; exit 1; fi
half=Build/OvmfX64/DEBUG_GCC5/half.obj
if [ -e $half ]; then echo "ld: $half: file format not recognized"; exit 1; fi
mkdir -p Build/OvmfX64/DEBUG_GCC5/FV
[ ! -e Pkg/slow ] || { touch $half; echo $$ > "$(cat Pkg/slow)"; sleep 3600; }
cat Pkg/code.c > Build/OvmfX64/DEBUG_GCC5/FV/OVMF.fd
echo "$@" "$SECRET" >> Build/OvmfX64/DEBUG_GCC5/FV/OVMF.fd
echo x >> "$WORKSPACE/builds"
"""
GENFV = b"all:\n\tmkdir -p bin; touch bin/GenFv; echo y >> $(WORKSPACE)tools\n"


@pytest.fixture
def edk2(tmp_path: Path, cache: Path) -> Path:
    return write_with_build(
        tmp_path / "edk2", BUILD, {"BaseTools/Source/C/GNUmakefile": GENFV, "Pkg/code.c": b"code\r\n"}
    )


def source(edk2: Path, **files: bytes) -> Source:
    write_tree(edk2, {f"Pkg/{name.replace('_', '.')}": data for name, data in files.items()})
    return directory_source(edk2).prepared(Recipe())


def built(cache: Path) -> int:
    (file,) = cache.glob("edk2/work/*/source/builds")
    return len(file.read_text().splitlines())


def test_an_image_is_built_once_for_each_content(edk2: Path, cache: Path) -> None:
    seen: list[tuple[int, str]] = []
    builder = Builder(Recipe(), TOOLS, module=lambda count, name: seen.append((count, name)))
    first = builder.build(source(edk2))
    assert first.path.read_bytes().startswith(b"code\r\n-p OvmfPkg/OvmfPkgX64.dsc -a X64 -b DEBUG -t GCC5 -n ")
    assert seen == [(1, "Sec"), (2, "Dxe")]
    assert not first.cached
    again = builder.build(source(edk2))
    assert (again.path, again.cached, built(cache)) == (first.path, True, 1)
    second = builder.build(source(edk2, code_c=b"other\r\n"))
    assert second.path.read_bytes().startswith(b"other\r\n")
    assert (builder.build(source(edk2, code_c=b"code\r\n")).path, built(cache)) == (first.path, 2)
    assert entries(cache) == sorted([first.directory.name, second.directory.name])


def test_an_image_without_its_debug_files_is_built_again_where_they_are_wanted(edk2: Path, cache: Path) -> None:
    """A bisection wants none, and is not slowed down by them."""
    plain, with_symbols = Builder(Recipe(), TOOLS), Builder(Recipe(), TOOLS, symbols=True)
    assert not plain.build(source(edk2)).has_symbols
    image = with_symbols.build(source(edk2))
    assert (image.has_symbols, image.cached, built(cache)) == (True, False, 2)
    for builder in (plain, with_symbols):
        assert builder.build(source(edk2)).has_symbols
    assert built(cache) == 2
    remove(image.directory / "symbols")
    assert with_symbols.build(source(edk2)).has_symbols
    assert built(cache) == 3


def test_what_decides_an_image_is_in_its_name(edk2: Path) -> None:
    one = source(edk2)
    keys = {
        Builder(Recipe(), TOOLS).key(one),
        Builder(Recipe(), TOOLS).key(one, sec_only=True),
        Builder(Recipe(), Tools(("gcc 2",))).key(one),
        Builder(Recipe.of(target="RELEASE"), TOOLS).key(one),
        Builder(Recipe.of(defines=("TPM2_ENABLE=TRUE",)), TOOLS).key(one),
        Builder(Recipe.of(toolchain="CLANGDWARF"), TOOLS).key(one),
        Builder(Recipe(), TOOLS, slot=1).key(one),
        Builder(Recipe(), TOOLS).key(source(edk2, code_c=b"other\r\n")),
    }
    assert len(keys) == 8


def test_a_platform_of_two_architectures_with_an_image_of_another_name(edk2: Path) -> None:
    place = "Build/Other/NOOPT_CLANGDWARF/FV"
    script = f'#!/bin/sh\nmkdir -p {place}\necho "$@" > {place}/OTHER.fd\n'.encode()
    more = {
        "BaseTools/BinWrappers/PosixLike/build": script,
        "BaseTools/Conf/tools_def.template": b"*_CLANGDWARF_*_*_FAMILY = GCC\r\n",
    }
    write_tree(edk2, more)
    dsc, fdf = "OvmfPkg/OvmfPkgX64.dsc", "OvmfPkg/OvmfPkgX64.fdf"
    platform = Platform("Other", dsc, fdf, "Build/Other", 1, ("IA32", "X64"), "OTHER.fd")
    recipe = Recipe(platform, "NOOPT", (), "CLANGDWARF")
    image = Builder(recipe, TOOLS).build(directory_source(edk2).prepared(recipe))
    assert image.path.name == "OVMF.fd"
    assert image.path.read_bytes().startswith(f"-p {dsc} -a IA32 -a X64 -b NOOPT -t CLANGDWARF -n ".encode())
    assert image.manifest["tool_chain"] == "CLANGDWARF"


def test_the_callers_variables_do_not_reach_the_build(edk2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    monkeypatch.setenv("WORKSPACE", "/elsewhere")
    assert b"leaked" not in Builder(Recipe(), TOOLS).build(source(edk2)).path.read_bytes()


def test_nothing_is_written_through_the_users_links(edk2: Path, tmp_path: Path) -> None:
    """Build/ in .gitignore, as edk2 has it, is about directories; a faster disk is what such a link is for."""
    for name in ("Build", "Conf"):
        theirs = tmp_path / f"users-{name}"
        theirs.mkdir()
        (edk2 / name).symlink_to(theirs)
    (edk2 / ".gitignore").write_text("Build/\n")
    (edk2 / "Pkg" / "inside").symlink_to("../Pkg/code.c")
    image = Builder(Recipe(), TOOLS).build(source(edk2))
    assert image.path.is_file()
    assert [*tmp_path.glob("users-*/*")] == []
    kept = source(edk2)
    assert kept.store.read(kept.tree, "Pkg/inside") == b"../Pkg/code.c"


@pytest.mark.parametrize("name", ["two words", "a$b", "a:b", "quote'", "hash#", "100%", "a=b"])
def test_a_cache_that_edk2_cannot_be_built_in_is_not_the_sources_fault(
    edk2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    with pytest.raises(ToolError, match="edk2 cannot be built in "):
        Builder(Recipe(), TOOLS).build(source(edk2))


def test_a_compilers_error_is_named_and_nothing_is_cached(edk2: Path, cache: Path) -> None:
    with pytest.raises(CompileError, match=r"does not build: Pkg/code\.c:1: error: no such thing"):
        Builder(Recipe(), TOOLS).build(source(edk2, code_c=b"1: error: no such thing\n"))
    assert entries(cache) == []
    assert Builder(Recipe(), TOOLS).build(source(edk2, code_c=b"mended\n")).path.is_file()


def test_edk2s_tools_are_compiled_once_and_again_when_they_change(edk2: Path, cache: Path, said: Said) -> None:
    builder = Builder(Recipe(), TOOLS, said)
    builder.build(source(edk2))
    builder.build(source(edk2, code_c=b"other\r\n"))
    assert len([text for text in said if "own tools" in text]) == 1
    write_tree(edk2, {"BaseTools/Source/C/new.c": b"x"})
    builder.build(source(edk2))
    assert said.has("edk2's own tools have changed: building everything again")
    assert built(cache) == 1


def test_a_mistake_in_the_description_is_found_before_edk2s_tools_are_compiled(edk2: Path, said: Said) -> None:
    write_tree(edk2, {"OvmfPkg/OvmfPkgX64.dsc": b"OvmfPkgX64.dsc(7): error F001: a mistake\n"})
    with pytest.raises(CompileError, match="a mistake"):
        Builder(Recipe(), TOOLS, said).build(source(edk2))
    assert not said.has("own tools")
    write_tree(edk2, {"OvmfPkg/OvmfPkgX64.dsc": b"[Defines]\n"})
    assert Builder(Recipe(), TOOLS, said).build(source(edk2)).path.is_file()
    assert said.has("own tools")


def test_submodules_that_are_not_there_are_named(edk2: Path) -> None:
    wanting = dataclasses.replace(source(edk2, code_c=b"1: error: no such file\n"), missing=("Pkg/one", "Pkg/two"))
    with pytest.raises(CompileError, match="submodules that are not there: Pkg/one, Pkg/two") as caught:
        Builder(Recipe(), TOOLS).build(wanting)
    assert "git submodule update --init" in caught.value.hint


def test_other_tools_build_everything_anew(edk2: Path, cache: Path, said: Said) -> None:
    Builder(Recipe(), TOOLS).build(source(edk2))
    Builder(Recipe(), Tools(("gcc 2",)), said).build(source(edk2))
    assert said.has("the tools have changed: building everything again")
    assert built(cache) == 1


def test_a_file_that_somebody_changed_in_the_workspace_is_written_again(edk2: Path, cache: Path) -> None:
    Builder(Recipe(), TOOLS).build(source(edk2))
    (code,) = cache.glob("edk2/work/*/source/Pkg/code.c")
    code.write_bytes(b"evil\r\n")
    image = Builder(Recipe.of(), TOOLS).build(source(edk2, x_c=b"new file"))
    assert image.path.read_bytes().startswith(b"code\r\n")


def test_an_image_that_rots_is_built_again(edk2: Path) -> None:
    builder = Builder(Recipe(), TOOLS)
    image = builder.build(source(edk2))
    image.path.write_bytes(b"rotten")
    assert find_image(image.directory.name) is None
    assert builder.build(source(edk2)).path.read_bytes().startswith(b"code")


def test_an_interrupt_ends_the_build_and_leaves_no_entry(edk2: Path, cache: Path, tmp_path: Path) -> None:
    pipe = fifo(tmp_path / "pid")
    builds: list[int] = []

    def interrupt() -> None:
        builds.append(int(line_of(pipe, MOST_S)))
        os.kill(os.getpid(), signal.SIGINT)

    slow = source(edk2, slow=bytes(pipe))
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        Builder(Recipe(), TOOLS).build(slow)
    assert wait_for_end(builds[0], MOST_S)
    assert entries(cache) == []
    (edk2 / "Pkg" / "slow").unlink()
    assert Builder(Recipe(), TOOLS).build(source(edk2)).path.is_file()


def test_a_full_disk_leaves_no_entry(edk2: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = source(edk2)
    with monkeypatch.context() as patched:
        fill_disk(patched)
        with pytest.raises(FetchError, match="No space left on device"):
            Builder(Recipe(), TOOLS).build(one)
    assert entries(cache) == []


def test_who_waited_for_the_same_takes_what_was_built(edk2: Path, cache: Path) -> None:
    """Two builders start together: neither finds it in the cache, and it is built once."""
    one = source(edk2)
    together = threading.Barrier(2, timeout=MOST_S)

    def build() -> None:
        builder = Builder(Recipe(), TOOLS)
        assert find_image(builder.key(one)) is None
        together.wait()
        builder.build(one)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(MOST_S)
    assert built(cache) == 1


#: Builds, in a process that is killed.
KILLED = """
import sys
from pathlib import Path
from snp_harness.edk2.build import Builder
from snp_harness.edk2.recipe import Recipe
from snp_harness.edk2.source import directory_source
from snp_harness.edk2.tools import Tools
Builder(Recipe(), Tools(("gcc 1",))).build(directory_source(Path(sys.argv[1])).prepared(Recipe()))
"""


def test_what_a_killed_harness_left_running_does_not_meet_the_next_build(edk2: Path, tmp_path: Path) -> None:
    """The build ends with the harness; a compiler that it started would go on, and write into the next one's files."""
    pipe = fifo(tmp_path / "child")
    child = f"(trap '' TERM; exec sh -c 'echo $$ > {pipe}; exec sleep 3600') & wait"
    script = BUILD.replace(b"sleep 3600", child.encode())
    write_tree(edk2, {"BaseTools/BinWrappers/PosixLike/build": script, "Pkg/slow": b"/dev/null"})
    with subprocess.Popen([sys.executable, "-c", KILLED, edk2], cwd=Path(__file__).parents[2]) as killed:
        pid = int(line_of(pipe, MOST_S))
        killed.kill()
    assert is_running(pid)
    (edk2 / "Pkg" / "slow").unlink()
    image = Builder(Recipe(), TOOLS).build(source(edk2))
    assert image.path.read_bytes().startswith(b"code")
    assert not is_running(pid)


def test_a_workspace_that_is_removed_while_it_is_waited_for_is_made_again(edk2: Path, said: Said) -> None:
    one = source(edk2)
    directory = workspaces.workspace_directory(Recipe())
    with contextlib.ExitStack() as stack:
        stack.enter_context(workspaces.held(one.store, Recipe(), "GCC5", said))
        thread = threading.Thread(target=lambda: said.append(str(Builder(Recipe(), TOOLS, said).build(one).path)))
        thread.start()
        assert said.wait_for("waiting for another process", MOST_S)
        directory.rename(directory.with_name("elsewhere"))
    thread.join(MOST_S)
    assert Path(said[-1]).is_file()
    assert (directory / "source").is_dir()


def test_two_builds_of_the_same_wait_for_each_other(edk2: Path, said: Said) -> None:
    one = source(edk2)
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with workspaces.held(one.store, Recipe(), "GCC5", said):
            holding.set()
            release.wait(MOST_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(MOST_S)

    def say(text: str) -> None:
        said.append(text)
        if "waiting for another process" in text:
            release.set()

    assert Builder(Recipe(), TOOLS, say).build(one).path.is_file()
    thread.join()
    assert said.has("waiting for another process")


def test_workspaces_of_long_ago_go_and_those_in_use_stay(edk2: Path, cache: Path, said: Said) -> None:
    store = source(edk2).store
    with workspaces.held(store, Recipe(), "GCC5", said, 99):
        for slot in range(1, workspaces.KEPT + 4):
            with workspaces.held(store, Recipe(), "GCC5", said, slot):
                pass
    slots = {path.name.rpartition("-")[2] for path in cache.glob("edk2/work/*")}
    assert "99" in slots
    assert len(slots) <= workspaces.KEPT + 1
    assert "1" not in slots


def test_environment_errors_are_not_about_the_source() -> None:
    assert issubclass(ToolError, BrokenEnvironmentError)
    assert not issubclass(CompileError, BrokenEnvironmentError)
