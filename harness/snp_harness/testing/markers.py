# SPDX-License-Identifier: GPL-2.0-or-later
"""The markers of the pytest plugin: the marker of a test names its platform."""

from __future__ import annotations

import pytest

OTHER_MARKERS = {"slow": "takes long, or repeats a test on another QEMU"}


def register(config: pytest.Config) -> None:
    """Register the markers, for --strict-markers."""
    from snp_harness.platforms import platform_names

    platforms = {name: f"boots a guest on platform {name}, skipped where that cannot run" for name in platform_names()}
    for name, text in {**platforms, **OTHER_MARKERS}.items():
        config.addinivalue_line("markers", f"{name}: {text}")


def platform_of(request: pytest.FixtureRequest, given: str | None) -> str:
    """Return the platform of a boot: that of the call or the command line, else of the test's marker, else the default.

    Fails the test if they contradict each other: a boot on another platform would say nothing about the test's.
    """
    from snp_harness.platforms import platform_names

    marked = [name for name in platform_names() if request.node.get_closest_marker(name) is not None]
    asked: str | None = given or request.config.getoption("snp_platform")
    if asked is None and len(marked) == 1:
        return marked[0]
    name = asked or str(request.getfixturevalue("snp_platform"))
    if marked and name not in marked:
        hint = "" if given or asked else ": name one with snp_boot(platform=...)"
        pytest.fail(
            f"snp_boot is to use platform {name}, and the test is marked {', '.join(marked)}{hint}", pytrace=False
        )
    return name
