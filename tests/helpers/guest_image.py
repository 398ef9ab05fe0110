# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on guests/lib as firmware images: compiled by their Makefiles, with parameters put in for each run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

#: Where the parameters are in the image: guests/lib/layout.h, PAYLOAD_FLASH - IMAGE_BASE.
PARAMETERS = 0x11000
_TIMEOUT_S = 600


def compile_guest(directory: Path, source: Path, name: str) -> bytes:
    """The image `name` that a guest's Makefile makes, built in `directory`, without parameters.

    Skips the test without a compiler, and fails it with the compiler's message when the guest does not compile.
    """
    for program in ("make", "gcc", "ld", "objcopy"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (install make, gcc and binutils)")
    command = ("make", "-s", "-C", str(source), f"BUILD={directory}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}", pytrace=False)
    return (directory / name).read_bytes()


def with_parameters(image: bytes, magic: bytes, parameters: bytes) -> bytes:
    """The image with a guest's parameters behind its magic number. It is a guest that has them: magic is checked."""
    assert image.startswith(magic, PARAMETERS)
    start = PARAMETERS + len(magic)
    return image[:start] + parameters + image[start + len(parameters) :]
