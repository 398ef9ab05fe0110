# SPDX-License-Identifier: GPL-2.0-or-later
"""A cell of the table in ovmf_patches/BUILDS.md: a version, built with and without the series, and what both do."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from snp_harness.apic.difference import difference
from snp_harness.apic.verdict import Status
from snp_harness.debian.cache import silent
from snp_harness.defaults import DEFAULT_SOURCE
from snp_harness.edk2.build import Builder
from snp_harness.edk2.recipe import Recipe, tool_chain
from snp_harness.edk2.series import load_series
from snp_harness.edk2.source import Repository, Source, find_source
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import find_tools
from snp_harness.edk2.workspace import Workspace
from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.platforms import tcg
from snp_harness.platforms.common import machine_arguments
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from tests.edk2.modules import build_modules
from tests.ovmf_patches.conftest import SERIES

#: Upstream's branch of development, as the table calls it.
MAIN = "main"
VERSIONS = (
    *("edk2-stable202502", "edk2-stable202505", "edk2-stable202508.01"),
    *("edk2-stable202511", "edk2-stable202602", "edk2-stable202605"),
    MAIN,
    DEFAULT_SOURCE,
)
#: Where the accesses of stock and patched firmware have to be the same, and how far they are compared.
UNCHANGED = {"alternate-injection-off": "shell", "no-svsm": "dxe", "plain": "dxe", "tcg": "shell"}
ACTIVE = "alternate-injection"
#: What was built of a cell.
IMAGE, MODULES = "image", "modules"
#: Why an image is not judged as an SNP guest.
NOT_SNP = {
    "SMM_REQUIRE=TRUE": "no SMM in an SNP guest",
    "OvmfIa32X64": "no SEV-ES with a PEI of 32 bits",
    "IntelTdxX64": "not firmware for SEV",
}
TIMEOUT_S = 900.0
SEC_MAIN = "OvmfPkg/Sec/SecMain.c"
DXE_MODULES = ("UefiCpuPkg/CpuDxe/CpuDxe.inf", "OvmfPkg/LocalApicTimerDxe/LocalApicTimerDxe.inf")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is built. defines: besides those of every build here."""

    version: str
    platform: str = "OvmfX64"
    target: str = "DEBUG"
    toolchain: str = "GCC"
    defines: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe of both builds."""
        return Recipe.of(self.platform, self.target, self.defines, self.toolchain)

    @property
    def goal(self) -> str:
        """How far the firmware boots: AmdSevX64 has a boot loader, here a replacement, in the shell's place."""
        return "bds" if self.platform == "AmdSevX64" else "shell"

    @property
    def configurations(self) -> dict[str, str]:
        """The configurations that stock and patched firmware are compared in, and until when."""
        if self.platform == "CloudHvX64":
            return {}
        chosen = UNCHANGED
        if "SMM_REQUIRE=TRUE" in self.defines or self.platform == "IntelTdxX64":
            # IntelTdxX64 has no PEI: the emulated host's record of its phases is never complete.
            chosen = {"tcg": "shell"}
        elif self.platform == "OvmfIa32X64":
            chosen = {name: UNCHANGED[name] for name in ("plain", "tcg")}
        return {name: self.goal if until == "shell" else until for name, until in chosen.items()}

    @property
    def is_snp(self) -> bool:
        """Whether it is judged as an SNP guest."""
        return "alternate-injection-off" in self.configurations

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of the platform that are linked with what the series changes, SEC aside."""
        pei = () if self.platform == "IntelTdxX64" else ("UefiCpuPkg/CpuMpPei/CpuMpPei.inf",)
        smm = ("UefiCpuPkg/PiSmmCpuDxeSmm/PiSmmCpuDxeSmm.inf",) if "SMM_REQUIRE=TRUE" in self.defines else ()
        return (*pei, *DXE_MODULES, *smm)

    @property
    def own(self) -> tuple[str, ...]:
        """The module that is not linked: SEC has OpenSSL in it, which takes as long as all the others."""
        return () if self.platform == "IntelTdxX64" else ("OvmfPkg/Sec/SecMain.inf",)

    def source(self, repository: Repository | None) -> Source:
        """Return the version's source. repository: of upstream's versions."""
        if self.version == DEFAULT_SOURCE:
            return find_source(DEFAULT_SOURCE)
        assert repository is not None
        return repository.source(repository.commit("master" if self.version == MAIN else self.version))


def patch_count(plain: Source, patched: Source) -> int:
    """Return how many patches of the series are for a version."""
    return int(plain.store.git("rev-list", "--count", f"{plain.commit}..{patched.commit}").line)


@functools.cache
def series_digest() -> str:
    """Return digits that stand for the series as it is."""
    return hashlib.sha256(b"".join(patch.content for patch in load_series(SERIES))).hexdigest()[:8]


def measure(cell: Cell, repository: Repository | None, out: Path, jobs: int = 0) -> dict[str, Any]:
    """Apply, build and boot; returns what the table says of the cell. Raises PatchError if a patch does not apply."""
    plain = cell.source(repository)
    patched = plain.with_series(load_series(SERIES))
    found: dict[str, Any] = {"series": series_digest(), "patches": patch_count(plain, patched)}
    builder = Builder(cell.recipe, find_tools(silent, cell.toolchain), jobs=jobs)
    images = {}
    for name, source in {"patched": patched, "stock": plain}.items():
        prepared = source.prepared(cell.recipe)
        try:
            images[name] = builder.build(with_rbp_kept(prepared) if cell.toolchain == "CLANGDWARF" else prepared).path
        except CompileError as error:
            return {**found, "builds": f"{name}: {error.message}"}
    found["builds"] = IMAGE
    if cell.is_snp:
        found["verdict"] = verdict(boot(cell, images["patched"], ACTIVE, cell.goal, out))
        found["stock verdict"] = verdict(boot(cell, images["stock"], ACTIVE, "sec", out))
    else:
        found["why"] = NOT_SNP["SMM_REQUIRE=TRUE" if "SMM_REQUIRE=TRUE" in cell.defines else cell.platform]
    found["same"] = {name: compared(cell, images, name, until, out) for name, until in cell.configurations.items()}
    return found


def with_rbp_kept(source: Source) -> Source:
    """Return the source without what makes clang's stock firmware crash in an SNP guest (BUILDS.md)."""
    with source.store.editing(source.tree) as editor:
        content = source.store.read(source.tree, SEC_MAIN)
        assert content is not None
        kept = [line for line in content.splitlines(keepends=True) if not line.strip().startswith(b"JumpBuffer.Rbp =")]
        editor.write(SEC_MAIN, b"".join(kept))
        tree = editor.tree()
    assert tree != source.tree
    return replace(source, commit=source.store.commit(tree, "Keep RBP\n", (source.commit,)))


def compiled(cell: Cell, repository: Repository | None, directory: Path, jobs: int = 0) -> dict[str, Any]:
    """Apply, and build the modules that the series is in. directory: of the workspace, of one version's cells."""
    plain = cell.source(repository)
    with_series = plain.with_series(load_series(SERIES))
    patched = with_series.prepared(cell.recipe)
    chain = tool_chain(patched.store, patched.tree, cell.toolchain)
    workspace = Workspace(directory, patched.store, cell.recipe, chain)
    found: dict[str, Any] = {"series": series_digest(), "patches": patch_count(plain, with_series)}
    try:
        build_modules(workspace, patched.tree, cell.modules, cell.own, find_tools(silent, cell.toolchain), jobs or 1)
    except CompileError as error:
        return {**found, "builds": error.message}
    return {**found, "builds": MODULES}


def boot(cell: Cell, image: Path, configuration: str, until: str, out: Path) -> RunResult:
    """One run. Instructions are counted, so that two boots differ by the firmware only."""
    platform, svsm = ("tcg", SvsmConfig()) if configuration == "tcg" else ("emulated", load_config(configuration))
    spec = RunSpec(image, svsm=svsm, until=until, icount=True, timeout_s=TIMEOUT_S)
    with with_smm(image) if "SMM_REQUIRE=TRUE" in cell.defines else contextlib.nullcontext():
        return run(spec, platform, out / f"{configuration}-{image.parent.name}")


def with_smm(image: Path) -> contextlib.AbstractContextManager[object]:
    """Runs on QEMU's own APIC are on a machine with SMM, and flash: firmware with SMM_REQUIRE insists on both.

    The harness has no such machine, and refuses these arguments of a user.
    """
    added = ("-machine", "smm=on", "-drive", f"if=pflash,unit=0,format=raw,snapshot=on,file={image}")
    return mock.patch.object(
        tcg, "machine_arguments", lambda *args, **kwargs: [*machine_arguments(*args, **kwargs), *added]
    )


def verdict(result: RunResult) -> str:
    """Return the verdict, with the rules that do not hold."""
    broken = [found.rule for found in result.verdict.results if found.status is not Status.HOLDS]
    end = "" if result.timeline.complete else f"; incomplete: {result.error or result.timeline.gaps}"
    return f"{result.verdict.status.value}{': ' if broken else ''}{', '.join(broken)}{end}"


def compared(cell: Cell, images: dict[str, Path], configuration: str, until: str, out: Path) -> str:
    """Return whether stock and patched firmware made the same accesses, and until when; else what differs."""
    stock, patched = (boot(cell, images[name], configuration, until, out) for name in ("stock", "patched"))
    for name, result in {"stock": stock, "patched": patched}.items():
        if result.error is not None or not result.timeline.complete:
            return f"{name} does not come to {until}: {result.error or result.timeline.gaps}"
    found = difference(stock.timeline, patched.timeline)
    return f"same to {until}" if found.empty else f"differs: {found.marks}"
