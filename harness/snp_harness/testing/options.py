# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of the pytest plugin and their twins in the ini file, which an option overrides."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from snp_harness.defaults import DEBIAN, DEFAULT_PLATFORM
from snp_harness.errors import HarnessError
from snp_harness.nearest import known_names
from snp_harness.platforms import platform_names

OPTIONS = {
    "platform": ("NAME", f"the platform that snp_boot uses; default: {DEFAULT_PLATFORM}"),
    "firmware": ("F", "the firmware that snp_boot boots: a path or debian:SUITE"),
    "qemu": ("Q", "the QEMU that snp_boot runs"),
    "igvm": ("F", "the IGVM file with COCONUT-SVSM that tests on SNP hardware launch"),
    "inventory": ("FILE", "the inventory of hosts; default: ~/.config/snp-harness/hosts.toml"),
    "host-wait": ("S", "seconds to wait for a host that is in use"),
    "out": ("DIR", "the parent of run directories; default: the test's own temporary directory"),
    "report": ("DIR", "write a page for each boot there, and index.html"),
    "require": (
        "NAMES",
        "platforms, separated by commas, whose tests fail instead of being skipped if they cannot run here",
    ),
}
HOST_HELP = (
    "the host where boots run: ssh://USER@BOX[:PORT], or a name of the inventory; one for each worker of pytest-xdist"
    " (repeat the option, or separate them by commas)"
)
UPDATE_HELP = "write the golden timelines of snp_golden instead of comparing with them"
KEEP_HELP = "when a test fails, leave its guests running, one after the other, with their consoles on the terminal"


def add_options(parser: pytest.Parser) -> None:
    """Add --snp-platform and the other options, each with its ini option."""
    group = parser.getgroup("snp-harness", "SEV-SNP firmware harness")
    for name, (metavar, text) in OPTIONS.items():
        dest = f"snp_{name.replace('-', '_')}"
        group.addoption(f"--snp-{name}", dest=dest, metavar=metavar, help=text)
        parser.addini(dest, text, default="")
    group.addoption("--snp-host", dest="snp_host", metavar="H", action="append", default=[], help=HOST_HELP)
    parser.addini("snp_host", HOST_HELP, default="")
    group.addoption("--snp-keep", dest="snp_keep", action="store_true", help=KEEP_HELP)
    group.addoption("--snp-update-golden", dest="snp_update_golden", action="store_true", help=UPDATE_HELP)


def option(config: pytest.Config, name: str) -> str | None:
    """Return the value of an option of OPTIONS, else of its ini option; None without either."""
    given = config.getoption(f"snp_{name}") or config.getini(f"snp_{name}")
    return str(given) if given else None


def path_option(config: pytest.Config, name: str) -> Path | None:
    """Return the path that an option names; one in the ini file is relative to the directory of that file."""
    given = option(config, name)
    if given is None:
        return None
    path = Path(given).expanduser()
    if config.getoption(f"snp_{name}"):
        return path
    return (config.rootpath if config.inipath is None else config.inipath.parent) / path


def required(config: pytest.Config) -> set[str]:
    """Return the platforms of --snp-require."""
    return {name.strip() for name in (option(config, "require") or "").split(",") if name.strip()}


def host_wait(config: pytest.Config) -> float:
    """Return the seconds of --snp-host-wait. Raises pytest.UsageError."""
    given = option(config, "host_wait") or "0"
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise pytest.UsageError(f"{_source(config, 'host_wait')}: {given!a} is not a number of seconds")
    return seconds


def qemu(config: pytest.Config) -> Path | None:
    """Return the QEMU of --snp-qemu; None without one. That of a Debian suite is fetched. Raises FetchError."""
    given = option(config, "qemu")
    if given is None:
        return None
    if host_names(config):
        return Path(given)
    from snp_harness.debian.qemu_bundle import named_qemu

    return named_qemu(given) or path_option(config, "qemu")


def firmware(config: pytest.Config) -> str | None:
    """Return the name or the path of --snp-firmware."""
    given = option(config, "firmware")
    return given if given is None or given.startswith(DEBIAN) else str(path_option(config, "firmware"))


def in_project(config: pytest.Config, given: str) -> str:
    """Return a firmware of a marker: a name as it is, a path relative to the project's root directory."""
    return given if given.startswith(DEBIAN) else str(config.rootpath / Path(given).expanduser())


def check(config: pytest.Config) -> None:
    """Check the values of the options. Raises pytest.UsageError, which pytest prints in one line."""
    platform = option(config, "platform")
    for name, given in (("platform", {platform} if platform else set()), ("require", required(config))):
        for unknown in sorted(given - set(platform_names())):
            known = known_names(unknown, platform_names())
            raise pytest.UsageError(f"{_source(config, name)}: no platform is named {unknown!a}: {known}")
    host_wait(config)
    # A file of the ini file is looked for when a test needs it: that of a command line is for this session.
    if config.getoption("snp_qemu"):
        check_qemu(config)
    report = path_option(config, "report")
    if report is not None and report.exists() and not report.is_dir():
        raise pytest.UsageError(f"{_source(config, 'report')}: {str(report)!a} is not a directory")
    if given := config.getoption("snp_firmware"):
        _check_firmware(given)
    if (given := config.getoption("snp_igvm")) and not host_names(config):
        _check_file("--snp-igvm", given)


def _check_firmware(given: str) -> None:
    if not given.startswith(DEBIAN):
        _check_file("--snp-firmware", given)
        return
    from snp_harness.debian.firmware_names import DebianFirmware

    try:
        DebianFirmware.parse(given)
    except HarnessError as error:
        raise pytest.UsageError(f"--snp-firmware: {error}") from None


def _check_file(name: str, given: str) -> None:
    if not Path(given).expanduser().is_file():
        raise pytest.UsageError(f"{name}: {given!a} is not a file")


def check_qemu(config: pytest.Config) -> None:
    """Check that there is the QEMU that --snp-qemu names by its path. Raises pytest.UsageError."""
    given = option(config, "qemu")
    if given is None or given.startswith(DEBIAN) or host_names(config):
        return
    from snp_harness.vm.qemu_binary import QemuBinary

    try:
        QemuBinary.locate(path_option(config, "qemu"))
    except HarnessError as error:
        raise pytest.UsageError(f"{_source(config, 'qemu')}: {error.message}") from None


def _source(config: pytest.Config, name: str) -> str:
    """Return what gives an option its value, for a message."""
    if config.getoption(f"snp_{name}"):
        return f"--snp-{name.replace('_', '-')}"
    return f"snp_{name} in {config.inipath.name if config.inipath else 'the ini file'}"


def host_names(config: pytest.Config) -> list[str]:
    """Return the hosts of --snp-host, else those of the ini file."""
    given = config.getoption("snp_host") or [str(config.getini("snp_host"))]
    if not any(given):
        return []
    from snp_harness.testing.hosts import names

    return names(given)
