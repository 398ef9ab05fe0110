# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness doctor --host`, and the errors of a run on a host that lacks something, over a real sshd on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.hosts.remote import RemoteHost
from snp_harness.platforms import platform_names
from tests.hosts.sshd import Sshd, closed_port


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    status = cli.main(["doctor", "--json", *arguments])
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out)
    assert status == (0 if report["can_run"]["emulated"] else 128)
    entries: list[dict[str, str]] = report["checks"]
    return entries


def test_a_host_is_judged_as_it_would_be_from_itself(sshd: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    here = doctor(capsys)
    there = doctor(capsys, "--host", sshd.url)
    # The nested host cannot be used on another host; its section reports that.
    for name in set(platform_names()) - {"nested"}:
        theirs = [entry for entry in there if entry["section"] == f"platform {name} on {sshd.url}"]
        ours = [entry for entry in here if entry["section"] == f"platform {name}"]
        assert [(entry["name"], entry["status"]) for entry in theirs] == [
            (entry["name"], entry["status"]) for entry in ours
        ]
    [host] = [entry for entry in there if (entry["section"], entry["name"]) == ("this machine", "host")]
    assert host["evidence"].startswith(f"{sshd.url}: Linux ")
    assert all(entry["hint"] for entry in there if entry["status"] != "ok")


def test_who_only_looks_needs_no_lock(
    sshd: Sshd, hosts: Callable[..., RemoteHost], capsys: pytest.CaptureFixture[str]
) -> None:
    hosts(sshd.url).link()
    assert doctor(capsys, "--host", sshd.url)


def test_a_qemu_that_is_missing_there(
    servers: Callable[..., Sshd], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    server = servers(path=tmp_path / "bin")
    found = [entry for entry in doctor(capsys, "--host", server.url) if entry["name"] == "QEMU"]
    assert len(found) >= 4
    assert {entry["status"] for entry in found} == {"missing"}
    assert all("qemu-system-x86_64 is not installed" in entry["evidence"] and entry["hint"] for entry in found)


def test_a_host_that_is_not_there(sshd: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    with closed_port() as port:
        assert cli.main(["doctor", "--host", f"ssh://127.0.0.1:{port}"]) == 128
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert f"127.0.0.1:{port}" in output.err


def test_a_run_on_a_host_without_snp_names_the_first_thing_that_is_missing(
    sshd: Sshd, trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = [
        entry
        for entry in doctor(capsys, "--host", sshd.url)
        if entry["section"].startswith("platform snp") and entry["status"] == "missing"
    ]
    if not lacking:
        pytest.skip("this is an SNP host")
    command = ["run", "--platform", "snp", "--svsm-config", "no-svsm", "--firmware", str(trixie_path), "--quiet"]
    assert cli.main([*command, "--host", sshd.url, "--out", str(tmp_path / "out")]) == 128
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{sshd.url} cannot run this: {lacking[0]['name']}: {lacking[0]['evidence']}" in said
    assert lacking[0]["hint"] in said
