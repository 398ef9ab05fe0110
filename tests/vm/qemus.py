# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that pass for a QEMU, and the arguments of a QEMU that runs nothing."""

from __future__ import annotations

import shlex
from pathlib import Path

#: A machine that is up in a few milliseconds and runs nothing.
DISPLAY = ("-display", "none")
IDLE = ("-machine", "none", "-nodefaults", *DISPLAY)


def script(path: Path, text: str) -> Path:
    """A program that answers -version with `text`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(text)}\n")
    path.chmod(0o755)
    return path
