# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of the package that are not Python: built images, configurations, the patch series, JSON schemas."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
#: In a wheel they are in the package, with the same names as in a checkout.
_ROOT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parents[1]


def data_file(name: str) -> Path:
    """Return the path of the file or directory `name` of a checkout; it may not exist (an image not built)."""
    return _ROOT / name


def schema_file(name: str, version: int = 1) -> Path:
    """Return the JSON schema of what `json_head` begins."""
    return _PACKAGE / "schemas" / f"{name}-{version}.json"


def json_head(name: str, version: int = 1) -> dict[str, str | int]:
    """Return the first fields of a JSON object that the harness writes: its format and the format's version."""
    return {"format": f"snp-harness-{name}", "version": version}
