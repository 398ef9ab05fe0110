# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules of an unpacked Debian package, with their dependencies, in an order in which they can be loaded."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.elf import module_info

_BUILT_IN = "modules.builtin"
_HINT = "use another suite"
#: A module's size, unpacked. kvm.ko has less than 10 MiB.
_MAX_SIZE = 64 << 20


@dataclass(frozen=True, slots=True)
class Module:
    """name: with underscores, as in modinfo's dependencies. data: the ELF file, not compressed.

    depends: names of the modules that it needs. aliases: patterns of the devices and features that it is for.
    """

    name: str
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def module_name(file_name: str) -> str:
    """Return the name of a module's file: kvm_amd for kvm-amd.ko.xz."""
    return file_name.partition(".")[0].replace("-", "_")


def load_order(directory: Path, wanted: tuple[str, ...]) -> list[Module]:
    """Return the modules of lib/modules/VERSION to load. Raises BrokenEnvironmentError, ElfError."""
    files = _files(directory)
    ordered: dict[str, Module] = {}
    built_in = _built_in(directory)

    def take(name: str, asked_by: tuple[str, ...]) -> None:
        if name in ordered or name in built_in:
            return
        if name in asked_by:
            raise BrokenEnvironmentError(f"kernel module {name} depends on itself", _HINT)
        if name not in files:
            raise BrokenEnvironmentError(f"the kernel in {directory} has no module {name}", _HINT)
        data = _read(files[name])
        info = module_info(data, str(files[name]))
        depends = tuple(module_name(needed) for needed in ",".join(info.get("depends", [])).split(",") if needed)
        for needed in depends:
            take(needed, (*asked_by, name))
        ordered[name] = Module(name, data, depends, tuple(info.get("alias", ())))

    for name in wanted:
        take(name.replace("-", "_"), ())
    return list(ordered.values())


def available(directory: Path) -> set[str]:
    """Return the names of the modules in lib/modules/VERSION, built in or not. Raises BrokenEnvironmentError."""
    return {*_files(directory), *_built_in(directory)}


def module_index(modules: Sequence[Module]) -> dict[str, bytes]:
    """Return the files by which modprobe finds modules (depmod(8)). They are beside them, as NAME.ko."""
    order = {module.name: module for module in modules}

    def needs(module: Module) -> list[str]:
        """Return all that it needs, those without needs last."""
        direct = [order[name] for name in module.depends if name in order]
        names = [name for one in direct for name in (one.name, *needs(one))]
        return [name for number, name in enumerate(names) if name not in names[number + 1 :]]

    lines = (f"{module.name}.ko:{''.join(f' {name}.ko' for name in needs(module))}\n" for module in modules)
    aliases = (f"alias {alias} {module.name}\n" for module in modules for alias in module.aliases)
    return {"modules.dep": "".join(lines).encode(), "modules.alias": "".join(aliases).encode()}


def _files(directory: Path) -> dict[str, Path]:
    return {module_name(path.name): path for path in sorted(directory.rglob("*.ko*")) if path.is_file()}


def _built_in(directory: Path) -> set[str]:
    try:
        lines = (directory / _BUILT_IN).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BrokenEnvironmentError(f"{directory / _BUILT_IN} cannot be read: {error.strerror}", _HINT) from None
    return {module_name(line.rpartition("/")[2]) for line in lines}


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".ko":
        return data
    if path.suffix != ".xz":
        raise BrokenEnvironmentError(f"{path} has an unknown compression", _HINT)
    decompressor = lzma.LZMADecompressor()
    try:
        unpacked = decompressor.decompress(data, _MAX_SIZE)
    except lzma.LZMAError as error:
        raise BrokenEnvironmentError(f"{path} is damaged: {error}", "fetch it again") from None
    if not decompressor.eof:
        raise BrokenEnvironmentError(f"{path} is damaged: it is cut off, or too large", "fetch it again")
    return unpacked
