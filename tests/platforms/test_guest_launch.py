# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware.metadata import SevSectionType
from snp_harness.platforms.guest_launch import guest_launch, own_console
from snp_harness.platforms.memory_map import memory_map
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm.config_files import load_config
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_inject import settings_of
from snp_harness.svsm.igvm_measure import id_blocks
from snp_harness.svsm.launch import Pages, PageType
from snp_harness.vm import rundir
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


#: Of those that are loaded before QEMU is started.
DATACLASSES_MAX = 12


@pytest.mark.emulated
def test_what_few_runs_need_is_not_loaded(snp_firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before QEMU is started, and at all: each of these takes milliseconds, ten dataclasses take four."""
    for name in rundir.VARIABLES:  # another QEMU, or its plugin, needs more
        monkeypatch.delenv(name, raising=False)
    program = (
        "import sys\n"
        "from snp_harness.cli.main import main\n"
        "from snp_harness.hosts.local import LocalHost\n"
        "machine = LocalHost.machine\n"
        "def started(*arguments):\n"
        "    late = {'hashlib', 'base64', 'asyncio', 'tempfile', 'snp_harness.version'}\n"
        "    print(*late & {*sys.modules}, end='|')\n"
        "    own = [module for name, module in sys.modules.items() if name.startswith('snp_harness.')]\n"
        "    made = {id(made) for module in own for made in vars(module).values()\n"
        "            if isinstance(made, type) and '__dataclass_fields__' in vars(made)}\n"
        "    print(len(made), end='|')\n"
        "    return machine(*arguments)\n"
        "LocalHost.machine = started\n"
        "main(sys.argv[1:])\n"
        "print('|', *{'elftools', 'cryptography'} & {*sys.modules})\n"
    )
    command = [sys.executable, "-c", program, "run", "--quiet", "--firmware", str(snp_firmware)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, timeout=300, check=True
    )
    before, dataclasses, *_, after = done.stdout.split("|")
    assert (before.split(), after.split()) == ([], [])
    # As values that are made before QEMU is started, msgspec.Struct takes a hundredth of the time of a dataclass.
    assert int(dataclasses) <= DATACLASSES_MAX


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["no-svsm", "alternate-injection"])
def test_hashes_of_a_kernel_are_put_into_their_section(amdsev_path: Path, name: str) -> None:
    spec = RunSpec(FirmwareImage.open(amdsev_path), svsm=load_config(name))
    memory = memory_map(spec.memory, spec.svsm.memory.phys_bits)
    assert spec.image.metadata is not None
    [section] = spec.image.metadata.of_type(SevSectionType.KERNEL_HASHES)
    table, _ = spec.image.metadata.hash_table
    without, launch = (guest_launch(spec, spec.image, memory, kernel=kernel) for kernel in (False, True))
    assert without is not None
    assert launch is not None
    assert [pages for pages in without.pages if pages.hashes is not None] == []
    [pages] = [pages for pages in launch.pages if pages.hashes is not None]
    assert pages == Pages(PageType.NORMAL, section.gpa, section.size // 4096, hashes=table - section.gpa)
    assert set(launch.ranges) >= {(section.gpa, section.size)}
    assert sum(pages.count for pages in launch.pages) == sum(pages.count for pages in without.pages)
