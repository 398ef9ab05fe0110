# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a host is and how to log in there: an ssh:// URL and what ~/.ssh/config says of it."""

from __future__ import annotations

import getpass
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.errors import UsageError

if TYPE_CHECKING:
    from paramiko import SSHConfig

SCHEME = "ssh://"
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}\Z")
#: Keys that are tried where nothing names others, as ssh does.
DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
DEFAULT_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")
CONFIG = Path("~/.ssh/config")
#: Hosts on the way to one.
JUMPS_MAX = 8


@dataclass(frozen=True, slots=True)
class SshAddress:
    """What a URL says."""

    host: str
    user: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where to connect and log in.

    key_name: the name that the host's key is kept under, if it is not the host's own. identities: key files; the first
    that is accepted is used. all_agent_keys: keys of the ssh-agent that no identity names are tried, too. jumps: the
    hosts on the way, the first one first.
    """

    host: str
    port: int
    user: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    key_name: str | None = None
    all_agent_keys: bool = True
    jumps: tuple[SshAddress, ...] = ()


def parse_url(url: str) -> SshAddress:
    """The parts of ssh://[USER@]HOST[:PORT]. Raises UsageError; what a URL holds besides is not repeated."""
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError:
        raise UsageError("the host's URL cannot be read", "give ssh://USER@HOST:PORT") from None
    if parts.password is not None:
        raise UsageError(
            "the host's URL holds a password",
            "passwords are not used: give ssh://USER@HOST, with a key or an ssh-agent",
        )
    if parts.scheme != "ssh" or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"{url!a} is no host", "give ssh://USER@HOST:PORT, or a name of the inventory")
    if not _HOST.match(host) or host.startswith("-") or (user is not None and not _USER.match(user)) or port == 0:
        raise UsageError(f"{url!a} names no host that can be", "give ssh://USER@HOST:PORT")
    return SshAddress(host, user, port)


def resolve(
    address: SshAddress,
    *,
    config: SSHConfig | None,
    known_hosts: Path | None = None,
    identity: Path | None = None,
) -> SshTarget:
    """The target of an address. config: ~/.ssh/config. known_hosts, identity: instead of its. Raises UsageError."""
    found: Mapping[str, str | list[str]] = _lookup(config, address.host) if config is not None else {}

    def text(key: str) -> str | None:
        value = found.get(key)
        return value if isinstance(value, str) else None

    if (text("proxycommand") or "none") != "none":
        raise UsageError(
            f"~/.ssh/config has ProxyCommand for {address.host}",
            "no command is run: use ProxyJump, or forward a port with ssh -L and use that",
        )
    port = text("port")
    if address.port is None and port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"~/.ssh/config has port {port!a} for {address.host}", "give a number")
    listed = found.get("identityfile")
    files = listed if isinstance(listed, list) and listed else list(DEFAULT_IDENTITIES)
    known = shlex.split(text("userknownhostsfile") or "") or list(DEFAULT_KNOWN_HOSTS)
    return SshTarget(
        host=text("hostname") or address.host,
        port=address.port or int(port or 22),
        user=address.user or text("user") or getpass.getuser(),
        known_hosts=(known_hosts,) if known_hosts else tuple(Path(name).expanduser() for name in known),
        identities=(identity,) if identity else tuple(Path(name).expanduser() for name in files),
        key_name=text("hostkeyalias"),
        all_agent_keys=(text("identitiesonly") or "no").lower() != "yes",
        jumps=_jumps(text("proxyjump") or "none", address.host),
    )


def _jumps(value: str, host: str) -> tuple[SshAddress, ...]:
    """The hosts that ProxyJump names: [USER@]HOST[:PORT], or URLs, with commas between them."""
    if value == "none":
        return ()
    parts = value.split(",")
    if len(parts) > JUMPS_MAX:
        raise UsageError(f"~/.ssh/config has {len(parts)} jumps to {host}", f"{JUMPS_MAX} are followed")
    return tuple(parse_url(part if part.startswith(SCHEME) else SCHEME + part) for part in parts)


def read_config(path: Path = CONFIG) -> SSHConfig | None:
    """The user's ssh configuration, None if there is none. Raises UsageError if it cannot be read."""
    import paramiko

    path = path.expanduser()
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return paramiko.SSHConfig.from_file(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "mend its mode") from None
    except paramiko.SSHException as error:
        raise UsageError(f"{path} cannot be understood: {error}", "see ssh_config(5)") from None


def _lookup(config: SSHConfig, host: str) -> Mapping[str, str | list[str]]:
    import paramiko

    try:
        return config.lookup(host)
    # A Match exec line needs a package that is not installed.
    except (paramiko.SSHException, ImportError) as error:
        raise UsageError(f"~/.ssh/config cannot be applied to {host}: {error}", "see ssh_config(5)") from None
