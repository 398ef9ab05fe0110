# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that come with the package and are not Python: images that are built, configurations, the patch series."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
#: A wheel has them in the package, by the same names that they have in a checkout.
_ROOT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parents[1]


def data_file(name: str) -> Path:
    """The path of the file or directory that is named `name` in a checkout; it may not exist (an image not built)."""
    return _ROOT / name
