# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest that a test image gets as an answer, and the digest that `igvm show` computes of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.platforms.guest_launch import reference_file
from snp_harness.platforms.memory_map import memory_map
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_inject import inject
from snp_harness.svsm_test.image_boot import launch_digest, prepare_image
from tests.helpers.igvm import digest_of
from tests.svsm import igvm_writer as writer


@pytest.mark.emulated
def test_reference_svsm() -> None:
    spec = prepare_image(None).spec
    file = reference_file(spec, spec.image, memory_map(spec.memory, spec.svsm.memory.phys_bits))
    assert launch_digest(prepare_image(None)) == digest_of(file)


@pytest.mark.parametrize("on", [False, True])
def test_file(tmp_path: Path, on: bool) -> None:
    data = writer.coconut(era=writer.NEW_ERA).build()
    path = tmp_path / "t.igvm"
    path.write_bytes(data)
    assert launch_digest(prepare_image(path)) == digest_of(data)
    name = "alternate-injection" if on else "alternate-injection-off"
    launched = inject(IgvmFile.parse(data, "t.igvm"), alternate_injection=on).data
    assert launch_digest(prepare_image(path, name)) == digest_of(launched)
