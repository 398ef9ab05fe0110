# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent as it is sent to a host: a zip file made in memory, and the line of Python that loads it there."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
#: Packages that run on a host.
_ROOMS = ("agent", "launch")
#: Digits of the length that precedes the zip file.
_DIGITS = 8
#: Runs on the host: reads the zip file from stdin into memory and runs the agent from it. It writes nothing to a disk.
#: One line without apostrophes: any login shell passes it on unchanged.
_BOOTSTRAP = r"""exec("import os,sys
if sys.version_info<(3,9):
 sys.exit(%d)
def r(n):
 b=b\"\"
 while len(b)<n:
  c=os.read(0,n-len(b))
  if not c: sys.exit(1)
  b+=c
 return b
f=os.memfd_create(\"snp-harness-agent\")
d=r(int(r(%d)))
while d: d=d[os.write(f,d):]
sys.path.insert(0,\"/proc/self/fd/%%d\"%%f)
from snp_harness.agent.__main__ import main
main()")"""
#: The exit status of a Python that is too old.
EXIT_OLD_PYTHON = 103


def bootstrap() -> str:
    """Return the program for `python3 -c`."""
    return (_BOOTSTRAP % (EXIT_OLD_PYTHON, _DIGITS)).replace("\n", r"\n")


def command(python: str, *, sudo: bool = False) -> str:
    """Return the command line for a login shell. python: a name in the host's PATH, which the caller has checked."""
    return f"exec {'sudo -n ' if sudo else ''}{python} -I -B -c '{bootstrap()}'"


@functools.cache
def payload() -> bytes:
    """Return the bytes to send before the first frame; they are the same for the same agent."""
    buffer = io.BytesIO()
    files = [path for room in _ROOMS for path in sorted((_PACKAGE / room).glob("*.py"))]
    sources = {f"snp_harness/{path.relative_to(_PACKAGE)}": path.read_bytes() for path in files}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, source in {"snp_harness/__init__.py": b"", **sources}.items():
            # A ZipInfo has a fixed time; a name alone would get the current time.
            archive.writestr(zipfile.ZipInfo(name), source, zipfile.ZIP_DEFLATED)
    data = buffer.getvalue()
    return f"{len(data):0{_DIGITS}}".encode() + data
