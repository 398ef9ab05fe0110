# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.fleet`: the same tests over 1, 2, 4 and 8 hosts, by pytest-xdist.

The hosts are this machine, each by a private sshd on loopback: its processors do not become more. What is measured is
what a host more costs, in processor time, and whether each gets its share of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import MeasureError, children_s, write_report
from snp_harness.firmware.find import find_firmware
from tests.hosts.sshd import start_sshd

HOSTS = (1, 2, 4, 8)
BOOTS = 16
_TIMEOUT_S = 600.0
#: Each test notes its host.
_TESTS = """
import pytest

@pytest.mark.parametrize("number", range({boots}))
def test_boot(number, snp_boot, snp_host, tmp_path_factory):
    result = snp_boot(until="sec", timeout_s=300)
    assert result.error is None
    with open({notes!r}, "a") as notes:
        print(snp_host.name, file=notes)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One pass over all tests. processor_s: of pytest's processes, without the hosts'. least, most: tests of a host."""

    wall_s: float
    processor_s: float
    least: int
    most: int


def run_tests(hosts: Sequence[str], inventory: Path, firmware: Path, boots: int, directory: Path) -> Sample:
    """Run the tests, a worker a host. Raises MeasureError if one fails."""
    directory.mkdir()
    notes = directory / "notes"
    (directory / "test_boots.py").write_text(_TESTS.format(boots=boots, notes=str(notes)), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(len(hosts))]
    command += ["--snp-host", ",".join(hosts), "--snp-inventory", str(inventory), "--snp-firmware", str(firmware)]
    before, started = children_s(), time.monotonic()
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(directory), str(directory)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    wall_s, used_s = time.monotonic() - started, children_s() - before
    if done.returncode:
        raise MeasureError(f"the tests on {len(hosts)} hosts failed: {done.stdout.strip()[-2000:]}")
    counts = Counter(notes.read_text(encoding="utf-8").split())
    return Sample(wall_s, used_s, min(counts[host] for host in hosts), max(counts.values()))


def table(boots: int, samples: dict[int, Sample]) -> str:
    """The results as text."""
    lines = ["hosts   seconds   tests of a host"]
    lines += [f"{hosts:>5}{one.wall_s:>10.1f}   {f'{one.least} to {one.most}':>15}" for hosts, one in samples.items()]
    return "\n".join([f"{boots} boots to the end of SEC", "", *lines])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--firmware", default="debian:trixie", help="default: %(default)s")
    parser.add_argument("--boots", metavar="N", type=int, default=BOOTS, help="default: %(default)s")
    parser.add_argument("--json", type=Path, default=Path("build/bench-fleet.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    firmware = find_firmware(options.firmware)
    samples: dict[int, Sample] = {}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="snp-bench-")))
        inventory = directory / "hosts.toml"
        names = [f"loopback-{number}" for number in range(max(HOSTS))]
        texts = []
        for name in names:
            server = start_sshd(directory / name)
            stack.callback(server.stop)
            texts.append(
                f'[hosts.{name}]\nurl = "{server.url}"\nknown_hosts = "{server.known_hosts}"\n'
                f'identity = "{server.home / ".ssh" / "id_ed25519"}"\n'
            )
        inventory.write_text("".join(texts), encoding="utf-8")
        for hosts in HOSTS:
            try:
                samples[hosts] = run_tests(
                    names[:hosts], inventory, firmware, options.boots, directory / f"tests-{hosts}"
                )
            except MeasureError as error:
                print(f"bench: error: {error}", file=sys.stderr)
                return 1
    print(table(options.boots, samples))
    write_report(options.json, {"boots": options.boots, "hosts": {n: asdict(one) for n, one in samples.items()}})
    print(f"\n{options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
