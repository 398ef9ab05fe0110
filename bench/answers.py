# SPDX-License-Identifier: GPL-2.0-or-later
"""How soon the command answers, against the command on plain TCG of the same image to the end of SEC."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.aims import AIMS

END = "end"
#: `run --platform tcg --until sec`: QEMU alone runs the same instructions, and the command is included.
TCG = "tcg to the end of SEC"
VERDICT = "emulated to the end of SEC"
TOLD = "emulated, the first offence"
FAIL_FAST = "emulated, --fail-fast"
TCG_FIXED = "tcg to the end of SEC, fixed"
HOLDS = "emulated to the end of SEC, fixed"
#: Start of the line that a run in progress prints about its first offence.
OFFENCE = "snp-harness: violated: "
#: Runs of each in a round: they are short.
TIMES = 3
#: Ratios to plain TCG of the same image, by the names of their aims. "violated" is known with its first offence.
RATIOS = {"told": (TOLD, TCG), "fail-fast": (FAIL_FAST, TCG), "holds": (HOLDS, TCG_FIXED)}


@dataclass(frozen=True, slots=True)
class Variant:
    """A command that is timed.

    command: argv for a fresh directory. console: a file of the directory whose text is timed, None: the run's end.
    lines: the texts.
    """

    name: str
    command: Callable[[Path], list[str]]
    console: str | None = None
    lines: tuple[str, ...] = ()


def run_command(firmware: Path, qemu: Path | None, options: Sequence[str], directory: Path) -> list[str]:
    """Return the command of a run."""
    argv = [sys.executable, "-m", "snp_harness", "run", "--firmware", str(firmware), *options]
    argv += ["--out", str(directory / "run")]
    return argv if qemu is None else [*argv, "--qemu", str(qemu)]


def variants(firmware: Path, fixed: Path | None, qemu: Path | None) -> list[Variant]:
    """Return what is timed. fixed: a firmware for which the contract holds, None: that is not timed."""

    def ends(name: str, image: Path, *options: str) -> Variant:
        return Variant(name, partial(run_command, image, qemu, ("--quiet", *options)))

    tcg = ("--platform", "tcg")
    found = [
        ends(TCG, firmware, *tcg),
        ends(VERDICT, firmware),
        Variant(TOLD, partial(run_command, firmware, qemu, ()), "output.log", (OFFENCE,)),
        ends(FAIL_FAST, firmware, "--fail-fast"),
    ]
    if fixed is not None:
        found += [ends(TCG_FIXED, fixed, *tcg), ends(HOLDS, fixed)]
    return found


def table(results: dict[str, dict[str, float]]) -> list[str]:
    """Return the medians as lines, each with its ratio to plain TCG of the same image, and the aims."""
    lines = []
    for name, base in (
        (TCG, TCG),
        (VERDICT, TCG),
        (TOLD, TCG),
        (FAIL_FAST, TCG),
        (TCG_FIXED, TCG_FIXED),
        (HOLDS, TCG_FIXED),
    ):
        if name in results:
            seconds = _seconds(results, name)
            lines.append(f"{name:<34}{seconds:>8.2f} s ({seconds / results[base][END]:.2f}x)")
    values = measured(results)
    lines.append("")
    lines += [f"{RATIOS[name][0]}: {AIMS[name].line(values[name])}" for name in RATIOS if name in values]
    lines.append(f"{VERDICT}: {AIMS['violated-s'].line(values['violated-s'])}")
    return lines


def measured(results: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the values of aims."""
    ratios = {
        aim: _seconds(results, name) / results[base][END] for aim, (name, base) in RATIOS.items() if name in results
    }
    return ratios | {"violated-s": _seconds(results, VERDICT)}


def _seconds(results: dict[str, dict[str, float]], name: str) -> float:
    """Return the time of a variant's answer. A mark of a file has the processor time of QEMU beside it."""
    return results[name][OFFENCE if name == TOLD else END]
