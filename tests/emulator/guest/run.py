# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the test guest on the emulated host, and reading its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import parse_config
from tests.emulator.guest.build import End, Mode, find_tests, image

TIMEOUT_S = 300.0
#: Devices of the tests: the SATA controller, whose BAR is of 4 KiB; a page of memory at FF000000; a device that copies
#: memory by DMA; one with 8 ports as its BAR.
DEVICES = (
    *("-machine", "sata=on"),
    *("-device", "pc-testdev", "-device", "edu,addr=10.0,dma_mask=0xffffffffffffffff"),
    *("-object", "memory-backend-ram,id=shared,size=1M,share=on", "-device", "ivshmem-plain,memdev=shared,addr=11.0"),
    *("-device", "pci-serial,addr=12.0"),
)
#: The smallest memory that the harness accepts.
MEMORY_MIB = 128


@dataclass(frozen=True, slots=True)
class Setting:
    """How the guest is run.

    native: port I/O, MMIO and MSRs do not become #VC, as far as that can be configured. native_cpuid: nor CPUID, by
    which other tests raise #VC. level: of the log.
    fault: one that is injected. kind: guest.sev, if it is neither that of an SNP guest nor of a plain one. in_place:
    reads of two MSRs are answered inside QEMU. icount: QEMU counts instructions.
    """

    mode: Mode
    cbit: int = 51
    native: bool = False
    native_cpuid: bool = False
    strict: bool = True
    vcpus: int = 1
    level: int = 1
    fault: str = ""
    kind: str = ""
    in_place: bool = False
    icount: bool = False

    @property
    def name(self) -> str:
        """For test ids."""
        parts = [str(self.mode.name).lower()]
        if self.mode is not Mode.PLAIN or self.cbit != 51:
            parts.append(str(self.cbit))
        parts += (
            ["native"] * self.native
            + ["native-cpuid"] * self.native_cpuid
            + ["lax"] * (not self.strict)
            + [self.fault] * bool(self.fault)
        )
        parts += [self.kind] * bool(self.kind) + ["in-place"] * self.in_place
        parts += ["icount"] * self.icount
        return "-".join(parts + [f"{self.vcpus}vcpus"] * (self.vcpus > 1))


def points(setting: Setting) -> list[str]:
    """The tests that a setting runs."""
    return [test.name for test in find_tests() if test.modes & setting.mode and test.smp == (setting.vcpus > 1)]


@dataclass(frozen=True, slots=True)
class GuestRun:
    """A run. lines: the guest's result of each test, by the test's name: "ok" or "not ok ..."."""

    result: RunResult
    lines: dict[str, str]

    @property
    def ended(self) -> str:
        """Why the run ended, as the harness reports it."""
        return "; ".join(self.result.timeline.gaps)

    @property
    def svsm_console(self) -> str:
        """What the SVSM printed."""
        return (self.result.directory / "svsm.log").read_text(encoding="utf-8", errors="replace")


def configuration(setting: Setting) -> SvsmConfig:
    """The harness's configuration for a setting."""
    alternate = setting.mode is Mode.ALTERNATE
    svsm, alternate_injection, sev, exits, strict = (
        str(value).lower()
        for value in (
            alternate or setting.mode is Mode.SVSM,
            alternate,
            setting.mode is not Mode.PLAIN,
            not setting.native,
            setting.strict,
        )
    )
    text = f"""
        [svsm]
        present = {svsm}
        alternate_injection = {alternate_injection}
        [exits]
        ioio = {exits}
        mmio = {exits}
        msr = {exits}
        rdtscp = {exits}
        cpuid = {str(not setting.native_cpuid).lower()}
        in_place = {str(setting.in_place).lower()}
        [memory]
        cbit = {setting.cbit}
        strict = {strict}
        [guest]
        sev = {f'"{setting.kind}"' if setting.kind else sev}
        [log]
        level = {setting.level}
        [faults]
        inject = {[setting.fault] if setting.fault else []}
    """
    return parse_config(text.encode(), "test guest")


def run_guest(
    directory: Path, compiled: bytes, setting: Setting, qemu: Path | None = None, end: End = End.NORMAL
) -> GuestRun:
    """Run the guest. directory: a new one."""
    directory.mkdir()
    firmware = directory / "guest.fd"
    cbit = 0 if setting.mode is Mode.PLAIN else setting.cbit
    firmware.write_bytes(image(compiled, setting.mode, cbit, end, setting.vcpus))
    spec = RunSpec(
        firmware=firmware,
        svsm=configuration(setting),
        until="shell",
        timeout_s=TIMEOUT_S,
        qemu=qemu,
        memory_mib=MEMORY_MIB,
        vcpus=setting.vcpus,
        icount=setting.icount,
        extra_args=DEVICES,
    )
    result = run(spec, "emulated", directory / "run")
    console = (result.directory / "serial.log").read_text(encoding="ascii", errors="replace")
    results = (line.partition(": ") for line in console.splitlines())
    return GuestRun(result, {name: text for name, colon, text in results if colon})
