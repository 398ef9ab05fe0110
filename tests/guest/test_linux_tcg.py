# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's Linux on plain TCG, which a test logs in to."""

from __future__ import annotations

import pytest

from snp_harness import SnpLinux

pytestmark = [pytest.mark.tcg, pytest.mark.slow]

WAIT_S = 300.0


@pytest.mark.parametrize("vcpus", [1, 4])
def test_to_a_command_and_the_power_off(vcpus: int, linux_guest: SnpLinux) -> None:
    guest = linux_guest("trixie", platform="tcg", config="no-svsm", vcpus=vcpus, timeout_s=WAIT_S)
    assert guest.run("nproc").out == f"{vcpus}\n"
    assert "SEV-SNP" not in guest.dmesg()
    assert guest.accesses.count > 0
    guest.login()
    guest.console.sendline("poweroff")
    assert guest.wait_ended().error is None
