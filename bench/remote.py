# SPDX-License-Identifier: GPL-2.0-or-later
"""A host over SSH against this machine, side by side: boots, the conformance guest, and the command from start to end.

Without --host the host is this machine, by a private sshd on loopback: what is measured is the way, not the network.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.aims import AIMS
from bench.measure import write_report
from snp_harness.conformance.series import run_conformance
from snp_harness.errors import HarnessError
from snp_harness.firmware.find import find_firmware
from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts.host import Host
from snp_harness.hosts.inventory import find_host
from snp_harness.hosts.local import LOCAL
from snp_harness.hosts.remote import RemoteHost
from snp_harness.svsm.config_files import load_config

HERE, REMOTE = "here", "host"


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be timed. do: given the host and a new directory. in_aim: it counts for AIM."""

    name: str
    do: Callable[[Host, Path], None]
    in_aim: bool = True


def works(firmware: Path, inventory: Path | None, name: str) -> list[Work]:
    """What is timed."""

    def boot(platform: str, config: str, until: str) -> Callable[[Host, Path], None]:
        def do(host: Host, out: Path) -> None:
            spec = RunSpec(firmware, svsm=load_config(config), until=until, host=host)
            result = run(spec, platform, out)
            if result.error is not None:
                raise result.error

        return do

    def conformance(host: Host, out: Path) -> None:
        run_conformance(load_config("alternate-injection"), host=host, out=out)

    def command(host: Host, out: Path) -> None:
        argv = [sys.executable, "-m", "snp_harness", "run", "--quiet", "--json", "--firmware", str(firmware)]
        argv += ["--out", str(out)]
        if not host.here:
            # It takes the host's lock itself.
            host.close()
            argv += ["--host", name, *(["--hosts", str(inventory)] if inventory else [])]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise HarnessError(f"the command ended with status {done.returncode}: {done.stderr.strip()}")

    return [
        Work("emulated, until SEC", boot("emulated", "alternate-injection", "sec")),
        Work("emulated, until DXE", boot("emulated", "alternate-injection", "dxe")),
        Work("tcg, until SEC", boot("tcg", "plain", "sec")),
        Work("conformance", conformance),
        # One connection for one run: what a session pays once.
        Work("the command, with its connection", command, in_aim=False),
    ]


def measure(host: RemoteHost, compared: Sequence[Work], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each round, by work and place; in turns, so that what else the machine does meets both."""
    times: dict[str, dict[str, list[float]]] = {work.name: {HERE: [], REMOTE: []} for work in compared}
    for number in range(rounds + 1):
        for work in compared:
            for place, where in ((HERE, LOCAL), (REMOTE, host)):
                # The connection is not what is measured.
                host.link()
                with tempfile.TemporaryDirectory(prefix="snp-bench-") as directory:
                    started = time.monotonic()
                    work.do(where, Path(directory) / "out")
                    elapsed = time.monotonic() - started
                # The first round fills caches, and the host's store.
                if number:
                    times[work.name][place].append(elapsed)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return times


def table(compared: Sequence[Work], times: dict[str, dict[str, list[float]]]) -> str:
    """The medians as text, and whether the aim is met."""
    lines = [f"{'':<34}{HERE:>10}{REMOTE:>10}{'ratio':>8}"]
    for work in compared:
        here, there = (statistics.median(times[work.name][place]) for place in (HERE, REMOTE))
        lines.append(f"{work.name:<34}{here:>8.2f} s{there:>8.2f} s{there / here:>8.2f}")
    return "\n".join([*lines, "", f"all but the command: {AIMS['remote'].line(ratio(compared, times))}"])


def ratio(compared: Sequence[Work], times: dict[str, dict[str, list[float]]]) -> float:
    """Return how many times what the works of the aim take here they take on the host."""
    sums = [
        sum(statistics.median(times[work.name][place]) for work in compared if work.in_aim) for place in (REMOTE, HERE)
    ]
    return sums[0] / sums[1]


@contextlib.contextmanager
def loopback() -> Iterator[tuple[str, Path]]:
    """A private sshd on this machine: the host's name and its inventory."""
    from tests.hosts.sshd import start_sshd

    with tempfile.TemporaryDirectory(prefix="snp-bench-") as name:
        server = start_sshd(Path(name) / "sshd")
        inventory = Path(name) / "hosts.toml"
        inventory.write_text(
            f'[hosts.loopback]\nurl = "{server.url}"\nknown_hosts = "{server.known_hosts}"\n'
            f'identity = "{server.home / ".ssh" / "id_ed25519"}"\n',
            encoding="utf-8",
        )
        try:
            yield "loopback", inventory
        finally:
            server.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when everything was measured, whether or not the aim is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.remote", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--firmware", default="debian:trixie", help="default: %(default)s")
    parser.add_argument("--host", help="a host, as of run; default: this machine, by an sshd on loopback")
    parser.add_argument("--hosts", type=Path, help="the inventory")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", type=Path, default=Path("build/bench-remote.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    with contextlib.ExitStack() as stack:
        try:
            firmware = find_firmware(options.firmware)
            given = (options.host, options.hosts) if options.host else stack.enter_context(loopback())
            host = find_host(given[0], inventory=given[1])
            stack.callback(host.close)
            compared = works(firmware, given[1], given[0])
            times = measure(host, compared, options.rounds)
        except HarnessError as error:
            print(f"bench: error: {error}", file=sys.stderr)
            return error.exit_status
    print(f"{firmware}\n{options.rounds} rounds, medians, {os.cpu_count()} cores, host {given[0]}\n")
    print(table(compared, times))
    write_report(options.json, {"host": given[0], "seconds": times}, {"remote": ratio(compared, times)})
    print(f"\n{options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
