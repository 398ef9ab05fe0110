# SPDX-License-Identifier: GPL-2.0-or-later
"""The host of a pytest session: that of --snp-host, or of several one for each worker of pytest-xdist.

pytest-xdist distributes the tests, and a host's lock shows whether it is free: there is no scheduler here.
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
    """Return the hosts of the options, each once. An option may name several, separated by commas."""
    listed = [name.strip() for text in given for name in text.split(",")]
    return list(dict.fromkeys(name for name in listed if name))


def worker(config: pytest.Config) -> int | None:
    """Return the number of this worker of xdist, None in another process."""
    given: dict[str, str] = getattr(config, "workerinput", {})
    match = re.search(r"\d+\Z", given.get("workerid", ""))
    return int(match.group()) if match else None


def distributes(config: pytest.Config) -> bool:
    """Whether xdist's workers run the tests, and not this process."""
    return worker(config) is None and bool(config.getoption("numprocesses", 0) or config.getoption("tx", None))


def check(config: pytest.Config, hosts: Sequence[str]) -> None:
    """Raise pytest.UsageError unless there is one host for each process that runs tests."""
    if worker(config) is not None or len(hosts) == 0:
        return
    workers = config.getoption("numprocesses", 0) or 0
    if not distributes(config) and len(hosts) > 1:
        raise pytest.UsageError(f"{len(hosts)} hosts, but one process: use -n {len(hosts)} (pytest-xdist), or one host")
    # The number of "auto" is known later: a worker that finds no free host then reports that.
    if isinstance(workers, int) and workers > len(hosts):
        raise pytest.UsageError(f"-n {workers}, but {len(hosts)} hosts: a host serves one worker: use -n {len(hosts)}")


def connect(hosts: Sequence[str], first: int, inventory: Path | None, wait_s: float) -> RemoteHost:
    """Connect to the first host that is free, starting with number `first`; if none is free, wait for that one.

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
