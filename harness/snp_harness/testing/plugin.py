# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin: boots firmware in tests, skips tests that cannot run here, and names the files of failed boots.

    @pytest.mark.snp_emulated
    def test_contract(snp_boot):
        result = snp_boot(until=Phase.SEC)
        assert result.verdict.status is Status.HOLDS

Each option has a counterpart in the ini file: `--snp-firmware F` is `snp_firmware = F`. The option has priority.
The plugin is loaded by every pytest run in an environment that has the harness. So it imports the rest of it late, and
does nothing until a test has one of its markers or fixtures.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from snp_harness.testing import abilities, markers, options
from snp_harness.testing.boot import RUN_DIRECTORIES
from snp_harness.testing.fixtures import snp_boot, snp_config, snp_firmware, snp_host, snp_igvm, snp_platform

#: pytest finds fixtures and hooks among the names of this module.
__all__ = ["snp_boot", "snp_config", "snp_firmware", "snp_host", "snp_igvm", "snp_platform"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers for --strict-markers, and check the options."""
    markers.register(config)
    options.check(config)
    hosts = options.host_names(config)
    if hosts:
        from snp_harness.testing.hosts import check

        check(config, hosts)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a test for the firmwares and configurations of its markers."""
    markers.repeat(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Check what the tests need, before a line about their platforms is printed."""
    abilities.prepare(session.config, session.items)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connection to the host."""
    abilities.close_host(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return a line with the hosts, if several processes use them."""
    return abilities.header(config)


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Return a line for each platform that the tests name: whether it can run, and what is missing."""
    return abilities.abilities(config, items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose platform cannot run here, with what is missing as the reason."""
    for name in markers.marked_platforms(item):
        abilities.require_platform(item.config, name)


# Not wrapper=True, which pluggy 1.0 does not know: it is that of Debian 12.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add to a failed test's report the run directories of its boots and the files in them."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        for directory in item.stash.get(RUN_DIRECTORIES, []):
            files = sorted(path.name for path in directory.glob("*"))
            # A boot that could not start leaves none.
            if files:
                report.sections.append(("snp-harness artefacts", f"{directory}: {', '.join(files)}"))
