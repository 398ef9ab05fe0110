# SPDX-License-Identifier: GPL-2.0-or-later
"""The inventory, a TOML file with a table for each named host, and the lookup of the host that `--host` names.

[hosts.genoa]
url = "ssh://me@genoa.example:2222"
qemu = "/opt/qemu/bin/qemu-system-x86_64"   # there; default: from PATH
igvm = "~/igvm/coconut-qemu.igvm"           # here; default IGVM file of the platform snp
python = "python3.11"                       # there
known_hosts = "~/.ssh/known_hosts_lab"      # here; instead of ssh's own files
identity = "~/.ssh/id_lab"                  # here; offered first
lock = "/run/lock/snp-harness.lock"         # there
notes = "EPYC 9124, Linux 6.18"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.errors import UsageError
from snp_harness.hosts.ssh_url import SCHEME, parse_url
from snp_harness.nearest import known_names
from snp_harness.xdg import config_home

if TYPE_CHECKING:
    from snp_harness.hosts.remote import RemoteHost

#: The value of --host for this machine through an agent.
LOCAL = "local"
_FILE_MAX = 1 << 20
_KEYS = ("url", "qemu", "igvm", "python", "sudo", "known_hosts", "identity", "lock", "notes")
_HINT = "docs/hosts.md describes every key"


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host. name: in the inventory, or the URL. Other fields: as in the file, paths of here expanded."""

    name: str
    url: str
    qemu: Path | None = None
    igvm: Path | None = None
    python: str = "python3"
    sudo: bool = False
    known_hosts: Path | None = None
    identity: Path | None = None
    lock: str | None = None
    notes: str = ""


def default_path() -> Path:
    """Return the path of the inventory if --hosts does not name one."""
    return config_home() / "snp-harness" / "hosts.toml"


def read_inventory(path: Path | None = None) -> dict[str, HostEntry]:
    """Read the hosts, by name. path: None for the default file, which may be absent. Raises UsageError."""
    named = path or default_path()
    try:
        data = named.read_bytes()
    except FileNotFoundError:
        if path is None:
            return {}
        raise UsageError(f"there is no inventory {path}", "name another with --hosts") from None
    except OSError as error:
        raise UsageError(f"cannot read {named}: {error.strerror}", "name another with --hosts") from None
    return parse_inventory(data, str(named))


def parse_inventory(data: bytes, name: str) -> dict[str, HostEntry]:
    """Return the hosts in a file's content, by name. name: of the file, for errors. Raises UsageError."""
    if len(data) > _FILE_MAX:
        raise UsageError(f"{name} is too long", f"the limit is {_FILE_MAX} bytes")
    try:
        content = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: {str(error)[:200]!a}", _HINT) from None
    hosts = content.pop("hosts", {})
    if content or not isinstance(hosts, dict):
        raise UsageError(f"{name}: only tables [hosts.NAME] are allowed", _HINT)
    return {host: _entry(host, table, f"{name}: hosts.{host}") for host, table in hosts.items()}


def find_host(given: str, *, inventory: Path | None = None, wait_s: float = 0.0, lock: bool = True) -> RemoteHost:
    """Return the host that --host names: a name of the inventory, an ssh:// URL, or "local".

    wait_s: seconds to wait for the host's lock. Does not connect. Raises UsageError.
    """
    from snp_harness.hosts.remote import LockRequest

    if given == LOCAL:
        from snp_harness.hosts.agent_process import ProcessHost

        return ProcessHost()
    if given.startswith(SCHEME):
        entry = HostEntry(given, given)
        parse_url(given)
    else:
        known = read_inventory(inventory)
        if given not in known:
            where = inventory or default_path()
            names = f"{where}: {known_names(given, known)}" if known else f"an inventory: {where} has none"
            raise UsageError(f"no host is named {given!a}", f"use ssh://USER@HOST, or a name of {names}")
        entry = known[given]
    from snp_harness.hosts.ssh import SshHost

    host = SshHost(
        entry.name,
        entry.url,
        qemu_path=entry.qemu,
        lock=LockRequest(entry.lock, wait_s) if lock else None,
        python=entry.python,
        sudo=entry.sudo,
        known_hosts_file=entry.known_hosts,
        identity=entry.identity,
    )
    host.igvm = entry.igvm
    return host


def _entry(name: str, table: object, where: str) -> HostEntry:
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table", _HINT)
    for key, value in table.items():
        if key not in _KEYS:
            raise UsageError(f"{where}: no key is named {key!a}", known_names(key, _KEYS))
        if key == "sudo":
            if not isinstance(value, bool):
                raise UsageError(f"{where}.{key} is neither true nor false", _HINT)
            continue
        if not isinstance(value, str) or not value or not value.isprintable():
            raise UsageError(f"{where}.{key} is not a string", _HINT)
    if "url" not in table:
        raise UsageError(f"{where} has no url", 'add url = "ssh://USER@HOST"')
    try:
        parse_url(table["url"])
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None
    return HostEntry(
        name,
        table["url"],
        qemu=Path(table["qemu"]) if "qemu" in table else None,
        igvm=_here(table, "igvm"),
        python=table.get("python", "python3"),
        sudo=table.get("sudo", False),
        known_hosts=_here(table, "known_hosts"),
        identity=_here(table, "identity"),
        lock=table.get("lock"),
        notes=table.get("notes", ""),
    )


def _here(table: Mapping[str, Any], key: str) -> Path | None:
    return Path(table[key]).expanduser() if key in table else None
