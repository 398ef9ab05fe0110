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

from snp_harness.testing import abilities, evidence, golden, markers, options, pages
from snp_harness.testing.fixtures import (
    linux_guest,
    snp_boot,
    snp_config,
    snp_firmware,
    snp_golden,
    snp_guest,
    snp_host,
    snp_igvm,
    snp_platform,
)

#: pytest finds fixtures and hooks among the names of this module.
__all__ = [
    "linux_guest",
    "snp_boot",
    "snp_config",
    "snp_firmware",
    "snp_golden",
    "snp_guest",
    "snp_host",
    "snp_igvm",
    "snp_platform",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers for --strict-markers, and check the options."""
    markers.register(config)
    options.check(config)
    if config.getoption("xmlpath", None):
        config.pluginmanager.register(JUnit(config))
    directory = options.path_option(config, "report")
    # With pytest-xdist the workers write pages.
    if directory is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(pages.Index(directory))
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
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Add what the test's boots left: properties, attachments, and to a failed test's report verdicts and files."""
    evidence.record(item)
    if item.config.getoption("snp_keep") and call.excinfo is not None:
        from snp_harness.testing.keep import note

        note(item, call)
    outcome = yield
    evidence.add(item, outcome.get_result(), "" if call.excinfo is None else str(call.excinfo.value))
    pages.write_pages(item, outcome.get_result())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the golden timelines that were written."""
    for path in golden.updated(terminalreporter):
        terminalreporter.write_line(f"snp-harness: golden timeline written: {path}")


class JUnit:
    """Writes attachments to JUnit, in the process that writes it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the attachments of a test's last report."""
        evidence.attach(self._config, report)
