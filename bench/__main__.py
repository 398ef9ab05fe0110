# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench`: emulated runs against plain TCG of the same image, side by side in one run.

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
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import answers
from bench.aims import AIMS
from bench.answers import Variant, run_command
from bench.measure import MeasureError, Sample, has_text, measure, write_report
from snp_harness.debian.qemu_bundle import named_qemu
from snp_harness.errors import HarnessError
from snp_harness.firmware.find import find_firmware
from snp_harness.hosts.local import LOCAL
from snp_harness.platforms.common import BOARD_GLOBALS, board_options
from snp_harness.platforms.in_place import unusable
from snp_harness.platforms.platform import DEFAULT_MEMORY_MIB
from snp_harness.vm.qemu_binary import QemuBinary

#: Serial text that is timed: BdsDxe's first line, when all drivers run; the shell's prompt, five idle seconds later.
LINES = ("BdsDxe: ", "Shell> ")
#: The baseline: every ratio is against it.
PLAIN = "plain TCG"
#: The line of the aims, before which nothing waits for time to pass; and the variants' aims.
AIM_LINE = LINES[0]
COMPARED = {"emulated, I/O as #VC": "bds-vc", "emulated, native": "bds-native"}
#: The same with `exits.in_place`, where QEMU has plugins.
IN_PLACE = {
    "emulated, I/O as #VC, in place": "bds-vc-in-place",
    "emulated, native, in place": "bds-native-in-place",
}
PYTHON = "Python and the command line"
#: Name of a mark that is QEMU's processor time at a text, and not the time that passed.
CPU_AT = "QEMU's CPU at {}"
#: Where `make firmware` builds it.
FIXED = Path("build/firmware/fixed/OVMF.fd")


def variants(firmware: Path, qemu: Path | None, vcpus: int, lines: tuple[str, ...]) -> list[Variant]:
    """What is compared to the prompt."""
    binary = QemuBinary.find(qemu)

    def plain(directory: Path) -> list[str]:
        image = directory / "firmware.fd"
        image.write_bytes(firmware.read_bytes())
        return [
            *binary.prefix,
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            # As on the platforms: the devices are the same.
            *("-machine", ",".join(["q35", "smm=off", "vmport=off", *board_options(())]), *BOARD_GLOBALS),
            *("-accel", "tcg", "-cpu", "EPYC-v3"),
            *("-vga", "none", "-nic", "none", "-global", "apic-common.vapic=off"),
            *("-smp", str(vcpus), "-m", str(DEFAULT_MEMORY_MIB)),
            *("-bios", str(image), "-serial", f"file:{directory / 'serial.log'}"),
        ]

    def emulated(name: str, config: str) -> Variant:
        options = ("--quiet", "--vcpus", str(vcpus), "--svsm-config", config, "--until", "shell")
        return Variant(name, partial(run_command, firmware, qemu, options), "run/serial.log", lines)

    def in_place(name: str, keys: str) -> Variant:
        def command(directory: Path) -> list[str]:
            config = directory / "config.toml"
            config.write_text(f"[svsm]\nalternate_injection = false\n[exits]\nin_place = true\n{keys}")
            return emulated(name, str(config)).command(directory)

        return Variant(name, command, "run/serial.log", lines)

    # To the prompt without Alternate Injection: with it no stock firmware gets its timer's ticks.
    vc, native = COMPARED
    compared = [
        Variant(PLAIN, plain, "serial.log", lines),
        emulated(vc, "alternate-injection-off"),
        emulated(native, "alternate-injection-off-native-io"),
    ]
    if unusable(binary, LOCAL) is None:
        configs = ("", "cpuid = false\nioio = false\nmmio = false\nmsr = false\n[memory]\ncbit = 47\n")
        compared += [in_place(name, keys) for name, keys in zip(IN_PLACE, configs, strict=True)]
    return [
        *compared,
        Variant(PYTHON, lambda _: [sys.executable, "-m", "snp_harness", "--version"]),
    ]


def take(variant: Variant, timeout_s: float) -> Sample:
    """One run of a variant in a private directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="snp-bench-") as name:
        directory = Path(name)
        console = directory / variant.console if variant.console else None
        wanted = {line: has_text(line) for line in variant.lines}
        sample = measure(variant.command(directory), console, wanted, directory / "output.log", timeout_s)
        if console is None and sample.status not in (0, 1):
            said = (directory / "output.log").read_text(encoding="utf-8", errors="replace").strip()
            raise MeasureError(f"it ended with status {sample.status}: {said}")
        return sample


def medians(samples: Sequence[Sample]) -> dict[str, float]:
    """The median of each mark, in seconds; with CPU_AT, that of QEMU's processor time there."""
    found = {mark: statistics.median(sample.marks[mark] for sample in samples) for mark in samples[0].marks}
    for mark in samples[0].qemu_cpu:
        found[CPU_AT.format(mark)] = statistics.median(sample.qemu_cpu[mark] for sample in samples)
    return found


def table(results: dict[str, dict[str, float]], texts: Sequence[str]) -> str:
    """The medians as text: a line a variant, a column a mark with its ratio to plain TCG."""
    base = results[PLAIN]
    lines = [" " * 30 + "".join(f"{text.strip():>24}" for text in texts)]
    for name in (PLAIN, *COMPARED):
        times = results[name]
        cells = (f"{times[mark]:.2f} s ({times[mark] / base[mark]:.2f}x)" for mark in texts)
        lines.append(f"{name:<30}" + "".join(f"{cell:>24}" for cell in cells))
    lines.append("")
    if AIM_LINE in texts:
        lines.append(f"the processor time of QEMU alone, to {AIM_LINE.strip()!r}")
        for name, aim in ({PLAIN: None} | COMPARED | IN_PLACE).items():
            if name in results:
                ratio = base_ratio(results, name)
                shown = AIMS[aim].line(ratio) if aim else f"{ratio:.2f}x"
                lines.append(f"{name:<34}{results[name][CPU_AT.format(AIM_LINE)]:>8.2f} s  {shown}")
    if answers.TCG in results:
        lines += ["", *answers.table(results), "", f"{PYTHON}: {results[PYTHON][answers.END]:.2f} s"]
    return "\n".join(lines)


def base_ratio(results: dict[str, dict[str, float]], name: str) -> float:
    """Return the ratio of QEMU's processor time at AIM_LINE to that of plain TCG, which no command starts."""
    at = CPU_AT.format(AIM_LINE)
    return results[name][at] / results[PLAIN][at]


def measured(results: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the values of aims; those of runs without `exits.in_place` are of a QEMU that has none."""
    compared = IN_PLACE if any(name in results for name in IN_PLACE) else COMPARED
    found = {
        aim: base_ratio(results, name)
        for name, aim in compared.items()
        if name in results and CPU_AT.format(AIM_LINE) in results[PLAIN]
    }
    return found | (answers.measured(results) if answers.TCG in results else {})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when everything was measured, whether or not the aims are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--firmware", default="debian:trixie", help="default: %(default)s")
    parser.add_argument(
        "--fixed", type=Path, help=f"a firmware for which the contract holds; default: {FIXED}, if built"
    )
    parser.add_argument("--qemu", help="a QEMU, or one of a suite: debian:sid")
    parser.add_argument("--no-command", action="store_true", help="only the boots, not how soon the command answers")
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--line", action="append", help=f"serial text to time, repeatable; default: {LINES}")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds for each run; default: %(default)g")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    lines = tuple(options.line or LINES)
    try:
        firmware = find_firmware(options.firmware)
        fixed = options.fixed or (FIXED if FIXED.exists() else None)
        path = named_qemu(options.qemu) or Path(options.qemu) if options.qemu else None
        compared = variants(firmware, path, options.vcpus, lines)
        if not options.no_command:
            compared += answers.variants(firmware, fixed, path) * answers.TIMES
        samples: dict[str, list[Sample]] = {variant.name: [] for variant in compared}
        for number in range(1, options.rounds + 1):
            for variant in compared:
                print(f"round {number} of {options.rounds}: {variant.name}", file=sys.stderr, flush=True)
                try:
                    samples[variant.name].append(take(variant, options.timeout))
                except MeasureError as error:
                    print(f"bench: error: {variant.name}: {error}", file=sys.stderr)
                    return 1
        qemu = str(QemuBinary.find(path))
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
    write_report(options.json, report, measured(results))
    print(f"\n{options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
