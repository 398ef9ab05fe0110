# SPDX-License-Identifier: GPL-2.0-or-later
"""The ssh:// URL of a host. Its parts become arguments of `ssh`, so they are checked here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from snp_harness.errors import UsageError

SCHEME = "ssh://"
_USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class SshAddress:
    """The parts of a URL. user, port: None if the URL has none."""

    host: str
    user: str | None
    port: int | None

    def arguments(self) -> list[str]:
        """Return the arguments of `ssh` for this destination."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*user, *port, "--", self.host]

    def __str__(self) -> str:
        """Return the destination as a user types it after `ssh`."""
        port = "" if self.port is None else f"-p {self.port} "
        user = "" if self.user is None else f"{self.user}@"
        return f"{port}{user}{self.host}"


def parse_url(url: str) -> SshAddress:
    """Return the parts of ssh://[USER@]HOST[:PORT].

    Raises UsageError if it is not such a URL. The message never contains a password.
    """
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError:
        raise UsageError("the host's URL cannot be read", "use ssh://USER@HOST:PORT") from None
    if parts.password is not None:
        raise UsageError(
            "the host's URL holds a password",
            "passwords are not supported: use ssh://USER@HOST, with a key or an ssh-agent",
        )
    if parts.scheme != "ssh" or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"{url!a} is not a host", "use ssh://USER@HOST:PORT, or a name of the inventory")
    if not _HOST.match(host) or host.startswith("-") or (user is not None and not _USER.match(user)) or port == 0:
        raise UsageError(f"{url!a} does not name a valid host", "use ssh://USER@HOST:PORT")
    return SshAddress(host, user, port)
