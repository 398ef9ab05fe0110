# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of ssh's ProxyCommand. ssh gives it to a shell; no shell reads it here, so what one would do is refused."""

from __future__ import annotations

import re
from pathlib import Path

from snp_harness.errors import UsageError

#: A quoted part, an escaped character, blanks, or one character.
_PART = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|[ \t]+|.""", re.DOTALL)
#: Of meaning to a shell: everywhere outside single quotes, outside double quotes too, at a word's start.
_EXPANDS = frozenset("$`")
_SYNTAX = frozenset("|&;<>()*?{}!'\"\\\n")
_STARTS = frozenset("#~")


def proxy_words(command: str, host: str) -> list[str]:
    """The words of the command to reach `host`, as a shell would have them. Raises UsageError."""
    words: list[str] = []
    word: str | None = None
    parts = _PART.findall(command)
    for number, part in enumerate(parts):
        if part.isspace() and part != "\n":
            words += [] if word is None else [word]
            word = None
            continue
        after = parts[number + 1] if number + 1 < len(parts) else " "
        if part[0] == "'" and len(part) > 1:
            text = part[1:-1]
        elif part[0] == '"' and len(part) > 1 and not _EXPANDS & set(part):
            text = re.sub(r'\\(["\\])', r"\1", part[1:-1])
        elif part[0] == "\\" and len(part) > 1:
            text = part[1]
        elif part == "~" and word is None and after in ("/", " "):
            text = str(Path.home())
        elif _EXPANDS & set(part) or part in _SYNTAX or (word is None and part in _STARTS):
            raise _refused(host, f"{part[:40]!a} is for a shell")
        else:
            text = part
        word = (word or "") + text
    words += [] if word is None else [word]
    if words[:1] == ["exec"]:
        del words[0]
    if not words or "=" in words[0]:
        raise _refused(host, "no program comes first")
    return words


def _refused(host: str, why: str) -> UsageError:
    return UsageError(
        f"ssh's configuration has a ProxyCommand for {host} that cannot be followed: {why}",
        "write it as: sh -c 'THE COMMAND', or use ProxyJump",
    )
