# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin that answers reads of two MSRs inside QEMU (harness/emulator/plugin), and which QEMU can use it."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.check import Check, CheckStatus
from snp_harness.data import data_file
from snp_harness.errors import HarnessError

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host
    from snp_harness.platforms.memory_map import MemoryMap
    from snp_harness.platforms.platform import RunSpec
    from snp_harness.vm.qemu_binary import QemuBinary

PLUGIN = data_file("harness/emulator/build/snp-in-place.so")
#: The first QEMU with version 7 of its plugin interface, and the first whose interface is not known.
FIRST, BEYOND = (11, 1), (12, 0)
#: A QEMU that was built without plugins lacks it.
_FUNCTION = b"\0qemu_plugin_set_pc\0"


def unusable(binary: QemuBinary, host: Host, plugin: Path = PLUGIN) -> str | None:
    """Return why a QEMU cannot use the plugin, None if it can. Raises what QemuBinary.version raises."""
    if not host.here:
        return f"{host.name} is another machine"
    if not FIRST <= binary.version[:2] < BEYOND:
        return f"QEMU {'.'.join(map(str, binary.version))} has another plugin interface than {FIRST[0]}.{FIRST[1]}"
    if not plugin.is_file():
        return f"{plugin} is not built"
    return None if _has_plugins(binary.path) else f"{binary.path} was built without plugins"


def arguments(spec: RunSpec, binary: QemuBinary, memory: MemoryMap) -> tuple[str, ...]:
    """Return QEMU's arguments for the plugin: none if the configuration does not ask for it, or QEMU cannot use it."""
    if not spec.svsm.exits.in_place or unusable(binary, spec.host) is not None:
        return ()
    return ("-plugin", f"file={str(PLUGIN).replace(',', ',,')},view={memory.view_base:x}")


def check(host: Host, qemu: Path | None) -> Check:
    """Check whether `exits.in_place` has an effect. Nothing else needs it."""
    name = "answers inside QEMU"
    try:
        why = unusable(host.qemu(qemu), host)
    except HarnessError as error:
        why = error.message
    if why is None:
        return Check(name, CheckStatus.OK, "exits.in_place = true makes the run faster")
    return Check(name, CheckStatus.OK, f"exits.in_place has no effect: {why}")


def _has_plugins(program: Path) -> bool:
    try:
        with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(_FUNCTION) >= 0
    except (OSError, ValueError):
        return False
