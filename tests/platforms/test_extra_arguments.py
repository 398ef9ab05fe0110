# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's arguments for QEMU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snp_harness.errors import UsageError
from snp_harness.platforms import emulated, snp_command
from snp_harness.platforms.common import board_options, machine_arguments
from snp_harness.platforms.extra_arguments import (
    BOARD_KEYS,
    MACHINE_KEYS,
    REFUSED,
    check,
    check_dma,
    check_log,
    check_ports,
    has_sata_drive,
)
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.memory_map import memory_map
from snp_harness.platforms.platform import RunSpec
from tests.platforms.snp_hosts import host


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("-smp 2", "use --vcpus"),
        ("--smp 2", "use --vcpus"),
        ("-smp=2", "use --vcpus"),
        ("-smp cpus=2,maxcpus=4", "use --vcpus"),
        ("-smp maxcpus=4,cpus=2", "use --vcpus"),
        ("-smp maxcpus=4", "use --vcpus"),
        ("-smp", "use --vcpus"),
        ("-m 1024", "use --memory"),
        ("--m 1024", "use --memory"),
        ("-bios X", "use --firmware"),
        ("-pflash X", "use --firmware"),
        ("-drive if=pflash,file=X", "use --firmware"),
        ("-drive file=a,,b,if=pflash", "use --firmware"),
        ("-cpu max", "the platform sets the processor"),
        ("-accel kvm", "choose another with --platform"),
        ("-enable-kvm", "choose another with --platform"),
        ("-machine pc", "the platform sets the machine, 'type'"),
        ("-M q35", "the platform sets the machine, 'type'"),
        ("-machine kernel-irqchip=split,smm=on", "'smm' cannot be changed"),
        ("-machine pflash0=x", "'pflash0' cannot be changed"),
        ("-machine max-ram-below-4g=1G", "'max-ram-below-4g' cannot be changed"),
        ("-global EPYC-v3-x86_64-cpu.phys-bits=40", "the harness sets it"),
        ("-global driver=isa-debugcon,property=iobase,value=1", "the harness sets it"),
        ("-global isa-debug-exit.iobase=0xf4", "the harness sets it"),
        ("-global mch.extended-tseg-mbytes=8", "the harness sets it"),
        ("-set device.host-dimm.addr=0", "set the property with -device"),
        ("-qmp stdio", "the harness sets it"),
        ("-mon chardev=qmp", "use -monitor"),
        ("-S", "the harness starts the guest"),
        ("-preconfig", "the harness starts the guest"),
        ("-incoming defer", "the harness starts the guest"),
        ("-daemonize", "it would outlive the run"),
        ("--daemonize", "it would outlive the run"),
        ("-no-reboot", "leave it out"),
        ("-no-shutdown", "would not notice its end"),
        ("-action reboot=reset", "would not notice its end"),
        ("-nodefaults", "leave it out"),
        ("-nographic", "moves the guest's console"),
        ("-icount shift=1", "use --icount"),
        ("-readconfig f", "write the options themselves"),
        ("-name x -smp 2", "use --vcpus"),
    ],
)
def test_what_the_harness_sets_itself_is_refused(arguments: str, hint: str, snp_image: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(hint)) as caught:
        RunSpec(snp_image, extra_args=tuple(arguments.split(" ")))
    assert caught.value.message.startswith("QEMU cannot be run with '-")


@pytest.fixture
def snp_image(tmp_path: Path) -> Path:
    """A path: it is not opened."""
    return tmp_path / "OVMF.fd"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-kernel", "vmlinuz", "-append", "-m 5 console=ttyS0"),
        ("-append", "-smp"),
        ("-name", "-m"),
        ("-smp", "3,maxcpus=256"),
        ("-smp", "cpus=3,sockets=3"),
        ("-machine", "kernel-irqchip=split,hpet=off"),
        ("-machine", "i8042=on,sata=on,smbus=on"),
        ("-global", "ICH9-LPC.x-smi-broadcast=on"),
        ("-global", "ide-hd.ver=1"),
        ("-device", "virtio-blk-pci,drive=d", "-drive", "file=x,if=none,id=d"),
        ("-gdb", "tcp::1234", "-s", "-monitor", "none", "-serial", "null"),
        ("disk.img",),
        ("-",),
        (),
    ],
)
def test_everything_else_is_qemu_s(arguments: tuple[str, ...]) -> None:
    check(arguments, 3)


def test_qemu_s_log_where_it_is_the_witness() -> None:
    check_log(("-device", "x"))
    for name in ("-D", "--D", "-d"):
        with pytest.raises(UsageError, match="reads QEMU's log on this platform"):
            check_log((name, "x"))


def test_every_option_of_the_platforms_is_refused_or_may_be_given_again(snp_image: Path) -> None:
    """QEMU adds up these; -smp, -machine and -global have checks of their own."""
    again = {"serial", "device", "drive", "global", "object", "smp", "machine"}
    spec = RunSpec(snp_image, icount=True)
    used = [
        *machine_arguments(spec, "max"),
        *emulated._arguments(spec, memory_map(spec.memory, spec.svsm.memory.phys_bits), 2 << 20),
        *snp_command.snp_arguments(host_facts(host()), memory=1 << 30, vcpus=1, bios="x"),
        *("-S", "-msg", "timestamp=on", "-qmp", "x"),
    ]
    options = {argument[1:] for argument in used if argument.startswith("-")}
    assert options - again <= REFUSED.keys()
    machines = [used[at + 1] for at, argument in enumerate(used) if argument == "-machine"]
    keys = {part.partition("=")[0] for machine in machines for part in machine.split(",")}
    assert not keys & MACHINE_KEYS
    assert keys >= BOARD_KEYS


@pytest.mark.parametrize("value", ["i8042=on", "q35,i8042=true", "i8042=o"])
def test_a_ps2_controller_where_it_would_reset_the_hypervisor(value: str) -> None:
    for option in ("-machine", "-M", "--machine"):
        with pytest.raises(UsageError, match="would reset the hypervisor"):
            check_ports((option, value))
    check_ports(("-machine", "i8042=off,sata=on", "-append", value))


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (("-hda", "disk.img"), True),
        (("-cdrom", "cd.iso"), True),
        (("--cdrom", "cd.iso"), True),
        (("-drive", "file=disk.img,format=raw"), True),
        (("-drive", "file=disk.img,if=ide"), True),
        (("-drive", "file=x,if=none,id=d", "-device", "ide-hd,drive=d"), True),
        (("-drive", "file=x,if=none,id=d", "-device", '{"driver": "ide-cd", "drive": "d"}'), True),
        (("-drive", "file=x,if=none,id=d", "-device", "virtio-blk-pci,drive=d"), False),
        (("-drive", "if=virtio,file=x"), False),
        (("-snapshot", "-hda", "disk.img"), True),
        (("-append", "-hda"), False),
        (("-append", "-cdrom x"), False),
        (("hda",), False),
        ((), False),
    ],
)
def test_sata_for_a_drive_that_needs_it(arguments: tuple[str, ...], needed: bool) -> None:
    assert has_sata_drive(arguments) is needed
    assert ("sata=off" in board_options(arguments)) is not needed


@pytest.mark.parametrize(
    "arguments",
    [
        ("-device", "virtio-blk-pci,iommu_platform=off,drive=a"),
        ("-device", '{"driver":"virtio-blk-pci", "iommu_platform": false}'),
        ("-device", '{"driver":"virtio-blk-pci", "iommu\\u005fplatform": false}'),
        ("-device", "{'driver':'virtio-blk-pci', 'iommu\\u005Fplatform': false}"),
        ("-device", "virtio-blk-pci,disable-legacy=off"),
        ("-device", "virtio-blk-pci,noiommu_platform,drive=a"),
        ("-global", "virtio-device.iommu_platform=off"),
        ("-global", "driver=virtio-device,property=iommu_platform,value=off"),
        ("-device", "pxb-pcie,bypass_iommu=true"),
        ("-machine", "default_bus_bypass_iommu=on"),
        ("-device", "amd-iommu"),
        ("-device", "virtio-iommu-pci"),
        ("-device", "virtio-balloon"),
        ("-device", "id=b,driver=virtio-balloon-pci-non-transitional"),
        ("-device", "uefi-vars-x64,jsonfile=vars.json"),
        ("-device", "x-pci-proxy-dev,fd=3"),
    ],
)
def test_a_device_that_bypasses_the_iommu(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="cannot be run with"):
        check_dma(arguments)


def test_other_devices_pass_the_iommu() -> None:
    check_dma(
        (
            "-device",
            "virtio-blk-pci,disable-legacy=on,iommu_platform=on",
            "-append",
            "intel_iommu=off",
            "-device",
            "nvme",
        )
    )
