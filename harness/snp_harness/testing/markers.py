# SPDX-License-Identifier: GPL-2.0-or-later
"""The markers: one names the platform of a test, others repeat a test for several firmwares or configurations.

All names begin with "snp": a project's own `kvm` or `slow` is not a marker of the harness.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snp_harness.platforms import platform_names

if TYPE_CHECKING:
    from snp_harness.svsm.config import SvsmConfig

#: Markers that repeat a test, and the fixture that has the value.
REPEATING = {"snp_firmwares": "snp_firmware", "snp_configs": "snp_config"}
_TEXTS = {
    "snp_firmwares(firmware, ...)": "runs the test once for each firmware: a path or debian:SUITE",
    "snp_configs(config, ...)": "runs the test once for each configuration: a name, a path, or an SvsmConfig",
}
#: Fixtures that boot a guest, on the default platform if no marker names one.
BOOTING = frozenset({"snp_boot", "snp_guest", "linux_guest"})


def marker_of(platform: str) -> str:
    """Return the name of a platform's marker: that of hardware is `snp`, that of another one has a prefix."""
    return platform if platform == "snp" else f"snp_{platform}"


def register(config: pytest.Config) -> None:
    """Register the markers, for --strict-markers."""
    for name in platform_names():
        text = f"boots a guest on platform {name}, skipped where that cannot run"
        config.addinivalue_line("markers", f"{marker_of(name)}: {text}")
    for name, text in _TEXTS.items():
        config.addinivalue_line("markers", f"{name}: {text}")


def marked_platforms(node: pytest.Item) -> list[str]:
    """Return the platforms that the markers of a test name."""
    return [name for name in platform_names() if node.get_closest_marker(marker_of(name)) is not None]


def concerns(item: pytest.Item) -> bool:
    """Return whether a test has a marker or a fixture of the harness."""
    fixtures = getattr(item, "fixturenames", ())
    return any(name.startswith("snp_") or name in BOOTING for name in fixtures) or bool(marked_platforms(item))


def platform_of(request: pytest.FixtureRequest, given: str | None) -> str:
    """Return the platform of a boot: that of the call or the command line, else of the test's marker, else the default.

    Fails the test if they contradict each other: a boot on another platform would say nothing about the test's.
    """
    marked = marked_platforms(request.node)
    asked: str | None = given or request.config.getoption("snp_platform")
    if asked is None and len(marked) == 1:
        return marked[0]
    name = asked or str(request.getfixturevalue("snp_platform"))
    if marked and name not in marked:
        hint = "" if given or asked else ": name one with snp_boot(platform=...)"
        shown = ", ".join(map(marker_of, marked))
        pytest.fail(f"snp_boot is to use platform {name}, and the test is marked {shown}{hint}", pytrace=False)
    if not marked and not asked:
        _refuse_short_marker(request, name)
    return name


def _refuse_short_marker(request: pytest.FixtureRequest, name: str) -> None:
    """Fail a test that is marked `tcg` and would boot on another platform: `snp_tcg` may be what is meant."""
    short = [other for other in platform_names() if request.node.get_closest_marker(other) is not None]
    if short and name not in short:
        pytest.fail(
            f"the test is marked {short[0]}, which names no platform, and would boot on {name}: "
            f"mark it {marker_of(short[0])}, or use snp_boot(platform={name!r})",
            pytrace=False,
        )


def repeat(metafunc: pytest.Metafunc) -> None:
    """Repeat a test for each firmware and configuration of its markers."""
    for name, fixture in REPEATING.items():
        mark = metafunc.definition.get_closest_marker(name)
        if mark is None:
            continue
        if not mark.args or mark.kwargs:
            pytest.fail(f"@pytest.mark.{name} needs what the test is repeated for: {name}('a', 'b')", pytrace=False)
        if fixture not in metafunc.fixturenames:
            metafunc.fixturenames.append(fixture)
        values = [value if isinstance(value, type(pytest.param())) else pytest.param(value) for value in mark.args]
        if fixture == "snp_config":
            for value in values:
                _check_configuration(value.values[0], metafunc.config)
        metafunc.parametrize(fixture, values, indirect=True, ids=_id)


def _id(value: object) -> str | None:
    return str(value) if isinstance(value, str | Path) else None


def configuration(value: object, config: pytest.Config) -> SvsmConfig | str | Path | None:
    """Return a value of snp_configs for `snp_boot`; a path is relative to the project's root."""
    from snp_harness.svsm.config import SvsmConfig

    if value is None or isinstance(value, SvsmConfig):
        return value
    if isinstance(value, Path) or "/" in str(value) or str(value).endswith(".toml"):
        return config.rootpath / str(value)
    return str(value)


def _check_configuration(value: object, config: pytest.Config) -> None:
    from snp_harness.errors import HarnessError
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.svsm.config_files import load_config

    found = configuration(value, config)
    if found is None or isinstance(found, SvsmConfig):
        return
    try:
        load_config(found)
    except HarnessError as error:
        raise pytest.fail.Exception(f"@pytest.mark.snp_configs: {error}", pytrace=False) from None
