# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated SNP host: the firmware as an SEV-SNP guest under an SVSM, inside QEMU TCG."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from snp_harness.check import Check, CheckStatus
from snp_harness.errors import HarnessError, UsageError
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.hosts.local import LOCAL
from snp_harness.launch.tokens import FILE, PATH, token
from snp_harness.platforms import exit_path, extra_arguments, in_place, kept_run, launch_list, rom
from snp_harness.platforms.common import machine_arguments, qemu_check
from snp_harness.platforms.extra_arguments import check_log
from snp_harness.platforms.guest_launch import guest_launch, svsm_base
from snp_harness.platforms.host_config import (
    APIC,
    HIDDEN,
    HYPERVISOR_FAULTS,
    POLICY,
    HostConfig,
    vc_exits,
)
from snp_harness.platforms.memory_map import DIMM_SLOTS, LAUNCH_COPIES, LAUNCH_MAX, MemoryMap, memory_map
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm import vmsa
from snp_harness.svsm.reference import CONSOLE_PORT
from snp_harness.svsm.sections import SvsmKind
from snp_harness.svsm.sev import SEV_FEATURES_SHIFT, SevStatus, sev_features
from snp_harness.vm import rundir
from snp_harness.vm.debug_exit import debug_exit_ports
from snp_harness.vm.machine_base import Devices, Ring
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host
    from snp_harness.launch.ring import RecordSource
    from snp_harness.platforms.running import Running
    from snp_harness.platforms.saved import Saved
    from snp_harness.platforms.trace_witness import TraceWitness
    from snp_harness.svsm.config import SvsmConfig

#: One byte written here wakes the harness. q35 has no device there, between COM4 and the ACPI block at 600.
DOORBELL_PORT = 0x5E8
#: Names of what the machine makes: the doorbell's channel, the log's memory.
DOORBELL = "doorbell"
QUESTIONS = "questions"
RING = "ring"
GUEST_RAM = "guest-ram"
SVSM_CONSOLE_IRQ = 4
#: COM4: questions of test images.
QUESTION_PORT = ("-device", f"isa-serial,index=3,iobase=0x2e8,irq=3,chardev={QUESTIONS}")
#: QEMU's physical address bits: the C-bit must lie below. EPYC-v3 is the newest AMD model that QEMU 7.2 has.
CPU = "EPYC-v3,phys-bits=52,+la57"
#: Devices reach guest memory through an IOMMU that the hypervisor programs (harness/emulator/hardware/iommu.c); virtio
#: devices only with iommu_platform, which those of before virtio 1.0 have not (QEMU hw/virtio/virtio-bus.c).
LEGACY_VIRTIO = ("9p", "blk", "net", "rng", "scsi", "serial")
IOMMU = (
    *("-device", "intel-iommu,intremap=off,aw-bits=48", "-global", "virtio-device.iommu_platform=on"),
    *(word for kind in LEGACY_VIRTIO for word in ("-global", f"virtio-{kind}-pci.disable-legacy=on")),
)
#: Of the key of the log's digest: less than DIGEST_MODULUS has (capture/record.py).
LOG_KEY_BITS = 60
#: The hypervisor's limit (harness/emulator/hardware/hw.h, HW_CPUS).
MAX_VCPUS = 16


class RunKeys(Struct, frozen=True):
    """Random numbers of a run. log_key: of the log's digest. psp_seed: of the keys that the guest gets at launch."""

    log_key: int = 0
    psp_seed: int = 0


#: For a ROM that no run uses.
NO_KEYS = RunKeys()


def run_keys(spec: RunSpec) -> RunKeys:
    """Make the numbers of a run. A run that counts instructions repeats exactly, and so do the guest's keys."""
    return RunKeys(_random(LOG_KEY_BITS), 0 if spec.icount else _random(64))


def _random(bits: int) -> int:
    """Return a random number of at most 64 bits. The module secrets imports hashlib, which a run needs only later."""
    return int.from_bytes(os.urandom(8), "little") >> 64 - bits


class EmulatedPlatform:
    """Emulates the hardware and the hypervisor of SEV-SNP in the firmware of a stock QEMU (harness/emulator)."""

    name = "emulated"
    observed_on = "emulated SNP host, not hardware"
    configurable = True
    alternate_injection = True

    def probe(self, host: Host = LOCAL, qemu: Path | None = None) -> list[Check]:
        """Check for a QEMU, and for the built images of the emulated SNP host and of the SVSM."""
        checks = [qemu_check(host, qemu)]
        for name, read in (("emulated SNP host", rom.read_hypervisor), ("reference SVSM", rom.read_svsm)):
            try:
                checks.append(Check(name, CheckStatus.OK, f"{len(read()) >> 10} KiB"))
            except HarnessError as error:
                checks.append(Check(name, CheckStatus.MISSING, error.message, error.hint))
        return [*checks, in_place.check(host, qemu)]

    def start(self, spec: RunSpec, directory: RunDirectory, stack: contextlib.ExitStack) -> Running:
        """Start the guest. Raises HarnessError if it could not be started."""
        return self._start(run_keys(spec), None, spec, directory, stack)

    def _start(
        self, keys: RunKeys, saved: Saved | None, spec: RunSpec, directory: RunDirectory, stack: contextlib.ExitStack
    ) -> Running:
        spec = exit_path.chosen(spec)
        binary = spec.host.qemu(spec.qemu)
        firmware = spec.image
        check_fits(spec, firmware)
        finish_check = binary.start_check()
        memory = memory_map(spec.memory, spec.svsm.memory.phys_bits)
        symbols = _symbols(spec, base := _symbols_base(spec, memory))
        packed = build_launch(spec, firmware, memory)
        directory.write_input(rundir.ROM, build_rom(spec, memory, packed, keys))
        directory.write_input_parts(rundir.LAUNCH, packed.parts, packed.size)
        kept_run.note(
            directory,
            self.name,
            spec,
            offset=packed.firmware[0],
            active=True,
            symbols_base=base,
            restored=saved is not None,
        )
        second = _second_witness(spec, directory)
        if second is not None:
            stack.callback(second.close)
        finish_check()
        arguments = [
            *_arguments(spec, memory, packed.size),
            *in_place.arguments(spec, binary, memory),
            *(second.arguments if second else ()),
            *(saved.arguments if saved else ()),
            *spec.extra_args,
        ]
        devices = _devices(spec, memory, second)
        machine = stack.enter_context(spec.host.machine(binary, arguments, directory, devices))
        # QEMU boots from here on. What is needed at the end runs in parallel with the guest, most of it after SEC's
        # first accesses, whose verdict needs none of it: on two processors it would delay that.
        _in_parallel(_find_version)
        from snp_harness.apic.event_kinds import GUEST_IMAGE
        from snp_harness.capture.collect import Collector
        from snp_harness.platforms.answered_port import AnsweredPort
        from snp_harness.platforms.emulated_guest import EmulatedGuest
        from snp_harness.platforms.host_witness import HostWitness
        from snp_harness.platforms.saved import ContinuedLog

        if spec.svsm.snp:
            from snp_harness.platforms import certificates

            for name in certificates.NAMES:
                directory.write_input(f"{name}.pem", certificates.pem(name))
        collector = Collector()
        ring: RecordSource
        if saved is None:
            ring = machine.ring()
        else:
            saved.load(machine, spec.timeout_s)
            ring = ContinuedLog(saved.replay(rundir.HOST_LOG, collector), machine.ring())
        witness = HostWitness(ring, firmware, spec, directory, collector, keys.log_key, symbols, packed.read)
        stack.callback(witness.close)
        if spec.answers is not None:
            AnsweredPort(machine.channel(QUESTIONS), spec.answers, machine.loop)
        for note in packed.notes:
            witness.collector.event(GUEST_IMAGE, None, None, note)
        if saved is not None:
            witness.step()
        if second is not None and saved is not None:
            second.resume(machine, saved.replay(rundir.TRACE, Collector()), time.time() - saved.saved_s)
        elif second is not None:
            second.start(machine)
        resume = functools.partial(self._start, keys)
        later = functools.partial(_in_parallel, functools.partial(_prepare, firmware))
        return EmulatedGuest(self.name, machine, spec, witness, second, directory, memory, resume, later)


def _symbols_base(spec: RunSpec, memory: MemoryMap) -> int:
    """Return how much higher the SVSM runs than its symbols say: the reference SVSM is linked at 0."""
    return svsm_base(spec, memory) if spec.svsm.svsm.kind is SvsmKind.REFERENCE else 0


def _symbols(spec: RunSpec, base: int) -> Callable[[int], str | None]:
    """Return what finds the function of a pc of the SVSM. Raises HarnessError for a file without symbols."""
    if not spec.svsm_symbols:
        return lambda _: None
    from snp_harness.svsm.symbols import SvsmSymbols

    symbols = SvsmSymbols.open(*spec.svsm_symbols)
    return lambda pc: symbols.name(pc - base)


def _in_parallel(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _find_version() -> None:
    """Do what the run's environment needs: in a checkout two runs of git."""
    from snp_harness.version import build

    build()


def _prepare(firmware: FirmwareImage) -> None:
    """Do what is needed later: the module of the first pc of PEI is then found without delay."""
    _ = firmware.modules
    import snp_harness.vm.qmp  # noqa: F401


def _second_witness(spec: RunSpec, directory: RunDirectory) -> TraceWitness | None:
    """Return a witness of QEMU's trace events if the guest uses QEMU's own APIC, else None."""
    if spec.svsm.hypervisor.apic.value != "qemu":
        return None
    from snp_harness.capture.collect import Collector
    from snp_harness.platforms.trace_witness import TraceWitness

    return TraceWitness(spec.vcpus, Collector(), directory)


def check_fits(spec: RunSpec, firmware: FirmwareImage) -> None:
    """Check, before QEMU starts, that the platform supports the run. Raises UsageError."""
    if spec.vcpus > MAX_VCPUS:
        raise UsageError(f"the emulated SNP host runs {MAX_VCPUS} vCPUs, not {spec.vcpus}", f"use 1 to {MAX_VCPUS}")
    if spec.vcpus > 1 and spec.svsm.hypervisor.apic.value == "qemu":
        raise UsageError(
            f"QEMU's own APIC serves one vCPU, not {spec.vcpus}",
            'leave out --vcpus, or use hypervisor.apic = "virtual"',
        )
    if spec.svsm.hypervisor.apic.value == "qemu":
        check_log(spec.extra_args)
    extra_arguments.check_dma(spec.extra_args)
    extra_arguments.check_ports(spec.extra_args)
    if spec.svsm.guest.sev == "sev-es" and spec.vcpus > 1:
        raise UsageError("an SEV-ES guest has one vCPU on the emulated platform", "leave out --vcpus")
    if not spec.svsm.snp or spec.svsm.svsm.kind is SvsmKind.IGVM:
        return
    metadata = firmware.metadata
    if metadata is None:
        raise UsageError(
            f"firmware {firmware.path} has no SEV metadata: it cannot be launched as an SEV-SNP guest",
            "use an OVMF with SEV support, or --svsm-config plain for a guest without SEV",
        )
    if spec.svsm.present and not metadata.has_svsm_caa:
        raise UsageError(
            f"firmware {firmware.path} has no SVSM CAA section in its SEV metadata (edk2 before 2024, or TDX)",
            "use --svsm-config no-svsm, or a newer OVMF such as debian:trixie",
        )


def build_launch(spec: RunSpec, firmware: FirmwareImage, memory: MemoryMap) -> launch_list.Packed:
    """Return the launch list of a run. Raises UsageError if it cannot be launched, BrokenEnvironmentError."""
    # Without a kernel the hypervisor does not read fw_cfg, whose use is a mark of PEI for QEMU's trace events.
    kernel = any("kernel" in argument for argument in spec.extra_args)
    launch = guest_launch(spec, firmware, memory, kernel=kernel)
    machine = launch_list.Machine(memory.ram_low, memory.ram_high, spec.svsm.memory.phys_bits)
    packed = launch_list.pack(launch, firmware.flat(), machine)
    if packed.size > LAUNCH_MAX:
        raise UsageError(
            f"the launch has {packed.size >> 20} MiB, {LAUNCH_MAX >> 20} are possible", "use a smaller file"
        )
    return packed


def build_rom(spec: RunSpec, memory: MemoryMap, packed: launch_list.Packed, keys: RunKeys = NO_KEYS) -> bytes:
    """Return the ROM of a run. Raises BrokenEnvironmentError if it is not built."""
    return rom.build(host_config(spec, memory, packed, keys).pack(), rom.read_hypervisor())


def sev_statuses(config: SvsmConfig, launched: int | None) -> list[int]:
    """Return SEV_STATUS of each VMPL. launched: SEV_FEATURES of what starts, at VMPL0."""
    statuses = [int(config.sev_status(vmpl)) for vmpl in range(4)]
    if launched is not None:
        statuses[0] = statuses[0] & (SevStatus.SEV | SevStatus.SEV_ES) | launched << SEV_FEATURES_SHIFT
    return statuses


def guest_features(config: SvsmConfig, launched: int | None) -> int:
    """Return the SEV_FEATURES that VMSAs of the guest's VMPL may have, besides those without Alternate Injection.

    An SVSM in an IGVM file creates them with its own features, without restricted injection and debug swap (COCONUT
    kernel/src/cpu/vmsa.rs, init_guest_vmsa).
    """
    wanted = sev_features(config.sev_status(config.guest_vmpl))
    if config.svsm.kind is not SvsmKind.IGVM or launched is None:
        return wanted
    own = launched & ~vmsa.FEATURE_BITS["debug-swap"]
    return vmsa.inject(own, alternate_injection=True)


def host_config(spec: RunSpec, memory: MemoryMap, packed: launch_list.Packed, keys: RunKeys) -> HostConfig:
    """Return the configuration block of a run."""
    config = spec.svsm
    debug_exit = debug_exit_ports(spec.extra_args) or (0, 0)
    return HostConfig(
        host_base=memory.host_base,
        host_size=memory.host_size,
        ring_base=memory.ring_base,
        ring_size=memory.ring_size,
        rom_base=FOUR_GIB - rom.ROM_SIZE,
        launch_base=memory.launch_base,
        launch_size=packed.size,
        fw_size=packed.firmware[1],
        ram_low=memory.ram_low,
        ram_high=memory.ram_high,
        sev_status=sev_statuses(config, packed.features),
        hv_features=config.feature_bits,
        vc_exits=vc_exits(config.exits),
        log_key=keys.log_key,
        psp_seed=keys.psp_seed,
        started_s=int(time.time()),
        vmsa_features=guest_features(config, packed.features),
        cbit=config.memory.cbit,
        phys_bits=config.memory.phys_bits,
        vcpus=spec.vcpus,
        guest_vmpl=config.guest_vmpl,
        log_level=config.log.level,
        apic=APIC[config.hypervisor.apic],
        doorbell_port=DOORBELL_PORT,
        svsm_console_port=CONSOLE_PORT,
        strict=config.memory.strict,
        policy=POLICY[config.hypervisor.policy],
        faults=sum(HYPERVISOR_FAULTS.get(name, 0) for name in set(config.faults.inject)),
        fault_every=config.faults.every,
        fault_after=config.faults.after,
        fault_delay_us=config.faults.delay_us,
        fault_register=config.faults.register,
        fault_apic_base=config.faults.apic_base,
        fault_apic_id=config.faults.apic_id,
        fault_vcpu=config.faults.vcpu % (1 << 64),
        fault_info1=config.faults.exit_info1,
        fault_info2=config.faults.exit_info2,
        debug_exit_port=debug_exit[0],
        debug_exit_size=debug_exit[1],
        shortcuts=config.exits.shortcuts,
        rmp_batches=config.present and config.svsm.kind is SvsmKind.REFERENCE and config.svsm.rmp_batches,
        log_console=spec.follows_console,
        hidden_features=sum(HIDDEN[name] for name in set(config.guest.hidden_features)),
    )


def _devices(spec: RunSpec, memory: MemoryMap, second: TraceWitness | None) -> Devices:
    """Return the devices that the arguments of `_arguments` and of the second witness name."""
    return Devices(
        consoles={"serial": rundir.SERIAL, "svsm": rundir.SVSM},
        channels=[DOORBELL, *([QUESTIONS] if spec.answers else [])],
        pipes=second.pipes if second else (),
        memory={RING: memory.ring_file_size},
        files=[rundir.ROM, rundir.LAUNCH],
        # A doorbell is an instruction of the hypervisor: if instructions are counted, no two boots would be the same.
        ring=Ring(RING, DOORBELL, arm=not spec.icount),
        stand_ins={token(PATH, RING): "host-ring.bin", **(second.stand_ins if second else {})},
    )


def _arguments(spec: RunSpec, memory: MemoryMap, launch_size: int) -> list[str]:
    """Return QEMU's arguments: the hypervisor's RAM, its log and the launch list are DIMMs behind guest RAM."""
    ring, launch = token(PATH, RING), token(FILE, rundir.LAUNCH)
    return [
        *machine_arguments(spec, CPU),
        # Devices that write into the processor that executes IN or OUT, or into memory: that would be the hypervisor's.
        *("-machine", "vmport=off", "-global", "apic-common.vapic=off"),
        *("-m", f"{spec.memory >> 20}M,slots={DIMM_SLOTS},maxmem={memory.maxmem >> 20}M"),
        # Pages that the guest never touches need not be there: it may have more memory than the machine.
        *("-object", f"memory-backend-ram,id={GUEST_RAM},size={spec.memory},reserve=off"),
        *("-machine", f"memory-backend={GUEST_RAM}"),
        # As flash, it has priority over PCI memory: a BAR over the ROM of -bios would be the guest's code at INIT.
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={token(FILE, rundir.ROM)}"),
        *IOMMU,
        *("-object", f"memory-backend-ram,id=host,size={memory.host_size},reserve=off"),
        *("-device", f"pc-dimm,id=host-dimm,memdev=host,addr={memory.host_base}"),
        *("-object", f"memory-backend-file,id=log,share=on,mem-path={ring},size={memory.ring_file_size}"),
        *("-device", f"pc-dimm,id=log-dimm,memdev=log,addr={memory.ring_base}"),
        *_launch_arguments(launch, memory.launch_base, launch_size, LAUNCH_COPIES if spec.svsm.snp else 1),
        *("-device", f"isa-debugcon,iobase={DOORBELL_PORT},chardev={DOORBELL}"),
        *("-device", f"isa-serial,index=2,iobase={CONSOLE_PORT},irq={SVSM_CONSOLE_IRQ},chardev=svsm"),
        *(QUESTION_PORT if spec.answers else ()),
    ]


def _launch_arguments(file: str, base: int, size: int, copies: int) -> Iterator[str]:
    """Yield QEMU's arguments for the launch list and its copies: of a mapped file only what is used costs time."""
    for number in range(copies):
        name = f"launch{number}"
        yield from ("-object", f"memory-backend-file,id={name},share=off,mem-path={file},size={size}")
        yield from ("-device", f"pc-dimm,id={name}-dimm,memdev={name},addr={base + number * size}")


PLATFORM = EmulatedPlatform()
