# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages that the emulated host touches at an exit, by a plugin in QEMU: each costs a walk of its page tables."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.firmware_run import prepare
from snp_harness.hosts.host import Host
from snp_harness.hosts.local import LOCAL
from snp_harness.vm.rundir import RunDirectory

PLUGIN = Path(__file__).with_suffix(".c")
HOST = data_file("harness/emulator/build/snp-host.elf")
#: struct counts of the plugin: exits, and pages of code and of data.
_COUNTS = struct.Struct("=QQQ")
_VMRUN_SIZE = 3
#: How far a boot goes, and the exits that are counted, which it has before that in each configuration.
_UNTIL, _EXITS = "dxe", 5_000


@dataclass(frozen=True, slots=True)
class ExitPages:
    """Pages of code and of data that an exit touches, on average."""

    code: float
    data: float


def count(configuration: str, firmware: Path, host: Host = LOCAL) -> ExitPages:
    """Boot with counted instructions, and return the pages of one of the first exits. Raises HarnessError."""
    with tempfile.TemporaryDirectory(prefix="snp-pages-") as name:
        directory = Path(name)
        plugin, out = directory / "exit_pages.so", directory / "counts"
        _run("cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", str(PLUGIN), "-o", str(plugin))
        out.write_bytes(bytes(_COUNTS.size))
        symbols = {parts[2]: int(parts[0], 16) for parts in map(str.split, _run("nm", str(HOST)).splitlines())}
        first, end, left = (symbols[symbol] for symbol in ("host_start", "host_image_end", "vm_enter_left"))
        arguments = f"file={plugin},host={first:x}-{end:x},vmrun={left - _VMRUN_SIZE:x},exits={_EXITS},out={out}"
        boot = prepare(
            firmware,
            "emulated",
            configuration,
            until=_UNTIL,
            icount=True,
            timeout_s=900.0,
            host=host,
            extra_args=("-plugin", arguments),
        )
        with RunDirectory.create(directory / "run", "emulated") as run:
            result = boot.run(run)
        if result.error is not None:
            raise result.error
        exits, code, data = _COUNTS.unpack(out.read_bytes())
    if exits < _EXITS:
        raise BrokenEnvironmentError(f"{HOST} had {exits} exits, and not {_EXITS}", "build it: make emulator")
    return ExitPages(code / exits, data / exits)


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BrokenEnvironmentError(f"{command[0]} failed: {error}", "install the packages: make setup") from None
