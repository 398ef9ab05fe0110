# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU arguments of the user: those that would change what the harness itself sets are refused.

QEMU accepts most options twice and uses the last one, so that a second `-smp` or `-bios` would run another guest than
the one that the hypervisor's configuration and the report describe.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from snp_harness.errors import UsageError

_PROCESSOR = "the platform sets the processor: leave it out"
_ACCELERATOR = "the platform sets the accelerator: choose another with --platform"
_FIRMWARE = "use --firmware"
_HARNESS = "the harness sets it: leave it out"
_START = "the harness starts the guest: leave it out"
_ENDLESS = "the run would not notice its end: leave it out"
#: Options that are refused whatever their value, without dashes, and what to do instead.
REFUSED = {
    "m": "use --memory",
    "bios": _FIRMWARE,
    "pflash": _FIRMWARE,
    "cpu": _PROCESSOR,
    "accel": _ACCELERATOR,
    "enable-kvm": _ACCELERATOR,
    "no-kvm": _ACCELERATOR,
    "icount": "use --icount",
    "qmp": _HARNESS,
    "qmp-pretty": _HARNESS,
    "mon": "use -monitor for a monitor of your own",
    "S": _START,
    "preconfig": _START,
    "incoming": _START,
    "loadvm": _START,
    "daemonize": "it would outlive the run: leave it out",
    "no-reboot": _HARNESS,
    "no-shutdown": _ENDLESS,
    "action": _ENDLESS,
    "nodefaults": _HARNESS,
    "no-user-config": _HARNESS,
    "nographic": "it moves the guest's console: leave it out",
    "vga": "use -device for a display adapter",
    "display": _HARNESS,
    "nic": "use -netdev and -device",
    "net": "use -netdev and -device",
    "msg": _HARNESS,
    "readconfig": "write the options themselves",
    "set": "set the property with -device or -object",
}
#: Keys of -machine that change nothing of what the harness sets or the hypervisor relies on.
MACHINE_KEYS = frozenset({"append", "hpet", "initrd", "kernel", "kernel-irqchip", "usb"})
#: And those of devices that the harness leaves out: the user's are behind its own.
BOARD_KEYS = frozenset({"i8042", "sata", "smbus"})
#: SMI features of the ICH9, each a part of three files in the fw_cfg directory; they have no effect without SMM.
SMI_DRIVER = "ICH9-LPC"
SMI_FEATURES = ("x-smi-broadcast", "x-smi-cpu-hotplug", "x-smi-cpu-hotunplug")
#: Options for a drive of the board's own controller.
_BOARD_DRIVES = frozenset({"hda", "hdb", "hdc", "hdd", "cdrom"})
#: Drivers whose -global properties the harness sets, or the hypervisor relies on.
_GLOBAL = (
    r".*-cpu|.*-accel|.*-machine|memory-backend.*|(kvm-)?apic(-msi|-common)?|pc-dimm|isa-debugcon|isa-serial|mch|q35-pcihost"
    r"|ICH9-LPC|fw_cfg.*|isa-debug-exit|cfi\.pflash01|sev-.*|igvm-cfg"
)
#: Devices that would bypass the hypervisor's IOMMU, or replace it. A balloon discards any page that the guest names;
#: QEMU's UEFI variable service copies from and to an address that it writes (QEMU hw/virtio/virtio-balloon.c,
#: hw/uefi/var-service-core.c); a proxied device has all memory.
_BYPASS = (
    r"(iommu_platform|disable-legacy)[\s\"':=]+(off|no?|false)\b|\bno(iommu_platform|disable-legacy)\b"
    r"|bypass[-_]iommu|\b(intel|amd|virtio)-iommu"
    r"|\bproperty=(iommu_platform|disable-legacy)\b|\b(virtio|hv)-balloon|\buefi-vars|\bx-pci-proxy-dev"
)
#: Options whose value is text that may look like an option.
_TEXT = frozenset({"append", "name", "fw_cfg", "smbios"})


def check(arguments: Sequence[str], vcpus: int) -> None:
    """Check the user's arguments for QEMU. Raises UsageError, which names the option of the harness to use."""
    values = iter(arguments)
    for argument in values:
        name, _, joined = argument.removeprefix("-").removeprefix("-").partition("=")
        if not argument.startswith("-") or not name:
            continue
        if name in REFUSED:
            raise _refusal(argument, REFUSED[name])
        if name in _TEXT:
            next(values, None)
        elif name in _WITH_VALUE:
            value = joined or next(values, "")
            reason = _WITH_VALUE[name](value, vcpus)
            if reason:
                raise _refusal(f"{argument} {value}", reason)


def check_log(arguments: Sequence[str]) -> None:
    """Check them where QEMU's log is the witness. Raises UsageError."""
    for argument in arguments:
        if argument in ("-D", "--D", "-d", "--d"):
            raise _refusal(argument, "the harness reads QEMU's log on this platform: leave it out")


def check_ports(arguments: Sequence[str]) -> None:
    """Check them where port I/O may reach QEMU: its PS/2 controller resets the processor. Raises UsageError."""
    for option, value in itertools.pairwise(arguments):
        if option.lstrip("-") in ("machine", "M") and _keys(value, "type").get("i8042", "off") != "off":
            raise _refusal(f"{option} {value}", "the PS/2 controller would reset the hypervisor: leave it out")


def has_sata_drive(arguments: Sequence[str]) -> bool:
    """Whether a drive of the user's needs the board's SATA controller."""
    words = iter(arguments)
    for word in words:
        name = word.lstrip("-")
        if not word.startswith("-"):
            continue
        if name in _BOARD_DRIVES:
            return True
        value = next(words, "") if name in _TEXT | {"drive", "device"} else ""
        if name == "drive" and _keys(value, "").get("if", "ide") == "ide":
            return True
        if name == "device" and re.search(r"\bide-", value):
            return True
    return False


def check_dma(arguments: Sequence[str]) -> None:
    """Check them where the hypervisor has an IOMMU. Raises UsageError."""
    for option, value in itertools.pairwise(arguments):
        if option.lstrip("-") in ("device", "global", "machine", "M") and re.search(_BYPASS, _unescaped(value)):
            raise _refusal(f"{option} {value}", "the hypervisor's IOMMU must see all DMA: leave it out")


def _unescaped(value: str) -> str:
    """Return the value without the escapes of JSON, in which QEMU takes devices, too, in either quotes."""
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), value)


def _refusal(what: str, reason: str) -> UsageError:
    return UsageError(f"QEMU cannot be run with {what!a}"[:400], reason)


def _smp(value: str, vcpus: int) -> str:
    """A topology may be added, with the number of vCPUs that the harness knows."""
    keys = _keys(value, "cpus")
    return "" if keys.get("cpus") == str(vcpus) else f"use --vcpus, then -smp {vcpus},KEY=VALUE for a topology"


def _machine(value: str, _vcpus: int) -> str:
    for key in _keys(value, "type"):
        if key not in MACHINE_KEYS | BOARD_KEYS:
            return f"the platform sets the machine, {key!a} cannot be changed: leave it out"
    return ""


def _global(value: str, _vcpus: int) -> str:
    if value.partition("=")[0] in {f"{SMI_DRIVER}.{feature}" for feature in SMI_FEATURES}:
        return ""
    keys = _keys(value, "")
    driver = keys.get("driver") or value.partition(".")[0]
    # A driver's name may have a dot itself.
    matches = any(re.fullmatch(_GLOBAL, value[: dot.start()]) for dot in re.finditer(r"\.", value.partition("=")[0]))
    return _HARNESS if matches or re.fullmatch(_GLOBAL, driver) else ""


def _drive(value: str, _vcpus: int) -> str:
    return _FIRMWARE if _keys(value, "").get("if") == "pflash" else ""


_WITH_VALUE = {"smp": _smp, "machine": _machine, "M": _machine, "global": _global, "drive": _drive}


def _keys(value: str, first: str) -> dict[str, str]:
    """Return the keys of a list of options; one without a value has that of `first` if it is the first."""
    found = {}
    # A doubled comma is a comma of the value.
    for number, part in enumerate(re.split(r"(?<!,),(?!,)", value)):
        key, equals, text = part.partition("=")
        if equals or number > 0:
            found[key] = text
        else:
            found[first] = part
    return found
