# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested host's only program: takes a Python program from its standard input, and becomes it.

Standard input and output are the virtio-serial port, standard error is the machine's console. What comes is a decimal
number, a newline, and so many bytes of a zip archive with a __main__.py. Modules of the standard library are loaded
before anything comes: a snapshot of the machine has them.
"""

import os
import runpy
import sys
import tempfile
from pathlib import Path

MAX_SIZE = 16 << 20
READY = "kvm-host: ready"
#: What the program is likely to use.
PRELOAD = (
    "base64", "binascii", "collections", "contextlib", "ctypes", "dataclasses", "enum", "errno", "fcntl", "functools",
    "hashlib", "io", "json", "mmap", "pathlib", "re", "select", "selectors", "shutil", "signal", "socket", "stat",
    "struct", "subprocess", "tempfile", "threading", "time", "traceback", "typing", "zipimport", "zipfile", "platform",
)  # fmt: skip


def main() -> None:
    """Load, say so, receive, run."""
    for name in PRELOAD:
        try:
            __import__(name)
        except ImportError as error:
            print(f"kvm-host: no module {name}: {error}", file=sys.stderr)
    print(READY, file=sys.stderr, flush=True)
    size = int(read_line())
    if not 0 < size <= MAX_SIZE:
        raise SystemExit(f"kvm-host: a program of {size} bytes cannot be")
    path = Path(tempfile.mkdtemp()) / "agent.zip"
    path.write_bytes(read(size))
    sys.argv = [str(path)]
    runpy.run_path(str(path), run_name="__main__")


def read_line() -> bytes:
    """A line, at most 20 bytes."""
    line = b""
    while not line.endswith(b"\n"):
        line += read(1)
        if len(line) > 20:
            raise SystemExit("kvm-host: what came is no number")
    return line


def read(size: int) -> bytes:
    """Exactly so many bytes."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 16))
        if not part:
            raise SystemExit("kvm-host: the port was closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
