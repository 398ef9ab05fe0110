# SPDX-License-Identifier: GPL-2.0-or-later
"""The directories with the debug files of a build."""

from __future__ import annotations

from pathlib import Path

#: The directory beside an image of `firmware build` that has them.
SYMBOLS = "symbols"
#: A module's file is MODULE.debug.
SUFFIX = ".debug"


def own_directories(image: Path) -> tuple[Path, ...]:
    """Return the directories where an image's own build has them: beside the image, or in edk2's Build directory."""
    beside = image.parent / SYMBOLS
    built = image.parent.parent / "X64" if image.parent.name == "FV" else beside
    return tuple(path for path in dict.fromkeys((beside, built)) if path.is_dir())
