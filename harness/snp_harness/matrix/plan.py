# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells that a matrix has: firmwares, configurations, platforms and numbers of vCPUs as they were named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.defaults import DEBIAN
from snp_harness.errors import UsageError
from snp_harness.matrix.cell import Place
from snp_harness.nearest import known_names

if TYPE_CHECKING:
    from snp_harness.svsm.config import SvsmConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell that is to be run. firmware: the path of its image. configuration: a name, or the path of a file.

    refuses: the configuration's hypervisor offers no Alternate Injection to an SVSM that requires it.
    """

    place: Place
    firmware: Path
    configuration: str
    refuses: bool


def plan(
    firmwares: Sequence[str],
    configurations: Sequence[str],
    platforms: Sequence[str],
    vcpus: Sequence[int],
    notify: Callable[[str], None],
) -> list[Planned]:
    """Return the cells: of each configuration, those of all firmwares.

    firmwares: NAME=F or F, where F is a path or a name such as debian:trixie, which may be fetched: notify is called
    with each line about that. configurations: names, patterns of names, or files; empty: all that come with the
    harness, and the default one on a platform that has none. Each firmware is opened. Raises UsageError, FetchError.
    """
    from snp_harness.platforms import find_platform
    from snp_harness.svsm.config_files import DEFAULT_CONFIG, load_config, shipped_configs

    images = _firmwares(firmwares, notify)
    chosen = _configurations(configurations) if configurations else {name: name for name in shipped_configs()}
    loaded = {name: load_config(spec) for name, spec in chosen.items()}
    planned = []
    for platform in dict.fromkeys(platforms):
        found = find_platform(platform)
        names = list(chosen) if found.configurable or configurations else [DEFAULT_CONFIG]
        for name in names:
            refuses = found.configurable and _refuses(loaded[name])
            for count in dict.fromkeys(vcpus):
                for firmware, path in images.items():
                    place = Place(firmware, name, platform, count)
                    planned.append(Planned(place, path, chosen[name], refuses))
    return planned


def _firmwares(specs: Sequence[str], notify: Callable[[str], None]) -> dict[str, Path]:
    from snp_harness.firmware.find import open_firmware

    images: dict[str, Path] = {}
    for text in specs:
        before, equals, after = text.partition("=")
        named = bool(equals) and _NAME.fullmatch(before) is not None
        spec = after if named else text
        name = (
            before
            if named
            else spec.replace(":", "-").replace("/", "-")
            if spec.startswith(DEBIAN)
            else Path(spec).stem
        )
        if not spec or not _NAME.fullmatch(name):
            raise UsageError(f"the firmware {text!a} has no name for the table", "name it, as in fixed=PATH")
        if name in images:
            raise UsageError(f"two firmwares are named {name}", "name them, as in before=PATH after=PATH")
        images[name] = open_firmware(spec, notify).path
    return images


def _configurations(specs: Sequence[str]) -> dict[str, str]:
    """Return what was chosen, by the name in the table."""
    chosen: dict[str, str] = {}
    for name, spec in (pair for text in specs for pair in _named(text)):
        if chosen.setdefault(name, spec) != spec:
            raise UsageError(f"two configurations are named {name}", "rename one of the files")
    return chosen


def _named(text: str) -> Iterator[tuple[str, str]]:
    from snp_harness.svsm.config_files import find_config, shipped_configs

    if "/" in text or text.endswith(".toml"):
        if not _NAME.fullmatch(Path(text).stem):
            raise UsageError(f"the configuration {text!a} has no name for the table", "rename the file")
        yield Path(text).stem, text
    elif _PATTERN.search(text):
        found = [name for name in shipped_configs() if fnmatchcase(name, text)]
        if not found:
            raise UsageError(f"no configuration is named as in {text!a}", known_names(text, shipped_configs()))
        yield from ((name, name) for name in found)
    else:
        yield find_config(text).stem, text


def _refuses(config: SvsmConfig) -> bool:
    """Whether the hypervisor lacks what the SVSM treats as Alternate Injection, and requires."""
    return config.alternate_injection and not config.feature_bits >> config.svsm.feature_bit & 1
