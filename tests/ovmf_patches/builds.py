# SPDX-License-Identifier: GPL-2.0-or-later
"""The results in ovmf_patches/builds.json, and the table of them in ovmf_patches/BUILDS.md.

`python -m tests.ovmf_patches.builds` writes the table again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from snp_harness.edk2.recipe import PLATFORMS, TARGETS, TOOLCHAINS
from tests.ovmf_patches.cells import IMAGE, MODULES, VERSIONS, Cell, series_digest
from tests.ovmf_patches.conftest import SERIES

RESULTS = SERIES.with_name("builds.json")
TABLE = SERIES.with_name("BUILDS.md")
#: A cell that was not built.
NOTHING = "not done"
#: Platforms, and what else was asked for.
VARIANTS = [
    *((platform, ()) for platform in PLATFORMS),
    ("OvmfX64", ("SMM_REQUIRE=TRUE",)),
    ("OvmfX64", ("SECURE_BOOT_ENABLE=TRUE",)),
]
_HEAD = """\
<!-- SPDX-License-Identifier: BSD-2-Clause-Patent -->
# Where the series was built, and what it did there

Written from `builds.json` by `python -m tests.ovmf_patches.builds`: do not edit it by hand.
`tests/ovmf_patches/test_builds.py` checks that the two agree, and, with the markers edk2 and long,
repeats cells. `python -m tests.ovmf_patches.record` measures those that were not measured with the
present series, the most valuable first; it can be stopped at any time, and continues with the next
cell (`--list`: what is left; `-n 1`: one job; a pattern: only such cells).
`SNP_HARNESS_EDK2_REPOSITORY` names a clone of edk2 with its tags and submodules.

Each is built with edk2's own features as `firmware build` has them: without network,
TPM, measurement and secure boot, unless a define says otherwise. Compilers: gcc 12.2 (GCC) and
clang 14.0.6 with lld (CLANGDWARF), Debian 12's.
"""
_MEASURED = """
## Measured

- **series**: digits of the SHA-256 of the series at that time, and **patches**: how many of it the
  version takes, each with all of its context lines. efd4dbdc is what was before 0018 to 0023.
- **builds**: `image` is a complete build of the patched source and of the stock one. `modules` is
  a build of the patched source's CpuMpPei, CpuDxe and LocalApicTimerDxe with their libraries, as
  far as the platform has them, with SMM_REQUIRE of PiSmmCpuDxeSmm, and SEC compiled, not linked.
  The clone of the stable tags had no submodules: main's CryptoPkg with OpenSSL replaced theirs, in
  their images, too. Of the modules none is linked with it, but edk2's `build` reads it.
- **verdict**: under Alternate Injection on the emulated SNP host, 1 vCPU, as far as the accesses
  were compared: the UEFI shell, or BDS for AmdSevX64; that of the stock image to the end of SEC.
- **accesses**: those of the stock and the patched image, compared as `diff` does, in runs without
  Alternate Injection: in an SNP guest under an SVSM, in one without, without SEV on the emulated
  host, and on QEMU's own APIC; and how far both came.
"""
_READ = """
## clang, TDX, 32 bits, SMM and other platforms

- **clang.** The images of CLANGDWARF crash in the PEI of an SNP guest, stock ones too: main, DEBUG,
  a #GP in PeiCore. TemporaryRamMigration() of OvmfPkg/Sec/SecMain.c adds the distance that the
  stack moves to RBP, as to a frame pointer. clang has another value there, PeiCore's pointer to
  SEC's hand-off, which PeiCore then moves once more. Without SEV its read beyond the memory is
  harmless. It is a mistake of edk2, not of the series: images of CLANGDWARF were measured without
  that one line (`JumpBuffer.Rbp = `), stock and patched.
- **TDX.** No TDX guest was run. IntelTdxX64 has AmdSvsmLibNull, so that no changed path is taken,
  and its SEC is not OvmfPkg's. OvmfX64's AmdSvsmLib asks CcProbe() first: only an SEV guest reads
  SEV_STATUS. CcExitLib is changed in the handler of #VC, which a TDX guest has no use for.
  Measured: IntelTdxX64's LocalApicTimerDxe, RELEASE GCC, main, is the same file with and without
  the series; CpuDxe, which has CcExitLib and MpInitLib, is not.
- **32 bits.** OvmfIa32X64 has AmdSvsmLibNull and CcExitLibNull: SEV-ES needs a PEI of 64 bits.
- **SMM.** PiSmmCpuDxeSmm has CcExitLibNull. An SNP guest has no SMM, and the harness's machines
  have none: the images with SMM_REQUIRE were booted without SEV on QEMU's own APIC, on a machine
  with SMM and flash.
- **Library classes.** edk2's `build` reads the descriptions of OvmfXen, MicrovmX64, BhyveX64,
  UefiCpuPkg and UefiPayloadPkg, with the series on main, without an error: each has an instance of
  AmdSvsmLib and what that needs.
"""
_ALL = """
## All cells

The series applies to each version whatever is built of it: `test_versions.py`. A cell that is
"not done" was not built for want of time: a complete build takes six minutes of a processor, and a
third of its files are OpenSSL, which SEC has for TDX. Digits after a word are those of an older
series. CloudHvX64's image is for Cloud Hypervisor, which is not one of the harness's platforms: its
cells cannot be more than `modules`. Each version has each platform.

"""


def load() -> list[dict[str, Any]]:
    """The measured cells."""
    cells = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert isinstance(cells, list)
    return cells


def cell_of(found: dict[str, Any]) -> Cell:
    """The cell that a result is of. Raises KeyError, FirmwareError for one that there is not."""
    cell = Cell(found["version"], found["platform"], found["target"], found["toolchain"], tuple(found["defines"]))
    assert cell.version in VERSIONS, cell
    assert cell.recipe.platform.name == cell.platform
    return cell


def render(results: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    return "".join([_HEAD, _MEASURED, "\n", *_rows(_measured(results)), _READ, _ALL, *_rows(_grid(results))])


def _measured(results: list[dict[str, Any]]) -> Iterator[list[str]]:
    yield ["version", "platform", "target, compiler", "series", "patches", "builds", "verdict", "accesses"]
    for found in sorted(results, key=_order):
        how = " ".join([found["target"], found["toolchain"], *found["defines"]])
        same: dict[str, list[str]] = {}
        for name, text in found.get("same", {}).items():
            same.setdefault(text, []).append(name)
        patches = str(found["patches"])
        yield [
            *(found["version"], found["platform"], how, found["series"], patches, found["builds"]),
            _verdicts(found),
            "; ".join(f"{text}: {', '.join(names)}" for text, names in same.items()) or "not run",
        ]


def _verdicts(found: dict[str, Any]) -> str:
    """Both verdicts in short: that of the stock image, judged to the end of SEC, without its rules."""
    if "verdict" not in found:
        return str(found.get("why", "not run"))
    return f"{found['verdict']}; stock: {found['stock verdict'].partition(':')[0]}"


def _built(found: dict[str, Any]) -> str:
    """What was built, in a word; and of which series, if it is not the present one."""
    what = found["builds"] if found["builds"] in (IMAGE, MODULES) else "fails"
    return what if found["series"] == series_digest() else f"{what} ({found['series']})"


def _grid(results: list[dict[str, Any]]) -> Iterator[list[str]]:
    columns = [(target, toolchain) for toolchain in TOOLCHAINS for target in TARGETS]
    yield ["version", "platform", *(f"{target} {toolchain}" for target, toolchain in columns)]
    built = {cell_of(found): _built(found) for found in results}
    for version in VERSIONS:
        others = []
        for platform, defines in VARIANTS:
            cells = [Cell(version, platform, target, toolchain, defines) for target, toolchain in columns]
            name = " ".join([platform, *defines])
            if any(cell in built for cell in cells):
                yield [version, name, *(built.get(cell, NOTHING) for cell in cells)]
            else:
                others.append(name)
        if others:
            name = "the others" if len(others) < len(VARIANTS) else "all"
            yield [version, name, *[NOTHING] * len(columns)]


def _rows(rows: Iterator[list[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(row)} |\n"
        if number == 0:
            yield f"|{'---|' * len(row)}\n"


def _order(found: dict[str, Any]) -> tuple[object, ...]:
    place = [*VERSIONS].index(found["version"]), [*PLATFORMS].index(found["platform"])
    return (*place, [*TOOLCHAINS].index(found["toolchain"]), TARGETS.index(found["target"]), found["defines"])


if __name__ == "__main__":
    TABLE.write_text(render(load()), encoding="utf-8")
