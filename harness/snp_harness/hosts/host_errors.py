# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of a host: each says which, what is wrong there, and what to do."""

from __future__ import annotations

from typing import Any

from snp_harness.errors import BrokenEnvironmentError, HarnessError
from snp_harness.vm.qemu_errors import QemuMissingError, printable

_TEXT = 400


class HostError(BrokenEnvironmentError):
    """Anything that is wrong with a host, or with the way to it."""


class HostUnreachableError(HostError):
    """No connection: no such name, nobody answers, or the port is closed."""


class HostKeyError(HostError):
    """The host's key is not known, or is another than the one that is known."""


class LoginError(HostError):
    """The host refused the user's keys."""


class NoPythonError(HostError):
    """The host has no Python, or one that is too old."""


class HostLostError(HostError):
    """The connection broke while it was used, or the agent died. What was observed until then is kept."""


class HostTimeoutError(HostError):
    """The agent did not answer a request in time."""


class HostDiskError(HostError):
    """The disk of the host is full."""


class HostLockedError(HostError):
    """Somebody else uses the host."""


def last_words(said: str, most: int) -> str:
    """What follows how a program ended: `most` characters of the last line that it wrote to stderr; "" without one."""
    lines = said.strip().splitlines()
    return f", its last words: {printable(lines[-1], most)}" if lines else ""


def from_agent(host: str, error: dict[str, Any]) -> HarnessError:
    """The error that an agent answered. What it says comes from another machine: bounded, and printable."""
    kind, message, hint = (printable(str(error.get(key, "")), _TEXT) for key in ("kind", "message", "hint"))
    types: dict[str, type[HarnessError]] = {
        "missing": QemuMissingError,
        "disk": HostDiskError,
        "locked": HostLockedError,
    }
    return types.get(kind, HostError)(f"{host}: {message}", hint)
