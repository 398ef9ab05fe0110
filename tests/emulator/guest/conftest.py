# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest: compiled once a session, and each of its runs made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.guest.build import DIRECTORY, End
from tests.emulator.guest.run import GuestRun, Setting, run_guest
from tests.helpers.guest_image import compile_guest

Run = Callable[..., GuestRun]


@pytest.fixture(scope="session")
def guest_code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The compiled guest, for build.image()."""
    return compile_guest(tmp_path_factory.mktemp("guest"), DIRECTORY, "guest.fd")


@pytest.fixture(scope="session")
def guest_run(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, guest_code: bytes) -> Run:
    """guest_run(setting, end=End.NORMAL): the run of a setting with an ending, made at the first call."""
    parent = tmp_path_factory.mktemp("guest-runs")
    given = pytestconfig.getoption("snp_qemu") or pytestconfig.getini("snp_qemu")
    runs: dict[tuple[Setting, End], GuestRun] = {}

    def run(setting: Setting, end: End = End.NORMAL) -> GuestRun:
        key = (setting, end)
        if key not in runs:
            qemu = Path(given) if given else None
            runs[key] = run_guest(parent / f"{setting.name}-{end}", guest_code, setting, qemu, end)
        return runs[key]

    return run
