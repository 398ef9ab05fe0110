# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent on the oldest Python that it supports: Debian 11's, fetched, with its own C library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.apic.verdict import Status
from snp_harness.debian.cache import Entries, silent
from snp_harness.debian.firmware import with_apt
from snp_harness.debian.packages import AptRoot, unpack
from snp_harness.errors import FetchError
from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts import bundle
from snp_harness.hosts.agent_process import AgentProcess, ProcessHost
from tests.apic.samples import SEVEN
from tests.platforms.sec import sec_accesses, told

pytestmark = pytest.mark.slow

SUITE = "bullseye"
PACKAGES = ("python3.9-minimal", "libpython3.9-stdlib", "libc6")
_LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of Debian 11's python3."""

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        archives = apt.closure(PACKAGES)
        version = next(archive.version for archive in archives if archive.name == PACKAGES[0])
        if entries.find(version) is None:
            with entries.adding(version) as directory:
                downloads = directory / ".download"
                for deb in apt.download(archives, downloads):
                    unpack(deb, directory)
        return entries.select(version)

    try:
        root = with_apt(AptRoot, SUITE, "python", fetch, silent, None)
    except FetchError as error:
        pytest.skip(f"Debian 11's Python cannot be fetched: {error}")
    program = tmp_path_factory.mktemp("old") / "python3"
    loader = next((root / _LIBRARIES[0]).glob("ld-linux-x86-64.so.2"))
    libraries = ":".join(str(root / name) for name in _LIBRARIES)
    program.write_text(
        f"#!/bin/sh\nexport PYTHONHOME={root}/usr\n"
        f'exec {loader} --library-path {libraries} {root}/usr/bin/python3.9 "$@"\n'
    )
    program.chmod(0o755)
    return program


class OldHost(ProcessHost):
    """This machine, with that interpreter."""

    def __init__(self, python: Path) -> None:
        super().__init__()
        self._python = python

    def connect(self) -> AgentProcess:
        return AgentProcess([str(self._python), "-I", "-B", "-c", bundle.bootstrap()])


@pytest.fixture
def host(python: Path) -> Iterator[OldHost]:
    made = OldHost(python)
    yield made
    made.close()


@pytest.mark.parametrize(
    "platform", [pytest.param("emulated", marks=pytest.mark.emulated), pytest.param("tcg", marks=pytest.mark.tcg)]
)
def test_a_run(platform: str, host: OldHost, trixie_path: Path, tmp_path: Path) -> None:
    result = run(RunSpec(trixie_path, host=host), platform, tmp_path / "out")
    assert result.verdict.status is Status.VIOLATED
    assert told(sec_accesses(result.timeline)) == SEVEN
    assert result.timeline.gaps == ()


def test_what_is_asked_of_a_host(host: OldHost) -> None:
    link = host.link()
    facts = link.call("probe", 60.0)
    assert facts["python"].startswith("3.9.")
    assert facts["memory"]["total_kb"] > 0
    assert set(link.call("kvm")) >= {"error", "modules"}
    assert "missing" in link.call("tracing", events=["kvm_exit"])
