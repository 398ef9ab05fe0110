# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of a source of edk2, as opposed to errors of the machine that builds it.

Bisecting depends on the difference: these errors skip a commit; every other HarnessError is one of the environment, and
ends the bisection.
"""

from __future__ import annotations

from snp_harness.errors import FirmwareError


class SourceError(FirmwareError):
    """A source that cannot be built: not edk2, a platform it lacks, a patch that does not apply."""


class CompileError(SourceError):
    """The source was built and the build failed; the message has the first error of the compiler or of `build`."""
