# SPDX-License-Identifier: GPL-2.0-or-later
"""Which firmware there is on this machine, and which one a name stands for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import Progress, silent
from snp_harness.debian.firmware_names import KNOWN_SOURCES, cached_firmware, cached_names
from snp_harness.errors import FirmwareError
from snp_harness.firmware.image import FirmwareImage

_NAME_PREFIX = "debian:"
_FETCH_HINT = "run `snp-harness fetch firmware trixie`, or give --firmware a path"


@dataclass(frozen=True, slots=True)
class KnownFirmware:
    """A firmware that can be run here.

    name: what --firmware takes. path: the image, or the CODE half; None if it is not fetched yet. description: the
    version of the package, or the words of QEMU's firmware descriptor. svsm: it has a calling area for an SVSM; None
    if that cannot be told without the image.
    """

    name: str
    path: Path | None
    description: str
    svsm: bool | None


def find_firmware(spec: str | None, progress: Progress = silent, *, svsm: bool = True) -> Path:
    """The image for what the user gave: a path, a name such as debian:trixie, or None for the default.

    A name's image is taken from the cache, or fetched. The default is, of the images here, the first one with a calling
    area for an SVSM if svsm is asked for: of the cache, then of QEMU's firmware descriptors; nothing is fetched.
    Raises FirmwareError if there is none, FetchError if it cannot be fetched. The image itself is not checked.
    """
    if spec is not None:
        if not spec.startswith(_NAME_PREFIX):
            return Path(spec).expanduser()
        cached = cached_firmware(spec)
        if cached is not None:
            return cached.path
        # Imported here: what is in the cache is found without apt and all that goes with it.
        from snp_harness.debian.firmware import fetch_firmware

        return fetch_firmware(spec, progress)
    seen = False
    for known in itertools.chain(_cached(), _installed()):
        seen = True
        if known.path is not None and (known.svsm or not svsm):
            return known.path
    if seen:
        raise FirmwareError("no firmware here has a calling area for an SVSM (SEV metadata section 4)", _FETCH_HINT)
    raise FirmwareError("no firmware is installed or fetched", _FETCH_HINT)


def known_firmware() -> tuple[KnownFirmware, ...]:
    """All firmware that is fetched or installed, and the names that can be fetched."""
    cached = tuple(_cached())
    names = {known.name for known in cached}
    fetchable = (KnownFirmware(name, None, "can be fetched", None) for name in KNOWN_SOURCES if name not in names)
    return (*cached, *_installed(), *fetchable)


def _cached() -> Iterator[KnownFirmware]:
    for name in cached_names():
        cached = cached_firmware(name)
        if cached is not None:
            svsm = _has_svsm_caa(cached.path)
            if svsm is not None:
                yield KnownFirmware(name, cached.path, f"fetched, version {cached.version}", svsm)


def _installed() -> Iterator[KnownFirmware]:
    # Imported here: what is in the cache is found without.
    from snp_harness.firmware.descriptors import read_descriptors

    for descriptor in read_descriptors():
        # Firmware with System Management Mode starts only on a machine that has it, which an SNP guest has not.
        if "requires-smm" in descriptor.features:
            continue
        svsm = _has_svsm_caa(descriptor.code, descriptor.vars)
        if svsm is not None:
            yield KnownFirmware(str(descriptor.code), descriptor.code, descriptor.description, svsm)


def _has_svsm_caa(path: Path, vars_path: Path | None = None) -> bool | None:
    """Whether the image can run under an SVSM; None if it cannot be opened, so is no candidate."""
    try:
        metadata = FirmwareImage.open(path, vars_path).metadata
    except FirmwareError:
        return None
    return metadata is not None and metadata.has_svsm_caa
