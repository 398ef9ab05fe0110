# SPDX-License-Identifier: GPL-2.0-or-later
"""The hostile firmware, compiled once a session, and the versions of QEMU that it runs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.debian.qemu_bundle import cached_qemu
from tests.helpers.guest_image import compile_guest
from tests.hostile.image import SOURCE
from tests.hostile.run import HostileRun, Options, Setting, run_hostile

Run = Callable[..., HostileRun]


@pytest.fixture(scope="session")
def hostile_code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The compiled firmware, for image.build()."""
    return compile_guest(tmp_path_factory.mktemp("hostile"), SOURCE, "hostile.fd")


@pytest.fixture(params=["installed", pytest.param("sid", marks=pytest.mark.slow)])
def qemu(request: pytest.FixtureRequest) -> Path | None:
    """The QEMU of the machine, or that of --snp-qemu, and sid's; as RunSpec.qemu takes it."""
    if request.param == "installed":
        given = request.config.getoption("snp_qemu") or request.config.getini("snp_qemu")
        return Path(given) if given else None
    bundle = cached_qemu(request.param)
    if bundle is None:
        pytest.skip(f"no QEMU of {request.param} in the cache: snp-harness fetch qemu {request.param}")
    return bundle.directory


@pytest.fixture
def hostile(tmp_path: Path, qemu: Path | None, hostile_code: bytes) -> Run:
    """hostile(case, setting, options=None): run a case of the firmware."""

    def run(name: str, setting: Setting, options: Options | None = None) -> HostileRun:
        return run_hostile(tmp_path / setting.name, hostile_code, name, setting, qemu, options)

    return run
