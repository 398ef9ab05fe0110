# SPDX-License-Identifier: GPL-2.0-or-later
"""Real firmware, and the versions of QEMU that it is booted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.debian.qemu_bundle import cached_qemu
from snp_harness.hosts.host import Host
from tests.firmware.conftest import amdsev_path, bookworm_path, trixie_path
from tests.platforms.boots import use_host

__all__ = ["amdsev_path", "bookworm_path", "trixie_path"]


@pytest.fixture(params=["installed", pytest.param("sid", marks=pytest.mark.slow)])
def qemu(request: pytest.FixtureRequest) -> Path | None:
    """The QEMU of the machine (Debian 12: 7.2), and sid's (11.1); as RunSpec.qemu takes it."""
    if request.param == "installed":
        return None
    bundle = cached_qemu(request.param)
    if bundle is None:
        missing = f"no QEMU of {request.param} in the cache: snp-harness fetch qemu {request.param}"
        if request.config.getoption("snp_require"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return bundle.directory


@pytest.fixture(scope="session", autouse=True)
def boot_host(snp_host: Host) -> None:
    """The boots of these tests run on the host of --snp-host."""
    use_host(snp_host)
