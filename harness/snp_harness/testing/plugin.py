# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest plugin: boots firmware in tests, skips tests that cannot run here, and names the files of failed boots.

    @pytest.mark.emulated
    def test_contract(snp_boot):
        result = snp_boot(until=Phase.SEC)
        assert result.verdict.status is Status.HOLDS

Each option has a counterpart in the ini file: `--snp-firmware F` is `snp_firmware = F`. The option has priority.
The plugin is loaded by every pytest run in an environment that has the harness, so it imports the rest of it late.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from snp_harness.testing import abilities, markers, options
from snp_harness.testing.boot import RUN_DIRECTORIES
from snp_harness.testing.fixtures import snp_boot, snp_firmware, snp_host, snp_igvm, snp_platform

#: pytest finds fixtures and hooks among the names of this module.
__all__ = ["snp_boot", "snp_firmware", "snp_host", "snp_igvm", "snp_platform"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers for --strict-markers, and check the hosts."""
    markers.register(config)
    hosts = options.host_names(config)
    if hosts:
        from snp_harness.testing.hosts import check

        check(config, hosts)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Connect to the host: if it cannot be used, the session ends at once, with the exit status of the command."""
    from snp_harness.errors import HarnessError

    config = session.config
    if not options.host_names(config):
        return
    from snp_harness.testing.hosts import distributes, worker

    if distributes(config) or worker(config) is not None:
        return
    try:
        abilities.session_host(config)
    except HarnessError as error:
        pytest.exit(f"snp-harness: {error}", returncode=error.exit_status)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connection to the host."""
    abilities.close_host(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return a line for each platform: whether it can run, and what is missing."""
    return abilities.header(config)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose platform cannot run here, with what is missing as the reason."""
    from snp_harness.platforms import platform_names

    for name in platform_names():
        if item.get_closest_marker(name) is not None:
            abilities.require_platform(item.config, name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failed test's report the run directories of its boots and the files in them."""
    report = yield
    if report.failed:
        for directory in item.stash.get(RUN_DIRECTORIES, []):
            files = sorted(path.name for path in directory.glob("*"))
            # A boot that could not start leaves none.
            if files:
                report.sections.append(("snp-harness artefacts", f"{directory}: {', '.join(files)}"))
    return report
