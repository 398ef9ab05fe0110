# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures of the pytest plugin."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.testing import options
from snp_harness.testing.abilities import session_host
from snp_harness.testing.boot import SnpBoot
from snp_harness.testing.golden import SnpGolden
from snp_harness.testing.markers import configuration

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.testing.guest import SnpGuest
    from snp_harness.testing.linux import SnpLinux


@pytest.fixture(scope="session")
def snp_platform(pytestconfig: pytest.Config) -> str:
    """The name of the platform: --snp-platform, else `emulated`."""
    return options.option(pytestconfig, "platform") or DEFAULT_PLATFORM


@pytest.fixture(scope="session")
def snp_host(pytestconfig: pytest.Config) -> Host:
    """The host of --snp-host that this process uses and is connected to, else this machine."""
    return session_host(pytestconfig)


@pytest.fixture(scope="session")
def snp_firmware(request: pytest.FixtureRequest) -> Path:
    """The path of the firmware: the marker's, else --snp-firmware, else the first one fetched or installed.

    Skips the test if there is none.
    """
    from snp_harness.errors import HarnessError
    from snp_harness.firmware.find import find_firmware

    config = request.config
    marked = getattr(request, "param", None)
    given = options.firmware(config) if marked is None else options.in_project(config, str(marked))
    try:
        return find_firmware(given)
    except HarnessError as error:
        if given or options.required(config):
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        raise pytest.skip.Exception(str(error)) from None


@pytest.fixture(scope="session")
def snp_config(request: pytest.FixtureRequest) -> SvsmConfig | str | Path | None:
    """The configuration of the marker snp_configs; None, the default one, without that marker."""
    return configuration(getattr(request, "param", None), request.config)


@pytest.fixture(scope="session")
def snp_igvm(pytestconfig: pytest.Config, snp_host: Host) -> Path:
    """The path of the SVSM's IGVM file: --snp-igvm, else the host's, else SNP_HARNESS_IGVM. Skips if there is none."""
    given = options.path_option(pytestconfig, "igvm") or snp_host.igvm or os.environ.get("SNP_HARNESS_IGVM")
    if not given:
        missing = "no IGVM file with an SVSM is named: use --snp-igvm F (docs/snp.md describes how to build one)"
        if "snp" in options.required(pytestconfig):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return Path(given)


@pytest.fixture
def snp_guest(request: pytest.FixtureRequest) -> Iterator[SnpGuest]:
    """Boot a firmware and get the guest alive: snp_guest(firmware=..., config=...) returns a Guest; see SnpGuest."""
    from snp_harness.testing.guest import SnpGuest

    with contextlib.ExitStack() as stack:
        yield SnpGuest(request, stack)


@pytest.fixture
def linux_guest(request: pytest.FixtureRequest) -> Iterator[SnpLinux]:
    """Boot Linux and get the guest alive: linux_guest("trixie", vcpus=...) returns a LinuxGuest; see SnpLinux."""
    from snp_harness.testing.linux import SnpLinux

    with contextlib.ExitStack() as stack:
        yield SnpLinux(request, stack)


@pytest.fixture
def snp_boot(request: pytest.FixtureRequest) -> SnpBoot:
    """Boot a firmware: snp_boot(firmware=..., platform=..., until=..., config=...) returns a RunResult; see SnpBoot."""
    return SnpBoot(request)


@pytest.fixture
def snp_golden(request: pytest.FixtureRequest) -> SnpGolden:
    """Compare a boot with the golden timeline beside the test: snp_golden.check(result); see SnpGolden."""
    return SnpGolden(request)
