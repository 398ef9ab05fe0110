# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance guest, run once a session under each configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.conformance.guest_run import ConformanceResult
from snp_harness.conformance.image import Mode
from snp_harness.conformance.series import run_conformance
from snp_harness.hosts.host import Host
from snp_harness.svsm.config_files import load_config

Run = Callable[..., ConformanceResult]
TIMEOUT_S = 900.0


@pytest.fixture(scope="session")
def conformance(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, snp_host: Host) -> Run:
    """conformance(configuration, mode=None, icount=False, vcpus=0): the result of a run that the first call makes."""
    parent = tmp_path_factory.mktemp("conformance")
    given = pytestconfig.getoption("snp_qemu") or pytestconfig.getini("snp_qemu")
    results: dict[tuple[str, Mode, bool, int], ConformanceResult] = {}

    def run(configuration: str, mode: Mode = None, icount: bool = False, vcpus: int = 0) -> ConformanceResult:
        key = (configuration, mode, icount, vcpus)
        if key not in results:
            results[key] = run_conformance(
                load_config(configuration),
                mode,
                vcpus=vcpus,
                qemu=Path(given) if given else None,
                host=snp_host,
                out=parent / str(len(results)),
                timeout_s=TIMEOUT_S,
                icount=icount,
            )
        return results[key]

    return run
