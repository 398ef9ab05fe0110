# SPDX-License-Identifier: GPL-2.0-or-later
"""Running the guest of this directory: on the emulated host without SEV, and on a real KVM inside TCG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts.remote import RemoteHost
from snp_harness.launch.tokens import FILE, token
from snp_harness.svsm.config_files import parse_config
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory
from tests.emulator.differential.operations import Operation, with_operations

TIMEOUT_S = 900.0
MEMORY_MIB = 128
END = "end"


@dataclass(frozen=True, slots=True)
class Answers:
    """The guest's output. facts: x2APIC and TSC deadline in CPUID, physical address bits. lines: one an operation."""

    facts: tuple[int, int, int]
    lines: list[str]


def on_emulated(
    image: bytes,
    operations: list[Operation],
    directory: Path,
    phys_bits: int,
    hidden: Sequence[str] = (),
    vcpus: int = 1,
) -> Answers:
    """Run them on the emulated host, without SEV. directory: a new one. hidden: features that CPUID does not offer."""
    directory.mkdir()
    firmware = directory / "operations.fd"
    firmware.write_bytes(with_operations(image, operations))
    text = f"""
        [svsm]
        present = false
        alternate_injection = false
        [guest]
        sev = false
        hidden_features = {list(hidden)}
        [memory]
        phys_bits = {phys_bits}
        [log]
        level = 0
    """
    spec = RunSpec(
        firmware,
        vcpus=vcpus,
        svsm=parse_config(text.encode(), "differential"),
        until="shell",
        timeout_s=TIMEOUT_S,
        memory_mib=MEMORY_MIB,
    )
    result = run(spec, "emulated", directory / "run")
    return _read(result.directory / rundir.SERIAL, len(operations))


def on_kvm(
    host: RemoteHost,
    image: bytes,
    operations: list[Operation],
    directory: Path,
    hidden: Sequence[str] = (),
    vcpus: int = 1,
) -> Answers:
    """Run them on a KVM host. directory: a new one. hidden: features that CPUID does not offer."""
    cpu = ",".join(["host", *(f"-{name}" for name in hidden)])
    run_directory = RunDirectory.create(directory, "nested")
    try:
        run_directory.write_bytes(rundir.ROM, with_operations(image, operations))
        arguments = [
            *("-machine", "q35,smm=off", "-accel", "kvm", "-cpu", cpu, "-smp", f"{vcpus}"),
            *("-m", f"{MEMORY_MIB}"),
            *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
            *("-serial", "chardev:serial", "-bios", token(FILE, rundir.ROM)),
        ]
        devices = Devices(consoles={"serial": rundir.SERIAL}, files=[rundir.ROM])
        with host.machine(host.qemu(None), arguments, run_directory, devices) as machine:
            machine.loop.run_until(lambda: machine.ended, TIMEOUT_S)
            machine.raise_if_failed()
        return _read(run_directory.file(rundir.SERIAL), len(operations))
    finally:
        run_directory.release()


def _read(console: Path, count: int) -> Answers:
    lines = console.read_text(encoding="ascii", errors="replace").splitlines()
    assert lines[0].startswith("facts "), lines[:3]
    x2apic, deadline, bits = (int(word, 16) for word in lines[0].split()[1:])
    assert (lines[-1], len(lines)) == (END, count + 2), f"{len(lines)} lines, the last {lines[-2:]!r}"
    return Answers((x2apic, deadline, bits), lines[1:-1])
