# SPDX-License-Identifier: GPL-2.0-or-later
"""The series without one of its patches, in a few words each: `python -m tests.ovmf_patches.without [NUMBER...]`.

The words are recorded in without.toml, by the patch's number. The patches that add host-based unit tests are left out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from snp_harness.apic.verdict import Status
from snp_harness.edk2.git import PatchError
from snp_harness.edk2.series import Patch, load_series
from snp_harness.edk2.source_errors import CompileError
from snp_harness.firmware_run import RunResult
from snp_harness.vm import rundir
from tests.ovmf_patches.conftest import SERIES, Base, debian_base
from tests.platforms.boots import boot

RECORD = Path(__file__).with_suffix(".toml")
#: Name in the record: the configuration, and how many vCPUs.
RUNS = {
    "on-1": ("alternate-injection", 1),
    "on-4": ("alternate-injection", 4),
    "off-1": ("alternate-injection-off", 1),
    "off-4": ("alternate-injection-off", 4),
}
#: Said of a run that violates no rule.
INCONCLUSIVE = {Status.INCONCLUSIVE: ["inconclusive"]}
#: A boot to the shell takes 15 s; one that hangs takes this long.
TIMEOUT_S = 400.0


def number(patch: Patch) -> str:
    """A patch's number, for backports after their directory."""
    return patch.entry.path.partition("-")[0]


def firmware_patches() -> list[Patch]:
    """The patches that are for the firmware."""
    return [patch for patch in load_series(SERIES) if "host-based-unit-tests" not in patch.name]


def outcome(base: Base, without: str, out: Path) -> dict[str, str]:
    """The record of the series without a patch: "series" if there is no firmware, else a word or two for each run."""
    left = tuple(patch for patch in firmware_patches() if number(patch) != without)
    try:
        image = base.image(left)
    except PatchError as error:
        return {"series": f"{error.message.partition('-')[0]} does not apply"}
    except CompileError as error:
        print(error.message, file=sys.stderr)
        return {"series": "does not build"}
    return {name: told(boot_of(image, out / name, *run)) for name, run in RUNS.items()}


def boot_of(image: Path, out: Path, config: str, vcpus: int) -> RunResult:
    """One run to the shell, judged only where Alternate Injection is active."""
    return boot(image, out, config, vcpus=vcpus, until="shell", timeout_s=TIMEOUT_S, as_if_active=None)


def told(result: RunResult) -> str:
    """Where a run ended, and the rules that it violated, or that no rule was but not all hold."""
    broken = [found.rule for found in result.verdict.results if found.status is Status.VIOLATED]
    return "; ".join([ending(result), *(broken or INCONCLUSIVE.get(result.verdict.status, []))])


def ending(result: RunResult) -> str:
    """Where a run ended: at the shell, by itself, or at the time limit."""
    if "Shell> " in (result.directory / rundir.SERIAL).read_text(errors="replace"):
        return "shell"
    for event in result.timeline.events:
        if event.kind == "guest-termination":
            return f"terminated in {result.timeline.reached.name}"
    return f"hangs in {result.timeline.reached.name}"


def main() -> None:
    """Print the record of these patches, by default of all."""
    base = debian_base()
    for without in sys.argv[1:] or map(number, firmware_patches()):
        with tempfile.TemporaryDirectory() as directory:
            print(f'["{without}"]')
            for name, words in outcome(base, without, Path(directory)).items():
                print(f'{name} = "{words}"', flush=True)


if __name__ == "__main__":
    main()
