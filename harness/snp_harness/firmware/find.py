# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware of this machine, and the image that a name refers to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from snp_harness.debian.cache import Progress, silent
from snp_harness.debian.firmware_names import cached_firmware, cached_names
from snp_harness.defaults import DEBIAN
from snp_harness.errors import FirmwareError
from snp_harness.firmware.image import FirmwareImage

_FETCH_HINT = "run `snp-harness fetch firmware trixie`, or name a path with --firmware"


def find_firmware(spec: str | None, progress: Progress = silent, *, svsm: bool = True) -> Path:
    """Return the path of an image: of the one that `spec` names, or of the default one.

    spec: a path, a name such as "debian:trixie", or None for the default. progress: called with each line about a
    download. svsm: whether the firmware is to run under an SVSM.
    The image of a name comes from the cache, or is fetched. The default is the first image that is fetched or
    installed (QEMU's firmware descriptors), and, if svsm, that has a calling area for an SVSM; nothing is fetched.
    Raises FirmwareError if there is none, FetchError if it cannot be fetched. An image that is named is not opened.
    """
    return _default(svsm=svsm).path if spec is None else _named(spec, progress)


def open_firmware(spec: str | Path | None, progress: Progress = silent, *, svsm: bool = True) -> FirmwareImage:
    """Open the image that `find_firmware` finds, or the one at a Path.

    Raises FirmwareError also for a file that is not a usable firmware image.
    """
    if spec is None:
        return _default(svsm=svsm)
    return FirmwareImage.open(spec if isinstance(spec, Path) else _named(spec, progress))


def _named(spec: str, progress: Progress) -> Path:
    if not spec.startswith(DEBIAN):
        return Path(spec).expanduser()
    cached = cached_firmware(spec)
    if cached is not None:
        return cached.path
    # Imported here: an image in the cache is found without apt and its modules.
    from snp_harness.debian.firmware import fetch_firmware

    return fetch_firmware(spec, progress)


def _default(*, svsm: bool) -> FirmwareImage:
    seen = False
    for image in itertools.chain(_cached(), _installed()):
        seen = True
        if not svsm or _runs_under_svsm(image):
            return image
    if seen:
        raise FirmwareError("no firmware here has a calling area for an SVSM (SEV metadata section 4)", _FETCH_HINT)
    raise FirmwareError("no firmware is installed or fetched", _FETCH_HINT)


def _runs_under_svsm(image: FirmwareImage) -> bool:
    try:
        return image.metadata is not None and image.metadata.has_svsm_caa
    except FirmwareError:
        return False


def _cached() -> Iterator[FirmwareImage]:
    for name in cached_names():
        cached = cached_firmware(name)
        if cached is not None:
            yield from _opened(cached.path)


def _installed() -> Iterator[FirmwareImage]:
    # Imported here: an image in the cache is found without it.
    from snp_harness.firmware.descriptors import read_descriptors

    for descriptor in read_descriptors():
        # Firmware with System Management Mode starts only on a machine that has it, which an SNP guest does not.
        if "requires-smm" not in descriptor.features:
            yield from _opened(descriptor.code, descriptor.vars)


def _opened(path: Path, vars_path: Path | None = None) -> Iterator[FirmwareImage]:
    """The image, or nothing if it cannot be opened: it is then not a candidate."""
    try:
        yield FirmwareImage.open(path, vars_path)
    except FirmwareError:
        return
