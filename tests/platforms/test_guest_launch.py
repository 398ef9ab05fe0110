# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from snp_harness.platforms.guest_launch import own_console
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_inject import settings_of
from snp_harness.svsm.igvm_measure import id_blocks
from tests.svsm import igvm_writer as writer


def test_coconut_gets_a_console_of_its_own_below_another_firmware() -> None:
    """With four vCPUs its lines broke the first line of the conformance guest's results."""
    file = IgvmFile.parse(writer.coconut(era=writer.NEW_ERA, signature=b"\x01").build(), "t.igvm")
    moved, note = own_console(file)
    assert note == "the SVSM's console was moved to port 3E8"
    assert settings_of(moved, writer.SNP).block.port == 0x3E8
    assert settings_of(moved, writer.SNP).launch is not None
    assert id_blocks(moved) == []
    assert own_console(moved) == (moved, "")


def test_a_file_of_another_svsm_is_left_as_it_is() -> None:
    made = writer.Writer()
    made.add(0x001, writer.SupportedPlatform(1, 0, 2, 1, 0))
    file = IgvmFile.parse(made.build(), "t.igvm")
    assert own_console(file) == (file, "")
