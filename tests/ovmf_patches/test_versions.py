# SPDX-License-Identifier: GPL-2.0-or-later
"""The series on upstream's versions of edk2: it applies to each, and is right on the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.verdict import Status
from snp_harness.edk2.series import load_series
from snp_harness.edk2.source import Repository
from tests.edk2.trees import upstream_repository
from tests.ovmf_patches.conftest import MUTANTS, NEWEST, SERIES, mutants, newest_base
from tests.ovmf_patches.files import BACKPORTS
from tests.platforms.boots import boot

pytestmark = [pytest.mark.edk2, pytest.mark.slow]
#: The backports that upstream has, where it has not all.
UPSTREAM = {"202502": 0, "202505": 2}
VERSIONS = ("202502", "202505", "202508.01", "202511", "202602", "202605")


@pytest.fixture(scope="module")
def repository() -> Repository:
    return upstream_repository()


@pytest.mark.parametrize("revision", [*(f"edk2-stable{version}" for version in VERSIONS), NEWEST])
def test_it_applies(repository: Repository, revision: str) -> None:
    plain = repository.source(repository.commit(revision))
    source = plain.with_series(load_series(SERIES))
    commits = source.store.git("log", "--reverse", "--format=%s", f"{plain.commit}..{source.commit}").stdout.decode()
    applied = commits.splitlines()
    wanted = [patch.message.partition("\n")[0] for patch in load_series(SERIES)]
    assert applied == wanted[UPSTREAM.get(revision.removeprefix("edk2-stable"), len(BACKPORTS)) :]
    for path in MUTANTS.glob("*.patch"):
        source.with_series(mutants(path.stem))


@pytest.mark.emulated
@pytest.mark.long
@pytest.mark.parametrize("vcpus", [1, 4])
def test_every_rule_holds_on_the_newest(vcpus: int, tmp_path: Path) -> None:
    image = newest_base().image(load_series(SERIES))
    result = boot(image, tmp_path / "out", until="shell", vcpus=vcpus)
    assert [(found.rule, found.reason) for found in result.verdict.results if found.status is not Status.HOLDS] == []
