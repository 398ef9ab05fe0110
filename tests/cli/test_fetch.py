# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness fetch`: which package each name asks for. The downloads themselves are tested in tests/debian."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import snp_harness.debian.firmware
import snp_harness.debian.qemu_bundle
from snp_harness.cli.main import main
from snp_harness.errors import EXIT_ENVIRONMENT, FetchError
from snp_harness.tools.kvm_host import host_image
from snp_harness.tools.linux_guest import image


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is fetched: kind and suite."""
    seen: list[tuple[str, str]] = []

    def firmware(spec: str, _progress: object) -> Path:
        seen.append(("firmware", spec))
        return Path("/cache/firmware")

    def directory(kind: str, spec: str) -> SimpleNamespace:
        seen.append((kind, spec))
        return SimpleNamespace(directory=Path(f"/cache/{kind}"))

    monkeypatch.setattr(snp_harness.debian.firmware, "fetch_firmware", firmware)
    monkeypatch.setattr(snp_harness.debian.qemu_bundle, "fetch_qemu", lambda spec, _: directory("qemu", spec))
    for kind, module in (("nested", host_image), ("linux", image)):
        images = SimpleNamespace(fetch=lambda spec, _, kind=kind: directory(kind, spec))
        monkeypatch.setattr(module, "images", lambda images=images: images)
    return seen


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [("firmware", "trixie")]),
        (("firmware", "sid/amdsev", "debian:bookworm"), [("firmware", "sid/amdsev"), ("firmware", "debian:bookworm")]),
        (("sid", "bookworm/amdsev"), [("firmware", "sid"), ("firmware", "bookworm/amdsev")]),
        (("qemu", "debian:sid"), [("qemu", "sid")]),
        (("nested",), [("nested", "trixie")]),
        (("linux", "trixie", "debian:sid"), [("linux", "trixie"), ("linux", "sid")]),
    ],
)
def test_what_is_fetched_is_printed(
    arguments: tuple[str, ...],
    expected: list[tuple[str, str]],
    fetched: list[tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fetch", *arguments]) == 0
    assert fetched == expected
    assert capsys.readouterr().out.splitlines() == [f"/cache/{kind}" for kind, _ in expected]


def test_what_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise FetchError("no network", "try again")

    monkeypatch.setattr(snp_harness.debian.firmware, "fetch_firmware", fail)
    assert main(["fetch"]) == EXIT_ENVIRONMENT
    assert capsys.readouterr().err == "snp-harness: error: no network: try again\n"
