# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness doctor`: check what a machine can run.

The checks read QEMU's version and options, and ask the kernel to create an empty guest. They download nothing and
change nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.check import Check, CheckStatus, first_missing
from snp_harness.cli.arguments import add_host_options, name_argument
from snp_harness.cli.resources import find_host, find_qemu
from snp_harness.data import json_head
from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, HarnessError
from snp_harness.version import build

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands
    from snp_harness.hosts.host import Host

EPILOG = "exit status: 0 the platform can run, 2 usage, 128 it cannot: something is missing"
MINIMUM_PYTHON = (3, 11)
#: The programs that compile harness/emulator, each with its Debian package.
BUILD_TOOLS = {"gcc": "gcc", "ld": "binutils", "objcopy": "binutils", "make": "make"}


def add_parser(commands: Commands) -> None:
    """Add `doctor` to the command line."""
    parser = commands.add_parser("doctor", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument(
        "--platform",
        metavar="P",
        type=name_argument,
        default=DEFAULT_PLATFORM,
        help="the platform that the exit status is about; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON on stdout")
    parser.add_argument("--qemu", metavar="Q", type=name_argument, help="the QEMU to check, as for run")
    add_host_options(parser)


def execute(options: argparse.Namespace) -> int:
    """Make the checks, print them and return the exit status. Raises HarnessError if the host cannot be reached."""
    from snp_harness.platforms import find_platform

    find_platform(options.platform)
    # Without the host's lock: the checks do not disturb a run there.
    host = find_host(options, lock=False)
    sections = examine(find_qemu(options), host)
    print(render_json(sections, options.platform) if options.json else render_text(sections, options.platform))
    return EXIT_HOLDS if first_missing_of(sections, options.platform) is None else EXIT_ENVIRONMENT


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its checks: "this machine", or "platform emulated". platform: its name, if it is about one."""

    title: str
    checks: tuple[Check, ...]
    platform: str | None = None


def python_check() -> Check:
    """Check the interpreter that runs this."""
    import platform

    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info >= MINIMUM_PYTHON:
        return Check("Python", CheckStatus.OK, found)
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    return Check("Python", CheckStatus.MISSING, found, f"install Python {wanted} or newer")


def build_tools_check() -> Check:
    """Check for the programs that compile the emulator; they are not needed if its images are built already."""
    missing = sorted({package for tool, package in BUILD_TOOLS.items() if shutil.which(tool) is None})
    if not missing:
        return Check("C toolchain", CheckStatus.OK, ", ".join(BUILD_TOOLS))
    packages = " ".join(missing)
    return Check("C toolchain", CheckStatus.WARN, f"missing: {packages}", f"to rebuild: apt-get install {packages}")


def apt_check() -> Check:
    """Check for apt-get, which `snp-harness fetch` uses."""
    return _program_check("apt-get", "fetch cannot download without it: name a path with --firmware")


def ssh_check() -> Check:
    """Check for ssh, which hosts over SSH are reached with."""
    return _program_check("ssh", "for hosts over SSH: apt-get install openssh-client")


def _program_check(name: str, hint: str) -> Check:
    found = shutil.which(name)
    if found:
        return Check(name, CheckStatus.OK, found)
    return Check(name, CheckStatus.WARN, "not installed", hint)


def qemu_check(qemu: Path | None = None) -> Check:
    """Check the QEMU that a run would use."""
    from snp_harness.vm.qemu_binary import QemuBinary

    try:
        found = QemuBinary.find(qemu)
    except HarnessError as error:
        return Check("QEMU", CheckStatus.MISSING, error.message, error.hint)
    return Check("QEMU", CheckStatus.OK, str(found))


def firmware_check() -> Check:
    """Check for the firmware that a run without --firmware would boot."""
    from snp_harness.firmware.find import find_firmware

    try:
        return Check("firmware", CheckStatus.OK, str(find_firmware(None)))
    except HarnessError as error:
        return Check("firmware", CheckStatus.MISSING, error.message, error.hint)


def host_check(host: Host) -> Check:
    """Connect to a host that is another machine. Raises HarnessError if its agent does not answer."""
    from snp_harness.platforms.host_facts import host_facts

    facts = host_facts(host.probe(None))
    found = f"{host.name}: Linux {facts.kernel}, Python {facts.python}, {facts.cpu.model or facts.machine}"
    return Check("host", CheckStatus.OK, found)


def examine(qemu: Path | None, host: Host) -> tuple[Section, ...]:
    """Make every check: of this machine, then of each platform, on the host.

    Raises HarnessError if the host cannot be reached.
    """
    from snp_harness.platforms import find_platform, platform_names

    first: tuple[Check, ...]
    if host.here:
        first = (python_check(), qemu_check(qemu), firmware_check(), build_tools_check(), apt_check(), ssh_check())
    else:
        first = (python_check(), firmware_check(), build_tools_check(), apt_check(), ssh_check(), host_check(host))
    where = "" if host.here else f" on {host.name}"
    platforms = tuple(
        Section(f"platform {name}{where}", tuple(find_platform(name).probe(host, qemu)), name)
        for name in platform_names()
    )
    return Section("this machine", first), *platforms


def first_missing_of(sections: Sequence[Section], platform: str) -> Check | None:
    """Return the first check that a platform does not meet, None if it can run."""
    [section] = (section for section in sections if section.platform == platform)
    return first_missing(list(section.checks))


def render_text(sections: Sequence[Section], platform: str) -> str:
    """Return one line for each check, with the hint of one that failed on the next line, and a summary."""
    lines = []
    for section in sections:
        lines.append(f"{section.title}:")
        for check in section.checks:
            lines.append(f"  {check.status:<7}  {check.name}: {check.evidence}")
            if check.hint and check.status is not CheckStatus.OK:
                lines.append(f"           {check.hint}")
    lines.append("summary:")
    for name in (section.platform for section in sections if section.platform is not None):
        missing = first_missing_of(sections, name)
        state = "can run" if missing is None else f"cannot run: {missing.name}: {missing.evidence}"
        asked = " (exit status)" if name == platform else ""
        lines.append(f"  {name:<9} {state}{asked}")
    return "\n".join(lines)


def render_json(sections: Sequence[Section], platform: str) -> str:
    """Return a JSON object with the checks in their order, and which platforms can run."""
    platforms = [section.platform for section in sections if section.platform is not None]
    ready = {name: first_missing_of(sections, name) is None for name in platforms}
    checks = [{"section": section.title, **check.to_json()} for section in sections for check in section.checks]
    head = json_head("doctor") | {"harness": build().version}
    return json.dumps(head | {"platform": platform, "can_run": ready, "checks": checks}, indent=2)
