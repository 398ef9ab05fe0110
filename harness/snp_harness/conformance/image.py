# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance guest's image, and the parameters that are patched into it (docs/conformance.md)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.firmware.image import FirmwareImage

#: Built by guests/svsm_apic_conformance/Makefile.
IMAGE = data_file("guests/svsm_apic_conformance/build/svsm-apic-conformance.fd")
#: guests/svsm_apic_conformance/parameters.h, struct conformance_parameters; its place follows from lib/layout.h.
PARAMETERS_OFFSET = 0x11000
MAGIC = b"APICCONF"
VERSION = 2
_HEADER = struct.Struct("<8sI")
_PARAMETERS = struct.Struct("<5IQII")
#: Behind it, the names of points that do not run, a line each, and a zero.
SKIPPED_MAX = 3000


class RunMode(enum.IntEnum):
    """enum run_mode."""

    POINTS = 0
    TICKS = 1
    FUZZ = 2


class Touch(enum.IntEnum):
    """enum touch: how a fuzz run accesses a page of the SVSM at its end."""

    NOTHING = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Ticks:
    """A run that counts the ticks of a periodic timer. load: exits and SVSM calls all the time.

    missed_allowed: reloads of the timer without an interrupt of their own, which happen on a busy machine.
    """

    ticks: int
    period_us: int
    load: bool = False
    missed_allowed: int = 0


@dataclass(frozen=True, slots=True)
class Fuzz:
    """A run that makes random requests. touch: an access afterwards, which a correct platform does not let complete."""

    seed: int
    duration_ms: int
    touch: Touch = Touch.NOTHING


Mode = Ticks | Fuzz | None


def open_guest(mode: Mode = None, skip: Sequence[str] = ()) -> FirmwareImage:
    """Open the image, with the parameters of a run.

    mode: None for its points. skip: points that do not run. Raises BrokenEnvironmentError if the image is not built,
    UsageError for a mode that does not fit.
    """
    return FirmwareImage(IMAGE, with_mode(read_image(), mode, skip))


def read_image() -> bytes:
    """Return the image as built. Raises BrokenEnvironmentError if it does not exist or is of another version."""
    try:
        data = IMAGE.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"cannot read {IMAGE}: {error.strerror}", _BUILD_HINT) from None
    if data[PARAMETERS_OFFSET : PARAMETERS_OFFSET + _HEADER.size] != _HEADER.pack(MAGIC, VERSION):
        raise BrokenEnvironmentError(f"{IMAGE} is not the conformance guest of this version", _BUILD_HINT)
    return data


_BUILD_HINT = "build it: make -C guests/svsm_apic_conformance"


def with_mode(image: bytes, mode: Mode, skip: Sequence[str] = ()) -> bytes:
    """Return the image with the parameters of a run. mode: None for its points. skip: points that do not run.

    Raises UsageError for large numbers and too many names.
    """
    values: tuple[int, ...]
    match mode:
        case Ticks():
            values = (RunMode.TICKS, mode.ticks, mode.period_us, mode.load, Touch.NOTHING, 0, 0, mode.missed_allowed)
        case Fuzz():
            values = (RunMode.FUZZ, 0, 0, 0, mode.touch, mode.seed, mode.duration_ms, 0)
        case None:
            values = (RunMode.POINTS, 0, 0, 0, 0, 0, 0, 0)
    try:
        packed = _PARAMETERS.pack(*values)
    except struct.error:
        raise UsageError(f"{mode} does not fit the guest", "its numbers have 32 bits, the seed 64") from None
    names = "".join(f"{name}\n" for name in skip).encode("ascii", errors="replace")
    if len(names) >= SKIPPED_MAX:
        raise UsageError("too many points to be skipped", f"their names have at most {SKIPPED_MAX} characters")
    packed += names.ljust(SKIPPED_MAX, b"\0")
    start = PARAMETERS_OFFSET + _HEADER.size
    return image[:start] + packed + image[start + len(packed) :]
