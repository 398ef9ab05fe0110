# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface of a platform: what it is asked to run, and what it returns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from snp_harness.apic.access import Phase
from snp_harness.check import Check
from snp_harness.defaults import CONSOLE_GOAL, DEFAULT_TIMEOUT_S, STAGES
from snp_harness.errors import HarnessError, UsageError
from snp_harness.platforms import extra_arguments
from snp_harness.vm.debug_exit import has_debug_exit

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline
    from snp_harness.capture.collect import Collector
    from snp_harness.capture.goal import Until
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.running import Running
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.vm.rundir import RunDirectory

#: The goals that the names of --until mean.
UNTIL_NAMES: dict[str, Until] = {
    **{phase.name.lower(): phase for phase in Phase if phase.name.lower() in STAGES},
    "shell": "shell",
    "os": "os",
    "exit": "exit",
}
#: Guest RAM where a run names none.
DEFAULT_MEMORY_MIB = 512
#: OVMF's own minimum with its default memory map, and the largest size of a run.
MEMORY_MIB = (128, 1 << 18)
MAX_VCPUS = 255

#: Called about 4 times a second during a run: phase, accesses, #VMEXITs (None if not counted).
Progress = Callable[[Phase, int, int | None], None]


def _default_config() -> SvsmConfig:
    from snp_harness.svsm.config import SvsmConfig

    return SvsmConfig()


def _this_machine() -> Host:
    from snp_harness.hosts.local import LOCAL

    return LOCAL


def check_rules(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of rules, each once. Raises UsageError for one that there is not."""
    from snp_harness.apic.contract import RULES
    from snp_harness.nearest import known_names

    known = [rule.name for rule in RULES]
    for name in names:
        if name not in known:
            raise UsageError(f"no rule is named {name!a}", known_names(name, known))
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to run. firmware: the image, or its path. until: a goal, a name of UNTIL_NAMES, or "console:REGEX".

    memory_mib: guest RAM, None for the default. timeout_s: seconds of wall time. qemu: the QEMU's path, None to search
    for one. extra_args: appended to QEMU's arguments. icount: TCG counts instructions, so that a boot repeats exactly.
    host: where QEMU runs, by default this machine. as_if_active: judge a run without Alternate Injection as if it were
    active; None: only where the platform has none. svsm_symbols: ELF files of the SVSM, for the functions of its pcs.
    symbols: directories with the debug files of the firmware's modules, beside those of its own build.
    answers: returns the answer to a byte that the guest writes to COM4, which it then has.
    rules: names of the only rules that are judged; empty: all. fail_fast: end the run when one of them is broken.
    Raises UsageError for values that cannot be run.
    """

    firmware: FirmwareImage | Path
    vcpus: int = 1
    memory_mib: int | None = None
    svsm: SvsmConfig = field(default_factory=_default_config)
    until: Until | str = Phase.SEC
    timeout_s: float = DEFAULT_TIMEOUT_S
    qemu: Path | None = None
    extra_args: tuple[str, ...] = ()
    icount: bool = False
    host: Host = field(default_factory=_this_machine)
    as_if_active: bool | None = None
    rules: tuple[str, ...] = ()
    fail_fast: bool = False
    svsm_symbols: tuple[Path, ...] = ()
    symbols: tuple[Path, ...] = ()
    answers: Callable[[int], bytes] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.vcpus <= MAX_VCPUS:
            raise UsageError(f"{self.vcpus} vCPUs cannot be run", f"use 1 to {MAX_VCPUS}")
        if self.memory_mib is not None and not MEMORY_MIB[0] <= self.memory_mib <= MEMORY_MIB[1]:
            raise UsageError(f"{self.memory_mib} MiB of memory cannot be run", "use {} to {}".format(*MEMORY_MIB))
        if not 0 < self.timeout_s < float("inf"):
            raise UsageError(f"the timeout of {self.timeout_s} s is not positive", "use a positive number of seconds")
        for path in self.symbols:
            if not path.is_dir():
                raise UsageError(f"{path} is not a directory", "name one that has the modules' debug files")
        _ = self.goal
        if self.rules:
            check_rules(self.rules)
        extra_arguments.check(self.extra_args, self.vcpus)
        if self.until == "exit" and not has_debug_exit(self.extra_args):
            raise UsageError(
                "a run until exit needs the device isa-debug-exit",
                "add: -- -device isa-debug-exit,iobase=0xf4,iosize=4",
            )

    @property
    def image(self) -> FirmwareImage:
        """Return the firmware; an image that is given by its path is opened. Raises FirmwareError."""
        from snp_harness.firmware.image import FirmwareImage

        return FirmwareImage.open(self.firmware) if isinstance(self.firmware, Path) else self.firmware

    @property
    def goal(self) -> Until:
        """Return `until` as a goal, never as a name. Raises UsageError for a name that means none."""
        if not isinstance(self.until, str):
            return self.until
        if self.until.startswith(CONSOLE_GOAL):
            return _pattern(self.until.removeprefix(CONSOLE_GOAL))
        if self.until not in UNTIL_NAMES:
            names = ", ".join((*UNTIL_NAMES, f"{CONSOLE_GOAL}REGEX"))
            raise UsageError(f"nothing can be run until {self.until!a}", f"use one of {names}")
        return UNTIL_NAMES[self.until]

    @property
    def follows_console(self) -> bool:
        """Whether what the console shows may be the goal, or begin the phase that is it."""
        goal = self.goal
        return goal > Phase.PEI if isinstance(goal, Phase) else goal not in ("os", "exit")

    @property
    def memory(self) -> int:
        """Return guest RAM in bytes."""
        return (self.memory_mib or DEFAULT_MEMORY_MIB) << 20


def goal_name(until: Until | str) -> str:
    """Return the name of a goal, as --until has it."""
    if isinstance(until, re.Pattern):
        return f"{CONSOLE_GOAL}{until.pattern}"
    return until.name.lower() if isinstance(until, Phase) else until


def _pattern(text: str) -> re.Pattern[str]:
    """Return the regular expression of a goal; raises UsageError."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"{text!a} is not a regular expression: {error}", "see Python's module re") from None
    if pattern.match(""):
        raise UsageError(f"the regular expression {text!a} matches nothing at all", "name a text that is printed")
    return pattern


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The result of a run: always a timeline, however it ended.

    error: what broke the run (QEMU died, the host's log is damaged); None if the run ended by itself or timed out,
    which the timeline's gaps report. interrupt: the user ended it. qemu: version and path. second: the timeline of
    another witness of the same run, if any. facts: what environment.json records about where the guest ran. seen: what
    the timeline is a part of, None if it is all.
    """

    timeline: Timeline
    error: HarnessError | None = None
    interrupt: KeyboardInterrupt | None = None
    qemu: str = ""
    second: Timeline | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    seen: Collector | None = None


class Platform(Protocol):
    """A way of running a guest.

    name: as in --platform, and the pytest marker of tests that need it. observed_on: how its results are obtained, in
    words. configurable: the hypervisor and the SVSM are configured by RunSpec.svsm. alternate_injection: it can be
    active there.
    """

    name: str
    observed_on: str
    configurable: bool
    alternate_injection: bool

    def probe(self, host: Host = ..., qemu: Path | None = None) -> list[Check]:
        """Check what the platform needs. host, qemu: as in RunSpec.

        Starts no guest. Raises HarnessError if the host cannot be reached.
        """
        ...

    def start(self, spec: RunSpec, directory: RunDirectory, stack: ExitStack) -> Running:
        """Start the guest. Raises HarnessError if it could not be started.

        stack: whatever is opened for the guest is entered here; at its end QEMU is stopped if it still runs.
        """
        ...
