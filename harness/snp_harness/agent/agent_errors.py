# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that cross the wire."""

from __future__ import annotations

#: Characters of a message that are sent: what it names may be of any length.
_TEXT_MAX = 4096


class AgentError(Exception):
    """An operation failed. kind: a word that the near side tells errors by. message, hint: one line each, for the user.

    Kinds: "usage" (the request cannot be), "missing" (a program or a file), "disk" (full, or a quota), "permission",
    "locked", "system" (anything else that the host's kernel refused).
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, str]:
        """As it goes over the wire."""
        return {"kind": self.kind, "message": self.message[:_TEXT_MAX], "hint": self.hint[:_TEXT_MAX]}
