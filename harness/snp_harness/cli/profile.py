# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness run --profile`: the #VMEXITs of a run on the emulated host."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from msgspec import structs

from snp_harness.capture.exit_profile import LOG_LEVEL, ExitProfile
from snp_harness.data import json_head
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.platforms.host_witness import HOST_LOG_LIMIT
from snp_harness.vm import rundir

if TYPE_CHECKING:
    from pathlib import Path

    from snp_harness.firmware_run import PreparedBoot, RunSpec
    from snp_harness.vm.rundir import RunDirectory

#: Bytes of the log that are read at once.
_BLOCK = 8192 * RECORD_SIZE


class IncompleteProfileError(BrokenEnvironmentError):
    """The raw log does not have all records: exits cannot be counted."""


def with_profile(boot: PreparedBoot) -> PreparedBoot:
    """Return the boot with every #VMEXIT in its log. Raises UsageError where the platform has no such log."""
    if boot.platform.name != "emulated":
        raise UsageError(f"the platform {boot.platform.name} does not count exits", "leave out --profile")
    svsm = boot.spec.svsm
    logged = structs.replace(svsm, log=structs.replace(svsm.log, level=LOG_LEVEL))
    return dataclasses.replace(boot, spec=dataclasses.replace(boot.spec, svsm=logged))


def read(directory: Path, spec: RunSpec) -> ExitProfile:
    """Return the profile of the run in a directory. Raises IncompleteProfileError."""
    profile = ExitProfile(spec.image, spec.svsm.guest_vmpl)
    path = directory / rundir.HOST_LOG
    last = b""
    try:
        size = path.stat().st_size
        with path.open("rb") as log:
            while batch := log.read(_BLOCK):
                whole = batch[: len(batch) // RECORD_SIZE * RECORD_SIZE]
                profile.take(whole)
                last = whole[-RECORD_SIZE:] or last
    except OSError as error:
        raise IncompleteProfileError(f"cannot read {path}: {error.strerror}") from None
    profile.finish()
    # Numbers of records have no gaps, and what follows the limit is not kept.
    if int.from_bytes(last[:8], "little") != profile.records or size >= HOST_LOG_LIMIT:
        raise IncompleteProfileError(f"{path} lacks records: the exits cannot be counted", "end the run earlier")
    return profile


def write(directory: RunDirectory, spec: RunSpec) -> ExitProfile:
    """Count the exits, write them as profile.json, and return them. Raises HarnessError."""
    profile = read(directory.path, spec)
    directory.write_json(rundir.PROFILE, json_head("profile") | profile.to_json())
    return profile
