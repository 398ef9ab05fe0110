# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a platform can run on the host of the session: its probes, skips, and lines of pytest's header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

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

            inventory = option(config, "inventory")
            wait_s = float(option(config, "host_wait") or 0)
            config.stash[_host] = connect(hosts, worker(config) or 0, Path(inventory) if inventory else None, wait_s)
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
        qemu = option(config, "qemu")
        probes[name] = find_platform(name).probe(session_host(config), Path(qemu) if qemu else None)
    return probes[name]


def header(config: pytest.Config) -> list[str]:
    """Return a line for each platform: whether it can run, and what is missing."""
    from snp_harness.check import first_missing

    try:
        from snp_harness.platforms import platform_names
    except ImportError:
        return []

    if config.get_verbosity() < 0:
        return []
    lines = []
    where = "here"
    hosts = host_names(config)
    if hosts:
        from snp_harness.testing.hosts import distributes, worker

        if worker(config) is not None:
            return []
        if distributes(config):
            # The workers connect to them, and a host serves one process.
            return [f"snp-harness: hosts: {', '.join(hosts)}"]
        where = f"on {hosts[0]}"
    for name in platform_names():
        missing = first_missing(probe(config, name))
        ability = f"can run {where}" if missing is None else f"cannot run {where}: {missing}"
        lines.append(f"snp-harness: {name}: {ability}")
    return lines


def require_platform(config: pytest.Config, name: str) -> None:
    """Skip the current test, or fail it with --snp-require, if the platform of that name cannot run here."""
    from snp_harness.check import first_missing
    from snp_harness.errors import HarnessError

    try:
        session_host(config)
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)
    try:
        missing = first_missing(probe(config, name))
        reason = "" if missing is None else str(missing)
    except HarnessError as error:
        reason = str(error)
    if reason:
        lacking(config, name, reason)


def lacking(config: pytest.Config, name: str, reason: str) -> NoReturn:
    """Skip the current test, or fail it if the platform is required."""
    host = config.stash[_host]
    where = "here" if host.here else f"on {host.name}"
    message = f"platform {name} cannot run {where}: {reason}"
    if name in required(config):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
