# SPDX-License-Identifier: GPL-2.0-or-later
"""The hint of a message about a name that is not known: the names there are, the nearest one first."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(given: str, names: Iterable[str]) -> str | None:
    """Return the name that is close to `given`, whatever the case of its letters; None if none is."""
    import difflib

    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), lower, n=1)
    return lower[near[0]] if near else None


def known_names(given: str, names: Iterable[str]) -> str:
    """Return "there are a, b and c", with "did you mean b?" before it if one of the names is close to `given`."""
    listed = list(names)
    near = nearest(given, listed)
    *most, last = listed
    there_are = f"there are {', '.join(most)} and {last}" if most else f"there is {last}"
    return f"did you mean {near}? {there_are}" if near else there_are
