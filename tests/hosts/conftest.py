# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers on loopback, and the near side's home."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snp_harness.hosts.inventory import find_host
from snp_harness.hosts.remote import RemoteHost
from tests.hosts.sshd import Sshd, near_programs, start_sshd
from tests.platforms.conftest import trixie_path
from tests.vm.processes import children

__all__ = ["trixie_path"]


@pytest.fixture
def own_children() -> Callable[[], set[int]]:
    """The processes that this test has started: drivers of earlier tests may run as long as the session."""
    earlier = set(children())
    return lambda: set(children()) - earlier


@pytest.fixture
def servers(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    own_children: Callable[[], set[int]],
) -> Iterator[Callable[..., Sshd]]:
    """Start a server, as `start_sshd` does, and use its home as the near side's."""
    started: list[Sshd] = []
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("PATH", f"{near_programs(tmp_path_factory.getbasetemp())}:{os.environ['PATH']}")

    def start(**more: object) -> Sshd:
        made = start_sshd(tmp_path / f"sshd{len(started)}", **more)  # type: ignore[arg-type]
        started.append(made)
        monkeypatch.setenv("HOME", str(made.home))
        return made

    yield start
    for made in started:
        made.stop()


@pytest.fixture
def sshd(servers: Callable[..., Sshd]) -> Sshd:
    """A server with the default configuration."""
    return servers()


@pytest.fixture
def hosts() -> Iterator[Callable[..., RemoteHost]]:
    """Make a host, as `find_host` does, and close it at the end of the test."""
    made: list[RemoteHost] = []

    def make(given: str, **more: object) -> RemoteHost:
        host = find_host(given, **more)  # type: ignore[arg-type]
        made.append(host)
        return host

    yield make
    for host in made:
        host.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short name: a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="snp-", dir="/tmp") as name:
        yield Path(name)
