# SPDX-License-Identifier: GPL-2.0-or-later
"""`pytest -m snp` without the hardware: every test skipped, each naming the first thing that is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.contract import evaluate
from snp_harness.capture.collect import Collector
from snp_harness.check import Check, CheckStatus, first_missing
from snp_harness.firmware_run import PreparedBoot, RunResult
from snp_harness.platforms import kvm, snp
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.svsm_console import HostLacksInjectionError
from tests.firmware import builder
from tests.hosts.conftest import servers, sshd
from tests.hosts.sshd import Sshd
from tests.platforms.snp_hosts import host

__all__ = ["servers", "sshd"]

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests" / "platforms" / "test_snp.py"


def test_the_projects_own_tests_are_skipped_with_the_reason() -> None:
    missing = first_missing(snp.PLATFORM.probe())
    if missing is None:
        pytest.skip("this is an SNP host")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "SNP_HARNESS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "snp", "-rs", "-p", "no:cacheprovider", str(ROOT / "tests")],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = re.search(r"=+ (\d+) skipped, \d+ deselected in", done.stdout)
    assert outcome is not None, done.stdout
    assert re.search(r"passed|failed|error", done.stdout.splitlines()[-1]) is None
    skips = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    counted = sum(int(number) for line in skips for number in re.findall(r"^SKIPPED \[(\d+)\]", line))
    assert counted == int(outcome[1])
    assert counted >= 6
    assert all(f"platform snp cannot run here: {missing.name}: " in line for line in skips)
    assert f"snp-harness: snp: cannot run here: {missing}" in done.stdout


def good_host(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """This machine passes for an SNP host, but for the changes."""
    monkeypatch.setattr(snp, "facts_of", lambda *_: host_facts(host(**changes)))
    # Imported above: a module that a run of pytester is the first to import is forgotten after it, and is another then.
    monkeypatch.setattr(kvm, "trace_check", lambda *_: Check("trace events", CheckStatus.OK, "all"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cpu__sev_leaf": None, "cpu__sev_leaf_error": "no x86 processor"}, "processor: *no x86 processor*"),
        ({"kvm__present": False}, "KVM: /dev/kvm is absent: load the module kvm_amd*"),
        ({"parameters__sev_snp": "N"}, "kvm_amd: sev=Y, sev_es=Y, sev_snp=N: load kvm_amd with*"),
        (
            {"sev__error": "Permission denied"},
            "security processor: /dev/sev: Permission denied: run the harness as root*",
        ),
        ({"qemu__objects": []}, "QEMU: *it has no sev-snp-guest: use QEMU*"),
        ({}, "no IGVM file with an SVSM is named: use --snp-igvm*"),
    ],
)
def test_hosts_that_lack_one_thing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    good_host(monkeypatch, **changes)
    pytester.makepyfile("import pytest\n@pytest.mark.snp\ndef test_it(snp_igvm):\n    pass")
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{reason}"])


def test_a_host_that_is_required_fails_the_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    good_host(monkeypatch, kvm__present=False)
    pytester.makepyfile("import pytest\n@pytest.mark.snp\ndef test_it():\n    pass")
    result = pytester.runpytest("--snp-require=snp")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*platform snp cannot run here: KVM: /dev/kvm is absent*"])


@pytest.mark.parametrize(("arguments", "outcome"), [((), "skipped"), (("--snp-require=snp",), "failed")])
def test_a_host_that_turns_out_to_lack_alternate_injection(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], outcome: str
) -> None:
    """What the SVSM says in the middle of a run; the firmware is not to blame, and the test does not fail."""
    good_host(monkeypatch)
    error = HostLacksInjectionError("use another kernel")
    timeline = Collector().finish(
        witness="w",
        platform="snp",
        gaps=[error.message],
        lost=0,
        not_observed=frozenset(),
        alternate_injection=True,
        svsm=True,
    )
    monkeypatch.setattr(PreparedBoot, "follow", lambda *_: RunResult(evaluate(timeline), timeline, tmp_path, error))
    (tmp_path / "firmware.fd").write_bytes(builder.image())
    (tmp_path / "c.toml").write_text('[svsm]\nkind = "igvm"\nigvm = "x.igvm"\n')
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.snp\ndef test_it(snp_boot):\n"
        f"    snp_boot({str(tmp_path / 'firmware.fd')!r}, platform='snp', config={str(tmp_path / 'c.toml')!r})"
    )
    result = pytester.runpytest("-rs", *arguments)
    result.assert_outcomes(**{outcome: 1})
    reason = "platform snp cannot run here: Alternate injection required but not available: use another kernel"
    result.stdout.fnmatch_lines([f"*{reason}*"])


def test_the_same_on_a_host_over_ssh(sshd: Sshd) -> None:
    """From a laptop: the host's own lack is what a skip names."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "snp",
            "-rs",
            "-p",
            "no:cacheprovider",
            "--snp-host",
            sshd.url,
            str(TESTS),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if first_missing(snp.PLATFORM.probe()) is None:
        pytest.skip("this is an SNP host")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"=+ \d+ skipped in", done.stdout), done.stdout
    skips = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert skips
    assert all(f"platform snp cannot run on {sshd.url}: " in line for line in skips), skips


def test_a_host_that_is_named_by_the_inventory_brings_its_igvm_file(
    pytester: pytest.Pytester, sshd: Sshd, tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(f'[hosts.box]\nurl = "{sshd.url}"\nigvm = "/igvm/coconut.igvm"\n')
    pytester.makepyfile("def test_it(snp_igvm):\n    assert str(snp_igvm) == '/igvm/coconut.igvm'")
    pytester.runpytest_subprocess("--snp-host=box", f"--snp-inventory={inventory}").assert_outcomes(passed=1)
