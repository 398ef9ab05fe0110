# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a platform can run on the host of the session: its probes, skips, and the lines that pytest shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import pytest

from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.testing import options
from snp_harness.testing.markers import BOOTING, concerns, marked_platforms
from snp_harness.testing.options import host_names, option, required

if TYPE_CHECKING:
    from snp_harness.check import Check
    from snp_harness.hosts.host import Host

_probes = pytest.StashKey[dict[str, "list[Check]"]]()
_host = pytest.StashKey["Host"]()


def session_host(config: pytest.Config) -> Host:
    """Return the host of this process. The first call connects to it. Raises HarnessError."""
    if _host not in config.stash:
        hosts = host_names(config)
        if not hosts:
            from snp_harness.hosts.local import LOCAL

            config.stash[_host] = LOCAL
        else:
            from snp_harness.testing.hosts import connect, worker

            inventory = options.path_option(config, "inventory")
            config.stash[_host] = connect(hosts, worker(config) or 0, inventory, options.host_wait(config))
    return config.stash[_host]


def close_host(config: pytest.Config) -> None:
    """Close the connection to the host."""
    host = config.stash.get(_host, None)
    if host is not None:
        host.close()


def probe(config: pytest.Config, name: str) -> list[Check]:
    """Return the checks of a platform on the session's host. They are made once."""
    from snp_harness.platforms import find_platform

    probes = config.stash.setdefault(_probes, {})
    if name not in probes:
        probes[name] = find_platform(name).probe(session_host(config), options.qemu(config))
    return probes[name]


def prepare(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Check what the tests that were collected need: QEMU and host. Raises pytest.UsageError.

    The session ends at once with the exit status of the command if the host cannot be used, or a QEMU not be fetched.
    Does nothing where no test concerns the harness, or the workers of xdist run the tests.
    """
    from snp_harness.errors import HarnessError
    from snp_harness.testing.hosts import distributes, worker

    if distributes(config) or worker(config) is not None or not any(map(concerns, items)):
        return
    options.check_qemu(config)
    try:
        if host_names(config):
            session_host(config)
        options.qemu(config)
    except HarnessError as error:
        pytest.exit(f"snp-harness: {error}", returncode=error.exit_status)


def header(config: pytest.Config) -> list[str]:
    """Return a line with the hosts that the workers of xdist connect to; a host serves one process."""
    hosts = host_names(config)
    if not hosts:
        return []
    from snp_harness.testing.hosts import distributes

    return [f"snp-harness: hosts: {', '.join(hosts)}"] if distributes(config) else []


def abilities(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Return a line for each platform that the tests name: whether it can run, and what is missing."""
    from snp_harness.check import first_missing
    from snp_harness.errors import HarnessError
    from snp_harness.platforms import platform_names

    # Not config.get_verbosity(), which is newer than the pytest of Debian 12.
    if config.getoption("verbose") < 0 or config.getoption("collectonly"):
        return []
    wanted = {name for item in items for name in _platforms_of(item)}
    lines = []
    for name in filter(wanted.__contains__, platform_names()):
        try:
            missing = first_missing(probe(config, name))
        except HarnessError as error:
            lines.append(f"snp-harness: {name}: {error}")
            continue
        where = _where(config)
        ability = f"can run {where}" if missing is None else f"cannot run {where}: {missing}"
        lines.append(f"snp-harness: {name}: {ability}")
    return lines


def _platforms_of(item: pytest.Item) -> list[str]:
    boots = not BOOTING.isdisjoint(getattr(item, "fixturenames", ()))
    return marked_platforms(item) or ([option(item.config, "platform") or DEFAULT_PLATFORM] if boots else [])


def _where(config: pytest.Config) -> str:
    host = session_host(config)
    return "here" if host.here else f"on {host.name}"


def require_platform(config: pytest.Config, name: str) -> None:
    """Skip the current test, or fail it with --snp-require, if the platform of that name cannot run here."""
    from snp_harness.check import first_missing
    from snp_harness.errors import HarnessError, UsageError

    try:
        session_host(config)
        options.check_qemu(config)
        options.qemu(config)
    except (HarnessError, pytest.UsageError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    try:
        missing = first_missing(probe(config, name))
        reason = "" if missing is None else str(missing)
    except UsageError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except HarnessError as error:
        reason = str(error)
    if reason:
        lacking(config, name, reason)


def lacking(config: pytest.Config, name: str, reason: str) -> NoReturn:
    """Skip the current test, or fail it if the platform is required."""
    message = f"platform {name} cannot run {_where(config)}: {reason}"
    if name in required(config):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
