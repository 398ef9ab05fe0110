# SPDX-License-Identifier: GPL-2.0-or-later
"""Small sources and archives."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from snp_harness.edk2.archive import Member
from snp_harness.edk2.git import Store
from snp_harness.edk2.source import Repository
from snp_harness.edk2.workspaces import can_build_in

#: The files by which a directory is recognised as edk2, with a platform.
LANDMARKS = {
    "OvmfPkg/OvmfPkg.dec": b"[Defines]\r\n",
    "OvmfPkg/OvmfPkgX64.dsc": b"[Defines]\r\n",
    "OvmfPkg/OvmfPkgX64.fdf": b"[FV.DXEFV]\r\n  INF  OvmfPkg/VirtioNetDxe/VirtioNet.inf\r\n",
    "BaseTools/Conf/tools_def.template": b"*_GCC5_*_*_FAMILY = GCC\r\n",
    "BaseTools/Conf/build_rule.template": b"\r\n",
    "BaseTools/Conf/target.template": b"\r\n",
    "BaseTools/Source/C/GNUmakefile": b"all:\n\tmkdir -p bin\n",
}


def tree_of(store: Store, files: dict[str, bytes]) -> str:
    """A commit of these files."""
    return store.import_files([Member(path, data) for path, data in files.items()], "test\n")


def patch_between(store: Store, before: dict[str, bytes], after: dict[str, bytes]) -> bytes:
    """A patch from git itself."""
    return store.git("diff", "--full-index", tree_of(store, before), tree_of(store, after)).stdout


def write_tree(directory: Path, files: dict[str, bytes]) -> Path:
    """These files in a directory."""
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def skip_unless_built_here(directory: Path) -> None:
    """Skip a test whose path is one in which edk2 cannot be built."""
    if not can_build_in(directory):
        pytest.skip(f"edk2 cannot be built in {str(directory)!a}")


def write_with_build(directory: Path, script: bytes, files: dict[str, bytes]) -> Path:
    """A source whose build is a script. Skips the test where edk2 cannot be built."""
    skip_unless_built_here(directory)
    build = "BaseTools/BinWrappers/PosixLike/build"
    write_tree(directory, {**LANDMARKS, build: script, **files})
    (directory / build).chmod(0o755)
    return directory


def write_buildable(directory: Path) -> Path:
    """A source whose build is a script: the image is the content of Pkg/code.c, an error if it contains "error"."""
    script = (
        b"#!/bin/sh\ngrep -n error: Pkg/code.c && exit 1\nmkdir -p Build/OvmfX64/DEBUG_GCC5/FV\n"
        b"cp Pkg/code.c Build/OvmfX64/DEBUG_GCC5/FV/OVMF.fd\n"
    )
    tools = b"all:\n\tmkdir -p bin; touch bin/GenFv\n"
    return write_with_build(directory, script, {"BaseTools/Source/C/GNUmakefile": tools})


def stand_in_tools(directory: Path) -> dict[str, str]:
    """Variables with which nothing that edk2 needs is missing here, so that none of it is fetched.

    For builds that are scripts and use none of it.
    """
    for name in ("g++", "nasm", "iasl"):
        if shutil.which(name) is None:
            write_tree(directory, {f"bin/{name}": b"#!/bin/sh\necho version 1\n"})
            (directory / "bin" / name).chmod(0o755)
    write_tree(directory, {"include/uuid/uuid.h": b"typedef unsigned char uuid_t[16];\nvoid uuid_generate(uuid_t);\n"})
    code = b"void uuid_generate(unsigned char *);\nvoid uuid_generate(unsigned char *u) { u[0] = 0; }\n"
    source, library = directory / "uuid.c", directory / "libuuid.so"
    source.write_bytes(code)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=300)
    return {
        "PATH": os.pathsep.join([str(directory / "bin"), os.environ["PATH"]]),
        "CPATH": str(directory / "include"),
        "LIBRARY_PATH": str(directory),
    }


def entry(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive. fields: of TarInfo."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_xz(path: Path, entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """An archive of these members, without checks."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(lzma.compress(buffer.getvalue(), preset=0))
    return path


def upstream_repository() -> Repository:
    """The user's clone of edk2, with its tags and submodules; skips the test if there is none."""
    path = os.environ.get("SNP_HARNESS_EDK2_REPOSITORY")
    if not path:
        pytest.skip("SNP_HARNESS_EDK2_REPOSITORY names no clone of edk2 with its tags and submodules")
    return Repository(Path(path))
