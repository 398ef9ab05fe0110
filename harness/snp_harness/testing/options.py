# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of the pytest plugin and their twins in the ini file, which an option overrides."""

from __future__ import annotations

import pytest

from snp_harness.defaults import DEFAULT_PLATFORM

OPTIONS = {
    "platform": ("NAME", f"the platform that snp_boot uses; default: {DEFAULT_PLATFORM}"),
    "firmware": ("F", "the firmware that snp_boot boots: a path or debian:SUITE"),
    "qemu": ("Q", "the QEMU that snp_boot runs"),
    "igvm": ("F", "the IGVM file with COCONUT-SVSM that tests on SNP hardware launch"),
    "inventory": ("FILE", "the inventory of hosts; default: ~/.config/snp-harness/hosts.toml"),
    "host-wait": ("S", "seconds to wait for a host that is in use"),
    "out": ("DIR", "the parent of run directories; default: the test's own temporary directory"),
    "require": (
        "NAMES",
        "platforms, separated by commas, whose tests fail instead of being skipped if they cannot run here",
    ),
}
HOST_HELP = (
    "the host where boots run: ssh://USER@BOX[:PORT], or a name of the inventory; one for each worker of pytest-xdist"
    " (repeat the option, or separate them by commas)"
)


def add_options(parser: pytest.Parser) -> None:
    """Add --snp-platform and the other options, each with its ini option."""
    group = parser.getgroup("snp-harness", "SEV-SNP firmware harness")
    for name, (metavar, text) in OPTIONS.items():
        dest = f"snp_{name.replace('-', '_')}"
        group.addoption(f"--snp-{name}", dest=dest, metavar=metavar, help=text)
        parser.addini(dest, text, default="")
    group.addoption("--snp-host", dest="snp_host", metavar="H", action="append", default=[], help=HOST_HELP)
    parser.addini("snp_host", HOST_HELP, default="")


def option(config: pytest.Config, name: str) -> str | None:
    """Return the value of an option of OPTIONS, else of its ini option; None without either."""
    given = config.getoption(f"snp_{name}") or config.getini(f"snp_{name}")
    return str(given) if given else None


def required(config: pytest.Config) -> set[str]:
    """Return the platforms of --snp-require."""
    return {name.strip() for name in (option(config, "require") or "").split(",") if name.strip()}


def host_names(config: pytest.Config) -> list[str]:
    """Return the hosts of --snp-host, else those of the ini file."""
    given = config.getoption("snp_host") or [str(config.getini("snp_host"))]
    if not any(given):
        return []
    from snp_harness.testing.hosts import names

    return names(given)
