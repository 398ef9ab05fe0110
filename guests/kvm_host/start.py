# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested host's only program: reads the harness's agent from its standard input and runs it.

Standard input and output are the virtio-serial port, standard error is the machine's console. The input is what
snp_harness/hosts/bundle.py sends to every host: eight digits, then that many bytes of a zip archive with the agent.
Modules of the standard library are loaded before. An agent that follows the word EARLY is loaded but not run. If the
next agent is the same, as after a snapshot made at that time, it runs at once.
"""

import os
import sys
from collections.abc import Callable

DIGITS = 8
MAX_SIZE = 16 << 20
EARLY = b"preload:"
READY = "kvm-host: ready"
LOADED = "kvm-host: ready with the agent"
#: The modules that the agent uses.
PRELOAD = (
    "base64", "binascii", "collections.abc", "contextlib", "ctypes", "dataclasses", "enum", "errno", "fcntl",
    "functools", "getpass", "hashlib", "heapq", "io", "json", "mmap", "pathlib", "platform", "re", "resource", "select",
    "selectors", "shutil", "signal", "socket", "stat", "struct", "subprocess", "tempfile", "threading", "time",
    "traceback", "typing", "zipimport", "zlib",
)  # fmt: skip


def main() -> None:
    """Load modules, report that on the console, then receive and run the agent."""
    for name in PRELOAD:
        __import__(name)
    print(READY, file=sys.stderr, flush=True)
    loaded, run = b"", None
    while True:
        header = read(DIGITS)
        early = header == EARLY
        content = receive(read(DIGITS) if early else header)
        if run is None or content != loaded:
            loaded, run = content, load(content)
        if not early:
            run()
            return
        print(LOADED, file=sys.stderr, flush=True)


def receive(digits: bytes) -> bytes:
    """Read the archive; `digits` is its size in bytes. Raises ValueError for a size out of range."""
    size = int(digits)
    if not 0 < size <= MAX_SIZE:
        raise ValueError(f"an agent of {size} bytes is out of range")
    return read(size)


def load(content: bytes) -> Callable[[], None]:
    """Load the agent in the archive, replacing one that was loaded before, and return its main function."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "snp_harness"]:
        del sys.modules[name]
    file = os.memfd_create("agent")
    while content:
        content = content[os.write(file, content) :]
    sys.path.insert(0, f"/proc/self/fd/{file}")
    from snp_harness.agent.__main__ import main as agent

    return agent


def read(size: int) -> bytes:
    """Read exactly `size` bytes. Raises EOFError if the port closes before."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 16))
        if not part:
            raise EOFError("the port was closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print(f"kvm-host: the agent failed, {type(error).__name__}: {error}", file=sys.stderr)
        raise
