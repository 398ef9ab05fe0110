# SPDX-License-Identifier: GPL-2.0-or-later
"""What every run of pytest inside a test has, and servers on loopback, for the options that name a host."""

from __future__ import annotations

import pytest

from tests.hosts.conftest import hosts, own_children, servers, sshd, trixie_path

__all__ = ["hosts", "own_children", "servers", "sshd", "trixie_path"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out hypothesis, whose import would take a second of each inner run."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
