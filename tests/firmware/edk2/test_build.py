# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds: cache, interrupts, errors. `build` is a small script here; test_real.py has the real one."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.errors import BrokenEnvironmentError
from harness.firmware.edk2 import images, workspace
from harness.firmware.edk2.build import Builder
from harness.firmware.edk2.errors import CompileError
from harness.firmware.edk2.images import add_image, copy_image, find_image
from harness.firmware.edk2.recipe import Recipe
from harness.firmware.edk2.runner import first_error, run_logged
from harness.firmware.edk2.source import Source, directory_source
from harness.firmware.edk2.tools import ToolError, Tools
from harness.firmware.errors import FetchError
from tests.firmware.edk2.conftest import Said
from tests.firmware.edk2.trees import LANDMARKS, write_tree

TOOLS = Tools(("gcc 1",))
#: Makes an image of the code and its options, names modules as edk2 does, and fails where the code says so.
BUILD = b"""#!/bin/sh
echo "Building ... $WORKSPACE/Pkg/Sec.inf [X64]"
echo "Building ... $WORKSPACE/Pkg/Dxe.inf [X64]"
if grep -q error Pkg/code.c; then sed 's/^/Pkg\\/code.c:/' Pkg/code.c; exit 1; fi
[ ! -e Pkg/slow ] || { echo $$ > "$WORKSPACE/pid"; sleep 60; }
mkdir -p Build/OvmfX64/DEBUG_GCC5/FV
cat Pkg/code.c > Build/OvmfX64/DEBUG_GCC5/FV/OVMF.fd
echo "$@" "$SECRET" >> Build/OvmfX64/DEBUG_GCC5/FV/OVMF.fd
echo x >> "$WORKSPACE/builds"
"""
GENFV = b"all:\n\tmkdir -p bin; touch bin/GenFv; echo y >> $(WORKSPACE)tools\n"
FILES = {
    **LANDMARKS,
    "BaseTools/Source/C/GNUmakefile": GENFV,
    "BaseTools/BinWrappers/PosixLike/build": BUILD,
    "Pkg/code.c": b"code\r\n",
}


@pytest.fixture
def edk2(tmp_path: Path, cache: Path) -> Path:
    assert cache
    directory = write_tree(tmp_path / "edk2", FILES)
    (directory / "BaseTools/BinWrappers/PosixLike/build").chmod(0o755)
    return directory


def source(edk2: Path, **files: bytes) -> Source:
    write_tree(edk2, {f"Pkg/{name.replace('_', '.')}": data for name, data in files.items()})
    return directory_source(edk2).prepared(Recipe())


def built(cache: Path) -> int:
    (file,) = cache.glob("edk2/work/*/source/builds")
    return len(file.read_text().splitlines())


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("edk2/images/*"))


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


def test_what_decides_an_image_is_in_its_name(edk2: Path) -> None:
    one = source(edk2)
    keys = {
        Builder(Recipe(), TOOLS).key(one),
        Builder(Recipe(), TOOLS).key(one, sec_only=True),
        Builder(Recipe(), Tools(("gcc 2",))).key(one),
        Builder(Recipe.of(target="RELEASE"), TOOLS).key(one),
        Builder(Recipe.of(defines=("TPM2_ENABLE=TRUE",)), TOOLS).key(one),
        Builder(Recipe(), TOOLS, slot=1).key(one),
        Builder(Recipe(), TOOLS).key(source(edk2, code_c=b"other\r\n")),
    }
    assert len(keys) == 7


def test_the_callers_variables_do_not_reach_the_build(edk2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "leaked")
    monkeypatch.setenv("WORKSPACE", "/elsewhere")
    assert b"leaked" not in Builder(Recipe(), TOOLS).build(source(edk2)).path.read_bytes()


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
    assert said.has("edk2's own tools have changed: building everything anew")
    assert built(cache) == 1


def test_other_tools_build_everything_anew(edk2: Path, cache: Path, said: Said) -> None:
    Builder(Recipe(), TOOLS).build(source(edk2))
    Builder(Recipe(), Tools(("gcc 2",)), said).build(source(edk2))
    assert said.has("the tools have changed: building everything anew")
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


def test_an_interrupt_ends_the_build_and_leaves_no_entry(edk2: Path, cache: Path) -> None:
    def interrupt() -> None:
        while not list(cache.glob("edk2/work/*/source/pid")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    slow = source(edk2, slow=b"")
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        Builder(Recipe(), TOOLS).build(slow)
    (pid,) = cache.glob("edk2/work/*/source/pid")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert entries(cache) == []
    (edk2 / "Pkg" / "slow").unlink()
    assert Builder(Recipe(), TOOLS).build(source(edk2)).path.is_file()


def test_a_full_disk_leaves_no_entry(edk2: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    one = source(edk2)
    with monkeypatch.context() as patched:
        patched.setattr("harness.firmware.edk2.images.shutil.copyfile", full)
        with pytest.raises(FetchError, match="No space left on device"):
            Builder(Recipe(), TOOLS).build(one)
    assert entries(cache) == []


def test_a_full_disk_is_not_the_sources_fault(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="the disk is full"):
        run_logged(
            ("sh", "-c", "echo x.c:1:2: fatal error: error writing to y: No space left on device; exit 1"),
            log=tmp_path / "log",
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
        )


@pytest.mark.parametrize(
    "said",
    [
        "gcc: fatal error: Killed signal terminated program cc1",
        "make[1]: *** [GNUmakefile:9: /x/a.obj] Terminated",
        "make: *** [GNUmakefile:9: /x/a.obj] Error 137",
    ],
)
def test_a_killed_compiler_is_not_the_sources_fault(tmp_path: Path, said: str) -> None:
    with pytest.raises(ToolError, match="was killed"):
        run_logged(
            ("sh", "-c", 'echo "$0"; exit 1', said),
            log=tmp_path / "log",
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
        )


def test_a_build_that_hangs_is_ended(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"did not end within 0\.3 s"):
        run_logged(
            ("sh", "-c", "sleep 3600"),
            log=tmp_path / "log",
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
            timeout_s=0.3,
        )
    assert time.monotonic() - started < 1800


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("noise\n/x/a.c:3:5: error: ‘y’ undeclared\nmake: *** [x] Error 1\n", "/x/a.c:3:5: error: ‘y’ undeclared"),
        ("/x/a.c:3:5: warning: z\nb.nasm:7: error: parser: instruction expected\n", "b.nasm:7: error: parser: instr"),
        (
            "/usr/bin/ld: a.o: undefined reference to `f'\ncollect2: error: ld returned 1\n",
            "undefined reference to `f'",
        ),
        (
            "build.py...\n : error 4000: Instance of library class [X] is not found\n\tin [a.inf]\n",
            "Instance of library",
        ),
        ("make[1]: *** [GNUmakefile:9: tbuild] Error 2\nlast\n", "make[1]: *** [GNUmakefile:9: tbuild] Error 2"),
        ("one\n\nlast words\n\n", "last words"),
        ("", "it said nothing"),
    ],
)
def test_the_first_error_that_says_most(said: str, error: str) -> None:
    assert first_error(said).startswith(error)


def test_an_entry_appears_when_it_is_complete(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image", "OVMF_VARS.fd": b"vars"})
    image = add_image("key", volumes, {"source": "x"})
    found = find_image("key")
    assert found is not None
    assert (found.directory, found.manifest["source"]) == (image.directory, "x")
    assert copy_image(found, tmp_path / "out").read_bytes() == b"image"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["OVMF.fd", "OVMF_VARS.fd", "build.json"]
    assert entries(cache) == ["key"]


def test_images_of_long_ago_go(cache: Path, tmp_path: Path) -> None:
    volumes = write_tree(tmp_path / "FV", {"OVMF.fd": b"image"})
    for number in range(images.KEPT + 2):
        directory = add_image(f"key{number}", volumes, {}).directory
        os.utime(directory, (number, number))
    assert find_image("key2") is not None
    add_image("new", volumes, {})
    assert "key2" in entries(cache)
    assert "key3" not in entries(cache)
    assert len(entries(cache)) == images.KEPT


def test_two_builds_of_the_same_wait_for_each_other(edk2: Path, said: Said) -> None:
    one = source(edk2)
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with workspace.held(one.store, Recipe(), "GCC5", said):
            holding.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(10)
    threading.Timer(0.3, release.set).start()
    assert Builder(Recipe(), TOOLS, said).build(one).path.is_file()
    thread.join()
    assert said.has("waiting for another process")


def test_workspaces_of_long_ago_go_and_those_in_use_stay(edk2: Path, cache: Path, said: Said) -> None:
    store = source(edk2).store
    with workspace.held(store, Recipe(), "GCC5", said, 99):
        for slot in range(1, workspace.KEPT + 4):
            with workspace.held(store, Recipe(), "GCC5", said, slot):
                pass
    slots = {path.name.rpartition("-")[2] for path in cache.glob("edk2/work/*")}
    assert "99" in slots
    assert len(slots) <= workspace.KEPT + 1
    assert "1" not in slots


def test_environment_errors_are_not_about_the_source() -> None:
    assert issubclass(ToolError, BrokenEnvironmentError)
    assert not issubclass(CompileError, BrokenEnvironmentError)
