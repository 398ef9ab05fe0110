# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine can run: `snp-harness doctor`.

Each check only looks: it asks QEMU for its version and options, and the kernel whether an empty guest can be made. It
downloads nothing and changes nothing.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.check import Check, CheckStatus
from snp_harness.errors import HarnessError

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host

MINIMUM_PYTHON = (3, 11)
#: What compiles harness/emulator, and Debian's package with it.
BUILD_TOOLS = {"gcc": "gcc", "ld": "binutils", "objcopy": "binutils", "make": "make"}


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


def apt_check() -> Check:
    """What `snp-harness fetch` works with."""
    found = shutil.which("apt-get")
    if found:
        return Check("apt-get", CheckStatus.OK, found)
    return Check(
        "apt-get", CheckStatus.WARN, "not installed", "without it, give --firmware a path: fetch cannot download"
    )


def ssh_check() -> Check:
    """What reads the ssh configuration of a host."""
    found = shutil.which("ssh")
    if found:
        return Check("ssh", CheckStatus.OK, found)
    return Check("ssh", CheckStatus.WARN, "not installed", "for hosts over SSH: apt-get install openssh-client")


def qemu_check(qemu: Path | None = None) -> Check:
    """The QEMU that a run would use."""
    from snp_harness.vm.qemu_binary import QemuBinary

    try:
        found = QemuBinary.find(qemu)
    except HarnessError as error:
        return Check("QEMU", CheckStatus.MISSING, error.message, error.hint)
    return Check("QEMU", CheckStatus.OK, str(found))


def firmware_check() -> Check:
    """The firmware that a run without --firmware would boot."""
    from snp_harness.firmware.find import find_firmware

    try:
        return Check("firmware", CheckStatus.OK, str(find_firmware(None)))
    except HarnessError as error:
        return Check("firmware", CheckStatus.MISSING, error.message, error.hint)


def host_check(host: Host) -> Check:
    """A host that is another machine: reached, and its agent answers. Raises HarnessError if not."""
    from snp_harness.platforms.host_facts import host_facts

    facts = host_facts(host.probe(None))
    found = f"{host.name}: Linux {facts.kernel}, Python {facts.python}, {facts.cpu.model or facts.machine}"
    return Check("host", CheckStatus.OK, found)


def examine(qemu: Path | None = None, host: Host | None = None) -> tuple[Section, ...]:
    """Makes every check: this machine's, then those of each platform, on the host if one is named.

    Raises HarnessError if that host cannot be reached.
    """
    from snp_harness.platforms import find_platform, platform_names

    first: tuple[Check, ...]
    if host is None:
        first = (python_check(), qemu_check(qemu), firmware_check(), build_tools_check(), apt_check(), ssh_check())
    else:
        first = (python_check(), firmware_check(), build_tools_check(), apt_check(), ssh_check(), host_check(host))
    where = "" if host is None else f" on {host.name}"
    platforms = tuple(
        Section(f"platform {name}{where}", tuple(find_platform(name).probe(host, qemu))) for name in platform_names()
    )
    return Section("this machine", first), *platforms


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
