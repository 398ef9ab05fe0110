# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of a run on the emulated host, from its directory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from snp_harness.capture.record import RECORD, HostRecord
from snp_harness.vm import rundir


def records_to_goal(directory: Path) -> Iterator[HostRecord]:
    """Yield the records up to the run's goal: how many follow until QEMU is stopped is chance."""
    environment = json.loads((directory / rundir.ENVIRONMENT).read_text(encoding="utf-8"))
    end = environment["after_goal"]["records_before"]
    assert end > 0
    log = (directory / rundir.HOST_LOG).read_bytes()
    return map(HostRecord._make, itertools.islice(RECORD.iter_unpack(log), end))
