# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that a user sees: one line, what is wrong and what to do, and the command's exit status."""

from __future__ import annotations

#: Exit statuses of the command (README.md).
EXIT_HOLDS = 0
EXIT_VIOLATED = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
#: 128 and up: the environment is broken; `git bisect run` aborts instead of blaming a commit.
EXIT_ENVIRONMENT = 128


class HarnessError(Exception):
    """An error with a message for the user.

    message: what is wrong, in one line. hint: what to do about it, in one line. exit_status: of the command.
    """

    exit_status = EXIT_ENVIRONMENT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(HarnessError):
    """The user's request is invalid: an option, file or configuration."""

    exit_status = EXIT_USAGE


class UnsupportedError(UsageError):
    """The platform cannot do this; the message names it and says why."""

    def __init__(self, platform: str, what: str, why: str, hint: str = "") -> None:
        super().__init__(f"the platform {platform} cannot {what}: {why}", hint)


class MemoryAccessError(HarnessError):
    """A guest's memory cannot be accessed as asked: there is none, or the VMPL has no permission."""

    exit_status = EXIT_INCONCLUSIVE


class BrokenEnvironmentError(HarnessError):
    """Something the run needs is missing or too old on this machine."""


class FirmwareError(UsageError):
    """A firmware image that cannot be used: missing, damaged, or not a firmware image."""


class FetchError(BrokenEnvironmentError):
    """A package could not be fetched: no network and nothing cached, no apt, a bad signature, a full disk."""


class LackingHostError(BrokenEnvironmentError):
    """A requirement turned out to be missing during a run: a test that makes the run is skipped."""
