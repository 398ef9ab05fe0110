# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be wrong with a source of edk2, apart from the machine it is built on.

Bisecting depends on the difference: these are about the source, and skip a commit; every other HarnessError is about
the environment, and blames none.
"""

from __future__ import annotations

from snp_harness.errors import FirmwareError


class SourceError(FirmwareError):
    """A source that cannot be built: not edk2, a platform it lacks, a patch that does not apply."""


class CompileError(SourceError):
    """The source was built and the build failed; the message has the first error of the compiler or of `build`."""
