# SPDX-License-Identifier: GPL-2.0-or-later
"""An attestation report that a guest was given, verified with the certificates that it was given with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snp_harness.platforms import certificates
from tests.emulator.guest.build import End, Mode
from tests.emulator.guest.run import GuestRun, Setting
from tests.helpers import snp_report

pytestmark = pytest.mark.emulated


@pytest.mark.parametrize(("mode", "vmpl"), [(Mode.VMPL0, 0), (Mode.SVSM, 2)])
def test_a_guest_s_report_is_verified(guest_run: Callable[..., GuestRun], mode: Mode, vmpl: int) -> None:
    run = guest_run(Setting(mode), End.REPORT)
    chain = snp_report.certificate_table(bytes.fromhex(run.lines["certificates"]))
    report = snp_report.verify(bytes.fromhex(run.lines["report"]), chain)
    assert report.vmpl == vmpl
    assert report.report_data == b"snp-harness test guest".ljust(64, b"\0")
    assert report.measurement.hex() == run.result.timeline.launch_digest
    assert chain == {name: (run.result.directory / f"{name}.pem").read_bytes() for name in certificates.NAMES}


def test_another_guest_has_another_report_id(guest_run: Callable[..., GuestRun]) -> None:
    reports = [
        snp_report.parse(bytes.fromhex(guest_run(Setting(mode), End.REPORT).lines["report"]))
        for mode in (Mode.VMPL0, Mode.SVSM)
    ]
    assert reports[0].report_id != reports[1].report_id
    assert reports[0].chip_id == reports[1].chip_id


def test_a_plain_guest_s_run_has_no_certificates(guest_run: Callable[..., GuestRun]) -> None:
    run = guest_run(Setting(Mode.PLAIN), End.TRIPLE_FAULT)
    assert not list(run.result.directory.glob("*.pem"))
