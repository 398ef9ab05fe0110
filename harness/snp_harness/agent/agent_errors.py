# SPDX-License-Identifier: GPL-2.0-or-later
"""The error of an operation, which is sent to the near side."""

from __future__ import annotations

#: Characters of a message that are sent: a name in it may have any length.
_TEXT_MAX = 4096


class AgentError(Exception):
    """An operation failed. kind: selects the near side's exception. message, hint: one line each, for the user.

    Kinds: "usage" (an invalid request), "missing" (a program or a file), "disk" (full, or a quota), "permission",
    "locked", "system" (anything else that the host's kernel refused).
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, str]:
        """Return the error as it is sent, with its texts cut."""
        return {"kind": self.kind, "message": self.message[:_TEXT_MAX], "hint": self.hint[:_TEXT_MAX]}
