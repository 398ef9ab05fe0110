# SPDX-License-Identifier: GPL-2.0-or-later
"""The variable that has every run of the emulated host take another path through its exits, whatever its configuration.

The records of a run are to be the same on each path: the tests run on each.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from msgspec import structs

from snp_harness.errors import UsageError

if TYPE_CHECKING:
    from snp_harness.platforms.platform import RunSpec

VARIABLE = "SNP_HARNESS_EXITS"
#: Each exit and each RMP operation by itself; and reads of two MSRs answered inside QEMU, where that is possible.
SINGLE, IN_PLACE = "single", "in-place"


def chosen(spec: RunSpec) -> RunSpec:
    """Return what is run, with the keys of the path that VARIABLE names. Raises UsageError for another value."""
    wanted = os.environ.get(VARIABLE, "")
    if not wanted:
        return spec
    if wanted not in (SINGLE, IN_PLACE):
        raise UsageError(f"{VARIABLE} is {wanted!a}", f"it can be {SINGLE} or {IN_PLACE}")
    config = spec.svsm
    if wanted == SINGLE:
        config = structs.replace(
            config,
            svsm=structs.replace(config.svsm, rmp_batches=False),
            exits=structs.replace(config.exits, shortcuts=False, in_place=False),
        )
    else:
        config = structs.replace(config, exits=structs.replace(config.exits, in_place=True))
    return dataclasses.replace(spec, firmware=spec.image, svsm=config)
