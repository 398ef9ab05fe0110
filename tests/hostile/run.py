# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the hostile firmware, and reading what it wrote down of its accesses."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.platforms.memory_map import memory_map
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import parse_config
from snp_harness.vm.machine import Machine
from tests.hostile.image import build, parameters

TIMEOUT_S = 60.0
#: The smallest memory that the harness accepts.
MEMORY_MIB = 128
#: guest/hostile.h: WRITTEN_BASE, WRITTEN_SIZE, WRITTEN_ENTRY, struct written.
_BASE, _SIZE, _FIRST = 0x2000000, 0x100000, 0x1000
_ENTRY = struct.Struct("<QQI7B5x")


@dataclass(frozen=True, slots=True)
class Written:
    """An access as the guest wrote it down (guest/hostile.h, struct written)."""

    pc: int
    value: int
    number: int
    path: int
    write: int
    size: int
    mode: int
    exact: bool
    refused: bool
    answer: int


@dataclass(frozen=True, slots=True)
class Setting:
    """How the firmware is run. native: port I/O and MMIO do not exit, as far as that can be configured."""

    name: str
    svsm: bool = True
    alternate: bool = True
    sev: bool = True
    native: bool = False
    cbit: int = 51
    vcpus: int = 1
    offered: bool = True

    @property
    def config(self) -> SvsmConfig:
        """The harness's configuration."""
        exits = str(not self.native).lower()
        text = f"""
            [svsm]
            present = {str(self.svsm).lower()}
            alternate_injection = {str(self.alternate).lower()}
            apic_protocol = {str(self.offered and self.svsm).lower()}
            [exits]
            ioio = {exits}
            mmio = {exits}
            [memory]
            cbit = {self.cbit}
            [guest]
            sev = {str(self.sev).lower()}
        """
        return parse_config(text.encode(), self.name)


ALTERNATE = Setting("alternate")
NATIVE = Setting("native", native=True)
VMPL0 = Setting("vmpl0", svsm=False, alternate=False)
PLAIN = Setting("plain", svsm=False, alternate=False, sev=False)
PLAIN_NATIVE = Setting("plain-native", svsm=False, alternate=False, sev=False, native=True)
SETTINGS = (ALTERNATE, NATIVE, VMPL0, PLAIN, PLAIN_NATIVE)


@dataclass(slots=True)
class HostileRun:
    """A run. written: the accesses of each vCPU, as the guest wrote them down."""

    result: RunResult
    written: list[list[Written]] = field(default_factory=list)

    @property
    def console(self) -> str:
        """What the guest printed."""
        return (self.result.directory / "serial.log").read_text(encoding="ascii", errors="replace")


#: Cases that access the APIC after the phase that ends their run: QEMU is not stopped before their end.
GOES_ON = ("back_from_pei", "back_from_dxe")


@dataclass(frozen=True, slots=True)
class Options:
    """What a case is run with besides the setting."""

    until: str = "pei"
    timeout_s: float = TIMEOUT_S
    seed: int = 1
    sequences: int = 0


def run_hostile(
    directory: Path,
    compiled: bytes,
    name: str,
    setting: Setting,
    qemu: Path | None = None,
    options: Options | None = None,
) -> HostileRun:
    """Run a case. directory: a new one."""
    directory.mkdir()
    given = options or Options()
    firmware = directory / "hostile.fd"
    memory = memory_map(MEMORY_MIB << 20, setting.config.memory.phys_bits)
    values = parameters(name, setting.vcpus, given.seed, given.sequences, memory.ring_base, memory.host_base)
    firmware.write_bytes(build(compiled, values))
    spec = RunSpec(
        firmware=firmware,
        svsm=setting.config,
        until=given.until,
        timeout_s=given.timeout_s,
        qemu=qemu,
        memory_mib=MEMORY_MIB,
        vcpus=setting.vcpus,
        as_if_active=True,
    )
    image = directory / "written.bin"
    with pytest.MonkeyPatch.context() as patch:
        stop = Machine.stop

        def save_and_stop(machine: Machine) -> None:
            if name in GOES_ON:
                serial = machine.directory.file("serial.log")
                machine.loop.run_until(lambda: machine.ended or b"end\n" in serial.read_bytes(), given.timeout_s)
            if not machine.ended:
                size = _SIZE * setting.vcpus
                machine.qmp.execute("pmemsave", val=_BASE, size=size, filename=str(image))
            stop(machine)

        patch.setattr(Machine, "stop", save_and_stop)
        result = run(spec, "emulated", directory / "run")
    return HostileRun(result, _read(image.read_bytes(), setting.vcpus) if image.exists() else [])


def _read(data: bytes, vcpus: int) -> list[list[Written]]:
    found = []
    for vcpu in range(vcpus):
        area = data[vcpu * _SIZE : (vcpu + 1) * _SIZE]
        (count,) = struct.unpack_from("<Q", area)
        entries = area[_FIRST : _FIRST + count * _ENTRY.size]
        found.append([_written(*fields) for fields in _ENTRY.iter_unpack(entries)])
    return found


def _written(pc: int, value: int, number: int, *flags: int) -> Written:
    path, write, size, mode, exact, refused, answer = flags
    return Written(pc, value, number, path, write, size, mode, bool(exact), bool(refused), answer)
