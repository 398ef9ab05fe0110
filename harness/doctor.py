# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine can run: `snp-harness doctor`.

Each check only looks: it starts nothing but `--version` commands, downloads nothing and changes nothing.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.check import Check, CheckStatus
from harness.errors import HarnessError

MINIMUM_PYTHON = (3, 11)
#: What compiles harness/emulator, and Debian's package with it.
BUILD_TOOLS = {"gcc": "gcc", "ld": "binutils", "objcopy": "binutils", "make": "make"}
#: Parameters of kvm_amd that an SNP host has set (facts: virtee snphost's preflight reads the same).
SNP_PARAMETERS = ("sev", "sev_es", "sev_snp")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its checks: "host", or "platform emulated"."""

    title: str
    checks: tuple[Check, ...]


def python_check() -> Check:
    """The interpreter that runs this."""
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info >= MINIMUM_PYTHON:
        return Check("Python", CheckStatus.OK, found)
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    return Check("Python", CheckStatus.MISSING, found, f"install Python {wanted} or newer")


def build_tools_check() -> Check:
    """What is needed to compile the emulated SNP host; not needed where its images are built already."""
    missing = sorted({package for tool, package in BUILD_TOOLS.items() if shutil.which(tool) is None})
    if not missing:
        return Check("C toolchain", CheckStatus.OK, ", ".join(BUILD_TOOLS))
    packages = " ".join(missing)
    return Check("C toolchain", CheckStatus.WARN, f"missing: {packages}", f"to rebuild: apt-get install {packages}")


def kvm_check(device: Path = Path("/dev/kvm")) -> Check:
    """What there is of /dev/kvm. Never OK: that it opens does not say that a guest runs, and none is started."""
    hint = "the emulated and tcg platforms run without it"
    if not device.exists():
        return Check("KVM", CheckStatus.WARN, f"{device} is absent", hint)
    try:
        with device.open("rb+", buffering=0):
            pass
    except OSError as error:
        return Check("KVM", CheckStatus.WARN, f"{device}: {error.strerror}", hint)
    return Check("KVM", CheckStatus.WARN, f"{device} can be opened; whether it runs a guest was not tried", hint)


def snp_host_check(parameters: Path = Path("/sys/module/kvm_amd/parameters"), device: Path = Path("/dev/sev")) -> Check:
    """The host kernel's side of real SNP hardware: kvm_amd's parameters and the firmware's device."""
    seen = []
    for name in SNP_PARAMETERS:
        try:
            seen.append((name, (parameters / name).read_text(encoding="ascii", errors="replace").strip()))
        except OSError:
            seen.append((name, "absent"))
    evidence = ", ".join(f"{name}={value}" for name, value in seen)
    evidence += f", {device} {'present' if device.exists() else 'absent'}"
    if device.exists() and all(value in ("Y", "1") for _, value in seen):
        return Check("SNP hardware", CheckStatus.OK, evidence)
    return Check("SNP hardware", CheckStatus.WARN, evidence, "the emulated platform needs none")


def apt_check() -> Check:
    """What `snp-harness fetch` works with."""
    found = shutil.which("apt-get")
    if found:
        return Check("apt-get", CheckStatus.OK, found)
    return Check(
        "apt-get", CheckStatus.WARN, "not installed", "without it, give --firmware a path: fetch cannot download"
    )


def qemu_check(qemu: Path | None = None) -> Check:
    """The QEMU that a run would use."""
    from harness.vm.qemu import QemuBinary

    try:
        found = QemuBinary.find(qemu)
    except HarnessError as error:
        return Check("QEMU", CheckStatus.MISSING, error.message, error.hint)
    return Check("QEMU", CheckStatus.OK, str(found))


def firmware_check() -> Check:
    """The firmware that a run without --firmware would boot."""
    from harness.firmware.find import find_firmware

    try:
        return Check("firmware", CheckStatus.OK, str(find_firmware(None)))
    except HarnessError as error:
        return Check("firmware", CheckStatus.MISSING, error.message, error.hint)


def examine(qemu: Path | None = None) -> tuple[Section, ...]:
    """Makes every check: this machine's, then those of each platform."""
    from harness.platforms import find_platform, platform_names

    host = (
        python_check(),
        qemu_check(qemu),
        firmware_check(),
        build_tools_check(),
        apt_check(),
        kvm_check(),
        snp_host_check(),
    )
    platforms = tuple(Section(f"platform {name}", tuple(find_platform(name).probe())) for name in platform_names())
    return Section("this machine", host), *platforms


def render_text(sections: Sequence[Section]) -> str:
    """One line a check: status, name, evidence; the hint of one that is not met on a line of its own."""
    lines = []
    for section in sections:
        lines.append(f"{section.title}:")
        for check in section.checks:
            lines.append(f"  {check.status:<7}  {check.name}: {check.evidence}")
            if check.hint and check.status is not CheckStatus.OK:
                lines.append(f"           {check.hint}")
    return "\n".join(lines)


def render_json(sections: Sequence[Section]) -> str:
    """A list of {"section", "name", "status", "evidence", "hint"}."""
    entries = [{"section": section.title, **check.to_json()} for section in sections for check in section.checks]
    return json.dumps(entries, indent=2)
