# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds a QEMU on this machine, and the command that starts it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from snp_harness.agent.agent_errors import AgentError
from snp_harness.launch.patience import run

PROGRAM = "qemu-system-x86_64"
#: Environment variable: a QEMU, or the directory of an unpacked one, if no option names one.
VARIABLE = "SNP_HARNESS_QEMU"
#: Less than the near side's patience (snp_harness/hosts/link.py): the agent answers nothing else meanwhile.
VERSION_TIMEOUT_S = 25.0
INSTALL = "apt-get install qemu-system-x86, or name another with --qemu"

#: The one beside QEMU is first: QEMU finds its modules relative to the started program, which is the loader.
_LOADERS = tuple(f"{place}/ld-linux-x86-64.so.2" for place in ("bin", "lib64", "lib/x86_64-linux-gnu"))
_DATA = ("share/qemu", "share/seabios", "lib/ipxe/qemu")
_LIBRARIES = ("lib/x86_64-linux-gnu", "lib64", "lib")


def locate(path: Path | None) -> tuple[Path, tuple[str, ...]]:
    """Return a QEMU's path and the start of its argv: at `path`, or as VARIABLE names it, or from PATH.

    path: a file, or the directory it was unpacked to. A QEMU that was unpacked with its own libraries (its directory
    tree contains a dynamic loader) is started through that loader, so that it does not use the system's libraries.
    Raises AgentError.
    """
    if path is None and (named := os.environ.get(VARIABLE)):
        path = Path(named)
    if path is None:
        found = shutil.which(PROGRAM)
        if found is None:
            raise AgentError("missing", f"{PROGRAM} is not installed", INSTALL)
        path = Path(found)
    if path.is_dir():
        path = _in_directory(path)
    if not path.is_file():
        raise AgentError("missing", f"QEMU {path} not found", INSTALL)
    if not os.access(path, os.X_OK):
        raise AgentError("missing", f"QEMU {path} cannot be executed", f"chmod +x it, or {INSTALL}")
    path = path.absolute()
    return path, _prefix(path)


def version_output(prefix: tuple[str, ...]) -> tuple[int, bytes, bytes]:
    """Run `-version`; return the exit status, the start of stdout and the end of stderr.

    Raises OSError, subprocess.TimeoutExpired.
    """
    done = run([*prefix, "-version"], VERSION_TIMEOUT_S)
    return done.returncode, done.stdout[:4096], done.stderr[-512:]


def _in_directory(directory: Path) -> Path:
    """Return the emulator in the directory that a package was unpacked to. Raises AgentError."""
    for relative in (f"usr/bin/{PROGRAM}", f"bin/{PROGRAM}", PROGRAM):
        if (directory / relative).is_file():
            return directory / relative
    raise AgentError(
        "missing", f"no {PROGRAM} in {directory}", "name the directory that QEMU was unpacked to, or its file"
    )


def _prefix(path: Path) -> tuple[str, ...]:
    """Return the start of argv. A tree with its own dynamic loader also contains libraries and firmware."""
    root = path.parent.parent
    loader = next((root / name for name in _LOADERS if (root / name).exists()), None)
    if path.parent.name != "bin" or loader is None or root in (Path("/"), Path("/usr")):
        return (str(path),)
    libraries = ":".join(str(root / name) for name in _LIBRARIES if (root / name).is_dir())
    data = [argument for name in _DATA if (root / name).is_dir() for argument in ("-L", str(root / name))]
    # The cache of libraries would select the system's.
    return (str(loader), "--inhibit-cache", "--library-path", libraries, str(path), *data)
