# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.matrix`: each firmware under each configuration on the emulated platform, as `make nightly` runs it.

Judged is what must be so whatever the configuration: fixed firmware is violated nowhere, is in x2APIC mode before its
first access with Alternate Injection, and keeps all of the contract in the default configuration, where stock firmware
breaks it; without Alternate Injection the contract does not apply to either, and both make the same accesses. So a CI
over all configurations is green for the right firmware. Everything else is written down: a table, the verdicts as JSON,
and all run directories.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.measure import write_report
from snp_harness.apic.contract import REQUIRED
from snp_harness.apic.difference import difference
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_ENVIRONMENT, HarnessError
from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.platforms.svsm_console import NoAlternateInjectionError
from snp_harness.report.difference import summary
from snp_harness.report.model import Report
from snp_harness.svsm.config import DEFAULT_CONFIG, load_config, shipped_configs

STOCK, FIXED = "stock", "fixed"
#: The rule that the fix is for.
(RULE,) = REQUIRED
TABLE = "matrix.md"
CELLS = "matrix.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """A firmware under a configuration. rules: status by rule. missed: what must be so and is not.

    error: what ended the run. broken: so it says nothing about the firmware, nor about the configuration.
    """

    firmware: str
    configuration: str
    verdict: str
    rules: dict[str, str]
    reached: str
    accesses: int
    seconds: float
    error: str = ""
    broken: bool = False
    missed: tuple[str, ...] = ()


def run_cell(firmware: str, image: Path, configuration: str, until: str, out: Path) -> tuple[Cell, Timeline | None]:
    """Run one cell; an error of the environment is part of it, so that the rest of the matrix is still run."""
    try:
        svsm = load_config(configuration)
        result = run(RunSpec(image, svsm=svsm, until=until), "emulated", out / firmware / configuration)
    except HarnessError as error:
        return Cell(firmware, configuration, "not run", {}, "", 0, 0.0, str(error), broken=True), None
    missed = missed_of(firmware, configuration, result, active=svsm.alternate_injection)
    cell = Cell(
        firmware,
        configuration,
        result.verdict.status.value,
        {rule.rule: rule.status.value for rule in result.verdict.results},
        result.timeline.reached.name,
        len(result.timeline.accesses),
        round(result.seconds, 1),
        "" if result.error is None else str(result.error),
        # That the hypervisor has no Alternate Injection is what some configuration is about.
        broken=result.error is not None and not isinstance(result.error, NoAlternateInjectionError),
        missed=missed,
    )
    return cell, result.timeline


def missed_of(firmware: str, configuration: str, result: RunResult, *, active: bool = True) -> tuple[str, ...]:
    """What a run should have shown, and has not. active: with Alternate Injection."""
    if not active:
        if result.verdict.status is Status.NOT_APPLICABLE or result.error is not None:
            return ()
        return (f"the contract is {result.verdict.status.value}, and it does not apply",)
    found = result.verdict.result(RULE).status
    if firmware == FIXED and result.verdict.status not in (Status.HOLDS, Status.NOT_APPLICABLE) and not result.error:
        return (f"the contract is {result.verdict.status.value}: {Report(result.verdict, result.timeline).headline}",)
    if firmware == FIXED and found is not Status.HOLDS and result.error is None:
        return (f"{RULE} is {found.value}, not holds",)
    if firmware == FIXED and configuration == DEFAULT_CONFIG and result.verdict.status is not Status.HOLDS:
        return (f"the contract is {result.verdict.status.value}, not holds",)
    if firmware == STOCK and configuration == DEFAULT_CONFIG and found is not Status.VIOLATED:
        return (f"{RULE} is {found.value}, not violated",)
    return ()


def compare(stock: Timeline, fixed: Timeline) -> tuple[str, ...]:
    """How a run without Alternate Injection differs between the two."""
    if stock.alternate_injection:
        return ()
    if not (stock.complete and fixed.complete):
        return ("the accesses cannot be compared: not all of them were recorded",)
    found = difference(stock, fixed)
    return () if found.empty else (f"other than stock's: {summary(found)}",)


def table(cells: Sequence[Cell]) -> str:
    """The matrix in Markdown."""
    rows = ["| firmware | configuration | verdict | " + RULE + " | reached | accesses | s | note |", "|---" * 8 + "|"]
    for cell in cells:
        note = "; ".join(part for part in (*cell.missed, cell.error) if part).replace("|", "/")
        rows.append(
            f"| {cell.firmware} | {cell.configuration} | {cell.verdict} | {cell.rules.get(RULE, '')} | {cell.reached} "
            f"| {cell.accesses} | {cell.seconds} | {note} |"
        )
    return "# Firmware and configurations on the emulated SNP host, not hardware\n\n" + "\n".join(rows) + "\n"


def conclusion(cells: Sequence[Cell]) -> tuple[str, int]:
    """What the matrix says, in one line, and its exit status."""
    missed = [cell for cell in cells if cell.missed]
    broken = [cell for cell in cells if cell.broken]
    if missed:
        first = f"{missed[0].firmware} under {missed[0].configuration}: {missed[0].missed[0]}"
        return f"{len(missed)} of {len(cells)} runs are not as they must be, first {first}", 1
    if broken:
        first = f"{broken[0].firmware} under {broken[0].configuration}: {broken[0].error}"
        return f"{len(broken)} of {len(cells)} runs say nothing, first {first}", EXIT_ENVIRONMENT
    return f"{len(cells)} runs, all as they must be", 0


def write(cells: Sequence[Cell], out: Path) -> None:
    """Write down what there is so far: an interrupt leaves it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / TABLE).write_text(table(cells), encoding="utf-8")
    write_report(out / CELLS, [asdict(cell) for cell in cells])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the matrix; status 1 if something that must be so is not, 128 if a run says nothing about its firmware."""
    parser = argparse.ArgumentParser(prog="python -m bench.matrix", description=__doc__)
    parser.add_argument("--stock", type=Path, required=True, help="an image")
    parser.add_argument("--fixed", type=Path, required=True, help="an image with the patch series")
    parser.add_argument("--until", default="shell", help="default: %(default)s")
    parser.add_argument("--config", action="append", help="default: all of svsm_configs/")
    parser.add_argument("--out", type=Path, default=Path("build/nightly"), help="default: %(default)s")
    options = parser.parse_args(argv)
    cells: list[Cell] = []
    for configuration in options.config or sorted(shipped_configs()):
        before, stock = run_cell(STOCK, options.stock, configuration, options.until, options.out)
        after, fixed = run_cell(FIXED, options.fixed, configuration, options.until, options.out)
        if stock is not None and fixed is not None and not (before.broken or after.broken):
            after = replace(after, missed=(*after.missed, *compare(stock, fixed)))
        for cell in (before, after):
            note = "; ".join((*cell.missed, *((cell.error,) if cell.broken else ())))
            print(f"{cell.firmware:<6} {configuration:<34} {cell.verdict:<13} {note}".rstrip(), flush=True)
            cells.append(cell)
        write(cells, options.out)
    text, status = conclusion(cells)
    print(f"{text}: see {options.out / TABLE}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
