# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.svsm import driver


@pytest.fixture(scope="session")
def svsm_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driver.build(tmp_path_factory.mktemp("svsm"))


@pytest.fixture
def svsm(svsm_program: Path) -> Iterator[driver.Svsm]:
    with driver.Svsm(svsm_program) as running:
        yield running


@pytest.fixture(scope="session")
def shared_svsm(svsm_program: Path) -> Iterator[driver.Svsm]:
    """One driver for all examples of a property; each example boots it anew where it changes it."""
    with driver.Svsm(svsm_program) as running:
        yield running
