# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of IGVM files on the emulated host; the files are the reference SVSM's."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_INCONCLUSIVE, UsageError
from snp_harness.firmware.image import FirmwareImage
from snp_harness.platforms.guest_launch import SIGNATURE, reference_file
from snp_harness.platforms.memory_map import memory_map
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm import launch_digest
from snp_harness.svsm.config_files import parse_config
from snp_harness.svsm.firmware_launch import firmware_launch
from snp_harness.testing.boot import SnpBoot
from snp_harness.vm import rundir
from tests.helpers.igvm import digest_of
from tests.svsm.igvm_headers import ID_BLOCK, Headers

pytestmark = pytest.mark.emulated


@pytest.fixture
def reference(snp_firmware: Path) -> bytes:
    """The file that the package makes for a run of the firmware with 512 MiB."""
    image = FirmwareImage.open(snp_firmware)
    return reference_file(RunSpec(image), image, memory_map(512 << 20, 40))


def with_id_block(data: bytes, digest: bytes) -> bytes:
    content = (1).to_bytes(4, "little") + bytes(4) + digest
    return Headers.split(data).add(ID_BLOCK, content.ljust(768, b"\0")).join()


def test_the_reference_svsm_from_a_file(snp_boot: SnpBoot, reference: bytes, tmp_path: Path) -> None:
    """Its own firmware, an ID block for it, and the digest that `igvm show` computes."""
    digest = digest_of(reference)
    path = tmp_path / "reference.igvm"
    path.write_bytes(with_id_block(reference, digest))
    result = snp_boot(igvm=path)
    assert result.verdict.status is Status.VIOLATED
    assert result.timeline.launch_digest == digest.hex()
    assert result.timeline.alternate_injection
    made = snp_boot()
    assert made.timeline.launch_digest == digest.hex()
    assert [access.register for access in made.timeline.accesses] == [
        access.register for access in result.timeline.accesses
    ]


@pytest.mark.parametrize("mib", [128, 512])
def test_svsm_inside_guest_ram_or_directly_behind_it(snp_boot: SnpBoot, mib: int) -> None:
    """As COCONUT's; the secrets page tells the guest where it is."""
    config = parse_config(b"[svsm]\nin_ram = true", "c.toml")
    result = snp_boot(config=config, memory_mib=mib)
    assert result.verdict.status is Status.VIOLATED
    console = (result.directory / rundir.SVSM).read_text(encoding="ascii")
    assert "at 8000000, 4096 KiB" in console
    assert f"RAM {mib} + 0 MiB" in console


def test_svsm_partly_inside_guest_ram(snp_boot: SnpBoot) -> None:
    config = parse_config(b"[svsm]\nin_ram = true", "c.toml")
    with pytest.raises(UsageError, match="only a part of it is RAM"):
        snp_boot(config=config, memory_mib=130)


def test_another_digest_than_the_id_block_s(snp_boot: SnpBoot, reference: bytes, tmp_path: Path) -> None:
    path = tmp_path / "reference.igvm"
    path.write_bytes(with_id_block(reference, bytes(48)))
    result = snp_boot(igvm=path)
    assert result.exit_status == EXIT_INCONCLUSIVE
    assert result.timeline.launch_digest == digest_of(reference).hex()
    [gap] = result.timeline.gaps
    assert "refused the launch (SNP_LAUNCH_FINISH) (the launch digest is not the ID block's)" in gap


def test_digest_of_firmware_alone(snp_boot: SnpBoot, snp_firmware: Path) -> None:
    image = FirmwareImage.open(snp_firmware)
    assert image.metadata is not None
    result = snp_boot(config="no-svsm", vcpus=2)
    expected = firmware_launch(image.flat(), image.metadata, vcpus=2, features=1, signature=SIGNATURE)
    assert result.timeline.launch_digest == launch_digest.digest_of(expected).hex()


def test_a_guest_without_snp_has_no_digest(snp_boot: SnpBoot) -> None:
    assert snp_boot(config="plain").timeline.launch_digest is None
