# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.aims`: each aim of the project, and what was measured last for it.

Each benchmark writes what it measured into its file in build/ (bench.measure.write_report). The aims are printed, and
written to build/bench-aims.json (docs/benchmarks.md).
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import met
from snp_harness.version import build

REPORTS = Path("build")
RESULT = REPORTS / "bench-aims.json"
_UNITS = {"x": "{:.2f}x", "s": "{:.2f} s", "exits": "{:,.0f} exits", "MB": "{:.2f} MB"}


@dataclass(frozen=True, slots=True)
class Aim:
    """what: is measured. most: the largest value that meets the aim. unit: of both. needs: without which it is not."""

    what: str
    most: float
    unit: str = "x"
    needs: str = ""

    def shown(self, value: float) -> str:
        """Return a value with its unit."""
        return _UNITS[self.unit].format(value)

    def line(self, value: float) -> str:
        """Return the aim and whether a value meets it."""
        return f"{self.shown(value)}, aim {self.shown(self.most)}: {met(value <= self.most)}"


_NEWER = "QEMU 11.1 or newer"
#: By names that stay the same.
AIMS = {
    "exits-vc": Aim("exits to the console's BdsDxe, I/O as #VC, instructions counted", 40_000, "exits"),
    "exits-native": Aim("exits to the console's BdsDxe, native, instructions counted", 14_000, "exits"),
    "bds-vc": Aim("QEMU's time to BdsDxe against plain TCG of the same machine, I/O as #VC", 2.2),
    "bds-native": Aim("QEMU's time to BdsDxe against plain TCG of the same machine, native", 1.45),
    "bds-vc-in-place": Aim("the same with exits.in_place, I/O as #VC", 1.5, needs=_NEWER),
    "bds-native-in-place": Aim("the same with exits.in_place, native", 1.2, needs=_NEWER),
    "told": Aim("run to the line with the first offence, against run --platform tcg until sec", 0.6),
    "fail-fast": Aim("run --fail-fast to its end, against the same", 0.6),
    "holds": Aim('run to "holds", against run --platform tcg of that image', 1.15, needs="make firmware"),
    "violated-s": Aim('run to "violated", at the end of SEC', 1.0, "s"),
    "linux-vc": Aim("Linux to a command by SSH against plain TCG, I/O as #VC", 2.5),
    "linux-native": Aim("Linux to a command by SSH against plain TCG, native", 1.5),
    "remote": Aim("runs over SSH on loopback against runs here", 1.15),
    "memory": Aim("memory for a log of 1,000,000 records against one of 100,000", 1.1),
    "page": Aim("page of 200,000 accesses", 10.0, "MB"),
    "page-drawn": Aim("until it is drawn", 2.0, "s", needs="Chromium"),
}


def collect(directory: Path) -> dict[str, float]:
    """Return what the files of a directory have as measured."""
    measured: dict[str, float] = {}
    for path in sorted(directory.glob("bench*.json")):
        found = json.loads(path.read_text(encoding="utf-8")).get("measured", {})
        measured |= {name: float(value) for name, value in found.items()}
    return measured


def table(measured: Mapping[str, float]) -> Iterator[str]:
    """Yield a line for each aim."""
    width = max(len(aim.what) for aim in AIMS.values())
    for name, aim in AIMS.items():
        if name in measured:
            yield f"{aim.what:<{width}}  {aim.line(measured[name])}"
        else:
            needs = f", it needs {aim.needs}" if aim.needs else ""
            yield f"{aim.what:<{width}}  aim {aim.shown(aim.most)}: not measured{needs}"


def to_json(measured: Mapping[str, float], seconds: float | None) -> dict[str, object]:
    """Return the content of RESULT: value and met are null for what was not measured."""
    aims = [
        {
            "name": name,
            "what": aim.what,
            "aim": aim.most,
            "unit": aim.unit,
            "value": measured.get(name),
            "met": measured[name] <= aim.most if name in measured else None,
        }
        for name, aim in AIMS.items()
    ]
    about = {"version": build().version, "cores": os.cpu_count(), "kernel": platform.release(), "seconds": seconds}
    return {**about, "aims": aims}


def conclude(directory: Path = REPORTS, seconds: float | None = None) -> None:
    """Print the table and write the file. seconds: that all benchmarks took."""
    measured = collect(directory)
    print("\n".join(table(measured)))
    result = directory / RESULT.name
    result.write_text(json.dumps(to_json(measured, seconds), indent=2) + "\n", encoding="utf-8")
    print(f"\n{result}")


if __name__ == "__main__":
    conclude()
    sys.exit(0)
