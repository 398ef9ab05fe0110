# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.linux`: seconds until a command was run in the Linux guest by SSH, against plain TCG of its image.

The variants take turns, so that a machine that is busy for a while slows all of them; what is reported are medians.
Every time is wall time from the start of QEMU's preparation; firmware, kernel, initramfs and devices are the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.aims import AIMS
from bench.measure import POLL_S, MeasureError, write_report
from snp_harness.errors import HarnessError
from snp_harness.firmware.find import find_firmware
from snp_harness.guest.linux import boot_linux
from snp_harness.guest.ssh import Ssh
from snp_harness.launch.tokens import FILE, token
from snp_harness.tools.linux_guest.launch import INITRD, MEMORY_MIB, READY, LinuxLaunch, find_launch
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory

PLAIN = "plain TCG"
#: The variants' aims.
COMPARED = {"I/O as #VC": "linux-vc", "native": "linux-native"}
CONFIGS = {"I/O as #VC": "alternate-injection-off", "native": "alternate-injection-off-native-io"}
_COMMAND = "true"


def plain(firmware: Path, launch: LinuxLaunch, vcpus: int, timeout_s: float, directory: Path) -> float:
    """QEMU without anything of the harness; returns the seconds. Raises MeasureError if that takes too long."""
    with RunDirectory.create(directory / "plain", "tcg") as run:
        launch.write(run)
    (directory / "firmware.fd").write_bytes(firmware.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    guest = [
        argument.replace(token(FILE, INITRD), str(directory / "plain" / INITRD)).replace(":0-:22", f":{port}-:22")
        for argument in launch.arguments
    ]
    command = [
        *QemuBinary.find(None).prefix,
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,smm=off", "-accel", "tcg", "-cpu", "EPYC-v3", "-smp", str(vcpus), "-m", str(MEMORY_MIB)),
        *("-bios", str(directory / "firmware.fd"), "-serial", f"file:{directory / 'serial.log'}", *guest),
    ]
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            serial = directory / "serial.log"
            while READY.encode() not in _read(serial):
                if time.monotonic() - started > timeout_s:
                    raise _too_long(timeout_s)
                time.sleep(POLL_S)
            try:
                ssh = Ssh.connect(port, launch.keys, timeout_s, lambda: None)
                ssh.run(_COMMAND, timeout_s)
            except HarnessError as error:
                raise _too_long(timeout_s) from error
            return time.monotonic() - started
        finally:
            process.kill()


def _too_long(timeout_s: float) -> MeasureError:
    return MeasureError(f"did not end in {timeout_s:g} s")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def emulated(firmware: Path, suite: str, config: str, vcpus: int, timeout_s: float, directory: Path) -> float:
    """An SNP guest at VMPL2 under the reference SVSM; returns the seconds."""
    started = time.monotonic()
    with boot_linux(
        suite, firmware=firmware, config=config, vcpus=vcpus, out=directory / "run", timeout_s=timeout_s
    ) as guest:
        guest.run(_COMMAND)
        return time.monotonic() - started


def take(measure: Callable[[Path], float]) -> float:
    """One run, in a private directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="snp-bench-") as name:
        return measure(Path(name))


def ratios(taken: dict[str, list[float]]) -> dict[str, float]:
    """Return the ratios to plain TCG by the names of their aims, of medians; none without a run of both."""
    if not taken[PLAIN]:
        return {}
    base = statistics.median(taken[PLAIN])
    return {aim: statistics.median(taken[name]) / base for name, aim in COMPARED.items() if taken[name]}


def row(name: str, times: Sequence[float], missed: int, timeout_s: float, ratio: float | None) -> str:
    """A line of the table. missed: runs that did not end."""
    parts = [f"{statistics.median(times):>8.1f} s"] if times else []
    if ratio is not None:
        parts.append(AIMS[COMPARED[name]].line(ratio))
    if missed:
        parts.append(f"{missed} of {missed + len(times)} did not end in {timeout_s:g} s")
    return f"{name:<12}" + "  ".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when everything was measured, whether or not the aims are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.linux", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suite", default="trixie", help="default: %(default)s")
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=100.0, help="seconds for each run; default: %(default)g")
    parser.add_argument("--json", type=Path, default=Path("build/bench-linux.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    try:
        firmware, launch = find_firmware("debian:trixie"), find_launch(options.suite)
        variants: dict[str, Callable[[Path], float]] = {
            PLAIN: partial(plain, firmware, launch, options.vcpus, options.timeout)
        }
        for name, config in CONFIGS.items():
            variants[name] = partial(emulated, firmware, options.suite, config, options.vcpus, options.timeout)
        taken: dict[str, list[float]] = {name: [] for name in variants}
        missed = dict.fromkeys(variants, 0)
        for number in range(1, options.rounds + 1):
            for name, measure in variants.items():
                print(f"round {number} of {options.rounds}: {name}", file=sys.stderr, flush=True)
                try:
                    taken[name].append(take(measure))
                except MeasureError as error:
                    # With a thread for each vCPU, plain TCG hangs or panics in some boots of Linux.
                    missed[name] += 1
                    print(f"{name} {error}", file=sys.stderr, flush=True)
    except HarnessError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{launch.kernel}\n{options.vcpus} vCPUs, {options.rounds} rounds, medians, {os.cpu_count()} cores,", end=" ")
    print(f"{platform.release()}; to the result of a command by SSH\n")
    values = ratios(taken)
    for name, times in taken.items():
        print(row(name, times, missed[name], options.timeout, values.get(COMPARED.get(name, ""))))
    report = {"suite": options.suite, "vcpus": options.vcpus, "samples_s": taken, "not_ended": missed}
    # The aims are those of one vCPU.
    write_report(options.json, report, values if options.vcpus == 1 else {})
    print(f"\n{options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
