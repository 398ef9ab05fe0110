# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: emulated runs against plain TCG of the same image, side by side in one run.

The variants take turns, so that a machine that is busy for a while slows all of them; what is reported are medians.
Every time is wall time from the start of the process: for an emulated run that is the whole command, Python included.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import MeasureError, Sample, has_text, measure, write_report
from snp_harness.errors import HarnessError
from snp_harness.firmware.find import find_firmware
from snp_harness.platforms.platform import DEFAULT_MEMORY_MIB
from snp_harness.vm.qemu_binary import QemuBinary

#: Serial text that is timed: BdsDxe's first line, when all drivers run; the shell's prompt, five idle seconds later.
LINES = ("BdsDxe: ", "Shell> ")
END = "end"
#: The baseline: every ratio is against it.
PLAIN = "plain TCG"
#: Aims of the project: ratio to plain TCG at each of the lines, and seconds to SEC's verdict. The first line has no
#: idle time in it and is the harder judge; the prompt is what somebody who waits for it sees.
AIMS = {"emulated, I/O as #VC": 1.5, "emulated, I/O native": 1.2}
VERDICT = "verdict for SEC"
VERDICT_AIM_S = 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to boot. command: argv for a fresh directory. console: the serial log in it; None: run to the end."""

    name: str
    command: Callable[[Path], list[str]]
    console: str | None


def variants(firmware: Path, qemu: Path | None, vcpus: int) -> list[Variant]:
    """What is compared."""
    binary = QemuBinary.find(qemu)

    def plain(directory: Path) -> list[str]:
        image = directory / "firmware.fd"
        image.write_bytes(firmware.read_bytes())
        return [
            *binary.prefix,
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "q35,smm=off", "-accel", "tcg", "-cpu", "EPYC-v3"),
            *("-smp", str(vcpus), "-m", str(DEFAULT_MEMORY_MIB)),
            *("-bios", str(image), "-serial", f"file:{directory / 'serial.log'}"),
        ]

    def emulated(config: str, until: str) -> Callable[[Path], list[str]]:
        def command(directory: Path) -> list[str]:
            argv = [sys.executable, "-m", "snp_harness", "run", "--quiet", "--firmware", str(firmware)]
            argv += ["--vcpus", str(vcpus), "--svsm-config", config, "--until", until]
            argv += ["--out", str(directory / "run")]
            return argv if qemu is None else [*argv, "--qemu", str(qemu)]

        return command

    # To the prompt without Alternate Injection: with it no stock firmware gets its timer's ticks.
    return [
        Variant(PLAIN, plain, "serial.log"),
        Variant("emulated, I/O as #VC", emulated("alternate-injection-off", "shell"), "run/serial.log"),
        Variant("emulated, I/O native", emulated("alternate-injection-off-native-io", "shell"), "run/serial.log"),
        Variant(VERDICT, emulated("alternate-injection", "sec"), None),
        Variant("Python and the command line", lambda _: [sys.executable, "-m", "snp_harness", "--version"], None),
    ]


def take(variant: Variant, lines: Sequence[str], timeout_s: float) -> Sample:
    """One run of a variant in a private directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="snp-bench-") as name:
        directory = Path(name)
        console = directory / variant.console if variant.console else None
        wanted = {line: has_text(line) for line in lines} if console else {}
        sample = measure(variant.command(directory), console, wanted, directory / "output.log", timeout_s)
        if console is None and sample.status not in (0, 1):
            said = (directory / "output.log").read_text(encoding="utf-8", errors="replace").strip()
            raise MeasureError(f"it ended with status {sample.status}: {said}")
        return sample


def medians(samples: Sequence[Sample]) -> dict[str, float]:
    """The median of each mark, in seconds."""
    return {mark: statistics.median(sample.marks[mark] for sample in samples) for mark in samples[0].marks}


def table(results: dict[str, dict[str, float]], texts: Sequence[str]) -> str:
    """The medians as text: a line a variant, a column a mark with its ratio to plain TCG."""
    base = results[PLAIN]
    lines = [" " * 30 + "".join(f"{text.strip():>24}" for text in texts)]
    for name, times in results.items():
        if END in times:
            lines.append(f"{name:<30}{times[END]:>20.2f} s")
            continue
        cells = (f"{times[mark]:.2f} s ({times[mark] / base[mark]:.2f}x)" for mark in texts)
        lines.append(f"{name:<30}" + "".join(f"{cell:>24}" for cell in cells))
    lines.append("")
    for name, aim in AIMS.items():
        for text in texts:
            ratio = results[name][text] / base[text]
            met = "met" if ratio <= aim else "not met"
            lines.append(f"{name}: {ratio:.2f}x to {text.strip()!r}, aim {aim:.1f}x: {met}")
    seconds = results[VERDICT][END]
    met = "met" if seconds <= VERDICT_AIM_S else "not met"
    lines.append(f"{VERDICT}: {seconds:.2f} s, aim {VERDICT_AIM_S:.1f} s: {met}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when everything was measured, whether or not the aims are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--firmware", default="debian:trixie", help="default: %(default)s")
    parser.add_argument("--qemu", type=Path)
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--line", action="append", help=f"serial text to time, repeatable; default: {LINES}")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds for each run; default: %(default)g")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    lines = tuple(options.line or LINES)
    try:
        firmware = find_firmware(options.firmware)
        compared = variants(firmware, options.qemu, options.vcpus)
        samples: dict[str, list[Sample]] = {variant.name: [] for variant in compared}
        for number in range(1, options.rounds + 1):
            for variant in compared:
                print(f"round {number} of {options.rounds}: {variant.name}", file=sys.stderr, flush=True)
                try:
                    samples[variant.name].append(take(variant, lines, options.timeout))
                except MeasureError as error:
                    print(f"bench: error: {variant.name}: {error}", file=sys.stderr)
                    return 1
        qemu = str(QemuBinary.find(options.qemu))
    except HarnessError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return error.exit_status
    results = {name: medians(taken) for name, taken in samples.items()}
    print(f"{firmware}\nQEMU {qemu}\n{options.rounds} rounds, medians, {os.cpu_count()} cores, {platform.release()}\n")
    print(table(results, lines))
    report = {
        "firmware": str(firmware),
        "qemu": qemu,
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "medians_s": results,
        "samples_s": {name: [dict(sample.marks) for sample in taken] for name, taken in samples.items()},
    }
    write_report(options.json, report)
    print(f"\n{options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
