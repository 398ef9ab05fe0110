# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of a host: each names the host, the problem and the remedy."""

from __future__ import annotations

from typing import Any

from snp_harness.errors import BrokenEnvironmentError, HarnessError
from snp_harness.vm.qemu_errors import QemuMissingError, printable

_TEXT = 400


class HostError(BrokenEnvironmentError):
    """A problem of a host or of the connection to it."""


class HostUnreachableError(HostError):
    """No connection: the name is unknown, the port is closed, or the host does not answer."""


class HostKeyError(HostError):
    """The host's key is unknown, revoked or changed."""


class LoginError(HostError):
    """The host refused the user's keys."""


class NoPythonError(HostError):
    """The host has no Python, or its Python is too old."""


class HostLostError(HostError):
    """The connection broke during its use, or the agent ended. The run keeps what was observed before."""


class HostTimeoutError(HostError):
    """The agent did not answer a request in time."""


class HostDiskError(HostError):
    """The disk of the host is full."""


class HostLockedError(HostError):
    """Another process holds the host's lock."""


def last_words(said: str, most: int) -> str:
    """Return ", its last words: ..." with at most `most` characters of the last line of stderr; "" if it is empty."""
    lines = said.strip().splitlines()
    return f", its last words: {printable(lines[-1], most)}" if lines else ""


def from_agent(host: str, error: dict[str, Any]) -> HarnessError:
    """Return the error of an agent's answer, with its texts cut and made printable: they come from another machine."""
    kind, message, hint = (printable(str(error.get(key, "")), _TEXT) for key in ("kind", "message", "hint"))
    types: dict[str, type[HarnessError]] = {
        "missing": QemuMissingError,
        "disk": HostDiskError,
        "locked": HostLockedError,
    }
    return types.get(kind, HostError)(f"{host}: {message}", hint)
