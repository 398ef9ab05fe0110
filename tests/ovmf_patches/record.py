# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures cells of the table in ovmf_patches/BUILDS.md: `python -m tests.ovmf_patches.record [PATTERN...]`.

Those of the plan that were not measured with the present series are measured, one after the other, and each is written
at once: it can be stopped, and continues where it was. PATTERN, as a shell's, chooses names of those that it prints
with --list. SNP_HARNESS_EDK2_REPOSITORY names a clone of edk2 with its tags and submodules.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snp_harness.debian.cache import cache_root, make_directory, remove
from snp_harness.defaults import DEFAULT_SOURCE
from snp_harness.edk2.git import PatchError
from snp_harness.edk2.recipe import TARGETS, TOOLCHAINS
from snp_harness.edk2.source import Repository
from snp_harness.edk2.source_errors import SourceError
from tests.edk2.trees import upstream_repository
from tests.ovmf_patches import builds
from tests.ovmf_patches.cells import IMAGE, MAIN, MODULES, VERSIONS, Cell, compiled, measure, series_digest

#: Complete builds that are judged and compared, the most valuable first.
IMAGES = (
    Cell(MAIN),
    Cell(MAIN, target="RELEASE"),
    Cell(MAIN, "AmdSevX64"),
    Cell(MAIN, toolchain="CLANGDWARF"),
    Cell(MAIN, target="NOOPT"),
    Cell(MAIN, defines=("SMM_REQUIRE=TRUE",)),
    Cell(MAIN, defines=("SECURE_BOOT_ENABLE=TRUE",)),
    Cell(MAIN, "IntelTdxX64"),
    Cell(MAIN, "OvmfIa32X64"),
    *(Cell(version) for version in reversed(VERSIONS) if version != MAIN),
    Cell(DEFAULT_SOURCE, target="RELEASE"),
    Cell(DEFAULT_SOURCE, "AmdSevX64"),
)


def plan() -> Iterator[tuple[str, Cell]]:
    """What is measured of which cell, in this order."""
    yield from ((IMAGE, cell) for cell in IMAGES)
    for version in reversed(VERSIONS):
        cells = [
            *(Cell(version, target=target, toolchain=toolchain) for toolchain in TOOLCHAINS for target in TARGETS),
            *(Cell(version, platform, defines=defines) for platform, defines in builds.VARIANTS),
        ]
        yield from ((MODULES, cell) for cell in dict.fromkeys(cells) if cell not in IMAGES)


def name(what: str, cell: Cell) -> str:
    """The name of a part of the plan."""
    return "-".join([what, cell.version, cell.platform, cell.target, cell.toolchain, *cell.defines])


def is_done(what: str, cell: Cell, results: list[dict[str, Any]]) -> bool:
    """Whether a cell was measured with the present series. An image has the modules in it."""
    found = next((found for found in results if builds.cell_of(found) == cell), None)
    return found is not None and found["series"] == series_digest() and (what == MODULES or found["builds"] != MODULES)


def record(cell: Cell, found: dict[str, Any]) -> None:
    """Write a cell's result in the place of an older one, and the table."""
    head = {
        "version": cell.version,
        "platform": cell.platform,
        "target": cell.target,
        "toolchain": cell.toolchain,
        "defines": list(cell.defines),
        "series": series_digest(),
    }
    results = [*(other for other in builds.load() if builds.cell_of(other) != cell), {**head, **found}]
    for path, text in ((builds.RESULTS, json.dumps(results, indent=1) + "\n"), (builds.TABLE, builds.render(results))):
        temporary = path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


class Measurements:
    """Measures cells. The workspace for modules is one path, so that versions can share objects by ccache."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._repository: Repository | None = None
        self._version = ""

    def measure(self, what: str, cell: Cell) -> dict[str, Any]:
        """Measure a cell; what does not apply or does not build is a result."""
        if cell.version != DEFAULT_SOURCE and self._repository is None:
            self._repository = upstream_repository()
        try:
            if what == MODULES:
                return compiled(cell, self._repository, self._workspace(cell.version), self._jobs)
            with tempfile.TemporaryDirectory() as directory:
                return measure(cell, self._repository, Path(directory), self._jobs)
        except (PatchError, SourceError) as error:
            return {"patches": 0, "builds": error.message}

    def _workspace(self, version: str) -> Path:
        directory = cache_root() / "edk2" / "modules"
        if version != self._version:
            remove(directory)
        self._version = version
        return make_directory(directory)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.ovmf_patches.record", description=__doc__)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", default=["*"])
    parser.add_argument("-n", dest="jobs", type=int, default=0, help="jobs of make")
    parser.add_argument("--list", action="store_true", help="print what would be measured")
    options = parser.parse_args()
    measurements = Measurements(options.jobs)
    for what, cell in plan():
        part = name(what, cell)
        if is_done(what, cell, builds.load()) or not any(
            fnmatch.fnmatch(part, pattern) for pattern in options.patterns
        ):
            continue
        print(part, end="\n" if options.list else ": ", flush=True)
        if not options.list:
            started = time.monotonic()
            record(cell, measurements.measure(what, cell))
            print(f"{time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
