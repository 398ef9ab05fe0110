# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit tests of the series, in edk2's own way: they pass, and each small mistake makes one of them fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.debian.cache import remove
from snp_harness.edk2.series import load_series
from snp_harness.edk2.source import Source, find_source
from snp_harness.errors import FetchError
from tests.edk2.trees import skip_unless_built_here, upstream_repository
from tests.ovmf_patches.conftest import NEWEST, SERIES, SOURCE
from tests.ovmf_patches.unit_mutants import MUTANTS, Mutant
from tests.ovmf_patches.unit_tests import SUITES, UnitTests, unit_tests

pytestmark = [pytest.mark.edk2, pytest.mark.slow]


def _source(name: str) -> Source:
    if name == SOURCE:
        return find_source(SOURCE)
    repository = upstream_repository()
    return repository.source(repository.commit(name))


@pytest.fixture(scope="module", params=[SOURCE, NEWEST])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnitTests]:
    directory = tmp_path_factory.mktemp("unit-tests")
    skip_unless_built_here(directory)
    try:
        yield unit_tests(_source(request.param).with_series(load_series(SERIES)), directory)
    except FetchError as error:
        pytest.skip(f"edk2's source or a test framework is not in the cache and cannot be fetched: {error}")
    finally:
        remove(directory)


def mutated(built: UnitTests, mutant: Mutant) -> frozenset[str]:
    """The tests that fail with a mutant."""
    with built.with_change(mutant.suite, mutant.path, mutant.before, mutant.after):
        result = built.result(mutant.suite)
    assert (result.status == 0) is (not result.failed)
    return result.failed


@pytest.mark.parametrize("suite", SUITES)
def test_each_passes(built: UnitTests, suite: str) -> None:
    result = built.result(suite)
    assert (result.status, result.failed) == (0, frozenset())
    assert result.passed == built.declared(suite) != frozenset()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_is_caught(built: UnitTests, mutant: Mutant, tmp_path: Path) -> None:
    failed = mutated(built, mutant)
    assert mutant.caught_by in failed, f"caught by {sorted(failed)}"
