# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers inside QEMU: which QEMU gives them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec import structs

from snp_harness.firmware_run import RunSpec
from snp_harness.hosts.local import LOCAL
from snp_harness.platforms import in_place
from snp_harness.platforms.memory_map import memory_map
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from snp_harness.vm.qemu_binary import QemuBinary
from tests.helpers.c_headers import INCLUDE, assert_same
from tests.helpers.in_place import IN_PLACE_COUNT

pytestmark = pytest.mark.usefixtures("own_exits")

MEMORY = memory_map(512 << 20, 40)


@dataclasses.dataclass(frozen=True)
class FakeQemu(QemuBinary):
    """A QEMU of some version."""

    number: tuple[int, int, int] = (11, 1, 3)

    @property
    def version(self) -> tuple[int, int, int]:
        return self.number


def qemu(directory: Path, number: tuple[int, int, int], contents: bytes = b"\x7fELF\0qemu_plugin_set_pc\0") -> FakeQemu:
    program = directory / "qemu"
    program.write_bytes(contents)
    return FakeQemu(program, (str(program),), number)


def config(*, wanted: bool) -> SvsmConfig:
    svsm = load_config("alternate-injection-off")
    return structs.replace(svsm, exits=structs.replace(svsm.exits, in_place=wanted))


@pytest.mark.parametrize(
    ("number", "contents", "why"),
    [
        ((7, 2, 22), b"", "QEMU 7.2.22 has another plugin interface than 11.1"),
        ((11, 0, 9), b"", "QEMU 11.0.9 has another plugin interface than 11.1"),
        ((12, 0, 0), b"", "QEMU 12.0.0 has another plugin interface than 11.1"),
        ((11, 1, 0), b"", "was built without plugins"),
        ((11, 1, 0), b"\x7fELF\0qemu_plugin_set_pcs\0", "was built without plugins"),
    ],
)
def test_a_qemu_that_cannot_is_started_without_the_plugin(
    tmp_path: Path, number: tuple[int, int, int], contents: bytes, why: str
) -> None:
    binary = qemu(tmp_path, number, contents)
    reason = in_place.unusable(binary, LOCAL)
    assert reason is not None
    assert why in reason
    spec = RunSpec(tmp_path / "qemu", svsm=config(wanted=True))
    assert in_place.arguments(spec, binary, MEMORY) == ()


def test_the_plugin_finds_the_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = tmp_path / "a,b.so"
    monkeypatch.setattr(in_place, "PLUGIN", plugin)
    binary = qemu(tmp_path, (11, 1, 3))
    spec = RunSpec(tmp_path / "qemu", svsm=config(wanted=True))
    assert "is not built" in (in_place.unusable(binary, LOCAL, plugin) or "")
    plugin.touch()
    option = f"file={str(plugin).replace(',', ',,')},view={MEMORY.view_base:x}"
    assert in_place.arguments(spec, binary, MEMORY) == ("-plugin", option)
    unwanted = RunSpec(tmp_path / "qemu", svsm=config(wanted=False))
    assert in_place.arguments(unwanted, binary, MEMORY) == ()


def test_the_count_has_the_number_of_the_header() -> None:
    assert_same([f"{INCLUDE}/in_place.h"], {"IN_PLACE_COUNT": IN_PLACE_COUNT})
