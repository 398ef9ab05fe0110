# SPDX-License-Identifier: GPL-2.0-or-later
"""Split images: finds the VARS half of a CODE half."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path


def is_flash_size(size: int) -> bool:
    """True for the size of a combined image: OVMF is built for flash of 1, 2, 4 ... MiB, its halves are smaller."""
    return size > 0 and size & (size - 1) == 0


def find_vars(code: Path, code_size: int) -> Path | None:
    """The VARS image for a CODE image of code_size bytes: the one of the same name next to it, the one that QEMU's
    firmware descriptors name, or one of nearly the same name next to it.

    Only an image that fills the flash together with CODE is returned.
    """
    by_name = list(_by_name(code))
    for candidate in (*by_name[:1], *_by_descriptor(code), *by_name[1:]):
        with contextlib.suppress(OSError):
            if is_flash_size(code_size + candidate.stat().st_size):
                return candidate
    return None


def _by_descriptor(code: Path) -> Iterator[Path]:
    # Imported here: most images are not split.
    from snp_harness.firmware.descriptors import read_descriptors

    for descriptor in read_descriptors():
        if descriptor.vars is not None and is_same_file(descriptor.code, code):
            yield descriptor.vars


def _by_name(code: Path) -> Iterator[Path]:
    """OVMF_CODE_4M.secboot.fd -> OVMF_VARS_4M.secboot.fd, OVMF_VARS_4M.fd; edk2-x86_64-code.fd -> edk2-i386-vars.fd."""
    name = re.sub("CODE", "VARS", code.name).replace("code", "vars")
    if name == code.name:
        return
    stem, *qualifiers = name.split(".")
    for candidate in (name, ".".join([stem, *qualifiers[-1:]]), name.replace("x86_64", "i386")):
        yield code.with_name(candidate)


def is_same_file(one: Path, other: Path) -> bool:
    """Whether both paths are of one file; False if one cannot be read."""
    try:
        return one.samefile(other)
    except OSError:
        return False
