# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: all benchmarks one after the other, then each aim with its value.

One that fails or takes too long is reported, and the others follow: the status is 1 then.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import aims


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark. timeout_s: many times what it takes on an idle machine."""

    module: str
    arguments: tuple[str, ...] = ()
    timeout_s: float = 900.0


#: A QEMU with plugins, for `exits.in_place`.
NEWER = ("--qemu", "debian:sid", "--line", "BdsDxe: ", "--no-command", "--json", "build/bench-newer.json")
PARTS = (
    Part("bench"),
    Part("bench", NEWER),
    Part("bench.counts", ("--json", "build/bench-counts.json")),
    Part("bench.interrupt_path", ("--ticks", "5000")),
    Part("bench.remote"),
    Part("bench.fleet"),
    Part("bench.scale"),
    Part("bench.linux"),
    Part("bench.page"),
    Part("bench.parallel", ("--rounds", "2")),
)


def compile_package() -> None:
    """Compile the package as an installation of a wheel does: the command that is timed does not compile itself."""
    package = importlib.util.find_spec("snp_harness")
    assert package is not None
    for directory in package.submodule_search_locations or ():
        compileall.compile_dir(directory, quiet=1)


def run(part: Part, arguments: Sequence[str] = ()) -> str:
    """Run a benchmark. Returns why it measured nothing, "" if it ended well."""
    command = [sys.executable, "-m", part.module, *part.arguments, *arguments]
    print(f"\n== python -m {' '.join([part.module, *part.arguments, *arguments])}\n", flush=True)
    try:
        status = subprocess.run(command, timeout=part.timeout_s, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"it did not end in {part.timeout_s:g} s"
    return f"it ended with status {status}" if status else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all. arguments: for the first benchmark."""
    given = sys.argv[1:] if arguments is None else arguments
    for old in aims.REPORTS.glob("bench*.json"):
        with contextlib.suppress(FileNotFoundError):
            Path(old).unlink()
    compile_package()
    started = time.monotonic()
    failed = []
    for number, part in enumerate(PARTS):
        why = run(part, () if number else given)
        if why:
            failed.append(f"{part.module}: {why}")
            print(f"bench: error: {failed[-1]}", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    print(f"\n== the aims, after {seconds:.0f} s\n")
    aims.conclude(seconds=seconds)
    for text in failed:
        print(f"bench: error: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
