# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's base directories, as the XDG base directory specification defines them."""

from __future__ import annotations

import os
from pathlib import Path


def config_home() -> Path:
    """Return $XDG_CONFIG_HOME, or ~/.config if that is not set or not absolute."""
    return _base("XDG_CONFIG_HOME", ".config")


def cache_home() -> Path:
    """Return $XDG_CACHE_HOME, or ~/.cache if that is not set or not absolute."""
    return _base("XDG_CACHE_HOME", ".cache")


def _base(variable: str, default: str) -> Path:
    configured = os.environ.get(variable, "")
    if configured.startswith("/"):
        return Path(configured)
    try:
        return Path.home() / default
    except RuntimeError:
        # A user without HOME and without an entry in /etc/passwd, as in containers, whose HOME would be this.
        return Path("/") / default
