# SPDX-License-Identifier: GPL-2.0-or-later
"""Which host a pytest session uses: the one of --snp-host, or one of several, a worker of pytest-xdist each.

xdist distributes the tests, and a host's lock says whether it is free: there is no scheduler here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from snp_harness.hosts.remote import RemoteHost


def names(given: Sequence[str]) -> list[str]:
    """The hosts of the options, each once; an option may name several, with commas."""
    listed = [name.strip() for text in given for name in text.split(",")]
    return list(dict.fromkeys(name for name in listed if name))


def worker(config: pytest.Config) -> int | None:
    """The number of this worker of xdist; None if this is none."""
    given: dict[str, str] = getattr(config, "workerinput", {})
    match = re.search(r"\d+\Z", given.get("workerid", ""))
    return int(match.group()) if match else None


def distributes(config: pytest.Config) -> bool:
    """This process runs no tests itself: its workers do."""
    return worker(config) is None and bool(config.getoption("numprocesses", 0) or config.getoption("tx", None))


def check(config: pytest.Config, hosts: Sequence[str]) -> None:
    """Raises pytest.UsageError where tests would wait for hosts, or hosts for tests."""
    if worker(config) is not None or len(hosts) == 0:
        return
    workers = config.getoption("numprocesses", 0) or 0
    if not distributes(config) and len(hosts) > 1:
        raise pytest.UsageError(
            f"{len(hosts)} hosts, but one process: give -n {len(hosts)} (pytest-xdist), or one host"
        )
    # "auto" is what the machine has, and known later: who comes too late for a host is told so.
    if isinstance(workers, int) and workers > len(hosts):
        raise pytest.UsageError(f"-n {workers}, but {len(hosts)} hosts: a host serves one worker: give -n {len(hosts)}")


def take(hosts: Sequence[str], first: int, inventory: Path | None, wait_s: float) -> RemoteHost:
    """Connect to the first host that is free, starting with number `first`; wait for that one if none is.

    Raises HarnessError.
    """
    from snp_harness.hosts.host_errors import HostLockedError
    from snp_harness.hosts.inventory import find_host

    order = [hosts[(first + step) % len(hosts)] for step in range(len(hosts))]
    for name in order[: len(order) if len(order) > 1 else 0]:
        host = find_host(name, inventory=inventory)
        try:
            host.link()
        except HostLockedError:
            continue
        return host
    host = find_host(order[0], inventory=inventory, wait_s=wait_s)
    host.link()
    return host
