# SPDX-License-Identifier: GPL-2.0-or-later
"""The real edk2, Debian trixie's, built, booted and bisected. Minutes each: the cache is the user's."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.history import MP_INIT_LIB, SEC, SEC_MAIN, History, Planted, make_history
from snp_harness.apic.verdict import Status
from snp_harness.debian.cache import remove
from snp_harness.edk2.build import Builder
from snp_harness.edk2.images import BuiltImage
from snp_harness.edk2.recipe import Recipe
from snp_harness.edk2.source import Source, find_source
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import ToolError, find_tools
from snp_harness.errors import EXIT_INCONCLUSIVE, FetchError
from snp_harness.firmware.image import FirmwareImage
from tests.platforms.boots import boot, check_seven

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]
COMMITS = 16


@pytest.fixture(scope="module")
def source() -> Source:
    try:
        return find_source("debian:trixie").prepared(Recipe())
    except FetchError as error:
        pytest.skip(f"the source is not in the cache and cannot be fetched: {error}")


@pytest.fixture(scope="module")
def builder() -> Builder:
    try:
        return Builder(Recipe(), find_tools(), symbols=True)
    except (FetchError, ToolError) as error:
        pytest.skip(str(error))


def edited(source: Source, path: str, before: bytes, after: bytes) -> Source:
    """The source with one edit."""
    content = source.store.read(source.tree, path)
    assert content is not None
    assert before in content
    with source.store.editing(source.tree) as editor:
        editor.write(path, content.replace(before, after, 1))
        tree = editor.tree()
    return replace(source, commit=source.store.commit(tree, "edit\n", (source.commit,)))


def forget(image: BuiltImage) -> bytes:
    """An image's content; it is no longer in the cache."""
    content = image.path.read_bytes()
    remove(image.directory)
    return content


def test_stock_firmware_is_built_and_makes_the_seven_accesses(source: Source, builder: Builder, tmp_path: Path) -> None:
    image = builder.build(source)
    result = boot(image.path, tmp_path / "run")
    assert result.verdict.status is Status.VIOLATED
    check_seven(result.timeline, vmpl=2)
    assert {place.compiled.function for place in result.sources} == {"ReadLocalApicReg", "WriteLocalApicReg"}
    assert all("/BaseXApicX2ApicLib.c" in place.compiled.file for place in result.sources)
    firmware = FirmwareImage.open(image.path)
    assert firmware.metadata is not None
    assert firmware.metadata.has_svsm_caa
    assert firmware.defects == ()


def test_sec_alone_is_what_a_complete_build_makes(source: Source, builder: Builder) -> None:
    """Also if a library of SEC has an include that is not in the makefiles of the complete build."""
    builder.build(source)
    mark = f"{os.getpid()}".encode()
    path = "OvmfPkg/Library/CcExitLib/CcExitVcHandler.c"
    first = edited(
        source, path, b'#include "CcInstruction.h"', b'#include <Library/UefiLib.h>\r\n#include "CcInstruction.h"'
    )
    one = edited(
        first, SEC_MAIN, b"IoWrite8 (0x21, 0xff);", b'IoWrite8 (0x21, 0xff); DEBUG ((DEBUG_INFO, "' + mark + b'"));'
    )
    sec = builder.build(one, sec_only=True)
    if not sec.manifest["sec_only"]:
        # Other tests may have left another tree in the workspace; now it has one with a complete build.
        forget(sec)
        sec = builder.build(one, sec_only=True)
    complete = builder.build(one)
    alone, whole = FirmwareImage.open(sec.path), FirmwareImage.open(complete.path)
    (old,), (new,) = ([m for m in image.modules if m.name == "SecMain"] for image in (alone, whole))
    assert old == new
    volumes = [image.path.read_bytes()[-0x34000:] for image in (sec, complete)]
    assert volumes[0] == volumes[1]
    assert mark in volumes[0]
    forget(complete)
    if sec.directory.exists():
        forget(sec)


def test_an_incremental_build_is_what_a_clean_one_is(source: Source, builder: Builder) -> None:
    """A change and its reversal give the same image, byte by byte."""
    stock = builder.build(source)
    content = stock.path.read_bytes()
    other = edited(source, "UefiCpuPkg/Include/Library/LocalApicLib.h", b"#ifndef", b"// changed\r\n#ifndef")
    forget(builder.build(other))
    forget(stock)
    assert builder.build(source).path.read_bytes() == content


def test_the_compilers_error_is_told(source: Source, builder: Builder) -> None:
    broken = edited(source, SEC_MAIN, b"IoWrite8 (0x21, 0xff);", b"IoWrite8 (0x21, undeclared);")
    for sec_only in (False, True):
        with pytest.raises(CompileError, match=r"SecMain\.c:\d+:\d+: error: .undeclared. undeclared"):
            builder.build(broken, sec_only=sec_only)


def without_network() -> list[str]:
    """The beginning of a command without a network; only an unreachable mirror where that is not permitted."""
    prefix = ["unshare", "--net", "--map-root-user", "--"]
    try:
        done = subprocess.run([*prefix, "true"], capture_output=True, timeout=60, check=False)
    except OSError:
        return []
    return [] if done.returncode else prefix


def test_with_a_warm_cache_no_network_is_needed(source: Source, builder: Builder, tmp_path: Path) -> None:
    """With source, tools and images in the cache: building, also again, booting and bisecting."""
    builder.build(source)
    history = make_history(tmp_path / "edk2", source, SEC, count=1, at=1)
    dead = {**os.environ, "SNP_HARNESS_DEBIAN_MIRROR": "http://127.0.0.1:9/debian"}

    def offline(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*without_network(), sys.executable, "-m", "snp_harness", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, env=dead, timeout=3600, check=False)

    done = offline("firmware", "build", "--source", "debian:trixie", "--out", str(tmp_path / "built"))
    assert done.returncode == 0, done.stderr
    image = tmp_path / "built" / "OVMF.fd"
    assert image.read_bytes() == builder.build(source).path.read_bytes()
    done = offline("run", "--quiet", "--firmware", str(image), "--out", str(tmp_path / "run"))
    assert done.returncode == 1, done.stderr
    ends = ["--good", history.commits[0], "--bad", history.commits[1], "--state", str(tmp_path / "state")]
    done = offline("bisect", "--quiet", "--repo", str(history.repository), *ends)
    assert f"first bad commit: {history.culprit}" in done.stdout, done.stderr


def bisected(history: History, planted: Planted, state: Path, status: int = 0) -> str:
    argv = [sys.executable, "-m", "snp_harness", "bisect", "--repo", str(history.repository), "--quiet"]
    argv += ["--good", history.commits[0], "--bad", history.commits[-1], "--state", str(state)]
    argv += ["--until", planted.until, "--rule", planted.rule]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


def steps(said: str) -> int:
    (line,) = (line for line in said.splitlines() if line.startswith("  steps "))
    return int(line.split()[1].rstrip(","))


@pytest.mark.parametrize(("planted", "at"), [(SEC, 11), (MP_INIT_LIB, 6)], ids=lambda value: getattr(value, "name", ""))
def test_a_planted_regression_is_found_in_log2_steps(
    source: Source, builder: Builder, tmp_path: Path, planted: Planted, at: int
) -> None:
    assert builder.build(source)
    history = make_history(tmp_path / "edk2", source, planted, count=COMMITS, at=at)
    before = subprocess.run(["git", "status", "--porcelain"], cwd=history.repository, capture_output=True, check=True)
    said = bisected(history, planted, tmp_path / "state")
    assert f"first bad commit: {history.culprit} {planted.path}" in said
    assert steps(said) <= math.ceil(math.log2(COMMITS))
    changed = [line.strip() for line in said.splitlines() if line.startswith(("  +", "  -"))]
    # An access before the first proof of a phase names none.
    phases = {name for line in changed for name in re.findall(r" \(([A-Z]+), (?:mmio|msr), ", line)}
    assert phases
    assert phases <= {"SEC", "PEI"}
    after = subprocess.run(["git", "status", "--porcelain"], cwd=history.repository, capture_output=True, check=True)
    assert before.stdout == after.stdout == b""
    # The same command again reads its log.
    assert bisected(history, planted, tmp_path / "state") == said


def test_a_commit_that_does_not_build_is_not_blamed(source: Source, builder: Builder, tmp_path: Path) -> None:
    assert builder.build(source)
    history = make_history(tmp_path / "edk2", source, SEC, count=6, at=5, broken=3)
    said = bisected(history, SEC, tmp_path / "state")
    assert f"first bad commit: {history.culprit}" in said


def test_a_commit_that_does_not_build_may_be_the_one(source: Source, builder: Builder, tmp_path: Path) -> None:
    """The one after it is bad: which of the two it is, no run can tell."""
    assert builder.build(source)
    history = make_history(tmp_path / "edk2", source, SEC, count=4, at=3, broken=2)
    said = bisected(history, SEC, tmp_path / "state", status=EXIT_INCONCLUSIVE)
    candidates = said.partition("  before ")[0]
    assert candidates.startswith("the first bad commit is one of these")
    assert [commit for commit in history.commits if commit[:12] in candidates] == [history.commits[2], history.culprit]


def test_git_bisect_run(source: Source, builder: Builder, tmp_path: Path) -> None:
    """git's own bisection, with bisect-step."""
    assert builder.build(source)
    history = make_history(tmp_path / "edk2", source, SEC, count=5, at=3)

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "bisect", *arguments],
            cwd=history.repository,
            capture_output=True,
            text=True,
            timeout=3600,
            check=False,
        )
        return done.stdout + done.stderr

    git("start", history.commits[-1], history.commits[0])
    said = git("run", sys.executable, "-m", "snp_harness", "bisect-step", "--quiet", "--out", str(tmp_path / "run"))
    assert f"{history.culprit} is the first bad commit" in said
