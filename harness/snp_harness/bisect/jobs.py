# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of a bisection as processes of their own, several at the same time if the machine bears it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from snp_harness.bisect.step import Step
from snp_harness.debian.cache import cache_root
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.launch.spawn import die_with_parent

#: What one build and boot take at most: measured, a DEBUG build of OvmfX64 has 0.8 GB, its linker 0.6 GB of memory.
_DISK = 2 << 30
_MEMORY = 2 << 30
_END_TIMEOUT_S = 30
#: A build of everything, and a boot.
_STEP_TIMEOUT_S = 2 * 3600


class StepFailedError(BrokenEnvironmentError):
    """A step ended without an answer about its commit."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message, "mend that, then give the same command again: it goes on from here")
        self.exit_status = exit_status


class StepProcesses:
    """Asks commits by `snp-harness bisect-step`, each in a process that ends with us, also on a signal.

    arguments: the question. directory: where the runs go.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        jobs: int,
        *,
        quiet: bool = False,
    ) -> None:
        self._arguments = list(arguments)
        self._directory = directory
        self._jobs = jobs
        self._quiet = quiet or jobs > 1

    def __call__(self, commits: Sequence[str]) -> list[Step]:
        """Ask up to `jobs` commits; raises StepFailedError with the step's own words if one gives no answer."""
        processes: list[subprocess.Popen[str]] = []
        try:
            for slot, commit in enumerate(commits):
                processes.append(self._start(commit, slot))
            return [self._finish(process, commit) for process, commit in zip(processes, commits, strict=True)]
        finally:
            for process in processes:
                _end(process)

    def _start(self, commit: str, slot: int) -> subprocess.Popen[str]:
        share = max(1, (os.cpu_count() or 1) // self._jobs)
        argv = [sys.executable, "-m", "snp_harness", "bisect-step", *self._arguments]
        argv += [f"--commit={commit}", f"--slot={slot}", f"--out={self._directory / commit[:12]}", "--json"]
        if self._jobs > 1 and not any(argument.startswith("--build-jobs=") for argument in argv):
            argv.append(f"--build-jobs={share}")
        if self._quiet:
            argv.append("--quiet")
        try:
            # A group of its own: Ctrl-C on the terminal comes to us alone, and we pass it on.
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if self._quiet else None,
                text=True,
                errors="replace",
                process_group=0,
                # It ends as on Ctrl-C, with what it has started, also when nobody is left who could tell it.
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        except OSError as error:
            raise StepFailedError(f"cannot start a step: {error.strerror}", StepFailedError.exit_status) from None

    def _finish(self, process: subprocess.Popen[str], commit: str) -> Step:
        try:
            stdout, stderr = process.communicate(timeout=_STEP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StepFailedError(
                f"the step of {commit[:12]} did not end within {_STEP_TIMEOUT_S} s", StepFailedError.exit_status
            ) from None
        if process.returncode == 0:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                return Step.from_json(json.loads(stdout))
        status = max(process.returncode, StepFailedError.exit_status)
        lines = [line for line in (stderr or "").splitlines() if line.strip()]
        said = f": {lines[-1]}" if lines else ""
        raise StepFailedError(f"the step of {commit[:12]} gave no answer{said}", status)


def bearable(jobs: int, say: Callable[[str], None]) -> int:
    """At most jobs, as many as the machine has processors, memory and disk for; says so if that is fewer."""
    limits = {"processors": os.cpu_count() or 1}
    with contextlib.suppress(OSError, ValueError):
        limits["memory"] = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MEMORY
    existing = next((path for path in (cache_root(), *cache_root().parents) if path.is_dir()), Path("/"))
    with contextlib.suppress(OSError):
        limits["disk space"] = shutil.disk_usage(existing).free // _DISK
    scarce = min(limits, key=lambda name: limits[name])
    most = max(1, limits[scarce])
    if jobs > most:
        say(f"{most} {'step' if most == 1 else 'steps'} at a time, not {jobs}: {scarce}")
    return min(jobs, most)


def _end(process: subprocess.Popen[str]) -> None:
    """End a step as a user would, and wait until what it started is gone too."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
